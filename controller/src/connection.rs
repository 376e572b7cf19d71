//! Passes over VendorConnections: their status, and their protection while tenants exist behind
//! them. No call to the vendor is made here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fulfillment_crds::{
    Condition, ConditionType, Reason, Subscription, VendorConnection, VendorConnectionStatus,
    finalizers,
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use kube::{
    Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::controller::{self, Action, ReconcileRequest},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    controller::{Context, PassError, Scope, queue},
    credentials::secret_names,
    kubernetes::{FIELD_MANAGER, KubeError, bounded},
    link::{self, Health, Usable},
    object::Guarded,
    pace, report, watches,
};

/// How often the count is written while it neither leaves nor reaches 0.
const COUNT: Duration = Duration::from_secs(60);
/// How often the health is written at most.
const HEALTH: Duration = Duration::from_secs(5);
/// How often a connection is looked at at most: every Subscription that comes or goes asks for it,
/// and a look counts them all.
const LOOK: Duration = Duration::from_millis(200);
/// How often a connection is looked at anyway.
const IDLE: Duration = Duration::from_secs(600);

/// When each connection's status was written last, and when it was looked at last, by uid.
#[derive(Clone, Debug, Default)]
struct Last {
    written: Arc<Mutex<HashMap<String, Instant>>>,
    looked: Arc<Mutex<HashMap<String, Instant>>>,
}

/// Runs passes over connections until the operator stops.
pub async fn passes(
    ctx: &Arc<Context>,
    scope: &Arc<Scope>,
    receiver: mpsc::UnboundedReceiver<ReconcileRequest<Guarded<VendorConnection>>>,
) {
    let scope_of_pass = Arc::clone(scope);
    let last = Last::default();
    controller::applier(
        move |object, ctx| guarded_pass(object, ctx, Arc::clone(&scope_of_pass), last.clone()),
        |_, _: &PassError, _| Action::requeue(Duration::from_secs(1).mul_f64(0.5 + pace::random())),
        Arc::clone(ctx),
        scope.connections.clone(),
        queue(receiver, ctx.stopping.clone()),
        controller::Config::default(),
    )
    .for_each(|_| std::future::ready(()))
    .await;
}

fn guarded_pass(
    object: Arc<Guarded<VendorConnection>>,
    ctx: Arc<Context>,
    scope: Arc<Scope>,
    last: Last,
) -> BoxFuture<'static, Result<Action, PassError>> {
    async move {
        let Ok(connection) = &object.0 else {
            return Ok(Action::requeue(IDLE));
        };
        let uid = connection.uid().unwrap_or_default();
        if let Some(left) = left(&last.looked, &uid, LOOK) {
            return Ok(Action::requeue(left));
        }
        stamp(&last.looked, &uid);
        let pass = std::panic::AssertUnwindSafe(pass(&ctx, &scope, connection, &last));
        let result = pass
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(KubeError::Failed("the pass panicked".into())));
        match result {
            Ok(wait) => Ok(Action::requeue(wait)),
            Err(KubeError::Gone) => Ok(Action::await_change()),
            Err(error) => {
                if !matches!(error, KubeError::Conflict) {
                    tracing::warn!(connection = connection.name_any(), namespace = connection.namespace(), %error, "pass over a connection failed");
                }
                Err(error.into())
            }
        }
    }
    .boxed()
}

async fn pass(
    ctx: &Context,
    scope: &Scope,
    connection: &VendorConnection,
    last: &Last,
) -> Result<Duration, KubeError> {
    let count = guard(ctx, scope, connection).await?;
    if connection.metadata.deletion_timestamp.is_some() && count == 0 {
        return Ok(IDLE);
    }
    let ready = ready(ctx, scope, connection).await?;
    let before = connection.status.clone().unwrap_or_default();
    let condition = |reason: Reason, message: &str, status: &str| {
        report::condition(
            ConditionType::Ready,
            status,
            reason,
            message,
            connection.metadata.generation.unwrap_or_default(),
            &before.conditions,
            pace::now(),
        )
    };
    let after = VendorConnectionStatus {
        observed_generation: connection.metadata.generation,
        subscriptions: Some(count),
        conditions: vec![match ready {
            // What an earlier process learnt stands until a call says otherwise.
            Ok((Reason::Configured, _)) if learnt(&before, connection) => {
                before.conditions[0].clone()
            }
            Ok((reason, message)) => condition(reason, message, "True"),
            Err((reason, message)) => condition(reason, &message, "False"),
        }],
    };
    write(ctx, connection, &before, &after, last).await
}

/// Keeps the finalizers where tenants are and drops them where none are left; says how many
/// Subscriptions may have one.
async fn guard(
    ctx: &Context,
    scope: &Scope,
    connection: &VendorConnection,
) -> Result<i64, KubeError> {
    let (namespace, name) = (
        connection.namespace().unwrap_or_default(),
        connection.name_any(),
    );
    let link = ctx.links.get(&namespace, &name);
    // No pass is between this connection's finalizer and its Subscription's own while we count.
    let mut protected = link.protected.write().await;
    let count = count(ctx, scope, &namespace, &name).await?;
    if count == 0 {
        *protected = false;
    }
    if count > 0 && connection.metadata.deletion_timestamp.is_none() {
        ctx.cluster
            .set_finalizer(connection, finalizers::IN_USE, true)
            .await?;
    }
    guard_secrets(ctx, scope, &namespace).await?;
    if count == 0 {
        // The Secrets first: a connection without them could not end its tenants.
        ctx.cluster
            .set_finalizer(connection, finalizers::IN_USE, false)
            .await?;
    }
    Ok(count)
}

/// Our finalizer on the Secrets of a namespace that are in use, and on no other.
async fn guard_secrets(ctx: &Context, scope: &Scope, namespace: &str) -> Result<(), KubeError> {
    for secret in scope.secrets.state() {
        if secret.namespace().as_deref() != Some(namespace) {
            continue;
        }
        let name = secret.name_any();
        let has = secret.finalizers().iter().any(|f| f == finalizers::IN_USE);
        let wanted = in_use(ctx, scope, namespace, &name).await?;
        let too_late = wanted && secret.metadata.deletion_timestamp.is_some();
        if has == wanted || too_late {
            continue;
        }
        // The cache has metadata only, and may be behind.
        if let Some(secret) = ctx.cluster.secret(namespace, &name).await? {
            ctx.cluster
                .set_finalizer(&secret, finalizers::IN_USE, wanted)
                .await?;
        }
    }
    Ok(())
}

/// Whether a Secret is named by a connection that has Subscriptions.
async fn in_use(
    ctx: &Context,
    scope: &Scope,
    namespace: &str,
    secret: &str,
) -> Result<bool, KubeError> {
    for connection in scope.connections.state() {
        let names = connection
            .0
            .as_ref()
            .is_ok_and(|c| secret_names(&c.spec).contains(secret));
        if !names || connection.namespace().as_deref() != Some(namespace) {
            continue;
        }
        let name = connection.name_any();
        let link = ctx.links.get(namespace, &name);
        let protected = link.protected.try_read().is_ok_and(|p| *p);
        if protected || count(ctx, scope, namespace, &name).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many Subscriptions may have a tenant behind this connection.
async fn count(
    ctx: &Context,
    scope: &Scope,
    namespace: &str,
    connection: &str,
) -> Result<i64, KubeError> {
    let seen = scope.subscriptions.state();
    let here = seen
        .iter()
        .filter(|o| o.meta().namespace.as_deref() == Some(namespace));
    let mut n = here.filter(|o| counts(ctx, o, connection)).count();
    if n == 0 && ctx.settings.label_selector.is_some() {
        // What has lost its label is out of sight, and its tenant is still there.
        let all = ctx.cluster.api::<Guarded<Subscription>>(namespace);
        let all = bounded(all.list(&ListParams::default())).await?;
        n = all.iter().filter(|o| counts(ctx, o, connection)).count();
    }
    Ok(i64::try_from(n).unwrap_or(i64::MAX))
}

fn counts(ctx: &Context, object: &Guarded<Subscription>, connection: &str) -> bool {
    let finalized = object.finalizers().iter().any(|f| f == finalizers::TENANT);
    match &object.0 {
        Ok(s) => watches::uses(s, connection) && (finalized || ctx.pace.has_finalizer(s)),
        // What cannot be decoded may have a tenant anywhere.
        Err(_) => finalized,
    }
}

/// Whether the condition that stands is of calls made under this very spec.
fn learnt(before: &VendorConnectionStatus, connection: &VendorConnection) -> bool {
    before.conditions.first().is_some_and(|c| {
        c.observed_generation == connection.metadata.generation
            && c.reason != Reason::DependencyNotReady.as_str()
    })
}

type Ready = Result<(Reason, &'static str), (Reason, String)>;

/// Whether the references resolve, and what the last call said.
async fn ready(
    ctx: &Context,
    scope: &Scope,
    connection: &VendorConnection,
) -> Result<Ready, KubeError> {
    let namespace = connection.namespace().unwrap_or_default();
    let reference = fulfillment_crds::ConnectionRef {
        kind: fulfillment_crds::ConnectionKind::VendorConnection,
        name: connection.name_any(),
    };
    let usable = link::usable(ctx, scope, &namespace, &reference).await?;
    Ok(match usable {
        Ok(usable) if usable.link.vanished.alarm() => Err((
            Reason::MassVanish,
            format!(
                "more than half of the tenants are gone at the vendor, and none is bought again until reads find them; if they are really gone, say so: kubectl annotate vendorconnection -n {namespace} {} --overwrite reconcile.fluxcd.io/requestedAt=\"$(date +%s)\"",
                connection.name_any()
            ),
        )),
        Err(trouble)
        | Ok(Usable {
            stale: Some(trouble),
            ..
        }) => Err((trouble.reason, trouble.message)),
        Ok(usable) => match usable.link.health() {
            Health::Unused => Ok((
                Reason::Configured,
                "the references resolve; no call was made yet",
            )),
            Health::Answers => Ok((Reason::VendorAnswers, "the vendor answered the last call")),
            Health::Fails(reason, message) => Err((reason, message)),
        },
    })
}

/// Writes the status where it says something new, and not too often.
async fn write(
    ctx: &Context,
    connection: &VendorConnection,
    before: &VendorConnectionStatus,
    after: &VendorConnectionStatus,
    last: &Last,
) -> Result<Duration, KubeError> {
    let uid = connection.uid().unwrap_or_default();
    let word = |s: &VendorConnectionStatus| {
        s.conditions
            .first()
            // What a vendor says varies with each call; what is missing is news.
            .map(|c: &Condition| {
                let missing = c.reason == Reason::DependencyNotReady.as_str();
                (
                    c.status.clone(),
                    c.reason.clone(),
                    missing.then(|| c.message.clone()),
                )
            })
    };
    let count = |s: &VendorConnectionStatus| s.subscriptions.unwrap_or(-1);
    let crossed = (count(before) > 0) != (count(after) > 0) || count(before) < 0;
    let urgent = crossed || before.observed_generation != after.observed_generation;
    let pause = if urgent {
        Duration::ZERO
    } else if word(before) != word(after) {
        HEALTH
    } else if count(before) != count(after) {
        COUNT
    } else {
        return Ok(IDLE);
    };
    if let Some(left) = left(&last.written, &uid, pause) {
        return Ok(left);
    }
    let namespace = connection.namespace().unwrap_or_default();
    let patch = json!({"metadata": {"uid": uid, "resourceVersion": connection.resource_version()}, "status": after});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    bounded(
        ctx.cluster
            .api::<VendorConnection>(&namespace)
            .patch_status(&connection.name_any(), &params, &Patch::Merge(patch)),
    )
    .await?;
    stamp(&last.written, &uid);
    Ok(IDLE)
}

/// How much of a pause is left since the last time, if any.
fn left(times: &Mutex<HashMap<String, Instant>>, uid: &str, pause: Duration) -> Option<Duration> {
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let since = times.get(uid)?.elapsed();
    pause.checked_sub(since).filter(|left| !left.is_zero())
}

fn stamp(times: &Mutex<HashMap<String, Instant>>, uid: &str) {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.insert(uid.to_owned(), Instant::now());
}
