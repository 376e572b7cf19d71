//! What the object itself says.

use fulfillment_crds::{Subscription, annotations, finalizers};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    facts::{Facts, ObjectFacts, Resolution},
    link::Usable,
};

pub(super) fn object_facts(
    object: &Subscription,
    ledger: &fulfillment_crds::SubscriptionStatus,
    unarmed: bool,
) -> ObjectFacts {
    let meta = &object.metadata;
    let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
    let finalized = meta
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == finalizers::TENANT);
    ObjectFacts {
        generation: meta.generation.unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        finalized,
        lost: finalized && ledger.request.is_none() && ledger.tenant_id.is_none() && !unarmed,
        paused: is_paused(meta),
        requested_at: requested_at(meta)
            .filter(|token| ledger.last_handled_reconcile_at.as_ref() != Some(token)),
        resolution: annotation(annotations::RESOLVE_CREATE).and_then(|text| resolution(text)),
    }
}

/// Whether it carries the paused annotation. A brake fails safe: any value but the empty one and
/// `false` counts.
pub(crate) fn is_paused(meta: &ObjectMeta) -> bool {
    let all = meta.annotations.as_ref();
    all.and_then(|all| all.get(annotations::PAUSED))
        .is_some_and(|value| !matches!(value.trim(), "" | "false"))
}

/// The token of the annotation `requestedAt`, handled or not, as far as status can echo it.
pub(crate) fn requested_at(meta: &ObjectMeta) -> Option<String> {
    let token = meta.annotations.as_ref()?.get(annotations::REQUESTED_AT)?;
    let token: String = token.chars().take(256).collect();
    (!token.is_empty()).then_some(token)
}

/// `adopt:<tenantId>` or `none:<request id>`; what is neither is shown to whoever wrote it.
fn resolution(text: &str) -> Option<Resolution> {
    match text.trim().split_once(':') {
        Some(("adopt", id)) if !id.is_empty() => Some(Resolution::Adopt(id.into())),
        Some(("none", id)) if !id.is_empty() => Some(Resolution::None(id.into())),
        _ if text.trim().is_empty() => None,
        Some(_) | None => Some(Resolution::Malformed(shown(text))),
    }
}

/// The beginning of a text, in one line.
fn shown(text: &str) -> String {
    let text = text.trim().chars().take(64);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Everything whose change ends a back-off at once. Contents, not versions: our own finalizer on a
/// Secret changes its version and nothing else.
pub(super) fn fingerprint(object: &Subscription, facts: &Facts, usable: Option<&Usable>) -> String {
    let annotation = |name: &str| {
        let annotations = object.metadata.annotations.as_ref();
        annotations
            .and_then(|all| all.get(name))
            .cloned()
            .unwrap_or_default()
    };
    [
        facts.object.generation.to_string(),
        annotation(annotations::REQUESTED_AT),
        annotation(annotations::RESOLVE_CREATE),
        annotation(annotations::PAUSED),
        facts.desired.inputs.clone().unwrap_or_default(),
        usable
            .map(|usable| usable.fingerprint.clone())
            .unwrap_or_default(),
    ]
    .join("\n")
}

/// When the vendor last called back.
pub(super) fn called_back(object: &Subscription) -> Option<&str> {
    let annotations = object.metadata.annotations.as_ref()?;
    annotations
        .get(annotations::CALLED_BACK)
        .map(String::as_str)
}

/// 80 random bits, as text.
pub(crate) fn request_id() -> String {
    let mut bytes = [0u8; 10];
    // Without randomness an id repeats at worst; it is no secret, and every write is guarded by uid.
    let _ = getrandom::fill(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_kept_to_be_shown() {
        let malformed = |text: &str| Some(Resolution::Malformed(text.into()));
        for text in ["adopt", "none", "t-1001", "adopt:"] {
            assert_eq!(resolution(text), malformed(text));
        }
        assert_eq!(resolution(" "), None);
        assert_eq!(resolution("a\nb"), malformed("a b"));
        assert_eq!(resolution(&"x".repeat(500)), malformed(&"x".repeat(64)));
        assert_eq!(
            resolution("adopt:t-1"),
            Some(Resolution::Adopt("t-1".into()))
        );
    }

    #[test]
    fn the_brake_fails_safe() {
        let paused = |value: &str| {
            is_paused(&ObjectMeta {
                annotations: Some([(annotations::PAUSED.into(), value.into())].into()),
                ..ObjectMeta::default()
            })
        };
        assert!(["true", "True", "yes", "1"].into_iter().all(paused));
        assert!(!["", "false", " "].into_iter().any(paused));
    }
}
