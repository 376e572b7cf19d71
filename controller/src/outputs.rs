//! Writes the vendor's sensitive parameters into the Secret the user named. Made by the operator or
//! not touched at all. (client required)

use std::collections::BTreeMap;

use fulfillment_crds::Subscription;
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Resource,
    api::{Patch, PatchParams, PostParams},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::kubernetes::{Cluster, FIELD_MANAGER, KubeError, bounded};

/// What became of the output Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It holds the values.
    Stored,
    /// A Secret of that name exists that the operator did not make.
    Conflict,
}

/// Whether a Secret is this Subscription's: only its owner reference says so.
pub fn is_ours(meta: &ObjectMeta, uid: Option<&str>) -> bool {
    meta.owner_references
        .iter()
        .flatten()
        .any(|owner| Some(owner.uid.as_str()) == uid)
}

/// Writes the values; keys that the vendor does not repeat stay.
///
/// # Errors
///
/// Where the API server fails.
pub async fn write(
    cluster: &Cluster,
    object: &Subscription,
    name: &str,
    values: &BTreeMap<String, SecretString>,
) -> Result<Written, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let data: BTreeMap<String, ByteString> = values
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                ByteString(value.expose_secret().as_bytes().to_vec()),
            )
        })
        .collect();
    let api = cluster.api::<Secret>(namespace);
    let Some(found) = cluster.secret(namespace, name).await? else {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                owner_references: Some(vec![owner(object)]),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        bounded(api.create(&params, &secret)).await?;
        return Ok(Written::Stored);
    };
    if !is_ours(&found.metadata, object.metadata.uid.as_deref()) {
        return Ok(Written::Conflict);
    }
    let held = found.data.unwrap_or_default();
    if data.iter().all(|(key, value)| held.get(key) == Some(value)) {
        return Ok(Written::Stored);
    }
    let patch = json!({"metadata": {"uid": found.metadata.uid}, "data": data});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    bounded(api.patch(name, &params, &Patch::Merge(patch))).await?;
    Ok(Written::Stored)
}

fn owner(object: &Subscription) -> OwnerReference {
    OwnerReference {
        api_version: Subscription::api_version(&()).into_owned(),
        kind: Subscription::kind(&()).into_owned(),
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
