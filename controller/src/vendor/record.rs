//! Answers as they came, for whoever judges a vendor by more than what an answer means to a caller that
//! is lenient.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::header;
use serde_json::Value;

use super::{
    Operation,
    text::{SHOWN, Secrets},
    transfer::{Raw, retry_after},
};

/// One answer as it came.
#[derive(Clone)]
pub struct Exchange {
    /// The call it is the answer to.
    pub operation: Operation,
    /// The HTTP status.
    pub status: u16,
    /// What kind of body it says it has, cleaned; empty where it does not say.
    pub content_type: String,
    /// When the vendor wants to be asked again, where it says so.
    pub retry_after: Option<Wait>,
    /// Whether there was a body.
    pub has_body: bool,
    /// The body, where it is JSON. It may hold secrets: look at it, do not show it.
    pub body: Option<Value>,
}

/// A `Retry-After`.
#[derive(Clone, Debug)]
pub struct Wait {
    /// As it came, cleaned.
    pub said: String,
    /// Whether it is seconds or a date.
    pub understood: bool,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation.as_str(), self.status)
    }
}

/// Keeps what a client is answered. Its clones are the same record.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Vec<Exchange>>>);

impl Record {
    /// Every answer so far, in order.
    pub fn all(&self) -> Vec<Exchange> {
        self.lock().clone()
    }

    /// The latest answer.
    pub fn last(&self) -> Option<Exchange> {
        self.lock().last().cloned()
    }

    pub(super) fn keep(&self, operation: Operation, raw: &Raw, secrets: &Secrets) {
        let text = |name| {
            let value = raw.headers.get(name)?;
            let text = String::from_utf8_lossy(value.as_bytes());
            Some(secrets.clean(&text, SHOWN))
        };
        let exchange = Exchange {
            operation,
            status: raw.status.as_u16(),
            content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
            retry_after: text(header::RETRY_AFTER).map(|said| Wait {
                said,
                understood: retry_after(&raw.headers).is_some(),
            }),
            has_body: !raw.body.trim_ascii().is_empty(),
            body: serde_json::from_slice(&raw.body).ok(),
        };
        self.lock().push(exchange);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
