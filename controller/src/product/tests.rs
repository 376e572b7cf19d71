use super::*;
use fulfillment_crds::{Limits, Parameter, SubscriptionStatus};
use serde_json::{Value, json};

fn product(definition: &Value) -> Product {
    let mut whole = json!({"name": "mail-pro"});
    whole
        .as_object_mut()
        .unwrap()
        .extend(definition.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

/// What is wrong with an order of these limits and parameters, as `name message`.
fn wrong(product: &Product, limits: Value, given: Value) -> Vec<String> {
    let limits: Limits = serde_json::from_value(limits).unwrap();
    let given: Vec<Parameter> = serde_json::from_value(given).unwrap();
    let mut inputs = Inputs::default();
    for parameter in &given {
        if let Some(parts) = &parameter.structured_value {
            inputs.structured.insert(parameter.name.clone());
            let text = SecretString::from(json!(parts).to_string());
            inputs.values.insert(parameter.name.clone(), text);
        } else {
            let text = parameter
                .value
                .clone()
                .unwrap_or_else(|| "from elsewhere".into());
            inputs.values.insert(parameter.name.clone(), text.into());
        }
    }
    complete(product, Scope::Subscription, &mut inputs);
    let holder = |_: &ParameterDefinition, value: &str| {
        (value == "taken").then(|| "Subscription team-a/older".to_owned())
    };
    let errors = errors(
        product,
        Scope::Subscription,
        &limits,
        &given,
        &inputs,
        holder,
    );
    let errors = errors.into_iter();
    errors
        .map(|e| format!("{} {}", e.name, e.message))
        .collect()
}

#[test]
fn limits_keep_their_bounds() {
    let p = product(&json!({"limits": [
        {"name": "seats", "unit": "seats", "minimum": 1, "maximum": 500, "required": true},
        {"name": "storage", "precision": 1, "unlimited": true},
    ]}));
    let of = |limits: Value| wrong(&p, limits, json!([]));
    assert!(of(json!({"seats": 50, "storage": "1.5"})).is_empty());
    assert!(of(json!({"seats": 500, "storage": "unlimited"})).is_empty());
    assert_eq!(of(json!({})), ["limits.seats is required"]);
    assert_eq!(
        of(json!({"seats": 0})),
        ["limits.seats must be at least 1 seats"]
    );
    assert_eq!(
        of(json!({"seats": 501})),
        ["limits.seats must be at most 500 seats"]
    );
    assert_eq!(
        of(json!({"seats": "1.5"})),
        ["limits.seats must be a whole number"]
    );
    assert_eq!(
        of(json!({"seats": "unlimited"})),
        ["limits.seats cannot be unlimited"]
    );
    assert_eq!(
        of(json!({"seats": 5, "storage": "1.25"})),
        ["limits.storage may have 1 decimals at most"]
    );
    assert_eq!(
        of(json!({"seats": 5, "boxes": 1})),
        ["limits.boxes is no limit of product mail-pro, which takes seats, storage"]
    );
}

#[test]
fn every_type_says_what_it_wants_and_never_what_it_got() {
    for (type_, good, bad, why) in [
        ("text", "anything", "", "is required"),
        ("dropdown", "eu", "canary", "must be one of eu, us"),
        ("choice", "us", "canary", "must be one of eu, us"),
        (
            "email",
            "it@contoso.example",
            "canary",
            "is not an e-mail address",
        ),
        (
            "checkbox",
            "true",
            "canary",
            "must be \"true\" or \"false\"",
        ),
        (
            "subdomain",
            "contoso",
            "canary.x",
            "is not one label of a domain name",
        ),
        (
            "domain",
            "contoso.example",
            "canary",
            "is not a domain name",
        ),
        (
            "phone",
            "+1 201 555 0123",
            "canary",
            "is not a phone number",
        ),
        ("address", "", "canary", "is not an address"),
        ("object", r#"{"a": 1}"#, "canary", "is not a JSON object"),
        (
            "url",
            "https://contoso.example",
            "canary",
            "is not an http or https URL",
        ),
    ] {
        let p = product(&json!({"parameters": [{
            "name": "p", "type": type_, "required": true, "hint": "see the manual",
            "choices": [{"value": "eu"}, {"value": "us"}],
        }]}));
        if !good.is_empty() {
            let given = json!([{"name": "p", "value": good}]);
            assert_eq!(wrong(&p, json!({}), given), [""; 0], "{type_}");
        }
        let said = wrong(&p, json!({}), json!([{"name": "p", "value": bad}]));
        assert_eq!(said.len(), 1, "{type_}");
        assert!(said[0].starts_with(&format!("p {why}")), "{said:?}");
        assert!(said[0].ends_with("see the manual") && !said[0].contains("canary"));
    }
}

#[test]
fn what_has_parts_is_checked_by_part() {
    let p = product(&json!({"parameters": [
        {"name": "to", "type": "address"}, {"name": "call", "type": "phone"},
    ]}));
    let good = json!([
        {"name": "to", "structuredValue": {"address_line1": "1 Main St", "city": "Ely", "country": "GB"}},
        {"name": "call", "structuredValue": {"country_code": "+44", "phone_number": "1353 662062"}},
    ]);
    assert_eq!(wrong(&p, json!({}), good), [""; 0]);
    let bad = json!([
        {"name": "to", "structuredValue": {"city": "Ely", "country": "GB"}},
        {"name": "call", "structuredValue": {"country_code": "+44"}},
    ]);
    assert_eq!(
        wrong(&p, json!({}), bad),
        [
            "to address_line1 is required",
            "call phone_number is required"
        ]
    );
}

#[test]
fn who_fills_what_in_is_kept_apart() {
    let p = product(&json!({"parameters": [
        {"name": "link", "phase": "fulfillment", "required": true},
        {"name": "edition", "readonly": true, "default": "basic", "required": true},
        {"name": "password", "type": "password", "sensitive": true, "minLength": 8},
        {"name": "site", "unique": true, "minLength": 2, "maxLength": 5},
    ]}));
    let of = |given: Value| wrong(&p, json!({}), given);
    assert!(of(json!([])).is_empty());
    let said = of(json!([
        {"name": "link", "value": "x"}, {"name": "edition", "value": "x"},
        {"name": "password", "value": "x"}, {"name": "site", "value": "taken"},
        {"name": "other", "value": "x"},
    ]));
    assert_eq!(
        said,
        [
            "link is given by the vendor: take it out of spec.parameters",
            "edition cannot be set: take it out of spec.parameters",
            "password is a secret: give it with valueFrom.secretKeyRef",
            "site must be unique, and Subscription team-a/older has it",
            "other is no parameter of product mail-pro, which takes edition, password, site",
        ]
    );
    assert_eq!(
        of(json!([{"name": "site", "value": "toolong"}])),
        ["site must have at most 5 characters"]
    );
    // Characters and not bytes.
    assert_eq!(
        of(json!([{"name": "site", "value": "é"}])),
        ["site must have at least 2 characters"]
    );
    assert!(of(json!([{"name": "site", "value": "ééééé"}])).is_empty());
    let secret =
        json!([{"name": "password", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    assert!(of(secret).is_empty());
}

#[test]
fn a_template_is_filled_in_once() {
    let status: SubscriptionStatus = serde_json::from_value(json!({
        "tenantId": "t-1",
        "parameters": [{"name": "link", "value": "https://v/{tenantId}"}],
    }))
    .unwrap();
    assert_eq!(
        activation("Go to {link} ({tenantId}){none}. {not a name} { {", &status),
        "Go to https://v/{tenantId} (t-1). {not a name} { {"
    );
}

#[test]
fn a_secret_of_the_vendors_is_kept_as_it_was_given() {
    let p = product(&json!({"parameters": [
        {"name": "key", "type": "password", "phase": "fulfillment"},
        {"name": "long", "sensitive": true, "phase": "fulfillment"},
        {"name": "note", "hidden": true, "phase": "fulfillment"},
    ]}));
    let long = format!("-----BEGIN X-----\n{}", "x".repeat(5000));
    let body = json!({"id": "t-1", "parameters": {
        "key": "a\u{7}b\tc", "long": long, "note": long, "other": long, "link": "l",
    }});
    let body = body.to_string();
    let secrets = crate::vendor::text::Secrets::default();
    let mut tenant = crate::vendor::wire::tenant(body.as_bytes(), &secrets).unwrap();
    sort(&p, &mut tenant);
    assert_eq!(tenant.sensitive["key"].expose_secret(), "a\u{7}b\tc");
    assert_eq!(tenant.sensitive["long"].expose_secret(), long);
    assert_eq!(tenant.parameters.keys().collect::<Vec<_>>(), ["link"]);
    assert_eq!(tenant.left_out(), ["other"]);
    assert_eq!(unshown(&p), ["key", "long", "note"]);
}

#[test]
fn a_password_is_a_secret_without_being_called_one() {
    let p = product(&json!({"parameters": [{"name": "password", "type": "password"}]}));
    assert_eq!(
        wrong(
            &p,
            json!({}),
            json!([{"name": "password", "value": "hush"}])
        ),
        ["password is a secret: give it with valueFrom.secretKeyRef"]
    );
}

#[test]
fn what_nobody_can_give_is_found_in_the_definition() {
    let limit = |rule: Value| json!({"limits": [{"name": "fits"}, rule]});
    let parameter = |rule: Value| json!({"parameters": [{"name": "fits"}, rule]});
    let choices = json!([{"value": "eu"}, {"value": "us"}]);
    for (definition, why) in [
        (
            limit(json!({"name": "x", "minimum": 10, "maximum": "9.5"})),
            "limits.x minimum 10 is more than maximum 9.5",
        ),
        (
            limit(json!({"name": "x", "minimum": "unlimited"})),
            "limits.x minimum cannot be unlimited",
        ),
        (
            parameter(json!({"name": "x", "readonly": true, "required": true})),
            "x required and readonly without a default",
        ),
        (
            parameter(json!({"name": "x", "minLength": 5, "maxLength": 4})),
            "x minLength is more than maxLength",
        ),
        (
            parameter(json!({"name": "x", "scope": "tier", "maxLength": 4, "default": "toolong"})),
            "x default breaks its own rules: it must have at most 4 characters",
        ),
        (
            parameter(json!({"name": "x", "type": "choice", "choices": choices, "default": "de"})),
            "x default breaks its own rules: it must be one of eu, us",
        ),
        (
            parameter(json!({"name": "x", "type": "email", "default": "nobody"})),
            "x default breaks its own rules: it is not an e-mail address",
        ),
        (
            parameter(json!({"name": "x", "type": "object", "default": "text"})),
            "x default breaks its own rules: it is not a JSON object",
        ),
        (
            parameter(json!({"name": "x", "type": "dropdown"})),
            "x none of its choices can be given",
        ),
        (
            parameter(json!({"name": "x", "type": "choice", "choices": choices, "minLength": 3})),
            "x none of its choices can be given",
        ),
    ] {
        let unfit = unfit(&product(&definition))
            .next()
            .map(|e| format!("{} {}", e.name, e.message));
        let unfit = unfit.unwrap_or_default();
        assert!(unfit.starts_with(why), "{definition}: {unfit}");
    }
    let country = r#"{"address_line1": "1 Main St", "city": "Ely", "country": "GB"}"#;
    for definition in [
        limit(json!({"name": "x", "minimum": 1, "maximum": "unlimited"})),
        limit(json!({"name": "x", "minimum": "1.5", "maximum": "1.50"})),
        parameter(json!({"name": "x", "readonly": true, "required": true, "default": "basic"})),
        parameter(json!({"name": "x", "phase": "fulfillment", "readonly": true, "required": true})),
        parameter(
            json!({"name": "x", "type": "choice", "choices": choices, "minLength": 2, "default": "eu"}),
        ),
        parameter(json!({"name": "x", "type": "address", "default": country})),
        parameter(json!({"name": "x", "minLength": 4, "maxLength": 4, "default": "four"})),
    ] {
        assert_eq!(unfit(&product(&definition)).count(), 0, "{definition}");
    }
}

#[test]
fn an_order_without_a_reseller_lacks_what_only_one_can_say() {
    let p = product(&json!({"parameters": [
        {"name": "reseller_id", "scope": "tier", "required": true},
        {"name": "plan", "scope": "tier", "required": true, "default": "silver"},
        {"name": "contract", "scope": "tier", "required": true, "phase": "fulfillment"},
        {"name": "discount", "scope": "tier"},
        {"name": "phone", "required": true},
    ]}));
    let lacks = |tiers: Value| {
        let mut errors = Vec::new();
        let tiers = serde_json::from_value(tiers).unwrap();
        untold(&p, &tiers, &mut errors);
        // What is wrong already is said once.
        untold(&p, &tiers, &mut errors);
        errors.into_iter().map(|e| e.name).collect::<Vec<_>>()
    };
    assert_eq!(lacks(json!({})), ["reseller_id"]);
    assert_eq!(lacks(json!({"tier1": {"name": "North"}})), ["reseller_id"]);
    let north = json!({"tierConfigurationRef": {"name": "north"}});
    assert_eq!(lacks(json!({"tier1": north})), [""; 0]);
    assert_eq!(
        lacks(json!({"tier1": {"name": "North"}, "tier2": north})),
        [""; 0]
    );
    assert_eq!(resellers(&p), ["reseller_id", "plan", "discount"]);
}

#[test]
fn one_value_is_the_same_however_it_is_written() {
    let written = |type_: &str, given: Value| {
        let p = product(&json!({"parameters": [{"name": "p", "type": type_}]}));
        let mut parameter = json!({"name": "p"});
        parameter
            .as_object_mut()
            .unwrap()
            .extend(given.as_object().unwrap().clone());
        let parameter: Parameter = serde_json::from_value(parameter).unwrap();
        comparable(&p.parameters[0], &parameter).map(std::borrow::Cow::into_owned)
    };
    let parts = |parts: Value| json!({"structuredValue": parts});
    let text = |text: &str| json!({"value": text});
    let ely = json!({"address_line1": "1 Main St", "city": "Ely", "country": "GB"});
    let phone = json!({"country_code": "+1", "area_code": "201", "phone_number": "555 0123"});
    for (type_, one, same, other) in [
        ("text", text("a"), text("a"), text("A")),
        (
            "domain",
            text("a.example"),
            text("A.Example"),
            text("b.example"),
        ),
        (
            "phone",
            text("+1 201 555-0123"),
            parts(phone.clone()),
            text("+1 201 555-0124"),
        ),
        (
            "phone",
            parts(phone.clone()),
            text(&phone.to_string()),
            parts(
                json!({"country_code": "+1", "area_code": "201", "phone_number": "5550123", "extension": "7"}),
            ),
        ),
        (
            "address",
            parts(ely),
            parts(
                json!({"city": "ELY", "country": "GB", "address_line1": " 1  main st", "state": ""}),
            ),
            parts(json!({"address_line1": "2 Main St", "city": "Ely", "country": "GB"})),
        ),
        (
            "object",
            text(r#"{"a": "1", "b": {"c": [1, "x"], "d": null}}"#),
            text(r#"{"b":{"d":null,"c":[1,"x"]},"a":"1"}"#),
            text(r#"{"a": "1", "b": {"c": ["x", 1], "d": null}}"#),
        ),
        (
            "object",
            parts(json!({"a": "1"})),
            text(r#"{"a": "1"}"#),
            text(r#"{"a": 1}"#),
        ),
    ] {
        let first = written(type_, one.clone());
        assert!(first.is_some(), "{one}");
        assert_eq!(first, written(type_, same.clone()), "{one} {same}");
        assert_ne!(first, written(type_, other.clone()), "{one} {other}");
    }
    let secret = json!({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
    assert_eq!(written("text", secret), None);
}
