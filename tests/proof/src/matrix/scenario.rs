//! The lives that are disturbed.

use super::{
    mode::Mode,
    stage::{End, Stage},
};
use serde_json::json;

/// A part of a subscription's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// A purchase, with an output Secret where the vendor gives a secret.
    Create,
    /// Another limit.
    Change,
    /// Suspended and resumed.
    SuspendResume,
    /// Deleted.
    Delete,
    /// Deleted while the create is on its way.
    DeleteDuringCreate,
    /// Deleted, and made again under the same name.
    Recreate,
    /// The object comes back from a backup or from Git, and the tenant is there.
    Restore,
    /// The operator is killed while its create is on its way, and another process takes over as it
    /// lands.
    Failover,
    /// A create that was given up lands when its Subscription is gone; the sweep of the tombstones
    /// ends what it made, and the name is used again.
    Sweep,
}

impl Scenario {
    pub(super) const ALL: [Self; 9] = [
        Self::Create,
        Self::Change,
        Self::SuspendResume,
        Self::Delete,
        Self::DeleteDuringCreate,
        Self::Recreate,
        Self::Restore,
        Self::Failover,
        Self::Sweep,
    ];

    /// All but what happens after its end.
    pub(super) const LIFE: &[Self] = Self::ALL.split_at(8).0;

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::SuspendResume => "suspend and resume",
            Self::Delete => "delete",
            Self::DeleteDuringCreate => "delete during create",
            Self::Recreate => "re-create under the same name",
            Self::Restore => "restore without status",
            Self::Failover => "failover",
            Self::Sweep => "sweep",
        }
    }

    /// Whether a create is sent in the part that is disturbed.
    pub(super) fn creates(self) -> bool {
        match self {
            Self::Create
            | Self::DeleteDuringCreate
            | Self::Recreate
            | Self::Restore
            | Self::Failover
            | Self::Sweep => true,
            Self::Change | Self::SuspendResume | Self::Delete => false,
        }
    }

    /// Whether calls follow the clock in it, so that none is sure to come.
    pub(super) fn sweeps(self) -> bool {
        self == Self::Sweep
    }

    /// Whether a create may meet a tenant that an earlier one made.
    pub(super) fn finds_tenants(self) -> bool {
        match self {
            Self::DeleteDuringCreate
            | Self::Recreate
            | Self::Restore
            | Self::Failover
            | Self::Sweep => true,
            Self::Create | Self::Change | Self::SuspendResume | Self::Delete => false,
        }
    }

    /// Whether it ends with a question to a person even if nothing goes wrong with any call.
    pub(super) fn holds(self, mode: Mode) -> bool {
        match self {
            Self::Restore | Self::Failover => !mode.repeats(),
            Self::Create
            | Self::Change
            | Self::SuspendResume
            | Self::Delete
            | Self::DeleteDuringCreate
            | Self::Recreate
            | Self::Sweep => false,
        }
    }

    /// What is there before anything is disturbed.
    pub(super) fn prepare(self, stage: &Stage<'_>) -> Result<(), String> {
        match self {
            Self::Create | Self::DeleteDuringCreate | Self::Failover => Ok(()),
            Self::Change | Self::SuspendResume | Self::Delete | Self::Recreate => {
                stage.subscribe(json!({}))?;
                stage.reach(End::Active(50))
            }
            Self::Restore => {
                stage.subscribe(json!({}))?;
                stage.reach(End::Active(50))?;
                stage.lane.down();
                Ok(())
            }
            Self::Sweep => {
                stage.lane.script.strand();
                stage.subscribe(json!({}))?;
                stage.reach(End::Active(50))?;
                stage.unsubscribe()?;
                stage.reach(End::Gone)?;
                stage.is_buried()
            }
        }
    }

    /// The part that is disturbed, to the end that is promised.
    pub(super) fn play(self, stage: &Stage<'_>) -> Result<(), String> {
        match self {
            Self::Create => {
                let output = format!("{}-out", stage.name);
                stage.subscribe(json!({"outputSecretName": output}))?;
                stage.reach(End::Active(50))?;
                if stage.setting.has_output() {
                    stage.has_output(&output)?;
                }
                Ok(())
            }
            Self::Change => {
                stage.edit(&json!({"limits": {"seats": 60}}))?;
                stage.reach(End::Active(60))
            }
            Self::SuspendResume => {
                stage.edit(&json!({"state": "Suspended"}))?;
                stage.reach(End::Suspended(50))?;
                stage.edit(&json!({"state": "Active"}))?;
                stage.reach(End::Active(50))
            }
            Self::Delete => {
                stage.unsubscribe()?;
                stage.reach(End::Gone)
            }
            Self::DeleteDuringCreate => {
                stage.lane.script.close();
                stage.subscribe(json!({}))?;
                stage.create_is_under_way()?;
                stage.unsubscribe()?;
                stage.lane.script.open();
                stage.reach(End::Gone)
            }
            Self::Recreate => {
                stage.unsubscribe()?;
                stage.reach(End::Gone)?;
                stage.subscribe(json!({}))?;
                stage.reach(End::Active(50))
            }
            Self::Restore => {
                match stage.setting.mode {
                    Mode::ExternalId | Mode::IdempotencyKey | Mode::Lookup => {
                        stage.lose_object()?;
                        stage.subscribe(json!({}))?;
                    }
                    // A bare object is a new purchase there, as the documentation says; one that
                    // still has its finalizer is not.
                    Mode::None => stage.lose_status()?,
                }
                stage.lane.up();
                stage.reach(End::Active(50))
            }
            Self::Failover => {
                stage.lane.script.close();
                stage.subscribe(json!({}))?;
                stage.create_is_under_way()?;
                stage.lane.down();
                stage.lane.script.open();
                stage.lane.up();
                stage.reach(End::Active(50))
            }
            Self::Sweep => {
                stage.lane.script.open();
                stage.reach(End::Gone)?;
                stage.is_swept()?;
                stage.subscribe(json!({}))?;
                stage.reach(End::Active(50))?;
                match stage.setting.mode {
                    Mode::ExternalId | Mode::Lookup | Mode::None => stage.is_unburied(),
                    // Kept for as long as the vendor remembers its key.
                    Mode::IdempotencyKey => Ok(()),
                }
            }
        }
    }
}
