//! A product's rules: what an order lacks before any vendor hears of it, and what becomes of the
//! parameters a vendor gives. Pure.

use fulfillment_crds::{
    LimitDefinition, LimitValue, Limits, Parameter, ParameterDefinition, ParameterError,
    ParameterType, Phase, Product, Scope, SubscriptionStatus,
};
use secrecy::{ExposeSecret, SecretString};

use crate::{form, inputs::Inputs, vendor::Tenant};

/// How many errors are shown: as many as status holds.
const SHOWN: usize = 64;

/// Fills in the defaults of what the Subscription leaves out, and says which values have parts.
pub fn complete(product: &Product, scope: Scope, inputs: &mut Inputs) {
    for rule in ordering(product, scope) {
        if let Some(default) = &rule.default
            && !inputs.values.contains_key(&rule.name)
        {
            inputs
                .values
                .insert(rule.name.clone(), SecretString::from(default.as_str()));
        }
        let parts = match rule.type_ {
            ParameterType::Object | ParameterType::Address | ParameterType::Phone => true,
            ParameterType::Text
            | ParameterType::Dropdown
            | ParameterType::Password
            | ParameterType::Email
            | ParameterType::Checkbox
            | ParameterType::Subdomain
            | ParameterType::Domain
            | ParameterType::Url
            | ParameterType::Choice => false,
        };
        let value = inputs.values.get(&rule.name);
        if parts && value.is_some_and(|value| form::parts(value.expose_secret()).is_some()) {
            inputs.structured.insert(rule.name.clone());
        }
    }
}

/// What is wrong with an order by its product's rules, one error for each limit and parameter. A tier
/// has no limits. `holder` names the object that has a unique value already. No message repeats a
/// value.
pub fn errors(
    product: &Product,
    scope: Scope,
    limits: &Limits,
    given: &[Parameter],
    inputs: &Inputs,
    holder: impl Fn(&str, &str) -> Option<String>,
) -> Vec<ParameterError> {
    let mut errors = Vec::new();
    let mut wrong = |name: String, message: String| {
        errors.push(ParameterError { name, message });
    };
    for (name, value) in limits {
        let why = match product.limits.iter().find(|rule| rule.name == *name) {
            Some(rule) => limit(rule, value),
            None if product.limits.is_empty() => None,
            None => Some(foreign(
                product,
                "limit",
                product.limits.iter().map(|l| &l.name),
            )),
        };
        if let Some(why) = why {
            wrong(format!("limits.{name}"), why);
        }
    }
    let ordered = product
        .limits
        .iter()
        .filter(|_| scope == Scope::Subscription);
    for rule in ordered {
        if rule.required && !limits.contains_key(&rule.name) {
            wrong(format!("limits.{}", rule.name), "is required".into());
        }
    }
    for parameter in given {
        let name = &parameter.name;
        let rule = product.parameters.iter().find(|rule| rule.name == *name);
        let why = match rule {
            Some(rule) if rule.scope != scope => Some(elsewhere(rule)),
            Some(rule) => parameter_error(rule, parameter, inputs, &holder),
            None if product.parameters.is_empty() => None,
            None => Some(foreign(
                product,
                "parameter",
                ordering(product, scope).map(|p| &p.name),
            )),
        };
        if let Some(why) = why {
            wrong(name.clone(), why);
        }
    }
    for rule in ordering(product, scope) {
        if rule.required && !inputs.values.contains_key(&rule.name) {
            wrong(rule.name.clone(), with_hint(rule, "is required"));
        }
    }
    errors.truncate(SHOWN);
    for error in &mut errors {
        error.message = error.message.chars().take(256).collect();
    }
    errors
}

/// Moves what the product calls sensitive out of sight, and drops what it hides.
pub fn sort(product: &Product, tenant: &mut Tenant) {
    for rule in &product.parameters {
        if rule.sensitive {
            if let Some(value) = tenant.parameters.remove(&rule.name) {
                tenant
                    .sensitive
                    .insert(rule.name.clone(), SecretString::from(value));
            }
        } else if rule.hidden {
            tenant.parameters.remove(&rule.name);
        }
    }
}

/// The product's template, filled in with what the vendor gave: a placeholder of what is not there
/// leaves nothing, and braces around anything but a name stay as they are.
pub fn activation(template: &str, status: &SubscriptionStatus) -> String {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        rest = match after.split_once('}') {
            Some((name, behind)) if is_name(name) => {
                text.push_str(filled(name, status));
                behind
            }
            Some(_) | None => {
                text.push('{');
                after
            }
        };
    }
    text.push_str(rest);
    text.chars().take(8192).collect()
}

fn filled<'s>(name: &str, status: &'s SubscriptionStatus) -> &'s str {
    let value = if name == "tenantId" {
        status.tenant_id.as_deref()
    } else {
        let found = status.parameters.iter().find(|p| p.name == name);
        found.map(|p| p.value.as_str())
    };
    value.unwrap_or_default()
}

fn ordering(product: &Product, scope: Scope) -> impl Iterator<Item = &ParameterDefinition> {
    let rules = product.parameters.iter();
    rules.filter(move |rule| rule.phase == Phase::Ordering && rule.scope == scope)
}

/// A parameter that belongs to another kind of object.
fn elsewhere(rule: &ParameterDefinition) -> String {
    match rule.scope {
        Scope::Subscription => "is each Subscription's own: set it there".into(),
        Scope::Tier => "is the reseller's: set it in the TierConfiguration".into(),
    }
}

fn foreign<'n>(product: &Product, what: &str, known: impl Iterator<Item = &'n String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    format!(
        "is no {what} of product {}, which takes {}",
        product.name,
        known.join(", ")
    )
}

fn with_hint(rule: &ParameterDefinition, why: &str) -> String {
    match &rule.hint {
        Some(hint) => format!("{why}: {hint}"),
        None => why.to_owned(),
    }
}

fn limit(rule: &LimitDefinition, value: &LimitValue) -> Option<String> {
    let unit = rule
        .unit
        .as_ref()
        .map_or_else(String::new, |unit| format!(" {unit}"));
    if value.to_string() == LimitValue::UNLIMITED {
        return (!rule.unlimited).then(|| "cannot be unlimited".into());
    }
    let decimals = value
        .to_string()
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    if decimals > usize::try_from(rule.precision).unwrap_or_default() {
        return Some(match rule.precision {
            0 => "must be a whole number".into(),
            most => format!("may have {most} decimals at most"),
        });
    }
    let below = |least: &&LimitValue| form::less(value, least);
    let above = |most: &&LimitValue| form::less(most, value);
    if let Some(least) = rule.minimum.as_ref().filter(below) {
        return Some(format!("must be at least {least}{unit}"));
    }
    let most = rule.maximum.as_ref().filter(above)?;
    Some(format!("must be at most {most}{unit}"))
}

fn parameter_error(
    rule: &ParameterDefinition,
    given: &Parameter,
    inputs: &Inputs,
    holder: &impl Fn(&str, &str) -> Option<String>,
) -> Option<String> {
    if rule.phase == Phase::Fulfillment {
        return Some("is given by the vendor: take it out of spec.parameters".into());
    }
    if rule.readonly {
        return Some("cannot be set: take it out of spec.parameters".into());
    }
    let secret = given
        .value_from
        .as_ref()
        .is_some_and(|from| from.secret_key_ref.is_some());
    if rule.sensitive && !secret {
        return Some("is a secret: give it with valueFrom.secretKeyRef".into());
    }
    let value = inputs.values.get(&rule.name)?.expose_secret();
    let structured = inputs.structured.contains(&rule.name);
    if let Some(why) = length(rule, value).or_else(|| shape(rule, value, structured)) {
        return Some(with_hint(rule, &why));
    }
    let plain = given.value.as_deref().filter(|_| rule.unique)?;
    let holder = holder(&rule.name, plain)?;
    Some(format!("must be unique, and {holder} has it"))
}

fn length(rule: &ParameterDefinition, value: &str) -> Option<String> {
    let count = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    if rule.required && value.is_empty() {
        return Some("is required".into());
    }
    if let Some(least) = rule.min_length.filter(|least| count < *least) {
        return Some(format!("must have at least {least} characters"));
    }
    let most = rule.max_length.filter(|most| count > *most)?;
    Some(format!("must have at most {most} characters"))
}

/// What is wrong with a value by its type.
fn shape(rule: &ParameterDefinition, value: &str, structured: bool) -> Option<String> {
    let parts = || form::parts(value).unwrap_or_default();
    let (fits, why) = match rule.type_ {
        ParameterType::Text | ParameterType::Password => (!structured, "must be text: set value"),
        ParameterType::Dropdown | ParameterType::Choice => return choice(rule, value),
        ParameterType::Email => (form::is_email(value), "is not an e-mail address"),
        ParameterType::Checkbox => (
            value == "true" || value == "false",
            "must be \"true\" or \"false\"",
        ),
        ParameterType::Subdomain => (
            form::is_label(value),
            "is not one label of a domain name: lower-case letters, digits and '-'",
        ),
        ParameterType::Domain => (form::is_domain(value), "is not a domain name"),
        ParameterType::Address if structured => return form::address(&parts()),
        ParameterType::Address => (
            false,
            "is not an address: set structuredValue with address_line1, city, postal_code and country",
        ),
        ParameterType::Phone if structured => return form::phone(&parts()),
        ParameterType::Phone => (form::is_phone(value), "is not a phone number"),
        ParameterType::Object => (structured, "is not a JSON object"),
        ParameterType::Url => (form::is_url(value), "is not an http or https URL"),
    };
    (!fits).then(|| why.to_owned())
}

fn choice(rule: &ParameterDefinition, value: &str) -> Option<String> {
    let known: Vec<&str> = rule.choices.iter().map(|c| c.value.as_str()).collect();
    (!known.contains(&value)).then(|| format!("must be one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let holder = |_: &str, value: &str| {
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
            {"name": "site", "unique": true, "maxLength": 5},
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
}
