//! The worlds of what people decide: who may have a tenant that was there before, and what becomes of
//! one that is gone, of a create without an answer, and of the tenant of an object that is deleted.

use fulfillment_crds::{AdoptionPolicy, IdentityMode, OnMissing, OnUnknownOutcome};

use super::{
    scenario::{MOST, NOTHING, Scenario},
    world::Left,
};

/// Those that are always explored.
pub(super) fn sample(base: Scenario) -> Vec<Scenario> {
    match base.mode {
        IdentityMode::ExternalId => vec![
            alone(taken_over(base)),
            only_taken_over(base),
            alone(reported(base)),
            alone(taken_back(base)),
        ],
        IdentityMode::None => vec![sent_again(base)],
        IdentityMode::IdempotencyKey | IdentityMode::Lookup => Vec::new(),
    }
}

/// The others.
pub(super) fn thorough(base: Scenario) -> Vec<Scenario> {
    let gone = Scenario {
        name: "gone and bought again",
        left: VANISHES,
        ..base
    };
    let mut all = vec![gone, reported(base), taken_back(base)];
    if matches!(base.mode, IdentityMode::ExternalId | IdentityMode::Lookup) {
        all.push(taken_over(base));
    }
    if base.mode != IdentityMode::ExternalId {
        all.push(alone(taken_back(base)));
    }
    match base.mode {
        IdentityMode::ExternalId => {
            // Elsewhere nothing proves which of two tenants of a claimed name is whose.
            all.push(claimed_twice(base));
            all.push(Scenario {
                name: "claimed, handed over",
                claimed: true,
                given: true,
                ..base
            });
        }
        IdentityMode::Lookup => {
            all.push(Scenario {
                name: "claimed",
                claimed: true,
                ..base
            });
            all.push(only_taken_over(base));
        }
        IdentityMode::IdempotencyKey | IdentityMode::None => {}
    }
    all
}

const VANISHES: Left = Left {
    vanishings: 1,
    ..NOTHING
};

/// With one controller, which is small enough to be explored whole.
fn alone(world: Scenario) -> Scenario {
    let name = match world.name {
        "claimed, taken over" => "alone, claimed, taken over",
        "gone and reported" => "alone, gone and reported",
        "taken back" => "alone, taken back",
        name => name,
    };
    Scenario {
        name,
        controllers: 1,
        most: None,
        ..world
    }
}

fn taken_over(base: Scenario) -> Scenario {
    Scenario {
        name: "claimed, taken over",
        claimed: true,
        adoption: AdoptionPolicy::AdoptOrCreate,
        ..base
    }
}

/// By two objects, each with a controller of its own; the older can be made again, and is the younger then.
fn claimed_twice(base: Scenario) -> Scenario {
    Scenario {
        name: "claimed twice",
        rival: true,
        incarnations: 3,
        ..taken_over(base)
    }
}

fn only_taken_over(base: Scenario) -> Scenario {
    Scenario {
        name: "claimed, only taken over",
        claimed: true,
        adoption: AdoptionPolicy::AdoptOnly,
        ..base
    }
}

fn reported(base: Scenario) -> Scenario {
    Scenario {
        name: "gone and reported",
        on_missing: OnMissing::Report,
        left: VANISHES,
        ..base
    }
}

fn sent_again(base: Scenario) -> Scenario {
    Scenario {
        name: "sent again",
        on_unknown: OnUnknownOutcome::Retry,
        left: Left {
            silences: 1,
            ..NOTHING
        },
        ..base
    }
}

fn taken_back(base: Scenario) -> Scenario {
    Scenario {
        name: "taken back",
        grace: true,
        incarnations: 2,
        most: Some(MOST),
        ..base
    }
}
