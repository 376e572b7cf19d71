//! Many at once.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use e2e::{World, objects, objects::standing};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// How many are applied at once.
const MANY: usize = 1000;
/// How long all of them may take; this machine alone needs a third of it.
const BOUND: Duration = Duration::from_secs(90);

#[test]
fn a_thousand_subscriptions_applied_at_once_make_a_thousand_tenants() {
    let budget = json!({"requestsPerSecond": 2000, "burst": 2000, "maxInFlight": 64});
    let world = World::builder()
        .connection(json!({"budget": budget}))
        .start();
    let all: Vec<String> = (0..MANY)
        .map(|number| {
            let limits = json!({"limits": {"seats": number + 1}});
            objects::subscription(&format!("mail-{number:04}"), limits)
        })
        .collect();
    let began = Instant::now();
    // Server-side, which is one call each: kubectl would else look before each of them.
    let args = ["apply", "--server-side", "-f", "-"];
    let output = world.kubectl_with(&args, &objects::all(&all));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let applied = began.elapsed();
    // Looking at all of them costs this machine more than making them, so the vendor is asked first.
    world.eventually("a tenant for each", BOUND, || {
        let live = world.vendor.count("live");
        if live >= MANY as u64 {
            return Ok(());
        }
        let late = began.elapsed() > BOUND;
        Err(format!(
            "{live}; {}",
            if late {
                laggards(&world)
            } else {
                String::new()
            }
        ))
    });
    world.eventually("each is Ready", BOUND, || {
        let late = laggards(&world);
        if late.is_empty() { Ok(()) } else { Err(late) }
    });
    let ready = began.elapsed();
    println!("{MANY} subscriptions applied in {applied:?}, Ready after {ready:?}");

    let counts = world.vendor.counts();
    for (what, expected) in [
        ("create", MANY),
        ("live", MANY),
        ("tenants", MANY),
        ("duplicates", 0),
    ] {
        assert_eq!(counts[what], expected, "{what}: {counts}");
    }
    // Each has the tenant that was made for it.
    let seats = |value: &Value| value["seats"].as_u64().unwrap();
    let mut tenants: Vec<(String, u64)> = world
        .vendor
        .live()
        .iter()
        .map(|tenant| (text(&tenant["id"]), seats(&tenant["limits"])))
        .collect();
    let objects = world.list("subscriptions");
    let mut declared: Vec<(String, u64)> = objects
        .iter()
        .map(|object| {
            (
                text(&object["status"]["tenantId"]),
                seats(&object["spec"]["limits"]),
            )
        })
        .collect();
    tenants.sort();
    declared.sort();
    assert_eq!(tenants, declared);
    let ids: HashSet<String> = objects
        .iter()
        .map(|object| text(&object["status"]["externalId"]))
        .collect();
    assert_eq!(ids.len(), MANY);
}

/// Those that are not Ready: how many, and the first few.
fn laggards(world: &World) -> String {
    let mut all = world.list("subscriptions");
    all.retain(|object| standing(object, "Ready") != "True Active");
    let shown: Vec<String> = all
        .iter()
        .take(3)
        .map(|object| format!("{} {}", object["metadata"], object["status"]))
        .collect();
    if all.is_empty() {
        String::new()
    } else {
        format!("{} are not Ready: {}", all.len(), shown.join("; "))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
