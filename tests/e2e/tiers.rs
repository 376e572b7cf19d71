//! TierConfigurations: purchases wait for them and carry them, and nothing is let go while it is used.

use e2e::{
    World,
    objects::{condition, message, secret, standing},
    vendor::operations,
};
use serde_json::{Value, json};

/// A product whose resellers have a number of their own.
fn product() -> Value {
    json!({
        "name": "mail-pro",
        "parameters": [
            {"name": "contact_phone", "type": "phone"},
            {"name": "reseller_id", "scope": "tier", "required": true, "maxLength": 4, "hint": "from the contract"},
            {"name": "discount", "scope": "tier", "sensitive": true},
            {"name": "plan", "scope": "tier", "default": "silver"},
        ],
    })
}

fn world() -> World {
    World::builder()
        .connection(json!({"products": [product()]}))
        .start()
}

/// A TierConfiguration of level 1.
pub(crate) fn tier(name: &str, spec: Value) -> String {
    let mut whole = json!({
        "connectionRef": {"name": "acme"},
        "product": "mail-pro",
        "level": 1,
        "account": {"externalId": format!("r-{name}"), "name": name},
    });
    e2e::objects::merge(&mut whole, spec);
    json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1",
        "kind": "TierConfiguration",
        "metadata": {"name": name},
        "spec": whole,
    })
    .to_string()
}

pub(crate) fn under(tier1: &str) -> Value {
    json!({"tiers": {"tier1": {"tierConfigurationRef": {"name": tier1}}}})
}

/// Waits until a TierConfiguration's condition stands so for what is declared now.
pub(crate) fn stands(world: &World, name: &str, type_: &str, expected: &str) -> Value {
    world.until(expected, "TierConfiguration", name, |tier| {
        let condition = condition(tier, type_);
        let generation = condition.map(|c| &c["observedGeneration"]);
        standing(tier, type_) == expected && generation == Some(&tier["metadata"]["generation"])
    })
}

pub(crate) fn numbered(id: &str) -> Value {
    json!({"parameters": [{"name": "reseller_id", "value": id}]})
}

#[test]
fn a_purchase_waits_for_its_tier_and_carries_it() {
    let world = world();
    world.apply(&secret("north", &[("discount", "canary-17")]));
    let mut spec = under("north");
    spec["tiers"]["customer"] = json!({"externalId": "c-17", "name": "Contoso", "contact": {"email": "it@contoso.example"}});
    spec["parameters"] = json!([{"name": "contact_phone", "value": "+1 201 555 0123"}]);
    world.subscribe("mail", spec);
    let mail = world.stands("mail", "Ready", "False TierConfigurationNotReady");
    assert_eq!(
        standing(&mail, "Reconciling"),
        "True TierConfigurationNotReady"
    );
    let said = message(&mail, "Ready");
    assert!(
        said.contains("TierConfiguration north does not exist"),
        "{said}"
    );

    // It is there, and breaks a rule of the product.
    world.apply(&tier("north", json!({})));
    let north = stands(&world, "north", "Stalled", "True Inquiring");
    assert_eq!(north["status"]["state"], "Processing");
    assert_eq!(north["status"]["request"]["type"], "Setup");
    assert_eq!(north["status"]["request"]["status"], "Inquiring");
    assert_eq!(north["status"]["parameterErrors"][0]["name"], "reseller_id");
    let said = message(&north, "Ready");
    assert!(
        said.contains("reseller_id is required: from the contract"),
        "{said}"
    );
    world.until("said at the purchase", "Subscription", "mail", |mail| {
        let said = message(mail, "Ready");
        said.contains("TierConfiguration north is not Active: Inquiring: reseller_id")
    });
    assert!(world.vendor.calls().is_empty());

    world.apply(&tier(
        "north",
        json!({"parameters": [
            {"name": "reseller_id", "value": "77"},
            {"name": "discount", "valueFrom": {"secretKeyRef": {"name": "north", "key": "discount"}}},
        ]}),
    ));
    let north = stands(&world, "north", "Ready", "True Active");
    assert_eq!(north["status"]["state"], "Active");
    assert_eq!(north["status"]["request"]["status"], "Approved");
    assert_eq!(north["status"]["parameterErrors"], Value::Null);
    assert!(!north["status"].to_string().contains("canary"), "{north}");
    world.ready("mail");
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create"]);
    let body = calls[0].body();
    assert_eq!(
        body["tiers"],
        json!({
            "customer": {"externalId": "c-17", "name": "Contoso", "contact": {"email": "it@contoso.example"}},
            "tier1": {
                "externalId": "r-north",
                "name": "north",
                "parameters": {"reseller_id": "77", "discount": "canary-17", "plan": "silver"},
            },
        })
    );
    assert_eq!(
        body["parameters"],
        json!({"contact_phone": "+1 201 555 0123"})
    );
    let table = world.kubectl(&["get", "ftier"]);
    let row: Vec<&str> = table
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(
        row[..7],
        [
            "north", "mail-pro", "1", "Active", "True", "Setup", "Approved"
        ],
        "{table}"
    );
    world.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "--timeout=10s",
        "ftier/north",
    ]);
    world.event("north", "Approved");
}

#[test]
fn a_change_of_a_tier_is_sent_with_everything_bought_under_it() {
    let world = world();
    world.apply(&secret("north", &[("discount", "17")]));
    let mut spec = json!({"parameters": [
        {"name": "reseller_id", "value": "77"},
        {"name": "discount", "valueFrom": {"secretKeyRef": {"name": "north", "key": "discount"}}},
    ]});
    world.apply(&tier("north", spec.clone()));
    for name in ["mail", "files"] {
        world.subscribe(name, under("north"));
        world.ready(name);
    }
    world.subscribe("other", json!({"product": "unlisted"}));
    world.ready("other");
    let setup = stands(&world, "north", "Ready", "True Active");

    let sent = |what: &str, since: u64, field: &str, value: &str| {
        world.eventually(what, e2e::SOON, || {
            let calls = world.vendor.calls_since(since);
            let agreed = |call: &e2e::vendor::Call| {
                call.body()["tiers"]["tier1"]["parameters"][field] == value
            };
            let changes = calls.iter().filter(|c| c.operation() == "change");
            let changed = changes.filter(|c| agreed(c)).count();
            if changed == 2 {
                Ok(())
            } else {
                Err(format!("{changed} changes"))
            }
        });
    };
    let before = world.vendor.sequence();
    spec["parameters"][0]["value"] = json!("78");
    world.apply(&tier("north", spec));
    sent("the change", before, "reseller_id", "78");
    let update = stands(&world, "north", "Ready", "True Active");
    assert_eq!(update["status"]["request"]["type"], "Update");
    assert_eq!(update["status"]["request"]["status"], "Approved");
    assert_ne!(
        update["status"]["request"]["id"],
        setup["status"]["request"]["id"]
    );

    let before = world.vendor.sequence();
    world.apply(&secret("north", &[("discount", "18")]));
    sent("the Secret's change", before, "discount", "18");
    for name in ["mail", "files"] {
        world.ready(name);
    }
    // Once each, and nobody else.
    let changes = world.vendor.calls();
    let changes = operations(&changes)
        .iter()
        .filter(|o| **o == "change")
        .count();
    assert_eq!(changes, 4);
}

#[test]
fn an_update_that_is_not_approved_stops_purchases_and_nothing_that_was_bought() {
    let world = world();
    world.apply(&tier("north", numbered("77")));
    world.subscribe("mail", under("north"));
    world.ready("mail");

    world.apply(&tier("north", numbered("too long")));
    let north = stands(&world, "north", "Stalled", "True Inquiring");
    assert_eq!(north["status"]["state"], "Active");
    assert_eq!(north["status"]["request"]["type"], "Update");
    world.subscribe("files", under("north"));
    let files = world.stands("files", "Ready", "False TierConfigurationNotReady");
    let said = message(&files, "Ready");
    assert!(
        said.contains("has an update that is not approved"),
        "{said}"
    );

    let mut spec = under("north");
    spec["limits"] = json!({"seats": 70});
    world.subscribe("mail", spec.clone());
    world.until("changed", "Subscription", "mail", |mail| {
        mail["status"]["limits"]["seats"] == 70 && standing(mail, "Ready") == "True Active"
    });
    // Its own parameters too; what the tier does not agree on is not sent along.
    spec["parameters"] = json!([{"name": "contact_phone", "value": "+1 201 555 0123"}]);
    world.subscribe("mail", spec);
    world.eventually("the phone number is with the vendor", e2e::SOON, || {
        let tenant = world.vendor.tenant();
        let phone = &tenant["terms"]["parameters"]["contact_phone"];
        if phone == "+1 201 555 0123" {
            Ok(())
        } else {
            Err(tenant.to_string())
        }
    });
    world.ready("mail");
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create", "change", "change"]);
    for change in &calls[1..] {
        assert_eq!(change.body()["tiers"], Value::Null);
    }
    // Nor is anything bought anew under it.
    world
        .vendor
        .vanish(&e2e::vendor::id_in(&world.vendor.tenant()));
    world.request("mail", "look");
    world.until("waits", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "False TierConfigurationNotReady"
    });
    assert_eq!(world.vendor.count("create"), 1);

    world.apply(&tier("north", numbered("78")));
    world.ready("files");
    world.ready("mail");
    for create in world
        .vendor
        .calls_since(calls.last().map_or(0, e2e::vendor::Call::sequence))
    {
        if create.operation() == "create" {
            assert_eq!(
                create.body()["tiers"]["tier1"]["parameters"]["reseller_id"],
                "78"
            );
        }
    }
    assert_eq!(world.vendor.count("create"), 3);
}

#[test]
fn level_2_comes_before_level_1_and_orders_carry_both() {
    let world = world();
    let mut north = numbered("77");
    north["parentRef"] = json!({"name": "distributor"});
    world.apply(&tier("north", north));
    world.subscribe("mail", under("north"));
    let waiting = stands(
        &world,
        "north",
        "Reconciling",
        "True TierConfigurationNotReady",
    );
    assert_eq!(waiting["status"]["request"]["status"], "Pending");
    let said = message(&waiting, "Ready");
    assert!(
        said.contains("TierConfiguration distributor does not exist"),
        "{said}"
    );

    let mut distributor = numbered("1");
    distributor["level"] = json!(2);
    world.apply(&tier("distributor", distributor.clone()));
    stands(&world, "north", "Ready", "True Active");
    world.ready("mail");
    let body = world.vendor.calls()[0].body().clone();
    let tiers = body["tiers"]
        .as_object()
        .map(|t| t.keys().cloned().collect::<Vec<_>>());
    assert_eq!(tiers, Some(vec!["tier1".to_owned(), "tier2".to_owned()]));
    assert_eq!(body["tiers"]["tier2"]["parameters"]["reseller_id"], "1");

    // What changes two levels above is sent too.
    distributor["parameters"][0]["value"] = json!("2");
    world.apply(&tier("distributor", distributor));
    world.eventually("sent", e2e::SOON, || {
        let calls = world.vendor.calls();
        let sent =
            |c: &e2e::vendor::Call| c.body()["tiers"]["tier2"]["parameters"]["reseller_id"] == "2";
        calls.iter().any(sent).then_some(()).ok_or("not yet")
    });
    world.ready("mail");
}

#[test]
fn what_is_used_is_kept_and_names_who_uses_it() {
    let world = world();
    let mut distributor = numbered("1");
    distributor["level"] = json!(2);
    world.apply(&tier("distributor", distributor));
    let mut north = numbered("77");
    north["parentRef"] = json!({"name": "distributor"});
    world.apply(&tier("north", north));
    world.subscribe("mail", under("north"));
    world.ready("mail");
    world.kubectl(&["delete", "--wait=false", "ftier", "north", "distributor"]);
    for (name, user) in [
        ("north", "Subscription mail"),
        ("distributor", "TierConfiguration north"),
    ] {
        let kept = world.until("kept", "TierConfiguration", name, |tier| {
            standing(tier, "Ready") == "False Terminating"
        });
        let said = message(&kept, "Ready");
        assert!(said.contains(user), "{said}");
    }
    // What is bought goes on, and nothing new is bought.
    let mut spec = under("north");
    spec["limits"] = json!({"seats": 70});
    world.subscribe("mail", spec);
    world.until("changed", "Subscription", "mail", |mail| {
        mail["status"]["limits"]["seats"] == 70
    });
    world.subscribe("files", under("north"));
    let files = world.stands("files", "Ready", "False TierConfigurationNotReady");
    assert!(message(&files, "Ready").contains("is being deleted"));
    world.unsubscribe("files");
    world.unsubscribe("mail");
    world.gone("TierConfiguration", "north");
    world.gone("TierConfiguration", "distributor");
}

#[test]
fn what_does_not_fit_is_said_where_it_stands() {
    let world = world();
    let err = world.apply_err(&tier(
        "top",
        json!({"level": 2, "parentRef": {"name": "north"}}),
    ));
    assert!(err.contains("leave parentRef out"), "{err}");
    let err = world.apply_err(&tier("top", json!({"level": 3})));
    assert!(err.contains("spec.level"), "{err}");
    let err = world.apply_err(&tier(
        "top",
        json!({"account": {"externalId": null, "name": null}}),
    ));
    assert!(err.contains("say who it is"), "{err}");
    let both =
        json!({"tiers": {"tier1": {"tierConfigurationRef": {"name": "north"}, "name": "North"}}});
    let err = world.apply_err(&e2e::objects::subscription("mail", both));
    assert!(
        err.contains("set either tierConfigurationRef, or the account itself"),
        "{err}"
    );

    world.apply(&tier("north", numbered("77")));
    stands(&world, "north", "Ready", "True Active");
    let err = world.apply_err(&tier("north", json!({"level": 2})));
    assert!(err.contains("level is immutable"), "{err}");
    let err = world.apply_err(&tier("north", json!({"parentRef": {"name": "x"}})));
    assert!(err.contains("parentRef is immutable"), "{err}");

    world.apply(&tier("files-north", json!({"product": "files-pro"})));
    for (name, tiers, why) in [
        (
            "level",
            json!({"tier2": {"tierConfigurationRef": {"name": "north"}}}),
            "is of level 1 and cannot be tier2",
        ),
        (
            "product",
            json!({"tier1": {"tierConfigurationRef": {"name": "files-north"}}}),
            "is of another product, files-pro",
        ),
    ] {
        world.subscribe(name, json!({"tiers": tiers}));
        let waits = world.stands(name, "Ready", "False TierConfigurationNotReady");
        let said = message(&waits, "Ready");
        assert!(said.contains(why), "{said}");
    }
    // Who is above the reseller is the reseller's to say.
    let mut below = numbered("78");
    below["parentRef"] = json!({"name": "top"});
    world.apply(&tier("below", below));
    let mut top = numbered("1");
    top["level"] = json!(2);
    world.apply(&tier("top", top));
    let tiers =
        json!({"tier1": {"tierConfigurationRef": {"name": "below"}}, "tier2": {"name": "else"}});
    world.subscribe("two-tops", json!({"tiers": tiers}));
    world.until("said", "Subscription", "two-tops", |waits| {
        message(waits, "Ready").contains("tier1 stands below TierConfiguration top")
    });
    // A parameter in the wrong place is told where it belongs.
    world.subscribe("misplaced", numbered("77"));
    let waits = world.stands("misplaced", "Ready", "False Inquiring");
    assert!(message(&waits, "Ready").contains("set it in the TierConfiguration"));
    world.apply(&tier("east", json!({"connectionRef": {"name": "missing"}})));
    let waits = stands(&world, "east", "Reconciling", "True DependencyNotReady");
    assert!(message(&waits, "Ready").contains("VendorConnection missing does not exist"));
    assert!(world.vendor.calls().is_empty());
}

#[test]
fn paused_nothing_is_written_and_its_deletion_waits() {
    let world = world();
    world.apply(&tier("north", numbered("77")));
    stands(&world, "north", "Ready", "True Active");
    world.pause("TierConfiguration", "north");
    world.apply(&tier("north", numbered("78")));
    world.kubectl(&["delete", "--wait=false", "ftier", "north"]);
    let north = world.get("TierConfiguration", "north");
    assert_eq!(standing(&north, "Ready"), "True Paused");
    assert_eq!(north["status"]["observedGeneration"], 1);
    world.unpause("TierConfiguration", "north");
    world.gone("TierConfiguration", "north");
}

#[test]
fn what_the_vendor_asks_about_a_reseller_is_answered_in_its_configuration() {
    let world = world();
    world.apply(&tier("north", numbered("77")));
    stands(&world, "north", "Ready", "True Active");
    let unknown = json!({"code": "contract", "parameters": {"reseller_id": "no such contract"}});
    world.vendor.fault(json!({
        "method": "POST", "path": "/tenant", "times": "unlimited",
        "fault": {"status": 422, "body": {"error": unknown}},
    }));
    world.subscribe("mail", under("north"));
    let mail = world.stands("mail", "Ready", "False Inquiring");
    let said = message(&mail, "Ready");
    assert!(
        said.ends_with("edit TierConfiguration north to answer"),
        "{said}"
    );
    world.vendor.clear_faults();
    world.apply(&tier("north", numbered("78")));
    world.ready("mail");
    let calls = world.vendor.calls();
    let sent = calls.iter().rfind(|call| call.operation() == "create");
    let tier1 = sent.map(|call| call.body()["tiers"]["tier1"].clone());
    assert_eq!(tier1.unwrap_or_default()["parameters"]["reseller_id"], "78");
}
