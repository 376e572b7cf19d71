//! Dialects: what the tenant API looks like on the wire.
//!
//! A dialect is translation at the edge. It turns a call into what the desk takes and the desk's
//! answer into what its callers expect; tenants, decisions, faults and the record of calls are the
//! same behind each. So there is one file per dialect, and it says nothing else.

mod bare;
mod canonical;
mod operation;
mod reseller_tree;
mod scenario;

pub(crate) use operation::{Task, last_operation};
pub(crate) use reseller_tree::Node;

use crate::{
    Behavior, Identity,
    answer::{Answer, Refusal, Trouble},
    call::{Call, Operation},
    desk::{Answered, Desk},
    tenant::Tenant,
};
use axum::extract::Query;
use http::StatusCode;
use serde::Serialize;

/// What the tenant API looks like on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// As `openapi.yaml` says.
    #[default]
    Canonical,
    /// Purchases are `Attributes`, the only limit is text, and there is one word for a status.
    Scenario,
    /// Customers below partners, each of a version that a change must name.
    ResellerTree,
    /// Nothing is done at once; what becomes of it is asked by the number of an operation.
    Operation,
    /// A number and a word, and nothing that makes a repeated create safe.
    Bare,
}

impl Dialect {
    /// What vendors of this dialect offer so that a repeated create makes no second tenant.
    #[must_use]
    pub const fn identity(self) -> Identity {
        match self {
            Self::Canonical | Self::ResellerTree => Identity::ExternalId,
            Self::Scenario => Identity::Lookup,
            Self::Operation => Identity::IdempotencyKey,
            Self::Bare => Identity::None,
        }
    }

    pub(crate) fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Canonical => &canonical::Canonical,
            Self::Scenario => &scenario::Scenario,
            Self::ResellerTree => &reseller_tree::ResellerTree,
            Self::Operation => &operation::Operations,
            Self::Bare => &bare::Bare,
        }
    }
}

/// How calls are read and answers are written.
pub(crate) trait Wire: Sync {
    /// Where the tenants are.
    fn path(&self) -> &'static str {
        "/tenant"
    }

    /// What a `PUT` of a tenant asks for, as far as the call alone tells.
    fn put(&self, _call: &Call) -> Operation {
        Operation::Change
    }

    /// What the dialect makes of the vendor's behaviour.
    fn adapt(&self, _behavior: &mut Behavior) {}

    fn create(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered;

    fn lookup(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered;

    fn get(&self, desk: &mut Desk<'_, '_>, id: &str) -> Answered;

    fn change(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered;

    /// Enables the tenant if `on`, otherwise disables it, where both have paths of their own.
    fn switch(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call, on: bool) -> Answered;

    fn delete(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered;

    /// How the dialect says no.
    fn refuse(&self, refusal: Refusal) -> Answer;
}

/// The value of that name in the call's query.
fn query(call: &Call, name: &str) -> Result<Option<String>, Refusal> {
    let invalid = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", message);
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&call.uri)
        .map_err(|error| invalid(error.body_text()))?;
    let mut values = pairs.into_iter().filter(|(given, _)| given == name);
    let value = values.next().map(|(_, value)| value);
    match values.next() {
        None => Ok(value),
        Some(_) => Err(invalid(format!("{name} is there twice"))),
    }
}

/// The tenant that an answer is about, as it is after the call.
fn subject(desk: &mut Desk<'_, '_>, answer: &Answer) -> Result<Tenant, Trouble> {
    let id = answer.effect.tenant_id.as_deref().unwrap_or_default();
    let tenant = desk.tables.tenant(id, desk.now)?;
    Ok(tenant.ok_or_else(Refusal::not_found)?)
}

/// The answer with this body in place of its own.
fn with_body(answer: Answer, body: &impl Serialize) -> Answered {
    Ok(Answer {
        body: Some(serde_json::to_string(body)?),
        ..answer
    })
}

/// `desk.enable` or `desk.disable`.
fn switched(desk: &mut Desk<'_, '_>, id: &str, on: bool) -> Answered {
    if on {
        desk.enable(id)
    } else {
        desk.disable(id)
    }
}
