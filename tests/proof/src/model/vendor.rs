//! The model's vendor, and the ways a call to it ends.

use fulfillment_crds::IdentityMode;
use fulfillment_operator::{
    facts::{Facts, Resolution},
    ledger::KEY_REUSED,
    plan::Step,
    vendor::{
        Answer, Class, Effect, Fulfillment, FulfillmentStatus, Said, Tenant, TenantStatus,
        VendorError,
    },
};

use super::{
    scenario::{Scenario, limits, seats},
    world::{Broken, Kept, Late, Post, TenantState, Verb, World},
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
        unsent: false,
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

/// The key was used before, with another order.
fn reused() -> VendorError {
    VendorError {
        status: Some(422),
        code: KEY_REUSED.into(),
        ..refusal()
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
                if found.ordered != post.seats {
                    return Err(reused());
                }
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
        ordered: post.seats,
    };
    let said = Said::Tenant(Box::new(view(&tenant)));
    world.tenants.push(tenant);
    heard(said)
}

/// Any other call is carried out.
pub(super) fn serve(world: &mut World, scenario: &Scenario, facts: &Facts, step: &Step) -> Heard {
    let shown = |t: &&Kept| t.live() || scenario.shows_dead;
    if let Step::Look(name) = step {
        let named = world.tenants.iter().filter(shown);
        let found = named.filter(|t| t.external_id == *name).map(view);
        return heard(Said::Found(found.collect()));
    }
    if let Some(Late { tenant, verb }) = verb(facts, step) {
        return carry_out(world, scenario, &tenant, verb);
    }
    let id = if let Step::Adopt(named) = step {
        Some(named)
    } else {
        facts.ledger.tenant_id.as_ref()
    };
    let mut found = world.tenants.iter().filter(shown);
    let found = found.find(|t| Some(&t.id) == id);
    heard(found.map_or(Said::Absent, |tenant| Said::Tenant(Box::new(view(tenant)))))
}

/// What a step asks of which tenant, where it changes one.
pub(super) fn verb(facts: &Facts, step: &Step) -> Option<Late> {
    let known = || facts.ledger.tenant_id.clone();
    let (tenant, verb) = match step {
        Step::Change => {
            let seats = seats(facts.object.generation);
            (known()?, Verb::Change { seats })
        }
        Step::Suspend => (known()?, Verb::Suspend),
        Step::Resume => (known()?, Verb::Resume),
        Step::Delete => (known()?, Verb::Delete),
        Step::Discard(twin) => (twin.clone(), Verb::Delete),
        Step::Claim(_)
        | Step::Finalize
        | Step::Intend(_)
        | Step::Create(_)
        | Step::Read
        | Step::Look(_)
        | Step::Adopt(_)
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => return None,
    };
    Some(Late { tenant, verb })
}

/// A change or a delete lands.
pub(super) fn carry_out(world: &mut World, scenario: &Scenario, id: &str, verb: Verb) -> Heard {
    let given = is_given(world, scenario, id);
    let shown = |t: &&mut Kept| t.id == id && (t.live() || scenario.shows_dead);
    let Some(tenant) = world.tenants.iter_mut().find(shown) else {
        return heard(Said::Absent);
    };
    if tenant.owner == 0 && !given {
        world.broken = world.broken.or(Some(Broken::Foreign));
    }
    let alive = tenant.state != TenantState::Dead;
    let stays = matches!(tenant.state, TenantState::Active | TenantState::Suspended);
    let mut said = Said::Done;
    match verb {
        Verb::Change { seats } => tenant.seats = seats,
        Verb::Suspend if stays => tenant.state = TenantState::Suspended,
        Verb::Resume if stays => tenant.state = TenantState::Active,
        Verb::Suspend | Verb::Resume => {}
        Verb::Delete => {
            tenant.state = if alive && scenario.asynchronous {
                TenantState::Leaving
            } else {
                TenantState::Dead
            };
            if scenario.asynchronous {
                said = Said::Accepted(Some(Box::new(view(tenant))));
            }
        }
    }
    forget_dead(world, scenario);
    heard(said)
}

/// Whether a tenant that is somebody else's may be taken: a claim counts by its policy, and a person's word.
pub(super) fn is_given(world: &World, s: &Scenario, id: &str) -> bool {
    let said = Resolution::Adopt(id.to_owned());
    s.adopts()
        || world
            .objects()
            .any(|o| o.resolution.as_deref() == Some(&said))
}

/// A tenant is gone, and the operator has no part in it.
pub(super) fn vanish(world: &mut World, scenario: &Scenario, nth: usize) {
    world.left.vanishings -= 1;
    if let Some(tenant) = world.tenants.get_mut(nth) {
        tenant.state = TenantState::Dead;
    }
    forget_dead(world, scenario);
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
