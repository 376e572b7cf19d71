//! What a refusal says.

use std::collections::BTreeMap;

use fulfillment_crds::ParameterError;
use serde_json::Value;

use crate::vendor::text::{SHOWN, Secrets};

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

/// What is wrong with single parameters: by name, or as a list of names and messages.
pub(super) fn parameter_errors(wire: &Value, secrets: &Secrets) -> Vec<ParameterError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
