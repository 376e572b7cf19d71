//! What a tenant tells about itself and about its request.

use fulfillment_crds::{
    ParameterError, ParameterValue, RequestStatus, RequestType, SubscriptionState,
};

use super::*;
use crate::{
    drift,
    facts::Facts,
    product,
    vendor::{Fulfillment, FulfillmentStatus, Tenant, TenantStatus},
};

/// What a tenant tells about itself.
pub(super) fn record(f: &mut Facts, tenant: &Tenant) {
    if !tenant.id.is_empty() {
        f.ledger.tenant_id = Some(tenant.id.clone());
    }
    if let Some(limits) = &tenant.limits {
        f.ledger.limits = limits.clone();
    }
    for (name, value) in &tenant.parameters {
        match f.ledger.parameters.iter_mut().find(|p| p.name == *name) {
            Some(known) => known.value.clone_from(value),
            None => f.ledger.parameters.push(ParameterValue {
                name: name.clone(),
                value: value.clone(),
            }),
        }
    }
    f.pass.left_out = tenant.left_out();
    // A parameter that became sensitive, or too long, leaves status.
    f.ledger
        .parameters
        .retain(|p| !tenant.sensitive.contains_key(&p.name) && !f.pass.left_out.contains(&p.name));
    f.ledger.parameters.truncate(64);
    f.pass.sensitive = tenant.sensitive.keys().cloned().collect();
    if let (Some(token), Some(request)) = (&tenant.operation, &mut f.ledger.request) {
        request.operation = Some(token.clone());
    }
    let provisioned = f
        .ledger
        .state
        .is_some_and(|s| s != SubscriptionState::Processing);
    let leaving = f
        .ledger
        .request
        .as_ref()
        .is_some_and(|r| r.type_ == RequestType::Cancel);
    f.ledger.state = match tenant.status {
        TenantStatus::Active | TenantStatus::Suspended | TenantStatus::Pending if leaving => {
            Some(SubscriptionState::Terminating)
        }
        TenantStatus::Active => Some(SubscriptionState::Active),
        TenantStatus::Suspended => Some(SubscriptionState::Suspended),
        TenantStatus::Terminated | TenantStatus::Failed => Some(SubscriptionState::Terminated),
        TenantStatus::Pending | TenantStatus::Unknown if provisioned => f.ledger.state,
        TenantStatus::Pending | TenantStatus::Unknown => Some(SubscriptionState::Processing),
    };
}

/// What the product has come to keep out of status leaves it.
pub(super) fn hide(f: &mut Facts) {
    let unshown = &f.desired.unshown;
    f.ledger.parameters.retain(|p| !unshown.contains(&p.name));
}

/// The product's text for the user, once there is something to tell.
pub(super) fn activate(f: &mut Facts) {
    if f.trouble.is_some() {
        return;
    }
    let provisioned = match f.ledger.state {
        Some(SubscriptionState::Active | SubscriptionState::Suspended) => true,
        Some(
            SubscriptionState::Processing
            | SubscriptionState::Terminating
            | SubscriptionState::Terminated,
        )
        | None => false,
    };
    let template = f.desired.template.as_ref().filter(|_| provisioned);
    f.ledger.activation = template.map(|template| product::activation(template, &f.ledger));
}

/// Where the pending request stands, from what the vendor shows of it; where it does not say, from
/// the tenant.
pub(super) fn judge(f: &mut Facts, tenant: &Tenant, type_: RequestType, asynchronous: bool) {
    match &tenant.request {
        Some(request) => match request.status {
            FulfillmentStatus::Approved => approve(f, tenant, type_),
            FulfillmentStatus::Failed => vendor_failed(f, request, type_),
            FulfillmentStatus::Inquiring => inquire(f, &request.reason, &request.parameter_errors),
            FulfillmentStatus::Pending | FulfillmentStatus::Unknown => back_to_pending(f),
        },
        None => {
            let done = match type_ {
                RequestType::Purchase => match tenant.status {
                    TenantStatus::Active | TenantStatus::Suspended => Some(true),
                    TenantStatus::Failed | TenantStatus::Terminated => Some(false),
                    TenantStatus::Pending | TenantStatus::Unknown => None,
                },
                RequestType::Suspend => (tenant.status == TenantStatus::Suspended).then_some(true),
                RequestType::Resume => (tenant.status == TenantStatus::Active).then_some(true),
                RequestType::Change => (!asynchronous
                    || drift::limits(&f.desired, &f.ledger).is_empty())
                .then_some(true),
                RequestType::Cancel => None,
            };
            match done {
                Some(true) => approve(f, tenant, type_),
                Some(false) => failed(f, "", "the vendor reports the tenant as failed"),
                None => {}
            }
        }
    }
}

pub(super) fn approve(f: &mut Facts, tenant: &Tenant, type_: RequestType) {
    if type_ == RequestType::Cancel {
        return; // gone is gone only when a read says so
    }
    if type_ == RequestType::Purchase && f.ledger.state == Some(SubscriptionState::Processing) {
        f.ledger.state = Some(match tenant.status {
            TenantStatus::Suspended => SubscriptionState::Suspended,
            TenantStatus::Pending
            | TenantStatus::Active
            | TenantStatus::Terminated
            | TenantStatus::Failed
            | TenantStatus::Unknown => SubscriptionState::Active,
        });
    }
    // An inquiry that the vendor ended itself: what it asked is answered.
    back_to_pending(f);
    f.ledger.parameter_errors.clear();
    finish(f, RequestStatus::Approved, "", "");
}

pub(super) fn vendor_failed(f: &mut Facts, request: &Fulfillment, type_: RequestType) {
    match type_ {
        // A delete is never given up: it is sent again.
        RequestType::Cancel => {
            if let Some(current) = &mut f.ledger.request {
                current.reason = "Failed".into();
                current.message.clone_from(&request.reason);
            }
        }
        RequestType::Purchase
        | RequestType::Change
        | RequestType::Suspend
        | RequestType::Resume => {
            f.ledger
                .parameter_errors
                .clone_from(&request.parameter_errors);
            // One word is a code, as in a refusal's body; more is a message.
            if request.reason.contains(' ') || request.reason.chars().count() > 64 {
                failed(f, "", &request.reason);
            } else {
                failed(f, &request.reason, "");
            }
        }
    }
}

pub(super) fn inquire(f: &mut Facts, message: &str, errors: &[ParameterError]) {
    f.ledger.parameter_errors = errors.to_vec();
    if let Some(request) = &mut f.ledger.request {
        request.status = RequestStatus::Inquiring;
        request.reason.clear();
        message.clone_into(&mut request.message);
    }
}

pub(super) fn back_to_pending(f: &mut Facts) {
    if let Some(request) = &mut f.ledger.request
        && request.status == RequestStatus::Inquiring
    {
        request.status = RequestStatus::Pending;
        request.message.clear();
        f.ledger.parameter_errors.clear();
    }
}
