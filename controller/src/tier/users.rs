//! Who is bought or set up under a TierConfiguration.

use fulfillment_crds::{Subscription, TierConfiguration, finalizers};
use kube::{Resource, ResourceExt, api::ListParams};

use super::child;
use crate::{
    controller::{Context, Scope},
    kubernetes::{KubeError, bounded},
    object::Guarded,
};

/// Whether a Subscription names a TierConfiguration of its namespace.
pub fn names(subscription: &Subscription, tier: &str) -> bool {
    subscription.spec.tiers.levels().any(|(_, named)| {
        let reference = named.tier_configuration_ref.as_ref();
        reference.is_some_and(|reference| reference.name == tier)
    })
}

/// Whether a TierConfiguration stands below another of its namespace.
pub fn is_below(lower: &TierConfiguration, upper: &str) -> bool {
    let parent = lower.spec.parent_ref.as_ref();
    parent.is_some_and(|parent| parent.name == upper)
}

/// Who names a TierConfiguration, by the caches.
pub(super) fn cached(scope: &Scope, tier: &TierConfiguration) -> Vec<String> {
    named(
        tier,
        scope.subscriptions.state().iter().map(AsRef::as_ref),
        scope.tiers.state().iter().map(AsRef::as_ref),
    )
}

/// Who names it, by the API server.
///
/// # Errors
///
/// Where one of the lists fails.
pub(super) async fn live(
    ctx: &Context,
    tier: &TierConfiguration,
) -> Result<Vec<String>, KubeError> {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    let all = ListParams::default();
    let subscriptions = ctx.cluster.api::<Guarded<Subscription>>(namespace);
    let subscriptions = bounded(subscriptions.list(&all)).await?;
    let tiers = ctx.cluster.api::<Guarded<TierConfiguration>>(namespace);
    let tiers = bounded(tiers.list(&all)).await?;
    Ok(named(tier, subscriptions.iter(), tiers.iter()))
}

fn named<'a>(
    tier: &TierConfiguration,
    subscriptions: impl Iterator<Item = &'a Guarded<Subscription>>,
    tiers: impl Iterator<Item = &'a Guarded<TierConfiguration>>,
) -> Vec<String> {
    let name = tier.name_any();
    let here = |namespace: Option<String>| namespace == tier.metadata.namespace;
    let subscriptions = subscriptions
        .filter(|s| here(s.namespace()))
        // What cannot be decoded may name it.
        .filter(|s| {
            s.0.as_ref()
                .map_or_else(|_| has_tenant(*s), |s| names(s, &name))
        })
        .map(|s| format!("Subscription {}", s.name_any()));
    let tiers = tiers
        .filter(|t| here(t.namespace()))
        .filter(|t| t.0.as_ref().is_ok_and(|t| is_below(t, &name)))
        .map(|t| format!("TierConfiguration {}", t.name_any()));
    let mut all: Vec<String> = subscriptions.chain(tiers).collect();
    all.sort();
    all
}

/// Who keeps the tenant of a reseller from being deleted: those whose tenants stand under it.
pub fn still_used(scope: &Scope, subscription: &Subscription) -> Option<String> {
    let owner = child::owner(subscription)?;
    let all = scope.subscriptions.state();
    let user = all.iter().find(|other| {
        other.namespace() == subscription.namespace()
            && has_tenant(&***other)
            && other.0.as_ref().is_ok_and(|s| names(s, &owner.name))
    })?;
    Some(user.name_any())
}

fn has_tenant(object: &impl Resource<DynamicType = ()>) -> bool {
    object.finalizers().iter().any(|f| f == finalizers::TENANT)
}
