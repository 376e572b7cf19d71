//! What users see in each situation, as one golden table: the rows of the API's table of
//! conditions, in its order.

use std::fmt::Write;

use crate::model::{World, error, limits, request};
use fulfillment_crds::{
    Condition, DesiredState, IdentityMode, ParameterError, Reason, RequestStatus, RequestType,
    SubscriptionStatus, Time,
};
use fulfillment_operator::{
    facts::{Facts, Resellers, Resolution, Trouble},
    ledger,
    plan::Rest,
    report::{About, Report, report},
    vendor::{Class, Effect, VendorError},
};
use k8s_openapi::jiff::Timestamp;

fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut world = World::new(IdentityMode::ExternalId);
    world.finalized = true;
    world.generation = 4;
    world.status.tenant_id = Some("t-1042".into());
    world.status.limits = limits(50);
    world.status.request = Some(request(RequestType::Purchase, RequestStatus::Approved, ""));
    let mut f = world.facts();
    f.clock.now = Timestamp::from_second(1_795_460_000).unwrap();
    change(&mut f);
    f
}

fn before() -> SubscriptionStatus {
    let approved = Condition {
        type_: "Approved".into(),
        status: "True".into(),
        reason: "Approved".into(),
        message: String::new(),
        observed_generation: Some(3),
        last_transition_time: fulfillment_crds::Time(
            Timestamp::from_second(1_795_000_000).unwrap(),
        ),
    };
    let ready = Condition {
        type_: "Ready".into(),
        reason: "Active".into(),
        ..approved.clone()
    };
    SubscriptionStatus {
        observed_generation: Some(3),
        conditions: vec![ready, approved],
        ..SubscriptionStatus::default()
    }
}

fn made(rest: Rest, mut f: Facts) -> Option<Report> {
    ledger::rested(&mut f, rest);
    let before = before();
    let about = About {
        namespace: "team-a",
        name: "contoso-mail",
        output: None,
        tier: None,
        unverified_since: Some(Timestamp::from_second(1_795_459_000).unwrap()),
        before: &before,
    };
    report(&f, rest, &about)
}

fn pending(type_: RequestType) -> Facts {
    facts(|f| f.ledger.request = Some(request(type_, RequestStatus::Pending, "")))
}

fn said(status: RequestStatus, reason: &str, message: &str) -> Facts {
    facts(|f| {
        let mut r = request(RequestType::Change, status, reason);
        r.message = message.into();
        f.ledger.request = Some(r);
    })
}

fn failing(class: Class) -> Facts {
    facts(|f| {
        f.pass.failure = Some(VendorError {
            class,
            message: "the vendor answered 503".into(),
            ..error(Effect::Unknown)
        })
    })
}

fn trouble(reason: Reason, message: &str) -> Facts {
    facts(|f| {
        f.trouble = Some(Trouble {
            reason,
            message: message.into(),
        })
    })
}

/// A create whose outcome is unknown, and that can still take effect.
fn unsettled() -> Facts {
    let mut f = said(RequestStatus::Unknown, "", "the answer was lost");
    f.clock.settled = false;
    let request = f.ledger.request.as_mut().unwrap();
    request.started_at = Some(Time(Timestamp::from_second(1_795_459_990).unwrap()));
    f
}

#[test]
fn every_situation_reads_as_promised() {
    let rows: Vec<(&str, Rest, Facts)> = vec![
        (
            "purchase sent",
            Rest::Pending,
            pending(RequestType::Purchase),
        ),
        ("change sent", Rest::Pending, pending(RequestType::Change)),
        ("suspend sent", Rest::Pending, pending(RequestType::Suspend)),
        ("resume sent", Rest::Pending, pending(RequestType::Resume)),
        (
            "more to do",
            Rest::Again,
            facts(|f| f.desired.limits = limits(60)),
        ),
        ("in sync, active", Rest::InSync, facts(|_| {})),
        (
            "in sync, suspended",
            Rest::InSync,
            facts(|f| f.desired.state = DesiredState::Suspended),
        ),
        ("vendor waits for input", Rest::Inquiring, {
            let mut f = said(RequestStatus::Inquiring, "", "which floor?");
            f.ledger.parameter_errors = vec![ParameterError {
                name: "contact_phone".into(),
                message: "not a phone number".into(),
            }];
            f
        }),
        (
            "vendor said failed",
            Rest::Failed,
            said(RequestStatus::Failed, "quota", "no seats left"),
        ),
        (
            "unreachable, work left",
            Rest::Retry,
            failing(Class::Transient),
        ),
        ("throttled", Rest::Retry, failing(Class::Throttled)),
        ("unauthorized, work left", Rest::Retry, failing(Class::Auth)),
        (
            "unreachable, in sync",
            Rest::Unverified,
            failing(Class::Transient),
        ),
        (
            "create outcome unknown",
            Rest::Held,
            said(
                RequestStatus::Unknown,
                "",
                "the vendor did not answer in time",
            ),
        ),
        (
            "create outcome unknown, and it may still land",
            Rest::Held,
            unsettled(),
        ),
        ("an answer that does not count yet", Rest::Held, {
            let mut f = unsettled();
            f.object.resolution = Some(Resolution::None("r0".into()));
            f
        }),
        ("an answer that is none", Rest::Held, {
            let mut f = unsettled();
            f.object.resolution = Some(Resolution::Malformed("t-1001".into()));
            f
        }),
        (
            "asked about a limit and a tier",
            Rest::Inquiring,
            facts(|f| {
                f.ledger.parameter_errors = ["limits.seats", "tiers.tier1.reseller_id"]
                    .map(|name| ParameterError {
                        name: name.into(),
                        message: "no".into(),
                    })
                    .into();
            }),
        ),
        (
            "asked about what is a reseller's, by a plain name",
            Rest::Inquiring,
            facts(|f| {
                f.desired.resellers = Resellers {
                    parameters: vec!["reseller_id".into()],
                    configurations: vec!["north".into(), "top".into()],
                };
                f.ledger.parameter_errors = vec![ParameterError {
                    name: "reseller_id".into(),
                    message: "no such contract".into(),
                }];
            }),
        ),
        (
            "conflict",
            Rest::Failed,
            said(
                RequestStatus::Failed,
                "Conflict",
                "the vendor has a tenant of externalId x already",
            ),
        ),
        (
            "drifted",
            Rest::Drifted,
            facts(|f| f.desired.limits = limits(60)),
        ),
        (
            "being deleted",
            Rest::Terminating,
            facts(|f| f.object.deleting = true),
        ),
        (
            "being deleted, vendor down",
            Rest::Terminating,
            failing(Class::Transient),
        ),
        (
            "dependency missing",
            Rest::Trouble,
            trouble(Reason::DependencyNotReady, "Secret acme does not exist"),
        ),
        (
            "output Secret taken",
            Rest::Trouble,
            trouble(Reason::OutputSecretConflict, "Secret out exists"),
        ),
        (
            "pending too long",
            Rest::Overdue,
            pending(RequestType::Purchase),
        ),
        ("tenant missing", Rest::Missing, facts(|_| {})),
        (
            "nothing to adopt",
            Rest::Missing,
            facts(|f| f.ledger.tenant_id = None),
        ),
        (
            "a create may still land",
            Rest::Settling,
            pending(RequestType::Purchase),
        ),
        (
            "another's create may still land, and nobody can be asked",
            Rest::Settling,
            facts(|f| f.rules.mode = IdentityMode::None),
        ),
        ("paused", Rest::Paused, facts(|_| {})),
        (
            "paused while deleting",
            Rest::Paused,
            facts(|f| f.object.deleting = true),
        ),
        ("backing off", Rest::Unchanged, facts(|_| {})),
        ("gone", Rest::Gone, facts(|_| {})),
    ];
    let mut table = String::new();
    for (situation, rest, f) in rows {
        writeln!(table, "{situation}").unwrap();
        let Some(report) = made(rest, f) else {
            writeln!(table, "    nothing is written").unwrap();
            continue;
        };
        writeln!(
            table,
            "    observedGeneration {:?}, Argo CD: {}",
            report.status.observed_generation.unwrap(),
            crate::argocd::of(&report.status)
        )
        .unwrap();
        for c in &report.status.conditions {
            writeln!(
                table,
                "    {:<11} {:<7} {:<22} gen {} since {} {:?}",
                c.type_,
                c.status,
                c.reason,
                c.observed_generation.unwrap_or(-1),
                c.last_transition_time.0,
                c.message
            )
            .unwrap();
        }
        for d in &report.status.drift {
            writeln!(
                table,
                "    drift {} desired {} observed {}",
                d.field, d.desired, d.observed
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_same_facts_give_the_same_bytes_and_times_move_with_status_only() {
    let first = made(Rest::InSync, facts(|_| {})).unwrap();
    let again = made(Rest::InSync, facts(|_| {})).unwrap();
    assert_eq!(
        serde_json::to_string(&first.status).unwrap(),
        serde_json::to_string(&again.status).unwrap()
    );
    let ready = |r: &Report| r.status.conditions[0].last_transition_time.clone();
    assert_eq!(ready(&first), before().conditions[0].last_transition_time);
    assert_ne!(
        ready(&made(Rest::Held, facts(|_| {})).unwrap()),
        ready(&first)
    );
}

#[test]
fn a_finished_request_has_one_event_and_a_pass_none() {
    assert!(made(Rest::InSync, facts(|_| {})).unwrap().notes.is_empty());
    let finished = |r: RequestType, status, change: fn(&mut Facts)| {
        let f = facts(|f| {
            f.pass.finished.push(request(r, status, ""));
            change(f);
        });
        let notes = made(Rest::InSync, f).unwrap().notes;
        assert_eq!(notes.len(), 1);
        notes[0].clone()
    };
    assert_eq!(
        finished(RequestType::Purchase, RequestStatus::Approved, |_| {}).reason,
        Reason::Approved
    );
    assert_eq!(
        finished(RequestType::Change, RequestStatus::Failed, |_| {}).reason,
        Reason::RequestFailed
    );
    let dropped = finished(RequestType::Purchase, RequestStatus::Approved, |f| {
        f.pass.sensitive = vec!["initial_password".into()]
    });
    assert_eq!(dropped.reason, Reason::SensitiveParametersDropped);
    assert!(
        dropped.warning
            && dropped.note.contains("initial_password")
            && dropped.note.contains("outputSecretName")
    );
    let corrected = finished(RequestType::Change, RequestStatus::Approved, |f| {
        f.pass.finished[0].message = "limits.seats: declared 50, vendor has 40".into();
    });
    assert_eq!(corrected.reason, Reason::DriftCorrected);
}
