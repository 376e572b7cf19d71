//! The Kubernetes API as the operator uses it: every call bounded in time, none repeated below us,
//! every write of protocol state a compare-and-swap.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fulfillment_crds::{
    Condition, Request, RequestStatus, Subscription, SubscriptionStatus, TierConfiguration,
    annotations, finalizers,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Config, CustomResourceExt, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{facts::Intent, object::Guarded};

/// How long any call to the API server may take.
const CALL: Duration = Duration::from_secs(10);

/// How long a namespace found alive counts as such: a thousand purchases at once ask a few times.
/// Nothing rests on it: what is still created is deleted with the namespace's objects.
const ALIVE: Duration = Duration::from_millis(500);

/// The field manager of the operator's writes.
pub const FIELD_MANAGER: &str = "fulfillment-operator";

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The object has changed: what was decided rests on an old state.
    #[error("the object has changed meanwhile")]
    Conflict,
    /// The object, or what it would stand in, is gone.
    #[error("the object is gone")]
    Gone,
    /// The operator may not do this.
    #[error("the operator's RBAC does not allow it: {0}")]
    Forbidden(String),
    /// Anything else, timeouts included: whether it had an effect is not known.
    #[error("the Kubernetes API: {0}")]
    Failed(String),
}

impl From<kube::Error> for KubeError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Self::Failed(error.to_string());
        };
        let rejected = status
            .details
            .as_ref()
            .is_some_and(|d| !d.causes.is_empty());
        match status.code {
            // A failed `test` of a JSON patch is a 422 without causes; one with causes says that
            // what we wrote does not fit the schema, which no repetition mends.
            409 => Self::Conflict,
            422 if !rejected => Self::Conflict,
            404 | 410 => Self::Gone,
            403 => Self::Forbidden(status.message.clone()),
            code => Self::Failed(format!("{code}: {}", status.message)),
        }
    }
}

/// What must still hold for a status to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing at all has changed since the object was read.
    Version(String),
    /// The intent in the annotation is still this one, and the request in status the one that was
    /// there when it was written: a record that is repeated takes back nothing that came after it.
    Intent(Intent, Option<Mark>),
    /// The request in status is still this one: a late record neither takes back what another has
    /// recorded of it, nor the intent of its next send.
    Request(Mark),
}

/// A request in status at one moment of its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Its id.
    pub id: String,
    /// Where it stood.
    pub status: RequestStatus,
    /// How often it had been sent.
    pub attempts: i64,
}

impl From<&Request> for Mark {
    fn from(request: &Request) -> Self {
        Self {
            id: request.id.clone(),
            status: request.status,
            attempts: request.attempts,
        }
    }
}

impl Guard {
    /// The guard of what is recorded next to this request, or in its place.
    pub fn request(request: &Request) -> Self {
        Self::Request(request.into())
    }

    /// Whether it holds of an object.
    pub fn holds(&self, now: &Subscription) -> bool {
        match self {
            Self::Version(version) => now.metadata.resource_version.as_ref() == Some(version),
            Self::Intent(known, before) => {
                intent(now).as_ref() == Some(known) && mark(now) == *before
            }
            Self::Request(before) => mark(now).as_ref() == Some(before),
        }
    }

    /// What a JSON patch tests for it.
    pub fn tests(&self) -> Vec<Value> {
        match self {
            Self::Version(version) => {
                vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})]
            }
            Self::Intent(intent, before) => {
                let mut tests = vec![json!({
                    "op": "test",
                    "path": format!("/metadata/annotations/{}", annotations::INTENT.replace('/', "~1")),
                    "value": encode(intent),
                })];
                match before {
                    Some(before) => tests.extend(before.tests()),
                    // Null is what is not there.
                    None => {
                        tests.push(json!({"op": "test", "path": "/status/request", "value": null}))
                    }
                }
                tests
            }
            Self::Request(before) => before.tests().to_vec(),
        }
    }
}

/// The Kubernetes API with bounds.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    alive: Arc<Mutex<HashMap<String, Instant>>>,
    crd: Arc<tokio::sync::Mutex<Option<(Instant, bool)>>>,
    written: Arc<Mutex<Option<Instant>>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// Connects with a kubeconfig's or the pod's credentials. kube's own retries re-send any method,
    /// a create too, and are switched off.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be used.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        Ok(Self {
            client: Client::try_from(config)?,
            alive: Arc::default(),
            crd: Arc::default(),
            written: Arc::default(),
        })
    }

    /// Waits until no Subscription was written for `calm`, but no longer than `most`.
    pub async fn calm(&self, calm: Duration, most: Duration) {
        let began = Instant::now();
        while began.elapsed() < most {
            let last = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let since = last.map_or(calm, |at| at.elapsed());
            let Some(left) = calm.checked_sub(since).filter(|left| !left.is_zero()) else {
                return;
            };
            tokio::time::sleep(left.min(most)).await;
        }
    }

    fn writing(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        *written = Some(Instant::now());
    }

    /// The client, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A namespaced API.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// One object, or `None`.
    ///
    /// # Errors
    ///
    /// Everything but 404.
    pub async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, KubeError>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        Self::get_from(&self.api::<K>(namespace), name).await
    }

    /// One object of an API, or `None`.
    pub(crate) async fn get_from<K>(api: &Api<K>, name: &str) -> Result<Option<K>, KubeError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        if !is_name(name) {
            // The client puts names into paths as they are: "../../x/secrets/y" would leave the
            // namespace. Nothing of such a name can exist.
            return Ok(None);
        }
        bounded(api.get_opt(name)).await
    }

    /// A Subscription, or `None`.
    ///
    /// # Errors
    ///
    /// Everything but 404; one that cannot be decoded is an error too.
    pub async fn subscription(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Subscription>>, KubeError> {
        let found: Option<Guarded<Subscription>> = self.get(namespace, name).await?;
        found.map(decoded).transpose()
    }

    /// A Secret, or `None`.
    ///
    /// # Errors
    ///
    /// Everything but 404.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, KubeError> {
        self.get(namespace, name).await
    }

    /// A ConfigMap, or `None`.
    ///
    /// # Errors
    ///
    /// Everything but 404.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ConfigMap>, KubeError> {
        self.get(namespace, name).await
    }

    /// Whether a namespace is being deleted: nothing is created in one.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub async fn is_terminating(&self, namespace: &str) -> Result<bool, KubeError> {
        let alive = || self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Instant::now();
        {
            let mut alive = alive();
            let known = alive.get(namespace).copied();
            if known.is_some_and(|at| asked.duration_since(at) < ALIVE) {
                return Ok(false);
            }
            // One asks again; the others go by the last answer until it has one.
            if known.is_some() {
                alive.insert(namespace.to_owned(), asked);
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = bounded(namespaces.get_opt(namespace)).await;
        let terminating = match found {
            Ok(found) => Ok(found.is_none_or(|ns| ns.metadata.deletion_timestamp.is_some())),
            // An install without this right learns it from the objects' own deletion.
            Err(KubeError::Forbidden(_)) => Ok(false),
            Err(error) => Err(error),
        };
        if matches!(terminating, Ok(false)) {
            alive().insert(namespace.to_owned(), asked);
        } else {
            alive().remove(namespace);
        }
        terminating
    }

    /// Whether the Subscriptions' own definition is being deleted: then all of them are, and nobody
    /// asked for that.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub async fn crd_is_terminating(&self) -> Result<bool, KubeError> {
        // Held over the read: who waits here goes by what the one before it learns.
        let mut known = self.crd.lock().await;
        if let Some((at, terminating)) = *known
            && at.elapsed() < ALIVE
        {
            return Ok(terminating);
        }
        let asked = Instant::now();
        let terminating = self.is_leaving(Subscription::crd_name()).await?;
        *known = Some((asked, terminating));
        Ok(terminating)
    }

    /// Whether the TierConfigurations' own definition is being deleted.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub async fn tier_crd_is_terminating(&self) -> Result<bool, KubeError> {
        self.is_leaving(TierConfiguration::crd_name()).await
    }

    /// Whether a definition is being deleted, or gone; an install without this right cannot know.
    async fn is_leaving(&self, crd: &str) -> Result<bool, KubeError> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        match bounded(crds.get_metadata_opt(crd)).await {
            Ok(found) => Ok(found.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some())),
            Err(KubeError::Forbidden(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

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
        let mut patch =
            vec![json!({"op": "test", "path": "/metadata/uid", "value": object.metadata.uid})];
        patch.extend(guard.tests());
        patch.push(json!({"op": "add", "path": "/status", "value": status}));
        let (namespace, name) = key(object);
        let patch = json_patch(patch)?;
        self.writing();
        let api = self.api::<Guarded<Subscription>>(namespace);
        decoded(bounded(api.patch_status(name, &params(), &patch)).await?)
    }

    /// Says on an object that it cannot be decoded; no write where it says so already.
    ///
    /// # Errors
    ///
    /// Where the API server fails.
    pub async fn report_invalid<K>(&self, meta: &ObjectMeta, why: &str) -> Result<(), KubeError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let Some(found) = bounded(api.get_opt(name)).await? else {
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
        let patch = json!({"status": {"observedGeneration": generation, "conditions": after}});
        bounded(api.patch_status(name, &params(), &Patch::Merge(patch))).await?;
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
        decoded(bounded(api.patch(name, &params(), &patch)).await?)
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
        Self::set_finalizer_in(&self.api::<K>(namespace), object, finalizer, present).await
    }

    /// The same, of an object of this API.
    pub(crate) async fn set_finalizer_in<K>(
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
        match bounded(api.patch(name, &params(), &patch)).await {
            Ok(_) => Ok(()),
            Err(KubeError::Gone) if !present => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Runs a call within its bound.
///
/// # Errors
///
/// The call's own, and [`KubeError::Failed`] where it takes too long.
pub async fn bounded<T>(
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, KubeError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(result) => result.map_err(KubeError::from),
        Err(_) => Err(KubeError::Failed(format!(
            "no answer within {} s",
            CALL.as_secs()
        ))),
    }
}

/// Whether an object can have this name (a DNS subdomain, RFC 1123).
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

impl Mark {
    fn tests(&self) -> [Value; 3] {
        [
            json!({"op": "test", "path": "/status/request/id", "value": self.id}),
            json!({"op": "test", "path": "/status/request/status", "value": self.status}),
            json!({"op": "test", "path": "/status/request/attempts", "value": self.attempts}),
        ]
    }
}

/// The request in an object's status.
pub fn mark(object: &Subscription) -> Option<Mark> {
    let status = object.status.as_ref()?;
    status.request.as_ref().map(Mark::from)
}

/// An intent as it stands in the annotation.
pub fn encode(intent: &Intent) -> String {
    serde_json::to_string(intent).unwrap_or_default()
}

/// The intent in the annotation; a mangled one is treated as none, which costs a 409 and no tenant.
pub fn intent(object: &Subscription) -> Option<Intent> {
    let text = object
        .metadata
        .annotations
        .as_ref()?
        .get(annotations::INTENT)?;
    serde_json::from_str(text).ok()
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

fn decoded(object: Guarded<Subscription>) -> Result<Arc<Subscription>, KubeError> {
    object.0.map_err(|invalid| {
        KubeError::Failed(format!("the object cannot be decoded: {}", invalid.error))
    })
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

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn only_names_that_objects_can_have_reach_a_path() {
        for name in ["a", "a-b.c1", "0"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", "..", ".", "a/b", "../x", "a?b", "a%2fb", "A", "-a", "a-", "a..b", "a b",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
