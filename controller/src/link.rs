//! The way to one vendor, shared by all passes over its Subscriptions: client, budget, health, and
//! the protection of connection and Secrets while tenants exist.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fulfillment_crds::{
    IdentityMode, Product, Reason, Subscription, VendorConnectionSpec, annotations, finalizers,
};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc};

use crate::{
    callback::heard::Heard,
    controller::{Context, Scope},
    credentials::{self, Keys, Secrets, secret_names},
    facts::Trouble,
    inputs::not_ready,
    kinds::{Connection, ConnectionKey},
    kubernetes::{Cluster, KubeError},
    lease::Fence,
    metrics::Meter,
    vendor::deletes::Deletes,
    vendor::vanish::Vanished,
    vendor::{
        Answer, Class, VendorClient, VendorError, budget::Budget, client::Settings,
        guard::AddressPolicy,
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

/// A client, and what it is made of.
#[derive(Clone, Debug)]
struct Made {
    client: Arc<VendorClient>,
    /// Uid and generation of the connection.
    of: String,
    /// A keyed hash of its credentials.
    credentials: String,
}

/// What is known of a connection and its Secrets as they are now.
#[derive(Clone, Debug, Default)]
struct Known {
    version: String,
    /// The client, of Secrets as they were last fit for use.
    made: Option<Made>,
    /// Why connection or Secrets are not fit for use now.
    trouble: Option<Trouble>,
}

/// The way to one vendor.
#[derive(Debug)]
pub struct Link {
    /// Which connection.
    pub key: ConnectionKey,
    known: Mutex<Known>,
    budget: Mutex<Option<(fulfillment_crds::Budget, Arc<Budget>)>>,
    health: Mutex<Health>,
    changed: mpsc::UnboundedSender<ConnectionKey>,
    /// When tenants may be deleted.
    pub deletes: Deletes,
    /// Whether the vendor's callbacks arrive.
    pub heard: Heard,
    /// The tenants that were found gone.
    pub vanished: Vanished,
    /// Whether connection and Secrets carry the finalizer. Passes hold it for reading from there to
    /// their own finalizer, so that nothing is released in between.
    pub protected: Arc<RwLock<bool>>,
}

/// All links, by connection.
#[derive(Debug)]
pub struct Links {
    all: Mutex<HashMap<ConnectionKey, Arc<Link>>>,
    changed: mpsc::UnboundedSender<ConnectionKey>,
}

/// A connection that can be used, and what it is made of.
#[derive(Clone, Debug)]
pub struct Usable {
    /// The connection.
    pub connection: Connection,
    /// Where its Secrets are.
    pub secrets_namespace: String,
    /// Its link.
    pub link: Arc<Link>,
    /// Its client.
    pub client: Arc<VendorClient>,
    /// Its budget.
    pub budget: Arc<Budget>,
    /// Changes with the connection or its Secrets.
    pub fingerprint: String,
    /// Why nothing new is created, while what exists is looked after: its Secrets as they are now are
    /// not fit for use, and the client is of those before; or it does not allow this use any more.
    pub stale: Option<Trouble>,
}

impl Usable {
    /// The definition of a product, where the connection has one.
    pub fn product(&self, name: &str) -> Option<&Product> {
        let products = &self.connection.spec().products;
        products.iter().find(|product| product.name == name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Links {
    /// No links yet; `changed` hears which connection's health has changed.
    pub fn new(changed: mpsc::UnboundedSender<ConnectionKey>) -> Self {
        Self {
            all: Mutex::default(),
            changed,
        }
    }

    /// The link of a connection.
    pub fn get(&self, key: &ConnectionKey) -> Arc<Link> {
        let mut all = lock(&self.all);
        Arc::clone(all.entry(key.clone()).or_insert_with(|| {
            Arc::new(Link {
                key: key.clone(),
                known: Mutex::default(),
                budget: Mutex::default(),
                health: Mutex::default(),
                changed: self.changed.clone(),
                deletes: Deletes::default(),
                heard: Heard::default(),
                vanished: Vanished::default(),
                protected: Arc::new(RwLock::new(false)),
            })
        }))
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, key: &ConnectionKey) {
        lock(&self.all).remove(key);
    }
}

impl Link {
    /// The health as the last call left it.
    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Makes one call, which the connection's status hears of.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub async fn call(
        &self,
        call: impl Future<Output = Result<Answer, VendorError>>,
    ) -> Result<Answer, VendorError> {
        let answer = call.await;
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
        let made = Arc::new(Budget::of(spec));
        *budget = Some((spec.clone(), Arc::clone(&made)));
        made
    }
}

/// Finds the connection a Subscription names, and makes it usable where the Subscription may use it.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says what is missing or not usable.
pub async fn usable_by(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let key = ConnectionKey::named_by(object);
    usable_from(ctx, scope, &key, namespace, is_recorded(object)).await
}

/// The same for whoever names a connection in a namespace; what is `recorded` there is looked after
/// whether the connection still allows it or not.
///
/// # Errors
///
/// As [`usable_by`].
pub async fn usable_from(
    ctx: &Context,
    scope: &Scope,
    key: &ConnectionKey,
    namespace: &str,
    recorded: bool,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let connection = match find(scope, key) {
        Ok(connection) => connection,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let allowed = connection.allows(namespace);
    let refused = if !allowed {
        format!(
            "{} does not allow namespace {namespace}: add it to spec.allowedNamespaces",
            connection.key()
        )
    } else if connection.is_terminating() {
        format!("{} is being deleted", connection.key())
    } else {
        return prepare(ctx, scope, connection).await;
    };
    if !allowed && !recorded {
        return Ok(Err(not_ready(refused)));
    }
    let usable = prepare(ctx, scope, connection).await?;
    let refused = format!("{refused}; what exists is looked after, and nothing new is created");
    Ok(usable.map(|usable| Usable {
        stale: Some(not_ready(refused)),
        ..usable
    }))
}

/// Whether something was ordered for a Subscription, so that it has to be looked after whether the
/// connection still allows it or not. Only the operator writes status; finalizer and intent are in
/// the hands of whoever may write the object, and prove nothing.
pub fn is_recorded(object: &Subscription) -> bool {
    object.status.as_ref().is_some_and(|status| {
        status.tenant_id.is_some() || status.request.as_ref().is_some_and(|r| r.attempts > 0)
    })
}

/// Finds a connection, and makes it usable.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says what is missing or not usable.
pub async fn usable(
    ctx: &Context,
    scope: &Scope,
    key: &ConnectionKey,
) -> Result<Result<Usable, Trouble>, KubeError> {
    match find(scope, key) {
        Ok(connection) => prepare(ctx, scope, connection).await,
        Err(trouble) => Ok(Err(trouble)),
    }
}

fn find(scope: &Scope, key: &ConnectionKey) -> Result<Connection, Trouble> {
    match (scope.connection(key), &key.namespace) {
        (Some(Ok(connection)), _) => Ok(connection),
        (Some(Err(why)), _) => Err(not_ready(format!("{key} cannot be decoded: {why}"))),
        (None, Some(namespace)) => Err(not_ready(format!(
            "{key} does not exist in namespace {namespace}"
        ))),
        (None, None) if scope.cluster_connections.is_none() => Err(not_ready(format!(
            "{key} cannot be used: this operator watches single namespaces (--watch-namespace) and sees no ClusterVendorConnection; use a VendorConnection in this namespace, or an operator that watches all namespaces"
        ))),
        (None, None) => Err(not_ready(format!("{key} does not exist"))),
    }
}

async fn prepare(
    ctx: &Context,
    scope: &Scope,
    connection: Connection,
) -> Result<Result<Usable, Trouble>, KubeError> {
    let key = connection.key();
    let secrets_namespace = scope.secrets_of(&key).to_owned();
    let link = ctx.links.get(&key);
    let meta = connection.meta();
    let annotations = meta.annotations.as_ref();
    let asked = annotations.and_then(|all| all.get(annotations::REQUESTED_AT));
    link.vanished.believe(asked.map(String::as_str));
    let of = format!(
        "{}/{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default(),
    );
    let mut version = of.clone();
    for secret in secret_names(connection.spec()) {
        let secret = scope.secret_version(&secrets_namespace, secret);
        version = format!("{version}/{secret}");
    }
    let known = lock(&link.known).clone();
    let known = if known.version == version {
        known
    } else {
        let made = make(ctx, &secrets_namespace, &connection, of).await?;
        link.learn(version, made)
    };
    let Some(made) = known.made else {
        let unknown = || not_ready(format!("{key} is not known yet"));
        return Ok(Err(known.trouble.unwrap_or_else(unknown)));
    };
    let stale = known.trouble.map(|trouble| Trouble {
        message: format!(
            "{}; what exists is looked after with the credentials before, and nothing new is created",
            trouble.message
        ),
        ..trouble
    });
    Ok(Ok(Usable {
        budget: link.budget(&connection.spec().budget),
        fingerprint: format!("{}/{}", made.of, made.credentials),
        client: made.client,
        connection,
        secrets_namespace,
        link,
        stale,
    }))
}

impl Link {
    /// Takes what was made of the Secrets in this version, or keeps what was made before of the
    /// very same connection: then only the Secrets can have become unfit.
    fn learn(&self, version: String, made: Result<Made, Unfit>) -> Known {
        let mut known = lock(&self.known);
        let before = known.made.take();
        *known = match made {
            Ok(made) => {
                // The same credentials in another version of the Secret (our own finalizer changes
                // it), or made by two passes at once: one client, as it has the connections, and
                // the token.
                let same =
                    |before: &Made| before.of == made.of && before.credentials == made.credentials;
                Known {
                    version,
                    made: Some(before.filter(same).unwrap_or(made)),
                    trouble: None,
                }
            }
            Err(Unfit { of, trouble }) => Known {
                version,
                made: before.filter(|before| before.of == of),
                trouble: Some(trouble),
            },
        };
        known.clone()
    }
}

/// Why no client can be made of a connection.
struct Unfit {
    of: String,
    trouble: Trouble,
}

async fn make(
    ctx: &Context,
    secrets_namespace: &str,
    connection: &Connection,
    of: String,
) -> Result<Result<Made, Unfit>, KubeError> {
    let spec = connection.spec();
    let mut secrets = Secrets::new();
    for secret in secret_names(spec) {
        let found = ctx.cluster.secret(secrets_namespace, secret).await?;
        secrets.insert(secret.to_owned(), found);
    }
    let made = credentials::keys(spec, &secrets, &ctx.settings.addresses)
        .and_then(|keys| client(ctx, connection, keys));
    Ok(match made {
        Ok((client, credentials)) => Ok(Made {
            client,
            of,
            credentials,
        }),
        Err(why) => Err(Unfit {
            of,
            trouble: not_ready(wrong(&connection.key(), secrets_namespace, &why)),
        }),
    })
}

/// Why a connection's Secrets cannot be used; where they are, if not where the reader would look.
fn wrong(key: &ConnectionKey, secrets_namespace: &str, why: &str) -> String {
    match key.namespace {
        Some(_) => format!("{key}: {why}"),
        None => format!("{key}, whose Secrets are in namespace {secrets_namespace}: {why}"),
    }
}

fn client(
    ctx: &Context,
    connection: &Connection,
    keys: Keys,
) -> Result<(Arc<VendorClient>, String), String> {
    let spec = connection.spec();
    let hash = ctx.key.inputs_hash(&keys.parts).unwrap_or_default();
    let addresses = ctx.settings.addresses.clone();
    let meter = Meter::new(Arc::clone(&ctx.metrics), connection.key().label());
    let settings = settings(spec, keys, addresses, ctx.gate.fence(), meter);
    let client = VendorClient::new(&settings).map_err(|why| why.to_string())?;
    Ok((Arc::new(client), hash))
}

/// What the client of a connection is made of.
pub fn settings(
    spec: &VendorConnectionSpec,
    keys: Keys,
    addresses: AddressPolicy,
    fence: Fence,
    meter: Meter,
) -> Settings {
    let bundle = spec.tls.as_ref().and_then(|tls| tls.ca_bundle.as_deref());
    Settings {
        url: spec.url.clone(),
        credentials: keys.credentials,
        ca: bundle.map(pem),
        certificate: keys.certificate,
        connect_timeout: spec.timeouts.connect.into(),
        request_timeout: spec.timeouts.request.into(),
        addresses,
        fresh_creates: spec.identity.mode == IdentityMode::None,
        dialect: spec.dialect.clone(),
        products: spec.products.clone(),
        fence,
        meter,
    }
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

/// Holds the protection of a connection: as long as it is held, no finalizer is dropped.
pub type Protected = OwnedRwLockReadGuard<bool>;

/// Puts the finalizer on the connection and its Secrets before the first tenant; cheap once done.
/// Hold what it returns until the Subscription's own finalizer counts.
///
/// # Errors
///
/// The outer error where the API server fails; the inner says why nothing may be created here.
pub async fn protect(
    cluster: &Cluster,
    usable: &Usable,
) -> Result<Result<Protected, Trouble>, KubeError> {
    if let Some(stale) = &usable.stale {
        return Ok(Err(stale.clone()));
    }
    let held = Arc::clone(&usable.link.protected).read_owned().await;
    if *held {
        return Ok(Ok(held));
    }
    drop(held);
    let mut held = Arc::clone(&usable.link.protected).write_owned().await;
    if !*held {
        if let Err(closed) = put_finalizers(cluster, usable).await? {
            return Ok(Err(closed));
        }
        *held = true;
    }
    Ok(Ok(held.downgrade()))
}

async fn put_finalizers(
    cluster: &Cluster,
    usable: &Usable,
) -> Result<Result<(), Trouble>, KubeError> {
    let (key, namespace) = (&usable.link.key, &usable.secrets_namespace);
    let going = |what: String| {
        not_ready(format!(
            "{what} is being deleted: nothing new is created through it"
        ))
    };
    let connection = match cluster.connection(key).await? {
        Some(connection) if !connection.is_terminating() => connection,
        Some(_) | None => return Ok(Err(going(key.to_string()))),
    };
    cluster.hold_connection(&connection, true).await?;
    for secret_name in secret_names(connection.spec()) {
        let Some(secret) = cluster.secret(namespace, secret_name).await? else {
            let why = format!("Secret {secret_name} does not exist");
            return Ok(Err(not_ready(wrong(key, namespace, &why))));
        };
        if secret.metadata.deletion_timestamp.is_some() {
            return Ok(Err(going(format!("Secret {secret_name} of {key}"))));
        }
        cluster
            .set_finalizer(&secret, finalizers::IN_USE, true)
            .await?;
    }
    Ok(Ok(()))
}
