//! Who has a value that no two TierConfigurations of a product may have.

use serde_json::{Value, json};

use super::*;
use crate::testing::{World, cache, team};

fn world() -> World {
    let unique = json!({"name": "site", "scope": "tier", "unique": true});
    let product = json!({"name": "mail-pro", "parameters": [unique]});
    team("ExternalId", &product)
}

/// A TierConfiguration of the second generation, made in this year.
fn tier(name: &str, year: i64, status: &Value) -> Value {
    json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "TierConfiguration",
        "metadata": {
            "name": name, "namespace": "team", "uid": name, "resourceVersion": "1", "generation": 2,
            "creationTimestamp": format!("{year}-01-01T00:00:00Z"),
        },
        "spec": {
            "connectionRef": {"name": "acme"}, "product": "mail-pro", "level": 1,
            "account": {"name": name}, "parameters": [{"name": "site", "value": "77"}],
        },
        "status": status,
    })
}

fn status(type_: &str, outcome: &str, hash: Option<&String>) -> Value {
    let mut status = json!({
        "observedGeneration": 2, "state": if hash.is_some() { "Active" } else { "Processing" },
        "request": {"id": "r", "type": type_, "status": outcome, "generation": 2},
    });
    if let Some(hash) = hash {
        status["inputsHash"] = json!(hash);
    }
    status
}

async fn facts(world: &World, tier: &Value) -> Facts {
    let tier = serde_json::from_value(tier.clone()).unwrap();
    let seen = observe(&world.ctx, &world.scope, &tier).await;
    seen.map(|seen| seen.facts).unwrap()
}

#[tokio::test]
async fn a_value_that_was_never_approved_takes_none_from_who_has_it() {
    let mut world = world();
    let new = tier("holder", 2026, &json!({}));
    let hash = facts(&world, &new).await.inputs;
    let holder = tier("holder", 2026, &status("Setup", "Approved", hash.as_ref()));
    cache(&mut world.tiers, &holder);
    // Its Secret was missing when it was edited.
    let other = "another".to_owned();
    let older = tier("older", 2025, &status("Update", "Pending", Some(&other)));
    cache(&mut world.tiers, &older);
    let kept = facts(&world, &holder).await;
    assert_eq!((kept.trouble, kept.invalid), (None, Vec::new()));
    let wants = facts(&world, &older).await;
    assert_eq!(wants.invalid.len(), 1);
    let said = &wants.invalid[0].message;
    assert!(said.contains("team/holder has it"), "{said}");
}

#[tokio::test]
async fn what_failed_lets_go_of_what_was_never_had_alone() {
    let mut world = world();
    let waiting = |name: &str, year: i64| {
        let mut status = status("Setup", "Inquiring", None);
        status["parameterErrors"] = json!([{"name": "site", "message": "must be unique"}]);
        tier(name, year, &status)
    };
    let failed = tier("failed", 2025, &status("Setup", "Failed", None));
    cache(&mut world.tiers, &failed);
    let free = facts(&world, &waiting("waits", 2026)).await;
    assert_eq!(free.invalid, Vec::new());
    let other = "another".to_owned();
    let failed = tier("failed", 2026, &status("Update", "Failed", Some(&other)));
    cache(&mut world.tiers, &failed);
    let held = facts(&world, &waiting("waits", 2025)).await;
    assert_eq!(held.invalid.len(), 1);
}
