//! The answers to reads, changes and deletes.

use fulfillment_crds::{Request, RequestStatus, RequestType, SubscriptionState, Time};

use super::*;
use crate::{
    drift,
    facts::{Facts, Read},
    vendor::{Answer, Class, Said, Tenant, TenantStatus, VendorError, text::Secrets},
};

/// The answer to a read of the tenant we know.
pub(super) fn read(f: &mut Facts, answer: Result<Answer, VendorError>) {
    match answer.map(|a| a.said) {
        Ok(Said::Tenant(tenant) | Said::Accepted(Some(tenant)) | Said::Exists(Some(tenant))) => {
            found(f, &tenant);
        }
        Ok(Said::Done | Said::Accepted(None) | Said::Exists(None) | Said::Found(_)) => {
            f.pass.read = Some(Read::Found);
        }
        Ok(Said::Absent) => f.pass.read = Some(Read::Absent),
        Err(error) => f.pass.failure = Some(error),
    }
}

/// The tenant is there: what it tells, where its request stands, what has changed.
pub(super) fn found(f: &mut Facts, tenant: &Tenant) {
    f.pass.read = Some(Read::Found);
    let was = in_sync_before(f);
    record(f, tenant);
    let pending = f.ledger.request.as_ref().filter(|r| awaiting_vendor(r));
    if let Some(type_) = pending.map(|r| r.type_) {
        judge(f, tenant, type_, true);
    }
    if was {
        f.pass.drifted = drift::named(&f.desired, &f.ledger, f.clock.now);
    }
}

pub(super) fn in_sync_before(f: &Facts) -> bool {
    f.ledger.observed_generation == Some(f.object.generation)
        && f.ledger
            .request
            .as_ref()
            .is_none_or(|r| r.status.is_final())
        && (drift::in_sync(&f.desired, &f.ledger) || !f.ledger.drift.is_empty())
}

/// The answer to a read of the tenant a person named.
pub(super) fn adopted(f: &mut Facts, id: &str, answer: Result<Answer, VendorError>) {
    match answer.map(|a| a.said) {
        Ok(Said::Tenant(tenant) | Said::Accepted(Some(tenant)) | Said::Exists(Some(tenant))) => {
            f.pass.read = Some(Read::Found);
            f.ledger.tenant_id = Some(id.to_owned());
            f.ledger.inputs_hash = None;
            f.ledger.sent_inputs_hash = None;
            f.ledger.create = None;
            f.ledger.parameters.clear();
            // From now on it goes by the name it has.
            let named = tenant.external_id.clone();
            let named = named.filter(|name| !name.is_empty() && !Secrets::masked(name));
            f.ledger.external_id = named.or_else(|| Some(f.name().to_owned()));
            // It is known what the create made; where that stands, the tenant tells.
            let doubt = f.ledger.request.as_mut();
            if let Some(request) = doubt.filter(|r| r.status == RequestStatus::Unknown) {
                request.status = RequestStatus::Pending;
                request.reason.clear();
                request.message.clear();
            }
            taken(f, &tenant);
        }
        Ok(Said::Done | Said::Accepted(None) | Said::Exists(None) | Said::Found(_)) => {
            f.pass.read = Some(Read::Found);
            f.ledger.tenant_id = Some(id.to_owned());
        }
        Ok(Said::Absent) => {
            f.pass.note = Some(format!("the vendor has no tenant {id}"));
        }
        Err(error) => f.pass.failure = Some(error),
    }
}

/// The answer to a change, suspend, resume or delete.
pub(super) fn mutated(f: &mut Facts, type_: RequestType, answer: Result<Answer, VendorError>) {
    match answer.map(|a| a.said) {
        Ok(Said::Absent) => {
            f.pass.read = Some(Read::Absent);
            f.pass.deleted = type_ == RequestType::Cancel;
        }
        Ok(Said::Tenant(tenant)) => delivered(f, type_, Some(&tenant), false),
        Ok(Said::Accepted(tenant)) => delivered(f, type_, tenant.as_deref(), true),
        Ok(Said::Done | Said::Exists(_) | Said::Found(_)) => delivered(f, type_, None, false),
        Err(error) => {
            begin(f, type_);
            if error.class == Class::Refused && type_ != RequestType::Cancel {
                if type_ == RequestType::Change {
                    sent(f);
                }
                f.pass.mutated = true;
                refused(f, &error);
            } else {
                undeliver(f, &error);
            }
            f.pass.failure = Some(error);
        }
    }
}

/// A change took parameters and tiers along, where they differ from what the vendor took before.
fn sent(f: &mut Facts) {
    f.ledger.sent_inputs_hash = drift::inputs(&f.desired, &f.ledger)
        .then(|| f.desired.inputs.clone())
        .flatten();
}

/// The vendor has the request.
pub(super) fn delivered(
    f: &mut Facts,
    type_: RequestType,
    tenant: Option<&Tenant>,
    asynchronous: bool,
) {
    begin(f, type_);
    f.pass.mutated = true;
    let changes = f
        .ledger
        .request
        .as_ref()
        .is_some_and(|r| r.type_ != RequestType::Cancel);
    if type_ == RequestType::Change && changes {
        sent(f);
    }
    if let Some(tenant) = tenant {
        record(f, tenant);
    }
    if type_ == RequestType::Cancel {
        f.pass.deleted = true;
        f.ledger.state = Some(SubscriptionState::Terminating);
        return;
    }
    let current = f.ledger.request.as_ref().map_or(type_, |r| r.type_);
    match tenant {
        Some(tenant) if tenant.request.is_some() => judge(f, tenant, current, asynchronous),
        Some(_) | None if asynchronous => {}
        Some(_) | None => {
            as_sent(f, type_, tenant);
            finish(f, RequestStatus::Approved, "", "");
        }
    }
}

/// What a success does not tell, by a body without it or by no body at all, is as it was sent.
fn as_sent(f: &mut Facts, type_: RequestType, told: Option<&Tenant>) {
    let silent = told.is_none_or(|tenant| tenant.status == TenantStatus::Unknown);
    match type_ {
        RequestType::Suspend if silent => f.ledger.state = Some(SubscriptionState::Suspended),
        RequestType::Resume if silent => f.ledger.state = Some(SubscriptionState::Active),
        RequestType::Change if told.is_none_or(|tenant| tenant.limits.is_none()) => {
            f.ledger.limits.extend(f.desired.limits.clone());
        }
        RequestType::Suspend
        | RequestType::Resume
        | RequestType::Change
        | RequestType::Purchase
        | RequestType::Cancel => {}
    }
}

/// Begins a request, or sends the present one again: an undelivered one of the same kind, or an
/// inquiry that a change answers.
pub(super) fn begin(f: &mut Facts, type_: RequestType) {
    let corrects = correction_note(f);
    let resent = f.ledger.request.as_mut().filter(|r| {
        (r.type_ == type_ && undelivered(r))
            || (type_ == RequestType::Change && r.status == RequestStatus::Inquiring)
    });
    if let Some(request) = resent {
        request.attempts += 1;
        request.started_at.get_or_insert(Time(f.clock.now));
        request.generation = f.object.generation;
        request.status = RequestStatus::Pending;
        request.reason.clear();
        request.message = corrects;
        return;
    }
    f.ledger.parameter_errors.clear();
    f.ledger.request = Some(Request {
        id: f.pass.request_id.clone(),
        type_,
        status: RequestStatus::Pending,
        generation: f.object.generation,
        reason: String::new(),
        message: corrects,
        attempts: 1,
        started_at: Some(Time(f.clock.now)),
        settled_at: None,
        finished_at: None,
        operation: None,
    });
}

/// What a request corrects that nobody asked for in the spec.
pub(super) fn correction_note(f: &Facts) -> String {
    if f.pass.drifted.is_empty() && f.ledger.drift.is_empty() {
        return String::new();
    }
    let note = drift::describe(&drift::named(&f.desired, &f.ledger, f.clock.now));
    note.chars().take(1024).collect()
}
