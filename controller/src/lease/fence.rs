//! Whether this process may act now: asked right before each write to a vendor, and by a thread that
//! ends the process when it may not any more.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long the process has to end by itself and to say why. With a look, well below a second.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no election.
    Open,
    /// Not elected yet.
    Closed,
    /// Elected, and may act until then.
    Until(Instant),
    /// The lease is lost, or was not renewed in time. There is no way back.
    Revoked,
    /// The lease was given up on purpose.
    Released,
}

/// Whether this process may act. Time is part of it: a process that was stopped for a minute finds
/// it closed when it goes on, before anybody has told it.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Mutex<State>>);

impl Fence {
    /// Without an election: always.
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// Not before it is elected.
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed)))
    }

    /// Whether something may be done now.
    pub fn holds(&self) -> bool {
        match self.look() {
            State::Open | State::Until(_) => true,
            State::Closed | State::Revoked | State::Released => false,
        }
    }

    /// Lets it act until then; `false` where that is over already, or another end has come.
    pub(super) fn extend(&self, until: Instant) -> bool {
        self.look();
        let mut state = self.lock();
        match *state {
            State::Closed | State::Until(_) if Instant::now() < until => {
                *state = State::Until(until);
                true
            }
            State::Until(_) => {
                *state = State::Revoked;
                false
            }
            State::Open | State::Closed | State::Revoked | State::Released => false,
        }
    }

    /// From now on nothing may be done.
    pub(super) fn revoke(&self) {
        *self.lock() = State::Revoked;
    }

    /// From now on nothing is done any more, and the process ends in peace.
    pub(super) fn release(&self) {
        *self.lock() = State::Released;
    }

    /// The state now: what has run out is revoked for good.
    fn look(&self) -> State {
        let mut state = self.lock();
        if let State::Until(until) = *state
            && Instant::now() >= until
        {
            *state = State::Revoked;
        }
        *state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that ends the process within a second once it must not act any more. Not a
/// task: a runtime that is blocked has to die too. It logs nothing, as a log may block.
pub(super) fn watchdog(fence: Fence) -> std::io::Result<()> {
    thread::Builder::new()
        .name("lease-watchdog".into())
        .spawn(move || {
            if revoked(&fence) {
                thread::sleep(GRACE);
                std::process::exit(1);
            }
        })
        .map(drop)
}

/// Waits until the lease is lost (`true`) or released.
fn revoked(fence: &Fence) -> bool {
    loop {
        match fence.look() {
            State::Revoked => return true,
            State::Open | State::Released => return false,
            State::Closed | State::Until(_) => thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_closes_by_itself_and_for_good() {
        let fence = Fence::closed();
        assert!(!fence.holds());
        assert!(fence.extend(Instant::now() + SECOND));
        assert!(fence.holds());
        tokio::time::advance(SECOND).await;
        assert!(!fence.holds());
        assert!(!fence.extend(Instant::now() + SECOND), "no way back");
        assert!(!fence.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_too_late_opens_nothing() {
        let asked = Instant::now();
        tokio::time::advance(SECOND * 2).await;
        let fence = Fence::closed();
        assert!(!fence.extend(asked + SECOND));
        assert!(fence.extend(asked + SECOND * 3), "not elected is not lost");
        tokio::time::advance(SECOND / 2).await;
        assert!(!fence.extend(asked + SECOND), "a leader that is late is");
        assert!(!fence.extend(asked + SECOND * 9));
    }

    #[test]
    fn without_an_election_it_is_open_and_released_is_closed() {
        assert!(Fence::open().holds());
        assert!(!Fence::open().extend(Instant::now() + SECOND));
        let fence = Fence::closed();
        assert!(fence.extend(Instant::now() + SECOND));
        fence.release();
        assert!(!fence.holds());
        assert!(!revoked(&fence), "the watchdog lets it end in peace");
    }

    #[test]
    fn the_watchdog_sees_a_lease_run_out_by_its_own_clock() {
        let fence = Fence::closed();
        assert!(fence.extend(Instant::now() + SECOND / 10));
        assert!(revoked(&fence));
        let fence = Fence::closed();
        fence.revoke();
        assert!(revoked(&fence));
    }
}
