//! What each identity mode does about a create whose answer is lost, and about names that are
//! taken.

use crate::model::{Kept, World, limits};
use fulfillment_crds::{AdoptionPolicy, IdentityMode, RequestStatus};
use fulfillment_operator::{
    facts::Resolution,
    plan::Rest,
    vendor::{FulfillmentStatus, TenantStatus},
};

fn lost_answer(mode: IdentityMode) -> World {
    let mut w = World::new(mode);
    if mode == IdentityMode::Lookup {
        w.pass_losing_the_create();
    } else {
        w.manners.lose = 1;
        assert_eq!(w.pass(None), Some(Rest::Retry));
    }
    assert_eq!(
        w.status.request.as_ref().unwrap().status,
        RequestStatus::Unknown
    );
    assert_eq!(w.created, 1);
    w
}

fn tenant(id: &str, name: &str, status: TenantStatus) -> Kept {
    Kept {
        id: id.into(),
        external_id: name.into(),
        status,
        limits: limits(50),
        request: FulfillmentStatus::Approved,
    }
}

#[test]
fn with_a_key_the_same_order_is_repeated_whatever_the_spec_says_by_now() {
    let mut w = lost_answer(IdentityMode::IdempotencyKey);
    let sent = w.status.create.clone().unwrap();
    w.desired.limits = limits(60);
    w.desired.body.as_mut().unwrap().limits = limits(60);
    w.generation += 1;
    assert_eq!(w.pass(None), Some(Rest::Again));
    assert_eq!(
        w.status.create, None,
        "answered: {sent:?} is not needed any more"
    );
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!((w.created, w.live()), (1, 1));
    assert_eq!(w.tenants[0].limits, limits(60));
}

#[test]
fn a_key_that_cannot_be_repeated_any_more_is_held_and_never_replaced() {
    let mut w = lost_answer(IdentityMode::IdempotencyKey);
    w.clock.repeatable = false;
    for generation in 2..4 {
        w.generation = generation;
        w.requested_at = Some(generation.to_string());
        assert_eq!(w.pass(None), Some(Rest::Held));
    }
    assert_eq!(w.created, 1);
    let asked = w.status.request.as_ref().unwrap().id.clone();
    w.tenants.clear();
    w.resolution = Some(Resolution::None(asked));
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!(
        w.tenants[0].external_id, "k1-x-2",
        "another purchase, another key"
    );
}

#[test]
fn with_a_key_each_new_purchase_has_another() {
    let mut w = World::new(IdentityMode::IdempotencyKey);
    w.until(Rest::InSync, 3);
    w.tenants.clear();
    assert_eq!(w.until(Rest::InSync, 4), Rest::InSync);
    assert_eq!(w.tenants[0].external_id, "k1-x-2");
    assert_eq!((w.created, w.live()), (2, 1));
}

#[test]
fn a_lookup_waits_until_nothing_can_land_and_looks_twice() {
    let mut w = lost_answer(IdentityMode::Lookup);
    w.clock.settled = false;
    let calls = w.calls;
    assert_eq!(w.pass(None), Some(Rest::Settling));
    assert_eq!(w.calls, calls, "nothing is asked before");
    w.clock.settled = true;
    w.clock.missing_confirmed = false;
    w.manners.lag = 1;
    assert_eq!(
        w.pass(None),
        Some(Rest::VerifyMissing),
        "one empty look is not believed"
    );
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!((w.created, w.live()), (1, 1));

    let mut w = lost_answer(IdentityMode::Lookup);
    w.tenants.clear(); // it never arrived
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!((w.created, w.live()), (2, 1));
}

#[test]
fn a_lookup_comes_before_the_first_create_too() {
    let mut w = World::new(IdentityMode::Lookup);
    w.tenants = vec![tenant("t-old", "k1-x", TenantStatus::Suspended)];
    assert_eq!(w.until(Rest::InSync, 4), Rest::InSync);
    assert_eq!(w.created, 0, "a rebuilt cluster finds its tenants");
    assert_eq!(w.status.tenant_id.as_deref(), Some("t-old"));
    assert_eq!(w.tenants[0].status, TenantStatus::Active);
}

#[test]
fn of_two_live_tenants_the_known_one_stays() {
    let mut w = World::new(IdentityMode::Lookup);
    w.until(Rest::InSync, 3);
    let ours = w.status.tenant_id.clone();
    for late in ["t-late", "t-later"] {
        w.tenants
            .insert(0, tenant(late, "k1-x", TenantStatus::Active));
    }
    assert_eq!(w.until(Rest::InSync, 5), Rest::InSync);
    assert_eq!(w.live(), 1);
    assert_eq!(w.status.tenant_id, ours);
    // Found while it is deleted: no tenant stays.
    w.tenants
        .push(tenant("t-latest", "k1-x", TenantStatus::Active));
    w.deleting = true;
    assert_eq!(w.until(Rest::Gone, 8), Rest::Gone);
    assert_eq!(w.live(), 0);
}

#[test]
fn a_lookup_that_lags_behind_a_known_tenant_costs_a_read_and_no_tenant() {
    let mut w = World::new(IdentityMode::Lookup);
    w.until(Rest::InSync, 3);
    w.manners.lag = 1;
    w.clock.read_due = true;
    assert_eq!(w.pass(None), Some(Rest::InSync));
    assert_eq!((w.created, w.live()), (1, 1));
}

#[test]
fn a_claimed_name_that_is_taken_is_decided_by_policy() {
    for mode in [IdentityMode::ExternalId, IdentityMode::Lookup] {
        for (policy, taken) in [
            (AdoptionPolicy::CreateOnly, false),
            (AdoptionPolicy::AdoptOrCreate, true),
            (AdoptionPolicy::AdoptOnly, true),
        ] {
            let mut w = World::new(mode);
            w.desired.claimed = true;
            w.desired.adoption = policy;
            w.tenants = vec![tenant("t-there", "k1-x", TenantStatus::Active)];
            let rest = w.until(Rest::InSync, 3);
            assert_eq!(rest == Rest::InSync, taken, "{mode:?} {policy:?}");
            assert_eq!(w.created, 0);
            if !taken {
                assert_eq!(w.status.request.as_ref().unwrap().reason, "Conflict");
                w.desired.adoption = AdoptionPolicy::AdoptOrCreate;
                w.generation += 1;
                assert_eq!(w.until(Rest::InSync, 3), Rest::InSync, "{mode:?}");
            }
        }
    }
}

#[test]
fn who_only_adopts_never_creates() {
    for mode in [IdentityMode::ExternalId, IdentityMode::Lookup] {
        let mut w = World::new(mode);
        w.desired.claimed = true;
        w.desired.adoption = AdoptionPolicy::AdoptOnly;
        assert_eq!(w.until(Rest::InSync, 4), Rest::Missing, "{mode:?}");
        w.tenants = vec![tenant("t-there", "k1-x", TenantStatus::Active)];
        assert_eq!(w.until(Rest::InSync, 4), Rest::InSync, "{mode:?}");
        w.tenants.clear();
        assert_eq!(w.until(Rest::Gone, 6), Rest::Missing, "{mode:?}");
        assert_eq!(w.created, 0, "{mode:?}");
        // What is let go was never another's.
        w.deleting = true;
        assert_eq!(w.until(Rest::Gone, 4), Rest::Gone, "{mode:?}");
    }
}

#[test]
fn a_claimed_tenant_of_somebody_else_is_not_deleted_as_a_twin() {
    let mut w = World::new(IdentityMode::Lookup);
    w.desired.claimed = true;
    w.until(Rest::InSync, 3);
    w.tenants
        .push(tenant("t-other", "k1-x", TenantStatus::Active));
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!(w.live(), 2);
    w.deleting = true;
    assert_eq!(w.until(Rest::Gone, 6), Rest::Gone);
    assert_eq!(w.live(), 1, "another's tenant stays");
}

#[test]
fn a_create_that_is_said_to_be_under_way_is_repeated_and_asks_nobody() {
    let mut w = World::new(IdentityMode::IdempotencyKey);
    // As it is when nothing was sent yet.
    w.clock.repeatable = false;
    w.manners.busy = 1;
    assert_eq!(w.pass(None), Some(Rest::Retry));
    w.clock.repeatable = true;
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!((w.created, w.live()), (1, 1));
}
