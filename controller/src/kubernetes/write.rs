//! The operator's writes: every one of protocol state is a compare-and-swap.

use std::sync::Arc;

use fulfillment_crds::{Condition, Subscription, SubscriptionStatus, annotations, finalizers};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Cluster, FIELD_MANAGER, Guard, KubeError, decoded, encode};
use crate::{facts::Intent, object::Guarded};

impl Cluster {
    /// Writes the finalizer and, if given, the intent, in one compare-and-swap.
    ///
    /// # Errors
    ///
    /// [`KubeError::Conflict`] where the object has changed in any way.
    pub async fn claim(
        &self,
        object: &Subscription,
        intent: Option<&Intent>,
    ) -> Result<Arc<Subscription>, KubeError> {
        let mut patch = unchanged(object);
        if let Some(finalizers) = with(object, finalizers::TENANT) {
            patch.push(json!({"op": "add", "path": "/metadata/finalizers", "value": finalizers}));
        }
        if let Some(intent) = intent {
            let mut annotations = object.metadata.annotations.clone().unwrap_or_default();
            annotations.insert(annotations::INTENT.into(), encode(intent));
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
        }
        self.patch(object, patch).await
    }

    /// Drops the finalizer, by compare-and-swap.
    ///
    /// # Errors
    ///
    /// [`KubeError::Conflict`] where the object has changed in any way.
    pub async fn release(&self, object: &Subscription) -> Result<(), KubeError> {
        let left: Vec<&String> = object
            .metadata
            .finalizers
            .iter()
            .flatten()
            .filter(|name| *name != finalizers::TENANT)
            .collect();
        let mut patch = unchanged(object);
        patch.push(json!({"op": "add", "path": "/metadata/finalizers", "value": left}));
        if left.is_empty() && object.metadata.deletion_timestamp.is_some() {
            // It goes with this write. Whose field was whose nobody reads any more, and the API server
            // need not work it out.
            patch.push(json!({"op": "add", "path": "/metadata/managedFields", "value": [{}]}));
        }
        match self.patch(object, patch).await {
            Ok(_) | Err(KubeError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the whole status where the guard holds.
    ///
    /// # Errors
    ///
    /// [`KubeError::Conflict`] where it does not.
    pub async fn write_status(
        &self,
        object: &Subscription,
        status: &SubscriptionStatus,
        guard: &Guard,
    ) -> Result<Arc<Subscription>, KubeError> {
        self.writing();
        if guard.holds(object) {
            // Where nothing has changed at all, which is nearly always, the guard holds too, and the
            // API server neither encodes nor patches the object to find that out.
            match self.put_status(object, status).await {
                Err(KubeError::Conflict) if !matches!(guard, Guard::Version(_)) => {}
                // A role of before this right was asked for: an answer must not wait for it.
                Err(KubeError::Forbidden(_)) => {}
                done => return done,
            }
        }
        let mut patch =
            vec![json!({"op": "test", "path": "/metadata/uid", "value": object.metadata.uid})];
        patch.extend(guard.tests());
        patch.push(json!({"op": "add", "path": "/status", "value": status}));
        let (namespace, name) = key(object);
        let patch = json_patch(patch)?;
        let api = self.api::<Guarded<Subscription>>(namespace);
        decoded(
            self.recorded(api.patch_status(name, &params(), &patch))
                .await?,
        )
    }

    /// Puts a status in the place of the one that this object has, where nothing else has changed.
    async fn put_status(
        &self,
        object: &Subscription,
        status: &SubscriptionStatus,
    ) -> Result<Arc<Subscription>, KubeError> {
        let (namespace, name) = key(object);
        // What belongs to others is left out: this subresource keeps it as it is.
        let put = json!({
            "apiVersion": Subscription::api_version(&()),
            "kind": Subscription::kind(&()),
            "metadata": {
                "namespace": namespace,
                "name": name,
                "uid": object.metadata.uid,
                "resourceVersion": object.metadata.resource_version,
            },
            "status": status,
        });
        let url = format!(
            "{}/{name}/status?fieldManager={FIELD_MANAGER}&fieldValidation=Ignore",
            Subscription::url_path(&(), Some(namespace))
        );
        let request = http::Request::put(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(put.to_string().into_bytes())
            .map_err(|e| KubeError::Failed(e.to_string()))?;
        decoded(
            self.recorded(self.client.request::<Guarded<Subscription>>(request))
                .await?,
        )
    }

    /// Says on an object that it cannot be decoded; no write where it says so already.
    ///
    /// # Errors
    ///
    /// Where the API server fails.
    pub async fn report_invalid<K>(&self, meta: &ObjectMeta, why: &str) -> Result<(), KubeError>
    where
        K: Resource<DynamicType = ()>,
    {
        let name = meta.name.as_deref().unwrap_or_default();
        let resource = ApiResource::erase::<K>(&());
        let client = self.client.clone();
        let api: Api<DynamicObject> = match &meta.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let Some(found) = self.bounded(api.get_opt(name)).await? else {
            return Ok(());
        };
        let known = found
            .data
            .pointer("/status/conditions")
            .cloned()
            .unwrap_or_default();
        let before: Vec<Condition> = serde_json::from_value(known).unwrap_or_default();
        let generation = meta.generation.unwrap_or_default();
        let after = crate::report::invalid(generation, why, &before, crate::pace::now());
        if after == before {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": {"observedGeneration": generation, "conditions": after},
        });
        self.recorded(api.patch_status(name, &params(), &Patch::Merge(patch)))
            .await?;
        Ok(())
    }

    async fn patch(
        &self,
        object: &Subscription,
        patch: Vec<Value>,
    ) -> Result<Arc<Subscription>, KubeError> {
        let (namespace, name) = key(object);
        let patch = json_patch(patch)?;
        self.writing();
        let api = self.api::<Guarded<Subscription>>(namespace);
        decoded(self.recorded(api.patch(name, &params(), &patch)).await?)
    }

    /// Adds or removes a finalizer of any object, by compare-and-swap; no write where there is
    /// nothing to change.
    ///
    /// # Errors
    ///
    /// [`KubeError::Conflict`] where the object has changed in any way.
    pub async fn set_finalizer<K>(
        &self,
        object: &K,
        finalizer: &str,
        present: bool,
    ) -> Result<(), KubeError>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        self.set_finalizer_in(&self.api::<K>(namespace), object, finalizer, present)
            .await
    }

    /// The same, of an object of this API.
    pub(crate) async fn set_finalizer_in<K>(
        &self,
        api: &Api<K>,
        object: &K,
        finalizer: &str,
        present: bool,
    ) -> Result<(), KubeError>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let meta = object.meta();
        let has = meta
            .finalizers
            .iter()
            .flatten()
            .any(|name| name == finalizer);
        if has == present {
            return Ok(());
        }
        let mut finalizers: Vec<String> = meta.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != finalizer);
        if present {
            finalizers.push(finalizer.to_owned());
        }
        let patch = json_patch(vec![
            json!({"op": "test", "path": "/metadata/uid", "value": meta.uid}),
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}),
            json!({"op": "add", "path": "/metadata/finalizers", "value": finalizers}),
        ])?;
        let name = meta.name.as_deref().unwrap_or_default();
        match self.recorded(api.patch(name, &params(), &patch)).await {
            Ok(_) => Ok(()),
            Err(KubeError::Gone) if !present => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The operator writes what its own types say. Asking the API server to look for unknown fields, its
/// default, costs it a second decoding of the object for a warning that nobody reads.
pub(crate) fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        field_validation: Some(ValidationDirective::Ignore),
        ..PatchParams::default()
    }
}

fn key(object: &Subscription) -> (&str, &str) {
    (
        object.metadata.namespace.as_deref().unwrap_or_default(),
        object.metadata.name.as_deref().unwrap_or_default(),
    )
}

fn unchanged(object: &Subscription) -> Vec<Value> {
    vec![
        json!({"op": "test", "path": "/metadata/uid", "value": object.metadata.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version}),
    ]
}

/// The finalizers with this one added, or `None` where it is there.
fn with(object: &Subscription, finalizer: &str) -> Option<Vec<String>> {
    let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    if finalizers.iter().any(|name| name == finalizer) {
        return None;
    }
    finalizers.push(finalizer.to_owned());
    Some(finalizers)
}

pub(crate) fn json_patch(operations: Vec<Value>) -> Result<Patch<()>, KubeError> {
    serde_json::from_value(Value::Array(operations))
        .map(Patch::Json)
        .map_err(|e| KubeError::Failed(e.to_string()))
}
