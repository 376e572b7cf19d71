//! Everything a decision rests on. [`crate::observe`] gathers it, [`crate::plan`] reads it, and
//! [`crate::ledger`] folds the answers of the pass into it. No I/O, no clock.

use fulfillment_crds::{
    AdoptionPolicy, CreateBody, DeletionPolicy, DesiredState, Drift, IdentityMode, Limits,
    OnMissing, OnUnknownOutcome, ParameterError, Reason, SubscriptionStatus,
};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::vendor::VendorError;

/// What the operator remembers of a subscription: its status without the conditions, which are
/// output and never input.
pub type Ledger = SubscriptionStatus;

/// Everything a decision rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The object itself.
    pub object: ObjectFacts,
    /// What the spec asks for.
    pub desired: Desired,
    /// What is remembered; answers of this pass are folded in.
    pub ledger: Ledger,
    /// The intent in the object's annotation, or the one this pass wrote.
    pub intent: Option<Intent>,
    /// What the vendor offers and the admin decided.
    pub rules: Rules,
    /// Why nothing can be done, if so.
    pub trouble: Option<Trouble>,
    /// Why nothing can be bought, while what was bought is looked after.
    pub unready: Option<Trouble>,
    /// What the clock says, as answers to questions.
    pub clock: Clock,
    /// What has happened in this pass.
    pub pass: Pass,
}

impl Facts {
    /// The name the vendor knows this subscription by: as recorded, else as derived or claimed.
    pub fn name(&self) -> &str {
        self.ledger
            .external_id
            .as_deref()
            .unwrap_or(&self.desired.external_id)
    }
}

/// The object itself.
#[derive(Clone, Debug)]
pub struct ObjectFacts {
    /// `metadata.generation`.
    pub generation: i64,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// It carries our finalizer.
    pub finalized: bool,
    /// It carried our finalizer and no record of any request when the pass began: the record was
    /// lost, or an earlier pass ended before there was one.
    pub lost: bool,
    /// It carries the paused annotation.
    pub paused: bool,
    /// A `requestedAt` token that was not acted on yet.
    pub requested_at: Option<String>,
    /// A person's answer to `CreateOutcomeUnknown`.
    pub resolution: Option<Resolution>,
}

/// A person's answer to `CreateOutcomeUnknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The create made this tenant.
    Adopt(String),
    /// The create of this request made none.
    None(String),
    /// Something else, as far as it can be shown.
    Malformed(String),
}

/// What the spec asks for.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Active or suspended.
    pub state: DesiredState,
    /// The declared limits.
    pub limits: Limits,
    /// The hash of the parameters; absent where there are none.
    pub inputs: Option<String>,
    /// The product's text for the user, where it has one.
    pub template: Option<String>,
    /// The names of what a vendor gives that the product keeps out of status.
    pub unshown: Vec<String>,
    /// What of the order is its resellers' to say.
    pub resellers: Resellers,
    /// What the product's own rules say is wrong with limits and parameters.
    pub invalid: Vec<ParameterError>,
    /// The name the vendor knows this subscription by, before any counter.
    pub external_id: String,
    /// That name was chosen by the user: a claim, not a proof.
    pub claimed: bool,
    /// Whether a tenant that is there already under a claimed name is taken over.
    pub adoption: AdoptionPolicy,
    /// What a create would be sent with, where it may have to be repeated with the same bytes.
    pub body: Option<CreateBody>,
    /// What deletion does to the tenant.
    pub deletion: DeletionPolicy,
}

/// What of an order is its resellers' to say.
#[derive(Clone, Debug, Default)]
pub struct Resellers {
    /// The names of the parameters that the product calls theirs.
    pub parameters: Vec<String>,
    /// Their TierConfigurations, the next to the customer first.
    pub configurations: Vec<String>,
}

impl Resellers {
    /// What to edit.
    pub fn place(&self) -> String {
        match self.configurations.join(" or ") {
            names if names.is_empty() => "the TierConfiguration".into(),
            names => format!("TierConfiguration {names}"),
        }
    }
}

/// What the vendor offers and the admin decided.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What makes a create safe to repeat.
    pub mode: IdentityMode,
    /// What to do when the tenant is gone.
    pub on_missing: OnMissing,
    /// What to do when a create's outcome is unknown.
    pub on_unknown: OnUnknownOutcome,
    /// How long the vendor remembers a key.
    pub retention: std::time::Duration,
    /// After which no create that was sent can take effect any more (`--settle`).
    pub settle: std::time::Duration,
    /// A tenant is suspended before it is deleted.
    pub suspend_before_delete: bool,
}

/// Why nothing can be done for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason shown.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

/// What the clock says, as answers to the planner's questions.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// When the pass began, for what is recorded; no decision compares it.
    pub now: Timestamp,
    /// The back-off after a failure still runs.
    pub backing_off: bool,
    /// A drift read or a poll is due.
    pub read_due: bool,
    /// Since this process first saw the intent, no earlier create can still land.
    pub settled: bool,
    /// A create without an answer can be repeated with the same key and bytes: the vendor still
    /// remembers the key, and the Secrets it was sent with have not changed.
    pub repeatable: bool,
    /// The pending request is past `timeouts.provisioning`.
    pub overdue: bool,
    /// When that is, where the vendor has a request.
    pub overdue_at: Option<Timestamp>,
    /// The object is being deleted, and its tenant only suspended until then.
    pub grace_until: Option<Timestamp>,
    /// Too many tenants are being deleted: this one waits until then.
    pub paced_until: Option<Timestamp>,
    /// Most tenants of this vendor are gone at once.
    pub mass_vanish: bool,
    /// The tenant was found missing before, long enough ago to believe it.
    pub missing_confirmed: bool,
}

/// What has happened in this pass.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// A fresh id for a request this pass may begin.
    pub request_id: String,
    /// The intent this pass wrote and has not used yet: the right to send one create.
    pub armed: bool,
    /// The parameters' hash of an earlier, unanswered send of the same order.
    pub sent_before: Option<String>,
    /// This pass placed the finalizer, so nothing was sent for this object before.
    pub just_finalized: bool,
    /// What a read of the tenant said.
    pub read: Option<Read>,
    /// The externalId for which a lookup found no live tenant.
    pub vacant: Option<String>,
    /// A tombstone was written.
    pub buried: bool,
    /// More live tenants of ours under one name, to be deleted: their creates landed late.
    pub twins: Vec<String>,
    /// Those of them that this pass deleted.
    pub discarded: Vec<String>,
    /// A mutation was sent and answered.
    pub mutated: bool,
    /// The vendor took the DELETE, or said there is nothing to delete.
    pub deleted: bool,
    /// The call that failed.
    pub failure: Option<VendorError>,
    /// What a read found changed behind our back.
    pub drifted: Vec<Drift>,
    /// A conflict or an unknown outcome that this pass found, in words.
    pub note: Option<String>,
    /// The requests this pass finished, for events and metrics.
    pub finished: Vec<fulfillment_crds::Request>,
    /// Names of sensitive parameters the vendor sent.
    pub sensitive: Vec<String>,
    /// Names of parameters the vendor sent that are too long for status.
    pub left_out: Vec<String>,
}

/// What a read of the tenant said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// It is there.
    Found,
    /// It is gone: 404 or 410.
    Absent,
}

/// A create about to be sent: written before the vendor hears anything, with a compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The id of the Purchase request.
    pub id: String,
    /// Which send of that request, from 1.
    pub attempt: i64,
    /// The externalId the create carries.
    pub external_id: String,
    /// A keyed hash of limits and parameters sent, to know later whether they were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// An earlier send of this order had no usable answer and may still land.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// The request that was recorded when this intent was written; once the record has moved on to
    /// another, this intent was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
