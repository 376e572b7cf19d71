//! Folds what happened in a pass into what is remembered. Pure.

mod answer;
mod create;
mod look;
mod request;
mod tenant;

use fulfillment_crds::{Request, RequestStatus, RequestType, SubscriptionState, Time};

use crate::{
    drift,
    facts::{Facts, Intent},
    plan::{self, Rest, Step},
    vendor::{Answer, VendorError},
};
use answer::{adopted, mutated, read};
use create::{created, taken};
use look::{discarded, looked};
use request::{code, failed, finish, refused, undeliver, unknown};
use tenant::{inquire, judge, record};

/// `request.reason` where the tenant belongs to another owner.
pub const CONFLICT: &str = "Conflict";

/// `request.reason` where a vendor answers 409 without saying which tenant there is.
pub const EXISTS_UNNAMED: &str = "ExistsUnnamed";

/// The vendor's code where it knows the key of a create from one with another content: that one made
/// something, and is not recorded here. Another key would make it twice.
pub const KEY_REUSED: &str = "idempotency_key_reused";

/// How many finished requests status keeps.
const HISTORY: usize = 10;

/// A pending request that the vendor does not have yet: its last send failed. What stands between
/// is its `reason`; a pending request the vendor has, has none.
pub fn undelivered(request: &Request) -> bool {
    request.status == RequestStatus::Pending && !request.reason.is_empty()
}

/// A request that was never sent, as the spec breaks its product's rules.
pub fn draft(request: &Request) -> bool {
    request.status == RequestStatus::Inquiring && request.started_at.is_none()
}

/// The vendor has this request and has not decided.
pub fn awaiting_vendor(request: &Request) -> bool {
    match request.status {
        RequestStatus::Pending => !undelivered(request),
        // What was refused, it does not have.
        RequestStatus::Inquiring => !draft(request) && request.reason.is_empty(),
        RequestStatus::Approved | RequestStatus::Failed | RequestStatus::Unknown => false,
    }
}

/// The finalizer was written.
pub fn finalized(f: &mut Facts) {
    f.object.finalized = true;
    f.pass.just_finalized = true;
}

/// The tombstone was written.
pub fn buried(f: &mut Facts) {
    f.pass.buried = true;
}

/// An intent was written: the right to send one create.
pub fn armed(f: &mut Facts, intent: &Intent) {
    let before = f.intent.take().filter(|known| known.id == intent.id);
    f.pass.sent_before = before.and_then(|known| known.body);
    f.object.finalized = true;
    f.pass.armed = true;
    f.intent = Some(intent.clone());
}

/// The request an intent stands for, before any answer. But for mode `ExternalId` this is what is
/// written.
pub fn intended(f: &mut Facts, intent: &Intent) {
    if !intent.repeated {
        f.ledger.create.clone_from(&f.desired.body);
        // What is about to be sent is known, and so is when.
        f.clock.repeatable = f.ledger.create.is_some();
    }
    let began = f.ledger.request.take().filter(|r| r.id == intent.id);
    f.ledger.external_id = Some(intent.external_id.clone());
    f.ledger.sent_inputs_hash = None;
    f.ledger.tenant_id = None;
    // Another tenant's: this one has given nothing yet.
    f.ledger.parameters.clear();
    f.ledger.activation = None;
    f.ledger.state = Some(SubscriptionState::Processing);
    f.ledger.request = Some(Request {
        id: intent.id.clone(),
        type_: RequestType::Purchase,
        status: RequestStatus::Pending,
        generation: f.object.generation,
        reason: String::new(),
        message: String::new(),
        attempts: intent.attempt,
        started_at: began.and_then(|r| r.started_at).or(Some(Time(f.clock.now))),
        settled_at: None,
        finished_at: None,
        operation: None,
    });
}

/// Folds the answer to a vendor call into the facts.
pub fn answered(f: &mut Facts, step: &Step, answer: Result<Answer, VendorError>) {
    match step {
        Step::Create(intent) => created(f, intent, answer),
        Step::Read => read(f, answer),
        Step::Look(name) => looked(f, name, answer),
        Step::Discard(twin) => discarded(f, twin, answer),
        Step::Adopt(tenant) => adopted(f, tenant, answer),
        Step::Change | Step::Suspend | Step::Resume | Step::Delete => {
            if let Some(type_) = plan::request_type(step) {
                mutated(f, type_, answer);
            }
        }
        Step::Claim(_)
        | Step::Finalize
        | Step::Intend(_)
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => {}
    }
}

/// What the end of a pass itself leaves behind.
pub fn rested(f: &mut Facts, rest: Rest) {
    f.ledger.drift = match rest {
        Rest::Drifted | Rest::Retry
            if !(f.pass.drifted.is_empty() && f.ledger.drift.is_empty()) =>
        {
            drift::named(&f.desired, &f.ledger, f.clock.now)
        }
        Rest::Unverified | Rest::Unchanged | Rest::Paused | Rest::Trouble | Rest::VerifyMissing => {
            std::mem::take(&mut f.ledger.drift)
        }
        Rest::Drifted => drift::named(&f.desired, &f.ledger, f.clock.now),
        Rest::InSync
        | Rest::Pending
        | Rest::Inquiring
        | Rest::Invalid
        | Rest::Failed
        | Rest::Overdue
        | Rest::Retry
        | Rest::Settling
        | Rest::Held
        | Rest::Missing
        | Rest::Terminating
        | Rest::Again
        | Rest::Gone => Vec::new(),
    };
    request::ruled(f, rest);
    tenant::hide(f);
    tenant::activate(f);
    if rest == Rest::Missing && f.ledger.tenant_id.is_some() {
        f.ledger.state = Some(SubscriptionState::Terminated);
    }
    if rest == Rest::Held {
        question(f);
    }
}

/// What a person is asked: it needs an id that the answer can name, and a time from which an answer
/// counts.
fn question(f: &mut Facts) {
    let asks = plan::asks(f);
    match &mut f.ledger.request {
        Some(request) if asks => request.settled_at = Some(Time(f.clock.now)),
        Some(_) => {}
        None => {
            f.ledger.state = Some(SubscriptionState::Processing);
            f.ledger.request = Some(Request {
                id: f.pass.request_id.clone(),
                type_: RequestType::Purchase,
                status: RequestStatus::Unknown,
                generation: f.object.generation,
                reason: String::new(),
                message: "the record of an earlier create was lost".into(),
                attempts: 1,
                started_at: Some(Time(f.clock.now)),
                settled_at: None,
                finished_at: None,
                operation: None,
            });
        }
    }
}
