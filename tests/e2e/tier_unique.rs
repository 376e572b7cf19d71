//! Values that no two TierConfigurations of one product may have at a vendor.

use crate::tiers::{numbered, stands, tier};
use e2e::{
    SOON, World,
    objects::{message, secret, standing},
    vendor::TOKEN,
};
use serde_json::{Value, json};

fn unique() -> Value {
    json!({"name": "reseller_id", "scope": "tier", "unique": true})
}

#[test]
fn a_unique_value_is_one_over_all_namespaces_that_may_use_the_connection() {
    let world = World::builder().cluster_wide().start();
    world.apply_in(
        world.operator_namespace(),
        &secret("shared", &[("token", TOKEN)]),
    );
    let spec = json!({
        "url": world.vendor.url(),
        "auth": {"bearer": {"secretRef": {"name": "shared", "key": "token"}}},
        "allowedNamespaces": [world.namespace(), "team-b"],
        "products": [{"name": "mail-pro", "parameters": [unique()]}],
    });
    let connection = json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1",
        "kind": "ClusterVendorConnection",
        "metadata": {"name": "shared"},
        "spec": spec,
    });
    world.apply(&connection.to_string());
    let mut reseller = numbered("77");
    reseller["connectionRef"] = json!({"kind": "ClusterVendorConnection", "name": "shared"});
    let reseller = |name: &str| tier(name, reseller.clone());
    let stands_in = |namespace: &str, name: &str, expected: &str| {
        world.eventually(expected, SOON, || {
            let found = world.find_in(namespace, "TierConfiguration", name);
            let found = found.ok_or("it is not there".to_owned())?;
            let ready = standing(&found, "Ready");
            if ready == expected {
                Ok(found)
            } else {
                Err(format!("{ready}: {}", message(&found, "Ready")))
            }
        })
    };
    for namespace in ["team-b", "team-c"] {
        world.kubectl(&["create", "namespace", namespace]);
    }
    // Older than all, and may not use the connection: it stays out, however often it is looked at.
    world.apply_in("team-c", &reseller("first"));
    stands_in("team-c", "first", "False DependencyNotReady");
    world.kubectl_anywhere(
        &[
            "annotate",
            "--namespace=team-c",
            "ftier/first",
            "reconcile.fluxcd.io/requestedAt=look",
        ],
        "",
    );
    world.eventually("looked at again", SOON, || {
        let found = world.find_in("team-c", "TierConfiguration", "first");
        let status = found
            .map(|first| first["status"].clone())
            .unwrap_or_default();
        if status["lastHandledReconcileAt"] == "look" {
            Ok(())
        } else {
            Err(status)
        }
    });
    stands_in("team-c", "first", "False DependencyNotReady");

    world.apply(&reseller("north"));
    stands(&world, "north", "Ready", "True Active");
    world.apply_in("team-b", &reseller("south"));
    let south = stands_in("team-b", "south", "False Inquiring");
    let said = message(&south, "Ready");
    let holder = format!("TierConfiguration {}/north", world.namespace());
    assert!(said.contains(&holder), "{said}");
}

#[test]
fn a_unique_value_that_is_free_again_goes_to_who_waits_for_it() {
    let product = json!({"name": "mail-pro", "parameters": [unique()]});
    let world = World::builder()
        .connection(json!({"products": [product]}))
        .start();
    world.apply(&tier("first", numbered("77")));
    stands(&world, "first", "Ready", "True Active");
    for name in ["second", "third"] {
        world.apply(&tier(name, numbered("77")));
        let waits = stands(&world, name, "Stalled", "True Inquiring");
        let said = message(&waits, "Ready");
        assert!(
            said.contains("must be unique, and TierConfiguration"),
            "{said}"
        );
    }
    // Given away, and then gone.
    world.apply(&tier("first", numbered("78")));
    let held = |name: &str| {
        let tier = world.get("TierConfiguration", name);
        tier["status"]["state"] == "Active"
    };
    let holder = world.eventually("one of them has it", SOON, || {
        let holder = ["second", "third"].into_iter().find(|name| held(name));
        holder.ok_or("neither")
    });
    let other = if holder == "second" {
        "third"
    } else {
        "second"
    };
    // Who had it before, and is the oldest, does not take it back.
    world.apply(&tier("first", numbered("77")));
    let first = stands(&world, "first", "Stalled", "True Inquiring");
    let said = message(&first, "Ready");
    assert!(said.contains(&format!("/{holder} has it")), "{said}");
    world.apply(&tier("first", numbered("78")));
    stands(&world, "first", "Ready", "True Active");
    stands(&world, holder, "Ready", "True Active");
    let waits: Value = stands(&world, other, "Stalled", "True Inquiring");
    assert_eq!(waits["status"]["state"], "Processing");
    world.kubectl(&["delete", "ftier", holder, "--timeout=60s"]);
    stands(&world, other, "Ready", "True Active");
}
