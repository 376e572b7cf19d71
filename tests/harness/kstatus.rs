//! kstatus' rules (sigs.k8s.io/cli-utils, `pkg/kstatus/status`): what GitOps tools and `kubectl`
//! plugins take an object's state for.

use crate::objects::condition;
use serde_json::Value;

/// The states kstatus knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not as declared yet; something works on it.
    InProgress,
    /// As declared.
    Current,
    /// Somebody has to do something.
    Failed,
    /// It is being deleted.
    Terminating,
    /// There is no such object.
    NotFound,
}

/// What kstatus makes of a custom resource; `None` is one that is not there.
///
/// The order is that of `GetStatus` → `checkGenericProperties`: deletionTimestamp, then
/// observedGeneration, then Reconciling, Stalled, and for custom resources at last Ready: `False` or
/// `Unknown` is in progress, and an object without that condition is current.
pub fn status(object: Option<&Value>) -> Status {
    let Some(object) = object else {
        return Status::NotFound;
    };
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Status::Terminating;
    }
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return Status::InProgress;
    }
    let is =
        |name: &str, status: &str| condition(object, name).is_some_and(|c| c["status"] == status);
    if is("Reconciling", "True") {
        Status::InProgress
    } else if is("Stalled", "True") {
        Status::Failed
    } else if is("Ready", "False") || is("Ready", "Unknown") {
        Status::InProgress
    } else {
        Status::Current
    }
}
