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
                // A lost answer to our own write looks like this too, and so does a real loss.
                if !holds(ctx, object, guard).await? {
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

/// Whether the guard holds of the object as it is now.
async fn holds(ctx: &Context, object: &Subscription, guard: &Guard) -> Result<bool, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let Some(now) = ctx.cluster.subscription(namespace, name).await? else {
        return Err(KubeError::Gone);
    };
    if now.metadata.uid != object.metadata.uid {
        return Err(KubeError::Gone);
    }
    Ok(guard.holds(&now))
}
