//! The planner over every combination of what it decides on, and over whole lives with a crash at
//! every point.

use crate::model::{Crash, Manners, World, error, limits, request};
use fulfillment_crds::{
    DeletionPolicy, DesiredState, IdentityMode, OnMissing, RequestStatus, RequestType,
    SubscriptionState, Time,
};
use fulfillment_operator::{
    facts::{Facts, Intent, Read, Resolution, Trouble},
    plan::{Rest, Step, open_create, plan},
    vendor::{Effect, TenantStatus},
};
use k8s_openapi::jiff::Timestamp;

const MODES: [IdentityMode; 4] = [
    IdentityMode::ExternalId,
    IdentityMode::IdempotencyKey,
    IdentityMode::Lookup,
    IdentityMode::None,
];

/// Calls `check` with every combination; says how many there were.
fn every_combination(mut check: impl FnMut(&Facts, &Step)) -> usize {
    let requests: Vec<_> = [
        RequestType::Purchase,
        RequestType::Change,
        RequestType::Suspend,
        RequestType::Cancel,
    ]
    .into_iter()
    .flat_map(|type_| {
        [
            (RequestStatus::Pending, ""),
            (RequestStatus::Pending, "VendorUnavailable"),
            (RequestStatus::Inquiring, ""),
            (RequestStatus::Approved, ""),
            (RequestStatus::Failed, ""),
            (RequestStatus::Unknown, ""),
            (RequestStatus::Unknown, "Conflict"),
        ]
        .map(|(status, reason)| Some(request(type_, status, reason)))
    })
    .chain([None])
    .collect();
    let observed = [
        None,
        Some(SubscriptionState::Processing),
        Some(SubscriptionState::Active),
        Some(SubscriptionState::Suspended),
        Some(SubscriptionState::Terminating),
        Some(SubscriptionState::Terminated),
    ];
    let mut n = 0;
    for mode in MODES {
        for request in &requests {
            for state in observed {
                for bits in 0..(1u32 << 12) {
                    let bit = |i: u32| bits & (1 << i) != 0;
                    let mut world = World::new(mode);
                    world.desired.state = if bit(0) {
                        DesiredState::Suspended
                    } else {
                        DesiredState::Active
                    };
                    world.deleting = bit(1);
                    world.finalized = bit(2);
                    world.status.request.clone_from(request);
                    world.status.state = state;
                    world.status.tenant_id = bit(3).then(|| "t1".into());
                    world.status.limits = limits(if bit(4) { 50 } else { 40 });
                    world.status.inputs_hash = Some("hash-1".into());
                    world.status.observed_generation = Some(1);
                    world.intent = bit(5).then(|| intent(if bit(6) { "r0" } else { "other" }));
                    world.clock.backing_off = bit(7);
                    world.clock.read_due = bit(8);
                    world.clock.settled = bit(9);
                    let mut f = world.facts();
                    f.pass.read = match (bit(10), bit(11)) {
                        (false, _) => None,
                        (true, false) => Some(Read::Found),
                        (true, true) => Some(Read::Absent),
                    };
                    check(&f, &plan(&f));
                    n += 1;
                }
            }
        }
    }
    n
}

fn intent(id: &str) -> Intent {
    Intent {
        id: id.into(),
        attempt: 1,
        external_id: "k1-x".into(),
        body: None,
        repeated: false,
        after: None,
    }
}

#[test]
fn no_combination_breaks_a_guarantee() {
    let n = every_combination(|f, step| {
        let at = || format!("{step:?} for {f:#?}");
        let tenant = f.ledger.tenant_id.is_some();
        match step {
            Step::Create(_) => panic!("a create without an intent of this pass: {}", at()),
            Step::Claim(_) | Step::Finalize | Step::Intend(_) => {
                assert!(
                    !f.clock.backing_off || (tenant && *step == Step::Finalize),
                    "{}",
                    at()
                );
                let held = f.rules.mode == IdentityMode::None && open_create(f).is_some();
                assert!(
                    !held || *step == Step::Finalize,
                    "a create whose outcome is unknown would be repeated: {}",
                    at()
                );
            }
            Step::Change | Step::Suspend | Step::Resume => {
                assert!(
                    !f.object.deleting && tenant && f.object.finalized && !f.clock.backing_off,
                    "{}",
                    at()
                );
            }
            Step::Delete => {
                assert!(
                    f.object.deleting && tenant && f.object.finalized && !f.clock.backing_off,
                    "{}",
                    at()
                );
                assert!(open_create(f).is_none(), "{}", at());
            }
            Step::Bury | Step::Release => {
                assert!(f.object.deleting && f.object.finalized, "{}", at());
                let seen_gone = f.pass.read == Some(Read::Absent)
                    || (f.pass.read == Some(Read::Found)
                        && f.ledger.state == Some(SubscriptionState::Terminated));
                assert!(
                    !tenant || seen_gone,
                    "released while a tenant may exist: {}",
                    at()
                );
                assert!(
                    tenant || open_create(f).is_none(),
                    "released while a create is open: {}",
                    at()
                );
            }
            Step::Read => assert!(tenant && f.pass.read.is_none(), "{}", at()),
            Step::Look(_) => assert!(
                f.rules.mode == IdentityMode::Lookup
                    && (f.object.finalized || tenant)
                    && f.pass.vacant.is_none(),
                "{}",
                at()
            ),
            Step::Discard(_) => panic!("there is no twin: {}", at()),
            Step::Adopt(_) => panic!("nobody named a tenant: {}", at()),
            Step::Rest(Rest::InSync) => {
                assert!(tenant && !f.object.deleting, "{}", at());
                assert_eq!(f.ledger.limits, f.desired.limits, "{}", at());
            }
            Step::Rest(_) => {}
        }
        if f.object.deleting && !f.object.finalized {
            assert_eq!(*step, Step::Rest(Rest::Gone), "{}", at());
        }
    });
    assert!(n > 1_000_000, "{n} combinations");
}

#[test]
fn nothing_is_done_while_paused_or_in_trouble() {
    every_combination(|f, _| {
        let mut paused = f.clone();
        paused.object.paused = true;
        let ours = !f.object.deleting || f.object.finalized;
        if ours {
            assert_eq!(plan(&paused), Step::Rest(Rest::Paused));
        }
        let mut troubled = f.clone();
        troubled.trouble = Some(Trouble {
            reason: fulfillment_crds::Reason::DependencyNotReady,
            message: String::new(),
        });
        match plan(&troubled) {
            Step::Rest(_) | Step::Bury | Step::Release => {}
            step => panic!("{step:?} without what it needs"),
        }
    });
}

#[test]
fn a_mutation_is_the_only_one_of_its_pass() {
    every_combination(|f, _| {
        let mut after = f.clone();
        after.pass.mutated = true;
        match plan(&after) {
            Step::Change | Step::Suspend | Step::Resume | Step::Delete | Step::Create(_) => {
                panic!("a second mutation in one pass: {after:#?}")
            }
            _ => {}
        }
    });
}

#[test]
fn a_calm_life_costs_what_it_should() {
    for (mode, purchase) in [
        (IdentityMode::ExternalId, (1, 2)),
        (IdentityMode::IdempotencyKey, (1, 3)),
        (IdentityMode::Lookup, (2, 3)),
        (IdentityMode::None, (1, 3)),
    ] {
        let mut w = World::new(mode);
        assert_eq!(w.pass(None), Some(Rest::InSync));
        assert_eq!((w.calls, w.writes), purchase, "purchase in {mode:?}");
        for (what, change) in [
            (
                "change",
                (|w: &mut World| w.desired.limits = limits(60)) as fn(&mut World),
            ),
            ("suspend", |w| w.desired.state = DesiredState::Suspended),
            ("resume", |w| w.desired.state = DesiredState::Active),
        ] {
            let before = (w.calls, w.writes);
            change(&mut w);
            w.generation += 1;
            assert_eq!(w.pass(None), Some(Rest::InSync), "{what}");
            assert_eq!(
                (w.calls, w.writes),
                (before.0 + 1, before.1 + 1),
                "{what} in {mode:?}"
            );
        }
        let before = (w.calls, w.writes);
        w.deleting = true;
        assert_eq!(w.pass(None), Some(Rest::Gone));
        // Where keys count, the one that was used is remembered.
        let writes = if mode == IdentityMode::IdempotencyKey {
            2
        } else {
            1
        };
        assert_eq!(
            (w.calls, w.writes),
            (before.0 + 2, before.1 + writes),
            "delete in {mode:?}"
        );
        assert_eq!((w.live(), w.created), (0, 1));
    }
}

/// From every start the world comes to rest as declared, and then nothing moves any more.
#[test]
fn every_start_reaches_a_fixpoint_and_stays() {
    for mode in MODES {
        for asynchronous in [false, true] {
            for suspended in [false, true] {
                for (state, seats) in [
                    (None, 0),
                    (Some(TenantStatus::Active), 50),
                    (Some(TenantStatus::Active), 40),
                    (Some(TenantStatus::Suspended), 50),
                    (Some(TenantStatus::Suspended), 40),
                    (Some(TenantStatus::Terminated), 50),
                ] {
                    let mut w = World::new(mode);
                    w.manners.asynchronous = asynchronous;
                    w.until(Rest::InSync, 6);
                    w.desired.state = if suspended {
                        DesiredState::Suspended
                    } else {
                        DesiredState::Active
                    };
                    w.generation += 1;
                    if let Some(status) = state {
                        w.tenants[0].status = status;
                        w.tenants[0].limits = limits(seats);
                    }
                    let rest = w.until(Rest::InSync, 8);
                    assert_eq!(
                        rest,
                        Rest::InSync,
                        "{mode:?} {asynchronous} {suspended} {seats}: {w:#?}"
                    );
                    assert_eq!(w.live(), 1);
                    let (calls, writes) = (w.calls, w.writes);
                    w.clock.read_due = false;
                    for _ in 0..3 {
                        assert_eq!(w.pass(None), Some(Rest::InSync));
                    }
                    assert_eq!(
                        (w.calls, w.writes),
                        (calls, writes),
                        "at rest nothing is done"
                    );
                }
            }
        }
    }
}

/// Every life, cut at every effect of every pass, ends with one tenant while the object lives and
/// none after; in mode None it may be held instead, and then a person's answer ends it.
#[test]
fn a_crash_at_any_point_makes_no_second_tenant_and_loses_none() {
    for mode in MODES {
        for manners in [
            Manners::default(),
            Manners {
                asynchronous: true,
                ..Manners::default()
            },
            Manners {
                shows_dead: true,
                ..Manners::default()
            },
            Manners {
                lose: 1,
                ..Manners::default()
            },
            Manners {
                down: 2,
                ..Manners::default()
            },
        ] {
            for delete_after in 0..4 {
                for crash_pass in 0..5 {
                    for nth in 0..6 {
                        for crash in [Crash::Before(nth), Crash::After(nth)] {
                            life(mode, manners, delete_after, crash_pass, crash);
                        }
                    }
                }
            }
        }
    }
}

fn life(
    mode: IdentityMode,
    manners: Manners,
    delete_after: usize,
    crash_pass: usize,
    crash: Crash,
) {
    let mut w = World::new(mode);
    w.manners = manners;
    w.clock.read_due = true;
    let at =
        format!("{mode:?} {manners:?} delete after {delete_after}, {crash:?} in pass {crash_pass}");
    for n in 0..30 {
        if n == delete_after {
            if !w.finalized {
                return; // gone at once, and nothing was ever sent
            }
            w.deleting = true;
        }
        let rest = w.pass((n == crash_pass).then_some(crash));
        assert!(w.most_live <= 1, "two tenants: {at}: {w:#?}");
        if !w.exists {
            break;
        }
        if rest == Some(Rest::Held) {
            // With a key, only where nothing is recorded and the object is to go.
            let lost = mode == IdentityMode::IdempotencyKey && w.status.external_id.is_none();
            assert!(mode == IdentityMode::None || lost, "{at}: {w:#?}");
            let made = w.tenants.iter().find(|t| t.live());
            let adopt = made.map(|tenant| Resolution::Adopt(tenant.id.clone()));
            w.resolution = adopt.or_else(|| w.asked().map(Resolution::None));
        }
    }
    assert!(!w.exists, "never let go: {at}: {w:#?}");
    assert_eq!(w.live(), 0, "left behind: {at}: {w:#?}");
}

#[test]
fn a_lost_answer_is_found_out_by_repeating_or_held() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.manners.lose = 1;
    assert_eq!(w.pass(None), Some(Rest::Retry));
    assert_eq!(
        w.status.request.as_ref().unwrap().status,
        RequestStatus::Unknown
    );
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!((w.created, w.live()), (1, 1));

    let mut w = World::new(IdentityMode::None);
    w.manners.lose = 1;
    w.pass(None);
    for generation in 2..5 {
        w.generation = generation;
        w.requested_at = Some(generation.to_string());
        assert_eq!(
            w.pass(None),
            Some(Rest::Held),
            "neither edit nor annotation creates again"
        );
    }
    assert_eq!(w.created, 1);
}

#[test]
fn an_answer_of_a_person_serves_one_question_only() {
    let mut w = World::new(IdentityMode::None);
    w.manners.lose = 1;
    w.pass(None);
    w.tenants.clear(); // it turns out that it never came to be
    assert_eq!(w.pass(None), Some(Rest::Held));
    let asked = w.asked().unwrap();
    w.resolution = Some(Resolution::None(asked.clone()));
    w.manners.lose = 1;
    w.pass(None);
    assert_eq!(w.created, 2, "the answer let one create pass");
    for _ in 0..3 {
        assert_eq!(
            w.pass(None),
            Some(Rest::Held),
            "and it does not answer for that one"
        );
    }
    assert_ne!(w.status.request.as_ref().unwrap().id, asked);
    let made = w.tenants[0].id.clone();
    w.resolution = Some(Resolution::Adopt(made.clone()));
    assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
    assert_eq!(w.status.tenant_id.as_ref(), Some(&made));
    assert_eq!(w.created, 2);
}

#[test]
fn a_tenant_a_person_names_must_exist() {
    let mut w = World::new(IdentityMode::None);
    w.manners.lose = 1;
    w.pass(None);
    w.resolution = Some(Resolution::Adopt("nobody".into()));
    assert_eq!(w.pass(None), Some(Rest::Held));
    assert_eq!(w.status.tenant_id, None);
}

#[test]
fn a_dead_tenant_is_not_revived_and_its_successor_counts_up() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.manners.shows_dead = true;
    w.until(Rest::InSync, 3);
    w.tenants[0].status = TenantStatus::Terminated;
    assert_eq!(w.until(Rest::InSync, 6), Rest::InSync);
    assert_eq!(w.tenants[1].external_id, "k1-x-2");
    // A lost status is found again by counting up from the base.
    w.status = Default::default();
    w.intent = None;
    assert_eq!(w.until(Rest::InSync, 8), Rest::InSync);
    assert_eq!((w.created, w.live()), (2, 1));
    assert_eq!(w.status.tenant_id.as_deref(), Some("t2"));
}

#[test]
fn a_failed_purchase_rests_until_something_changes() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.manners = Manners {
        asynchronous: true,
        fails: true,
        shows_dead: true,
        ..Manners::default()
    };
    assert_eq!(w.until(Rest::Failed, 4), Rest::Failed);
    assert_eq!(w.status.state, Some(SubscriptionState::Terminated));
    for _ in 0..5 {
        assert_eq!(w.pass(None), Some(Rest::Failed));
    }
    assert_eq!(w.created, 1);
    w.manners.fails = false;
    w.requested_at = Some("again".into());
    assert_eq!(w.until(Rest::InSync, 5), Rest::InSync);
    assert_eq!((w.created, w.live()), (2, 1));
    assert_eq!(w.tenants[1].external_id, "k1-x-2");
}

#[test]
fn a_claimed_id_that_is_taken_is_a_conflict_and_is_not_touched() {
    let mut other = World::new(IdentityMode::ExternalId);
    other.until(Rest::InSync, 3);
    let mut w = World::new(IdentityMode::ExternalId);
    w.desired.claimed = true;
    w.tenants = other.tenants;
    assert_eq!(w.pass(None), Some(Rest::Failed));
    assert_eq!(w.status.request.as_ref().unwrap().reason, "Conflict");
    w.requested_at = Some("again".into());
    assert_eq!(w.pass(None), Some(Rest::Failed));
    assert_eq!(w.calls, 1, "asking again creates nothing");
    w.deleting = true;
    assert_eq!(w.pass(None), Some(Rest::Gone));
    assert_eq!(w.live(), 1, "another's tenant stays");
}

#[test]
fn retain_lets_go_at_once_and_keeps_the_tenant() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.until(Rest::InSync, 3);
    w.desired.deletion = DeletionPolicy::Retain;
    w.deleting = true;
    let calls = w.calls;
    assert_eq!(w.pass(None), Some(Rest::Gone));
    assert_eq!((w.live(), w.calls), (1, calls));
}

#[test]
fn a_missing_tenant_is_read_twice_and_then_treated_by_policy() {
    for policy in [OnMissing::Recreate, OnMissing::Report] {
        let mut w = World::new(IdentityMode::ExternalId);
        w.rules.on_missing = policy;
        w.until(Rest::InSync, 3);
        let kept = std::mem::take(&mut w.tenants);
        w.clock.missing_confirmed = false;
        w.clock.read_due = true;
        assert_eq!(w.pass(None), Some(Rest::VerifyMissing));
        assert_eq!(w.created, 1);
        w.clock.missing_confirmed = true;
        match policy {
            OnMissing::Recreate => {
                assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
                assert_eq!((w.created, w.live()), (2, 1));
            }
            OnMissing::Report => {
                assert_eq!(w.pass(None), Some(Rest::Missing));
                w.clock.read_due = false;
                assert_eq!(w.pass(None), Some(Rest::Missing));
                w.tenants = kept;
                assert_eq!(w.until(Rest::InSync, 3), Rest::InSync);
                assert_eq!(w.created, 1);
            }
        }
    }
}

#[test]
fn while_the_vendor_decides_a_newer_spec_waits_and_then_wins() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.manners.asynchronous = true;
    assert_eq!(w.pass(None), Some(Rest::Pending));
    for seats in [60, 70, 80] {
        w.desired.limits = limits(seats);
        w.generation += 1;
        assert_eq!(w.pass(None), Some(Rest::Pending));
    }
    assert_eq!(w.calls, 1, "nothing is sent meanwhile");
    assert_eq!(w.until(Rest::InSync, 6), Rest::InSync);
    assert_eq!(w.tenants[0].limits, limits(80));
}

#[test]
fn a_status_lost_with_its_annotations_finds_the_tenant_again() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.until(Rest::InSync, 3);
    w.status = Default::default();
    w.intent = None;
    w.finalized = false;
    assert_eq!(w.until(Rest::InSync, 4), Rest::InSync);
    assert_eq!((w.created, w.live()), (1, 1));
    // Only the finalizer and annotations are lost, as `kubectl replace` does.
    w.intent = None;
    w.finalized = false;
    assert_eq!(w.until(Rest::InSync, 2), Rest::InSync);
    assert!(w.finalized, "the finalizer is back");
}

#[test]
fn a_failed_read_says_retry_only_where_something_is_left_to_do() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.until(Rest::InSync, 3);
    let mut f = w.facts();
    f.pass.failure = Some(error(Effect::Unknown));
    assert_eq!(plan(&f), Step::Rest(Rest::Unverified));
    f.desired.limits = limits(1);
    assert_eq!(plan(&f), Step::Rest(Rest::Retry));
}

#[test]
fn an_inquiry_about_a_limit_is_answered_by_a_newer_spec_and_once() {
    let mut w = World::new(IdentityMode::ExternalId);
    w.until(Rest::InSync, 3);
    let mut inquiry = request(RequestType::Change, RequestStatus::Inquiring, "");
    inquiry.started_at = Some(Time(Timestamp::UNIX_EPOCH));
    w.status.request = Some(inquiry);
    w.desired.limits = limits(60);
    w.clock.read_due = false;
    let rest = Step::Rest(Rest::Inquiring);
    assert_eq!(
        plan(&w.facts()),
        rest,
        "what it asks about is what was sent"
    );
    w.generation = 2;
    assert_eq!(plan(&w.facts()), Step::Change);
    // Nothing that the vendor asks about was edited.
    w.desired.limits = limits(50);
    assert_eq!(plan(&w.facts()), rest);
}

#[test]
fn what_could_not_be_suspended_for_its_grace_period_is_after_the_next_look() {
    let mut w = World::new(IdentityMode::ExternalId);
    (w.finalized, w.deleting) = (true, true);
    w.status.request = Some(request(RequestType::Purchase, RequestStatus::Approved, ""));
    w.status.tenant_id = Some("t1".into());
    w.status.state = Some(SubscriptionState::Active);
    w.clock.grace_until = Some(Timestamp::default());
    w.clock.read_due = true;
    let mut f = w.facts();
    assert_eq!(plan(&f), Step::Read);
    f.pass.read = Some(Read::Found);
    assert_eq!(plan(&f), Step::Suspend);
    f.ledger.state = Some(SubscriptionState::Suspended);
    assert_eq!(plan(&f), Step::Rest(Rest::Terminating));
}
