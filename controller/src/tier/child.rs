//! The Subscription for a reseller's own tenant: a Subscription like any other, whose whole spec
//! follows from its TierConfiguration.

use std::{collections::BTreeMap, sync::Arc};

use fulfillment_crds::{
    AdoptionPolicy, DeletionPolicy, DesiredState, GROUP, Limits, LocalObjectRef, Subscription,
    SubscriptionSpec, Tier, TierConfiguration, Tiers, annotations, finalizers,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Resource,
    api::{DeleteParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use crate::{
    controller::{Context, Scope},
    facts::Trouble,
    inputs::not_ready,
    kubernetes::{self, FIELD_MANAGER, KubeError},
    vendor::Level,
};

/// What is handed down to it: asking for a TierConfiguration to be reconciled means its tenant too.
const HANDED_DOWN: &str = annotations::REQUESTED_AT;

/// The name of a TierConfiguration's own Subscription.
pub fn name(tier: &str) -> String {
    format!("{tier}-tier")
}

/// The TierConfiguration that an object names as its controller.
fn owner(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = meta.owner_references.iter().flatten();
    owners.into_iter().find(|owner| {
        let group = owner.api_version.split('/').next();
        owner.controller == Some(true)
            && group == Some(GROUP)
            && owner.kind == TierConfiguration::kind(&())
    })
}

/// The name of the TierConfiguration whose own tenant a Subscription of this metadata is for. By name:
/// what was restored from a backup names the owner of another life.
pub fn tier_of(meta: &ObjectMeta) -> Option<&str> {
    let owner = owner(meta)?;
    (meta.name.as_deref() == Some(&name(&owner.name))).then_some(&owner.name)
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
    let meta = &subscription.metadata;
    let Some(owner) = owner(meta) else {
        return Ok(None);
    };
    let owner = &owner.name;
    let not_made = || {
        not_ready(format!(
            "its ownerReference names TierConfiguration {owner}, which did not make it: take the reference out"
        ))
    };
    if tier_of(meta).is_none() {
        return Err(not_made());
    }
    match scope.tier(meta.namespace.as_deref().unwrap_or_default(), owner) {
        Some(Ok(tier)) if can_be_as(subscription, &tier) => Ok(Some(tier)),
        Some(Ok(_)) => Err(not_made()),
        Some(Err(why)) => Err(not_ready(format!(
            "TierConfiguration {owner}, whose own tenant it is for, cannot be decoded: {why}"
        ))),
        None => Err(not_ready(format!(
            "TierConfiguration {owner}, whose own tenant it is for, is not there: apply TierConfiguration {owner} again, or delete this Subscription, or take its ownerReference out to keep it without that one"
        ))),
    }
}

/// Whether what cannot be changed of a Subscription is what this TierConfiguration makes it with.
fn can_be_as(subscription: &Subscription, tier: &TierConfiguration) -> bool {
    let (is, wanted) = (&subscription.spec, &tier.spec);
    is.connection_ref == wanted.connection_ref
        && is.product == wanted.product
        && is.external_id.is_none()
}

/// Whether a Subscription was made for this TierConfiguration, or for one of its name before.
pub(super) fn is_owned(subscription: &Subscription, tier: &TierConfiguration) -> bool {
    let made_for = tier_of(&subscription.metadata);
    made_for.is_some() && made_for == tier.metadata.name.as_deref()
}

/// Whether it was made for one of its name before, as where both were restored from a backup.
pub(super) fn is_inherited(subscription: &Subscription, tier: &TierConfiguration) -> bool {
    let uid = owner(&subscription.metadata).map(|owner| &owner.uid);
    is_owned(subscription, tier) && uid != tier.metadata.uid.as_ref()
}

/// Whether nothing is recorded of its tenant or of a create, as after a restore without status.
pub(super) fn is_unrecorded(subscription: &Subscription) -> bool {
    let status = subscription.status.as_ref();
    status.is_none_or(|status| status.request.is_none() && status.tenant_id.is_none())
}

/// Makes it as one that comes back without its record: the finalizer says that there was a tenant,
/// which is not to be bought a second time.
pub(super) fn hold(wanted: &mut Subscription) {
    wanted.metadata.finalizers = Some(vec![finalizers::TENANT.to_owned()]);
}

/// Whether it is being deleted.
pub(super) fn is_leaving(subscription: &Subscription) -> bool {
    subscription.metadata.deletion_timestamp.is_some()
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
            deletion_policy: spec.deletion_policy,
            deletion_grace_period: None,
            output_secret_name: spec.output_secret_name.clone(),
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
    let uid = |of: &Subscription| owner(&of.metadata).map(|owner| owner.uid.clone());
    found.spec == wanted.spec
        && handed_down(&found.metadata) == handed_down(&wanted.metadata)
        && is_labelled(found, wanted)
        && uid(found) == uid(wanted)
}

/// Whether the operator sees it that sees its TierConfiguration.
fn is_labelled(found: &Subscription, wanted: &Subscription) -> bool {
    let labels = found.metadata.labels.as_ref();
    let has = |(name, value): (&String, &String)| {
        labels.and_then(|labels| labels.get(name)) == Some(value)
    };
    wanted.metadata.labels.iter().flatten().all(has)
}

/// What is to become of the tenant, where it says something else. What goes and keeps the tenant has
/// gone as good as already.
fn policy(found: &Subscription, wanted: &Subscription) -> Option<DeletionPolicy> {
    let (is, wanted) = (found.spec.deletion_policy, wanted.spec.deletion_policy);
    let gone = is_leaving(found) && is == DeletionPolicy::Retain;
    (is != wanted && !gone).then_some(wanted)
}

/// Whether it can go: seen by the operator, and with what is wanted of the tenant.
pub(super) fn is_prepared(found: &Subscription, wanted: &Subscription) -> bool {
    is_labelled(found, wanted) && policy(found, wanted).is_none()
}

/// Prepares it for its end.
///
/// # Errors
///
/// [`KubeError::Conflict`] where it has changed meanwhile.
pub(super) async fn prepare(
    ctx: &Context,
    found: &Subscription,
    wanted: &Subscription,
) -> Result<(), KubeError> {
    let policy = policy(found, wanted).unwrap_or(found.spec.deletion_policy);
    let changes = vec![
        json!({"op": "add", "path": "/metadata/labels", "value": labels(found, wanted)}),
        json!({"op": "add", "path": "/spec/deletionPolicy", "value": policy}),
    ];
    patch(ctx, found, changes).await
}

/// Makes it, or makes it as it should be.
///
/// # Errors
///
/// [`KubeError::Conflict`] where the cache is behind.
pub(super) async fn apply(
    ctx: &Context,
    found: Option<&Subscription>,
    wanted: &Subscription,
) -> Result<(), KubeError> {
    let Some(found) = found else {
        let namespace = wanted.metadata.namespace.as_deref().unwrap_or_default();
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        let api = ctx.cluster.api::<Subscription>(namespace);
        ctx.cluster.bounded(api.create(&params, wanted)).await?;
        return Ok(());
    };
    if is_leaving(found) {
        return prepare(ctx, found, wanted).await;
    }
    let mut annotations = found.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| name != HANDED_DOWN);
    annotations.extend(handed_down(&wanted.metadata));
    let changes = vec![
        json!({"op": "add", "path": "/metadata/annotations", "value": annotations}),
        json!({"op": "add", "path": "/metadata/labels", "value": labels(found, wanted)}),
        json!({"op": "add", "path": "/metadata/ownerReferences", "value": owners(found, wanted)}),
        json!({"op": "replace", "path": "/spec", "value": wanted.spec}),
    ];
    patch(ctx, found, changes).await
}

fn labels(found: &Subscription, wanted: &Subscription) -> BTreeMap<String, String> {
    let mut labels = found.metadata.labels.clone().unwrap_or_default();
    labels.extend(wanted.metadata.labels.clone().unwrap_or_default());
    labels
}

/// Its own owner in the place of the one it names; of others nothing is known.
fn owners(found: &Subscription, wanted: &Subscription) -> Vec<OwnerReference> {
    let before = owner(&found.metadata);
    let all = found.metadata.owner_references.iter().flatten();
    let others = all.filter(|owner| Some(*owner) != before);
    let own = wanted.metadata.owner_references.iter().flatten();
    own.chain(others).cloned().collect()
}

async fn patch(ctx: &Context, found: &Subscription, changes: Vec<Value>) -> Result<(), KubeError> {
    let meta = &found.metadata;
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": meta.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}),
    ];
    patch.extend(changes);
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let api = ctx.cluster.api::<Subscription>(namespace);
    let patch = kubernetes::json_patch(patch)?;
    ctx.cluster
        .bounded(api.patch(name, &kubernetes::params(), &patch))
        .await?;
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
    match ctx.cluster.bounded(api.delete(name, &params)).await {
        Ok(_) | Err(KubeError::Gone) => Ok(()),
        Err(error) => Err(error),
    }
}
