//! The object is being deleted: no release while a tenant may exist.

use fulfillment_crds::{
    DeletionPolicy, IdentityMode, Request, RequestStatus, RequestType, SubscriptionState,
};

use super::*;
use crate::{
    facts::{Facts, Read},
    ledger::awaiting_vendor,
};

/// The object is being deleted: no release while a tenant may exist.
pub(super) fn end(f: &Facts) -> Step {
    let absent = f.ledger.tenant_id.is_some() && f.pass.read == Some(Read::Absent);
    // Where a twin can be, gone is only what the lookup says.
    let looked = f.rules.mode != IdentityMode::Lookup || f.pass.vacant.is_some();
    if absent && looked {
        return Step::Release;
    }
    if f.desired.deletion == DeletionPolicy::Retain {
        return Step::Release;
    }
    if f.pass.armed {
        return f
            .intent
            .clone()
            .map_or(Step::Rest(Rest::Terminating), Step::Create);
    }
    let open = open_create(f);
    // Where the record is lost and the connection is not to be had, it is not known what a create was
    // made safe by: then there may be a tenant.
    let unclear = f.object.lost && f.trouble.is_some();
    if untouched(f) && !unclear {
        return Step::Release;
    }
    if f.trouble.is_some() || f.pass.failure.is_some() {
        return Step::Rest(Rest::Terminating);
    }
    if settling(f) {
        return Step::Rest(Rest::Terminating);
    }
    if held(f) {
        let last = f.ledger.request.as_ref();
        return resolve(f, last);
    }
    if let Some(twin) = f.pass.twins.first() {
        return discard(f, twin);
    }
    let unknown = match f.rules.mode {
        IdentityMode::Lookup => f.ledger.tenant_id.is_none() && !is_anothers(f),
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey | IdentityMode::None => false,
    };
    if unknown {
        return if f.clock.backing_off {
            Step::Rest(Rest::Unchanged)
        } else {
            find(f, f.name()).unwrap_or(Step::Release)
        };
    }
    if open.is_some() {
        return if f.pass.mutated {
            Step::Rest(Rest::Terminating)
        } else if f.clock.backing_off {
            Step::Rest(Rest::Unchanged)
        } else {
            // The vendor tells the id of what an earlier create made when it is repeated.
            arm(f)
        };
    }
    match f.ledger.tenant_id {
        None => Step::Release,
        Some(_) if absent => read(f),
        Some(_) => retire(f).unwrap_or_else(|| cancel(f)),
    }
}

/// Before the delete: the tenant is suspended where the vendor wants that, and for the grace period.
fn retire(f: &Facts) -> Option<Step> {
    let request = f.ledger.request.as_ref();
    let grace = f.clock.grace_until.is_some();
    let cancelled = request.is_some_and(|r| r.type_ == RequestType::Cancel);
    if cancelled || !(grace || f.rules.suspend_before_delete) {
        return None;
    }
    let rest = Some(Step::Rest(Rest::Terminating));
    let suspend = request.filter(|r| r.type_ == RequestType::Suspend);
    let look = grace && f.clock.read_due && f.pass.read.is_none();
    if suspend.is_some_and(awaiting_vendor) || look {
        return if f.pass.read.is_some() || f.pass.mutated || !f.clock.read_due {
            rest
        } else if f.clock.backing_off {
            Some(Step::Rest(Rest::Unchanged))
        } else {
            Some(read(f))
        };
    }
    // A vendor that refuses to suspend may still delete.
    let refused = suspend.is_some_and(|r| r.status == RequestStatus::Failed);
    if f.ledger.state == Some(SubscriptionState::Active) && !refused {
        return Some(if f.pass.mutated {
            Step::Rest(Rest::Again)
        } else if f.clock.backing_off {
            Step::Rest(Rest::Unchanged)
        } else {
            Step::Suspend
        });
    }
    rest.filter(|_| grace)
}

/// The tenant is known: delete it and watch it go.
pub(super) fn cancel(f: &Facts) -> Step {
    if f.pass.read == Some(Read::Found) && f.ledger.state == Some(SubscriptionState::Terminated) {
        return Step::Release;
    }
    let sent = f
        .ledger
        .request
        .as_ref()
        .is_some_and(|r| r.type_ == RequestType::Cancel && awaiting_vendor(r));
    if sent {
        let look = f.pass.deleted || f.clock.read_due || f.object.requested_at.is_some();
        if f.pass.read.is_some() || !look {
            return Step::Rest(Rest::Terminating);
        }
        return if f.clock.backing_off {
            Step::Rest(Rest::Unchanged)
        } else {
            read(f)
        };
    }
    if f.pass.mutated {
        return Step::Rest(Rest::Again);
    }
    if f.clock.paced_until.is_some() {
        Step::Rest(Rest::Terminating)
    } else if f.clock.backing_off {
        Step::Rest(Rest::Unchanged)
    } else {
        Step::Delete
    }
}

/// The name it claims is another's, and nothing was made under it since.
fn is_anothers(f: &Facts) -> bool {
    let last = f.ledger.request.as_ref();
    let refused = |r: &Request| r.status == RequestStatus::Failed && r.reason == CONFLICT;
    f.desired.claimed && last.is_some_and(refused)
}

/// Nothing was ever sent to a vendor for this object.
pub(super) fn untouched(f: &Facts) -> bool {
    let nothing = f.intent.is_none() && f.ledger.request.is_none() && f.ledger.tenant_id.is_none();
    match f.rules.mode {
        IdentityMode::ExternalId => nothing,
        IdentityMode::IdempotencyKey | IdentityMode::Lookup | IdentityMode::None => {
            nothing && !f.object.finalized
        }
    }
}

/// What goes has to be remembered, and is not yet. A create that went without an answer once can take
/// effect late; only a name that we derived is remembered for that, as of another it could not be
/// proved that a tenant is ours. A key that was used is answered with what it made.
pub(super) fn memorable(f: &Facts) -> bool {
    let keyed = match f.rules.mode {
        IdentityMode::IdempotencyKey => f.ledger.request.is_some(),
        IdentityMode::ExternalId | IdentityMode::Lookup | IdentityMode::None => false,
    };
    let doubtful = (unanswered(f) || forgotten(f)) && !f.desired.claimed;
    (doubtful || keyed) && f.desired.deletion == DeletionPolicy::Delete && !f.pass.buried
}

/// An earlier create can still land: nothing is deleted, and nothing let go, before it did.
pub fn settling(f: &Facts) -> bool {
    !f.clock.settled && (unanswered(f) || open_create(f).is_some() || forgotten(f))
}

/// A create of this object went without an answer once.
pub(super) fn unanswered(f: &Facts) -> bool {
    match (&f.intent, f.rules.mode) {
        (Some(intent), IdentityMode::ExternalId) => intent.repeated,
        (Some(_) | None, _) => attempts(f) > 1,
    }
}

/// How often the create of the present tenant was sent.
pub(super) fn attempts(f: &Facts) -> i64 {
    let purchase = |r: &&Request| r.type_ == RequestType::Purchase;
    let recorded = f
        .ledger
        .request
        .iter()
        .chain(&f.ledger.history)
        .find(purchase);
    let intended = f.intent.as_ref().map_or(0, |intent| intent.attempt);
    recorded.map_or(0, |r| r.attempts).max(intended)
}
