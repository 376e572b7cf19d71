//! Callbacks: a hint that what is pending is decided, from whoever can prove to be the vendor.

use e2e::{
    Builder, SOON, World, http,
    objects::{message, secret, standing},
    ports::free_port,
    vendor::operations,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) const KEY: &str = "whsec_Y2FuYXJ5LWNhbGxiYWNrLWtleQ==";

/// A vendor that decides by hand and is asked every five minutes; it calls back as `proof` says, with
/// `key`. `secrets` is what the connection's callback Secret holds, if there is one.
fn world(proof: &str, key: &str, secrets: Option<&str>) -> (World, String) {
    world_of(World::builder(), proof, key, secrets)
}

/// The same of a world that is otherwise as `builder` says.
pub(crate) fn world_of(
    builder: Builder,
    proof: &str,
    key: &str,
    secrets: Option<&str>,
) -> (World, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let base = format!("http://{address}");
    let builder = builder.operator_arg(&format!("--callback-addr={address}"));
    (world_at(&base, builder, proof, key, secrets), base)
}

/// The same where the vendor calls back at `base`; who listens there is for `builder` to say.
pub(crate) fn world_at(
    base: &str,
    builder: Builder,
    proof: &str,
    key: &str,
    secrets: Option<&str>,
) -> World {
    let callback = match secrets {
        Some(_) => json!({"secretRef": {"name": "acme-callback", "key": "key"}}),
        None => json!({}),
    };
    let world = builder
        .operator_arg(&format!("--callback-url={base}/"))
        .vendor_arg(&format!("--callback-secret={key}"))
        .vendor_arg(&format!("--callback-proof={proof}"))
        .connection(json!({"polling": {"pending": "5m"}, "callback": callback}))
        .start();
    if let Some(secrets) = secrets {
        world.apply(&secret("acme-callback", &[("key", secrets)]));
    }
    let by_hand = json!({"async": {"after": "manual", "retryAfter": "0s"}});
    world
        .vendor
        .behavior(json!({"operations": {"create": by_hand}}));
    world
}

/// Purchases and waits until the vendor has it.
pub(crate) fn pending(world: &World, name: &str) -> Value {
    world.subscribe(name, json!({}));
    has_it(world, name)
}

/// Waits until the vendor has it.
pub(crate) fn has_it(world: &World, name: &str) -> Value {
    world.until("it is pending", "Subscription", name, |object| {
        object["status"]["request"]["status"] == "Pending"
            && object["status"]["tenantId"].is_string()
    })
}

/// The URL the vendor was given.
pub(crate) fn url(world: &World) -> String {
    let calls = world.vendor.calls();
    calls[0].body()["callbackUrl"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn what_the_vendor_decides_is_known_at_once_however_it_proves_itself() {
    for (proof, secrets) in [
        ("standard-webhooks", Some(KEY)),
        // The new key first, and the old one still good.
        (
            "jwt",
            Some("whsec_bmV3LWtleQ==\nwhsec_Y2FuYXJ5LWNhbGxiYWNrLWtleQ=="),
        ),
        ("none", None),
    ] {
        let (world, base) = world(proof, KEY, secrets);
        let mail = pending(&world, "mail");
        let url = url(&world);
        let prefix = format!("{base}/callbacks/{}/mail/", world.namespace());
        assert!(
            url.starts_with(&prefix) && url.len() == prefix.len() + 26,
            "{url}"
        );
        let tenant = mail["status"]["tenantId"].as_str().unwrap_or_default();

        let decided = Instant::now();
        world.vendor.approve(tenant);
        let mail = world.ready("mail");
        // A quiet machine needs a fifth of a second; without the callback it is minutes.
        assert!(
            decided.elapsed() < Duration::from_secs(30),
            "{:?}",
            decided.elapsed()
        );
        assert_eq!(
            operations(&world.vendor.calls())[..2],
            ["create", "get"],
            "{proof}"
        );
        assert!(mail["metadata"]["annotations"]["fulfillment-operator.io/called-back"].is_string());
        assert!(
            world
                .operator
                .metrics()
                .contains("fulfillment_callbacks_total{outcome=\"taken\"} ")
        );
        assert!(!world.operator.log().contains("canary"), "{proof}");
    }
}

#[test]
fn what_is_not_the_vendors_changes_nothing() {
    // The vendor signs with a key that the operator does not have.
    let (world, base) = world("standard-webhooks", "another-key", Some(KEY));
    let mail = pending(&world, "mail");
    let url = url(&world);
    let tenant = mail["status"]["tenantId"].as_str().unwrap_or_default();
    world.vendor.approve(tenant);
    let refused = |least: u64| {
        world.eventually("it is refused", SOON, || {
            let metrics = world.operator.metrics();
            let mut lines = metrics.lines();
            let count = lines.find_map(|line| {
                line.strip_prefix("fulfillment_callbacks_total{outcome=\"refused\"} ")
            });
            match count.and_then(|count| count.parse::<u64>().ok()) {
                Some(count) if count >= least => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    };
    refused(1);
    assert_eq!(http::post(&url, &[], "{}").0, 401);
    let bearer = ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.");
    assert_eq!(http::post(&url, &[bearer], "{}").0, 401);
    let other = format!(
        "{base}/callbacks/{}/mail/{}",
        world.namespace(),
        "a".repeat(26)
    );
    assert_eq!(http::post(&other, &[], "{}").0, 404);
    let nobody = url.replace("/mail/", "/none/");
    assert_eq!(http::post(&nobody, &[], "{}").0, 404);
    assert_eq!(http::post(&format!("{base}/else"), &[], "").0, 404);
    assert_eq!(http::post(&url, &[], &"x".repeat(70_000)).0, 413);
    let now = world.sub("mail");
    assert_eq!(
        now["metadata"]["resourceVersion"],
        mail["metadata"]["resourceVersion"]
    );
    assert_eq!(operations(&world.vendor.calls()), ["create"]);

    // The right key, and the vendor's own repetition of its callback is taken.
    world.apply(&secret("acme-callback", &[("key", "another-key")]));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
}

/// Purchases, waits until the vendor was asked so many times, and says how long the shortest wait
/// between two questions was.
fn asked(world: &World, name: &str, times: usize) -> (String, Duration) {
    let mail = pending(world, name);
    let tenant = mail["status"]["tenantId"].as_str().unwrap_or_default();
    let path = format!("/tenant/{tenant}");
    let times: Vec<_> = world.eventually("it is asked", SOON, || {
        let mut calls = world.vendor.calls();
        calls.retain(|call| call.operation() == "get" && call.0["path"] == path);
        match calls.len() {
            n if n > times => Ok(calls.iter().map(e2e::vendor::Call::time).collect()),
            n => Err(format!("{n} times")),
        }
    });
    let waits = times.windows(2).map(|two| two[1].duration_since(two[0]));
    let shortest = waits.min().unwrap_or_default();
    (tenant.to_owned(), shortest.unsigned_abs())
}

#[test]
fn who_calls_back_is_asked_less_often_until_a_callback_stays_away() {
    let (world, _) = world("standard-webhooks", KEY, Some(KEY));
    world.patch_connection(r#"{"spec": {"polling": {"pending": "1s"}}}"#);
    let four = Duration::from_secs(4);

    let (first, often) = asked(&world, "first", 4);
    assert!(often < four, "{often:?}");
    // By chance a question may come before the callback: then nothing is proven yet.
    world.vendor.approve(&first);
    world.ready("first");
    let mut proven = false;
    for n in 0..5 {
        let name = format!("proof-{n}");
        let mail = pending(&world, &name);
        world
            .vendor
            .approve(mail["status"]["tenantId"].as_str().unwrap_or_default());
        world.ready(&name);
        let (tenant, seldom) = asked(&world, &format!("second-{n}"), 1);
        world.vendor.approve(&tenant);
        world.ready(&format!("second-{n}"));
        proven = seldom >= four;
        if proven {
            break;
        }
    }
    assert!(proven, "it is asked as often as ever");

    // From now on its callbacks are refused: the next decision is found by a poll, and all are
    // asked after as before.
    world.apply(&secret("acme-callback", &[("key", "whsec_b3RoZXI=")]));
    let lost = pending(&world, "lost");
    world
        .vendor
        .approve(lost["status"]["tenantId"].as_str().unwrap_or_default());
    world.ready("lost");
    let (_, often) = asked(&world, "third", 4);
    assert!(often < four, "{often:?}");
}

#[test]
fn an_operator_that_hears_no_callbacks_says_so_on_the_connection() {
    let world = World::builder().connection(json!({"callback": {}})).start();
    let says = |reason: &str, expected: bool| {
        world.until(reason, "VendorConnection", "acme", |acme| {
            standing(acme, "Ready") == format!("True {reason}")
                && message(acme, "Ready").contains("without --callback-url") == expected
        });
    };
    says("Configured", true);
    let note = world.event("acme", "DependencyNotReady");
    assert!(note.contains("without --callback-url"), "{note}");
    // What is bought is bought, and polled.
    world.subscribe("mail", json!({}));
    world.ready("mail");
    assert_eq!(url(&world), "");
    says("VendorAnswers", true);

    world.patch_connection(r#"{"spec": {"callback": null}}"#);
    says("VendorAnswers", false);
    let events = world.events("acme");
    assert_eq!(events.len(), 1, "{events:?}");
}

#[test]
fn a_callback_secret_that_is_missing_is_said_waited_for_and_held() {
    let (world, _) = world("standard-webhooks", KEY, Some(KEY));
    world.kubectl(&["delete", "secret", "acme-callback"]);
    let acme = world.until("it is missed", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False DependencyNotReady"
    });
    let said = message(&acme, "Ready");
    assert!(said.contains("Secret acme-callback"), "{said}");
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    assert_eq!(message(&mail, "Ready"), said);
    assert_eq!(world.vendor.calls().len(), 0);

    world.apply(&secret("acme-callback", &[("key", KEY)]));
    let mail = has_it(&world, "mail");
    let held = world.get("Secret", "acme-callback");
    let finalizers = held["metadata"]["finalizers"].to_string();
    assert!(finalizers.contains("fulfillment-operator.io/in-use"));

    // Without it what exists is looked after all the same.
    let gone = r#"[{"op": "remove", "path": "/data/key"}]"#;
    world.kubectl(&[
        "patch",
        "secret",
        "acme-callback",
        "--type=json",
        "-p",
        gone,
    ]);
    world.until("it is missed again", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False DependencyNotReady"
    });
    world
        .vendor
        .approve(mail["status"]["tenantId"].as_str().unwrap_or_default());
    world.request("mail", "now");
    world.ready("mail");
}
