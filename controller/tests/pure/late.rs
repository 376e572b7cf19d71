//! Creates that take effect late, beside or after what answered: each was found by the model check
//! (`cargo proof model --thorough`).

use crate::model::{Kept, World, limits, request};
use fulfillment_crds::{IdentityMode, RequestStatus, RequestType, SubscriptionState};
use fulfillment_operator::{
    facts::{Intent, Resolution},
    plan::{Rest, Step, plan},
    vendor::{FulfillmentStatus, TenantStatus},
};

fn intent(id: &str, attempt: i64, after: Option<&str>) -> Intent {
    Intent {
        id: id.into(),
        attempt,
        external_id: "k1-x".into(),
        body: None,
        repeated: attempt > 1,
        after: after.map(Into::into),
    }
}

fn tenant(id: &str) -> Kept {
    Kept {
        id: id.into(),
        external_id: "k1-x".into(),
        status: TenantStatus::Active,
        limits: limits(50),
        request: FulfillmentStatus::Approved,
    }
}

/// The vendor failed `t1`, which the second send of the order made.
fn failed_after_a_repeat() -> World {
    let mut w = World::new(IdentityMode::ExternalId);
    w.finalized = true;
    w.intent = Some(intent("r0", 2, None));
    let mut failed = request(RequestType::Purchase, RequestStatus::Failed, "");
    failed.attempts = 2;
    w.status.request = Some(failed);
    w.status.tenant_id = Some("t1".into());
    w.status.state = Some(SubscriptionState::Terminated);
    w.status.inputs_hash = Some("hash-1".into());
    w.status.observed_generation = Some(1);
    w
}

/// The vendor contradicted itself about `r0`, and a person has answered: none.
fn answered_none(mode: IdentityMode) -> World {
    let mut w = World::new(mode);
    w.finalized = true;
    w.intent = Some(intent("r0", 2, None));
    let unknown = request(RequestType::Purchase, RequestStatus::Unknown, "Conflict");
    w.status.request = Some(unknown);
    w.resolution = Some(Resolution::None("r0".into()));
    w
}

#[test]
fn an_answer_does_not_let_the_next_order_go() {
    let mut w = answered_none(IdentityMode::ExternalId);
    w.intent = Some(intent("r9", 1, Some("r0")));
    w.deleting = true;
    match plan(&w.facts()) {
        Step::Claim(next) => assert_eq!((next.id.as_str(), next.attempt), ("r9", 2)),
        step => panic!("the create of r9 is open: {step:?}"),
    }
    // Nor does it matter that the answer is taken away meanwhile.
    w.deleting = false;
    w.resolution = None;
    assert!(matches!(plan(&w.facts()), Step::Claim(next) if next.id == "r9"));
}

#[test]
fn an_answer_ends_the_doubt_about_a_claimed_name() {
    let mut w = answered_none(IdentityMode::ExternalId);
    w.desired.claimed = true;
    w.tenants = vec![tenant("another's")];
    assert_eq!(w.pass(None), Some(Rest::Failed), "nobody is asked again");
    assert_eq!(w.status.request.as_ref().unwrap().reason, "Conflict");
    assert_eq!(w.live(), 1);
}

#[test]
fn an_order_says_that_a_create_before_it_went_without_an_answer() {
    let mut w = failed_after_a_repeat();
    w.requested_at = Some("again".into());
    match plan(&w.facts()) {
        Step::Claim(next) => {
            assert!(
                next.repeated,
                "a delete waits for it, and the sweep looks for it"
            );
            assert_eq!(
                next.external_id, "k1-x",
                "no vendor makes a second of a name"
            );
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_tenant_that_lands_beside_a_failed_one_is_found_and_taken() {
    let mut w = failed_after_a_repeat();
    w.clock.read_due = true;
    assert_eq!(w.pass(None), Some(Rest::Failed), "there is none yet");
    w.tenants = vec![tenant("t2")];
    w.clock.read_due = false;
    assert_eq!(w.pass(None), Some(Rest::Failed));
    assert_eq!(w.calls, 1, "it is only looked for where a read is due");
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!(w.status.tenant_id.as_deref(), Some("t2"));
    let request = w.status.request.as_ref().unwrap();
    assert_eq!(request.status, RequestStatus::Approved);
    assert_eq!((w.created, w.live()), (0, 1));
}

#[test]
fn a_failed_order_that_was_answered_at_once_is_not_looked_for() {
    let mut w = failed_after_a_repeat();
    w.intent = Some(intent("r0", 1, None));
    w.clock.read_due = true;
    assert_eq!(w.pass(None), Some(Rest::Failed));
    assert_eq!(w.calls, 0);
}

#[test]
fn a_lookup_waits_for_a_create_whose_record_is_lost() {
    for deleting in [false, true] {
        let mut w = World::new(IdentityMode::Lookup);
        w.finalized = true;
        w.deleting = deleting;
        w.clock.settled = false;
        let waits = if deleting {
            Rest::Terminating
        } else {
            Rest::Settling
        };
        assert_eq!(w.pass(None), Some(waits));
        assert_eq!(w.calls, 0);
        w.tenants = vec![tenant("late")];
        w.clock.settled = true;
        let ends = if deleting { Rest::Gone } else { Rest::InSync };
        assert_eq!(w.until(ends, 4), ends);
        assert_eq!((w.created, w.live()), (0, usize::from(!deleting)));
    }
}

#[test]
fn a_delete_that_finds_its_tenant_gone_still_looks_for_a_twin() {
    let mut w = World::new(IdentityMode::Lookup);
    w.until(Rest::InSync, 4);
    w.tenants = vec![tenant("twin")];
    w.deleting = true;
    assert_eq!(w.until(Rest::Gone, 4), Rest::Gone);
    assert_eq!(w.live(), 0);
}

#[test]
fn a_tenant_a_person_names_may_be_pending_still() {
    let mut w = World::new(IdentityMode::None);
    w.manners.asynchronous = true;
    w.pass_losing_the_create();
    let made = w.tenants[0].id.clone();
    w.resolution = Some(Resolution::Adopt(made));
    assert_eq!(w.until(Rest::InSync, 4), Rest::InSync);
    let request = w.status.request.as_ref().unwrap();
    assert_eq!(request.status, RequestStatus::Approved);
}
