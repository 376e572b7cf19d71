//! From the connection that an object names to one that can be used: whether it may be, with which
//! client, or what is in the way.

use std::sync::Arc;

use fulfillment_crds::{Subscription, annotations};

use super::{
    Known, Link, Made, Usable,
    client::{clients, renewed, whom},
    lock,
    rotation::Former,
};
use crate::{
    controller::{Context, Scope},
    credentials::{self, Secrets, secret_names},
    facts::Trouble,
    inputs::{not_ready, refused},
    kinds::{Connection, ConnectionKey},
    kubernetes::KubeError,
};

/// Finds the connection a Subscription names, and makes it usable where the Subscription may use it.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says what is missing or not usable.
pub async fn usable_by(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let key = ConnectionKey::named_by(object);
    usable_from(ctx, scope, &key, namespace, is_recorded(object)).await
}

/// The same for whoever names a connection in a namespace; what is `recorded` there is looked after
/// whether the connection still allows it or not.
///
/// # Errors
///
/// As [`usable_by`].
pub async fn usable_from(
    ctx: &Context,
    scope: &Scope,
    key: &ConnectionKey,
    namespace: &str,
    recorded: bool,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let connection = match find(scope, key) {
        Ok(connection) => connection,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let allowed = connection.allows(namespace);
    let refused = if !allowed {
        format!(
            "{} does not allow namespace {namespace}: add it to spec.allowedNamespaces",
            connection.key()
        )
    } else if connection.is_terminating() {
        format!("{} is being deleted", connection.key())
    } else {
        return prepare(ctx, scope, connection).await;
    };
    if !allowed && !recorded {
        return Ok(Err(not_ready(refused)));
    }
    let usable = prepare(ctx, scope, connection).await?;
    let refused = format!("{refused}; what exists is looked after, and nothing new is created");
    Ok(usable.map(|usable| Usable {
        stale: Some(not_ready(refused)),
        ..usable
    }))
}

/// Whether something was ordered for a Subscription, so that it has to be looked after whether the
/// connection still allows it or not. Only the operator writes status; finalizer and intent are in
/// the hands of whoever may write the object, and prove nothing.
pub fn is_recorded(object: &Subscription) -> bool {
    object.status.as_ref().is_some_and(|status| {
        status.tenant_id.is_some() || status.request.as_ref().is_some_and(|r| r.attempts > 0)
    })
}

/// Finds a connection, and makes it usable.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says what is missing or not usable.
pub async fn usable(
    ctx: &Context,
    scope: &Scope,
    key: &ConnectionKey,
) -> Result<Result<Usable, Trouble>, KubeError> {
    match find(scope, key) {
        Ok(connection) => prepare(ctx, scope, connection).await,
        Err(trouble) => Ok(Err(trouble)),
    }
}

fn find(scope: &Scope, key: &ConnectionKey) -> Result<Connection, Trouble> {
    match (scope.connection(key), &key.namespace) {
        (Some(Ok(connection)), _) => Ok(connection),
        (Some(Err(why)), _) => Err(not_ready(format!("{key} cannot be decoded: {why}"))),
        (None, Some(namespace)) => Err(not_ready(format!(
            "{key} does not exist in namespace {namespace}: apply it there, or correct spec.connectionRef"
        ))),
        (None, None) if scope.cluster_connections.is_none() => Err(not_ready(format!(
            "{key} cannot be used: this operator watches single namespaces (--watch-namespace) and sees no ClusterVendorConnection; use a VendorConnection in this namespace, or an operator that watches all namespaces"
        ))),
        (None, None) => Err(not_ready(format!(
            "{key} does not exist: apply it, or correct spec.connectionRef"
        ))),
    }
}

async fn prepare(
    ctx: &Context,
    scope: &Scope,
    connection: Connection,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let key = connection.key();
    let secrets_namespace = scope.secrets_of(&key).to_owned();
    let link = ctx.links.get(&key);
    let meta = connection.meta();
    let annotations = meta.annotations.as_ref();
    let asked = annotations.and_then(|all| all.get(annotations::REQUESTED_AT));
    link.vanished.believe(asked.map(String::as_str));
    let of = format!(
        "{}/{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default(),
    );
    let mut version = of.clone();
    for secret in secret_names(connection.spec()) {
        let secret = scope.secret_version(&secrets_namespace, secret);
        version = format!("{version}/{secret}");
    }
    let known = lock(&link.known).clone();
    let known = if known.version == version {
        known
    } else {
        let took = known.made.and_then(|made| {
            let last = made.clients.last_taken(&whom(&connection))?;
            if made.of == of {
                Some(last)
            } else {
                renewed(ctx, &connection, last)
            }
        });
        let made = make(ctx, &secrets_namespace, &connection, of, took).await?;
        link.learn(version, made)
    };
    let Some(made) = known.made else {
        let unknown = || not_ready(format!("{key} is not known yet"));
        return Ok(Err(known.trouble.unwrap_or_else(unknown)));
    };
    Ok(Ok(Usable {
        budget: link.budget(&connection.spec().budget),
        fingerprint: format!("{}/{}", made.of, made.clients.hash()),
        clients: made.clients,
        connection,
        secrets_namespace,
        link,
        stale: known.trouble,
    }))
}

impl Link {
    /// Takes what was made of the Secrets in this version, or keeps what was made before of the
    /// very same connection: then only the Secrets can have become unfit.
    fn learn(&self, version: String, made: Result<(Made, Option<Trouble>), Unfit>) -> Known {
        let mut known = lock(&self.known);
        let (before, troubled) = (known.made.take(), known.trouble.is_some());
        *known = match made {
            Ok((made, trouble)) => {
                // The same credentials in another version of the Secret (our own finalizer changes
                // it), or made by two passes at once: one client, as it has the connections, the
                // token, and what the vendor said to them.
                let same = |before: &Made| {
                    before.of == made.of && before.clients.hash() == made.clients.hash()
                };
                let kept = before.filter(same);
                if kept.is_none() {
                    self.circuit.close();
                }
                Known {
                    version,
                    made: Some(kept.unwrap_or(made)),
                    trouble,
                }
            }
            Err(Unfit { of, seen, trouble }) => {
                let made = before.filter(|before| before.of == of);
                let kept = "; what exists is looked after with the credentials before, and nothing new is created";
                let kept = if made.is_some() { kept } else { "" };
                let trouble = Trouble {
                    message: format!("{}{kept}", trouble.message),
                    ..trouble
                };
                Known {
                    version: if seen { version } else { String::new() },
                    made,
                    trouble: Some(trouble),
                }
            }
        };
        // A role that is corrected changes no Secret, so only whoever looked knows of it.
        if known.trouble.is_some() != troubled {
            self.tell();
        }
        known.clone()
    }
}

/// Why no client can be made of a connection.
struct Unfit {
    of: String,
    /// The Secrets were read: not before one of them changes is there anything new.
    seen: bool,
    trouble: Trouble,
}

async fn make(
    ctx: &Context,
    secrets_namespace: &str,
    connection: &Connection,
    of: String,
    took: Option<Former>,
) -> Result<Result<(Made, Option<Trouble>), Unfit>, KubeError> {
    let spec = connection.spec();
    let mut secrets = Secrets::new();
    for secret in secret_names(spec) {
        match ctx.cluster.secret(secrets_namespace, secret).await {
            Ok(found) => secrets.insert(secret.to_owned(), found),
            Err(error) => {
                let (seen, trouble) = (false, refused(error)?);
                return Ok(Err(Unfit { of, seen, trouble }));
            }
        };
    }
    let made = credentials::keys(spec, &secrets, &ctx.settings.addresses)
        .and_then(|keys| clients(ctx, connection, keys, took));
    let trouble = |why: &str| not_ready(wrong(&connection.key(), secrets_namespace, why));
    Ok(match made {
        Ok(clients) => {
            let lacks = credentials::callback_lacks(spec, &secrets);
            let lacks = lacks.map(|why| {
                trouble(&format!(
                    "{why}; what exists is looked after, and nothing new is created"
                ))
            });
            let made = Made {
                clients: Arc::new(clients),
                of,
            };
            Ok((made, lacks))
        }
        Err(why) => Err(Unfit {
            of,
            seen: true,
            trouble: trouble(&why),
        }),
    })
}

/// Why a connection's Secrets cannot be used; where they are, if not where the reader would look.
pub(super) fn wrong(key: &ConnectionKey, secrets_namespace: &str, why: &str) -> String {
    match key.namespace {
        Some(_) => format!("{key}: {why}; correct it in namespace {secrets_namespace}"),
        None => format!("{key}, whose Secrets are in namespace {secrets_namespace}: {why}"),
    }
}
