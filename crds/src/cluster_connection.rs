//! `ClusterVendorConnection`: a connection for the Subscriptions of several namespaces.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each type in a place of its own, where pub reaches nowhere"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::connection::{VendorConnectionSpec, VendorConnectionStatus};

/// What stands in the place of a namespace's name for all of them.
const EVERY_NAMESPACE: &str = "*";

// The rules of the whole object, and the columns, are those of a VendorConnection: they are added
// where the definition is published.
/// How to reach a vendor's tenant API, what makes a create safe to repeat there, and whose
/// Subscriptions may use it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "fulfillment-operator.io",
    version = "v1alpha1",
    kind = "ClusterVendorConnection",
    doc = "A vendor's tenant API for the Subscriptions of several namespaces: what a VendorConnection is, and which namespaces may use it. Its Secrets are read in the operator's namespace.",
    status = "VendorConnectionStatus",
    derive = "PartialEq",
    category = "fulfillment"
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterVendorConnectionSpec {
    /// The connection itself, as a VendorConnection has it.
    #[serde(flatten)]
    pub connection: VendorConnectionSpec,

    /// The namespaces whose Subscriptions may use this connection: their names, or "*" alone for
    /// every namespace. Left out or empty: none. For a namespace that is taken out nothing new is
    /// created; what exists is looked after until it is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(
            length(min = 1, max = 63),
            regex(pattern = r"^([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
        ),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = Rule::new("self.size() < 2 || !self.exists(name, name == '*')").message("\"*\" stands for every namespace: write it alone, or only names"))]
    pub allowed_namespaces: Vec<String>,
}

impl ClusterVendorConnectionSpec {
    /// Whether Subscriptions in this namespace may use the connection.
    pub fn allows(&self, namespace: &str) -> bool {
        match self.allowed_namespaces.as_slice() {
            [only] if only == EVERY_NAMESPACE => true,
            names => names.iter().any(|name| name == namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowing(namespaces: &[&str]) -> ClusterVendorConnectionSpec {
        let json =
            serde_json::json!({"url": "https://acme.example", "allowedNamespaces": namespaces});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn only_who_is_named_is_allowed() {
        assert!(!allowing(&[]).allows("team-a"));
        let named = allowing(&["team-a", "team-b"]);
        assert!(named.allows("team-a") && named.allows("team-b"));
        assert!(!named.allows("team") && !named.allows("team-c"));
        assert!(allowing(&["*"]).allows("team-a"));
        // The schema refuses it; here it is a name that no namespace has.
        assert!(!allowing(&["team-a", "*"]).allows("team-b"));
    }

    #[test]
    fn left_out_is_nobody() {
        let json = serde_json::json!({"url": "https://acme.example"});
        let spec: ClusterVendorConnectionSpec = serde_json::from_value(json).unwrap();
        assert!(!spec.allows("team-a"));
        assert_eq!(spec.connection.url, "https://acme.example");
    }
}
