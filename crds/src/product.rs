//! What a product takes and gives: limits and parameters, in Connect's words.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each type in a place of its own, where pub reaches nowhere"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LimitValue;

/// A product of this vendor. A Subscription to it that breaks these rules is Inquiring before the
/// vendor hears of it; a product that is not listed has no rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Product {
    /// The product, as in a Subscription's spec.product.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The limits it has. Left out: any limit is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub limits: Vec<LimitDefinition>,
    /// The parameters it has. Left out: any parameter is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<ParameterDefinition>,
    /// A plain text for the user that is written into status.activation once there is a tenant.
    /// {name} stands for the parameter of that name as the vendor gave it, {tenantId} for the
    /// tenant's id; what stays secret or is not there leaves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub template: Option<String>,
}

/// A limit of a product.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("!has(self.minimum) || !has(self.maximum) || type(self.minimum) != int || type(self.maximum) != int || int(self.minimum) <= int(self.maximum)").message("minimum cannot be more than maximum"))]
pub struct LimitDefinition {
    /// Its name, as in spec.limits.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z][A-Za-z0-9._-]*$")
    )]
    pub name: String,
    /// What is counted, for messages: seat, GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub unit: Option<String>,
    /// The least that can be ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<LimitValue>,
    /// The most that can be ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<LimitValue>,
    /// How many decimals it may have. Default 0: whole numbers.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9))]
    pub precision: i64,
    /// Whether it may be unlimited. Default false.
    #[serde(default)]
    pub unlimited: bool,
    /// Whether a Subscription has to say it. Default false.
    #[serde(default)]
    pub required: bool,
    /// Where in bodies it stands, as names with dots between them: licences.limit. It is written there
    /// by a create and a change, and read there in answers. Where the connection's dialect writes a
    /// body, or reads the limits of an answer, its expression says so instead. Default limits.NAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]*([.][A-Za-z_][A-Za-z0-9_-]*){0,7}$")
    )]
    pub path: Option<String>,
}

/// A parameter of a product.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("!(self.type in ['dropdown', 'choice']) || (has(self.choices) && self.choices.size() > 0)").message("a parameter of type dropdown or choice needs choices"))]
#[x_kube(validation = Rule::new("!has(self.minLength) || !has(self.maxLength) || self.minLength <= self.maxLength").message("minLength cannot be more than maxLength"))]
#[x_kube(validation = Rule::new("!self.readonly || !self.required || has(self.default) || self.phase == 'fulfillment'").message("a parameter that is required and readonly needs a default: nobody else can give its value"))]
#[x_kube(validation = Rule::new("!has(self.default) || ((!has(self.minLength) || self.default.size() >= self.minLength) && (!has(self.maxLength) || self.default.size() <= self.maxLength))").message("default has fewer characters than minLength or more than maxLength"))]
pub struct ParameterDefinition {
    /// The vendor's name for it, as in spec.parameters.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    )]
    pub name: String,
    /// What its value is. Default text.
    #[serde(rename = "type", default)]
    pub type_: ParameterType,
    /// Who fills it in. ordering (default): the Subscription; fulfillment: the vendor.
    #[serde(default)]
    pub phase: Phase,
    /// Whose it is. subscription (default): each Subscription's own; tier: the TierConfiguration's
    /// above it.
    #[serde(default)]
    pub scope: Scope,
    /// Whether a Subscription has to give it. Default false.
    #[serde(default)]
    pub required: bool,
    /// Whether no two Subscriptions to this product, or TierConfigurations for it, may have the same
    /// value. Values from Secrets and ConfigMaps are not compared. Default false.
    #[serde(default)]
    pub unique: bool,
    /// Whether a value the vendor gives is kept out of status. Default false.
    #[serde(default)]
    pub hidden: bool,
    /// Whether a Subscription may not set it: the default is sent. Default false.
    #[serde(default)]
    pub readonly: bool,
    /// Whether it is a secret: given, only from a Secret; received, only into the output Secret.
    /// Default false.
    #[serde(default)]
    pub sensitive: bool,
    /// The least number of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4096))]
    pub min_length: Option<i64>,
    /// The most characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_length: Option<i64>,
    /// The values it may have (dropdown, choice).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["value"]))]
    pub choices: Vec<Choice>,
    /// The value that is sent where a Subscription gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub default: Option<String>,
    /// What to fill in, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub hint: Option<String>,
    /// Where in bodies it stands, as names with dots between them: account.firstName. It is written
    /// there by a create and a change, and read there in answers. Where the connection's dialect writes
    /// a body, or reads the parameters of an answer, its expression says so instead. Default
    /// parameters.NAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]*([.][A-Za-z_][A-Za-z0-9_-]*){0,7}$")
    )]
    pub path: Option<String>,
}

impl ParameterDefinition {
    /// Whether its value is a secret: it is called sensitive, or a password.
    pub fn is_secret(&self) -> bool {
        self.sensitive || self.type_ == ParameterType::Password
    }
}

/// A value a parameter may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Choice {
    /// The value.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
    /// What it means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub label: Option<String>,
}

/// Whose a parameter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Scope {
    /// Each Subscription has its own value.
    #[default]
    Subscription,
    /// A TierConfiguration has it, for all that is bought under it.
    Tier,
}

/// The types of parameters, by Connect's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ParameterType {
    /// Any text.
    #[default]
    Text,
    /// One of the choices, from a list.
    Dropdown,
    /// A text that is not shown.
    Password,
    /// An e-mail address.
    Email,
    /// `true` or `false`.
    Checkbox,
    /// One label of a domain name.
    Subdomain,
    /// A domain name.
    Domain,
    /// A postal address.
    Address,
    /// A telephone number.
    Phone,
    /// A JSON object.
    Object,
    /// An http or https URL.
    Url,
    /// One of the choices.
    Choice,
}

/// Who fills a parameter in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Phase {
    /// The Subscription.
    #[default]
    Ordering,
    /// The vendor.
    Fulfillment,
}
