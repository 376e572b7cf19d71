//! Writes the vendor's sensitive parameters into the Secret the user named. Made by the operator or
//! not touched at all. (client required)

use std::{collections::BTreeMap, time::Duration};

use fulfillment_crds::{Reason, Subscription};
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

use crate::{
    controller::Context,
    events::Note,
    kubernetes::{Cluster, FIELD_MANAGER, KubeError},
    pace,
    status::{self, WAIT_MOST, WAIT_TOLD},
};

/// What became of the output Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It holds the values.
    Stored,
    /// A Secret of that name exists that the operator did not make.
    Conflict,
    /// The Subscription is going, and its Secret would go with it; or it wants none any more.
    Leaving,
    /// The operator stops.
    Stopped,
}

/// Values of the vendor's, by the key they have in the Secret.
pub type Values = BTreeMap<String, SecretString>;

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
    values: &Values,
) -> Result<Written, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let data: BTreeMap<String, ByteString> = values
        .iter()
        .map(|(name, value)| {
            (
                key(name),
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
        cluster.recorded(api.create(&params, &secret)).await?;
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
    cluster
        .recorded(api.patch(name, &params, &Patch::Merge(patch)))
        .await?;
    Ok(Written::Stored)
}

/// Writes the values however long it takes: the vendor may never say them again. Ends without them where
/// they are of no use any more, or the operator stops.
pub async fn insist(
    ctx: &Context,
    object: &Subscription,
    name: &str,
    values: &Values,
    mut error: KubeError,
) -> Written {
    let mut wait = Duration::from_millis(200);
    let mut told = false;
    let mut name = name.to_owned();
    loop {
        tracing::warn!(%error, secret = name, "the output Secret is not written yet");
        if wait >= WAIT_TOLD && !told {
            told = true;
            ctx.events.publish(object, held(&name, &error));
        }
        let pause = tokio::time::sleep(wait.mul_f64(0.5 + pace::random()));
        if ctx.unless_stopped(pause).await.is_none() {
            return Written::Stopped;
        }
        wait = (wait * 2).min(WAIT_MOST);
        error = match write(&ctx.cluster, object, &name, values).await {
            Ok(written) => return written,
            Err(error) => error,
        };
        match status::live(ctx, object).await {
            Ok(now) if now.metadata.deletion_timestamp.is_some() => return Written::Leaving,
            Err(KubeError::Gone) => return Written::Leaving,
            // Another Secret may be the remedy, and none is a choice too.
            Ok(now) => match &now.spec.output_secret_name {
                Some(now) => name.clone_from(now),
                None => return Written::Leaving,
            },
            Err(_) => {}
        }
    }
}

/// Told of values that wait for their Secret: status says nothing of them before they are in it.
fn held(name: &str, error: &KubeError) -> Note {
    let note = format!(
        "Secret {name} cannot be written, and what the vendor gave for it waits until it can: {error}"
    );
    Note {
        reason: Reason::DependencyNotReady,
        action: "WriteOutputs".into(),
        note,
        warning: true,
    }
}

/// What a vendor's name is called in a Secret, whose keys are letters, digits, `-`, `_` and `.`: one that
/// is refused would never be written.
fn key(name: &str) -> String {
    const MOST: usize = 253;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let key: String = name
        .chars()
        .take(MOST)
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    match key.as_str() {
        "" => "_".to_owned(),
        dots if dots.starts_with("..") || dots == "." => format!("_{}", &key[1..]),
        _ => key,
    }
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

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn every_name_of_a_vendor_has_a_key_that_a_secret_takes() {
        for (name, expected) in [
            ("initial_password", "initial_password"),
            ("initial password", "initial_password"),
            ("Schlüssel/1", "Schl_ssel_1"),
            ("tls.key", "tls.key"),
            (".hidden", ".hidden"),
            (".", "_"),
            ("..", "_."),
            ("../up", "_._up"),
            ("", "_"),
        ] {
            assert_eq!(key(name), expected, "{name}");
        }
        assert_eq!(key(&"x".repeat(300)).len(), 253);
    }
}
