//! Stores what a pass found out. (client required)

use std::{sync::Arc, time::Duration};

use fulfillment_crds::{Subscription, SubscriptionStatus};
use tokio::time::{Instant, sleep};

use crate::{
    controller::Context,
    kubernetes::{Guard, KubeError},
    pace,
};

/// How long a result that can be found out again is tried to be stored.
const REPEATABLE: Duration = Duration::from_secs(60);

/// How much a status matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It can be computed again.
    View,
    /// It holds a vendor's answer.
    Answer,
    /// It holds the answer to a create, which nobody may lose.
    Create,
}

/// Writes a status where its guard holds; an answer is repeated until it is stored, whatever the
/// user edits meanwhile.
///
/// # Errors
///
/// [`KubeError::Conflict`] where the guard does not hold: somebody else has moved on.
pub async fn store(
    ctx: &Context,
    object: &Subscription,
    status: &SubscriptionStatus,
    guard: &Guard,
    weight: Weight,
) -> Result<Arc<Subscription>, KubeError> {
    let began = Instant::now();
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let mut wait = Duration::from_millis(200);
    loop {
        let error = match ctx.cluster.write_status(object, status, guard).await {
            Ok(stored) => {
                ctx.pace
                    .wrote(&uid, Arc::clone(&stored), differs(object, &stored));
                return Ok(stored);
            }
            Err(error) => error,
        };
        let lasting = match weight {
            Weight::View => false,
            Weight::Answer => began.elapsed() < REPEATABLE,
            Weight::Create => true,
        };
        match error {
            KubeError::Gone => return Err(error),
            KubeError::Conflict if weight == Weight::View => return Err(error),
            KubeError::Conflict => {
                let now = match live(ctx, object).await {
                    Ok(now) => now,
                    Err(KubeError::Gone) => return Err(KubeError::Gone),
                    Err(why) if !lasting => return Err(why),
                    Err(why) => {
                        tracing::warn!(%why, tenant = status.tenant_id, "whose record stands cannot be seen yet");
                        sleep(wait).await;
                        continue;
                    }
                };
                if now.status.as_ref() == Some(status) {
                    // It is our own: only the answer to an earlier try was lost.
                    ctx.pace
                        .wrote(&uid, Arc::clone(&now), differs(object, &now));
                    return Ok(now);
                }
                if !guard.holds(&now) {
                    tracing::warn!(
                        ?guard,
                        tenant = status.tenant_id,
                        "an answer was not recorded: somebody else has moved on"
                    );
                    // What we did at the vendor may have undone what they did: both are looked at.
                    ctx.pace.read_soon(&uid);
                    return Err(KubeError::Conflict);
                }
            }
            KubeError::Forbidden(_) | KubeError::Failed(_) if !lasting => return Err(error),
            KubeError::Forbidden(_) | KubeError::Failed(_) => {
                tracing::warn!(%error, tenant = status.tenant_id, "an answer could not be recorded yet");
            }
        }
        sleep(wait.mul_f64(0.5 + pace::random())).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// Whether somebody changed the object between what the pass saw and what was stored.
fn differs(seen: &Subscription, stored: &Subscription) -> bool {
    let (seen, stored) = (&seen.metadata, &stored.metadata);
    seen.generation != stored.generation
        || seen.annotations != stored.annotations
        || seen.deletion_timestamp != stored.deletion_timestamp
}

/// The object as it is now.
///
/// # Errors
///
/// [`KubeError::Gone`] where it is not there any more, or another has its name.
pub async fn live(ctx: &Context, object: &Subscription) -> Result<Arc<Subscription>, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let now = ctx.cluster.subscription(namespace, name).await?;
    now.filter(|now| now.metadata.uid == object.metadata.uid)
        .ok_or(KubeError::Gone)
}
