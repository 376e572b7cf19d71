//! Watches: they fill the caches and say whose turn it is. Secrets and ConfigMaps are watched
//! without their contents.

use std::sync::Arc;

use fulfillment_crds::{
    ClusterVendorConnection, Parameter, Subscription, TierConfiguration, VendorConnection,
    annotations, finalizers,
};
use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
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
    credentials::secret_names,
    kinds::{Connection, ConnectionKey},
    object::{Decode, Guarded},
    queues::Queues,
    tier,
};

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
        move |event, _| {
            if let Some(tier) = object(event) {
                on.tier(tier);
            }
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

/// Follows one watch for ever: tells what changed against the cache, then updates the cache.
async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    mut writer: Writer<K>,
    what: String,
    readiness: Arc<Readiness>,
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
                        listed = true;
                        readiness.has(&what);
                        for (event, before) in initial.drain(..) {
                            tell(&event, before.as_deref());
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

/// Whose turn it is when something changes.
#[derive(Clone)]
struct Tell {
    scope: Arc<Scope>,
    queues: Queues,
}

impl Tell {
    fn subscription(
        &self,
        ctx: &Context,
        event: &Event<Guarded<Subscription>>,
        before: Option<&Guarded<Subscription>>,
    ) {
        let Some(object) = object(event) else {
            return;
        };
        let gone = matches!(event, Event::Delete(_));
        if gone {
            let uid = object.meta().uid.as_deref().unwrap_or_default();
            ctx.pace.forget(uid);
            ctx.claims.forget(uid);
            if let Ok(subscription) = &object.0 {
                let link = ctx.links.get(&ConnectionKey::named_by(subscription));
                link.deletes.forget(uid);
                link.vanished.forget(uid);
            }
            self.next_claim(object);
        }
        let counts =
            |s: &Guarded<Subscription>| s.finalizers().iter().any(|f| f == finalizers::TENANT);
        if gone || before.map(counts) != Some(counts(object)) {
            self.connection_of(object);
            self.tiers_above(object);
        }
        self.own_tier(object);
        let echo = object.0.as_ref().is_ok_and(|s| ctx.pace.is_echo(s));
        if !gone && !echo {
            let _ = self
                .queues
                .subscriptions
                .send(ObjectRef::from_obj(object).into());
        }
    }

    fn connection<K: Decode>(
        &self,
        ctx: &Context,
        event: &Event<Guarded<K>>,
        before: Option<&Guarded<K>>,
    ) {
        let Some(object) = object(event) else {
            return;
        };
        let key = ConnectionKey::of(object.meta());
        if matches!(event, Event::Delete(_)) {
            ctx.links.forget(&key);
        }
        self.queues.connection(&key);
        // Its own status and finalizers are no news to the Subscriptions.
        let same = before.is_some_and(|b| {
            let asked = |c: &Guarded<K>| c.annotations().get(annotations::REQUESTED_AT).cloned();
            b.meta().generation == object.meta().generation
                && b.uid() == object.uid()
                && asked(b) == asked(object)
        });
        if same && matches!(event, Event::Apply(_)) {
            return;
        }
        self.every_subscription(|s| key.is_named_by(s));
        self.every_tier(|t| names_connection(t, &key));
    }

    fn secret(&self, secret: &PartialObjectMeta<Secret>) {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let named: Vec<ConnectionKey> = self
            .scope
            .every_connection()
            .iter()
            .filter(|c| secret_names(c.spec()).contains(name.as_str()))
            .map(Connection::key)
            .filter(|key| self.scope.secrets_of(key) == namespace)
            .collect();
        for connection in &named {
            self.queues.connection(connection);
        }
        let here = |at: &ObjectMeta| at.namespace.as_deref() == Some(&namespace);
        self.every_subscription(|s| {
            let output = s.spec.output_secret_name.as_deref() == Some(&name);
            (here(&s.metadata) && (output || names_secret(&s.spec.parameters, &name)))
                || named.iter().any(|key| key.is_named_by(s))
        });
        self.every_tier(|t| {
            (here(&t.metadata) && names_secret(&t.spec.parameters, &name))
                || named.iter().any(|key| names_connection(t, key))
        });
    }

    fn config_map(&self, map: &PartialObjectMeta<ConfigMap>) {
        let name = map.name_any();
        let here = |at: &ObjectMeta| at.namespace == map.metadata.namespace;
        self.every_subscription(|s| {
            here(&s.metadata) && names_config_map(&s.spec.parameters, &name)
        });
        self.every_tier(|t| here(&t.metadata) && names_config_map(&t.spec.parameters, &name));
    }

    /// A tier has changed: its own turn, and that of all who are bought or set up under it.
    fn tier(&self, tier: &Guarded<TierConfiguration>) {
        let _ = self.queues.tiers.send(ObjectRef::from_obj(tier).into());
        let (namespace, name) = (tier.namespace(), tier.name_any());
        let within = namespace.clone().unwrap_or_default();
        let own = ObjectRef::new(&tier::child_name(&name)).within(&within);
        let _ = self.queues.subscriptions.send(own.into());
        let mut above = vec![name.clone()];
        self.every_tier(|t| {
            let below = t.metadata.namespace == namespace && tier::is_below(t, &name);
            if below {
                above.extend(t.metadata.name.clone());
            }
            below
        });
        self.every_subscription(|s| {
            s.metadata.namespace == namespace && above.iter().any(|name| tier::names(s, name))
        });
    }

    /// The Subscription for a tier's own tenant has changed.
    fn own_tier(&self, object: &Guarded<Subscription>) {
        let Some(owner) = object.0.as_ref().ok().and_then(|s| tier::owner(s)) else {
            return;
        };
        let namespace = object.namespace().unwrap_or_default();
        let reference = ObjectRef::new(&owner.name).within(&namespace);
        let _ = self.queues.tiers.send(reference.into());
    }

    /// What was kept because of a Subscription may go now: the tiers it names, and their own tenants.
    fn tiers_above(&self, object: &Guarded<Subscription>) {
        let Ok(subscription) = &object.0 else {
            return;
        };
        let namespace = object.namespace().unwrap_or_default();
        for (_, tier) in subscription.spec.tiers.levels() {
            let Some(reference) = &tier.tier_configuration_ref else {
                continue;
            };
            let above = ObjectRef::new(&reference.name).within(&namespace);
            let _ = self.queues.tiers.send(above.into());
            let own = ObjectRef::new(&tier::child_name(&reference.name)).within(&namespace);
            let _ = self.queues.subscriptions.send(own.into());
        }
    }

    /// A name is free again: who else claims it is told.
    fn next_claim(&self, gone: &Guarded<Subscription>) {
        let Some(id) = gone
            .0
            .as_ref()
            .ok()
            .and_then(|s| s.spec.external_id.as_ref())
        else {
            return;
        };
        self.every_subscription(|s| s.spec.external_id.as_ref() == Some(id));
    }

    fn every_tier(&self, mut wanted: impl FnMut(&TierConfiguration) -> bool) {
        for object in self.scope.tiers.state() {
            if object.0.as_ref().is_ok_and(|t| wanted(t)) {
                let _ = self.queues.tiers.send(ObjectRef::from_obj(&*object).into());
            }
        }
    }

    fn every_subscription(&self, wanted: impl Fn(&Subscription) -> bool) {
        for object in self.scope.subscriptions.state() {
            if object.0.as_ref().is_ok_and(|s| wanted(s)) {
                let _ = self
                    .queues
                    .subscriptions
                    .send(ObjectRef::from_obj(&*object).into());
            }
        }
    }

    fn connection_of(&self, object: &Guarded<Subscription>) {
        if let Ok(s) = &object.0 {
            self.queues.connection(&ConnectionKey::named_by(s));
        }
    }
}

fn names_connection(tier: &TierConfiguration, key: &ConnectionKey) -> bool {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    ConnectionKey::named(&tier.spec.connection_ref, namespace) == *key
}

fn names_secret(parameters: &[Parameter], name: &str) -> bool {
    let sources = parameters.iter().filter_map(|p| p.value_from.as_ref());
    let mut keys = sources.filter_map(|from| from.secret_key_ref.as_ref());
    keys.any(|key| key.name == name)
}

fn names_config_map(parameters: &[Parameter], name: &str) -> bool {
    let sources = parameters.iter().filter_map(|p| p.value_from.as_ref());
    let mut keys = sources.filter_map(|from| from.config_map_key_ref.as_ref());
    keys.any(|key| key.name == name)
}
