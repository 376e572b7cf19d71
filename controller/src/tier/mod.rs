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
mod observe;
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
    kubernetes::{self, Cluster, KubeError, bounded},
    object::Invalid,
    passes,
    queues::Queued,
};
pub use carried::{Carried, carried};
pub use child::{made_for, name as child_name, owner};
use decide::{Child, Step, decide};
use observe::{Seen, observe};
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
    if matches!(decision.step, Step::Remove | Step::Release) {
        // The cache may be behind, and some may be out of its sight.
        seen.facts.users = users::live(ctx, tier).await?;
        seen.facts.crd_terminating = ctx.cluster.tier_crd_is_terminating().await?;
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
            if let Err(error) = child::apply(ctx, tier, seen.child.as_deref(), &seen.wanted).await {
                refused(ctx, tier, &mut seen, error).await?;
                decision = decide(&seen.facts);
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

/// What it means that the Subscription for its own tenant could not be written.
async fn refused(
    ctx: &Context,
    tier: &TierConfiguration,
    seen: &mut Seen,
    mut error: KubeError,
) -> Result<(), KubeError> {
    let name = seen.wanted.name_any();
    if matches!(error, KubeError::Conflict) && seen.child.is_none() {
        // One of its name is there: our own that the cache does not know yet, or somebody else's.
        let namespace = tier.namespace().unwrap_or_default();
        match ctx.cluster.subscription(&namespace, &name).await {
            Ok(Some(found)) if !child::is_owned(&found, tier) => {
                seen.facts.child = Child::Foreign(name);
                return Ok(());
            }
            Ok(_) => {}
            Err(why) => error = why,
        }
    }
    match error {
        KubeError::Conflict | KubeError::Gone => Err(error),
        KubeError::Forbidden(_) | KubeError::Failed(_) => {
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
    bounded(api.patch_status(name, &kubernetes::params(), &patch)).await?;
    Ok(())
}
