//! What a replica does until it is its turn to act: nothing, with warm caches.

use std::pin::pin;

use fulfillment_crds::{Subscription, VendorConnection};
use kube::runtime::{controller::ReconcileRequest, reflector::ObjectRef};
use tokio::sync::mpsc;

use crate::{
    controller::{Context, Queue, Scope},
    object::Guarded,
};

/// Both ends of a queue.
pub type Ends<'q, K> = (
    Queue<K>,
    &'q mut mpsc::UnboundedReceiver<ReconcileRequest<Guarded<K>>>,
);

/// Waits for this replica's turn to act; `false` where the operator stops before. Meanwhile what is
/// queued is dropped, as a queue nobody takes from would grow for ever: at its turn it has everything
/// looked at that the caches know.
pub async fn stand_by(
    ctx: &Context,
    scope: &Scope,
    (subscriptions, subscription_queue): Ends<'_, Subscription>,
    (connections, connection_queue): Ends<'_, VendorConnection>,
) -> bool {
    if ctx.gate.is_open() {
        return true;
    }
    let mut stopping = ctx.stopping.clone();
    let mut gate = ctx.gate.clone();
    let mut opened = pin!(gate.opened());
    loop {
        tokio::select! {
            biased;
            opened = &mut opened => {
                if !opened {
                    return false;
                }
                break;
            }
            _ = stopping.wait_for(|stop| *stop) => return false,
            _ = subscription_queue.recv() => {}
            _ = connection_queue.recv() => {}
        }
    }
    for object in scope.connections.state() {
        let _ = connections.send(ObjectRef::from_obj(&*object).into());
    }
    for object in scope.subscriptions.state() {
        let _ = subscriptions.send(ObjectRef::from_obj(&*object).into());
    }
    true
}
