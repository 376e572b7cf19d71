//! What a vendor's API says in other words than the canonical one: how its calls are written and its
//! answers read. Compiled from the connection, once.

mod answer;
mod call;
mod expression;
mod headers;
mod map_order;
mod paths;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use std::collections::BTreeMap;

use fulfillment_crds as spec;
use http::HeaderMap;
use serde_json::Value;

use super::Operation;
use answer::{Reader, Refusals};
use call::Call;
pub use call::{Ask, Current, Written};
use paths::Paths;
pub(crate) use value::to_cel;

/// Every call there is.
const OPERATIONS: [Operation; 8] = [
    Operation::Create,
    Operation::Get,
    Operation::Poll,
    Operation::Lookup,
    Operation::Change,
    Operation::Disable,
    Operation::Enable,
    Operation::Delete,
];

/// A compiled dialect.
#[derive(Debug)]
pub struct Dialect {
    calls: BTreeMap<Operation, Call>,
    readers: BTreeMap<Operation, Reader>,
    refusals: Option<Refusals>,
    paths: Paths,
}

impl Dialect {
    /// Compiles a dialect; none is the canonical one. `products` say where single limits and
    /// parameters stand.
    ///
    /// # Errors
    ///
    /// Names the field of the connection whose expression or path is wrong, and the place in it.
    pub fn new(spec: Option<&spec::Dialect>, products: &[spec::Product]) -> Result<Self, String> {
        let mut dialect = Self {
            calls: BTreeMap::new(),
            readers: BTreeMap::new(),
            refusals: None,
            paths: Paths::new(products)?,
        };
        for operation in OPERATIONS {
            let own = spec.and_then(|spec| own(spec, operation));
            let at = format!("dialect.{}", operation.as_str());
            let call = match (own, operation) {
                (Some(own), _) => Some(Call::new(operation, &at, own)?),
                // There is one only where the dialect says so.
                (None, Operation::Poll) => None,
                (None, _) => Some(Call::canonical(operation)),
            };
            dialect.calls.extend(call.map(|call| (operation, call)));
            let Some(spec) = spec else { continue };
            let at = format!("{at}.answer");
            let answer = own.and_then(|own| own.answer.as_ref());
            let all = spec.answer.as_ref();
            let (status, request) = (&spec.status_words, &spec.request_words);
            let mapped = all.is_some() || answer.is_some();
            if mapped || !status.is_empty() || !request.is_empty() {
                let own = answer.map(|answer| (at.as_str(), answer));
                let reader = Reader::new(own, all, status, request)?;
                dialect.readers.insert(operation, reader);
            }
        }
        if let Some(spec) = spec {
            dialect.refusals = spec.error.as_ref().map(Refusals::new).transpose()?;
        }
        Ok(dialect)
    }

    /// Whether there is a call that asks after a request under way.
    pub fn polls(&self) -> bool {
        self.calls.contains_key(&Operation::Poll)
    }

    /// Whether a call needs the tenant's body as it is now.
    pub fn reads_first(&self, operation: Operation) -> bool {
        self.calls
            .get(&operation)
            .is_some_and(|call| call.reads_first)
    }

    /// Writes a call.
    ///
    /// # Errors
    ///
    /// Says what of the connection cannot be written for this Subscription.
    pub fn write(&self, ask: &Ask<'_>) -> Result<Written, String> {
        let call = self.calls.get(&ask.operation);
        let call =
            call.ok_or_else(|| format!("dialect.{} is not there", ask.operation.as_str()))?;
        let mut written = call.write(ask)?;
        if call.has_canonical_body()
            && let Some(Value::Object(body)) = &mut written.body
        {
            self.paths.of(&ask.order.product).write(body);
        }
        Ok(written)
    }

    /// The tenant in the body of an answer, in canonical form; `None`: it is canonical as it is.
    pub(super) fn tenant(
        &self,
        operation: Operation,
        product: &str,
        (headers, body): (&HeaderMap, &[u8]),
    ) -> Option<Result<Value, String>> {
        let (reader, places) = (self.readers.get(&operation), self.paths.of(product));
        if reader.is_none() && places.is_empty() {
            return None;
        }
        let body = serde_json::from_slice(body).ok()?;
        Some(match reader {
            Some(reader) => reader.tenant(headers, &body, places),
            None => Ok(places.read(&body).into_owned()),
        })
    }

    /// The tenant in an answer without a body, in canonical form: only where the headers say the id of a
    /// new one, or the operation that it is in.
    pub(super) fn bare(
        &self,
        operation: Operation,
        headers: &HeaderMap,
    ) -> Option<Result<Value, String>> {
        let told = match operation {
            Operation::Create => "id",
            Operation::Change | Operation::Disable | Operation::Enable | Operation::Delete => {
                "operation"
            }
            Operation::Get | Operation::Poll | Operation::Lookup => return None,
        };
        let tenant = self.readers.get(&operation)?.bare(headers);
        let known = |tenant: &Value| tenant.get(told).is_some_and(|value| !value.is_null());
        tenant.map(|tenant| Some(tenant).filter(known)).transpose()
    }

    /// The tenants in the answer to a lookup, in canonical form.
    pub(super) fn tenants(
        &self,
        product: &str,
        (headers, body): (&HeaderMap, &[u8]),
    ) -> Option<Result<Value, String>> {
        let reader = self.readers.get(&Operation::Lookup);
        let places = self.paths.of(product);
        if reader.is_none() && places.is_empty() {
            return None;
        }
        let body = serde_json::from_slice(body).ok()?;
        Some(match (reader, body) {
            (Some(reader), body) => reader.tenants(headers, &body, places),
            (None, Value::Array(list)) => {
                let tenants = list.iter().map(|one| places.read(one).into_owned());
                Ok(tenants.collect())
            }
            (None, other) => Ok(other),
        })
    }

    /// A refusal in canonical form, and whether the vendor is only busy.
    pub(super) fn refusal(
        &self,
        status: u16,
        (headers, body): (&HeaderMap, &[u8]),
    ) -> Option<(Value, bool)> {
        let refusals = self.refusals.as_ref()?;
        // Expressions see null where the body is no JSON: the status may say enough.
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        Some(refusals.read(status, headers, &body))
    }
}

fn own(spec: &spec::Dialect, operation: Operation) -> Option<&spec::Call> {
    match operation {
        Operation::Create => spec.create.as_ref(),
        Operation::Get => spec.get.as_ref(),
        Operation::Poll => spec.poll.as_ref(),
        Operation::Lookup => spec.lookup.as_ref(),
        Operation::Change => spec.change.as_ref(),
        Operation::Disable => spec.disable.as_ref(),
        Operation::Enable => spec.enable.as_ref(),
        Operation::Delete => spec.delete.as_ref(),
    }
}
