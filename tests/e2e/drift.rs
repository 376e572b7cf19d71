//! What changes at the vendor behind the operator's back.

use e2e::{
    SOON, World,
    objects::{condition, message, standing},
    vendor::operations,
};
use serde_json::{Value, json};

/// The id of the only tenant.
fn tenant(world: &World) -> String {
    world.vendor.tenant()["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The newest request in the history.
fn latest(object: &Value) -> &Value {
    &object["status"]["history"][0]
}

#[test]
fn changed_limits_are_found_within_the_interval_and_corrected() {
    let world = World::start();
    world.subscribe("mail", json!({"interval": "10s"}));
    let mail = world.ready("mail");
    world
        .vendor
        .patch_tenant(&tenant(&world), json!({"limits": {"seats": 5}}));

    // Without help: ten seconds, 10 % more, and what a busy machine takes.
    let created = world.vendor.calls()[0].time();
    let mail = world.until("it is corrected", "Subscription", "mail", |now| {
        latest(now)["id"] != latest(&mail)["id"]
    });
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["limits"]["seats"], 50);
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create", "get", "change"]);
    let waited = calls[1].time().duration_since(created).as_secs_f64();
    assert!((8.9..16.0).contains(&waited), "read after {waited} s");

    let request = latest(&mail);
    assert_eq!(request["type"], "Change");
    assert_eq!(request["status"], "Approved");
    let said = request["message"].as_str().unwrap_or_default();
    for word in ["limits.seats", "50", "5"] {
        assert!(said.contains(word), "{said}");
    }
    let note = world.event("mail", "DriftCorrected");
    assert!(note.contains("limits.seats"), "{note}");
    assert_eq!(mail["status"]["drift"], Value::Null);
    assert!(world.operator.metrics().contains("fulfillment_drift_total"));
}

#[test]
fn a_tenant_suspended_or_resumed_by_somebody_else_is_set_right() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world
        .vendor
        .patch_tenant(&tenant(&world), json!({"status": "suspended"}));
    world.request("mail", "one");
    let mail = world.until("it is resumed", "Subscription", "mail", |mail| {
        latest(mail)["type"] == "Resume"
    });
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert!(
        latest(&mail)["message"]
            .as_str()
            .is_some_and(|said| said.contains("state")),
        "{mail:#}"
    );
    assert!(world.event("mail", "DriftCorrected").contains("state"));
    assert_eq!(world.vendor.tenant()["status"], "active");

    world.subscribe("mail", json!({"state": "Suspended"}));
    world.ready("mail");
    world
        .vendor
        .patch_tenant(&tenant(&world), json!({"status": "active"}));
    world.request("mail", "two");
    world.until("it is suspended again", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "two" && latest(mail)["type"] == "Suspend"
    });
    assert_eq!(world.vendor.tenant()["status"], "suspended");
}

#[test]
fn all_that_differs_is_named_and_what_is_not_declared_is_let_be() {
    let world = World::start();
    world.subscribe(
        "mail",
        json!({"limits": {"seats": 50, "storageGiB": "unlimited"}}),
    );
    world.ready("mail");
    world.vendor.patch_tenant(
        &tenant(&world),
        json!({"limits": {"seats": 5, "storageGiB": 7, "extra": 1}}),
    );
    world.request("mail", "one");
    let mail = world.until("it is corrected", "Subscription", "mail", |mail| {
        latest(mail)["type"] == "Change"
    });
    let said = latest(&mail)["message"].as_str().unwrap_or_default();
    for word in ["limits.seats", "limits.storageGiB", "unlimited"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("extra"), "{said}");
    assert_eq!(
        world.vendor.tenant()["limits"],
        json!({"seats": 50, "storageGiB": "unlimited", "extra": 1})
    );
    // Once: the next look finds nothing.
    world.request("mail", "two");
    world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "two"
    });
    assert_eq!(world.vendor.count("change"), 1);
}

#[test]
fn a_vanished_tenant_is_purchased_again() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    let first = world.ready("mail");
    world.vendor.vanish(&tenant(&world));
    world.request("mail", "one");
    let mail = world.until("there is another tenant", "Subscription", "mail", |mail| {
        mail["status"]["tenantId"] != first["status"]["tenantId"]
            && standing(mail, "Ready") == "True Active"
    });
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    assert_eq!(latest(&mail)["type"], "Purchase");
    assert_eq!(world.vendor.count("create"), 2);
}

#[test]
fn a_terminated_tenant_is_purchased_again_under_another_name() {
    let world = World::start();
    world.vendor.behavior(json!({"keepTerminated": true}));
    world.subscribe("mail", json!({}));
    let first = world.ready("mail");
    world
        .vendor
        .patch_tenant(&tenant(&world), json!({"status": "terminated"}));
    world.request("mail", "one");
    let mail = world.until("there is another tenant", "Subscription", "mail", |mail| {
        mail["status"]["tenantId"] != first["status"]["tenantId"]
            && standing(mail, "Ready") == "True Active"
    });
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    assert_ne!(mail["status"]["externalId"], first["status"]["externalId"]);
}

#[test]
fn a_vanished_tenant_is_only_reported_where_the_policy_says_so() {
    let world = World::builder()
        .connection(json!({"policies": {"onMissing": "Report"}}))
        .start();
    world.vendor.behavior(json!({"keepTerminated": true}));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let id = tenant(&world);
    // As a tenant that comes back can be had.
    world.vendor.fault(json!({
        "method": "GET", "path": format!("/tenant/{id}"), "times": "unlimited",
        "fault": {"status": 404, "body": {"error": {"code": "not_found", "message": "no such tenant"}}},
    }));
    world.request("mail", "one");
    let mail = world.stands("mail", "Ready", "False TenantMissing");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
    assert!(message(&mail, "Ready").contains(&id), "{mail:#}");
    world.operator.restart();
    world.request("mail", "two");
    world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "two"
    });
    world.stands("mail", "Ready", "False TenantMissing");
    assert_eq!(world.vendor.count("create"), 1);

    world.vendor.clear_faults();
    world.request("mail", "three");
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert_eq!(mail["status"]["tenantId"], *id);
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_correction_that_the_vendor_takes_and_forgets_is_shown_as_drift() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let id = tenant(&world);
    world
        .vendor
        .patch_tenant(&id, json!({"limits": {"seats": 5}}));
    // It says yes, with the tenant as it is, and does nothing.
    let unchanged = json!({
        "id": id, "status": "active", "limits": {"seats": 5}, "parameters": {}, "sensitive": [],
        "request": {"status": "approved", "reason": "", "parameterErrors": {}},
    });
    world.vendor.fault(json!({
        "method": "PUT", "path": format!("/tenant/{id}"), "times": "unlimited",
        "fault": {"status": 200, "body": unchanged},
    }));
    world.request("mail", "one");
    let mail = world.stands("mail", "Ready", "False Drifted");
    assert!(standing(&mail, "Reconciling").starts_with("True "));
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert!(message(&mail, "Ready").contains("limits.seats"));
    let drift = &mail["status"]["drift"][0];
    assert_eq!(drift["field"], "limits.seats");
    assert_eq!(drift["desired"], "50");
    assert_eq!(drift["observed"], "5");
    assert!(drift["since"].is_string());

    world.vendor.clear_faults();
    world.request("mail", "two");
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["drift"], Value::Null);
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
}

#[test]
fn a_correction_that_cannot_be_made_is_shown_as_drift() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let id = tenant(&world);
    world
        .vendor
        .patch_tenant(&id, json!({"limits": {"seats": 5}}));
    world.vendor.fault(json!({
        "method": "PUT", "path": "*", "times": "unlimited", "fault": {"status": 503},
    }));
    world.request("mail", "one");
    let mail = world.eventually("the difference is shown", SOON, || {
        let mail = world.sub("mail");
        let shown = mail["status"]["drift"][0]["field"] == "limits.seats";
        let ready = condition(&mail, "Ready").is_some_and(|ready| ready["status"] == "True");
        if shown && !ready {
            Ok(mail)
        } else {
            Err(mail["status"].to_string())
        }
    });
    assert_eq!(mail["status"]["drift"][0]["observed"], "5");
    world.vendor.clear_faults();
    world.request("mail", "two");
    world.until("it is corrected", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "True Active" && mail["status"]["drift"].is_null()
    });
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
}
