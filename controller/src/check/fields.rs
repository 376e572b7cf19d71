//! An object against its published schema, as far as that can be told without an API server: the
//! fields there are, and the bounds of their values.

use serde_json::{Map, Value};

/// What of a value does not fit its schema, and the remedy; the first that is found.
pub(super) fn misfit(at: &str, value: &Value, schema: &Value) -> Option<String> {
    match value {
        Value::Object(map) => object(at, map, schema),
        Value::Array(items) => {
            let schema = schema.get("items")?;
            let mut items = items.iter().enumerate();
            items.find_map(|(i, item)| misfit(&format!("{at}[{i}]"), item, schema))
        }
        Value::String(text) => string(at, text, schema),
        Value::Number(number) => {
            let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
            let number = number.as_f64()?;
            if let Some(least) = bound("minimum").filter(|least| number < *least) {
                return Some(format!("{at} must be at least {least}"));
            }
            let most = bound("maximum").filter(|most| number > *most)?;
            Some(format!("{at} must be at most {most}"))
        }
        Value::Null | Value::Bool(_) => None,
    }
}

fn object(at: &str, map: &Map<String, Value>, schema: &Value) -> Option<String> {
    let fields = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    for (name, value) in map {
        let at = format!("{at}.{name}");
        let known = fields.and_then(|fields| fields.get(name));
        let wrong = match known.or(others) {
            Some(schema) => misfit(&at, value, schema),
            None => fields.map(|fields| {
                let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                format!("{at} is no field; there are {}", names.join(", "))
            }),
        };
        if wrong.is_some() {
            return wrong;
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    let mut required = required.into_iter().flatten().filter_map(Value::as_str);
    let missing = required.find(|name| map.get(*name).is_none_or(Value::is_null))?;
    let meant = fields
        .and_then(|fields| fields.get(missing)?.get("description")?.as_str())
        .map_or_else(String::new, |text| format!(": {text}"));
    Some(format!("{at}.{missing} is missing{meant}"))
}

fn string(at: &str, text: &str, schema: &Value) -> Option<String> {
    let length = |name: &str| schema.get(name).and_then(Value::as_u64);
    let count = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if length("minLength").is_some_and(|least| count < least) {
        return Some(format!("{at} is too short"));
    }
    if let Some(most) = length("maxLength").filter(|most| count > *most) {
        return Some(format!("{at} is longer than {most} characters"));
    }
    let words = schema.get("enum").and_then(Value::as_array)?;
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    (!words.contains(&text)).then(|| format!("{at} must be one of {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulfillment_crds::vendor_connection_crd;
    use serde_json::json;

    fn wrong(spec: &Value) -> Option<String> {
        let crd = serde_json::to_value(vendor_connection_crd()).unwrap();
        let schema = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
            .unwrap();
        misfit("spec", spec, schema)
    }

    #[test]
    fn every_misfit_names_the_field_and_the_remedy() {
        let with = |field: &str, value: Value| wrong(&json!({"url": "https://v", field: value}));
        assert_eq!(wrong(&json!({"url": "https://v"})), None);
        let missing = wrong(&json!({})).unwrap();
        assert!(
            missing.starts_with("spec.url is missing: The base URL"),
            "{missing}"
        );
        let unknown = with("identty", json!({})).unwrap();
        assert!(
            unknown.starts_with("spec.identty is no field; there are "),
            "{unknown}"
        );
        assert!(unknown.contains("identity"));
        let mode = with("identity", json!({"mode": "Luck"})).unwrap();
        assert!(
            mode.starts_with("spec.identity.mode must be one of "),
            "{mode}"
        );
        let zero = with("budget", json!({"burst": 0})).unwrap();
        assert_eq!(zero, "spec.budget.burst must be at least 1");
        let inside = with("products", json!([{"name": "a", "limit": []}])).unwrap();
        assert!(
            inside.starts_with("spec.products[0].limit is no field"),
            "{inside}"
        );
        assert_eq!(
            with("dialect", json!({"statusWords": {"on": "active"}})),
            None
        );
    }
}
