//! The three calls the election makes.

use std::future::Future;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};

use super::NAME;
use crate::kubernetes::{FIELD_MANAGER, KubeError};

/// Where the lease is kept.
pub(super) trait Leases: Send + Sync + 'static {
    /// The lease, if there is one.
    fn get(&self) -> impl Future<Output = Result<Option<Lease>, KubeError>> + Send;
    /// Makes it; [`KubeError::Conflict`] where another was faster.
    fn create(&self, lease: &Lease) -> impl Future<Output = Result<Lease, KubeError>> + Send;
    /// Replaces it; [`KubeError::Conflict`] where it has changed in any way.
    fn replace(&self, lease: &Lease) -> impl Future<Output = Result<Lease, KubeError>> + Send;
}

/// The Lease in a namespace.
pub(super) struct InNamespace(Api<Lease>);

impl InNamespace {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }
}

impl Leases for InNamespace {
    async fn get(&self) -> Result<Option<Lease>, KubeError> {
        Ok(self.0.get_opt(NAME).await?)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, KubeError> {
        Ok(self.0.create(&params(), lease).await?)
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, KubeError> {
        // The API server makes a Lease that a PUT does not find, unless a version says that there
        // was one: what has none is never sent.
        if lease.metadata.resource_version.is_none() {
            return Err(KubeError::Failed("a lease without a version".into()));
        }
        Ok(self.0.replace(NAME, &params(), lease).await?)
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}
