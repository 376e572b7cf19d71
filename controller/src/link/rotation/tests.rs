//! Which credentials a call is made with, by what the vendor answered before.

use std::collections::BTreeMap;

use super::*;
use crate::{
    lease::Fence,
    metrics::Meter,
    vendor::{Credentials, Effect, Said, Tenant, client::Settings, guard::AddressPolicy},
};

/// A vendor that takes some credentials, and what it was shown.
#[derive(Default)]
struct Vendor {
    takes: Mutex<Vec<&'static str>>,
    shown: Mutex<Vec<(Operation, String)>>,
}

impl Vendor {
    fn taking(takes: &[&'static str]) -> Self {
        let vendor = Self::default();
        vendor.takes(takes);
        vendor
    }

    fn takes(&self, takes: &[&'static str]) {
        *lock(&self.takes) = takes.to_vec();
    }

    /// Makes a call; says how it ended, which credentials it was made with in turn, and whether the
    /// connection has news.
    async fn call(&self, clients: &Clients, operation: Operation) -> (Outcome, String, bool) {
        let send = |client: Arc<VendorClient>| async move {
            let name = if Arc::ptr_eq(&client, &clients.newest) {
                clients.hash().to_owned()
            } else {
                let state = lock(&clients.state);
                state.former.as_ref().expect("a former").held.hash.clone()
            };
            let taken = lock(&self.takes).contains(&name.as_str());
            lock(&self.shown).push((operation, name));
            if taken { done() } else { failed(Class::Auth) }
        };
        let (outcome, news) = clients.call(operation, send).await;
        let shown = std::mem::take(&mut *lock(&self.shown));
        let names: Vec<String> = shown.into_iter().map(|(_, name)| name).collect();
        (outcome, names.join(" "), news)
    }
}

fn done() -> Outcome {
    Ok(Answer {
        said: Said::Done,
        retry_after: None,
        replayed: false,
    })
}

fn failed(class: Class) -> Outcome {
    Err(VendorError {
        class,
        effect: Effect::None,
        retry_after: None,
        status: None,
        code: String::new(),
        message: "who are you?".into(),
        parameters: Vec::new(),
        unsent: false,
    })
}

fn held(name: &str) -> Held {
    let keys = Keys {
        credentials: Credentials::Bearer(name.into()),
        certificate: None,
        parts: BTreeMap::from([("acme/token".into(), name.into())]),
    };
    Held {
        keys,
        hash: name.into(),
        whom: "acme".into(),
    }
}

fn client() -> Arc<VendorClient> {
    // What it says to a second one does not matter.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings {
        url: "http://vendor.example".into(),
        credentials: Credentials::None,
        ca: None,
        certificate: None,
        connect_timeout: PAUSE,
        request_timeout: PAUSE,
        addresses: AddressPolicy {
            networks: Vec::new(),
            insecure: true,
        },
        fresh_creates: false,
        dialect: None,
        products: Vec::new(),
        fence: Fence::open(),
        meter: Meter::default(),
    };
    Arc::new(VendorClient::new(&settings).expect("a client"))
}

/// The clients after the Secret has changed.
fn replaced(before: Option<&Clients>, name: &str) -> Clients {
    let former = before.and_then(|before| before.last_taken("acme"));
    Clients::new(held(name), former, |_| Ok(client())).expect("clients")
}

/// Clients whose credentials `old` the vendor has taken, now with `new` ones.
async fn rotated(vendor: &Vendor, new: &str) -> Clients {
    let old = replaced(None, "old");
    assert_eq!(vendor.call(&old, Operation::Create).await.1, "old");
    replaced(Some(&old), new)
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_leaves_the_former_in_use_and_is_tried_again_by_a_read() {
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    assert!(clients.refusal().is_none());
    let (outcome, shown, news) = vendor.call(&clients, Operation::Create).await;
    assert!(outcome.is_ok() && news);
    assert_eq!(shown, "new old");
    let (said, secrets) = clients.refusal().expect("it is said");
    assert_eq!((said.as_str(), secrets), ("who are you?", vec!["acme"]));

    // Nothing but what is due, and then no create.
    for operation in [Operation::Create, Operation::Get, Operation::Delete] {
        assert_eq!(vendor.call(&clients, operation).await.1, "old");
    }
    tokio::time::advance(PAUSE).await;
    assert_eq!(vendor.call(&clients, Operation::Create).await.1, "old");
    let (outcome, shown, news) = vendor.call(&clients, Operation::Get).await;
    assert!(outcome.is_ok() && !news, "the same as before");
    assert_eq!(shown, "new old");
    assert_eq!(vendor.call(&clients, Operation::Lookup).await.1, "old");

    // The vendor comes to know it: from then on the former are not there any more.
    vendor.takes(&["new", "old"]);
    tokio::time::advance(PAUSE).await;
    let (outcome, shown, news) = vendor.call(&clients, Operation::Lookup).await;
    assert!(outcome.is_ok() && news);
    assert_eq!(shown, "new");
    assert!(clients.refusal().is_none());
    vendor.takes(&["old"]);
    let (outcome, shown, news) = vendor.call(&clients, Operation::Get).await;
    assert!(outcome.is_err() && !news);
    assert_eq!(shown, "new");
}

#[tokio::test(start_paused = true)]
async fn where_both_are_refused_it_is_as_with_one() {
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    vendor.takes(&[]);
    for first in [true, false] {
        let (outcome, shown, news) = vendor.call(&clients, Operation::Change).await;
        assert!(outcome.is_err());
        assert_eq!(news, first, "from then on they are tried");
        assert_eq!(shown, "new old");
        assert!(clients.refusal().is_none(), "no call goes on");
    }
    // The former taken away at the vendor, later.
    vendor.takes(&["old"]);
    assert_eq!(vendor.call(&clients, Operation::Get).await.1, "new old");
    assert!(clients.refusal().is_some());
    vendor.takes(&["new"]);
    let (outcome, shown, news) = vendor.call(&clients, Operation::Change).await;
    assert!(outcome.is_ok() && news);
    assert_eq!(shown, "old new");
    assert!(clients.refusal().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_next_ones_fall_back_on_those_that_were_taken_last() {
    let vendor = Vendor::taking(&["old"]);
    let wrong = rotated(&vendor, "wrong").await;
    assert_eq!(vendor.call(&wrong, Operation::Get).await.1, "wrong old");
    let worse = replaced(Some(&wrong), "worse");
    assert!(worse.refusal().is_none(), "not tried yet");
    assert_eq!(vendor.call(&worse, Operation::Get).await.1, "worse old");
    // Back to what is good: nothing is in question.
    let back = replaced(Some(&worse), "old");
    assert_eq!(vendor.call(&back, Operation::Get).await.1, "old");
    vendor.takes(&["good"]);
    let good = replaced(Some(&back), "good");
    assert_eq!(vendor.call(&good, Operation::Get).await.1, "good");
    let last = good.last_taken("acme").expect("taken");
    assert_eq!(last.held.hash, "good");
    assert!(good.last_taken("another URL").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_never_taken_is_nothing_to_fall_back_on() {
    let vendor = Vendor::default();
    let first = replaced(None, "first");
    let (outcome, shown, _) = vendor.call(&first, Operation::Get).await;
    assert!(outcome.is_err());
    assert_eq!(shown, "first");
    let second = replaced(Some(&first), "second");
    assert_eq!(vendor.call(&second, Operation::Get).await.1, "second");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_refusal_is_not_sent_twice() {
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    for class in [
        Class::Transient,
        Class::Throttled,
        Class::Busy,
        Class::Refused,
    ] {
        let sent = Mutex::new(0);
        let send = |_: Arc<VendorClient>| {
            *lock(&sent) += 1;
            std::future::ready(failed(class))
        };
        let (outcome, news) = clients.call(Operation::Create, send).await;
        assert!(outcome.is_err_and(|error| error.class == class));
        assert_eq!(news, class == Class::Transient, "the first has tried them");
        assert_eq!(*lock(&sent), 1, "{class:?}");
        assert!(clients.refusal().is_none(), "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_former_are_answered_counts_where_it_may_have_had_an_effect() {
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    let send = |client: Arc<VendorClient>| {
        let newest = Arc::ptr_eq(&client, &clients.newest);
        std::future::ready(if newest {
            failed(Class::Auth)
        } else {
            failed(Class::Transient).map_err(|error| VendorError {
                effect: Effect::Unknown,
                ..error
            })
        })
    };
    let (outcome, _) = clients.call(Operation::Create, send).await;
    assert!(outcome.is_err_and(|error| error.effect == Effect::Unknown));
    assert!(clients.refusal().is_none(), "nobody has taken the former");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_goes_on_with_the_client_it_had() {
    let vendor = Vendor::taking(&["old"]);
    let old = replaced(None, "old");
    assert_eq!(vendor.call(&old, Operation::Get).await.1, "old");
    let wrong = replaced(Some(&old), "wrong");
    let former = wrong.last_taken("acme").expect("taken").client;
    assert!(
        Arc::ptr_eq(&former, &old.newest),
        "it has the connections and the token"
    );
    let back = replaced(Some(&wrong), "old");
    assert!(Arc::ptr_eq(&back.newest, &old.newest));
}

#[tokio::test(start_paused = true)]
async fn the_first_call_with_the_new_ones_is_news() {
    let vendor = Vendor::taking(&["old", "new"]);
    let clients = rotated(&vendor, "new").await;
    assert!(clients.is_untried());
    let unsent = || failed(Class::Transient).map_err(|e| VendorError { unsent: true, ..e });
    let (_, news) = clients
        .call(Operation::Get, |_| std::future::ready(unsent()))
        .await;
    assert!(clients.is_untried() && !news, "the vendor has seen nothing");
    let (_, _, news) = vendor.call(&clients, Operation::Get).await;
    assert!(!clients.is_untried() && news);
    let (_, _, news) = vendor.call(&clients, Operation::Get).await;
    assert!(!news);
    assert!(!replaced(None, "first").is_untried(), "nothing was before");
}

#[tokio::test(start_paused = true)]
async fn the_words_of_the_first_refusal_stand() {
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    for trace in 0..3 {
        let send = |client: Arc<VendorClient>| {
            let newest = Arc::ptr_eq(&client, &clients.newest);
            let refused = failed(Class::Auth).map_err(|error| VendorError {
                message: format!("who are you? (trace {trace})"),
                ..error
            });
            std::future::ready(if newest { refused } else { done() })
        };
        let (outcome, news) = clients.call(Operation::Get, send).await;
        assert!(outcome.is_ok());
        assert_eq!(news, trace == 0);
        let (said, _) = clients.refusal().expect("refused");
        assert_eq!(said, "who are you? (trace 0)");
        tokio::time::advance(PAUSE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_have_had_an_effect_is_not_sent_twice() {
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    let sent = Mutex::new(0);
    let send = |_: Arc<VendorClient>| {
        *lock(&sent) += 1;
        let broke_off = failed(Class::Auth).map_err(|error| VendorError {
            effect: Effect::Unknown,
            ..error
        });
        std::future::ready(broke_off)
    };
    let (outcome, _) = clients.call(Operation::Create, send).await;
    assert!(outcome.is_err_and(|error| error.effect == Effect::Unknown));
    assert_eq!(*lock(&sent), 1);
}

fn said(said: Said) -> Outcome {
    Ok(Answer {
        said,
        retry_after: None,
        replayed: false,
    })
}

/// Makes a call that the newest and the former are answered so; says how it ended, and how often it was
/// sent.
async fn answered(
    clients: &Clients,
    operation: Operation,
    newest: fn() -> Outcome,
    former: fn() -> Outcome,
) -> (Outcome, usize) {
    let sent = Mutex::new(0);
    let send = |client: Arc<VendorClient>| {
        *lock(&sent) += 1;
        let is_newest = Arc::ptr_eq(&client, &clients.newest);
        std::future::ready(if is_newest { newest() } else { former() })
    };
    let (outcome, _) = clients.call(operation, send).await;
    (outcome, *lock(&sent))
}

#[tokio::test(start_paused = true)]
async fn what_the_newest_do_not_find_is_asked_of_the_former_too() {
    let absent = || said(Said::Absent);
    let nobody = || said(Said::Found(Vec::new()));
    let found = || said(Said::Found(vec![Tenant::default()]));
    let vendor = Vendor::taking(&["old"]);
    for (operation, newest, former) in [
        (
            Operation::Get,
            absent as fn() -> Outcome,
            done as fn() -> Outcome,
        ),
        (Operation::Lookup, nobody, found),
        (Operation::Delete, absent, done),
    ] {
        let clients = rotated(&vendor, "another account's").await;
        let (outcome, sent) = answered(&clients, operation, newest, former).await;
        assert!(!finds_nothing(&outcome), "{operation:?}");
        assert_eq!(sent, 2);
        let (said, _) = clients.refusal().expect("it is said");
        assert!(said.contains("does not know a tenant"), "{said}");
        // The former are refused meanwhile: that proves nothing of what was there.
        let refused = || failed(Class::Auth);
        let (outcome, sent) = answered(&clients, operation, newest, refused).await;
        assert!(is_refused(&outcome), "{operation:?}");
        assert_eq!(sent, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_finds_is_not_there_and_says_nothing_of_the_newest() {
    let absent = || said(Said::Absent);
    let vendor = Vendor::taking(&["old"]);
    let clients = rotated(&vendor, "new").await;
    for _ in 0..2 {
        let (outcome, sent) = answered(&clients, Operation::Get, absent, absent).await;
        assert!(finds_nothing(&outcome));
        assert_eq!(sent, 2, "the newest are not taken");
        assert!(clients.refusal().is_none());
    }
    // A vendor that does not answer the former has not said that there is none.
    let fails = || failed(Class::Transient);
    let (outcome, _) = answered(&clients, Operation::Get, absent, fails).await;
    assert!(outcome.is_err());
    // The former have ended: the newest are all there is.
    let refused = || failed(Class::Auth);
    let (outcome, _) = answered(&clients, Operation::Get, absent, refused).await;
    assert!(finds_nothing(&outcome));
    let (_, sent) = answered(&clients, Operation::Get, done, refused).await;
    assert_eq!(sent, 1);
    let last = clients.last_taken("acme").expect("taken");
    assert_eq!(last.held.hash, "new");
}
