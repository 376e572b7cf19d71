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
    gone: HashMap<String, Gone>,
    /// Whose tenants were there when they were read, and when: what was read before the first was gone
    /// says nothing of a vendor that has lost its mind since.
    found: HashMap<String, Instant>,
    alarm: bool,
    /// The connection's `requestedAt` when it was first seen, or last acted on.
    token: Option<Option<String>>,
    /// When a person said that they are really gone; for an interval that is believed.
    believed: Option<Instant>,
}

#[derive(Debug)]
struct Gone {
    tenant: String,
    at: Instant,
}

impl Vanished {
    /// Notes what a read of an object's tenant said; says whether that began or ended the alarm.
    pub fn note(&self, uid: &str, tenant: &str, gone: bool, interval: Duration) -> bool {
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
            let tenant = tenant.to_owned();
            book.found.remove(uid);
            book.gone.insert(uid.to_owned(), Gone { tenant, at: now });
        } else {
            // One that was bought again does not bring back the one that is gone.
            if book.gone.get(uid).is_some_and(|gone| gone.tenant != tenant) {
                return false;
            }
            book.gone.remove(uid);
            book.found.insert(uid.to_owned(), now);
        }
        book.judge(now, interval);
        book.alarm != before
    }

    /// Whether so many are gone that none is bought again.
    pub fn alarm(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).alarm
    }

    /// A person says by a new token that they are really gone. One that is taken away says nothing,
    /// nor does the same one again: tools that own an object remove annotations they did not set.
    pub fn believe(&self, token: Option<&str>) {
        let token = token.filter(|token| !token.is_empty());
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &book.token else {
            book.token = Some(token.map(str::to_owned));
            return;
        };
        if token.is_none() || known.as_deref() == token {
            return;
        }
        book.gone.clear();
        book.found.clear();
        book.alarm = false;
        book.believed = Some(Instant::now());
        book.token = Some(token.map(str::to_owned));
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.gone.remove(uid);
        book.found.remove(uid);
    }
}

impl Book {
    /// Many are gone within an interval, and most of those that were read since the first of them was.
    fn judge(&mut self, now: Instant, interval: Duration) {
        if !self.alarm {
            self.gone
                .retain(|_, gone| now.duration_since(gone.at) < interval);
        }
        let Some(since) = self.gone.values().map(|gone| gone.at).min() else {
            self.found.clear();
            self.alarm = false;
            return;
        };
        self.found.retain(|_, at| *at >= since);
        self.alarm = self.gone.len() > MANY && self.gone.len() > self.found.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    fn read(vanished: &Vanished, of: std::ops::Range<usize>, gone: bool) {
        for i in of {
            vanished.note(&format!("u{i}"), &format!("t{i}"), gone, INTERVAL);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_many_and_most_within_an_interval_are_an_alarm() {
        let few = Vanished::default();
        read(&few, 0..10, true);
        assert!(!few.alarm(), "ten are no crowd");
        let half = Vanished::default();
        read(&half, 0..1, true);
        read(&half, 11..22, false);
        read(&half, 1..11, true);
        assert!(!half.alarm(), "half is not most");
        read(&half, 11..12, true);
        assert!(half.alarm());
        let slow = Vanished::default();
        read(&slow, 0..10, true);
        tokio::time::advance(INTERVAL).await;
        assert!(!slow.note("late", "t", true, INTERVAL));
    }

    #[tokio::test(start_paused = true)]
    async fn of_ten_thousand_the_first_eleven_are_enough() {
        let vanished = Vanished::default();
        read(&vanished, 0..10_000, false);
        tokio::time::advance(Duration::from_secs(60)).await;
        read(&vanished, 0..11, true);
        assert!(vanished.alarm(), "all that was read since is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_bought_again_is_no_sign_that_the_others_are_back() {
        let vanished = Vanished::default();
        for i in 0..10 {
            read(&vanished, i..i + 1, true);
            vanished.note(&format!("u{i}"), "bought", false, INTERVAL);
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        assert!(!vanished.alarm());
        read(&vanished, 10..11, true);
        assert!(vanished.alarm());
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_lasts_until_they_are_back_or_a_person_believes_it() {
        let vanished = Vanished::default();
        vanished.believe(Some("before"));
        read(&vanished, 0..12, true);
        tokio::time::advance(INTERVAL * 3).await;
        for said in [Some("before"), None, Some(""), Some("before")] {
            vanished.believe(said);
            assert!(vanished.alarm(), "{said:?} is no new word of a person");
        }
        assert!(!vanished.note("u0", "t0", false, INTERVAL));
        assert!(
            vanished.note("u1", "t1", false, INTERVAL),
            "ten are no crowd"
        );
        assert!(!vanished.alarm());
        read(&vanished, 0..12, true);
        assert!(vanished.alarm());
        vanished.believe(Some("now"));
        assert!(!vanished.alarm());
        vanished.believe(None);
        read(&vanished, 0..12, true);
        assert!(!vanished.alarm(), "they are bought again");
        tokio::time::advance(INTERVAL).await;
        read(&vanished, 0..12, true);
        assert!(vanished.alarm(), "and that was for this time");
    }
}
