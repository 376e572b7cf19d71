//! The dialect of a scenario behind a form: a purchase is `Attributes`, its only limit is the text
//! `licences.limit`, and `ready` is all that is ever said of a tenant that works or is disabled.

use super::{Wire, query, subject, switched, with_body};
use crate::{
    answer::{Answer, Refusal, Trouble},
    call::Call,
    desk::{Answered, Desk, Order, refused},
    tenant::{Object, RequestStatus, Tenant, TenantStatus},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is wrong with single parameters and, with an empty word, what is not: Connect lists all of them.
fn listed(errors: &BTreeMap<String, String>, ordered: &Object) -> BTreeMap<String, String> {
    let fine = ordered.keys().map(|name| (name.clone(), String::new()));
    fine.chain(errors.clone()).collect()
}

/// A refusal of an order with these parameters.
fn refused_of(trouble: Trouble, ordered: &Object) -> Trouble {
    match trouble {
        Trouble::Refused(refusal) => {
            let listed = listed(&refusal.parameters, ordered);
            refusal.naming(listed).into()
        }
        Trouble::Store(error) => Trouble::Store(error),
    }
}

/// The same as Connect itself says it of a request.
fn complaints(errors: &BTreeMap<String, String>) -> Option<Value> {
    let complaint = |(id, error): (&String, &String)| json!({"id": id, "value_error": error});
    (!errors.is_empty()).then(|| errors.iter().map(complaint).collect())
}

/// The limit behind `licences`.
const SEATS: &str = "seats";

pub(crate) struct Scenario;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Purchase {
    external_id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<Attributes>,
    callback_url: Option<String>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    product: Option<Product>,
    #[serde(default)]
    account: Option<Object>,
}

#[derive(Deserialize)]
struct Product {
    mpn: Option<String>,
}

impl Attributes {
    /// What the buyer filled in, as text.
    fn parameters(account: Object) -> Object {
        let text = |(name, value): (String, Value)| match value {
            Value::Null | Value::String(_) => (name, value),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                (name, Value::String(other.to_string()))
            }
        };
        account.into_iter().map(text).collect()
    }
}

#[derive(Deserialize)]
struct Change {
    licences: Option<Licences>,
    #[serde(rename = "Attributes")]
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Licences {
    limit: Value,
}

impl Change {
    fn order(self) -> Result<Order, Trouble> {
        let limits = match self.licences {
            None => None,
            Some(Licences { limit }) if limit.is_string() => {
                Some(Object::from_iter([(SEATS.to_owned(), limit)]))
            }
            Some(_) => {
                let message = "licences.limit must be a string";
                return Err(refused(StatusCode::BAD_REQUEST, "invalid_limit", message));
            }
        };
        let account = self.attributes.and_then(|attributes| attributes.account);
        Ok(Order {
            limits,
            parameters: account.map(Attributes::parameters),
            ..Order::default()
        })
    }
}

/// The answer to a purchase.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bought<'a> {
    tenant_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_item_id: Option<&'a str>,
    status: &'static str,
}

/// A tenant.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    #[serde(flatten)]
    bought: Bought<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    licences: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_link: Option<&'a Value>,
    /// With an inquiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Value>,
}

fn bought(tenant: &Tenant) -> Bought<'_> {
    Bought {
        tenant_id: &tenant.id,
        external_id: tenant.external_id.as_deref(),
        product_item_id: tenant.product.as_deref(),
        status: match tenant.status {
            TenantStatus::Pending | TenantStatus::Active | TenantStatus::Suspended
                if tenant.request.status == RequestStatus::Inquiring =>
            {
                "inquiring"
            }
            TenantStatus::Pending => "processing",
            TenantStatus::Active | TenantStatus::Suspended => "ready",
            TenantStatus::Failed => "failed",
            // Only a vendor that is told to keep them shows them.
            TenantStatus::Terminated => "terminated",
        },
    }
}

fn view(tenant: &Tenant) -> View<'_> {
    let seats = tenant.terms.limits.get(SEATS);
    let request = &tenant.request;
    let asked = (request.status == RequestStatus::Inquiring).then_some(request);
    let terms = tenant.open.as_ref().map_or(&tenant.terms, |o| &o.terms);
    View {
        bought: bought(tenant),
        licences: seats.map(|limit| json!({"limit": limit.to_string()})),
        activation_link: tenant.outputs.get("activation_link"),
        reason: asked.map(|request| request.reason.as_str()),
        params: asked.and_then(|it| complaints(&listed(&it.parameter_errors, &terms.parameters))),
    }
}

/// The answer with the tenant in it, unless it has no body.
fn shown(desk: &mut Desk<'_, '_>, answer: Answer) -> Answered {
    if answer.body.is_none() {
        return Ok(answer);
    }
    let tenant = subject(desk, &answer)?;
    with_body(answer, &view(&tenant))
}

impl Wire for Scenario {
    fn create(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        desk.once(call, |desk| {
            let purchase: Purchase = call.json()?;
            let attributes = purchase.attributes.unwrap_or_default();
            let ordered = attributes.account.clone().unwrap_or_default();
            let order = Order {
                external_id: purchase.external_id,
                product: attributes.product.and_then(|product| product.mpn),
                parameters: attributes.account.map(Attributes::parameters),
                callback_url: purchase.callback_url,
                ..Order::default()
            };
            let answer = desk.create(order);
            let answer = answer.map_err(|trouble| refused_of(trouble, &ordered))?;
            let tenant = subject(desk, &answer)?;
            with_body(answer, &bought(&tenant))
        })
    }

    fn lookup(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        let tenants = desk.search(query(call, "externalId")?.as_deref())?;
        let views: Vec<_> = tenants.iter().map(view).collect();
        Desk::found(&tenants, &views)
    }

    fn get(&self, desk: &mut Desk<'_, '_>, id: &str) -> Answered {
        let answer = desk.get(id)?;
        shown(desk, answer)
    }

    fn change(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        let change: Change = call.json()?;
        let order = change.order()?;
        let ordered = order.parameters.clone().unwrap_or_default();
        let answer = desk.change(id, order);
        let answer = answer.map_err(|trouble| refused_of(trouble, &ordered))?;
        shown(desk, answer)
    }

    fn switch(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call, on: bool) -> Answered {
        let _any: Object = call.json()?;
        let answer = switched(desk, id, on)?;
        shown(desk, answer)
    }

    fn delete(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        let _any: Object = call.json()?;
        let answer = desk.delete(id)?;
        shown(desk, answer)
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        let mut body = json!({"message": refusal.message});
        if let Some(params) = complaints(&refusal.parameters) {
            body["params"] = params;
        }
        refusal.saying(Some(&body))
    }
}
