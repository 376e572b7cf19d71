//! The Subscription for a reseller's own tenant: a Subscription like any other, whose whole spec
//! follows from its TierConfiguration.

use std::{collections::BTreeMap, sync::Arc};

use fulfillment_crds::{
    AdoptionPolicy, DeletionPolicy, DesiredState, GROUP, Limits, LocalObjectRef, Subscription,
    SubscriptionSpec, Tier, TierConfiguration, Tiers, annotations,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Resource,
    api::{DeleteParams, PostParams, Preconditions},
};
use serde_json::json;

use crate::{
    controller::{Context, Scope},
    facts::Trouble,
    inputs::not_ready,
    kubernetes::{self, FIELD_MANAGER, KubeError, bounded},
    vendor::Level,
};

/// What is handed down to it: asking for a TierConfiguration to be reconciled means its tenant too.
const HANDED_DOWN: &str = annotations::REQUESTED_AT;

/// The name of a TierConfiguration's own Subscription.
pub fn name(tier: &str) -> String {
    format!("{tier}-tier")
}

/// The TierConfiguration whose own tenant a Subscription is for.
pub fn owner(subscription: &Subscription) -> Option<&OwnerReference> {
    let owners = subscription.metadata.owner_references.iter().flatten();
    owners.into_iter().find(|owner| {
        let group = owner.api_version.split('/').next();
        owner.controller == Some(true)
            && group == Some(GROUP)
            && owner.kind == TierConfiguration::kind(&())
    })
}

/// The TierConfiguration a Subscription was made for. An owner is what anybody can write who may write
/// the Subscription: it counts where that one is there and would have made just this.
///
/// # Errors
///
/// Why it does not count.
pub fn made_for(
    scope: &Scope,
    subscription: &Subscription,
) -> Result<Option<Arc<TierConfiguration>>, Trouble> {
    let Some(owner) = owner(subscription) else {
        return Ok(None);
    };
    let meta = &subscription.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let tier = scope.tier(namespace, &owner.name).and_then(Result::ok);
    let makes_it = |tier: &Arc<TierConfiguration>| {
        is_owned(subscription, tier) && meta.name.as_deref() == Some(&name(&owner.name))
    };
    tier.filter(makes_it).map(Some).ok_or_else(|| {
        not_ready(format!(
            "its ownerReference names TierConfiguration {}, which is not there or did not make it: take the reference out",
            owner.name
        ))
    })
}

/// Whether a Subscription was made for this TierConfiguration.
pub(super) fn is_owned(subscription: &Subscription, tier: &TierConfiguration) -> bool {
    owner(subscription).is_some_and(|owner| Some(&owner.uid) == tier.metadata.uid.as_ref())
}

/// The Subscription as it should be.
pub(super) fn wanted(tier: &TierConfiguration) -> Subscription {
    let spec = &tier.spec;
    let own = Tier::from(spec.account.clone());
    let above = |parent: &LocalObjectRef| Tier {
        tier_configuration_ref: Some(parent.clone()),
        ..Tier::default()
    };
    let tiers = match Level::new(spec.level) {
        Level::Tier1 => Tiers {
            customer: None,
            tier1: Some(own),
            tier2: spec.parent_ref.as_ref().map(above),
        },
        Level::Tier2 => Tiers {
            tier2: Some(own),
            ..Tiers::default()
        },
    };
    let meta = &tier.metadata;
    let owner = OwnerReference {
        block_owner_deletion: None,
        controller: Some(true),
        ..tier.owner_ref(&()).unwrap_or_default()
    };
    Subscription {
        metadata: ObjectMeta {
            name: meta.name.as_deref().map(name),
            namespace: meta.namespace.clone(),
            // Who watches by labels watches both.
            labels: meta.labels.clone(),
            annotations: Some(handed_down(meta)),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: SubscriptionSpec {
            connection_ref: spec.connection_ref.clone(),
            product: spec.product.clone(),
            state: DesiredState::Active,
            limits: Limits::new(),
            parameters: spec.parameters.clone(),
            tiers,
            external_id: None,
            adoption_policy: AdoptionPolicy::default(),
            deletion_policy: DeletionPolicy::Delete,
            deletion_grace_period: None,
            output_secret_name: None,
            interval: None,
        },
        status: None,
    }
}

fn handed_down(meta: &ObjectMeta) -> BTreeMap<String, String> {
    let all = meta.annotations.iter().flatten();
    all.filter(|(name, _)| *name == HANDED_DOWN)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether it is as it should be.
pub(super) fn is_as(found: &Subscription, wanted: &Subscription) -> bool {
    let labelled = |(name, value): (&String, &String)| {
        let labels = found.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(name)) == Some(value)
    };
    found.spec == wanted.spec
        && handed_down(&found.metadata) == handed_down(&wanted.metadata)
        && wanted.metadata.labels.iter().flatten().all(labelled)
}

/// Makes it, or makes it as it should be.
///
/// # Errors
///
/// [`KubeError::Conflict`] where the cache is behind.
pub(super) async fn apply(
    ctx: &Context,
    tier: &TierConfiguration,
    found: Option<&Subscription>,
    wanted: &Subscription,
) -> Result<(), KubeError> {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    let api = ctx.cluster.api::<Subscription>(namespace);
    let Some(found) = found else {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        bounded(api.create(&params, wanted)).await?;
        return Ok(());
    };
    let meta = &found.metadata;
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| name != HANDED_DOWN);
    annotations.extend(handed_down(&wanted.metadata));
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.extend(wanted.metadata.labels.clone().unwrap_or_default());
    let patch = kubernetes::json_patch(vec![
        json!({"op": "test", "path": "/metadata/uid", "value": meta.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}),
        json!({"op": "add", "path": "/metadata/annotations", "value": annotations}),
        json!({"op": "add", "path": "/metadata/labels", "value": labels}),
        json!({"op": "replace", "path": "/spec", "value": wanted.spec}),
    ])?;
    let name = meta.name.as_deref().unwrap_or_default();
    bounded(api.patch(name, &kubernetes::params(), &patch)).await?;
    Ok(())
}

/// Deletes it, once.
///
/// # Errors
///
/// Where the API server fails.
pub(super) async fn remove(ctx: &Context, child: &Subscription) -> Result<(), KubeError> {
    let meta = &child.metadata;
    if meta.deletion_timestamp.is_some() {
        return Ok(());
    }
    let api = ctx
        .cluster
        .api::<Subscription>(meta.namespace.as_deref().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let name = meta.name.as_deref().unwrap_or_default();
    match bounded(api.delete(name, &params)).await {
        Ok(_) | Err(KubeError::Gone) => Ok(()),
        Err(error) => Err(error),
    }
}
