//! What keeps a mistake from ending tenants: the grace period, paced deletes, and a definition that
//! is being deleted.

use e2e::{
    World,
    objects::{message, standing},
    vendor::operations,
};
use serde_json::json;

fn delete(world: &World, name: &str) {
    world.kubectl(&["delete", "subscription", name, "--wait=false"]);
}

#[test]
fn in_the_grace_period_the_tenant_is_suspended_and_then_deleted() {
    let world = World::start();
    world.subscribe("mail", json!({"deletionGracePeriod": "1h"}));
    world.ready("mail");
    delete(&world, "mail");
    let mail = world.until("it is suspended", "Subscription", "mail", |mail| {
        mail["status"]["state"] == "Suspended" && standing(mail, "Ready") == "False Terminating"
    });
    assert!(
        message(&mail, "Ready").contains("deletionPolicy: Retain"),
        "{mail}"
    );
    assert_eq!(world.vendor.tenant()["status"], "suspended");
    // Whoever does not want to wait says so.
    let now = r#"{"spec":{"deletionGracePeriod":"0s"}}"#;
    world.kubectl(&["patch", "subscription", "mail", "--type=merge", "-p", now]);
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "disable", "delete", "get"]
    );
}

#[test]
fn a_grace_period_that_ends_deletes_the_tenant_by_itself() {
    let world = World::start();
    world.subscribe("mail", json!({"deletionGracePeriod": "3s"}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "disable", "delete", "get"]
    );
}

#[test]
fn in_the_grace_period_a_subscription_can_be_taken_back() {
    for mode in ["ExternalId", "Lookup"] {
        let world = World::builder().identity(mode).start();
        let spec = json!({"deletionGracePeriod": "1h"});
        world.subscribe("mail", spec.clone());
        let before = world.ready("mail");
        delete(&world, "mail");
        world.until("it is suspended", "Subscription", "mail", |mail| {
            mail["status"]["state"] == "Suspended"
        });
        let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
        world.kubectl(&[
            "patch",
            "subscription",
            "mail",
            "--type=merge",
            "-p",
            retain,
        ]);
        world.gone("Subscription", "mail");
        world.subscribe("mail", spec);
        let after = world.ready("mail");
        assert_eq!(
            after["status"]["tenantId"], before["status"]["tenantId"],
            "{mode}"
        );
        assert_eq!(world.vendor.tenant()["status"], "active", "{mode}");
    }
}

#[test]
fn a_vendor_that_deletes_no_active_tenant_is_asked_to_suspend_it_first() {
    let world = World::builder()
        .connection(json!({"policies": {"suspendBeforeDelete": true}}))
        .start();
    world.vendor.behavior(json!({"deleteOnlySuspended": true}));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "disable", "delete", "get"]
    );
}

#[test]
fn deletes_beyond_the_limit_wait_and_say_until_when() {
    let world = World::builder()
        .connection(json!({"policies": {"maxDeletesPerMinute": 2}}))
        .start();
    for name in ["a", "b", "c"] {
        world.subscribe(name, json!({}));
        world.ready(name);
    }
    world.kubectl(&["delete", "subscription", "--all", "--wait=false"]);
    world.eventually("one is left", e2e::SOON, || {
        match world.list("Subscription").len() {
            1 => Ok(()),
            left => Err(format!("{left} left")),
        }
    });
    let left = world.list("Subscription")[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let waiting = world.stands(&left, "Ready", "False DeletesPaced");
    assert!(
        message(&waiting, "Ready").contains("maxDeletesPerMinute"),
        "{waiting}"
    );
    assert_eq!(world.vendor.count("live"), 1);
    let spec = json!({"policies": {"maxDeletesPerMinute": 0}});
    world.apply(&e2e::objects::connection(world.vendor.url(), spec));
    world.gone("Subscription", &left);
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_definition_that_is_deleted_deletes_no_tenant() {
    let world = World::builder().cluster_wide().start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let crd = "subscriptions.fulfillment-operator.io";
    world.kubectl(&["delete", "customresourcedefinition", crd, "--wait=false"]);
    let mail = world.stands("mail", "Ready", "False CRDTerminating");
    assert!(
        message(&mail, "Ready").contains("deletionPolicy: Retain"),
        "{mail}"
    );
    assert_eq!(world.vendor.count("live"), 1);
    let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
    world.kubectl(&[
        "patch",
        "subscription",
        "mail",
        "--type=merge",
        "-p",
        retain,
    ]);
    world.kubectl(&[
        "wait",
        "--for=delete",
        "customresourcedefinition",
        crd,
        "--timeout=60s",
    ]);
    assert_eq!(world.vendor.count("live"), 1);
}
