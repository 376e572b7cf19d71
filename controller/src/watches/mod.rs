//! Watches: they fill the caches and say whose turn it is. Secrets and ConfigMaps are watched
//! without their contents.

mod tell;

use std::sync::Arc;

use fulfillment_crds::{
    ClusterVendorConnection, Subscription, TierConfiguration, VendorConnection,
};
use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, store::Writer},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::{
    controller::{Context, Readiness, Scope},
    object::Guarded,
    queues::Queues,
};
use tell::Tell;

/// How long a watch lasts; a dead one is noticed a few seconds later.
const WATCH_SECONDS: u32 = 60;

/// Starts the watches of one namespace, or of all.
pub fn start(
    ctx: &Arc<Context>,
    namespace: Option<&str>,
    readiness: &Arc<Readiness>,
    queues: &Queues,
) -> (Arc<Scope>, JoinSet<()>) {
    let (subscription_store, subscription_writer) = reflector::store();
    let (tier_store, tier_writer) = reflector::store();
    let (connection_store, connection_writer) = reflector::store();
    let cluster_connections = namespace.is_none().then(reflector::store);
    let (secret_store, secret_writer) = reflector::store();
    let (config_map_store, config_map_writer) = reflector::store();
    let scope = Arc::new(Scope {
        subscriptions: subscription_store,
        tiers: tier_store,
        connections: connection_store,
        cluster_connections: cluster_connections.as_ref().map(|(store, _)| store.clone()),
        cluster_resource_namespace: ctx.settings.cluster_resource_namespace.clone(),
        secrets: secret_store,
        config_maps: config_map_store,
    });
    let tell = Tell {
        scope: Arc::clone(&scope),
        queues: queues.clone(),
    };
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let selected = match &ctx.settings.label_selector {
        Some(labels) => config.clone().labels(labels),
        None => config.clone(),
    };
    let place = namespace.unwrap_or("all namespaces");
    let mut tasks = JoinSet::new();

    let stream = watcher::watcher(
        api::<Guarded<Subscription>>(ctx, namespace),
        selected.clone(),
    );
    let (on, pace) = (tell.clone(), Arc::clone(ctx));
    tasks.spawn(follow(
        stream,
        subscription_writer,
        label("Subscriptions", place),
        Arc::clone(readiness),
        false,
        move |event, before| {
            on.subscription(&pace, event, before);
        },
    ));

    let stream = watcher::watcher(api::<Guarded<TierConfiguration>>(ctx, namespace), selected);
    let on = tell.clone();
    tasks.spawn(follow(
        stream,
        tier_writer,
        label("TierConfigurations", place),
        Arc::clone(readiness),
        false,
        move |event, before| {
            on.tier(event, before);
        },
    ));

    let stream = watcher::watcher(
        api::<Guarded<VendorConnection>>(ctx, namespace),
        config.clone(),
    );
    let (on, links) = (tell.clone(), Arc::clone(ctx));
    tasks.spawn(follow(
        stream,
        connection_writer,
        label("VendorConnections", place),
        Arc::clone(readiness),
        false,
        move |event, before| {
            on.connection(&links, event, before);
        },
    ));

    if let Some((_, writer)) = cluster_connections {
        let api: Api<Guarded<ClusterVendorConnection>> = Api::all(ctx.cluster.client());
        let stream = watcher::watcher(api, config.clone());
        let (on, links) = (tell.clone(), Arc::clone(ctx));
        tasks.spawn(follow(
            stream,
            writer,
            "ClusterVendorConnections".to_owned(),
            Arc::clone(readiness),
            false,
            move |event, before| {
                on.connection(&links, event, before);
            },
        ));
    }

    let stream = watcher::watcher(
        api::<PartialObjectMeta<Secret>>(ctx, namespace),
        config.clone(),
    );
    let on = tell.clone();
    tasks.spawn(follow(
        stream,
        secret_writer,
        label("Secrets", place),
        Arc::clone(readiness),
        true,
        move |event, _| {
            if let Some(secret) = object(event) {
                on.secret(secret);
            }
        },
    ));

    let stream = watcher::watcher(api::<PartialObjectMeta<ConfigMap>>(ctx, namespace), config);
    let on = tell;
    tasks.spawn(follow(
        stream,
        config_map_writer,
        label("ConfigMaps", place),
        Arc::clone(readiness),
        true,
        move |event, _| {
            if let Some(map) = object(event) {
                on.config_map(map);
            }
        },
    ));
    (scope, tasks)
}

/// Waits until every cache has been filled once; `false` where that cannot come any more.
pub async fn ready(scope: &Scope) -> bool {
    let cluster_connections = async {
        match &scope.cluster_connections {
            Some(store) => store.wait_until_ready().await,
            None => Ok(()),
        }
    };
    tokio::try_join!(
        cluster_connections,
        scope.subscriptions.wait_until_ready(),
        scope.tiers.wait_until_ready(),
        scope.connections.wait_until_ready(),
        scope.secrets.wait_until_ready(),
        scope.config_maps.wait_until_ready(),
    )
    .is_ok()
}

fn label(what: &str, place: &str) -> String {
    format!("{what} in {place}")
}

fn api<K>(ctx: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(ctx.cluster.client(), namespace),
        None => Api::all(ctx.cluster.client()),
    }
}

/// Follows one watch for ever: updates the cache, then tells what changed against it. A `quiet` one tells
/// nothing of its first list: it is there before anybody's first turn.
async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    mut writer: Writer<K>,
    what: String,
    readiness: Arc<Readiness>,
    quiet: bool,
    tell: impl Fn(&Event<K>, Option<&K>),
) where
    K: Resource<DynamicType = ()> + ResourceExt + Clone + Send + 'static + DeserializeOwned,
{
    readiness.wait_for(&what, "not listed yet");
    let mut listed = false;
    let mut stream = std::pin::pin!(
        stream
            .default_backoff()
            // Nobody here asks who wrote which field, and it is most of an object's size.
            .modify(|object| object.managed_fields_mut().clear())
    );
    let store = writer.as_reader();
    let mut initial = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                // The cache first: whoever is told looks there.
                let before = object(&event).and_then(|o| store.get(&ObjectRef::from_obj(o)));
                writer.apply_watcher_event(&event);
                match event {
                    Event::Init => initial.clear(),
                    // A list reaches the cache as a whole, at its end.
                    Event::InitApply(_) => initial.push((event, before)),
                    Event::InitDone => {
                        let first = !std::mem::replace(&mut listed, true);
                        readiness.has(&what);
                        for (event, before) in initial.drain(..) {
                            if !(first && quiet) && is_news(&event, before.as_deref()) {
                                tell(&event, before.as_deref());
                            }
                        }
                    }
                    Event::Apply(_) | Event::Delete(_) => tell(&event, before.as_deref()),
                }
            }
            Err(error) => {
                let why = cause(&error);
                tracing::warn!(
                    watch = what,
                    error = why,
                    "a watch failed; it is begun again"
                );
                // Once listed, a cache stays usable while its watch is begun again.
                if !listed {
                    readiness.wait_for(&what, &why);
                }
            }
        }
    }
}

/// Whether a list shows an object otherwise than the cache had it.
fn is_news<K: ResourceExt>(event: &Event<K>, before: Option<&K>) -> bool {
    let version = |object: &K| object.resource_version();
    before.map(version) != object(event).map(version)
}

/// Why a watch failed, with the remedy where there is one.
fn cause(error: &watcher::Error) -> String {
    let (watcher::Error::InitialListFailed(kube) | watcher::Error::WatchStartFailed(kube)) = error
    else {
        return error.to_string();
    };
    let kube::Error::Api(status) = kube else {
        return error.to_string();
    };
    match status.code {
        404 => "the CustomResourceDefinition is not installed: install the chart fulfillment-operator-crds".into(),
        403 => format!("the operator's RBAC does not allow it: {}", status.message),
        _ => error.to_string(),
    }
}

/// The object an event speaks of.
fn object<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}
