//! Standing for election: acquire, hold, release.

use std::{future::Future, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Fence, Phase, Timings,
    api::Leases,
    record::{self, Sight, View},
};
use crate::{controller::Readiness, kubernetes::KubeError, metrics::Metrics, pace};

/// What readiness calls it.
pub(super) const LEASE: &str = "lease";

/// How long a call may take at most: a leader whose call hangs has the time for another one.
const CALL: Duration = Duration::from_secs(5);

/// One that wants to lead.
pub(super) struct Candidate<L> {
    pub(super) leases: L,
    pub(super) me: String,
    pub(super) timings: Timings,
    pub(super) fence: Fence,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) metrics: Arc<Metrics>,
}

/// A lease that is ours.
struct Held {
    lease: Lease,
    /// The moment before the request that renewed it last was sent.
    renewed: Instant,
}

/// What one that tries to acquire the lease has found out.
#[derive(Default)]
struct Trying {
    sight: Sight,
    leader: String,
    /// Whether it has been ready to act: one that takes the lease before would only keep others from it.
    fit: bool,
    /// Since when nobody takes a lease that is free.
    free: Option<Instant>,
}

/// How long one that is not ready leaves a free lease to others. Where nobody is, it acts on what it sees:
/// one namespace that cannot be listed is no reason to leave the others alone.
pub(super) const YIELD: Duration = Duration::from_secs(60);

/// What one try to acquire came to.
enum Try {
    Took(Box<Lease>),
    Wait(Duration),
}

/// How holding the lease ended.
enum End {
    Asked,
    Lost(String),
}

impl<L: Leases> Candidate<L> {
    /// Leads as soon as it can, until it is asked to give the lease up, or loses it: there is no
    /// second time, the process ends.
    pub(super) async fn run(self, mut asked: watch::Receiver<bool>) {
        let Some(held) = self.acquire(&mut asked).await else {
            return self.release().await;
        };
        let transitions = record::transitions(&held.lease);
        tracing::info!(identity = self.me, transitions, "leading");
        self.metrics.leads(true);
        let _ = self.phase.send(Phase::Leading);
        match self.hold(held, &mut asked).await {
            End::Asked => self.release().await,
            End::Lost(why) => {
                self.fence.revoke();
                self.metrics.leads(false);
                tracing::error!(identity = self.me, why, "lost the lease");
                let _ = self
                    .phase
                    .send(Phase::Lost(format!("lost the lease: {why}")));
            }
        }
    }

    /// Tries until the lease is ours, with time left to act on it; `None` when asked to stop.
    async fn acquire(&self, asked: &mut watch::Receiver<bool>) -> Option<Held> {
        let mut trying = Trying::default();
        loop {
            let began = Instant::now();
            let wait = match self.attempt(&mut trying, began).await {
                // An answer that took too long is no licence: it is renewed first.
                Ok(Try::Took(lease)) if self.fence.extend(began + self.timings.renew) => {
                    self.known(&lease);
                    self.readiness.has(LEASE);
                    return Some(Held {
                        lease: *lease,
                        renewed: began,
                    });
                }
                Ok(Try::Took(_)) => Duration::ZERO,
                Ok(Try::Wait(wait)) => wait,
                Err(error) => {
                    self.refused(&error);
                    self.pause()
                }
            };
            tokio::select! {
                biased;
                () = told(asked) => return None,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn attempt(&self, trying: &mut Trying, began: Instant) -> Result<Try, KubeError> {
        trying.fit = trying.fit || !self.readiness.waits_beside(LEASE);
        let until = began + self.timings.renew;
        let found = bounded(until, self.leases.get()).await?;
        if let Some(lease) = &found {
            self.known(lease);
        }
        let times = (began, Instant::now());
        let before = match trying
            .sight
            .look(found, &self.me, times, self.timings.lease)
        {
            View::Absent => None,
            View::Free(lease) => Some(*lease),
            View::Held { holder, left } => {
                trying.free = None;
                self.readiness.has(LEASE);
                if trying.leader != holder {
                    tracing::info!(identity = self.me, leader = holder, "standing by");
                    trying.leader = holder;
                }
                // No later than it can run out, and at times that differ from the others'.
                return Ok(Try::Wait(self.pause().min(left)));
            }
        };
        let free = *trying.free.get_or_insert(began);
        if !trying.fit && began.duration_since(free) < YIELD {
            self.readiness.has(LEASE);
            return Ok(Try::Wait(self.pause()));
        }
        let wanted = record::taken(before, &self.me, self.timings.lease, pace::instant());
        let took = if wanted.metadata.resource_version.is_some() {
            bounded(until, self.leases.replace(&wanted)).await
        } else {
            bounded(until, self.leases.create(&wanted)).await
        };
        match took {
            Ok(lease) => Ok(Try::Took(Box::new(lease))),
            Err(KubeError::Conflict | KubeError::Gone) => Ok(Try::Wait(self.pause())),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease until it is lost or given up.
    async fn hold(&self, mut held: Held, asked: &mut watch::Receiver<bool>) -> End {
        let mut next = held.renewed + self.timings.retry;
        loop {
            let deadline = held.renewed + self.timings.renew;
            tokio::select! {
                biased;
                () = told(asked) => return End::Asked,
                () = sleep_until(next.min(deadline)) => {}
            }
            let began = Instant::now();
            if began >= deadline {
                return End::Lost(format!("not renewed within {:?}", self.timings.renew));
            }
            next = began + self.timings.retry;
            match self.renew(&held.lease, deadline).await {
                Ok(Ok(lease)) => {
                    if !self.fence.extend(began + self.timings.renew) {
                        return End::Lost("its renewal took too long".into());
                    }
                    held = Held {
                        lease,
                        renewed: began,
                    };
                }
                Ok(Err(why)) => return End::Lost(why),
                Err(error) => tracing::warn!(%error, "the lease was not renewed; tried again"),
            }
        }
    }

    /// Writes the lease once more: as renewed, or why it is not ours any more.
    async fn renew(
        &self,
        lease: &Lease,
        deadline: Instant,
    ) -> Result<Result<Lease, String>, KubeError> {
        let mut lease = lease.clone();
        for _ in 0..2 {
            let wanted = record::taken(Some(lease), &self.me, self.timings.lease, pace::instant());
            match bounded(deadline, self.leases.replace(&wanted)).await {
                Ok(renewed) => return Ok(Ok(renewed)),
                // Somebody put a label on it, perhaps, or an answer of ours was lost.
                Err(KubeError::Conflict | KubeError::Gone) => {}
                Err(error) => return Err(error),
            }
            let Some(found) = bounded(deadline, self.leases.get()).await? else {
                return Ok(Err("it was deleted".into()));
            };
            self.known(&found);
            match record::holder(&found) {
                Some(holder) if holder == self.me => lease = found,
                Some(holder) => return Ok(Err(format!("{holder} holds it now"))),
                None => return Ok(Err("its holder was removed".into())),
            }
        }
        Err(KubeError::Conflict)
    }

    /// Gives up the lease where it is ours; an acquiring write may have gone through unheard.
    async fn release(&self) {
        self.fence.release();
        self.metrics.leads(false);
        let until = Instant::now() + CALL;
        let released = async {
            let Some(lease) = bounded(until, self.leases.get()).await? else {
                return Ok(false);
            };
            if record::holder(&lease) != Some(&self.me) {
                return Ok(false);
            }
            let wanted = record::released(lease, pace::instant());
            bounded(until, self.leases.replace(&wanted)).await?;
            Ok(true)
        };
        match released.await {
            Ok(true) => tracing::info!(identity = self.me, "released the lease"),
            Ok(false) => {}
            Err::<_, KubeError>(error) => {
                tracing::warn!(%error, "a lease that was held is not released; it runs out");
            }
        }
    }

    fn known(&self, lease: &Lease) {
        self.metrics.lease_transitions(record::transitions(lease));
    }

    /// An operator that may not touch the lease never leads, and says so where a rollout looks.
    fn refused(&self, error: &KubeError) {
        match error {
            KubeError::Forbidden(_) => self.readiness.wait_for(LEASE, &error.to_string()),
            KubeError::Conflict | KubeError::Gone | KubeError::Failed(_) => {}
        }
        tracing::warn!(%error, "the lease cannot be had");
    }

    /// Between two tries, at random, so that candidates do not come all at once.
    fn pause(&self) -> Duration {
        self.timings.retry.mul_f64(1.0 + 0.5 * pace::random())
    }
}

/// A call bounded by its own limit and by what remains.
async fn bounded<T>(
    until: Instant,
    call: impl Future<Output = Result<T, KubeError>>,
) -> Result<T, KubeError> {
    if Instant::now() >= until {
        return Err(KubeError::Failed("no time is left for it".into()));
    }
    match timeout_at(until.min(Instant::now() + CALL), call).await {
        Ok(result) => result,
        Err(_) => Err(KubeError::Failed("no answer in time".into())),
    }
}

/// Waits to be asked; one whose asker is gone is never asked.
async fn told(asked: &mut watch::Receiver<bool>) {
    if asked.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}
