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

use std::{collections::BTreeMap, sync::Arc};

use fulfillment_crds::{ConnectionKind, IdentityMode, Subscription};
use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
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
    vendor::{Order, Said, Tenant, budget::Line},
};

/// The label of every tombstone.
const LABEL: &str = "fulfillment-operator.io/tombstone";
/// Until when it is kept.
const UNTIL: &str = "until";
/// The product.
const PRODUCT: &str = "product";
/// The kind of its connection; one that says nothing means a VendorConnection.
const KIND: &str = "connectionKind";

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
            "keyed".into(),
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

/// Looks at all tombstones from time to time, until the operator stops.
pub async fn sweep(ctx: &Arc<Context>, scope: &Arc<Scope>) {
    let mut stopping = ctx.stopping.clone();
    loop {
        let wait = ctx.settings.sweep.mul_f64(0.9 + 0.2 * pace::random());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        tokio::select! {
            swept = all(ctx, scope) => if let Err(error) = swept {
                tracing::warn!(%error, "the tombstones cannot be listed; they are looked at again");
            },
            // What it had begun, the next sweep finds.
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

async fn all(ctx: &Context, scope: &Scope) -> Result<(), KubeError> {
    let api = ctx.cluster.api::<ConfigMap>(&ctx.settings.own_namespace);
    let params = ListParams::default().labels(LABEL);
    for stone in ctx.cluster.bounded(api.list(&params)).await? {
        if let Err(error) = turn(ctx, scope, &api, &stone).await {
            tracing::warn!(%error, tombstone = stone.name_any(), "it is looked at again");
        }
    }
    Ok(())
}

/// Looks at one: it is over, or what it stands for is looked for.
async fn turn(
    ctx: &Context,
    scope: &Scope,
    api: &Api<ConfigMap>,
    stone: &ConfigMap,
) -> Result<(), KubeError> {
    let data = stone.data.clone().unwrap_or_default();
    let until: Option<Timestamp> = field(&data, UNTIL).parse().ok();
    let old = until.is_none_or(|until| until < pace::now());
    let keyed = field(&data, "keyed") == "true";
    let done = old
        || match owner(ctx, &data).await? {
            // It may be the one that is being buried and is not let go yet.
            Owner::Going => return Ok(()),
            Owner::There => !keyed,
            Owner::Gone => false,
        };
    if !done {
        one(ctx, scope, &data).await;
        return Ok(());
    }
    match ctx
        .cluster
        .bounded(api.delete(&stone.name_any(), &DeleteParams::default()))
        .await
    {
        Ok(_) | Err(KubeError::Gone) => Ok(()),
        Err(error) => Err(error),
    }
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

/// Looks for a tenant that took effect late, and deletes it. What fails is tried at the next sweep.
async fn one(ctx: &Context, scope: &Scope, data: &BTreeMap<String, String>) {
    let namespace = field(data, "namespace");
    let name = field(data, "externalId");
    let Ok(Ok(usable)) = link::usable(ctx, scope, &connection(data)).await else {
        return;
    };
    match usable.connection.spec().identity.mode {
        IdentityMode::ExternalId | IdentityMode::Lookup => {}
        // Nothing can be asked there.
        IdentityMode::IdempotencyKey | IdentityMode::None => return,
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
        if let Some(holder) = claims::holds(ctx, &usable, &tenant.id) {
            tracing::debug!(tenant = tenant.id, holder, "found and left to who has it");
            continue;
        }
        // Asked again: what was found may be of a Subscription that was created meanwhile.
        if !matches!(owner(ctx, data).await, Ok(Owner::Gone)) {
            return;
        }
        tracing::warn!(
            tenant = tenant.id,
            external_id = name,
            subscription = field(data, "name"),
            namespace,
            "a create took effect after its Subscription was gone: the tenant is deleted"
        );
        let _slot = usable.budget.enter(Line::Routine).await;
        let delete = usable.client.delete(&tenant.id, &order);
        if let Err(error) = usable.link.call(delete).await {
            tracing::warn!(%error, tenant = tenant.id, "it could not be deleted yet");
        }
    }
}

async fn found(usable: &Usable, order: &Order, name: &str) -> Vec<Tenant> {
    let _slot = usable.budget.enter(Line::Routine).await;
    let look = usable.client.lookup(name, order);
    let answer = usable.link.call(look).await;
    match answer.map(|answer| answer.said) {
        Ok(Said::Found(tenants)) => tenants,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, external_id = name, "a tombstone could not be looked at");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_names_the_connection_of_its_kind() {
        let stone = |kind: Option<&str>| {
            let texts = [("namespace", "team-a"), ("connection", "acme")];
            let all = texts.into_iter().chain(kind.map(|kind| (KIND, kind)));
            connection(&all.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
        };
        let near = ConnectionKey {
            namespace: Some("team-a".into()),
            name: "acme".into(),
        };
        // Those of an older operator say nothing of the kind.
        assert_eq!(stone(None), near);
        assert_eq!(stone(Some("VendorConnection")), near);
        let far = stone(Some("ClusterVendorConnection"));
        assert_eq!(far.to_string(), "ClusterVendorConnection acme");
    }
}
