//! Which credentials a call is made with, by what the vendor answered before.

use std::collections::BTreeMap;

use super::*;
use crate::{
    lease::Fence,
    metrics::Meter,
    vendor::{Credentials, Effect, Said, client::Settings, guard::AddressPolicy},
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
    let former = former.map(|held| Former {
        held,
        client: client(),
    });
    Clients::new(client(), held(name), former)
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
    for _ in 0..2 {
        let (outcome, shown, news) = vendor.call(&clients, Operation::Change).await;
        assert!(outcome.is_err() && !news);
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
    let held = good.last_taken("acme").expect("taken");
    assert_eq!(held.hash, "good");
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
        assert!(outcome.is_err_and(|error| error.class == class) && !news);
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
    let (outcome, news) = clients.call(Operation::Create, send).await;
    assert!(outcome.is_err_and(|error| error.effect == Effect::Unknown) && !news);
    assert!(clients.refusal().is_none(), "nobody has taken the former");
}
