//! What a replica does until it is its turn to act: nothing, with warm caches.

use std::pin::pin;

use kube::runtime::reflector::ObjectRef;

use crate::{
    controller::{Context, Scope},
    queues::{AllQueued, Queues},
};

/// Waits for this replica's turn to act; `false` where the operator stops before. Meanwhile what is
/// queued is dropped, as a queue nobody takes from would grow for ever: at its turn it has everything
/// looked at that the caches know.
pub async fn stand_by(
    ctx: &Context,
    scope: &Scope,
    queues: &Queues,
    queued: &mut AllQueued,
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
            _ = queued.subscriptions.recv() => {}
            _ = queued.tiers.recv() => {}
            _ = queued.connections.recv() => {}
            _ = queued.cluster_connections.recv() => {}
        }
    }
    for connection in scope.every_connection() {
        queues.connection(&connection.key());
    }
    for object in scope.tiers.state() {
        let _ = queues.tiers.send(ObjectRef::from_obj(&*object).into());
    }
    for object in scope.subscriptions.state() {
        let _ = queues
            .subscriptions
            .send(ObjectRef::from_obj(&*object).into());
    }
    true
}
