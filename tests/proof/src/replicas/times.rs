//! Take-over times.

use std::{fmt, time::Duration};

/// Some times, of which the least, the middle and the most are shown.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The longest.
    pub fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        write!(
            f,
            "min {:.1} s, median {:.1} s, max {:.1} s (of {})",
            seconds(self.0.first()),
            seconds(self.0.get(self.0.len() / 2)),
            seconds(self.0.last()),
            self.0.len()
        )
    }
}
