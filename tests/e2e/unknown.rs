//! A vendor that offers nothing to make a create safe: what cannot be known is held for a person.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use e2e::{
    World,
    objects::{message, standing},
};
use serde_json::{Value, json};

/// A subscription the answer to whose create was lost; the tenant exists.
fn lost(world: &World) -> Value {
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}}));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert!(standing(&mail, "Approved").starts_with("Unknown "));
    assert_eq!(mail["status"]["request"]["type"], "Purchase");
    assert_eq!(mail["status"]["request"]["status"], "Unknown");
    assert_eq!(world.vendor.count("create"), 1);
    mail
}

/// The command for an answer as it stands in the condition's message, ready to paste; for none at all
/// where that is to be taken away.
fn command(mail: &Value, answer: &str) -> Vec<String> {
    let message = message(mail, "Ready");
    let ending = match answer {
        "-" => "resolve-create-".to_owned(),
        answer => format!("={answer}:"),
    };
    let from = message
        .match_indices("kubectl ")
        .map(|(at, _)| &message[at..])
        .find(|rest| {
            rest.split_whitespace()
                .take(12)
                .any(|word| word.contains(&ending))
        });
    let Some(from) = from else {
        panic!("no kubectl command for {answer} in: {message}");
    };
    let mut words = Vec::new();
    for word in from.split_whitespace().skip(1) {
        let plain = word.trim_matches(['`', '\'', '"', ';', ',', ')', '.']);
        words.push(plain.to_owned());
        if plain.contains(&ending) {
            break;
        }
    }
    // What may follow the annotation.
    words.push("--overwrite".to_owned());
    words
}

fn run(world: &World, command: &[String]) {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    world.kubectl(&words);
}

#[test]
fn a_purchase_at_a_bare_vendor_is_one_call() {
    let world = World::builder().identity_none().start();
    world.subscribe("mail", json!({}));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    assert_eq!(world.vendor.count("create"), 1);
    world.unsubscribe("mail");
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("create"), 2);
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_lost_answer_is_held_and_the_tenant_found_by_a_person_is_adopted() {
    let world = World::builder().identity_none().start();
    let mail = lost(&world);
    let held = mail["status"]["request"]["id"].clone();

    // Nothing that a user or a machine does meanwhile sends the create again.
    world.request("mail", "look");
    world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    world.operator.kill9();
    world.operator.start();
    world.request("mail", "look again");
    let mail = world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look again"
    });
    assert_eq!(standing(&mail, "Ready"), "False CreateOutcomeUnknown");
    assert_eq!(mail["status"]["request"]["id"], held);
    assert_eq!(world.vendor.count("create"), 1);

    // A tenant that the vendor does not have is refused.
    let mut adopt = command(&mail, "adopt");
    let id = world.vendor.tenant()["id"].as_str().unwrap().to_owned();
    let annotation = adopt
        .iter()
        .position(|word| word.contains("=adopt:"))
        .unwrap();
    let (key, _) = adopt[annotation].split_once("=adopt:").unwrap();
    let answers = [
        format!("{key}=adopt:t-nobodys"),
        format!("{key}=adopt:{id}"),
    ];
    adopt[annotation].clone_from(&answers[0]);
    run(&world, &adopt);
    let mail = world.until("it is refused", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("t-nobodys")
    });
    assert_eq!(standing(&mail, "Ready"), "False CreateOutcomeUnknown");

    adopt[annotation].clone_from(&answers[1]);
    run(&world, &adopt);
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert_eq!(mail["status"]["tenantId"], *id);
    // What was declared meanwhile is done.
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 60);
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_tenant_of_another_subscription_is_not_adopted() {
    let world = World::builder().identity_none().start();
    world.subscribe("first", json!({}));
    let taken = world.ready("first")["status"]["tenantId"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}}));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    world.annotate(
        "mail",
        &format!("fulfillment-operator.io/resolve-create=adopt:{taken}"),
    );
    let mail = world.until("it is refused", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains(&taken)
    });
    assert_eq!(standing(&mail, "Ready"), "False CreateOutcomeUnknown");
    assert_ne!(mail["status"]["tenantId"], *taken);
    assert!(message(&mail, "Ready").contains("first"), "{mail:#}");
}

#[test]
fn a_lost_create_that_had_no_effect_is_sent_again_when_a_person_says_so() {
    let world = World::builder()
        .identity_none()
        .operator_arg("--settle=15s")
        .start();
    world.vendor.fault(json!({
        "method": "POST", "path": "/tenant", "fault": {"closeAfter": true, "effect": false},
    }));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    let held = mail["status"]["request"]["id"].as_str().unwrap().to_owned();

    // An answer to another request is ignored, and said to be.
    world.annotate(
        "mail",
        "fulfillment-operator.io/resolve-create=none:another",
    );
    let mail = world.until("it is ignored", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("another")
    });
    assert_eq!(standing(&mail, "Ready"), "False CreateOutcomeUnknown");
    assert_eq!(world.vendor.count("create"), 1);

    // It may still take effect: what a person says now counts when it cannot any more.
    let none = command(&mail, "none");
    assert!(
        none.iter()
            .any(|word| word.ends_with(&format!("=none:{held}"))),
        "{none:?}"
    );
    run(&world, &none);
    let mail = world.until("it is told from when on", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("look again then")
    });
    assert_eq!(mail["status"]["request"]["settledAt"], Value::Null);
    assert_eq!(world.vendor.count("create"), 1);
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    assert_eq!(world.vendor.count("create"), 2);

    // Left in place it never answers the next one.
    world.unsubscribe("mail");
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}}));
    let mut object: Value =
        serde_json::from_str(&e2e::objects::subscription("mail", json!({}))).unwrap();
    object["metadata"]["annotations"] =
        json!({"fulfillment-operator.io/resolve-create": format!("none:{held}")});
    world.apply(&object.to_string());
    world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    world.request("mail", "look");
    world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    assert_eq!(world.vendor.count("create"), 3);
}

#[test]
fn a_deletion_of_what_may_exist_is_held_too() {
    let world = World::builder().identity_none().start();
    lost(&world);
    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    let mail = world.until("the deletion is seen", "Subscription", "mail", |mail| {
        mail["metadata"]["deletionTimestamp"].is_string()
            && e2e::objects::is_observed(mail)
            && message(mail, "Ready").contains("kubectl")
    });
    assert!(
        !mail["metadata"]["finalizers"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.vendor.count("live"), 1);

    let id = world.vendor.tenant()["id"].as_str().unwrap().to_owned();
    world.annotate(
        "mail",
        &format!("fulfillment-operator.io/resolve-create=adopt:{id}"),
    );
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn an_admin_may_choose_to_risk_a_second_tenant() {
    let world = World::builder()
        .identity_none()
        .connection(json!({"policies": {"onUnknownOutcome": "Retry"}}))
        .start();
    world.vendor.fault(json!({
        "method": "POST", "path": "/tenant", "fault": {"closeAfter": true, "effect": false},
    }));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    assert_eq!(world.vendor.count("create"), 2);
    assert_eq!(world.vendor.count("live"), 1);
}
