//! Answers, refusals, and what a call changed.

use crate::{
    call::Operation,
    store::StoreError,
    tenant::{RequestStatus, Tenant, TenantStatus},
};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is answered to a call.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// JSON, if there is any.
    pub(crate) body: Option<String>,
    pub(crate) effect: Effect,
    /// What the call turned out to ask for, where its method and path alone do not tell.
    pub(crate) operation: Option<Operation>,
}

impl Answer {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: None,
            effect: Effect::default(),
            operation: None,
        }
    }

    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, StoreError> {
        Ok(Self {
            body: Some(serde_json::to_string(body)?),
            ..Self::empty(status)
        })
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    /// For faults that need a body to spoil.
    pub(crate) fn body_or_object(&self) -> Bytes {
        self.body
            .clone()
            .map_or(Bytes::from_static(b"{}"), Bytes::from)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.body {
            Some(body) => (self.status, self.headers, [json], body).into_response(),
            None => (self.status, self.headers).into_response(),
        }
    }
}

/// A call that is not done, and why: the error body of the API.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// What is wrong with single parameters.
    pub(crate) parameters: BTreeMap<String, String>,
    header: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            parameters: BTreeMap::new(),
            header: None,
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such tenant",
        )
    }

    pub(crate) fn unknown_path() -> Self {
        let message = "the tenant API has no such path";
        Self::new(StatusCode::NOT_FOUND, "unknown_path", message)
    }

    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let message = "the path does not have this method";
        let refusal = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        );
        refusal.header(ALLOW, allowed)
    }

    pub(crate) fn header(self, name: HeaderName, value: &'static str) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    /// The same about these parameters.
    pub(crate) fn naming(self, parameters: BTreeMap<String, String>) -> Self {
        Self { parameters, ..self }
    }

    /// The answer that says no with this body.
    pub(crate) fn saying(self, body: Option<&Value>) -> Answer {
        let answer = Answer {
            body: body.map(Value::to_string),
            ..Answer::empty(self.status)
        };
        match self.header {
            Some((name, value)) => answer.header(name, HeaderValue::from_static(value)),
            None => answer,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        // Where a parameter is wrong its name and a message stand in `parameters`. This vendor
        // takes any parameter, so that it has nothing to say there; its inquiries do.
        let (code, message) = (refusal.code, &refusal.message);
        let error = json!({"code": code, "message": message, "parameters": refusal.parameters});
        let body = json!({ "error": error });
        refusal.saying(Some(&body))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Answer::from(self).into_response()
    }
}

/// Why a call did not get the answer it wanted.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The caller must be told.
    Refused(Refusal),
    /// The database failed; the transaction is given up.
    Store(StoreError),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<E: Into<StoreError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a call failed");
        let message = "the vendor's database failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        Refusal::from(self).into_response()
    }
}

/// What a call changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Effect {
    pub(crate) kind: EffectKind,
    /// Whether it is accepted only, and decided later.
    pub(crate) pending: bool,
    /// The tenant that the call is about, if there is one.
    pub(crate) tenant_id: Option<String>,
    pub(crate) external_id: Option<String>,
    /// Where the tenant is after the call. With this, and the request's, the calls alone tell the
    /// whole story, and what a caller promises can be checked against them.
    pub(crate) tenant_status: Option<TenantStatus>,
    /// Where the tenant's latest request is after the call.
    pub(crate) request_status: Option<RequestStatus>,
}

impl Effect {
    pub(crate) fn of(kind: EffectKind, tenant: &Tenant) -> Self {
        Self {
            kind,
            pending: kind != EffectKind::None && tenant.open.is_some(),
            tenant_id: Some(tenant.id.clone()),
            external_id: tenant.external_id.clone(),
            tenant_status: Some(tenant.status),
            request_status: Some(tenant.request.status),
        }
    }
}

/// The kinds of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum EffectKind {
    #[default]
    None,
    Created,
    Changed,
    Disabled,
    Enabled,
    Deleted,
}

impl EffectKind {
    /// The kinds that change something, with the names of their counters.
    pub(crate) const COUNTED: [(Self, &'static str); 5] = [
        (Self::Created, "created"),
        (Self::Changed, "changed"),
        (Self::Disabled, "disabled"),
        (Self::Enabled, "enabled"),
        (Self::Deleted, "deleted"),
    ];
}
