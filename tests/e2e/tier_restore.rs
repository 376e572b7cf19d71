//! A reseller's own tenant and its Subscription after a restore, and out of the operator's sight: nothing
//! waits for itself, and nothing is let go while the tenant is there.

use crate::{
    tier_tenants::{active, builder, under, world},
    tiers::tier,
};
use e2e::{
    SOON, World,
    objects::{message, standing, subscription},
    vendor::operations,
};
use serde_json::{Value, json};

/// What a backup tool keeps of an object: no status, and of the metadata what is not the server's. The
/// owners are those of the cluster the backup is of.
fn backup(world: &World, kind: &str, name: &str) -> String {
    let mut object = world.get(kind, name);
    for key in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
    ] {
        object["metadata"][key] = Value::Null;
    }
    object["status"] = Value::Null;
    object.to_string()
}

/// Deletes everything while nobody looks, and brings it back from a backup.
fn restore(world: &World) {
    let kept = [
        ("TierConfiguration", "north"),
        ("Subscription", "north-tier"),
        ("Subscription", "mail"),
    ];
    let backups: Vec<String> = kept.iter().map(|(k, n)| backup(world, k, n)).collect();
    world.operator.stop();
    for (kind, name) in kept {
        let held = r#"{"metadata": {"finalizers": null}}"#;
        world.kubectl(&["patch", kind, name, "--type=merge", "-p", held]);
        world.kubectl(&["delete", kind, name, "--timeout=60s"]);
    }
    for backup in &backups {
        world.apply(backup);
    }
    let (north, own) = (
        world.get("TierConfiguration", "north"),
        world.get("Subscription", "north-tier"),
    );
    let owner = &own["metadata"]["ownerReferences"][0];
    assert_ne!(owner["uid"], north["metadata"]["uid"], "{own}");
}

/// Waits until all stands as before, with the tenants of before.
fn as_before(world: &World, reseller: &Value, customer: &Value) {
    let north = active(world, "north");
    let mail = world.ready("mail");
    assert_eq!(north["status"]["tenantId"], *reseller);
    assert_eq!(mail["status"]["tenantId"], *customer);
    let own = world.get("Subscription", "north-tier");
    assert_eq!(
        own["metadata"]["ownerReferences"][0]["uid"], north["metadata"]["uid"],
        "{own}"
    );
    assert_eq!(own["spec"]["deletionPolicy"], "Delete");
    assert_eq!(world.vendor.live().len(), 2);
    let calls = world.vendor.calls();
    assert!(!operations(&calls).contains(&"delete"));
}

#[test]
fn a_restored_reseller_takes_its_own_subscription_back() {
    let world = world();
    world.apply(&tier("north", json!({})));
    world.subscribe("mail", under("north"));
    let customer = world.ready("mail")["status"]["tenantId"].clone();
    let reseller = active(&world, "north")["status"]["tenantId"].clone();
    restore(&world);
    world.operator.start();
    as_before(&world, &reseller, &customer);
    world.kubectl(&["delete", "--wait=false", "ftier", "north"]);
    world.unsubscribe("mail");
    world.gone("TierConfiguration", "north");
    assert!(world.vendor.live().is_empty());
}

/// The garbage collector deletes what names an owner that is not there: the Subscription would wait for
/// its customers, they for the reseller, and that one for its Subscription.
#[test]
fn a_restored_reseller_keeps_its_tenant_from_the_garbage_collector() {
    let world = world();
    world.apply(&tier("north", json!({})));
    world.subscribe("mail", under("north"));
    let customer = world.ready("mail")["status"]["tenantId"].clone();
    let reseller = active(&world, "north")["status"]["tenantId"].clone();
    restore(&world);
    world.kubectl(&["delete", "--wait=false", "fsub", "north-tier"]);
    world.operator.start();
    as_before(&world, &reseller, &customer);
}

#[test]
fn an_owner_does_not_make_a_subscription_wait_for_itself() {
    let world = world();
    world.apply(&tier("north", json!({})));
    world.subscribe("mail", under("north"));
    world.ready("mail");
    // Some tools set owners so that all goes together.
    let north = active(&world, "north");
    let owners = json!({"metadata": {"ownerReferences": [{
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "TierConfiguration",
        "name": "north", "uid": north["metadata"]["uid"], "controller": true,
    }]}});
    let patch = ["patch", "fsub", "mail", "--type=merge", "-p"];
    world.kubectl(&[&patch[..], &[&owners.to_string()]].concat());
    world.unsubscribe("mail");
    world.kubectl(&["delete", "ftier", "north", "--timeout=60s"]);
    assert!(world.vendor.live().is_empty());
}

/// Takes the label away from a reseller's own Subscription, while nothing is done about it.
fn out_of_sight(world: &World, name: &str) {
    world.kubectl(&["label", "fsub", name, "shard-"]);
    world.eventually("the operator sees it no more", SOON, || {
        let metrics = world.operator.metrics();
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("fulfillment_subscriptions"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        let seen: u64 = counts.sum();
        if seen == 0 { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn a_reseller_is_not_let_go_while_its_own_subscription_is_out_of_sight() {
    let world = builder()
        .operator_arg("--watch-label-selector=shard=a")
        .start();
    let mut labelled: Value = serde_json::from_str(&tier("north", json!({}))).unwrap();
    labelled["metadata"]["labels"] = json!({"shard": "a"});
    world.apply(&labelled.to_string());
    active(&world, "north");
    let pause = |value: &str| {
        let annotation = format!("fulfillment-operator.io/paused={value}");
        world.kubectl(&["annotate", "--overwrite", "ftier", "north", &annotation]);
    };
    pause("true");
    world.until("paused", "TierConfiguration", "north", |tier| {
        standing(tier, "Ready") == "True Paused"
    });
    out_of_sight(&world, "north-tier");
    world.kubectl(&["delete", "--wait=false", "ftier", "north"]);
    pause("false");
    world.gone("TierConfiguration", "north");
    assert!(world.find("Subscription", "north-tier").is_none());
    assert!(world.vendor.live().is_empty());
}

#[test]
fn the_label_of_a_resellers_own_subscription_is_put_back() {
    let world = builder()
        .operator_arg("--watch-label-selector=shard=a")
        .start();
    let mut labelled: Value = serde_json::from_str(&tier("north", json!({}))).unwrap();
    labelled["metadata"]["labels"] = json!({"shard": "a"});
    world.apply(&labelled.to_string());
    let before = active(&world, "north");
    world.kubectl(&["label", "fsub", "north-tier", "shard-"]);
    world.until("labelled", "Subscription", "north-tier", |own| {
        own["metadata"]["labels"]["shard"] == "a"
    });
    let after = active(&world, "north");
    assert_eq!(after["status"]["tenantId"], before["status"]["tenantId"]);
    assert_eq!(world.vendor.tenants().len(), 1);
}

#[test]
fn what_keeps_a_reseller_without_its_subscription_says_so() {
    let world = world();
    world.apply(&tier("north", json!({})));
    active(&world, "north");
    world.operator.stop();
    let held = r#"{"metadata": {"finalizers": null}}"#;
    world.kubectl(&["patch", "ftier", "north", "--type=merge", "-p", held]);
    world.kubectl(&["delete", "ftier", "north", "--timeout=60s"]);
    world.kubectl(&[
        "annotate",
        "fsub",
        "north-tier",
        "reconcile.fluxcd.io/requestedAt=look",
    ]);
    world.operator.start();
    let own = world.stands("north-tier", "Ready", "False DependencyNotReady");
    let said = message(&own, "Ready");
    assert!(
        said.contains("apply TierConfiguration north again"),
        "{said}"
    );
    world.apply(&tier("north", json!({})));
    active(&world, "north");
    assert_eq!(world.vendor.tenants().len(), 1);
}

#[test]
fn what_it_could_not_have_made_is_not_taken_for_its_own() {
    let world = world();
    let mut planted: Value = serde_json::from_str(&subscription(
        "north-tier",
        json!({"externalId": "claimed"}),
    ))
    .unwrap();
    planted["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "TierConfiguration",
        "name": "north", "uid": "of-another-life", "controller": true,
    }]);
    world.apply(&planted.to_string());
    world.apply(&tier("north", json!({})));
    let own = world.until("refused", "Subscription", "north-tier", |own| {
        message(own, "Ready").contains("take the reference out")
    });
    assert_eq!(standing(&own, "Ready"), "False DependencyNotReady");
    let north = world.until("said", "TierConfiguration", "north", |tier| {
        message(tier, "Ready").contains("externalId is immutable")
    });
    assert_eq!(standing(&north, "Ready"), "False DependencyNotReady");
    assert!(world.vendor.calls().is_empty());
    // Without it the reseller makes its own.
    world.unsubscribe("north-tier");
    active(&world, "north");
}
