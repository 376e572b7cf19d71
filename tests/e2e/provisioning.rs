//! Vendors that take their time: what is pending, asked for, failed, overtaken or overdue.

use e2e::{
    SOON, World,
    kstatus::{Status, status},
    objects::{is_observed, message, standing},
    vendor::operations,
};
use serde_json::{Value, json};

/// A vendor behaviour: an operation that is decided by hand, with nothing said about when to ask.
fn by_hand(operation: &str) -> Value {
    json!({"operations": {operation: {"async": {"after": "manual", "retryAfter": "0s"}}}})
}

fn at_once(operation: &str) -> Value {
    json!({"operations": {operation: "sync"}})
}

/// The id of the one live tenant, once there is one.
fn tenant(world: &World) -> String {
    world.eventually("there is a tenant", SOON, || {
        let live = world.vendor.live();
        let id = live.first().and_then(|tenant| tenant["id"].as_str());
        id.map(str::to_owned).ok_or("none")
    })
}

#[test]
fn a_purchase_is_pending_until_the_vendor_approves_it() {
    // With 201 and a pending tenant in the body, and with 202.
    for code in [201, 202] {
        let world = World::start();
        world
            .vendor
            .behavior(json!({"operations": {"create": {"async": {
                "after": "manual", "status": code, "retryAfter": "0s",
            }}}}));
        world.subscribe("mail", json!({}));
        let mail = world.stands("mail", "Ready", "False Provisioning");
        assert!(standing(&mail, "Reconciling").starts_with("True "));
        assert_eq!(standing(&mail, "Stalled"), "-");
        assert_eq!(standing(&mail, "Approved"), "Unknown Pending");
        assert_eq!(mail["status"]["state"], "Processing");
        assert_eq!(mail["status"]["request"]["type"], "Purchase");
        assert_eq!(mail["status"]["request"]["status"], "Pending");
        assert_eq!(status(Some(&mail)), Status::InProgress);

        // Read until it is decided, and nothing is written meanwhile.
        world.eventually("it is asked for twice", SOON, || {
            let gets = world.vendor.count("get");
            if gets >= 2 { Ok(()) } else { Err(gets) }
        });
        let version = |mail: &Value| mail["metadata"]["resourceVersion"].clone();
        assert_eq!(version(&world.sub("mail")), version(&mail));

        world.vendor.approve(&tenant(&world));
        let mail = world.ready("mail");
        assert_eq!(standing(&mail, "Ready"), "True Active");
        assert_eq!(standing(&mail, "Approved"), "True Approved");
        assert_eq!(standing(&mail, "Reconciling"), "-");
        assert_eq!(mail["status"]["state"], "Active");
        assert_eq!(mail["status"]["request"]["status"], "Approved");
        assert_eq!(status(Some(&mail)), Status::Current);
        assert_eq!(world.vendor.count("create"), 1);
    }
}

#[test]
fn the_vendor_says_when_to_ask_again() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {
            "after": "manual", "retryAfter": "3s",
        }}}}));
    world.subscribe("mail", json!({}));
    let calls = world.eventually("it is asked for twice", SOON, || {
        let calls = world.vendor.calls();
        if calls.len() >= 3 {
            Ok(calls)
        } else {
            Err(calls.len())
        }
    });
    assert_eq!(operations(&calls[..3]), ["create", "get", "get"]);
    for pair in calls.windows(2) {
        let waited = pair[1].time().duration_since(pair[0].time());
        assert!(waited.as_secs_f64() >= 2.9, "polled after {waited:?}");
    }
}

#[test]
fn a_purchase_that_the_vendor_fails_is_tried_again_only_when_asked() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {
            "after": "500ms", "outcome": "fail", "reason": "no_stock",
        }}}}));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert!(standing(&mail, "Approved").starts_with("False "));
    assert!(message(&mail, "Ready").contains("no_stock"), "{mail:#}");
    assert_eq!(mail["status"]["state"], "Terminated");
    assert_eq!(mail["status"]["request"]["status"], "Failed");
    assert_eq!(status(Some(&mail)), Status::Failed);
    let first = mail["status"]["externalId"].clone();

    // Not by a new process nor by a change of no meaning.
    world.operator.restart();
    world.annotate("mail", "example.com/touched=yes");
    assert_eq!(world.vendor.count("create"), 1);

    // A person asks: one try, and not under the name of the tenant that failed.
    world.request("mail", "again");
    let mail = world.until("it has failed again", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "again"
            && mail["status"]["request"]["status"] == "Failed"
            && mail["status"]["externalId"] != first
    });
    let tried = world.vendor.tenants();
    assert_eq!(tried.len(), 2);
    assert_eq!(tried[0]["externalId"], first);
    assert_eq!(tried[1]["externalId"], mail["status"]["externalId"]);

    // The spec changes.
    world.vendor.behavior(at_once("create"));
    world.subscribe("mail", json!({"limits": {"seats": 40}}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    assert_eq!(world.vendor.tenants().len(), 3);
}

#[test]
fn an_inquiry_names_the_parameter_and_is_answered_by_the_spec() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {
            "after": "200ms", "outcome": "inquire", "reason": "phone",
            "parameterErrors": {"contact_phone": "not a phone number"},
        }}}}));
    let subscribe = |phone: &str| {
        world.subscribe(
            "mail",
            json!({"parameters": [{"name": "contact_phone", "value": phone}]}),
        );
    };
    subscribe("many");
    let mail = world.stands("mail", "Ready", "False Inquiring");
    assert_eq!(standing(&mail, "Stalled"), "True Inquiring");
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert_eq!(standing(&mail, "Approved"), "Unknown Inquiring");
    assert_eq!(mail["status"]["state"], "Processing");
    assert_eq!(mail["status"]["request"]["status"], "Inquiring");
    assert_eq!(
        mail["status"]["parameterErrors"],
        json!([{"name": "contact_phone", "message": "not a phone number"}])
    );
    assert!(message(&mail, "Ready").contains("contact_phone"));
    assert_eq!(status(Some(&mail)), Status::Failed);

    subscribe("+1 201 555 0123");
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["parameterErrors"], Value::Null);
    let tenant = world.vendor.tenant();
    assert_eq!(
        tenant["terms"]["parameters"]["contact_phone"],
        "+1 201 555 0123"
    );
    assert_eq!(world.vendor.count("create"), 1);
    let calls = world.vendor.calls();
    let change = calls
        .iter()
        .find(|call| call.operation() == "change")
        .unwrap();
    assert_eq!(
        change.body()["parameters"],
        json!({"contact_phone": "+1 201 555 0123"})
    );
}

#[test]
fn an_inquiry_that_the_vendor_ends_itself_is_noticed() {
    let world = World::start();
    world.vendor.behavior(by_hand("create"));
    world.subscribe("mail", json!({}));
    let id = tenant(&world);
    world.vendor.decide(
        &id,
        json!({"status": "inquiring", "reason": "credit check"}),
    );
    let mail = world.stands("mail", "Ready", "False Inquiring");
    assert!(message(&mail, "Ready").contains("credit check"));
    world.vendor.approve(&id);
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn changes_made_while_the_vendor_is_busy_converge_to_the_newest() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.vendor.behavior(by_hand("change"));
    let id = tenant(&world);
    let subscribe = |seats: i64| world.subscribe("mail", json!({"limits": {"seats": seats}}));

    subscribe(60);
    let mail = world.stands("mail", "Ready", "False Changing");
    assert_eq!(mail["status"]["state"], "Active");
    assert_eq!(mail["status"]["request"]["type"], "Change");
    assert_eq!(standing(&mail, "Approved"), "Unknown Pending");
    subscribe(70);
    subscribe(80);
    // Seen, and waiting for its turn.
    let mail = world.until(
        "the newest spec is seen",
        "Subscription",
        "mail",
        is_observed,
    );
    assert_ne!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["limits"]["seats"], 50);
    assert_eq!(status(Some(&mail)), Status::InProgress);

    world.vendor.approve(&id);
    // Then the newest is asked for; 70 is nobody's wish any more.
    world.eventually("the next change is sent", SOON, || {
        world.vendor.tenant()["open"]["terms"]["limits"]["seats"]
            .as_i64()
            .filter(|seats| *seats == 80)
            .ok_or("not yet")
    });
    world.vendor.approve(&id);
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["limits"]["seats"], 80);
    assert_eq!(mail["status"]["request"]["generation"], 4);
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 80);
    let calls = world.vendor.calls();
    let sent = calls
        .iter()
        .filter(|call| call.0["effect"]["kind"] == "changed" || call.operation() == "change");
    let seats: Vec<_> = sent
        .map(|call| call.body()["limits"]["seats"].clone())
        .collect();
    assert_eq!(seats, [60, 80]);
}

#[test]
fn a_change_during_the_purchase_waits_for_it() {
    let world = World::start();
    world.vendor.behavior(by_hand("create"));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False Provisioning");
    world.subscribe(
        "mail",
        json!({"limits": {"seats": 60}, "state": "Suspended"}),
    );
    let mail = world.stands("mail", "Ready", "False Provisioning");
    assert_eq!(mail["status"]["request"]["type"], "Purchase");
    assert_eq!(mail["status"]["request"]["generation"], 1);
    world.vendor.approve(&tenant(&world));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Suspended");
    let tenant = world.vendor.tenant();
    assert_eq!(tenant["limits"]["seats"], 60);
    assert_eq!(tenant["status"], "suspended");
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_change_that_the_vendor_fails_leaves_it_active_with_its_old_limits() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world
        .vendor
        .behavior(json!({"operations": {"change": {"async": {
            "after": "200ms", "outcome": "fail", "reason": "quota",
        }}}}));
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert!(standing(&mail, "Approved").starts_with("False "));
    assert_eq!(mail["status"]["state"], "Active");
    assert_eq!(mail["status"]["limits"]["seats"], 50);
    assert!(message(&mail, "Ready").contains("quota"));
    // Terminal: looking at it again by itself does not send it again.
    world.operator.restart();
    world.annotate("mail", "example.com/touched=yes");
    assert_eq!(world.vendor.count("change"), 1);

    world.vendor.behavior(at_once("change"));
    world.request("mail", "again");
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["limits"]["seats"], 60);
    assert_eq!(world.vendor.count("change"), 2);
}

#[test]
fn suspend_resume_and_delete_are_followed_until_they_are_done() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    for operation in ["disable", "enable", "delete"] {
        world.vendor.behavior(by_hand(operation));
    }
    let id = tenant(&world);

    world.subscribe("mail", json!({"state": "Suspended"}));
    let mail = world.stands("mail", "Ready", "False Suspending");
    assert_eq!(mail["status"]["state"], "Active");
    world.vendor.approve(&id);
    assert_eq!(standing(&world.ready("mail"), "Ready"), "True Suspended");

    world.subscribe("mail", json!({"state": "Active"}));
    let mail = world.stands("mail", "Ready", "False Resuming");
    assert_eq!(mail["status"]["state"], "Suspended");
    world.vendor.approve(&id);
    assert_eq!(standing(&world.ready("mail"), "Ready"), "True Active");

    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    let mail = world.stands("mail", "Ready", "False Terminating");
    assert!(standing(&mail, "Reconciling").starts_with("True "));
    assert_eq!(mail["status"]["state"], "Terminating", "{mail:#}");
    assert_eq!(mail["status"]["request"]["type"], "Cancel");
    assert_eq!(status(Some(&mail)), Status::Terminating);
    world.vendor.approve(&id);
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.count("delete"), 1);
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_purchase_past_its_deadline_is_stalled_and_a_late_result_is_taken() {
    let world = World::builder()
        .connection(json!({"timeouts": {"provisioning": "1s"}}))
        .start();
    world.vendor.behavior(by_hand("create"));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False ProvisioningTimeout");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert!(standing(&mail, "Approved").starts_with("Unknown "));
    assert_eq!(status(Some(&mail)), Status::Failed);

    // It is looked at again, and never bought again.
    world.request("mail", "look");
    world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    world.operator.restart();
    world.stands("mail", "Ready", "False ProvisioningTimeout");
    world.vendor.approve(&tenant(&world));
    world.request("mail", "again");
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert_eq!(world.vendor.count("create"), 1);
    assert_eq!(world.vendor.count("tenants"), 1);
}
