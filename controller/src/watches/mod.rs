//! Watches: they fill the caches and say whose turn it is. Secrets and ConfigMaps are watched
//! without their contents.

mod standing;
mod tell;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};
use tokio::task::JoinSet;

use crate::{
    controller::{Context, Readiness, Scope},
    kubernetes::WATCH_SECONDS,
    queues::Queues,
};
use standing::Standing;
use tell::Tell;

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
        namespace: namespace.map(str::to_owned),
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
    let place = place(namespace);
    let mut watches = Watches::new(readiness);

    let (on, all) = (tell.clone(), Arc::clone(ctx));
    watches.start(
        format!("Subscriptions in {place}"),
        watcher::watcher(api(ctx, namespace), selected.clone()),
        subscription_writer,
        FirstList::Told,
        move |event, before| on.subscription(&all, event, before),
    );

    let on = tell.clone();
    watches.start(
        format!("TierConfigurations in {place}"),
        watcher::watcher(api(ctx, namespace), selected),
        tier_writer,
        FirstList::Told,
        move |event, before| on.tier(event, before),
    );

    let (on, all) = (tell.clone(), Arc::clone(ctx));
    watches.start(
        format!("VendorConnections in {place}"),
        watcher::watcher(api(ctx, namespace), config.clone()),
        connection_writer,
        FirstList::Told,
        move |event, before| on.connection(&all, event, before),
    );

    if let Some((_, writer)) = cluster_connections {
        let (on, all) = (tell.clone(), Arc::clone(ctx));
        watches.start(
            "ClusterVendorConnections".to_owned(),
            watcher::watcher(Api::all(ctx.cluster.client()), config.clone()),
            writer,
            FirstList::Told,
            move |event, before| on.connection(&all, event, before),
        );
    }

    let on = tell.clone();
    watches.start(
        format!("Secrets in {place}"),
        watcher::watcher(api(ctx, namespace), config.clone()).modify(without_words),
        secret_writer,
        FirstList::Quiet,
        move |event, _| {
            if let Some(secret) = object(event) {
                on.secret(secret);
            }
        },
    );

    watches.start(
        format!("ConfigMaps in {place}"),
        watcher::watcher(api(ctx, namespace), config).modify(without_words),
        config_map_writer,
        FirstList::Quiet,
        move |event, _| {
            if let Some(map) = object(event) {
                tell.config_map(map);
            }
        },
    );
    (scope, watches.tasks)
}

/// One namespace, or all of them.
pub(crate) fn place(namespace: Option<&str>) -> &str {
    namespace.unwrap_or("all namespaces")
}

/// Takes off what may repeat an object's contents, as kubectl's last-applied-configuration does; nobody
/// here reads it.
fn without_words<K: ResourceExt>(object: &mut K) {
    object.annotations_mut().clear();
    object.labels_mut().clear();
}

/// Whether what the first list shows is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstList {
    /// It is.
    Told,
    /// It is there before anybody's first turn.
    Quiet,
}

/// The watches that were started.
struct Watches<'a> {
    readiness: &'a Arc<Readiness>,
    tasks: JoinSet<()>,
}

impl<'a> Watches<'a> {
    fn new(readiness: &'a Arc<Readiness>) -> Self {
        let tasks = JoinSet::new();
        Self { readiness, tasks }
    }

    /// Follows one more for ever.
    fn start<K>(
        &mut self,
        what: String,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        writer: Writer<K>,
        first: FirstList,
        tell: impl Fn(&Event<K>, Option<&K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let readiness = Arc::clone(self.readiness);
        let follow = follow(stream, writer, what, readiness, first, tell);
        self.tasks.spawn(follow);
    }
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

fn api<K>(ctx: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(ctx.cluster.client(), namespace),
        None => Api::all(ctx.cluster.client()),
    }
}

/// Follows one watch for ever: updates the cache, then tells what changed against it.
async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    mut writer: Writer<K>,
    what: String,
    readiness: Arc<Readiness>,
    first: FirstList,
    tell: impl Fn(&Event<K>, Option<&K>),
) where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
{
    let mut standing = Standing::new(what, readiness);
    let mut stream = std::pin::pin!(
        stream
            .default_backoff()
            // Nobody here asks who wrote which field, and it is most of an object's size.
            .modify(|object| object.managed_fields_mut().clear())
    );
    let store = writer.as_reader();
    let mut initial = Vec::new();
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = standing.calm() => {
                standing.goes_on();
                continue;
            }
        };
        let Some(event) = event else { return };
        match event {
            Ok(event) => {
                // The cache first: whoever is told looks there.
                let before = object(&event).and_then(|o| store.get(&ObjectRef::from_obj(o)));
                let replaced = match &event {
                    Event::InitDone => store.state(),
                    Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {
                        Vec::new()
                    }
                };
                writer.apply_watcher_event(&event);
                match event {
                    Event::Init => initial.clear(),
                    // A list reaches the cache as a whole, at its end.
                    Event::InitApply(_) => initial.push((event, before)),
                    Event::InitDone => {
                        let quiet = standing.listed() && first == FirstList::Quiet;
                        // Deleted while nobody watched: their own events never come.
                        for gone in replaced.iter().filter(|o| !is_there(&store, o)) {
                            tell(&Event::Delete(K::clone(gone)), Some(gone));
                        }
                        for (event, before) in initial.drain(..) {
                            if !quiet && is_news(&event, before.as_deref()) {
                                tell(&event, before.as_deref());
                            }
                        }
                    }
                    Event::Apply(_) | Event::Delete(_) => {
                        standing.goes_on();
                        tell(&event, before.as_deref());
                    }
                }
            }
            Err(error) => standing.failed(&error),
        }
    }
}

/// Whether the cache has this very object still, and not another one of its name.
fn is_there<K>(store: &Store<K>, object: &K) -> bool
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let now = store.get(&ObjectRef::from_obj(object));
    now.is_some_and(|now| now.uid() == object.uid())
}

/// Whether a list shows an object otherwise than the cache had it.
fn is_news<K: ResourceExt>(event: &Event<K>, before: Option<&K>) -> bool {
    let version = |object: &K| object.resource_version();
    before.map(version) != object(event).map(version)
}

/// The object an event speaks of.
fn object<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}
