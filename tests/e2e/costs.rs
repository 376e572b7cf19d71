//! What calm work costs: calls at the vendor by its own log, writes at the API server by its own
//! metrics, over all resources. Each test has a control plane that nothing else uses.

use e2e::{
    Builder, World,
    costs::{Meter, Spent},
    objects::{self, standing},
    vendor::operations,
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// What the connection is written for its count of subscriptions is counted apart: at most once a
/// minute, whatever happens meanwhile.
const CONNECTION: &str = "PATCH vendorconnections/status";

/// A world to measure in, in which no drift read falls due, and a first Subscription keeps the
/// connection in use.
fn quiet_world(builder: Builder) -> World {
    let world = builder
        .own_control_plane()
        .connection(json!({"polling": {"interval": "24h"}}))
        .start();
    world.subscribe("first", json!({}));
    world.ready("first");
    world.until(
        "the connection has settled",
        "VendorConnection",
        "acme",
        |acme| {
            acme["status"]["subscriptions"] == 1 && standing(acme, "Ready") == "True VendorAnswers"
        },
    );
    settle(&world);
    world
}

/// Waits until nothing has been written for a second.
pub(crate) fn settle(world: &World) {
    let second = Duration::from_secs(1);
    world.eventually("nothing is written for a second", e2e::SOON, || {
        let meter = Meter::start(world);
        thread::sleep(second);
        let spent = meter.spent();
        if spent.total() + spent.events == 0 {
            Ok(())
        } else {
            Err(format!("{spent:?}"))
        }
    });
}

/// What an action cost until long after it was done, without what the test wrote itself.
fn cost(world: &World, own: &str, act: impl FnOnce()) -> Spent {
    let meter = Meter::start(world);
    act();
    settle(world);
    let mut spent = meter.spent().own(own, 1);
    let connection = spent.writes.remove(CONNECTION).unwrap_or_default();
    assert!(
        connection <= 1,
        "the connection's count was written {connection} times"
    );
    spent
}

#[track_caller]
fn assert_cost(what: &str, spent: &Spent, calls: &[&str], writes: u64) {
    assert_eq!(operations(&spent.calls), calls, "{what}");
    assert_eq!(spent.total(), writes, "{what}: {:?}", spent.writes);
    assert!(spent.events <= 1, "{what}: {} events", spent.events);
}

/// Applies a spec and waits until it holds.
fn reach(world: &World, spec: Value) {
    world.subscribe("mail", spec);
    world.ready("mail");
}

const APPLIED: &str = "PATCH subscriptions";
const CREATED: &str = "POST subscriptions";
const DELETED: &str = "DELETE subscriptions";

#[test]
fn a_calm_life_costs_what_the_protocol_says() {
    let world = quiet_world(World::builder());
    let spent = cost(&world, CREATED, || reach(&world, json!({})));
    assert_cost("purchase", &spent, &["create"], 2);
    let spent = cost(&world, APPLIED, || {
        reach(&world, json!({"state": "Suspended"}))
    });
    assert_cost("suspend", &spent, &["disable"], 1);
    let spent = cost(&world, APPLIED, || {
        reach(&world, json!({"state": "Active"}))
    });
    assert_cost("resume", &spent, &["enable"], 1);
    let spent = cost(&world, APPLIED, || {
        reach(&world, json!({"state": "Active", "limits": {"seats": 60}}))
    });
    assert_cost("change", &spent, &["change"], 1);
    let spent = cost(&world, APPLIED, || {
        world.request("mail", "look");
        world.until("the token is echoed", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == "look"
        });
    });
    assert_cost("look", &spent, &["get"], 1);
    assert_eq!(spent.events, 0, "nothing was finished");
    let spent = cost(&world, DELETED, || world.unsubscribe("mail"));
    assert_cost("delete", &spent, &["delete", "get"], 1);

    // Another, with an output Secret.
    let paid = |seats: i64| {
        let spec = json!({"outputSecretName": "paid-activation", "limits": {"seats": seats}});
        world.subscribe("paid", spec);
        world.ready("paid");
    };
    let spent = cost(&world, CREATED, || paid(50));
    assert_cost("purchase with an output Secret", &spent, &["create"], 3);
    let spent = cost(&world, APPLIED, || paid(60));
    assert_cost("change with an output Secret", &spent, &["change"], 1);
}

#[test]
fn a_vendor_that_offers_nothing_costs_one_write_more() {
    let world = quiet_world(World::builder().identity_none());
    let spent = cost(&world, CREATED, || reach(&world, json!({})));
    assert_cost("purchase", &spent, &["create"], 3);
    let spent = cost(&world, APPLIED, || {
        reach(&world, json!({"limits": {"seats": 60}}))
    });
    assert_cost("change", &spent, &["change"], 1);
    let spent = cost(&world, DELETED, || world.unsubscribe("mail"));
    assert_cost("delete", &spent, &["delete", "get"], 1);
    let spent = cost(&world, CREATED, || {
        reach(&world, json!({"outputSecretName": "mail-activation"}));
    });
    assert_cost("purchase with an output Secret", &spent, &["create"], 4);
}

#[test]
fn a_vendor_that_honours_keys_costs_one_write_more_and_one_that_looks_up_a_look() {
    // Where keys count, the one that was used is remembered when the tenant is gone.
    for (mode, purchase, gone, writes) in [
        ("IdempotencyKey", ["create"].as_slice(), "get", 2),
        ("Lookup", ["lookup", "create"].as_slice(), "lookup", 1),
    ] {
        let world = quiet_world(World::builder().identity(mode));
        let spent = cost(&world, CREATED, || reach(&world, json!({})));
        assert_cost(&format!("purchase, {mode}"), &spent, purchase, 3);
        let spent = cost(&world, APPLIED, || {
            reach(&world, json!({"limits": {"seats": 60}}))
        });
        assert_cost(&format!("change, {mode}"), &spent, &["change"], 1);
        let spent = cost(&world, DELETED, || world.unsubscribe("mail"));
        assert_cost(
            &format!("delete, {mode}"),
            &spent,
            &["delete", gone],
            writes,
        );
    }
}

#[test]
fn two_hundred_steady_subscriptions_cost_nothing_not_even_at_a_restart() {
    let world = quiet_world(World::builder());
    let names: Vec<String> = (1..=200).map(|number| format!("steady-{number}")).collect();
    let yaml: Vec<String> = names
        .iter()
        .map(|name| objects::subscription(name, json!({})))
        .collect();
    world.apply(&objects::all(&yaml));
    world.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "--timeout=120s",
        "subscription",
        "--all",
    ]);
    assert_eq!(world.vendor.count("create"), 201);
    world.until(
        "the connection has settled",
        "VendorConnection",
        "acme",
        |acme| acme["status"]["subscriptions"] == 201,
    );
    settle(&world);

    // The promise is about a minute.
    let meter = Meter::start(&world);
    thread::sleep(Duration::from_secs(60));
    let spent = meter.spent();
    assert_eq!(operations(&spent.calls), [""; 0]);
    assert_eq!(spent.total(), 0, "{:?}", spent.writes);
    assert_eq!(spent.events, 0);
    world.until(
        "the connection has settled",
        "VendorConnection",
        "acme",
        |acme| acme["status"]["subscriptions"] == 201,
    );

    // Nor does a new process have anything to write; whatever it reads, it does not read at once.
    let meter = Meter::start(&world);
    world.operator.restart();
    thread::sleep(Duration::from_secs(5));
    let spent = meter.spent();
    assert_eq!(spent.total(), 0, "{:?}", spent.writes);
    assert!(spent.calls.len() <= 2, "{} reads", spent.calls.len());

    // Where a read of each falls due within a minute, they are spread over it.
    world.operator.stop();
    let minute = objects::connection(world.vendor.url(), json!({"polling": {"interval": "1m"}}));
    world.apply(&minute);
    let before = world.vendor.sequence();
    let meter = Meter::start(&world);
    let started = Instant::now();
    world.operator.start();
    world.eventually(
        "a quarter of them is read",
        Duration::from_secs(120),
        || {
            let calls = world.vendor.calls_since(before).len();
            if calls >= 50 { Ok(()) } else { Err(calls) }
        },
    );
    let passed = started.elapsed();
    assert!(passed > Duration::from_secs(7), "50 reads in {passed:?}");
    // And a read that finds what is declared writes nothing.
    let spent = meter.spent();
    let mut operations = operations(&spent.calls).into_iter();
    assert!(operations.all(|operation| operation == "get"));
    let mut writes = spent.writes.keys();
    let written = writes.any(|what| what.contains(" subscriptions"));
    assert!(!written, "{:?}", spent.writes);
}
