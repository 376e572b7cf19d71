//! The answer to a create: whose tenant is it, and did it come to be?

use fulfillment_crds::{
    AdoptionPolicy, IdentityMode, RequestStatus, RequestType, SubscriptionState,
};

use super::*;
use crate::{
    facts::{Facts, Intent},
    identity,
    vendor::{Answer, Class, Effect, Said, Tenant, TenantStatus, VendorError},
};

/// The answer to a create.
pub(super) fn created(f: &mut Facts, intent: &Intent, answer: Result<Answer, VendorError>) {
    // Asked before the ledger moves on: did an earlier create go without an answer?
    let doubt = earlier_doubt(f, intent);
    intended(f, intent);
    f.pass.armed = false;
    f.pass.mutated = true;
    match answer.map(|a| a.said) {
        Ok(Said::Tenant(tenant) | Said::Accepted(Some(tenant))) => {
            f.ledger.inputs_hash = sent_inputs(f);
            taken(f, &tenant);
        }
        Ok(Said::Exists(Some(tenant))) => exists(f, intent, &tenant, doubt),
        // This or another send of it is under way: repeating it, or a lookup, tells.
        Ok(Said::Exists(None)) if finds_out(f.rules.mode) => {
            unknown(
                f,
                "",
                "the vendor says that there is such a create already (409)",
            );
        }
        Ok(Said::Exists(None)) => unknown(
            f,
            EXISTS_UNNAMED,
            "the vendor says the tenant exists (409) and does not name it",
        ),
        Ok(Said::Done | Said::Accepted(None) | Said::Absent | Said::Found(_)) => {
            unknown(f, "", "the vendor's answer does not name the tenant");
        }
        Err(error) => create_failed(f, error, doubt),
    }
    let open = f
        .ledger
        .request
        .as_ref()
        .is_some_and(|r| r.status == RequestStatus::Unknown);
    if !open {
        f.ledger.create = None;
    }
}

/// Whether what a 409 speaks of can be found out although it does not name it.
fn finds_out(mode: IdentityMode) -> bool {
    match mode {
        IdentityMode::IdempotencyKey | IdentityMode::Lookup => true,
        IdentityMode::ExternalId | IdentityMode::None => false,
    }
}

/// The hash of the parameters this create carried.
fn sent_inputs(f: &Facts) -> Option<String> {
    match &f.ledger.create {
        Some(sent) => sent.inputs.clone(),
        None => f.desired.inputs.clone(),
    }
}

/// Whether an earlier create for this object may have had an effect that nobody recorded.
pub(super) fn earlier_doubt(f: &Facts, intent: &Intent) -> bool {
    let unanswered = f
        .ledger
        .request
        .as_ref()
        // Another request's doubt a person has ended, or there would be no intent of this one.
        .is_some_and(|r| r.status == RequestStatus::Unknown && r.id == intent.id);
    let skipped = match &f.ledger.request {
        Some(r) if r.id == intent.id => intent.attempt > r.attempts + 1,
        Some(_) | None => intent.attempt > 1,
    };
    unanswered
        || match f.rules.mode {
            IdentityMode::ExternalId => skipped,
            // What is recorded is lost, and the finalizer says that there was something.
            IdentityMode::IdempotencyKey => intent.repeated || (f.object.lost),
            // Looked up before it was sent, or vouched for by a person.
            IdentityMode::Lookup | IdentityMode::None => false,
        }
}

/// 409: a tenant of this name exists. Whose is it?
pub(super) fn exists(f: &mut Facts, intent: &Intent, tenant: &Tenant, doubt: bool) {
    let named = tenant.external_id.as_deref();
    if named.is_some_and(|name| name != intent.external_id) {
        return unknown(
            f,
            EXISTS_UNNAMED,
            "the vendor answered 409 with a tenant of another externalId",
        );
    }
    if f.desired.claimed && f.desired.adoption == AdoptionPolicy::CreateOnly {
        if doubt {
            let message = maybe_ours(&intent.external_id, tenant);
            return unknown(f, CONFLICT, &message);
        }
        f.ledger.inputs_hash = f.desired.inputs.clone();
        let message = another_owner(&intent.external_id);
        return failed(f, CONFLICT, &message);
    }
    match tenant.status {
        // Dead and still shown: not revived, its successor counts up.
        TenantStatus::Terminated | TenantStatus::Failed => {
            f.ledger.external_id =
                Some(identity::next(&f.desired.external_id, &intent.external_id));
        }
        TenantStatus::Pending
        | TenantStatus::Active
        | TenantStatus::Suspended
        | TenantStatus::Unknown => {
            // What it was made with is known only if this order was sent before, unchanged.
            f.ledger.inputs_hash = f.pass.sent_before.clone();
            taken(f, tenant);
        }
    }
}

pub(super) fn another_owner(name: &str) -> String {
    format!(
        "the vendor has a tenant of externalId {name} already, and it is not this Subscription's; choose another externalId, or take it over with adoptionPolicy: AdoptOrCreate"
    )
}

pub(super) fn maybe_ours(name: &str, tenant: &Tenant) -> String {
    format!(
        "the vendor has tenant {} of externalId {name}; it may be ours, from a create whose answer was lost, or another's",
        tenant.id
    )
}

/// The create has an effect for certain, and this is it.
pub(super) fn taken(f: &mut Facts, tenant: &Tenant) {
    record(f, tenant);
    if f.ledger.state.is_none() {
        f.ledger.state = Some(SubscriptionState::Processing);
    }
    if tenant.limits.is_none() {
        // A vendor that does not repeat the limits took them as they were sent.
        let sent = f.ledger.create.as_ref();
        f.ledger.limits = sent.map_or(&f.desired.limits, |sent| &sent.limits).clone();
    }
    judge(f, tenant, RequestType::Purchase, false);
}

pub(super) fn create_failed(f: &mut Facts, error: VendorError, doubt: bool) {
    let known = f.rules.mode == IdentityMode::IdempotencyKey && error.code == KEY_REUSED;
    let sure = error.effect == Effect::None && !doubt && !known;
    if error.class == Class::Refused && sure {
        f.ledger.inputs_hash = f.desired.inputs.clone();
        refused(f, &error);
    } else if error.class == Class::Refused {
        unknown(f, &code(&error), &error.message);
    } else if sure {
        undeliver(f, &error);
    } else {
        unknown(f, "", &error.message);
    }
    f.pass.failure = Some(error);
}
