//! Request ids and attempts are new for ever, and the model must end. Ids are only compared for
//! equality, so those in use are named in the order in which they stand. Attempts are compared by
//! `=`, `<`, one more than and more than one, so they are moved down together, keeping their order
//! and whether two follow each other. No decision can tell the difference.

use std::fmt::Debug;

use fulfillment_operator::{
    facts::{Facts, Intent, Ledger, Resolution},
    kubernetes::{Guard, Mark},
    plan::Step,
};

use super::{
    known::Known,
    world::{Object, Pass, Phase, World},
};

/// Names ids anew and moves counts down, as far as no comparison notices.
pub(super) fn compress(world: &mut World) {
    let names = world.names();
    let found = names.attempts();
    let mut smaller = Vec::with_capacity(found.len());
    let mut below = (0, 0);
    for count in &found {
        let next = below.1 + (count - below.0).min(2);
        smaller.push(next);
        below = (*count, next);
    }
    let order = names.order();
    let named = order.iter().copied().eq(0..order.len());
    if smaller == found && named {
        return;
    }
    let mut lower = |place: Place<'_>| match place {
        Place::Attempt(count) => {
            let nth = found.binary_search(count).ok();
            if let Some(next) = nth.and_then(|nth| smaller.get(nth)) {
                *count = *next;
            }
        }
        Place::Id(id) => {
            let number = id.strip_prefix('r').and_then(|n| n.parse::<usize>().ok());
            if let Some(nth) = number.and_then(|n| order.iter().position(|known| *known == n)) {
                *id = format!("r{nth}");
            }
        }
    };
    visit(world, &mut lower);
}

/// Where an id or a count stands.
enum Place<'a> {
    Attempt(&'a mut i64),
    Id(&'a mut String),
}

type Visit<'a> = &'a mut dyn FnMut(Place<'_>);

/// Visits every id and every count of attempts.
fn visit(world: &mut World, f: Visit<'_>) {
    for object in world
        .object
        .iter_mut()
        .chain(&mut world.rival)
        .chain(&mut world.cached)
    {
        of_object(object, f);
    }
    for controller in &mut world.controllers {
        if let Some(sight) = &mut controller.sight {
            within(sight, |sight| {
                f(Place::Id(&mut sight.id));
                f(Place::Attempt(&mut sight.attempt));
            });
        }
        if let Some(pass) = &mut controller.pass {
            of_pass(pass, f);
        }
    }
}

fn within<T: Clone + Debug>(known: &mut Known<T>, visit: impl FnOnce(&mut T)) {
    let mut value = (**known).clone();
    visit(&mut value);
    *known = Known::new(value);
}

fn of_object(object: &mut Object, f: Visit<'_>) {
    if let Some(intent) = &mut object.intent {
        within(intent, |intent| of_intent(intent, f));
    }
    if let Some(resolution) = &mut object.resolution {
        within(resolution, |resolution| of_resolution(resolution, f));
    }
    within(&mut object.status, |status| of_ledger(status, f));
}

fn of_pass(pass: &mut Pass, f: Visit<'_>) {
    within(&mut pass.facts, |facts| of_facts(facts, f));
    within(&mut pass.step, |step| {
        if let Step::Claim(intent) | Step::Intend(intent) | Step::Create(intent) = step {
            of_intent(intent, f);
        }
    });
    within(&mut pass.before, |status| of_ledger(status, f));
    if let Some(guard) = &mut pass.guard {
        within(guard, |guard| of_guard(guard, f));
    }
    if let Phase::Recording { status, guard, .. } = &mut pass.phase {
        within(status, |status| of_ledger(status, f));
        within(guard, |guard| of_guard(guard, f));
    }
}

fn of_facts(facts: &mut Facts, f: Visit<'_>) {
    of_ledger(&mut facts.ledger, f);
    if let Some(intent) = &mut facts.intent {
        of_intent(intent, f);
    }
    if let Some(resolution) = &mut facts.object.resolution {
        of_resolution(resolution, f);
    }
    f(Place::Id(&mut facts.pass.request_id));
}

fn of_resolution(resolution: &mut Resolution, f: Visit<'_>) {
    match resolution {
        Resolution::None(id) => f(Place::Id(id)),
        Resolution::Adopt(_) | Resolution::Malformed(_) => {}
    }
}

fn of_mark(mark: &mut Mark, f: Visit<'_>) {
    f(Place::Id(&mut mark.id));
    f(Place::Attempt(&mut mark.attempts));
}

fn of_guard(guard: &mut Guard, f: Visit<'_>) {
    match guard {
        Guard::Intent(intent, before) => {
            of_intent(intent, f);
            if let Some(before) = before {
                of_mark(before, f);
            }
        }
        Guard::Request(before) => of_mark(before, f),
        Guard::Version(_) => {}
    }
}

fn of_ledger(ledger: &mut Ledger, f: Visit<'_>) {
    for request in ledger.request.iter_mut().chain(&mut ledger.history) {
        f(Place::Id(&mut request.id));
        f(Place::Attempt(&mut request.attempts));
    }
}

fn of_intent(intent: &mut Intent, f: Visit<'_>) {
    f(Place::Id(&mut intent.id));
    f(Place::Attempt(&mut intent.attempt));
    if let Some(after) = &mut intent.after {
        f(Place::Id(after));
    }
}
