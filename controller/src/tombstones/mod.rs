//! What is remembered of a deleted Subscription, in a ConfigMap in the operator's namespace. (client
//! required)
//!
//! Where one of its creates ever went without an answer, that create can still take effect when
//! everybody believes that nothing is left: for a day (`--tombstone-retention`) a sweep looks at the vendor again. This is the
//! net below the settle time; it mends what a vendor or a paused process did that nobody promised to
//! be possible.
//!
//! Where the vendor honours keys, it answers a key that was used with the tenant it made, dead or not:
//! for as long as it remembers them, the next Subscription of the same name begins with the next key.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use fulfillment_crds::{ConnectionKind, IdentityMode, Subscription};
use futures::FutureExt as _;
use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::PartialObjectMeta,
    runtime::reflector::ObjectRef,
};

use serde_json::json;

use crate::{
    claims,
    controller::{Context, Scope},
    facts::Facts,
    kinds::ConnectionKey,
    kubernetes::{FIELD_MANAGER, KubeError},
    link::{self, Usable},
    pace,
    vendor::{Operation, Order, Said, Tenant, VendorClient, budget::Line},
    watches,
};

/// The label of every tombstone.
const LABEL: &str = "fulfillment-operator.io/tombstone";
/// Until when it is kept.
const UNTIL: &str = "until";
/// The product.
const PRODUCT: &str = "product";
/// The kind of its connection; one that says nothing means a VendorConnection.
const KIND: &str = "connectionKind";
/// Whether the vendor remembers its keys.
const KEYED: &str = "keyed";

/// Remembers a Subscription that is about to be let go.
///
/// # Errors
///
/// Where the API server fails: then it is not let go yet.
pub async fn bury(ctx: &Context, object: &Subscription, facts: &Facts) -> Result<(), KubeError> {
    let text = |value: &str| value.to_owned();
    let retention = match facts.rules.mode {
        IdentityMode::IdempotencyKey => SignedDuration::try_from(facts.rules.retention).ok(),
        IdentityMode::ExternalId | IdentityMode::Lookup | IdentityMode::None => None,
    };
    let least = SignedDuration::try_from(ctx.settings.tombstone_retention);
    let least = least.unwrap_or(SignedDuration::MAX);
    let kept = retention.map_or(least, |retention| retention.max(least));
    let until = facts.clock.now.checked_add(kept).unwrap_or(Timestamp::MAX);
    let data = BTreeMap::from([
        (UNTIL.to_owned(), until.to_string()),
        ("namespace".into(), object.namespace().unwrap_or_default()),
        ("name".into(), object.name_any()),
        ("connection".into(), text(&object.spec.connection_ref.name)),
        (KIND.into(), text(object.spec.connection_ref.kind.as_str())),
        ("externalId".into(), text(facts.name())),
        (PRODUCT.into(), text(&object.spec.product)),
        (
            KEYED.into(),
            text(if retention.is_some() { "true" } else { "false" }),
        ),
    ]);
    let stone = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name_of(
                ctx,
                &object.namespace().unwrap_or_default(),
                &object.name_any(),
            )),
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
    match ctx.cluster.bounded(api.create(&params, &stone)).await {
        Ok(_) => Ok(()),
        // A predecessor's, or one's own of a pass that did not get any further.
        Err(KubeError::Conflict) => {
            let stone_name = stone.name_any();
            let patch = Patch::Merge(json!({"data": stone.data}));
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..PatchParams::default()
            };
            ctx.cluster
                .bounded(api.patch(&stone_name, &params, &patch))
                .await
                .map(drop)
        }
        Err(error) => Err(error),
    }
}

/// The name the last Subscription of this name had at its vendor, where its keys may still count.
///
/// # Errors
///
/// Where the API server fails.
pub async fn last_name(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, KubeError> {
    let stone = name_of(ctx, namespace, name);
    let found = ctx
        .cluster
        .config_map(&ctx.settings.own_namespace, &stone)
        .await?;
    let data = found.and_then(|stone| stone.data).unwrap_or_default();
    Ok(data
        .get("externalId")
        .filter(|name| !name.is_empty())
        .cloned())
}

/// One for each name, and nobody can tell from it which.
fn name_of(ctx: &Context, namespace: &str, name: &str) -> String {
    format!(
        "fulfillment-tombstone-{}",
        ctx.key.external_id(namespace, name)
    )
}

/// Looks at all tombstones from time to time, once it is this replica's turn and until the operator stops.
pub async fn sweep(ctx: Arc<Context>) {
    let mut gate = ctx.gate.clone();
    let sweeps = async {
        while gate.opened().await {
            let wait = ctx.settings.sweep.mul_f64(0.9 + 0.2 * pace::random());
            tokio::time::sleep(wait).await;
            // A tenant is nobody's only where everybody's Subscriptions are known.
            let ready = |scope: &Arc<Scope>| watches::ready(scope).now_or_never() == Some(true);
            if !ctx.scopes().iter().all(ready) {
                tracing::debug!("not all caches are filled yet: the tombstones wait");
            } else if let Err(error) = all(&ctx).await {
                tracing::warn!(%error, "the tombstones cannot be listed; they are looked at again");
            }
        }
    };
    // What a sweep had begun when the operator stopped, the next one finds.
    let _ = ctx.unless_stopped(sweeps).await;
}

async fn all(ctx: &Context) -> Result<(), KubeError> {
    let api = ctx.cluster.api::<ConfigMap>(&ctx.settings.own_namespace);
    let mut stones = Vec::new();
    // Listed to its end first: a list expires, and vendors may be slow.
    let keep = |mut stone: ConfigMap| {
        stone.managed_fields_mut().clear();
        stones.push(stone);
    };
    let labelled = ListParams::default().labels(LABEL);
    ctx.cluster.each(&api, labelled, keep).await?;
    for stone in &stones {
        if let Err(error) = turn(ctx, &api, stone).await {
            tracing::warn!(%error, tombstone = stone.name_any(), "it is looked at again");
        }
    }
    Ok(())
}

/// Looks at one: it is over, or what it stands for is looked for.
async fn turn(ctx: &Context, api: &Api<ConfigMap>, stone: &ConfigMap) -> Result<(), KubeError> {
    let none = BTreeMap::new();
    let data = stone.data.as_ref().unwrap_or(&none);
    let until: Option<Timestamp> = field(data, UNTIL).parse().ok();
    let old = until.is_none_or(|until| until < pace::now());
    if !old && !is_over(ctx, data).await? {
        return Ok(());
    }
    // Its name may have been buried again meanwhile.
    let as_listed = Preconditions {
        uid: stone.uid(),
        resource_version: stone.resource_version(),
    };
    let params = DeleteParams::default().preconditions(as_listed);
    match ctx
        .cluster
        .bounded(api.delete(&stone.name_any(), &params))
        .await
    {
        Ok(_) | Err(KubeError::Gone | KubeError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether nothing is left to be looked for; what is, is looked for. The cache says whom to ask about, and
/// nothing is done on its word alone, so that those who are gone for good cost no call to the API server.
async fn is_over(ctx: &Context, data: &BTreeMap<String, String>) -> Result<bool, KubeError> {
    let (namespace, name) = (field(data, "namespace"), field(data, "name"));
    let scopes = ctx.scopes();
    let Some(scope) = scopes.iter().find(|scope| scope.covers(namespace)) else {
        return Ok(false);
    };
    let seen = ObjectRef::new(name).within(namespace);
    let keyed = field(data, KEYED) == "true";
    match scope.subscriptions.get(&seen) {
        // It may be the one that is being buried and is not let go yet.
        Some(seen) if seen.meta().deletion_timestamp.is_some() => return Ok(false),
        Some(_) if !keyed => match owner(ctx, data).await? {
            Owner::There => return Ok(true),
            Owner::Going => return Ok(false),
            Owner::Gone => {}
        },
        Some(_) | None => {}
    }
    look(ctx, scope, data).await
}

/// The Subscription that has the name of a buried one.
enum Owner {
    /// Its successor: whatever is at the vendor is that one's to find.
    There,
    /// Being deleted.
    Going,
    Gone,
}

fn field<'d>(data: &'d BTreeMap<String, String>, name: &str) -> &'d str {
    data.get(name).map(String::as_str).unwrap_or_default()
}

/// The connection the Subscription named.
fn connection(data: &BTreeMap<String, String>) -> ConnectionKey {
    let cluster = field(data, KIND) == ConnectionKind::ClusterVendorConnection.as_str();
    ConnectionKey {
        namespace: (!cluster).then(|| field(data, "namespace").to_owned()),
        name: field(data, "connection").to_owned(),
    }
}

async fn owner(ctx: &Context, data: &BTreeMap<String, String>) -> Result<Owner, KubeError> {
    let (namespace, name) = (field(data, "namespace"), field(data, "name"));
    let found = ctx
        .cluster
        .get::<PartialObjectMeta<Subscription>>(namespace, name)
        .await?;
    Ok(match found {
        None => Owner::Gone,
        Some(object) if object.metadata.deletion_timestamp.is_some() => Owner::Going,
        Some(_) => Owner::There,
    })
}

/// Looks for a tenant that took effect late, and deletes it. What fails is tried at the next sweep. Whether
/// it is over: the name has a new owner.
async fn look(
    ctx: &Context,
    scope: &Scope,
    data: &BTreeMap<String, String>,
) -> Result<bool, KubeError> {
    let namespace = field(data, "namespace");
    let name = field(data, "externalId");
    let Ok(Ok(usable)) = link::usable(ctx, scope, &connection(data)).await else {
        return Ok(false);
    };
    match usable.connection.spec().identity.mode {
        IdentityMode::ExternalId | IdentityMode::Lookup => {}
        // Nothing can be asked there.
        IdentityMode::IdempotencyKey | IdentityMode::None => return Ok(false),
    }
    // A dialect may have the product in its paths.
    let order = Order {
        product: field(data, PRODUCT).to_owned(),
        external_id: name.to_owned(),
        ..Order::default()
    };
    for tenant in found(&usable, &order, name).await {
        if !tenant.is_live() {
            continue;
        }
        // Before the look at who has it: whoever is applied while this waits takes the tenant.
        let _slot = usable.budget.enter(Line::Routine).await;
        if let Some(holder) = claims::holds(ctx, &usable, &tenant.id) {
            tracing::debug!(tenant = tenant.id, holder, "found and left to who has it");
            continue;
        }
        // Asked again: what was found may be of a Subscription that was created meanwhile.
        match owner(ctx, data).await? {
            Owner::Gone => {}
            Owner::There => return Ok(field(data, KEYED) != "true"),
            Owner::Going => return Ok(false),
        }
        tracing::warn!(
            tenant = tenant.id,
            external_id = name,
            subscription = field(data, "name"),
            namespace,
            "a create took effect after its Subscription was gone: the tenant is deleted"
        );
        let (id, order) = (tenant.id.as_str(), &order);
        let delete = |client: Arc<VendorClient>| async move { client.delete(id, order).await };
        if let Err(error) = usable.call(Operation::Delete, delete).await {
            tracing::warn!(%error, tenant = tenant.id, "it could not be deleted yet");
        }
    }
    Ok(false)
}

async fn found(usable: &Usable, order: &Order, name: &str) -> Vec<Tenant> {
    let _slot = usable.budget.enter(Line::Routine).await;
    let look = |client: Arc<VendorClient>| async move { client.lookup(name, order).await };
    let answer = usable.call(Operation::Lookup, look).await;
    match answer.map(|answer| answer.said) {
        Ok(Said::Found(tenants)) => tenants,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, external_id = name, "a tombstone could not be looked at");
            Vec::new()
        }
    }
}
