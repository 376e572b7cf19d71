//! Credentials change while the operator runs, for better and for worse.

use e2e::{
    World,
    objects::{self, message, secret, standing},
    vendor::{Call, TOKEN, operations},
};
use serde_json::json;

#[test]
fn a_secret_that_becomes_unfit_stops_nothing_that_runs_and_begins_nothing_new() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let says = ["Secret acme has no key token", "key token of Secret acme"];
    for (number, says) in says.into_iter().enumerate() {
        if number == 0 {
            let gone = r#"[{"op": "remove", "path": "/data/token"}]"#;
            world.kubectl(&["patch", "secret", "acme", "--type=json", "-p", gone]);
        } else {
            world.apply(&secret("acme", &[("token", "two\nlines")]));
        }
        let acme = world.connection_says(&[says]);
        assert!(!acme["status"].to_string().contains("two"), "{acme:#}");

        // What is there is read, changed, suspended and taken back.
        let before = world.vendor.sequence();
        let seats = 60 + number;
        world.subscribe("mail", json!({"limits": {"seats": seats}}));
        world.ready("mail");
        assert_eq!(world.vendor.tenant()["limits"]["seats"], seats);
        let token = format!("look-{number}");
        world.request("mail", &token);
        world.until("it was looked at", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == token
        });
        let calls = world.vendor.calls_since(before);
        assert_eq!(operations(&calls), ["change", "get"], "{calls:?}");

        // What is new has to wait, and says for what.
        let name = format!("new-{number}");
        world.subscribe(&name, json!({}));
        let new = world.stands(&name, "Ready", "False DependencyNotReady");
        let said = message(&new, "Ready");
        assert!(said.contains(says), "{said}");
        assert!(said.contains("nothing new is created"), "{said}");
        assert_eq!(world.vendor.count("create"), 1 + number as u64);

        world.apply(&secret("acme", &[("token", TOKEN)]));
        world.ready(&name);
        world.until(
            "the connection is fine",
            "VendorConnection",
            "acme",
            |acme| standing(acme, "Ready").starts_with("True "),
        );
        world.unsubscribe(&name);
    }
    assert_eq!(world.vendor.count("live"), 1);

    // A tenant ends with the credentials before, too.
    world.apply(&secret("acme", &[("token", "two\nlines")]));
    world.connection_says(&["key token of Secret acme"]);
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_new_process_has_no_credentials_from_before() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.apply(&secret("acme", &[("token", "two\nlines")]));
    world.connection_says(&["key token of Secret acme"]);
    world.operator.restart();
    let before = world.vendor.sequence();
    world.subscribe("mail", json!({"limits": {"seats": 51}}));
    world.stands("mail", "Ready", "False DependencyNotReady");
    assert_eq!(world.vendor.sequence(), before);
    world.apply(&secret("acme", &[("token", TOKEN)]));
    world.ready("mail");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 51);
}

#[test]
fn a_wrong_credential_is_reported_and_stops_nothing() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let url = world.vendor.url();
    let wrong_token = secret("acme", &[("token", "canary-wrong")]);
    // The same, said in another way.
    let basic = json!({"auth": {"bearer": null, "basic": {"secretRef": {"name": "basic"}}}});
    let another_way = objects::all(&[
        secret("basic", &[("username", "me"), ("password", "canary-wrong")]),
        objects::connection(url, basic),
    ]);
    let right = objects::all(&[
        secret("acme", &[("token", TOKEN)]),
        objects::connection(url, json!({})),
    ]);
    for (number, (wrong, holds)) in [(wrong_token, "acme"), (another_way, "basic")]
        .into_iter()
        .enumerate()
    {
        world.apply(&wrong);
        let acme = world.refusal("mail", "acme");
        let said = message(&acme, "Ready");
        for part in [&format!("Secret {holds} are refused"), "401", "correct it"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("canary-wrong"), "{said}");

        // What is there is read and changed, what is new is bought, and what was refused is not shown
        // to the vendor each time.
        let before = world.vendor.sequence();
        let seats = 60 + number;
        world.subscribe("mail", json!({"limits": {"seats": seats}}));
        let mail = world.ready("mail");
        assert_eq!(standing(&mail, "Ready"), "True Active");
        assert_eq!(world.vendor.tenant()["limits"]["seats"], seats);
        let new = format!("new-{number}");
        world.subscribe(&new, json!({}));
        world.ready(&new);
        world.unsubscribe(&new);
        let calls = world.vendor.calls_since(before);
        let refused = calls.iter().filter(|call| call.status() == Some(401));
        let refused: Vec<String> = refused.map(Call::brief).collect();
        assert_eq!(refused, [""; 0]);

        world.apply(&right);
        world.until("the report ends", "VendorConnection", "acme", |acme| {
            standing(acme, "Ready").starts_with("True ")
        });
        let before = world.vendor.sequence();
        let token = format!("right-{number}");
        world.request("mail", &token);
        world.until("it was looked at", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == token
        });
        let calls = world.vendor.calls_since(before);
        let taken = calls.iter().any(|call| call.status() == Some(200));
        let refused = calls.iter().any(|call| call.status() == Some(401));
        assert!(taken && !refused, "{calls:?}");
    }
    assert!(!world.operator.log().contains("canary-wrong"));

    // A new process has none from before.
    world.apply(&secret("acme", &[("token", "canary-wrong")]));
    world.refusal("mail", "acme");
    world.operator.restart();
    world.subscribe("mail", json!({"limits": {"seats": 70}}));
    world.stands("mail", "Ready", "False Unauthorized");
    world.apply(&right);
    world.ready("mail");
    assert_eq!(world.vendor.count("live"), 1);
}
