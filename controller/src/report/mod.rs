//! What users see: status, conditions and events, from how a pass ended. Pure; the only place that
//! builds conditions.

mod note;
mod words;

use fulfillment_crds::{
    Condition, ConditionType, Reason, SubscriptionState, SubscriptionStatus, Time,
};
use k8s_openapi::jiff::Timestamp;

use crate::{drift, events::Note, facts::Facts, ledger::CONFLICT, plan::Rest};
pub use note::farewell;
use note::notes;
use words::*;

/// The longest message a condition can have, in characters.
pub const MESSAGE: usize = 4096;

/// What a report needs besides the facts.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The Secret sensitive parameters go to.
    pub output: Option<&'a str>,
    /// The TierConfiguration whose own tenant it is for: the spec is written by that one.
    pub tier: Option<&'a str>,
    /// Since when an object in sync could not be verified.
    pub unverified_since: Option<Timestamp>,
    /// The status as it stands.
    pub before: &'a SubscriptionStatus,
}

/// What to write and to say.
#[derive(Clone, Debug)]
pub struct Report {
    /// The status to write, if it differs from the one that stands.
    pub status: SubscriptionStatus,
    /// Why the object is as it is.
    pub reason: Reason,
    /// Events, at most one for each finished request.
    pub notes: Vec<Note>,
}

/// What becomes of the `Approved` condition.
enum Approval {
    Keep,
    Absent,
    Is(&'static str, Reason, String),
}

/// The conditions in words.
struct Verdict {
    ready: &'static str,
    reason: Reason,
    message: String,
    /// Reconciling, Stalled or neither.
    moving: Option<ConditionType>,
    approval: Approval,
}

/// Builds the report of a pass; `None` where there is nothing new to say.
pub fn report(f: &Facts, rest: Rest, about: &About<'_>) -> Option<Report> {
    if rest == Rest::Paused {
        return Some(paused(f, about));
    }
    let verdict = verdict(f, rest, about)?;
    let mut status = f.ledger.clone();
    status.observed_generation = Some(f.object.generation);
    if let Some(token) = &f.object.requested_at {
        status.last_handled_reconcile_at = Some(token.clone());
    }
    status.conditions = conditions(&verdict, f, about);
    Some(Report {
        status,
        reason: verdict.reason,
        notes: notes(f, about),
    })
}

fn verdict(f: &Facts, rest: Rest, about: &About<'_>) -> Option<Verdict> {
    let request = f.ledger.request.as_ref();
    let said = request.map(|r| r.message.clone()).unwrap_or_default();
    let of = |ready, reason, message, moving, approval| {
        Some(Verdict {
            ready,
            reason,
            message,
            moving,
            approval,
        })
    };
    let moving = Some(ConditionType::Reconciling);
    let stalled = Some(ConditionType::Stalled);
    let failure = f.pass.failure.as_ref();
    match rest {
        Rest::Unchanged | Rest::VerifyMissing | Rest::Gone | Rest::Paused => None,
        Rest::InSync => of("True", in_sync(f), in_sync_message(f), None, approved()),
        Rest::Unverified => {
            let since = about
                .unverified_since
                .map_or_else(String::new, |t| format!(" since {t}"));
            let why = failure.map_or_else(String::new, |e| format!(": {e}"));
            of(
                "True",
                in_sync(f),
                format!("in sync when last seen; unverified{since}{why}"),
                None,
                approved(),
            )
        }
        Rest::Pending => {
            let reason = working(request.map(|r| r.type_));
            let message = if said.is_empty() {
                "the vendor has the request and has not decided".into()
            } else {
                said.clone()
            };
            of(
                "False",
                reason,
                message,
                moving,
                Approval::Is("Unknown", Reason::Pending, said),
            )
        }
        Rest::Again => {
            let reason = next_work(f);
            of(
                "False",
                reason,
                "more is to be done at the vendor".into(),
                moving,
                Approval::Is("Unknown", Reason::Pending, String::new()),
            )
        }
        Rest::Inquiring | Rest::Invalid => {
            let message = if rest == Rest::Invalid {
                invalid_message(f)
            } else {
                inquiry(f, &said)
            };
            of(
                "False",
                Reason::Inquiring,
                message.clone(),
                stalled,
                Approval::Is("Unknown", Reason::Inquiring, message),
            )
        }
        Rest::Failed if request.is_some_and(|r| r.reason == CONFLICT) => {
            of("False", Reason::Conflict, said, stalled, Approval::Absent)
        }
        Rest::Failed => {
            let message = failed_message(request);
            of(
                "False",
                Reason::RequestFailed,
                message.clone(),
                stalled,
                Approval::Is("False", Reason::RequestFailed, message),
            )
        }
        Rest::Overdue => {
            let message = "the vendor did not decide within timeouts.provisioning; it is still asked, slowly, and nothing is created again".to_owned();
            of(
                "False",
                Reason::ProvisioningTimeout,
                message.clone(),
                stalled,
                Approval::Is("Unknown", Reason::ProvisioningTimeout, message),
            )
        }
        Rest::Retry => {
            let reason = failure.map_or(Reason::VendorUnavailable, |e| e.reason());
            let message = failure.map_or(said, ToString::to_string);
            of("False", reason, message, moving, Approval::Keep)
        }
        Rest::Settling => of(
            "False",
            Reason::Provisioning,
            settling_message(f).into(),
            moving,
            Approval::Is("Unknown", Reason::Pending, said),
        ),
        Rest::Held => {
            let message = held_message(f, about);
            of(
                "False",
                Reason::CreateOutcomeUnknown,
                message,
                stalled,
                Approval::Is("Unknown", Reason::CreateOutcomeUnknown, String::new()),
            )
        }
        Rest::Drifted => {
            let differences = drift::describe(&f.ledger.drift);
            let message =
                format!("the vendor took the correction and still differs: {differences}");
            of("False", Reason::Drifted, message, moving, Approval::Keep)
        }
        Rest::Missing => of(
            "False",
            Reason::TenantMissing,
            missing_message(f),
            stalled,
            Approval::Keep,
        ),
        Rest::Trouble => {
            let trouble = f.trouble.as_ref().or(f.unready.as_ref())?;
            // Nothing that the operator waits for ends these: somebody has to choose.
            let conflict = matches!(
                trouble.reason,
                Reason::OutputSecretConflict | Reason::Conflict
            );
            of(
                "False",
                trouble.reason,
                trouble.message.clone(),
                if conflict { stalled } else { moving },
                // Whose tenant it is is not known: nothing of it was approved for this object.
                if trouble.reason == Reason::Conflict {
                    Approval::Absent
                } else {
                    Approval::Keep
                },
            )
        }
        Rest::Terminating => of(
            "False",
            terminating(f),
            terminating_message(f, about),
            moving,
            Approval::Absent,
        ),
    }
}

fn approved() -> Approval {
    Approval::Is("True", Reason::Approved, String::new())
}

/// Status as it is, but for one word.
fn paused(f: &Facts, about: &About<'_>) -> Report {
    let mut status = about.before.clone();
    let message = if f.object.deleting {
        "paused by annotation fulfillment-operator.io/paused; deletion waits too"
    } else {
        "paused by annotation fulfillment-operator.io/paused"
    };
    let condition = paused_condition(message, &status.conditions, f.clock.now);
    status
        .conditions
        .retain(|c| c.type_ == ConditionType::Approved.as_str());
    status.conditions.insert(0, condition);
    Report {
        status,
        reason: Reason::Paused,
        notes: Vec::new(),
    }
}

/// Readiness as it was, but for the word that says why it does not move.
pub fn paused_condition(message: &str, before: &[Condition], now: Timestamp) -> Condition {
    let known = ready(before);
    Condition {
        type_: ConditionType::Ready.as_str().into(),
        status: known.map_or_else(|| "Unknown".into(), |c| c.status.clone()),
        reason: Reason::Paused.as_str().into(),
        message: message.into(),
        // Zero, of which no object is, where nothing was seen of it before.
        observed_generation: known.and_then(|c| c.observed_generation).or(Some(0)),
        last_transition_time: known.map_or(Time(now), |known| known.last_transition_time.clone()),
    }
}

/// The condition `Ready`, where there is one.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    let mut all = conditions.iter();
    all.find(|c| c.type_ == ConditionType::Ready.as_str())
}

/// The status of an object that cannot be decoded: nothing but the conditions is touched.
pub fn invalid(generation: i64, why: &str, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let message = short(&format!("the object cannot be decoded: {why}"));
    [
        (ConditionType::Ready, "False"),
        (ConditionType::Stalled, "True"),
    ]
    .into_iter()
    .map(|(type_, status)| {
        condition(
            type_,
            status,
            Reason::InvalidSpec,
            &message,
            generation,
            before,
            now,
        )
    })
    .collect()
}

fn conditions(verdict: &Verdict, f: &Facts, about: &About<'_>) -> Vec<Condition> {
    let before = &about.before.conditions;
    let one = |type_, status, reason, message: &str| {
        condition(
            type_,
            status,
            reason,
            message,
            f.object.generation,
            before,
            f.clock.now,
        )
    };
    let mut all = vec![one(
        ConditionType::Ready,
        verdict.ready,
        verdict.reason,
        &verdict.message,
    )];
    if let Some(moving) = verdict.moving {
        all.push(one(moving, "True", verdict.reason, &verdict.message));
    }
    match &verdict.approval {
        Approval::Keep => all.extend(
            before
                .iter()
                .find(|c| c.type_ == ConditionType::Approved.as_str())
                .cloned(),
        ),
        Approval::Absent => {}
        Approval::Is(status, reason, message) => {
            all.push(one(ConditionType::Approved, status, *reason, message));
        }
    }
    all
}

/// A message no longer than a request takes it.
pub fn short(message: &str) -> String {
    message.chars().take(1024).collect()
}

/// One condition; its time moves only with its status.
pub fn condition(
    type_: ConditionType,
    status: &str,
    reason: Reason,
    message: &str,
    generation: i64,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let since = before
        .iter()
        .find(|c| c.type_ == type_.as_str() && c.status == status)
        .map_or(Time(now), |c| c.last_transition_time.clone());
    Condition {
        type_: type_.as_str().into(),
        status: status.into(),
        reason: reason.as_str().into(),
        message: message.chars().take(MESSAGE).collect(),
        observed_generation: Some(generation),
        last_transition_time: since,
    }
}

/// The state and readiness a status shows, for the gauge.
pub fn standing(status: &SubscriptionStatus) -> (Option<SubscriptionState>, &str) {
    let ready = ready(&status.conditions).map_or("Unknown", |c| c.status.as_str());
    (status.state, ready)
}
