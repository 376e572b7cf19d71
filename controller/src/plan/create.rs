//! Getting a tenant, once: intents, what is open, what only a person can answer.

use fulfillment_crds::{
    AdoptionPolicy, IdentityMode, OnUnknownOutcome, Request, RequestStatus, RequestType,
};

use super::*;
use crate::{
    facts::{Facts, Intent, Read, Resolution},
    identity,
    ledger::{draft, undelivered},
};

/// There is no tenant, or a create is open: get one, once.
pub(super) fn purchase(f: &Facts) -> Step {
    let last = f
        .ledger
        .request
        .as_ref()
        .filter(|r| r.type_ == RequestType::Purchase);
    if f.pass.armed {
        return f
            .intent
            .clone()
            .map_or(Step::Rest(Rest::Again), Step::Create);
    }
    if f.pass.mutated {
        return after_create(f, last);
    }
    if under_way(f) && !f.clock.settled {
        return Step::Rest(Rest::Settling);
    }
    if held(f) {
        return resolve(f, last);
    }
    if let Some(last) = last
        && open_create(f).is_none()
        && !draft(last)
        && same_try(f, last)
    {
        match last.status {
            RequestStatus::Failed => return ended(f, Rest::Failed),
            RequestStatus::Inquiring => return Step::Rest(Rest::Inquiring),
            RequestStatus::Pending | RequestStatus::Approved | RequestStatus::Unknown => {}
        }
    }
    if f.clock.backing_off {
        return Step::Rest(Rest::Unchanged);
    }
    arm(f)
}

/// The order failed, or what it made is gone. Where one of its sends went without an answer, that one may
/// have made a tenant beside that: whenever a read is due, the name is looked up.
pub(super) fn ended(f: &Facts, rest: Rest) -> Step {
    let doubtful = f.rules.mode == IdentityMode::ExternalId && unanswered(f) && !f.desired.claimed;
    if !doubtful || f.pass.vacant.is_some() {
        Step::Rest(rest)
    } else if f.clock.backing_off {
        Step::Rest(Rest::Unchanged)
    } else if f.clock.read_due {
        Step::Look(f.name().to_owned())
    } else {
        Step::Rest(rest)
    }
}

/// A create was answered in this pass.
pub(super) fn after_create(f: &Facts, last: Option<&Request>) -> Step {
    Step::Rest(match last.map(|r| r.status) {
        Some(RequestStatus::Failed) => Rest::Failed,
        Some(RequestStatus::Inquiring) => Rest::Inquiring,
        Some(RequestStatus::Unknown) if held(f) => Rest::Held,
        Some(RequestStatus::Unknown) => Rest::Retry,
        Some(RequestStatus::Pending | RequestStatus::Approved) | None => Rest::Again,
    })
}

/// Writes the intent that the next create rests on; where tenants are found by name, a lookup that
/// finds none comes first.
pub(super) fn arm(f: &Facts) -> Step {
    let adopts_only = f.desired.claimed && f.desired.adoption == AdoptionPolicy::AdoptOnly;
    let intent = next_intent(f);
    match f.rules.mode {
        IdentityMode::ExternalId if !adopts_only => Step::Claim(intent),
        _ if !f.object.finalized => Step::Finalize,
        IdentityMode::IdempotencyKey | IdentityMode::None => Step::Intend(intent),
        IdentityMode::ExternalId | IdentityMode::Lookup => match find(f, &intent.external_id) {
            Some(step) => step,
            None if adopts_only => Step::Rest(Rest::Missing),
            None => Step::Intend(intent),
        },
    }
}

/// Looks for a tenant by name; `None` when there is none for certain. After a create without an
/// answer one empty look is not enough, as what a vendor lists can lag behind what it has.
pub(super) fn find(f: &Facts, name: &str) -> Option<Step> {
    let open = open_create(f).is_some() || forgotten(f);
    if open && !f.clock.settled {
        Some(Step::Rest(Rest::Settling))
    } else if f.pass.vacant.as_deref() != Some(name) {
        Some(Step::Look(name.to_owned()))
    } else if open && !f.clock.missing_confirmed {
        Some(Step::Rest(Rest::VerifyMissing))
    } else {
        None
    }
}

/// The intent of the next create: the same request while it is undecided, a new one after.
pub(super) fn next_intent(f: &Facts) -> Intent {
    let open = open_create(f).filter(|open| !denied(f, &open.id));
    let undecided = f.ledger.request.as_ref().filter(|r| {
        r.type_ == RequestType::Purchase
            && !r.status.is_final()
            && f.ledger.tenant_id.is_none()
            && !denied(f, &r.id)
    });
    let (id, attempt) = match (&open, undecided) {
        (Some(open), Some(r)) if open.id == r.id => {
            (open.id.clone(), open.attempt.max(r.attempts) + 1)
        }
        (Some(open), _) => (open.id.clone(), open.attempt + 1),
        (None, Some(r)) => (r.id.clone(), r.attempts + 1),
        // There may have been one before this.
        (None, None) if forgotten(f) => (f.pass.request_id.clone(), 2),
        (None, None) => (f.pass.request_id.clone(), 1),
    };
    let same = |known: &&Intent| known.id == id;
    let repeated =
        open.is_some() || f.intent.as_ref().filter(same).is_some_and(|i| i.repeated) || outlived(f);
    Intent {
        id,
        attempt,
        external_id: open.map_or_else(|| next_external_id(f), |open| open.external_id),
        body: f.desired.inputs.clone(),
        repeated,
        after: f.ledger.request.as_ref().map(|r| r.id.clone()),
    }
}

/// A create of an earlier order went without an answer, and its tenant may be there or come yet.
/// Whoever orders again says so in the new intent, as it is the only one that a delete will find.
fn outlived(f: &Facts) -> bool {
    f.rules.mode == IdentityMode::ExternalId && (unanswered(f) || open_create(f).is_some())
}

/// The externalId the next create carries: a tenant that is dead but still shown is not revived,
/// so its successor counts up. A key that was used is answered with what it made, so where keys
/// count every new purchase has another. Where a create went without an answer the name stays: what
/// that one made is found by it, and nothing can be made beside it.
pub(super) fn next_external_id(f: &Facts) -> String {
    let current = f.name();
    let dead = f.ledger.tenant_id.is_some() && f.pass.read != Some(Read::Absent);
    let used = match f.rules.mode {
        IdentityMode::IdempotencyKey => {
            f.ledger.tenant_id.is_some()
                || f.ledger.request.as_ref().is_some_and(|r| {
                    r.type_ == RequestType::Purchase
                        && (r.status == RequestStatus::Failed || denied(f, &r.id))
                })
        }
        IdentityMode::ExternalId => dead && !unanswered(f),
        IdentityMode::Lookup | IdentityMode::None => dead,
    };
    if used {
        identity::next(&f.desired.external_id, current)
    } else {
        current.to_owned()
    }
}

/// The create whose answer nobody has recorded, if there is one.
///
/// But for mode `ExternalId` the intent is the request in status, as `kubectl replace` drops
/// annotations.
pub fn open_create(f: &Facts) -> Option<Intent> {
    let request = f.ledger.request.as_ref();
    match f.rules.mode {
        IdentityMode::ExternalId => f.intent.clone().filter(|intent| match request {
            None => true,
            Some(r) if r.id == intent.id => {
                r.attempts < intent.attempt || r.status == RequestStatus::Unknown
            }
            Some(r) => intent.after.as_ref() == Some(&r.id),
        }),
        IdentityMode::IdempotencyKey | IdentityMode::Lookup | IdentityMode::None => request
            .filter(|r| {
                r.type_ == RequestType::Purchase
                    && f.ledger.tenant_id.is_none()
                    && (r.status == RequestStatus::Unknown
                        || (r.status == RequestStatus::Pending && !undelivered(r)))
            })
            .map(|r| Intent {
                id: r.id.clone(),
                attempt: r.attempts,
                external_id: f.name().to_owned(),
                body: None,
                repeated: r.attempts > 1,
                after: None,
            }),
    }
}

/// The finalizer says that there was something, and its record is lost. Where tenants are looked for,
/// that is a create that may be on its way.
pub(super) fn forgotten(f: &Facts) -> bool {
    f.rules.mode == IdentityMode::Lookup
        && f.object.lost
        && f.ledger.tenant_id.is_none()
        && f.ledger.request.is_none()
}

/// What settling counts from: the newest intent, or that its record is lost.
pub fn settles_from(f: &Facts) -> Option<Intent> {
    let lost = || {
        forgotten(f).then(|| Intent {
            id: String::new(),
            attempt: 0,
            external_id: f.name().to_owned(),
            body: None,
            repeated: false,
            after: None,
        })
    };
    f.intent.clone().or_else(|| open_create(f)).or_else(lost)
}

/// Another replica, or this one before it was restarted, has sent a create that may be answered yet,
/// and repeating it would tell nothing.
fn under_way(f: &Facts) -> bool {
    let waits = match f.rules.mode {
        IdentityMode::None => true,
        IdentityMode::IdempotencyKey => held(f),
        // The one is repeated at once, the other settles before it is looked up.
        IdentityMode::ExternalId | IdentityMode::Lookup => false,
    };
    let recorded = f.ledger.request.as_ref();
    waits
        && open_create(f).is_some()
        && recorded.is_some_and(|r| r.status == RequestStatus::Pending)
}

/// Whether only a person can say what became of a create.
pub(super) fn held(f: &Facts) -> bool {
    let request = f.ledger.request.as_ref();
    let contradicted =
        request.filter(|r| r.status == RequestStatus::Unknown && !r.reason.is_empty());
    let lost = f.object.lost && f.ledger.tenant_id.is_none() && request.is_none();
    match f.rules.mode {
        // Repeating is safe, unless the vendor contradicted itself about this very order. Once a
        // person has answered and the next order has its intent, that one is what is open.
        IdentityMode::ExternalId => contradicted.is_some_and(|r| {
            let superseded = open_create(f).is_some_and(|open| open.id != r.id);
            !superseded && (f.object.deleting || r.generation == f.object.generation)
        }),
        IdentityMode::Lookup => contradicted.is_some(),
        // A repeated order is the same whatever the spec says by now. Deleting, a repeat of an order
        // whose record is lost could be the first.
        IdentityMode::IdempotencyKey => {
            contradicted.is_some()
                || (open_create(f).is_some() && !f.clock.repeatable)
                || (lost && f.object.deleting)
        }
        IdentityMode::None => {
            // Deleting, another create would tell nothing, whatever the policy.
            let hold = f.rules.on_unknown == OnUnknownOutcome::Hold || f.object.deleting;
            hold && (lost || open_create(f).is_some())
        }
    }
}

/// Whether a person can now say if a create made a tenant: it can have no effect any more.
pub fn asks(f: &Facts) -> bool {
    let request = f.ledger.request.as_ref();
    f.clock.settled && !f.pass.mutated && request.is_some_and(|r| r.settled_at.is_none())
}

/// A person says that this request made no tenant.
pub fn says_none(f: &Facts, request: &str) -> bool {
    f.object.resolution == Some(Resolution::None(request.to_owned()))
}

/// A person is asked and says that this request made no tenant, and it can make none any more. The next
/// create is another request, so that an annotation left in place never answers for it.
pub(super) fn denied(f: &Facts, request: &str) -> bool {
    let asked = f.ledger.request.as_ref().filter(|r| r.id == request);
    let counts = |r: &Request| r.settled_at.is_some() || (f.clock.settled && held(f));
    asked.is_some_and(counts) && says_none(f, request)
}

/// A person's answer, if it answers this question.
pub(super) fn resolve(f: &Facts, last: Option<&Request>) -> Step {
    match &f.object.resolution {
        Some(Resolution::Adopt(tenant)) if f.pass.note.is_none() => Step::Adopt(tenant.clone()),
        Some(Resolution::None(_)) if last.is_some_and(|r| denied(f, &r.id)) => {
            if f.object.deleting {
                Step::Release
            } else {
                arm(f)
            }
        }
        Some(Resolution::Adopt(_) | Resolution::None(_) | Resolution::Malformed(_)) | None => {
            Step::Rest(Rest::Held)
        }
    }
}
