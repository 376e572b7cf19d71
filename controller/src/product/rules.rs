//! What is wrong with an order by the rules of its product: of limits, and of parameters by their types.

use fulfillment_crds::{
    LimitDefinition, LimitValue, Limits, Parameter, ParameterDefinition, ParameterError,
    ParameterType, Phase, Product, Scope, Tiers,
};
use secrecy::ExposeSecret;

use super::{comparable, ordering};
use crate::{form, inputs::Inputs};

/// How many errors are shown: as many as status holds.
const SHOWN: usize = 64;

/// What is wrong with an order by its product's rules, one error for each limit and parameter. A tier
/// has no limits. `holder` names the object that has a unique value already. No message repeats a
/// value.
pub fn errors(
    product: &Product,
    scope: Scope,
    limits: &Limits,
    given: &[Parameter],
    inputs: &Inputs,
    holder: impl Fn(&ParameterDefinition, &str) -> Option<String>,
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

/// Adds what an order lacks that names no TierConfiguration, where its product asks one of resellers.
pub fn untold(product: &Product, tiers: &Tiers, errors: &mut Vec<ParameterError>) {
    let mut levels = tiers.levels();
    if levels.any(|(_, tier)| tier.tier_configuration_ref.is_some()) {
        return;
    }
    for rule in ordering(product, Scope::Tier) {
        let asked = rule.required && rule.default.is_none();
        if asked && errors.len() < SHOWN && errors.iter().all(|e| e.name != rule.name) {
            errors.push(ParameterError {
                name: rule.name.clone(),
                message: "is required of the reseller: set it in a TierConfiguration, and name that in spec.tiers.tier1.tierConfigurationRef".into(),
            });
        }
    }
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
    holder: &impl Fn(&ParameterDefinition, &str) -> Option<String>,
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
    if rule.is_secret() && !secret {
        return Some("is a secret: give it with valueFrom.secretKeyRef".into());
    }
    let value = inputs.values.get(&rule.name)?.expose_secret();
    let structured = inputs.structured.contains(&rule.name);
    if let Some(why) = value_error(rule, value, structured) {
        return Some(with_hint(rule, &why));
    }
    let value = comparable(rule, given).filter(|_| rule.unique)?;
    let holder = holder(rule, &value)?;
    Some(format!("must be unique, and {holder} has it"))
}

/// What is wrong with a value by length and type.
pub(super) fn value_error(
    rule: &ParameterDefinition,
    value: &str,
    structured: bool,
) -> Option<String> {
    length(rule, value).or_else(|| shape(rule, value, structured))
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
