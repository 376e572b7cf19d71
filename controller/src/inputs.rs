//! Resolves what a Subscription refers to in its own namespace: parameters from Secrets and
//! ConfigMaps. (client required)

use std::collections::{BTreeMap, BTreeSet};

use fulfillment_crds::{KeyRef, Parameter, Reason};
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use crate::{
    facts::Trouble,
    kubernetes::{Cluster, KubeError},
};

/// Something is missing or not usable; the message names it and the remedy.
pub fn not_ready(message: String) -> Trouble {
    Trouble {
        reason: Reason::DependencyNotReady,
        message,
    }
}

/// The parameters of an order.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// All values, by name.
    pub values: BTreeMap<String, SecretString>,
    /// The names of those whose value is a JSON object.
    pub structured: BTreeSet<String>,
    /// Those that are kept in Secrets.
    pub secrets: Vec<SecretString>,
}

/// The values of all parameters.
///
/// # Errors
///
/// The outer error where the API server fails, the inner where something is missing.
pub async fn resolve(
    cluster: &Cluster,
    namespace: &str,
    parameters: &[Parameter],
) -> Result<Result<Inputs, Trouble>, KubeError> {
    let mut inputs = Inputs::default();
    for parameter in parameters {
        if let Some(parts) = &parameter.structured_value {
            let text = serde_json::json!(parts).to_string();
            inputs.structured.insert(parameter.name.clone());
            inputs
                .values
                .insert(parameter.name.clone(), SecretString::from(text));
            continue;
        }
        let found = match (&parameter.value, &parameter.value_from) {
            (Some(value), _) => Ok(SecretString::from(value.as_str())),
            (None, Some(source)) => match (&source.secret_key_ref, &source.config_map_key_ref) {
                (Some(key), _) => {
                    let secret = cluster.secret(namespace, &key.name).await?;
                    secret_key(secret.as_ref(), key)
                }
                (None, Some(key)) => config_key(cluster, namespace, key).await?,
                (None, None) => Err("valueFrom names neither a Secret nor a ConfigMap".into()),
            },
            (None, None) => Err("it has neither value, structuredValue nor valueFrom".into()),
        };
        match found {
            Ok(value) => {
                let kept_secret = parameter
                    .value_from
                    .as_ref()
                    .is_some_and(|from| from.secret_key_ref.is_some());
                inputs.secrets.extend(kept_secret.then(|| value.clone()));
                inputs.values.insert(parameter.name.clone(), value);
            }
            Err(why) => {
                return Ok(Err(not_ready(format!(
                    "parameter {}: {why}",
                    parameter.name
                ))));
            }
        }
    }
    Ok(Ok(inputs))
}

/// A key of a Secret as text, or what is wrong.
///
/// # Errors
///
/// Names the Secret and the key.
pub fn secret_key(secret: Option<&Secret>, key: &KeyRef) -> Result<SecretString, String> {
    let Some(secret) = secret else {
        return Err(format!("Secret {} does not exist", key.name));
    };
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(&key.key)) else {
        return Err(format!("Secret {} has no key {}", key.name, key.key));
    };
    match std::str::from_utf8(&bytes.0) {
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(format!(
            "key {} of Secret {} is not UTF-8 text",
            key.key, key.name
        )),
    }
}

async fn config_key(
    cluster: &Cluster,
    namespace: &str,
    key: &KeyRef,
) -> Result<Result<SecretString, String>, KubeError> {
    let Some(map) = cluster.config_map(namespace, &key.name).await? else {
        return Ok(Err(format!("ConfigMap {} does not exist", key.name)));
    };
    Ok(map
        .data
        .as_ref()
        .and_then(|data| data.get(&key.key))
        .map(|text| SecretString::from(text.as_str()))
        .ok_or_else(|| format!("ConfigMap {} has no key {}", key.name, key.key)))
}
