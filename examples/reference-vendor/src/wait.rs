//! Durations as people write them: `250ms`, `2s`, `1h 30m`.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A duration that reads and writes as text (`250ms`, `2s`, `1h 30m`) in JSON and in flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wait(pub Duration);

impl Wait {
    /// The moment this much after `from`.
    pub(crate) fn after(self, from: Timestamp) -> Timestamp {
        SignedDuration::try_from(self.0)
            .ok()
            .and_then(|wait| from.checked_add(wait).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// Whole seconds, rounded up: `Retry-After` has no finer unit and 0 would mean "at once".
    pub(crate) fn seconds(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wait: SignedDuration = text
            .parse()
            .map_err(|error| format!("{text:?} is not a duration such as 250ms or 2s: {error}"))?;
        Duration::try_from(wait)
            .map(Self)
            .map_err(|_negative| format!("{text:?}: a duration cannot be negative"))
    }
}

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Wait> for String {
    fn from(wait: Wait) -> Self {
        wait.to_string()
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        write!(f, "{wait:#}")
    }
}
