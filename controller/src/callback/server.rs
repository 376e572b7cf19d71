//! The listener: bounded in connections, in time and in bytes, as anybody may knock.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::Callbacks;
use crate::admin;

/// Connections at the same time.
const CONNECTIONS: usize = 256;
/// The largest body that is read, in bytes.
const BODY: usize = 64 * 1024;
/// How long the head of a request may take to arrive, and how long a request as a whole.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves callbacks.
///
/// # Errors
///
/// Where the address cannot be bound.
pub async fn start(listen: SocketAddr, callbacks: Callbacks) -> std::io::Result<()> {
    let listener = admin::listen(listen).await?;
    let router = Router::new()
        .route("/callbacks/{namespace}/{name}/{token}", post(take))
        .with_state(Arc::new(callbacks));
    tokio::spawn(accept(listener, router));
    Ok(())
}

async fn accept(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a callback could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE);
            // What a stranger does wrong is no news.
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(slot);
        });
    }
}

async fn take(
    State(callbacks): State<Arc<Callbacks>>,
    Path((namespace, name, token)): Path<(String, String, String)>,
    request: Request<Body>,
) -> super::Verdict {
    let Some((scope, object)) = callbacks.addressee(&namespace, &name, &token) else {
        return callbacks.refuse(StatusCode::NOT_FOUND, "there is no such callback\n");
    };
    let (head, body) = request.into_parts();
    let read = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, BODY)).await;
    let Ok(Ok(body)) = read else {
        return callbacks.refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "a callback has 64 KiB at most, within five seconds\n",
        );
    };
    callbacks.hear(&scope, &object, &head.headers, &body).await
}
