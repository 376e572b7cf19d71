//! What is around every pass: the queue it is taken from, and a net under it. One object whose pass
//! fails or panics stops no other.

use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use kube::{
    ResourceExt,
    runtime::{
        controller::{self, Action, ReconcileRequest},
        reflector::Store,
    },
};
use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument;

use crate::{
    controller::Context,
    kubernetes::KubeError,
    object::{Decode, Guarded},
    pace,
    queues::Queued,
};

/// How long until a pass that failed is repeated, half of it more or less; twice as long each time,
const AGAIN: Duration = Duration::from_secs(1);
/// but no longer than this.
const AGAIN_MOST: Duration = Duration::from_secs(30);

/// How often in a row the passes of each object failed, by uid.
#[derive(Debug, Default)]
struct Stumbles(Mutex<HashMap<String, u32>>);

impl Stumbles {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more: how long until it is repeated.
    fn wait(&self, uid: String) -> Duration {
        let mut all = self.lock();
        let before = all.entry(uid).or_default();
        let wait = AGAIN.saturating_mul(1 << (*before).min(16));
        *before = before.saturating_add(1);
        wait.min(AGAIN_MOST).mul_f64(0.5 + pace::random())
    }

    fn over(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The API server failed, or the object changed meanwhile.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// A bug of ours: it stays with this object.
    #[error("the pass panicked: {0}")]
    Panic(String),
}

/// Runs passes over the objects of a kind of which there are few, until the operator stops. A pass says
/// when to come back.
pub async fn run<K, P>(
    ctx: &Arc<Context>,
    store: Store<Guarded<K>>,
    receiver: Queued<K>,
    pass: impl Fn(Arc<Guarded<K>>) -> P + Clone,
) where
    K: Decode + Send + Sync + 'static,
    P: Future<Output = Result<Duration, KubeError>> + Send + 'static,
{
    let stumbles = Arc::<Stumbles>::default();
    let ended = Arc::clone(&stumbles);
    controller::applier(
        move |object: Arc<Guarded<K>>, _| {
            let (pass, ended) = (pass(Arc::clone(&object)), Arc::clone(&ended));
            async move {
                let result = come_back(&*object, caught(pass).await)?;
                ended.over(&object.uid().unwrap_or_default());
                Ok(result)
            }
            .boxed()
        },
        move |object, _: &PassError, _| {
            Action::requeue(stumbles.wait(object.uid().unwrap_or_default()))
        },
        Arc::clone(ctx),
        store,
        queue(receiver, ctx.stopping.clone()),
        controller::Config::default(),
    )
    .for_each(|_| std::future::ready(()))
    .await;
}

fn come_back<K: Decode>(
    object: &Guarded<K>,
    result: Result<Duration, PassError>,
) -> Result<Action, PassError> {
    let error = match result {
        Ok(wait) => return Ok(Action::requeue(wait)),
        Err(PassError::Kube(KubeError::Gone)) => return Ok(Action::await_change()),
        Err(error) => error,
    };
    if !matches!(error, PassError::Kube(KubeError::Conflict)) {
        let (namespace, name) = (object.namespace(), object.name_any());
        tracing::warn!(kind = %K::kind(&()), namespace, name, %error, "pass failed; it is repeated");
    }
    Err(error)
}

/// Runs a pass as a task of its own, which ends with the one that waits for it; a panic in it is an
/// error like others. Polled by the applier, each of thousands that wait would be asked at every turn.
pub async fn caught<T: Send + 'static>(
    pass: impl Future<Output = Result<T, KubeError>> + Send + 'static,
) -> Result<T, PassError> {
    let mut task = JoinSet::new();
    task.spawn(pass.in_current_span());
    match task.join_next().await {
        Some(Ok(result)) => result.map_err(PassError::from),
        Some(Err(error)) => Err(PassError::Panic(match error.try_into_panic() {
            Ok(panic) => panic_text(panic.as_ref()),
            Err(error) => error.to_string(),
        })),
        None => Err(PassError::Panic(String::new())),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// The names to look at, until the operator stops.
pub fn queue<K>(
    receiver: Queued<K>,
    mut stopping: watch::Receiver<bool>,
) -> impl futures::Stream<Item = Result<ReconcileRequest<Guarded<K>>, std::convert::Infallible>>
where
    K: Decode + 'static,
{
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|request| (Ok(request), receiver))
    })
    .take_until(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_long_is_repeated_slowly_until_it_succeeds() {
        let stumbles = Stumbles::default();
        for n in 0..40 {
            let most = AGAIN.saturating_mul(1 << n.min(16)).min(AGAIN_MOST);
            let wait = stumbles.wait("u".into());
            assert!(wait >= most / 2 && wait <= most * 3 / 2, "{n}: {wait:?}");
        }
        stumbles.over("u");
        assert!(stumbles.wait("u".into()) <= AGAIN * 3 / 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_pass() {
        let passes = [0, 1, 2].map(|n| {
            caught(async move {
                assert!(n != 1, "not {n}");
                Ok(n)
            })
        });
        let [before, panicked, after] = futures::future::join_all(passes).await.try_into().unwrap();
        assert!(matches!((before, after), (Ok(0), Ok(2))));
        let said = panicked.unwrap_err().to_string();
        assert_eq!(said, "the pass panicked: not 1");
    }

    #[tokio::test]
    async fn a_pass_ends_with_the_one_that_waits_for_it() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let pass = caught(async move {
            let _held = sender;
            std::future::pending::<Result<(), KubeError>>().await
        });
        assert!(
            tokio::time::timeout(Duration::from_millis(10), pass)
                .await
                .is_err()
        );
        assert!(receiver.await.is_err(), "dropped with its task");
    }
}
