//! When most tenants of a vendor seem gone at once, it is the vendor that lost its mind and not its
//! tenants: nothing is bought again then. Kept in memory: after a restart it is found out anew.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many may be gone at the same time without doubt.
const MANY: usize = 10;

/// The tenants of one vendor that were found gone.
#[derive(Debug, Default)]
pub struct Vanished(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    gone: HashMap<String, Instant>,
    alarm: bool,
    /// The connection's `requestedAt` when it was first seen, or last acted on.
    token: Option<Option<String>>,
    /// When a person said that they are really gone; for an interval that is believed.
    believed: Option<Instant>,
}

impl Vanished {
    /// Notes what a read of an object's tenant said; says whether that began or ended the alarm.
    /// `total` are the tenants there should be, asked for only where it matters.
    pub fn note(
        &self,
        uid: &str,
        gone: bool,
        interval: Duration,
        total: impl FnOnce() -> usize,
    ) -> bool {
        let now = Instant::now();
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = book.alarm;
        let believed = book
            .believed
            .is_some_and(|at| now.duration_since(at) < interval);
        if gone && believed {
            return false;
        }
        if gone {
            book.gone.insert(uid.to_owned(), now);
        } else if book.gone.remove(uid).is_none() {
            return false;
        }
        if !before {
            book.gone.retain(|_, at| now.duration_since(*at) < interval);
        }
        book.alarm = book.gone.len() > MANY && book.gone.len() * 2 > total();
        book.alarm != before
    }

    /// Whether so many are gone that none is bought again.
    pub fn alarm(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).alarm
    }

    /// A person says by a new token that they are really gone.
    pub fn believe(&self, token: Option<&str>) {
        let token = token.map(str::to_owned);
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.token.as_ref().is_some_and(|known| *known != token) {
            book.gone.clear();
            book.alarm = false;
            book.believed = Some(Instant::now());
        }
        book.token = Some(token);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.gone.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    fn gone(vanished: &Vanished, n: usize, total: usize) {
        for i in 0..n {
            vanished.note(&format!("u{i}"), true, INTERVAL, || total);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_many_and_most_within_an_interval_are_an_alarm() {
        let few = Vanished::default();
        gone(&few, 10, 10);
        assert!(!few.alarm(), "ten are no crowd");
        let half = Vanished::default();
        gone(&half, 11, 22);
        assert!(!half.alarm(), "half is not most");
        gone(&half, 12, 22);
        assert!(half.alarm());
        let slow = Vanished::default();
        gone(&slow, 10, 12);
        tokio::time::advance(INTERVAL).await;
        assert!(!slow.note("late", true, INTERVAL, || 12));
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_lasts_until_they_are_back_or_a_person_believes_it() {
        let vanished = Vanished::default();
        vanished.believe(Some("before"));
        gone(&vanished, 12, 12);
        tokio::time::advance(INTERVAL * 3).await;
        vanished.believe(Some("before"));
        assert!(vanished.alarm());
        assert!(!vanished.note("u0", false, INTERVAL, || 12));
        assert!(
            vanished.note("u1", false, INTERVAL, || 12),
            "ten are no crowd"
        );
        assert!(!vanished.alarm());
        gone(&vanished, 12, 12);
        assert!(vanished.alarm());
        vanished.believe(Some("now"));
        assert!(!vanished.alarm());
        gone(&vanished, 12, 12);
        assert!(!vanished.alarm(), "they are bought again");
        tokio::time::advance(INTERVAL).await;
        gone(&vanished, 12, 12);
        assert!(vanished.alarm(), "and that was for this time");
    }
}
