//! How a TierConfiguration stands, by what is in its way and what became of its own tenant. Pure.

use fulfillment_crds::{ConditionType, ParameterError, Reason, RequestStatus, SubscriptionStatus};

use super::decide::{Child, Facts, is_active};
use crate::report;

/// How it stands.
pub(super) struct Standing {
    pub(super) ready: bool,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Reconciling, Stalled or neither.
    pub(super) moving: Option<ConditionType>,
    pub(super) request: RequestStatus,
    pub(super) errors: Vec<ParameterError>,
}

/// How a TierConfiguration stands that is wanted.
pub(super) fn standing(f: &Facts) -> Standing {
    if let Some(trouble) = &f.trouble {
        return moving(trouble.reason, trouble.message.clone());
    }
    if !f.invalid.is_empty() {
        return inquiring(&f.invalid);
    }
    match &f.child {
        Child::Unwanted => approved("set up: it is sent with every order under it"),
        Child::Absent | Child::Differs | Child::Unseen => {
            let working = if is_active(f) {
                Reason::Changing
            } else {
                Reason::Provisioning
            };
            moving(
                working,
                "its tenant at the vendor is being made as declared".into(),
            )
        }
        Child::Leaving(status) => {
            let why = report::ready(&status.conditions).map_or("", |c| c.message.as_str());
            moving(
                Reason::Provisioning,
                format!(
                    "its tenant at the vendor is being deleted, and made anew when it is gone: {why}"
                ),
            )
        }
        Child::Foreign(name) => Standing {
            moving: Some(ConditionType::Stalled),
            ..moving(
                Reason::Conflict,
                format!(
                    "Subscription {name} would be its own tenant's, and was not made for it: delete that one, or apply this TierConfiguration with another name"
                ),
            )
        },
        Child::Stands(status) => mirrored(status),
    }
}

/// What became of its own tenant.
fn mirrored(status: &SubscriptionStatus) -> Standing {
    let Some(condition) = report::ready(&status.conditions) else {
        return moving(Reason::Provisioning, String::new());
    };
    if condition.status == "True" {
        return approved("set up: its tenant is there");
    }
    let known = |reason: &&Reason| reason.as_str() == condition.reason;
    let reason = Reason::ALL.iter().find(known).copied();
    let reason = reason.unwrap_or(Reason::Provisioning);
    let stalled = status
        .conditions
        .iter()
        .any(|c| c.type_ == ConditionType::Stalled.as_str() && c.status == "True");
    let request = match status.request.as_ref().map(|r| r.status) {
        Some(RequestStatus::Failed) => RequestStatus::Failed,
        Some(RequestStatus::Inquiring) => RequestStatus::Inquiring,
        // What was approved differs from what is declared, or cannot be looked at.
        Some(RequestStatus::Approved | RequestStatus::Pending | RequestStatus::Unknown) | None => {
            RequestStatus::Pending
        }
    };
    Standing {
        moving: Some(if stalled {
            ConditionType::Stalled
        } else {
            ConditionType::Reconciling
        }),
        request,
        errors: status.parameter_errors.clone(),
        ..moving(reason, condition.message.clone())
    }
}

fn approved(message: &str) -> Standing {
    Standing {
        ready: true,
        reason: Reason::Active,
        message: message.into(),
        moving: None,
        request: RequestStatus::Approved,
        errors: Vec::new(),
    }
}

/// On its way, and not there.
pub(super) fn moving(reason: Reason, message: String) -> Standing {
    Standing {
        ready: false,
        reason,
        message,
        moving: Some(ConditionType::Reconciling),
        request: RequestStatus::Pending,
        errors: Vec::new(),
    }
}

fn inquiring(errors: &[ParameterError]) -> Standing {
    let wrong: Vec<String> = errors
        .iter()
        .map(|e| format!("{} {}", e.name, e.message))
        .collect();
    let message = format!(
        "{}; edit spec.parameters and apply it again",
        wrong.join("; ")
    );
    Standing {
        moving: Some(ConditionType::Stalled),
        request: RequestStatus::Inquiring,
        errors: errors.to_vec(),
        ..moving(Reason::Inquiring, message)
    }
}
