//! What becomes of a TierConfiguration, without a cluster.

use fulfillment_crds::{
    Condition, DeletionPolicy, ParameterError, Reason, Request, RequestStatus, RequestType,
    SubscriptionState, SubscriptionStatus, TierConfigurationStatus, TierRequestType, TierState,
    Time,
};
use k8s_openapi::jiff::Timestamp;

use super::decide::{Child, Decision, Facts, Step, decide};
use crate::{facts::Trouble, report};

fn facts() -> Facts {
    Facts {
        now: Timestamp::UNIX_EPOCH,
        generation: 1,
        deleting: false,
        finalized: true,
        paused: false,
        requested_at: None,
        before: TierConfigurationStatus::default(),
        trouble: None,
        invalid: Vec::new(),
        inputs: Some("one".into()),
        users: Vec::new(),
        owns: false,
        unprepared: false,
        deletion: DeletionPolicy::Delete,
        crd_terminating: false,
        child: Child::Unwanted,
        request_id: "r1".into(),
    }
}

/// A Subscription that stands so.
fn child(ready: &str, reason: Reason, stalled: bool) -> Child {
    let status = if ready == "True" {
        RequestStatus::Approved
    } else if reason == Reason::Inquiring {
        RequestStatus::Inquiring
    } else if reason == Reason::RequestFailed {
        RequestStatus::Failed
    } else {
        RequestStatus::Pending
    };
    let condition = |type_: &str, status: &str| Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.as_str().into(),
        message: "as the vendor said".into(),
        observed_generation: Some(1),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    };
    let mut conditions = vec![condition("Ready", ready)];
    conditions.extend(stalled.then(|| condition("Stalled", "True")));
    let is_there = ready == "True" || reason == Reason::Drifted;
    Child::Stands(Box::new(SubscriptionStatus {
        tenant_id: Some("t-1".into()),
        state: Some(if is_there {
            SubscriptionState::Active
        } else {
            SubscriptionState::Processing
        }),
        conditions,
        request: Some(Request {
            id: "p1".into(),
            type_: RequestType::Purchase,
            status,
            generation: 1,
            reason: String::new(),
            message: String::new(),
            operation: None,
            attempts: 1,
            started_at: None,
            settled_at: None,
            finished_at: None,
        }),
        ..SubscriptionStatus::default()
    }))
}

/// The next decision, with the status of the one before.
fn then(facts: &mut Facts, id: &str, change: impl FnOnce(&mut Facts)) -> Decision {
    facts.before = decide(facts).status;
    facts.request_id = id.into();
    change(facts);
    decide(facts)
}

fn request(decision: &Decision) -> (&str, TierRequestType, RequestStatus) {
    let request = decision.status.request.as_ref().unwrap();
    (&request.id, request.type_, request.status)
}

fn standing(decision: &Decision) -> (String, String) {
    let ready = report::ready(&decision.status.conditions).unwrap();
    (ready.status.clone(), ready.reason.clone())
}

fn error() -> ParameterError {
    ParameterError {
        name: "reseller_id".into(),
        message: "is required".into(),
    }
}

#[test]
fn a_setup_is_approved_once_and_an_update_is_another_request() {
    let mut f = facts();
    let setup = decide(&f);
    assert_eq!(
        request(&setup),
        ("r1", TierRequestType::Setup, RequestStatus::Approved)
    );
    assert_eq!(setup.status.state, Some(TierState::Active));
    assert_eq!(setup.note.as_ref().unwrap().note, "Setup approved");

    let again = then(&mut f, "r2", |_| {});
    assert_eq!(request(&again).0, "r1");
    assert_eq!(
        again.status, f.before,
        "nothing is written where nothing is new"
    );
    assert!(again.note.is_none() && again.settled);

    // Broken, it waits for its author; the same request goes on when it is mended.
    let broken = then(&mut f, "r3", |f| {
        f.generation = 2;
        f.inputs = Some("two".into());
        f.invalid = vec![error()];
    });
    assert_eq!(
        request(&broken),
        ("r3", TierRequestType::Update, RequestStatus::Inquiring)
    );
    assert_eq!(broken.status.state, Some(TierState::Active));
    assert_eq!(broken.status.inputs_hash.as_deref(), Some("one"));
    let mended = then(&mut f, "r4", |f| {
        f.generation = 3;
        f.inputs = Some("three".into());
        f.invalid.clear();
    });
    assert_eq!(
        request(&mended),
        ("r3", TierRequestType::Update, RequestStatus::Approved)
    );
    assert_eq!(mended.status.inputs_hash.as_deref(), Some("three"));
    assert!(mended.status.parameter_errors.is_empty());
}

#[test]
fn what_is_missing_is_waited_for_and_asks_for_nothing_new() {
    let mut f = facts();
    f.trouble = Some(Trouble {
        reason: Reason::DependencyNotReady,
        message: "Secret north does not exist".into(),
    });
    f.inputs = None;
    let waits = decide(&f);
    assert_eq!(
        standing(&waits),
        ("False".into(), "DependencyNotReady".into())
    );
    assert_eq!(request(&waits).2, RequestStatus::Pending);
    assert!(!waits.settled);
    let there = then(&mut f, "r2", |f| {
        f.trouble = None;
        f.inputs = Some("one".into());
    });
    assert_eq!(
        request(&there),
        ("r1", TierRequestType::Setup, RequestStatus::Approved)
    );
    // Gone once more, what was approved stays so.
    let gone = then(&mut f, "r3", |f| {
        f.trouble = Some(Trouble {
            reason: Reason::DependencyNotReady,
            message: String::new(),
        });
        f.inputs = None;
    });
    assert_eq!(
        request(&gone),
        ("r1", TierRequestType::Setup, RequestStatus::Approved)
    );
    assert_eq!(standing(&gone).0, "False");
}

#[test]
fn its_own_tenant_decides() {
    let mut f = facts();
    f.child = Child::Absent;
    let first = decide(&f);
    assert_eq!(first.step, Step::Apply);
    assert_eq!(request(&first).2, RequestStatus::Pending);
    f.before = first.status;
    for (seen, step, reason, status) in [
        (
            Child::Unseen,
            Step::Rest,
            Reason::Provisioning,
            RequestStatus::Pending,
        ),
        (
            Child::Differs,
            Step::Apply,
            Reason::Provisioning,
            RequestStatus::Pending,
        ),
        (
            child("False", Reason::Provisioning, false),
            Step::Rest,
            Reason::Provisioning,
            RequestStatus::Pending,
        ),
        (
            child("False", Reason::CreateOutcomeUnknown, true),
            Step::Rest,
            Reason::CreateOutcomeUnknown,
            RequestStatus::Pending,
        ),
        (
            child("False", Reason::Inquiring, true),
            Step::Rest,
            Reason::Inquiring,
            RequestStatus::Inquiring,
        ),
        (
            child("False", Reason::RequestFailed, true),
            Step::Rest,
            Reason::RequestFailed,
            RequestStatus::Failed,
        ),
        (
            child("True", Reason::Active, false),
            Step::Rest,
            Reason::Active,
            RequestStatus::Approved,
        ),
    ] {
        f.child = seen;
        let decision = decide(&f);
        assert_eq!(decision.step, step, "{reason}");
        assert_eq!(standing(&decision).1, reason.as_str());
        assert_eq!(request(&decision).2, status, "{reason}");
        let bought = decision.status.state == Some(TierState::Active);
        assert_eq!(bought, status == RequestStatus::Approved, "{reason}");
    }
    // A failure stays one request, and another try is another one.
    f.child = child("False", Reason::RequestFailed, true);
    let failed = then(&mut f, "r2", |_| {});
    assert_eq!(
        request(&failed),
        ("r1", TierRequestType::Setup, RequestStatus::Failed)
    );
    let retried = then(&mut f, "r3", |f| {
        f.child = child("True", Reason::Active, false)
    });
    assert_eq!(
        request(&retried),
        ("r3", TierRequestType::Setup, RequestStatus::Approved)
    );
    assert_eq!(retried.status.tenant_id.as_deref(), Some("t-1"));
    // What is approved stays so when its tenant drifts.
    let drifted = then(&mut f, "r4", |f| {
        f.child = child("False", Reason::Drifted, false)
    });
    assert_eq!(
        request(&drifted),
        ("r3", TierRequestType::Setup, RequestStatus::Approved)
    );
    assert_eq!(standing(&drifted), ("False".into(), "Drifted".into()));
}

#[test]
fn nothing_is_let_go_while_it_is_used() {
    let mut f = facts();
    f.deleting = true;
    f.owns = true;
    f.users = (0..12).map(|n| format!("Subscription s{n}")).collect();
    let kept = decide(&f);
    assert_eq!(kept.step, Step::Rest);
    let said = &report::ready(&kept.status.conditions).unwrap().message;
    assert!(said.contains("Subscription s9 and 2 more"), "{said}");
    f.users.clear();
    f.crd_terminating = true;
    let held = decide(&f);
    assert_eq!(held.step, Step::Rest);
    assert_eq!(standing(&held).1, "CRDTerminating");
    f.crd_terminating = false;
    f.unprepared = true;
    assert_eq!(decide(&f).step, Step::Prepare);
    f.unprepared = false;
    assert_eq!(decide(&f).step, Step::Remove);
    f.owns = false;
    assert_eq!(decide(&f).step, Step::Release);
    f.finalized = false;
    assert_eq!(decide(&f).step, Step::Gone);
}

#[test]
fn paused_it_takes_no_step() {
    let mut f = facts();
    f.finalized = false;
    assert_eq!(decide(&f).step, Step::Finalize);
    f.finalized = true;
    f.before = decide(&f).status;
    f.paused = true;
    f.generation = 2;
    f.inputs = Some("two".into());
    for deleting in [false, true] {
        f.deleting = deleting;
        let paused = decide(&f);
        assert_eq!(paused.step, Step::Rest);
        assert_eq!(standing(&paused), ("True".into(), "Paused".into()));
        assert_eq!(paused.status.observed_generation, Some(1));
        assert_eq!(paused.status.inputs_hash.as_deref(), Some("one"));
    }
}

#[test]
fn nothing_new_is_bought_where_its_own_tenant_is_gone_or_going() {
    let mut f = facts();
    f.child = child("True", Reason::Active, false);
    f.before = decide(&f).status;
    assert_eq!(f.before.state, Some(TierState::Active));
    let mut gone = child("False", Reason::TenantMissing, true);
    if let Child::Stands(status) = &mut gone {
        status.state = Some(SubscriptionState::Terminated);
    }
    for (child, state) in [
        (Child::Absent, TierState::Processing),
        (Child::Leaving(Box::default()), TierState::Processing),
        (Child::Foreign("north-tier".into()), TierState::Processing),
        (gone, TierState::Processing),
        // Made anew by itself.
        (
            child("False", Reason::Provisioning, false),
            TierState::Processing,
        ),
        (Child::Differs, TierState::Active),
        (Child::Unseen, TierState::Active),
        (child("False", Reason::Drifted, false), TierState::Active),
    ] {
        f.child = child;
        let decision = decide(&f);
        assert_eq!(decision.status.state, Some(state), "{:?}", f.child);
        // What was bought under it goes on carrying where it stands.
        assert_eq!(decision.status.tenant_id.as_deref(), Some("t-1"));
        assert_eq!(request(&decision).2, RequestStatus::Approved);
    }
}

#[test]
fn a_failure_is_one_request_whatever_is_in_the_way_afterwards() {
    let mut f = facts();
    f.requested_at = Some("first".into());
    f.child = child("False", Reason::RequestFailed, true);
    let failed = decide(&f);
    assert!(failed.note.is_some());
    let trouble = Trouble {
        reason: Reason::DependencyNotReady,
        message: "Secret north does not exist".into(),
    };
    let waits = then(&mut f, "r2", |f| f.trouble = Some(trouble));
    assert_eq!(standing(&waits).1, "DependencyNotReady");
    assert_eq!(request(&waits).0, "r1");
    let again = then(&mut f, "r3", |f| f.trouble = None);
    assert_eq!(
        request(&again),
        ("r1", TierRequestType::Setup, RequestStatus::Failed)
    );
    assert!(again.note.is_none(), "it is told twice");

    // Asked for once more, or changed, it is another one.
    let asked = then(&mut f, "r4", |f| {
        f.requested_at = Some("second".into());
        f.child = Child::Differs;
    });
    assert_eq!(request(&asked).0, "r4");
    let failed = then(&mut f, "r5", |f| {
        f.child = child("False", Reason::RequestFailed, true);
    });
    assert_eq!(
        request(&failed),
        ("r4", TierRequestType::Setup, RequestStatus::Failed)
    );
    let changed = then(&mut f, "r6", |f| {
        f.generation = 2;
        f.child = Child::Differs;
    });
    assert_eq!(request(&changed).0, "r6");
}
