//! `Subscription`: a SaaS subscription as declared, and the state of its fulfillment.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each type in a place of its own, where pub reaches nowhere"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{limits::Limits, request::Request, tier::Tiers};

/// What is subscribed to, and how it should be. Fields left out are not managed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "fulfillment-operator.io",
    version = "v1alpha1",
    kind = "Subscription",
    doc = "A SaaS subscription at a vendor: as declared in spec, as fulfilled in status.",
    namespaced,
    status = "SubscriptionStatus",
    derive = "PartialEq",
    shortname = "fsub",
    category = "fulfillment",
    // Rules are evaluated at every write of status too, and reading a field costs the API server a copy of
    // its object's whole schema: what most have not set ends them first.
    validation = Rule::new("!has(oldSelf.spec.tiers) || !has(oldSelf.status) || !has(oldSelf.status.tenantId) || (has(oldSelf.status.state) && oldSelf.status.state == \"Terminated\") || (oldSelf.spec.tiers.?tier1.?tierConfigurationRef.?name.orValue(\"\") in [\"\", self.spec.?tiers.?tier1.?tierConfigurationRef.?name.orValue(\"\")] && (oldSelf.spec.tiers.?tier2.?tierConfigurationRef.?name.orValue(\"\") in [\"\", self.spec.?tiers.?tier2.?tierConfigurationRef.?name.orValue(\"\")] || (self.spec.?tiers.?tier2.?tierConfigurationRef.?name.orValue(\"\") == \"\" && self.spec.?tiers.?tier1.?tierConfigurationRef.?name.orValue(\"\") != \"\")))").message("tierConfigurationRef of tier1 and tier2 cannot change while there is a tenant (status.tenantId): it stays where it was bought; take the old one back, or delete this Subscription and apply one with another name").field_path(".spec.tiers"),
    printcolumn(name = "Product", type_ = "string", json_path = ".spec.product"),
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
#[x_kube(validation = Rule::new("has(self.externalId) ? has(oldSelf.externalId) && self.externalId == oldSelf.externalId : !has(oldSelf.externalId)").message("externalId is immutable, and can neither be added nor removed later: delete this Subscription and apply one with another name").field_path(".externalId"))]
pub struct SubscriptionSpec {
    /// The connection to the vendor. Immutable.
    #[x_kube(validation = Rule::new("self.name == oldSelf.name && self.kind == oldSelf.kind").message("connectionRef is immutable: a tenant cannot move to another vendor; delete this Subscription and apply one with another name"))]
    pub connection_ref: ConnectionRef,

    /// The product at the vendor, in the vendor's own word, for example mail-pro. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("product is immutable: delete this Subscription and apply one with another name"))]
    #[schemars(length(min = 1, max = 128))]
    pub product: String,

    /// Active (default) or Suspended. Delete the object to end the subscription.
    #[serde(default)]
    pub state: DesiredState,

    /// Resource limits by name: an integer, a decimal in quotes ("1.5") or unlimited. A limit taken
    /// out is no longer compared; the vendor keeps what it has.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[A-Za-z][A-Za-z0-9._-]{0,62}$'))").message("a limit's name is up to 63 letters, digits, '.', '_' or '-', and begins with a letter"))]
    pub limits: Limits,

    /// Parameters of the order, for example a phone number; values may come from a Secret or a
    /// ConfigMap in the same namespace, and a change there is sent to the vendor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,

    /// Who stands between the vendor and the user: sent with the order, and again when it changes.
    #[serde(default, skip_serializing_if = "Tiers::is_empty")]
    pub tiers: Tiers,

    /// The name the vendor knows this subscription by. Derived by default from namespace and name
    /// under the installation key; set it only where the vendor must see an id of yours. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$")
    )]
    pub external_id: Option<String>,

    /// What to do where the vendor has a tenant of the externalId set here: CreateOnly (default)
    /// takes it for somebody else's, AdoptOrCreate takes it over, AdoptOnly takes it over and never
    /// creates one. Without externalId it says nothing.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// What becomes of the tenant when this object is deleted: Delete (default) or Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// How long the tenant of a deleted object is only suspended, from 0s to 8760h, before it is
    /// deleted at the vendor. Until then it can be taken back: set deletionPolicy: Retain on the
    /// terminating object, which lets it go and keeps the tenant, and apply it again. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::grace_period")]
    pub deletion_grace_period: Option<Duration>,

    /// The Secret that the vendor's sensitive parameters (an initial password, say) are written to.
    /// The operator makes it and never overwrites one it did not make. Without it they are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub output_secret_name: Option<String>,

    /// How often the vendor's side is read to find drift, from 10s to 24h. Default: the
    /// connection's polling.interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::interval")]
    pub interval: Option<Duration>,
}

/// Names a connection: one in the same namespace, or one of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct ConnectionRef {
    /// The kind of connection. VendorConnection (default): one in the same namespace.
    /// ClusterVendorConnection: one of the whole cluster, which has to allow this namespace.
    #[serde(default)]
    pub kind: ConnectionKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The kinds a `connectionRef` may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConnectionKind {
    /// A connection in the Subscription's own namespace.
    #[default]
    VendorConnection,
    /// A connection of the whole cluster that allows the Subscription's namespace.
    ClusterVendorConnection,
}

impl ConnectionKind {
    /// The word as it stands in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VendorConnection => "VendorConnection",
            Self::ClusterVendorConnection => "ClusterVendorConnection",
        }
    }
}

/// The state a user can declare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DesiredState {
    /// The tenant works.
    #[default]
    Active,
    /// The tenant is disabled and keeps its data.
    Suspended,
}

/// Whether a tenant that is there already under a claimed externalId is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AdoptionPolicy {
    /// It is somebody else's: a Conflict.
    #[default]
    CreateOnly,
    /// It is taken over; where there is none, one is created.
    AdoptOrCreate,
    /// It is taken over; where there is none, nothing is created.
    AdoptOnly,
}

/// What deleting the object does to the tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DeletionPolicy {
    /// The tenant is deleted at the vendor before the object goes.
    #[default]
    Delete,
    /// The object goes and the tenant stays; an event names it.
    Retain,
}

/// A parameter of the order.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("[has(self.value), has(self.structuredValue), has(self.valueFrom)].filter(x, x).size() == 1").message("set exactly one of value, structuredValue and valueFrom"))]
pub struct Parameter {
    /// The vendor's name for it, for example contact_phone.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    )]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// Its value where that has parts, sent as a JSON object. An address has address_line1,
    /// address_line2, city, state, postal_code and country; a phone country_code, area_code,
    /// phone_number and extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::structured_value")]
    pub structured_value: Option<BTreeMap<String, String>>,
    /// Where its value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ParameterSource>,
}

/// Where a parameter's value is kept, in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message("set exactly one of secretKeyRef and configMapKeyRef"))]
pub struct ParameterSource {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// A key of a Secret or ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct KeyRef {
    /// The name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The name of an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct LocalObjectRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The subscription as fulfilled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionStatus {
    /// The generation this status speaks of; -1 until the operator has seen the object.
    pub observed_generation: Option<i64>,
    /// The last token of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// The name the vendor knows this subscription by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub external_id: Option<String>,
    /// The vendor's id of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub tenant_id: Option<String>,
    /// The state of the subscription, whatever became of the last request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SubscriptionState>,
    /// The current fulfillment request, or the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The last ten finished requests, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<Request>,
    /// What a create that nobody has an answer to was sent with, so that it can be repeated with the
    /// same bytes (mode IdempotencyKey).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<CreateBody>,
    /// The limits as the vendor reports them.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    #[schemars(schema_with = "super::schema::reported_limits")]
    pub limits: Limits,
    /// The parameters the vendor gave, for example activation_link; sensitive ones are in the
    /// output Secret only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<ParameterValue>,
    /// The product's template, filled in with what the vendor gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub activation: Option<String>,
    /// A keyed hash of the parameters and tiers the vendor last took, so that a change made while the
    /// operator was away is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub inputs_hash: Option<String>,
    /// The same of those that the vendor was sent last and has not taken: it has not decided, or
    /// refused them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sent_inputs_hash: Option<String>,
    /// What the vendor, or the product's own rules, say is wrong with a parameter; limits stand here
    /// as limits.name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameter_errors: Vec<ParameterError>,
    /// Where the vendor's side differs from what is declared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub drift: Vec<Drift>,
    /// Ready, Reconciling, Stalled and Approved; Reconciling and Stalled only while they are true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What a create was sent with, without the values that are kept in Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct CreateBody {
    /// The limits.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    #[schemars(schema_with = "super::schema::reported_limits")]
    pub limits: Limits,
    /// The parameters that are not secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub parameters: Vec<SentParameter>,
    /// The names of the parameters that are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)), extend("x-kubernetes-list-type" = "atomic"))]
    pub secrets: Vec<String>,
    /// A keyed hash of all parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub inputs: Option<String>,
}

/// A parameter as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct SentParameter {
    /// The vendor's name for it.
    #[schemars(length(max = 128))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
    /// The value is a JSON object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub structured: bool,
}

/// The state of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SubscriptionState {
    /// The purchase is not decided.
    Processing,
    /// The tenant works.
    Active,
    /// The tenant is disabled.
    Suspended,
    /// The tenant is being deleted.
    Terminating,
    /// There is no tenant: the purchase failed, or it is gone.
    Terminated,
}

/// A parameter the vendor gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct ParameterValue {
    /// The vendor's name for it.
    #[schemars(length(max = 128))]
    pub name: String,
    /// Its value; structured values as JSON.
    #[schemars(length(max = 2048))]
    pub value: String,
}

/// What the vendor says is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct ParameterError {
    /// The parameter's name.
    #[schemars(length(max = 128))]
    pub name: String,
    /// The vendor's words, cut and cleaned.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// One difference between what is declared and what the vendor has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Drift {
    /// Which field, for example limits.seats or state.
    #[schemars(length(max = 80))]
    pub field: String,
    /// The declared value.
    #[schemars(length(max = 64))]
    pub desired: String,
    /// The vendor's value.
    #[schemars(length(max = 64))]
    pub observed: String,
    /// When it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time")]
    pub since: Option<Time>,
}
