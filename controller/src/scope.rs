//! The caches: what the watches have seen, by name.

use std::sync::Arc;

use fulfillment_crds::{
    ClusterVendorConnection, Subscription, TierConfiguration, VendorConnection,
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    ResourceExt,
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    kinds::{Connection, ConnectionKey},
    object::{Decode, Guarded},
};

/// The caches of one watched namespace, or of all.
#[derive(Debug)]
pub struct Scope {
    /// The namespace; `None` where all are watched.
    pub namespace: Option<String>,
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
    /// Whether this namespace is watched here.
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

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

    /// Whether a connection that cannot be decoded may name Secrets of this namespace.
    pub fn has_unreadable_connection(&self, namespace: &str) -> bool {
        let cluster = self.cluster_connections.iter().flat_map(Store::state);
        let mut cluster = cluster.filter(|found| found.0.is_err());
        let namespaced = self.connections.state();
        let mut namespaced = namespaced.iter().filter(|found| found.0.is_err());
        namespaced.any(|found| found.namespace().as_deref() == Some(namespace))
            || (namespace == self.cluster_resource_namespace && cluster.next().is_some())
    }

    /// Where a connection's Secrets are.
    pub fn secrets_of<'k>(&'k self, key: &'k ConnectionKey) -> &'k str {
        key.namespace
            .as_deref()
            .unwrap_or(&self.cluster_resource_namespace)
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

    /// Whether the cache does not have this very Subscription any more.
    pub fn is_gone(&self, object: &Guarded<Subscription>) -> bool {
        let cached = self.subscriptions.get(&ObjectRef::from_obj(object));
        cached.is_none_or(|cached| cached.uid() != object.uid())
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
