//! A call to the tenant API: how it comes in, and how it is recorded.

use crate::{
    answer::{Effect, Refusal},
    config::Auth,
    faults::Met,
};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, convert::Infallible, error::Error as _, fmt};

/// The largest request body.
const BODY_LIMIT: usize = 256 << 10;

/// The operations of the tenant API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Operation {
    Create,
    Get,
    Lookup,
    Change,
    Disable,
    Enable,
    Delete,
    /// `POST /oauth2/token`, which is no operation of the tenant API.
    Token,
    /// None of them: an unknown path or a method that it does not have.
    Other,
}

impl Operation {
    pub(crate) const ALL: [Self; 9] = [
        Self::Create,
        Self::Get,
        Self::Lookup,
        Self::Change,
        Self::Disable,
        Self::Enable,
        Self::Delete,
        Self::Token,
        Self::Other,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Lookup => "lookup",
            Self::Change => "change",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Delete => "delete",
            Self::Token => "token",
            Self::Other => "other",
        })
    }
}

/// A call that has come in whole.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) time: Timestamp,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// Taken in before anything else is looked at; whether it is any good is asked for later, so
    /// that a call with a bad body is recorded as well.
    body: Result<Bytes, Refusal>,
}

impl Call {
    #[cfg(test)]
    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        Self {
            time: Timestamp::now(),
            method,
            uri,
            headers: HeaderMap::new(),
            body: Ok(Bytes::new()),
        }
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    pub(crate) fn body(&self) -> Result<&Bytes, Refusal> {
        self.body.as_ref().map_err(Clone::clone)
    }

    /// The body, which must be a JSON object; members that are not asked for are ignored.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let refused = |error: serde_json::Error| {
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_body", error.to_string())
        };
        let object: crate::tenant::Object =
            serde_json::from_slice(self.body()?).map_err(refused)?;
        serde_json::from_value(Value::Object(object)).map_err(refused)
    }
}

impl<S: Sync> FromRequest<S> for Call {
    type Rejection = Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Infallible> {
        let (head, body) = request.into_parts();
        let time = Timestamp::now();
        let body = axum::body::to_bytes(body, BODY_LIMIT)
            .await
            .map_err(|error| {
                // The error that says "too long" is one of a crate that axum does not show.
                if error
                    .source()
                    .is_some_and(|source| source.to_string().contains("length limit"))
                {
                    let message = format!("the body is longer than {BODY_LIMIT} bytes");
                    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
                } else {
                    Refusal::new(StatusCode::BAD_REQUEST, "invalid_body", error.to_string())
                }
            });
        Ok(Self {
            time,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
        })
    }
}

/// A call as it is recorded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Counts up in the order in which the calls had their effects.
    pub(crate) sequence: u64,
    /// When it came in.
    time: Timestamp,
    operation: Operation,
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
    /// As JSON if it is JSON, otherwise as text; `null` if there was none.
    body: Value,
    /// What was sent; `null` where a fault closed the connection instead.
    status: Option<u16>,
    effect: Effect,
    fault: Option<Met>,
    /// From the call to the commit.
    duration_ms: u64,
}

impl Record {
    pub(crate) fn new(sequence: u64, operation: Operation, call: &Call, auth: &Auth) -> Self {
        let body = match call.body() {
            Ok(body) if operation == Operation::Token => crate::oauth::recorded(body),
            Ok(body) if !body.is_empty() => serde_json::from_slice(body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned())),
            Ok(_) | Err(_) => Value::Null,
        };
        Self {
            sequence,
            time: call.time,
            operation,
            method: call.method.to_string(),
            path: call.target().to_owned(),
            headers: recorded_headers(&call.headers, auth),
            body,
            status: None,
            effect: Effect::default(),
            fault: None,
            duration_ms: 0,
        }
    }

    /// Adds what came of the call.
    pub(crate) fn ended(
        self,
        status: Option<StatusCode>,
        effect: Effect,
        fault: Option<Met>,
        duration: std::time::Duration,
    ) -> Self {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let status = status.map(|status| status.as_u16());
        Self {
            status,
            effect,
            fault,
            duration_ms,
            ..self
        }
    }
}

fn recorded_headers(headers: &HeaderMap, auth: &Auth) -> BTreeMap<String, String> {
    let mut recorded: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = if auth.is_secret(name) {
            "(redacted)".into()
        } else {
            String::from_utf8_lossy(value.as_bytes())
        };
        recorded
            .entry(name.to_string())
            .and_modify(|values| {
                values.push_str(", ");
                values.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    recorded
}
