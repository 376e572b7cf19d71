//! What a vendor offers to make a create safe, and what the operator promises there.

use reference_vendor::Identity;

/// A value of `identity.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    ExternalId,
    IdempotencyKey,
    Lookup,
    None,
}

impl Mode {
    /// The one of such vendors.
    pub(super) const fn of(vendor: Identity) -> Self {
        match vendor {
            Identity::ExternalId => Self::ExternalId,
            Identity::IdempotencyKey => Self::IdempotencyKey,
            Identity::Lookup => Self::Lookup,
            Identity::None => Self::None,
        }
    }

    /// As it stands in a connection.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ExternalId => "ExternalId",
            Self::IdempotencyKey => "IdempotencyKey",
            Self::Lookup => "Lookup",
            Self::None => "None",
        }
    }

    /// The vendor to go with it.
    pub(super) fn vendor(self) -> Identity {
        match self {
            Self::ExternalId => Identity::ExternalId,
            Self::IdempotencyKey => Identity::IdempotencyKey,
            Self::Lookup => Identity::Lookup,
            Self::None => Identity::None,
        }
    }

    /// Whether a create whose outcome is unknown is answered without a person.
    pub(super) fn repeats(self) -> bool {
        match self {
            Self::ExternalId | Self::IdempotencyKey | Self::Lookup => true,
            Self::None => false,
        }
    }
}
