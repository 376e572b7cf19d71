//! What a case brought: how long take-overs took, and how often a person was asked.

use std::{fmt, time::Duration};

/// Some times, of which the least, the middle and the most are shown.
#[derive(Clone, Debug, Default)]
pub struct Times {
    times: Vec<Duration>,
    /// How many questions to a person were answered (mode `None`).
    pub asked: usize,
}

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.times.push(time);
        self.times.sort();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The longest.
    pub fn most(&self) -> Duration {
        self.times.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        write!(
            f,
            "min {:.1} s, median {:.1} s, max {:.1} s (of {})",
            seconds(self.times.first()),
            seconds(self.times.get(self.times.len() / 2)),
            seconds(self.times.last()),
            self.times.len()
        )
    }
}
