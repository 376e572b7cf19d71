//! The routes of the tenant API. What calls and answers look like on them is the dialect's.

use crate::{
    Dialect,
    answer::Refusal,
    call::{Call, Operation},
    dialect::last_operation,
    vendor::Vendor,
};
use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::{get, post, put},
};
use std::sync::Arc;

type Shared = State<Arc<Vendor>>;
/// The id out of the path, percent-decoded; what is no UTF-8 then is no id of ours.
type Id = Result<Path<String>, PathRejection>;

pub(crate) fn routes(dialect: Dialect) -> Router<Arc<Vendor>> {
    let tenants = dialect.wire().path();
    let one = format!("{tenants}/{{id}}");
    let routes = Router::new()
        .route(
            tenants,
            post(create).get(lookup).fallback(only_get_and_post),
        )
        .route(
            &one,
            get(read)
                .put(change)
                .delete(delete)
                .fallback(only_get_put_delete),
        );
    let switches = Router::new()
        .route(&format!("{one}/disable"), put(disable).fallback(only_put))
        .route(&format!("{one}/enable"), put(enable).fallback(only_put));
    let routes = match dialect {
        Dialect::Canonical | Dialect::Scenario | Dialect::Bare => routes.merge(switches),
        Dialect::ResellerTree => routes,
        Dialect::Operation => {
            let path = format!("{one}/last_operation");
            let route = get(read_operation).fallback(only_get);
            routes.merge(switches).route(&path, route)
        }
    };
    routes
        .route("/oauth2/token", post(token).fallback(only_post))
        .fallback(unknown_path)
}

async fn create(State(vendor): Shared, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(Operation::Create, call, move |desk, call| {
            wire.create(desk, call)
        })
        .await
}

async fn lookup(State(vendor): Shared, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(Operation::Lookup, call, move |desk, call| {
            wire.lookup(desk, call)
        })
        .await
}

async fn read(State(vendor): Shared, id: Id, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(Operation::Get, call, move |desk, _| {
            wire.get(desk, &known(id)?)
        })
        .await
}

async fn read_operation(State(vendor): Shared, id: Id, call: Call) -> Response {
    vendor
        .answer(Operation::Get, call, move |desk, call| {
            last_operation(desk, &known(id)?, call)
        })
        .await
}

async fn change(State(vendor): Shared, id: Id, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(wire.put(&call), call, move |desk, call| {
            wire.change(desk, &known(id)?, call)
        })
        .await
}

async fn disable(State(vendor): Shared, id: Id, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(Operation::Disable, call, move |desk, call| {
            wire.switch(desk, &known(id)?, call, false)
        })
        .await
}

async fn enable(State(vendor): Shared, id: Id, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(Operation::Enable, call, move |desk, call| {
            wire.switch(desk, &known(id)?, call, true)
        })
        .await
}

async fn delete(State(vendor): Shared, id: Id, call: Call) -> Response {
    let wire = vendor.dialect.wire();
    vendor
        .answer(Operation::Delete, call, move |desk, call| {
            wire.delete(desk, &known(id)?, call)
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
            Err(Refusal::unknown_path().into())
        })
        .await
}

async fn only_get_and_post(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "GET, POST").await
}

async fn only_get_put_delete(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "GET, PUT, DELETE").await
}

async fn only_get(State(vendor): Shared, call: Call) -> Response {
    not_allowed(vendor, call, "GET").await
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
