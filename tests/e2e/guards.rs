//! What keeps a mistake from ending tenants: the grace period, paced deletes, and a definition that
//! is being deleted.

use e2e::{
    Vendor, World,
    objects::{self, message, standing},
    vendor::{identity_flag, operations},
};
use serde_json::{Value, json};

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
        message(&mail, "Ready").contains(r#"-p '{"spec":{"deletionPolicy":"Retain"}}'"#),
        "{mail}"
    );
    assert_eq!(world.vendor.tenant()["status"], "suspended");
    // Whoever does not want to wait says so.
    let now = r#"{"spec":{"deletionGracePeriod":"0s"}}"#;
    world.patch("mail", now);
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
    for mode in ["ExternalId", "Lookup", "IdempotencyKey"] {
        let world = World::builder().identity(mode).start();
        let spec = json!({"deletionGracePeriod": "1h"});
        world.subscribe("mail", spec.clone());
        let before = world.ready("mail");
        delete(&world, "mail");
        world.until("it is suspended", "Subscription", "mail", |mail| {
            mail["status"]["state"] == "Suspended"
        });
        let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
        world.patch("mail", retain);
        world.gone("Subscription", "mail");
        world.subscribe("mail", spec);
        // A vendor that repeats its first answer says how the tenant was then.
        world.eventually("the tenant is resumed", e2e::SOON, || {
            match world.vendor.tenant()["status"].as_str() {
                Some("active") => Ok(()),
                other => Err(format!("{mode}: {other:?}")),
            }
        });
        let after = world.ready("mail");
        assert_eq!(
            after["status"]["tenantId"], before["status"]["tenantId"],
            "{mode}"
        );
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
fn a_definition_that_is_deleted_neither_suspends_nor_deletes_a_tenant() {
    let world = World::builder().cluster_wide().start();
    let policies = json!({"policies": {"suspendBeforeDelete": true}});
    let careful = objects::connection_named("careful", world.vendor.url(), policies);
    world.apply(&careful);
    let all = ["mail", "graced", "suspended-first"];
    world.subscribe(all[0], json!({}));
    world.subscribe(all[1], json!({"deletionGracePeriod": "1h"}));
    world.subscribe(all[2], json!({"connectionRef": {"name": "careful"}}));
    for name in all {
        world.ready(name);
    }
    let crd = "subscriptions.fulfillment-operator.io";
    world.kubectl(&["delete", "customresourcedefinition", crd, "--wait=false"]);
    for name in all {
        let held = world.stands(name, "Ready", "False CRDTerminating");
        let said = message(&held, "Ready");
        assert!(said.contains("deletionPolicy: Retain"), "{said}");
    }
    for name in all {
        world.patch(name, r#"{"spec":{"deletionPolicy":"Retain"}}"#);
    }
    world.kubectl(&[
        "wait",
        "--for=delete",
        "customresourcedefinition",
        crd,
        "--timeout=60s",
    ]);
    assert_eq!(operations(&world.vendor.calls()), ["create"; 3]);
}

#[test]
fn when_most_tenants_vanish_at_once_none_is_bought_again_before_a_person_says_so() {
    let world = World::start();
    let names: Vec<String> = (0..16).map(|n| format!("mail-{n:02}")).collect();
    let all: Vec<String> = names
        .iter()
        .map(|name| e2e::objects::subscription(name, json!({})))
        .collect();
    world.apply(&e2e::objects::all(&all));
    for name in &names {
        world.ready(name);
    }
    let tenants = world.vendor.live();
    for tenant in &tenants {
        world.vendor.vanish(tenant["id"].as_str().unwrap());
    }
    let look = ["annotate", "--overwrite", "subscription", "--all"];
    let at = "reconcile.fluxcd.io/requestedAt=look";
    world.kubectl(&[&look[..], &[at]].concat());
    let acme = world.until("the alarm is raised", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False MassVanish"
    });
    assert!(
        message(&acme, "Ready").contains("kubectl annotate"),
        "{acme}"
    );
    world.eventually("the others are missing", e2e::SOON, || {
        let missing = |mail: &&serde_json::Value| standing(mail, "Ready") == "False TenantMissing";
        let all = world.list("Subscription");
        let missing = all.iter().filter(missing).count();
        if missing >= 6 {
            Ok(())
        } else {
            Err(format!("{missing} missing"))
        }
    });
    // Those that were bought again before it was clear are ten at most.
    let bought = world.vendor.count("live");
    assert!(bought <= 10, "{bought} bought again");
    let believed = "reconcile.fluxcd.io/requestedAt=gone";
    world.kubectl(&["annotate", "vendorconnection", "acme", believed]);
    for name in &names {
        world.ready(name);
    }
    assert_eq!(world.vendor.count("live"), 16);
}

#[test]
fn a_create_that_takes_effect_when_its_subscription_is_long_gone_is_found_and_deleted() {
    let world = World::builder()
        .identity("Lookup")
        .operator_arg("--settle=1s")
        .operator_arg("--sweep-interval=1s")
        .connection(json!({"timeouts": {"request": "500ms"}}))
        .start();
    // At another vendor others have tenants of the same ids.
    let other = Vendor::start(&[identity_flag("Lookup")]);
    let mode = json!({"identity": {"mode": "Lookup"}});
    world.apply(&objects::connection_named("other", other.url(), mode));
    for name in ["first", "second"] {
        world.subscribe(name, json!({"connectionRef": {"name": "other"}}));
        world.ready(name);
    }
    // Later than anybody promised.
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"delay": "12s"}}));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(stones(&world), 1);
    assert_eq!(other.tenants()[1]["id"], "t-1002");
    world.eventually("the late tenant has come and gone", e2e::SOON, || {
        let all = world.vendor.tenants();
        let gone = all.iter().all(|tenant| tenant["status"] == "terminated");
        if all.len() == 2 && gone && all[1]["id"] == "t-1002" {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    });
    // The name in use again is its new owner's.
    world.subscribe("mail", json!({}));
    world.ready("mail");
    stands(&world, 0);
    assert_eq!(world.vendor.count("live"), 1);
}

fn stones(world: &World) -> usize {
    let is_one = |map: &&Value| {
        let name = map["metadata"]["name"].as_str();
        name.is_some_and(|name| name.starts_with("fulfillment-tombstone-"))
    };
    world.list("ConfigMap").iter().filter(is_one).count()
}

/// Waits until there are so many tombstones.
fn stands(world: &World, expected: usize) {
    world.eventually("the tombstones are swept", e2e::SOON, || {
        let left = stones(world);
        if left == expected {
            Ok(())
        } else {
            Err(format!("{left} left"))
        }
    });
}

/// The sweep once took the object that was just being buried for its own successor, and forgot it.
#[test]
fn what_is_not_gone_yet_keeps_its_tombstone() {
    let world = World::builder()
        .operator_arg("--settle=1s")
        .operator_arg("--sweep-interval=1s")
        .start();
    let buy = |name: &str| {
        let lost = json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}});
        world.vendor.fault(lost);
        world.subscribe(name, json!({}));
        world.ready(name);
    };
    buy("held");
    let held = r#"[{"op":"add","path":"/metadata/finalizers/-","value":"example.com/hold"}]"#;
    world.kubectl(&["patch", "subscription", "held", "--type=json", "-p", held]);
    world.kubectl(&["delete", "subscription", "held", "--wait=false"]);
    world.until("let go", "Subscription", "held", |held| {
        held["metadata"]["finalizers"] == json!(["example.com/hold"])
    });
    // Two sweeps come and go: they forget another whose name is in use again.
    for name in ["first", "second"] {
        buy(name);
        world.unsubscribe(name);
        world.subscribe(name, json!({}));
        stands(&world, 1);
    }
    assert_eq!(stones(&world), 1);
    let free = r#"{"metadata":{"finalizers":null}}"#;
    world.patch("held", free);
    world.gone("Subscription", "held");
}
