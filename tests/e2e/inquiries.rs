//! Refusals and inquiries that are about parameters: what stands, and what answers them.

use e2e::{
    World,
    objects::{message, standing},
    vendor::operations,
};
use serde_json::{Value, json};

fn phone(value: &str) -> Value {
    json!({"parameters": [{"name": "contact_phone", "value": value}]})
}

fn bought() -> World {
    let world = World::builder()
        .connection(json!({"polling": {"pending": "1s"}}))
        .start();
    world.subscribe("mail", phone("+1 201 555 0100"));
    world.ready("mail");
    world
}

/// The next calls of this method are refused, with or without naming the parameter.
fn refuse(world: &World, method: &str, parameters: &Value) {
    let error = json!({"code": "bad_phone", "message": "no such number", "parameters": parameters});
    world.vendor.fault(json!({
        "method": method, "path": "/tenant*", "times": "unlimited",
        "fault": {"status": 422, "body": {"error": error}},
    }));
}

fn changes(world: &World) -> usize {
    let calls = world.vendor.calls();
    operations(&calls)
        .iter()
        .filter(|o| **o == "change")
        .count()
}

#[test]
fn parameters_that_the_vendor_refuses_are_no_parameters_it_has() {
    let world = bought();
    refuse(&world, "PUT", &json!({}));
    world.subscribe("mail", phone("555"));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    assert_eq!(standing(&mail, "Approved"), "False RequestFailed");
    assert!(message(&mail, "Ready").contains("no such number"));

    // Looked at again it stays so: it is not sent again by itself, nor taken for done.
    world.operator.restart();
    world.annotate("mail", "example.com/touched=yes");
    world.stands("mail", "Ready", "False RequestFailed");
    assert_eq!(changes(&world), 1);
    // A person may ask for one more try.
    world.request("mail", "again");
    world.until("tried again", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "again"
            && standing(mail, "Ready") == "False RequestFailed"
    });
    assert_eq!(changes(&world), 2);

    // The way back is what the vendor has, without a call.
    world.subscribe("mail", phone("+1 201 555 0100"));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
    assert_eq!(changes(&world), 2);
}

#[test]
fn parameters_that_the_vendor_fails_in_its_own_time_are_none_it_has() {
    let world = bought();
    world
        .vendor
        .behavior(json!({"operations": {"change": {"async": {
            "after": "200ms", "outcome": "fail", "reason": "no such number",
        }}}}));
    world.subscribe("mail", phone("555"));
    world.stands("mail", "Ready", "False RequestFailed");
    world.annotate("mail", "example.com/touched=yes");
    world.stands("mail", "Ready", "False RequestFailed");
    world
        .vendor
        .behavior(json!({"operations": {"change": "sync"}}));
    world.request("mail", "again");
    world.ready("mail");
    assert_eq!(
        world.vendor.tenant()["terms"]["parameters"]["contact_phone"],
        "555"
    );
    assert_eq!(changes(&world), 2);
}

#[test]
fn a_refusal_that_names_a_parameter_waits_for_its_author_and_nobody_else() {
    let world = bought();
    refuse(&world, "PUT", &json!({"contact_phone": "too short"}));
    world.subscribe("mail", phone("555"));
    let mail = world.stands("mail", "Ready", "False Inquiring");
    assert_eq!(
        mail["status"]["parameterErrors"],
        json!([{"name": "contact_phone", "message": "too short"}])
    );
    assert_eq!(mail["status"]["request"]["status"], "Inquiring");
    // What the vendor says of its own, earlier request is no answer to this one.
    world.vendor.clear_faults();
    world.request("mail", "look");
    let mail = world.until("looked at", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    // Asked to, it was sent again, and this time it was taken.
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(changes(&world), 2);

    refuse(&world, "PUT", &json!({"contact_phone": "too short"}));
    world.subscribe("mail", phone("556"));
    world.stands("mail", "Ready", "False Inquiring");
    let sequence = world.vendor.sequence();
    let id = world.sub("mail")["status"]["request"]["id"].clone();
    world.operator.restart();
    world.annotate("mail", "example.com/touched=yes");
    world.stands("mail", "Ready", "False Inquiring");
    let since = world.vendor.calls_since(sequence);
    assert!(!operations(&since).contains(&"change"), "{since:?}");

    world.vendor.clear_faults();
    world.subscribe("mail", phone("+1 201 555 0123"));
    let mail = world.ready("mail");
    assert_eq!(
        mail["status"]["request"]["id"], id,
        "the same request goes on"
    );
    assert_eq!(mail["status"]["parameterErrors"], Value::Null);
    assert_eq!(changes(&world), 4);
}

#[test]
fn an_order_whose_parameter_is_refused_goes_on_when_it_is_edited() {
    let world = World::start();
    refuse(&world, "POST", &json!({"contact_phone": "too short"}));
    world.subscribe("mail", phone("555"));
    let mail = world.stands("mail", "Ready", "False Inquiring");
    assert_eq!(mail["status"]["request"]["type"], "Purchase");
    assert_eq!(
        mail["status"]["parameterErrors"][0]["name"],
        "contact_phone"
    );
    let described = world.kubectl(&["describe", "fsub", "mail"]);
    for words in ["contact_phone: too short", "edit spec to answer"] {
        assert!(described.contains(words), "{described}");
    }
    world.vendor.clear_faults();
    world.subscribe("mail", phone("+1 201 555 0123"));
    world.ready("mail");
    assert_eq!(world.vendor.count("live"), 1);
    assert_eq!(world.vendor.count("create"), 2);
}

#[test]
fn a_refusal_that_names_a_limit_is_answered_by_a_limit() {
    let world = bought();
    refuse(
        &world,
        "PUT",
        &json!({"limits.seats": "at most 20 are sold at once"}),
    );
    let mut spec = phone("+1 201 555 0100");
    spec["limits"] = json!({"seats": 60});
    world.subscribe("mail", spec.clone());
    let mail = world.stands("mail", "Ready", "False Inquiring");
    assert!(message(&mail, "Ready").contains("limits.seats: at most 20"));
    assert_eq!(mail["status"]["limits"]["seats"], 50);
    let before = changes(&world);
    world.vendor.clear_faults();
    spec["limits"] = json!({"seats": 20});
    world.subscribe("mail", spec);
    world.until("answered", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "True Active" && mail["status"]["limits"]["seats"] == 20
    });
    assert_eq!(changes(&world), before + 1);
}

#[test]
fn taken_back_what_was_refused_is_asked_for_no_more() {
    let world = bought();
    refuse(&world, "PUT", &json!({"contact_phone": "too short"}));
    world.subscribe("mail", phone("555"));
    world.stands("mail", "Ready", "False Inquiring");
    world.subscribe("mail", phone("+1 201 555 0100"));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["request"]["type"], "Purchase");
    assert_eq!(mail["status"]["request"]["status"], "Approved");
    assert_eq!(mail["status"]["parameterErrors"], Value::Null);
    assert_eq!(changes(&world), 1);
}
