//! Definitions that no order can keep to. The API server refuses what its rules can tell; a CRD's rules
//! are bounded in cost, and an older CRD has fewer of them.

use fulfillment_crds::{
    LimitDefinition, LimitValue, ParameterDefinition, ParameterError, ParameterType, Phase, Product,
};

use super::{parts, rules::value_error};
use crate::form;

/// The limits and parameters of a product that nobody can give as they are defined, and why.
pub fn unfit(product: &Product) -> impl Iterator<Item = ParameterError> {
    let wrong =
        |name: String, why: Option<String>| why.map(|message| ParameterError { name, message });
    let limits = product.limits.iter();
    let limits = limits.filter_map(move |rule| wrong(format!("limits.{}", rule.name), limit(rule)));
    let ordered = product.parameters.iter();
    limits.chain(ordered.filter_map(move |rule| wrong(rule.name.clone(), parameter(rule))))
}

fn limit(rule: &LimitDefinition) -> Option<String> {
    let (least, most) = (rule.minimum.as_ref()?, rule.maximum.as_ref());
    if least.to_string() == LimitValue::UNLIMITED {
        return Some("minimum cannot be unlimited: set a number, or leave it out".into());
    }
    let most = most.filter(|most| form::less(most, least))?;
    Some(format!(
        "minimum {least} is more than maximum {most}: lower the one or raise the other"
    ))
}

fn parameter(rule: &ParameterDefinition) -> Option<String> {
    if rule.phase == Phase::Fulfillment {
        return None;
    }
    if rule.required && rule.readonly && rule.default.is_none() {
        return Some("required and readonly without a default, nobody can give it: set a default, or drop one of the two".into());
    }
    let bounds = rule.min_length.zip(rule.max_length);
    if bounds.is_some_and(|(least, most)| least > most) {
        return Some("minLength is more than maxLength: lower the one or raise the other".into());
    }
    let breaks = |value: &str| value_error(rule, value, parts(rule.type_, value).is_some());
    if let Some(why) = rule.default.as_deref().and_then(breaks) {
        return Some(format!("default breaks its own rules: it {why}"));
    }
    let listed = matches!(rule.type_, ParameterType::Dropdown | ParameterType::Choice);
    let none = listed && rule.choices.iter().all(|c| breaks(&c.value).is_some());
    none.then(|| "none of its choices can be given: correct choices, minLength, maxLength".into())
}
