//! What can happen in a world.

use super::{
    controller::{Outcome, View},
    user::{Deed, Fault},
};

/// Something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A controller begins a pass.
    Observe(usize, View),
    /// Its write arrives at the API server; whether it hears so.
    Write(usize, bool),
    /// It sends a create.
    Send(usize),
    /// Its deadline has passed: it sends none.
    TooLate(usize),
    /// It hears the vendor's answer to a create.
    Hear(usize),
    /// It does not.
    GiveUp(usize),
    /// It hears that the vendor refuses its create.
    Refused(usize),
    /// It calls the vendor for something else.
    Call(usize, Outcome),
    /// Its process dies.
    Crash(usize),
    /// A create lands at the vendor; whether it will land once more.
    Land(usize, bool),
    /// A create is lost.
    Lose(usize),
    /// Another call lands late.
    LandCall(usize),
    /// Another call is lost.
    LoseCall(usize),
    /// The vendor decides about a tenant.
    Decide(usize, bool),
    /// The sweep looks at the tombstone.
    Sweep,
    /// A tenant is gone, and the operator has no part in it.
    Vanish(usize),
    /// The grace period of a deleted object is over; whether its tenant was suspended by then.
    GraceEnds(bool),
    /// People.
    Deed(Deed),
    /// People, to the rival.
    Rival(Deed),
    /// Faults of the cluster.
    Fault(Fault),
}

impl Action {
    /// Whether it may be counted on to lead to a good end: no user has to give up, no process has
    /// to die, and no vendor to refuse.
    pub(super) fn leads_on(&self) -> bool {
        match self {
            Self::Observe(..)
            | Self::Write(..)
            | Self::Send(_)
            | Self::TooLate(_)
            | Self::Hear(_)
            | Self::GiveUp(_)
            | Self::Call(..)
            | Self::Lose(_)
            | Self::LandCall(_)
            | Self::LoseCall(_)
            | Self::Land(_, false)
            | Self::Decide(_, true)
            | Self::Sweep
            | Self::GraceEnds(true)
            | Self::Deed(Deed::Answer(_))
            | Self::Rival(Deed::Answer(_)) => true,
            Self::Refused(_)
            | Self::Crash(_)
            | Self::Land(_, true)
            | Self::Decide(_, false)
            | Self::Vanish(_)
            | Self::GraceEnds(false)
            | Self::Deed(_)
            | Self::Rival(_)
            | Self::Fault(_) => false,
        }
    }

    /// Whether it is about the rival, which only the second controller acts for.
    pub(super) fn is_rivals(&self) -> bool {
        match self {
            Self::Observe(by, _)
            | Self::Write(by, _)
            | Self::Send(by)
            | Self::TooLate(by)
            | Self::Hear(by)
            | Self::GiveUp(by)
            | Self::Refused(by)
            | Self::Call(by, _)
            | Self::Crash(by) => *by == 1,
            Self::Rival(_) => true,
            Self::Land(..)
            | Self::Lose(_)
            | Self::LandCall(_)
            | Self::LoseCall(_)
            | Self::Decide(..)
            | Self::Sweep
            | Self::Vanish(_)
            | Self::GraceEnds(_)
            | Self::Deed(_)
            | Self::Fault(_) => false,
        }
    }
}
