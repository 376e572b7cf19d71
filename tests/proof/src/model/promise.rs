//! What is promised about a state: how many tenants there are, and where an object may end.

use fulfillment_crds::{
    AdoptionPolicy, DeletionPolicy, DesiredState, IdentityMode, OnMissing, RequestStatus,
    RequestType, SubscriptionState,
};
use fulfillment_operator::drift;

use super::{
    scenario::{Scenario, seats},
    sweep,
    world::{Kept, Object, TenantState, World},
};

/// At most one live tenant for each Subscription. In mode None an object that was created again is
/// another Subscription: only in the other modes can its predecessor's tenant be found. A tenant that
/// is to be taken over counts from the beginning.
pub(super) fn at_most_one(s: &Scenario, world: &World) -> bool {
    match s.mode {
        IdentityMode::Lookup if unseen(s, world) => world.live().count() <= 2,
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey | IdentityMode::Lookup => {
            let counts = |t: &&Kept| t.live() && (t.owner != 0 || s.adopts());
            world.tenants.iter().filter(counts).count() <= 1
        }
        IdentityMode::None => world.live().all(|tenant| {
            world.live().filter(|t| t.owner == tenant.owner).count() <= 1 + doubts(s, world)
        }),
    }
}

/// How many creates were sent again, by the administrator's choice, that may have been made.
fn doubts(s: &Scenario, world: &World) -> usize {
    usize::from(s.left.silences - world.left.silences)
}

/// No tenant is two objects'.
pub(super) fn of_one(world: &World) -> bool {
    let mut of = world.objects().filter_map(|o| o.status.tenant_id.as_ref());
    let first = of.next();
    first.is_none() || first != of.next()
}

/// A create may be on its way that nobody who looks can know of: its record was lost, or its object
/// was let go at once, or something on the way sent it twice. A vendor that is only looked at makes
/// a twin of that. What is promised there is that the next read ends it: two are no good end, and
/// one can be reached from everywhere.
fn unseen(s: &Scenario, world: &World) -> bool {
    world.left.faults < s.left.faults
        || world.left.duplicates < s.left.duplicates
        || (s.deletion == DeletionPolicy::Retain && world.incarnations > 1)
        || !world.retained.is_empty()
}

/// A tenant lives on, and nothing is left that knows of it: no object, and no tombstone either.
pub(super) fn left_behind(s: &Scenario, world: &World) -> bool {
    let held = |t: &Kept| match s.rival {
        true => world.objects().any(|o| o.uid == t.owner),
        false => world.object.is_some(),
    };
    let lost = |t: &&Kept| !held(t) && !is_kept(world, t) && !sweep::finds(s, world, t);
    !world.creating()
        && !world.excused
        && s.deletion == DeletionPolicy::Delete
        && world.live().filter(lost).count() > doubts(s, world)
}

/// Its object was let go on the condition that it stays.
fn is_kept(world: &World, tenant: &Kept) -> bool {
    world.retained.contains(&tenant.owner)
}

/// A state that an object may end in and stay.
pub(super) fn good(s: &Scenario, world: &World) -> bool {
    let calm = world.posts.is_empty() && world.calls.is_empty() && world.passes().count() == 0;
    let kept = world.excused || s.deletion == DeletionPolicy::Retain;
    let gone = || world.live().filter(|t| !is_kept(world, t)).count() <= doubts(s, world);
    calm && (world.object.is_some() || kept || s.rival || gone())
        && world.objects().all(|object| {
            let rests = fulfilled(s, world, object)
                || refused(s, world, object)
                || missed(s, world, object)
                || waits(world, object);
            !object.deleting && rests
        })
}

fn fulfilled(s: &Scenario, world: &World, object: &Object) -> bool {
    let desired = s.desired(object);
    let suspended = desired.state == DesiredState::Suspended;
    let ours: Vec<&Kept> = ours(s, world, object).collect();
    let kept = ours.iter().any(|tenant| {
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
    kept && ours.len() <= 1 + doubts(s, world) && object.finalized && told
}

/// The tenants that live and may be this object's.
fn ours<'a>(
    s: &Scenario,
    world: &'a World,
    object: &Object,
) -> impl Iterator<Item = &'a Kept> + use<'a> {
    let own = s.mode == IdentityMode::None || s.rival;
    let uid = object.uid;
    world.live().filter(move |t| !own || t.owner == uid)
}

/// There is no tenant, and the policy is to make none: said, for people to change something.
fn missed(s: &Scenario, world: &World, object: &Object) -> bool {
    let adopts_only = s.claimed && s.adoption == AdoptionPolicy::AdoptOnly;
    let never = object.status.tenant_id.is_none() && adopts_only;
    let gone = object.status.state == Some(SubscriptionState::Terminated)
        && (adopts_only || s.on_missing == OnMissing::Report);
    let told = object.status.observed_generation == Some(object.generation);
    (never || gone) && told && !world.tenants.iter().any(Kept::live)
}

/// Another object has the name it claims: said, for people to choose.
fn waits(world: &World, object: &Object) -> bool {
    let another = world.objects().any(|o| o.uid != object.uid);
    another
        && object.status.tenant_id.is_none()
        && object.status.observed_generation == Some(object.generation)
        && object.status.request.is_none()
}

/// Refused, and said so: for people to change something.
fn refused(s: &Scenario, world: &World, object: &Object) -> bool {
    ours(s, world, object).count() == 0
        && object.status.request.as_ref().is_some_and(|r| {
            r.type_ == RequestType::Purchase
                && r.status == RequestStatus::Failed
                && r.generation == object.generation
        })
}
