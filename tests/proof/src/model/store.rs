//! The API server: what each write tests, and what it changes.

use fulfillment_crds::{OnMissing, Request, RequestStatus, RequestType, SubscriptionStatus};
use fulfillment_operator::{facts::Ledger, kubernetes::Guard, ledger, plan::Step, status::Weight};

use super::{
    controller::go_on,
    known::Known,
    mutant::Mutant,
    scenario::Scenario,
    vendor,
    world::{Broken, Object, Older, Pass, Phase, World},
};

/// A write of the pass arrives at the API server; `answered` says whether its sender hears of it.
pub(super) fn write(world: &mut World, s: &Scenario, by: usize, pass: Pass, answered: bool) {
    match pass.phase.clone() {
        Phase::Recording {
            status,
            guard,
            weight,
        } => record(world, s, by, pass, (&status, &guard, *weight), answered),
        Phase::Acting | Phase::Waiting(_) => act(world, s, by, pass, answered),
    }
}

fn act(world: &mut World, s: &Scenario, by: usize, mut pass: Pass, answered: bool) {
    let step = (*pass.step).clone();
    let mut facts = (*pass.facts).clone();
    let claims = matches!(step, Step::Claim(_) | Step::Intend(_));
    let blind = s.mutant == Some(Mutant::ClaimsBlindly) && claims;
    let won = pass.current;
    if step == Step::Bury {
        // Kept beside the object: it does not matter which version of that is known.
        world.stone = Some(facts.name().to_owned());
        ledger::buried(&mut facts);
        go_on(world, s, by, pass, facts);
        return;
    }
    let same = world.object.as_ref().is_some_and(|o| o.uid == pass.uid);
    let Some(object) = world.object.as_mut().filter(|_| same && (won || blind)) else {
        // Conflict or gone: the pass is over.
        end(world, by);
        return;
    };
    let old = object.clone();
    let again = claims && s.on_missing == OnMissing::Report && bought(&old.status);
    match &step {
        Step::Claim(intent) => {
            object.intent = Some(Known::new(intent.clone()));
            object.finalized |= s.mutant != Some(Mutant::NoFinalizer);
            ledger::armed(&mut facts, intent);
        }
        Step::Finalize => {
            object.finalized = true;
            ledger::finalized(&mut facts);
        }
        Step::Intend(intent) => {
            ledger::intended(&mut facts, intent);
            object.status = Known::new(kept(&facts.ledger));
            ledger::armed(&mut facts, intent);
        }
        Step::Release => object.finalized = false,
        Step::Bury
        | Step::Create(_)
        | Step::Read
        | Step::Look(_)
        | Step::Discard(_)
        | Step::Adopt(_)
        | Step::Change
        | Step::Suspend
        | Step::Resume
        | Step::Delete
        | Step::Rest(_) => {}
    }
    pass.before = object.status.clone();
    if matches!(step, Step::Intend(_)) && regressed(&old.status, &facts.ledger) {
        world.broken = world.broken.or(Some(Broken::Regressed));
    }
    if again {
        world.broken = world.broken.or(Some(Broken::Unwanted));
    }
    settle_version(world, Some(by), &old);
    if !answered || step == Step::Release {
        end(world, by);
        return;
    }
    pass.current = true;
    pass.covered = won && facts.pass.armed;
    pass.older = Older::default();
    go_on(world, s, by, pass, facts);
}

fn record(
    world: &mut World,
    s: &Scenario,
    by: usize,
    pass: Pass,
    (status, guard, weight): (&Ledger, &Guard, Weight),
    answered: bool,
) {
    let blind = s.mutant == Some(Mutant::ReportsBlindly) && weight == Weight::View;
    let holds = |object: &Object, guard: &Guard| match guard {
        Guard::Version(_) => pass.current || blind,
        Guard::Intent(intent, before) => {
            object.intent.as_deref() == Some(intent) && object.mark() == *before
        }
        Guard::Request(before) => object.mark().as_ref() == Some(before),
    };
    let stored = world
        .object
        .as_mut()
        .filter(|object| object.uid == pass.uid);
    // Nobody has moved on, and still the answer is dropped.
    let due = stored.as_ref().is_some_and(|o| {
        let own = pass.guard.as_deref().filter(|_| weight == Weight::Create);
        !holds(o, guard) && own.is_some_and(|own| holds(o, own))
    });
    if due {
        world.broken = world.broken.or(Some(Broken::Dropped));
    }
    let Some(object) = stored.filter(|object| holds(object, guard)) else {
        end(world, by);
        return;
    };
    let old = object.clone();
    object.status = Known::new(kept(status));
    if regressed(&old.status, status) {
        world.broken = world.broken.or(Some(Broken::Regressed));
    }
    let unchanged = *object == old;
    take_over(world, s);
    settle_version(world, Some(by), &old);
    if answered || weight == Weight::View {
        end(world, by);
    } else if let Some(me) = world.controllers.get_mut(by) {
        // What holds a vendor's answer is written again until it is known to be stored.
        let current = pass.current && unchanged;
        me.pass = Some(Pass { current, ..pass });
    }
}

/// What a record names is its object's from then on, where it was somebody else's or was retained.
fn take_over(world: &mut World, s: &Scenario) {
    let Some(object) = &world.object else {
        return;
    };
    let (uid, id) = (object.uid, object.status.tenant_id.clone());
    let Some(nth) = world
        .tenants
        .iter()
        .position(|t| Some(&t.id) == id.as_ref())
    else {
        return;
    };
    let owner = world.tenants.get(nth).map_or(uid, |t| t.owner);
    let named = id.unwrap_or_default();
    if owner == 0 && !vendor::is_given(world, s, &named) {
        world.broken = world.broken.or(Some(Broken::Foreign));
    }
    if let Some(tenant) = world.tenants.get_mut(nth)
        && (owner == 0 || world.retained.contains(&owner))
    {
        tenant.owner = uid;
    }
}

fn end(world: &mut World, by: usize) {
    if let Some(me) = world.controllers.get_mut(by) {
        me.pass = None;
    }
}

/// The object was written: whoever holds the old version holds an old one. A write that changes
/// nothing makes no version.
pub(super) fn settle_version(world: &mut World, by: Option<usize>, old: &Object) {
    if world.object.as_ref() == Some(old) {
        return;
    }
    let lagging = world.cached.is_some();
    for (nth, controller) in world.controllers.iter_mut().enumerate() {
        if Some(nth) == by {
            controller.ahead |= lagging;
        } else if let Some(pass) = controller.pass.as_mut().filter(|p| p.uid == old.uid) {
            pass.current = false;
        }
    }
    let gone = |o: &mut Object| o.deleting && !o.finalized;
    if let Some(object) = world.object.take_if(gone) {
        world.grace = false;
        if object.retains {
            world.retained.push(object.uid);
        }
    }
}

/// Whether a tenant is on record that was not refused.
fn bought(status: &SubscriptionStatus) -> bool {
    let refused =
        |r: &Request| r.type_ == RequestType::Purchase && r.status == RequestStatus::Failed;
    status.tenant_id.is_some() && !status.request.as_ref().is_some_and(refused)
}

/// Whether a terminal result that was recorded is not any more.
fn regressed(before: &SubscriptionStatus, after: &SubscriptionStatus) -> bool {
    before.request.as_ref().is_some_and(|was| {
        let same = |r: &fulfillment_crds::Request| r.id == was.id && r.status == was.status;
        was.status.is_final() && !after.request.iter().chain(&after.history).any(same)
    })
}

/// A status as it is kept: of the history, only what a decision or a promise rests on.
fn kept(status: &Ledger) -> Ledger {
    let mut kept = status.clone();
    plain_words(&mut kept);
    kept.conditions.clear();
    let purchase = kept
        .history
        .iter()
        .position(|r| r.type_ == RequestType::Purchase);
    let present = kept.request.as_ref().map(|r| r.id.clone());
    let mut nth = 0;
    kept.history.retain(|r| {
        nth += 1;
        Some(nth - 1) == purchase || Some(&r.id) == present.as_ref()
    });
    kept
}

/// Words for people are no part of the protocol.
pub(super) fn plain_words(status: &mut Ledger) {
    for request in status.request.iter_mut().chain(&mut status.history) {
        request.message.clear();
    }
}
