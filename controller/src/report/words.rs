//! Reasons and messages, for people.

use fulfillment_crds::{
    DesiredState, IdentityMode, OnUnknownOutcome, Reason, Request, RequestType,
};
use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::plan;
use crate::{
    drift,
    facts::Facts,
    ledger::{CONFLICT, EXISTS_UNNAMED, KEY_REUSED},
};

pub(super) fn in_sync(f: &Facts) -> Reason {
    match f.desired.state {
        DesiredState::Active => Reason::Active,
        DesiredState::Suspended => Reason::Suspended,
    }
}

pub(super) fn in_sync_message(f: &Facts) -> String {
    let tenant = f.ledger.tenant_id.as_deref().unwrap_or_default();
    match f.desired.state {
        DesiredState::Active => format!("tenant {tenant} is as declared"),
        DesiredState::Suspended => format!("tenant {tenant} is suspended as declared"),
    }
}

/// What is under way while a request of this type is.
pub(super) fn working(type_: Option<RequestType>) -> Reason {
    match type_ {
        Some(RequestType::Purchase) | None => Reason::Provisioning,
        Some(RequestType::Change) => Reason::Changing,
        Some(RequestType::Suspend) => Reason::Suspending,
        Some(RequestType::Resume) => Reason::Resuming,
        Some(RequestType::Cancel) => Reason::Terminating,
    }
}

pub(super) fn next_work(f: &Facts) -> Reason {
    if f.ledger.tenant_id.is_none() {
        return Reason::Provisioning;
    }
    if f.object.deleting {
        return Reason::Terminating;
    }
    match (
        drift::state(&f.desired, &f.ledger).is_some(),
        f.desired.state,
    ) {
        (true, DesiredState::Active) => Reason::Resuming,
        (true, DesiredState::Suspended) => Reason::Suspending,
        (false, _) => Reason::Changing,
    }
}

pub(super) fn inquiry(f: &Facts, said: &str) -> String {
    let errors: Vec<String> = f
        .ledger
        .parameter_errors
        .iter()
        .map(|e| format!("{}: {}", e.name, e.message))
        .collect();
    let what = match (said.is_empty(), errors.is_empty()) {
        (true, true) => "the vendor waits for input".to_owned(),
        (false, true) => format!("the vendor waits for input: {said}"),
        (true, false) => format!("the vendor waits for input: {}", errors.join("; ")),
        (false, false) => format!("the vendor waits for input: {said} ({})", errors.join("; ")),
    };
    // What was refused is asked for anew by whatever is edited; what the vendor has, it waits with.
    let refused = f
        .ledger
        .request
        .as_ref()
        .is_some_and(|r| !r.reason.is_empty());
    let place = places(f, refused).join(" and ");
    format!("{what}; edit {place} to answer")
        .chars()
        .take(super::MESSAGE)
        .collect()
}

/// Where what the vendor asks about stands.
fn places(f: &Facts, refused: bool) -> Vec<String> {
    let resellers = &f.desired.resellers;
    let place = |name: &str| match name.split_once('.') {
        Some(("tiers", _)) => resellers.place(),
        _ if resellers.parameters.iter().any(|own| own == name) => resellers.place(),
        _ if refused => "spec".into(),
        Some(("limits", _)) => "spec.limits".into(),
        Some(_) | None => "spec.parameters".into(),
    };
    let errors = f.ledger.parameter_errors.iter();
    let mut places: Vec<_> = errors.map(|e| place(&e.name)).collect();
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        places.push(if refused { "spec" } else { "spec.parameters" }.into());
    }
    places
}

/// What breaks the product's rules, and that nothing was sent.
pub(super) fn invalid_message(f: &Facts) -> String {
    let errors: Vec<String> = f
        .desired
        .invalid
        .iter()
        .map(|e| format!("{} {}", e.name, e.message))
        .collect();
    format!(
        "{}; edit spec to answer: nothing is sent to the vendor before",
        errors.join("; ")
    )
}

pub(super) fn failed_message(request: Option<&Request>) -> String {
    let Some(r) = request else {
        return String::new();
    };
    let what = format!("{} failed", r.type_.as_str());
    match (r.reason.is_empty(), r.message.is_empty()) {
        (true, true) => what,
        (false, true) => format!("{what}: {}", r.reason),
        (true, false) => format!("{what}: {}", r.message),
        (false, false) => format!("{what}: {} ({})", r.message, r.reason),
    }
}

pub(super) fn missing_message(f: &Facts) -> String {
    match &f.ledger.tenant_id {
        Some(tenant) if f.clock.mass_vanish => format!(
            "tenant {tenant} is gone at the vendor, and so are most of the connection's: none is bought again before a person has looked (MassVanish on the connection)"
        ),
        Some(tenant) => format!(
            "tenant {tenant} is gone at the vendor; set policies.onMissing: Recreate on the connection to purchase it again"
        ),
        None => format!(
            "the vendor has no tenant of externalId {}, and adoptionPolicy AdoptOnly creates none",
            f.name()
        ),
    }
}

/// A create is waited for before anything else is done about it.
pub(super) fn settling_message(f: &Facts) -> &'static str {
    match (f.rules.mode, f.rules.on_unknown) {
        (IdentityMode::ExternalId | IdentityMode::Lookup, _) => {
            "a create has no usable answer; when no create can take effect any more (--settle), the vendor is asked for its tenant"
        }
        (IdentityMode::None, OnUnknownOutcome::Retry) => {
            "a create was sent and its answer is not recorded yet; when it can take effect no more (--settle), it is sent again (onUnknownOutcome)"
        }
        (IdentityMode::IdempotencyKey | IdentityMode::None, _) => {
            "a create was sent and its answer is not recorded yet; when it can take effect no more (--settle), a person is asked what became of it"
        }
    }
}

/// The question what became of a create, with the answers ready to paste. It must read the same
/// whoever writes it: what two replicas see at different times, they would overwrite for ever.
pub(super) fn held_message(f: &Facts, about: &About<'_>) -> String {
    let Some(r) = &f.ledger.request else {
        return "it is not known whether a create had an effect".into();
    };
    let why = f.pass.note.clone().unwrap_or_else(|| r.message.clone());
    let stale = match &f.object.resolution {
        Some(crate::facts::Resolution::None(id)) if *id != r.id => {
            format!(" The annotation answers another request ({id}) and is ignored.")
        }
        Some(crate::facts::Resolution::Malformed(text)) => format!(
            " The annotation fulfillment-operator.io/resolve-create is \"{text}\", which is no answer: write adopt:<tenantId> or none:<request id>."
        ),
        Some(_) | None => String::new(),
    };
    let hint = match r.reason.as_str() {
        EXISTS_UNNAMED | CONFLICT => "",
        KEY_REUSED => {
            " A create of the same name was sent before, with other limits or parameters, and is not recorded here."
        }
        _ => " It may or may not have had an effect.",
    };
    let command = format!(
        "kubectl annotate fsub -n {} {} --overwrite --field-manager=flux-client-side-apply fulfillment-operator.io/resolve-create",
        about.namespace, about.name
    );
    let none = none_said(f, r, &command);
    format!(
        "a create for externalId {} has no usable answer ({why}).{hint}{stale} Look at the vendor, then say which tenant it made: {command}=adopt:<tenantId> ; {none}",
        f.name()
    )
}

/// How a person says that a create made no tenant, and from when on that counts.
fn none_said(f: &Facts, r: &Request, command: &str) -> String {
    let none = format!("or that it made none: {command}=none:{}", r.id);
    if r.settled_at.is_some() {
        return none;
    }
    let settle = SignedDuration::try_from(f.rules.settle).unwrap_or_default();
    let began = r.started_at.as_ref().map(|began| began.0);
    let from = match began.and_then(|began| began.checked_add(settle).ok()) {
        Some(from) => format!("from {from} on"),
        None => "then".into(),
    };
    if plan::says_none(f, &r.id) {
        return format!(
            "the answer none:{} counts when the create can take effect no more (--settle), {from}: look again then, and say adopt if it made one",
            r.id
        );
    }
    format!("{none} (which counts when it can take effect no more (--settle), {from})")
}

pub(super) fn terminating(f: &Facts) -> Reason {
    match &f.trouble {
        Some(trouble) if trouble.reason == Reason::CRDTerminating => Reason::CRDTerminating,
        None if f.clock.paced_until.is_some() => Reason::DeletesPaced,
        Some(_) | None => Reason::Terminating,
    }
}

pub(super) fn terminating_message(f: &Facts, about: &About<'_>) -> String {
    let stuck = f.clock.paced_until.is_some()
        || f.trouble.is_some()
        || f.pass.failure.is_some()
        || (f.clock.grace_until.is_some() && f.ledger.tenant_id.is_some() && !plan::settling(f));
    let why = ending(f);
    if !stuck {
        return why;
    }
    // Whatever the vendor says, the way out is seen.
    let why: String = why.chars().take(512).collect();
    format!(
        "{why}; to let it go and keep the tenant: kubectl patch fsub -n {} {} --type merge -p '{{\"spec\":{{\"deletionPolicy\":\"Retain\"}}}}'",
        about.namespace, about.name
    )
}

/// What a delete waits for.
fn ending(f: &Facts) -> String {
    let tenant = f.ledger.tenant_id.as_deref();
    if let Some(until) = f.clock.paced_until {
        return format!(
            "more tenants are to be deleted than policies.maxDeletesPerMinute of the connection allows: tenant {} is deleted after {until}",
            tenant.unwrap_or_default()
        );
    }
    if let Some(trouble) = &f.trouble {
        return format!("cannot be deleted yet: {}", trouble.message);
    }
    if let Some(error) = &f.pass.failure {
        return format!("cannot be deleted yet: {error}");
    }
    if plan::settling(f) {
        return match tenant {
            Some(_) => "waiting until no earlier create can take effect at the vendor (--settle); then the tenant is deleted",
            None => "waiting until no earlier create can take effect at the vendor (--settle); then it is found out what it made",
        }
        .into();
    }
    if let (Some(until), Some(tenant)) = (f.clock.grace_until, tenant) {
        let suspended = f.ledger.state == Some(SubscriptionState::Suspended);
        let suspended = if suspended { "suspended and is " } else { "" };
        return format!(
            "tenant {tenant} is {suspended}deleted after {until} (deletionGracePeriod); to take it back, let it go and apply it again"
        );
    }
    match tenant {
        Some(tenant) => format!("waiting for tenant {tenant} to be gone at the vendor"),
        None => "finding out whether there is a tenant at the vendor".into(),
    }
}
