//! How a watch stands, as readiness and the log say it. That one goes on again after it failed cannot
//! be seen: a watch that has begun says nothing until something changes.

use std::{sync::Arc, time::Duration};

use kube::runtime::watcher::Error;
use tokio::time::{Instant, sleep_until};

use crate::controller::Readiness;

/// How long a cache may be without its watch before it is said to be behind.
const LONG: Duration = Duration::from_secs(180);
/// A watch that has not failed for so long goes on: a try and the pause before it take less.
const CALM: Duration = Duration::from_secs(150);

/// How a watch stands.
#[derive(Debug)]
pub(super) struct Standing {
    what: String,
    readiness: Arc<Readiness>,
    listed: bool,
    failing: Option<Failing>,
}

/// The first failure since it went on last, and the newest one.
#[derive(Clone, Copy, Debug)]
struct Failing {
    first: Instant,
    last: Instant,
}

impl Standing {
    /// Nothing is listed yet.
    pub(super) fn new(what: String, readiness: Arc<Readiness>) -> Self {
        readiness.wait_for(&what, "not listed yet");
        Self {
            what,
            readiness,
            listed: false,
            failing: None,
        }
    }

    /// All is listed: whether for the first time.
    pub(super) fn listed(&mut self) -> bool {
        self.failing = None;
        self.readiness.has(&self.what);
        !std::mem::replace(&mut self.listed, true)
    }

    /// It goes on, if it had failed.
    pub(super) fn goes_on(&mut self) {
        if self.failing.take().is_some() {
            self.readiness.has(&self.what);
        }
    }

    /// Waits until one that failed has not done so for long enough.
    pub(super) async fn calm(&self) {
        match self.failing {
            Some(failing) => sleep_until(failing.last + CALM).await,
            None => std::future::pending().await,
        }
    }

    /// It failed, and is begun again.
    pub(super) fn failed(&mut self, error: &Error) {
        let (why, watch) = (cause(error), &self.what);
        tracing::warn!(watch, error = why, "a watch failed; it is begun again");
        // Once listed, a cache stays usable for a while.
        if !self.listed || self.fails_for_long(error) {
            self.readiness.wait_for(&self.what, &why);
        }
    }

    fn fails_for_long(&mut self, error: &Error) -> bool {
        match error {
            Error::InitialListFailed(_)
            | Error::WatchStartFailed(_)
            | Error::WatchError(_)
            | Error::NoResourceVersion => {}
            // It had begun and was cut, as proxies do now and then: nothing is missed.
            Error::WatchFailed(_) => return false,
        }
        let last = Instant::now();
        let first = self.failing.map_or(last, |failing| failing.first);
        self.failing = Some(Failing { first, last });
        last.duration_since(first) >= LONG
    }
}

/// Why a watch failed, with the remedy where there is one.
fn cause(error: &Error) -> String {
    let (Error::InitialListFailed(kube) | Error::WatchStartFailed(kube)) = error else {
        return error.to_string();
    };
    let kube::Error::Api(status) = kube else {
        return error.to_string();
    };
    match status.code {
        404 => "the CustomResourceDefinition is not installed: install the chart fulfillment-operator-crds".into(),
        403 => format!("the operator's RBAC does not allow it: {}", status.message),
        _ => error.to_string(),
    }
}
