//! The canonical dialect on the wire: JSON in and out. Lenient in what it reads, as vendors differ;
//! what is not understood is unknown, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use fulfillment_crds::{LimitValue, Limits, ParameterError};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::form;

use super::{
    Fulfillment, FulfillmentStatus, Level, Order, Party, Tenant, TenantStatus,
    text::{SHOWN, Secrets},
};

/// The longest tenant id that is taken, in bytes.
const ID_BYTES: usize = 256;
/// The longest value of an output parameter that is shown, in characters.
const VALUE: usize = 2048;

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTenant {
    #[serde(default)]
    id: Value,
    external_id: Option<String>,
    status: Option<String>,
    limits: Option<Map<String, Value>>,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    #[serde(default)]
    sensitive: Option<Vec<String>>,
    operation: Option<String>,
    request: Option<WireRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest {
    status: Option<String>,
    #[serde(default)]
    reason: Value,
    #[serde(default)]
    parameter_errors: Value,
}

/// Reads a tenant; the error says what is wrong with the body.
pub fn tenant(body: &[u8], secrets: &Secrets) -> Result<Tenant, String> {
    let wire: WireTenant =
        // serde quotes what it did not expect, and that may be a secret.
        serde_json::from_slice(body)
            .map_err(|e| secrets.clean(&format!("not a tenant in JSON: {e}"), SHOWN))?;
    read(wire, secrets)
}

/// Reads a tenant that a dialect has put into the canonical form.
pub fn mapped_tenant(value: Value, secrets: &Secrets) -> Result<Tenant, String> {
    read(mapped(value, secrets)?, secrets)
}

fn mapped<T: serde::de::DeserializeOwned>(value: Value, secrets: &Secrets) -> Result<T, String> {
    serde_json::from_value(value)
        .map_err(|e| secrets.clean(&format!("what its dialect makes no tenant of: {e}"), SHOWN))
}

/// Reads the answer to a lookup. Who does not filter answers with others too: only those of the name
/// count, and one that does not say its name makes the whole list useless.
pub fn tenants(body: &[u8], external_id: &str, secrets: &Secrets) -> Result<Vec<Tenant>, String> {
    let wire = serde_json::from_slice(body)
        .map_err(|e| secrets.clean(&format!("not a list of tenants in JSON: {e}"), SHOWN))?;
    named(wire, external_id, secrets)
}

/// Reads such an answer that a dialect has put into the canonical form.
pub fn mapped_tenants(
    value: Value,
    external_id: &str,
    secrets: &Secrets,
) -> Result<Vec<Tenant>, String> {
    named(mapped(value, secrets)?, external_id, secrets)
}

fn named(
    wire: Vec<WireTenant>,
    external_id: &str,
    secrets: &Secrets,
) -> Result<Vec<Tenant>, String> {
    let mut found = Vec::new();
    for one in wire {
        let tenant = read(one, secrets)?;
        match tenant.external_id.as_deref() {
            Some(name) if name == external_id && tenant.id.is_empty() => {
                return Err("a tenant without an id".into());
            }
            Some(name) if name == external_id => found.push(tenant),
            Some(_) => {}
            None => return Err("a tenant without an externalId".into()),
        }
    }
    Ok(found)
}

fn read(wire: WireTenant, secrets: &Secrets) -> Result<Tenant, String> {
    let id = match &wire.id {
        Value::Null => String::new(),
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err("the tenant's id is no text".into());
        }
    };
    if !id.is_empty() && !usable_id(&id) {
        return Err("the tenant's id cannot stand in a URL".into());
    }
    let sensitive = wire.sensitive.unwrap_or_default();
    let mut tenant = Tenant {
        id,
        external_id: wire.external_id.map(|name| secrets.clean(&name, 160)),
        status: status(wire.status.as_deref()),
        limits: wire.limits.map(|wire| limits(wire, secrets)),
        request: wire.request.map(|request| fulfillment(&request, secrets)),
        operation: wire
            .operation
            // Sent back as it is, or not at all.
            .filter(|token| {
                // It stands in status: one that holds a secret does not.
                let plain = secrets.clean(token, ID_BYTES) == **token;
                !token.is_empty() && token.len() <= ID_BYTES && plain
            }),
        ..Tenant::default()
    };
    for (name, value) in wire.parameters.unwrap_or_default() {
        let value = match value {
            Value::String(text) => text,
            Value::Null => continue,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                value.to_string()
            }
        };
        let shown = secrets.clean(&name, 128);
        if shown.is_empty() {
            continue;
        }
        if sensitive.contains(&name) {
            tenant.sensitive.insert(shown, SecretString::from(value));
        } else {
            let clean = secrets.whole(&value, VALUE);
            if clean.as_ref() != Some(&value) {
                let given = SecretString::from(value);
                tenant.given.insert(shown.clone(), given);
            }
            tenant.parameters.extend(clean.map(|clean| (shown, clean)));
        }
    }
    Ok(tenant)
}

/// Whether an id can be one segment of a path. `.` and `..` cannot: no encoding keeps them from
/// being read as "here" and "up".
pub fn usable_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= ID_BYTES
        && id != "."
        && id != ".."
        && !id.chars().any(char::is_control)
}

fn status(word: Option<&str>) -> TenantStatus {
    match word {
        Some("pending") => TenantStatus::Pending,
        Some("active") => TenantStatus::Active,
        Some("suspended") => TenantStatus::Suspended,
        Some("terminated") => TenantStatus::Terminated,
        Some("failed") => TenantStatus::Failed,
        Some(_) | None => TenantStatus::Unknown,
    }
}

fn limits(wire: Map<String, Value>, secrets: &Secrets) -> Limits {
    wire.into_iter()
        .filter_map(|(name, value)| {
            let value = match &value {
                // An amount is compared with the declared one, whatever secret has the same digits.
                Value::String(text) => match LimitValue::parse(text) {
                    amount if amount.is_amount() => amount,
                    _ => LimitValue::parse(&secrets.clean(text, SHOWN)),
                },
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => LimitValue::from_json(&value)?,
            };
            Some((secrets.clean(&name, 63), value))
        })
        .filter(|(name, _)| !name.is_empty())
        .take(128)
        .collect()
}

fn fulfillment(wire: &WireRequest, secrets: &Secrets) -> Fulfillment {
    Fulfillment {
        status: match wire.status.as_deref() {
            Some("pending") => FulfillmentStatus::Pending,
            Some("inquiring") => FulfillmentStatus::Inquiring,
            Some("approved") => FulfillmentStatus::Approved,
            Some("failed") => FulfillmentStatus::Failed,
            Some(_) | None => FulfillmentStatus::Unknown,
        },
        reason: wire
            .reason
            .as_str()
            .map_or_else(String::new, |text| secrets.clean(text, SHOWN)),
        parameter_errors: parameter_errors(&wire.parameter_errors, secrets),
    }
}

fn parameter_errors(wire: &Value, secrets: &Secrets) -> Vec<ParameterError> {
    let listed = wire.as_array().into_iter().flatten();
    let listed = listed.filter_map(|one| Some((one.get("name")?.as_str()?, one.get("message")?)));
    let named = wire.as_object().into_iter().flatten();
    let named = named.map(|(name, message)| (name.as_str(), message));
    let errors: BTreeMap<String, String> = named
        .chain(listed)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, message)| {
            let message = message
                .as_str()
                .map_or_else(|| message.to_string(), str::to_owned);
            (secrets.clean(name, 128), secrets.clean(&message, SHOWN))
        })
        .take(64)
        .collect();
    errors
        .into_iter()
        .map(|(name, message)| ParameterError { name, message })
        .collect()
}

/// What an error body says: code, message, and what is wrong with single parameters.
pub fn error(
    body: &[u8],
    content_type: &str,
    secrets: &Secrets,
) -> (String, String, Vec<ParameterError>) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let said = if content_type.contains("html") || text.trim_start().starts_with('<') {
            "an HTML page".to_owned()
        } else {
            secrets.clean(&text, SHOWN)
        };
        return (String::new(), said, Vec::new());
    };
    error_in(&value, secrets)
}

/// What an error says that is in JSON.
pub fn error_in(value: &Value, secrets: &Secrets) -> (String, String, Vec<ParameterError>) {
    let error = value.get("error").unwrap_or(value);
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = error.as_str().unwrap_or_else(|| text("message"));
    let message = if message.is_empty() {
        value.to_string()
    } else {
        message.to_owned()
    };
    (
        secrets.clean(text("code"), 64),
        secrets.clean(&message, SHOWN),
        parameter_errors(error.get("parameters").unwrap_or(&Value::Null), secrets),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Tenant, String> {
        tenant(body.as_bytes(), &Secrets::default())
    }

    #[test]
    fn a_lookup_counts_only_what_has_the_name() {
        let look = |body: &str| tenants(body.as_bytes(), "e", &Secrets::default());
        assert!(look("[]").unwrap().is_empty());
        let others = r#"[{"id":"t-1","externalId":"e"},{"id":"t-2","externalId":"f"}]"#;
        assert_eq!(look(others).unwrap().len(), 1);
        for useless in [
            "",
            "{}",
            "null",
            r#"[{"id":"t-1"}]"#,
            r#"[{"externalId":"e"}]"#,
        ] {
            assert!(look(useless).is_err(), "{useless}");
        }
    }

    #[test]
    fn a_canonical_tenant_is_read_whole() {
        let t = read(
            r#"{"id":"t-1","externalId":"e","status":"active","limits":{"seats":"50.0","x":[1]},
                "parameters":{"activation_link":"https://v/t","initial_password":"pw","n":5},
                "sensitive":["initial_password"],
                "request":{"status":"inquiring","reason":"why","parameterErrors":{"phone":"bad"}}}"#,
        )
        .unwrap();
        assert_eq!((t.id.as_str(), t.status), ("t-1", TenantStatus::Active));
        assert_eq!(t.limits.unwrap().len(), 1);
        assert_eq!(t.parameters.len(), 2);
        assert!(t.sensitive.contains_key("initial_password"));
        let request = t.request.unwrap();
        assert_eq!(request.status, FulfillmentStatus::Inquiring);
        assert_eq!(request.parameter_errors.len(), 1);
    }

    #[test]
    fn a_sensitive_name_is_cleaned_like_any_other() {
        let secrets = Secrets::new([SecretString::from("hunter2")]);
        let body = br#"{"id":"t-1","parameters":{"a\u001b[31mhunter2":"x","\u0000":"y"},
            "sensitive":["a\u001b[31mhunter2","\u0000"]}"#;
        let tenant = tenant(body, &secrets).unwrap();
        let names: Vec<&String> = tenant.sensitive.keys().collect();
        assert_eq!(names, ["a[31m[redacted]"]);
    }

    #[test]
    fn a_limit_that_is_no_amount_is_cleaned_and_a_token_is_whole_or_none() {
        let secrets = Secrets::new(["hunter2", "unlimited", "500"].map(SecretString::from));
        let read = |token: &str| {
            let body = json!({"id": "t-1", "operation": token,
                "limits": {"a": "500.0", "b": "unlimited", "c": "hunter2"}});
            tenant(body.to_string().as_bytes(), &secrets).unwrap()
        };
        let tenant = read("op-7");
        assert_eq!(tenant.operation.as_deref(), Some("op-7"));
        let limits = tenant.limits.unwrap();
        let shown: Vec<String> = limits.values().map(ToString::to_string).collect();
        assert_eq!(shown, ["500", "unlimited", "[redacted]"]);
        for useless in ["", "a\nb", "op-hunter2", &"x".repeat(ID_BYTES + 1)] {
            assert_eq!(read(useless).operation, None);
        }
    }

    #[test]
    fn a_value_is_shown_whole_or_left_out() {
        let secrets = Secrets::new([SecretString::from("hunter2")]);
        let pem = "-----BEGIN X-----\nabc\n-----END X-----\n";
        let long = "x".repeat(VALUE + 1);
        let body = json!({"parameters": {"pem": pem, "long": long, "bad": "a\u{1b}hunter2"}});
        let tenant = tenant(body.to_string().as_bytes(), &secrets).unwrap();
        assert_eq!(tenant.parameters["pem"], pem);
        assert_eq!(tenant.parameters["bad"], "a[redacted]");
        assert_eq!(tenant.left_out(), ["long"]);
        assert_eq!(tenant.given["long"].expose_secret(), long);
    }

    #[test]
    fn strange_bodies_are_errors_and_never_panics() {
        for body in [
            "",
            "null",
            "[]",
            "<html>",
            r#"{"id":{}}"#,
            r#"{"id":".."}"#,
            "{\"id\":\"a\\u0000\"}",
            r#"{"id":"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
        let deep = format!(
            "{{\"parameters\":{{\"x\":{}1{}}}}}",
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert!(read(&deep).is_err());
        assert_eq!(read("{}").unwrap().id, "");
        assert_eq!(read(r#"{"id":7}"#).unwrap().id, "7");
    }

    #[test]
    fn error_bodies_of_every_shape_say_something() {
        let said = |body: &str, kind: &str| error(body.as_bytes(), kind, &Secrets::default());
        let (code, message, parameters) = said(
            r#"{"error":{"code":"bad","message":"no","parameters":{"contact_phone":"not a phone number"}}}"#,
            "",
        );
        assert_eq!((code.as_str(), message.as_str()), ("bad", "no"));
        assert_eq!(parameters[0].name, "contact_phone");
        assert_eq!(said(r#"{"error":"tenant exists"}"#, "").1, "tenant exists");
        assert_eq!(said("<html><body>oops", "text/html").1, "an HTML page");
        assert_eq!(said("plain", "text/plain").1, "plain");
        assert_eq!(said(r#"{"a":1}"#, "").1, r#"{"a":1}"#);
    }
}
