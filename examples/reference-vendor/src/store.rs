//! The database: what is in it, and how it is written.
//!
//! All writing is done by one thread. It takes every piece of work that is waiting, does all of it
//! in one transaction, commits, and only then lets the callers go on. So an answer that was sent
//! is an answer that was kept, and a busy vendor pays for one commit where it serves many calls.

use crate::{disk::Disk, tenant::Tenant};
use jiff::Timestamp;
use redb::{
    Database, MultimapTable, MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable,
    ReadableTable, Table, TableDefinition, backends::InMemoryBackend,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
};
use tokio::sync::oneshot;

type Json = &'static [u8];

const TENANTS: TableDefinition<'_, &str, Json> = TableDefinition::new("tenants");
/// Which tenants have an external id: one, where external ids are unique.
const EXTERNAL_IDS: MultimapTableDefinition<'_, &str, &str> =
    MultimapTableDefinition::new("external ids");
const KEPT_ANSWERS: TableDefinition<'_, &str, Json> = TableDefinition::new("idempotency keys");
const CALLS: TableDefinition<'_, u64, Json> = TableDefinition::new("calls");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// The most that is done in one transaction.
const LARGEST_BATCH: usize = 256;
/// The database's cache is 1 GiB unless it is told otherwise.
const CACHE_BYTES: usize = 16 << 20;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] redb::Error),
    /// What is in the database cannot be read.
    #[error("database content: {0}")]
    Content(#[from] serde_json::Error),
    /// There is no thread to write with.
    #[error("no thread for the database: {0}")]
    Thread(#[from] std::io::Error),
    /// The transaction was given up; the log says why.
    #[error("the transaction was not committed")]
    NotCommitted,
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}
from_redb!(
    DatabaseError,
    TransactionError,
    TableError,
    StorageError,
    CommitError
);

/// Work for the writing thread. It returns what must wait for the commit.
type Work = Box<dyn FnOnce(&mut Tables<'_>) -> Result<Release, StoreError> + Send>;
type Release = Box<dyn FnOnce() + Send>;

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    database: Arc<Database>,
    // Both are there until the store is closed.
    work: Mutex<Option<mpsc::Sender<Work>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    pub(crate) fn open(path: Option<&Path>, fsync: bool) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = Arc::new(match path {
            Some(path) => builder.create_with_backend(Disk::open(path, fsync)?)?,
            None => builder.create_with_backend(InMemoryBackend::new())?,
        });
        // Make the tables, so that reading can rely on them.
        commit(&database, |_tables| Ok(()))?;
        let (sender, waiting) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn({
                let database = Arc::clone(&database);
                move || write(&database, &waiting)
            })?;
        Ok(Self {
            database,
            work: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Does the work in a transaction and returns when that is committed.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, result) = oneshot::channel();
        let work: Work = Box::new(move |tables| {
            let value = work(tables)?;
            // Nobody listens any more if the caller has gone; the work is done all the same.
            Ok(Box::new(move || drop(done.send(value))))
        });
        match lock(&self.work).as_ref() {
            Some(sender) => sender
                .send(work)
                .map_err(|_ended| StoreError::NotCommitted)?,
            None => return Err(StoreError::NotCommitted),
        }
        result.await.map_err(|_dropped| StoreError::NotCommitted)
    }

    /// Reads from a snapshot, beside the writing thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.database);
        tokio::task::spawn_blocking(move || {
            let transaction = database.begin_read()?;
            read(&Snapshot { transaction })
        })
        .await
        .map_err(|_stopped| StoreError::NotCommitted)?
    }

    /// Ends the writing thread when it has done all its work, and waits for that.
    pub(crate) fn close(&self) {
        // A thread that waits for work ends when nobody can give it any.
        drop(lock(&self.work).take());
        if lock(&self.writer)
            .take()
            .is_some_and(|writer| writer.join().is_err())
        {
            tracing::error!("the writing thread panicked");
        }
    }
}

/// What a panic left behind is still good: nothing here is changed in more than one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(database: &Database, waiting: &mpsc::Receiver<Work>) {
    while let Ok(first) = waiting.recv() {
        let batch = std::iter::once(first).chain(waiting.try_iter().take(LARGEST_BATCH - 1));
        let committed = commit(database, |tables| {
            batch
                .map(|work| work(tables))
                .collect::<Result<Vec<Release>, StoreError>>()
        });
        match committed {
            Ok(released) => released.into_iter().for_each(|release| release()),
            // Dropping what was to be released tells the callers.
            Err(error) => tracing::error!(%error, "a transaction was not committed"),
        }
    }
}

fn commit<T>(
    database: &Database,
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = database.begin_write()?;
    let result = work(&mut Tables {
        tenants: transaction.open_table(TENANTS)?,
        external_ids: transaction.open_multimap_table(EXTERNAL_IDS)?,
        kept_answers: transaction.open_table(KEPT_ANSWERS)?,
        calls: transaction.open_table(CALLS)?,
        counters: transaction.open_table(COUNTERS)?,
    })?;
    transaction.commit()?;
    Ok(result)
}

/// The tables inside a transaction that writes.
pub(crate) struct Tables<'t> {
    tenants: Table<'t, &'static str, Json>,
    external_ids: MultimapTable<'t, &'static str, &'static str>,
    kept_answers: Table<'t, &'static str, Json>,
    calls: Table<'t, u64, Json>,
    counters: Table<'t, &'static str, u64>,
}

impl Tables<'_> {
    /// The tenant of this id, with everything decided that is due.
    pub(crate) fn tenant(
        &mut self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Tenant>, StoreError> {
        let stored = self
            .tenants
            .get(id)?
            .map(|json| parse::<Tenant>(json.value()));
        let Some(mut tenant) = stored.transpose()? else {
            return Ok(None);
        };
        if tenant.settle(now) {
            self.keep(&tenant)?;
        }
        Ok(Some(tenant))
    }

    /// The tenants of this external id, the oldest first.
    pub(crate) fn tenants_of(
        &mut self,
        external_id: &str,
        now: Timestamp,
    ) -> Result<Vec<Tenant>, StoreError> {
        let ids = self
            .external_ids
            .get(external_id)?
            .map(|id| id.map(|id| id.value().to_owned()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut tenants = Vec::new();
        for id in ids {
            tenants.extend(self.tenant(&id, now)?);
        }
        tenants.sort_by_key(|tenant| tenant.number);
        Ok(tenants)
    }

    /// All tenants, with everything decided that is due.
    pub(crate) fn tenants(&self, now: Timestamp) -> Result<Vec<Tenant>, StoreError> {
        let mut tenants = Vec::new();
        for row in self.tenants.iter()? {
            let mut tenant: Tenant = parse(row?.1.value())?;
            tenant.settle(now);
            tenants.push(tenant);
        }
        Ok(tenants)
    }

    pub(crate) fn keep(&mut self, tenant: &Tenant) -> Result<(), StoreError> {
        self.tenants
            .insert(tenant.id.as_str(), serde_json::to_vec(tenant)?.as_slice())?;
        if let Some(external_id) = &tenant.external_id {
            self.external_ids
                .insert(external_id.as_str(), tenant.id.as_str())?;
        }
        Ok(())
    }

    /// Forgets the tenant as if it had never been.
    pub(crate) fn forget(&mut self, tenant: &Tenant) -> Result<(), StoreError> {
        self.tenants.remove(tenant.id.as_str())?;
        if let Some(external_id) = &tenant.external_id {
            self.external_ids
                .remove(external_id.as_str(), tenant.id.as_str())?;
        }
        Ok(())
    }

    pub(crate) fn kept_answer(&self, key: &str) -> Result<Option<KeptAnswer>, StoreError> {
        self.kept_answers
            .get(key)?
            .map(|json| parse(json.value()))
            .transpose()
    }

    pub(crate) fn keep_answer(&mut self, key: &str, answer: &KeptAnswer) -> Result<(), StoreError> {
        self.kept_answers
            .insert(key, serde_json::to_vec(answer)?.as_slice())?;
        Ok(())
    }

    /// Adds one to a counter and returns what it was, beginning with `first`.
    pub(crate) fn count(&mut self, counter: &str, first: u64) -> Result<u64, StoreError> {
        let value = self
            .counters
            .get(counter)?
            .map_or(first, |value| value.value());
        self.counters.insert(counter, value + 1)?;
        Ok(value)
    }

    pub(crate) fn record(
        &mut self,
        sequence: u64,
        call: &impl Serialize,
    ) -> Result<(), StoreError> {
        self.calls
            .insert(sequence, serde_json::to_vec(call)?.as_slice())?;
        Ok(())
    }

    /// Forgets the calls and their counts; the sequence goes on.
    pub(crate) fn forget_calls(&mut self) -> Result<(), StoreError> {
        self.calls.retain(|_, _| false)?;
        self.counters.retain(|name, _| !name.starts_with(COUNTED))?;
        Ok(())
    }
}

/// What the names of counters that count calls and effects begin with.
pub(crate) const COUNTED: &str = "count ";

/// The first answer to a request with an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptAnswer {
    /// Of the request's body: another body under the same key is a mistake.
    pub(crate) fingerprint: String,
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) tenant_id: String,
    pub(crate) until: Timestamp,
}

/// The database at one moment.
pub(crate) struct Snapshot {
    transaction: redb::ReadTransaction,
}

impl Snapshot {
    /// All tenants, the oldest first, with everything decided that is due.
    pub(crate) fn tenants(&self, now: Timestamp) -> Result<Vec<Tenant>, StoreError> {
        let mut tenants = Vec::new();
        for row in self.transaction.open_table(TENANTS)?.iter()? {
            let mut tenant: Tenant = parse(row?.1.value())?;
            tenant.settle(now);
            tenants.push(tenant);
        }
        tenants.sort_by_key(|tenant| tenant.number);
        Ok(tenants)
    }

    pub(crate) fn tenant(&self, id: &str, now: Timestamp) -> Result<Option<Tenant>, StoreError> {
        let stored = self.transaction.open_table(TENANTS)?.get(id)?;
        let tenant = stored
            .map(|json| parse::<Tenant>(json.value()))
            .transpose()?;
        Ok(tenant.map(|mut tenant| {
            tenant.settle(now);
            tenant
        }))
    }

    /// The calls after that sequence number which the predicate wants, in order.
    pub(crate) fn calls<T: DeserializeOwned>(
        &self,
        since: u64,
        limit: usize,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, StoreError> {
        let mut calls = Vec::new();
        for row in self
            .transaction
            .open_table(CALLS)?
            .range(since.saturating_add(1)..)?
        {
            let call = parse(row?.1.value())?;
            if wanted(&call) {
                calls.push(call);
                if calls.len() == limit {
                    break;
                }
            }
        }
        Ok(calls)
    }

    pub(crate) fn counter(&self, counter: &str) -> Result<u64, StoreError> {
        let value = self.transaction.open_table(COUNTERS)?.get(counter)?;
        Ok(value.map_or(0, |value| value.value()))
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, StoreError> {
    Ok(serde_json::from_slice(json)?)
}
