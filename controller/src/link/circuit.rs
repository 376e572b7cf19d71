//! A back-off that all Subscriptions of a connection share: a vendor that answers nobody is asked by one
//! of them now and then, and not by each on its own.

use std::{sync::Mutex, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::lock;
use crate::pace;

/// So many calls in a row that nobody answered, and it opens.
const FAILURES: u32 = 10;
/// How long it is open at first.
const FIRST: Duration = Duration::from_secs(10);
/// How long it is open at most.
const MOST: Duration = Duration::from_secs(300);
/// How long the one call that is let through then may take before another is.
const PROBE: Duration = Duration::from_secs(60);

/// Calls that failed in a row. Kept in memory only: a restart asks anew.
#[derive(Debug, Default)]
pub struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In a row, until it opens.
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// For how long.
    lasts: Duration,
    until: Instant,
    /// The same by the wall clock, for status.
    shown: Timestamp,
    /// The call that is to find out; until when it is waited for.
    probe: Option<Instant>,
}

impl Open {
    fn new(lasts: Duration) -> Self {
        // Not in step with other connections to the same vendor.
        let wait = lasts.mul_f64(0.75 + 0.25 * pace::random());
        let now = pace::now();
        // Whole seconds, as status has them.
        let shown = SignedDuration::from_secs(i64::try_from(wait.as_secs()).unwrap_or_default());
        Self {
            lasts,
            until: Instant::now() + wait,
            shown: now.checked_add(shown).unwrap_or(now),
            probe: None,
        }
    }
}

impl Circuit {
    /// Whether one more call may be made; otherwise, when to ask again. After the time it is open, one
    /// call is let through, and its outcome decides.
    ///
    /// # Errors
    ///
    /// How long to wait.
    pub fn admit(&self) -> Result<(), Duration> {
        let mut state = lock(&self.0);
        let Some(open) = &mut state.open else {
            return Ok(());
        };
        let now = Instant::now();
        if open.until > now {
            return Err(open.until - now);
        }
        match open.probe {
            // Its answer may come at any moment.
            Some(at) if at > now => Err((at - now).min(FIRST / 4)),
            Some(_) | None => {
                open.probe = Some(now + PROBE);
                Ok(())
            }
        }
    }

    /// Learns what became of a call; says whether it opened or closed with it.
    pub fn note(&self, failed: bool) -> bool {
        let mut state = lock(&self.0);
        if !failed {
            state.failures = 0;
            return state.open.take().is_some();
        }
        match &state.open {
            // Sent before it opened, or by somebody who did not want to wait.
            Some(open) if open.until > Instant::now() => false,
            Some(open) => {
                state.open = Some(Open::new((open.lasts * 2).min(MOST)));
                true
            }
            None => {
                state.failures += 1;
                let opens = state.failures >= FAILURES;
                state.open = opens.then(|| Open::new(FIRST));
                opens
            }
        }
    }

    /// A call was not made after all, and it may have been the one that was to find out.
    pub fn unsent(&self) {
        if let Some(open) = &mut lock(&self.0).open {
            open.probe = None;
        }
    }

    /// Another client, other credentials: what was learnt with those before says nothing.
    pub fn close(&self) {
        *lock(&self.0) = State::default();
    }

    /// Until when no call is made but that of somebody who has changed something.
    pub fn open_until(&self) -> Option<Timestamp> {
        lock(&self.0).open.as_ref().map(|open| open.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many calls that nobody answered.
    fn fail(circuit: &Circuit, calls: u32) -> bool {
        (0..calls).fold(false, |turned, _| circuit.note(true) || turned)
    }

    #[tokio::test(start_paused = true)]
    async fn ten_in_a_row_open_it_and_one_call_closes_it() {
        let circuit = Circuit::default();
        assert!(!fail(&circuit, FAILURES - 1));
        assert!(!circuit.note(false), "an answer begins the count anew");
        assert!(!fail(&circuit, FAILURES - 1));
        assert_eq!(circuit.admit(), Ok(()));
        assert!(fail(&circuit, 1), "opens");
        assert!(circuit.open_until().is_some());
        let wait = circuit.admit().unwrap_err();
        assert!(wait <= FIRST && wait >= FIRST / 2, "{wait:?}");
        assert!(
            !fail(&circuit, 100),
            "what was sent before says nothing new"
        );
        assert!(circuit.admit().unwrap_err() <= wait);

        tokio::time::advance(wait).await;
        assert_eq!(circuit.admit(), Ok(()), "one finds out");
        assert!(
            circuit.admit().unwrap_err() < FIRST,
            "the others wait for it"
        );
        assert!(circuit.note(false), "closes");
        assert_eq!(circuit.admit(), Ok(()));
        assert_eq!(circuit.open_until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_for_longer_each_time_and_not_for_ever() {
        let circuit = Circuit::default();
        fail(&circuit, FAILURES);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let wait = circuit.admit().unwrap_err();
            assert!(wait > last.min(MOST / 2) && wait <= MOST, "{wait:?}");
            tokio::time::advance(wait).await;
            assert_eq!(circuit.admit(), Ok(()));
            assert!(circuit.note(true));
            last = wait;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_the_operator_did_not_send_leaves_the_turn_to_the_next() {
        let circuit = Circuit::default();
        fail(&circuit, FAILURES);
        tokio::time::advance(FIRST).await;
        assert_eq!(circuit.admit(), Ok(()));
        circuit.unsent();
        assert_eq!(circuit.admit(), Ok(()), "another's turn");
        assert!(circuit.open_until().is_some(), "nothing was found out");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_made_is_not_waited_for_long() {
        let circuit = Circuit::default();
        fail(&circuit, FAILURES);
        tokio::time::advance(FIRST).await;
        assert_eq!(circuit.admit(), Ok(()));
        tokio::time::advance(PROBE).await;
        assert_eq!(circuit.admit(), Ok(()), "another's turn");
    }
}
