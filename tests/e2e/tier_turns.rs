//! Whose turn it is when a TierConfiguration changes: whoever it concerns, at once, and nobody else.

use crate::tiers::{numbered, stands, tier, under};
use e2e::{SOON, World, objects::message};
use serde_json::json;

const MANY: usize = 50;

fn world() -> World {
    let number = json!({"name": "reseller_id", "scope": "tier"});
    let product = json!({"name": "mail-pro", "parameters": [number]});
    World::builder()
        .connection(json!({"products": [product], "polling": {"interval": "1h"}}))
        .start()
}

/// How many passes over Subscriptions there were.
fn passes(world: &World) -> u64 {
    let metrics = world.operator.metrics();
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("fulfillment_reconcile_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

/// What was asked for before has had its turn once another Subscription is ready.
fn all_had_their_turn(world: &World, marker: &str) {
    world.subscribe(marker, json!({"product": "unlisted"}));
    world.ready(marker);
}

#[test]
fn what_a_tier_says_of_itself_is_no_turn_of_those_below_it() {
    let world = world();
    world.apply(&tier("north", numbered("77")));
    stands(&world, "north", "Ready", "True Active");
    let mut all = Vec::new();
    for n in 0..MANY {
        all.push(e2e::objects::subscription(
            &format!("mail-{n}"),
            under("north"),
        ));
    }
    world.apply(&e2e::objects::all(&all));
    for n in 0..MANY {
        world.ready(&format!("mail-{n}"));
    }
    all_had_their_turn(&world, "first");
    let (before, called) = (passes(&world), world.vendor.calls().len());
    world.kubectl(&[
        "annotate",
        "ftier",
        "north",
        "reconcile.fluxcd.io/requestedAt=look",
    ]);
    world.until("looked at", "TierConfiguration", "north", |north| {
        north["status"]["lastHandledReconcileAt"] == "look"
    });
    // Words nobody waits for.
    let words = json!([{"op": "replace", "path": "/status/conditions/0/message", "value": "as somebody says"}]);
    world.kubectl(&[
        "patch",
        "ftier",
        "north",
        "--subresource=status",
        "--type=json",
        "-p",
        &words.to_string(),
    ]);
    world.until("said again", "TierConfiguration", "north", |north| {
        message(north, "Ready").starts_with("set up")
    });
    all_had_their_turn(&world, "second");
    let turns = passes(&world) - before;
    assert!(turns < MANY as u64 / 2, "{turns} passes");
    assert_eq!(
        world.vendor.calls().len(),
        called + 1,
        "the marker's create"
    );

    // What was agreed on concerns them all.
    world.apply(&tier("north", numbered("78")));
    world.eventually("sent with all", SOON, || {
        let calls = world.vendor.calls();
        let told = |c: &&e2e::vendor::Call| {
            c.operation() == "change"
                && c.body()["tiers"]["tier1"]["parameters"]["reseller_id"] == "78"
        };
        let told = calls.iter().filter(told).count();
        if told == MANY { Ok(()) } else { Err(told) }
    });
}

#[test]
fn who_waits_for_a_tier_says_what_it_says() {
    let world = world();
    let secret = json!({"parameters": [{"name": "reseller_id", "valueFrom": {"secretKeyRef": {"name": "one", "key": "id"}}}]});
    world.apply(&tier("north", secret.clone()));
    world.subscribe("mail", under("north"));
    world.until("waits", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("Secret one does not exist")
    });
    world.apply(&e2e::objects::secret("one", &[("other", "77")]));
    world.until("waits for the key", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("has no key id")
    });
}
