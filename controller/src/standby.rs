//! What a replica does until it is its turn to act: it fills its caches and keeps them warm.

use std::{future::Future, pin::pin};

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    controller::{Context, Scope},
    kinds::ConnectionKey,
    queues::{AllQueued, Queues},
};

/// Waits for `filled` caches and for this replica's turn to act; `false` where either does not come any
/// more. Meanwhile what is queued is dropped, as a queue nobody takes from would grow for ever: at its
/// turn it has everything looked at that the caches know.
pub async fn stand_by(
    ctx: &Context,
    scope: &Scope,
    queues: &Queues,
    queued: &mut AllQueued,
    filled: impl Future<Output = bool>,
) -> bool {
    let mut stopping = ctx.stopping.clone();
    let mut gate = ctx.gate.clone();
    let mut turn = pin!(async { filled.await && gate.opened().await });
    loop {
        tokio::select! {
            biased;
            turn = &mut turn => {
                if !turn {
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
    // Those that cannot be decoded, too: somebody has to say so.
    for object in scope.connections.state() {
        queues.connection(&ConnectionKey::of(object.meta()));
    }
    for object in scope.cluster_connections.iter().flat_map(Store::state) {
        queues.connection(&ConnectionKey::of(object.meta()));
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
