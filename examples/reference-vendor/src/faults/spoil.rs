//! The answer as a fault sends it.

use super::{Action, Fault, Reply};
use crate::answer::Answer;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use serde_json::Value;
use std::{io, time::Duration};

impl Fault {
    /// The status that is really sent in place of `status`; `None` if no answer is.
    pub(crate) fn sent_status(&self, status: StatusCode) -> Option<StatusCode> {
        // A 204 has no body to be wrong.
        let with_body = if status == StatusCode::NO_CONTENT {
            StatusCode::OK
        } else {
            status
        };
        let success = |status: StatusCode| {
            if status.is_success() {
                status
            } else {
                StatusCode::OK
            }
        };
        match self.action() {
            None => Some(status),
            Some(Action::Close) => None,
            Some(Action::Reply(reply)) => StatusCode::from_u16(reply.status).ok(),
            Some(Action::Html) => Some(StatusCode::OK),
            Some(Action::Redirect(_)) => Some(StatusCode::TEMPORARY_REDIRECT),
            Some(Action::Empty) => Some(success(status)),
            Some(Action::Garbage | Action::Huge(_)) => Some(success(with_body)),
            Some(Action::SlowBody | Action::Truncate) => Some(with_body),
        }
    }

    /// The answer as this fault sends it.
    pub(crate) fn spoil(&self, answer: Answer) -> Response {
        let Some(action) = self.action() else {
            return answer.into_response();
        };
        let Some(status) = self.sent_status(answer.status) else {
            return hang_up();
        };
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        match action {
            Action::Close => hang_up(),
            Action::Reply(reply) => {
                // It was checked when the rule was added.
                respond(&reply)
                    .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
            }
            Action::Garbage => (status, json, r#"{"id": "t-1", "status": act"#).into_response(),
            Action::Empty => status.into_response(),
            Action::Html => {
                let html = [(
                    CONTENT_TYPE,
                    HeaderValue::from_static("text/html; charset=utf-8"),
                )];
                (
                    status,
                    html,
                    "<!doctype html><title>Welcome</title><h1>Please sign in</h1>\n",
                )
                    .into_response()
            }
            Action::Redirect(url) => {
                let location = HeaderValue::from_str(&url).ok().map(|url| (LOCATION, url));
                (status, HeaderMap::from_iter(location)).into_response()
            }
            Action::Huge(bytes) => (status, json, Body::from_stream(filler(bytes))).into_response(),
            Action::SlowBody => {
                let body = answer.body_or_object();
                let length = [(CONTENT_LENGTH, HeaderValue::from(body.len()))];
                (status, json, length, Body::from_stream(dribble(body))).into_response()
            }
            Action::Truncate => {
                let body = answer.body_or_object();
                let length = [(CONTENT_LENGTH, HeaderValue::from(body.len()))];
                let half = body.slice(..body.len() / 2);
                (status, json, length, Body::from_stream(broken(half))).into_response()
            }
        }
    }
}

/// The answer of a fault, which is refused where it cannot be sent.
pub(super) fn respond(reply: &Reply) -> Result<Response, String> {
    let status = StatusCode::from_u16(reply.status).map_err(|error| error.to_string())?;
    if status.is_informational() {
        return Err(format!("{status} is not the end of an answer"));
    }
    let (body, kind) = match &reply.body {
        None => (Body::empty(), None),
        Some(Value::String(text)) => (Body::from(text.clone()), Some("text/plain; charset=utf-8")),
        Some(json) => (Body::from(json.to_string()), Some("application/json")),
    };
    let mut response = (status, body).into_response();
    if let Some(kind) = kind {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in &reply.headers {
        let name = HeaderName::try_from(name).map_err(|error| format!("{name}: {error}"))?;
        let value = HeaderValue::try_from(value).map_err(|error| format!("{name}: {error}"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Marks a response that must not be sent: the server closes the connection instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HangUp;

fn hang_up() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(HangUp);
    response
}

/// A JSON text of that many bytes that is never in memory as a whole.
fn filler(bytes: u64) -> impl Stream<Item = io::Result<Bytes>> {
    const CHUNK: [u8; 16 << 10] = [b'a'; 16 << 10];
    let start = Bytes::from_static(br#"{"id": ""#);
    let end = Bytes::from_static(br#""}"#);
    let mut left = bytes.saturating_sub((start.len() + end.len()) as u64);
    let middle = stream::iter(std::iter::from_fn(move || {
        let length = left.min(CHUNK.len() as u64);
        left -= length;
        let length = usize::try_from(length).unwrap_or(CHUNK.len());
        (length > 0).then(|| Ok(Bytes::from_static(&CHUNK[..length])))
    }));
    let ends = |chunk| stream::iter([Ok(chunk)]);
    futures::StreamExt::chain(futures::StreamExt::chain(ends(start), middle), ends(end))
}

/// The body at one byte a second.
fn dribble(body: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(body, |mut body| async {
        if body.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(body.split_to(1)), body))
    })
}

/// The body, and after it an error that closes the connection.
fn broken(half: Bytes) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(half), |half| async {
        if let Some(half) = half {
            return Some((Ok(half), None));
        }
        // An error at once would take the half with it before it is sent.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Err(io::ErrorKind::ConnectionAborted.into()), None))
    })
}
