//! How much one vendor is asked at most, over all subscriptions of a connection. First come, first
//! served: no subscription starves behind a busy one. What somebody waits for does not stand in line
//! behind reads that only look for drift.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// A token bucket and a bound on calls in flight.
#[derive(Debug)]
pub struct Budget {
    slots: Arc<Semaphore>,
    /// Of those that only look for drift, one at a time stands in line; the others wait for this.
    routine: Mutex<()>,
    /// When the bucket will have been full again (the "theoretical arrival time" of GCRA).
    full_at: Mutex<Instant>,
    interval: Duration,
    tolerance: Duration,
}

/// In which line a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Somebody waits for it.
    Awaited,
    /// It looks for drift, or for what was left behind.
    Routine,
}

/// The right to have calls in flight; each call also takes a token.
#[derive(Debug)]
pub struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// `per_second` calls in the long run, `burst` at once, `in_flight` at the same time.
    pub fn new(per_second: u32, burst: u32, in_flight: usize) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            slots: Arc::new(Semaphore::new(in_flight.max(1))),
            routine: Mutex::default(),
            full_at: Mutex::new(Instant::now()),
            interval,
            tolerance: interval * burst.max(1).saturating_sub(1),
        }
    }

    /// As a connection says.
    pub fn of(spec: &fulfillment_crds::Budget) -> Self {
        let number = |n: i64| u32::try_from(n).unwrap_or(1);
        Self::new(
            number(spec.requests_per_second),
            number(spec.burst),
            usize::try_from(spec.max_in_flight).unwrap_or(1),
        )
    }

    /// Waits for a slot and a token.
    pub async fn enter(&self, line: Line) -> Slot {
        let _turn = match line {
            Line::Awaited => None,
            Line::Routine => Some(self.routine.lock().await),
        };
        let permit = Arc::clone(&self.slots).acquire_owned().await.ok();
        self.token().await;
        Slot { _permit: permit }
    }

    /// Waits for a token. The place in the line is taken at once, so waiters keep their order.
    pub async fn token(&self) {
        let at = {
            let mut full_at = self.full_at.lock().await;
            let now = Instant::now();
            let at = full_at
                .checked_sub(self.tolerance)
                .map_or(now, |at| at.max(now));
            *full_at = (*full_at).max(now) + self.interval;
            at
        };
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_rest_is_paced() {
        let budget = Budget::new(10, 5, 100);
        let start = Instant::now();
        for _ in 0..5 {
            budget.token().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            budget.token().await;
        }
        let elapsed = start.elapsed().as_millis();
        assert!((1990..=2010).contains(&elapsed), "{elapsed} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_waits_for_overtakes_what_nobody_does() {
        let budget = Arc::new(Budget::new(10, 1, 100));
        let start = Instant::now();
        let came = |line: Line| {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move {
                drop(budget.enter(line).await);
                start.elapsed().as_millis()
            })
        };
        let reads: Vec<_> = (0..20).map(|_| came(Line::Routine)).collect();
        tokio::task::yield_now().await;
        let purchases: Vec<_> = (0..5).map(|_| came(Line::Awaited)).collect();
        for purchase in purchases {
            let waited = purchase.await.unwrap();
            assert!(waited <= 800, "{waited} ms");
        }
        let mut last = 0;
        for read in reads {
            last = read.await.unwrap().max(last);
        }
        assert!((2390..=2450).contains(&last), "none starves: {last} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_are_bounded() {
        let budget = Budget::new(1000, 1000, 2);
        let first = budget.enter(Line::Awaited).await;
        let _second = budget.enter(Line::Awaited).await;
        let third = tokio::time::timeout(Duration::from_secs(1), budget.enter(Line::Awaited)).await;
        assert!(third.is_err());
        drop(first);
        budget.enter(Line::Awaited).await;
    }
}
