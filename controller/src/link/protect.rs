//! Connection and Secrets carry a finalizer from before the first tenant until after the last.

use std::sync::Arc;

use fulfillment_crds::finalizers;
use tokio::sync::OwnedRwLockReadGuard;

use super::{Usable, usable::wrong};
use crate::{
    credentials::secret_names,
    facts::Trouble,
    inputs::not_ready,
    kubernetes::{Cluster, KubeError},
};

/// Holds the protection of a connection: as long as it is held, no finalizer is dropped.
pub type Protected = OwnedRwLockReadGuard<bool>;

/// Puts the finalizer on the connection and its Secrets before the first tenant; cheap once done.
/// Hold what it returns until the Subscription's own finalizer counts.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says why nothing may be created here.
pub async fn protect(
    cluster: &Cluster,
    usable: &Usable,
) -> Result<Result<Protected, Trouble>, KubeError> {
    if let Some(stale) = &usable.stale {
        return Ok(Err(stale.clone()));
    }
    let held = Arc::clone(&usable.link.protected).read_owned().await;
    if *held {
        return Ok(Ok(held));
    }
    drop(held);
    let mut held = Arc::clone(&usable.link.protected).write_owned().await;
    if !*held {
        if let Err(closed) = put_finalizers(cluster, usable).await? {
            return Ok(Err(closed));
        }
        *held = true;
    }
    Ok(Ok(held.downgrade()))
}

async fn put_finalizers(
    cluster: &Cluster,
    usable: &Usable,
) -> Result<Result<(), Trouble>, KubeError> {
    let (key, namespace) = (&usable.link.key, &usable.secrets_namespace);
    let going = |what: String| {
        not_ready(format!(
            "{what} is being deleted: nothing new is created through it"
        ))
    };
    let connection = match cluster.connection(key).await? {
        Some(connection) if !connection.is_terminating() => connection,
        Some(_) | None => return Ok(Err(going(key.to_string()))),
    };
    cluster.hold_connection(&connection, true).await?;
    for secret_name in secret_names(connection.spec()) {
        let Some(secret) = cluster.secret(namespace, secret_name).await? else {
            let why = format!("Secret {secret_name} does not exist");
            return Ok(Err(not_ready(wrong(key, namespace, &why))));
        };
        if secret.metadata.deletion_timestamp.is_some() {
            return Ok(Err(going(format!("Secret {secret_name} of {key}"))));
        }
        cluster
            .set_finalizer(&secret, finalizers::IN_USE, true)
            .await?;
    }
    Ok(Ok(()))
}
