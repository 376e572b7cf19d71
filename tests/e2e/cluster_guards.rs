//! Guards and budget of a connection for several namespaces are one for all of them: of each test's
//! limit no namespace alone would reach more than half.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::cluster_connection::{KIND, namespace, order, shared, shared_secret, standing_in};
use e2e::{
    SOON, World,
    objects::{self, message, standing},
    vendor::TOKEN,
};
use serde_json::{Value, json};
use std::time::Duration;

const NAMESPACES: [&str; 2] = ["team-a", "team-b"];

/// Two namespaces that share a connection.
fn world(spec: Value) -> World {
    let world = World::builder().cluster_wide().start();
    world.apply_in(world.operator_namespace(), &shared_secret(TOKEN));
    world.apply(&shared(world.vendor.url(), &NAMESPACES, spec));
    for name in NAMESPACES {
        namespace(&world, name);
    }
    world
}

/// Buys so many in each namespace, and waits for them.
fn buy(world: &World, each: usize) {
    let names = |n: usize| format!("mail-{n}");
    let all: Vec<String> = (0..each).map(|n| order(&names(n), json!({}))).collect();
    for namespace in NAMESPACES {
        world.apply_in(namespace, &objects::all(&all));
    }
    for namespace in NAMESPACES {
        for n in 0..each {
            standing_in(world, namespace, &names(n), "True Active");
        }
    }
}

/// Runs kubectl in each namespace.
fn in_each(world: &World, args: &[&str]) {
    for namespace in NAMESPACES {
        let namespace = format!("--namespace={namespace}");
        world.kubectl(&[args, &[&namespace]].concat());
    }
}

/// The Subscriptions of both namespaces.
fn all(world: &World) -> Vec<Value> {
    let list = world.kubectl(&["get", "subscriptions", "--all-namespaces", "-o", "json"]);
    let mut list: Value = serde_json::from_str(&list).unwrap();
    serde_json::from_value(list["items"].take()).unwrap()
}

#[test]
fn deletes_are_paced_over_all_namespaces() {
    let world = world(json!({"policies": {"maxDeletesPerMinute": 2}}));
    buy(&world, 2);
    in_each(&world, &["delete", "subscription", "--all", "--wait=false"]);
    world.eventually("two are gone, and two wait", SOON, || {
        let left: Vec<String> = all(&world).iter().map(|o| standing(o, "Ready")).collect();
        if left == ["False DeletesPaced"; 2] {
            Ok(())
        } else {
            Err(left.join(", "))
        }
    });
    assert_eq!(world.vendor.count("live"), 2);
    for waiting in all(&world) {
        let said = message(&waiting, "Ready");
        assert!(said.contains("maxDeletesPerMinute"), "{said}");
    }
    let unlimited = json!({"policies": {"maxDeletesPerMinute": 0}});
    world.apply(&shared(world.vendor.url(), &NAMESPACES, unlimited));
    world.eventually("all are gone", SOON, || match all(&world).len() {
        0 => Ok(()),
        left => Err(left),
    });
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn tenants_that_vanish_are_counted_over_all_namespaces() {
    let world = world(json!({}));
    // More than ten are many: 16 together, and 8 in each.
    buy(&world, 8);
    for tenant in world.vendor.live() {
        world.vendor.vanish(tenant["id"].as_str().unwrap());
    }
    let at = "reconcile.fluxcd.io/requestedAt=look";
    in_each(&world, &["annotate", "subscription", "--all", at]);
    world.until("the alarm is raised", KIND, "shared", |shared| {
        standing(shared, "Ready") == "False MassVanish"
    });
    let missing = |namespace: &str| {
        let all = all(&world);
        let missing = all.iter().filter(|object| {
            object["metadata"]["namespace"] == namespace
                && standing(object, "Ready") == "False TenantMissing"
        });
        missing.count()
    };
    world.eventually("the rest is missing, not bought", SOON, || {
        let missing: usize = NAMESPACES.iter().map(|namespace| missing(namespace)).sum();
        match missing {
            6.. => Ok(()),
            _ => Err(missing),
        }
    });
    let bought = world.vendor.count("live");
    assert!(bought <= 10, "{bought} bought again");
    let believed = "reconcile.fluxcd.io/requestedAt=gone";
    world.kubectl(&["annotate", KIND, "shared", believed]);
    world.eventually("all are bought again", SOON, || {
        match world.vendor.count("live") {
            16 => Ok(()),
            live => Err(live),
        }
    });
}

#[test]
fn the_budget_is_one_for_all_namespaces() {
    let world = world(json!({"budget": {"maxInFlight": 2}}));
    let second = json!({"method": "POST", "times": "unlimited", "fault": {"delay": "1s"}});
    world.vendor.fault(second);
    buy(&world, 4);
    let calls = world.vendor.calls();
    let times: Vec<_> = calls
        .iter()
        .filter(|call| call.operation() == "create")
        .map(e2e::vendor::Call::time)
        .collect();
    assert_eq!(times.len(), 8);
    // Each is under way for a second, so the next but one has to come that much later.
    for (n, three) in times.windows(3).enumerate() {
        let apart = three[2].duration_since(three[0]).unsigned_abs();
        assert!(
            apart >= Duration::from_secs(1),
            "creates {n} to {} within {apart:?}",
            n + 2
        );
    }
}
