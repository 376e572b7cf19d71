//! The wiring: watches fill caches and queue names, passes take them one at a time per object. One
//! object that cannot be decoded, or one pass that panics, stops nobody else.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fulfillment_crds::{
    ClusterVendorConnection, Reason, Subscription, TierConfiguration, VendorConnection,
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        controller::{self, Action, ReconcileRequest},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::Instrument;

use crate::{
    claims::Claims,
    connection,
    events::{Events, Note},
    identity::InstallationKey,
    kinds::{Connection, ConnectionKey},
    kubernetes::{Cluster, KubeError},
    lease::Gate,
    link::Links,
    metrics::Metrics,
    object::{Decode, Guarded},
    pace::Pace,
    plan::Rest,
    queues::{Queued, Queues},
    reconcile::reconcile,
    standby, tier, tombstones,
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
    pub pace: Pace,
    /// Who went ahead with a name of its own choice.
    pub claims: Claims,
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

/// The caches of one watched namespace, or of all.
#[derive(Debug)]
pub struct Scope {
    /// All Subscriptions.
    pub subscriptions: Store<Guarded<Subscription>>,
    /// All TierConfigurations.
    pub tiers: Store<Guarded<TierConfiguration>>,
    /// All VendorConnections.
    pub connections: Store<Guarded<VendorConnection>>,
    /// All ClusterVendorConnections; `None` where single namespaces are watched. Whoever does not see
    /// all Subscriptions cannot tell when such a connection is not needed any more.
    pub cluster_connections: Option<Store<Guarded<ClusterVendorConnection>>>,
    /// Where the Secrets of ClusterVendorConnections are.
    pub cluster_resource_namespace: String,
    /// All Secrets, without their contents.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// All ConfigMaps, without their contents.
    pub config_maps: Store<PartialObjectMeta<ConfigMap>>,
}

impl Scope {
    /// A connection, or why it cannot be decoded.
    pub fn connection(&self, key: &ConnectionKey) -> Option<Result<Connection, String>> {
        match &key.namespace {
            Some(namespace) => {
                let reference = ObjectRef::new(&key.name).within(namespace);
                self.connections.get(&reference).map(|found| either(&found))
            }
            None => {
                let store = self.cluster_connections.as_ref()?;
                store
                    .get(&ObjectRef::new(&key.name))
                    .map(|found| either(&found))
            }
        }
    }

    /// All connections that can be decoded.
    pub fn every_connection(&self) -> Vec<Connection> {
        let cluster = self.cluster_connections.iter().flat_map(Store::state);
        let cluster = cluster.filter_map(|found| either(&found).ok());
        let namespaced = self.connections.state();
        let namespaced = namespaced.iter().filter_map(|found| either(found).ok());
        namespaced.chain(cluster).collect()
    }

    /// Where a connection's Secrets are.
    pub fn secrets_of<'k>(&'k self, key: &'k ConnectionKey) -> &'k str {
        key.namespace
            .as_deref()
            .unwrap_or(&self.cluster_resource_namespace)
    }

    /// Whether a Subscription has this tenant.
    pub fn holds(&self, tenant: &str) -> bool {
        let has = |object: &Guarded<Subscription>| {
            let status = object.0.as_ref().ok().and_then(|s| s.status.as_ref());
            status.and_then(|status| status.tenant_id.as_deref()) == Some(tenant)
        };
        self.subscriptions.state().iter().any(|object| has(object))
    }

    /// How many Subscriptions of a connection should have a tenant.
    pub fn tenants(&self, connection: &ConnectionKey) -> usize {
        let ours = |object: &Guarded<Subscription>| {
            object.0.as_ref().is_ok_and(|s| {
                let tenant = s
                    .status
                    .as_ref()
                    .and_then(|status| status.tenant_id.as_ref());
                connection.is_named_by(s) && tenant.is_some()
            })
        };
        let all = self.subscriptions.state();
        all.iter().filter(|object| ours(object)).count()
    }

    /// A TierConfiguration, or why it cannot be decoded.
    pub fn tier(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Result<Arc<TierConfiguration>, String>> {
        let found = self.tiers.get(&ObjectRef::new(name).within(namespace))?;
        Some(match &found.0 {
            Ok(tier) => Ok(Arc::clone(tier)),
            Err(invalid) => Err(invalid.error.clone()),
        })
    }

    /// A Secret's metadata.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Arc<PartialObjectMeta<Secret>>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }

    /// Changes with a Secret.
    pub fn secret_version(&self, namespace: &str, name: &str) -> String {
        self.secret(namespace, name)
            .map_or_else(String::new, |found| version(&found.metadata))
    }

    /// Changes with a ConfigMap.
    pub fn config_map_version(&self, namespace: &str, name: &str) -> String {
        self.config_maps
            .get(&ObjectRef::new(name).within(namespace))
            .map_or_else(String::new, |found| version(&found.metadata))
    }

    /// The cached object of the same name, if it is the same one.
    pub fn newest(&self, object: &Arc<Subscription>) -> Arc<Subscription> {
        let reference =
            ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default());
        self.subscriptions
            .get(&reference)
            .and_then(|found| found.0.as_ref().ok().cloned())
            .filter(|found| found.metadata.uid == object.metadata.uid)
            .unwrap_or_else(|| Arc::clone(object))
    }
}

/// A connection of either kind, or why it cannot be decoded.
fn either<K: Decode>(found: &Guarded<K>) -> Result<Connection, String>
where
    Connection: From<Arc<K>>,
{
    match &found.0 {
        Ok(connection) => Ok(Arc::clone(connection).into()),
        Err(invalid) => Err(invalid.error.clone()),
    }
}

fn version(meta: &ObjectMeta) -> String {
    format!(
        "{}/{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.resource_version.as_deref().unwrap_or_default()
    )
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The API server failed, or the object changed meanwhile.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// A bug of ours: it stays with this object.
    #[error("the pass panicked: {0}")]
    Panic(String),
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

    /// What is waited for; empty when ready.
    pub fn missing(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(what, why)| format!("{what}: {why}"))
            .collect()
    }
}

/// Runs the operator over one scope until it is told to stop and all passes have ended.
pub async fn run(
    ctx: Arc<Context>,
    namespace: Option<String>,
    scopes: Arc<Mutex<Vec<Arc<Scope>>>>,
    readiness: Arc<Readiness>,
    health: mpsc::UnboundedReceiver<ConnectionKey>,
) {
    let (queues, mut queued) = Queues::new();
    let (scope, mut watching) = watches::start(&ctx, namespace.as_deref(), &readiness, &queues);
    scopes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Arc::clone(&scope));
    let forwarding = tokio::spawn(forward_health(health, queues.clone()));
    if watches::ready(&scope).await && standby::stand_by(&ctx, &scope, &queues, &mut queued).await {
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
            cluster_connection_passes,
            tombstones::sweep(&ctx, &scope)
        );
    }
    watching.abort_all();
    forwarding.abort();
}

async fn forward_health(mut health: mpsc::UnboundedReceiver<ConnectionKey>, queues: Queues) {
    while let Some(key) = health.recv().await {
        queues.connection(&key);
    }
}

/// The names to look at, until the operator stops.
pub fn queue<K>(
    receiver: Queued<K>,
    mut stopping: watch::Receiver<bool>,
) -> impl futures::Stream<Item = Result<ReconcileRequest<Guarded<K>>, std::convert::Infallible>>
where
    K: Decode + 'static,
{
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|request| (Ok(request), receiver))
    })
    .take_until(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    })
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
        let result = AssertUnwindSafe(pass(&object, &ctx, &scope))
            .catch_unwind()
            .await;
        let result =
            result.unwrap_or_else(|panic| Err(PassError::Panic(panic_text(panic.as_ref()))));
        let outcome = match &result {
            Ok((rest, _)) => outcome(*rest),
            Err(PassError::Kube(KubeError::Conflict)) => "conflict",
            Err(PassError::Kube(_)) => "error",
            Err(PassError::Panic(_)) => "panic",
        };
        ctx.metrics.passed(outcome, began.elapsed());
        match &result {
            Ok((_, wait)) => tracing::debug!(outcome, ?wait, "pass ended"),
            Err(error) => on_error(&object, &ctx, error).await,
        }
        result.map(|(_, wait)| Action::requeue(wait))
    };
    pass.instrument(span).boxed()
}

async fn pass(
    object: &Arc<Guarded<Subscription>>,
    ctx: &Arc<Context>,
    scope: &Arc<Scope>,
) -> Result<(Rest, Duration), PassError> {
    match &object.0 {
        Ok(subscription) => {
            let newest = ctx.pace.newest(subscription);
            Ok(reconcile(ctx, scope, newest).await?)
        }
        Err(invalid) => {
            ctx.cluster
                .report_invalid::<Subscription>(&invalid.metadata, &invalid.error)
                .await?;
            Ok((Rest::Paused, Duration::from_secs(600)))
        }
    }
}

/// A conflict means the cache is behind: the next pass begins with the object as it is.
async fn on_error(object: &Guarded<Subscription>, ctx: &Context, error: &PassError) {
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
        PassError::Kube(KubeError::Gone) => tracing::debug!("the object is gone"),
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

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
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
