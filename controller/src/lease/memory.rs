//! A lease in memory, for tests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;

use super::{api::Leases, record};
use crate::kubernetes::KubeError;

/// What the API server does with calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Answers,
    Forbids,
    /// Takes them and never answers.
    Hangs,
    /// Carries writes out, and the answer is lost.
    Loses,
    /// Answers after this many seconds.
    Slow(u64),
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) lease: Option<Lease>,
    version: u64,
}

/// One lease for several candidates, each with an API server in a mood of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) kept: Arc<Mutex<Kept>>,
    mood: Arc<Mutex<Mood>>,
}

impl Memory {
    pub(super) fn edit(&self, change: impl FnOnce(&mut Option<Lease>)) {
        let mut kept = self.kept.lock().unwrap();
        kept.version += 1;
        let version = kept.version.to_string();
        change(&mut kept.lease);
        if let Some(lease) = &mut kept.lease {
            lease.metadata.resource_version = Some(version);
        }
    }

    pub(super) fn holder(&self) -> Option<String> {
        let kept = self.kept.lock().unwrap();
        kept.lease.as_ref().and_then(record::holder).map(Into::into)
    }

    pub(super) fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The same lease, through an API server of its own.
    pub(super) fn other(&self) -> Self {
        Self {
            kept: Arc::clone(&self.kept),
            mood: Arc::default(),
        }
    }

    async fn call<T>(
        &self,
        does: impl FnOnce(&Self) -> Result<T, KubeError>,
    ) -> Result<T, KubeError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Answers => does(self),
            Mood::Forbids => Err(KubeError::Forbidden("no".into())),
            Mood::Hangs => std::future::pending().await,
            Mood::Loses => {
                let _ = does(self);
                Err(KubeError::Failed("the answer is lost".into()))
            }
            Mood::Slow(seconds) => {
                let answer = does(self);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                answer
            }
        }
    }

    fn write(&self, lease: &Lease, before: Option<&str>) -> Result<Lease, KubeError> {
        let known = self.kept.lock().unwrap().lease.clone();
        if known.and_then(|l| l.metadata.resource_version).as_deref() != before {
            return Err(KubeError::Conflict);
        }
        self.edit(|kept| *kept = Some(lease.clone()));
        Ok(self.kept.lock().unwrap().lease.clone().unwrap())
    }
}

impl Leases for Memory {
    async fn get(&self) -> Result<Option<Lease>, KubeError> {
        self.call(|memory| Ok(memory.kept.lock().unwrap().lease.clone()))
            .await
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, KubeError> {
        self.call(|memory| memory.write(lease, None)).await
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, KubeError> {
        let version = lease.metadata.resource_version.clone();
        assert!(version.is_some(), "a replace without a version");
        self.call(|memory| memory.write(lease, version.as_deref()))
            .await
    }
}
