//! Leader election over a Lease, as client-go does it: one replica acts, the others keep their
//! caches warm and stand by.
//!
//! A lease saves work; it never carries safety. It cannot stop a request that is on its way, so the
//! promise that there is never a second tenant rests on the compare-and-swap writes and the
//! deadlines, and holds with two replicas acting. Why this is our own: docs/adr/0007.

mod api;
mod candidate;
mod fence;
#[cfg(test)]
mod memory;
mod record;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kube::{Client, Config};
use tokio::{sync::watch, task::JoinHandle};

use crate::{controller::Readiness, metrics::Metrics};

use candidate::Candidate;
pub use fence::Fence;

/// The Lease in the operator's namespace; the chart's Role names it too.
pub const NAME: &str = "fulfillment-operator";

/// How far apart retries of several candidates may come, as in client-go.
const JITTER: f64 = 1.2;

/// The three times of the election, as in client-go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a lease that nobody renews still counts.
    pub lease: Duration,
    /// How long after its last renewal a leader may act.
    pub renew: Duration,
    /// How long between two tries.
    pub retry: Duration,
}

impl Timings {
    /// The timings, where their relation leaves a leader time to renew and to give up.
    ///
    /// # Errors
    ///
    /// Which flags do not fit together.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, String> {
        if retry.is_zero() {
            return Err("--leader-election-retry-period must be above 0".into());
        }
        if lease <= renew {
            return Err(format!(
                "--leader-election-lease-duration ({lease:?}) must be longer than --leader-election-renew-deadline ({renew:?}): a leader has to give up before another takes over"
            ));
        }
        if renew <= retry.mul_f64(JITTER) {
            return Err(format!(
                "--leader-election-renew-deadline ({renew:?}) must be longer than {JITTER} times --leader-election-retry-period ({retry:?}): a leader has to have the time to renew"
            ));
        }
        if i32::try_from(lease.as_secs() + 1).is_err() {
            return Err(format!(
                "--leader-election-lease-duration ({lease:?}) does not fit into a Lease"
            ));
        }
        Ok(Self {
            lease,
            renew,
            retry,
        })
    }
}

/// Where the election stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Another one leads, or nobody yet.
    Standby,
    /// This process leads.
    Leading,
    /// It led, and must not act any more.
    Lost(String),
}

/// Whether this process is to act: asked by all passes.
#[derive(Clone, Debug)]
pub struct Gate {
    fence: Fence,
    phase: watch::Receiver<Phase>,
}

impl Gate {
    /// What the vendor client asks right before it sends.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Whether something may be done now.
    pub fn is_open(&self) -> bool {
        self.fence.holds()
    }

    /// Waits for the turn to act; `false` where it does not come any more.
    pub async fn opened(&mut self) -> bool {
        self.phase
            .wait_for(|phase| *phase == Phase::Leading)
            .await
            .is_ok()
    }
}

/// This process's part in the election, or none where there is no election.
#[derive(Debug)]
pub struct Leadership {
    gate: Gate,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl Leadership {
    /// Without an election: this process acts.
    pub fn unelected(metrics: &Metrics) -> Self {
        metrics.leads(true);
        let (_, phase) = watch::channel(Phase::Leading);
        let fence = Fence::open();
        Self {
            gate: Gate { fence, phase },
            running: None,
        }
    }

    /// Becomes a candidate; whatever is told by the API server is told to readiness and metrics.
    ///
    /// # Errors
    ///
    /// Where there is no client, no randomness or no thread.
    pub fn start(
        mut config: Config,
        namespace: &str,
        timings: Timings,
        readiness: Arc<Readiness>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        // Connections of its own: a renewal does not wait behind a thousand purchases.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|e| e.to_string())?;
        let me = identity()?;
        let fence = Fence::closed();
        fence::watchdog(fence.clone()).map_err(|e| format!("no thread for the lease: {e}"))?;
        let (tell, phase) = watch::channel(Phase::Standby);
        let (release, released) = watch::channel(false);
        readiness.wait_for(candidate::LEASE, "not read yet");
        let candidate = Candidate {
            leases: api::InNamespace::new(client, namespace),
            me,
            timings,
            fence: fence.clone(),
            phase: tell,
            readiness,
            metrics,
        };
        let task = tokio::spawn(candidate.run(released));
        Ok(Self {
            gate: Gate { fence, phase },
            running: Some((release, task)),
        })
    }

    /// What passes ask.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Waits until the lease is lost, and says why; without an election it never is.
    pub async fn lost(&self) -> String {
        let mut phase = self.gate.phase.clone();
        let lost = phase
            .wait_for(|phase| matches!(phase, Phase::Lost(_)))
            .await
            .map(|phase| phase.clone());
        match lost {
            Ok(Phase::Lost(why)) => why,
            // The task tells before it ends; one that is gone without a word has panicked.
            Err(_) if self.running.is_some() => "the election ended".into(),
            Ok(Phase::Standby | Phase::Leading) | Err(_) => std::future::pending().await,
        }
    }

    /// Gives the lease up. Only once nothing is under way: whoever takes over acts at once.
    pub async fn release(self) {
        if let Some((release, task)) = self.running {
            let _ = release.send(true);
            if task.await.is_err() {
                tracing::warn!("the lease was not released; it runs out");
            }
        }
    }
}

/// Who we are: the pod and this very start of it. A lease in our pod's name from an earlier start is
/// another's, whose last calls may still be on their way.
fn identity() -> Result<String, String> {
    let mut boot = [0u8; 10];
    getrandom::fill(&mut boot)
        .map_err(|e| format!("no randomness for this candidate's identity: {e}"))?;
    let boot = data_encoding::BASE32_NOPAD.encode(&boot).to_lowercase();
    let name = crate::config::pod_name().unwrap_or_else(crate::config::host_name);
    Ok(format!("{name}_{boot}"))
}
