//! The clocks that are not monotonic, and chance.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// The wall clock, as precise as it is.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn instant() -> Timestamp {
    Timestamp::now()
}

/// The wall clock, to whole seconds as Kubernetes writes times.
pub fn now() -> Timestamp {
    let now = instant();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// How long from one moment to another.
pub fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// A number from 0 up to 1 that nobody can guess or needs to repeat.
pub fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}
