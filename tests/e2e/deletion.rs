//! The end of a subscription, and what may come after it.

use e2e::{
    SOON, World,
    kstatus::{Status, status},
    objects::{self, standing},
    vendor::operations,
};
use serde_json::json;

#[test]
fn deleting_the_object_deletes_the_tenant_first() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let before = world.vendor.sequence();
    world.unsubscribe("mail");
    assert_eq!(
        operations(&world.vendor.calls_since(before)),
        ["delete", "get"]
    );
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(
        status(world.find("Subscription", "mail").as_ref()),
        Status::NotFound
    );
}

#[test]
fn one_that_was_never_purchased_is_deleted_without_a_call() {
    let world = World::start();
    world.subscribe("mail", json!({"connectionRef": {"name": "nobody"}}));
    world.stands("mail", "Ready", "False DependencyNotReady");
    world.unsubscribe("mail");
    assert_eq!(operations(&world.vendor.calls()), [""; 0]);
}

#[test]
fn one_whose_purchase_failed_is_deleted() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {
            "after": "0s", "outcome": "fail",
        }}}}));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False RequestFailed");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("create"), 1);
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_tenant_is_deleted_while_it_is_provisioned() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {"after": "manual"}}}}));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False Provisioning");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_suspended_tenant_is_deleted() {
    let world = World::start();
    world.subscribe("mail", json!({"state": "Suspended"}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_tenant_that_is_gone_already_ends_the_deletion() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let id = world.vendor.tenant()["id"].as_str().unwrap().to_owned();
    world.vendor.vanish(&id);
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_deletion_waits_for_a_vendor_that_is_down() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.vendor.kill();
    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    let mail = world.stands("mail", "Ready", "False Terminating");
    assert!(standing(&mail, "Reconciling").starts_with("True "));
    assert_eq!(status(Some(&mail)), Status::Terminating);
    let why = objects::message(&mail, "Ready");
    assert!(
        why.contains("connect") || why.contains("refused"),
        "says why: {why}"
    );
    // A new process does not give up either.
    world.operator.restart();
    assert!(world.find("Subscription", "mail").is_some());

    world.vendor.run();
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_vendor_that_refuses_to_delete_keeps_the_object_and_is_quoted() {
    let world = World::start();
    let refusals = [401, 403, 409, 500];
    for code in refusals {
        let name = format!("mail-{code}");
        world.subscribe(&name, json!({}));
        let id = &world.ready(&name)["status"]["tenantId"];
        world.vendor.fault(json!({
            "method": "DELETE", "path": format!("/tenant/{}", id.as_str().unwrap()),
            "times": "unlimited", "fault": {"status": code},
        }));
        world.kubectl(&["delete", "subscription", &name, "--wait=false"]);
        world.until(&format!("it says {code}"), "Subscription", &name, |mail| {
            objects::message(mail, "Ready").contains(&code.to_string())
        });
    }
    assert_eq!(world.vendor.count("live"), 4);
    world.vendor.clear_faults();
    for code in refusals {
        let name = format!("mail-{code}");
        world.kubectl_with(
            &[
                "annotate",
                "subscription",
                &name,
                "reconcile.fluxcd.io/requestedAt=now",
            ],
            "",
        );
        world.gone("Subscription", &name);
    }
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn deleted_and_applied_again_it_is_another_tenant() {
    let world = World::start();
    let mut external_ids = Vec::new();
    for round in 1..=3 {
        world.subscribe("mail", json!({}));
        let mail = world.ready("mail");
        assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
        assert_eq!(world.vendor.count("tenants"), round);
        external_ids.push(mail["status"]["externalId"].as_str().unwrap().to_owned());
        world.unsubscribe("mail");
        assert_eq!(world.vendor.count("live"), 0);
    }
    // The vendor keeps an external id for ever: each incarnation needs one of its own.
    external_ids.dedup();
    assert_eq!(external_ids.len(), 3, "{external_ids:?}");
}

#[test]
fn applied_again_while_it_is_being_deleted_it_is_refused_or_lives_afterwards() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"delete": {"async": {"after": "1s"}}}}));
    world.subscribe("mail", json!({}));
    let first = world.ready("mail")["metadata"]["uid"].clone();
    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    // As a GitOps tool does, until it holds.
    world.eventually("the new one is ready", SOON, || {
        world.kubectl_with(
            &["apply", "-f", "-"],
            &objects::subscription("mail", json!({})),
        );
        let mail = world
            .find("Subscription", "mail")
            .ok_or("gone".to_owned())?;
        if mail["metadata"]["uid"] != first && standing(&mail, "Ready") == "True Active" {
            Ok(())
        } else {
            Err(standing(&mail, "Ready"))
        }
    });
    assert_eq!(world.vendor.count("live"), 1);
    assert_eq!(world.vendor.count("tenants"), 2);
}

#[test]
fn retained_the_tenant_stays_and_is_found_again() {
    let world = World::start();
    world.subscribe("mail", json!({"deletionPolicy": "Retain"}));
    let id = world.ready("mail")["status"]["tenantId"]
        .as_str()
        .unwrap()
        .to_owned();
    let before = world.vendor.sequence();
    world.unsubscribe("mail");
    assert!(world.event("mail", "TenantRetained").contains(&id));
    assert_eq!(operations(&world.vendor.calls_since(before)), [""; 0]);
    assert_eq!(world.vendor.count("live"), 1);

    // The same YAML finds the same tenant, and what is declared now is what it gets.
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["tenantId"], *id);
    let tenant = world.vendor.tenant();
    assert_eq!(tenant["id"], *id);
    assert_eq!(tenant["limits"]["seats"], 60);
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.count("tenants"), 1);
}
