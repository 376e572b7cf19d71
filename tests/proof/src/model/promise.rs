//! What is promised about a state: how many tenants there are, and where an object may end.

use fulfillment_crds::{DeletionPolicy, DesiredState, IdentityMode, RequestStatus, RequestType};
use fulfillment_operator::drift;

use super::{
    scenario::{Scenario, seats},
    sweep,
    world::{Object, TenantState, World},
};

/// At most one live tenant for each Subscription. In mode None an object that was created again is
/// another Subscription: only in the other modes can its predecessor's tenant be found.
pub(super) fn at_most_one(s: &Scenario, world: &World) -> bool {
    match s.mode {
        IdentityMode::Lookup if unseen(s, world) => world.live().count() <= 2,
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey | IdentityMode::Lookup => {
            world.live().count() <= 1
        }
        IdentityMode::None => world
            .live()
            .all(|tenant| world.live().filter(|t| t.owner == tenant.owner).count() == 1),
    }
}

/// A create may be on its way that nobody who looks can know of: its record was lost, or its object
/// was let go at once, or something on the way sent it twice. A vendor that is only looked at makes
/// a twin of that. What is promised there is that the next read ends it: two are no good end, and
/// one can be reached from everywhere.
fn unseen(s: &Scenario, world: &World) -> bool {
    world.left.faults < s.left.faults
        || world.left.duplicates < s.left.duplicates
        || (s.deletion == DeletionPolicy::Retain && world.incarnations > 1)
}

/// A tenant lives on, and nothing is left that knows of it: no object, and no tombstone either.
pub(super) fn left_behind(s: &Scenario, world: &World) -> bool {
    world.object.is_none()
        && !world.creating()
        && !world.excused
        && s.deletion == DeletionPolicy::Delete
        && world.live().any(|t| !sweep::finds(s, world, t))
}

/// A state that an object may end in and stay.
pub(super) fn good(s: &Scenario, world: &World) -> bool {
    let calm = world.posts.is_empty() && world.calls.is_empty() && world.passes().count() == 0;
    calm && match &world.object {
        None => world.live().count() == 0 || world.excused || s.deletion == DeletionPolicy::Retain,
        Some(object) => !object.deleting && (fulfilled(s, world, object) || refused(world, object)),
    }
}

fn fulfilled(s: &Scenario, world: &World, object: &Object) -> bool {
    let desired = s.desired(object.generation);
    let suspended = desired.state == DesiredState::Suspended;
    let mut ours = world
        .live()
        .filter(|t| s.mode != IdentityMode::None || t.owner == object.uid);
    let tenant = ours.next();
    let kept = tenant.is_some_and(|tenant| {
        let state = if suspended {
            TenantState::Suspended
        } else {
            TenantState::Active
        };
        object.status.tenant_id.as_ref() == Some(&tenant.id)
            && tenant.state == state
            && tenant.seats == seats(object.generation)
    });
    let told = object
        .status
        .request
        .as_ref()
        .is_none_or(|r| r.status == RequestStatus::Approved)
        && object.status.observed_generation == Some(object.generation)
        && drift::in_sync(&desired, &object.status);
    kept && ours.next().is_none() && object.finalized && told
}

/// Refused, and said so: for people to change something.
fn refused(world: &World, object: &Object) -> bool {
    world.live().count() == 0
        && object.status.request.as_ref().is_some_and(|r| {
            r.type_ == RequestType::Purchase
                && r.status == RequestStatus::Failed
                && r.generation == object.generation
        })
}
