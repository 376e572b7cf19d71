//! Who is bought or set up under a TierConfiguration.

use std::{fmt::Debug, sync::Arc};

use fulfillment_crds::{Subscription, TierConfiguration, finalizers};
use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt, api::ListParams};

use super::child;
use crate::{
    controller::{Context, Scope},
    kubernetes::KubeError,
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
    let mut all = Vec::new();
    let keep = |object| all.push(object);
    ctx.cluster.each(&api, ListParams::default(), keep).await?;
    Ok(all)
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
    match child::tier_of(meta) {
        None => Ok(None),
        Some(tier) => {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            standing(ctx, scope, namespace, tier).await
        }
    }
}

/// Whose tenant stands under the one of a TierConfiguration.
///
/// # Errors
///
/// Where the API server fails.
pub(super) async fn standing(
    ctx: &Context,
    scope: &Scope,
    namespace: &str,
    tier: &str,
) -> Result<Option<String>, KubeError> {
    let (subscriptions, tiers) = (scope.subscriptions.state(), scope.tiers.state());
    let cached = under(
        namespace,
        tier,
        subscriptions.iter().map(AsRef::as_ref),
        tiers.iter().map(AsRef::as_ref),
    );
    if cached.is_some() {
        return Ok(cached);
    }
    // The cache may be behind, and some may be out of its sight.
    let subscriptions = list::<Subscription>(ctx, namespace).await?;
    let tiers = list::<TierConfiguration>(ctx, namespace).await?;
    Ok(under(namespace, tier, subscriptions.iter(), tiers.iter()))
}

/// One whose tenant stands under that of a TierConfiguration, or of one below it: the Subscription for
/// the tenant between them may be away, to be made anew.
pub(super) fn under<'a>(
    namespace: &str,
    tier: &str,
    mut subscriptions: impl Iterator<Item = &'a Guarded<Subscription>>,
    tiers: impl Iterator<Item = &'a Guarded<TierConfiguration>>,
) -> Option<String> {
    let own = child::name(tier);
    let between = tiers
        .filter(|t| t.namespace().as_deref() == Some(namespace))
        .filter(|t| t.0.as_ref().map_or(true, |lower| is_below(lower, tier)))
        .map(ResourceExt::name_any);
    let above: Vec<String> = between.chain([tier.to_owned()]).collect();
    let user = subscriptions.find(|s| {
        s.namespace().as_deref() == Some(namespace)
            && s.name_any() != own
            && has(*s, finalizers::TENANT)
            && above.iter().any(|tier| may_name(s, tier))
    });
    user.map(ResourceExt::name_any)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fulfillment_crds::{Subscription, TierConfiguration, finalizers};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::json;

    use super::{named, under};
    use crate::object::{Guarded, Invalid};

    #[test]
    fn what_cannot_be_decoded_and_is_held_may_be_a_user() {
        let invalid = |name: &str, finalizer: Option<&str>| Invalid {
            error: "spec: not as it should be".into(),
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("team".into()),
                finalizers: finalizer.map(|held| vec![held.into()]),
                ..ObjectMeta::default()
            },
        };
        let metadata = invalid("north", None).metadata;
        let spec = serde_json::from_value(json!({
            "connectionRef": {"name": "acme"}, "product": "mail-pro", "level": 2, "account": {"name": "N"},
        }));
        let tier = TierConfiguration {
            metadata,
            spec: spec.unwrap(),
            status: None,
        };
        let subscriptions = [
            Guarded::<Subscription>(Err(invalid("mail", Some(finalizers::TENANT)))),
            Guarded(Err(invalid("unbought", None))),
        ];
        let tiers = [
            Guarded::<TierConfiguration>(Err(invalid("south", Some(finalizers::IN_USE)))),
            Guarded(Err(invalid("unmade", None))),
        ];
        let users = named(&tier, subscriptions.iter(), tiers.iter());
        assert_eq!(users, ["Subscription mail", "TierConfiguration south"]);
    }

    /// The Subscription for the tenant between a customer and a distributor may be away, to be made anew.
    #[test]
    fn a_customer_stands_under_all_that_are_above_it() {
        let meta = |name: &str, held: bool| {
            json!({
                "name": name, "namespace": "team",
                "finalizers": if held { vec![finalizers::TENANT] } else { Vec::new() },
            })
        };
        let mail = |tier: &str, held: bool| {
            let object = serde_json::from_value(json!({
                "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "Subscription",
                "metadata": meta("mail", held),
                "spec": {
                    "connectionRef": {"name": "acme"}, "product": "mail-pro",
                    "tiers": {"tier1": {"tierConfigurationRef": {"name": tier}}},
                },
            }));
            Guarded::<Subscription>(Ok(Arc::new(object.unwrap())))
        };
        let north = serde_json::from_value(json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "TierConfiguration",
            "metadata": meta("north", false),
            "spec": {
                "connectionRef": {"name": "acme"}, "product": "mail-pro", "level": 1,
                "account": {"name": "N"}, "parentRef": {"name": "top"},
            },
        }));
        let north = [Guarded::<TierConfiguration>(Ok(Arc::new(north.unwrap())))];
        let stands = |namespace: &str, tier: &str, mail: Guarded<Subscription>| {
            under(namespace, tier, [mail].iter(), north.iter()).is_some()
        };
        for tier in ["north", "top"] {
            assert!(stands("team", tier, mail("north", true)), "{tier}");
            assert!(!stands("team", tier, mail("north", false)), "no tenant");
            assert!(!stands("else", tier, mail("north", true)), "elsewhere");
            assert!(!stands("team", tier, mail("south", true)), "of another");
        }
    }
}
