//! Why a walk ends before its end.

use control_plane::interrupted;
use std::fmt;

/// Why a walk ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// A step did not come true.
    Untrue(Untrue),
    /// The stage itself is at fault, not the play.
    Broken(String),
}

/// What a step expected and did not get.
#[derive(Debug)]
pub(crate) struct Untrue {
    pub(crate) expected: String,
    pub(crate) seen: String,
}

impl Stop {
    pub(crate) fn untrue(expected: impl fmt::Display, seen: impl fmt::Display) -> Self {
        Self::Untrue(Untrue {
            expected: expected.to_string(),
            seen: seen.to_string(),
        })
    }

    /// For `map_err`: what was being done, and how it failed.
    pub(crate) fn broken<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Broken(format!("cannot {what}: {error}"))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Untrue(untrue) => write!(f, "it did not come true: {}", untrue.expected),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Ends the walk if Ctrl-C was pressed.
pub(crate) fn check() -> Result<(), Stop> {
    if interrupted().map_err(Stop::broken("catch signals"))? {
        Err(Stop::Interrupted)
    } else {
        Ok(())
    }
}
