//! The canonical dialect on the wire: JSON in and out. Lenient in what it reads, as vendors differ;
//! what is not understood is unknown, never guessed.

mod error;
mod order;

use fulfillment_crds::{LimitValue, Limits};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Fulfillment, FulfillmentStatus, Tenant, TenantStatus,
    text::{SHOWN, Secrets},
};
use error::parameter_errors;
pub use error::{error, error_in};
pub use order::{change_body, create_body, tiers};

/// The longest tenant id that is taken, in bytes.
const ID_BYTES: usize = 256;
/// The longest value of an output parameter that is shown, in characters.
const VALUE: usize = 2048;

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

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

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
}
