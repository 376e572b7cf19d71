//! The tenant and the request under way for it: what is stored, and what the API shows of it.

use crate::{
    behavior::{Plan, merge_objects},
    dialect::{Node, Task},
    limit::Limits,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt};

pub(crate) type Object = Map<String, Value>;

/// A tenant as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    pub(crate) id: String,
    /// Counts up, so that tenants can be listed in the order they came.
    pub(crate) number: u64,
    pub(crate) external_id: Option<String>,
    pub(crate) product: Option<String>,
    pub(crate) status: TenantStatus,
    /// What was ordered and approved.
    pub(crate) terms: Terms,
    /// Parameters that the vendor gives to the customer, `activation_link` for example.
    pub(crate) outputs: Object,
    /// The outputs that only the customer may see.
    pub(crate) sensitive: Vec<String>,
    pub(crate) callback_url: Option<String>,
    pub(crate) created: Timestamp,
    /// The latest request, whether it is decided or not.
    pub(crate) request: Request,
    /// Its plan, as long as it is not decided.
    pub(crate) open: Option<Open>,
    /// Its place among resellers and customers, in the dialect that has one.
    #[serde(default)]
    pub(crate) tree: Option<Node>,
    /// The operations that were begun for it, in the dialect that numbers them.
    #[serde(default)]
    pub(crate) tasks: Vec<Task>,
}

/// What the customer ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) parameters: Object,
    pub(crate) tiers: Object,
}

impl Terms {
    /// These terms with what `change` names replaced; what it does not name stays.
    pub(crate) fn with(&self, change: &Self) -> Self {
        let mut terms = self.clone();
        for (name, limit) in &change.limits {
            // An equal limit keeps the form it has, so that nothing seems to have changed.
            if terms.limits.get(name) != Some(limit) {
                terms.limits.insert(name.clone(), limit.clone());
            }
        }
        merge_objects(&mut terms.parameters, &change.parameters);
        merge_objects(&mut terms.tiers, &change.tiers);
        terms
    }
}

/// The operations that change a tenant. Each of them is a request that is approved or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Mutation {
    Create,
    Change,
    Disable,
    Enable,
    Delete,
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Delete => "delete",
        })
    }
}

/// A request that is not decided yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Open {
    pub(crate) mutation: Mutation,
    /// The terms that hold once it is approved.
    pub(crate) terms: Terms,
    pub(crate) plan: Plan,
    /// When the plan decides; never, if that is done by hand or an inquiry waits for its answer.
    pub(crate) due: Option<Timestamp>,
}

/// Where a tenant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TenantStatus {
    Pending,
    Active,
    Suspended,
    Terminated,
    Failed,
}

impl TenantStatus {
    /// Whether there is something behind the tenant that costs money.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Suspended)
    }
}

impl fmt::Display for TenantStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Terminated => "terminated",
            Self::Failed => "failed",
        })
    }
}

/// The latest request of a tenant, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) status: RequestStatus,
    pub(crate) reason: String,
    pub(crate) parameter_errors: BTreeMap<String, String>,
}

impl Request {
    /// A request of which there is nothing more to say than its status.
    pub(crate) fn plain(status: RequestStatus) -> Self {
        Self {
            status,
            reason: String::new(),
            parameter_errors: BTreeMap::new(),
        }
    }
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RequestStatus {
    Pending,
    Inquiring,
    Approved,
    Failed,
}

impl fmt::Display for RequestStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Inquiring => "inquiring",
            Self::Approved => "approved",
            Self::Failed => "failed",
        })
    }
}

/// A tenant as the API shows it: the body of every answer that has one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    status: TenantStatus,
    limits: &'a Limits,
    parameters: &'a Object,
    sensitive: &'a [String],
    request: &'a Request,
}

impl Tenant {
    pub(crate) fn view(&self, with_external_id: bool) -> View<'_> {
        View {
            id: &self.id,
            external_id: self.external_id.as_deref().filter(|_| with_external_id),
            status: self.status,
            limits: &self.terms.limits,
            parameters: &self.outputs,
            sensitive: &self.sensitive,
            request: &self.request,
        }
    }
}
