//! Why a vendor call failed, in the two respects that matter: may it have had an effect, and what
//! to do about it.

use std::time::Duration;

use fulfillment_crds::{ParameterError, Reason};

/// What to do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Network, 5xx, 408, 425, garbage: retry with back-off.
    Transient,
    /// 429: retry when the vendor says.
    Throttled,
    /// 401 and 403: retry slowly, and at once when the Secret changes.
    Auth,
    /// 409 and 423 where no conflict of identity is meant: the vendor is busy with this tenant.
    Busy,
    /// Any other 4xx: the vendor refuses; not repeated until something changes.
    Refused,
}

/// Whether a failed call may have had an effect at the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It had none for certain: it was never sent whole, or the vendor refused it.
    None,
    /// It may have had one.
    Unknown,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct VendorError {
    /// What to do about it.
    pub class: Class,
    /// Whether it may have had an effect.
    pub effect: Effect,
    /// When the vendor wants to be asked again, capped.
    pub retry_after: Option<Duration>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The vendor's own code, cleaned; empty if it gave none.
    pub code: String,
    /// What went wrong, cleaned: no control characters, no secrets, at most 256 characters.
    pub message: String,
    /// What the vendor says is wrong with single parameters.
    pub parameters: Vec<ParameterError>,
    /// The operator itself did not send it, which says nothing of the vendor.
    pub unsent: bool,
}

impl VendorError {
    /// The reason shown for it.
    pub fn reason(&self) -> Reason {
        match self.class {
            Class::Transient | Class::Throttled | Class::Busy => Reason::VendorUnavailable,
            Class::Auth => Reason::Unauthorized,
            Class::Refused => Reason::RequestFailed,
        }
    }
}

/// The class and effect of an HTTP status that is no success. One table for every operation.
pub fn classify(status: u16) -> (Class, Effect) {
    match status {
        401 | 403 => (Class::Auth, Effect::None),
        429 => (Class::Throttled, Effect::None),
        408 | 425 => (Class::Transient, Effect::None),
        409 | 423 => (Class::Busy, Effect::Unknown),
        400..=499 => (Class::Refused, Effect::None),
        _ => (Class::Transient, Effect::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_happened_has_no_effect() {
        for status in 100..=599u16 {
            let (class, effect) = classify(status);
            let sure = matches!(status, 400..=499) && !matches!(status, 409 | 423);
            assert_eq!(effect == Effect::None, sure, "{status}");
            if class == Class::Refused {
                assert!((400..500).contains(&status), "{status}");
            }
        }
    }
}
