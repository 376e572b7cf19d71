//! The decision: given all that is known, the one next step.
//!
//! Pure: no client, no clock, no randomness, no log. It is called again after each step with the
//! answer folded into the facts, until it says [`Step::Rest`].
//!
//! # Guarantees
//!
//! * No create without an intent written by a compare-and-swap in the same pass, and none while
//!   the outcome of an earlier one is unknown and cannot be repeated safely.
//! * No release of the finalizer while a tenant may exist, but by `deletionPolicy: Retain`.
//! * At most one vendor mutation in a pass.

mod create;
mod end;
mod tend;

use fulfillment_crds::{IdentityMode, Request, RequestStatus, RequestType, SubscriptionState};

use crate::{
    drift,
    facts::{Facts, Intent, Read},
    ledger::CONFLICT,
    vendor::Class,
};
use create::{arm, ended, find, forgotten, held, purchase, resolve};
pub use create::{asks, open_create, says_none, settles_from};
pub use end::settling;
use end::{end, memorable, unanswered};
use tend::{dead, missing, tend};

/// The next step of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write finalizer and intent in one compare-and-swap of the object.
    Claim(Intent),
    /// Write the finalizer alone, by compare-and-swap.
    Finalize,
    /// Write the intent into status, by compare-and-swap.
    Intend(Intent),
    /// Send the create the intent stands for.
    Create(Intent),
    /// Read the tenant.
    Read,
    /// Look for tenants of this externalId.
    Look(String),
    /// Delete a second live tenant of ours: its create landed late.
    Discard(String),
    /// Read the tenant a person named, and take it if it is there.
    Adopt(String),
    /// Send limits and parameters.
    Change,
    /// Disable the tenant.
    Suspend,
    /// Enable the tenant.
    Resume,
    /// Delete the tenant.
    Delete,
    /// Remember a name whose create may still take effect.
    Bury,
    /// Drop the finalizer.
    Release,
    /// Nothing more in this pass.
    Rest(Rest),
}

/// How a pass ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rest {
    /// The vendor's side is as declared.
    InSync,
    /// The vendor has not decided.
    Pending,
    /// The vendor waits for input.
    Inquiring,
    /// The spec breaks its product's rules: nothing is sent before it is edited.
    Invalid,
    /// The vendor refused; nothing is repeated until something changes.
    Failed,
    /// Not decided within `timeouts.provisioning`.
    Overdue,
    /// A call failed with something left to do.
    Retry,
    /// A call failed with nothing left to do: in sync when last seen.
    Unverified,
    /// The outcome of a create is unknown; it is looked up when nothing can land any more.
    Settling,
    /// The outcome of a create is unknown and only a person can say.
    Held,
    /// The vendor took a correction and still differs.
    Drifted,
    /// Something the operator depends on is not there.
    Trouble,
    /// The tenant is gone and the policy is to report.
    Missing,
    /// The tenant seems gone; a second read decides.
    VerifyMissing,
    /// The object is paused.
    Paused,
    /// Being deleted, and not done.
    Terminating,
    /// One mutation is done, another is due.
    Again,
    /// Waiting for a back-off to end: nothing new to say.
    Unchanged,
    /// Deleted and released: not ours any more.
    Gone,
}

/// Decides the next step.
pub fn plan(f: &Facts) -> Step {
    if f.object.deleting && !f.object.finalized {
        return Step::Rest(Rest::Gone);
    }
    if f.object.paused {
        return Step::Rest(Rest::Paused);
    }
    if !f.object.deleting {
        return buys(f, ruled(f, live(f)));
    }
    let step = end(f);
    if step == Step::Release && memorable(f) {
        return Step::Bury;
    }
    step
}

/// What breaks its product's rules is not sent. A tenant that is there is read, suspended and resumed
/// all the same.
fn ruled(f: &Facts, step: Step) -> Step {
    let unborn = f.ledger.tenant_id.is_none() && open_create(f).is_none();
    let stops = match &step {
        Step::Claim(_) | Step::Intend(_) | Step::Change | Step::Rest(Rest::InSync) => true,
        Step::Finalize | Step::Look(_) => unborn,
        Step::Create(_)
        | Step::Read
        | Step::Discard(_)
        | Step::Adopt(_)
        | Step::Suspend
        | Step::Resume
        | Step::Delete
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => false,
    };
    if stops && !f.desired.invalid.is_empty() {
        Step::Rest(Rest::Invalid)
    } else {
        step
    }
}

/// Nothing is bought while what it would be bought under is not ready.
fn buys(f: &Facts, step: Step) -> Step {
    match step {
        Step::Claim(_) | Step::Intend(_) if f.unready.is_some() => Step::Rest(Rest::Trouble),
        Step::Claim(_)
        | Step::Intend(_)
        | Step::Finalize
        | Step::Create(_)
        | Step::Read
        | Step::Look(_)
        | Step::Discard(_)
        | Step::Adopt(_)
        | Step::Change
        | Step::Suspend
        | Step::Resume
        | Step::Delete
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => step,
    }
}

/// The object is wanted.
fn live(f: &Facts) -> Step {
    if f.trouble.is_some() {
        return Step::Rest(Rest::Trouble);
    }
    if let Some(error) = &f.pass.failure
        && (error.class != Class::Refused || !f.pass.mutated)
    {
        return Step::Rest(if is_calm(f) {
            Rest::Unverified
        } else {
            Rest::Retry
        });
    }
    if let Some(twin) = f.pass.twins.first() {
        return discard(f, twin);
    }
    match &f.ledger.tenant_id {
        None => purchase(f),
        Some(_) if f.pass.read == Some(Read::Absent) => missing(f),
        Some(_) if open_create(f).is_some() => purchase(f),
        Some(_) if f.ledger.state == Some(SubscriptionState::Terminated) => dead(f),
        Some(_) if !f.object.finalized => Step::Finalize,
        Some(_) => tend(f),
    }
}

/// Two live tenants of ours: one is kept, the others go, one in a pass.
fn discard(f: &Facts, twin: &str) -> Step {
    if f.pass.mutated {
        Step::Rest(Rest::Again)
    } else if f.object.finalized {
        Step::Discard(twin.to_owned())
    } else {
        Step::Finalize
    }
}

/// A read of the tenant. Where tenants are found by name, the read is a lookup, so that a twin is
/// seen; what it does not find is asked for by its id before it is taken for gone.
fn read(f: &Facts) -> Step {
    if f.rules.mode == IdentityMode::Lookup && f.pass.vacant.is_none() {
        Step::Look(f.name().to_owned())
    } else {
        Step::Read
    }
}

/// The purchase of the present tenant, if any, failed.
pub(crate) fn failed_purchase(f: &Facts) -> bool {
    f.ledger
        .request
        .as_ref()
        .is_some_and(|r| r.type_ == RequestType::Purchase && r.status == RequestStatus::Failed)
}

/// Nothing that a refusal rested on has changed since, and nobody asks for another try.
fn same_try(f: &Facts, refused: &Request) -> bool {
    let asked_again =
        f.object.requested_at.is_some() && refused.reason != CONFLICT && !f.pass.mutated;
    let carries_inputs = match refused.type_ {
        RequestType::Purchase | RequestType::Change => true,
        RequestType::Suspend | RequestType::Resume | RequestType::Cancel => false,
    };
    refused.generation == f.object.generation
        && !(carries_inputs && drift::unsent(&f.desired, &f.ledger))
        && !asked_again
}

/// There is a tenant, nothing is under way and nothing differs, as far as is known.
pub fn is_calm(f: &Facts) -> bool {
    f.ledger.tenant_id.is_some()
        && f.ledger.observed_generation == Some(f.object.generation)
        && f.ledger
            .request
            .as_ref()
            .is_none_or(|r| r.status.is_final())
        && open_create(f).is_none()
        && drift::in_sync(&f.desired, &f.ledger)
}

/// The request a step belongs to.
pub fn request_type(step: &Step) -> Option<RequestType> {
    match step {
        Step::Claim(_) | Step::Intend(_) | Step::Create(_) => Some(RequestType::Purchase),
        Step::Change => Some(RequestType::Change),
        Step::Suspend => Some(RequestType::Suspend),
        Step::Resume => Some(RequestType::Resume),
        Step::Delete => Some(RequestType::Cancel),
        Step::Finalize
        | Step::Read
        | Step::Look(_)
        | Step::Discard(_)
        | Step::Adopt(_)
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => None,
    }
}
