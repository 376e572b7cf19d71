//! What the operator needs before its first pass: the installation key.

use std::time::Duration;

use fulfillment_crds::{Subscription, finalizers};
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};

use crate::{
    controller::Readiness,
    identity::{InstallationKey, MIN_KEY_BYTES},
    kubernetes::{Cluster, FIELD_MANAGER, KubeError},
};

/// The Secret the key is in, unless a flag says otherwise.
pub const KEY_SECRET: &str = "fulfillment-installation-key";
/// The key in that Secret.
const KEY: &str = "key";

/// Why the operator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something is configured wrong: exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// The API server does not answer, for now.
    #[error(transparent)]
    Kube(#[from] KubeError),
}

/// What a readiness reason says it waits for.
pub const WAITED_FOR: &str = "installation key";

/// What is done where there is no installation key.
#[derive(Clone, Copy, Debug)]
pub enum Missing<'a> {
    /// It is made, unless a Subscription that is watched may have a tenant named under the lost one.
    Make(&'a [Option<String>]),
    /// It is waited for: somebody restores it.
    Wait(&'a Readiness),
}

/// Reads the installation key; `missing` says what to do where there is none. Waits for the API server.
///
/// # Errors
///
/// [`StartError::Configuration`] where the key is unusable, or missing while tenants depend on it.
pub async fn installation_key(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    missing: Missing<'_>,
) -> Result<InstallationKey, StartError> {
    let mut wait = Duration::from_millis(200);
    loop {
        let found = match (cluster.secret(namespace, name).await, missing) {
            (Ok(Some(found)), _) => read(&found, namespace, name),
            (Ok(None), Missing::Make(watched)) => make(cluster, namespace, name, watched).await,
            (Ok(None), Missing::Wait(readiness)) => {
                let why = format!(
                    "Secret {namespace}/{name} is missing, and --create-installation-key=false: restore it from your backup; where there never was one, start once without the flag"
                );
                tracing::warn!(%why, "waiting for the installation key");
                readiness.wait_for(WAITED_FOR, &why);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
                continue;
            }
            (Err(error), _) => Err(error.into()),
        };
        match found {
            // Neither says anything of the key: what was read or made has only to be read again.
            Err(StartError::Kube(error @ (KubeError::Failed(_) | KubeError::Conflict))) => {
                tracing::warn!(%error, "the installation key cannot be read yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
            Err(StartError::Kube(error)) => {
                return Err(StartError::Configuration(format!(
                    "the installation key, Secret {namespace}/{name}, cannot be read or made: {error}"
                )));
            }
            other => return other,
        }
    }
}

async fn make(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    watched: &[Option<String>],
) -> Result<InstallationKey, StartError> {
    for scope in watched {
        if let Some(tenant) = any_tenant(cluster, scope.as_deref()).await? {
            return Err(StartError::Configuration(format!(
                "the installation key, Secret {namespace}/{name}, is missing while Subscription {tenant} may have a tenant named under it: restore that Secret from your backup and start again"
            )));
        }
    }
    let mut bytes = vec![0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| {
        StartError::Configuration(format!("no randomness for the installation key: {e}"))
    })?;
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([(KEY.to_owned(), ByteString(bytes))].into()),
        ..Secret::default()
    };
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    match cluster
        .bounded(cluster.api::<Secret>(namespace).create(&params, &secret))
        .await
    {
        Ok(made) => {
            tracing::info!(
                secret = format!("{namespace}/{name}"),
                "made the installation key; back it up: without it tenants are not found again; from now on --create-installation-key=false keeps a rebuilt cluster from making another"
            );
            read(&made, namespace, name)
        }
        // Another replica made it.
        Err(KubeError::Conflict) => match cluster.secret(namespace, name).await? {
            Some(found) => read(&found, namespace, name),
            None => Err(KubeError::Failed("it came and went".into()).into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn read(secret: &Secret, namespace: &str, name: &str) -> Result<InstallationKey, StartError> {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(KEY))
        .and_then(|bytes| InstallationKey::new(bytes.0.clone()))
        .ok_or_else(|| {
            StartError::Configuration(format!(
                "Secret {namespace}/{name} holds no installation key: its key {KEY:?} must have at least {MIN_KEY_BYTES} bytes"
            ))
        })
}

/// A Subscription that carries our finalizer, if there is one.
async fn any_tenant(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Option<String>, KubeError> {
    let api: Api<Subscription> = match namespace {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    };
    let mut params = ListParams::default().limit(500);
    loop {
        let page = match cluster.bounded(api.list_metadata(&params)).await {
            Ok(page) => page,
            // Without the CRD there is none.
            Err(KubeError::Gone) => return Ok(None),
            Err(error) => return Err(error),
        };
        for object in &page.items {
            let meta = &object.metadata;
            if meta
                .finalizers
                .iter()
                .flatten()
                .any(|f| f == finalizers::TENANT)
            {
                return Ok(Some(format!(
                    "{}/{}",
                    meta.namespace.as_deref().unwrap_or_default(),
                    meta.name.as_deref().unwrap_or_default()
                )));
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(None),
        }
    }
}
