//! Whether a vendor's callbacks arrive, by what they are for: that a decision is known before it is
//! asked after.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How much slower a pending request is asked after while callbacks are proven. What is lost with
/// one that then fails to come is this much time, once: the poll that finds the decision tells that
/// they are not to be relied on, and all others are asked after as often as before.
const SLOWER: u32 = 4;
/// How seldom a pending request may be asked after: as `polling.pending` itself, whose bound this is.
const SELDOM: Duration = Duration::from_secs(300);

/// What is known of one vendor's callbacks.
#[derive(Debug, Default)]
pub struct Heard(AtomicBool);

impl Heard {
    /// A read found a pending request decided; `hinted` says whether a callback had asked for the read.
    pub fn decided(&self, hinted: bool) {
        self.0.store(hinted, Ordering::Relaxed);
    }

    /// How often to ask after a pending request that is to be asked after this often.
    pub fn poll(&self, pending: Duration) -> Duration {
        if self.0.load(Ordering::Relaxed) {
            (pending * SLOWER).min(SELDOM)
        } else {
            pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_decision_tells_whether_callbacks_arrive() {
        let (heard, often) = (Heard::default(), Duration::from_secs(30));
        assert_eq!(heard.poll(often), often);
        heard.decided(true);
        assert_eq!(heard.poll(often), often * SLOWER);
        let seldom = Duration::from_secs(120);
        assert_eq!(heard.poll(seldom), SELDOM);
        heard.decided(false);
        assert_eq!(heard.poll(often), often);
    }
}
