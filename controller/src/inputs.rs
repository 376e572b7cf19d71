//! Resolves what a Subscription refers to in its own namespace: parameters from Secrets and
//! ConfigMaps. (client required)

use std::collections::{BTreeMap, BTreeSet};

use fulfillment_crds::{KeyRef, Parameter, Reason};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
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

/// What the API server refuses is said like what is missing: on the object, where a person sees it.
///
/// # Errors
///
/// What is no refusal.
pub fn refused(error: KubeError) -> Result<Trouble, KubeError> {
    match error {
        KubeError::Forbidden(_) => Ok(not_ready(format!(
            "{error}. Allow this to the operator (its role, or the policy or webhook that is named): it is tried again by itself"
        ))),
        KubeError::Conflict | KubeError::Gone | KubeError::Failed(_) => Err(error),
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
    let mut found = BTreeMap::new();
    for parameter in parameters {
        let Some(source) = &parameter.value_from else {
            continue;
        };
        let value = match (&source.secret_key_ref, &source.config_map_key_ref) {
            (Some(key), _) => {
                let secret = cluster.secret(namespace, &key.name).await;
                secret.map(|secret| secret_key(secret.as_ref(), key))
            }
            (None, Some(key)) => {
                let map = cluster.config_map(namespace, &key.name).await;
                map.map(|map| config_key(map.as_ref(), key))
            }
            (None, None) => continue,
        };
        match value {
            Ok(value) => found.insert(parameter.name.as_str(), value),
            Err(error) => return refused(error).map(Err),
        };
    }
    let look = |parameter: &Parameter| found.remove(parameter.name.as_str());
    let remedy = |why| not_ready(format!("{why}: correct it in namespace {namespace}"));
    Ok(gather(parameters, look).map_err(remedy))
}

/// The values of all parameters; `look` finds the value of one that is kept elsewhere.
///
/// # Errors
///
/// Names the parameter that has no value, and says why.
pub fn gather(
    parameters: &[Parameter],
    mut look: impl FnMut(&Parameter) -> Option<Result<SecretString, String>>,
) -> Result<Inputs, String> {
    let mut inputs = Inputs::default();
    for parameter in parameters {
        let name = &parameter.name;
        if let Some(parts) = &parameter.structured_value {
            let text = serde_json::json!(parts).to_string();
            inputs.structured.insert(name.clone());
            inputs.values.insert(name.clone(), SecretString::from(text));
            continue;
        }
        let value = match (&parameter.value, &parameter.value_from) {
            (Some(value), _) => Ok(SecretString::from(value.as_str())),
            (None, Some(_)) => look(parameter)
                .unwrap_or_else(|| Err("valueFrom names neither a Secret nor a ConfigMap".into())),
            (None, None) => Err("it has neither value, structuredValue nor valueFrom".into()),
        };
        let value = value.map_err(|why| format!("parameter {name}: {why}"))?;
        let kept_secret = parameter
            .value_from
            .as_ref()
            .is_some_and(|from| from.secret_key_ref.is_some());
        inputs.secrets.extend(kept_secret.then(|| value.clone()));
        inputs.values.insert(name.clone(), value);
    }
    Ok(inputs)
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

/// A key of a ConfigMap, or what is wrong.
///
/// # Errors
///
/// Names the ConfigMap and the key.
pub fn config_key(map: Option<&ConfigMap>, key: &KeyRef) -> Result<SecretString, String> {
    let Some(map) = map else {
        return Err(format!("ConfigMap {} does not exist", key.name));
    };
    map.data
        .as_ref()
        .and_then(|data| data.get(&key.key))
        .map(|text| SecretString::from(text.as_str()))
        .ok_or_else(|| format!("ConfigMap {} has no key {}", key.name, key.key))
}
