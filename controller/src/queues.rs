//! Where the names to look at are queued, by kind.

use fulfillment_crds::{
    ClusterVendorConnection, Subscription, TierConfiguration, VendorConnection,
};
use kube::runtime::{controller::ReconcileRequest, reflector::ObjectRef};
use tokio::sync::mpsc;

use crate::{kinds::ConnectionKey, object::Guarded};

/// A queue of names to look at.
pub type Queue<K> = mpsc::UnboundedSender<ReconcileRequest<Guarded<K>>>;

/// Its other end.
pub type Queued<K> = mpsc::UnboundedReceiver<ReconcileRequest<Guarded<K>>>;

/// All queues.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Of Subscriptions.
    pub subscriptions: Queue<Subscription>,
    /// Of TierConfigurations.
    pub tiers: Queue<TierConfiguration>,
    /// Of VendorConnections.
    pub connections: Queue<VendorConnection>,
    /// Of ClusterVendorConnections.
    pub cluster_connections: Queue<ClusterVendorConnection>,
}

/// Their other ends.
#[derive(Debug)]
pub struct AllQueued {
    /// Of Subscriptions.
    pub subscriptions: Queued<Subscription>,
    /// Of TierConfigurations.
    pub tiers: Queued<TierConfiguration>,
    /// Of VendorConnections.
    pub connections: Queued<VendorConnection>,
    /// Of ClusterVendorConnections.
    pub cluster_connections: Queued<ClusterVendorConnection>,
}

impl Queues {
    /// Empty queues, and their other ends.
    pub fn new() -> (Self, AllQueued) {
        let (subscriptions, subscriptions_queued) = mpsc::unbounded_channel();
        let (tiers, tiers_queued) = mpsc::unbounded_channel();
        let (connections, connections_queued) = mpsc::unbounded_channel();
        let (cluster_connections, cluster_connections_queued) = mpsc::unbounded_channel();
        (
            Self {
                subscriptions,
                tiers,
                connections,
                cluster_connections,
            },
            AllQueued {
                subscriptions: subscriptions_queued,
                tiers: tiers_queued,
                connections: connections_queued,
                cluster_connections: cluster_connections_queued,
            },
        )
    }

    /// A connection is to be looked at.
    pub fn connection(&self, key: &ConnectionKey) {
        // Nobody listens any more only where the operator stops, or where there can be none.
        match &key.namespace {
            Some(namespace) => {
                let reference = ObjectRef::new(&key.name).within(namespace);
                let _ = self.connections.send(reference.into());
            }
            None => {
                let reference = ObjectRef::new(&key.name);
                let _ = self.cluster_connections.send(reference.into());
            }
        }
    }
}
