//! A tenant that is there, or was: bring it to what is declared.

use fulfillment_crds::{DesiredState, OnMissing, Request, RequestStatus, SubscriptionState};

use super::*;
use crate::{
    drift,
    facts::Facts,
    ledger::{awaiting_vendor, draft},
};

/// There is a tenant: bring it to what is declared.
pub(super) fn tend(f: &Facts) -> Step {
    let request = f.ledger.request.as_ref();
    if let Some(r) = request.filter(|r| awaiting_vendor(r)) {
        return await_vendor(f, r);
    }
    let unread = f.pass.read.is_none() && !f.pass.mutated;
    if unread && f.object.requested_at.is_some() {
        return read(f);
    }
    if unread && f.clock.read_due && !f.clock.backing_off {
        return read(f);
    }
    let Some(step) = correction(f) else {
        // A read that failed is still owed: what is said of it stays until it succeeds.
        let owed = unread && f.clock.backing_off;
        return Step::Rest(if owed { Rest::Unchanged } else { Rest::InSync });
    };
    if let Some(r) = request
        && same_try(f, r)
    {
        match r.status {
            RequestStatus::Failed => return Step::Rest(Rest::Failed),
            RequestStatus::Inquiring if !draft(r) => return Step::Rest(Rest::Inquiring),
            RequestStatus::Inquiring
            | RequestStatus::Pending
            | RequestStatus::Approved
            | RequestStatus::Unknown => {}
        }
    }
    if f.pass.mutated {
        let repeated = request.is_some_and(|r| Some(r.type_) == request_type(&step));
        return Step::Rest(if repeated { Rest::Drifted } else { Rest::Again });
    }
    if f.clock.backing_off {
        return Step::Rest(Rest::Unchanged);
    }
    step
}

/// The mutation that brings the vendor closest to what is declared; state before limits, because
/// a suspension must not wait for a limit the vendor refuses.
pub(super) fn correction(f: &Facts) -> Option<Step> {
    if drift::state(&f.desired, &f.ledger).is_some() {
        return Some(match f.desired.state {
            DesiredState::Active => Step::Resume,
            DesiredState::Suspended => Step::Suspend,
        });
    }
    (!drift::in_sync(&f.desired, &f.ledger)).then_some(Step::Change)
}

/// The vendor has the request and has not decided: nothing new is sent, a newer spec waits.
pub(super) fn await_vendor(f: &Facts, request: &Request) -> Step {
    if f.pass.read.is_none()
        && !f.pass.mutated
        && (f.object.requested_at.is_some() || (f.clock.read_due && !f.clock.backing_off))
    {
        return read(f);
    }
    if request.status == RequestStatus::Inquiring {
        return if answers(f, request) && !f.pass.mutated && !f.clock.backing_off {
            Step::Change
        } else {
            Step::Rest(Rest::Inquiring)
        };
    }
    Step::Rest(if f.clock.overdue {
        Rest::Overdue
    } else {
        Rest::Pending
    })
}

/// Whether the spec says something else by now than when it was sent: other parameters or tiers, or
/// other limits. What limits were sent is not recorded, so those count when the spec is newer and they
/// are not what the vendor has, or are what it asks about.
fn answers(f: &Facts, inquiry: &Request) -> bool {
    let limits = || {
        let mut asked = f.ledger.parameter_errors.iter();
        asked.any(|e| e.name.starts_with("limits."))
            || !drift::limits(&f.desired, &f.ledger).is_empty()
    };
    drift::unsent(&f.desired, &f.ledger) || (inquiry.generation != f.object.generation && limits())
}

/// The purchase failed, or the tenant was found gone before.
pub(super) fn dead(f: &Facts) -> Step {
    if failed_purchase(f) {
        return purchase(f);
    }
    let look = f.clock.read_due
        || f.object.requested_at.is_some()
        || f.rules.on_missing == OnMissing::Recreate;
    match f.pass.read {
        Some(_) => missing(f),
        None if f.clock.backing_off => Step::Rest(Rest::Unchanged),
        None if look => read(f),
        None => Step::Rest(Rest::Missing),
    }
}

/// The tenant we knew is gone.
pub(super) fn missing(f: &Facts) -> Step {
    let dead = f.ledger.state == Some(SubscriptionState::Terminated);
    if f.pass.armed || f.pass.mutated {
        return purchase(f);
    }
    match f.rules.on_missing {
        _ if !dead && !f.clock.missing_confirmed => Step::Rest(Rest::VerifyMissing),
        OnMissing::Report => ended(f, Rest::Missing),
        OnMissing::Recreate if f.clock.mass_vanish => Step::Rest(Rest::Missing),
        OnMissing::Recreate if f.clock.backing_off => Step::Rest(Rest::Unchanged),
        OnMissing::Recreate => arm(f),
    }
}
