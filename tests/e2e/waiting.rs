//! What `kubectl wait`, `kubectl get` and kstatus say, as the issue promises.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use e2e::{
    World,
    kstatus::{Status, status},
    objects::{self, is_observed, standing},
};
use serde_json::json;
use std::process::Child;

const MAIL: &str = "subscription/mail";

/// Waits for a kubectl that was started before; it must succeed.
fn ended(kubectl: Child) -> String {
    let output = kubectl.wait_with_output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

#[test]
fn kubectl_wait_for_conditions_is_never_early_nor_stale() {
    let world = World::start();
    // Slow enough that a wait that is not held up returns before the change is done.
    world.vendor.behavior(json!({"operations": {
        "create": {"async": {"after": "2s"}},
        "change": {"async": {"after": "2s"}},
        "disable": {"async": {"after": "2s"}},
    }}));
    for (generation, spec) in [
        json!({}),
        json!({"limits": {"seats": 60}}),
        json!({"limits": {"seats": 60}, "state": "Suspended"}),
    ]
    .into_iter()
    .enumerate()
    {
        world.subscribe("mail", spec.clone());
        // At once, both of them, as a script does.
        let waits: Vec<_> = ["Ready", "Approved"]
            .iter()
            .map(|condition| {
                let condition = format!("--for=condition={condition}");
                let wait = world.kubectl_spawn(&["wait", &condition, "--timeout=60s", MAIL]);
                (condition, wait)
            })
            .collect();
        for (condition, wait) in waits {
            ended(wait);
            let tenant = world.vendor.tenant();
            let done = match generation {
                0 => tenant["status"] == "active",
                1 => tenant["limits"]["seats"] == 60,
                _ => tenant["status"] == "suspended",
            };
            assert!(done, "{condition} was early: {tenant:#}");
            let mail = world.sub("mail");
            assert!(is_observed(&mail), "{condition}: {mail:#}");
            assert_eq!(mail["status"]["request"]["generation"], generation + 1);
        }
    }

    // Deletion, waited for from before it is done.
    world
        .vendor
        .behavior(json!({"operations": {"delete": {"async": {"after": "1s"}}}}));
    world.kubectl(&["delete", MAIL, "--wait=false"]);
    ended(world.kubectl_spawn(&["wait", "--for=delete", "--timeout=60s", MAIL]));
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn kubectl_wait_for_jsonpath_works_as_the_readme_says() {
    let world = World::start();
    let approved = "--for=jsonpath={.status.request.status}=Approved";
    let wait = |more: &[&str]| {
        let args = [&["wait", approved, "--timeout=60s", MAIL], more].concat();
        ended(world.kubectl_spawn(&args));
    };
    world.vendor.behavior(json!({"operations": {
        "create": {"async": {"after": "1s"}}, "change": {"async": {"after": "2s"}},
    }}));
    world.subscribe("mail", json!({}));
    wait(&[]);
    assert_eq!(world.vendor.tenant()["status"], "active");

    // After a change the generation says which request is meant.
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let generation = "--for=jsonpath={.status.request.generation}=2";
    ended(world.kubectl_spawn(&["wait", generation, "--timeout=60s", MAIL]));
    wait(&[]);
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 60);
}

#[test]
fn a_wait_that_cannot_succeed_ends_with_its_timeout() {
    let world = World::start();
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"status": 422}}));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False RequestFailed");
    for condition in ["Ready", "Approved"] {
        let condition = format!("--for=condition={condition}");
        let output = world.kubectl_with(&["wait", &condition, "--timeout=1s", MAIL], "");
        assert!(!output.status.success());
    }
    // And what a script that wants to fail early waits for.
    world.kubectl(&["wait", "--for=condition=Stalled", "--timeout=60s", MAIL]);
    world.kubectl(&[
        "wait",
        "--for=condition=Approved=False",
        "--timeout=60s",
        MAIL,
    ]);
}

#[test]
fn kubectl_get_shows_what_matters() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {"after": "manual"}}}}));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False Provisioning");
    let table = |args: &[&str]| -> Vec<Vec<String>> {
        let text = world.kubectl(&[&["get"], args].concat());
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    };
    let rows = table(&["fsub"]);
    assert_eq!(
        rows[0],
        [
            "NAME", "PRODUCT", "STATE", "READY", "REQUEST", "OUTCOME", "REASON", "AGE"
        ]
    );
    assert_eq!(
        rows[1][..7],
        [
            "mail",
            "mail-pro",
            "Processing",
            "False",
            "Purchase",
            "Pending",
            "Provisioning"
        ]
    );

    let id = world.vendor.tenant()["id"].as_str().unwrap().to_owned();
    world.vendor.approve(&id);
    world.ready("mail");
    let rows = table(&["subscriptions", "-o", "wide"]);
    assert_eq!(
        rows[0],
        [
            "NAME", "PRODUCT", "STATE", "READY", "REQUEST", "OUTCOME", "REASON", "AGE", "TENANT",
            "MESSAGE"
        ]
    );
    assert_eq!(
        rows[1][..7],
        [
            "mail", "mail-pro", "Active", "True", "Purchase", "Approved", "Active"
        ]
    );
    assert_eq!(rows[1][8], id);

    let rows = table(&["fulfillment"]);
    let named = |name: &str| {
        rows.iter()
            .any(|row| row.first().is_some_and(|first| first == name))
    };
    assert!(
        named("subscription.fulfillment-operator.io/mail"),
        "{rows:?}"
    );
    assert!(
        named("vendorconnection.fulfillment-operator.io/acme"),
        "{rows:?}"
    );
    world.until(
        "the connection was used",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "True VendorAnswers",
    );
    let rows = table(&["vendorconnections"]);
    assert_eq!(
        rows[0],
        ["NAME", "URL", "READY", "REASON", "SUBSCRIPTIONS", "AGE"]
    );
    assert_eq!(
        rows[1][..4],
        ["acme", world.vendor.url(), "True", "VendorAnswers"]
    );
}

#[test]
fn kstatus_gives_what_the_table_implies_at_each_step() {
    let world = World::builder().without_operator().start();
    let now = || status(world.find("Subscription", "mail").as_ref());
    assert_eq!(now(), Status::NotFound);

    // Before any operator has seen it, it is not taken for current.
    world.subscribe("mail", json!({}));
    assert_eq!(world.sub("mail")["status"]["observedGeneration"], -1);
    assert_eq!(now(), Status::InProgress);

    let by_hand = json!({"async": {"after": "manual", "retryAfter": "0s"}});
    world.vendor.behavior(json!({"operations": {
        "create": by_hand, "change": by_hand, "disable": by_hand, "enable": by_hand, "delete": by_hand,
    }}));
    world.operator.start();
    world.stands("mail", "Ready", "False Provisioning");
    assert_eq!(now(), Status::InProgress);
    let id = world.vendor.tenant()["id"].as_str().unwrap().to_owned();
    world.vendor.approve(&id);
    world.ready("mail");
    assert_eq!(now(), Status::Current);

    for (spec, reason, outcome) in [
        (json!({"limits": {"seats": 60}}), "Changing", "Active"),
        (
            json!({"limits": {"seats": 60}, "state": "Suspended"}),
            "Suspending",
            "Suspended",
        ),
        (json!({"limits": {"seats": 60}}), "Resuming", "Active"),
    ] {
        world.operator.stop();
        world.subscribe("mail", objects_with_state(spec));
        assert_eq!(now(), Status::InProgress, "a new generation, {reason}");
        world.operator.start();
        world.stands("mail", "Ready", &format!("False {reason}"));
        assert_eq!(now(), Status::InProgress, "{reason}");
        world.vendor.approve(&id);
        let mail = world.ready("mail");
        assert_eq!(standing(&mail, "Ready"), format!("True {outcome}"));
        assert_eq!(now(), Status::Current);
    }

    // Drift that is repaired never makes it anything but current.
    world
        .vendor
        .behavior(json!({"operations": {"change": "sync"}}));
    world
        .vendor
        .patch_tenant(&id, json!({"limits": {"seats": 5}}));
    world.request("mail", "look");
    world.until("it is corrected", "Subscription", "mail", |mail| {
        assert_eq!(status(Some(mail)), Status::Current);
        mail["status"]["lastHandledReconcileAt"] == "look"
    });

    // A refused change.
    world
        .vendor
        .fault(json!({"method": "PUT", "path": "*", "fault": {"status": 422}}));
    world.subscribe("mail", json!({"limits": {"seats": 70}, "state": "Active"}));
    world.stands("mail", "Ready", "False RequestFailed");
    assert_eq!(now(), Status::Failed);

    world.kubectl(&["delete", MAIL, "--wait=false"]);
    assert_eq!(now(), Status::Terminating);
    world.stands("mail", "Ready", "False Terminating");
    assert_eq!(now(), Status::Terminating);
    world.vendor.approve(&id);
    world.gone("Subscription", "mail");
    assert_eq!(now(), Status::NotFound);
}

/// Apply forgets no field that it set before only if it is named again.
fn objects_with_state(mut spec: serde_json::Value) -> serde_json::Value {
    if spec["state"].is_null() {
        objects::merge(&mut spec, json!({"state": "Active"}));
    }
    spec
}
