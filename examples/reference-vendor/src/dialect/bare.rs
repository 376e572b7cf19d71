//! The dialect that says as little as can be: `{"id": 1001, "status": "active"}`.
//!
//! Bodies are the canonical ones. What a create says beside product, limits and parameters is not
//! looked at; an `externalId` is kept for the record of calls and never shown.

use super::{Wire, subject, switched, with_body};
use crate::{
    Behavior,
    answer::{Answer, Refusal},
    call::Call,
    desk::{Answered, Desk, Order},
    tenant::{Tenant, TenantStatus},
};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) struct Bare;

#[derive(Serialize)]
struct View {
    /// A JSON number. To the rest of the vendor it is text, as every other id.
    id: Value,
    status: TenantStatus,
}

fn view(tenant: &Tenant) -> View {
    // A database that another dialect began has ids that are no numbers.
    let number = tenant.id.parse::<u64>();
    View {
        id: number.map_or_else(|_| json!(tenant.id), |number| json!(number)),
        status: tenant.status,
    }
}

fn shown(desk: &mut Desk<'_, '_>, answer: Answer) -> Answered {
    let tenant = subject(desk, &answer)?;
    with_body(answer, &view(&tenant))
}

fn without_body(answer: Answer) -> Answer {
    Answer {
        body: None,
        ..answer
    }
}

impl Wire for Bare {
    fn adapt(&self, behavior: &mut Behavior) {
        behavior.id_prefix.clear();
    }

    fn create(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        desk.once(call, |desk| {
            let order = Order {
                tiers: None,
                callback_url: None,
                ..call.json()?
            };
            let answer = desk.create(order)?;
            shown(desk, answer)
        })
    }

    fn lookup(&self, _desk: &mut Desk<'_, '_>, _call: &Call) -> Answered {
        Err(Refusal::unknown_path().into())
    }

    fn get(&self, desk: &mut Desk<'_, '_>, id: &str) -> Answered {
        let answer = desk.get(id)?;
        shown(desk, answer)
    }

    fn change(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        desk.change(id, call.json()?).map(without_body)
    }

    fn switch(&self, desk: &mut Desk<'_, '_>, id: &str, _call: &Call, on: bool) -> Answered {
        switched(desk, id, on).map(without_body)
    }

    fn delete(&self, desk: &mut Desk<'_, '_>, id: &str, _call: &Call) -> Answered {
        desk.delete(id).map(without_body)
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        if refusal.parameters.is_empty() {
            return refusal.saying(None);
        }
        // All it has for an inquiry: what the contract's caller can act on.
        let body = json!({"message": refusal.message, "parameters": refusal.parameters});
        refusal.saying(Some(&body))
    }
}
