//! What is remembered of a deleted Subscription one of whose creates ever went without an answer: such
//! a create can still take effect when everybody believes that nothing is left. For a day a ConfigMap
//! in the operator's namespace keeps the name, and a sweep looks at the vendor again. (client required)
//!
//! This is the net below the settle time, not a part of the protocol: it mends what a vendor or a
//! paused process did that nobody promised to be possible.

use std::{collections::BTreeMap, sync::Arc};

use fulfillment_crds::{ConnectionRef, IdentityMode, Subscription};
use k8s_openapi::{
    api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::SignedDuration,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    core::PartialObjectMeta,
};

use crate::{
    controller::{Context, Scope},
    facts::Facts,
    kubernetes::{FIELD_MANAGER, KubeError, bounded},
    link::{self, Usable},
    pace,
    vendor::{Operation, Order, Said, Tenant},
};

/// The label of every tombstone.
const LABEL: &str = "fulfillment-operator.io/tombstone";
/// How long one is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Remembers a Subscription that is about to be let go.
///
/// # Errors
///
/// Where the API server fails: then it is not let go yet.
pub async fn bury(ctx: &Context, object: &Subscription, facts: &Facts) -> Result<(), KubeError> {
    let uid = object.uid().unwrap_or_default();
    let text = |value: &str| value.to_owned();
    let data = BTreeMap::from([
        ("namespace".into(), object.namespace().unwrap_or_default()),
        ("name".into(), object.name_any()),
        ("connection".into(), text(&object.spec.connection_ref.name)),
        ("externalId".into(), text(facts.name())),
    ]);
    let stone = ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("fulfillment-tombstone-{uid}")),
            labels: Some([(LABEL.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    let api = ctx.cluster.api::<ConfigMap>(&ctx.settings.own_namespace);
    match bounded(api.create(&params, &stone)).await {
        // Said before, by a pass that did not get any further.
        Ok(_) | Err(KubeError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Looks at all tombstones from time to time, until the operator stops.
pub async fn sweep(ctx: &Arc<Context>, scope: &Arc<Scope>) {
    let mut stopping = ctx.stopping.clone();
    loop {
        let wait = ctx.settings.sweep.mul_f64(0.9 + 0.2 * pace::random());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = all(ctx, scope).await {
            tracing::warn!(%error, "the sweep did not come to its end; it is repeated");
        }
    }
}

async fn all(ctx: &Context, scope: &Scope) -> Result<(), KubeError> {
    let api = ctx.cluster.api::<ConfigMap>(&ctx.settings.own_namespace);
    let params = ListParams::default().labels(LABEL);
    for stone in bounded(api.list(&params)).await? {
        let made = stone.metadata.creation_timestamp.as_ref();
        let old = made.is_none_or(|made| pace::now().duration_since(made.0) > KEPT);
        let data = stone.data.clone().unwrap_or_default();
        if old || revived(ctx, &data).await? {
            bounded(api.delete(&stone.name_any(), &DeleteParams::default())).await?;
        } else {
            one(ctx, scope, &data).await;
        }
    }
    Ok(())
}

fn field<'d>(data: &'d BTreeMap<String, String>, name: &str) -> &'d str {
    data.get(name).map(String::as_str).unwrap_or_default()
}

/// Whether the name is in use again: then whatever is there is its new owner's to find.
async fn revived(ctx: &Context, data: &BTreeMap<String, String>) -> Result<bool, KubeError> {
    let (namespace, name) = (field(data, "namespace"), field(data, "name"));
    Ok(ctx
        .cluster
        .get::<PartialObjectMeta<Subscription>>(namespace, name)
        .await?
        .is_some())
}

/// Looks for a tenant that took effect late, and deletes it. What fails is tried at the next sweep.
async fn one(ctx: &Context, scope: &Scope, data: &BTreeMap<String, String>) {
    let namespace = field(data, "namespace");
    let name = field(data, "externalId");
    let reference = ConnectionRef {
        kind: fulfillment_crds::ConnectionKind::VendorConnection,
        name: field(data, "connection").to_owned(),
    };
    let Ok(Ok(usable)) = link::usable(ctx, scope, namespace, &reference).await else {
        return;
    };
    match usable.connection.spec.identity.mode {
        IdentityMode::ExternalId | IdentityMode::Lookup => {}
        // Nothing can be asked there.
        IdentityMode::IdempotencyKey | IdentityMode::None => return,
    }
    for tenant in found(ctx, &usable, name).await {
        let held = scope.holds(&tenant.id);
        if held || !tenant.is_live() {
            continue;
        }
        tracing::warn!(
            tenant = tenant.id,
            external_id = name,
            subscription = field(data, "name"),
            namespace,
            "a create took effect after its Subscription was gone: the tenant is deleted"
        );
        let _slot = usable.budget.enter().await;
        let order = Order::default();
        let delete = usable.client.delete(&tenant.id, &order);
        let answer = usable
            .link
            .call(Operation::Delete, &ctx.metrics, delete)
            .await;
        if let Err(error) = answer {
            tracing::warn!(%error, tenant = tenant.id, "it could not be deleted yet");
        }
    }
}

async fn found(ctx: &Context, usable: &Usable, name: &str) -> Vec<Tenant> {
    let _slot = usable.budget.enter().await;
    let order = Order::default();
    let look = usable.client.lookup(name, &order);
    let answer = usable
        .link
        .call(Operation::Lookup, &ctx.metrics, look)
        .await;
    match answer.map(|answer| answer.said) {
        Ok(Said::Found(tenants)) => tenants,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, external_id = name, "a tombstone could not be looked at");
            Vec::new()
        }
    }
}
