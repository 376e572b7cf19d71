//! The Subscription for a reseller's own tenant: a Subscription like any other, whose whole spec
//! follows from its TierConfiguration.

use std::collections::BTreeMap;

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
    controller::Context,
    kubernetes::{self, FIELD_MANAGER, KubeError, bounded},
    vendor::Level,
};

/// What is handed down to it: asking for a TierConfiguration to be reconciled, or pausing it, means
/// its tenant too.
const HANDED_DOWN: [&str; 2] = [annotations::REQUESTED_AT, annotations::PAUSED];

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

/// The level of the reseller whose own tenant a Subscription is for: the one whose account it names.
pub fn own_level(subscription: &Subscription) -> Option<Level> {
    owner(subscription)?;
    let mut levels = subscription.spec.tiers.levels();
    levels
        .find(|(_, tier)| tier.tier_configuration_ref.is_none())
        .map(|(level, _)| Level::new(level))
}

/// Whether a Subscription was made for this TierConfiguration.
pub(super) fn is_owned(subscription: &Subscription, tier: &TierConfiguration) -> bool {
    owner(subscription).is_some_and(|owner| Some(&owner.uid) == tier.metadata.uid.as_ref())
}

/// The Subscription as it should be.
pub(super) fn wanted(tier: &TierConfiguration) -> Subscription {
    let spec = &tier.spec;
    let own = Tier {
        tier_configuration_ref: None,
        external_id: spec.account.external_id.clone(),
        name: spec.account.name.clone(),
        contact: spec.account.contact.clone(),
    };
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
    all.filter(|(name, _)| HANDED_DOWN.contains(&name.as_str()))
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
    annotations.retain(|name, _| !HANDED_DOWN.contains(&name.as_str()));
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
