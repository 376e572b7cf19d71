//! What goes wrong with one call.

use super::{
    mode::Mode,
    scenario::Scenario,
    setting::{DRIFT_INTERVAL, SETTLE},
    spot::{Side, Spot},
};
use e2e::history::Twins;
use jiff::SignedDuration;
use std::time::Duration;

/// One fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The operator is killed; the call is not forwarded.
    DieBefore,
    /// The call is not forwarded, and the connection closed.
    DropRequest,
    /// The call has its effect, and the connection is closed without an answer.
    DropAnswer,
    /// The call has its effect, and the operator is killed before it hears of it.
    ApplyAndDie,
    /// The call is forwarded when its caller has long given up.
    Delay,
    /// The call is forwarded twice; the second answer is the one that arrives, as from a network
    /// that sends again what it has no answer to.
    Duplicate,
    /// Answered so, not forwarded.
    Conflict,
    /// Answered so, not forwarded.
    TooMany,
    /// Answered so, not forwarded.
    Unavailable,
    /// The call has its effect; the answer's body is no JSON.
    Garbage,
}

impl Fault {
    pub(super) const ALL: [Self; 10] = [
        Self::DieBefore,
        Self::DropRequest,
        Self::DropAnswer,
        Self::ApplyAndDie,
        Self::Delay,
        Self::Duplicate,
        Self::Conflict,
        Self::TooMany,
        Self::Unavailable,
        Self::Garbage,
    ];

    /// The head of its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DieBefore => "die",
            Self::DropRequest => "drop",
            Self::DropAnswer => "lose",
            Self::ApplyAndDie => "+die",
            Self::Delay => "late",
            Self::Duplicate => "twice",
            Self::Conflict => "409",
            Self::TooMany => "429",
            Self::Unavailable => "503",
            Self::Garbage => "junk",
        }
    }

    /// What the columns mean.
    pub(super) const LEGEND: &str = "die: killed before it is sent; drop: never arrives; lose: done, \
        the answer is lost; +die: done, then killed; late: done after its caller gave up; twice: done \
        twice; 409, 429, 503: answered so, not done; junk: done, the answer is no JSON";

    /// Longer than the operator waits: 10 s for the API server, and as the cells' connections say
    /// for the vendor; well within `--settle`, which promises that nothing lands later.
    pub(super) fn delay(side: Side) -> Duration {
        match side {
            Side::Cluster => Duration::from_millis(10_500),
            Side::Vendor => Duration::from_millis(1_400),
        }
    }

    /// Whether the operator dies of it.
    fn kills(self) -> bool {
        match self {
            Self::DieBefore | Self::ApplyAndDie => true,
            Self::DropRequest
            | Self::DropAnswer
            | Self::Delay
            | Self::Duplicate
            | Self::Conflict
            | Self::TooMany
            | Self::Unavailable
            | Self::Garbage => false,
        }
    }

    /// Why a cell is left out; the table says so.
    pub(super) fn left_out(self, mode: Mode, spot: &Spot) -> Option<&'static str> {
        let doubled = self.doubles_a_create(spot) && mode == Mode::None;
        doubled.then_some(
            "a create that the network sends twice makes two tenants at a vendor that makes no \
             create unique and cannot be asked for the second; no caller can help that",
        )
    }

    fn doubles_a_create(self, spot: &Spot) -> bool {
        self == Self::Duplicate && spot.is_create()
    }

    /// Whether two tenants may be seen. Where a vendor can be asked but makes no create unique, a
    /// doubled one makes a twin, which the next drift read sees and deletes.
    pub(super) fn twins(self, mode: Mode, spot: &Spot) -> Twins {
        match mode {
            Mode::Lookup if self.doubles_a_create(spot) => {
                // Twice what is promised, as all cells share one machine.
                let most = 2 * (DRIFT_INTERVAL + SETTLE);
                Twins::Within(SignedDuration::try_from(most).unwrap_or(SignedDuration::MAX))
            }
            Mode::ExternalId | Mode::IdempotencyKey | Mode::Lookup | Mode::None => Twins::Never,
        }
    }

    /// Whether a person must be asked: nothing but they can tell what became of a create whose answer
    /// is lost for certain.
    pub(super) fn must_hold(self, mode: Mode, scenario: Scenario, spot: &Spot) -> bool {
        let lost = match self {
            Self::DieBefore
            | Self::DropRequest
            | Self::DropAnswer
            | Self::ApplyAndDie
            | Self::Delay
            | Self::Conflict
            | Self::Unavailable
            | Self::Garbage => true,
            // An answer comes; a 429 says that there was no effect.
            Self::Duplicate | Self::TooMany => false,
        };
        scenario.holds(mode) || (!mode.repeats() && spot.is_create() && lost)
    }

    /// Whether the cell may end with a question to a person.
    pub(super) fn may_hold(self, mode: Mode, scenario: Scenario, spot: &Spot) -> bool {
        match mode {
            // Repeating tells, unless the vendor says that it has a tenant and not which: by a 409
            // without a body that names it.
            Mode::ExternalId => {
                let unnamed = match self {
                    Self::Conflict => true,
                    Self::Garbage => scenario.finds_tenants(),
                    Self::DieBefore
                    | Self::DropRequest
                    | Self::DropAnswer
                    | Self::ApplyAndDie
                    | Self::Delay
                    | Self::Duplicate
                    | Self::TooMany
                    | Self::Unavailable => false,
                };
                spot.is_create() && unnamed
            }
            Mode::Lookup => false,
            // With nothing recorded, a repeat on the way out could be the first.
            Mode::IdempotencyKey => {
                scenario == Scenario::DeleteDuringCreate
                    && (self.kills() || spot.follows_the_finalizer())
            }
            // Held by its nature, or where a create may have been armed or sent: 429 says that it had
            // no effect, and what only delays a pass before its finalizer leaves no doubt.
            Mode::None => {
                let refused = spot.is_create() && self == Self::TooMany;
                let doubt = self.kills() || spot.is_create() || spot.follows_the_finalizer();
                scenario.holds(mode) || (scenario.creates() && doubt && !refused)
            }
        }
    }
}
