//! When to look again. Kept in memory only: losing it costs time, never safety, so nothing here is
//! written to the cluster. Also the one place that reads a clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fulfillment_crds::{Subscription, finalizers};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::{facts::Intent, plan::Rest};

/// The first wait after a failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// The longest wait after failures of the API server.
const STUMBLE_MOST: Duration = Duration::from_secs(30);
/// How long a tenant must be missing before it is believed.
const MISSING_GRACE: Duration = Duration::from_secs(2);
/// How often something is looked at again that only an event can change.
const IDLE: Duration = Duration::from_secs(600);
/// How often a missing dependency is looked at again, should its event be lost.
const DEPENDENCY: Duration = Duration::from_secs(60);

/// The wall clock, as precise as it is.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn instant() -> Timestamp {
    Timestamp::now()
}

/// The wall clock, to whole seconds as Kubernetes writes times.
pub fn now() -> Timestamp {
    let now = instant();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// How long from one moment to another.
pub fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// A number from 0 up to 1 that nobody can guess or needs to repeat.
pub fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// The memory of one object's pace.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What a back-off rests on; when it changes, the back-off is over.
    fingerprint: String,
    failures: u32,
    /// Passes in a row that the API server failed.
    stumbles: u32,
    not_before: Option<Instant>,
    next_read: Option<Instant>,
    intent: Option<(String, i64, Instant)>,
    missing_since: Option<Instant>,
    /// Its output Secret was there.
    output: bool,
    unverified_since: Option<Timestamp>,
    /// The object as this process wrote it last: newer than the cache until the watch catches up.
    written: Option<Arc<Subscription>>,
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
    /// This process has seen it without a tenant, and not Ready since.
    new: bool,
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
    /// How much `drift` varies, in percent.
    pub jitter: u8,
}

/// What the clock says of one object, for the planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
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

    /// Whether this is exactly what this process wrote last: its echo is no news.
    pub fn is_echo(&self, object: &Subscription) -> bool {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        self.lock().get(uid).is_some_and(|memory| {
            let written = memory.written.as_ref();
            !memory.news && written.is_some_and(|written| version(written) >= version(object))
        })
    }

    /// Remembers what this process wrote; `news` says that others had changed it meanwhile, so that
    /// its echo must not be passed over.
    pub fn wrote(&self, uid: &str, object: Arc<Subscription>, news: bool) {
        let mut all = self.lock();
        let memory = all.entry(uid.to_owned()).or_default();
        memory.written = Some(object);
        memory.news = news;
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
            fingerprint.clone_into(&mut memory.fingerprint);
            memory.failures = 0;
            memory.not_before = None;
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
                memory.hinted = true;
            }
        }
        if let Some(intent) = intent {
            let seen = memory
                .intent
                .as_ref()
                .is_some_and(|(id, attempt, _)| *id == intent.id && *attempt == intent.attempt);
            if !seen {
                memory.intent = Some((intent.id.clone(), intent.attempt, now));
            }
        }
        let past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Due {
            backing_off: memory.not_before.is_some_and(|at| at > now),
            read: past(memory.next_read) || past(memory.verify_at),
            settled: memory
                .intent
                .as_ref()
                .is_none_or(|(_, _, since)| now.duration_since(*since) >= intervals.settle),
            missing_confirmed: memory
                .missing_since
                .is_some_and(|since| now.duration_since(since) >= MISSING_GRACE),
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
        if conflict {
            return Duration::from_millis(20).mul_f64(1.0 + random());
        }
        let mut all = self.lock();
        let memory = all.entry(uid.to_owned()).or_default();
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

    /// Makes a read due at the next pass.
    pub fn read_soon(&self, uid: &str) {
        self.lock().entry(uid.to_owned()).or_default().verify_at =
            Some(Instant::now() + BACKOFF_FIRST);
    }

    /// Ends a pass: how long to wait before the next one.
    pub fn rested(&self, uid: &str, end: &End, intervals: &Intervals) -> Duration {
        let now = Instant::now();
        let mut all = self.lock();
        let memory = all.entry(uid.to_owned()).or_default();
        memory.stumbles = 0;
        memory.output &= !end.read;
        memory.hinted &= !end.read;
        if end.read && memory.verify_at.is_some_and(|at| at <= now) {
            memory.verify_at = None;
        }
        if end.unknown_effect {
            memory.verify_at = Some(now + intervals.settle);
        }
        if end.twins {
            memory.verify_at = Some(now);
        }
        if end.rest != Rest::Unverified {
            memory.unverified_since = None;
        }
        // Where nothing new may be created, a tenant that was found missing stays so.
        if end.rest != Rest::VerifyMissing && end.rest != Rest::Trouble {
            memory.missing_since = None;
        }
        let drift_read = || {
            let jitter = f64::from(intervals.jitter) / 100.0;
            intervals
                .drift
                .mul_f64(1.0 + jitter * (2.0 * random() - 1.0))
        };
        let until = |at: Option<Instant>| at.map_or(IDLE, |at| at.saturating_duration_since(now));
        // What became due while the pass ran was not seen by it: that is for a pass at once. What it
        // saw and left alone waits for something else.
        let fresh = !end.read_due || end.twins;
        let verify = memory.verify_at.filter(|at| *at > now || fresh);
        let read_passed =
            end.read || end.called || memory.next_read.is_none_or(|at| at <= now && end.read_due);
        let wait = match end.rest {
            Rest::InSync | Rest::Invalid | Rest::Failed | Rest::Held | Rest::Missing => {
                memory.failures = 0;
                memory.not_before = None;
                if read_passed {
                    memory.next_read = Some(now + drift_read());
                }
                let at = verify.into_iter().chain(memory.next_read).min();
                if end.rest == Rest::Invalid {
                    // A value that has to be unique may be free again.
                    until(at).min(intervals.pending)
                } else {
                    until(at)
                }
            }
            Rest::Pending | Rest::Inquiring | Rest::Overdue => {
                memory.failures = 0;
                memory.not_before = None;
                if read_passed {
                    let poll = if end.rest == Rest::Overdue {
                        BACKOFF_MOST
                    } else {
                        intervals.poll
                    };
                    memory.next_read = Some(now + end.retry_after.unwrap_or(poll));
                }
                until(verify.into_iter().chain(memory.next_read).min())
            }
            Rest::Terminating if end.failed.is_none() => {
                if read_passed {
                    memory.failures = 0;
                    // Who waits for a time of its own has nothing to hear from the vendor.
                    let poll = if end.wake.is_some() {
                        intervals.drift
                    } else {
                        intervals.pending
                    };
                    memory.next_read = Some(now + end.retry_after.unwrap_or(poll));
                }
                let settled = memory
                    .intent
                    .as_ref()
                    .filter(|_| !end.settled)
                    .map(|(_, _, since)| *since + intervals.settle);
                let wake = end.wake.map(|wait| now + wait);
                let times = [settled, verify, memory.next_read, wake];
                until(times.into_iter().flatten().min())
            }
            Rest::Retry | Rest::Drifted | Rest::Unverified | Rest::Terminating => {
                let wait = backoff(memory.failures).max(end.retry_after.unwrap_or_default());
                let slowly = end.failed == Some(crate::vendor::Class::Auth);
                let wait = if slowly {
                    BACKOFF_MOST.mul_f64(0.5 + 0.5 * random())
                } else {
                    wait
                };
                memory.failures = memory.failures.saturating_add(1);
                memory.not_before = Some(now + wait);
                // What failed may have been a read, or may be answered by one.
                let at = now + wait;
                memory.next_read = Some(memory.next_read.map_or(at, |next| next.min(at)));
                wait
            }
            Rest::Settling => {
                let since = memory.intent.as_ref().map(|(_, _, since)| *since);
                until(since.map(|since| since + intervals.settle)).max(BACKOFF_FIRST / 10)
            }
            Rest::VerifyMissing => {
                memory.missing_since.get_or_insert(now);
                memory.next_read = Some(now + MISSING_GRACE);
                MISSING_GRACE
            }
            Rest::Again => Duration::ZERO,
            Rest::Unchanged => until(memory.not_before),
            Rest::Trouble => {
                if end.read {
                    // What was read led here and is recorded nowhere: without another read the next
                    // pass would take a tenant that is gone for one that is as declared.
                    memory.next_read = Some(now);
                }
                DEPENDENCY
            }
            Rest::Paused | Rest::Gone => IDLE,
        };
        // A timer that fires a little early would find nothing due and wait once more.
        if wait.is_zero() {
            wait
        } else {
            wait + Duration::from_millis(5)
        }
    }
}

/// How a pass ended, as far as the next one's time depends on it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How it ended.
    pub rest: Rest,
    /// Its clock said that no earlier create can still land.
    pub settled: bool,
    /// Its clock said that a read is due.
    pub read_due: bool,
    /// The vendor was read.
    pub read: bool,
    /// The vendor was called at all.
    pub called: bool,
    /// The class of the call that failed.
    pub failed: Option<crate::vendor::Class>,
    /// A mutation may have had an effect.
    pub unknown_effect: bool,
    /// When the vendor wants to be asked again.
    pub retry_after: Option<Duration>,
    /// When a wait of its own is over.
    pub wake: Option<Duration>,
    /// There were more tenants than one.
    pub twins: bool,
}

/// Exponential with full jitter, but never shorter than half the first wait: no hot loop.
fn backoff(failures: u32) -> Duration {
    let most = BACKOFF_FIRST
        .saturating_mul(1u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX))
        .min(BACKOFF_MOST);
    most.mul_f64(random()).max(BACKOFF_FIRST / 2)
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

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVALS: Intervals = Intervals {
        drift: Duration::from_secs(600),
        pending: Duration::from_secs(30),
        poll: Duration::from_secs(30),
        settle: Duration::from_secs(220),
        jitter: 10,
    };

    fn end(rest: Rest) -> End {
        End {
            rest,
            settled: true,
            read_due: false,
            read: false,
            called: true,
            failed: None,
            unknown_effect: false,
            retry_after: None,
            wake: None,
            twins: false,
        }
    }

    fn intent(attempt: i64) -> Intent {
        Intent {
            id: "r".into(),
            attempt,
            external_id: "e".into(),
            body: None,
            repeated: false,
            after: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_back_off_grows_is_bounded_and_ends_when_something_changes() {
        let pace = Pace::default();
        for failures in 0..40u32 {
            pace.due("u", "a", None, None, false, &INTERVALS);
            let wait = pace.rested("u", &end(Rest::Retry), &INTERVALS);
            let most = Duration::from_secs(1 << failures.min(9)).min(BACKOFF_MOST);
            assert!(
                wait >= BACKOFF_FIRST / 2 && wait <= most + Duration::from_millis(5),
                "{failures}: {wait:?}"
            );
        }
        assert!(
            pace.due("u", "a", None, None, false, &INTERVALS)
                .backing_off
        );
        assert!(
            !pace
                .due("u", "b", None, None, false, &INTERVALS)
                .backing_off
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reads_after_a_restart_are_spread_over_the_interval() {
        let pace = Pace::default();
        let mut late = 0;
        for object in 0..200 {
            let uid = object.to_string();
            assert!(!pace.due(&uid, "a", None, None, false, &INTERVALS).read);
            let wait = pace.rested(
                &uid,
                &End {
                    called: false,
                    ..end(Rest::InSync)
                },
                &INTERVALS,
            );
            assert!(wait <= Duration::from_secs(601), "{wait:?}");
            late += usize::from(wait > Duration::from_secs(300));
        }
        assert!(
            (50..150).contains(&late),
            "{late} of 200 in the second half"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn settling_counts_from_the_first_sight_of_the_attempt() {
        let pace = Pace::default();
        let settled = |attempt| {
            pace.due("u", "a", None, Some(&intent(attempt)), false, &INTERVALS)
                .settled
        };
        assert!(!settled(1));
        tokio::time::advance(Duration::from_secs(219)).await;
        assert!(!settled(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(settled(1));
        assert!(!settled(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_is_gone_and_may_not_be_bought_again_stays_missing() {
        let pace = Pace::default();
        let read = |rest| End {
            read: true,
            ..end(rest)
        };
        let due = || pace.due("u", "a", None, None, false, &INTERVALS);
        due();
        pace.rested("u", &read(Rest::VerifyMissing), &INTERVALS);
        assert!(!due().missing_confirmed);
        tokio::time::advance(MISSING_GRACE).await;
        pace.rested("u", &read(Rest::Trouble), &INTERVALS);
        let next = due();
        assert!(next.read && next.missing_confirmed);
        // Found again, or bought.
        pace.rested("u", &read(Rest::InSync), &INTERVALS);
        let next = due();
        assert!(!next.read && !next.missing_confirmed);
        // What was not read for is not read for because of that.
        pace.rested("u", &end(Rest::Trouble), &INTERVALS);
        assert!(!due().read);
    }

    #[tokio::test(start_paused = true)]
    async fn the_vendors_word_on_when_to_ask_again_is_kept() {
        let pace = Pace::default();
        pace.due("u", "a", None, None, true, &INTERVALS);
        let asked = End {
            retry_after: Some(Duration::from_secs(7)),
            ..end(Rest::Pending)
        };
        assert_eq!(pace.rested("u", &asked, &INTERVALS).as_secs(), 7);
        let throttled = End {
            retry_after: Some(Duration::from_secs(90)),
            ..end(Rest::Retry)
        };
        assert!(pace.rested("u", &throttled, &INTERVALS) >= Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn what_settles_while_a_pass_runs_is_looked_at_at_once() {
        let pace = Pace::default();
        let due = || pace.due("u", "a", None, Some(&intent(1)), false, &INTERVALS);
        let terminating = |due: Due| End {
            settled: due.settled,
            read_due: due.read,
            called: false,
            ..end(Rest::Terminating)
        };
        due();
        pace.rested("u", &end(Rest::InSync), &INTERVALS);
        tokio::time::advance(INTERVALS.settle - Duration::from_millis(1)).await;
        let seen = due();
        tokio::time::advance(Duration::from_millis(2)).await;
        let wait = pace.rested("u", &terminating(seen), &INTERVALS);
        assert_eq!(wait, Duration::ZERO);
        // And once it was seen, nothing is waited for that is over.
        let wait = pace.rested("u", &terminating(due()), &INTERVALS);
        assert!(wait > BACKOFF_FIRST, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_vendor_looks_soon_where_a_record_went_astray() {
        for rest in [Rest::Pending, Rest::Terminating, Rest::InSync] {
            let pace = Pace::default();
            let due = || pace.due("u", "a", None, None, false, &INTERVALS);
            let rested = |due: Due| {
                let end = End {
                    read_due: due.read,
                    called: false,
                    ..end(rest)
                };
                pace.rested("u", &end, &INTERVALS)
            };
            // Ready until now: the next read is far away.
            due();
            pace.rested("u", &end(Rest::InSync), &INTERVALS);
            pace.read_soon("u");
            let wait = rested(due());
            assert!(wait < 2 * BACKOFF_FIRST, "{rest:?}: {wait:?}");
            // Due while a pass runs that did not know it yet.
            let seen = due();
            tokio::time::advance(wait).await;
            assert_eq!(rested(seen), Duration::ZERO, "{rest:?}");
            // A pass that knows it and may not read is not repeated at once.
            let seen = due();
            assert!(seen.read, "{rest:?}");
            let wait = rested(seen);
            assert!(wait > BACKOFF_FIRST, "{rest:?}: {wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_becomes_due_while_a_pass_runs_is_not_left_out() {
        let pace = Pace::default();
        let due = || pace.due("u", "a", None, None, true, &INTERVALS);
        due();
        let next = pace.rested("u", &end(Rest::Pending), &INTERVALS);
        tokio::time::advance(next - Duration::from_millis(10)).await;
        let idle = |due: Due| End {
            read_due: due.read,
            called: false,
            ..end(Rest::Pending)
        };
        let seen = due();
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(pace.rested("u", &idle(seen), &INTERVALS), Duration::ZERO);
        let wait = pace.rested("u", &idle(due()), &INTERVALS);
        assert!(wait > INTERVALS.poll, "{wait:?}");
    }
}
