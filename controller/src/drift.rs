//! Where the vendor's side differs from what is declared. Named differences, never equality of
//! whole objects: what the spec leaves out is not managed.

use fulfillment_crds::{DesiredState, Drift, SubscriptionState, Time};
use k8s_openapi::jiff::Timestamp;

use crate::facts::{Desired, Ledger};

/// Every declared limit the vendor has another value for.
pub fn limits(desired: &Desired, ledger: &Ledger) -> Vec<Drift> {
    desired
        .limits
        .iter()
        .filter(|(name, value)| ledger.limits.get(*name) != Some(value))
        .map(|(name, value)| Drift {
            field: format!("limits.{name}"),
            desired: value.to_string(),
            observed: ledger
                .limits
                .get(name)
                .map_or_else(|| "none".into(), ToString::to_string),
            since: None,
        })
        .collect()
}

/// The state, where the tenant is in the other one.
pub fn state(desired: &Desired, ledger: &Ledger) -> Option<Drift> {
    let observed = ledger.state?;
    let (wanted, other) = match desired.state {
        DesiredState::Active => ("Active", SubscriptionState::Suspended),
        DesiredState::Suspended => ("Suspended", SubscriptionState::Active),
    };
    (observed == other).then(|| Drift {
        field: "state".into(),
        desired: wanted.into(),
        observed: format!("{observed:?}"),
        since: None,
    })
}

/// Whether parameters and tiers differ from what the vendor last took. Where none are declared, none
/// are managed.
pub fn inputs(desired: &Desired, ledger: &Ledger) -> bool {
    desired.inputs.is_some() && desired.inputs != ledger.inputs_hash
}

/// Whether they differ from what the vendor was sent last, whatever became of it.
pub fn unsent(desired: &Desired, ledger: &Ledger) -> bool {
    desired.inputs.is_some() && desired.inputs.as_ref() != sent_last(ledger)
}

/// The hash of what the vendor was sent last, whatever became of it.
pub fn sent_last(ledger: &Ledger) -> Option<&String> {
    let sent = ledger.sent_inputs_hash.as_ref();
    sent.or(ledger.inputs_hash.as_ref())
}

/// All named differences, each with the time it was first found.
pub fn named(desired: &Desired, ledger: &Ledger, now: Timestamp) -> Vec<Drift> {
    let mut found: Vec<Drift> = state(desired, ledger)
        .into_iter()
        .chain(limits(desired, ledger))
        .collect();
    for difference in &mut found {
        difference.since = ledger
            .drift
            .iter()
            .find(|known| known.field == difference.field)
            .and_then(|known| known.since.clone())
            .or(Some(Time(now)));
    }
    found
}

/// Whether there is nothing left to change at the vendor.
pub fn in_sync(desired: &Desired, ledger: &Ledger) -> bool {
    state(desired, ledger).is_none()
        && !inputs(desired, ledger)
        && limits(desired, ledger).is_empty()
}

/// Differences in one line, for a message: `limits.seats: declared 50, vendor has 40`.
pub fn describe(drift: &[Drift]) -> String {
    let mut parts: Vec<String> = drift
        .iter()
        .take(5)
        .map(|d| {
            format!(
                "{}: declared {}, vendor has {}",
                d.field, d.desired, d.observed
            )
        })
        .collect();
    if drift.len() > 5 {
        parts.push(format!("and {} more", drift.len() - 5));
    }
    parts.join("; ")
}
