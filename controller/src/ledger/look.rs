//! The answer to a lookup by name: what is there, and is it ours?

use fulfillment_crds::{AdoptionPolicy, IdentityMode, Request, RequestStatus, RequestType, Time};

use super::*;
use crate::{
    facts::{Facts, Read},
    identity,
    vendor::{Answer, Class, Effect, Said, Tenant, VendorError},
};

/// The answer to a lookup of `name`.
pub(super) fn looked(f: &mut Facts, name: &str, answer: Result<Answer, VendorError>) {
    let tenants = match answer.map(|a| a.said) {
        Ok(Said::Found(tenants)) => tenants,
        // What is known stays as it is; the next read that is due looks again.
        _ if is_aside(f) => return f.pass.vacant = Some(name.to_owned()),
        Ok(_) => return f.pass.failure = Some(no_list()),
        Err(error) => return f.pass.failure = Some(error),
    };
    let known = f.ledger.tenant_id.clone().filter(|_| name == f.name());
    match known {
        Some(id) => known_tenant(f, name, &id, tenants),
        None => unknown_tenant(f, name, tenants),
    }
}

/// A look for what a doubtful send may have made beside an order that has ended: not every vendor of
/// this mode can be looked at, and it is no trouble of the order's where this one cannot.
fn is_aside(f: &Facts) -> bool {
    f.rules.mode == IdentityMode::ExternalId
        && !f.desired.claimed
        && !f.object.deleting
        && plan::open_create(f).is_none()
}

/// A read of the tenant we know, and of what else goes by its name.
fn known_tenant(f: &mut Facts, name: &str, id: &str, tenants: Vec<Tenant>) {
    let (ours, others): (Vec<_>, Vec<_>) = tenants.into_iter().partition(|t| t.id == id);
    let mut others: Vec<Tenant> = others.into_iter().filter(Tenant::is_live).collect();
    if f.desired.claimed {
        // A claim proves nothing about the others.
        others.clear();
    }
    let ours = ours
        .into_iter()
        .next()
        .filter(|t| t.is_live() || others.is_empty());
    match ours {
        Some(tenant) => {
            if !tenant.is_live() {
                f.pass.vacant = Some(name.to_owned());
            }
            answer::found(f, &tenant);
        }
        None if others.is_empty() => {
            f.pass.vacant = Some(name.to_owned());
            if f.object.deleting {
                f.pass.read = Some(Read::Absent);
            }
        }
        // What we knew is gone, and a create of ours that landed late is there in its place.
        None if !f.object.deleting => {
            let tenant = others.remove(0);
            if plan::failed_purchase(f) {
                adopt(f, name, &tenant);
            } else {
                answer::found(f, &tenant);
            }
        }
        None => f.pass.read = Some(Read::Found),
    }
    f.pass.twins = others.into_iter().map(|t| t.id).collect();
}

/// No tenant is known under this name: whatever is there is of an earlier create, or another's.
fn unknown_tenant(f: &mut Facts, name: &str, tenants: Vec<Tenant>) {
    let open = plan::open_create(f).is_some_and(|open| open.external_id == name);
    let (mut alive, dead): (Vec<_>, Vec<_>) = tenants.into_iter().partition(Tenant::is_live);
    if alive.is_empty() {
        match dead.into_iter().next() {
            // The open create made it, and it is dead already.
            Some(tenant) if open => adopt(f, name, &tenant),
            // Not revived: its successor counts up.
            Some(_) => {
                f.ledger.tenant_id = None;
                f.ledger.external_id = Some(identity::next(&f.desired.external_id, name));
            }
            None => f.pass.vacant = Some(name.to_owned()),
        }
        return;
    }
    let tenant = alive.remove(0);
    if f.desired.claimed && f.desired.adoption == AdoptionPolicy::CreateOnly {
        return claimed(f, name, &tenant, open);
    }
    adopt(f, name, &tenant);
    if !f.desired.claimed {
        f.pass.twins = alive.into_iter().map(|t| t.id).collect();
    }
}

/// A tenant goes by the name a user chose, and the policy takes it for somebody else's.
fn claimed(f: &mut Facts, name: &str, tenant: &Tenant, open: bool) {
    request_for(f, name);
    if open {
        let message = create::maybe_ours(name, tenant);
        unknown(f, CONFLICT, &message);
    } else {
        f.ledger.inputs_hash = f.desired.inputs.clone();
        let message = create::another_owner(name);
        failed(f, CONFLICT, &message);
    }
}

/// The tenant is ours.
fn adopt(f: &mut Facts, name: &str, tenant: &Tenant) {
    request_for(f, name);
    f.pass.read = Some(Read::Found);
    // What it was made with is not known: the parameters are sent once more.
    f.ledger.inputs_hash = None;
    create::taken(f, tenant);
}

/// The purchase that ends here: the one under way, or one that finds its tenant made.
fn request_for(f: &mut Facts, name: &str) {
    let open = plan::open_create(f).is_some();
    f.ledger.external_id = Some(name.to_owned());
    f.ledger.tenant_id = None;
    if !open {
        f.ledger.request = Some(Request {
            id: f.pass.request_id.clone(),
            type_: RequestType::Purchase,
            status: RequestStatus::Pending,
            generation: f.object.generation,
            reason: String::new(),
            message: String::new(),
            attempts: 0,
            started_at: Some(Time(f.clock.now)),
            settled_at: None,
            finished_at: None,
            operation: None,
        });
    } else if let Some(request) = &mut f.ledger.request {
        request.status = RequestStatus::Pending;
        request.reason.clear();
        request.message.clear();
    }
}

/// The answer to the delete of a twin.
pub(super) fn discarded(f: &mut Facts, twin: &str, answer: Result<Answer, VendorError>) {
    match answer {
        Ok(_) => {
            f.pass.mutated = true;
            f.pass.twins.retain(|id| id != twin);
            f.pass.discarded.push(twin.to_owned());
        }
        Err(error) => f.pass.failure = Some(error),
    }
}

fn no_list() -> VendorError {
    VendorError {
        class: Class::Transient,
        effect: Effect::Unknown,
        retry_after: None,
        status: None,
        code: String::new(),
        message: "the vendor answered the lookup without a list".into(),
        parameters: Vec::new(),
        unsent: false,
    }
}
