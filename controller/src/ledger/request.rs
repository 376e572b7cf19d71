//! How a request moves: refused, undelivered, unknown, finished.

use fulfillment_crds::{RequestStatus, RequestType, SubscriptionState, Time};

use super::*;
use crate::{facts::Facts, vendor::VendorError};

/// What the product's rules leave behind: a draft while they are broken, and nothing of it after.
pub(super) fn ruled(f: &mut Facts, rest: Rest) {
    let current = f.ledger.request.as_mut();
    if rest == Rest::Invalid {
        f.ledger.parameter_errors.clone_from(&f.desired.invalid);
        match current {
            Some(r) if draft(r) => r.generation = f.object.generation,
            // The vendor has this one; the next is drafted when it is decided.
            Some(r) if !r.status.is_final() => {}
            Some(_) | None => f.ledger.request = Some(drafted(f)),
        }
        return;
    }
    let settled = match rest {
        Rest::InSync | Rest::Pending | Rest::Again => true,
        Rest::Inquiring
        | Rest::Invalid
        | Rest::Failed
        | Rest::Overdue
        | Rest::Retry
        | Rest::Unverified
        | Rest::Settling
        | Rest::Held
        | Rest::Drifted
        | Rest::Trouble
        | Rest::Missing
        | Rest::VerifyMissing
        | Rest::Paused
        | Rest::Terminating
        | Rest::Unchanged
        | Rest::Gone => false,
    };
    if settled {
        f.ledger.parameter_errors.clear();
    }
    if rest == Rest::InSync {
        answered_by_a_read(f);
    }
}

/// A request that the vendor is not known to have, and nothing is left of it to do.
fn answered_by_a_read(f: &mut Facts) {
    let Some(request) = &mut f.ledger.request else {
        return;
    };
    let open = request.status == RequestStatus::Inquiring && !awaiting_vendor(request);
    if undelivered(request) && request.generation == f.object.generation {
        // Only its answer was lost.
        request.message.clear();
        finish(f, RequestStatus::Approved, "", "");
    } else if open || undelivered(request) {
        // The spec went back to what the vendor has: there was no request, or it is withdrawn.
        f.ledger.request = f.ledger.history.first().cloned();
    }
}

fn drafted(f: &Facts) -> Request {
    let living =
        f.ledger.tenant_id.is_some() && f.ledger.state != Some(SubscriptionState::Terminated);
    Request {
        id: f.pass.request_id.clone(),
        type_: if living {
            RequestType::Change
        } else {
            RequestType::Purchase
        },
        status: RequestStatus::Inquiring,
        generation: f.object.generation,
        reason: String::new(),
        message: String::new(),
        attempts: 0,
        started_at: None,
        settled_at: None,
        finished_at: None,
        operation: None,
    }
}

/// A 4xx: failed, or an inquiry where the body names parameters. Unlike an inquiry of a request that
/// the vendor has, this one has a reason.
pub(super) fn refused(f: &mut Facts, error: &VendorError) {
    let code = code(error);
    if error.parameters.is_empty() {
        return failed(f, &code, &error.message);
    }
    inquire(f, &error.message, &error.parameters);
    if let Some(request) = &mut f.ledger.request {
        request.reason = if code.is_empty() {
            "Refused".into()
        } else {
            code
        };
    }
}

pub(super) fn failed(f: &mut Facts, reason: &str, message: &str) {
    if f.ledger
        .request
        .as_ref()
        .is_some_and(|r| r.type_ == RequestType::Purchase)
    {
        f.ledger.state = Some(SubscriptionState::Terminated);
    }
    finish(f, RequestStatus::Failed, reason, message);
}

/// The send failed for certain: the request waits for its next one.
pub(super) fn undeliver(f: &mut Facts, error: &VendorError) {
    if let Some(request) = &mut f.ledger.request {
        request.reason = error.reason().as_str().into();
        request.message.clone_from(&error.message);
    }
}

pub(super) fn unknown(f: &mut Facts, reason: &str, message: &str) {
    if let Some(request) = &mut f.ledger.request {
        request.status = RequestStatus::Unknown;
        reason.clone_into(&mut request.reason);
        message.clone_into(&mut request.message);
    }
}

/// The request is decided: the newest entry of the history.
pub(super) fn finish(f: &mut Facts, status: RequestStatus, reason: &str, message: &str) {
    let Some(request) = &mut f.ledger.request else {
        return;
    };
    request.status = status;
    reason.clone_into(&mut request.reason);
    if !message.is_empty() {
        message.clone_into(&mut request.message);
    }
    request.settled_at = None;
    request.finished_at = Some(Time(f.clock.now));
    request.operation = None;
    let ordered = match request.type_ {
        RequestType::Purchase | RequestType::Change => true,
        RequestType::Suspend | RequestType::Resume | RequestType::Cancel => false,
    };
    if ordered && status == RequestStatus::Approved {
        let sent = f.ledger.sent_inputs_hash.take();
        f.ledger.inputs_hash = sent.or(f.ledger.inputs_hash.take());
    }
    f.ledger.history.insert(0, request.clone());
    f.pass.finished.push(request.clone());
    cut(&mut f.ledger.history);
}

/// A newest purchase that was sent more than once stays: its doubt is remembered when the tenant is deleted.
fn cut(history: &mut Vec<Request>) {
    let bought = |r: &Request| r.type_ == RequestType::Purchase;
    let old = history.split_off(HISTORY.min(history.len()));
    if !history.iter().any(bought)
        && let Some(purchase) = old.into_iter().find(bought)
        && purchase.attempts > 1
    {
        history.pop();
        history.push(purchase);
    }
}

pub(super) fn code(error: &VendorError) -> String {
    if error.code.is_empty() {
        error
            .status
            .map_or_else(String::new, |status| format!("HTTP{status}"))
    } else {
        error.code.clone()
    }
}
