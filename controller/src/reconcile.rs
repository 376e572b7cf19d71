//! One pass over one Subscription: observe, plan, act, report, write status.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fulfillment_crds::{
    DeletionPolicy, IdentityMode, Request, RequestStatus, RequestType, Subscription,
    SubscriptionStatus,
};

use crate::{
    act::{act, needs_vendor},
    controller::{Context, Scope},
    facts::{Facts, Intent, Trouble},
    inputs,
    kubernetes::{Guard, KubeError},
    ledger,
    observe::{Seen, observe, output_trouble},
    outputs,
    pace::{self, End},
    plan::{Rest, Step, is_calm, plan, settles_from},
    report::{self, About, report},
    status::{Weight, store},
    tier,
    vendor::{Effect, budget::Line},
};

/// More steps than a pass has, but where a vendor shows many dead tenants of a name.
const STEPS: usize = 32;
/// How long the echo of an intent is waited for.
const ECHO: Duration = Duration::from_secs(2);
/// A wait for the budget after which the facts are gathered anew.
const STALE: Duration = Duration::from_millis(50);

/// One pass. Says how it ended and when to come back.
///
/// # Errors
///
/// Where the API server fails, or the object changed meanwhile: the pass is repeated.
pub async fn reconcile(
    ctx: &Context,
    scope: &Scope,
    object: Arc<Subscription>,
) -> Result<(Rest, Duration), KubeError> {
    // What is waited for again and again is boxed: thousands of passes wait for their turn at a vendor.
    let mut seen = Box::pin(observe(ctx, scope, object)).await?;
    let mut rest = match decide(ctx, scope, &mut seen).await {
        Ok(rest) => rest,
        Err(error) => refused(&mut seen.facts, inputs::refused(error)?),
    };
    learn(ctx, &seen);
    if let Some(trouble) = Box::pin(keep_outputs(ctx, &mut seen)).await? {
        seen.facts.trouble = Some(trouble);
        rest = Rest::Trouble;
    }
    ledger::rested(&mut seen.facts, rest);
    // The vendor was heard: what the API server takes its time for keeps no other from calling.
    seen.slot = None;
    Box::pin(write(ctx, &seen, rest)).await?;
    let intent = settles_from(&seen.facts);
    let end = end(&seen, rest, intent.as_ref());
    let wait = ctx.pace.rested(&uid(&seen.object), &end, &seen.intervals);
    Ok((rest, wait))
}

/// Plans and acts until the planner rests.
async fn decide(ctx: &Context, scope: &Scope, seen: &mut Seen) -> Result<Rest, KubeError> {
    for _ in 0..STEPS {
        let step = plan(&seen.facts);
        if let Step::Rest(rest) = step {
            return Ok(rest);
        }
        if needs_vendor(&step) && seen.slot.is_none() && is_held_back(ctx, seen) {
            continue;
        }
        if needs_vendor(&step) && seen.slot.is_none() && enter(ctx, seen).await? {
            // Others had their turn: decide again on what is true now.
            let slot = seen.slot.take();
            let newest = ctx.pace.newest(&scope.newest(&seen.object));
            *seen = Box::pin(observe(ctx, scope, newest)).await?;
            seen.slot = slot;
            continue;
        }
        Box::pin(act(ctx, seen, &step)).await?;
        if step == Step::Release {
            farewell(ctx, seen);
            return Ok(Rest::Gone);
        }
    }
    // What was found so far is kept, and the next pass goes on from there.
    Ok(Rest::Again)
}

/// How a pass ends that the API server refuses a step of: with whatever it has found out until then.
fn refused(facts: &mut Facts, why: Trouble) -> Rest {
    facts.trouble = Some(why);
    if let Step::Rest(rest) = plan(facts) {
        rest
    } else if facts.object.deleting {
        Rest::Terminating
    } else {
        Rest::Trouble
    }
}

/// What a decision that a read has found says of the vendor's callbacks.
fn learn(ctx: &Context, seen: &Seen) {
    let status = seen.object.status.as_ref();
    let awaited = status.and_then(|status| status.request.as_ref());
    let awaited = awaited.filter(|request| ledger::awaiting_vendor(request));
    let finished = &seen.facts.pass.finished;
    let decided = awaited.is_some_and(|r| finished.iter().any(|f| f.id == r.id));
    let read = seen.facts.pass.read.is_some() && !seen.facts.pass.mutated;
    if let Some(usable) = seen.usable.as_ref().filter(|_| read && decided) {
        usable
            .link
            .heard
            .decided(ctx.pace.is_hinted(&uid(&seen.object)));
    }
}

/// Whether this object backs off with all of its connection, which the facts say from here on. A spec
/// that was edited, a new object, a person or a callback that asks are not held back.
fn is_held_back(ctx: &Context, seen: &mut Seen) -> bool {
    let Some(usable) = &seen.usable else {
        return false;
    };
    if seen.fresh || seen.facts.clock.backing_off {
        return false;
    }
    let Err(wait) = usable.link.circuit.admit() else {
        return false;
    };
    ctx.pace.hold(&uid(&seen.object), wait);
    seen.facts.clock.backing_off = true;
    true
}

/// Waits for the right to call the vendor; says whether that took a while.
async fn enter(ctx: &Context, seen: &mut Seen) -> Result<bool, KubeError> {
    let began = Instant::now();
    let object = &seen.facts.object;
    let line = if is_calm(&seen.facts) && !object.deleting && object.requested_at.is_none() {
        Line::Routine
    } else {
        Line::Awaited
    };
    let Some(budget) = seen
        .usable
        .as_ref()
        .map(|usable| Arc::clone(&usable.budget))
    else {
        return Ok(false);
    };
    let Some(slot) = ctx.unless_stopped(budget.enter(line)).await else {
        return Err(KubeError::Failed("the operator stops".into()));
    };
    if let Ok(permit) = Arc::clone(&ctx.concurrent).acquire_owned().await {
        seen.slot = Some((slot, permit));
    }
    Ok(began.elapsed() > STALE)
}

/// Stores sensitive parameters of a tenant that is ours, before the answer that brought them is
/// recorded as dealt with: the vendor may not say them again.
async fn keep_outputs(ctx: &Context, seen: &mut Seen) -> Result<Option<Trouble>, KubeError> {
    let (Some(name), Some((tenant, values))) =
        (&seen.object.spec.output_secret_name, &seen.sensitive)
    else {
        return Ok(None);
    };
    let ours = seen.facts.ledger.tenant_id.as_ref() == Some(tenant);
    if !ours || values.is_empty() || seen.facts.object.deleting {
        return Ok(None);
    }
    let written = match outputs::write(&ctx.cluster, &seen.object, name, values).await {
        Ok(written) => written,
        Err(error) => {
            // Others need not wait with it.
            seen.slot = None;
            outputs::insist(ctx, &seen.object, name, values, error).await
        }
    };
    match written {
        outputs::Written::Stored | outputs::Written::Leaving => Ok(None),
        outputs::Written::Conflict => Ok(Some(output_trouble(name))),
        // Its tenant could never be found again.
        outputs::Written::Stopped if seen.facts.rules.mode == IdentityMode::None => Ok(None),
        // Not recorded, it is asked for again by the next process, and may bring the values again.
        outputs::Written::Stopped => Err(KubeError::Failed("the operator stops".into())),
    }
}

/// Writes status where it differs, then says what finished.
async fn write(ctx: &Context, seen: &Seen, rest: Rest) -> Result<(), KubeError> {
    let before = seen.object.status.clone().unwrap_or_default();
    let unverified_since = (rest == Rest::Unverified).then(|| {
        ctx.pace
            .unverified_since(&uid(&seen.object), seen.facts.clock.now)
    });
    let about = About {
        namespace: seen
            .object
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default(),
        name: seen.object.metadata.name.as_deref().unwrap_or_default(),
        output: seen.object.spec.output_secret_name.as_deref(),
        tier: tier::tier_of(&seen.object.metadata),
        unverified_since,
        before: &before,
    };
    let Some(report) = report(&seen.facts, rest, &about) else {
        return Ok(());
    };
    if report.status != before {
        let (guard, weight) = guard(seen);
        if weight == Weight::Create && seen.facts.rules.mode != IdentityMode::None {
            catch_up(ctx, &seen.object).await;
        }
        store(ctx, &seen.object, &report.status, &guard, weight).await?;
        first_ready(ctx, seen, &before, &report.status);
    }
    for request in &seen.facts.pass.finished {
        ctx.metrics.finished(request);
    }
    for drift in &seen.facts.pass.drifted {
        if !before.drift.iter().any(|known| known.field == drift.field) {
            ctx.metrics.drifted(&drift.field);
        }
    }
    for note in report.notes {
        tracing::info!(reason = %note.reason, action = note.action, note = note.note, "request finished");
        ctx.events.publish(&*seen.object, note);
    }
    Ok(())
}

/// Waits for the watch where a create's answer was faster: until it has shown the intent, the API server's
/// own cache is behind too, and a compare-and-swap there is done on the old object, and then once more
/// on what etcd says. Not for what nobody could ask the vendor again.
async fn catch_up(ctx: &Context, object: &Subscription) {
    let uid = uid(object);
    // An operator that stops records at once.
    let _ = ctx.unless_stopped(ctx.pace.echoed(&uid, ECHO)).await;
}

/// What must still hold for this status, and how much it matters that it is stored.
fn guard(seen: &Seen) -> (Guard, Weight) {
    let sent = seen.facts.pass.mutated || seen.facts.pass.deleted;
    match &seen.guard {
        Some(guard @ Guard::Intent(..)) if sent => (guard.clone(), Weight::Create),
        Some(guard @ (Guard::Request(_) | Guard::Version(_))) if sent => {
            let create = seen
                .facts
                .ledger
                .request
                .as_ref()
                .is_some_and(|r| r.type_ == RequestType::Purchase);
            (
                guard.clone(),
                if create {
                    Weight::Create
                } else {
                    Weight::Answer
                },
            )
        }
        Some(_) | None => {
            let version = seen
                .object
                .metadata
                .resource_version
                .clone()
                .unwrap_or_default();
            (Guard::Version(version), Weight::View)
        }
    }
}

fn end<'a>(seen: &Seen, rest: Rest, intent: Option<&'a Intent>) -> End<'a> {
    let failure = seen.facts.pass.failure.as_ref();
    let request = seen.facts.ledger.request.as_ref();
    let waits = matches!(rest, Rest::Pending | Rest::Inquiring);
    let refused = rest == Rest::Inquiring && !request.is_some_and(ledger::awaiting_vendor);
    End {
        // What was refused, the vendor has no news of.
        rest: if refused { Rest::Failed } else { rest },
        intent,
        settled: seen.facts.clock.settled,
        read_due: seen.facts.clock.read_due,
        read: seen.facts.pass.read.is_some(),
        called: seen.called,
        failed: failure.map(|e| e.class),
        unknown_effect: failure.is_some_and(|e| e.effect == Effect::Unknown)
            && !seen.facts.object.deleting,
        retry_after: seen.retry_after,
        wake: seen
            .facts
            .clock
            .paced_until
            .or(seen.facts.clock.grace_until)
            .or(seen.facts.clock.overdue_at.filter(|_| waits))
            .map(|at| pace::until(seen.facts.clock.now, at)),
        twins: !(seen.facts.pass.twins.is_empty() && seen.facts.pass.discarded.is_empty()),
    }
}

fn farewell(ctx: &Context, seen: &Seen) {
    let retained = seen.facts.desired.deletion == DeletionPolicy::Retain;
    let request = seen.facts.ledger.request.as_ref();
    if let Some(cancel) = request.filter(|r| r.type_ == RequestType::Cancel && !retained) {
        // The object is gone with it: no status says so.
        ctx.metrics.finished(&Request {
            status: RequestStatus::Approved,
            ..cancel.clone()
        });
    }
    if let Some(note) = report::farewell(&seen.facts, retained) {
        tracing::info!(reason = %note.reason, note = note.note, "released");
        ctx.events.publish(&*seen.object, note);
    }
}

fn first_ready(
    ctx: &Context,
    seen: &Seen,
    before: &SubscriptionStatus,
    after: &SubscriptionStatus,
) {
    let bought =
        |r: &Request| r.type_ == RequestType::Purchase && r.status == RequestStatus::Approved;
    let new = before.tenant_id.is_none() && !before.history.iter().any(bought);
    let ready = report::standing(after).1 == "True";
    if let Some(created) = &seen.object.metadata.creation_timestamp
        && ctx.pace.is_first_ready(&uid(&seen.object), new, ready)
    {
        ctx.metrics
            .ready(seen.facts.clock.now.as_second() - created.0.as_second());
    }
}

fn uid(object: &Subscription) -> String {
    object.metadata.uid.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<C, S, O, F>(_: fn(C, S, O) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand passes may wait for their turn at a vendor: what each of them holds counts.
    #[test]
    fn a_waiting_pass_is_small() {
        let waiting = size(reconcile);
        let most = size_of::<Seen>() + 1024;
        assert!(waiting <= most, "{waiting} > {most} bytes");
    }
}
