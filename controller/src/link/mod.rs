//! The way to one vendor, shared by all passes over its Subscriptions: client, budget, health,
//! circuit, and the protection of connection and Secrets while tenants exist.

mod circuit;
mod client;
mod protect;
mod rotation;
mod usable;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fulfillment_crds::{Product, Reason};
use tokio::sync::{RwLock, mpsc};

use crate::{
    callback::heard::Heard,
    facts::Trouble,
    inputs::not_ready,
    kinds::{Connection, ConnectionKey},
    product,
    vendor::{
        Answer, Class, Operation, VendorClient, VendorError, budget::Budget, deletes::Deletes,
        vanish::Vanished,
    },
};
pub use circuit::Circuit;
pub use client::settings;
pub use protect::{Protected, protect};
pub use rotation::Clients;
use usable::wrong;
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

/// The clients, and what they are made of.
#[derive(Clone, Debug)]
struct Made {
    clients: Arc<Clients>,
    /// Uid and generation of the connection.
    of: String,
}

/// What is known of a connection and its Secrets as they are now.
#[derive(Clone, Debug, Default)]
struct Known {
    version: String,
    /// The clients, of Secrets as they were last fit for use.
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
    /// Its clients.
    pub clients: Arc<Clients>,
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

    /// Makes one call, which the connection's status hears of. The budget was asked for it; where it is
    /// made with other credentials as well, it is asked here.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub async fn call<C: Future<Output = Result<Answer, VendorError>>>(
        &self,
        operation: Operation,
        send: impl Fn(Arc<VendorClient>) -> C,
    ) -> Result<Answer, VendorError> {
        let (again, send) = (AtomicBool::new(false), &send);
        let paid = |client: Arc<VendorClient>| {
            let again = again.swap(true, Ordering::Relaxed);
            async move {
                if again {
                    for _ in 0..client.calls(operation) {
                        self.budget.token().await;
                    }
                }
                send(client).await
            }
        };
        let (answer, news) = self.clients.call(operation, paid).await;
        if self.link.note(&answer) || news {
            self.link.tell();
        }
        answer
    }

    /// That the vendor refuses the credentials as they are now, where calls go on with the former ones.
    pub fn refusal(&self) -> Option<String> {
        let (said, secrets) = self.clients.refusal()?;
        let place = if secrets.is_empty() {
            "spec.auth".to_owned()
        } else {
            format!("Secret {}", secrets.join(", "))
        };
        let why = format!("the new credentials in {place} are refused: {said}; {GOES_ON}");
        Some(wrong(&self.link.key, &self.secrets_namespace, &why))
    }

    /// Why nothing new of a product is bought: nobody can give what its definition here asks for.
    pub fn unfit(&self, product: &Product) -> Option<Trouble> {
        let wrong = product::unfit(product).next()?;
        // It may list all choices, and the remedy comes after it.
        let why: String = wrong.message.chars().take(256).collect();
        Some(not_ready(format!(
            "{}: product {}: {}: {why}; correct spec.products there: what exists is looked after, and nothing new of it is bought",
            self.connection.key(),
            product.name,
            wrong.name,
        )))
    }
}

/// How it is said that new credentials are refused, by a process that has the former ones.
const GOES_ON: &str = "calls go on with the former ones, as long as the operator's process lives";

/// Whether a message says what [`Usable::refusal`] says.
pub fn is_refusal(message: &str) -> bool {
    message.contains(GOES_ON)
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

    /// Learns from what became of a call; says whether the connection's status has news.
    fn note(&self, answer: &Result<Answer, VendorError>) -> bool {
        let health = match answer {
            Ok(_) => Health::Answers,
            Err(error) if error.unsent => {
                self.circuit.unsent();
                return false;
            }
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
        news || turned
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Effect;

    #[tokio::test]
    async fn what_the_operator_does_not_send_says_nothing_of_the_vendor() {
        let (changed, _) = mpsc::unbounded_channel();
        let key = ConnectionKey {
            namespace: None,
            name: "acme".into(),
        };
        let link = Links::new(changed).get(&key);
        let failed = |unsent| {
            Err(VendorError {
                class: Class::Transient,
                effect: Effect::None,
                retry_after: None,
                status: None,
                code: String::new(),
                message: "no".into(),
                parameters: Vec::new(),
                unsent,
            })
        };
        for _ in 0..100 {
            assert!(!link.note(&failed(true)));
        }
        assert_eq!(link.health(), Health::Unused);
        assert_eq!(link.circuit.open_until(), None);
        for _ in 0..100 {
            link.note(&failed(false));
        }
        assert!(matches!(link.health(), Health::Fails(..)));
        assert!(link.circuit.open_until().is_some());
    }
}
