//! Creates that take effect late, beside or after what answered: each was found by the model check
//! (`cargo proof model --thorough`).

use crate::model::{Kept, World, limits, request};
use fulfillment_crds::{
    DesiredState, IdentityMode, OnMissing, OnUnknownOutcome, RequestStatus, RequestType,
    SubscriptionState, Time,
};
use fulfillment_operator::{
    facts::{Intent, Resolution},
    plan::{Rest, Step, plan},
    vendor::{FulfillmentStatus, TenantStatus},
};
use k8s_openapi::jiff::Timestamp;

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
    let mut unknown = request(RequestType::Purchase, RequestStatus::Unknown, "Conflict");
    unknown.settled_at = Some(Time(Timestamp::default()));
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
fn a_failed_tenant_that_is_still_shown_is_looked_up_once() {
    let mut w = failed_after_a_repeat();
    w.manners.shows_dead = true;
    w.tenants = vec![Kept {
        status: TenantStatus::Failed,
        request: FulfillmentStatus::Failed,
        ..tenant("t1")
    }];
    w.clock.read_due = true;
    assert_eq!(w.pass(None), Some(Rest::Failed));
    assert_eq!(w.calls, 1);
}

#[test]
fn a_tenant_that_lands_beside_one_that_is_gone_is_found_where_that_is_only_told() {
    let mut w = failed_after_a_repeat();
    w.rules.on_missing = OnMissing::Report;
    w.status.request.as_mut().unwrap().status = RequestStatus::Approved;
    w.status.state = Some(SubscriptionState::Active);
    assert_eq!(
        w.until(Rest::Missing, 1),
        Rest::Missing,
        "there is none yet"
    );
    w.tenants = vec![tenant("t2")];
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!(w.status.tenant_id.as_deref(), Some("t2"));
    assert_eq!((w.created, w.live()), (0, 1));
}

#[test]
fn a_vendor_that_cannot_be_asked_for_a_name_hides_nothing_that_is_known() {
    for gone in [true, false] {
        let mut w = failed_after_a_repeat();
        w.manners.blind = true;
        w.rules.on_missing = OnMissing::Report;
        let expected = if gone {
            w.status.request.as_mut().unwrap().status = RequestStatus::Approved;
            w.status.state = Some(SubscriptionState::Active);
            Rest::Missing
        } else {
            Rest::Failed
        };
        assert_eq!(w.until(expected, 2), expected);
        w.clock.read_due = true;
        let calls = w.calls;
        assert_eq!(w.pass(None), Some(expected));
        assert_eq!(w.calls - calls, if gone { 2 } else { 1 });
    }
}

#[test]
fn a_name_that_is_anothers_holds_up_no_delete() {
    for recorded in [true, false] {
        let mut w = World::new(IdentityMode::Lookup);
        w.desired.claimed = true;
        w.tenants = vec![tenant("another's")];
        w.finalized = true;
        if recorded {
            assert_eq!(w.pass(None), Some(Rest::Failed));
        }
        w.deleting = true;
        assert_eq!(w.pass(None), Some(Rest::Gone));
        assert_eq!(w.live(), 1);
    }
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

/// Modes in which a create of unknown outcome may be one that nothing can find out.
const HELD: [IdentityMode; 2] = [IdentityMode::IdempotencyKey, IdentityMode::None];

fn held(mode: IdentityMode) -> World {
    let mut w = World::new(mode);
    w.pass_losing_the_create();
    // It is on its way still.
    w.tenants.clear();
    w.clock.repeatable = false;
    w.clock.settled = false;
    w
}

#[test]
fn nobody_is_asked_before_nothing_can_land_any_more() {
    for mode in HELD {
        let mut w = held(mode);
        assert_eq!(w.pass(None), Some(Rest::Held));
        assert_eq!(w.asked(), None, "{mode:?}");
        w.clock.settled = true;
        assert_eq!(w.pass(None), Some(Rest::Held));
        let asked = w.asked();
        assert!(asked.is_some(), "{mode:?}");
        // Another process that has not seen it for long may go by that.
        w.clock.settled = false;
        w.resolution = asked.map(Resolution::None);
        assert_eq!(w.until(Rest::InSync, 3), Rest::InSync, "{mode:?}");
        assert_eq!((w.created, w.live()), (2, 1), "{mode:?}");
    }
}

#[test]
fn an_early_answer_counts_when_the_create_can_land_no_more() {
    for mode in HELD {
        let mut w = held(mode);
        let id = w.status.request.as_ref().unwrap().id.clone();
        w.resolution = Some(Resolution::None(id));
        for _ in 0..3 {
            assert_eq!(w.pass(None), Some(Rest::Held), "{mode:?}");
        }
        assert_eq!(w.created, 1, "{mode:?}");
        w.clock.settled = true;
        assert_eq!(w.until(Rest::InSync, 3), Rest::InSync, "{mode:?}");
        assert_eq!((w.created, w.live()), (2, 1), "{mode:?}");
    }
}

#[test]
fn an_early_answer_that_was_overtaken_can_be_corrected() {
    for mode in HELD {
        let mut w = held(mode);
        let id = w.status.request.as_ref().unwrap().id.clone();
        w.resolution = Some(Resolution::None(id));
        assert_eq!(w.pass(None), Some(Rest::Held));
        w.tenants = vec![tenant("late")];
        w.resolution = Some(Resolution::Adopt("late".into()));
        w.clock.settled = true;
        assert_eq!(w.until(Rest::InSync, 3), Rest::InSync, "{mode:?}");
        assert_eq!((w.created, w.live()), (1, 1), "{mode:?}");
    }
}

#[test]
fn an_early_answer_lets_nothing_go_before_its_time() {
    let mut w = held(IdentityMode::None);
    let id = w.status.request.as_ref().unwrap().id.clone();
    w.deleting = true;
    w.resolution = Some(Resolution::None(id));
    assert_eq!(w.pass(None), Some(Rest::Terminating));
    assert!(w.exists);
    w.clock.settled = true;
    assert_eq!(w.until(Rest::Gone, 3), Rest::Gone);
}

#[test]
fn a_create_that_another_may_hear_the_answer_of_is_waited_for() {
    for policy in [OnUnknownOutcome::Hold, OnUnknownOutcome::Retry] {
        let mut w = World::new(IdentityMode::None);
        w.rules.on_unknown = policy;
        w.finalized = true;
        w.status.request = Some(request(RequestType::Purchase, RequestStatus::Pending, ""));
        w.clock.settled = false;
        assert_eq!(w.pass(None), Some(Rest::Settling), "{policy:?}");
        w.clock.settled = true;
        let (rest, created) = match policy {
            OnUnknownOutcome::Hold => (Rest::Held, 0),
            OnUnknownOutcome::Retry => (Rest::InSync, 1),
        };
        assert_eq!((w.pass(None), w.created), (Some(rest), created));
    }
}

#[test]
fn a_suspend_whose_answer_is_lost_is_approved_by_a_read_or_withdrawn() {
    for went_back in [false, true] {
        let mut w = World::new(IdentityMode::ExternalId);
        w.until(Rest::InSync, 4);
        w.generation = 2;
        w.desired.state = DesiredState::Suspended;
        w.manners.lose = 1;
        assert_eq!(w.pass(None), Some(Rest::Retry));
        if went_back {
            w.generation = 3;
            w.desired.state = DesiredState::Active;
            w.tenants[0].status = TenantStatus::Active;
        }
        assert_eq!(w.until(Rest::InSync, 2), Rest::InSync);
        let last = w.status.request.as_ref().unwrap();
        let type_ = if went_back {
            RequestType::Purchase
        } else {
            RequestType::Suspend
        };
        assert_eq!((last.type_, last.status), (type_, RequestStatus::Approved));
        assert!(last.message.is_empty(), "{last:?}");
        assert_eq!(w.status.history.first(), Some(last));
    }
}

#[test]
fn a_create_that_went_without_an_answer_is_remembered_through_many_changes() {
    let mut w = World::new(IdentityMode::Lookup);
    w.pass_losing_the_create();
    // It never landed, and is sent once more.
    w.tenants.clear();
    w.until(Rest::InSync, 6);
    assert!(w.status.history[0].attempts > 1);
    for seats in 51..62 {
        w.generation += 1;
        w.desired.limits = limits(seats);
        assert_eq!(w.until(Rest::InSync, 4), Rest::InSync);
    }
    assert_eq!(w.status.history.len(), 10);
    w.deleting = true;
    w.until(Rest::Gone, 6);
    assert!(w.buried && !w.exists);
}
