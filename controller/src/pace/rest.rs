//! How long to wait after a pass.

use std::time::Duration;

use tokio::time::Instant;

use super::{Intervals, Memory, Pace, random};
use crate::{facts::Intent, plan::Rest, vendor::Class};

/// The first wait after a failure.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait after failures.
pub(super) const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// The first waits of a pass that goes on where the last one stopped are none: so many steps of a request
/// follow each other. More are a vendor's that leads in circles.
const AGAIN_AT_ONCE: u32 = 8;
/// How often something is looked at again that only an event can change.
const IDLE: Duration = Duration::from_secs(600);
/// How often a missing dependency is looked at again, should its event be lost.
const DEPENDENCY: Duration = Duration::from_secs(60);

/// How a pass ended, as far as the next one's time depends on it.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// How it ended.
    pub rest: Rest,
    /// The intent that settling counts from, as it stands now.
    pub intent: Option<&'a Intent>,
    /// Its clock said that no earlier create can still land.
    pub settled: bool,
    /// Its clock said that a read is due.
    pub read_due: bool,
    /// The vendor was read.
    pub read: bool,
    /// The vendor was called at all.
    pub called: bool,
    /// The class of the call that failed.
    pub failed: Option<Class>,
    /// A mutation may have had an effect.
    pub unknown_effect: bool,
    /// When the vendor wants to be asked again.
    pub retry_after: Option<Duration>,
    /// When a wait of its own is over.
    pub wake: Option<Duration>,
    /// There were more tenants than one.
    pub twins: bool,
}

impl Pace {
    /// Ends a pass: how long to wait before the next one.
    pub fn rested(&self, uid: &str, end: &End<'_>, intervals: &Intervals) -> Duration {
        let now = Instant::now();
        let mut all = self.lock();
        if end.rest == Rest::Gone {
            // Whether its deletion has been heard of already or not: nothing comes after it.
            all.remove(uid);
            return IDLE;
        }
        let memory = all.entry(uid.to_owned()).or_default();
        memory.learn(end, intervals, now);
        let wait = memory.wait(end, intervals, now);
        // A timer that fires a little early would find nothing due and wait once more.
        if wait.is_zero() {
            wait
        } else {
            wait + Duration::from_millis(5)
        }
    }
}

/// The times that a wait may end at.
struct Times {
    now: Instant,
    /// The early read after a mutation of unknown outcome.
    verify: Option<Instant>,
    /// When no earlier create can land any more.
    settles: Option<Instant>,
    /// The read that was due is behind us: the next one is counted from here.
    read_passed: bool,
}

impl Times {
    fn of(memory: &Memory, end: &End<'_>, intervals: &Intervals, now: Instant) -> Self {
        // What became due while the pass ran was not seen by it: that is for a pass at once. What it
        // saw and left alone waits for something else.
        let fresh = !end.read_due;
        Self {
            now,
            verify: memory.verify_at.filter(|at| *at > now || fresh),
            // An intent of this very pass its clock did not know.
            settles: memory
                .settles_at(intervals)
                .filter(|at| *at > now || !end.settled),
            read_passed: end.read
                || end.called
                || memory.next_read.is_none_or(|at| at <= now && end.read_due),
        }
    }

    fn until(&self, at: impl IntoIterator<Item = Instant>) -> Duration {
        let first = at.into_iter().min();
        first.map_or(IDLE, |at| at.saturating_duration_since(self.now))
    }
}

impl Memory {
    /// What the pass has found out.
    fn learn(&mut self, end: &End<'_>, intervals: &Intervals, now: Instant) {
        self.sight(end.intent, now);
        self.fresh = false;
        self.stumbles = 0;
        self.conflicts = 0;
        self.output &= !end.read;
        self.hinted &= !end.read;
        if end.read && self.verify_at.is_some_and(|at| at <= now) {
            self.verify_at = None;
        }
        if end.unknown_effect {
            self.verify_at = Some(now + intervals.settle);
        }
        if end.twins {
            // One that was deleted may be shown a while longer.
            self.verify_at = Some(now + BACKOFF_FIRST);
        }
        self.again = if end.rest == Rest::Again {
            self.again.saturating_add(1)
        } else {
            0
        };
        if end.rest != Rest::Unverified {
            self.unverified_since = None;
        }
        // Where nothing new may be created, a tenant that was found missing stays so.
        if end.rest != Rest::VerifyMissing && end.rest != Rest::Trouble {
            self.missing_since = None;
        }
    }

    fn settles_at(&self, intervals: &Intervals) -> Option<Instant> {
        let since = self.intent.as_ref().map(|(_, _, since)| *since);
        since.map(|since| since + intervals.settle)
    }

    fn wait(&mut self, end: &End<'_>, intervals: &Intervals, now: Instant) -> Duration {
        let times = Times::of(self, end, intervals, now);
        match end.rest {
            Rest::InSync | Rest::Invalid | Rest::Failed | Rest::Held | Rest::Missing => {
                self.calm(end.rest, intervals, &times)
            }
            Rest::Pending | Rest::Inquiring | Rest::Overdue => {
                self.awaiting(end, intervals, &times)
            }
            Rest::Terminating if end.failed.is_none() => self.terminating(end, intervals, &times),
            Rest::Retry | Rest::Drifted | Rest::Unverified | Rest::Terminating => {
                self.failing(end, now)
            }
            Rest::Settling => times
                .until(self.settles_at(intervals))
                .max(BACKOFF_FIRST / 10),
            Rest::VerifyMissing => {
                self.missing_since.get_or_insert(now);
                self.next_read = Some(now + intervals.missing);
                intervals.missing
            }
            Rest::Again => match self.again.checked_sub(AGAIN_AT_ONCE) {
                None => Duration::ZERO,
                Some(more) => backoff(more),
            },
            Rest::Unchanged => times.until(self.not_before),
            Rest::Trouble => {
                if end.read {
                    // What was read led here and is recorded nowhere: without another read the next
                    // pass would take a tenant that is gone for one that is as declared.
                    self.next_read = Some(now);
                }
                DEPENDENCY
            }
            Rest::Paused | Rest::Gone => IDLE,
        }
    }

    /// Nothing is left to do but to look for drift.
    fn calm(&mut self, rest: Rest, intervals: &Intervals, times: &Times) -> Duration {
        self.failures = 0;
        self.not_before = None;
        if times.read_passed {
            let jitter = f64::from(intervals.jitter) / 100.0;
            let varied = 1.0 + jitter * (2.0 * random() - 1.0);
            self.next_read = Some(times.now + intervals.drift.mul_f64(varied));
        }
        // When it settles, a person is asked.
        let asks = times.settles.filter(|_| rest == Rest::Held);
        let wait = times.until([times.verify, self.next_read, asks].into_iter().flatten());
        if rest == Rest::Invalid {
            // A value that has to be unique may be free again.
            wait.min(intervals.pending)
        } else {
            wait
        }
    }

    /// The vendor has not decided.
    fn awaiting(&mut self, end: &End<'_>, intervals: &Intervals, times: &Times) -> Duration {
        self.failures = 0;
        self.not_before = None;
        if times.read_passed {
            let wait = if end.rest == Rest::Overdue {
                // Whatever the vendor says: it has had its time.
                asked_for(end).map_or(BACKOFF_MOST, |wait| wait.max(BACKOFF_MOST))
            } else {
                asked_for(end).unwrap_or(intervals.poll)
            };
            self.next_read = Some(times.now + wait);
        }
        // When it becomes overdue.
        let wake = end.wake.map(|wait| times.now + wait);
        times.until([times.verify, self.next_read, wake].into_iter().flatten())
    }

    /// Being deleted, and waiting.
    fn terminating(&mut self, end: &End<'_>, intervals: &Intervals, times: &Times) -> Duration {
        if times.read_passed {
            self.failures = 0;
            // Who waits for a time of its own has nothing to hear from the vendor.
            let poll = if end.wake.is_some() {
                intervals.drift
            } else {
                intervals.pending
            };
            self.next_read = Some(times.now + asked_for(end).unwrap_or(poll));
        }
        let wake = end.wake.map(|wait| times.now + wait);
        let all = [times.settles, times.verify, self.next_read, wake];
        times.until(all.into_iter().flatten())
    }

    /// A call failed, or what was corrected still differs.
    fn failing(&mut self, end: &End<'_>, now: Instant) -> Duration {
        let wait = if end.failed == Some(Class::Auth) {
            // Only another Secret helps, and that ends the wait.
            BACKOFF_MOST.mul_f64(0.5 + 0.5 * random())
        } else {
            backoff(self.failures).max(end.retry_after.unwrap_or_default())
        };
        self.failures = self.failures.saturating_add(1);
        let at = now + wait;
        self.not_before = Some(at);
        // What failed may have been a read, or may be answered by one.
        self.next_read = Some(self.next_read.map_or(at, |next| next.min(at)));
        wait
    }
}

/// When the vendor wants to be asked again; "at once" is no wait, and neither is a clock behind ours.
fn asked_for(end: &End<'_>) -> Option<Duration> {
    end.retry_after.map(|wait| wait.max(BACKOFF_FIRST))
}

/// Exponential with full jitter, but never shorter than half the first wait: no hot loop.
pub(super) fn backoff(failures: u32) -> Duration {
    let most = BACKOFF_FIRST
        .saturating_mul(1u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX))
        .min(BACKOFF_MOST);
    most.mul_f64(random()).max(BACKOFF_FIRST / 2)
}
