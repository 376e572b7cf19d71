//! A product's rules: what an order lacks before any vendor hears of it, and what becomes of the
//! parameters a vendor gives. Pure.

mod activation;
mod comparable;
mod rules;
#[cfg(test)]
mod tests;
mod unfit;

use fulfillment_crds::{ParameterDefinition, ParameterType, Phase, Product, Scope};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::{form, inputs::Inputs, vendor::Tenant};
pub use activation::activation;
pub use comparable::{comparable, gives};
pub use rules::{errors, untold};
pub use unfit::unfit;

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
        let value = inputs.values.get(&rule.name);
        if value.is_some_and(|value| parts(rule.type_, value.expose_secret()).is_some()) {
            inputs.structured.insert(rule.name.clone());
        }
    }
}

/// The parts of a value that is given as text, where its type may have parts.
fn parts(type_: ParameterType, value: &str) -> Option<Map<String, Value>> {
    match type_ {
        ParameterType::Object | ParameterType::Address | ParameterType::Phone => form::parts(value),
        ParameterType::Text
        | ParameterType::Dropdown
        | ParameterType::Password
        | ParameterType::Email
        | ParameterType::Checkbox
        | ParameterType::Subdomain
        | ParameterType::Domain
        | ParameterType::Url
        | ParameterType::Choice => None,
    }
}

/// Moves what the product calls sensitive out of sight, and drops what it hides.
pub fn sort(product: &Product, tenant: &mut Tenant) {
    for rule in &product.parameters {
        if !is_unshown(rule) {
            continue;
        }
        let shown = tenant.parameters.remove(&rule.name);
        let given = tenant.given.remove(&rule.name);
        let value = given.or_else(|| shown.map(SecretString::from));
        if let Some(value) = value.filter(|_| rule.is_secret()) {
            tenant.sensitive.insert(rule.name.clone(), value);
        }
    }
}

/// The names of what stays out of status.
pub fn unshown(product: &Product) -> Vec<String> {
    let rules = product.parameters.iter().filter(|rule| is_unshown(rule));
    rules.map(|rule| rule.name.clone()).collect()
}

/// The names of what a TierConfiguration gives.
pub fn resellers(product: &Product) -> Vec<String> {
    let rules = ordering(product, Scope::Tier);
    rules.map(|rule| rule.name.clone()).collect()
}

fn is_unshown(rule: &ParameterDefinition) -> bool {
    rule.hidden || rule.is_secret()
}

fn ordering(product: &Product, scope: Scope) -> impl Iterator<Item = &ParameterDefinition> {
    let rules = product.parameters.iter();
    rules.filter(move |rule| rule.phase == Phase::Ordering && rule.scope == scope)
}
