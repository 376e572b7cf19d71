//! Passes over connections of either kind: their status, and their protection while tenants exist
//! behind them. No call to the vendor is made here.

mod behind;
#[cfg(test)]
mod tests;
mod unheard;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fulfillment_crds::{Condition, ConditionType, Reason, VendorConnectionStatus, finalizers};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt, runtime::reflector::Store};
use tokio::time::Instant;

use crate::{
    controller::{Context, Scope},
    kinds::{Connection, ConnectionKey},
    kubernetes::KubeError,
    link::{self, Health, Usable},
    object::{Decode, Guarded},
    pace, passes,
    queues::Queued,
    report,
};
use behind::{Behind, is_held, seen};
use unheard::{ended, is_unheard, warn};

/// How often the count is written while it neither leaves nor reaches 0: the longest pause here.
const COUNT: Duration = Duration::from_secs(60);
/// How often the health is written at most.
const HEALTH: Duration = Duration::from_secs(5);
/// How often a connection is looked at at most: every Subscription that comes or goes asks for it,
/// and a look counts them all.
const LOOK: Duration = Duration::from_millis(200);
/// How often a connection is looked at anyway.
const IDLE: Duration = Duration::from_secs(600);

/// What a connection says of which nothing else is known.
const UNUSED: &str = "the references resolve; no call was made yet";
/// The same, where that is so of its credentials alone.
const UNTRIED: &str = "the references resolve; no call was made with the new credentials yet";

/// When each connection's status was written last, and when it was looked at last, by uid.
#[derive(Clone, Debug, Default)]
struct Last {
    written: Arc<Mutex<HashMap<String, Instant>>>,
    looked: Arc<Mutex<HashMap<String, Instant>>>,
}

/// Runs passes over the connections of one kind until the operator stops.
pub async fn passes<K>(
    ctx: &Arc<Context>,
    scope: &Arc<Scope>,
    store: Store<Guarded<K>>,
    receiver: Queued<K>,
) where
    K: Decode + Send + Sync + 'static,
    Connection: From<Arc<K>>,
{
    let (ctx_of_pass, scope, last) = (Arc::clone(ctx), Arc::clone(scope), Last::default());
    passes::run(ctx, store, receiver, move |object: Arc<Guarded<K>>| {
        let (ctx, scope, last) = (Arc::clone(&ctx_of_pass), Arc::clone(&scope), last.clone());
        async move {
            let connection = match &object.0 {
                Ok(connection) => connection,
                Err(invalid) => {
                    ctx.cluster
                        .report_invalid::<K>(object.meta(), &invalid.error)
                        .await?;
                    return Ok(IDLE);
                }
            };
            let connection = Connection::from(Arc::clone(connection));
            let uid = connection.meta().uid.clone().unwrap_or_default();
            if let Some(left) = left(&last.looked, &uid, LOOK) {
                return Ok(left);
            }
            stamp(&last.looked, &uid);
            pass(&ctx, &scope, &connection, &last).await
        }
    })
    .await;
}

async fn pass(
    ctx: &Context,
    scope: &Scope,
    connection: &Connection,
    last: &Last,
) -> Result<Duration, KubeError> {
    let key = connection.key();
    let count = guard(ctx, scope, connection, &key).await?;
    if connection.is_terminating() && count == 0 {
        return Ok(IDLE);
    }
    let ready = ready(ctx, scope, &key).await?;
    let before = connection.status().cloned().unwrap_or_default();
    let generation = connection.meta().generation;
    let condition = |reason: Reason, message: &str, status: &str| {
        report::condition(
            ConditionType::Ready,
            status,
            reason,
            message,
            generation.unwrap_or_default(),
            &before.conditions,
            pace::now(),
        )
    };
    let mut ready = match ready {
        // What an earlier process learnt stands until a call says otherwise.
        Ok((_, UNUSED)) if learnt(&before, generation) => before.conditions[0].clone(),
        Ok((reason, message)) => condition(reason, message, "True"),
        Err((reason, message)) => condition(reason, &message, "False"),
    };
    let unheard = connection.spec().callback.is_some() && ctx.settings.callback_url.is_none();
    ready.message = ended(&ready.message, unheard);
    let after = VendorConnectionStatus {
        observed_generation: generation,
        subscriptions: Some(count),
        open_until: ctx.links.get(&key).circuit.open_until().map(Time),
        conditions: vec![ready],
    };
    write(ctx, connection, &before, &after, last).await
}

/// Keeps the finalizers where tenants are and drops them where none are left; says how many
/// Subscriptions may have one.
async fn guard(
    ctx: &Context,
    scope: &Scope,
    connection: &Connection,
    key: &ConnectionKey,
) -> Result<i64, KubeError> {
    let link = ctx.links.get(key);
    loop {
        // Counted without the lock, which holds up whoever buys: who was about to buy has its finalizer and is
        // counted once the lock was had, and who comes later protects the connection anew.
        {
            let mut protected = link.protected.write().await;
            if seen(ctx, scope, key) == 0 {
                *protected = false;
            }
        }
        let behind = Behind::count(ctx, scope, key).await?;
        let count = behind.of(key);
        if count > 0 {
            if !connection.is_terminating() {
                ctx.cluster.hold_connection(connection, true).await?;
            }
            guard_secrets(ctx, scope, &behind, None).await?;
            return Ok(count);
        }
        let protected = link.protected.write().await;
        if !*protected {
            // The Secrets first: a connection without them could not end its tenants.
            guard_secrets(ctx, scope, &behind, Some(key)).await?;
            ctx.cluster.hold_connection(connection, false).await?;
            return Ok(0);
        }
    }
}

/// Our finalizer on the Secrets of a namespace that are in use, and on no other. `free` is the connection
/// that is known to protect nothing.
async fn guard_secrets(
    ctx: &Context,
    scope: &Scope,
    behind: &Behind,
    free: Option<&ConnectionKey>,
) -> Result<(), KubeError> {
    let namespace = &behind.secrets_namespace;
    let unreadable = scope.has_unreadable_connection(namespace);
    for secret in scope.secrets.state() {
        if secret.namespace().as_deref() != Some(namespace) {
            continue;
        }
        let name = secret.name_any();
        let has = is_held(&*secret);
        // Which Secrets a connection names that cannot be decoded is not known.
        let wanted = behind.uses(ctx, &name, free) || (has && unreadable);
        let too_late = wanted && secret.metadata.deletion_timestamp.is_some();
        if has == wanted || too_late {
            continue;
        }
        if let Err(error) = mark(ctx, namespace, &name, wanted).await {
            // A policy's or a webhook's refusal of one Secret is no reason to leave the others.
            tracing::warn!(namespace, secret = name, in_use = wanted, %error, "a Secret's finalizer cannot be set");
        }
    }
    Ok(())
}

/// Puts the finalizer on a Secret, or takes it off.
async fn mark(ctx: &Context, namespace: &str, name: &str, wanted: bool) -> Result<(), KubeError> {
    // The cache has metadata only, and may be behind.
    let Some(secret) = ctx.cluster.secret(namespace, name).await? else {
        return Ok(());
    };
    ctx.cluster
        .set_finalizer(&secret, finalizers::IN_USE, wanted)
        .await
}

/// Whether the condition that stands is of calls made under this very spec, and with credentials that this
/// process has as well.
fn learnt(before: &VendorConnectionStatus, generation: Option<i64>) -> bool {
    before.conditions.first().is_some_and(|c| {
        c.observed_generation == generation
            && c.reason != Reason::DependencyNotReady.as_str()
            && !link::is_refusal(&c.message)
    })
}

type Ready = Result<(Reason, &'static str), (Reason, String)>;

/// Whether the references resolve, and what the last call said.
async fn ready(ctx: &Context, scope: &Scope, key: &ConnectionKey) -> Result<Ready, KubeError> {
    let usable = link::usable(ctx, scope, key).await?;
    Ok(match usable {
        Ok(usable) if usable.link.vanished.alarm() => Err((
            Reason::MassVanish,
            format!(
                "most of the tenants that were read are gone at the vendor, and none is bought again until reads find them; if they are really gone, say so: kubectl annotate {} --overwrite --field-manager=flux-client-side-apply reconcile.fluxcd.io/requestedAt=\"$(date +%s)\"",
                key.for_kubectl()
            ),
        )),
        Err(trouble)
        | Ok(Usable {
            stale: Some(trouble),
            ..
        }) => Err((trouble.reason, trouble.message)),
        Ok(usable) => answered(&usable).and_then(|said| {
            let mut products = usable.connection.spec().products.iter();
            match products.find_map(|product| usable.unfit(product)) {
                Some(unfit) => Err((unfit.reason, unfit.message)),
                None => Ok(said),
            }
        }),
    })
}

/// What the last call said.
fn answered(usable: &Usable) -> Ready {
    match (usable.link.health(), usable.refusal()) {
        (Health::Fails(reason, message), _) => Err((reason, message)),
        (Health::Unused | Health::Answers, Some(why)) => Err((Reason::Unauthorized, why)),
        (Health::Unused, None) => Ok((Reason::Configured, UNUSED)),
        (Health::Answers, None) if usable.clients.is_untried() => Ok((Reason::Configured, UNTRIED)),
        (Health::Answers, None) => Ok((Reason::VendorAnswers, "the vendor answered the last call")),
    }
}

/// Writes the status where it says something new, and not too often.
async fn write(
    ctx: &Context,
    connection: &Connection,
    before: &VendorConnectionStatus,
    after: &VendorConnectionStatus,
    last: &Last,
) -> Result<Duration, KubeError> {
    let uid = connection.meta().uid.clone().unwrap_or_default();
    // What a vendor says varies with each call, but the link keeps what it said first.
    let word = |s: &VendorConnectionStatus| {
        let ready = s.conditions.first();
        ready.map(|c: &Condition| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    let count = |s: &VendorConnectionStatus| s.subscriptions.unwrap_or(-1);
    let crossed = (count(before) > 0) != (count(after) > 0) || count(before) < 0;
    let urgent = crossed || before.observed_generation != after.observed_generation;
    let pause = if urgent {
        Duration::ZERO
    } else if word(before) != word(after)
        || is_unheard(before) != is_unheard(after)
        || before.open_until != after.open_until
    {
        HEALTH
    } else if count(before) != count(after) {
        COUNT
    } else {
        return Ok(IDLE);
    };
    if let Some(left) = left(&last.written, &uid, pause) {
        return Ok(left);
    }
    ctx.cluster
        .write_connection_status(connection, after)
        .await?;
    stamp(&last.written, &uid);
    if is_unheard(after) && !is_unheard(before) {
        warn(ctx, connection);
    }
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
    // What is older than every pause holds nothing up: so those that are gone are forgotten, too.
    times.retain(|_, at| at.elapsed() < COUNT);
    times.insert(uid.to_owned(), Instant::now());
}
