//! The wiring: watches fill caches and queue names, passes take them one at a time per object. One
//! object that cannot be decoded, or one pass that panics, stops nobody else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fulfillment_crds::{Reason, Subscription};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use kube::{
    Resource, ResourceExt,
    runtime::controller::{self, Action},
};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

pub use crate::scope::Scope;
use crate::{
    claims::Claims,
    connection,
    events::{Events, Note},
    identity::InstallationKey,
    kinds::ConnectionKey,
    kubernetes::{Cluster, KubeError},
    lease::Gate,
    link::Links,
    metrics::Metrics,
    object::Guarded,
    pace::Pace,
    passes::{PassError, caught, queue},
    plan::Rest,
    queues::{AllQueued, Queued, Queues},
    reconcile::reconcile,
    standby, tier,
    vendor::guard::AddressPolicy,
    watches,
};

/// Settings that passes need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// After this time no earlier create can still take effect.
    pub settle: Duration,
    /// How long after it was decided a create may still be sent.
    pub request_deadline: Duration,
    /// How long a tenant must be missing before it is believed to be gone.
    pub missing_grace: Duration,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
    /// How often tombstones are looked at.
    pub sweep: Duration,
    /// Where tombstones are.
    pub own_namespace: String,
    /// Where the Secrets of ClusterVendorConnections are.
    pub cluster_resource_namespace: String,
    /// By how many percent drift reads vary.
    pub jitter: u8,
    /// Which addresses vendors may have.
    pub addresses: AddressPolicy,
    /// The base under which vendors reach the callbacks.
    pub callback_url: Option<String>,
    /// Only Subscriptions with these labels.
    pub label_selector: Option<String>,
}

/// What all passes share.
#[derive(Debug)]
pub struct Context {
    /// The Kubernetes API.
    pub cluster: Cluster,
    /// The key names are derived under.
    pub key: InstallationKey,
    /// The ways to the vendors.
    pub links: Links,
    /// When to look again.
    pub pace: Arc<Pace>,
    /// Who went ahead with a name of its own choice.
    pub claims: Arc<Claims>,
    /// What is watched, with the caches of each: one, or one for each namespace.
    pub watched: Arc<Mutex<Vec<Arc<Scope>>>>,
    /// Where events go.
    pub events: Events,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The operator's settings.
    pub settings: Settings,
    /// How many passes may call vendors at the same time.
    pub concurrent: Arc<Semaphore>,
    /// Turns true when the operator stops.
    pub stopping: watch::Receiver<bool>,
    /// Whether this replica is to act.
    pub gate: Gate,
}

impl Context {
    /// All that is watched.
    pub fn scopes(&self) -> Vec<Arc<Scope>> {
        let watched = self.watched.lock();
        watched.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What something comes to, or `None` where the operator stops first.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            done = work => Some(done),
            _ = stopping.wait_for(|stop| *stop) => None,
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: &Guarded<Subscription>) {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        self.pace.forget(uid);
        self.claims.forget(uid);
        if let Ok(subscription) = &object.0 {
            let key = ConnectionKey::named_by(subscription);
            self.links.forget_object(&key, uid);
        }
    }
}

/// Why the operator's readiness is refused, by what it waits for.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<std::collections::BTreeMap<String, String>>);

impl Readiness {
    /// Waits for something.
    pub fn wait_for(&self, what: &str, why: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(what.into(), why.into());
    }

    /// Has it.
    pub fn has(&self, what: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(what);
    }

    /// Whether anything but this is waited for.
    pub fn waits_beside(&self, what: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.keys().any(|other| other != what)
    }

    /// What is waited for; empty when ready.
    pub fn missing(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(what, why)| format!("{what}: {why}"))
            .collect()
    }
}

/// What readiness calls the caches of one namespace, or of all.
pub fn caches(namespace: Option<&str>) -> String {
    format!("the caches of {}", watches::place(namespace))
}

/// Runs the operator over one scope until it is told to stop and all passes have ended.
pub async fn run(
    ctx: Arc<Context>,
    namespace: Option<String>,
    readiness: Arc<Readiness>,
    queues: Queues,
    mut queued: AllQueued,
) {
    let (scope, mut watching) = watches::start(&ctx, namespace.as_deref(), &readiness, &queues);
    ctx.watched
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Arc::clone(&scope));
    let filled = async {
        let filled = watches::ready(&scope).await;
        if filled {
            readiness.has(&caches(namespace.as_deref()));
        }
        filled
    };
    let work = async {
        if !standby::stand_by(&ctx, &scope, &queues, &mut queued, filled).await {
            return;
        }
        let passes = passes(&ctx, &scope, queued.subscriptions);
        let tier_passes = tier::passes(&ctx, &scope, queued.tiers);
        let store = scope.connections.clone();
        let connection_passes = connection::passes(&ctx, &scope, store, queued.connections);
        let cluster_connection_passes = async {
            // Without a cache the queue ends here: what is sent to it is dropped.
            if let Some(store) = scope.cluster_connections.clone() {
                connection::passes(&ctx, &scope, store, queued.cluster_connections).await;
            }
        };
        tokio::join!(
            passes,
            tier_passes,
            connection_passes,
            cluster_connection_passes
        );
    };
    tokio::select! {
        () = work => {}
        // Whoever went on without it would never hear of a change.
        _ = watching.join_next() => tracing::error!("a watch has ended, which only a bug can make it do"),
    }
    watching.abort_all();
}

async fn passes(ctx: &Arc<Context>, scope: &Arc<Scope>, receiver: Queued<Subscription>) {
    let scope_of_pass = Arc::clone(scope);
    controller::applier(
        move |object, ctx: Arc<Context>| guarded_pass(object, ctx, Arc::clone(&scope_of_pass)),
        |object: Arc<Guarded<Subscription>>, error: &PassError, ctx: Arc<Context>| {
            let uid = object.meta().uid.clone().unwrap_or_default();
            let conflict = matches!(error, PassError::Kube(KubeError::Conflict));
            Action::requeue(ctx.pace.stumbled(&uid, conflict))
        },
        Arc::clone(ctx),
        scope.subscriptions.clone(),
        queue(receiver, ctx.stopping.clone()),
        // Fairness and bounds are our own: kube's bound takes pending names in no order.
        controller::Config::default(),
    )
    .for_each(|_| std::future::ready(()))
    .await;
}

/// One pass with a span, a clock, and a net under it.
fn guarded_pass(
    object: Arc<Guarded<Subscription>>,
    ctx: Arc<Context>,
    scope: Arc<Scope>,
) -> BoxFuture<'static, Result<Action, PassError>> {
    let meta = object.meta();
    let span = tracing::info_span!(
        "pass",
        namespace = meta.namespace,
        name = meta.name,
        uid = meta.uid,
        generation = meta.generation
    );
    let pass = async move {
        let began = Instant::now();
        let result = caught(pass(
            Arc::clone(&object),
            Arc::clone(&ctx),
            Arc::clone(&scope),
        ))
        .await;
        let outcome = match &result {
            Ok((rest, _)) => outcome(*rest),
            Err(PassError::Kube(KubeError::Conflict)) => "conflict",
            Err(PassError::Kube(_)) => "error",
            Err(PassError::Panic(_)) => "panic",
        };
        ctx.metrics.passed(outcome, began.elapsed());
        match &result {
            Ok((_, wait)) => tracing::debug!(outcome, ?wait, "pass ended"),
            Err(error) => on_error(&object, &ctx, &scope, error).await,
        }
        result.map(|(_, wait)| Action::requeue(wait))
    };
    pass.instrument(span).boxed()
}

async fn pass(
    object: Arc<Guarded<Subscription>>,
    ctx: Arc<Context>,
    scope: Arc<Scope>,
) -> Result<(Rest, Duration), KubeError> {
    match &object.0 {
        Ok(subscription) => {
            let newest = ctx.pace.newest(subscription);
            reconcile(&ctx, &scope, newest).await
        }
        Err(invalid) => {
            let (metadata, error) = (&invalid.metadata, &invalid.error);
            // Boxed: all other passes would be as large as this needs to be.
            Box::pin(ctx.cluster.report_invalid::<Subscription>(metadata, error)).await?;
            Ok((Rest::Paused, Duration::from_secs(600)))
        }
    }
}

/// A conflict means the cache is behind: the next pass begins with the object as it is.
async fn on_error(object: &Guarded<Subscription>, ctx: &Context, scope: &Scope, error: &PassError) {
    let Ok(subscription) = &object.0 else {
        tracing::warn!(%error, "pass failed");
        return;
    };
    match error {
        PassError::Kube(KubeError::Conflict) => {
            tracing::debug!("the object has changed meanwhile");
            let namespace = subscription.namespace().unwrap_or_default();
            let live = ctx
                .cluster
                .subscription(&namespace, &subscription.name_any())
                .await;
            if let Ok(Some(live)) = live
                && live.metadata.uid == subscription.metadata.uid
            {
                let uid = live.uid().unwrap_or_default();
                ctx.pace.wrote(&uid, live, true);
            }
        }
        PassError::Kube(KubeError::Gone) => {
            tracing::debug!("the object is gone");
            if scope.is_gone(object) {
                // Its deletion was heard of while the pass ran, which remembers it again.
                ctx.forget(object);
            }
        }
        PassError::Kube(KubeError::Failed(_) | KubeError::Forbidden(_)) => {
            tracing::warn!(%error, "pass failed; it is repeated");
        }
        PassError::Panic(_) => {
            tracing::error!(%error, "pass failed");
            ctx.events.publish(
                &**subscription,
                Note {
                    reason: Reason::InternalError,
                    action: "Reconcile".into(),
                    note:
                        "a bug in the operator; see its log. Other Subscriptions are not affected"
                            .into(),
                    warning: true,
                },
            );
        }
    }
}

/// The label of a pass in metrics: closed.
fn outcome(rest: Rest) -> &'static str {
    match rest {
        Rest::InSync => "in_sync",
        Rest::Pending | Rest::Overdue => "pending",
        Rest::Inquiring | Rest::Invalid => "inquiring",
        Rest::Failed => "failed",
        Rest::Retry | Rest::Unverified => "retry",
        Rest::Settling => "settling",
        Rest::Held => "held",
        Rest::Drifted => "drifted",
        Rest::Trouble => "waiting",
        Rest::Missing | Rest::VerifyMissing => "missing",
        Rest::Paused => "paused",
        Rest::Terminating => "terminating",
        Rest::Again => "again",
        Rest::Unchanged => "unchanged",
        Rest::Gone => "gone",
    }
}
