//! The admin routes under `/_vendor/`: to steer the vendor, and to see what it was asked.
//!
//! They need no authentication. A real vendor has nothing like them where its customers can reach
//! it.

use crate::{
    answer::{EffectKind, Refusal},
    behavior::merge_objects,
    call::{Operation, Record},
    decision::Decision,
    dialect::Node,
    faults::Rule,
    limit::Limit,
    store::{COUNTED, StoreError},
    tenant::{Object, Open, Tenant, TenantStatus, Terms, View},
    vendor::Vendor,
};
use axum::{
    Json, Router,
    extract::{FromRequest, Path, Query, Request, State},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, atomic::Ordering},
};

type Shared = State<Arc<Vendor>>;

pub(crate) fn routes() -> Router<Arc<Vendor>> {
    let routes = Router::new()
        .route("/readyz", get(ready))
        .route(
            "/behavior",
            get(behavior).put(replace_behavior).patch(patch_behavior),
        )
        .route(
            "/faults",
            get(list_faults).post(add_faults).delete(clear_faults),
        )
        .route("/faults/{id}", axum::routing::delete(remove_fault))
        .route("/calls", get(calls).delete(forget_calls))
        .route("/counts", get(counts))
        .route("/tokens", axum::routing::delete(revoke_tokens))
        .route("/tenants", get(tenants))
        .route(
            "/tenants/{id}",
            patch(alter_tenant).get(tenant).delete(vanish),
        )
        .route("/tenants/{id}/decide", post(decide))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "unknown_path", "no such route"));
    Router::new().nest("/_vendor", routes)
}

/// A JSON body; what is wrong with it is told as JSON too.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|error| invalid(&error.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| invalid(&error.to_string()))
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_body", message)
}

async fn ready() -> &'static str {
    "ready\n"
}

async fn behavior(State(vendor): Shared) -> Response {
    Json(vendor.behavior().as_ref()).into_response()
}

async fn replace_behavior(vendor: Shared, Body(behavior): Body<crate::Behavior>) -> Response {
    *vendor
        .behavior
        .write()
        .unwrap_or_else(PoisonError::into_inner) = Arc::new(behavior.clone());
    Json(behavior).into_response()
}

async fn patch_behavior(vendor: Shared, Body(patch): Body<Value>) -> Result<Response, Refusal> {
    let mut behavior = vendor
        .behavior
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    let patched = behavior
        .patched(&patch)
        .map_err(|error| invalid(&error.to_string()))?;
    *behavior = Arc::new(patched.clone());
    Ok(Json(patched).into_response())
}

async fn list_faults(State(vendor): Shared) -> Response {
    Json(vendor.faults.list()).into_response()
}

/// One rule or several; answers with all that were added.
async fn add_faults(State(vendor): Shared, Body(rules): Body<Value>) -> Result<Response, Refusal> {
    let rules = if rules.is_array() {
        rules
    } else {
        json!([rules])
    };
    let rules: Vec<Rule> =
        serde_json::from_value(rules).map_err(|error| invalid(&error.to_string()))?;
    let added = vendor
        .faults
        .add(rules)
        .map_err(|message| invalid(&message))?;
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

async fn clear_faults(State(vendor): Shared) -> StatusCode {
    vendor.faults.clear();
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(vendor): Shared, Path(id): Path<u64>) -> StatusCode {
    if vendor.faults.remove(id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
    method: Option<String>,
    path_prefix: Option<String>,
}

async fn calls(
    State(vendor): Shared,
    Query(wanted): Query<Wanted>,
) -> Result<Response, StoreError> {
    let Wanted {
        since,
        limit,
        method,
        path_prefix,
    } = wanted;
    let limit = limit.unwrap_or(usize::MAX);
    let is_wanted = move |call: &Record| {
        method
            .as_ref()
            .is_none_or(|method| call.method.eq_ignore_ascii_case(method))
            && path_prefix
                .as_ref()
                .is_none_or(|prefix| call.path.starts_with(prefix))
    };
    let calls = vendor
        .store
        .read(move |snapshot| snapshot.calls(since, limit, is_wanted))
        .await?;
    Ok(Json(calls).into_response())
}

async fn forget_calls(State(vendor): Shared) -> Result<StatusCode, StoreError> {
    vendor.store.write(|tables| tables.forget_calls()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_tokens(State(vendor): Shared) -> StatusCode {
    vendor.tokens.revoke();
    StatusCode::NO_CONTENT
}

/// How often each operation was called, what came of it, and what there is now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    #[serde(flatten)]
    calls: BTreeMap<String, u64>,
    effects: BTreeMap<&'static str, u64>,
    /// Calls that have come in and are not answered.
    in_flight: u64,
    /// Tenants of any status.
    tenants: usize,
    /// Pending, active and suspended ones.
    live: usize,
    /// Live ones whose external id another live one has too.
    duplicates: usize,
}

async fn counts(State(vendor): Shared) -> Result<Response, StoreError> {
    let in_flight = vendor.in_flight.load(Ordering::Relaxed);
    let counts = vendor.store.read(move |snapshot| {
        let mut calls = BTreeMap::new();
        for operation in Operation::ALL {
            let name = operation.to_string();
            let count = snapshot.counter(&format!("{COUNTED}{name}"))?;
            calls.insert(name, count);
        }
        let mut effects = BTreeMap::new();
        for (_, name) in EffectKind::COUNTED {
            effects.insert(name, snapshot.counter(&format!("{COUNTED}{name}"))?);
        }
        let tenants = snapshot.tenants(Timestamp::now())?;
        let live = || tenants.iter().filter(|tenant| tenant.status.is_live());
        let mut sharing: HashMap<&str, usize> = HashMap::new();
        for external_id in live().filter_map(|tenant| tenant.external_id.as_deref()) {
            *sharing.entry(external_id).or_default() += 1;
        }
        let duplicates = sharing.into_values().filter(|tenants| *tenants > 1).sum();
        let live = live().count();
        Ok(Counts {
            calls,
            effects,
            in_flight,
            tenants: tenants.len(),
            live,
            duplicates,
        })
    });
    Ok(Json(counts.await?).into_response())
}

/// A tenant with what the tenant API does not show of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(flatten)]
    shown: View<'a>,
    product: Option<&'a str>,
    /// What was ordered and approved: limits, and the buyer's parameters and tiers.
    terms: &'a Terms,
    callback_url: Option<&'a str>,
    created: Timestamp,
    /// The request that is not decided, with its plan.
    open: Option<&'a Open>,
    /// Its place among resellers and customers.
    #[serde(skip_serializing_if = "Option::is_none")]
    tree: Option<&'a Node>,
}

fn whole(tenant: &Tenant) -> Whole<'_> {
    Whole {
        shown: tenant.view(true),
        product: tenant.product.as_deref(),
        terms: &tenant.terms,
        callback_url: tenant.callback_url.as_deref(),
        created: tenant.created,
        open: tenant.open.as_ref(),
        tree: tenant.tree.as_ref(),
    }
}

async fn tenants(State(vendor): Shared) -> Result<Response, StoreError> {
    let tenants = vendor
        .store
        .read(|snapshot| snapshot.tenants(Timestamp::now()))
        .await?;
    let tenants: Vec<_> = tenants.iter().map(whole).collect();
    Ok(Json(tenants).into_response())
}

async fn tenant(
    State(vendor): Shared,
    Path(id): Path<String>,
) -> Result<Result<Response, Refusal>, StoreError> {
    let tenant = vendor
        .store
        .read(move |snapshot| snapshot.tenant(&id, Timestamp::now()))
        .await?;
    Ok(tenant
        .map(|tenant| Json(whole(&tenant)).into_response())
        .ok_or_else(Refusal::not_found))
}

async fn decide(
    State(vendor): Shared,
    Path(id): Path<String>,
    Body(decision): Body<Decision>,
) -> Result<Response, StoreError> {
    edit(&vendor, id, move |tenant| {
        tenant.decide(decision).then_some(()).ok_or_else(|| {
            Refusal::new(
                StatusCode::CONFLICT,
                "nothing_pending",
                "no request is pending",
            )
        })
    })
    .await
}

/// What can be changed behind the callers' backs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Alteration {
    status: Option<TenantStatus>,
    /// `null` removes a limit.
    limits: Option<Object>,
    /// The vendor's parameters, as they are answered; `null` removes one.
    parameters: Option<Object>,
}

async fn alter_tenant(
    State(vendor): Shared,
    Path(id): Path<String>,
    Body(alteration): Body<Alteration>,
) -> Result<Response, StoreError> {
    edit(&vendor, id, move |tenant| {
        for (name, value) in alteration.limits.unwrap_or_default() {
            if value.is_null() {
                tenant.terms.limits.remove(&name);
                continue;
            }
            let limit =
                Limit::parse(&value).ok_or_else(|| invalid(&format!("limits.{name}: no limit")))?;
            tenant.terms.limits.insert(name, limit);
        }
        merge_objects(
            &mut tenant.outputs,
            &alteration.parameters.unwrap_or_default(),
        );
        tenant.status = alteration.status.unwrap_or(tenant.status);
        // Whoever read it before does not know it as it is now.
        if let Some(node) = &mut tenant.tree {
            node.version += 1;
        }
        Ok(())
    })
    .await
}

/// The tenant is gone as if it had never been.
async fn vanish(
    State(vendor): Shared,
    Path(id): Path<String>,
) -> Result<Result<StatusCode, Refusal>, StoreError> {
    let gone = vendor
        .store
        .write(move |tables| match tables.tenant(&id, Timestamp::now())? {
            Some(tenant) => tables.forget(&tenant).map(|()| Ok(StatusCode::NO_CONTENT)),
            None => Ok(Err(Refusal::not_found())),
        });
    gone.await
}

/// Changes a tenant, unless it is refused, and answers with all that is stored of it.
pub(crate) async fn edit(
    vendor: &Vendor,
    id: String,
    change: impl FnOnce(&mut Tenant) -> Result<(), Refusal> + Send + 'static,
) -> Result<Response, StoreError> {
    let edited = vendor.store.write(move |tables| {
        let Some(mut tenant) = tables.tenant(&id, Timestamp::now())? else {
            return Ok(Err(Refusal::not_found()));
        };
        if let Err(refusal) = change(&mut tenant) {
            return Ok(Err(refusal));
        }
        tables.keep(&tenant)?;
        Ok(Ok(tenant))
    });
    Ok(match edited.await? {
        Ok(tenant) => Json(whole(&tenant)).into_response(),
        Err(refusal) => refusal.into_response(),
    })
}
