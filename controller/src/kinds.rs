//! Both kinds of connection as one. They differ in where they and their Secrets are, and in who may
//! use them; everything else is the same for both.

use std::{fmt, sync::Arc};

use fulfillment_crds::{
    ClusterVendorConnection, ConnectionKind, ConnectionRef, Subscription, VendorConnection,
    VendorConnectionSpec, VendorConnectionStatus, finalizers,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::kubernetes::{Cluster, FIELD_MANAGER, KubeError};

/// Which connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The namespace of a VendorConnection; a ClusterVendorConnection has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ConnectionKey {
    /// The key of a connection that is there.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// What a reference in this namespace names.
    pub fn named(reference: &ConnectionRef, namespace: &str) -> Self {
        Self {
            namespace: match reference.kind {
                ConnectionKind::VendorConnection => Some(namespace.to_owned()),
                ConnectionKind::ClusterVendorConnection => None,
            },
            name: reference.name.clone(),
        }
    }

    /// The connection a Subscription names.
    pub fn named_by(subscription: &Subscription) -> Self {
        let namespace = subscription.metadata.namespace.as_deref();
        Self::named(
            &subscription.spec.connection_ref,
            namespace.unwrap_or_default(),
        )
    }

    /// Whether a Subscription names this connection.
    pub fn is_named_by(&self, subscription: &Subscription) -> bool {
        let reference = &subscription.spec.connection_ref;
        reference.kind == self.kind()
            && reference.name == self.name
            && self.covers(subscription.metadata.namespace.as_deref())
    }

    /// Whether an object in this namespace could name this connection at all.
    pub fn covers(&self, namespace: Option<&str>) -> bool {
        self.namespace.is_none() || self.namespace.as_deref() == namespace
    }

    /// Its kind.
    pub fn kind(&self) -> ConnectionKind {
        match self.namespace {
            Some(_) => ConnectionKind::VendorConnection,
            None => ConnectionKind::ClusterVendorConnection,
        }
    }

    /// What it is called in metrics: a name, or one that no VendorConnection can have.
    pub fn label(&self) -> String {
        match self.namespace {
            Some(_) => self.name.clone(),
            None => format!("clustervendorconnection/{}", self.name),
        }
    }

    /// The arguments by which kubectl finds it.
    pub fn for_kubectl(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("vendorconnection -n {namespace} {}", self.name),
            None => format!("clustervendorconnection {}", self.name),
        }
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().as_str(), self.name)
    }
}

/// A connection of either kind.
#[derive(Clone, Debug)]
pub enum Connection {
    /// For the Subscriptions of its own namespace.
    Namespaced(Arc<VendorConnection>),
    /// For the Subscriptions of the namespaces it allows.
    Cluster(Arc<ClusterVendorConnection>),
}

impl From<Arc<VendorConnection>> for Connection {
    fn from(connection: Arc<VendorConnection>) -> Self {
        Self::Namespaced(connection)
    }
}

impl From<Arc<ClusterVendorConnection>> for Connection {
    fn from(connection: Arc<ClusterVendorConnection>) -> Self {
        Self::Cluster(connection)
    }
}

impl Connection {
    /// Its metadata.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Namespaced(connection) => &connection.metadata,
            Self::Cluster(connection) => &connection.metadata,
        }
    }

    /// Its key.
    pub fn key(&self) -> ConnectionKey {
        ConnectionKey::of(self.meta())
    }

    /// How to reach the vendor, and what it can be relied on for.
    pub fn spec(&self) -> &VendorConnectionSpec {
        match self {
            Self::Namespaced(connection) => &connection.spec,
            Self::Cluster(connection) => &connection.spec.connection,
        }
    }

    /// Its status, where it has one.
    pub fn status(&self) -> Option<&VendorConnectionStatus> {
        match self {
            Self::Namespaced(connection) => connection.status.as_ref(),
            Self::Cluster(connection) => connection.status.as_ref(),
        }
    }

    /// Whether it is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether Subscriptions in this namespace may use it.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Namespaced(connection) => {
                connection.metadata.namespace.as_deref() == Some(namespace)
            }
            Self::Cluster(connection) => connection.spec.allows(namespace),
        }
    }
}

impl Cluster {
    fn cluster_connections(&self) -> Api<ClusterVendorConnection> {
        Api::all(self.client())
    }

    /// A connection as it is now, or `None`.
    ///
    /// # Errors
    ///
    /// Everything but 404.
    pub async fn connection(&self, key: &ConnectionKey) -> Result<Option<Connection>, KubeError> {
        Ok(match &key.namespace {
            Some(namespace) => {
                let found: Option<VendorConnection> = self.get(namespace, &key.name).await?;
                found.map(|connection| Arc::new(connection).into())
            }
            None => {
                let found = self
                    .get_from(&self.cluster_connections(), &key.name)
                    .await?;
                found.map(|connection| Arc::new(connection).into())
            }
        })
    }

    /// Puts the finalizer on a connection, or drops it, by compare-and-swap.
    ///
    /// # Errors
    ///
    /// [`KubeError::Conflict`] where the connection has changed in any way.
    pub async fn hold_connection(
        &self,
        connection: &Connection,
        held: bool,
    ) -> Result<(), KubeError> {
        match connection {
            Connection::Namespaced(connection) => {
                self.set_finalizer(&**connection, finalizers::IN_USE, held)
                    .await
            }
            Connection::Cluster(connection) => {
                let api = self.cluster_connections();
                self.set_finalizer_in(&api, &**connection, finalizers::IN_USE, held)
                    .await
            }
        }
    }

    /// Writes the status of a connection, by compare-and-swap.
    ///
    /// # Errors
    ///
    /// [`KubeError::Conflict`] where the connection has changed in any way.
    pub async fn write_connection_status(
        &self,
        connection: &Connection,
        status: &VendorConnectionStatus,
    ) -> Result<(), KubeError> {
        let meta = connection.meta();
        let name = meta.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(json!({
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": status,
        }));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match connection {
            Connection::Namespaced(_) => {
                let namespace = meta.namespace.as_deref().unwrap_or_default();
                let api = self.api::<VendorConnection>(namespace);
                self.bounded(api.patch_status(name, &params, &patch))
                    .await?;
            }
            Connection::Cluster(_) => {
                let api = self.cluster_connections();
                self.bounded(api.patch_status(name, &params, &patch))
                    .await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(namespace: &str, reference: &serde_json::Value) -> Subscription {
        serde_json::from_value(json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1",
            "kind": "Subscription",
            "metadata": {"name": "mail", "namespace": namespace},
            "spec": {"connectionRef": reference, "product": "mail-pro"},
        }))
        .unwrap()
    }

    #[test]
    fn a_reference_names_one_kind_in_one_place() {
        let own = subscription("team-a", &json!({"name": "acme"}));
        let shared = json!({"kind": "ClusterVendorConnection", "name": "acme"});
        let shared = subscription("team-a", &shared);
        let (near, far) = (
            ConnectionKey::named_by(&own),
            ConnectionKey::named_by(&shared),
        );
        assert_eq!(near.namespace.as_deref(), Some("team-a"));
        assert_eq!(far.namespace, None);
        assert_eq!(near.to_string(), "VendorConnection acme");
        assert_eq!(far.to_string(), "ClusterVendorConnection acme");
        assert!(near.is_named_by(&own) && far.is_named_by(&shared));
        assert!(!near.is_named_by(&shared) && !far.is_named_by(&own));
        let elsewhere = subscription("team-b", &json!({"name": "acme"}));
        assert!(!near.is_named_by(&elsewhere), "another namespace's acme");
        assert!(far.is_named_by(&subscription(
            "team-b",
            &json!({"kind": "ClusterVendorConnection", "name": "acme"}),
        )));
        assert_ne!(near.label(), far.label());
    }

    #[test]
    fn who_may_use_it() {
        let meta = |namespace: Option<&str>| json!({"name": "acme", "namespace": namespace});
        let object = |kind: &str, namespace, spec| {
            json!({
                "apiVersion": "fulfillment-operator.io/v1alpha1",
                "kind": kind,
                "metadata": meta(namespace),
                "spec": spec,
            })
        };
        let near = object(
            "VendorConnection",
            Some("team-a"),
            json!({"url": "https://acme.example"}),
        );
        let near: VendorConnection = serde_json::from_value(near).unwrap();
        let near = Connection::from(Arc::new(near));
        assert!(near.allows("team-a") && !near.allows("team-b"));
        let far = object(
            "ClusterVendorConnection",
            None,
            json!({"url": "https://acme.example", "allowedNamespaces": ["team-b"]}),
        );
        let far: ClusterVendorConnection = serde_json::from_value(far).unwrap();
        let far = Connection::from(Arc::new(far));
        assert!(far.allows("team-b") && !far.allows("team-a"));
        assert_eq!(far.spec().url, near.spec().url);
    }
}
