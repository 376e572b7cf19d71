//! What becomes of a TierConfiguration: the one next step, and the status. Pure.

use fulfillment_crds::{
    ConditionType, DeletionPolicy, ParameterError, ParameterValue, Reason, RequestStatus,
    SubscriptionState, SubscriptionStatus, TierConfigurationStatus, TierRequest, TierRequestType,
    TierState, Time,
};
use k8s_openapi::jiff::Timestamp;

use super::standing::{Standing, moving, standing};
use crate::{events::Note, facts::Trouble, report};

/// Everything a decision rests on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When the pass began.
    pub(super) now: Timestamp,
    /// `metadata.generation`.
    pub(super) generation: i64,
    /// It has a deletionTimestamp.
    pub(super) deleting: bool,
    /// It carries our finalizer.
    pub(super) finalized: bool,
    /// It carries the paused annotation.
    pub(super) paused: bool,
    /// The `requestedAt` token, handled or not.
    pub(super) requested_at: Option<String>,
    /// The status as it stands.
    pub(super) before: TierConfigurationStatus,
    /// Something it depends on is not there.
    pub(super) trouble: Option<Trouble>,
    /// What its product's rules say is wrong.
    pub(super) invalid: Vec<ParameterError>,
    /// A keyed hash of account and parameters, where all can be resolved.
    pub(super) inputs: Option<String>,
    /// Who is bought or set up under it.
    pub(super) users: Vec<String>,
    /// There is a Subscription for its own tenant.
    pub(super) owns: bool,
    /// That one cannot go yet: it says something else of the tenant, or the operator does not see it.
    pub(super) unprepared: bool,
    /// What becomes of the tenant when it is deleted.
    pub(super) deletion: DeletionPolicy,
    /// The definition of TierConfigurations is being deleted, and this one only because of that.
    pub(super) crd_terminating: bool,
    /// How that one stands.
    pub(super) child: Child,
    /// A fresh id for a request this pass may begin.
    pub(super) request_id: String,
}

/// The Subscription for the reseller's own tenant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Child {
    /// The vendor has no tenants of resellers.
    Unwanted,
    /// There is none yet.
    Absent,
    /// A Subscription of its name is somebody else's.
    Foreign(String),
    /// It is not as it should be.
    Differs,
    /// It is being deleted, and this is how it stands: another follows when it is gone.
    Leaving(Box<SubscriptionStatus>),
    /// It is as it should be, and the operator has not come to it.
    Unseen,
    /// It is as it should be, and this is how it stands.
    Stands(Box<SubscriptionStatus>),
}

/// The next step of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write the finalizer.
    Finalize,
    /// Make the child, or make it as it should be.
    Apply,
    /// Have the child say what is to become of the tenant when it goes.
    Prepare,
    /// Delete the child.
    Remove,
    /// Drop the finalizer.
    Release,
    /// Nothing but the status.
    Rest,
    /// Deleted and released: not ours any more.
    Gone,
}

/// The step, and what is written and said with it.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// The step.
    pub(super) step: Step,
    /// The status after it.
    pub(super) status: TierConfigurationStatus,
    /// The event of a request that was decided.
    pub(super) note: Option<Note>,
    /// Nothing more happens by itself.
    pub(super) settled: bool,
}

/// Decides the step and the status.
pub(super) fn decide(f: &Facts) -> Decision {
    if f.deleting && !f.finalized {
        return resting(Step::Gone, f.before.clone());
    }
    if f.paused {
        return resting(Step::Rest, paused(f));
    }
    if f.deleting {
        return end(f);
    }
    if !f.finalized {
        return resting(Step::Finalize, f.before.clone());
    }
    let standing = standing(f);
    let clear = f.trouble.is_none() && f.invalid.is_empty();
    let step = match f.child {
        Child::Absent | Child::Differs if clear => Step::Apply,
        Child::Leaving(_) if f.unprepared => Step::Prepare,
        Child::Absent
        | Child::Differs
        | Child::Unwanted
        | Child::Foreign(_)
        | Child::Leaving(_)
        | Child::Unseen
        | Child::Stands(_) => Step::Rest,
    };
    let status = status(f, &standing);
    Decision {
        step,
        note: note(f, &status),
        settled: standing.moving != Some(ConditionType::Reconciling),
        status,
    }
}

fn resting(step: Step, status: TierConfigurationStatus) -> Decision {
    Decision {
        step,
        status,
        note: None,
        settled: true,
    }
}

/// Nothing is let go while somebody is bought under it; its own tenant goes first.
fn end(f: &Facts) -> Decision {
    let (step, message) = if !f.users.is_empty() {
        let users = shown(&f.users);
        (
            Step::Rest,
            format!("in use, and kept until these are gone: {users}"),
        )
    } else if f.owns && f.crd_terminating {
        (
            Step::Rest,
            "the CustomResourceDefinition is being deleted, and no tenant is because of that"
                .to_owned(),
        )
    } else if f.owns {
        let why = match &f.child {
            Child::Stands(status) => {
                report::ready(&status.conditions).map_or("", |c| c.message.as_str())
            }
            Child::Unwanted
            | Child::Absent
            | Child::Foreign(_)
            | Child::Leaving(_)
            | Child::Differs
            | Child::Unseen => "",
        };
        let step = if f.unprepared {
            Step::Prepare
        } else {
            Step::Remove
        };
        let what = match f.deletion {
            DeletionPolicy::Delete => "is being deleted",
            DeletionPolicy::Retain => "stays there",
        };
        (step, format!("its tenant at the vendor {what}: {why}"))
    } else {
        (Step::Release, "nothing is left of it".to_owned())
    };
    let reason = if f.crd_terminating {
        Reason::CRDTerminating
    } else {
        Reason::Terminating
    };
    let standing = moving(reason, message);
    Decision {
        step,
        status: TierConfigurationStatus {
            observed_generation: Some(f.generation),
            conditions: conditions(f, &standing),
            ..f.before.clone()
        },
        note: None,
        settled: false,
    }
}

/// A few names, and how many more there are.
fn shown(names: &[String]) -> String {
    const MOST: usize = 10;
    let first: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    let first = first.join(", ");
    match names.len().checked_sub(MOST) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}

fn paused(f: &Facts) -> TierConfigurationStatus {
    let message = "paused by annotation fulfillment-operator.io/paused";
    TierConfigurationStatus {
        conditions: vec![report::paused_condition(
            message,
            &f.before.conditions,
            f.now,
        )],
        ..f.before.clone()
    }
}

/// Whether it could be bought under before.
pub(super) fn is_active(f: &Facts) -> bool {
    f.before.state == Some(TierState::Active)
}

/// Whether what was bought can go on being bought, whatever becomes of an update: not where the tenant
/// that it would stand under is gone or on its way out.
fn has_place(child: &Child) -> bool {
    match child {
        Child::Unwanted | Child::Differs | Child::Unseen => true,
        Child::Absent | Child::Foreign(_) | Child::Leaving(_) => false,
        Child::Stands(status) => status.state == Some(SubscriptionState::Active),
    }
}

fn status(f: &Facts, standing: &Standing) -> TierConfigurationStatus {
    let mut status = TierConfigurationStatus {
        observed_generation: Some(f.generation),
        last_handled_reconcile_at: f
            .requested_at
            .clone()
            .or_else(|| f.before.last_handled_reconcile_at.clone()),
        state: Some(if standing.ready || (is_active(f) && has_place(&f.child)) {
            TierState::Active
        } else {
            TierState::Processing
        }),
        request: Some(request(f, standing)),
        parameter_errors: standing.errors.clone(),
        conditions: conditions(f, standing),
        ..f.before.clone()
    };
    if standing.ready {
        status.inputs_hash.clone_from(&f.inputs);
    }
    if let Child::Stands(child) | Child::Leaving(child) = &f.child {
        status.tenant_id = child.tenant_id.clone().or(status.tenant_id);
    }
    if let Child::Stands(child) = &f.child {
        status.parameters = given(&child.parameters);
    }
    status
}

fn given(parameters: &[ParameterValue]) -> Vec<ParameterValue> {
    parameters.iter().take(64).cloned().collect()
}

/// Whether there is a `requestedAt` token that no pass has seen.
fn asked_again(f: &Facts) -> bool {
    f.requested_at.is_some() && f.requested_at != f.before.last_handled_reconcile_at
}

/// The request under way or decided last; a new one where something else is asked for.
fn request(f: &Facts, standing: &Standing) -> TierRequest {
    let asked = f.inputs.is_some() && f.inputs != f.before.inputs_hash;
    let current = f.before.request.as_ref().filter(|r| match r.status {
        RequestStatus::Pending | RequestStatus::Inquiring | RequestStatus::Unknown => true,
        RequestStatus::Approved => !asked,
        // Until somebody asks again, or it turns out well after all: what is in the way meanwhile is
        // no new request.
        RequestStatus::Failed => {
            r.generation == f.generation
                && !asked_again(f)
                && standing.request != RequestStatus::Approved
        }
    });
    // What is approved stays so, whatever happens to it later.
    if let Some(approved) = current.filter(|r| r.status == RequestStatus::Approved) {
        return approved.clone();
    }
    let mut request = current.cloned().unwrap_or_else(|| TierRequest {
        id: f.request_id.clone(),
        type_: if is_active(f) {
            TierRequestType::Update
        } else {
            TierRequestType::Setup
        },
        status: RequestStatus::Pending,
        generation: f.generation,
        reason: String::new(),
        message: String::new(),
        started_at: Some(Time(f.now)),
        finished_at: None,
    });
    if request.status.is_final() {
        return request;
    }
    request.generation = f.generation;
    request.status = standing.request;
    request.reason = String::new();
    request.message = String::new();
    match standing.request {
        RequestStatus::Approved => request.finished_at = Some(Time(f.now)),
        RequestStatus::Failed => {
            request.finished_at = Some(Time(f.now));
            request.reason = standing.reason.as_str().into();
            request.message = report::short(&standing.message);
        }
        RequestStatus::Pending | RequestStatus::Inquiring | RequestStatus::Unknown => {}
    }
    request
}

fn conditions(f: &Facts, standing: &Standing) -> Vec<fulfillment_crds::Condition> {
    let one = |type_, status| {
        report::condition(
            type_,
            status,
            standing.reason,
            &standing.message,
            f.generation,
            &f.before.conditions,
            f.now,
        )
    };
    let ready = if standing.ready { "True" } else { "False" };
    let moving = standing.moving.map(|type_| one(type_, "True"));
    std::iter::once(one(ConditionType::Ready, ready))
        .chain(moving)
        .collect()
}

/// The event of a request that this decision ends.
fn note(f: &Facts, status: &TierConfigurationStatus) -> Option<Note> {
    let request = status.request.as_ref().filter(|r| r.status.is_final())?;
    let known = f.before.request.as_ref();
    if known.is_some_and(|r| r.id == request.id && r.status.is_final()) {
        return None;
    }
    let failed = request.status == RequestStatus::Failed;
    let what = match request.type_ {
        TierRequestType::Setup => "Setup",
        TierRequestType::Update => "Update",
    };
    Some(Note {
        reason: if failed {
            Reason::RequestFailed
        } else {
            Reason::Approved
        },
        action: what.into(),
        note: if failed {
            format!("{what} failed: {}", request.message)
        } else {
            format!("{what} approved")
        },
        warning: failed,
    })
}
