//! An object against its published schema, as far as that can be told without an API server: the
//! fields there are, and the bounds of their values.

use serde_json::{Map, Value};

use super::rules;

/// Fills in what the schema says of what is left out, as an API server does before it looks.
pub(super) fn complete(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let fields = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in fields.into_iter().flatten() {
                let is_there = map.get(name).is_some_and(|value| !value.is_null());
                if let Some(default) = schema.get("default").filter(|_| !is_there) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map {
                let known = fields.and_then(|fields| fields.get(name));
                if let Some(schema) = known.or(schema.get("additionalProperties")) {
                    complete(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| complete(item, schema));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What of a value does not fit its schema, and the remedy; the first that is found.
pub(super) fn misfit(at: &str, value: &Value, schema: &Value) -> Option<String> {
    let wrong = match value {
        Value::Object(map) => object(at, map, schema),
        Value::Array(items) => list(at, items, schema),
        // A rule says better than a pattern what is meant.
        Value::String(text) => {
            return rules::broken(at, value, schema).or_else(|| string(at, text, schema));
        }
        Value::Number(number) => {
            let number = number.as_f64()?;
            let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
            let least = bound("minimum").filter(|least| number < *least);
            let most = bound("maximum").filter(|most| number > *most);
            least
                .map(|least| format!("{at} must be at least {least}"))
                .or(most.map(|most| format!("{at} must be at most {most}")))
        }
        Value::Bool(_) => None,
        // As if it were not there.
        Value::Null => return None,
    };
    wrong.or_else(|| rules::broken(at, value, schema))
}

/// Whether a count is within the bounds of these names.
fn counted(
    at: &str,
    count: usize,
    schema: &Value,
    bounds: [&str; 2],
    what: &str,
) -> Option<String> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let [least, most] = bounds.map(|name| schema.get(name).and_then(Value::as_u64));
    if let Some(least) = least.filter(|least| count < *least) {
        return Some(format!("{at} must have at least {least} {what}"));
    }
    let most = most.filter(|most| count > *most)?;
    Some(format!("{at} must have at most {most} {what}"))
}

fn list(at: &str, items: &[Value], schema: &Value) -> Option<String> {
    let wrong = counted(at, items.len(), schema, ["minItems", "maxItems"], "items");
    let of_items = schema.get("items")?;
    wrong.or_else(|| {
        let mut all = items.iter().enumerate();
        all.find_map(|(i, item)| {
            let at = format!("{at}[{i}]");
            let twice = items[..i].iter().any(|before| same(before, item, schema));
            misfit(&at, item, of_items).or(twice.then(|| format!("{at} is there twice: leave one")))
        })
    })
}

/// Whether two items of a list are one and the same for its schema.
fn same(one: &Value, other: &Value, schema: &Value) -> bool {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let mut keys = keys.into_iter().flatten().filter_map(Value::as_str);
            keys.all(|key| one.get(key) == other.get(key))
        }
        Some("set") => one == other,
        _ => false,
    }
}

fn object(at: &str, map: &Map<String, Value>, schema: &Value) -> Option<String> {
    let bounds = ["minProperties", "maxProperties"];
    if let Some(wrong) = counted(at, map.len(), schema, bounds, "items") {
        return Some(wrong);
    }
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
    let bounds = ["minLength", "maxLength"];
    if let Some(wrong) = counted(at, text.chars().count(), schema, bounds, "characters") {
        return Some(wrong);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return (!words.contains(&text))
            .then(|| format!("{at} must be one of {}", words.join(", ")));
    }
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    (!rules::matches(pattern, text)).then(|| format!("{at} must match {pattern}"))
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
