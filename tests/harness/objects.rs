//! YAML to apply, and looks at what came back.

use serde_json::{Map, Value, json};

/// The name of the default connection and of its Secret.
pub const CONNECTION: &str = "acme";

/// A Subscription to `mail-pro` with 50 seats over the default connection; `spec` is merged in
/// (`null` removes a field).
pub fn subscription(name: &str, spec: Value) -> String {
    let mut object = json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1",
        "kind": "Subscription",
        "metadata": {"name": name},
        "spec": {
            "connectionRef": {"name": CONNECTION},
            "product": "mail-pro",
            "limits": {"seats": 50},
        },
    });
    merge(&mut object["spec"], spec);
    object.to_string()
}

/// The default connection to a vendor, polling as often as it may; `spec` is merged in.
pub fn connection(url: &str, spec: Value) -> String {
    connection_named(CONNECTION, url, spec)
}

/// The same of another name, with the default one's Secret.
pub fn connection_named(name: &str, url: &str, spec: Value) -> String {
    let mut object = json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1",
        "kind": "VendorConnection",
        "metadata": {"name": name},
        "spec": {
            "url": url,
            "auth": {"bearer": {"secretRef": {"name": CONNECTION, "key": "token"}}},
            "polling": {"pending": "1s", "interval": "10m"},
        },
    });
    merge(&mut object["spec"], spec);
    object.to_string()
}

/// A Secret with text in it.
pub fn secret(name: &str, data: &[(&str, &str)]) -> String {
    let data: Map<String, Value> = texts(data);
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
        .to_string()
}

/// A ConfigMap with text in it.
pub fn config_map(name: &str, data: &[(&str, &str)]) -> String {
    let data: Map<String, Value> = texts(data);
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
        .to_string()
}

fn texts(data: &[(&str, &str)]) -> Map<String, Value> {
    data.iter()
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect()
}

/// Several objects as one YAML stream.
pub fn all<S: AsRef<str>>(objects: &[S]) -> String {
    objects
        .iter()
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join("\n---\n")
}

/// Merges as RFC 7396 says: objects by member, `null` removes.
pub fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(&name);
                } else {
                    merge(target.entry(name).or_insert_with(|| json!({})), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

/// A condition of an object; `None` where it is absent.
pub fn condition<'o>(object: &'o Value, name: &str) -> Option<&'o Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == name)
}

/// `"True Active"`, say: a condition's status and reason; `"-"` where it is absent.
pub fn standing(object: &Value, name: &str) -> String {
    condition(object, name).map_or_else(
        || "-".to_owned(),
        |condition| {
            let text = |field: &str| condition[field].as_str().unwrap_or("?").to_owned();
            format!("{} {}", text("status"), text("reason"))
        },
    )
}

/// A condition's message; empty where the condition is absent.
pub fn message(object: &Value, name: &str) -> String {
    condition(object, name)
        .and_then(|condition| condition["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Whether the status speaks of the object as it is now.
pub fn is_observed(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}
