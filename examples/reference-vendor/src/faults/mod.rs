//! Faults on request: the ways in which a vendor, or the network before it, lets its callers down.

mod rules;
mod spoil;

pub(crate) use rules::{Faults, Met};
pub use rules::{Rule, Times, Unlimited};
pub(crate) use spoil::HangUp;

use crate::Wait;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spoil::respond;
use std::collections::BTreeMap;

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
}
