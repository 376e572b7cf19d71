//! Callbacks by the vendor's own key that come twice, too early, too late, with a wrong clock, or while
//! the API server does not answer: each is a hint at most.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::{
    callbacks::{KEY, has_it, pending, url, world_of},
    costs::settle,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use e2e::{SOON, World, costs::Meter, http, objects::standing, vendor::operations};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{Duration, Instant};

/// Headers that prove a callback.
type Proof = Vec<(&'static str, String)>;

const BODY: &str = r#"{"type":"request.changed"}"#;

fn world(builder: e2e::Builder) -> World {
    world_of(builder, "standard-webhooks", KEY, Some(KEY)).0
}

fn tag(signed: &str) -> Vec<u8> {
    let key = KEY.strip_prefix("whsec_").unwrap();
    let key = BASE64.decode(key.as_bytes()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// As Standard Webhooks has it.
fn signed(id: &str, time: i64) -> Proof {
    let tag = BASE64.encode(&tag(&format!("{id}.{time}.{BODY}")));
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", time.to_string()),
        ("webhook-signature", format!("v1,{tag}")),
    ]
}

/// As Connect has it.
fn bearer(claims: &Value) -> Proof {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let tag = BASE64URL_NOPAD.encode(&tag(&signed));
    vec![("authorization", format!("Bearer {signed}.{tag}"))]
}

/// Sends a callback; the status it is answered with.
fn send(url: &str, proof: &Proof) -> u16 {
    let headers: Vec<_> = proof
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    http::post(url, &headers, BODY).0
}

/// Sends a callback until it is answered so: the replica's caches may be a moment behind, and those
/// before it may have used up what is taken at once.
fn answered(world: &World, url: &str, status: u16) {
    let what = format!("a callback is answered {status}");
    world.eventually(&what, SOON, || match send(url, &signed("m", now())) {
        answer if answer == status => Ok(()),
        answer => Err(answer),
    });
}

/// How often the vendor was asked after a tenant.
fn reads(world: &World) -> usize {
    let calls = world.vendor.calls();
    calls
        .iter()
        .filter(|call| call.operation() == "get")
        .count()
}

/// Waits until the vendor was asked once more than it had been.
fn read_again(world: &World, before: usize) {
    world.eventually("the vendor is read", SOON, || match reads(world) {
        now if now > before => Ok(()),
        now => Err(now),
    });
}

fn tenant(object: &Value) -> String {
    object["status"]["tenantId"].as_str().unwrap().to_owned()
}

#[test]
fn a_replayed_callback_costs_few_writes_and_keeps_nothing_else_out() {
    let world = world(World::builder().own_control_plane());
    let mail = pending(&world, "mail");
    world.until("settled", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"] == 1 && standing(acme, "Ready") == "True VendorAnswers"
    });
    settle(&world);

    let url = url(&world);
    let meter = Meter::start(&world);
    let (message, began) = (signed("msg_1", now()), Instant::now());
    let answers: Vec<u16> = (0..20).map(|_| send(&url, &message)).collect();
    let count = |status| answers.iter().filter(|answer| **answer == status).count() as u64;
    let (taken, limited) = (count(204), count(429));
    assert_eq!(taken + limited, 20, "{answers:?}");
    // Five at once, and then one a second.
    let most = 6 + began.elapsed().as_secs();
    assert!((5..=most).contains(&taken) && limited > 0, "{answers:?}");
    settle(&world);
    let spent = meter.spent();
    let hints = ("PATCH subscriptions".to_owned(), taken);
    assert_eq!(spent.writes, [hints].into());
    let reads = spent.calls.len() as u64;
    assert!((1..=taken).contains(&reads), "{:?}", spent.calls);
    let still = world.sub("mail");
    assert_eq!(still["status"], mail["status"]);

    // The vendor's own, directly after them.
    send(&url, &message);
    world.vendor.approve(&tenant(&mail));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
    let calls = world.vendor.calls();
    let others = calls.iter().filter(|call| call.operation() != "get");
    assert_eq!(others.count(), 1, "{:?}", operations(&calls));
}

#[test]
fn a_callback_out_of_order_is_a_read_and_nothing_else() {
    let world = world(World::builder());
    // Before the purchase is answered.
    let late = json!({"method": "POST", "times": 1, "fault": {"delayAfter": "2s"}});
    world.vendor.fault(late);
    world.subscribe("mail", json!({}));
    world.eventually("the create is under way", SOON, || {
        let calls = world.vendor.calls();
        (!calls.is_empty()).then_some(()).ok_or("no call")
    });
    let url = url(&world);
    answered(&world, &url, 204);
    let mail = has_it(&world, "mail");
    read_again(&world, 0);

    // Before the decision.
    let before = reads(&world);
    answered(&world, &url, 204);
    read_again(&world, before);
    let still = world.sub("mail");
    assert_eq!(still["status"]["request"]["status"], "Pending");
    assert_eq!(standing(&still, "Ready"), "False Provisioning");
    world.vendor.approve(&tenant(&mail));
    world.ready("mail");

    // While it is being deleted.
    let by_hand = json!({"async": {"after": "manual", "retryAfter": "0s"}});
    world
        .vendor
        .behavior(json!({"operations": {"delete": by_hand}}));
    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    world.eventually("the delete is with the vendor", SOON, || {
        let calls = world.vendor.calls();
        let asked = calls.iter().any(|call| call.operation() == "delete");
        asked.then_some(()).ok_or("it is not")
    });
    let before = reads(&world);
    answered(&world, &url, 204);
    read_again(&world, before);
    assert!(
        world.find("Subscription", "mail").is_some(),
        "it was let go"
    );
    world.vendor.approve(&tenant(&mail));
    world.gone("Subscription", "mail");

    // After that, and when another has its name.
    answered(&world, &url, 404);
    let another = pending(&world, "mail");
    // Where a replica does not know that yet, the API server does: a hint names the uid it is for.
    let hint = json!({"metadata": {"uid": mail["metadata"]["uid"], "annotations": {"a": "b"}}});
    let patch = ["patch", "subscription", "mail", "--type=merge", "-p"];
    let output = world.kubectl_with(&[&patch[..], &[&hint.to_string()]].concat(), "");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("metadata.uid") && error.contains("immutable"),
        "{error}"
    );
    let before = world.vendor.sequence();
    answered(&world, &url, 404);
    let still = world.sub("mail");
    assert_eq!(
        still["metadata"]["resourceVersion"],
        another["metadata"]["resourceVersion"]
    );
    assert!(still["metadata"]["annotations"]["fulfillment-operator.io/called-back"].is_null());
    assert!(world.vendor.calls_since(before).is_empty());
}

#[test]
fn a_callback_from_another_time_is_refused_and_one_of_a_clock_that_is_a_little_off_is_not() {
    let world = world(World::builder());
    let mail = pending(&world, "mail");
    let url = url(&world);
    for off in [-600, 600] {
        let time = now() + off;
        assert_eq!(send(&url, &signed("msg_1", time)), 401, "{off}");
    }
    for claims in [json!({"exp": now() - 600}), json!({"iat": now() + 600})] {
        assert_eq!(send(&url, &bearer(&claims)), 401, "{claims}");
    }
    let still = world.sub("mail");
    assert_eq!(
        still["metadata"]["resourceVersion"],
        mail["metadata"]["resourceVersion"]
    );
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    let log = world.operator.log();
    assert_eq!(
        log.matches("more than five minutes from ours").count(),
        4,
        "{log}"
    );

    let mut quickest = Duration::MAX;
    for off in [-240, 240] {
        let time = now() + off;
        let claims = json!({"iat": time, "exp": time});
        for proof in [signed("msg_2", time), bearer(&claims)] {
            let began = Instant::now();
            assert_eq!(send(&url, &proof), 204, "{off}");
            quickest = quickest.min(began.elapsed());
        }
    }
    // With the hint written; the others may have met a busy machine.
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    read_again(&world, 0);
}

#[test]
fn a_vendor_is_answered_though_the_api_server_does_not() {
    let world = world(World::builder().own_control_plane());
    pending(&world, "mail");
    let url = url(&world);
    // First when the callback Secret was never read, then when only the hint is to be written.
    for known in [false, true] {
        world.control_plane().pause_api_server().unwrap();
        let began = Instant::now();
        let answer = send(&url, &signed("msg_1", now()));
        let took = began.elapsed();
        world.control_plane().resume_api_server().unwrap();
        assert_eq!(answer, 503, "known: {known}");
        // 0.9 s, and some for a busy machine; a call to the API server may take ten.
        assert!(took < Duration::from_secs(5), "known: {known}: {took:?}");
        answered(&world, &url, 204);
    }
}
