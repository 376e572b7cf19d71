//! A reseller's own tenant and its Subscription after a restore, and out of the operator's sight: nothing
//! waits for itself, and nothing is let go while the tenant is there.

use crate::{
    tier_tenants::{active, builder, under, world},
    tiers::tier,
};
use e2e::{
    World,
    objects::{message, standing, subscription},
    vendor::operations,
};
use serde_json::{Value, json};

/// A reseller with its own Subscription, and a customer.
const PAIR: [(&str, &str); 3] = [
    ("TierConfiguration", "north"),
    ("Subscription", "north-tier"),
    ("Subscription", "mail"),
];

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

/// A reseller and a customer under it: the ids of their tenants.
fn bought(world: &World) -> (Value, Value) {
    world.apply(&tier("north", json!({})));
    bought_under(world)
}

/// A customer under a reseller that is there.
fn bought_under(world: &World) -> (Value, Value) {
    world.subscribe("mail", under("north"));
    let customer = world.ready("mail")["status"]["tenantId"].clone();
    let reseller = active(world, "north")["status"]["tenantId"].clone();
    (reseller, customer)
}

/// Takes the finalizers from an object.
fn unheld(world: &World, kind: &str, name: &str) {
    let patch = r#"{"metadata": {"finalizers": null}}"#;
    world.kubectl(&["patch", kind, name, "--type=merge", "-p", patch]);
}

/// Deletes everything while nobody looks, and brings it back from a backup.
fn restore(world: &World, kept: &[(&str, &str)]) {
    let backups: Vec<String> = kept.iter().map(|(k, n)| backup(world, k, n)).collect();
    world.operator.stop();
    for &(kind, name) in kept {
        unheld(world, kind, name);
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
    let (reseller, customer) = bought(&world);
    restore(&world, &PAIR);
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
    // The key of a create finds the tenant too.
    for mode in ["ExternalId", "IdempotencyKey"] {
        let world = builder().identity(mode).start();
        let (reseller, customer) = bought(&world);
        restore(&world, &PAIR);
        world.kubectl(&["delete", "--wait=false", "fsub", "north-tier"]);
        world.operator.start();
        as_before(&world, &reseller, &customer);
    }
}

/// Gives the answer to the question that stands in the object's message, by the command in it.
fn answer(world: &World, name: &str, said: &str, tenant: &Value) {
    let command = format!(
        "kubectl annotate fsub -n {} {name} --overwrite --field-manager=flux-client-side-apply fulfillment-operator.io/resolve-create=adopt:<tenantId>",
        world.namespace()
    );
    assert!(said.contains(&command), "{said}");
    let tenant = tenant.as_str().unwrap_or_default();
    let filled = command.replace("<tenantId>", tenant);
    let args: Vec<&str> = filled.split(' ').skip(1).collect();
    world.kubectl(&args);
}

/// Where the vendor cannot be asked, a person is, as of all that comes back without its record; also where
/// an operator was killed after it had let the Subscription go.
#[test]
fn a_person_is_asked_for_the_tenant_of_a_restored_reseller() {
    for killed in [false, true] {
        let world = builder().identity("None").start();
        let (reseller, customer) = bought(&world);
        restore(&world, &PAIR);
        if killed {
            unheld(&world, "fsub", "north-tier");
        }
        world.kubectl(&["delete", "--wait=false", "fsub", "north-tier"]);
        world.operator.start();
        let north = asked(&world, "north");
        world.stands("mail", "Ready", "False TierConfigurationNotReady");
        answer(&world, "north-tier", &north, &reseller);
        let mail = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
        answer(&world, "mail", &message(&mail, "Ready"), &customer);
        as_before(&world, &reseller, &customer);
        assert_eq!(world.vendor.tenants().len(), 2);
    }
}

#[test]
fn a_restored_tree_is_asked_for_from_the_top() {
    let world = builder().identity("None").start();
    world.apply(&tier("top", json!({"level": 2})));
    let distributor = active(&world, "top")["status"]["tenantId"].clone();
    let below = json!({"parentRef": {"name": "top"}});
    world.apply(&tier("north", below));
    let (reseller, customer) = bought_under(&world);
    let above = [("TierConfiguration", "top"), ("Subscription", "top-tier")];
    restore(&world, &[&above[..], &PAIR].concat());
    let own = ["north-tier", "top-tier"];
    world.kubectl(&[&["delete", "--wait=false", "fsub"], &own[..]].concat());
    world.operator.start();
    answer(&world, "top-tier", &asked(&world, "top"), &distributor);
    answer(&world, "north-tier", &asked(&world, "north"), &reseller);
    let mail = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    answer(&world, "mail", &message(&mail, "Ready"), &customer);
    world.ready("mail");
    let ids = [("top", distributor), ("north", reseller)];
    for (name, id) in ids {
        assert_eq!(active(&world, name)["status"]["tenantId"], id);
    }
    assert_eq!(world.sub("mail")["status"]["tenantId"], customer);
    assert_eq!(world.vendor.tenants().len(), 3);
}

/// The question for its own tenant, as it stands in a TierConfiguration.
fn asked(world: &World, name: &str) -> String {
    let tier = world.until("asked", "TierConfiguration", name, |tier| {
        standing(tier, "Stalled") == "True CreateOutcomeUnknown"
    });
    message(&tier, "Ready")
}

/// Only the reseller is made anew: all else keeps its record, and the garbage collector looks.
fn remade(world: &World) {
    let backup = backup(world, "TierConfiguration", "north");
    world.operator.stop();
    unheld(world, "ftier", "north");
    world.kubectl(&["delete", "ftier", "north", "--timeout=60s"]);
    world.kubectl(&["delete", "--wait=false", "fsub", "north-tier"]);
    world.apply(&backup);
    world.operator.start();
}

#[test]
fn a_reseller_tells_its_own_subscription_which_tenant_it_had() {
    let world = builder().identity("None").start();
    let (reseller, customer) = bought(&world);
    let own = world.sub("north-tier")["metadata"]["uid"].clone();
    remade(&world);
    world.until("made anew", "Subscription", "north-tier", |found| {
        found["metadata"]["uid"] != own
    });
    as_before(&world, &reseller, &customer);
    assert_eq!(world.vendor.tenants().len(), 2);
}

/// The vendor may have forgotten the key of what was bought long ago.
#[test]
fn a_record_is_not_given_up_for_a_key() {
    let world = builder().identity("IdempotencyKey").start();
    let (reseller, _) = bought(&world);
    remade(&world);
    let kept = world.until("kept", "TierConfiguration", "north", |tier| {
        message(tier, "Ready").contains("Subscription mail")
    });
    assert_eq!(kept["status"]["tenantId"], reseller);
    // What was bought goes on.
    let mut spec = under("north");
    spec["limits"] = json!({"seats": 7});
    world.subscribe("mail", spec);
    world.until("changed", "Subscription", "mail", |mail| {
        mail["status"]["limits"]["seats"] == 7
    });
    assert_eq!(world.vendor.tenants().len(), 2);
    world.unsubscribe("mail");
    assert_ne!(active(&world, "north")["status"]["tenantId"], reseller);
    assert_eq!(world.vendor.live().len(), 1);
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

/// A reseller that the operator sees by its label.
fn labelled() -> World {
    let world = builder()
        .operator_arg("--watch-label-selector=shard=a")
        .start();
    let mut labelled: Value = serde_json::from_str(&tier("north", json!({}))).unwrap_or_default();
    labelled["metadata"]["labels"] = json!({"shard": "a"});
    world.apply(&labelled.to_string());
    active(&world, "north");
    world
}

#[test]
fn a_reseller_is_not_let_go_while_its_own_subscription_is_out_of_sight() {
    let world = labelled();
    // Nothing is done about the label that its own Subscription loses.
    world.pause("TierConfiguration", "north");
    world.kubectl(&["label", "fsub", "north-tier", "shard-"]);
    world.sees(0);
    world.kubectl(&["delete", "--wait=false", "ftier", "north"]);
    world.unpause("TierConfiguration", "north");
    world.gone("TierConfiguration", "north");
    assert!(world.find("Subscription", "north-tier").is_none());
    assert!(world.vendor.live().is_empty());
}

#[test]
fn the_label_of_a_resellers_own_subscription_is_put_back() {
    let world = labelled();
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
    unheld(&world, "ftier", "north");
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
