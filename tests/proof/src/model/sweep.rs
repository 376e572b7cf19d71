//! Tombstones and their sweep, as `tombstones.rs` carries them out.
//!
//! A sweep looks whether an object of the name is there again, asks the vendor what goes by the
//! remembered name, looks once more that no object is there, and deletes. It is one step here: what
//! is made between the two looks belongs to an object that the second one sees.

use fulfillment_crds::IdentityMode;
use fulfillment_operator::identity;

use super::{
    scenario::{NAME, Scenario},
    vendor,
    world::{Kept, TenantState, World},
};

/// Whether there is a sweep: it has to be able to ask the vendor. It is a net, and where it is not
/// needed the protocol has to do without: only a vendor that gives the name of a tenant away again, which it
/// has failed or lost, or deleted when it had been taken back, leaves what no Subscription can know of.
fn asks(s: &Scenario) -> bool {
    match s.mode {
        IdentityMode::ExternalId | IdentityMode::Lookup => {
            s.asynchronous || s.left.vanishings > 0 || s.grace
        }
        IdentityMode::IdempotencyKey | IdentityMode::None => false,
    }
}

/// Whether the sweep finds this tenant, now or at its next turn.
pub(super) fn finds(s: &Scenario, world: &World, tenant: &Kept) -> bool {
    asks(s) && world.stone.as_ref() == Some(&tenant.external_id)
}

/// Whether a sweep has something to do.
pub(super) fn due(world: &World, s: &Scenario) -> bool {
    let found = |t: &Kept| t.state != TenantState::Leaving && finds(s, world, t);
    world.object.is_none() && world.tenants.iter().any(|t| t.live() && found(t))
}

pub(super) fn sweep(world: &mut World, s: &Scenario) {
    if let Some(name) = world.stone.clone() {
        vendor::sweep(world, s, &name);
    }
}

/// The name is in use again, and the sweep drops the stone. Perhaps it comes too late to see that:
/// then the stone stays and helps, so this is the worse case.
pub(super) fn revived(world: &mut World, s: &Scenario) {
    if s.mode != IdentityMode::IdempotencyKey {
        world.stone = None;
    }
}

/// The key that a new object begins with, where its predecessor's may still count.
pub(super) fn next_key(world: &World, s: &Scenario) -> Option<String> {
    let last = world.stone.as_ref()?;
    (s.mode == IdentityMode::IdempotencyKey).then(|| identity::next(NAME, last))
}

/// A stone is kept for a day, which is longer than anything takes to land: it goes where it can make
/// no difference any more.
pub(super) fn forget(world: &mut World, s: &Scenario) {
    let matters = match s.mode {
        IdentityMode::IdempotencyKey => world
            .object
            .as_ref()
            .map_or(world.incarnations < s.incarnations, |o| {
                o.status.external_id.is_none()
            }),
        IdentityMode::ExternalId | IdentityMode::Lookup if !asks(s) => false,
        IdentityMode::ExternalId | IdentityMode::Lookup => {
            world.object.is_some() || world.creating() || world.live().any(|t| finds(s, world, t))
        }
        IdentityMode::None => false,
    };
    if !matters {
        world.stone = None;
    }
}
