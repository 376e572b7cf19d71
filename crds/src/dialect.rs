//! How a vendor's API differs from the canonical one: expressions that write its requests and read its
//! answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How this vendor's API differs from the canonical one, in the Common Expression Language (CEL). What
/// is left out is canonical.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct Dialect {
    /// Whether a reseller has a tenant of its own, which those of its customers stand under: each
    /// TierConfiguration then has one made, with the calls below, and is Active once that is.
    /// Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tier_tenants: bool,
    /// The call that creates a tenant. Canonical: POST /tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Call>,
    /// The call that reads one. Canonical: GET /tenant/{id}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get: Option<Call>,
    /// The call that asks how a request goes on whose answer named an operation (answer.operation);
    /// once it is approved, the tenant is read. Left out: the tenant itself is read until it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<Call>,
    /// The call that finds tenants by externalId. Canonical: GET /tenant?externalId=.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Call>,
    /// The call that changes limits and parameters. Canonical: PUT /tenant/{id}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Call>,
    /// The call that suspends. Canonical: PUT /tenant/{id}/disable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable: Option<Call>,
    /// The call that resumes. Canonical: PUT /tenant/{id}/enable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable: Option<Call>,
    /// The call that deletes. Canonical: DELETE /tenant/{id}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<Call>,
    /// How the answers are read: expressions over answer, the JSON body of a success, and headers. Of one
    /// without a body operation and, to a create, id are read, where they name headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerMap>,
    /// How the bodies of refusals (4xx and 5xx) are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorMap>,
    /// The vendor's words for a tenant's status, each with the one it stands for. A word that is neither
    /// here nor canonical says that there is a tenant and no more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "x-kubernetes-validations" = [super::schema::short_names()]))]
    pub status_words: BTreeMap<String, StatusWord>,
    /// The vendor's words for where a request stands, each with the one it stands for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "x-kubernetes-validations" = [super::schema::short_names()]))]
    pub request_words: BTreeMap<String, RequestWord>,
}

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct Call {
    /// The method. Left out: the canonical call's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// The path under the connection's url. What stands in braces is an expression, for example
    /// /tenants/{id}; its value becomes one segment of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: Option<String>,
    /// The parameters of the query: an expression each; null leaves one out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::expressions")]
    pub query: BTreeMap<String, String>,
    /// Headers: an expression each, for example If-Match; null leaves one out. Those that
    /// authenticate or frame the message are the operator's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::expressions")]
    pub headers: BTreeMap<String, String>,
    /// The JSON body: an expression that gives an object, or null for none. It can use subscription
    /// (externalId, product, limits, parameters, tiers, tier, callbackUrl); but for create and lookup id
    /// (the tenant's); in poll operation (the vendor's token of the request under way); in poll, change,
    /// disable, enable and delete current and headers (the tenant's body and the headers it came with,
    /// read right before this call because one of them is named).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub body: Option<String>,
    /// How this call's answers are read, where not as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerMap>,
}

/// The HTTP methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(inline)]
pub enum HttpMethod {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

/// How an answer is read: expressions over answer, its JSON body, and headers. A key that is not there
/// leaves the field out. Those left out here read the canonical field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct AnswerMap {
    /// Where in the body the tenant stands; to a lookup, the list of them. The other expressions see
    /// it as answer. Canonical: answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub tenant: Option<String>,
    /// The tenant's id: a text or a number. Canonical: answer.id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub id: Option<String>,
    /// The name we gave it. Canonical: answer.externalId.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub external_id: Option<String>,
    /// Its status, as one of statusWords or a canonical one: pending, active, suspended, terminated,
    /// failed. Null: the vendor does not say. Canonical: answer.status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub status: Option<String>,
    /// Its limits, an object by name. Null: the vendor does not say, and has them as they were sent;
    /// an empty object: it has none yet. Canonical: answer.limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub limits: Option<String>,
    /// What it gives, an object by name: activation links and the like. Canonical: answer.parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub parameters: Option<String>,
    /// The names of those parameters that are secrets. Canonical: answer.sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub sensitive: Option<String>,
    /// The vendor's token of an operation that is not done, which poll asks after. Canonical: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub operation: Option<String>,
    /// Where the request stands, as one of requestWords or a canonical one: pending, inquiring,
    /// approved, failed. Null: the tenant's status tells. Canonical: answer.request.status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub request_status: Option<String>,
    /// Why, in the vendor's words. Canonical: answer.request.reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub request_reason: Option<String>,
    /// What is wrong with single parameters, an object by name or a list of {name, message}. Canonical:
    /// answer.request.parameterErrors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub parameter_errors: Option<String>,
}

/// How the body of a refusal is read: expressions over answer, its JSON body, and status, the HTTP
/// status. A key that is not there leaves the field out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct ErrorMap {
    /// The vendor's code. Canonical: answer.error.code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub code: Option<String>,
    /// What it says. Canonical: answer.error.message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub message: Option<String>,
    /// What is wrong with single parameters, an object by name or a list of {name, message}: the request is then Inquiring.
    /// Canonical: answer.error.parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub parameters: Option<String>,
    /// True where the vendor is only busy with this tenant: nothing happened, and the call is tried
    /// again later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub busy: Option<String>,
}

/// What a vendor's word for a tenant's status stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StatusWord {
    /// Not decided.
    Pending,
    /// It works.
    Active,
    /// It is disabled.
    Suspended,
    /// It is gone, and still shown.
    Terminated,
    /// It never came to be.
    Failed,
}

/// What a vendor's word for where a request stands stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RequestWord {
    /// Not decided.
    Pending,
    /// It waits for input.
    Inquiring,
    /// Done.
    Approved,
    /// Refused.
    Failed,
}
