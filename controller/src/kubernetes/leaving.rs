//! Whether what a Subscription stands in is being deleted; a thousand that ask at once cost a few
//! reads.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fulfillment_crds::{Subscription, TierConfiguration};
use k8s_openapi::{
    api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, CustomResourceExt};

use super::{Cluster, KubeError};

/// How long what was found alive counts as such: a thousand purchases at once ask a few times.
/// Nothing rests on it: what is still created is deleted with the namespace's objects.
const ALIVE: Duration = Duration::from_millis(500);
/// A namespace that nobody asked about for so long is forgotten: it may be gone.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What was found out last, and when.
#[derive(Default)]
pub(super) struct Known {
    namespaces: Mutex<HashMap<String, Instant>>,
    crd: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Cluster {
    /// Whether a namespace is being deleted: nothing is created in one.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub async fn is_terminating(&self, namespace: &str) -> Result<bool, KubeError> {
        let alive = || {
            self.alive
                .namespaces
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
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
        let found = self.bounded(namespaces.get_opt(namespace)).await;
        let terminating = match found {
            Ok(found) => Ok(found.is_none_or(|ns| ns.metadata.deletion_timestamp.is_some())),
            // An install without this right learns it from the objects' own deletion.
            Err(KubeError::Forbidden(_)) => Ok(false),
            Err(error) => Err(error),
        };
        let mut alive = alive();
        alive.retain(|_, at| asked.duration_since(*at) < FORGOTTEN);
        if matches!(terminating, Ok(false)) {
            alive.insert(namespace.to_owned(), asked);
        } else {
            alive.remove(namespace);
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
        let asked = Instant::now();
        // Held over the read: of a thousand that wait here one reads, and the others go by that. An older
        // answer counts for nobody: what is asked about may have been deleted with the definition since.
        let mut known = self.alive.crd.lock().await;
        if let Some((read, terminating)) = *known
            && read >= asked
        {
            return Ok(terminating);
        }
        let read = Instant::now();
        let terminating = self.is_leaving(Subscription::crd_name()).await?;
        *known = Some((read, terminating));
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
        match self.bounded(crds.get_metadata_opt(crd)).await {
            Ok(found) => Ok(found.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some())),
            Err(KubeError::Forbidden(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
