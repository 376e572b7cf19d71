//! Events: one for each request a pass finished, and one when an object is let go.

use fulfillment_crds::{Reason, Request, RequestStatus, RequestType};

use super::*;
use crate::{events::Note, facts::Facts, ledger::CONFLICT};

/// One event for each request this pass finished, and for each tenant too many.
pub(super) fn notes(f: &Facts, about: &About<'_>) -> Vec<Note> {
    let finished = f
        .pass
        .finished
        .iter()
        .map(|request| note(f, request, about));
    let discarded = f.pass.discarded.iter().map(|twin| duplicate(f, twin));
    finished.chain(discarded).collect()
}

fn duplicate(f: &Facts, twin: &str) -> Note {
    Note {
        reason: Reason::DuplicateTenant,
        action: RequestType::Cancel.as_str().into(),
        note: format!(
            "the vendor had another tenant of externalId {}, from a create that took effect late: {twin} was deleted",
            f.name()
        ),
        warning: true,
    }
}

pub(super) fn note(f: &Facts, request: &Request, about: &About<'_>) -> Note {
    let what = request.type_.as_str();
    let tenant = f.ledger.tenant_id.as_deref().unwrap_or("none");
    let action = what.to_owned();
    if request.status == RequestStatus::Failed {
        let reason = if request.reason == CONFLICT {
            Reason::Conflict
        } else {
            Reason::RequestFailed
        };
        return Note {
            reason,
            action,
            note: failed_message(Some(request)),
            warning: true,
        };
    }
    let dropped = if about.output.is_none() && request.type_ == RequestType::Purchase {
        f.pass.sensitive.join(", ")
    } else {
        String::new()
    };
    if !dropped.is_empty() {
        let whose = about
            .tier
            .map_or_else(String::new, |tier| format!(" of TierConfiguration {tier}"));
        return Note {
            reason: Reason::SensitiveParametersDropped,
            action,
            note: format!(
                "{what} approved, tenant {tenant}; sensitive parameters were dropped, as spec.outputSecretName{whose} is not set: {dropped}"
            ),
            warning: true,
        };
    }
    let corrected = !request.message.is_empty() && request.type_ != RequestType::Purchase;
    if corrected {
        return Note {
            reason: Reason::DriftCorrected,
            action,
            note: format!("{}; corrected", request.message),
            warning: true,
        };
    }
    let left_out = if f.pass.left_out.is_empty() {
        String::new()
    } else {
        format!(
            "; too long for status, and left out: {}; a parameter that the product calls sensitive goes into the Secret of spec.outputSecretName whole",
            f.pass.left_out.join(", ")
        )
    };
    Note {
        reason: Reason::Approved,
        action,
        note: format!("{what} approved, tenant {tenant}{left_out}"),
        warning: false,
    }
}

/// The event of an object whose finalizer was dropped.
pub fn farewell(f: &Facts, retained: bool) -> Option<Note> {
    let known = f.ledger.tenant_id.as_deref();
    if retained {
        let tenant = known.map_or_else(
            || format!("externalId {}", f.name()),
            |tenant| format!("tenant {tenant}"),
        );
        return Some(Note {
            reason: Reason::TenantRetained,
            action: RequestType::Cancel.as_str().into(),
            note: format!("{tenant} stays at the vendor: deletionPolicy is Retain"),
            warning: true,
        });
    }
    known.map(|tenant| Note {
        reason: Reason::Terminated,
        action: RequestType::Cancel.as_str().into(),
        note: format!("tenant {tenant} is gone at the vendor"),
        warning: false,
    })
}
