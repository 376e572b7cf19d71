//! What a TierConfiguration says of its own tenant: what becomes of it, where its secrets go, and that
//! those who were bought under it stay there.

use crate::{
    tier_tenants::{active, under, world},
    tiers::tier,
};
use e2e::{
    World,
    objects::{message, standing, subscription},
    vendor::operations,
};
use serde_json::{Value, json};

fn retain(world: &World, name: &str) {
    let patch = r#"{"spec": {"deletionPolicy": "Retain"}}"#;
    world.kubectl(&["patch", "ftier", name, "--type=merge", "-p", patch]);
}

#[test]
fn a_retained_reseller_keeps_its_tenant_and_is_taken_back() {
    let world = world();
    let spec = json!({"deletionPolicy": "Retain"});
    world.apply(&tier("north", spec.clone()));
    let before = active(&world, "north")["status"]["tenantId"].clone();
    world.kubectl(&["delete", "ftier", "north", "--timeout=60s"]);
    assert!(world.find("Subscription", "north-tier").is_none());
    assert_eq!(world.vendor.live().len(), 1);
    world.event("north-tier", "TenantRetained");
    world.apply(&tier("north", spec));
    let after = active(&world, "north")["status"]["tenantId"].clone();
    assert_eq!(before, after);
    // Not even disabled meanwhile, as this vendor wants it before a delete.
    let calls = world.vendor.calls();
    let again = |o: &&str| matches!(*o, "disable" | "enable" | "delete");
    assert!(!operations(&calls).iter().any(again), "{calls:?}");
}

#[test]
fn a_reseller_that_is_being_deleted_is_let_go_with_its_tenant_retained() {
    let world = world();
    world.apply(&tier("north", json!({})));
    let before = active(&world, "north")["status"]["tenantId"].clone();
    // Its deletion gets nowhere.
    let fault = json!({"status": 503});
    for method in ["PUT", "DELETE"] {
        world
            .vendor
            .fault(json!({"method": method, "path": "*/tenants/*", "fault": fault}));
    }
    world.kubectl(&["delete", "--wait=false", "ftier", "north"]);
    world.until("on its way out", "Subscription", "north-tier", |own| {
        standing(own, "Ready") == "False Terminating"
    });
    retain(&world, "north");
    world.gone("TierConfiguration", "north");
    assert!(world.find("Subscription", "north-tier").is_none());
    world.vendor.clear_faults();
    world.apply(&tier("north", json!({})));
    let after = active(&world, "north")["status"]["tenantId"].clone();
    assert_eq!(before, after);
    // Told anew, it is deleted for good.
    retain(&world, "north");
    let delete = r#"{"spec": {"deletionPolicy": "Delete"}}"#;
    world.kubectl(&["patch", "ftier", "north", "--type=merge", "-p", delete]);
    world.kubectl(&["delete", "ftier", "north", "--timeout=60s"]);
    assert!(world.vendor.live().is_empty());
}

#[test]
fn what_the_vendor_gives_a_reseller_in_secret_reaches_its_output_secret() {
    let world = World::builder()
        .connection(json!({"dialect": {"tierTenants": true}}))
        .start();
    world.apply(&tier(
        "north",
        json!({"outputSecretName": "north-activation"}),
    ));
    let north = active(&world, "north");
    let tenant = world.vendor.tenant();
    let password = tenant["parameters"]["initial_password"].as_str().unwrap();
    let output = world.get("Secret", "north-activation");
    let held = output["data"]["initial_password"].as_str().unwrap();
    let held = data_encoding::BASE64.decode(held.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(held).unwrap(), password);
    let own = world.get("Subscription", "north-tier");
    let seen = format!("{north}{own}{}", world.operator.log());
    assert!(!seen.contains(password), "the password is to be seen");

    // Without one it is said where to name it.
    world.apply(&tier("east", json!({})));
    let note = world.event("east-tier", "SensitiveParametersDropped");
    assert!(
        note.contains("spec.outputSecretName of TierConfiguration east is not set"),
        "{note}"
    );

    // One of somebody else's is left alone, and the reseller says so.
    let taken = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "south-activation"},
        "stringData": {"initial_password": "mine"},
    });
    world.apply(&taken.to_string());
    world.apply(&tier(
        "south",
        json!({"outputSecretName": "south-activation"}),
    ));
    let south = world.until("a conflict", "TierConfiguration", "south", |tier| {
        standing(tier, "Stalled") == "True OutputSecretConflict"
    });
    let said = message(&south, "Ready");
    assert!(said.contains("south-activation"), "{said}");
    world.apply(&tier("south", json!({"outputSecretName": "south-tenant"})));
    active(&world, "south");
    world.get("Secret", "south-tenant");
}

#[test]
fn who_was_bought_under_a_reseller_stays_there() {
    let world = world();
    for name in ["north", "south"] {
        world.apply(&tier(name, json!({})));
    }
    // Before there is a tenant a mistake can be mended.
    world.subscribe("mail", under("nroth"));
    world.stands("mail", "Ready", "False TierConfigurationNotReady");
    world.subscribe("mail", under("north"));
    world.ready("mail");
    let customer = json!({"tiers": {"customer": {"name": "Contoso"}}});
    for spec in [under("south"), customer.clone(), json!({})] {
        let err = world.apply_err(&subscription("mail", spec));
        assert!(
            err.contains(
                "tierConfigurationRef of tier1 and tier2 cannot change while there is a tenant"
            ),
            "{err}"
        );
    }
    // Who else has to do with it may change.
    let mut spec = under("north");
    spec["tiers"]["customer"] = json!({"name": "Contoso"});
    world.subscribe("mail", spec);
    let mail = world.ready("mail");
    let tenant = world.vendor.live();
    let north = active(&world, "north")["status"]["tenantId"].clone();
    let parent = |tenant: &&Value| tenant["id"] == mail["status"]["tenantId"];
    let mine = tenant.iter().find(parent).unwrap();
    assert_eq!(mine["tree"]["parentId"], north);

    // Who is above a reseller is the reseller's to say, and need not be said twice.
    let flat = World::start();
    flat.apply(&tier("top", json!({"level": 2})));
    flat.apply(&tier("north", json!({"parentRef": {"name": "top"}})));
    let mut both = under("north");
    both["tiers"]["tier2"] = json!({"tierConfigurationRef": {"name": "top"}});
    flat.subscribe("mail", both.clone());
    flat.ready("mail");
    both["tiers"]["tier2"] = json!({"tierConfigurationRef": {"name": "else"}});
    let err = flat.apply_err(&subscription("mail", both));
    assert!(
        err.contains("tierConfigurationRef of tier1 and tier2 cannot change"),
        "{err}"
    );
    flat.subscribe("mail", under("north"));
    flat.ready("mail");
}
