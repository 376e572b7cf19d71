//! The admission policy: what breaks a product's rules is refused at `kubectl apply`, as far as it can be
//! known then.

use crate::{
    products::{inquiring, mail_pro},
    tiers::{tier, under},
};
use e2e::{
    SOON, World,
    objects::{connection, merge, subscription},
};
use serde_json::{Value, json};

/// The admission policy as the chart of the CRDs renders it.
pub(crate) fn policy() -> String {
    let chart = "charts/fulfillment-operator-crds";
    let file = "templates/admission-policy.yaml";
    let output = crate::charts::helm(&["template", "crds", chart, "--show-only", file]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A product whose limits and parameters have a rule of every kind that can be told from a value.
fn mail_plus() -> Value {
    json!({
        "name": "mail-plus",
        "limits": [
            {"name": "seats"},
            {"name": "storage", "precision": 1, "maximum": "7.5"},
            {"name": "traffic", "precision": 2, "minimum": "9.5", "maximum": "unlimited", "unlimited": true},
        ],
        "parameters": [
            {"name": "pin", "type": "password"},
            {"name": "newsletter", "type": "checkbox"},
            {"name": "plan", "readonly": true, "default": "flat"},
            {"name": "nickname", "minLength": 2},
            {"name": "motto", "maxLength": 3},
            {"name": "region", "type": "dropdown", "choices": [{"value": "eu"}]},
            {"name": "greeting", "required": true, "default": "hello"},
        ],
    })
}

/// The most that a product can have.
fn mail_max() -> Value {
    let choices: Vec<Value> = (0..64)
        .map(|n| json!({"value": format!("choice-{n}")}))
        .collect();
    let limit = |n| json!({"name": format!("{n:l>63}"), "precision": 1, "minimum": "1.5", "maximum": "7.5"});
    let parameter = |n| {
        json!({
            "name": format!("{n:p>128}"), "type": "choice", "choices": choices,
            "required": true, "minLength": 8, "maxLength": 9, "hint": "one of them",
        })
    };
    json!({
        "name": "mail-max",
        "limits": (0..64).map(limit).collect::<Vec<_>>(),
        "parameters": (0..64).map(parameter).collect::<Vec<_>>(),
    })
}

/// An order of all that it has, the last limit and parameter with these values.
fn order_of_the_most(limit: &str, parameter: &str) -> String {
    let last = |n: i32, last, other| if n == 63 { last } else { other };
    let limits = (0..64).map(|n| (format!("{n:l>63}"), json!(last(n, limit, "7.5"))));
    let mut limits: serde_json::Map<_, _> = limits.collect();
    limits.insert("seats".into(), Value::Null);
    let parameters = (0..64)
        .map(|n| json!({"name": format!("{n:p>128}"), "value": last(n, parameter, "choice-63")}));
    let parameters: Vec<Value> = parameters.collect();
    let spec = json!({"product": "mail-max", "limits": limits, "parameters": parameters});
    subscription("most", spec)
}

/// Whether the API server would take it, and what it says otherwise.
fn dry_run(world: &World, object: &str) -> Result<(), String> {
    let apply = ["apply", "--dry-run=server", "-f", "-"];
    let output = world.kubectl_with(&apply, object);
    let said = String::from_utf8_lossy(&output.stderr);
    let taken = output.status.success().then_some(());
    taken.ok_or_else(|| said.into_owned())
}

/// What is wrong with a value is told from the value.
fn wrong_values_are_refused(world: &World) {
    let order = |limits: Value, parameters: Value| {
        let spec = json!({"product": "mail-plus", "limits": limits, "parameters": parameters});
        subscription("plus", spec)
    };
    let wrong = json!({"seats": "7.5", "storage": "7.51", "traffic": "9.25"});
    let said = world.apply_err(&order(wrong, json!([])));
    for words in [
        "spec.limits.seats must be a whole number",
        "spec.limits.storage may have 1 decimals at most",
        "spec.limits.storage must be at most 7.5",
        "spec.limits.traffic must be at least 9.5",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let wrong = json!([
        {"name": "pin", "value": "1234"},
        {"name": "newsletter", "value": "yes"},
        {"name": "plan", "value": "gold"},
        {"name": "nickname", "value": "é"},
        {"name": "motto", "value": "four"},
        {"name": "region", "structuredValue": {"name": "eu"}},
        {"name": "greeting", "value": ""},
    ]);
    let said = world.apply_err(&order(json!({}), wrong));
    for words in [
        "pin is a secret: give it with valueFrom.secretKeyRef",
        "newsletter must be \"true\" or \"false\"",
        "plan cannot be set: take it out of spec.parameters",
        "nickname must have at least 2 characters",
        "motto must have at most 3 characters",
        "region must be text: set value",
        "greeting is required",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let limits = json!({"seats": "50.0", "storage": "7.50", "traffic": 10});
    let right = json!([
        {"name": "pin", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "newsletter", "value": "true"},
        {"name": "nickname", "value": "né"},
        {"name": "motto", "value": "été"},
        {"name": "region", "value": "eu"},
    ]);
    assert_eq!(dry_run(world, &order(limits, right)), Ok(()));
    let unlimited = json!({"traffic": "unlimited"});
    assert_eq!(dry_run(world, &order(unlimited, json!([]))), Ok(()));
}

/// The API server does not give up on the largest product, which would let all pass.
fn the_largest_product_is_judged(world: &World) {
    let right = order_of_the_most("7.5", "choice-63");
    assert_eq!(dry_run(world, &right), Ok(()));
    let said = world.apply_err(&order_of_the_most("7.6", "choice-63"));
    assert!(said.contains("l63 must be at most 7.5"), "{said}");
    let said = world.apply_err(&order_of_the_most("7.5", "choice64"));
    assert!(said.contains("p63 must be one of choice-0, "), "{said}");
    // Where all is wrong, that is said.
    let all = right.replace("choice-63", "choice64").replace("7.5", "7");
    let said = world.apply_err(&all);
    let words = "spec.parameters breaks rules of the product: see";
    assert!(said.contains(words), "{said}");
    let said = world.apply_err(&right.replace("7.5", "7.6"));
    let words = "spec.limits breaks rules of the product: see";
    assert!(said.contains(words), "{said}");
}

#[test]
fn what_can_be_known_at_apply_is_refused_there() {
    let mut product = mail_pro();
    let reseller_id = product["parameters"].as_array_mut().unwrap().last_mut();
    reseller_id.unwrap()["required"] = json!(true);
    // The policy is for the whole cluster.
    let world = World::builder()
        .own_control_plane()
        .connection(json!({"products": [product, mail_plus(), mail_max()]}))
        .start();
    world.apply(&policy());
    let phone = json!({"name": "contact_phone", "value": "+1 201 555 0123"});
    let order = |spec: Value| subscription("mail", spec);
    let bad = order(json!({
        "limits": {"seats": 101, "boxes": 1},
        "parameters": [
            {"name": "edition", "value": "silver"},
            {"name": "admin_password", "value": "in the open"},
            {"name": "activation_link", "value": "x"},
            {"name": "colour", "value": "red"},
        ],
    }));
    // The API server learns of a new policy a little later.
    world.eventually("it is refused", SOON, || match dry_run(&world, &bad) {
        Ok(()) => Err("taken"),
        Err(_) => Ok(()),
    });
    wrong_values_are_refused(&world);
    the_largest_product_is_judged(&world);
    let said = world.apply_err(&bad);
    for words in [
        "spec.limits.boxes is no limit of product mail-pro, which takes seats",
        "spec.limits.seats must be at most 100",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let said = world.apply_err(&order(json!({"parameters": [
        {"name": "edition", "value": "silver"},
        {"name": "admin_password", "value": "in the open"},
        {"name": "activation_link", "value": "x"},
        {"name": "colour", "value": "red"},
    ]})));
    for words in [
        "spec.parameters: colour is no parameter of product mail-pro, which takes ",
        "contact_phone is required: who answers at night",
        "activation_link is given by the vendor",
        "admin_password is a secret",
        "edition must be one of basic, gold",
    ] {
        assert!(said.contains(words), "{said}");
    }
    // A reseller's parameters are the TierConfiguration's, and no limit is.
    let reseller = json!({"name": "reseller_id", "value": "77"});
    let said = world.apply_err(&order(json!({"parameters": [phone, reseller]})));
    let words = "reseller_id is the reseller's: set it in the TierConfiguration";
    assert!(said.contains(words), "{said}");
    let north = |parameters: Value| tier("north", json!({"parameters": parameters}));
    let said = world.apply_err(&north(json!([phone])));
    for words in [
        "contact_phone is each Subscription's own: set it there",
        "reseller_id is required",
    ] {
        assert!(said.contains(words), "{said}");
    }
    world.apply(&north(json!([reseller])));

    let unlimited = json!({"parameters": [phone], "limits": {"seats": "unlimited"}});
    let said = world.apply_err(&order(unlimited));
    assert!(
        said.contains("spec.limits.seats cannot be unlimited"),
        "{said}"
    );

    // What fits passes, and what the operator writes is no order.
    let fits = |limits: Value| {
        let mut spec = under("north");
        merge(&mut spec, json!({"parameters": [phone], "limits": limits}));
        order(spec)
    };
    world.apply(&fits(json!({"seats": 50})));
    world.ready("mail");
    let mut stricter = mail_pro();
    stricter["limits"][0]["maximum"] = json!(10);
    world.apply(&connection(
        world.vendor.url(),
        json!({"products": [stricter]}),
    ));
    inquiring(&world, "mail", &["limits.seats"]);
    // One that fits no more can be suspended and retained all the same; of another limit it is told.
    for also in [
        json!({"state": "Suspended"}),
        json!({"deletionPolicy": "Retain"}),
    ] {
        let patch = json!({"spec": also}).to_string();
        world.patch("mail", &patch);
    }
    let said = world.apply_err(&fits(json!({"seats": 11})));
    assert!(said.contains("must be at most 10"), "{said}");
    let delete = r#"{"spec":{"deletionPolicy":"Delete"}}"#;
    world.patch("mail", delete);
    world.unsubscribe("mail");
    world.gone("Subscription", "mail");
    // A connection that says nothing, or is not there yet, stops nobody.
    let early = json!({"connectionRef": {"name": "later"}, "limits": {"boxes": 1}});
    world.apply(&subscription("early", early));
    world.stands("early", "Ready", "False DependencyNotReady");
    world.apply(&order(
        json!({"product": "unlisted", "limits": {"boxes": 1}}),
    ));
    world.ready("mail");
}
