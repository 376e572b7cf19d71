//! The check of the check: the protocol with one rule taken out, which the model must notice. These
//! alter what the planner sees, says or hears, or how it is carried out; what alters the planner's
//! own source is in [`super::patches`].

use fulfillment_crds::{
    AdoptionPolicy, IdentityMode, OnMissing, OnUnknownOutcome, RequestStatus, Time,
};
use fulfillment_operator::{
    facts::{Facts, Intent},
    plan::{Rest, Step, open_create},
    vendor::{Class, Effect},
};

use super::{
    scenario::{NAME, Scenario, scenarios},
    vendor::Heard,
};
use crate::Size;

/// A rule that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// An intent is written whatever happened since the object was read.
    ClaimsBlindly,
    /// The first intent is written without the finalizer.
    NoFinalizer,
    /// What can be computed again is written without a guard.
    ReportsBlindly,
    /// A vendor's answer is guarded by the resourceVersion.
    RecordsByVersion,
    /// Nothing waits for an earlier create to land.
    NoSettle,
    /// Settling looks at what is sent, not at what is about to be.
    SettleForgetsArmed,
    /// An intent without an answer is taken for none.
    IgnoresOpenIntent,
    /// An intent found open is used as if it were of this pass.
    SendsFoundIntent,
    /// Any failed create is taken for one without effect.
    UnknownIsFailed,
    /// A create without a usable answer is sent again under the same intent.
    RepeatsWithoutIntent,
    /// The finalizer is dropped once the vendor has heard of the delete.
    ReleasesBeforeGone,
    /// The finalizer is dropped while a create has no answer.
    ReleasesUnanswered,
    /// A create of unknown outcome is repeated where that is not safe.
    RetriesUnknown,
    /// A dead tenant that is still shown gets no successor.
    CounterStays,
    /// An externalId the user chose is taken for a proof.
    TakesUnproven,
    /// A person's answer is not waited for.
    CreatesWhileHeld,
    /// A person's answer counts although the question was not put.
    TakesEarlyAnswers,
    /// A lost status is taken for a new object.
    LostStatusIsNew,
    /// A refusal is taken for the end of earlier attempts too.
    DoubtForgotten,
    /// A claimed tenant is taken over whatever the policy says.
    TakesOver,
    /// What is only to be taken over is made.
    MakesWhatIsMissing,
    /// Whoever claims a name goes ahead with it.
    IgnoresClaims,
    /// A tenant that is gone is bought again where that is only to be told.
    BuysAgain,
    /// A create is sent again while another's may be answered yet.
    RetriesUnderWay,
    /// The grace period is not waited for.
    DeletesInGrace,
    /// A tenant is not suspended for its grace period.
    GraceUnsuspended,
    /// A tenant that was taken back is not resumed.
    StaysSuspended,
}

/// All of them.
pub(super) const ALL: [Mutant; 27] = [
    Mutant::ClaimsBlindly,
    Mutant::NoFinalizer,
    Mutant::ReportsBlindly,
    Mutant::RecordsByVersion,
    Mutant::NoSettle,
    Mutant::SettleForgetsArmed,
    Mutant::IgnoresOpenIntent,
    Mutant::SendsFoundIntent,
    Mutant::UnknownIsFailed,
    Mutant::RepeatsWithoutIntent,
    Mutant::ReleasesBeforeGone,
    Mutant::ReleasesUnanswered,
    Mutant::RetriesUnknown,
    Mutant::CounterStays,
    Mutant::TakesUnproven,
    Mutant::CreatesWhileHeld,
    Mutant::TakesEarlyAnswers,
    Mutant::LostStatusIsNew,
    Mutant::DoubtForgotten,
    Mutant::TakesOver,
    Mutant::MakesWhatIsMissing,
    Mutant::IgnoresClaims,
    Mutant::BuysAgain,
    Mutant::RetriesUnderWay,
    Mutant::DeletesInGrace,
    Mutant::GraceUnsuspended,
    Mutant::StaysSuspended,
];

/// The world in which a mutant shows.
pub(super) fn habitat(mutant: Mutant) -> Option<Scenario> {
    let (mode, name) = match mutant {
        Mutant::ClaimsBlindly
        | Mutant::NoFinalizer
        | Mutant::ReportsBlindly
        | Mutant::NoSettle
        | Mutant::SettleForgetsArmed
        | Mutant::IgnoresOpenIntent
        | Mutant::SendsFoundIntent
        | Mutant::RepeatsWithoutIntent
        | Mutant::ReleasesUnanswered => (IdentityMode::ExternalId, "plain"),
        Mutant::RecordsByVersion
        | Mutant::UnknownIsFailed
        | Mutant::RetriesUnknown
        | Mutant::CreatesWhileHeld
        | Mutant::TakesEarlyAnswers => (IdentityMode::None, "plain"),
        Mutant::ReleasesBeforeGone => (IdentityMode::ExternalId, "decides later"),
        Mutant::CounterStays => (IdentityMode::ExternalId, "a dead namesake"),
        Mutant::TakesUnproven | Mutant::TakesOver => (IdentityMode::ExternalId, "claimed"),
        Mutant::MakesWhatIsMissing => (IdentityMode::ExternalId, "claimed, only taken over"),
        Mutant::IgnoresClaims => (IdentityMode::ExternalId, "claimed twice"),
        Mutant::BuysAgain => (IdentityMode::ExternalId, "alone, gone and reported"),
        Mutant::RetriesUnderWay => (IdentityMode::None, "sent again"),
        Mutant::DeletesInGrace | Mutant::GraceUnsuspended | Mutant::StaysSuspended => {
            (IdentityMode::ExternalId, "alone, taken back")
        }
        Mutant::LostStatusIsNew => (IdentityMode::None, "a fault in the cluster"),
        Mutant::DoubtForgotten => (IdentityMode::ExternalId, "refusals"),
    };
    scenarios(mode, Size::Thorough)
        .into_iter()
        .find(|scenario| scenario.name == name)
        .map(|scenario| Scenario {
            mutant: Some(mutant),
            ..scenario
        })
}

/// What a mutant sees.
pub(super) fn seen(mutant: Mutant, f: &mut Facts) {
    match mutant {
        Mutant::IgnoresOpenIntent if open_create(f).is_some() => {
            f.intent = None;
            f.ledger.request = None;
        }
        Mutant::SendsFoundIntent => f.pass.armed = open_create(f).is_some(),
        Mutant::RetriesUnknown => f.rules.on_unknown = OnUnknownOutcome::Retry,
        Mutant::TakesUnproven => f.desired.claimed = false,
        Mutant::LostStatusIsNew => f.object.lost = false,
        Mutant::TakesOver | Mutant::MakesWhatIsMissing => {
            f.desired.adoption = AdoptionPolicy::AdoptOrCreate;
        }
        Mutant::BuysAgain => f.rules.on_missing = OnMissing::Recreate,
        Mutant::RetriesUnderWay => f.clock.settled = true,
        Mutant::DeletesInGrace => f.clock.grace_until = None,
        Mutant::TakesEarlyAnswers => {
            if let Some(request) = &mut f.ledger.request {
                request.settled_at = Some(Time(f.clock.now));
            }
        }
        Mutant::IgnoresOpenIntent
        | Mutant::ClaimsBlindly
        | Mutant::NoFinalizer
        | Mutant::ReportsBlindly
        | Mutant::RecordsByVersion
        | Mutant::NoSettle
        | Mutant::SettleForgetsArmed
        | Mutant::UnknownIsFailed
        | Mutant::RepeatsWithoutIntent
        | Mutant::ReleasesBeforeGone
        | Mutant::ReleasesUnanswered
        | Mutant::CounterStays
        | Mutant::CreatesWhileHeld
        | Mutant::DoubtForgotten
        | Mutant::IgnoresClaims
        | Mutant::GraceUnsuspended
        | Mutant::StaysSuspended => {}
    }
}

/// What a mutant does instead of the planned step.
pub(super) fn planned(mutant: Mutant, f: &Facts, step: Step) -> Step {
    match (mutant, step) {
        (Mutant::RepeatsWithoutIntent, Step::Rest(Rest::Retry)) if f.pass.mutated => f
            .intent
            .clone()
            .filter(|_| open_create(f).is_some())
            .map_or(Step::Rest(Rest::Retry), Step::Create),
        (Mutant::ReleasesBeforeGone, Step::Read) if f.object.deleting => Step::Release,
        (Mutant::ReleasesUnanswered, Step::Claim(_) | Step::Rest(Rest::Terminating))
            if f.object.deleting && open_create(f).is_some() =>
        {
            Step::Release
        }
        (Mutant::GraceUnsuspended, Step::Suspend) if f.object.deleting => {
            Step::Rest(Rest::Terminating)
        }
        (Mutant::StaysSuspended, Step::Resume) => Step::Rest(Rest::InSync),
        (Mutant::CounterStays, Step::Claim(intent)) => Step::Claim(Intent {
            external_id: NAME.into(),
            ..intent
        }),
        (Mutant::CreatesWhileHeld, Step::Rest(Rest::Held)) if !f.pass.mutated => {
            Step::Intend(Intent {
                id: f.pass.request_id.clone(),
                attempt: 1,
                external_id: NAME.into(),
                body: None,
                repeated: false,
                after: None,
            })
        }
        (_, step) => step,
    }
}

/// What a mutant makes of an answer.
pub(super) fn heard(mutant: Mutant, f: &mut Facts, heard: Heard) -> Heard {
    match (mutant, heard) {
        (Mutant::UnknownIsFailed, Err(mut error)) => {
            error.effect = Effect::None;
            Err(error)
        }
        (Mutant::DoubtForgotten, Err(error)) if error.class == Class::Refused => {
            let attempt = f.intent.as_ref().map_or(0, |intent| intent.attempt);
            if let Some(request) = &mut f.ledger.request {
                request.attempts = attempt - 1;
                if request.status == RequestStatus::Unknown {
                    request.status = RequestStatus::Pending;
                }
            }
            Err(error)
        }
        (_, heard) => heard,
    }
}
