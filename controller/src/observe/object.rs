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

/// Whether it carries the paused annotation.
pub(crate) fn is_paused(meta: &ObjectMeta) -> bool {
    let all = meta.annotations.as_ref();
    all.and_then(|all| all.get(annotations::PAUSED))
        .is_some_and(|value| value == "true")
}

/// The token of the annotation `requestedAt`, handled or not, as far as status can echo it.
pub(crate) fn requested_at(meta: &ObjectMeta) -> Option<String> {
    let token = meta.annotations.as_ref()?.get(annotations::REQUESTED_AT)?;
    let token: String = token.chars().take(256).collect();
    (!token.is_empty()).then_some(token)
}

/// `adopt:<tenantId>` or `none:<request id>`.
fn resolution(text: &str) -> Option<Resolution> {
    match text.trim().split_once(':') {
        Some(("adopt", id)) if !id.is_empty() => Some(Resolution::Adopt(id.into())),
        Some(("none", id)) if !id.is_empty() => Some(Resolution::None(id.into())),
        Some(_) | None => None,
    }
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
