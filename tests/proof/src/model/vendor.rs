//! The model's vendor, and the ways a call to it ends.

use fulfillment_crds::IdentityMode;
use fulfillment_operator::{
    facts::Facts,
    plan::Step,
    vendor::{
        Answer, Class, Effect, Fulfillment, FulfillmentStatus, Said, Tenant, TenantStatus,
        VendorError,
    },
};

use super::{
    scenario::{Scenario, limits, seats},
    world::{Broken, Kept, Post, TenantState, World},
};

/// How a call ended, as a controller hears it.
pub(super) type Heard = Result<Answer, VendorError>;

/// A call without a usable answer.
pub(super) fn failure(effect: Effect) -> VendorError {
    VendorError {
        class: Class::Transient,
        effect,
        retry_after: None,
        status: None,
        code: String::new(),
        message: String::new(),
        parameters: Vec::new(),
    }
}

/// The vendor refuses an order.
pub(super) fn refusal() -> VendorError {
    VendorError {
        class: Class::Refused,
        status: Some(400),
        ..failure(Effect::None)
    }
}

/// A create lands.
pub(super) fn create(world: &mut World, scenario: &Scenario, post: &Post) -> Heard {
    let external_id = &post.external_id;
    let shown = |t: &&Kept| scenario.shows_dead || t.live();
    let named = |t: &&Kept| t.external_id == *external_id;
    match scenario.mode {
        IdentityMode::ExternalId => {
            if let Some(found) = world.tenants.iter().filter(shown).find(named) {
                return heard(Said::Exists(Some(Box::new(view(found)))));
            }
        }
        // The answer to a key is stored, and outlives the tenant.
        IdentityMode::IdempotencyKey => {
            if let Some(found) = world.tenants.iter().find(named) {
                let state = if scenario.asynchronous {
                    TenantState::Provisioning
                } else {
                    TenantState::Active
                };
                let first = Kept {
                    state,
                    ..found.clone()
                };
                return heard(Said::Tenant(Box::new(view(&first))));
            }
        }
        IdentityMode::Lookup | IdentityMode::None => {}
    }
    let tenant = Kept {
        id: world.names().fresh_tenant(),
        external_id: external_id.clone(),
        owner: post.uid,
        state: if scenario.asynchronous {
            TenantState::Provisioning
        } else {
            TenantState::Active
        },
        pending: scenario.asynchronous,
        seats: post.seats,
    };
    let said = Said::Tenant(Box::new(view(&tenant)));
    world.tenants.push(tenant);
    heard(said)
}

/// Any other call is carried out.
pub(super) fn serve(world: &mut World, scenario: &Scenario, facts: &Facts, step: &Step) -> Heard {
    let known = facts.ledger.tenant_id.clone().unwrap_or_default();
    let id = if let Step::Adopt(named) | Step::Discard(named) = step {
        named.clone()
    } else {
        known
    };
    if let Step::Look(name) = step {
        let shown = |t: &&Kept| t.live() || scenario.shows_dead;
        let named = world.tenants.iter().filter(shown);
        let found = named.filter(|t| t.external_id == *name).map(view);
        return heard(Said::Found(found.collect()));
    }
    let reads = matches!(step, Step::Read | Step::Adopt(_));
    let tenants = &mut world.tenants;
    let shown = |t: &&mut Kept| t.id == id && (t.live() || scenario.shows_dead);
    let Some(tenant) = tenants.iter_mut().find(shown) else {
        return heard(Said::Absent);
    };
    if tenant.owner == 0 && !reads {
        world.broken = world.broken.or(Some(Broken::Foreign));
    }
    let delete = matches!(step, Step::Delete | Step::Discard(_));
    let alive = tenant.state != TenantState::Dead;
    match step {
        Step::Change => tenant.seats = seats(facts.object.generation),
        Step::Suspend if alive => tenant.state = TenantState::Suspended,
        Step::Resume if alive => tenant.state = TenantState::Active,
        Step::Delete | Step::Discard(_) if alive && scenario.asynchronous => {
            tenant.state = TenantState::Leaving;
        }
        Step::Delete | Step::Discard(_) => tenant.state = TenantState::Dead,
        Step::Claim(_)
        | Step::Finalize
        | Step::Intend(_)
        | Step::Create(_)
        | Step::Read
        | Step::Look(_)
        | Step::Adopt(_)
        | Step::Suspend
        | Step::Resume
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => {}
    }
    let said = if reads {
        Said::Tenant(Box::new(view(tenant)))
    } else if delete && scenario.asynchronous {
        Said::Accepted(Some(Box::new(view(tenant))))
    } else {
        Said::Done
    };
    forget_dead(world, scenario);
    heard(said)
}

/// The vendor gets to what was asked of it.
pub(super) fn decide(world: &mut World, scenario: &Scenario, nth: usize, approve: bool) {
    if let Some(tenant) = world.tenants.get_mut(nth) {
        tenant.pending = false;
        tenant.state = match tenant.state {
            TenantState::Provisioning if approve => TenantState::Active,
            TenantState::Provisioning | TenantState::Leaving | TenantState::Dead => {
                TenantState::Dead
            }
            TenantState::Active | TenantState::Suspended => tenant.state,
        };
    }
    forget_dead(world, scenario);
}

/// What is not shown any more makes no difference to anybody.
fn forget_dead(world: &mut World, scenario: &Scenario) {
    if !scenario.shows_dead && scenario.mode != IdentityMode::IdempotencyKey {
        world.tenants.retain(Kept::live);
    }
}

/// The sweep deletes every live tenant of this name.
pub(super) fn sweep(world: &mut World, scenario: &Scenario, name: &str) {
    for tenant in &mut world.tenants {
        if tenant.external_id != name || !tenant.live() {
            continue;
        }
        if tenant.owner == 0 {
            world.broken = world.broken.or(Some(Broken::Foreign));
        }
        tenant.state = if scenario.asynchronous {
            TenantState::Leaving
        } else {
            TenantState::Dead
        };
    }
    forget_dead(world, scenario);
}

fn heard(said: Said) -> Heard {
    Ok(Answer {
        said,
        retry_after: None,
        replayed: false,
    })
}

fn view(kept: &Kept) -> Tenant {
    let (status, request) = match kept.state {
        TenantState::Provisioning => (TenantStatus::Pending, FulfillmentStatus::Pending),
        TenantState::Active => (TenantStatus::Active, FulfillmentStatus::Approved),
        TenantState::Suspended => (TenantStatus::Suspended, FulfillmentStatus::Approved),
        TenantState::Leaving => (TenantStatus::Active, FulfillmentStatus::Pending),
        TenantState::Dead => (TenantStatus::Terminated, FulfillmentStatus::Failed),
    };
    Tenant {
        id: kept.id.clone(),
        external_id: Some(kept.external_id.clone()),
        status,
        limits: Some(limits(kept.seats)),
        request: Some(Fulfillment {
            status: request,
            reason: String::new(),
            parameter_errors: Vec::new(),
        }),
        ..Tenant::default()
    }
}
