//! How many tenants of a vendor are deleted in a minute: a mistake in a repository should not end them
//! all before somebody has seen it. First come, first served; who waits is told when its time is.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The times at which tenants are deleted.
#[derive(Debug, Default)]
pub struct Deletes(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// How many in a minute it was made for.
    most: usize,
    /// When the last deletes were or will be, in order.
    times: VecDeque<Instant>,
    /// Whose turn is when.
    turns: HashMap<String, Instant>,
}

impl Deletes {
    /// How long an object has to wait for its turn, where `most` are deleted in a minute; 0 is no
    /// limit. Its turn stays the same however often it asks, and is over once it has come. Another limit
    /// gives all who wait a new turn.
    pub fn wait(&self, uid: &str, most: i64) -> Duration {
        let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.most != most {
            book.most = most;
            book.turns.clear();
            book.times.retain(|at| *at <= now);
        }
        // One that could not be used when it came is over: else all of those came at once.
        let turn = book.turns.get(uid).filter(|turn| **turn + MINUTE > now);
        let turn = match turn {
            Some(turn) => *turn,
            None => book.next(now, most),
        };
        if turn <= now {
            book.turns.remove(uid);
            return Duration::ZERO;
        }
        book.turns.insert(uid.to_owned(), turn);
        turn - now
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.turns.remove(uid);
    }
}

impl Book {
    /// Takes the next time at which no minute has more than `most`.
    fn next(&mut self, now: Instant, most: usize) -> Instant {
        let turn = self
            .times
            .len()
            .checked_sub(most)
            .and_then(|nth| self.times.get(nth))
            .map_or(now, |before| (*before + MINUTE).max(now));
        self.times.push_back(turn);
        while self.times.front().is_some_and(|at| *at + MINUTE < now) {
            self.times.pop_front();
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_and_everybody_has_a_turn() {
        let deletes = Deletes::default();
        let waits: Vec<u64> = (0..7)
            .map(|n| deletes.wait(&format!("u{n}"), 3).as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 0, 60, 60, 60, 120]);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(deletes.wait("u3", 3).as_secs(), 30, "a turn stays");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(deletes.wait("u3", 3), Duration::ZERO);
        assert_eq!(deletes.wait("new", 3).as_secs(), 60, "behind who waits");
        assert_eq!(deletes.wait("any", 0), Duration::ZERO, "0 is no limit");
    }

    #[tokio::test(start_paused = true)]
    async fn another_limit_counts_at_once() {
        let deletes = Deletes::default();
        let wait = |n: u64, most| deletes.wait(&format!("u{n}"), most).as_secs();
        for n in 0..100 {
            wait(n, 1);
        }
        assert_eq!(wait(99, 1), 99 * 60);
        // Let go: the one that was deleted in this minute counts.
        assert_eq!(wait(99, 30), 0);
        let more: Vec<u64> = (1..30).map(|n| wait(n, 30)).collect();
        assert_eq!(more[..28], [0; 28]);
        assert_eq!(more[28], 60);
        // And held again.
        assert_eq!(wait(50, 1), 60);
        assert_eq!(wait(51, 1), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_were_not_used_do_not_come_all_at_once() {
        let deletes = Deletes::default();
        let wait = |n: u64| deletes.wait(&format!("u{n}"), 1).as_secs();
        for n in 0..10 {
            wait(n);
        }
        tokio::time::advance(MINUTE * 60).await;
        let waits: Vec<u64> = (1..4).map(wait).collect();
        assert_eq!(waits, [0, 60, 120]);
    }
}
