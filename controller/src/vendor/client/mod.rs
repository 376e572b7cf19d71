//! The HTTP client of one connection: one call, one answer, no redirects, no retries, bounded in
//! time and size. What an answer means is decided here, by table; what to do about it is not.

mod answer;
mod settings;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;
use url::Url;

use crate::{lease::Fence, metrics::Meter};

use super::{
    Answer, Class, Effect, FulfillmentStatus, Operation, Order, Said, VendorError,
    auth::{Auth, Shown},
    dialect::{Ask, Current, Dialect},
    last_look::LastLook,
    record::Record,
    text::Secrets,
    transfer::{Raw, exchange, garbage, local, retry_after},
    wire,
};
pub use settings::{Settings, Unusable, checked_url};

/// What a vendor says with an answer that it gave to the same key before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Who answers, as messages name it.
const VENDOR: &str = "the vendor";
/// By which a repeated create is known.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The HTTP client of one connection.
#[derive(Debug)]
pub struct VendorClient {
    base: Url,
    http: reqwest::Client,
    creates: reqwest::Client,
    auth: Auth,
    dialect: Dialect,
    fence: Fence,
    meter: Meter,
    record: Option<Record>,
    /// The names that each product's definition gives.
    names: BTreeMap<String, Vec<String>>,
}

impl VendorClient {
    /// The same client, which keeps what it is answered.
    pub fn recorded(self, record: Record) -> Self {
        Self {
            record: Some(record),
            ..self
        }
    }

    /// `POST /tenant`, unless the deadline has passed: then it is not sent.
    pub async fn create(&self, order: &Order, deadline: Instant) -> Result<Answer, VendorError> {
        let ask = ask(Operation::Create, "", order);
        let (raw, secrets) = self.send(&ask, Some(deadline)).await?;
        if raw.status == StatusCode::CONFLICT {
            let tenant = self.tenant(&ask, &raw, &secrets);
            return Ok(Answer {
                said: Said::Exists(tenant.ok().filter(|t| !t.id.is_empty()).map(Box::new)),
                retry_after: retry_after(&raw.headers),
                replayed: false,
            });
        }
        let answer = self.interpret(&ask, &raw, &secrets)?;
        Ok(Answer {
            replayed: raw
                .headers
                .get(REPLAYED)
                .is_some_and(|value| value == "true"),
            ..answer
        })
    }

    /// `GET /tenant/{id}`
    pub async fn get(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(ask(Operation::Get, id, order)).await
    }

    /// How the request goes on that the vendor calls `token`; once it is approved, or nothing is known
    /// of it, the tenant is read.
    pub async fn poll(&self, id: &str, token: &str, order: &Order) -> Result<Answer, VendorError> {
        let mut ask = ask(Operation::Poll, id, order);
        ask.token = Some(token);
        let polled = self.call(ask).await?;
        let request = match &polled.said {
            Said::Tenant(tenant) | Said::Accepted(Some(tenant)) => tenant.request.clone(),
            Said::Absent => None,
            Said::Done | Said::Accepted(None) | Said::Exists(_) | Said::Found(_) => {
                return Ok(polled);
            }
        };
        let open = request.as_ref().is_some_and(|r| match r.status {
            FulfillmentStatus::Approved => false,
            FulfillmentStatus::Pending
            | FulfillmentStatus::Inquiring
            | FulfillmentStatus::Failed
            | FulfillmentStatus::Unknown => true,
        });
        if open {
            return Ok(polled);
        }
        let mut read = self.get(id, order).await?;
        for tenant in read.said.tenants() {
            if tenant.request.is_none() {
                tenant.request.clone_from(&request);
            }
        }
        Ok(read)
    }

    /// `GET /tenant?externalId=…`: every tenant of that name. Only a list says that there is none.
    pub async fn lookup(&self, external_id: &str, order: &Order) -> Result<Answer, VendorError> {
        let mut ask = ask(Operation::Lookup, "", order);
        ask.name = external_id;
        let (raw, secrets) = self.send(&ask, None).await?;
        if raw.status != StatusCode::OK {
            // Anything else that is no failure is no list either.
            return match self.interpret(&ask, &raw, &secrets) {
                Ok(_) => Err(garbage(
                    raw.status,
                    "the vendor answered the lookup without a list".into(),
                )),
                Err(error) => Err(error),
            };
        }
        let found = match self
            .dialect
            .tenants(&order.product, (&raw.headers, &raw.body))
        {
            Some(mapped) => {
                mapped.and_then(|value| wire::mapped_tenants(value, external_id, &secrets))
            }
            None => wire::tenants(&raw.body, external_id, &secrets),
        };
        let found = found.map_err(|why| answer::unreadable(&raw, "the lookup", why))?;
        Ok(Answer {
            said: Said::Found(found),
            retry_after: retry_after(&raw.headers),
            replayed: false,
        })
    }

    /// `PUT /tenant/{id}`; `parameters` says whether they go along with the limits.
    pub async fn change(
        &self,
        id: &str,
        order: &Order,
        parameters: bool,
    ) -> Result<Answer, VendorError> {
        let mut ask = ask(Operation::Change, id, order);
        ask.inputs = parameters;
        self.call(ask).await
    }

    /// `PUT /tenant/{id}/disable`
    pub async fn disable(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(ask(Operation::Disable, id, order)).await
    }

    /// `PUT /tenant/{id}/enable`
    pub async fn enable(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(ask(Operation::Enable, id, order)).await
    }

    /// `DELETE /tenant/{id}`
    pub async fn delete(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(ask(Operation::Delete, id, order)).await
    }

    /// Whether the vendor has a call that asks after a request under way.
    pub fn polls(&self) -> bool {
        self.dialect.polls()
    }

    /// How many calls an operation is: two, where the tenant is read first.
    pub fn calls(&self, operation: Operation) -> u32 {
        1 + u32::from(self.dialect.reads_first(operation))
    }

    /// A call about a tenant we know.
    async fn call(&self, mut ask: Ask<'_>) -> Result<Answer, VendorError> {
        if !wire::usable_id(ask.id) {
            return Err(local("the tenant's id cannot stand in a URL"));
        }
        if self.dialect.reads_first(ask.operation) {
            let get = Ask {
                operation: Operation::Get,
                ..ask.clone()
            };
            let read = self.read_first(&get).await;
            // Nothing but a read was sent.
            ask.current = match read.map_err(|e| VendorError {
                effect: Effect::None,
                ..e
            })? {
                Ok(current) => Some(current),
                Err(other) => return Ok(other),
            };
        }
        let (raw, secrets) = self.send(&ask, None).await?;
        self.interpret(&ask, &raw, &secrets)
    }

    /// The tenant as it is; or the answer that there is none.
    async fn read_first(&self, get: &Ask<'_>) -> Result<Result<Current, Answer>, VendorError> {
        let (raw, secrets) = self.send(get, None).await?;
        let answer = self.interpret(get, &raw, &secrets)?;
        if matches!(answer.said, Said::Absent) {
            return Ok(Err(answer));
        }
        let body = serde_json::from_slice(&raw.body)
            .map_err(|_| garbage(raw.status, "the vendor's answer to a read is empty".into()))?;
        let headers = raw.headers;
        Ok(Ok(Current { body, headers }))
    }

    /// The call as its dialect writes it.
    fn request(&self, ask: &Ask<'_>) -> Result<reqwest::RequestBuilder, VendorError> {
        let written = self.dialect.write(ask).map_err(|why| VendorError {
            class: Class::Refused,
            code: "Dialect".into(),
            ..local(&format!(
                "this cannot be said in the vendor's dialect: {why}"
            ))
        })?;
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}{}",
            self.base.path().trim_end_matches('/'),
            written.path
        ));
        if !written.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&written.query);
        }
        let mut headers = HeaderMap::new();
        let http = if ask.operation == Operation::Create {
            if let Ok(key) = HeaderValue::from_str(&ask.order.external_id) {
                headers.insert(IDEMPOTENCY_KEY, key);
            }
            &self.creates
        } else {
            &self.http
        };
        headers.extend(written.headers);
        let request = http.request(written.method, url).headers(headers);
        Ok(match written.body {
            Some(body) => request.json(&body),
            None => request,
        })
    }

    /// The call with its credentials, once more with a newer token where the vendor refuses one that
    /// it may have known; and what must be masked in the answer.
    async fn send(
        &self,
        ask: &Ask<'_>,
        deadline: Option<Instant>,
    ) -> Result<(Raw, Secrets), VendorError> {
        let (request, order) = (self.request(ask)?, ask.order);
        let again = request.try_clone();
        let shown = self.auth.show().await?;
        let named = self.names.get(&order.product);
        let names = named.into_iter().flatten().chain(order.names());
        let names: Vec<String> = names.cloned().chain([ask.name.to_owned()]).collect();
        let secrets = shown.secrets(&order.secrets).besides(names.clone());
        let once = (ask.operation, deadline);
        let raw = self.send_once(request, &shown, once, &secrets).await?;
        if raw.status == StatusCode::UNAUTHORIZED
            && let Some(again) = again
            && let Some(newer) = self.auth.renewed(&shown).await?
        {
            let secrets = newer.secrets_with(&shown, &order.secrets).besides(names);
            let raw = self.send_once(again, &newer, once, &secrets).await?;
            return Ok((raw, secrets));
        }
        Ok((raw, secrets))
    }

    async fn send_once(
        &self,
        mut request: reqwest::RequestBuilder,
        shown: &Shown,
        (operation, deadline): (Operation, Option<Instant>),
        secrets: &Secrets,
    ) -> Result<Raw, VendorError> {
        if let Some((name, value)) = &shown.header {
            request = request.header(name, value);
        }
        let counted = (operation.as_str(), &self.meter);
        // After the token: it may have taken a while.
        let look = LastLook {
            fence: self.fence.clone(),
            deadline,
        };
        let raw = exchange(request, Some(look), counted, VENDOR, secrets).await?;
        shown.answered(raw.status);
        if let Some(record) = &self.record {
            record.keep(operation, &raw, secrets);
        }
        Ok(raw)
    }
}

/// What is asked about a tenant, or of the vendor where there is no id.
fn ask<'a>(operation: Operation, id: &'a str, order: &'a Order) -> Ask<'a> {
    Ask {
        operation,
        id,
        name: &order.external_id,
        token: None,
        order,
        inputs: false,
        current: None,
    }
}
