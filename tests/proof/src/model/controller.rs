//! A controller's pass, as `reconcile`, `observe` and `act` carry it out. The decisions are the
//! shipped ones; what stands here is the order of effects and what guards each.

use fulfillment_crds::{
    AdoptionPolicy, IdentityMode, OnUnknownOutcome, Reason, RequestStatus, RequestType,
};
use fulfillment_operator::{
    facts::{Clock, Facts, Intent, Ledger, ObjectFacts, Pass as InPass, Trouble},
    kubernetes::{Guard, Mark},
    ledger,
    plan::{Rest, Step, open_create, plan, settles_from},
    report::{About, report},
    status::Weight,
    vendor::{Answer, Effect, Said, VendorError},
};

use jiff::Timestamp;

use super::{
    known::Known,
    mutant::{self, Mutant},
    scenario::{Scenario, limits, seats},
    store, sweep, user,
    vendor::{self, Heard},
    world::{Broken, Object, Older, Pass, Phase, Post, Sight, World},
};

/// What a controller sees when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Through a cache that lags.
    pub(super) cached: bool,
    /// A drift read or a poll is due.
    pub(super) due: bool,
    /// The settle time has passed.
    pub(super) settled: bool,
}

/// How a call to the vendor ends, creates aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    AnswerLost,
    NotSent,
    /// Given up by its sender, and still on its way.
    Late,
    /// Answered, and a copy of it is still on its way.
    Twice,
}

/// A pass begins. `None` where a controller cannot see this.
pub(super) fn observe(world: &mut World, s: &Scenario, by: usize, view: View) -> Option<()> {
    let object = match view.cached {
        true => world.cached.clone()?,
        false => world.object.clone()?,
    };
    let mut ledger = (*object.status).clone();
    if ledger.external_id.is_none() && !object.deleting {
        ledger.external_id = sweep::next_key(world, s);
    }
    let mut facts = Facts {
        object: ObjectFacts {
            generation: object.generation,
            deleting: object.deleting,
            finalized: object.finalized,
            lost: object.finalized
                && object.status.request.is_none()
                && object.status.tenant_id.is_none(),
            paused: false,
            requested_at: None,
            resolution: object.resolution.as_deref().cloned(),
        },
        desired: s.desired(&object),
        ledger,
        intent: object.intent.as_deref().cloned(),
        rules: s.rules(),
        trouble: None,
        unready: None,
        clock: Clock {
            read_due: view.due,
            settled: view.settled,
            missing_confirmed: true,
            repeatable: object.status.create.is_some(),
            grace_until: (object.deleting && world.grace).then(Timestamp::default),
            ..Clock::default()
        },
        pass: InPass {
            request_id: world.names().fresh_request(),
            ..InPass::default()
        },
    };
    let intent = settles_from(&facts);
    let settled = first_sight(world, s, by, object.uid, intent.as_ref());
    let answered = world.passes().any(|pass| is_in_doubt(s, pass));
    if view.settled && (!settled || answered || user::is_overtaken(world, s, &object)) {
        return None;
    }
    if s.rival && s.mutant != Some(Mutant::IgnoresClaims) {
        facts.trouble = conflict(world, &object, &facts);
    }
    if let Some(mutant) = s.mutant {
        mutant::seen(mutant, &mut facts);
    }
    let guard = facts
        .ledger
        .request
        .as_ref()
        .map(|r| Known::new(Guard::request(r)));
    let pass = Pass {
        step: Known::new(Step::Rest(Rest::Again)),
        uid: object.uid,
        current: !view.cached,
        before: object.status.clone(),
        guard,
        covered: false,
        older: Older::default(),
        phase: Phase::Acting,
        facts: Known::new(facts.clone()),
    };
    go_on(world, s, by, pass, facts);
    Some(())
}

/// The other object has the name: see `claims.rs`. Who has the finalizer went ahead with it.
fn conflict(world: &World, object: &Object, facts: &Facts) -> Option<Trouble> {
    let unborn = facts.ledger.tenant_id.is_none() && open_create(facts).is_none();
    let rank = |o: &Object| (!o.finalized, o.uid);
    let holder = world.rival.as_ref().filter(|o| rank(o) < rank(object));
    holder
        .filter(|_| unborn && !object.deleting)
        .map(|_| Trouble {
            reason: Reason::Conflict,
            message: String::new(),
        })
}

/// What the other object holds is not taken, whatever name led to it: see `claims.rs`.
fn refused_as_taken(world: &World, pass: &Pass, mut answer: Answer) -> Heard {
    let held = world
        .rival
        .as_ref()
        .and_then(|o| o.status.tenant_id.as_ref());
    let own = pass.before.tenant_id.as_ref();
    let shown = match &answer.said {
        Said::Exists(_) | Said::Found(_) => answer.said.tenants(),
        Said::Tenant(_) | Said::Done | Said::Accepted(_) | Said::Absent => &mut [],
    };
    if held != own && shown.iter().any(|t| Some(&t.id) == held) {
        return Err(VendorError {
            code: ledger::CONFLICT.into(),
            ..vendor::refusal()
        });
    }
    Ok(answer)
}

/// Whether nobody would hear what became of a create if this pass ended here, and it would be sent again.
/// Within the settle time whoever hears an answer has written it down, or is dead.
pub(super) fn is_in_doubt(s: &Scenario, pass: &Pass) -> bool {
    let waits = match &pass.phase {
        Phase::Acting => false,
        Phase::Waiting(_) => true,
        Phase::Recording { weight, .. } => **weight == Weight::Create,
    };
    waits && s.on_unknown == OnUnknownOutcome::Retry
}

/// Remembers an intent from its first sight on, and says whether the settle time can have passed
/// since: not while something older can still land.
fn first_sight(
    world: &mut World,
    s: &Scenario,
    by: usize,
    uid: u8,
    intent: Option<&Intent>,
) -> bool {
    let sight = world.controllers.get(by).and_then(|me| me.sight.as_ref());
    let other = sight.is_some_and(|sight| sight.uid != uid);
    if other {
        world.forget(by);
    }
    let Some(me) = world.controllers.get_mut(by) else {
        return false;
    };
    me.sight = me.sight.take().filter(|_| !other);
    let seen = intent.map(|i| {
        Known::new(Sight {
            uid,
            id: i.id.clone(),
            attempt: i.attempt,
        })
    });
    if seen.is_some() && seen != me.sight {
        me.sight = seen;
        for post in &mut world.posts {
            post.older.seen_by(by);
        }
        for pass in world.controllers.iter_mut().filter_map(|c| c.pass.as_mut()) {
            if pass.is_armed() {
                pass.older.seen_by(by);
            }
        }
    }
    let sent = |p: &Post| p.older.than_sight_of(by);
    let armed = |p: &Pass| p.is_armed() && p.older.than_sight_of(by);
    match s.mutant {
        Some(Mutant::NoSettle) => true,
        Some(Mutant::SettleForgetsArmed) => !world.posts.iter().any(sent),
        Some(_) | None => !world.posts.iter().any(sent) && !world.passes().any(armed),
    }
}

/// Whether what a controller would see depends on these questions to the clock at all.
pub(super) fn questions(world: &World, s: &Scenario, cached: bool) -> (bool, bool) {
    let object = if cached { &world.cached } else { &world.object };
    object.as_ref().map_or((false, false), |o| {
        let corrects = o.status.tenant_id.is_some() && s.generations > 1;
        let unborn = o.status.tenant_id.is_none();
        let alone = s.mode == IdentityMode::Lookup || s.on_unknown == OnUnknownOutcome::Retry;
        let waits = unborn && (alone || user::is_asked(s, o));
        let suspends = o.deleting && world.grace;
        (corrects && !o.deleting || suspends, o.deleting || waits)
    })
}

/// Facts have changed: plans the next step, and ends the pass where the planner rests.
pub(super) fn go_on(world: &mut World, s: &Scenario, by: usize, mut pass: Pass, mut facts: Facts) {
    store::plain_words(&mut facts.ledger);
    facts.pass.finished.clear();
    facts.pass.note = facts.pass.note.map(|_| String::new());
    let mut step = plan(&facts);
    if let Some(mutant) = s.mutant {
        step = mutant::planned(mutant, &facts, step);
    }
    pass.phase = Phase::Acting;
    let goes_on = if let Step::Rest(rest) = step {
        ledger::rested(&mut facts, rest);
        store::plain_words(&mut facts.ledger);
        result(s, &pass, &facts, rest).map(|phase| Pass { phase, ..pass })
    } else {
        Some(pass)
    };
    if let Some(me) = world.controllers.get_mut(by) {
        me.pass = goes_on.map(|pass| Pass {
            facts: Known::new(facts),
            step: Known::new(step),
            ..pass
        });
    }
}

/// What `reconcile` writes at the end, if anything.
fn result(s: &Scenario, pass: &Pass, facts: &Facts, rest: Rest) -> Option<Phase> {
    let about = About {
        namespace: "",
        name: "",
        output: None,
        tier: None,
        unverified_since: None,
        before: &pass.before,
    };
    let mut status = report(facts, rest, &about)?.status;
    status.conditions.clear();
    if status == *pass.before {
        return None;
    }
    let sent = facts.pass.mutated || facts.pass.deleted;
    let create = facts
        .ledger
        .request
        .as_ref()
        .is_some_and(|r| r.type_ == RequestType::Purchase);
    let (guard, weight) = match pass.guard.as_deref() {
        Some(guard @ Guard::Intent(..)) if sent => (guard.clone(), Weight::Create),
        Some(guard) if sent && create => (guard.clone(), Weight::Create),
        Some(guard) if sent => (guard.clone(), Weight::Answer),
        Some(_) | None => (Guard::Version(String::new()), Weight::View),
    };
    let guard = match s.mutant {
        Some(Mutant::RecordsByVersion) => Guard::Version(String::new()),
        Some(_) | None => guard,
    };
    Some(Phase::Recording {
        status: Known::new(status),
        guard: Known::new(guard),
        weight: Known::new(weight),
    })
}

/// A create is sent.
pub(super) fn send(world: &mut World, s: &Scenario, by: usize, pass: Pass, intent: &Intent) {
    // What is repeated under one key carries what it carried before.
    let sent = pass.facts.ledger.create.as_ref();
    let same = intent.repeated && sent.is_some_and(|sent| sent.limits == limits(50));
    world.posts.push(Post {
        external_id: intent.external_id.clone(),
        seats: if same {
            50
        } else {
            seats(pass.facts.object.generation)
        },
        uid: pass.uid,
        awaited_by: Some(by),
        older: pass.older,
    });
    if !pass.covered {
        world.broken = world.broken.or(Some(Broken::Uncovered));
    }
    if s.claimed && s.adoption == AdoptionPolicy::AdoptOnly {
        world.broken = world.broken.or(Some(Broken::Unwanted));
    }
    if let Some(me) = world.controllers.get_mut(by) {
        me.pass = Some(Pass {
            covered: false,
            older: Older::default(),
            phase: Phase::Waiting(None),
            ..pass
        });
    }
}

/// A create ends for its sender.
pub(super) fn created(world: &mut World, s: &Scenario, by: usize, mut pass: Pass, heard: Heard) {
    for post in &mut world.posts {
        if post.awaited_by == Some(by) {
            post.awaited_by = None;
        }
    }
    let Step::Create(intent) = &*pass.step else {
        return;
    };
    pass.guard = Some(Known::new(create_guard(s, intent, &pass.before)));
    pass.covered = false;
    pass.older = Older::default();
    hear(world, s, by, pass, heard);
}

/// What must still hold when the answer to a create is recorded.
pub(super) fn create_guard(s: &Scenario, intent: &Intent, before: &Ledger) -> Guard {
    match s.mode {
        IdentityMode::ExternalId => {
            Guard::Intent(intent.clone(), before.request.as_ref().map(Mark::from))
        }
        IdentityMode::IdempotencyKey | IdentityMode::Lookup | IdentityMode::None => {
            Guard::Request(Mark {
                id: intent.id.clone(),
                status: RequestStatus::Pending,
                attempts: intent.attempt,
            })
        }
    }
}

/// Any other call to the vendor.
pub(super) fn call(world: &mut World, s: &Scenario, by: usize, pass: Pass, outcome: Outcome) {
    let lost = Err(vendor::failure(Effect::Unknown));
    let own = world.object.as_ref().is_some_and(|o| o.uid == pass.uid);
    if world.grace && own && *pass.step == Step::Delete {
        world.broken = world.broken.or(Some(Broken::Early));
    }
    let target = vendor::verb(&pass.facts, &pass.step).map(|call| call.tenant);
    let owner = world
        .tenants
        .iter()
        .find(|t| Some(&t.id) == target.as_ref());
    if owner.is_some_and(|t| world.rival.as_ref().is_some_and(|o| o.uid == t.owner)) {
        world.broken = world.broken.or(Some(Broken::Foreign));
    }
    if outcome != Outcome::Answered {
        world.left.calls -= 1;
    }
    if matches!(outcome, Outcome::Late | Outcome::Twice) {
        world.calls.extend(vendor::verb(&pass.facts, &pass.step));
    }
    let heard = match outcome {
        Outcome::Answered | Outcome::Twice => vendor::serve(world, s, &pass.facts, &pass.step),
        Outcome::AnswerLost => vendor::serve(world, s, &pass.facts, &pass.step).and(lost),
        Outcome::Late => lost,
        Outcome::NotSent => Err(vendor::failure(Effect::None)),
    };
    hear(world, s, by, pass, heard);
}

fn hear(world: &mut World, s: &Scenario, by: usize, pass: Pass, heard: Heard) {
    let mut facts = (*pass.facts).clone();
    let heard = heard.and_then(|answer| refused_as_taken(world, &pass, answer));
    let heard = match s.mutant {
        Some(mutant) => mutant::heard(mutant, &mut facts, heard),
        None => heard,
    };
    ledger::answered(&mut facts, &pass.step, heard);
    go_on(world, s, by, pass, facts);
}
