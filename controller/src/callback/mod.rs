//! `POST /callbacks/<namespace>/<name>/<token>`: a vendor says that something has changed. It is a
//! hint: what is true is read from the vendor. Served by every replica; the hint is an annotation on
//! the Subscription, which is durable before the vendor hears so, and which whoever leads sees.

pub mod heard;
mod hint;
pub mod proof;
mod server;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::response::{IntoResponse, Response};
use fulfillment_crds::{KeyRef, Subscription};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use secrecy::SecretString;

use crate::{
    controller::Scope,
    identity::InstallationKey,
    inputs,
    kinds::ConnectionKey,
    kubernetes::{Cluster, KubeError},
    metrics::Metrics,
    pace,
};
pub use server::start;

/// How many refusals a second are told why; beyond them it is 429.
const REFUSALS: f64 = 50.0;
/// How many hints for one Subscription are written at once, and then one a second.
const HINTS: f64 = 5.0;
/// How long the API server may take for a callback: a vendor is answered in under a second.
const ANSWER: Duration = Duration::from_millis(900);

/// What a callback is answered with.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    status: StatusCode,
    why: &'static str,
    /// A refusal is the last word on its connection.
    refused: bool,
}

impl Verdict {
    /// An answer to who is known.
    const fn new(status: StatusCode, why: &'static str) -> Self {
        Self {
            status,
            why,
            refused: false,
        }
    }
}

impl IntoResponse for Verdict {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.why).into_response();
        if self.refused {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// Namespace, Secret and key.
type Place = (String, String, String);

/// A callback secret as it was read at this version of its Secret.
type Known = (String, SecretString);

/// Takes callbacks.
#[derive(Debug)]
pub struct Callbacks {
    cluster: Cluster,
    key: InstallationKey,
    scopes: Arc<Mutex<Vec<Arc<Scope>>>>,
    metrics: Arc<Metrics>,
    refusals: Mutex<Bucket>,
    hints: Mutex<HashMap<String, Bucket>>,
    /// The callback secrets, by where they are.
    secrets: Mutex<HashMap<Place, Known>>,
}

/// So many at once, and then so many a second.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(size: f64) -> Self {
        Self {
            left: size,
            at: Instant::now(),
        }
    }

    fn take(&mut self, size: f64, per_second: f64) -> bool {
        let now = Instant::now();
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * per_second).min(size);
        self.at = now;
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

/// What is to be sent again.
const AGAIN: &str = "try again\n";

fn later(why: &'static str) -> Verdict {
    Verdict::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Callbacks {
    /// Takes callbacks for the Subscriptions in these caches.
    pub fn new(
        cluster: Cluster,
        key: InstallationKey,
        scopes: Arc<Mutex<Vec<Arc<Scope>>>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            cluster,
            key,
            scopes,
            metrics,
            refusals: Mutex::new(Bucket::full(REFUSALS)),
            hints: Mutex::default(),
            secrets: Mutex::default(),
        }
    }

    /// The Subscription a callback is for, if its URL is one that we gave away. Costs a look into the
    /// caches and one hash: who guesses gets no further.
    fn addressee(
        &self,
        namespace: &str,
        name: &str,
        token: &str,
    ) -> Option<(Arc<Scope>, Arc<Subscription>)> {
        let reference = ObjectRef::new(name).within(namespace);
        let scopes = lock(&self.scopes).clone();
        let (scope, object) = scopes.into_iter().find_map(|scope| {
            let found = scope.subscriptions.get(&reference)?;
            let object = found.0.as_ref().ok().cloned()?;
            Some((scope, object))
        })?;
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        self.key
            .is_callback_token(uid, token)
            .then_some((scope, object))
    }

    /// Refuses; beyond the limit without a word.
    fn refuse(&self, status: StatusCode, why: &'static str) -> Verdict {
        self.metrics.callback("refused");
        let told = lock(&self.refusals).take(REFUSALS, REFUSALS);
        let (status, why) = if told {
            (status, why)
        } else {
            (StatusCode::TOO_MANY_REQUESTS, "")
        };
        Verdict {
            status,
            why,
            refused: true,
        }
    }

    /// Refuses what is for none of the Subscriptions.
    fn nobody(&self) -> Verdict {
        self.refuse(StatusCode::NOT_FOUND, "there is no such callback\n")
    }

    /// Answers a callback whose URL is right, in time.
    async fn hear(
        &self,
        scope: &Scope,
        object: &Subscription,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Verdict {
        let taken = self.take(scope, object, headers, body);
        let verdict = tokio::time::timeout(ANSWER, taken).await;
        verdict.unwrap_or_else(|_| later(AGAIN))
    }

    /// Verifies it, and makes its hint durable.
    async fn take(
        &self,
        scope: &Scope,
        object: &Subscription,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Verdict {
        let namespace = object.namespace().unwrap_or_default();
        let key = ConnectionKey::named_by(object);
        let connection = scope.connection(&key);
        let Some(Ok(connection)) = connection else {
            return self.refuse(StatusCode::NOT_FOUND, "there is no such connection\n");
        };
        let Some(callback) = &connection.spec().callback else {
            return self.refuse(StatusCode::NOT_FOUND, "the connection takes no callbacks\n");
        };
        if let Some(secret) = &callback.secret_ref {
            let secret = match self.secret(scope, scope.secrets_of(&key), secret).await {
                Ok(Some(secret)) => secret,
                Ok(None) => return later("the callback secret is missing\n"),
                Err(_) => return later(AGAIN),
            };
            let now = pace::now().as_second();
            if let Err(lacking) = proof::verify(&secret, headers, body, now) {
                let verdict = self.refuse(
                    StatusCode::UNAUTHORIZED,
                    "the callback is not proved to be the vendor's\n",
                );
                // No more lines than answers that say why.
                if verdict.status == StatusCode::UNAUTHORIZED {
                    tracing::warn!(namespace, name = object.name_any(), %lacking, "callback refused");
                }
                return verdict;
            }
        }
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        if !self.may_hint(&uid) {
            let (status, why) = (StatusCode::TOO_MANY_REQUESTS, "one a second is enough\n");
            return Verdict::new(status, why);
        }
        let value = format!("{}", pace::instant());
        match hint::leave(&self.cluster, &namespace, &name, &uid, &value).await {
            Ok(()) => {
                self.metrics.callback("taken");
                Verdict::new(StatusCode::NO_CONTENT, "")
            }
            Err(KubeError::Gone) => Verdict::new(StatusCode::GONE, "the subscription is gone\n"),
            Err(_) => later(AGAIN),
        }
    }

    /// Few hints for one Subscription: a vendor that repeats itself costs no more than one that does not.
    fn may_hint(&self, uid: &str) -> bool {
        let mut all = lock(&self.hints);
        if all.len() > 10_000 {
            let now = Instant::now();
            all.retain(|_, bucket| now.duration_since(bucket.at) < Duration::from_secs(60));
        }
        all.entry(uid.to_owned())
            .or_insert_with(|| Bucket::full(HINTS))
            .take(HINTS, 1.0)
    }

    /// Whether a Secret that was read is still there, and as it was.
    fn is_current(&self, (namespace, name, _): &Place, version: &str) -> bool {
        let scopes = lock(&self.scopes);
        let mut all = scopes.iter();
        all.any(|scope| scope.secret_version(namespace, name) == version)
    }

    /// The callback secret, read again when the Secret has changed.
    async fn secret(
        &self,
        scope: &Scope,
        namespace: &str,
        key: &KeyRef,
    ) -> Result<Option<SecretString>, KubeError> {
        let version = scope.secret_version(namespace, &key.name);
        let place = (namespace.to_owned(), key.name.clone(), key.key.clone());
        let known = lock(&self.secrets).get(&place).cloned();
        if let Some((_, secret)) = known.filter(|(at, _)| *at == version) {
            return Ok(Some(secret));
        }
        let found = self.cluster.secret(namespace, &key.name).await?;
        let secret = inputs::secret_key(found.as_ref(), key).ok();
        if let Some(secret) = &secret {
            let mut all = lock(&self.secrets);
            all.retain(|place, (version, _)| self.is_current(place, version));
            all.insert(place, (version, secret.clone()));
        }
        Ok(secret)
    }
}
