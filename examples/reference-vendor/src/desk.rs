//! The seven operations of the tenant API. This is the part to read for how to implement it.
//!
//! Each operation runs inside one transaction: what it reads cannot change under it, and its
//! answer is sent only when what it wrote is kept.

use crate::{
    Behavior, Identity,
    answer::{Answer, Effect, EffectKind, Refusal, Trouble},
    behavior::{Mode, WhileBusy},
    limit::{Limit, Limits},
    store::Tables,
    tenant::{Mutation, Object, Request, RequestStatus, Tenant, TenantStatus, Terms},
};
use data_encoding::BASE32_NOPAD;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) type Answered = Result<Answer, Trouble>;

/// The first tenant's number.
const FIRST_TENANT: u64 = 1001;

/// The body of `POST /tenant`, and of `PUT /tenant/{id}`, which looks at the terms only.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(crate) external_id: Option<String>,
    pub(crate) product: Option<String>,
    pub(crate) limits: Option<Object>,
    pub(crate) parameters: Option<Object>,
    pub(crate) tiers: Option<Object>,
    pub(crate) callback_url: Option<String>,
}

impl Order {
    /// Takes the terms out of the order.
    fn terms(&mut self) -> Result<Terms, Refusal> {
        let mut limits = Limits::new();
        for (name, value) in self.limits.take().unwrap_or_default() {
            let limit = Limit::parse(&value).ok_or_else(|| {
                let message = format!(
                    "limits.{name} must be a whole number, a decimal as text or \"unlimited\""
                );
                Refusal::new(StatusCode::BAD_REQUEST, "invalid_limit", message)
            })?;
            limits.insert(name, limit);
        }
        Ok(Terms {
            limits,
            parameters: self.parameters.take().unwrap_or_default(),
            tiers: self.tiers.take().unwrap_or_default(),
        })
    }
}

/// Where the operations are done: inside a transaction, at one moment, in one manner.
pub(crate) struct Desk<'a, 't> {
    pub(crate) tables: &'a mut Tables<'t>,
    pub(crate) now: Timestamp,
    pub(crate) identity: Identity,
    pub(crate) behavior: &'a Behavior,
    pub(crate) public_url: &'a str,
}

impl Desk<'_, '_> {
    /// `POST /tenant`
    pub(crate) fn create(&mut self, mut order: Order) -> Answered {
        let terms = order.terms()?;
        let external_id = order
            .external_id
            .filter(|external_id| !external_id.is_empty());
        if self.identity == Identity::ExternalId {
            let Some(external_id) = &external_id else {
                let message = "externalId is missing";
                return Err(refused(
                    StatusCode::BAD_REQUEST,
                    "missing_external_id",
                    message,
                ));
            };
            // Whatever became of the tenant: its externalId is taken for ever.
            if let Some(tenant) = self.tables.tenants_of(external_id, self.now)?.first() {
                let answer = Answer::json(StatusCode::CONFLICT, &self.view(tenant))?;
                return Ok(answer.effect(Effect::of(EffectKind::None, tenant)));
            }
        }

        let number = self.tables.count("tenants", FIRST_TENANT)?;
        let mut tenant = Tenant {
            id: format!("{}{number}", self.behavior.id_prefix),
            number,
            external_id,
            product: order.product,
            status: TenantStatus::Pending,
            terms: terms.clone(),
            outputs: Object::new(),
            sensitive: Vec::new(),
            callback_url: order.callback_url,
            created: self.now,
            request: Request::plain(RequestStatus::Pending),
            open: None,
            tree: None,
            tasks: Vec::new(),
        };
        if self.behavior.outputs {
            let page = format!("{}/t/{}", self.public_url, path_segment(&tenant.id));
            tenant
                .outputs
                .insert("activation_link".to_owned(), json!(page));
            tenant
                .outputs
                .insert("initial_password".to_owned(), json!(random_password()?));
            tenant.sensitive.push("initial_password".to_owned());
        }
        self.submit(&mut tenant, Mutation::Create, terms)
    }

    /// `GET /tenant?externalId=…`
    pub(crate) fn lookup(&mut self, external_id: Option<&str>) -> Answered {
        let tenants = self.search(external_id)?;
        let views: Vec<_> = tenants.iter().map(|tenant| self.view(tenant)).collect();
        Self::found(&tenants, &views)
    }

    /// The tenants of this external id, the oldest first.
    pub(crate) fn search(&mut self, external_id: Option<&str>) -> Result<Vec<Tenant>, Trouble> {
        if !self.identity.has_lookup() {
            let message = "this vendor does not look tenants up";
            return Err(refused(StatusCode::BAD_REQUEST, "no_lookup", message));
        }
        let Some(external_id) = external_id else {
            let message = "the query must have an externalId";
            return Err(refused(
                StatusCode::BAD_REQUEST,
                "missing_external_id",
                message,
            ));
        };
        let mut tenants = self.tables.tenants_of(external_id, self.now)?;
        tenants.retain(|tenant| self.shows(tenant));
        Ok(tenants)
    }

    /// The answer to a look for tenants, with this body.
    pub(crate) fn found(tenants: &[Tenant], body: &impl Serialize) -> Answered {
        let answer = Answer::json(StatusCode::OK, body)?;
        Ok(match tenants.first() {
            Some(tenant) => answer.effect(Effect::of(EffectKind::None, tenant)),
            None => answer,
        })
    }

    /// `GET /tenant/{id}`
    pub(crate) fn get(&mut self, id: &str) -> Answered {
        let tenant = self.find(id)?;
        let answer = self.unchanged(&tenant, StatusCode::OK)?;
        let pending = tenant.request.status == RequestStatus::Pending;
        Ok(if pending {
            self.with_retry_after(answer, &tenant)
        } else {
            answer
        })
    }

    /// `PUT /tenant/{id}`
    pub(crate) fn change(&mut self, id: &str, mut order: Order) -> Answered {
        let answers_inquiry = order.parameters.is_some() || order.tiers.is_some();
        let change = order.terms()?;
        let mut tenant = self.find_changeable(id)?;

        if let Some(open) = &tenant.open {
            let other_limits = open.terms.with(&change).limits != open.terms.limits;
            if tenant.request.status == RequestStatus::Inquiring
                && (answers_inquiry || other_limits)
            {
                tenant.answer_inquiry(&change, self.now);
                self.tables.keep(&tenant)?;
                return self.accepted(&tenant, EffectKind::Changed);
            }
            // The same change again: its answer may have been lost.
            if open.mutation == Mutation::Change && open.terms.with(&change) == open.terms {
                return self.accepted(&tenant, EffectKind::None);
            }
            self.make_way(&mut tenant)?;
        }

        let terms = tenant.terms.with(&change);
        if terms == tenant.terms {
            // A request that asks for what is already so is approved. It may take back one that
            // failed, hence the new request.
            tenant.request = Request::plain(RequestStatus::Approved);
            self.tables.keep(&tenant)?;
            return self.unchanged(&tenant, StatusCode::OK);
        }
        self.submit(&mut tenant, Mutation::Change, terms)
    }

    /// `PUT /tenant/{id}/disable`
    pub(crate) fn disable(&mut self, id: &str) -> Answered {
        self.switch(id, Mutation::Disable, TenantStatus::Suspended)
    }

    /// `PUT /tenant/{id}/enable`
    pub(crate) fn enable(&mut self, id: &str) -> Answered {
        self.switch(id, Mutation::Enable, TenantStatus::Active)
    }

    fn switch(&mut self, id: &str, mutation: Mutation, status: TenantStatus) -> Answered {
        let mut tenant = self.find_changeable(id)?;
        if let Some(open) = &tenant.open {
            if open.mutation == mutation {
                return self.accepted(&tenant, EffectKind::None);
            }
            self.make_way(&mut tenant)?;
        }
        if tenant.status == status {
            return self.unchanged(&tenant, StatusCode::NO_CONTENT);
        }
        let terms = tenant.terms.clone();
        self.submit(&mut tenant, mutation, terms)
    }

    /// `DELETE /tenant/{id}`
    pub(crate) fn delete(&mut self, id: &str) -> Answered {
        let mut tenant = self.find(id)?;
        if tenant.status == TenantStatus::Terminated {
            return self.unchanged(&tenant, StatusCode::NO_CONTENT);
        }
        if tenant
            .open
            .as_ref()
            .is_some_and(|open| open.mutation == Mutation::Delete)
        {
            return self.accepted(&tenant, EffectKind::None);
        }
        if self.behavior.delete_only_suspended && tenant.status == TenantStatus::Active {
            let message = "only a suspended tenant can be deleted";
            return Err(refused(StatusCode::CONFLICT, "not_suspended", message));
        }
        // Whatever else is pending is given up.
        let terms = tenant.terms.clone();
        self.submit(&mut tenant, Mutation::Delete, terms)
    }

    /// The tenant of this id, unless it is to be seen no more.
    pub(crate) fn find(&mut self, id: &str) -> Result<Tenant, Trouble> {
        let tenant = self.tables.tenant(id, self.now)?;
        let tenant = tenant.filter(|tenant| self.shows(tenant));
        Ok(tenant.ok_or_else(Refusal::not_found)?)
    }

    /// The tenant of this id, if it is not past all change.
    fn find_changeable(&mut self, id: &str) -> Result<Tenant, Trouble> {
        let tenant = self.find(id)?;
        match tenant.status {
            TenantStatus::Pending | TenantStatus::Active | TenantStatus::Suspended => Ok(tenant),
            TenantStatus::Failed => Err(refused(
                StatusCode::CONFLICT,
                "failed",
                "the purchase has failed",
            )),
            TenantStatus::Terminated => Err(refused(
                StatusCode::CONFLICT,
                "terminated",
                "the tenant is gone",
            )),
        }
    }

    fn shows(&self, tenant: &Tenant) -> bool {
        self.behavior.keep_terminated || tenant.status != TenantStatus::Terminated
    }

    /// Deals with the request that is pending when another one comes.
    fn make_way(&self, tenant: &mut Tenant) -> Result<(), Refusal> {
        match self.behavior.while_busy {
            WhileBusy::Refuse => {
                let message = format!("another request is {}", tenant.request.status);
                Err(Refusal::new(StatusCode::CONFLICT, "busy", message))
            }
            WhileBusy::Accept => {
                tenant.approve_open();
                Ok(())
            }
        }
    }

    /// Begins a request, ends it if the vendor does such requests at once, and answers.
    fn submit(&mut self, tenant: &mut Tenant, mutation: Mutation, terms: Terms) -> Answered {
        let (effect, done) = match mutation {
            Mutation::Create => (EffectKind::Created, StatusCode::CREATED),
            Mutation::Change => (EffectKind::Changed, StatusCode::OK),
            Mutation::Disable => (EffectKind::Disabled, StatusCode::NO_CONTENT),
            Mutation::Enable => (EffectKind::Enabled, StatusCode::NO_CONTENT),
            Mutation::Delete => (EffectKind::Deleted, StatusCode::NO_CONTENT),
        };
        let plan = match self.behavior.operations.mode(mutation) {
            Mode::Sync => None,
            Mode::Async(plan) => Some(plan),
            Mode::Refuse(refuse) => return Err(refuse.refusal().into()),
        };
        tenant.submit(mutation, terms, plan, self.now);
        self.tables.keep(tenant)?;
        match plan {
            None => self.answer(tenant, done, effect),
            Some(_) => self.accepted(tenant, effect),
        }
    }

    /// Answers that the request is pending.
    fn accepted(&self, tenant: &Tenant, effect: EffectKind) -> Answered {
        let status = tenant.open.as_ref().map(|open| u16::from(open.plan.status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let answer = self.answer(tenant, status.unwrap_or(StatusCode::ACCEPTED), effect)?;
        Ok(self.with_retry_after(answer, tenant))
    }

    fn unchanged(&self, tenant: &Tenant, status: StatusCode) -> Answered {
        self.answer(tenant, status, EffectKind::None)
    }

    fn answer(&self, tenant: &Tenant, status: StatusCode, effect: EffectKind) -> Answered {
        let answer = if status == StatusCode::NO_CONTENT {
            Answer::empty(status)
        } else {
            Answer::json(status, &self.view(tenant))?
        };
        Ok(answer.effect(Effect::of(effect, tenant)))
    }

    fn view<'v>(&self, tenant: &'v Tenant) -> crate::tenant::View<'v> {
        tenant.view(self.identity != Identity::None)
    }

    pub(crate) fn with_retry_after(&self, answer: Answer, tenant: &Tenant) -> Answer {
        let Some(plan) = tenant.open.as_ref().map(|open| &open.plan) else {
            return answer;
        };
        let Some(wait) = plan.retry_after.filter(|wait| !wait.0.is_zero()) else {
            return answer;
        };
        let value = if plan.retry_after_as_date {
            wait.after(self.now)
                .strftime("%a, %d %b %Y %H:%M:%S GMT")
                .to_string()
        } else {
            wait.seconds().to_string()
        };
        match HeaderValue::try_from(value) {
            Ok(value) => answer.header(RETRY_AFTER, value),
            Err(_) => answer,
        }
    }
}

pub(crate) fn refused(status: StatusCode, code: &'static str, message: &str) -> Trouble {
    Refusal::new(status, code, message).into()
}

/// The text as one segment of a URL's path.
pub(crate) fn path_segment(text: &str) -> String {
    // Only what RFC 3986 calls unreserved stays.
    const ESCAPED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn random_password() -> Result<String, Refusal> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).map_err(|error| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        )
    })?;
    Ok(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}
