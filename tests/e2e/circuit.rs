//! A vendor that answers nobody: one of many asks now and then, and the connection says until when.

use e2e::World;
use serde_json::{Value, json};

const MANY: usize = 20;

#[test]
fn a_vendor_that_answers_nobody_is_asked_by_one_of_many() {
    let world = World::start();
    let names: Vec<String> = (0..MANY).map(|n| format!("mail-{n}")).collect();
    let declare = |seats: u64| {
        for name in &names {
            world.subscribe(name, json!({"limits": {"seats": seats}}));
        }
    };
    let open = |acme: &Value| acme["status"]["openUntil"].as_str().map(str::to_owned);
    declare(10);
    for name in &names {
        world.ready(name);
    }

    world
        .vendor
        .fault(json!({"times": "unlimited", "fault": {"status": 503}}));
    declare(20);
    // Who has changed something is heard once, whatever the others have met with.
    for name in &names {
        world.stands(name, "Ready", "False VendorUnavailable");
    }
    let acme = world.until("it says until when", "VendorConnection", "acme", |acme| {
        open(acme).is_some()
    });
    let before = world.vendor.sequence();
    world.until("one has asked", "VendorConnection", "acme", |now| {
        open(now).is_some() && open(now) != open(&acme)
    });
    let asked = world.vendor.calls_since(before).len();
    assert!((1..=2).contains(&asked), "{asked} calls for one answer");

    world.vendor.clear_faults();
    world.subscribe(&names[0], json!({"limits": {"seats": 30}}));
    world.ready(&names[0]);
    world.until("it is closed", "VendorConnection", "acme", |acme| {
        open(acme).is_none()
    });
    for name in &names {
        world.ready(name);
    }
    assert_eq!(world.vendor.count("live"), MANY as u64);
}
