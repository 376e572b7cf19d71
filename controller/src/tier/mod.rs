//! TierConfigurations: what the vendor and the resellers above a customer agreed on.
//!
//! Most vendors hear of a reseller with each order: there a TierConfiguration is Active once its
//! parameters keep their product's rules. Where a reseller has a tenant of its own
//! (`dialect.tierTenants`), that tenant is a Subscription like any other, which the TierConfiguration
//! owns: what makes it exactly once, watches it and deletes it is what does so for every tenant.
//!
//! The law is the Subscriptions': observe, decide (pure), act, write status.

mod carried;
mod child;
mod decide;
mod news;
mod observe;
mod standing;
#[cfg(test)]
mod tests;
mod users;

use std::{sync::Arc, time::Duration};

use fulfillment_crds::{TierConfiguration, TierConfigurationStatus, finalizers};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    controller::{Context, Scope},
    inputs::not_ready,
    kubernetes::{self, Cluster, KubeError},
    object::Invalid,
    passes,
    queues::Queued,
};
pub use carried::{Carried, carried, fits, fits_above};
pub use child::{made_for, name as child_name, tier_of};
use decide::{Child, Step, decide};
pub use news::{News, news};
use observe::{Seen, ask, observe};
pub use users::{is_below, names, still_used};

/// How often one is looked at anyway.
const IDLE: Duration = Duration::from_secs(600);
/// How often one that waits for something is looked at anyway.
const WAITING: Duration = Duration::from_secs(30);

/// Runs passes over TierConfigurations until the operator stops.
pub async fn passes(ctx: &Arc<Context>, scope: &Arc<Scope>, receiver: Queued<TierConfiguration>) {
    let (ctx_of_pass, caches) = (Arc::clone(ctx), Arc::clone(scope));
    passes::run(ctx, scope.tiers.clone(), receiver, move |object| {
        let (ctx, scope) = (Arc::clone(&ctx_of_pass), Arc::clone(&caches));
        async move {
            match &object.0 {
                Ok(tier) => pass(&ctx, &scope, tier).await,
                Err(Invalid { metadata, error }) => {
                    let cluster = &ctx.cluster;
                    cluster
                        .report_invalid::<TierConfiguration>(metadata, error)
                        .await?;
                    Ok(IDLE)
                }
            }
        }
    })
    .await;
}

/// One pass. Says when to come back.
async fn pass(
    ctx: &Context,
    scope: &Scope,
    tier: &Arc<TierConfiguration>,
) -> Result<Duration, KubeError> {
    let mut seen = observe(ctx, scope, tier).await?;
    let mut decision = decide(&seen.facts);
    let parts = matches!(decision.step, Step::Prepare | Step::Remove | Step::Release);
    if parts && seen.facts.deleting {
        ask(ctx, tier, &mut seen).await?;
        decision = decide(&seen.facts);
    }
    match decision.step {
        Step::Rest => {}
        Step::Gone => return Ok(IDLE),
        Step::Finalize => {
            // The event of this write brings the next pass.
            let cluster = &ctx.cluster;
            cluster
                .set_finalizer(&**tier, finalizers::IN_USE, true)
                .await?;
            return Ok(WAITING);
        }
        Step::Release => {
            let cluster = &ctx.cluster;
            cluster
                .set_finalizer(&**tier, finalizers::IN_USE, false)
                .await?;
            return Ok(IDLE);
        }
        Step::Apply => {
            if let Err(error) = apply(ctx, scope, tier, &mut seen).await {
                refused(&mut seen, error)?;
            }
            decision = decide(&seen.facts);
        }
        Step::Prepare => {
            if let Some(child) = &seen.child {
                child::prepare(ctx, child, &seen.wanted).await?;
            }
        }
        Step::Remove => {
            if let Some(child) = &seen.child {
                child::remove(ctx, child).await?;
            }
        }
    }
    let before = tier.status.clone().unwrap_or_default();
    if decision.status != before {
        write(&ctx.cluster, tier, &decision.status).await?;
        if let Some(note) = decision.note {
            tracing::info!(reason = %note.reason, note = note.note, "a tier's request was decided");
            ctx.events.publish(&**tier, note);
        }
    }
    Ok(if decision.settled { IDLE } else { WAITING })
}

/// Makes the Subscription for its own tenant as it should be.
async fn apply(
    ctx: &Context,
    scope: &Scope,
    tier: &TierConfiguration,
    seen: &mut Seen,
) -> Result<(), KubeError> {
    if seen.child.is_none() && seen.blind {
        let namespace = tier.namespace().unwrap_or_default();
        // Who stands under it stands under a tenant that it had.
        let user = users::standing(ctx, scope, &namespace, &tier.name_any()).await?;
        if user.is_some() {
            child::hold(&mut seen.wanted);
        }
    }
    let wanted = &seen.wanted;
    let done = child::apply(ctx, seen.child.as_deref(), wanted).await;
    if !matches!(done, Err(KubeError::Conflict)) || seen.child.is_some() {
        return done;
    }
    // One of its name is there: our own that the cache does not know yet or has lost from sight, or
    // somebody else's.
    let (namespace, name) = (tier.namespace().unwrap_or_default(), wanted.name_any());
    match ctx.cluster.subscription(&namespace, &name).await? {
        None => done,
        Some(own) if child::is_owned(&own, tier) => child::apply(ctx, Some(&own), wanted).await,
        Some(_) => {
            seen.facts.child = Child::Foreign(name);
            Ok(())
        }
    }
}

/// What it means that the Subscription for its own tenant could not be written.
fn refused(seen: &mut Seen, error: KubeError) -> Result<(), KubeError> {
    match error {
        KubeError::Conflict | KubeError::Gone => Err(error),
        KubeError::Forbidden(_) | KubeError::Failed(_) => {
            let name = seen.wanted.name_any();
            seen.facts.trouble = Some(not_ready(format!(
                "Subscription {name} for its own tenant cannot be written: {error}"
            )));
            Ok(())
        }
    }
}

/// Writes the status, by compare-and-swap.
async fn write(
    cluster: &Cluster,
    tier: &TierConfiguration,
    status: &TierConfigurationStatus,
) -> Result<(), KubeError> {
    let meta = &tier.metadata;
    let patch = kubernetes::json_patch(vec![
        json!({"op": "test", "path": "/metadata/uid", "value": meta.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}),
        json!({"op": "add", "path": "/status", "value": status}),
    ])?;
    let api = cluster.api::<TierConfiguration>(meta.namespace.as_deref().unwrap_or_default());
    let name = meta.name.as_deref().unwrap_or_default();
    cluster
        .bounded(api.patch_status(name, &kubernetes::params(), &patch))
        .await?;
    Ok(())
}
