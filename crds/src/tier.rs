//! `TierConfiguration`: what the vendor and a reseller above the customer agreed on, for one product.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printcolumn repeats the same keys"
)]
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each type in a place of its own, where pub reaches nowhere"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    request::RequestStatus,
    subscription::{
        ConnectionRef, DeletionPolicy, LocalObjectRef, Parameter, ParameterError, ParameterValue,
    },
};

/// A reseller's account with the vendor, and what was agreed on for one product.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "fulfillment-operator.io",
    version = "v1alpha1",
    kind = "TierConfiguration",
    doc = "What the vendor and a reseller above the customer agreed on for one product: as declared in spec, as set up in status. Purchases that name it wait until it is Active.",
    namespaced,
    status = "TierConfigurationStatus",
    derive = "PartialEq",
    shortname = "ftier",
    category = "fulfillment",
    printcolumn(name = "Product", type_ = "string", json_path = ".spec.product"),
    printcolumn(name = "Level", type_ = "integer", json_path = ".spec.level"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Request", type_ = "string", json_path = ".status.request.type"),
    printcolumn(
        name = "Outcome",
        type_ = "string",
        json_path = ".status.request.status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Tenant",
        type_ = "string",
        json_path = ".status.tenantId",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.level == 1 || !has(self.parentRef)").message("a TierConfiguration of level 2 has nobody above it: leave parentRef out").field_path(".parentRef"))]
#[x_kube(validation = Rule::new("has(self.parentRef) == has(oldSelf.parentRef) && (!has(self.parentRef) || self.parentRef.name == oldSelf.parentRef.name)").message("parentRef is immutable: delete this TierConfiguration and apply one with another name").field_path(".parentRef"))]
pub struct TierConfigurationSpec {
    /// The connection to the vendor, the same as that of the Subscriptions below. Immutable.
    #[x_kube(validation = Rule::new("self.name == oldSelf.name && self.kind == oldSelf.kind").message("connectionRef is immutable: delete this TierConfiguration and apply one with another name"))]
    pub connection_ref: ConnectionRef,

    /// The product at the vendor, the same as that of the Subscriptions below. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("product is immutable: delete this TierConfiguration and apply one with another name"))]
    #[schemars(length(min = 1, max = 128))]
    pub product: String,

    /// 1: the reseller who sells to the customer; 2: who sells to that one. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("level is immutable: delete this TierConfiguration and apply one with another name"))]
    #[schemars(range(min = 1, max = 2))]
    pub level: i64,

    /// Who the reseller is.
    pub account: Account,

    /// What was agreed on: the product's parameters of scope tier. Values may come from a Secret or a
    /// ConfigMap in the same namespace; a change is sent with everything that was bought under it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,

    /// Of level 1: the TierConfiguration of level 2 above it, which has to be Active first. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<LocalObjectRef>,

    /// Where the vendor has tenants of resellers (dialect.tierTenants): what becomes of this one's when
    /// this object is deleted and nothing names it any more, Delete (default) or Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Where the vendor has tenants of resellers (dialect.tierTenants): the Secret that the sensitive
    /// parameters of this one's (an initial password, say) are written to. The operator makes it and
    /// never overwrites one it did not make. Without it they are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub output_secret_name: Option<String>,
}

/// A party to a subscription.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("has(self.externalId) || has(self.name)").message("say who it is: set externalId, name or both"))]
pub struct Account {
    /// Your own id of the account, for example of a CRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub external_id: Option<String>,
    /// The account's name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Whom the vendor may turn to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

/// Whom a vendor may turn to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Contact {
    /// The first name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub last_name: Option<String>,
    /// An e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254), regex(pattern = r"^[^@\s]+@[^@\s]+$"))]
    pub email: Option<String>,
    /// A phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub phone: Option<String>,
}

/// Who stands between the vendor and the user of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Tiers {
    /// Who uses the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Account>,
    /// Who sells it to the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier1: Option<Tier>,
    /// Who sells it to tier1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier2: Option<Tier>,
}

impl Tiers {
    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.customer.is_none() && self.tier1.is_none() && self.tier2.is_none()
    }

    /// The tiers that are there, with their level.
    pub fn levels(&self) -> impl Iterator<Item = (i64, &Tier)> {
        let levels = [(1, &self.tier1), (2, &self.tier2)];
        levels
            .into_iter()
            .filter_map(|(level, tier)| Some((level, tier.as_ref()?)))
    }
}

/// A reseller: the account itself, or the TierConfiguration that has it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("has(self.tierConfigurationRef) != (has(self.externalId) || has(self.name) || has(self.contact))").message("set either tierConfigurationRef, or the account itself: externalId, name and contact"))]
pub struct Tier {
    /// The TierConfiguration in the same namespace that has the account. The purchase waits until it is
    /// Active, and carries its parameters. It stays this one while there is a tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_configuration_ref: Option<LocalObjectRef>,
    /// Your own id of the account, for example of a CRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub external_id: Option<String>,
    /// The account's name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Whom the vendor may turn to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

impl Tier {
    /// The account that it says itself.
    pub fn account(&self) -> Account {
        Account {
            external_id: self.external_id.clone(),
            name: self.name.clone(),
            contact: self.contact.clone(),
        }
    }

    /// Whether it is this TierConfiguration.
    pub fn names(&self, tier_configuration: &str) -> bool {
        let reference = self.tier_configuration_ref.as_ref();
        reference.is_some_and(|reference| reference.name == tier_configuration)
    }
}

impl From<Account> for Tier {
    fn from(account: Account) -> Self {
        Self {
            tier_configuration_ref: None,
            external_id: account.external_id,
            name: account.name,
            contact: account.contact,
        }
    }
}

/// The tier as set up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TierConfigurationStatus {
    /// The generation this status speaks of; -1 until the operator has seen the object.
    pub observed_generation: Option<i64>,
    /// The last token of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// Processing until the setup is approved, then Active, whatever becomes of an update. Processing
    /// again while the reseller's own tenant is missing, made anew or being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<TierState>,
    /// The vendor's id of the reseller's own tenant, where the vendor has one (dialect.tierTenants).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub tenant_id: Option<String>,
    /// The current request, or the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<TierRequest>,
    /// What the vendor gave, where the reseller has a tenant there: ids, links and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub parameters: Vec<ParameterValue>,
    /// A keyed hash of the account and parameters that were approved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub inputs_hash: Option<String>,
    /// What is wrong with single parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub parameter_errors: Vec<ParameterError>,
    /// Ready, and Reconciling or Stalled while that is not so.
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Whether something can be bought under a tier: Active once its setup is approved, and Processing until
/// then and while the reseller's own tenant at the vendor is missing, made anew or being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TierState {
    /// The setup is not approved, or the reseller's own tenant is not there.
    Processing,
    /// It can be bought under.
    Active,
}

/// What a tier's request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TierRequestType {
    /// The tier, for the first time.
    Setup,
    /// Another account or other parameters.
    Update,
}

/// A request of a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct TierRequest {
    /// Identifies the request in status and logs.
    #[schemars(length(max = 64))]
    pub id: String,
    /// What is asked for.
    #[serde(rename = "type")]
    pub type_: TierRequestType,
    /// Where it stands.
    pub status: RequestStatus,
    /// The generation of the TierConfiguration that asked for it.
    pub generation: i64,
    /// The vendor's code for a failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub reason: String,
    /// The vendor's words, cut and cleaned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time")]
    pub started_at: Option<Time>,
    /// When it was decided; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time")]
    pub finished_at: Option<Time>,
}
