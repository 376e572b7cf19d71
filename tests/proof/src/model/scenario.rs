//! What is explored: a kind of vendor, the rules, and the bounds of what happens.

use fulfillment_crds::{
    AdoptionPolicy, CreateBody, DeletionPolicy, DesiredState, IdentityMode, LimitValue, Limits,
    OnMissing, OnUnknownOutcome,
};
use fulfillment_operator::facts::{Desired, Resellers, Rules};

use super::{
    mutant::Mutant,
    policies,
    world::{CONTROLLERS, Controller, Kept, Left, Object, TenantState, World},
};
use crate::Size;

/// The externalId of the object, before any counter.
pub(super) const NAME: &str = "k1-x";

/// A kind of vendor, the rules, and the bounds of what happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) mode: IdentityMode,
    /// The vendor decides later, and may refuse.
    pub(super) asynchronous: bool,
    /// Deleted tenants stay visible and keep their externalId.
    pub(super) shows_dead: bool,
    /// The externalId is the user's choice, and somebody else's tenant may have it.
    pub(super) claimed: bool,
    /// Whether a tenant that goes by that name already is taken over.
    pub(super) adoption: AdoptionPolicy,
    /// A person who is asked may say that somebody else's tenant is the object's.
    pub(super) given: bool,
    /// Another object claims the same name.
    pub(super) rival: bool,
    pub(super) deletion: DeletionPolicy,
    /// A deleted object's tenant is only suspended for a time, in which it can be taken back.
    pub(super) grace: bool,
    pub(super) on_missing: OnMissing,
    pub(super) on_unknown: OnUnknownOutcome,
    /// The vendor wants a tenant suspended before it is deleted.
    pub(super) suspends_first: bool,
    /// The spec is edited up to this generation.
    pub(super) generations: i64,
    /// The user creates the object this often.
    pub(super) incarnations: u8,
    /// How many act.
    pub(super) controllers: usize,
    pub(super) left: Left,
    /// It is larger than anybody waits for: so many states of it are explored.
    pub(super) most: Option<usize>,
    pub(super) mutant: Option<Mutant>,
}

/// Of the largest worlds so many states are explored, those within the fewest steps.
pub(super) const MOST: usize = 60_000;

pub(super) const NOTHING: Left = Left {
    freezes: 0,
    faults: 0,
    duplicates: 0,
    refusals: 0,
    calls: 0,
    vanishings: 0,
    silences: 0,
};

/// The smallest world of a mode; the others are named by what they add.
const fn plain(name: &'static str, mode: IdentityMode) -> Scenario {
    Scenario {
        name,
        mode,
        asynchronous: false,
        shows_dead: false,
        claimed: false,
        adoption: AdoptionPolicy::CreateOnly,
        given: false,
        rival: false,
        deletion: DeletionPolicy::Delete,
        grace: false,
        on_missing: OnMissing::Recreate,
        on_unknown: OnUnknownOutcome::Hold,
        suspends_first: false,
        generations: 1,
        incarnations: 1,
        controllers: CONTROLLERS,
        left: NOTHING,
        most: None,
        mutant: None,
    }
}

/// Every mode that is explored.
pub(super) const MODES: [IdentityMode; 4] = [
    IdentityMode::ExternalId,
    IdentityMode::IdempotencyKey,
    IdentityMode::Lookup,
    IdentityMode::None,
];

/// The worlds of a mode.
pub(super) fn scenarios(mode: IdentityMode, size: Size) -> Vec<Scenario> {
    let base = plain("plain", mode);
    let faults = Scenario {
        name: "a fault in the cluster",
        left: Left {
            faults: 1,
            ..NOTHING
        },
        ..base
    };
    let mut all = vec![base];
    if mode == IdentityMode::ExternalId {
        all.push(Scenario {
            name: "a dead namesake",
            shows_dead: true,
            ..base
        });
    }
    all.extend(policies::sample(base));
    if size == Size::Thorough {
        all.push(faults);
        all.extend(thorough(base, faults));
        all.extend(policies::thorough(base));
    }
    all
}

fn thorough(base: Scenario, faults: Scenario) -> Vec<Scenario> {
    let left = |freezes, duplicates, refusals| Left {
        freezes,
        duplicates,
        refusals,
        ..NOTHING
    };
    // There the controllers have more to do.
    let decides = match base.mode {
        IdentityMode::ExternalId => Some(6 * MOST),
        IdentityMode::IdempotencyKey => Some(MOST),
        IdentityMode::Lookup | IdentityMode::None => None,
    };
    let keyed = (base.mode == IdentityMode::IdempotencyKey).then_some(MOST);
    let keyed_or_looked = (base.mode != IdentityMode::ExternalId).then_some(MOST);
    let again = match base.mode {
        // An order that reaches such a vendor twice is two orders.
        IdentityMode::None => Scenario {
            name: "created again",
            incarnations: 2,
            ..base
        },
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey | IdentityMode::Lookup => {
            Scenario {
                name: "created again, duplicates",
                incarnations: 2,
                left: left(0, 1, 0),
                most: keyed_or_looked,
                ..base
            }
        }
    };
    let mut all = vec![
        Scenario {
            name: "stale reads",
            left: left(1, 0, 0),
            most: Some(MOST),
            ..base
        },
        Scenario {
            name: "stale reads, an edit",
            generations: 2,
            left: left(1, 0, 0),
            most: Some(MOST),
            ..base
        },
        Scenario {
            name: "an edit",
            generations: 2,
            most: keyed,
            ..base
        },
        Scenario {
            name: "calls go wrong",
            left: Left {
                calls: 1,
                ..NOTHING
            },
            ..base
        },
        again,
        Scenario {
            name: "refusals",
            left: left(0, 0, 1),
            ..base
        },
        Scenario {
            name: "refusals, an edit",
            generations: 2,
            left: left(0, 0, 1),
            most: Some(MOST),
            ..base
        },
        Scenario {
            name: "decides later",
            asynchronous: true,
            left: left(0, 0, 1),
            most: decides,
            ..base
        },
        Scenario {
            name: "decides later, an edit",
            asynchronous: true,
            generations: 2,
            left: left(0, 0, 1),
            most: Some(MOST),
            ..base
        },
        Scenario {
            name: "shows the dead, created again",
            shows_dead: true,
            incarnations: 2,
            most: keyed,
            ..base
        },
        Scenario {
            name: "retained, created again",
            deletion: DeletionPolicy::Retain,
            incarnations: 2,
            ..base
        },
        Scenario {
            name: "a fault, stale reads",
            left: Left {
                freezes: 1,
                ..faults.left
            },
            most: Some(MOST),
            ..faults
        },
        Scenario {
            name: "a fault, an edit",
            generations: 2,
            most: Some(MOST),
            ..faults
        },
    ];
    all.extend(alone(base));
    if base.mode == IdentityMode::ExternalId {
        all.push(Scenario {
            name: "claimed",
            claimed: true,
            left: left(0, 0, 1),
            ..base
        });
    }
    all
}

/// With one controller, which may still die and start again at any time, these are explored whole.
fn alone(base: Scenario) -> Vec<Scenario> {
    let edited = Scenario {
        controllers: 1,
        generations: 2,
        ..base
    };
    let left = |freezes, faults, calls| Left {
        freezes,
        faults,
        calls,
        ..NOTHING
    };
    vec![
        Scenario {
            name: "alone, an edit",
            ..edited
        },
        Scenario {
            name: "alone, stale reads",
            generations: 1,
            left: left(1, 0, 0),
            ..edited
        },
        Scenario {
            name: "alone, a fault, an edit",
            left: left(0, 1, 0),
            ..edited
        },
        Scenario {
            name: "alone, calls go wrong, an edit",
            left: left(0, 0, 1),
            ..edited
        },
        Scenario {
            name: "alone, calls go wrong, suspended before it is deleted",
            generations: 1,
            suspends_first: true,
            left: left(0, 0, 1),
            ..edited
        },
    ]
}

impl Scenario {
    /// The worlds it begins with.
    pub(super) fn beginnings(&self) -> Vec<World> {
        let bare = World {
            object: Some(Object::new(1)),
            cached: None,
            // Younger, and made before any other that the user creates.
            rival: self.rival.then(|| Object::new(2)),
            incarnations: if self.rival { 2 } else { 1 },
            tenants: Vec::new(),
            posts: Vec::new(),
            calls: Vec::new(),
            stone: None,
            grace: false,
            retained: Vec::new(),
            controllers: std::array::from_fn(|_| Controller::default()),
            left: self.left,
            excused: false,
            broken: None,
        };
        if self.shows_dead && self.incarnations == 1 {
            return vec![World {
                tenants: vec![Kept {
                    id: "t0".into(),
                    external_id: NAME.into(),
                    owner: 1,
                    state: TenantState::Dead,
                    pending: false,
                    seats: seats(1),
                    ordered: seats(1),
                }],
                ..bare
            }];
        }
        if !self.claimed {
            return vec![bare];
        }
        let taken = World {
            tenants: vec![Kept {
                id: "t0".into(),
                external_id: NAME.into(),
                owner: 0,
                state: TenantState::Active,
                pending: false,
                seats: 7,
                ordered: 7,
            }],
            ..bare.clone()
        };
        vec![bare, taken]
    }

    /// What the spec of an object asks for.
    pub(super) fn desired(&self, object: &Object) -> Desired {
        let generation = object.generation;
        Desired {
            state: if generation == 2 {
                DesiredState::Suspended
            } else {
                DesiredState::Active
            },
            limits: limits(seats(generation)),
            inputs: None,
            template: None,
            unshown: Vec::new(),
            resellers: Resellers::default(),
            invalid: Vec::new(),
            external_id: NAME.into(),
            claimed: self.claimed,
            deletion: if object.retains {
                DeletionPolicy::Retain
            } else {
                self.deletion
            },
            adoption: self.adoption,
            body: (self.mode == IdentityMode::IdempotencyKey).then(|| CreateBody {
                limits: limits(seats(generation)),
                parameters: Vec::new(),
                secrets: Vec::new(),
                inputs: None,
            }),
        }
    }

    /// Whether a tenant that goes by the claimed name is this object's, whoever made it.
    pub(super) fn adopts(&self) -> bool {
        self.claimed && self.adoption != AdoptionPolicy::CreateOnly
    }

    /// What the vendor offers and the admin decided.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            mode: self.mode,
            on_missing: self.on_missing,
            on_unknown: self.on_unknown,
            retention: std::time::Duration::from_secs(24 * 3600),
            settle: std::time::Duration::from_secs(220),
            suspend_before_delete: self.suspends_first,
        }
    }
}

/// The limit a generation of the spec declares.
pub(super) fn seats(generation: i64) -> i64 {
    if generation == 1 { 50 } else { 60 }
}

pub(super) fn limits(seats: i64) -> Limits {
    Limits::from([("seats".to_owned(), LimitValue::from(seats))])
}
