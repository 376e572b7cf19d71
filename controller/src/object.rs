//! An object as the API server sent it, or why it cannot be decoded: one that cannot stops nobody
//! else. Decoded straight from the text and without the record of who wrote which field, which is
//! a third of an object and which nobody here asks for: decoding is most of what an event costs.
//! (kube's `DeserializeGuard` makes two copies of each object on its way.)

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use fulfillment_crds::{
    ClusterVendorConnection, ClusterVendorConnectionSpec, Subscription, SubscriptionSpec,
    SubscriptionStatus, TierConfiguration, TierConfigurationSpec, TierConfigurationStatus, Time,
    VendorConnection, VendorConnectionSpec, VendorConnectionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny},
};
use serde_json::value::RawValue;

/// An object, or why it cannot be decoded.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<Arc<K>, Invalid>);

/// What is known of an object that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// Why, with the name of the field.
    pub error: String,
    /// Which object.
    pub metadata: ObjectMeta,
}

/// A kind that is decoded from the text of a whole object.
pub trait Decode: Resource<DynamicType = ()> + Clone {
    /// Decodes one object.
    ///
    /// # Errors
    ///
    /// Which field does not fit the type, and why.
    fn decode(text: &str) -> Result<Self, String>;
}

macro_rules! decode {
    ($kind:ident, $spec:ident, $status:ident) => {
        impl Decode for $kind {
            fn decode(text: &str) -> Result<Self, String> {
                let wire: Wire<$spec, $status> = from_text(text)?;
                Ok(Self {
                    metadata: wire.metadata,
                    spec: wire.spec,
                    status: wire.status,
                })
            }
        }
    };
}

decode!(Subscription, SubscriptionSpec, SubscriptionStatus);
decode!(
    TierConfiguration,
    TierConfigurationSpec,
    TierConfigurationStatus
);
decode!(
    VendorConnection,
    VendorConnectionSpec,
    VendorConnectionStatus
);

/// In two halves: as a whole, with one half flattened into the other, no error would say which field
/// does not fit.
impl Decode for ClusterVendorConnection {
    fn decode(text: &str) -> Result<Self, String> {
        let wire: Wire<VendorConnectionSpec, VendorConnectionStatus> = from_text(text)?;
        let own: Wire<Allowed, IgnoredAny> = from_text(text)?;
        Ok(Self {
            metadata: wire.metadata,
            spec: ClusterVendorConnectionSpec {
                connection: wire.spec,
                allowed_namespaces: own.spec.allowed_namespaces,
            },
            status: wire.status,
        })
    }
}

/// What a ClusterVendorConnection's spec has beside a connection's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allowed {
    #[serde(default)]
    allowed_namespaces: Vec<String>,
}

impl<'de, K: Decode> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(match K::decode(text.get()) {
            Ok(object) => Ok(Arc::new(object)),
            Err(error) => {
                let named: Named = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
                Err(Invalid {
                    error,
                    metadata: named.metadata,
                })
            }
        }))
    }
}

impl<K: Decode> Resource for Guarded<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

/// A custom resource on the wire.
#[derive(Deserialize)]
struct Wire<P, S> {
    #[serde(with = "Meta")]
    metadata: ObjectMeta,
    spec: P,
    status: Option<S>,
}

/// What is left of one that does not fit its type.
#[derive(Deserialize)]
struct Named {
    #[serde(with = "Meta")]
    metadata: ObjectMeta,
}

/// Metadata but for `managedFields`.
#[derive(Deserialize)]
#[serde(remote = "ObjectMeta", rename_all = "camelCase")]
struct Meta {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip)]
    managed_fields: Option<Vec<ManagedFieldsEntry>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    self_link: Option<String>,
    uid: Option<String>,
}

/// Decodes a text; what does not fit is decoded once more to learn which field it is.
fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let again = &mut serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(again) {
            Err(found) => format!("{}: {}", found.path(), without_position(found.inner())),
            Ok(_) => without_position(&error),
        }
    })
}

/// Where in the wire's text an error was says nothing to whoever wrote the YAML.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.as_str(), |(said, _)| said)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_decoded_as_kube_would_but_for_who_wrote_what() {
        let text = json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1",
            "kind": "Subscription",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "deletionGracePeriodSeconds": 0, "labels": {"l": "1"}, "annotations": {"a": "2"},
                "finalizers": ["f"], "generateName": "a-", "selfLink": "s",
                "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "w"}],
                "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"connectionRef": {"name": "c"}, "product": "p", "limits": {"seats": 1}},
            "status": {"observedGeneration": -1},
        })
        .to_string();
        let guarded: Guarded<Subscription> = serde_json::from_str(&text).unwrap();
        let mut whole: Subscription = serde_json::from_str(&text).unwrap();
        assert_eq!(whole.managed_fields().len(), 1);
        whole.managed_fields_mut().clear();
        let mut guarded = (*guarded.0.unwrap()).clone();
        guarded.managed_fields_mut().clear();
        assert_eq!(guarded, whole);
    }

    #[test]
    fn both_halves_of_a_cluster_connection_are_decoded_and_name_their_fields() {
        let text = |spec: serde_json::Value| {
            json!({"metadata": {"name": "acme"}, "spec": spec}).to_string()
        };
        let spec = json!({"url": "https://acme.example", "budget": {"burst": 7}, "allowedNamespaces": ["a", "b"]});
        let guarded: Guarded<ClusterVendorConnection> =
            serde_json::from_str(&text(spec.clone())).unwrap();
        let decoded = guarded.0.unwrap();
        let whole: ClusterVendorConnectionSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(decoded.spec, whole);
        assert!(decoded.spec.allows("b") && decoded.spec.connection.budget.burst == 7);
        for (wrong, field) in [
            (
                json!({"url": "x", "timeouts": {"connect": "soon"}}),
                "spec.timeouts.connect: ",
            ),
            (
                json!({"url": "x", "allowedNamespaces": [7]}),
                "spec.allowedNamespaces[0]: ",
            ),
        ] {
            let guarded: Guarded<ClusterVendorConnection> =
                serde_json::from_str(&text(wrong)).unwrap();
            let error = guarded.0.unwrap_err().error;
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn an_object_that_does_not_fit_says_which_field_and_keeps_its_name() {
        let text = r#"{"metadata": {"name": "a", "uid": "u"}, "spec": {"connectionRef": {"name": "c"}, "product": 7}}"#;
        let guarded: Guarded<Subscription> = serde_json::from_str(text).unwrap();
        assert_eq!(guarded.name_any(), "a");
        let error = guarded.0.unwrap_err().error;
        assert_eq!(
            error,
            "spec.product: invalid type: integer `7`, expected a string"
        );
    }
}
