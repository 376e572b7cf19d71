//! `/healthz`, `/readyz` with reasons, and `/metrics`.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use fulfillment_crds::Reason;
use tokio::net::TcpListener;

use crate::{
    controller::{Readiness, Scope},
    metrics::{CONTENT_TYPE, Metrics},
    report,
};

/// What the endpoints show.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Why the operator is not ready, if so.
    pub readiness: Arc<Readiness>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The caches, for gauges.
    pub scopes: Arc<Mutex<Vec<Arc<Scope>>>>,
}

/// Serves health and metrics, on one address or two.
///
/// # Errors
///
/// Where an address cannot be bound.
pub async fn start(health: SocketAddr, metrics: SocketAddr, shown: Shown) -> std::io::Result<()> {
    let probes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz));
    let numbers = Router::new().route("/metrics", get(text));
    if health == metrics {
        serve(health, probes.merge(numbers).with_state(shown)).await
    } else {
        serve(health, probes.with_state(shown.clone())).await?;
        serve(metrics, numbers.with_state(shown)).await
    }
}

/// Listens, and says so.
///
/// # Errors
///
/// Where the address cannot be bound.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = bind(address)
        .await
        .map_err(|e| std::io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))?;
    tracing::info!(address = %listener.local_addr()?, "serving");
    Ok(listener)
}

async fn serve(address: SocketAddr, router: Router) -> std::io::Result<()> {
    let listener = listen(address).await?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "an endpoint ended");
        }
    });
    Ok(())
}

/// `[::]` takes both families; where there is no IPv6, IPv4 alone.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == Ipv6Addr::UNSPECIFIED {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    bound
}

async fn readyz(State(shown): State<Shown>) -> (StatusCode, String) {
    let missing = shown.readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".into())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for {}\n", missing.join("\nwaiting for ")),
        )
    }
}

async fn text(State(shown): State<Shown>) -> Response {
    match shown.metrics.text(|| standing(&shown)) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The (state, ready) of each Subscription, and how many are held for a person's answer.
fn standing(shown: &Shown) -> (Vec<(String, String)>, usize) {
    let scopes = shown
        .scopes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut standing = Vec::new();
    let mut held = 0;
    for object in scopes.iter().flat_map(|scope| scope.subscriptions.state()) {
        let Some(status) = object.0.as_ref().ok().and_then(|s| s.status.as_ref()) else {
            standing.push(("Unknown".to_owned(), "Unknown".to_owned()));
            continue;
        };
        let (state, ready) = report::standing(status);
        let state = state.map_or_else(|| "Unknown".to_owned(), |state| format!("{state:?}"));
        standing.push((state, ready.to_owned()));
        held += usize::from(
            status
                .conditions
                .iter()
                .any(|c| c.reason == Reason::CreateOutcomeUnknown.as_str()),
        );
    }
    (standing, held)
}
