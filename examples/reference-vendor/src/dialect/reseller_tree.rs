//! The dialect of a tree: customers below partners. A change names the version it was made for, and
//! a tenant is suspended by a change like any other.

use super::{Wire, query, subject, switched, with_body};
use crate::{
    Identity, Mode,
    answer::{Answer, EffectKind, Refusal, Trouble},
    call::{Call, Operation},
    desk::{Answered, Desk, Order, refused},
    limit::Limits,
    tenant::{Mutation, Object, RequestStatus, Tenant, TenantStatus},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) struct ResellerTree;

/// A tenant's place in the tree, and its version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    kind: Kind,
    parent_id: Option<String>,
    name: Option<String>,
    /// One more after each change.
    pub(crate) version: u64,
}

impl Default for Node {
    /// What a tenant is that was made in another dialect.
    fn default() -> Self {
        Self {
            kind: Kind::Customer,
            parent_id: None,
            name: None,
            version: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Customer,
    Partner,
}

/// The body of `POST /tenants`.
#[derive(Deserialize)]
struct Purchase {
    external_id: Option<String>,
    name: Option<String>,
    kind: Kind,
    parent_id: Option<String>,
    product: Option<String>,
    offerings: Option<Object>,
    contact: Option<Object>,
    #[serde(rename = "callbackUrl")]
    callback_url: Option<String>,
}

/// The body of `PUT /tenants/{id}`.
#[derive(Deserialize)]
struct Change {
    version: u64,
    offerings: Option<Object>,
    enabled: Option<bool>,
    contact: Option<Object>,
}

/// A tenant.
#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    external_id: Option<&'a str>,
    kind: Kind,
    parent_id: Option<&'a str>,
    name: Option<&'a str>,
    enabled: bool,
    version: u64,
    offerings: &'a Limits,
    provisioning: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provisioning_detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_errors: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_url: Option<&'a Value>,
}

fn view(tenant: &Tenant) -> View<'_> {
    let node = tenant.tree.as_ref();
    let request = &tenant.request;
    let (provisioning, detail, errors) = match (tenant.status, request.status) {
        // Its name is taken for ever, so that a create may meet it.
        (TenantStatus::Terminated, _) => ("deleted", None, None),
        (_, RequestStatus::Approved) => ("done", None, None),
        (_, RequestStatus::Pending) => ("pending", None, None),
        (_, RequestStatus::Failed) => ("failed", Some(request.reason.as_str()), None),
        (_, RequestStatus::Inquiring) => {
            let reason = Some(request.reason.as_str()).filter(|reason| !reason.is_empty());
            ("inquiring", reason, Some(&request.parameter_errors))
        }
    };
    View {
        id: &tenant.id,
        external_id: tenant.external_id.as_deref(),
        kind: node.map_or(Kind::Customer, |node| node.kind),
        parent_id: node.and_then(|node| node.parent_id.as_deref()),
        name: node.and_then(|node| node.name.as_deref()),
        enabled: tenant.status == TenantStatus::Active,
        version: version(tenant),
        offerings: &tenant.terms.limits,
        provisioning,
        provisioning_detail: detail,
        parameter_errors: errors,
        activation_url: tenant.outputs.get("activation_link"),
    }
}

fn version(tenant: &Tenant) -> u64 {
    tenant.tree.as_ref().map_or(1, |node| node.version)
}

fn is_of(tenant: &Tenant, version: u64) -> Result<(), Trouble> {
    let now = self::version(tenant);
    if now == version {
        return Ok(());
    }
    let message = format!("the tenant has version {now}, not {version}");
    Err(refused(StatusCode::CONFLICT, "version_conflict", &message))
}

impl Purchase {
    /// A customer needs a partner; a partner may have one.
    fn has_parent(&self, desk: &mut Desk<'_, '_>) -> Result<(), Trouble> {
        let message = match (&self.parent_id, self.kind) {
            (None, Kind::Partner) => return Ok(()),
            (None, Kind::Customer) => "a customer needs a parent_id".to_owned(),
            (Some(id), _) if is_partner(desk, id)? => return Ok(()),
            (Some(id), _) => format!("there is no partner {id}"),
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Err(refused(status, "parent_not_found", &message))
    }
}

/// Whether there is a partner of this id. One that is not provisioned yet is none yet.
fn is_partner(desk: &mut Desk<'_, '_>, id: &str) -> Result<bool, Trouble> {
    let tenant = desk.tables.tenant(id, desk.now)?;
    Ok(tenant.is_some_and(|tenant| {
        let partner = tenant.tree.is_some_and(|node| node.kind == Kind::Partner);
        partner
            && matches!(
                tenant.status,
                TenantStatus::Active | TenantStatus::Suspended
            )
    }))
}

fn has_children(desk: &mut Desk<'_, '_>, id: &str) -> Result<bool, Trouble> {
    let tenants = desk.tables.tenants(desk.now)?;
    Ok(tenants.iter().any(|tenant| {
        let parent = tenant
            .tree
            .as_ref()
            .and_then(|node| node.parent_id.as_deref());
        tenant.status.is_live() && parent == Some(id)
    }))
}

/// Whether the external id is taken, by a tenant that may be gone.
fn is_taken(desk: &mut Desk<'_, '_>, external_id: Option<&str>) -> Result<bool, Trouble> {
    match external_id {
        Some(external_id) if desk.identity == Identity::ExternalId => {
            Ok(!desk.tables.tenants_of(external_id, desk.now)?.is_empty())
        }
        Some(_) | None => Ok(false),
    }
}

fn create(desk: &mut Desk<'_, '_>, purchase: Purchase) -> Answered {
    let external_id = purchase.external_id.as_deref().filter(|id| !id.is_empty());
    if external_id.is_none() && desk.identity == Identity::ExternalId {
        let (status, message) = (StatusCode::BAD_REQUEST, "external_id is missing");
        return Err(refused(status, "missing_external_id", message));
    }
    // Whoever asks again is told so, also when the parent is gone by then.
    if !is_taken(desk, external_id)? {
        purchase.has_parent(desk)?;
    }
    let answer = desk.create(Order {
        external_id: purchase.external_id,
        product: purchase.product,
        limits: purchase.offerings,
        parameters: purchase.contact,
        callback_url: purchase.callback_url,
        ..Order::default()
    })?;
    let mut tenant = subject(desk, &answer)?;
    if answer.status == StatusCode::CONFLICT {
        let detail = "a tenant has this external_id";
        let body = json!({"code": "exists", "detail": detail, "existing": view(&tenant)});
        return with_body(answer, &body);
    }
    tenant.tree = Some(Node {
        kind: purchase.kind,
        parent_id: purchase.parent_id,
        name: purchase.name,
        version: 1,
    });
    desk.tables.keep(&tenant)?;
    with_body(answer, &view(&tenant))
}

/// Does what the change names; neither half of it is done if the other one is refused.
fn change(desk: &mut Desk<'_, '_>, tenant: &Tenant, change: Change) -> Answered {
    let id = tenant.id.as_str();
    let order = Order {
        limits: change.offerings,
        parameters: change.contact,
        ..Order::default()
    };
    let named = order.limits.is_some() || order.parameters.is_some();
    match change.enabled {
        Some(on) if !named => switched(desk, id, on),
        Some(on) if turns(tenant, on) => {
            let switch = if on {
                Mutation::Enable
            } else {
                Mutation::Disable
            };
            let modes = [Mutation::Change, switch].map(|it| desk.behavior.operations.mode(it));
            if modes.iter().any(|mode| **mode != Mode::Sync) || tenant.open.is_some() {
                let message = "this vendor takes its time: change and enable one after the other";
                return Err(refused(StatusCode::CONFLICT, "one_at_a_time", message));
            }
            // Where the first is taken the second cannot be refused any more.
            let changed = desk.change(id, order)?;
            let mut switched = switched(desk, id, on)?;
            if changed.effect.kind == EffectKind::None {
                switched.operation = Some(asked(on));
            } else {
                switched.effect.kind = changed.effect.kind;
            }
            Ok(switched)
        }
        Some(_) | None => desk.change(id, order),
    }
}

/// Whether a tenant that is there would be enabled or disabled. What is still to be made is made
/// enabled, whatever a change says that answers an inquiry.
fn turns(tenant: &Tenant, on: bool) -> bool {
    match tenant.status {
        TenantStatus::Active => !on,
        TenantStatus::Suspended => on,
        TenantStatus::Pending | TenantStatus::Failed | TenantStatus::Terminated => false,
    }
}

fn asked(on: bool) -> Operation {
    if on {
        Operation::Enable
    } else {
        Operation::Disable
    }
}

impl Wire for ResellerTree {
    fn path(&self) -> &'static str {
        "/tenants"
    }

    fn put(&self, call: &Call) -> Operation {
        match call.json::<Change>() {
            Ok(Change {
                enabled: Some(on),
                offerings: None,
                contact: None,
                ..
            }) => asked(on),
            Ok(_) | Err(_) => Operation::Change,
        }
    }

    fn create(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        desk.once(call, |desk| create(desk, call.json()?))
    }

    fn lookup(&self, desk: &mut Desk<'_, '_>, call: &Call) -> Answered {
        let tenants = desk.search(query(call, "external_id")?.as_deref())?;
        let items: Vec<_> = tenants.iter().map(view).collect();
        Desk::found(&tenants, &json!({ "items": items }))
    }

    fn get(&self, desk: &mut Desk<'_, '_>, id: &str) -> Answered {
        let answer = desk.get(id)?;
        let tenant = subject(desk, &answer)?;
        with_body(answer, &view(&tenant))
    }

    fn change(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        let wanted: Change = call.json()?;
        let before = desk.find(id)?;
        is_of(&before, wanted.version)?;
        let mut answer = change(desk, &before, wanted)?;
        let mut tenant = subject(desk, &answer)?;
        tenant.tree.get_or_insert_default().version += 1;
        desk.tables.keep(&tenant)?;
        if answer.status == StatusCode::NO_CONTENT {
            answer.status = StatusCode::OK;
        }
        with_body(answer, &view(&tenant))
    }

    fn switch(&self, _desk: &mut Desk<'_, '_>, _id: &str, _call: &Call, _on: bool) -> Answered {
        Err(Refusal::unknown_path().into())
    }

    fn delete(&self, desk: &mut Desk<'_, '_>, id: &str, call: &Call) -> Answered {
        let given = query(call, "version")?;
        let tenant = desk.find(id)?;
        let Some(version) = given.and_then(|version| version.parse().ok()) else {
            let (status, message) = (StatusCode::BAD_REQUEST, "the query must have a version");
            return Err(refused(status, "missing_version", message));
        };
        is_of(&tenant, version)?;
        if tenant.status == TenantStatus::Active {
            let message = "an enabled tenant cannot be deleted";
            return Err(refused(StatusCode::CONFLICT, "disable_first", message));
        }
        if has_children(desk, id)? {
            let message = "the partner has customers";
            return Err(refused(StatusCode::CONFLICT, "has_children", message));
        }
        let answer = desk.delete(id)?;
        if answer.body.is_none() {
            return Ok(answer);
        }
        let tenant = subject(desk, &answer)?;
        with_body(answer, &view(&tenant))
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        let mut body = json!({"code": refusal.code, "detail": refusal.message});
        if !refusal.parameters.is_empty() {
            body["parameter_errors"] = json!(refusal.parameters);
        }
        refusal.saying(Some(&body))
    }
}
