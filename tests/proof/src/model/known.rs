//! A value of the shipped types inside a state of the model: shared, and known by its text. Most of
//! those types have neither `Eq` nor `Hash`, and none of them should need it for a test's sake.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// A shared value, equal to another where both are written alike.
#[derive(Clone)]
pub(super) struct Known<T> {
    value: Arc<T>,
    digest: u64,
    /// The ids the value names: they are not given to anything else meanwhile.
    pub(super) names: Names,
}

impl<T: fmt::Debug> Known<T> {
    pub(super) fn new(value: T) -> Self {
        let text = format!("{value:?}");
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            value: Arc::new(value),
            digest: hasher.finish(),
            names: Names::within(&text),
        }
    }
}

impl<T> Deref for Known<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Known<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<T> Eq for Known<T> {}

impl<T> PartialOrd for Known<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Known<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.digest.cmp(&other.digest)
    }
}

impl<T> Hash for Known<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl<T: fmt::Debug> fmt::Debug for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Which ids of requests (`r0`, `r1`, ...) and tenants (`t0`, ...) and which counts of attempts are
/// in use, a bit each.
///
/// An id that nothing names any more is given again: ids are only ever compared for equality, and
/// fresh ones for ever would make the world endless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Names {
    requests: u64,
    /// The same, four bits each, in the order in which they stand; the first in the lowest bits.
    order: u64,
    tenants: u64,
    attempts: u64,
}

impl Names {
    /// Every id in a text, so that none is forgotten whatever field it stands in.
    fn within(text: &str) -> Self {
        let mut found = Self::default();
        for quoted in text.split('"') {
            found.note(quoted);
        }
        // A guard's attempt stands behind the status.
        for status in ["Pending", "Inquiring", "Approved", "Failed", "Unknown"] {
            let field = format!("\", {status}, ");
            for (at, field) in text.match_indices(&field) {
                found.attempt(text.get(at + field.len()..).unwrap_or_default());
            }
        }
        for (at, field) in text.match_indices("attempt") {
            let value = text.get(at + field.len()..).unwrap_or_default();
            let value = value.trim_start_matches(['s', ':', ' ']);
            found.attempt(value);
        }
        found
    }

    fn attempt(&mut self, text: &str) {
        let digits = text.split(|c: char| !c.is_ascii_digit()).next();
        if let Some(count) = digits.and_then(|n| n.parse::<u32>().ok()) {
            self.attempts |= bit(count);
        }
    }

    fn note(&mut self, word: &str) {
        let number = word.get(1..).and_then(|n| n.parse::<u32>().ok());
        match (word.as_bytes().first(), number) {
            (Some(b'r'), Some(number)) => self.request(number),
            (Some(b't'), Some(number)) => self.tenants |= bit(number),
            (Some(_) | None, _) => {}
        }
    }

    fn request(&mut self, number: u32) {
        if self.requests & bit(number) == 0 {
            let place = self.requests.count_ones() * 4;
            self.order |= u64::from(number & 15)
                .checked_shl(place)
                .unwrap_or_default();
            self.requests |= bit(number);
        }
    }

    /// The numbers of requests in the order in which they stand.
    pub(super) fn order(self) -> Vec<usize> {
        (0..self.requests.count_ones().min(16))
            .filter_map(|nth| usize::try_from(self.order >> (nth * 4) & 15).ok())
            .collect()
    }

    pub(super) fn of(word: &str) -> Self {
        let mut found = Self::default();
        found.note(word);
        found
    }

    pub(super) fn add(&mut self, other: Self) {
        for number in other.order() {
            self.request(u32::try_from(number).unwrap_or_default());
        }
        self.tenants |= other.tenants;
        self.attempts |= other.attempts;
    }

    pub(super) fn fresh_request(self) -> String {
        format!("r{}", self.requests.trailing_ones())
    }

    pub(super) fn fresh_tenant(self) -> String {
        format!("t{}", self.tenants.trailing_ones())
    }

    /// The counts of attempts, smallest first.
    pub(super) fn attempts(self) -> Vec<i64> {
        (0..i64::from(u64::BITS))
            .filter(|count| self.attempts >> count & 1 == 1)
            .collect()
    }
}

fn bit(number: u32) -> u64 {
    1u64.checked_shl(number).unwrap_or_default()
}
