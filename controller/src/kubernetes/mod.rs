//! The Kubernetes API as the operator uses it: every call bounded in time, none repeated below us,
//! every write of protocol state a compare-and-swap.

mod error;
mod guard;
mod leaving;
mod write;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fulfillment_crds::Subscription;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, Config, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::object::Guarded;

pub(crate) use self::write::{json_patch, params};
pub use self::{
    error::KubeError,
    guard::{Guard, Mark, encode, intent, mark},
};

/// How long any call to the API server may take.
const CALL: Duration = Duration::from_secs(10);
/// How many calls there are at once at most. Over HTTP/1 each has a connection of its own, and what the
/// API server is too busy for waits better here, where its time does not run.
const CALLS: usize = 64;

/// How many objects one answer to a list has at most.
const PAGE: u32 = 500;

/// How many seconds a watch lasts.
pub(crate) const WATCH_SECONDS: u32 = 60;

/// How long nothing may come for what was asked: a little more than a watch lasts. Nobody else bounds
/// a list, or a watch that is accepted and never begins, and a cache would be blind for ever.
const SILENCE: Duration = Duration::from_secs(70);

/// The field manager of the operator's writes.
pub const FIELD_MANAGER: &str = "fulfillment-operator";

/// The Kubernetes API with bounds.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    calls: Arc<Semaphore>,
    records: Arc<Semaphore>,
    alive: Arc<leaving::Known>,
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
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        Ok(Self::of(Client::try_from(config)?))
    }

    fn of(client: Client) -> Self {
        Self {
            client,
            calls: Arc::new(Semaphore::new(CALLS)),
            records: Arc::new(Semaphore::new(CALLS)),
            alive: Arc::default(),
            written: Arc::default(),
        }
    }

    /// The same, with turns of its own: for calls that must not wait behind all the others.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(CALLS)),
            records: Arc::new(Semaphore::new(CALLS)),
            ..self.clone()
        }
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
        self.get_from(&self.api::<K>(namespace), name).await
    }

    /// One object of an API, or `None`.
    pub(crate) async fn get_from<K>(&self, api: &Api<K>, name: &str) -> Result<Option<K>, KubeError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        if !is_name(name) {
            // The client puts names into paths as they are: "../../x/secrets/y" would leave the
            // namespace. Nothing of such a name can exist.
            return Ok(None);
        }
        self.bounded(api.get_opt(name)).await
    }

    /// Runs a call within its bound, once it is its turn. A call must not make another: all turns could
    /// be held by those that wait for one.
    ///
    /// # Errors
    ///
    /// The call's own, and [`KubeError::Failed`] where it takes too long.
    pub async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubeError> {
        in_turn(&self.calls, call).await
    }

    /// The same for what becomes of a Subscription: intents, and answers that a vendor may not repeat. They
    /// do not wait behind thousands of reads.
    ///
    /// # Errors
    ///
    /// As [`Cluster::bounded`].
    pub async fn recorded<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubeError> {
        in_turn(&self.records, call).await
    }

    /// Shows all objects of an API as they are now, page by page: no answer is too large to come in time.
    ///
    /// # Errors
    ///
    /// Where one of the pages fails: what comes after it was not shown.
    pub async fn each<K>(
        &self,
        api: &Api<K>,
        params: ListParams,
        mut show: impl FnMut(K),
    ) -> Result<(), KubeError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut params = params.limit(PAGE);
        loop {
            let page = self.bounded(api.list(&params)).await;
            let page = page.map_err(|error| match error {
                // Of the list, not of the object whose pass reads it.
                KubeError::Gone => KubeError::Failed(
                    "there is no such list, or it expired while it was read".into(),
                ),
                KubeError::Conflict | KubeError::Forbidden(_) | KubeError::Failed(_) => error,
            })?;
            page.items.into_iter().for_each(&mut show);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
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
}

/// Runs a call within its bound, once it is its turn.
async fn in_turn<T>(
    turns: &Semaphore,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, KubeError> {
    // Never closed.
    let _turn = turns.acquire().await.ok();
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

fn decoded(object: Guarded<Subscription>) -> Result<Arc<Subscription>, KubeError> {
    object.0.map_err(|invalid| {
        KubeError::Failed(format!("the object cannot be decoded: {}", invalid.error))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use futures::future::join_all;
    use kube::Client;
    use serde_json::json;

    use super::*;

    /// A cluster whose API server is this router.
    pub(crate) fn served_by(server: Router) -> Cluster {
        Cluster::of(Client::new(server, "default"))
    }

    /// Ten thousand passes that write at once would open as many connections, and most would get no
    /// answer in time.
    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_bound_wait_without_losing_their_time() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (at_once, peak) = (Arc::clone(&now), Arc::clone(&most));
        let cluster = served_by(Router::new().fallback(move || {
            let (now, most) = (Arc::clone(&at_once), Arc::clone(&peak));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(CALL / 2).await;
                now.fetch_sub(1, Ordering::SeqCst);
                json!({"metadata": {"name": "s"}}).to_string()
            }
        }));
        let calls = (0..4 * CALLS).map(|_| cluster.secret("team-a", "s"));
        for answer in join_all(calls).await {
            assert!(matches!(answer, Ok(Some(_))), "{answer:?}");
        }
        assert_eq!(most.load(Ordering::SeqCst), CALLS);
    }

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
