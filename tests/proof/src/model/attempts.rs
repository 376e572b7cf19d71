//! Attempts are counted for ever, and the model must end. Decisions compare them (`=`, `<`, one
//! more than, more than one), so all of a state's counts are moved down together, keeping their
//! order and whether two follow each other: no decision can tell the difference.

use std::fmt::Debug;

use fulfillment_operator::{
    facts::{Facts, Intent, Ledger},
    kubernetes::Guard,
    plan::Step,
};

use super::{
    known::Known,
    world::{Object, Pass, Phase, World},
};

/// Moves every count down as far as no comparison notices.
pub(super) fn compress(world: &mut World) {
    let found = world.names().attempts();
    let mut smaller = Vec::with_capacity(found.len());
    let mut below = (0, 0);
    for count in &found {
        let next = below.1 + (count - below.0).min(2);
        smaller.push(next);
        below = (*count, next);
    }
    if smaller != found {
        let mut lower = |count: &mut i64| {
            let place = found.binary_search(count).ok();
            if let Some(next) = place.and_then(|nth| smaller.get(nth)) {
                *count = *next;
            }
        };
        visit(world, &mut lower);
    }
}

type Visit<'a> = &'a mut dyn FnMut(&mut i64);

/// Visits every count of attempts.
fn visit(world: &mut World, f: Visit<'_>) {
    for object in world.object.iter_mut().chain(&mut world.cached) {
        of_object(object, f);
    }
    for controller in &mut world.controllers {
        if let Some(sight) = &mut controller.sight {
            within(sight, |sight| f(&mut sight.attempt));
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
}

fn of_guard(guard: &mut Guard, f: Visit<'_>) {
    match guard {
        Guard::Intent(intent) => of_intent(intent, f),
        Guard::Version(_) | Guard::Request(_) => {}
    }
}

fn of_ledger(ledger: &mut Ledger, f: Visit<'_>) {
    for request in ledger.request.iter_mut().chain(&mut ledger.history) {
        f(&mut request.attempts);
    }
}

fn of_intent(intent: &mut Intent, f: Visit<'_>) {
    f(&mut intent.attempt);
}
