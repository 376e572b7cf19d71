//! The documents of the YAML that says what to check, each as its kind has it. No error repeats a
//! value of a Secret.

use std::collections::BTreeMap;

use fulfillment_crds::{
    ClusterVendorConnection, Parameter, Subscription, SubscriptionSpec, TierConfiguration,
    TierConfigurationSpec, VendorConnection, VendorConnectionSpec, cluster_vendor_connection_crd,
    subscription_crd, tier_configuration_crd, vendor_connection_crd,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::fields::{complete, misfit};
use crate::{
    credentials::Secrets,
    inputs::{self, Inputs},
};

/// The documents of a file, by kind.
#[derive(Default)]
pub(super) struct Documents {
    /// Kind and name of each.
    pub(super) connections: Vec<(String, VendorConnectionSpec)>,
    /// By name.
    pub(super) subscriptions: Vec<(String, SubscriptionSpec)>,
    /// By name.
    pub(super) secrets: Secrets,
    config_maps: BTreeMap<String, ConfigMap>,
    /// By name.
    pub(super) tier_configurations: BTreeMap<String, TierConfigurationSpec>,
    /// What is of no use here: kind and name.
    pub(super) others: Vec<String>,
}

impl Documents {
    /// The values of parameters, out of the Secrets and ConfigMaps of the file.
    pub(super) fn gather(&self, given: &[Parameter]) -> Result<Inputs, String> {
        let look = |parameter: &Parameter| {
            let source = parameter.value_from.as_ref()?;
            if let Some(key) = &source.secret_key_ref {
                let secret = self.secrets.get(&key.name).and_then(Option::as_ref);
                return Some(inputs::secret_key(secret, key));
            }
            let key = source.config_map_key_ref.as_ref()?;
            Some(inputs::config_key(self.config_maps.get(&key.name), key))
        };
        inputs::gather(given, look).map_err(|why| format!("{why}: add it to the file"))
    }
}

/// Takes a YAML stream apart.
///
/// # Errors
///
/// Says which document is wrong, in which field, and what to do.
pub(super) fn documents(text: &str) -> Result<Documents, String> {
    let mut documents = Documents::default();
    for (number, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let at = format!("document {}", number + 1);
        let value = Value::deserialize(document).map_err(|error| format!("{at}: {error}"))?;
        if !value.is_null() {
            sort(&mut documents, &at, value)?;
        }
    }
    Ok(documents)
}

fn sort(documents: &mut Documents, at: &str, value: Value) -> Result<(), String> {
    let word = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let Some(kind) = word("/kind") else {
        return Err(format!(
            "{at}: kind is missing: this is no Kubernetes object"
        ));
    };
    let Some(name) = word("/metadata/name") else {
        return Err(format!("{at} ({kind}): metadata.name is missing"));
    };
    let at = format!("{at} ({kind} {name})");
    let twice = || format!("{at}: there is another {kind} of this name: leave one of them");
    match kind.as_str() {
        "VendorConnection" => {
            let object: VendorConnection = decode(&at, value, &vendor_connection_crd())?;
            let connection = (format!("{kind} {name}"), object.spec);
            documents.connections.push(connection);
        }
        "ClusterVendorConnection" => {
            let crd = cluster_vendor_connection_crd();
            let object: ClusterVendorConnection = decode(&at, value, &crd)?;
            let connection = (format!("{kind} {name}"), object.spec.connection);
            documents.connections.push(connection);
        }
        "Subscription" => {
            let object: Subscription = decode(&at, value, &subscription_crd())?;
            documents.subscriptions.push((name, object.spec));
        }
        "TierConfiguration" => {
            let object: TierConfiguration = decode(&at, value, &tier_configuration_crd())?;
            documents.tier_configurations.insert(name, object.spec);
        }
        "Secret" => {
            let secret = secret(&at, value)?;
            if documents.secrets.insert(name, Some(secret)).is_some() {
                return Err(twice());
            }
        }
        "ConfigMap" => {
            let map = typed(&at, value)?;
            if documents.config_maps.insert(name, map).is_some() {
                return Err(twice());
            }
        }
        _ => documents.others.push(format!("{kind} {name}")),
    }
    Ok(())
}

/// An object of ours: by its published schema first, which knows the fields that there are.
fn decode<T: DeserializeOwned>(
    at: &str,
    value: Value,
    crd: &CustomResourceDefinition,
) -> Result<T, String> {
    let crd = serde_json::to_value(crd).map_err(|error| error.to_string())?;
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    let mut spec = value.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(schema) = schema {
        complete(&mut spec, schema);
        if let Some(why) = misfit("spec", &spec, schema) {
            return Err(format!("{at}: {why}"));
        }
    }
    typed(at, value)
}

fn typed<T: DeserializeOwned>(at: &str, value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| format!("{at}: {}: {}", error.path(), error.inner()))
}

/// A Secret, with its stringData as the API server would have it. No error repeats a value.
fn secret(at: &str, mut value: Value) -> Result<Secret, String> {
    for (part, remedy) in [
        ("stringData", "must be text: put it in quotes"),
        ("data", "must be base64: or put it as it is into stringData"),
    ] {
        let entries = value.get(part).and_then(Value::as_object);
        for (key, value) in entries.into_iter().flatten() {
            let text = value.as_str();
            let fits = match part {
                "data" => text.is_some_and(|t| data_encoding::BASE64.decode(t.as_bytes()).is_ok()),
                _ => text.is_some(),
            };
            if !fits {
                return Err(format!("{at}: {part}.{key} {remedy}"));
            }
        }
    }
    let plain = value.get_mut("stringData").map(Value::take);
    let mut secret: Secret = serde_json::from_value(value)
        .map_err(|_| format!("{at}: this is no Secret: it has data or stringData, by key"))?;
    let plain: BTreeMap<String, String> = match plain {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(plain) => serde_json::from_value(plain)
            .map_err(|_| format!("{at}: stringData must have a text for each key"))?,
    };
    let data = secret.data.get_or_insert_default();
    for (key, text) in plain {
        data.insert(key, ByteString(text.into_bytes()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// The files of a directory under `examples/`: name and text.
    fn files(directory: &str) -> Vec<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let files = fs::read_dir(root.join(directory)).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let yaml = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
        yaml.map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
    }

    #[test]
    fn what_an_api_server_refuses_is_refused() {
        // The others are refused for what was there before.
        let files = files("invalid");
        let new = files.iter().filter(|(_, text)| !text.contains("\n---"));
        let mut asked = 0;
        for (name, text) in new {
            asked += 1;
            let why = documents(text).err().unwrap_or_default();
            assert!(!why.is_empty(), "{name} is taken");
            // Rules are told in their own words.
            let promise = text.lines().next().unwrap_or_default();
            for word in [
                "set exactly one",
                "a limit is",
                "must be a duration",
                "say who it is",
            ] {
                assert!(
                    !promise.contains(word) || why.contains(word),
                    "{name}: {why}"
                );
            }
        }
        assert!(asked > 50, "only {asked}");
    }

    #[test]
    fn what_an_api_server_takes_is_taken() {
        let all = [files(""), files("vendors"), files("in-cluster")].concat();
        assert!(all.len() > 20, "only {}", all.len());
        for (name, text) in all {
            if let Err(why) = documents(&text) {
                panic!("{name}: {why}");
            }
        }
    }
}
