//! Who is bought or set up under a TierConfiguration.

use std::{fmt::Debug, sync::Arc};

use fulfillment_crds::{Subscription, TierConfiguration, finalizers};
use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt, api::ListParams};

use super::child;
use crate::{
    controller::{Context, Scope},
    kubernetes::{KubeError, bounded},
    object::{Decode, Guarded},
};

/// Whether a Subscription names a TierConfiguration of its namespace.
pub fn names(subscription: &Subscription, tier: &str) -> bool {
    let mut levels = subscription.spec.tiers.levels();
    levels.any(|(_, named)| named.names(tier))
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

/// Who names it, and the Subscription for its own tenant, by the API server.
///
/// # Errors
///
/// Where one of the lists fails.
pub(super) async fn live(
    ctx: &Context,
    tier: &TierConfiguration,
) -> Result<(Vec<String>, Option<Arc<Subscription>>), KubeError> {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    let subscriptions = list::<Subscription>(ctx, namespace).await?;
    let tiers = list::<TierConfiguration>(ctx, namespace).await?;
    let users = named(tier, subscriptions.iter(), tiers.iter());
    let mut decoded = subscriptions.into_iter().filter_map(|s| s.0.ok());
    Ok((users, decoded.find(|s| child::is_owned(s, tier))))
}

async fn list<K>(ctx: &Context, namespace: &str) -> Result<Vec<Guarded<K>>, KubeError>
where
    K: Decode<Scope = NamespaceResourceScope> + Debug,
{
    let api = ctx.cluster.api::<Guarded<K>>(namespace);
    Ok(bounded(api.list(&ListParams::default())).await?.items)
}

pub(super) fn named<'a>(
    tier: &TierConfiguration,
    subscriptions: impl Iterator<Item = &'a Guarded<Subscription>>,
    tiers: impl Iterator<Item = &'a Guarded<TierConfiguration>>,
) -> Vec<String> {
    let name = tier.name_any();
    let here = |namespace: Option<String>| namespace == tier.metadata.namespace;
    let subscriptions = subscriptions
        .filter(|s| here(s.namespace()))
        .filter(|s| may_name(s, &name))
        .map(|s| format!("Subscription {}", s.name_any()));
    let tiers = tiers
        .filter(|t| here(t.namespace()))
        .filter(|t| match &t.0 {
            Ok(lower) => is_below(lower, &name),
            // What cannot be decoded may stand below it.
            Err(_) => has(*t, finalizers::IN_USE),
        })
        .map(|t| format!("TierConfiguration {}", t.name_any()));
    let mut all: Vec<String> = subscriptions.chain(tiers).collect();
    all.sort();
    all
}

/// Who keeps the tenant of a reseller from being deleted: those whose tenants stand under it. `None`
/// of a Subscription that is not a reseller's own.
///
/// # Errors
///
/// Where the API server fails.
pub async fn still_used(
    ctx: &Context,
    scope: &Scope,
    subscription: &Subscription,
) -> Result<Option<String>, KubeError> {
    let meta = &subscription.metadata;
    let Some(tier) = child::tier_of(meta) else {
        return Ok(None);
    };
    let namespace = meta.namespace.as_deref();
    let stands = |other: &Guarded<Subscription>| {
        other.namespace().as_deref() == namespace
            && other.uid() != meta.uid
            && has(other, finalizers::TENANT)
            && may_name(other, tier)
    };
    let cached = scope.subscriptions.state();
    if let Some(user) = cached.iter().find(|other| stands(other)) {
        return Ok(Some(user.name_any()));
    }
    // The cache may be behind, and some may be out of its sight.
    let live = list::<Subscription>(ctx, namespace.unwrap_or_default()).await?;
    let user = live.iter().find(|other| stands(other));
    Ok(user.map(ResourceExt::name_any))
}

/// Whether it names this TierConfiguration, or may do so, has a tenant and cannot be decoded.
fn may_name(subscription: &Guarded<Subscription>, tier: &str) -> bool {
    match &subscription.0 {
        Ok(subscription) => names(subscription, tier),
        Err(_) => has(subscription, finalizers::TENANT),
    }
}

fn has(object: &impl Resource<DynamicType = ()>, finalizer: &str) -> bool {
    object.finalizers().iter().any(|f| f == finalizer)
}
