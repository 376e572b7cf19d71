//! A world in memory for the planner: an object, its status and a vendor, with nothing between but
//! the shipped decision code. Every effect can be the last before a crash.

use std::collections::BTreeMap;

use fulfillment_crds::{
    AdoptionPolicy, CreateBody, DeletionPolicy, DesiredState, IdentityMode, LimitValue, Limits,
    OnMissing, OnUnknownOutcome, Request, RequestStatus,
};
use fulfillment_operator::{
    facts::{
        Clock, Desired, Facts, Intent, Ledger, ObjectFacts, Pass, Resellers, Resolution, Rules,
        Trouble,
    },
    ledger,
    plan::{Rest, Step, plan},
    vendor::{
        Answer, Class, Effect, Fulfillment, FulfillmentStatus, Said, Tenant, TenantStatus,
        VendorError,
    },
};

/// A tenant of the model's vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) external_id: String,
    pub(crate) status: TenantStatus,
    pub(crate) limits: Limits,
    pub(crate) request: FulfillmentStatus,
}

impl Kept {
    pub(crate) fn live(&self) -> bool {
        !matches!(self.status, TenantStatus::Terminated | TenantStatus::Failed)
    }
}

/// How the vendor behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// Requests are pending until the next read.
    pub(crate) asynchronous: bool,
    /// Creates end as failed.
    pub(crate) fails: bool,
    /// Deleted tenants stay visible as terminated, and keep their externalId.
    pub(crate) shows_dead: bool,
    /// The next so many calls have their effect and lose their answer.
    pub(crate) lose: usize,
    /// The next so many calls are refused before they have an effect.
    pub(crate) down: usize,
    /// Creates have their effect and lose their answer.
    pub(crate) lose_create: bool,
    /// The next so many creates are said to be under way already (409), without a tenant.
    pub(crate) busy: usize,
    /// The next so many lookups find nothing.
    pub(crate) lag: usize,
    /// It cannot be asked for a name.
    pub(crate) blind: bool,
}

/// What happens instead of the n-th effect of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Before(usize),
    After(usize),
}

/// The whole world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) exists: bool,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) finalized: bool,
    pub(crate) intent: Option<Intent>,
    pub(crate) resolution: Option<Resolution>,
    pub(crate) requested_at: Option<String>,
    pub(crate) status: Ledger,
    pub(crate) desired: Desired,
    pub(crate) rules: Rules,
    pub(crate) manners: Manners,
    pub(crate) tenants: Vec<Kept>,
    /// What a vendor that honours keys answered first.
    answers: BTreeMap<String, Box<Tenant>>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) clock: Clock,
    /// Creates that had an effect.
    pub(crate) created: usize,
    /// Vendor calls.
    pub(crate) calls: usize,
    /// Writes to the object.
    pub(crate) writes: usize,
    /// The most live tenants at any time.
    pub(crate) most_live: usize,
    serial: usize,
    /// A tombstone was written.
    pub(crate) buried: bool,
}

pub(crate) fn limits(seats: i64) -> Limits {
    BTreeMap::from([("seats".to_owned(), LimitValue::from(seats))])
}

impl World {
    pub(crate) fn new(mode: IdentityMode) -> Self {
        Self {
            exists: true,
            generation: 1,
            deleting: false,
            finalized: false,
            intent: None,
            resolution: None,
            requested_at: None,
            status: Ledger::default(),
            desired: Desired {
                state: DesiredState::Active,
                limits: limits(50),
                inputs: Some("hash-1".into()),
                template: None,
                unshown: Vec::new(),
                resellers: Resellers::default(),
                invalid: Vec::new(),
                external_id: "k1-x".into(),
                claimed: false,
                adoption: AdoptionPolicy::CreateOnly,
                body: (mode == IdentityMode::IdempotencyKey).then(|| CreateBody {
                    limits: limits(50),
                    inputs: Some("hash-1".into()),
                    ..CreateBody::default()
                }),
                deletion: DeletionPolicy::Delete,
            },
            rules: Rules {
                mode,
                on_missing: OnMissing::Recreate,
                on_unknown: OnUnknownOutcome::Hold,
                retention: std::time::Duration::from_secs(24 * 3600),
                settle: std::time::Duration::from_secs(220),
                suspend_before_delete: false,
            },
            manners: Manners::default(),
            tenants: Vec::new(),
            answers: BTreeMap::new(),
            trouble: None,
            clock: Clock {
                settled: true,
                missing_confirmed: true,
                repeatable: true,
                ..Clock::default()
            },
            created: 0,
            calls: 0,
            writes: 0,
            most_live: 0,
            serial: 0,
            buried: false,
        }
    }

    /// The request of which a person is asked whether it made a tenant.
    pub(crate) fn asked(&self) -> Option<String> {
        let request = self.status.request.as_ref();
        let asked = request.filter(|r| r.settled_at.is_some());
        asked.map(|r| r.id.clone())
    }

    pub(crate) fn live(&self) -> usize {
        self.tenants.iter().filter(|t| t.live()).count()
    }

    pub(crate) fn facts(&mut self) -> Facts {
        self.serial += 1;
        Facts {
            object: ObjectFacts {
                generation: self.generation,
                deleting: self.deleting,
                finalized: self.finalized,
                lost: self.finalized
                    && self.status.request.is_none()
                    && self.status.tenant_id.is_none(),
                paused: false,
                requested_at: self
                    .requested_at
                    .clone()
                    .filter(|t| self.status.last_handled_reconcile_at.as_ref() != Some(t)),
                resolution: self.resolution.clone(),
            },
            desired: self.desired.clone(),
            ledger: self.status.clone(),
            intent: self.intent.clone(),
            rules: self.rules,
            trouble: self.trouble.clone(),
            unready: None,
            clock: self.clock.clone(),
            pass: Pass {
                request_id: format!("r{}", self.serial),
                ..Pass::default()
            },
        }
    }

    /// One pass; `None` where it crashed.
    pub(crate) fn pass(&mut self, crash: Option<Crash>) -> Option<Rest> {
        let mut f = self.facts();
        for nth in 0..20 {
            let step = plan(&f);
            if let Step::Rest(rest) = step {
                if crash == Some(Crash::Before(nth)) {
                    return None;
                }
                self.store(&mut f, rest);
                return (crash != Some(Crash::After(nth))).then_some(rest);
            }
            if crash == Some(Crash::Before(nth)) {
                return None;
            }
            let answer = self.effect(&f, &step);
            if crash == Some(Crash::After(nth)) {
                return None;
            }
            match (&step, answer) {
                (Step::Claim(intent), _) => ledger::armed(&mut f, intent),
                (Step::Finalize, _) => ledger::finalized(&mut f),
                (Step::Intend(intent), _) => {
                    ledger::intended(&mut f, intent);
                    ledger::armed(&mut f, intent);
                }
                (Step::Bury, _) => ledger::buried(&mut f),
                (Step::Release, _) => return Some(Rest::Gone),
                (_, Some(answer)) => ledger::answered(&mut f, &step, answer),
                (_, None) => {}
            }
        }
        panic!("the planner did not come to rest: {f:?}");
    }

    /// A pass whose create has its effect and loses its answer.
    pub(crate) fn pass_losing_the_create(&mut self) {
        self.manners.lose_create = true;
        self.pass(None);
        self.manners.lose_create = false;
    }

    /// Passes until one rests in this way, at most `most`.
    pub(crate) fn until(&mut self, wanted: Rest, most: usize) -> Rest {
        let mut last = Rest::Again;
        for _ in 0..most {
            self.clock.read_due = true;
            last = self.pass(None).unwrap();
            if last == wanted {
                return last;
            }
        }
        last
    }

    fn store(&mut self, f: &mut Facts, rest: Rest) {
        ledger::rested(f, rest);
        if matches!(
            rest,
            Rest::Unchanged | Rest::VerifyMissing | Rest::Gone | Rest::Paused
        ) {
            // What a look found out is known again after the next one.
            return;
        }
        let mut status = f.ledger.clone();
        status.observed_generation = Some(f.object.generation);
        if let Some(token) = &f.object.requested_at {
            status.last_handled_reconcile_at = Some(token.clone());
        }
        if status != self.status {
            self.writes += 1;
            self.status = status;
        }
    }

    fn effect(&mut self, f: &Facts, step: &Step) -> Option<Result<Answer, VendorError>> {
        match step {
            Step::Claim(intent) => {
                self.writes += 1;
                self.finalized = true;
                self.intent = Some(intent.clone());
                None
            }
            Step::Finalize => {
                self.writes += 1;
                self.finalized = true;
                None
            }
            Step::Intend(intent) => {
                self.writes += 1;
                let mut after = f.clone();
                ledger::intended(&mut after, intent);
                self.status = after.ledger;
                None
            }
            Step::Bury => {
                self.writes += 1;
                self.buried = true;
                None
            }
            Step::Release => {
                self.writes += 1;
                self.finalized = false;
                self.exists = false;
                None
            }
            Step::Rest(_) => None,
            call => Some(self.call(f, call)),
        }
    }

    fn call(&mut self, f: &Facts, step: &Step) -> Result<Answer, VendorError> {
        assert!(
            !matches!(step, Step::Create(_)) || f.pass.armed,
            "a create without the right to send one"
        );
        self.calls += 1;
        if self.manners.down > 0 {
            self.manners.down -= 1;
            return Err(error(Effect::None));
        }
        let said = self.serve(f, step);
        self.most_live = self.most_live.max(self.live());
        let create = matches!(step, Step::Create(_)) && self.manners.lose_create;
        if self.manners.lose > 0 || create {
            self.manners.lose = self.manners.lose.saturating_sub(1);
            return Err(error(Effect::Unknown));
        }
        Ok(Answer {
            said,
            retry_after: None,
            replayed: false,
        })
    }

    fn serve(&mut self, f: &Facts, step: &Step) -> Said {
        if let Step::Create(intent) = step {
            if self.manners.busy > 0 {
                self.manners.busy -= 1;
                return Said::Exists(None);
            }
            return self.create(intent);
        }
        if let Step::Look(name) = step {
            if self.manners.blind {
                return Said::Absent;
            }
            let shown = |t: &&Kept| t.external_id == *name && (self.manners.shows_dead || t.live());
            let lagging = self.manners.lag > 0;
            self.manners.lag = self.manners.lag.saturating_sub(1);
            let found = self.tenants.iter_mut().filter(|t| shown(&&**t) && !lagging);
            return Said::Found(
                found
                    .map(|tenant| {
                        decide(tenant, self.manners);
                        view(tenant)
                    })
                    .collect(),
            );
        }
        let id = match step {
            Step::Adopt(id) | Step::Discard(id) => id.clone(),
            _ => f.ledger.tenant_id.clone().unwrap_or_default(),
        };
        let manners = self.manners;
        let desired = self.desired.limits.clone();
        let shown = |t: &Kept| manners.shows_dead || t.live();
        let Some(tenant) = self.tenants.iter_mut().find(|t| t.id == id && shown(t)) else {
            return Said::Absent;
        };
        match step {
            Step::Read | Step::Adopt(_) => {
                decide(tenant, manners);
                return Said::Tenant(Box::new(view(tenant)));
            }
            Step::Change => tenant.limits.extend(desired),
            Step::Suspend => tenant.status = TenantStatus::Suspended,
            Step::Resume => tenant.status = TenantStatus::Active,
            Step::Delete | Step::Discard(_) => tenant.status = TenantStatus::Terminated,
            other => panic!("no call: {other:?}"),
        }
        if manners.asynchronous {
            tenant.request = FulfillmentStatus::Pending;
            Said::Accepted(Some(Box::new(view(tenant))))
        } else {
            Said::Done
        }
    }

    fn create(&mut self, intent: &Intent) -> Said {
        let unique = self.rules.mode == IdentityMode::ExternalId;
        let taken = |t: &&Kept| {
            t.external_id == intent.external_id && (t.live() || self.manners.shows_dead)
        };
        if let Some(tenant) = self.tenants.iter().find(taken).filter(|_| unique) {
            return Said::Exists(Some(Box::new(view(tenant))));
        }
        if self.rules.mode == IdentityMode::IdempotencyKey
            && let Some(first) = self.answers.get(&intent.external_id)
        {
            return Said::Tenant(first.clone());
        }
        self.created += 1;
        let tenant = Kept {
            id: format!("t{}", self.created),
            external_id: intent.external_id.clone(),
            status: if self.manners.asynchronous {
                TenantStatus::Pending
            } else {
                TenantStatus::Active
            },
            limits: self.desired.limits.clone(),
            request: if self.manners.asynchronous {
                FulfillmentStatus::Pending
            } else {
                FulfillmentStatus::Approved
            },
        };
        let first = Box::new(view(&tenant));
        self.answers
            .insert(tenant.external_id.clone(), first.clone());
        self.tenants.push(tenant);
        Said::Tenant(first)
    }
}

/// What was pending is decided at the first look.
fn decide(tenant: &mut Kept, manners: Manners) {
    if tenant.request == FulfillmentStatus::Pending {
        tenant.request = FulfillmentStatus::Approved;
        if tenant.status == TenantStatus::Pending {
            tenant.status = TenantStatus::Active;
            if manners.fails {
                tenant.status = TenantStatus::Failed;
                tenant.request = FulfillmentStatus::Failed;
            }
        }
    }
}

fn view(kept: &Kept) -> Tenant {
    Tenant {
        id: kept.id.clone(),
        external_id: Some(kept.external_id.clone()),
        status: kept.status.clone(),
        limits: Some(kept.limits.clone()),
        request: Some(Fulfillment {
            status: kept.request,
            reason: String::new(),
            parameter_errors: Vec::new(),
        }),
        ..Tenant::default()
    }
}

pub(crate) fn error(effect: Effect) -> VendorError {
    VendorError {
        class: Class::Transient,
        effect,
        retry_after: None,
        status: None,
        code: String::new(),
        message: "down".into(),
        parameters: Vec::new(),
        unsent: false,
    }
}

/// A request as a status may hold it.
pub(crate) fn request(
    type_: fulfillment_crds::RequestType,
    status: RequestStatus,
    reason: &str,
) -> Request {
    Request {
        id: "r0".into(),
        type_,
        status,
        generation: 1,
        reason: reason.into(),
        message: String::new(),
        attempts: 1,
        started_at: None,
        settled_at: None,
        finished_at: None,
        operation: None,
    }
}
