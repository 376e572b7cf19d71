//! Resellers that have a tenant of their own (`dialect.tierTenants`): it is made before those of their
//! customers, exactly once, and goes after them.

use crate::tiers::tier;
use e2e::{
    Builder, SOON, World,
    examples::vendor_connection,
    objects::{message, standing},
    vendor::operations,
};
use serde_json::{Value, json};

pub(crate) fn builder() -> Builder {
    let quick = json!({"polling": {"pending": "1s"}, "timeouts": {"request": "2s"}});
    World::builder()
        .vendor_dialect("reseller-tree")
        .connection(vendor_connection("reseller-tree"))
        .connection(quick)
}

pub(crate) fn world() -> World {
    builder().start()
}

pub(crate) fn under(tier1: &str) -> Value {
    json!({"limits": {"seats": 5}, "tiers": {"tier1": {"tierConfigurationRef": {"name": tier1}}}})
}

pub(crate) fn active(world: &World, name: &str) -> Value {
    world.until("active", "TierConfiguration", name, |tier| {
        standing(tier, "Ready") == "True Active"
    })
}

/// The tenant of this name or id.
fn tenant(world: &World, key: &str, value: &Value) -> Value {
    let all = world.vendor.tenants();
    let found = all.iter().find(|tenant| tenant[key] == *value);
    assert!(found.is_some(), "no {key} {value} in {all:#?}");
    found.cloned().unwrap_or_default()
}

#[test]
fn a_tree_is_made_from_the_top_and_felled_from_the_bottom() {
    let world = world();
    // In no order at all.
    world.subscribe("mail", under("north"));
    world.apply(&tier("north", json!({"parentRef": {"name": "top"}})));
    world.apply(&tier("top", json!({"level": 2})));
    let mail = world.ready("mail");
    let (north, top) = (active(&world, "north"), active(&world, "top"));
    let customer = tenant(&world, "id", &mail["status"]["tenantId"]);
    let reseller = tenant(&world, "id", &north["status"]["tenantId"]);
    let distributor = tenant(&world, "id", &top["status"]["tenantId"]);
    let node = |tenant: &Value, key: &str| tenant["tree"][key].clone();
    assert_eq!(node(&customer, "parentId"), reseller["id"], "{customer}");
    assert_eq!(node(&reseller, "parentId"), distributor["id"], "{reseller}");
    assert_eq!(node(&reseller, "name"), "north");
    assert_eq!(node(&distributor, "kind"), "partner");
    assert_eq!(world.vendor.tenants().len(), 3);

    // All at once: each waits for those below.
    world.kubectl(&["delete", "--wait=false", "ftier", "north", "top"]);
    world.kubectl(&["delete", "--wait=false", "fsub", "north-tier", "top-tier"]);
    world.until("kept", "Subscription", "north-tier", |own| {
        message(own, "Ready").contains("Subscription mail")
    });
    assert_eq!(world.vendor.live().len(), 3);
    world.unsubscribe("mail");
    for name in ["north", "top"] {
        world.gone("TierConfiguration", name);
    }
    assert_eq!(world.vendor.live().len(), 0);
    // Nobody had to be refused.
    let deletes = world.vendor.calls();
    let mut refused = deletes
        .iter()
        .filter(|c| c.operation() == "delete" && c.status() != Some(204));
    assert!(refused.next().is_none());
}

#[test]
fn lost_answers_and_a_crash_make_no_second_reseller() {
    let world = world();
    let fault = |fault: Value| {
        let rule = json!({"method": "POST", "path": "*/tenants", "times": 1, "fault": fault});
        world.vendor.fault(rule);
    };
    fault(json!({"closeAfter": true}));
    world.apply(&tier("north", json!({})));
    active(&world, "north");
    fault(json!({"delay": "1500ms"}));
    world.apply(&tier("south", json!({})));
    let flying = |wanted: bool| {
        world.eventually("a create is on its way, or has landed", SOON, || {
            let flies = world.vendor.count("inFlight") > 0;
            if flies == wanted {
                Ok(())
            } else {
                Err("not yet")
            }
        });
    };
    flying(true);
    world.operator.kill9();
    flying(false);
    world.operator.start();
    active(&world, "south");
    assert_eq!(world.vendor.tenants().len(), 2);
}

#[test]
fn what_the_vendor_decides_of_a_reseller_is_the_tiers_request() {
    let world = world();
    world.vendor.behavior(
        json!({"operations": {"create": {"async": {"after": "manual", "retryAfter": "0s"}}}}),
    );
    world.apply(&tier("north", json!({})));
    let north = world.until("asked", "TierConfiguration", "north", |tier| {
        standing(tier, "Ready") == "False Provisioning" && world.vendor.tenants().len() == 1
    });
    assert_eq!(standing(&north, "Reconciling"), "True Provisioning");
    world.subscribe("mail", under("north"));
    world.stands("mail", "Ready", "False TierConfigurationNotReady");
    let id = world.vendor.tenants()[0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    world
        .vendor
        .decide(&id, json!({"status": "failed", "reason": "no contract"}));
    let north = world.until("failed", "TierConfiguration", "north", |tier| {
        standing(tier, "Stalled") == "True RequestFailed"
    });
    let request = &north["status"]["request"];
    assert_eq!(
        (&request["type"], &request["status"]),
        (&json!("Setup"), &json!("Failed"))
    );
    assert!(message(&north, "Ready").contains("no contract"), "{north}");
    world.event("north", "RequestFailed");

    // One more try, as for every request that failed.
    world
        .vendor
        .behavior(json!({"operations": {"create": "sync"}}));
    world.kubectl(&[
        "annotate",
        "ftier",
        "north",
        "reconcile.fluxcd.io/requestedAt=again",
    ]);
    let north = active(&world, "north");
    assert_eq!(north["status"]["lastHandledReconcileAt"], "again");
    assert_eq!(north["status"]["request"]["status"], "Approved");
    world.ready("mail");
}

#[test]
fn a_subscription_of_its_tenants_name_is_not_taken_over() {
    let world = world();
    world.apply(&tier("top", json!({})));
    world.subscribe("north-tier", under("top"));
    world.ready("north-tier");
    world.apply(&tier("north", json!({})));
    let north = world.until("a conflict", "TierConfiguration", "north", |tier| {
        standing(tier, "Stalled") == "True Conflict"
    });
    let said = message(&north, "Ready");
    assert!(said.contains("Subscription north-tier"), "{said}");
    world.kubectl(&["delete", "ftier", "north"]);
    // What is not its own stays.
    world.ready("north-tier");
    world.unsubscribe("north-tier");
    world.until("made", "Subscription", "top-tier", |own| {
        standing(own, "Ready") == "True Active"
    });
}

#[test]
fn an_owner_that_did_not_make_it_makes_no_reseller() {
    let world = world();
    world.apply(&tier("north", json!({})));
    let uid = active(&world, "north")["metadata"]["uid"].clone();
    let mut forged: Value =
        serde_json::from_str(&e2e::objects::subscription("forged", under("north")))
            .unwrap_or_default();
    forged["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "TierConfiguration",
        "name": "north", "uid": uid, "controller": true,
    }]);
    world.apply(&forged.to_string());
    let forged = world.stands("forged", "Ready", "False DependencyNotReady");
    let said = message(&forged, "Ready");
    assert!(said.contains("take the reference out"), "{said}");
    assert_eq!(world.vendor.tenants().len(), 1);
    let clean = r#"{"metadata": {"ownerReferences": null}}"#;
    world.kubectl(&["patch", "fsub", "forged", "--type=merge", "-p", clean]);
    let mail = world.ready("forged");
    let customer = tenant(&world, "id", &mail["status"]["tenantId"]);
    assert_eq!(customer["tree"]["kind"], "customer");
}

#[test]
fn pausing_a_tier_pauses_its_tenant() {
    let world = world();
    world.apply(&tier("north", json!({})));
    active(&world, "north");
    world.pause("TierConfiguration", "north");
    world.until("paused", "Subscription", "north-tier", |own| {
        standing(own, "Ready") == "True Paused"
    });
    world.unpause("TierConfiguration", "north");
    active(&world, "north");
    world.until("goes on", "Subscription", "north-tier", |own| {
        standing(own, "Ready") == "True Active"
    });
}

/// Waits until nothing new can be bought under a reseller.
fn closed(world: &World, name: &str) -> Value {
    world.until("nothing new under it", "TierConfiguration", name, |tier| {
        tier["status"]["state"] == "Processing"
    })
}

#[test]
fn nothing_is_bought_under_a_reseller_whose_tenant_is_being_deleted() {
    let world = world();
    world.apply(&tier("north", json!({})));
    world.subscribe("mail", under("north"));
    world.ready("mail");
    let before = active(&world, "north")["status"]["tenantId"].clone();
    world.kubectl(&["delete", "--wait=false", "fsub", "north-tier"]);
    let north = closed(&world, "north");
    let said = message(&north, "Ready");
    assert!(said.contains("is being deleted"), "{said}");
    // What is bought is not touched, and can be changed.
    let mut spec = under("north");
    spec["limits"] = json!({"seats": 7});
    world.subscribe("mail", spec);
    world.until("changed", "Subscription", "mail", |mail| {
        mail["status"]["limits"]["seats"] == 7
    });
    world.subscribe("files", under("north"));
    let files = world.stands("files", "Ready", "False TierConfigurationNotReady");
    let said = message(&files, "Ready");
    assert!(said.contains("north is not Active"), "{said}");
    assert_eq!(world.vendor.tenants().len(), 2);

    world.unsubscribe("mail");
    let files = world.ready("files");
    let after = active(&world, "north")["status"]["tenantId"].clone();
    assert_ne!(before, after);
    let customer = tenant(&world, "id", &files["status"]["tenantId"]);
    assert_eq!(customer["tree"]["parentId"], after, "{customer}");
}

#[test]
fn nothing_is_bought_under_a_reseller_whose_tenant_is_missing() {
    let missing = |what: &str| json!({"policies": {"onMissing": what}});
    let world = builder().connection(missing("Report")).start();
    world.apply(&tier("north", json!({})));
    let before = active(&world, "north")["status"]["tenantId"].clone();
    world.vendor.vanish(before.as_str().unwrap_or_default());
    let look = "reconcile.fluxcd.io/requestedAt=look";
    world.kubectl(&["annotate", "ftier", "north", look]);
    let north = closed(&world, "north");
    assert_eq!(standing(&north, "Stalled"), "True TenantMissing");
    world.subscribe("files", under("north"));
    world.stands("files", "Ready", "False TierConfigurationNotReady");
    assert!(world.vendor.tenants().is_empty());

    let policies = missing("Recreate").to_string();
    let patch = format!(r#"{{"spec": {policies}}}"#);
    world.patch_connection(&patch);
    let files = world.ready("files");
    let after = active(&world, "north")["status"]["tenantId"].clone();
    assert_ne!(before, after);
    let customer = tenant(&world, "id", &files["status"]["tenantId"]);
    assert_eq!(customer["tree"]["parentId"], after, "{customer}");
}

#[test]
fn a_customer_that_lost_its_label_keeps_the_reseller() {
    let world = builder()
        .operator_arg("--watch-label-selector=shard=a")
        .start();
    let label = |kind: &str, name: &str, label: &str| {
        world.kubectl(&["label", kind, name, label]);
    };
    world.apply(&tier("north", json!({})));
    label("ftier", "north", "shard=a");
    active(&world, "north");
    world.subscribe("mail", under("north"));
    label("fsub", "mail", "shard=a");
    world.ready("mail");
    label("fsub", "mail", "shard-");
    // The reseller's own stays.
    world.sees(1);
    world.kubectl(&["delete", "--wait=false", "ftier", "north"]);
    world.until("kept", "TierConfiguration", "north", |tier| {
        message(tier, "Ready").contains("Subscription mail")
    });
    let own = world.get("Subscription", "north-tier");
    assert!(own["metadata"]["deletionTimestamp"].is_null(), "{own}");
    world.kubectl(&["delete", "--wait=false", "fsub", "north-tier"]);
    world.until("kept", "Subscription", "north-tier", |own| {
        message(own, "Ready").contains("Subscription mail")
    });
    // Not even disabled, as this vendor wants it before a delete.
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create", "create"]);

    label("fsub", "mail", "shard=a");
    world.unsubscribe("mail");
    world.gone("TierConfiguration", "north");
    assert!(world.vendor.live().is_empty());
}

#[test]
fn what_keeps_its_tenants_subscription_from_being_made_is_said() {
    let world = world();
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"count/subscriptions.fulfillment-operator.io": "0"}},
    });
    world.apply(&quota.to_string());
    // Without a controller-manager nobody counts: what is used has to be said.
    let status = r#"{"status": {"hard": {"count/subscriptions.fulfillment-operator.io": "0"}, "used": {"count/subscriptions.fulfillment-operator.io": "0"}}}"#;
    let args = [
        "patch",
        "resourcequota",
        "none",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ];
    world.kubectl(&args);
    world.apply(&tier("north", json!({})));
    let north = world.until("said", "TierConfiguration", "north", |tier| {
        standing(tier, "Reconciling") == "True DependencyNotReady"
    });
    let said = message(&north, "Ready");
    assert!(
        said.contains("Subscription north-tier for its own tenant cannot be written"),
        "{said}"
    );
    assert!(said.contains("exceeded quota"), "{said}");
    world.kubectl(&["delete", "resourcequota", "none"]);
    world.kubectl(&[
        "annotate",
        "ftier",
        "north",
        "reconcile.fluxcd.io/requestedAt=",
    ]);
    active(&world, "north");
}
