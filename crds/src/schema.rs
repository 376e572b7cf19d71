//! What the derives cannot say about the schema, and the CRDs as they are published.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::{ClusterVendorConnection, Subscription, TierConfiguration, VendorConnection};

/// Every kind's CRD, by the name of its file.
pub fn all_crds() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("clustervendorconnections", cluster_vendor_connection_crd()),
        ("subscriptions", subscription_crd()),
        ("tierconfigurations", tier_configuration_crd()),
        ("vendorconnections", vendor_connection_crd()),
    ]
}

/// The CRD of `Subscription`.
pub fn subscription_crd() -> CustomResourceDefinition {
    published(Subscription::crd())
}

/// The CRD of `TierConfiguration`.
pub fn tier_configuration_crd() -> CustomResourceDefinition {
    published(TierConfiguration::crd())
}

/// The CRD of `VendorConnection`.
pub fn vendor_connection_crd() -> CustomResourceDefinition {
    published(VendorConnection::crd())
}

/// The CRD of `ClusterVendorConnection`: its columns and the rules of the whole object are those of
/// `VendorConnection`.
pub fn cluster_vendor_connection_crd() -> CustomResourceDefinition {
    let like = VendorConnection::crd();
    let mut crd = ClusterVendorConnection::crd();
    for (version, like) in crd.spec.versions.iter_mut().zip(like.spec.versions) {
        version.additional_printer_columns = like.additional_printer_columns;
        let rules = like.schema.and_then(|schema| schema.open_api_v3_schema);
        let root = version.schema.as_mut();
        if let Some(root) = root.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            root.x_kubernetes_validations = rules.and_then(|root| root.x_kubernetes_validations);
        }
    }
    published(crd)
}

/// Adds what the derives cannot express: the status default that keeps kstatus from calling an
/// object current before the operator has seen it, and that status has one writer, who writes it as
/// a whole. (The API server then keeps one line of ownership instead of thirty, and every read and
/// write of the object is the cheaper for it.)
fn published(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        for (name, property) in root.properties.iter_mut().flatten() {
            strip(property);
            if name == "status" {
                property.default = Some(JSON(json!({"observedGeneration": -1})));
                property.x_kubernetes_map_type = Some("atomic".into());
            }
        }
    }
    crd
}

type Props = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

/// An explicit null is dropped like a field left out, so that no second spelling of "nothing"
/// reaches the operator.
fn strip(schema: &mut Props) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    };
    schema.nullable = None;
    for property in schema.properties.iter_mut().flatten() {
        strip(property.1);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        strip(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        strip(values);
    }
}

/// A Go-style duration between two bounds, both said in the field's description and checked by CEL.
fn duration(description: &str, default: Option<&str>, min: &str, max: &str) -> Schema {
    let mut schema = json_schema!({
        "type": "string",
        "description": description,
        "maxLength": 32,
        "pattern": "^([0-9]+([.][0-9]+)?(ms|s|m|h))+$",
        "x-kubernetes-validations": [{
            "rule": format!("duration(self) >= duration('{min}') && duration(self) <= duration('{max}')"),
            "message": format!("must be a duration from {min} to {max}, for example {}", default.unwrap_or(min)),
        }],
    });
    if let Some(default) = default {
        schema.insert("default".into(), default.into());
    }
    schema
}

pub(crate) fn interval(_: &mut SchemaGenerator) -> Schema {
    duration(
        "How often the vendor's side is read to find drift. Default: the connection's polling.interval.",
        None,
        "10s",
        "24h",
    )
}

pub(crate) fn grace_period(_: &mut SchemaGenerator) -> Schema {
    duration(
        "How long a deleted subscription is only suspended before its tenant is deleted; until then deletionPolicy: Retain and applying it again take it back. Default 0s.",
        None,
        "0s",
        "8760h",
    )
}

pub(crate) fn connect_timeout(_: &mut SchemaGenerator) -> Schema {
    duration(
        "For a connection to the vendor. Default 5s.",
        Some("5s"),
        "100ms",
        "1m",
    )
}

pub(crate) fn request_timeout(_: &mut SchemaGenerator) -> Schema {
    duration("For a whole call. Default 25s.", Some("25s"), "100ms", "5m")
}

pub(crate) fn provisioning_timeout(_: &mut SchemaGenerator) -> Schema {
    duration(
        "For the vendor to decide a request; afterwards it is reported as ProvisioningTimeout and polled slowly. Default 12h.",
        Some("12h"),
        "1s",
        "720h",
    )
}

pub(crate) fn pending_interval(_: &mut SchemaGenerator) -> Schema {
    duration(
        "While a request is undecided; the vendor's Retry-After wins, up to 5m. Four times as long, up to 5m, while the vendor's callbacks arrive. Default 30s.",
        Some("30s"),
        "1s",
        "5m",
    )
}

pub(crate) fn drift_interval(_: &mut SchemaGenerator) -> Schema {
    duration("To find drift. Default 10m.", Some("10m"), "10s", "24h")
}

pub(crate) fn retention(_: &mut SchemaGenerator) -> Schema {
    duration(
        "Mode IdempotencyKey: how long the vendor remembers a key; a create is repeated for half of it, then held for a person. Default 24h.",
        Some("24h"),
        "1m",
        "8760h",
    )
}

/// Short texts by name.
pub(crate) fn structured_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Its value where that has parts, sent as a JSON object. An address has address_line1, address_line2, city, state, postal_code and country; a phone country_code, area_code, phone_number and extension.",
        "minProperties": 1,
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 256},
        "x-kubernetes-validations": [short_names()],
    })
}

pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// What a vendor reports is shown, not judged: any short text or integer.
pub(crate) fn reported_limits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "The limits as the vendor reports them.",
        "maxProperties": 128,
        "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": 64},
    })
}

/// Kubernetes' own condition, with its bounds.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "Standard Kubernetes conditions.",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "Which condition."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "The generation it speaks of."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status last changed."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, in one word of a closed set."},
                "message": {"type": "string", "maxLength": 4096, "description": "Why, for a person."},
            },
        },
    })
}

/// Expressions by name.
pub(crate) fn expressions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 1024},
        "maxProperties": 16,
        "x-kubernetes-validations": [short_names()],
    })
}

/// A schema bounds a map's values; its keys only a rule can.
pub(crate) fn short_names() -> serde_json::Value {
    serde_json::json!({
        "rule": "self.all(name, name.size() <= 64)",
        "message": "a name has at most 64 characters",
    })
}
