//! The listener: bounded in connections, in time and in bytes, as anybody may knock. Who only knocks
//! never keeps out who has something to say.

use std::{
    collections::VecDeque,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    routing::post,
};
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{AGAIN, Callbacks, Verdict, later};
use crate::admin;

/// Connections at the same time.
const CONNECTIONS: usize = 128;
/// How long each of them has for itself; then it may have to make room.
const OWN_TIME: Duration = Duration::from_millis(50);
/// The largest head of a request, in bytes.
const HEAD: usize = 16 * 1024;
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
        .route(
            "/callbacks/{namespace}/{name}/{token}",
            post(take).fallback(nowhere),
        )
        .fallback(nowhere)
        .with_state(Arc::new(callbacks));
    tokio::spawn(accept(listener, router));
    Ok(())
}

async fn accept(listener: TcpListener, router: Router) {
    let mut open = Open::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a callback could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let routes = TowerToHyperService::new(router.clone());
        let busy = Busy::default();
        let told = busy.clone();
        let service = service_fn(move |mut request| {
            request.extensions_mut().insert(told.clone());
            routes.call(request)
        });
        let connection = async move {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(HEAD);
            // What a stranger does wrong is no news.
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        };
        open.admit(connection, busy).await;
    }
}

/// Whether a connection has a callback on it whose URL was right, and that is not answered yet.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn set(&self, busy: bool) {
        self.0.store(busy, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The connections that are open.
struct Open {
    slots: Arc<Semaphore>,
    /// Oldest first.
    all: VecDeque<Connection>,
}

struct Connection {
    since: Instant,
    busy: Busy,
    task: AbortHandle,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(CONNECTIONS)),
            all: VecDeque::new(),
        }
    }
}

impl Open {
    /// Serves one more, when there is a place for it.
    async fn admit(&mut self, connection: impl Future<Output = ()> + Send + 'static, busy: Busy) {
        let slot = self.place().await;
        self.all.retain(|one| !one.task.is_finished());
        let task = tokio::spawn(async move {
            connection.await;
            drop(slot);
        });
        self.all.push_back(Connection {
            since: Instant::now(),
            busy,
            task: task.abort_handle(),
        });
    }

    /// Waits for a place. The oldest connection that is not busy makes room: otherwise as many as
    /// there are places, held open and silent, would keep everybody out.
    async fn place(&mut self) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            let free = Arc::clone(&self.slots).acquire_owned();
            let idle = self.all.iter().position(|one| !one.busy.is_set());
            let since = idle.map_or_else(Instant::now, |idle| self.all[idle].since);
            if let Ok(slot) = timeout_at(since + OWN_TIME, free).await {
                return slot;
            }
            let idle = idle.filter(|idle| !self.all[*idle].busy.is_set());
            if let Some(oldest) = idle.and_then(|idle| self.all.remove(idle)) {
                oldest.task.abort();
                return Arc::clone(&self.slots).acquire_owned().await;
            }
        }
    }
}

async fn take(
    State(callbacks): State<Arc<Callbacks>>,
    Extension(busy): Extension<Busy>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request<Body>,
) -> Verdict {
    let addressee = path
        .ok()
        .and_then(|Path((namespace, name, token))| callbacks.addressee(&namespace, &name, &token));
    let Some((scope, object)) = addressee else {
        return callbacks.nobody();
    };
    let (head, body) = request.into_parts();
    let body = match timeout(PATIENCE, axum::body::to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let why = "a callback has 64 KiB at most\n";
            return callbacks.refuse(StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        Err(_) => {
            let why = "a callback has to arrive within five seconds\n";
            return callbacks.refuse(StatusCode::REQUEST_TIMEOUT, why);
        }
    };
    busy.set(true);
    // What has arrived counts, even where its connection ends meanwhile.
    let heard =
        tokio::spawn(async move { callbacks.hear(&scope, &object, &head.headers, &body).await });
    let verdict = heard.await.unwrap_or_else(|_| later(AGAIN));
    busy.set(false);
    verdict
}

/// Another path, or another method.
async fn nowhere(State(callbacks): State<Arc<Callbacks>>) -> Verdict {
    callbacks.nobody()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_makes_room() {
        let mut open = Open::default();
        let forever = std::future::pending::<()>;
        let started = Instant::now();
        let working = Busy::default();
        working.set(true);
        open.admit(forever(), working).await;
        for _ in 1..CONNECTIONS {
            open.admit(forever(), Busy::default()).await;
        }
        assert_eq!(
            started.elapsed(),
            Duration::ZERO,
            "there is a place for each"
        );

        let (busy, oldest) = (open.all[0].task.clone(), open.all[1].task.clone());
        let second = open.all[2].task.clone();
        open.admit(forever(), Busy::default()).await;
        assert!(started.elapsed() >= OWN_TIME, "it had no time for itself");
        assert!(oldest.is_finished() && !busy.is_finished() && !second.is_finished());
        assert_eq!(open.all.len(), CONNECTIONS);

        // What ends by itself makes room, too.
        second.abort();
        tokio::task::yield_now().await;
        let third = open.all[2].task.clone();
        open.admit(forever(), Busy::default()).await;
        assert!(!third.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_busy_the_first_that_is_done_makes_room() {
        let mut open = Open::default();
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            let busy = Busy::default();
            busy.set(true);
            all.push(busy.clone());
            open.admit(std::future::pending(), busy).await;
        }
        let last = open.all[CONNECTIONS - 1].task.clone();
        let done = all.pop().unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            done.set(false);
        });
        open.admit(std::future::pending(), Busy::default()).await;
        assert!(last.is_finished());
        assert_eq!(open.all.len(), CONNECTIONS);
    }
}
