//! What must still hold for a write: the compare of its compare-and-swap.

use fulfillment_crds::{Request, RequestStatus, Subscription, annotations};
use serde_json::{Value, json};

use crate::facts::Intent;

/// What must still hold for a status to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing at all has changed since the object was read.
    Version(String),
    /// The intent in the annotation is still this one, and the request in status the one that was
    /// there when it was written: a record that is repeated takes back nothing that came after it.
    Intent(Intent, Option<Mark>),
    /// The request in status is still this one: a late record neither takes back what another has
    /// recorded of it, nor the intent of its next send.
    Request(Mark),
}

/// A request in status at one moment of its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Its id.
    pub id: String,
    /// Where it stood.
    pub status: RequestStatus,
    /// How often it had been sent.
    pub attempts: i64,
}

impl From<&Request> for Mark {
    fn from(request: &Request) -> Self {
        Self {
            id: request.id.clone(),
            status: request.status,
            attempts: request.attempts,
        }
    }
}

impl Guard {
    /// The guard of what is recorded next to this request, or in its place.
    pub fn request(request: &Request) -> Self {
        Self::Request(request.into())
    }

    /// Whether it holds of an object.
    pub fn holds(&self, now: &Subscription) -> bool {
        match self {
            Self::Version(version) => now.metadata.resource_version.as_ref() == Some(version),
            Self::Intent(known, before) => {
                intent(now).as_ref() == Some(known) && mark(now) == *before
            }
            Self::Request(before) => mark(now).as_ref() == Some(before),
        }
    }

    /// What a JSON patch tests for it.
    pub fn tests(&self) -> Vec<Value> {
        match self {
            Self::Version(version) => {
                vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})]
            }
            Self::Intent(intent, before) => {
                let mut tests = vec![json!({
                    "op": "test",
                    "path": format!("/metadata/annotations/{}", annotations::INTENT.replace('/', "~1")),
                    "value": encode(intent),
                })];
                match before {
                    Some(before) => tests.extend(before.tests()),
                    // Null is what is not there.
                    None => {
                        tests.push(json!({"op": "test", "path": "/status/request", "value": null}))
                    }
                }
                tests
            }
            Self::Request(before) => before.tests().to_vec(),
        }
    }
}

impl Mark {
    fn tests(&self) -> [Value; 3] {
        [
            json!({"op": "test", "path": "/status/request/id", "value": self.id}),
            json!({"op": "test", "path": "/status/request/status", "value": self.status}),
            json!({"op": "test", "path": "/status/request/attempts", "value": self.attempts}),
        ]
    }
}

/// The request in an object's status.
pub fn mark(object: &Subscription) -> Option<Mark> {
    let status = object.status.as_ref()?;
    status.request.as_ref().map(Mark::from)
}

/// An intent as it stands in the annotation.
pub fn encode(intent: &Intent) -> String {
    serde_json::to_string(intent).unwrap_or_default()
}

/// The intent in the annotation; a mangled one is treated as none, which costs a 409 and no tenant.
pub fn intent(object: &Subscription) -> Option<Intent> {
    let text = object
        .metadata
        .annotations
        .as_ref()?
        .get(annotations::INTENT)?;
    serde_json::from_str(text).ok()
}
