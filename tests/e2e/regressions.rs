//! Bugs of others, by their numbers: what each would be here, and that it is not.

use e2e::{
    World, objects,
    objects::{message, standing},
    vendor::operations,
};
use serde_json::json;

fn one_tenant(world: &World) {
    let counts = world.vendor.counts();
    assert_eq!(counts["live"], 1, "{counts}");
    assert_eq!(counts["duplicates"], 0, "{counts}");
}

/// The tenant is made, and its vendor has not answered yet.
fn create_under_way(world: &World) {
    let delay = json!({"method": "POST", "path": "/tenant", "fault": {"delayAfter": "2s"}});
    world.vendor.fault(delay);
    world.subscribe("mail", json!({}));
    world.eventually("the vendor has it", e2e::SOON, || {
        match world.vendor.count("live") {
            1 => Ok(()),
            live => Err(format!("{live} live")),
        }
    });
}

/// The operator dies before it hears of the tenant.
fn die_in_the_create(world: &World) {
    create_under_way(world);
    world.operator.kill9();
    world.operator.start();
}

/// A controller that died between its create and the record of it waits for a person, for ever.
#[test]
fn crossplane_runtime_340_a_create_under_way_at_a_crash_needs_no_person() {
    let world = World::start();
    die_in_the_create(&world);
    world.ready("mail");
    one_tenant(&world);
}

/// The same, and the next run creates another.
#[test]
fn ack_2062_a_crash_before_the_id_is_written_makes_no_duplicate() {
    for mode in ["IdempotencyKey", "Lookup"] {
        let world = World::builder().identity(mode).start();
        die_in_the_create(&world);
        world.ready("mail");
        one_tenant(&world);
    }
}

/// What was never ours is deleted with the object that claimed it.
#[test]
fn ack_2102_what_was_never_ours_is_never_deleted() {
    let world = World::start();
    let there = json!({"externalId": "AS-1", "product": "mail-pro", "limits": {"seats": 5}});
    world.vendor.order(&there);
    world.subscribe("mail", json!({"externalId": "AS-1"}));
    world.stands("mail", "Ready", "False Conflict");
    world.unsubscribe("mail");
    let calls = world.vendor.calls();
    assert!(
        operations(&calls).iter().all(|o| *o == "create"),
        "{calls:?}"
    );
    one_tenant(&world);
}

/// A context that is cancelled after the create loses its result: "exists already" for ever.
#[test]
fn ack_2497_a_shutdown_in_the_middle_of_a_create_loses_no_result() {
    let world = World::start();
    create_under_way(&world);
    world.operator.stop();
    // Recorded before it ended.
    let mail = world.sub("mail");
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    world.operator.start();
    world.ready("mail");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
}

/// A read that fails is taken for "there is none", and one is created.
#[test]
fn provider_http_a_read_that_fails_creates_nothing() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    for (nth, fault) in [
        json!({"status": 500}),
        json!({"status": 400}),
        json!({"html": true}),
        json!({"closeBefore": true}),
        json!({"empty": true}),
    ]
    .into_iter()
    .enumerate()
    {
        world.vendor.fault(json!({"method": "GET", "fault": fault}));
        let token = format!("look-{nth}");
        world.request("mail", &token);
        world.until("it was looked at", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == token.as_str()
        });
    }
    assert_eq!(world.vendor.count("create"), 1);
    one_tenant(&world);
}

/// A list that finds nothing, then a create: two controllers, or one list that lags, make two.
#[test]
fn sap_btp_a_list_that_lags_behind_a_create_makes_no_second_one() {
    let world = World::builder().identity("Lookup").start();
    let lost = json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}});
    world.vendor.fault(lost);
    // The first look after it does not show it yet.
    let lagging = json!({"method": "GET", "path": "/tenant?*", "skip": 1, "fault": {"status": 200, "body": "[]"}});
    world.vendor.fault(lagging);
    world.subscribe("mail", json!({}));
    world.ready("mail");
    assert_eq!(world.vendor.count("create"), 1);
    one_tenant(&world);
}

/// What the vendor failed is tried again and again.
#[test]
fn service_catalog_what_failed_is_not_retried_until_something_changes() {
    let world = World::start();
    let refused = json!({"times": "unlimited", "method": "POST", "fault": {"status": 422, "body": "{\"error\": {\"code\": \"no_credit\", \"message\": \"no credit\"}}"}});
    world.vendor.fault(refused);
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    assert!(message(&mail, "Ready").contains("no credit"), "{mail}");
    world.operator.restart();
    world.subscribe("other", json!({}));
    world.stands("other", "Ready", "False RequestFailed");
    assert_eq!(world.vendor.calls().len(), 2, "one for each");
    world.vendor.clear_faults();
    world.subscribe("mail", json!({"limits": {"seats": 1}}));
    world.ready("mail");
}

/// One object that cannot be decoded blinds the whole watch.
#[test]
fn kube_rs_774_one_bad_object_stops_no_other() {
    let world = World::builder().own_control_plane().start();
    crate::hazards::loosen(&world, "subscriptions", &["state"]);
    let bad = objects::subscription("bad", json!({"state": "Weird"}));
    world.eventually("the looser schema is served", e2e::SOON, || {
        let output = world.kubectl_with(&["apply", "-f", "-"], &bad);
        let refused = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(refused)
        }
    });
    world.stands("bad", "Ready", "False InvalidSpec");
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.operator.restart();
    world.subscribe("other", json!({}));
    world.ready("other");
}

/// The client below repeats any method on 429, 503 and 504: a create, too. This is the vendor's; the one
/// of the API server is in `controller/tests/kubernetes.rs`.
#[test]
fn kube_rs_2082_nothing_below_us_repeats_a_create() {
    let world = World::builder().identity_none().start();
    let throttled = json!({"method": "POST", "fault": {"effectThen": {"status": 503, "headers": {"Retry-After": "0"}}}});
    world.vendor.fault(throttled);
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
}

/// A backup brings objects back without status and finalizers.
#[test]
fn velero_1687_a_restore_without_status_finds_its_tenant() {
    for mode in ["ExternalId", "IdempotencyKey", "Lookup"] {
        let world = World::builder().identity(mode).start();
        world.subscribe("mail", json!({}));
        let before = world.ready("mail");
        world.operator.stop();
        let none = r#"{"metadata":{"finalizers":null}}"#;
        world.patch("mail", none);
        world.kubectl(&["delete", "subscription", "mail", "--timeout=60s"]);
        world.apply(&objects::subscription("mail", json!({})));
        world.operator.start();
        let after = world.ready("mail");
        assert_eq!(
            after["status"]["tenantId"], before["status"]["tenantId"],
            "{mode}"
        );
        one_tenant(&world);
    }
}

/// The same external id in two objects: both drive it.
#[test]
fn ack_843_two_objects_never_drive_one_tenant() {
    let world = World::start();
    world.subscribe("first", json!({"externalId": "AS-7"}));
    world.ready("first");
    world.subscribe(
        "second",
        json!({"externalId": "AS-7", "adoptionPolicy": "AdoptOrCreate", "limits": {"seats": 1}}),
    );
    world.stands("second", "Ready", "False Conflict");
    world.unsubscribe("second");
    world.ready("first");
    one_tenant(&world);
}
