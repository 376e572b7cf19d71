//! The routes of the tenant API.

use crate::{
    answer::Refusal,
    call::{Call, Operation},
    vendor::Vendor,
};
use axum::{
    Router,
    extract::{Path, Query, State, rejection::PathRejection},
    response::Response,
    routing::{get, post, put},
};
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

type Shared = State<Arc<Vendor>>;
/// The id out of the path, percent-decoded; what is no UTF-8 then is no id of ours.
type Id = Result<Path<String>, PathRejection>;

pub(crate) fn routes() -> Router<Arc<Vendor>> {
    Router::new()
        .route(
            "/tenant",
            post(create).get(lookup).fallback(only_get_and_post),
        )
        .route(
            "/tenant/{id}",
            get(read)
                .put(change)
                .delete(delete)
                .fallback(only_get_put_delete),
        )
        .route("/tenant/{id}/disable", put(disable).fallback(only_put))
        .route("/tenant/{id}/enable", put(enable).fallback(only_put))
        .route("/oauth2/token", post(token).fallback(only_post))
        .fallback(unknown_path)
}

async fn create(State(vendor): Shared, call: Call) -> Response {
    vendor
        .answer(Operation::Create, call, |desk, call| desk.create(call))
        .await
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lookup {
    external_id: Option<String>,
}

async fn lookup(State(vendor): Shared, call: Call) -> Response {
    vendor
        .answer(Operation::Lookup, call, |desk, call| {
            let query = Query::<Lookup>::try_from_uri(&call.uri).map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", error.body_text())
            })?;
            desk.lookup(query.0.external_id.as_deref())
        })
        .await
}

async fn read(State(vendor): Shared, id: Id, call: Call) -> Response {
    vendor
        .answer(Operation::Get, call, move |desk, _| desk.get(&known(id)?))
        .await
}

async fn change(State(vendor): Shared, id: Id, call: Call) -> Response {
    vendor
        .answer(Operation::Change, call, move |desk, call| {
            desk.change(&known(id)?, call)
        })
        .await
}

async fn disable(State(vendor): Shared, id: Id, call: Call) -> Response {
    vendor
        .answer(Operation::Disable, call, move |desk, _| {
            desk.disable(&known(id)?)
        })
        .await
}

async fn enable(State(vendor): Shared, id: Id, call: Call) -> Response {
    vendor
        .answer(Operation::Enable, call, move |desk, _| {
            desk.enable(&known(id)?)
        })
        .await
}

async fn delete(State(vendor): Shared, id: Id, call: Call) -> Response {
    vendor
        .answer(Operation::Delete, call, move |desk, _| {
            desk.delete(&known(id)?)
        })
        .await
}

async fn token(State(vendor): Shared, call: Call) -> Response {
    let issuer = Arc::clone(&vendor);
    vendor
        .answer(Operation::Token, call, move |desk, call| {
            issuer.issue(call, desk.behavior.token_lifetime.0)
        })
        .await
}

async fn unknown_path(State(vendor): Shared, call: Call) -> Response {
    vendor
        .answer(Operation::Other, call, |_, _| {
            let message = "the tenant API has no such path";
            Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_path", message).into())
        })
        .await
}

async fn only_get_and_post(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "GET, POST").await
}

async fn only_get_put_delete(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "GET, PUT, DELETE").await
}

async fn only_put(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "PUT").await
}

async fn only_post(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "POST").await
}

async fn not_allowed(vendor: Arc<Vendor>, call: Call, allowed: &'static str) -> Response {
    let refusal = Refusal::method_not_allowed(allowed);
    vendor
        .answer(Operation::Other, call, |_, _| Err(refusal.into()))
        .await
}

fn known(id: Id) -> Result<String, Refusal> {
    id.map(|Path(id)| id)
        .map_err(|_not_utf8| Refusal::not_found())
}
