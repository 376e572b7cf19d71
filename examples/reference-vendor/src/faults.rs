//! Faults on request: the ways in which a vendor, or the network before it, lets its callers down.

use crate::{Wait, answer::Answer, call::Call, store::lock};
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
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// Which calls meet a fault, and which fault that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The method; `*` is any.
    #[serde(default = "any")]
    pub method: String,
    /// The path as it is sent, in which `*` stands for any text. A pattern with a `?` is compared
    /// with path and query.
    #[serde(default = "any")]
    pub path: String,
    /// How many calls meet it.
    #[serde(default)]
    pub times: Times,
    /// How many calls pass before the first one meets it.
    #[serde(default)]
    pub skip: u64,
    /// What they meet.
    pub fault: Fault,
}

fn any() -> String {
    "*".to_owned()
}

/// A number of times, or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Times {
    /// That often.
    Limited(u64),
    /// Always.
    Unlimited(Unlimited),
}

impl Default for Times {
    fn default() -> Self {
        Self::Limited(1)
    }
}

/// The word `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unlimited {
    /// The word itself.
    Unlimited,
}

/// What a call meets: delays, and at most one thing done to its answer.
///
/// What is done to the answer decides whether the call still has its effect, unless
/// [`Fault::effect`] says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// Wait before the effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Wait>,
    /// Wait between the effect and the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_after: Option<Wait>,
    /// Whether the call has its effect, where it should not be as the fault usually has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<bool>,

    /// Answer this status, with [`Fault::headers`] and [`Fault::body`], without an effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers to go with [`Fault::status`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body to go with [`Fault::status`]: text as it is, anything else as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Have the effect, then give this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect_then: Option<Reply>,
    /// Close the connection without an effect.
    #[serde(skip_serializing_if = "is_false")]
    pub close_before: bool,
    /// Have the effect, then close the connection without an answer.
    #[serde(skip_serializing_if = "is_false")]
    pub close_after: bool,
    /// Have the effect, then answer broken JSON.
    #[serde(skip_serializing_if = "is_false")]
    pub garbage: bool,
    /// Have the effect, then answer without a body.
    #[serde(skip_serializing_if = "is_false")]
    pub empty: bool,
    /// Answer 200 with an HTML page, as a captive portal does; no effect.
    #[serde(skip_serializing_if = "is_false")]
    pub html: bool,
    /// Have the effect, then answer a body of this many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge: Option<u64>,
    /// Answer 307 to this URL; no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// Have the effect, then send the body at one byte a second.
    #[serde(skip_serializing_if = "is_false")]
    pub slow_body: bool,
    /// Have the effect, then break off in the middle of the body.
    #[serde(skip_serializing_if = "is_false")]
    pub truncate: bool,
}

/// Serde passes fields by reference.
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An answer made up by a fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: text as it is, anything else as JSON.
    #[serde(default)]
    pub body: Option<Value>,
}

/// What is done to the answer.
#[derive(Clone, Debug)]
enum Action {
    Reply(Reply),
    Close,
    Garbage,
    Empty,
    Html,
    Huge(u64),
    Redirect(String),
    SlowBody,
    Truncate,
}

impl Fault {
    /// What is done to the answer, and whether the call has its effect before that.
    fn actions(&self) -> Vec<(Action, bool)> {
        let flags = [
            (self.close_before, Action::Close, false),
            (self.close_after, Action::Close, true),
            (self.garbage, Action::Garbage, true),
            (self.empty, Action::Empty, true),
            (self.html, Action::Html, false),
            (self.slow_body, Action::SlowBody, true),
            (self.truncate, Action::Truncate, true),
        ];
        let status = self.status.map(|status| {
            let Self { headers, body, .. } = self.clone();
            (
                Action::Reply(Reply {
                    status,
                    headers,
                    body,
                }),
                false,
            )
        });
        let then = self
            .effect_then
            .clone()
            .map(|reply| (Action::Reply(reply), true));
        let huge = self.huge.map(|bytes| (Action::Huge(bytes), true));
        let redirect = self
            .redirect
            .clone()
            .map(|url| (Action::Redirect(url), false));
        flags
            .into_iter()
            .filter_map(|(set, action, effect)| set.then_some((action, effect)))
            .chain([status, then, huge, redirect].into_iter().flatten())
            .collect()
    }

    /// Refuses what cannot be done, when it is asked for rather than when it is met.
    fn check(&self) -> Result<(), String> {
        let actions = self.actions();
        match actions.as_slice() {
            [] if self.delay.is_none() && self.delay_after.is_none() => {
                Err("the fault does nothing".to_owned())
            }
            [] if self.effect.is_some() => {
                Err("a fault that only delays always has its effect".to_owned())
            }
            [(Action::Reply(reply), _)] => respond(reply).map(drop),
            [(Action::Redirect(url), _)] => HeaderValue::from_str(url)
                .map(drop)
                .map_err(|error| error.to_string()),
            [] | [_] => Ok(()),
            [..] => Err("a fault can do only one thing to the answer".to_owned()),
        }?;
        if self.status.is_none() && (self.body.is_some() || !self.headers.is_empty()) {
            return Err("headers and body need a status".to_owned());
        }
        Ok(())
    }

    fn action(&self) -> Option<Action> {
        self.actions().pop().map(|(action, _)| action)
    }

    pub(crate) fn has_effect(&self) -> bool {
        let usual = self.actions().pop().is_none_or(|(_, effect)| effect);
        self.effect.unwrap_or(usual)
    }

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

fn respond(reply: &Reply) -> Result<Response, String> {
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

/// The rules in force. They belong to the running process and are gone with it.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Rules>);

#[derive(Debug, Default)]
struct Rules {
    added: u64,
    rules: Vec<Armed>,
}

/// A rule in force.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Armed {
    id: u64,
    #[serde(flatten)]
    rule: Rule,
    /// How many calls it let pass.
    skipped: u64,
    /// How many calls met it.
    hits: u64,
}

/// The fault a call met, as it is recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Met {
    pub(crate) rule: u64,
    pub(crate) fault: Fault,
}

impl Faults {
    /// The fault for this call: that of the first rule that matches and is neither spent nor
    /// letting calls pass.
    pub(crate) fn meet(&self, call: &Call) -> Option<Met> {
        self.lock().rules.iter_mut().find_map(|armed| {
            if !armed.rule.matches(call) || armed.is_spent() {
                return None;
            }
            if armed.skipped < armed.rule.skip {
                armed.skipped += 1;
                return None;
            }
            armed.hits += 1;
            Some(Met {
                rule: armed.id,
                fault: armed.rule.fault.clone(),
            })
        })
    }

    pub(crate) fn add(&self, rules: Vec<Rule>) -> Result<Vec<Armed>, String> {
        for rule in &rules {
            rule.fault.check()?;
        }
        let mut state = self.lock();
        let mut added = Vec::new();
        for rule in rules {
            state.added += 1;
            let armed = Armed {
                id: state.added,
                rule,
                skipped: 0,
                hits: 0,
            };
            state.rules.push(armed.clone());
            added.push(armed);
        }
        Ok(added)
    }

    pub(crate) fn list(&self) -> Vec<Armed> {
        self.lock().rules.clone()
    }

    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Removes one rule; says no if there is none of that id.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|armed| armed.id != id);
        state.rules.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        lock(&self.0)
    }
}

impl Armed {
    fn is_spent(&self) -> bool {
        matches!(self.rule.times, Times::Limited(times) if self.hits >= times)
    }
}

impl Rule {
    fn matches(&self, call: &Call) -> bool {
        let method = self.method == "*" || self.method.eq_ignore_ascii_case(call.method.as_str());
        let path = if self.path.contains('?') {
            call.target()
        } else {
            call.uri.path()
        };
        method && glob(&self.path, path)
    }
}

/// Whether the text is as the pattern says, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns() {
        for (pattern, text, matches) in [
            ("*", "/tenant", true),
            ("/tenant", "/tenant", true),
            ("/tenant", "/tenant/t-1", false),
            ("/tenant/*", "/tenant/t-1", true),
            ("/tenant/*", "/tenant", false),
            ("/tenant/*/disable", "/tenant/t-1/disable", true),
            ("/tenant/*/disable", "/tenant/t-1/enable", false),
            ("*/t-1*", "/tenant/t-1/enable", true),
            ("/a*a", "/a", false),
            ("*a*b*", "xbxaxb", true),
            ("*a*b*", "xbxax", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn refuses_faults_that_make_no_sense() {
        for fault in [
            json!({}),
            json!({"effect": true}),
            json!({"garbage": true, "empty": true}),
            json!({"status": 42}),
            json!({"status": 101}),
            json!({"status": 500, "headers": {"a b": "c"}}),
            json!({"redirect": "a\nb"}),
            json!({"delay": "1s", "effect": false}),
            json!({"delay": "1s", "body": {}}),
        ] {
            let parsed: Fault = serde_json::from_value(fault.clone()).unwrap();
            assert!(parsed.check().is_err(), "{fault}");
        }
        assert!(serde_json::from_value::<Fault>(json!({"delya": "1s"})).is_err());
    }

    #[test]
    fn a_rule_says_when() {
        let faults = Faults::default();
        let fault = Fault {
            empty: true,
            ..Fault::default()
        };
        let rule = |times, skip| Rule {
            method: any(),
            path: any(),
            times,
            skip,
            fault: fault.clone(),
        };
        faults
            .add(vec![
                rule(Times::Limited(2), 1),
                rule(Times::Unlimited(Unlimited::Unlimited), 3),
            ])
            .unwrap();
        let call = Call::new(http::Method::GET, http::Uri::from_static("/tenant/t-1"));
        let met: Vec<_> = (0..7)
            .map(|_| faults.meet(&call).map(|met| met.rule))
            .collect();
        // The first call passes both, the next two meet the first, two more pass the second.
        assert_eq!(met, [None, Some(1), Some(1), None, None, Some(2), Some(2)]);
    }
}
