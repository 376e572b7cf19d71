//! How the vendor behaves: at once or later, approving or not, quick or slow.
//!
//! A behaviour can be read and changed while the vendor runs (`/_vendor/behavior`). What is
//! already under way keeps the plan it began with, because that plan is stored with the tenant.

use crate::{Wait, answer::Refusal, tenant::Mutation};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, time::Duration};

/// How the vendor behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Behavior {
    /// Which operations are done at once and which later.
    pub operations: Operations,
    /// How long every call takes before anything happens.
    pub latency: Wait,
    /// What a change does while another request is pending.
    pub while_busy: WhileBusy,
    /// Show terminated tenants (200, status `terminated`) rather than 404.
    pub keep_terminated: bool,
    /// Refuse to delete a tenant that is not suspended (409, code `not_suspended`).
    pub delete_only_suspended: bool,
    /// Hand out `activation_link` and `initial_password`.
    pub outputs: bool,
    /// How long an idempotency key is remembered.
    pub idempotency_retention: Wait,
    /// What the ids of new tenants begin with. It may hold characters that a URL must escape.
    pub id_prefix: String,
    /// How long a token of `POST /oauth2/token` is good for; it says so in whole seconds.
    pub token_lifetime: Wait,
    /// In the dialect in which nothing is done at once: how long what is `sync` takes.
    pub operation_time: Wait,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            operations: Operations::default(),
            latency: Wait::default(),
            while_busy: WhileBusy::Refuse,
            keep_terminated: false,
            delete_only_suspended: false,
            outputs: true,
            idempotency_retention: Wait(Duration::from_secs(24 * 60 * 60)),
            id_prefix: "t-".to_owned(),
            token_lifetime: Wait(Duration::from_secs(60 * 60)),
            operation_time: Wait(Duration::from_millis(300)),
        }
    }
}

impl Behavior {
    /// Changes this behaviour by a JSON merge patch (RFC 7396).
    pub(crate) fn patched(&self, patch: &Value) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(self)?;
        merge(&mut whole, patch);
        serde_json::from_value(whole)
    }
}

/// Merges `patch` into `target` as RFC 7396 says: objects by member, `null` removes.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        merge_objects(target, patch);
    }
}

/// [`merge`] for what is known to be an object.
pub(crate) fn merge_objects(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The mode of each operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Operations {
    /// `POST /tenant`.
    pub create: Mode,
    /// `PUT /tenant/{id}`.
    pub change: Mode,
    /// `PUT /tenant/{id}/disable`.
    pub disable: Mode,
    /// `PUT /tenant/{id}/enable`.
    pub enable: Mode,
    /// `DELETE /tenant/{id}`.
    pub delete: Mode,
}

impl Operations {
    pub(crate) fn all_mut(&mut self) -> [&mut Mode; 5] {
        [
            &mut self.create,
            &mut self.change,
            &mut self.disable,
            &mut self.enable,
            &mut self.delete,
        ]
    }

    pub(crate) fn mode(&self, mutation: Mutation) -> &Mode {
        match mutation {
            Mutation::Create => &self.create,
            Mutation::Change => &self.change,
            Mutation::Disable => &self.disable,
            Mutation::Enable => &self.enable,
            Mutation::Delete => &self.delete,
        }
    }
}

/// Whether an operation is done when it is answered: `"sync"`, `{"async": {…}}` or `{"refuse": {…}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Done when it is answered.
    #[default]
    Sync,
    /// Answered as pending and decided later.
    Async(Plan),
    /// Not done: 422, whatever is sent.
    Refuse(Refuse),
}

/// What a refusal says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Refuse {
    /// Why.
    pub reason: String,
    /// What is wrong with single parameters: parameter to message.
    pub parameter_errors: BTreeMap<String, String>,
}

impl Refuse {
    pub(crate) fn refusal(&self) -> Refusal {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Refusal::new(status, "refused", self.reason.clone()).naming(self.parameter_errors.clone())
    }
}

/// How a request that is not decided at once goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Plan {
    /// When it is decided.
    pub after: After,
    /// What is decided.
    pub outcome: Outcome,
    /// The reason given where the outcome is not `approve`.
    pub reason: String,
    /// What an inquiry asks: parameter to message.
    pub parameter_errors: BTreeMap<String, String>,
    /// What is decided, `after` again, once an inquiry has been answered.
    pub answered: Outcome,
    /// The status of the answer: 202, or 200 or 201 with a pending tenant in the body.
    pub status: AcceptedStatus,
    /// The `Retry-After` of the answer and of reads while the request is pending. `0s`, or
    /// `null` where the whole behaviour is set: none.
    pub retry_after: Option<Wait>,
    /// Give `Retry-After` as an HTTP date.
    pub retry_after_as_date: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            after: After::In(Wait(Duration::from_secs(1))),
            outcome: Outcome::Approve,
            reason: String::new(),
            parameter_errors: BTreeMap::new(),
            answered: Outcome::Approve,
            status: AcceptedStatus(202),
            retry_after: Some(Wait(Duration::from_secs(1))),
            retry_after_as_date: false,
        }
    }
}

/// The status that says "accepted": 200, 201 or 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct AcceptedStatus(u16);

impl TryFrom<u16> for AcceptedStatus {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        if (200..=202).contains(&status) {
            Ok(Self(status))
        } else {
            Err(format!(
                "{status} does not say accepted: use 200, 201 or 202"
            ))
        }
    }
}

impl From<AcceptedStatus> for u16 {
    fn from(status: AcceptedStatus) -> Self {
        status.0
    }
}

/// When a pending request is decided: `"manual"` or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum After {
    /// By hand, over `/_vendor/tenants/{id}/decide` or the web page.
    Manual,
    /// When this time is over.
    In(Wait),
}

impl TryFrom<String> for After {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "manual" {
            Ok(Self::Manual)
        } else {
            text.parse().map(Self::In)
        }
    }
}

impl From<After> for String {
    fn from(after: After) -> Self {
        match after {
            After::Manual => "manual".to_owned(),
            After::In(wait) => wait.to_string(),
        }
    }
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It is done.
    Approve,
    /// It is not done.
    Fail,
    /// A person must give or correct parameters first.
    Inquire,
}

/// What a change does while another request is pending. A delete is always accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhileBusy {
    /// It is refused: 409, code `busy`.
    Refuse,
    /// It is accepted: the pending request is approved at once and the new one takes its place.
    Accept,
}
