//! When to look again. Kept in memory only: losing it costs time, never safety, so nothing here is
//! written to the cluster. Also the one place that reads a clock.

mod clock;
mod rest;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fulfillment_crds::{Subscription, finalizers};
use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::facts::Intent;
pub use clock::{instant, now, random, until};
pub use rest::End;
use rest::{BACKOFF_FIRST, backoff};

/// The longest wait after failures of the API server.
const STUMBLE_MOST: Duration = Duration::from_secs(30);
/// Over how much time those come back at most that were held back together.
const HELD_APART: Duration = Duration::from_secs(30);
/// The first wait of a pass whose object has changed, and the longest.
const CONFLICT_FIRST: Duration = Duration::from_millis(20);
const CONFLICT_MOST: Duration = Duration::from_secs(5);

/// The memory of one object's pace.
#[derive(Debug, Default)]
pub struct Memory {
    /// What a back-off rests on; when it changes, the back-off is over.
    fingerprint: String,
    /// It has changed, and no pass has come to its end since.
    fresh: bool,
    failures: u32,
    /// Passes in a row that the API server failed.
    stumbles: u32,
    /// Passes in a row that found the object changed.
    conflicts: u32,
    not_before: Option<Instant>,
    next_read: Option<Instant>,
    intent: Option<(String, i64, Instant)>,
    missing_since: Option<Instant>,
    /// Its output Secret was there.
    output: bool,
    unverified_since: Option<Timestamp>,
    /// The object as this process wrote it last: newer than the cache until the watch catches up.
    written: Option<Arc<Subscription>>,
    /// The version that the watch has shown last.
    shown: u128,
    /// A pass waits until this is dropped: when that is no older than what was written.
    echo: Option<oneshot::Sender<()>>,
    /// What it wrote holds changes of others that no pass has seen.
    news: bool,
    /// This process has placed the finalizer, and no intent since: nothing was sent yet.
    unarmed: bool,
    /// The vendor's last callback that was taken into account.
    called_back: Option<String>,
    /// A callback has asked for a read that was not made yet.
    hinted: bool,
    /// A mutation's outcome was unknown; an early read sees what landed late.
    verify_at: Option<Instant>,
    /// Passes in a row that were to go on at once.
    again: u32,
    /// This process has seen it without a tenant, and not Ready since.
    new: bool,
}

impl Memory {
    /// Settling counts from the first sight of an intent.
    fn sight(&mut self, intent: Option<&Intent>, now: Instant) {
        let Some(intent) = intent else {
            return;
        };
        let known = self.intent.as_ref();
        if known.is_none_or(|(id, attempt, _)| *id != intent.id || *attempt != intent.attempt) {
            self.intent = Some((intent.id.clone(), intent.attempt, now));
        }
    }
}

/// The intervals an object is paced by.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// To find drift.
    pub drift: Duration,
    /// While a request is pending.
    pub pending: Duration,
    /// The same, where the vendor's callbacks are taken into account.
    pub poll: Duration,
    /// After which no earlier create can land.
    pub settle: Duration,
    /// After which a tenant that is missing is looked for once more, and then believed to be gone.
    pub missing: Duration,
    /// How much `drift` varies, in percent.
    pub jitter: u8,
}

/// What the clock says of one object, for the planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    /// Something has changed, or the vendor has called: whoever asks now is not held back with others.
    pub fresh: bool,
    /// The back-off still runs.
    pub backing_off: bool,
    /// A read is due.
    pub read: bool,
    /// No earlier create can still land.
    pub settled: bool,
    /// The tenant has been missing long enough to believe it.
    pub missing_confirmed: bool,
}

/// The pace of all objects, by uid.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<String, Memory>>);

impl Pace {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// The newer of the cached object and what this process wrote.
    pub fn newest(&self, cached: &Arc<Subscription>) -> Arc<Subscription> {
        let uid = cached.metadata.uid.clone().unwrap_or_default();
        let mut all = self.lock();
        let Some(memory) = all.get_mut(&uid) else {
            return Arc::clone(cached);
        };
        match &memory.written {
            Some(written) if version(written) > version(cached) => Arc::clone(written),
            Some(_) => {
                memory.written = None;
                Arc::clone(cached)
            }
            None => Arc::clone(cached),
        }
    }

    /// Whether this is exactly what this process wrote last: its echo is no news. From then on the cache's
    /// own copy is remembered in its place, so that none is kept twice.
    pub fn is_echo(&self, object: &Arc<Subscription>) -> bool {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let mut all = self.lock();
        let Some(memory) = all.get_mut(uid) else {
            return false;
        };
        let shown = version(object);
        memory.shown = shown;
        let Some(written) = &mut memory.written else {
            return false;
        };
        let known = version(written);
        if known == shown {
            written.clone_from(object);
        }
        if known <= shown {
            memory.echo = None;
        }
        !memory.news && known >= shown
    }

    /// Remembers what this process wrote; `news` says that others had changed it meanwhile, so that
    /// its echo must not be passed over.
    pub fn wrote(&self, uid: &str, object: Arc<Subscription>, news: bool) {
        let mut all = self.lock();
        let memory = all.entry(uid.to_owned()).or_default();
        memory.written = Some(object);
        memory.news = news;
    }

    /// Waits until the watch has shown what this process wrote of an object, but no longer than `most`.
    pub async fn echoed(&self, uid: &str, most: Duration) {
        let echo = {
            let mut all = self.lock();
            let Some(memory) = all.get_mut(uid) else {
                return;
            };
            let written = memory.written.as_ref();
            if written.is_none_or(|written| version(written) <= memory.shown) {
                return;
            }
            let (sender, echo) = oneshot::channel();
            memory.echo = Some(sender);
            echo
        };
        // Nothing is lost where it does not come.
        let _ = timeout(most, echo).await;
    }

    /// Says what is due, and begins to remember an object on first sight. After a restart, reads
    /// are spread over the interval instead of fired at once; `pending` says which interval.
    pub fn due(
        &self,
        uid: &str,
        fingerprint: &str,
        called_back: Option<&str>,
        intent: Option<&Intent>,
        pending: bool,
        intervals: &Intervals,
    ) -> Due {
        let now = Instant::now();
        let mut all = self.lock();
        let known = all.contains_key(uid);
        let memory = all.entry(uid.to_owned()).or_default();
        if memory.fingerprint != fingerprint {
            memory.fresh = true;
            fingerprint.clone_into(&mut memory.fingerprint);
            memory.not_before = None;
            if std::mem::take(&mut memory.failures) > 0 {
                // The read that is owed at the end of the wait is owed now.
                memory.next_read = Some(now);
            }
        }
        if !known || memory.next_read.is_none() {
            let spread = if pending {
                intervals.pending
            } else {
                intervals.drift
            };
            memory.next_read = Some(now + spread.mul_f64(random()));
        }
        if memory.called_back.as_deref() != called_back {
            memory.called_back = called_back.map(str::to_owned);
            // After a restart an old hint says nothing, unless an answer is still awaited.
            if known || pending {
                memory.next_read = Some(now);
                memory.not_before = None;
                memory.hinted = true;
                memory.fresh = true;
            }
        }
        memory.sight(intent, now);
        let past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Due {
            fresh: memory.fresh,
            backing_off: memory.not_before.is_some_and(|at| at > now),
            read: past(memory.next_read) || past(memory.verify_at),
            settled: memory
                .intent
                .as_ref()
                .is_none_or(|(_, _, since)| now.duration_since(*since) >= intervals.settle),
            missing_confirmed: memory
                .missing_since
                .is_some_and(|since| now.duration_since(since) >= intervals.missing),
        }
    }

    /// Whether a callback has asked for the read of this pass.
    pub fn is_hinted(&self, uid: &str) -> bool {
        self.lock().get(uid).is_some_and(|memory| memory.hinted)
    }

    /// Whether an output Secret that was there is gone; `true` until a read has followed.
    pub fn output_lost(&self, uid: &str, kept: bool) -> bool {
        let mut all = self.lock();
        let Some(memory) = all.get_mut(uid) else {
            return false;
        };
        memory.output |= kept;
        memory.output && !kept
    }

    /// Since when an object in sync could not be verified.
    pub fn unverified_since(&self, uid: &str, now: Timestamp) -> Timestamp {
        *self
            .lock()
            .entry(uid.to_owned())
            .or_default()
            .unverified_since
            .get_or_insert(now)
    }

    /// Whether an object is Ready for the first time: this process saw it before it had a tenant.
    pub fn is_first_ready(&self, uid: &str, new: bool, ready: bool) -> bool {
        let mut all = self.lock();
        let memory = all.entry(uid.to_owned()).or_default();
        memory.new |= new;
        ready && std::mem::take(&mut memory.new)
    }

    /// Whether this process has put the finalizer on it, though the cache may not know yet.
    pub fn has_finalizer(&self, object: &Subscription) -> bool {
        self.newer(object).is_some_and(|written| {
            let finalizers = &written.metadata.finalizers;
            finalizers.iter().flatten().any(|f| f == finalizers::TENANT)
        })
    }

    /// What this process wrote of an object, where that is newer.
    pub fn newer(&self, cached: &Subscription) -> Option<Arc<Subscription>> {
        let uid = cached.metadata.uid.as_deref().unwrap_or_default();
        self.lock()
            .get(uid)
            .and_then(|memory| memory.written.clone())
            .filter(|written| version(written) > version(cached))
    }

    /// A pass could not be carried through: how long until it is repeated.
    pub fn stumbled(&self, uid: &str, conflict: bool) -> Duration {
        let mut all = self.lock();
        // One that is gone is not remembered again.
        let mut gone = Memory::default();
        let memory = all.get_mut(uid).unwrap_or(&mut gone);
        if conflict {
            // The object as it is was read meanwhile, and the next pass will do, unless somebody writes
            // it as often as we do.
            let wait = CONFLICT_FIRST.saturating_mul(1 << memory.conflicts.min(16));
            memory.conflicts = memory.conflicts.saturating_add(1);
            return wait.min(CONFLICT_MOST).mul_f64(1.0 + random());
        }
        memory.stumbles = memory.stumbles.saturating_add(1);
        backoff(memory.stumbles).min(STUMBLE_MOST)
    }

    /// Remembers whether nothing but the finalizer was written yet for an object.
    pub fn unarmed(&self, uid: &str, unarmed: bool) {
        self.lock().entry(uid.to_owned()).or_default().unarmed = unarmed;
    }

    /// Whether nothing but the finalizer was written yet for an object, and by this process.
    pub fn is_unarmed(&self, uid: &str) -> bool {
        self.lock().get(uid).is_some_and(|memory| memory.unarmed)
    }

    /// Holds an object back with the others of its connection.
    pub fn hold(&self, uid: &str, wait: Duration) {
        // Not all at the same moment.
        let wait = wait + wait.min(HELD_APART).mul_f64(random());
        self.lock().entry(uid.to_owned()).or_default().not_before = Some(Instant::now() + wait);
    }

    /// Makes a read due at the next pass.
    pub fn read_soon(&self, uid: &str) {
        self.lock().entry(uid.to_owned()).or_default().verify_at =
            Some(Instant::now() + BACKOFF_FIRST);
    }
}

/// A resource version as a number, which Kubernetes allows to compare within one resource.
fn version(object: &Subscription) -> u128 {
    object
        .metadata
        .resource_version
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
