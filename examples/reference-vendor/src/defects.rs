//! Promises broken for good: what a vendor may get wrong, to try a caller's checks against.
//!
//! A fault happens to a call; a defect is how the vendor is. The desk knows nothing of them: each is put
//! around it, or is a rule for faults that nobody takes away.

use crate::{
    Wait,
    answer::{Answer, EffectKind, Refusal, Trouble},
    call::{Call, Operation},
    config::Identity,
    desk::{Answered, Desk},
    faults::{Fault, Rule, Times, Unlimited},
    idempotency::IDEMPOTENCY_KEY,
    limit::Limit,
    store::lock,
    tenant::Object,
};
use axum::{body::Bytes, response::Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

/// How old a stale answer may be.
const STALE: Duration = Duration::from_secs(2);
/// How long a create that can be raced takes.
const RACE: Duration = Duration::from_millis(300);

/// A promise that the vendor breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Defect {
    /// An externalId that is taken makes another tenant.
    DuplicateCreates,
    /// Idempotency-Key is not looked at.
    IgnoredKey,
    /// Two creates of one externalId and Idempotency-Key at the same time make two tenants.
    RacingCreates,
    /// The 409 to a create has no tenant in its body.
    NamelessConflict,
    /// The answer to a create has no body.
    NamelessCreate,
    /// What is refused with 400 is answered 200.
    RefusalAsSuccess,
    /// A create that succeeds is answered 400.
    SuccessAsRefusal,
    /// GET of a tenant answers what was so up to two seconds ago.
    StaleReads,
    /// So does the lookup.
    StaleLookup,
    /// A lookup answers one tenant at most.
    LookupOfOne,
    /// DELETE of a tenant that is gone is 500.
    DeleteOnce,
    /// DELETE answers 204 and leaves the tenant.
    DeleteIgnored,
    /// Limits are answered one higher than they are.
    LimitsAltered,
    /// Limits are answered as text.
    LimitsAsText,
    /// PUT answers 200 and changes nothing.
    PutIgnored,
    /// The same PUT once more doubles the limits.
    PutAddsUp,
    /// PUT drops the limits that it does not name.
    PutResets,
    /// PUT …/disable answers 204 and changes nothing.
    DisableIgnored,
    /// PUT …/disable of a tenant that is suspended is 409.
    DisableOnce,
    /// GET of a tenant that is not there is 200.
    UnknownIdFound,
    /// GET of a tenant that is not there is 500.
    UnknownIdFails,
    /// JSON is called text/plain.
    PlainText,
    /// Ids have a plus sign, and a path in which it is escaped is not understood.
    MangledIds,
    /// GET of a tenant is redirected.
    Redirects,
    /// Answers to GET are of 300 KiB.
    HugeBodies,
    /// Everybody is let in.
    OpenDoor,
    /// Every answer has a Retry-After that is neither seconds nor a date.
    RetrySometime,
}

/// What the vendor breaks.
#[derive(Debug, Default)]
pub(crate) struct Defects {
    all: BTreeSet<Defect>,
    /// What was answered, for those that answer it again.
    answered: Mutex<HashMap<String, (Instant, Answer)>>,
    /// When the last create of a body was done.
    created: Mutex<HashMap<Bytes, Timestamp>>,
}

impl Defects {
    pub(crate) fn new(all: &[Defect]) -> Self {
        Self {
            all: all.iter().copied().collect(),
            answered: Mutex::default(),
            created: Mutex::default(),
        }
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.all.contains(&defect)
    }

    /// Those that are faults of every call of a kind.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let rule = |method: &str, fault| Rule {
            method: method.to_owned(),
            path: "/tenant*".to_owned(),
            times: Times::Unlimited(Unlimited::Unlimited),
            skip: 0,
            fault,
        };
        let mut rules = Vec::new();
        if self.has(Defect::RacingCreates) {
            let fault = Fault {
                delay: Some(Wait(RACE)),
                ..Fault::default()
            };
            rules.push(rule("POST", fault));
        }
        if self.has(Defect::NamelessCreate) {
            let fault = Fault {
                empty: true,
                ..Fault::default()
            };
            rules.push(rule("POST", fault));
        }
        if self.has(Defect::Redirects) {
            let fault = Fault {
                redirect: Some("/moved".to_owned()),
                ..Fault::default()
            };
            rules.push(rule("GET", fault));
        }
        if self.has(Defect::HugeBodies) {
            let fault = Fault {
                huge: Some(300 << 10),
                ..Fault::default()
            };
            rules.push(rule("GET", fault));
        }
        rules
    }

    /// Does what a call asks for, with the defects around it.
    pub(crate) fn around(
        &self,
        operation: Operation,
        call: &Call,
        desk: &mut Desk<'_, '_>,
        work: impl FnOnce(&mut Desk<'_, '_>, &Call) -> Answered,
    ) -> Answered {
        if self.all.is_empty() {
            return work(desk, call);
        }
        if let Some(answer) = self.instead(operation, call) {
            return answer;
        }
        let mut call = call.clone();
        if self.has(Defect::IgnoredKey) {
            call.headers.remove(IDEMPOTENCY_KEY);
        }
        if self.makes_another(operation, &call)? {
            desk.identity = Identity::Lookup;
        }
        let mut answer = match work(desk, &call) {
            Ok(answer) => answer,
            Err(Trouble::Refused(refusal)) => self.refused(operation, refusal)?,
            Err(trouble @ Trouble::Store(_)) => return Err(trouble),
        };
        if answer.status.is_success() && operation == Operation::Change {
            self.changed(&call, desk, &answer)?;
        }
        self.answered(operation, &mut answer)?;
        self.remember(operation, &call, &answer);
        Ok(answer)
    }

    /// Whether a create makes a tenant, whatever there is: a check for those that are there looks at
    /// none, or looked before another create of the same was done.
    fn makes_another(&self, operation: Operation, call: &Call) -> Result<bool, Refusal> {
        if operation != Operation::Create || !self.has(Defect::RacingCreates) {
            return Ok(operation == Operation::Create && self.has(Defect::DuplicateCreates));
        }
        let done = lock(&self.created).insert(call.body()?.clone(), Timestamp::now());
        Ok(done.is_some_and(|done| call.time < done))
    }

    /// What is answered without a look at the desk.
    fn instead(&self, operation: Operation, call: &Call) -> Option<Answered> {
        let stale = match operation {
            Operation::Get => self.has(Defect::StaleReads),
            Operation::Lookup => self.has(Defect::StaleLookup),
            Operation::Create
            | Operation::Change
            | Operation::Disable
            | Operation::Enable
            | Operation::Delete
            | Operation::Token
            | Operation::Other => false,
        };
        if stale
            && let Some((at, answer)) = lock(&self.answered).get(call.target())
            && at.elapsed() < STALE
        {
            return Some(Ok(answer.clone()));
        }
        if self.has(Defect::MangledIds) && call.uri.path().contains("%2B") {
            return Some(Err(Refusal::not_found().into()));
        }
        let ignored = match operation {
            Operation::Change => (Defect::PutIgnored, StatusCode::OK),
            Operation::Disable => (Defect::DisableIgnored, StatusCode::NO_CONTENT),
            Operation::Delete => (Defect::DeleteIgnored, StatusCode::NO_CONTENT),
            Operation::Create
            | Operation::Get
            | Operation::Lookup
            | Operation::Enable
            | Operation::Token
            | Operation::Other => return None,
        };
        self.has(ignored.0).then(|| Ok(Answer::empty(ignored.1)))
    }

    fn remember(&self, operation: Operation, call: &Call, answer: &Answer) {
        if matches!(operation, Operation::Get | Operation::Lookup) {
            let known = (Instant::now(), answer.clone());
            lock(&self.answered).insert(call.target().to_owned(), known);
        }
    }

    /// What is answered where the desk refuses.
    fn refused(&self, operation: Operation, refusal: Refusal) -> Answered {
        let absent = matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let broken = || {
            let message = "that should not have happened";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        };
        let nothing = || Answer::json(StatusCode::OK, &json!({}));
        if refusal.status == StatusCode::BAD_REQUEST && self.has(Defect::RefusalAsSuccess) {
            return Ok(nothing()?);
        }
        let broken_by = match operation {
            Operation::Delete => Defect::DeleteOnce,
            Operation::Get if self.has(Defect::UnknownIdFound) && absent => return Ok(nothing()?),
            Operation::Get => Defect::UnknownIdFails,
            Operation::Create
            | Operation::Lookup
            | Operation::Change
            | Operation::Disable
            | Operation::Enable
            | Operation::Token
            | Operation::Other => return Err(refusal.into()),
        };
        if absent && self.has(broken_by) {
            return Err(broken().into());
        }
        Err(refusal.into())
    }

    /// What a PUT does beside what it should.
    fn changed(
        &self,
        call: &Call,
        desk: &mut Desk<'_, '_>,
        answer: &Answer,
    ) -> Result<(), Trouble> {
        let id = answer.effect.tenant_id.as_deref().unwrap_or_default();
        let Some(mut tenant) = desk.tables.tenant(id, desk.now)? else {
            return Ok(());
        };
        let limits = &mut tenant.terms.limits;
        if self.has(Defect::PutAddsUp) && answer.effect.kind == EffectKind::None {
            for limit in limits.values_mut() {
                if let Limit::Whole(number) = limit {
                    *number = number.saturating_mul(2);
                }
            }
        }
        if self.has(Defect::PutResets) {
            let body: Object = call.json()?;
            let named = body.get("limits").cloned().unwrap_or_default();
            limits.retain(|name, _| named.get(name).is_some());
        }
        desk.tables.keep(&tenant)?;
        Ok(())
    }

    /// What becomes of the desk's answer.
    fn answered(&self, operation: Operation, answer: &mut Answer) -> Result<(), Trouble> {
        let (status, nothing) = (answer.status, answer.effect.kind == EffectKind::None);
        let refuse = |code, message: &str| Err(Refusal::new(status, code, message).into());
        match operation {
            Operation::Create if self.has(Defect::NamelessConflict) => {
                if status == StatusCode::CONFLICT {
                    return refuse("exists", "there is one already");
                }
            }
            Operation::Create if self.has(Defect::SuccessAsRefusal) && status.is_success() => {
                let message = "something is wrong with this";
                let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid", message);
                *answer = Answer::from(refusal).effect(answer.effect.clone());
            }
            Operation::Disable if self.has(Defect::DisableOnce) => {
                if status.is_success() && nothing {
                    let message = "the tenant is suspended";
                    let refusal = Refusal::new(StatusCode::CONFLICT, "suspended", message);
                    return Err(refusal.into());
                }
            }
            Operation::Lookup if self.has(Defect::LookupOfOne) => {
                rewrite(answer, |body| {
                    if let Value::Array(tenants) = body {
                        tenants.truncate(1);
                    }
                })?;
            }
            Operation::Create
            | Operation::Get
            | Operation::Lookup
            | Operation::Change
            | Operation::Disable
            | Operation::Enable
            | Operation::Delete
            | Operation::Token
            | Operation::Other => {}
        }
        if self.has(Defect::LimitsAltered) || self.has(Defect::LimitsAsText) {
            let text = self.has(Defect::LimitsAsText);
            rewrite(answer, |body| alter_limits(body, text))?;
        }
        Ok(())
    }

    /// What becomes of the headers of every answer.
    pub(crate) fn respond(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if self.has(Defect::PlainText) && headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        if self.has(Defect::RetrySometime) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("sometime"));
        }
        response
    }
}

fn rewrite(answer: &mut Answer, change: impl FnOnce(&mut Value)) -> Result<(), Trouble> {
    let Some(text) = &answer.body else {
        return Ok(());
    };
    let mut body: Value = serde_json::from_str(text)?;
    change(&mut body);
    answer.body = Some(body.to_string());
    Ok(())
}

/// Limits as text, or one higher than they are, wherever they stand.
fn alter_limits(body: &mut Value, text: bool) {
    match body {
        Value::Array(items) => items.iter_mut().for_each(|item| alter_limits(item, text)),
        Value::Object(fields) => {
            let limits = fields.get_mut("limits").and_then(Value::as_object_mut);
            for limit in limits.into_iter().flat_map(Object::values_mut) {
                if let Some(number) = limit.as_u64() {
                    *limit = if text {
                        number.to_string().into()
                    } else {
                        (number + 1).into()
                    };
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
