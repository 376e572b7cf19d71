//! The way to one vendor, shared by all passes over its Subscriptions: client, budget, health, and
//! the protection of connection and Secret while tenants exist.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use fulfillment_crds::{
    Auth, ConnectionRef, IdentityMode, Product, Reason, VendorConnection, VendorConnectionSpec,
    annotations, finalizers,
};
use http::HeaderName;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc};

use crate::{
    controller::{Context, Scope},
    facts::Trouble,
    inputs::{not_ready, secret_key},
    kubernetes::{Cluster, KubeError},
    metrics::Metrics,
    vendor::deletes::Deletes,
    vendor::vanish::Vanished,
    vendor::{
        Answer, Class, Credentials, Operation, VendorClient, VendorError, budget::Budget,
        client::Settings,
    },
};

/// What the last call through a connection said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// No call yet.
    #[default]
    Unused,
    /// The vendor answered.
    Answers,
    /// It does not answer, or only with errors.
    Fails(Reason, String),
}

/// A client and a keyed hash of its credentials, or why there is none.
type Made = Result<(Arc<VendorClient>, String), Trouble>;

/// The way to one vendor.
#[derive(Debug)]
pub struct Link {
    /// Namespace and name of the connection.
    pub key: (String, String),
    client: Mutex<Option<(String, Made)>>,
    budget: Mutex<Option<(fulfillment_crds::Budget, Arc<Budget>)>>,
    health: Mutex<Health>,
    changed: mpsc::UnboundedSender<(String, String)>,
    /// When tenants may be deleted.
    pub deletes: Deletes,
    /// The tenants that were found gone.
    pub vanished: Vanished,
    /// Whether connection and Secret carry the finalizer. Passes hold it for reading from there to
    /// their own finalizer, so that nothing is released in between.
    pub protected: Arc<RwLock<bool>>,
}

/// All links, by namespace and name of the connection.
#[derive(Debug)]
pub struct Links {
    all: Mutex<HashMap<(String, String), Arc<Link>>>,
    changed: mpsc::UnboundedSender<(String, String)>,
}

/// A connection that can be used, and what it is made of.
#[derive(Clone, Debug)]
pub struct Usable {
    /// The connection.
    pub connection: Arc<VendorConnection>,
    /// Its link.
    pub link: Arc<Link>,
    /// Its client.
    pub client: Arc<VendorClient>,
    /// Its budget.
    pub budget: Arc<Budget>,
    /// Changes with the connection or its Secret.
    pub fingerprint: String,
}

impl Usable {
    /// The definition of a product, where the connection has one.
    pub fn product(&self, name: &str) -> Option<&Product> {
        let products = &self.connection.spec.products;
        products.iter().find(|product| product.name == name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Links {
    /// No links yet; `changed` hears which connection's health has changed.
    pub fn new(changed: mpsc::UnboundedSender<(String, String)>) -> Self {
        Self {
            all: Mutex::default(),
            changed,
        }
    }

    /// The link of a connection.
    pub fn get(&self, namespace: &str, name: &str) -> Arc<Link> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut all = lock(&self.all);
        Arc::clone(all.entry(key.clone()).or_insert_with(|| {
            Arc::new(Link {
                key,
                client: Mutex::default(),
                budget: Mutex::default(),
                health: Mutex::default(),
                changed: self.changed.clone(),
                deletes: Deletes::default(),
                vanished: Vanished::default(),
                protected: Arc::new(RwLock::new(false)),
            })
        }))
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.all).remove(&(namespace.to_owned(), name.to_owned()));
    }
}

impl Link {
    /// The health as the last call left it.
    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Makes one call: counted, timed, and heard by the connection's status.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub async fn call(
        &self,
        operation: Operation,
        metrics: &Metrics,
        call: impl Future<Output = Result<Answer, VendorError>>,
    ) -> Result<Answer, VendorError> {
        let began = Instant::now();
        let answer = call.await;
        let code = match &answer {
            Ok(_) => "ok".to_owned(),
            Err(error) => error
                .status
                .map_or_else(|| "none".into(), |status| status.to_string()),
        };
        metrics.called(&self.key.1, operation.as_str(), code, began.elapsed());
        let health = match &answer {
            Ok(_) => Health::Answers,
            Err(error) => match error.class {
                Class::Refused | Class::Busy => Health::Answers,
                Class::Transient | Class::Throttled | Class::Auth => {
                    Health::Fails(error.reason(), error.message.clone())
                }
            },
        };
        let mut known = lock(&self.health);
        let news = match (&*known, &health) {
            (Health::Fails(was, _), Health::Fails(is, _)) => was != is,
            (was, is) => was != is,
        };
        if news {
            *known = health;
            drop(known);
            self.tell();
        }
        answer
    }

    /// Says that the connection's status has news.
    pub fn tell(&self) {
        let _ = self.changed.send(self.key.clone());
    }

    fn budget(&self, spec: &fulfillment_crds::Budget) -> Arc<Budget> {
        let mut budget = lock(&self.budget);
        if let Some((known, budget)) = &*budget
            && known == spec
        {
            return Arc::clone(budget);
        }
        let number = |n: i64| u32::try_from(n).unwrap_or(1);
        let made = Arc::new(Budget::new(
            number(spec.requests_per_second),
            number(spec.burst),
            usize::try_from(spec.max_in_flight).unwrap_or(1),
        ));
        *budget = Some((spec.clone(), Arc::clone(&made)));
        made
    }
}

/// Finds the connection a Subscription names and makes it usable.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says what is missing or not usable.
pub async fn usable(
    ctx: &Context,
    scope: &Scope,
    namespace: &str,
    reference: &ConnectionRef,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let name = &reference.name;
    let connection = match scope.connection(namespace, name) {
        None => {
            return Ok(Err(not_ready(format!(
                "VendorConnection {name} does not exist in namespace {namespace}"
            ))));
        }
        Some(Err(why)) => {
            return Ok(Err(not_ready(format!(
                "VendorConnection {name} cannot be decoded: {why}"
            ))));
        }
        Some(Ok(connection)) => connection,
    };
    let link = ctx.links.get(namespace, name);
    let annotations = connection.metadata.annotations.as_ref();
    let asked = annotations.and_then(|all| all.get(annotations::REQUESTED_AT));
    link.vanished.believe(asked.map(String::as_str));
    let secret = secret_name(&connection.spec);
    let of = format!(
        "{}/{}",
        connection.metadata.uid.as_deref().unwrap_or_default(),
        connection.metadata.generation.unwrap_or_default(),
    );
    let version = secret.map_or_else(String::new, |secret| {
        scope.secret_version(namespace, secret)
    });
    let version = format!("{of}/{version}");
    let known = lock(&link.client)
        .as_ref()
        .filter(|(v, _)| *v == version)
        .map(|(_, made)| made.clone());
    let made = if let Some(made) = known {
        made
    } else {
        let made = make(ctx, namespace, &connection).await?;
        *lock(&link.client) = Some((version, made.clone()));
        made
    };
    Ok(made.map(|(client, credentials)| {
        let budget = link.budget(&connection.spec.budget);
        let fingerprint = format!("{of}/{credentials}");
        Usable {
            connection,
            link,
            client,
            budget,
            fingerprint,
        }
    }))
}

/// The Secret a connection names.
pub fn secret_name(spec: &VendorConnectionSpec) -> Option<&str> {
    let auth = spec.auth.as_ref()?;
    let bearer = auth.bearer.as_ref().map(|a| a.secret_ref.name.as_str());
    let basic = auth.basic.as_ref().map(|a| a.secret_ref.name.as_str());
    let api_key = auth.api_key.as_ref().map(|a| a.secret_ref.name.as_str());
    bearer.or(basic).or(api_key)
}

async fn make(
    ctx: &Context,
    namespace: &str,
    connection: &VendorConnection,
) -> Result<Made, KubeError> {
    let spec = &connection.spec;
    let name = connection.metadata.name.as_deref().unwrap_or_default();
    let trouble = |why: String| Err(not_ready(format!("VendorConnection {name}: {why}")));
    let secret = match secret_name(spec) {
        Some(secret) => ctx.cluster.secret(namespace, secret).await?,
        None => None,
    };
    let credentials = match spec.auth.as_ref().map_or(Ok(Credentials::None), |auth| {
        credentials(auth, secret.as_ref())
    }) {
        Ok(credentials) => credentials,
        Err(why) => return Ok(trouble(why)),
    };
    let hash = ctx
        .key
        .inputs_hash(&secret_parts(&credentials))
        .unwrap_or_default();
    let settings = Settings {
        url: spec.url.clone(),
        credentials,
        ca: spec.tls.as_ref().map(|tls| pem(&tls.ca_bundle)),
        connect_timeout: spec.timeouts.connect.into(),
        request_timeout: spec.timeouts.request.into(),
        addresses: ctx.settings.addresses.clone(),
        fresh_creates: spec.identity.mode == IdentityMode::None,
        fence: ctx.gate.fence(),
    };
    Ok(match VendorClient::new(&settings) {
        Ok(client) => Ok((Arc::new(client), hash)),
        Err(why) => trouble(why.to_string()),
    })
}

/// PEM as it is, or in base64 as Kubernetes writes bytes.
fn pem(bundle: &str) -> Vec<u8> {
    if bundle.contains("-----BEGIN") {
        return bundle.as_bytes().to_vec();
    }
    let compact: String = bundle.split_whitespace().collect();
    data_encoding::BASE64
        .decode(compact.as_bytes())
        .unwrap_or_else(|_| bundle.as_bytes().to_vec())
}

/// The secret part of credentials, to be hashed: when it changes, a back-off ends.
fn secret_parts(credentials: &Credentials) -> BTreeMap<String, SecretString> {
    let (name, value) = match credentials {
        Credentials::None => return BTreeMap::new(),
        Credentials::Bearer(token) => ("", token),
        Credentials::Basic(user, password) => (user.as_str(), password),
        Credentials::Header(name, value) => (name.as_str(), value),
    };
    BTreeMap::from([(name.to_owned(), value.clone())])
}

fn credentials(auth: &Auth, secret: Option<&Secret>) -> Result<Credentials, String> {
    if let Some(bearer) = &auth.bearer {
        return secret_key(secret, &bearer.secret_ref).map(Credentials::Bearer);
    }
    if let Some(basic) = &auth.basic {
        let key = |key: &str| fulfillment_crds::KeyRef {
            name: basic.secret_ref.name.clone(),
            key: key.into(),
        };
        let user = secret_key(secret, &key("username"))?;
        let password = secret_key(secret, &key("password"))?;
        return Ok(Credentials::Basic(
            user.expose_secret().to_owned(),
            password,
        ));
    }
    if let Some(api_key) = &auth.api_key {
        let header = HeaderName::from_bytes(api_key.header.as_bytes())
            .map_err(|_| format!("auth.apiKey.header {} is no header name", api_key.header))?;
        return secret_key(secret, &api_key.secret_ref)
            .map(|value| Credentials::Header(header, value));
    }
    Ok(Credentials::None)
}

/// Holds the protection of a connection: as long as it is held, no finalizer is dropped.
pub type Protected = OwnedRwLockReadGuard<bool>;

/// Puts the finalizer on the connection and its Secret before the first tenant; cheap once done.
/// Hold what it returns until the Subscription's own finalizer counts.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says why nothing may be created here.
pub async fn protect(
    cluster: &Cluster,
    namespace: &str,
    usable: &Usable,
) -> Result<Result<Protected, Trouble>, KubeError> {
    let held = Arc::clone(&usable.link.protected).read_owned().await;
    if *held {
        return Ok(Ok(held));
    }
    drop(held);
    let mut held = Arc::clone(&usable.link.protected).write_owned().await;
    if !*held {
        if let Err(closed) = put_finalizers(cluster, namespace, &usable.link.key.1).await? {
            return Ok(Err(closed));
        }
        *held = true;
    }
    Ok(Ok(held.downgrade()))
}

async fn put_finalizers(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<Result<(), Trouble>, KubeError> {
    let going = |what: String| {
        not_ready(format!(
            "{what} is being deleted: nothing new is created through it"
        ))
    };
    let connection = match cluster.get::<VendorConnection>(namespace, name).await? {
        Some(connection) if connection.metadata.deletion_timestamp.is_none() => connection,
        Some(_) | None => return Ok(Err(going(format!("VendorConnection {name}")))),
    };
    cluster
        .set_finalizer(&connection, finalizers::IN_USE, true)
        .await?;
    let Some(secret_name) = secret_name(&connection.spec) else {
        return Ok(Ok(()));
    };
    let Some(secret) = cluster.secret(namespace, secret_name).await? else {
        return Ok(Err(not_ready(format!(
            "VendorConnection {name}: Secret {secret_name} does not exist"
        ))));
    };
    if secret.metadata.deletion_timestamp.is_some() {
        return Ok(Err(going(format!(
            "Secret {secret_name} of VendorConnection {name}"
        ))));
    }
    cluster
        .set_finalizer(&secret, finalizers::IN_USE, true)
        .await?;
    Ok(Ok(()))
}
