//! What the facts of one object say of its product's rules and of who else wants what it has.

use fulfillment_crds::Time;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::testing::{World, cache, team};

fn order(seats: i64, site: &str) -> Value {
    json!({
        "connectionRef": {"name": "acme"}, "product": "mail-pro",
        "limits": {"seats": seats, "storage": 1},
        "parameters": [{"name": "site", "value": site}],
    })
}

/// The hash of what the vendor was sent with this site.
fn sent(world: &World, site: &str) -> String {
    let values = [("site".to_owned(), site.into())].into();
    world.ctx.key.inputs_hash(&values).unwrap()
}

/// A Subscription of this generation, made in this year; `status` is of the generation before if it says
/// nothing else.
fn subscription(name: &str, year: i64, spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "Subscription",
        "metadata": {
            "name": name, "namespace": "team", "uid": name, "resourceVersion": "1", "generation": 2,
            "creationTimestamp": format!("{year}-01-01T00:00:00Z"),
            "finalizers": ["fulfillment-operator.io/tenant"],
        },
        "spec": spec, "status": status,
    })
}

fn request(type_: &str, status: &str, generation: i64) -> Value {
    json!({"id": "r", "type": type_, "status": status, "generation": generation, "attempts": 1})
}

async fn facts(world: &World, object: &Value) -> Facts {
    let object = serde_json::from_value(object.clone()).unwrap();
    let seen = observe(&world.ctx, &world.scope, Arc::new(object)).await;
    seen.unwrap().facts
}

fn names(facts: &Facts) -> Vec<&str> {
    assert_eq!(facts.trouble, None);
    let errors = facts.desired.invalid.iter();
    errors.map(|error| error.name.as_str()).collect()
}

#[tokio::test]
async fn a_value_that_was_never_sent_takes_none_from_who_has_it() {
    let unique = json!({"name": "site", "type": "subdomain", "unique": true});
    let product = json!({"name": "mail-pro", "parameters": [unique]});
    let mut world = team("ExternalId", &product);
    let has = json!({
        "observedGeneration": 2, "tenantId": "t-1", "state": "Active", "limits": {"seats": 5, "storage": 1},
        "inputsHash": sent(&world, "contoso"), "request": request("Purchase", "Approved", 1),
    });
    let holder = subscription("holder", 2026, &order(5, "contoso"), &has);
    cache(&mut world.subscriptions, &holder);
    for waits in [
        // Its own change is not decided; a Secret was missing.
        request("Change", "Pending", 1),
        request("Change", "Approved", 1),
        request("Suspend", "Pending", 2),
    ] {
        let status = json!({
            "observedGeneration": 2, "tenantId": "t-2", "state": "Active", "limits": {"seats": 5, "storage": 1},
            "inputsHash": sent(&world, "fabrikam"), "request": waits,
        });
        let older = subscription("older", 2025, &order(5, "contoso"), &status);
        cache(&mut world.subscriptions, &older);
        assert_eq!(names(&facts(&world, &older).await), ["site"], "{waits}");
        for (observed, seats) in [(2, 5), (1, 6)] {
            let mut edited = holder.clone();
            edited["status"]["observedGeneration"] = json!(observed);
            edited["spec"]["limits"]["seats"] = json!(seats);
            let facts = facts(&world, &edited).await;
            assert!(names(&facts).is_empty(), "{waits}: {seats}");
        }
    }
    // What it has sent itself it does not give up.
    let status = json!({
        "observedGeneration": 2, "tenantId": "t-1", "state": "Active", "limits": {"seats": 5, "storage": 1},
        "inputsHash": sent(&world, "adatum"), "request": request("Change", "Pending", 2),
    });
    let sending = subscription("holder", 2026, &order(5, "contoso"), &status);
    cache(&mut world.subscriptions, &sending);
    let mut older = subscription("older", 2025, &order(5, "contoso"), &has);
    older["status"]["inputsHash"] = json!(sent(&world, "fabrikam"));
    older["status"]["observedGeneration"] = json!(1);
    cache(&mut world.subscriptions, &older);
    assert!(names(&facts(&world, &sending).await).is_empty());
    assert_eq!(names(&facts(&world, &older).await), ["site"]);
}

fn unfit_product() -> Value {
    json!({"name": "mail-pro", "limits": [
        {"name": "seats", "minimum": 10, "maximum": 5},
        {"name": "storage", "maximum": 3},
    ]})
}

#[tokio::test]
async fn a_definition_that_nobody_can_keep_stops_what_it_is_of() {
    let world = team("ExternalId", &unfit_product());
    let with = |seats: i64, storage: i64| {
        let status = json!({
            "observedGeneration": 1, "tenantId": "t-1", "state": "Active", "limits": {"seats": 7, "storage": 1},
            "inputsHash": sent(&world, "contoso"), "request": request("Purchase", "Approved", 1),
        });
        let mut spec = order(seats, "contoso");
        spec["limits"]["storage"] = json!(storage);
        subscription("mail", 2026, &spec, &status)
    };
    for (seats, storage, wrong) in [
        (7, 1, None),
        (7, 2, None),
        (7, 4, Some("limits.storage")),
        (8, 2, Some("limits.seats")),
    ] {
        let facts = facts(&world, &with(seats, storage)).await;
        let wrong: Vec<_> = wrong.into_iter().collect();
        assert_eq!(names(&facts), wrong, "{seats} {storage}");
        assert!(facts.unready.is_some());
    }
    let mut edited = with(7, 1);
    edited["spec"]["parameters"][0]["value"] = json!("fabrikam");
    assert_eq!(names(&facts(&world, &edited).await), ["limits.seats"]);
}

#[tokio::test]
async fn a_definition_that_nobody_can_keep_leaves_no_create_unsettled() {
    for mode in ["Lookup", "None"] {
        let world = team(mode, &unfit_product());
        let open = |status: Value| subscription("mail", 2026, &order(7, "contoso"), &status);
        let unknown = request("Purchase", "Unknown", 1);
        let unknown = json!({"observedGeneration": 1, "request": unknown});
        for status in [unknown, Value::Null] {
            let facts = facts(&world, &open(status)).await;
            assert_eq!(facts.trouble, None, "{mode}");
            assert!(facts.unready.is_some(), "{mode}");
        }
        let failed = request("Purchase", "Failed", 1);
        let failed = json!({"observedGeneration": 1, "request": failed});
        let facts = facts(&world, &open(failed)).await;
        let trouble = facts.trouble.map(|trouble| trouble.message);
        assert!(
            trouble.unwrap_or_default().contains("limits.seats"),
            "{mode}"
        );
    }
}

/// What the vendor promises is not trusted to the end: it may count from another moment than we do.
#[tokio::test]
async fn a_key_counts_for_half_of_what_its_vendor_promises() {
    let world = team("IdempotencyKey", &json!({"name": "mail-pro"}));
    let unknown = request("Purchase", "Unknown", 1);
    let status = json!({"observedGeneration": 1, "externalId": "k", "request": unknown});
    let mail = subscription("mail", 2026, &order(7, "contoso"), &status);
    let mut facts = facts(&world, &mail).await;
    facts.rules.retention = Duration::from_hours(24);
    assert!(!remembered(&facts), "nobody knows when it was sent");
    let half = 12 * 60 * 60;
    // A clock may be five minutes ahead of the one that looks.
    for (age, expected) in [
        (0, true),
        (half - 1, true),
        (half, false),
        (2 * half, false),
        (-300, true),
        (-301, false),
    ] {
        let began = facts.clock.now - SignedDuration::from_secs(age);
        facts.ledger.request.as_mut().unwrap().started_at = Some(Time(began));
        assert_eq!(remembered(&facts), expected, "{age}");
    }
}
