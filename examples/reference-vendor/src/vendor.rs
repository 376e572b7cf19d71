//! The running vendor's state, and the way every call to the tenant API goes through it.

use crate::{
    Behavior, Config, Dialect,
    answer::{Answer, Refusal, Trouble},
    call::{Call, Operation, Record},
    config::{Auth, Identity},
    defects::{Defect, Defects},
    desk::Desk,
    faults::{Faults, Met},
    idempotency::idempotency_key,
    oauth::Tokens,
    store::{COUNTED, Store, StoreError, Tables, lock},
};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header::WWW_AUTHENTICATE};
use jiff::Timestamp;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, task::JoinSet};

/// The first call's sequence number; `since=0` thus asks for all calls.
const FIRST_CALL: u64 = 1;

/// The state of a running vendor.
#[derive(Debug)]
pub(crate) struct Vendor {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) dialect: Dialect,
    auth: Auth,
    pub(crate) tokens: Tokens,
    pub(crate) public_url: String,
    pub(crate) behavior: RwLock<Arc<Behavior>>,
    pub(crate) faults: Faults,
    defects: Defects,
    /// The idempotency keys of creates that have come in and are not answered.
    keys_in_flight: Mutex<HashSet<String>>,
    pub(crate) in_flight: AtomicU64,
    /// Calls at work. They end on their own, also when their caller has gone.
    calls: Mutex<JoinSet<()>>,
}

impl Vendor {
    pub(crate) fn new(config: Config, store: Store, public_url: String) -> Self {
        let defects = Defects::new(&config.defects);
        let faults = Faults::default();
        // They are well formed, as they are ours.
        drop(faults.add(defects.rules()));
        Self {
            store,
            identity: config.identity,
            dialect: config.dialect,
            auth: config.auth,
            tokens: Tokens::default(),
            public_url,
            behavior: RwLock::new(Arc::new(config.behavior)),
            faults,
            defects,
            keys_in_flight: Mutex::default(),
            in_flight: AtomicU64::new(0),
            calls: Mutex::default(),
        }
    }

    pub(crate) fn behavior(&self) -> Arc<Behavior> {
        Arc::clone(&self.behavior.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives up the calls that are still at work.
    pub(crate) async fn abandon_calls(&self) {
        let mut calls = std::mem::take(&mut *lock(&self.calls));
        calls.shutdown().await;
    }

    /// Answers a call to the tenant API.
    ///
    /// A caller that goes away does not take its call with it: what has come in whole is done, as
    /// with most servers. A caller that gives up thus does not know what became of its call.
    pub(crate) async fn answer(
        self: Arc<Self>,
        operation: Operation,
        call: Call,
        work: impl FnOnce(&mut Desk<'_, '_>, &Call) -> Result<Answer, Trouble> + Send + 'static,
    ) -> Response {
        let (done, answered) = oneshot::channel();
        {
            let vendor = Arc::clone(&self);
            let mut calls = lock(&self.calls);
            while calls.try_join_next().is_some() {}
            calls.spawn(async move { drop(done.send(vendor.take(operation, call, work).await)) });
        }
        answered
            .await
            .unwrap_or_else(|_| self.failed(StoreError::NotCommitted))
    }

    async fn take(
        self: Arc<Self>,
        operation: Operation,
        call: Call,
        work: impl FnOnce(&mut Desk<'_, '_>, &Call) -> Result<Answer, Trouble> + Send + 'static,
    ) -> Response {
        let started = Instant::now();
        let _in_flight = InFlight::begin(&self);
        let met = self.faults.meet(&call);
        let key = self.take_key(operation, &call);

        let delay = met.as_ref().and_then(|met| met.fault.delay);
        pause(self.behavior().latency.0).await;
        pause(delay.unwrap_or_default().0).await;

        let delay_after = met.as_ref().and_then(|met| met.fault.delay_after);
        let vendor = Arc::clone(&self);
        let committed = self
            .store
            .write(move |tables| {
                let known = operation == Operation::Token
                    || vendor.defects.has(Defect::OpenDoor)
                    || vendor.auth.permits(&call.headers, &vendor.tokens);
                let work = |desk: &mut Desk<'_, '_>, call: &Call| {
                    vendor.defects.around(operation, call, desk, work)
                };
                let answer = vendor.work(tables, &call, met.as_ref(), &key, known, work)?;
                let operation = answer.operation.unwrap_or(operation);
                vendor.record(tables, operation, &call, &answer, met.as_ref(), started)?;
                // The key is free only now that its answer is kept.
                drop(key);
                Ok((answer, met))
            })
            .await;
        let response = match committed {
            Ok((answer, Some(met))) => met.fault.spoil(answer),
            Ok((answer, None)) => answer.into_response(),
            Err(error) => self.failed(error),
        };
        pause(delay_after.unwrap_or_default().0).await;
        self.defects.respond(response)
    }

    /// A refusal in the vendor's dialect.
    fn refuse(&self, refusal: Refusal) -> Answer {
        self.dialect.wire().refuse(refusal)
    }

    fn failed(&self, error: StoreError) -> Response {
        self.refuse(error.into()).into_response()
    }

    /// Does what the call asks for, unless something is in the way.
    fn work(
        &self,
        tables: &mut Tables<'_>,
        call: &Call,
        met: Option<&Met>,
        key: &Key,
        known: bool,
        work: impl FnOnce(&mut Desk<'_, '_>, &Call) -> Result<Answer, Trouble>,
    ) -> Result<Answer, StoreError> {
        if met.is_some_and(|met| !met.fault.has_effect()) {
            return Ok(Answer::empty(StatusCode::OK));
        }
        if !known {
            let message = "the call does not say who makes it";
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
            return Ok(self.refuse(match self.auth.challenge() {
                Some(challenge) => refusal.header(WWW_AUTHENTICATE, challenge),
                None => refusal,
            }));
        }
        if matches!(key, Key::Taken) {
            let message = "a call with the same key is being answered";
            let code = "idempotency_key_in_flight";
            return Ok(self.refuse(Refusal::new(StatusCode::CONFLICT, code, message)));
        }
        let mut behavior = Behavior::clone(&self.behavior());
        if self.defects.has(Defect::MangledIds) {
            "t+".clone_into(&mut behavior.id_prefix);
        }
        self.dialect.wire().adapt(&mut behavior);
        let mut desk = Desk {
            tables,
            now: Timestamp::now(),
            identity: self.identity,
            behavior: &behavior,
            public_url: &self.public_url,
        };
        match work(&mut desk, call) {
            Ok(answer) => Ok(answer),
            Err(Trouble::Refused(refusal)) => Ok(self.refuse(refusal)),
            Err(Trouble::Store(error)) => Err(error),
        }
    }

    /// A token for the client that shows its secret.
    pub(crate) fn issue(&self, call: &Call, lifetime: Duration) -> Result<Answer, Trouble> {
        let client = match &self.auth {
            Auth::OAuth2 { client, secret } => Some((client.as_str(), secret.as_str())),
            Auth::None | Auth::Bearer(_) | Auth::Basic { .. } | Auth::ApiKey { .. } => None,
        };
        Ok(self.tokens.issue(client, call, lifetime)?)
    }

    /// Records the call in the transaction of its effect, so that neither is without the other.
    fn record(
        &self,
        tables: &mut Tables<'_>,
        operation: Operation,
        call: &Call,
        answer: &Answer,
        met: Option<&Met>,
        started: Instant,
    ) -> Result<(), StoreError> {
        let status = match met {
            Some(met) => met.fault.sent_status(answer.status),
            None => Some(answer.status),
        };
        let effect = answer.effect.clone();
        tables.count(&format!("{COUNTED}{operation}"), 0)?;
        for (kind, name) in crate::answer::EffectKind::COUNTED {
            if kind == effect.kind {
                tables.count(&format!("{COUNTED}{name}"), 0)?;
            }
        }
        let sequence = tables.count("calls", FIRST_CALL)?;
        let record = Record::new(sequence, operation, call, &self.auth);
        let record = record.ended(status, effect, met.cloned(), started.elapsed());
        tables.record(sequence, &record)
    }

    /// Reserves the idempotency key of a create.
    fn take_key(self: &Arc<Self>, operation: Operation, call: &Call) -> Key {
        let raced = self.defects.has(Defect::RacingCreates);
        if operation != Operation::Create || self.identity != Identity::IdempotencyKey || raced {
            return Key::None;
        }
        match idempotency_key(call) {
            None => Key::None,
            Some(key) if lock(&self.keys_in_flight).insert(key.clone()) => Key::Ours {
                key,
                vendor: Arc::clone(self),
            },
            Some(_) => Key::Taken,
        }
    }
}

/// What the call's idempotency key allows.
#[derive(Debug)]
enum Key {
    /// There is none, or none is looked at.
    None,
    /// Another call has it.
    Taken,
    /// This call has it until it is dropped.
    Ours { key: String, vendor: Arc<Vendor> },
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Self::Ours { key, vendor } = self {
            lock(&vendor.keys_in_flight).remove(key);
        }
    }
}

/// Counts a call as being at work for as long as this lives.
struct InFlight(Arc<Vendor>);

impl InFlight {
    fn begin(vendor: &Arc<Vendor>) -> Self {
        vendor.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(vendor))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sleeping for no time at all would still take a millisecond.
async fn pause(time: std::time::Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
