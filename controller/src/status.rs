//! Stores what a pass found out. (client required)

use std::{sync::Arc, time::Duration};

use fulfillment_crds::{Reason, Subscription, SubscriptionStatus};
use tokio::time::{Instant, sleep};

use crate::{
    controller::Context,
    events::Note,
    kubernetes::{Guard, KubeError},
    pace,
};

/// How long a result that can be found out again is tried to be stored.
const REPEATABLE: Duration = Duration::from_secs(60);
/// The longest wait between two tries to store.
pub const WAIT_MOST: Duration = Duration::from_secs(5);
/// A wait after which it is told that storing fails: shorter, it is a hiccup.
pub const WAIT_TOLD: Duration = Duration::from_secs(1);

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
    let mut told = false;
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
        let error = match error {
            KubeError::Conflict if weight != Weight::View => match live(ctx, object).await {
                Ok(now) if now.status.as_ref() == Some(status) => {
                    // It is our own: only the answer to an earlier try was lost.
                    ctx.pace
                        .wrote(&uid, Arc::clone(&now), differs(object, &now));
                    return Ok(now);
                }
                Ok(now) if !guard.holds(&now) => {
                    tracing::warn!(
                        ?guard,
                        tenant = status.tenant_id,
                        "an answer was not recorded: somebody else has moved on"
                    );
                    // What we did at the vendor may have undone what they did: both are looked at.
                    ctx.pace.read_soon(&uid);
                    return Err(KubeError::Conflict);
                }
                // A user's edit came in between: the same once more.
                Ok(_) => None,
                // Whose record stands cannot be seen yet.
                Err(why) => Some(why),
            },
            error @ (KubeError::Conflict
            | KubeError::Gone
            | KubeError::Forbidden(_)
            | KubeError::Failed(_)) => Some(error),
        };
        if let Some(error) = error {
            if !lasting || matches!(error, KubeError::Conflict | KubeError::Gone) {
                return Err(error);
            }
            tracing::warn!(%error, tenant = status.tenant_id, "an answer could not be recorded yet");
            if wait >= WAIT_TOLD && !std::mem::replace(&mut told, true) {
                ctx.events.publish(object, unrecorded(status, &error));
            }
        }
        sleep(wait.mul_f64(0.5 + pace::random())).await;
        wait = (wait * 2).min(WAIT_MOST);
    }
}

/// Told of a vendor's answer that waits to be recorded: no status can say so.
fn unrecorded(status: &SubscriptionStatus, error: &KubeError) -> Note {
    let tenant = status.tenant_id.as_deref().unwrap_or("(none)");
    Note {
        reason: Reason::DependencyNotReady,
        action: "WriteStatus".into(),
        note: format!(
            "what the vendor answered cannot be recorded in status, and is kept until it can: tenant {tenant}: {error}"
        ),
        warning: true,
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
