//! What the clock says, as answers to the planner's questions.

use std::time::Duration;

use fulfillment_crds::Subscription;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::object::{called_back, fingerprint};
use crate::{
    controller::{Context, Scope},
    facts::{Clock, Facts},
    ledger,
    link::Usable,
    pace::{self, Intervals},
    plan,
};

pub(super) fn intervals(
    ctx: &Context,
    object: &Subscription,
    usable: Option<&Usable>,
    calls_back: bool,
) -> Intervals {
    let polling = usable
        .map(|usable| usable.connection.spec().polling.clone())
        .unwrap_or_default();
    let pending = polling.pending.into();
    let heard = usable
        .filter(|_| calls_back)
        .map(|usable| &usable.link.heard);
    Intervals {
        poll: heard.map_or(pending, |heard| heard.poll(pending)),
        drift: object.spec.interval.unwrap_or(polling.interval).into(),
        pending,
        settle: ctx.settings.settle,
        missing: ctx.settings.missing_grace,
        jitter: ctx.settings.jitter,
    }
}

/// The clock's answers, and whether something has changed since the last pass: see [`pace::Due`].
pub(super) fn clock(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
    uid: &str,
    facts: &Facts,
    usable: Option<&Usable>,
    intervals: &Intervals,
) -> (Clock, bool) {
    let now = pace::now();
    let pending = facts
        .ledger
        .request
        .as_ref()
        .filter(|r| ledger::awaiting_vendor(r));
    let deadline: Option<Duration> =
        usable.map(|usable| usable.connection.spec().timeouts.provisioning.into());
    let overdue_at = pending
        .and_then(|r| r.started_at.as_ref())
        .zip(deadline.and_then(|deadline| SignedDuration::try_from(deadline).ok()))
        .and_then(|(began, deadline)| began.0.checked_add(deadline).ok());
    let intent = plan::settles_from(facts);
    let output = object.spec.output_secret_name.as_deref();
    let kept = output.is_some_and(|name| {
        scope
            .secret(
                object.metadata.namespace.as_deref().unwrap_or_default(),
                name,
            )
            .is_some()
    });
    let lost = ctx.pace.output_lost(uid, kept);
    let newer = facts.ledger.observed_generation != Some(facts.object.generation);
    let owed = output.is_some() && !kept && facts.ledger.tenant_id.is_some() && (newer || lost);
    let due = ctx.pace.due(
        uid,
        &fingerprint(object, facts, usable),
        called_back(object),
        intent.as_ref(),
        pending.is_some(),
        intervals,
    );
    let clock = Clock {
        now,
        backing_off: due.backing_off,
        // Without a read there is nothing to fill a missing output Secret with.
        read_due: due.read || owed,
        settled: due.settled,
        repeatable: false,
        overdue: overdue_at.is_some_and(|at| at < now),
        overdue_at,
        grace_until: grace_until(object, now),
        mass_vanish: usable.is_some_and(|usable| usable.link.vanished.alarm()),
        paced_until: None,
        missing_confirmed: due.missing_confirmed,
    };
    (clock, due.fresh)
}

/// By how much the clock that wrote a status may be ahead of ours; what begins later than that tells
/// nothing of its age.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Whether the vendor still remembers the key of the create under way; half of what it promises
/// is left as a margin.
pub(super) fn remembered(facts: &Facts) -> bool {
    let began = facts
        .ledger
        .request
        .as_ref()
        .and_then(|r| r.started_at.as_ref());
    let half = SignedDuration::try_from(facts.rules.retention / 2).unwrap_or(SignedDuration::ZERO);
    began.is_some_and(|began| {
        let age = facts.clock.now.duration_since(began.0);
        age >= -AHEAD && age < half
    })
}

/// Until when a deleted object's tenant is only suspended; `None` when that is over.
fn grace_until(object: &Subscription, now: Timestamp) -> Option<Timestamp> {
    let deleted = object.metadata.deletion_timestamp.as_ref()?.0;
    let grace: Duration = object.spec.deletion_grace_period?.into();
    let until = deleted
        .checked_add(SignedDuration::try_from(grace).ok()?)
        .ok()?;
    (until > now).then_some(until)
}
