//! Runs the operator from its start to the end of its last pass.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Config;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    admin,
    callback::{self, Callbacks},
    config::Args,
    controller::{self, Context, Readiness, Settings},
    events::{self, Events},
    kinds::ConnectionKey,
    kubernetes::Cluster,
    lease::Leadership,
    link::Links,
    metrics::Metrics,
    queues::Queues,
    startup::{self, Missing, StartError},
    tombstones,
};

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// Exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl RunError {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// Runs until SIGTERM or SIGINT, then lets what is under way end.
///
/// # Errors
///
/// Where the operator cannot start.
pub async fn run(args: Args) -> Result<(), RunError> {
    // One TLS implementation for both clients; a second call would only say it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let election = args.election().map_err(RunError::Configuration)?;
    args.sweeps().map_err(RunError::Configuration)?;
    if args.settle < args.request_deadline {
        tracing::warn!(
            settle = ?args.settle,
            request_deadline = ?args.request_deadline,
            "--settle is shorter than --request-deadline: what is believed to land no more may be sent yet"
        );
    }
    let (stop, stopping) = watch::channel(false);
    let signals = signals(stop)
        .map_err(|e| RunError::Failed(format!("SIGTERM and SIGINT cannot be heard: {e}")))?;
    tokio::spawn(signals);

    let config = Config::infer()
        .await
        .map_err(|e| RunError::Configuration(format!("no Kubernetes configuration: {e}")))?;
    let own_namespace = config.default_namespace.clone();
    let cluster =
        Cluster::new(config.clone()).map_err(|e| RunError::Configuration(e.to_string()))?;

    let readiness = Arc::new(Readiness::default());
    readiness.wait_for(startup::WAITED_FOR, "not read yet");
    let metrics = Arc::new(Metrics::default());
    let scopes = Arc::new(Mutex::new(Vec::new()));
    let shown = admin::Shown {
        readiness: Arc::clone(&readiness),
        metrics: Arc::clone(&metrics),
        scopes: Arc::clone(&scopes),
    };
    admin::start(args.health_addr, args.metrics_addr, shown)
        .await
        .map_err(|e| RunError::Failed(e.to_string()))?;

    let watched = args.watched();
    for namespace in &watched {
        let caches = controller::caches(namespace.as_deref());
        readiness.wait_for(&caches, "not filled yet");
    }
    let (namespace, name) = args
        .installation_key_secret
        .clone()
        .unwrap_or_else(|| (own_namespace.clone(), startup::KEY_SECRET.into()));
    let missing = if args.create_installation_key {
        Missing::Make(&watched)
    } else {
        Missing::Wait(&readiness)
    };
    let mut stopped = stopping.clone();
    let key = tokio::select! {
        key = startup::installation_key(&cluster, &namespace, &name, missing) => key.map_err(|e| match e {
            StartError::Configuration(why) => RunError::Configuration(why),
            StartError::Kube(error) => RunError::Failed(error.to_string()),
        })?,
        _ = stopped.wait_for(|stop| *stop) => return Ok(()),
    };
    readiness.has(startup::WAITED_FOR);

    if args.callback_url.is_some() {
        let callbacks = Callbacks::new(
            // A vendor is answered within a second, however many passes write.
            cluster.apart(),
            key.clone(),
            Arc::clone(&scopes),
            Arc::clone(&metrics),
        );
        callback::start(args.callback_addr, callbacks)
            .await
            .map_err(|e| RunError::Failed(e.to_string()))?;
    }

    let leadership = match election {
        None => Leadership::unelected(&metrics),
        Some(timings) => {
            let (readiness, metrics) = (Arc::clone(&readiness), Arc::clone(&metrics));
            Leadership::start(config, &own_namespace, timings, readiness, metrics)
                .map_err(RunError::Failed)?
        }
    };
    let (events, event_writer) = Events::start(cluster.clone(), instance());
    let addresses = args.addresses();
    let settings = Settings {
        settle: args.settle,
        request_deadline: args.request_deadline,
        missing_grace: args.missing_grace,
        tombstone_retention: args.tombstone_retention,
        sweep: args.sweep_interval,
        cluster_resource_namespace: args
            .cluster_resource_namespace
            .unwrap_or_else(|| own_namespace.clone()),
        own_namespace,
        jitter: args.interval_jitter_percentage,
        addresses,
        callback_url: args.callback_url,
        label_selector: args.watch_label_selector,
    };
    let (changed, health) = mpsc::unbounded_channel();
    let ctx = Arc::new(Context {
        cluster,
        key,
        links: Links::new(changed),
        pace: Arc::default(),
        claims: Arc::default(),
        watched: scopes,
        events,
        metrics,
        settings,
        concurrent: Arc::new(Semaphore::new(usize::from(args.concurrent))),
        stopping: stopping.clone(),
        gate: leadership.gate(),
    });
    let mut running = JoinSet::new();
    let mut told = Vec::new();
    for namespace in watched {
        let (queues, queued) = Queues::new();
        told.push((namespace.clone(), queues.clone()));
        let (ctx, readiness) = (Arc::clone(&ctx), Arc::clone(&readiness));
        running.spawn(controller::run(ctx, namespace, readiness, queues, queued));
    }
    running.spawn(tombstones::sweep(ctx));
    tokio::spawn(forward_health(health, told));
    tracing::info!("running");

    let all_ended = tokio::select! {
        all = drained(stopping, running, event_writer, args.graceful_shutdown_timeout) => all?,
        // All tasks are dropped with the future that waited for them, and the process ends.
        why = leadership.lost() => return Err(RunError::Failed(why)),
    };
    // Last of all, as whoever takes over acts at once; where calls may still be on their way, the
    // lease runs out instead.
    if all_ended {
        leadership.release().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Tells those who watch a connection's namespace, or all, that its health has changed.
async fn forward_health(
    mut health: mpsc::UnboundedReceiver<ConnectionKey>,
    told: Vec<(Option<String>, Queues)>,
) {
    while let Some(key) = health.recv().await {
        for (namespace, queues) in &told {
            if namespace.is_none() || *namespace == key.namespace {
                queues.connection(&key);
            }
        }
    }
}

/// Waits until the operator is to stop and everything under way has ended; `false` where some of it
/// did not end in time.
///
/// # Errors
///
/// Where a part of it ends before that: one that leads and does nothing would be the worst of all.
async fn drained(
    mut stopping: watch::Receiver<bool>,
    mut running: JoinSet<()>,
    event_writer: JoinHandle<()>,
    timeout: Duration,
) -> Result<bool, RunError> {
    let stops = stopping.clone();
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => {}
        _ = running.join_next() => {
            if !*stops.borrow() {
                return Err(RunError::Failed("the passes of a namespace have ended by themselves: a bug".into()));
            }
        }
    }
    tracing::info!("stopping: passes under way are ended first");
    let all_ended = tokio::time::timeout(timeout, running.join_all())
        .await
        .is_ok();
    if !all_ended {
        tracing::warn!("some passes did not end in time");
    }
    let _ = tokio::time::timeout(events::DRAIN, event_writer).await;
    Ok(all_ended)
}

/// Who we are in events.
fn instance() -> String {
    crate::config::pod_name().unwrap_or_else(|| "fulfillment-operator".into())
}

/// Waits for SIGTERM or SIGINT, and says so.
fn signals(stop: watch::Sender<bool>) -> std::io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        let _ = stop.send(true);
    })
}
