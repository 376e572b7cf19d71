//! What passes share, over an API server that is a router, for unit tests of what is between pure and whole.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use fulfillment_crds::{Subscription, TierConfiguration, VendorConnection};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    core::PartialObjectMeta,
    runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{
    controller::{Context, Scope, Settings},
    events::Events,
    identity::InstallationKey,
    kubernetes::tests::served_by,
    lease::Leadership,
    link::Links,
    metrics::Metrics,
    object::{Decode, Guarded},
    vendor::guard::AddressPolicy,
};

/// Where the operator is.
pub(crate) const OWN: &str = "operator";

/// A context, its one scope, and the caches of that to be filled.
pub(crate) struct World {
    pub(crate) ctx: Context,
    pub(crate) scope: Arc<Scope>,
    pub(crate) subscriptions: Writer<Guarded<Subscription>>,
    pub(crate) tiers: Writer<Guarded<TierConfiguration>>,
    pub(crate) connections: Writer<Guarded<VendorConnection>>,
    pub(crate) secrets: Writer<PartialObjectMeta<Secret>>,
    _stop: watch::Sender<bool>,
}

/// An operator that watches one namespace, with these labels.
pub(crate) fn world(server: Router, namespace: &str, labels: Option<&str>) -> World {
    let (subscriptions, subscription_writer) = reflector::store();
    let (tiers, tier_writer) = reflector::store();
    let (connections, connection_writer) = reflector::store();
    let (secrets, secret_writer) = reflector::store();
    let scope = Arc::new(Scope {
        namespace: Some(namespace.into()),
        subscriptions,
        tiers,
        connections,
        cluster_connections: None,
        cluster_resource_namespace: OWN.into(),
        secrets,
        config_maps: reflector::store().0,
    });
    let cluster = served_by(server);
    let metrics = Arc::<Metrics>::default();
    let (stop, stopping) = watch::channel(false);
    let ctx = Context {
        events: Events::start(cluster.clone(), "test".into()).0,
        cluster,
        key: InstallationKey::new(vec![7; 32]).unwrap(),
        links: Links::new(mpsc::unbounded_channel().0),
        pace: Arc::default(),
        claims: Arc::default(),
        watched: Arc::new(Mutex::new(vec![Arc::clone(&scope)])),
        gate: Leadership::unelected(&metrics).gate(),
        metrics,
        settings: settings(labels),
        concurrent: Arc::new(Semaphore::new(1)),
        stopping,
    };
    World {
        ctx,
        scope,
        subscriptions: subscription_writer,
        tiers: tier_writer,
        connections: connection_writer,
        secrets: secret_writer,
        _stop: stop,
    }
}

fn settings(labels: Option<&str>) -> Settings {
    Settings {
        settle: Duration::from_secs(220),
        request_deadline: Duration::from_secs(60),
        missing_grace: Duration::ZERO,
        tombstone_retention: Duration::from_secs(86_400),
        sweep: Duration::from_secs(600),
        own_namespace: OWN.into(),
        cluster_resource_namespace: OWN.into(),
        jitter: 0,
        addresses: AddressPolicy::default(),
        callback_url: None,
        label_selector: labels.map(str::to_owned),
    }
}

/// An object as the API server sends it.
pub(crate) fn decoded<K: Decode>(object: &Value) -> Guarded<K> {
    serde_json::from_str(&object.to_string()).unwrap()
}

/// Puts an object into a cache.
pub(crate) fn cache<K: Decode + 'static>(cache: &mut Writer<Guarded<K>>, object: &Value) {
    cache.apply_watcher_event(&Event::Apply(decoded(object)));
}

/// A team with one connection, whose product is this one.
pub(crate) fn team(mode: &str, product: &Value) -> World {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme-token", "namespace": "team"},
        "data": {"token": "c2VjcmV0"},
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Router::new().fallback(move || std::future::ready(secret.to_string()));
    let mut world = world(server, "team", None);
    let acme = json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "VendorConnection",
        "metadata": {"name": "acme", "namespace": "team", "uid": "acme", "resourceVersion": "1"},
        "spec": {
            "url": "https://acme.example", "identity": {"mode": mode},
            "auth": {"bearer": {"secretRef": {"name": "acme-token", "key": "token"}}},
            "products": [product],
        },
    });
    cache(&mut world.connections, &acme);
    world
}
