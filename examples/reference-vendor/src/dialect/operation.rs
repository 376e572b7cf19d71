//! The dialect of numbered operations: whatever changes a tenant is accepted, and what becomes of
//! it is read at `/tenant/{id}/last_operation?operation=op-1`.

use super::{Wire, query, subject, switched, with_body};
use crate::{
    Behavior, Mode, Plan,
    answer::{Answer, Effect, EffectKind, Refusal, Trouble},
    behavior::After,
    call::Call,
    desk::{Answered, Desk, refused},
    limit::Limits,
    tenant::{Object, RequestStatus, Tenant, TenantStatus},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The first operation's number.
const FIRST_OPERATION: u64 = 1;
/// So many operations of a tenant are remembered.
const REMEMBERED: usize = 100;

pub(crate) struct Operations;

/// An operation as it is stored with its tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    number: u64,
    /// What became of it; until another one is begun the tenant's request tells.
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outcome {
    succeeded: bool,
    description: String,
}

impl Task {
    fn id(&self) -> String {
        format!("op-{}", self.number)
    }
}

/// What became of the tenant's latest operation, if it is over.
fn outcome(tenant: &Tenant) -> Option<Outcome> {
    tenant.open.is_none().then(|| Outcome {
        succeeded: tenant.request.status != RequestStatus::Failed,
        description: tenant.request.reason.clone(),
    })
}

/// `GET /tenant/{id}/last_operation?operation=…`
pub(crate) fn last_operation(desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
    let Some(wanted) = query(call, "operation")? else {
        let (status, message) = (StatusCode::BAD_REQUEST, "the query must have an operation");
        return Err(refused(status, "missing_operation", message));
    };
    let tenant = present(desk, id)?;
    let Some(task) = tenant.tasks.iter().find(|task| task.id() == wanted) else {
        let (status, message) = (StatusCode::NOT_FOUND, "there is no such operation");
        return about(&tenant, Refusal::new(status, "not_found", message));
    };
    let request = &tenant.request;
    let body = match task.outcome.clone().or_else(|| outcome(&tenant)) {
        None if request.status == RequestStatus::Inquiring => json!({
            "state": "input required",
            "description": request.reason,
            "inputs": request.parameter_errors,
        }),
        None => json!({"state": "in progress", "description": ""}),
        Some(Outcome {
            succeeded,
            description,
        }) => {
            let state = if succeeded { "succeeded" } else { "failed" };
            json!({"state": state, "description": description})
        }
    };
    let answer = Answer::json(StatusCode::OK, &body)?;
    let answer = answer.effect(Effect::of(EffectKind::None, &tenant));
    Ok(desk.with_retry_after(answer, &tenant))
}

/// The tenant of this id, also while it is being made.
fn present(desk: &mut Desk<'_, '_>, id: &str) -> Result<Tenant, Trouble> {
    let tenant = desk.tables.tenant(id, desk.now)?;
    let tenant = tenant.ok_or_else(Refusal::not_found)?;
    if tenant.status == TenantStatus::Terminated {
        return Err(refused(StatusCode::GONE, "gone", "the tenant is gone"));
    }
    Ok(tenant)
}

/// A refusal that says in the record of calls where the tenant is, so that a tenant that is only
/// not to be seen yet is not taken for gone.
fn about(tenant: &Tenant, refusal: Refusal) -> Answered {
    let answer = Operations.refuse(refusal);
    Ok(answer.effect(Effect::of(EffectKind::None, tenant)))
}

/// Does what changes a tenant, unless something is under way for it.
fn mutate(
    desk: &mut Desk<'_, '_>,
    id: &str,
    work: impl FnOnce(&mut Desk<'_, '_>) -> Answered,
) -> Answered {
    let before = present(desk, id)?;
    // An inquiry waits for the caller, not the caller for it.
    if before.request.status != RequestStatus::Inquiring && before.open.is_some() {
        let message = "an operation is in progress";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return about(&before, Refusal::new(status, "busy", message));
    }
    let answer = work(desk)?;
    let operation = begin(desk, Some(&before), &answer)?;
    let body = json!({ "operation": operation });
    with_body(accepted(answer), &body)
}

fn accepted(answer: Answer) -> Answer {
    Answer {
        status: StatusCode::ACCEPTED,
        ..answer
    }
}

/// Gives the operation that the answer is to a number, and says how the one before it ended.
fn begin(
    desk: &mut Desk<'_, '_>,
    before: Option<&Tenant>,
    answer: &Answer,
) -> Result<String, Trouble> {
    let mut tenant = subject(desk, answer)?;
    let open = |tenant: &Tenant| tenant.open.as_ref().map(|open| open.mutation);
    let waiting = before.and_then(open);
    if let Some(last) = tenant.tasks.last_mut() {
        if waiting.is_some() && waiting == tenant.open.as_ref().map(|open| open.mutation) {
            // The answer to its inquiry.
            return Ok(last.id());
        }
        last.outcome = last.outcome.take().or_else(|| before.and_then(outcome));
        last.outcome.get_or_insert_with(|| Outcome {
            succeeded: false,
            description: "another operation took its place".to_owned(),
        });
    }
    let task = Task {
        number: desk.tables.count("operations", FIRST_OPERATION)?,
        // It asked for what was so already.
        outcome: tenant.open.is_none().then(|| Outcome {
            succeeded: true,
            description: String::new(),
        }),
    };
    let id = task.id();
    tenant.tasks.push(task);
    if tenant.tasks.len() > REMEMBERED {
        tenant.tasks.remove(0);
    }
    desk.tables.keep(&tenant)?;
    Ok(id)
}

#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    state: &'static str,
    limits: &'a Limits,
    parameters: &'a Object,
}

/// A tenant that is there to be seen.
fn view(tenant: &Tenant) -> Option<View<'_>> {
    let state = match tenant.status {
        TenantStatus::Active => "active",
        TenantStatus::Suspended => "suspended",
        TenantStatus::Pending | TenantStatus::Failed | TenantStatus::Terminated => return None,
    };
    Some(View {
        id: &tenant.id,
        name: tenant.external_id.as_deref(),
        state,
        limits: &tenant.terms.limits,
        parameters: &tenant.outputs,
    })
}

impl Wire for Operations {
    /// Nothing is done at once.
    fn adapt(&self, behavior: &mut Behavior) {
        let after = After::In(behavior.operation_time);
        for mode in behavior.operations.all_mut() {
            if *mode == Mode::Sync {
                *mode = Mode::Async(Plan {
                    after,
                    ..Plan::default()
                });
            }
        }
    }

    fn create(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        desk.once(call, |desk| {
            let answer = desk.create(call.json()?)?;
            let tenant = subject(desk, &answer)?;
            if answer.status == StatusCode::CONFLICT {
                let message = format!("{} has this externalId", tenant.id);
                return about(&tenant, Refusal::new(answer.status, "conflict", message));
            }
            let operation = begin(desk, None, &answer)?;
            let body = json!({"tenant": tenant.id, "operation": operation});
            with_body(accepted(answer), &body)
        })
    }

    fn lookup(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        let tenants = desk.search(query(call, "externalId")?.as_deref())?;
        let views: Vec<_> = tenants.iter().filter_map(view).collect();
        Desk::found(&tenants, &views)
    }

    fn get(&self, desk: &mut Desk<'_, '_>, id: &str) -> Answered {
        let tenant = present(desk, id)?;
        match view(&tenant) {
            None => about(&tenant, Refusal::not_found()),
            Some(view) => {
                let answer = Answer::json(StatusCode::OK, &view)?;
                Ok(answer.effect(Effect::of(EffectKind::None, &tenant)))
            }
        }
    }

    fn change(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        let order = call.json()?;
        mutate(desk, id, |desk| desk.change(id, order))
    }

    fn switch(&self, desk: &mut Desk<'_, '_>, id: &str, _call: &Call, on: bool) -> Answered {
        mutate(desk, id, |desk| switched(desk, id, on))
    }

    fn delete(&self, desk: &mut Desk<'_, '_>, id: &str, _call: &Call) -> Answered {
        mutate(desk, id, |desk| desk.delete(id))
    }

    fn refuse(&self, mut refusal: Refusal) -> Answer {
        let code = if refusal.code == "busy" {
            refusal.status = StatusCode::UNPROCESSABLE_ENTITY;
            "ConcurrencyError".to_owned()
        } else {
            refusal.code.split('_').map(capitalized).collect()
        };
        let mut body = json!({"error": code, "description": refusal.message});
        if !refusal.parameters.is_empty() {
            body["inputs"] = json!(refusal.parameters);
        }
        refusal.saying(Some(&body))
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
