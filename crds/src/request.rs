//! Fulfillment requests: what a vendor approves or fails.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a fulfillment request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RequestType {
    /// A new tenant.
    Purchase,
    /// Other limits or parameters.
    Change,
    /// The tenant disabled.
    Suspend,
    /// The tenant enabled.
    Resume,
    /// The tenant gone.
    Cancel,
}

impl RequestType {
    /// The word as it stands in status, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "Purchase",
            Self::Change => "Change",
            Self::Suspend => "Suspend",
            Self::Resume => "Resume",
            Self::Cancel => "Cancel",
        }
    }
}

/// Where a fulfillment request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RequestStatus {
    /// Sent, or about to be; not decided.
    Pending,
    /// The vendor waits for input.
    Inquiring,
    /// Done.
    Approved,
    /// Refused.
    Failed,
    /// The outcome of a create cannot be known.
    Unknown,
}

impl RequestStatus {
    /// The word as it stands in status, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Inquiring => "Inquiring",
            Self::Approved => "Approved",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether the vendor has decided for good.
    pub fn is_final(self) -> bool {
        match self {
            Self::Approved | Self::Failed => true,
            Self::Pending | Self::Inquiring | Self::Unknown => false,
        }
    }
}

/// A fulfillment request: the current one, or one of the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Request {
    /// Identifies the request in status and logs.
    #[schemars(length(max = 64))]
    pub id: String,
    /// What is asked for.
    #[serde(rename = "type")]
    pub type_: RequestType,
    /// Where it stands. Unknown: the outcome of a create cannot be known.
    pub status: RequestStatus,
    /// The generation of the Subscription that asked for it.
    pub generation: i64,
    /// The vendor's code for a failure, or why a pending request is not delivered yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub reason: String,
    /// The vendor's words, cut and cleaned, or what the request corrected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The vendor's token of the operation under way, where its dialect has one; absent once it is
    /// decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub operation: Option<String>,
    /// How many times it was sent.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempts: i64,
    /// When it was first sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time")]
    pub started_at: Option<Time>,
    /// Of a create whose outcome is unknown: since when it can have no effect any more. Only from then
    /// on does it count that a person says that it made no tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time")]
    pub settled_at: Option<Time>,
    /// When it was decided; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time")]
    pub finished_at: Option<Time>,
}
