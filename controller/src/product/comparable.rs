//! When two values of a parameter are the same one, however they are written.

use std::borrow::Cow;

use fulfillment_crds::{Parameter, ParameterDefinition, ParameterType};
use serde_json::{Map, Value};

use super::parts;

/// A value that is given in the open, written in one way with all that mean the same. Values from
/// Secrets and ConfigMaps are not compared.
pub fn comparable<'p>(rule: &ParameterDefinition, given: &'p Parameter) -> Option<Cow<'p, str>> {
    let text = given.value.as_deref();
    let named = given.structured_value.as_ref().map(|parts| {
        let parts = parts.iter();
        parts
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect()
    });
    let parts = named.or_else(|| parts(rule.type_, text?));
    let written = match (rule.type_, parts) {
        (ParameterType::Phone, Some(parts)) => dialled_in_parts(&parts),
        (ParameterType::Phone, None) => dialled(text?),
        (ParameterType::Address, Some(parts)) => sorted(&Value::Object(parts), folded),
        (ParameterType::Domain, None) => text?.to_ascii_lowercase(),
        (_, Some(parts)) => sorted(&Value::Object(parts), str::to_owned),
        (_, None) => return text.map(Cow::Borrowed),
    };
    Some(Cow::Owned(written))
}

/// Whether this value is given to a parameter.
pub fn gives(rule: &ParameterDefinition, given: &[Parameter], value: &str) -> bool {
    let mut given = given.iter().filter(|p| p.name == rule.name);
    given.any(|p| comparable(rule, p).as_deref() == Some(value))
}

/// What is dialled of a number that is written as people do.
fn dialled(number: &str) -> String {
    let dialled = number.chars().filter(|c| c.is_ascii_digit() || *c == '+');
    dialled.collect()
}

fn dialled_in_parts(parts: &Map<String, Value>) -> String {
    let part = |name: &str| parts.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = ["country_code", "area_code", "phone_number"].map(part);
    match dialled(part("extension")).as_str() {
        "" => dialled(&number.concat()),
        extension => format!("{}x{extension}", dialled(&number.concat())),
    }
}

/// A line of an address, whatever its spaces and capitals.
fn folded(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// JSON whose members are in the order of their names, without those that are empty texts.
fn sorted(value: &Value, text: fn(&str) -> String) -> String {
    match value {
        Value::Object(parts) => {
            let parts = parts.iter().filter(|(_, value)| value.as_str() != Some(""));
            let mut parts: Vec<String> = parts
                .map(|(name, value)| format!("{name:?}:{}", sorted(value, text)))
                .collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| sorted(item, text)).collect();
            format!("[{}]", items.join(","))
        }
        Value::String(line) => format!("{:?}", text(line)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
