//! The one vocabulary of reasons: conditions, events, metrics and logs use no other word.

use std::fmt;

/// The condition types of a Subscription and of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The vendor's side is as declared.
    Ready,
    /// The operator is working towards it (kstatus); absent otherwise.
    Reconciling,
    /// Nothing more happens until a person acts (kstatus); absent otherwise.
    Stalled,
    /// The outcome of the current or last fulfillment request.
    Approved,
}

impl ConditionType {
    /// The word in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Approved => "Approved",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why something is as it is. Closed: the README's table has a row for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word as it stands in conditions, events, metrics and logs.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    /// In sync and active.
    Active,
    /// In sync and suspended on purpose.
    Suspended,
    /// A purchase is under way.
    Provisioning,
    /// A change of limits or parameters is under way.
    Changing,
    /// A suspend is under way.
    Suspending,
    /// A resume is under way.
    Resuming,
    /// The object is being deleted and its tenant with it.
    Terminating,
    /// The object is being deleted, and more than `maxDeletesPerMinute` are.
    DeletesPaced,
    /// The CustomResourceDefinition is being deleted: no tenant is deleted because of that.
    CRDTerminating,
    /// The vendor has not decided yet.
    Pending,
    /// The vendor approved the request.
    Approved,
    /// The vendor waits for input.
    Inquiring,
    /// The vendor refused or failed the request.
    RequestFailed,
    /// The vendor cannot be reached, or answers with errors.
    VendorUnavailable,
    /// The vendor refuses the credentials.
    Unauthorized,
    /// It cannot be known whether a create had an effect.
    CreateOutcomeUnknown,
    /// The tenant belongs to another owner.
    Conflict,
    /// The vendor's side differs from what is declared and could not be corrected yet.
    Drifted,
    /// The vendor's side differed and was corrected.
    DriftCorrected,
    /// The vendor had two tenants of ours under one name, and one was deleted.
    DuplicateTenant,
    /// A connection, Secret, ConfigMap or key is missing or not usable.
    DependencyNotReady,
    /// A TierConfiguration that this is bought under is not Active, or is not there.
    TierConfigurationNotReady,
    /// The vendor did not decide within `timeouts.provisioning`.
    ProvisioningTimeout,
    /// The tenant is gone at the vendor and `onMissing` is Report.
    TenantMissing,
    /// Of a connection: most of its tenants are gone at once, and none is bought again.
    MassVanish,
    /// The object cannot be decoded.
    InvalidSpec,
    /// The object carries the paused annotation.
    Paused,
    /// A Secret of the output's name exists that the operator did not make.
    OutputSecretConflict,
    /// The vendor sent sensitive parameters and no output Secret is declared for them.
    SensitiveParametersDropped,
    /// The object was deleted and its tenant kept, by policy.
    TenantRetained,
    /// The tenant is gone at the vendor.
    Terminated,
    /// A connection's references resolve; no call was made through it yet.
    Configured,
    /// The vendor answered the last call made through this connection.
    VendorAnswers,
    /// A pass over this object failed inside the operator; the others are not affected.
    InternalError,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
