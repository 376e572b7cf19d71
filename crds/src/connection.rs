//! `VendorConnection`: how to reach a vendor, and what its API can be relied on for.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each type in a place of its own, where pub reaches nowhere"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    dialect::Dialect,
    product::Product,
    subscription::{KeyRef, LocalObjectRef},
};

/// How to reach a vendor's tenant API, and what makes a create safe to repeat there.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "fulfillment-operator.io",
    version = "v1alpha1",
    kind = "VendorConnection",
    doc = "A vendor's tenant API: where it is, how to authenticate, and what it can be relied on for.",
    namespaced,
    status = "VendorConnectionStatus",
    derive = "PartialEq",
    category = "fulfillment",
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.subscriptions) || oldSelf.status.subscriptions == 0 || self.spec.url == oldSelf.spec.url").message("url cannot change while Subscriptions have tenants behind this connection (status.subscriptions): their tenants would be lost; make another connection").field_path(".spec.url"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.subscriptions) || oldSelf.status.subscriptions == 0 || self.spec.identity == oldSelf.spec.identity").message("identity cannot change while Subscriptions have tenants behind this connection (status.subscriptions): a create could be repeated; make another connection").field_path(".spec.identity"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Subscriptions", type_ = "integer", json_path = ".status.subscriptions"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct VendorConnectionSpec {
    /// The base URL of the tenant API; /tenant is appended. https, unless the operator was started
    /// with --allow-insecure-vendor-urls. Cannot change while tenants exist behind it.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && self.matches('^https?://[^/?#@]+(/[^?#]*)?$')").message("url is an http or https URL without user, query and fragment, for example https://tenants.acme.example"))]
    pub url: String,

    /// How requests are authenticated. Left out: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// TLS settings. Left out: the public certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// What makes a create safe to repeat. Cannot change while tenants exist behind it.
    #[serde(default)]
    pub identity: Identity,

    /// What the vendor's products take and give. A Subscription that breaks the rules of its product
    /// is Inquiring before the vendor hears of it; one to a product that is not listed is sent as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub products: Vec<Product>,

    /// How long calls and provisioning may take.
    #[serde(default)]
    pub timeouts: Timeouts,

    /// How often the vendor is asked.
    #[serde(default)]
    pub polling: Polling,

    /// How much the vendor is asked at most, over all Subscriptions of this connection.
    #[serde(default)]
    pub budget: Budget,

    /// That the vendor calls back when something has changed: creates carry a callbackUrl. Needs an
    /// operator started with --callback-url; without it the vendor is only polled, and the message of
    /// Ready says so. Left out: the vendor is only polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,

    /// How the vendor's API differs from the canonical one. Left out: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,

    /// What to do where the vendor leaves a choice.
    #[serde(default)]
    pub policies: Policies,
}

/// How a vendor's callbacks are proved to be its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Callback {
    /// The key of a Secret that holds the key callbacks are signed with: Standard Webhooks signatures,
    /// or a bearer JWT by HS256. One key a line, so that a new one is known before the old one goes.
    /// Left out: the token in the callbackUrl is the only proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
}

/// How requests are authenticated: exactly one way.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("[has(self.bearer), has(self.basic), has(self.apiKey), has(self.oauth2)].filter(x, x).size() == 1").message("set exactly one of bearer, basic, apiKey and oauth2"))]
pub struct Auth {
    /// Authorization: Bearer, with a token from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<BearerAuth>,
    /// Authorization: Basic, with the keys username and password of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A header of the vendor's choice, with a key from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyAuth>,
    /// Authorization: Bearer, with a token that the operator gets by the OAuth2 client credentials
    /// grant and renews before it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Auth>,
}

/// Bearer authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct BearerAuth {
    /// The key of a Secret that holds the token.
    pub secret_ref: KeyRef,
}

/// Basic authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct BasicAuth {
    /// A Secret with the keys username and password (type kubernetes.io/basic-auth).
    pub secret_ref: LocalObjectRef,
}

/// Authentication by a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ApiKeyAuth {
    /// The header's name. Default X-API-Key.
    #[serde(default = "default_api_key_header")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub header: String,
    /// The key of a Secret that holds the header's value.
    pub secret_ref: KeyRef,
}

fn default_api_key_header() -> String {
    "X-API-Key".into()
}

/// OAuth2 client credentials (RFC 6749, 4.4).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OAuth2Auth {
    /// The token endpoint. For it holds what holds for url: https, a public address, tls.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && self.matches('^https?://[^/?#@]+(/[^?#]*)?([?][^#]*)?$')").message("tokenUrl is an http or https URL without user and fragment, for example https://login.acme.example/oauth2/token"))]
    pub token_url: String,
    /// The client's id, as the vendor gave it.
    #[schemars(length(min = 1, max = 1024))]
    pub client_id: String,
    /// The key of a Secret that holds the client's secret.
    pub client_secret_ref: KeyRef,
    /// What the token is to be good for. Left out: what the vendor gives without being asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 256),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    pub scopes: Vec<String>,
    /// The API the token is for, where the token endpoint serves several and asks which (the form
    /// field audience, as Auth0 has it). Left out: it is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub audience: Option<String>,
    /// How id and secret are shown to the token endpoint. Basic (default): in the Authorization
    /// header, as the RFC prefers. Body: in the form, for endpoints that look nowhere else.
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
}

/// How a client shows its secret to the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClientAuthentication {
    /// `Authorization: Basic`.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the form.
    Body,
}

/// TLS settings: at least one.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[x_kube(validation = Rule::new("has(self.caBundle) || has(self.clientCertificateRef)").message("set at least one of caBundle and clientCertificateRef"))]
pub struct Tls {
    /// Certificates of the authorities to trust instead of the public ones: PEM, or PEM in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: Option<String>,
    /// A Secret with the keys tls.crt and tls.key (type kubernetes.io/tls): the certificate that is
    /// shown to a vendor who asks for one, and its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<LocalObjectRef>,
}

/// What the vendor offers to make a create safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Identity {
    /// ExternalId (default): the vendor keeps externalId unique and answers a repeated create with
    /// 409 and the tenant. IdempotencyKey: it honours the header Idempotency-Key for as long as
    /// retention says. Lookup: it finds tenants by externalId, and a create whose answer is lost is
    /// looked up. None: it offers nothing; such a create is held until a person says what became of
    /// it.
    pub mode: IdentityMode,
    /// IdempotencyKey: how long the vendor remembers a key, from 1m to 8760h; a create is repeated
    /// for half of it, then held for a person. Default 24h.
    #[schemars(schema_with = "super::schema::retention")]
    pub retention: Duration,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            mode: IdentityMode::default(),
            retention: std::time::Duration::from_secs(24 * 3600).into(),
        }
    }
}

/// The identity modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum IdentityMode {
    /// `externalId` is unique at the vendor; repeating the create answers 409 with the tenant.
    #[default]
    ExternalId,
    /// A create repeated with the same Idempotency-Key has one effect and one answer.
    IdempotencyKey,
    /// Tenants are found by `externalId`.
    Lookup,
    /// The vendor offers nothing.
    None,
}

/// How long calls and provisioning may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct Timeouts {
    /// For a connection to the vendor, from 100ms to 1m. Default 5s.
    #[schemars(schema_with = "super::schema::connect_timeout")]
    pub connect: Duration,
    /// For a whole call, from 100ms to 5m. Default 25s.
    #[schemars(schema_with = "super::schema::request_timeout")]
    pub request: Duration,
    /// For the vendor to decide a request, from 1s to 720h; afterwards it is reported as
    /// ProvisioningTimeout and polled slowly. Default 12h.
    #[schemars(schema_with = "super::schema::provisioning_timeout")]
    pub provisioning: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: std::time::Duration::from_secs(5).into(),
            request: std::time::Duration::from_secs(25).into(),
            provisioning: std::time::Duration::from_secs(12 * 3600).into(),
        }
    }
}

/// How often the vendor is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct Polling {
    /// While a request is undecided, from 1s to 5m; the vendor's Retry-After wins, up to 5m. Four times
    /// as long, up to 5m, while the vendor's callbacks arrive. Default 30s.
    #[schemars(schema_with = "super::schema::pending_interval")]
    pub pending: Duration,
    /// To find drift, from 10s to 24h. Default 10m.
    #[schemars(schema_with = "super::schema::drift_interval")]
    pub interval: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self {
            pending: std::time::Duration::from_secs(30).into(),
            interval: std::time::Duration::from_secs(600).into(),
        }
    }
}

/// How much the vendor is asked at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct Budget {
    /// Calls per second in the long run. Default 20.
    #[schemars(range(min = 1, max = 10000))]
    pub requests_per_second: i64,
    /// Calls that may follow each other at once after a quiet time. Default 40.
    #[schemars(range(min = 1, max = 10000))]
    pub burst: i64,
    /// Calls under way at the same time. Default 8.
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_flight: i64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            requests_per_second: 20,
            burst: 40,
            max_in_flight: 8,
        }
    }
}

/// What to do where the vendor leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct Policies {
    /// When a tenant is gone at the vendor: Recreate (default) purchases it again, Report only
    /// says so.
    pub on_missing: OnMissing,
    /// When it cannot be known whether a create had an effect: Hold (default) until a person
    /// answers, or Retry, which can make a second tenant.
    pub on_unknown_outcome: OnUnknownOutcome,
    /// Suspend a tenant before it is deleted, where the vendor deletes no active one. Default false.
    pub suspend_before_delete: bool,
    /// How many tenants are deleted in a minute at most; the others wait (DeletesPaced). 0: no
    /// limit. Default 30.
    #[schemars(range(min = 0, max = 100_000))]
    pub max_deletes_per_minute: i64,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            on_missing: OnMissing::default(),
            on_unknown_outcome: OnUnknownOutcome::default(),
            suspend_before_delete: false,
            max_deletes_per_minute: 30,
        }
    }
}

/// What to do when a tenant is gone at the vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OnMissing {
    /// Purchase it again.
    #[default]
    Recreate,
    /// Say so and wait for a person.
    Report,
}

/// What to do when it cannot be known whether a create had an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OnUnknownOutcome {
    /// Wait for a person's answer.
    #[default]
    Hold,
    /// Create again; the admin accepts that there may be two.
    Retry,
}

/// A connection as the operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VendorConnectionStatus {
    /// The generation this status speaks of; -1 until the operator has seen the object.
    pub observed_generation: Option<i64>,
    /// How many Subscriptions may have a tenant behind this connection. Written when it leaves or
    /// reaches 0, else at most once a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub subscriptions: Option<i64>,
    /// The last calls were not answered, or were refused with 401, 403 or 429: until then the vendor is
    /// called for nobody but who has changed something. One call is made then, and it is cleared when that is answered.
    // Written as null where there is none: status is merged, and what is left out would stay.
    #[schemars(schema_with = "super::schema::time")]
    pub open_until: Option<Time>,
    /// Ready: the references resolve, and the vendor answered the last call made for a Subscription.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
}
