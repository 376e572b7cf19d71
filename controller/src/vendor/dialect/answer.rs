//! How an answer is read: into the canonical form, which has one reader.

use std::{borrow::Cow, collections::BTreeMap};

use fulfillment_crds::{AnswerMap, ErrorMap, RequestWord, StatusWord};
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{
    expression::{Expression, Fails},
    headers::seen,
    paths::Places,
    value::Names,
};

/// How the answers to one call are read.
#[derive(Debug)]
pub(super) struct Reader {
    tenant: Option<Expression>,
    /// By the canonical field.
    fields: BTreeMap<&'static str, Expression>,
    status_words: BTreeMap<String, StatusWord>,
    request_words: BTreeMap<String, RequestWord>,
}

/// The fields of the request in an answer, and where they stand canonically.
const REQUEST: [(&str, &str); 3] = [
    ("requestStatus", "status"),
    ("requestReason", "reason"),
    ("parameterErrors", "parameterErrors"),
];

impl Reader {
    /// Compiles what a dialect says of answers; what the call itself does not say, all calls do.
    pub(super) fn new(
        own: Option<(&str, &AnswerMap)>,
        all: Option<&AnswerMap>,
        status_words: &BTreeMap<String, StatusWord>,
        request_words: &BTreeMap<String, RequestWord>,
    ) -> Result<Self, String> {
        let mut reader = Self {
            tenant: None,
            fields: BTreeMap::new(),
            status_words: status_words.clone(),
            request_words: request_words.clone(),
        };
        let all = all.map(|all| ("dialect.answer", all));
        for (at, map) in all.into_iter().chain(own) {
            for (name, source) in sources(map) {
                let Some(source) = source else { continue };
                let expression =
                    Expression::new(&format!("{at}.{name}"), source, &["answer", "headers"])?;
                if name == "tenant" {
                    reader.tenant = Some(expression);
                } else {
                    reader.fields.insert(name, expression);
                }
            }
        }
        Ok(reader)
    }

    /// The tenant in a body, in canonical form. What has a path is read at it; expressions see the
    /// answer as it is.
    pub(super) fn tenant(
        &self,
        headers: &HeaderMap,
        body: &Value,
        places: Places<'_>,
    ) -> Result<Value, String> {
        let headers = seen(headers);
        self.canonical(&headers, self.whole(&headers, body)?.as_ref(), places)
    }

    /// What an answer without a body says by its headers: the id and the operation, as far as these are
    /// read there.
    pub(super) fn bare(&self, headers: &HeaderMap) -> Result<Value, String> {
        let (headers, body) = (seen(headers), json!({}));
        let names = Names::new([("answer", &body), ("headers", &headers)]);
        let mut tenant = Map::new();
        for field in ["id", "operation"] {
            let there = self.fields.get(field);
            if there.is_some_and(|expression| expression.uses("headers")) {
                tenant.insert(field.into(), self.field(field, &names, None)?);
            }
        }
        Ok(Value::Object(tenant))
    }

    /// The tenants in the answer to a lookup, each in canonical form.
    pub(super) fn tenants(
        &self,
        headers: &HeaderMap,
        body: &Value,
        places: Places<'_>,
    ) -> Result<Value, String> {
        let headers = seen(headers);
        let whole = self.whole(&headers, body)?;
        let Value::Array(list) = whole.as_ref() else {
            return Err("no list of tenants".into());
        };
        let tenants = list.iter().map(|one| self.canonical(&headers, one, places));
        let tenants: Result<Vec<Value>, String> = tenants.collect();
        tenants.map(Value::Array)
    }

    fn whole<'v>(&self, headers: &Value, body: &'v Value) -> Result<Cow<'v, Value>, String> {
        let Some(expression) = &self.tenant else {
            return Ok(Cow::Borrowed(body));
        };
        let names = Names::new([("answer", body), ("headers", headers)]);
        expression
            .value(&names)
            .map(Cow::Owned)
            .map_err(Fails::told)
    }

    fn canonical(
        &self,
        headers: &Value,
        answer: &Value,
        places: Places<'_>,
    ) -> Result<Value, String> {
        let names = Names::new([("answer", answer), ("headers", headers)]);
        let answer = places.read(answer);
        let mut tenant = Map::new();
        for field in [
            "id",
            "externalId",
            "status",
            "limits",
            "parameters",
            "sensitive",
            "operation",
        ] {
            let value = self.field(field, &names, answer.get(field))?;
            tenant.insert(field.into(), value);
        }
        if let Some(secret) = tenant.get_mut("sensitive") {
            places.know_secrets(secret);
        }
        let said = answer.get("request");
        let mut request = Map::new();
        for (field, canonical) in REQUEST {
            let value = self.field(field, &names, said.and_then(|r| r.get(canonical)))?;
            request.insert(canonical.into(), value);
        }
        let word = |value: &Value| text(value).unwrap_or_default();
        if let Some(status) = self.status_words.get(&word(&tenant["status"])) {
            tenant.insert("status".into(), json!(status));
        } else if let Some(text) = text(&tenant["status"]) {
            tenant.insert("status".into(), text.into());
        }
        if let Some(status) = self.request_words.get(&word(&request["status"])) {
            request.insert("status".into(), json!(status));
        } else if let Some(text) = text(&request["status"]) {
            request.insert("status".into(), text.into());
        }
        if !request["status"].is_null() {
            tenant.insert("request".into(), Value::Object(request));
        }
        Ok(Value::Object(tenant))
    }

    fn field(
        &self,
        field: &str,
        names: &Names,
        canonical: Option<&Value>,
    ) -> Result<Value, String> {
        let Some(expression) = self.fields.get(field) else {
            return Ok(canonical.cloned().unwrap_or(Value::Null));
        };
        let value = match expression.value(names) {
            Ok(value) => value,
            Err(Fails::Missing(_)) => Value::Null,
            Err(Fails::Wrong(why)) => return Err(why),
        };
        let fits = match field {
            "limits" | "parameters" => value.is_object(),
            "parameterErrors" => value.is_object() || value.is_array(),
            "sensitive" => value.is_array(),
            _ => text(&value).is_some(),
        };
        if fits || value.is_null() {
            Ok(value)
        } else {
            Err(format!(
                "{} gives a value of another kind than it should",
                expression.at()
            ))
        }
    }
}

fn sources(map: &AnswerMap) -> [(&'static str, Option<&String>); 11] {
    [
        ("tenant", map.tenant.as_ref()),
        ("id", map.id.as_ref()),
        ("externalId", map.external_id.as_ref()),
        ("status", map.status.as_ref()),
        ("limits", map.limits.as_ref()),
        ("parameters", map.parameters.as_ref()),
        ("sensitive", map.sensitive.as_ref()),
        ("operation", map.operation.as_ref()),
        ("requestStatus", map.request_status.as_ref()),
        ("requestReason", map.request_reason.as_ref()),
        ("parameterErrors", map.parameter_errors.as_ref()),
    ]
}

/// A word, whatever JSON has it as.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// How the bodies of refusals are read.
#[derive(Debug)]
pub(super) struct Refusals {
    fields: BTreeMap<&'static str, Expression>,
    busy: Option<Expression>,
}

impl Refusals {
    /// Compiles what a dialect says of refusals.
    pub(super) fn new(map: &ErrorMap) -> Result<Self, String> {
        let expression = |name: &str, source: &Option<String>| {
            let at = format!("dialect.error.{name}");
            source
                .as_ref()
                .map(|source| Expression::new(&at, source, &["answer", "headers", "status"]))
                .transpose()
        };
        let mut fields = BTreeMap::new();
        for (name, source) in [
            ("code", &map.code),
            ("message", &map.message),
            ("parameters", &map.parameters),
        ] {
            if let Some(expression) = expression(name, source)? {
                fields.insert(name, expression);
            }
        }
        Ok(Self {
            fields,
            busy: expression("busy", &map.busy)?,
        })
    }

    /// The refusal in canonical form, and whether the vendor is only busy. What cannot be read is
    /// null: a refusal is never worse than its status.
    pub(super) fn read(&self, status: u16, headers: &HeaderMap, body: &Value) -> (Value, bool) {
        let names = Names::new([
            ("answer", body),
            ("headers", &seen(headers)),
            ("status", &status.into()),
        ]);
        let said = body.get("error").filter(|e| e.is_object()).unwrap_or(body);
        let mut error = Map::new();
        for field in ["code", "message", "parameters"] {
            let value = match self.fields.get(field) {
                Some(expression) => expression.value(&names).unwrap_or(Value::Null),
                None => said.get(field).cloned().unwrap_or(Value::Null),
            };
            let value = match (field, text(&value)) {
                ("code" | "message", Some(text)) => text.into(),
                _ => value,
            };
            error.insert(field.into(), value);
        }
        let busy = self.busy.as_ref().map(|busy| busy.value(&names));
        let busy = busy == Some(Ok(Value::Bool(true)));
        (json!({"error": error}), busy)
    }
}
