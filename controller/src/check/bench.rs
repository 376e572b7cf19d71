//! The vendor as the checks see it: the operator's own client, paced by the connection's budget, with
//! bounds on calls and time, and a memory of every tenant that was made.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::stand::{Stands, stands, there};
use crate::vendor::{
    Answer, Class, Effect, Operation, Order, Said, Tenant, VendorClient, VendorError,
    budget::{Budget, Line},
    record::Record,
};

/// The shortest and the longest wait between two reads of what is waited for.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a create may take to be sent.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// Why the checks end before their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody wants them to.
    Interrupted,
    /// They have made as many calls as they may.
    TooManyCalls,
}

/// How much the checks may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Calls, those of the clean-up aside.
    pub(super) calls: u32,
    /// How long a read may lag behind before what it shows counts as wrong.
    pub(super) patience: Duration,
    /// How long the vendor may take to decide a request.
    pub(super) decision: Duration,
}

/// The ways to one vendor.
#[derive(Debug)]
pub(super) struct Clients {
    /// As the operator calls it.
    pub(super) usual: VendorClient,
    /// The same, but that creates carry another Idempotency-Key.
    pub(super) other_key: VendorClient,
    /// The same, with credentials that are none; `None` where there are none to be shown.
    pub(super) stranger: Option<VendorClient>,
}

/// A call to make.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'a> {
    /// Create, with the Idempotency-Key of the name.
    Create(&'a Order),
    /// Create, with another Idempotency-Key.
    CreateOtherKey(&'a Order),
    /// Read.
    Get(&'a str),
    /// Read without the credentials.
    GetAsStranger(&'a str),
    /// Ask after a request under way.
    Poll(&'a str, &'a str),
    /// Find by name.
    Lookup(&'a str),
    /// Change limits.
    Change(&'a str, &'a Order),
    /// Suspend.
    Disable(&'a str),
    /// Resume.
    Enable(&'a str),
    /// Delete.
    Delete(&'a str),
}

/// What was answered.
pub(super) type Heard = Result<Answer, VendorError>;

/// A tenant that the checks made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Its id.
    pub(super) id: String,
    /// The name it was made under.
    pub(super) name: String,
    /// Known to be gone.
    pub(super) gone: bool,
    /// It was read under its id: only then does a 404 say that it is gone.
    pub(super) seen: bool,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Decided {
    /// It is done; `late` where it was not done at once.
    Done {
        /// It was pending for a while.
        late: bool,
    },
    /// It is not, and this is why.
    Not(String),
}

/// What a tenant showed of what was waited for.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// What it lacked at last.
    pub(super) lacks: Option<String>,
    /// The tenant as it was read last; `None` where it is not there.
    pub(super) tenant: Option<Tenant>,
}

/// The vendor as the checks see it.
#[derive(Debug)]
pub(super) struct Bench {
    clients: Clients,
    budget: Budget,
    bounds: Bounds,
    stop: watch::Receiver<u8>,
    /// What is ordered: its secrets are masked in every answer.
    order: Order,
    /// Every answer.
    pub(super) record: Record,
    /// How many calls were made.
    pub(super) calls: u32,
    /// Every tenant that was made.
    pub(super) made: Vec<Made>,
    /// What the read that lagged most did not show, and for how long.
    pub(super) lag: Option<(String, Duration)>,
    cleaning: bool,
}

impl Bench {
    /// A vendor of which nothing was asked yet.
    pub(super) fn new(
        clients: Clients,
        record: Record,
        budget: Budget,
        bounds: Bounds,
        order: Order,
        stop: watch::Receiver<u8>,
    ) -> Self {
        Self {
            clients,
            budget,
            bounds,
            stop,
            order,
            record,
            calls: 0,
            made: Vec::new(),
            lag: None,
            cleaning: false,
        }
    }

    /// How long a read may lag behind.
    pub(super) fn patience(&self) -> Duration {
        self.bounds.patience
    }

    /// From now on nothing counts but that what was made goes.
    pub(super) fn clean(&mut self) {
        self.cleaning = true;
    }

    /// A tenant is ours: it was made under a name that nobody else has.
    pub(super) fn ours(&mut self, name: &str, id: &str) {
        if !id.is_empty() && self.made.iter().all(|made| made.id != id) {
            self.made.push(Made {
                id: id.to_owned(),
                name: name.to_owned(),
                gone: false,
                seen: false,
            });
        }
    }

    /// Takes a tenant for ours that a create under a name of ours gave. What only was there already
    /// has to have that name: a vendor in disorder may show us somebody else's.
    fn claim(&mut self, name: &str, said: &Said) {
        let (tenant, sure) = match said {
            Said::Tenant(tenant) | Said::Accepted(Some(tenant)) => (tenant, true),
            Said::Exists(Some(tenant)) => (tenant, false),
            Said::Done
            | Said::Accepted(None)
            | Said::Exists(None)
            | Said::Absent
            | Said::Found(_) => return,
        };
        if tenant
            .external_id
            .as_deref()
            .map_or(sure, |shown| shown == name)
        {
            self.ours(name, &tenant.id);
        }
    }

    /// Whether a tenant was ever read under its id.
    pub(super) fn was_seen(&self, id: &str) -> bool {
        self.made.iter().any(|made| made.id == id && made.seen)
    }

    /// Whether a tenant is ours.
    pub(super) fn is_ours(&self, id: &str) -> bool {
        self.made.iter().any(|made| made.id == id)
    }

    /// A tenant of ours is gone.
    pub(super) fn gone(&mut self, id: &str) {
        for made in self.made.iter_mut().filter(|made| made.id == id) {
            made.gone = true;
        }
    }

    /// Makes a call; again where the vendor wants it later.
    pub(super) async fn call(&mut self, ask: Ask<'_>) -> Result<Heard, Stop> {
        let began = Instant::now();
        let mut wait = LOOKS.0;
        loop {
            let heard = self.once(ask).await?;
            let Err(error) = &heard else {
                return Ok(heard);
            };
            let most = match (error.class, error.effect) {
                // Too quick for it, or busy with this tenant and nothing happened.
                (Class::Throttled, _) | (Class::Busy, Effect::None) => self.bounds.decision,
                (Class::Transient | Class::Auth | Class::Refused | Class::Busy, _) => {
                    return Ok(heard);
                }
            };
            let pause = error.retry_after.unwrap_or(wait);
            if began.elapsed() + pause > most {
                return Ok(heard);
            }
            self.pause(pause).await?;
            wait = (wait * 2).min(LOOKS.1);
        }
    }

    /// Makes one create twice at the same time.
    pub(super) async fn create_twice(&mut self, order: &Order) -> Result<[Heard; 2], Stop> {
        self.count(2)?;
        let _slots = [
            self.budget.enter(Line::Awaited).await,
            self.budget.enter(Line::Awaited).await,
        ];
        let by = Instant::now() + SENT_WITHIN;
        let create = || self.clients.usual.create(order, by);
        let (one, other) = tokio::join!(create(), create());
        for answer in [&one, &other].into_iter().flatten() {
            self.claim(&order.external_id, &answer.said);
        }
        Ok([one, other])
    }

    /// Counts calls that are about to be made.
    fn count(&mut self, calls: u32) -> Result<(), Stop> {
        self.may_go_on()?;
        if !self.cleaning && self.calls + calls > self.bounds.calls {
            return Err(Stop::TooManyCalls);
        }
        self.calls += calls;
        Ok(())
    }

    async fn once(&mut self, ask: Ask<'_>) -> Result<Heard, Stop> {
        self.count(1)?;
        let _slot = self.budget.enter(Line::Awaited).await;
        let (client, order) = (&self.clients.usual, &self.order);
        let by = Instant::now() + SENT_WITHIN;
        let heard = match ask {
            Ask::Create(order) => client.create(order, by).await,
            Ask::CreateOtherKey(order) => self.clients.other_key.create(order, by).await,
            Ask::Get(id) => client.get(id, order).await,
            Ask::GetAsStranger(id) => {
                let stranger = self.clients.stranger.as_ref();
                stranger.unwrap_or(client).get(id, order).await
            }
            Ask::Poll(id, token) => client.poll(id, token, order).await,
            Ask::Lookup(name) => client.lookup(name, order).await,
            Ask::Change(id, order) => client.change(id, order, false).await,
            Ask::Disable(id) => client.disable(id, order).await,
            Ask::Enable(id) => client.enable(id, order).await,
            Ask::Delete(id) => client.delete(id, order).await,
        };
        if let (Ask::Create(order) | Ask::CreateOtherKey(order), Ok(answer)) = (ask, &heard) {
            self.claim(&order.external_id, &answer.said);
        }
        Ok(heard)
    }

    /// Whether there is somebody to be kept out.
    pub(super) fn has_credentials(&self) -> bool {
        self.clients.stranger.is_some()
    }

    fn may_go_on(&self) -> Result<(), Stop> {
        if *self.stop.borrow() > 0 && !self.cleaning {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }

    async fn pause(&mut self, time: Duration) -> Result<(), Stop> {
        if self.cleaning {
            sleep(time).await;
            return Ok(());
        }
        tokio::select! {
            () = sleep(time) => {}
            _ = self.stop.wait_for(|signals| *signals > 0) => {}
        }
        self.may_go_on()
    }

    /// Waits for as long as one waits between two looks.
    pub(super) async fn rest(&mut self) -> Result<(), Stop> {
        self.pause(LOOKS.0 * 2).await
    }

    /// Waits until the vendor has decided a request.
    pub(super) async fn decided(
        &mut self,
        operation: Operation,
        id: &str,
        answer: Answer,
    ) -> Result<Decided, Stop> {
        let began = Instant::now();
        let mut wait = LOOKS.0;
        let mut token = None;
        let mut late = false;
        let mut answer = answer;
        loop {
            match stands(operation, late, &answer.said) {
                Stands::Done => return Ok(Decided::Done { late }),
                Stands::Ended(why) => return Ok(Decided::Not(why)),
                Stands::Pending => {}
            }
            late = true;
            let shown = answer.said.tenants().first();
            token = shown.and_then(|t| t.operation.clone()).or(token);
            let pause = answer.retry_after.unwrap_or(wait).max(LOOKS.0);
            if began.elapsed() + pause > self.bounds.decision {
                let waited = self.bounds.decision.as_secs();
                return Ok(Decided::Not(format!(
                    "it is not decided after {waited} s: raise --decision if that is usual"
                )));
            }
            self.pause(pause).await?;
            wait = (wait * 2).min(LOOKS.1);
            let ask = match &token {
                Some(token) if self.clients.usual.polls() => Ask::Poll(id, token),
                Some(_) | None => Ask::Get(id),
            };
            answer = match self.call(ask).await? {
                Ok(answer) => answer,
                Err(error) => {
                    let what = format!("what became of it cannot be read: {error}");
                    return Ok(Decided::Not(what));
                }
            };
        }
    }

    /// Reads a tenant until it is as it should be, or has had the time for that. `fits` says what it
    /// lacks; it sees `None` where there is no such tenant.
    pub(super) async fn shows(
        &mut self,
        id: &str,
        most: Duration,
        fits: impl Fn(Option<&Tenant>) -> Result<(), String>,
    ) -> Result<Shown, Stop> {
        let began = Instant::now();
        let mut wait = LOOKS.0;
        loop {
            let read = self.call(Ask::Get(id)).await?;
            let (tenant, lacks) = match read {
                Err(error) => (None, Some(format!("a read of it fails: {error}"))),
                Ok(answer) => {
                    let tenant = there(answer.said);
                    let lacks = fits(tenant.as_ref()).err();
                    let read = self.made.iter_mut().filter(|made| made.id == id);
                    read.for_each(|made| made.seen |= tenant.is_some());
                    (tenant, lacks)
                }
            };
            if lacks.is_none() || began.elapsed() + wait > most {
                return Ok(Shown { lacks, tenant });
            }
            self.pause(wait).await?;
            wait = (wait * 2).min(LOOKS.1);
        }
    }

    /// The same after a request is done: a read that lags behind is remembered under `what`.
    pub(super) async fn settles(
        &mut self,
        what: &str,
        id: &str,
        fits: impl Fn(Option<&Tenant>) -> Result<(), String>,
    ) -> Result<Shown, Stop> {
        let first = self.shows(id, Duration::ZERO, &fits).await?;
        if first.lacks.is_none() {
            return Ok(first);
        }
        let began = Instant::now();
        let shown = self.shows(id, self.bounds.patience, &fits).await?;
        if shown.lacks.is_none() {
            let lag = began.elapsed();
            if self.lag.as_ref().is_none_or(|(_, known)| *known < lag) {
                self.lag = Some((what.to_owned(), lag));
            }
        }
        Ok(shown)
    }
}
