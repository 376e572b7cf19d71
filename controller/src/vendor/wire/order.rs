//! What an order says.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::{
    form,
    vendor::{Level, Order, Party},
};

/// The body of a create.
pub fn create_body(order: &Order) -> Value {
    let mut body = change_body(order, true);
    if !order.tiers.is_empty() {
        body.insert("tiers".into(), Value::Object(tiers(&order.tiers)));
    }
    body.insert("externalId".into(), order.external_id.clone().into());
    body.insert("product".into(), order.product.clone().into());
    if let Some(url) = &order.callback_url {
        body.insert("callbackUrl".into(), url.clone().into());
    }
    if let Some(tier) = order.tier {
        body.insert("tier".into(), own_tier(order, tier));
    }
    Value::Object(body)
}

/// The body of a change: all declared limits, and parameters and tiers where they differ.
pub fn change_body(order: &Order, inputs: bool) -> Map<String, Value> {
    let limits: Map<String, Value> = order
        .limits
        .iter()
        .map(|(name, value)| (name.clone(), value.to_json()))
        .collect();
    let mut body = Map::new();
    body.insert("limits".into(), Value::Object(limits));
    if inputs && !order.parameters.is_empty() {
        let values = values(&order.parameters, &order.structured);
        body.insert("parameters".into(), Value::Object(values));
    }
    if inputs && !order.tiers.is_empty() && !order.tiers_withheld {
        body.insert("tiers".into(), Value::Object(tiers(&order.tiers)));
    }
    body
}

/// Parameters by name; those that have parts as objects.
fn values(
    parameters: &BTreeMap<String, SecretString>,
    structured: &BTreeSet<String>,
) -> Map<String, Value> {
    let value = |(name, value): (&String, &SecretString)| {
        let text = value.expose_secret();
        let parts = structured.contains(name).then(|| form::parts(text));
        (
            name.clone(),
            parts.flatten().map_or_else(|| json!(text), Value::Object),
        )
    };
    parameters.iter().map(value).collect()
}

/// Who stands between the vendor and the user.
pub fn tiers(tiers: &BTreeMap<&'static str, Party>) -> Map<String, Value> {
    let party = |(name, party): (&&str, &Party)| ((*name).to_owned(), party_body(party).into());
    tiers.iter().map(party).collect()
}

fn party_body(party: &Party) -> Map<String, Value> {
    let mut body = match json!(party.account) {
        Value::Object(account) => account,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    if !party.parameters.is_empty() {
        let values = values(&party.parameters, &party.structured);
        body.insert("parameters".into(), values.into());
    }
    if let Some(tenant) = &party.tenant_id {
        body.insert("tenantId".into(), tenant.clone().into());
    }
    body
}

/// The reseller whose own tenant is ordered: its level, its account, and the tenant it stands under.
fn own_tier(order: &Order, level: Level) -> Value {
    let own = order.tiers.get(level.as_str());
    let mut body = own.map(party_body).unwrap_or_default();
    body.insert("level".into(), level.number().into());
    let above = level
        .above()
        .and_then(|above| order.tiers.get(above.as_str()));
    if let Some(parent) = above.and_then(|party| party.tenant_id.as_ref()) {
        body.insert("parent".into(), parent.clone().into());
    }
    Value::Object(body)
}
