//! The Kubernetes API of the fulfillment operator: types only, no client and no clock.
//!
//! Group `fulfillment-operator.io`, version `v1alpha1`. The words are CloudBlue Connect's for
//! fulfillment and Kubernetes' for everything else. The YAML beside this crate is generated from
//! these types; `UPDATE=1 cargo test -p fulfillment-crds` rewrites it.

mod cluster_connection;
mod connection;
mod dialect;
mod limits;
mod names;
mod product;
mod reason;
mod request;
mod schema;
mod subscription;
mod tier;

pub use cluster_connection::{ClusterVendorConnection, ClusterVendorConnectionSpec};
pub use connection::{
    ApiKeyAuth, Auth, BasicAuth, BearerAuth, Budget, Callback, ClientAuthentication, Identity,
    IdentityMode, OAuth2Auth, OnMissing, OnUnknownOutcome, Policies, Polling, Timeouts, Tls,
    VendorConnection, VendorConnectionSpec, VendorConnectionStatus,
};
pub use dialect::{AnswerMap, Call, Dialect, ErrorMap, HttpMethod, RequestWord, StatusWord};
pub use limits::{LimitValue, Limits};
pub use names::{annotations, finalizers};
pub use product::{
    Choice, LimitDefinition, ParameterDefinition, ParameterType, Phase, Product, Scope,
};
pub use reason::{ConditionType, Reason};
pub use request::{Request, RequestStatus, RequestType};
pub use schema::{
    all_crds, cluster_vendor_connection_crd, subscription_crd, tier_configuration_crd,
    vendor_connection_crd,
};
pub use subscription::{
    AdoptionPolicy, ConnectionKind, ConnectionRef, CreateBody, DeletionPolicy, DesiredState, Drift,
    KeyRef, LocalObjectRef, Parameter, ParameterError, ParameterSource, ParameterValue,
    SentParameter, Subscription, SubscriptionSpec, SubscriptionState, SubscriptionStatus,
};
pub use tier::{
    Account, Contact, Tier, TierConfiguration, TierConfigurationSpec, TierConfigurationStatus,
    TierRequest, TierRequestType, TierState, Tiers,
};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use kube::core::Duration;

/// The API group of every kind in this crate.
pub const GROUP: &str = "fulfillment-operator.io";
/// The version every kind in this crate is served and stored at.
pub const VERSION: &str = "v1alpha1";
