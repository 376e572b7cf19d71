//! The way to one vendor, shared by all passes over its Subscriptions: client, budget, health,
//! circuit, and the protection of connection and Secrets while tenants exist.

mod circuit;
mod client;
mod protect;
mod usable;

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fulfillment_crds::{Product, Reason};
use tokio::sync::{RwLock, mpsc};

use crate::{
    callback::heard::Heard,
    facts::Trouble,
    kinds::{Connection, ConnectionKey},
    vendor::{
        Answer, Class, VendorClient, VendorError, budget::Budget, deletes::Deletes,
        vanish::Vanished,
    },
};
pub use circuit::Circuit;
pub use client::settings;
pub use protect::{Protected, protect};
pub use usable::{is_recorded, usable, usable_by, usable_from};

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
    /// Whether the vendor is asked at all.
    pub circuit: Circuit,
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
                circuit: Circuit::default(),
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

    /// Forgets an object that is gone, at the connection it named, which may be gone as well.
    pub fn forget_object(&self, key: &ConnectionKey, uid: &str) {
        let link = lock(&self.all).get(key).cloned();
        if let Some(link) = link {
            link.deletes.forget(uid);
            link.vanished.forget(uid);
        }
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
        let turned = self.circuit.note(matches!(health, Health::Fails(..)));
        let mut known = lock(&self.health);
        let news = match (&*known, &health) {
            (Health::Fails(was, _), Health::Fails(is, _)) => was != is,
            (was, is) => was != is,
        };
        if news {
            *known = health;
        }
        drop(known);
        if news || turned {
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
