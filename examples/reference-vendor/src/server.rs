//! The server under the routes: it listens, serves HTTP or HTTPS, and stops.

use crate::{
    Callbacks, Config, StoreError, admin, api, callbacks, config::Tls, faults::HangUp, page,
    store::Store, vendor::Vendor,
};
use axum::{Router, body::Body, response::Response};
use hyper::service::{Service as _, service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// How long answers under way may take when the vendor stops.
const GRACE: Duration = Duration::from_secs(2);
/// How long a client may take for its part of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why a vendor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// It cannot open its database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot read its certificate or key.
    #[error("cannot read the certificate or the key: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// It cannot use its certificate or key.
    #[error("cannot use the certificate or the key: {0}")]
    Tls(#[from] rustls::Error),
    /// It cannot use the authorities of its clients.
    #[error("cannot use the clients' authorities: {0}")]
    Clients(#[from] rustls::server::VerifierBuilderError),
}

/// A vendor that is running. Dropping it stops it without waiting for anything.
#[derive(Debug)]
pub struct Running {
    url: String,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    stopped: JoinHandle<()>,
}

impl Running {
    /// Where it listens: `http://127.0.0.1:8080`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking calls, lets those under way end for up to two seconds, and closes the
    /// database. After that its port and its file are free.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _stopped_before = stop.send(());
        }
        if let Err(error) = self.stopped.await {
            tracing::error!(%error, "the server failed");
        }
    }
}

/// Starts a vendor. It is ready when this returns.
///
/// # Errors
///
/// If it cannot listen, or cannot use its database or certificate.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| StartError::Listen(listen, error))?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Listen(listen, error))?;
    let tls = config.tls.as_ref().map(acceptor).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    let public_url = config
        .public_url
        .as_deref()
        .unwrap_or(&url)
        .trim_end_matches('/')
        .to_owned();

    let store = Store::open(config.database.as_deref(), config.fsync)?;
    let callbacks = config.callbacks.clone();
    let vendor = Arc::new(Vendor::new(config, store, public_url));
    let (stop, stopping) = oneshot::channel();
    let stopped = tokio::spawn(serve(listener, tls, vendor, callbacks, async {
        // A sender that was dropped stops the vendor too.
        drop(stopping.await);
    }));
    Ok(Running {
        url,
        address,
        stop: Some(stop),
        stopped,
    })
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, StartError> {
    let chain = CertificateDer::pem_file_iter(&tls.certificates)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut config = match &tls.client_authorities {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_file_iter(file)? {
                roots.add(authority?)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    }
    .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    vendor: Arc<Vendor>,
    callbacks: Option<Callbacks>,
    stop: impl Future<Output = ()>,
) {
    let routes = api::routes(vendor.dialect)
        .merge(admin::routes())
        .merge(page::routes());
    let routes = routes.with_state(Arc::clone(&vendor));
    let calling_back =
        callbacks.map(|how| AbortOnDrop(tokio::spawn(callbacks::run(Arc::clone(&vendor), how))));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (tls, routes) = (tls.clone(), routes.clone());
                    connections.spawn(connection(stream, tls, routes, graceful.watcher()));
                }
                Err(error) => {
                    // Too many open files, most likely: wait until some are closed.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop((listener, routes, calling_back));
    let _ended_or_not = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    connections.shutdown().await;
    vendor.abandon_calls().await;
    let closed = tokio::task::spawn_blocking(move || vendor.store.close()).await;
    if let Err(error) = closed {
        tracing::error!(%error, "the database was not closed");
    }
}

/// A task that ends with what it belongs to.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, routes: Router, stop: Watcher) {
    // Small answers should not wait for more to send.
    drop(stream.set_nodelay(true));
    let Some(tls) = tls else {
        return speak(stream, routes, stop).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, routes, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
        Err(_) => tracing::debug!("the TLS handshake took too long"),
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    stop: Watcher,
) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|request| {
        let answer = routes.call(request);
        async { hang_up_or_answer(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = stop.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// An error makes hyper close the connection without an answer, which is what some faults want.
fn hang_up_or_answer<E>(
    answer: Result<Response, E>,
) -> Result<hyper::Response<Body>, &'static str> {
    match answer {
        Ok(answer) if answer.extensions().get::<HangUp>().is_none() => Ok(answer),
        Ok(_) => Err("a fault closes the connection"),
        Err(_) => Err("the routes failed"),
    }
}
