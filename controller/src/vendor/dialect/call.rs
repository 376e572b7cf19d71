//! How a call of the tenant API is written: method, path, query, headers and body.

use std::borrow::Cow;

use fulfillment_crds as spec;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{expression::Expression, headers::seen, value::Names};
use crate::vendor::{Operation, Order, wire};

/// Unreserved characters stay, everything else of a segment is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a request's expressions can name.
const fn names(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::Create | Operation::Lookup => &["subscription"],
        Operation::Get => &["subscription", "id"],
        Operation::Poll => &["subscription", "id", "operation", "current", "headers"],
        Operation::Change | Operation::Disable | Operation::Enable | Operation::Delete => {
            &["subscription", "id", "current", "headers"]
        }
    }
}
/// Headers that are not the dialect's to set.
const RESERVED: &[HeaderName] = &[
    http::header::AUTHORIZATION,
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_TYPE,
    http::header::COOKIE,
    http::header::EXPECT,
    http::header::HOST,
    http::header::PROXY_AUTHORIZATION,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

/// What is asked of the vendor.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Which call.
    pub operation: Operation,
    /// The tenant's id; empty where there is none.
    pub id: &'a str,
    /// The externalId: the order's, or the one that is looked up.
    pub name: &'a str,
    /// The vendor's token of the request under way.
    pub token: Option<&'a str>,
    /// What a create or change carries.
    pub order: &'a Order,
    /// Whether a change carries parameters and tiers beside the limits.
    pub inputs: bool,
    /// The tenant as it is now, where the call wants to see it.
    pub current: Option<Current>,
}

/// A tenant as it was read right before a call.
#[derive(Clone, Debug)]
pub struct Current {
    /// The body of the answer.
    pub body: Value,
    /// The headers that it came with.
    pub headers: HeaderMap,
}

/// A call as it goes on the wire, without the credentials.
#[derive(Debug)]
pub struct Written {
    /// The method.
    pub method: Method,
    /// The path under the base URL, encoded.
    pub path: String,
    /// The query, not encoded.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// The JSON body.
    pub body: Option<Value>,
}

/// A compiled call.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: Vec<Piece>,
    query: Vec<(String, Text)>,
    headers: Vec<(HeaderName, Text)>,
    body: Body,
    /// It needs the tenant as it is now.
    pub(super) reads_first: bool,
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Segment(Text),
}

#[derive(Debug)]
enum Text {
    Id,
    ExternalId,
    Expression(Expression),
}

#[derive(Debug)]
enum Body {
    None,
    /// Everything an order has.
    Order,
    /// The limits, and the parameters where they differ.
    Change,
    Expression(Expression),
}

impl Call {
    /// The canonical call.
    pub(super) fn canonical(operation: Operation) -> Self {
        let tenant = || Piece::Literal("/tenant".into());
        let under = |action: &str| {
            let mut path = vec![Piece::Literal("/tenant/".into()), Piece::Segment(Text::Id)];
            if !action.is_empty() {
                path.push(Piece::Literal(format!("/{action}")));
            }
            path
        };
        let (method, path, body) = match operation {
            Operation::Create => (Method::POST, vec![tenant()], Body::Order),
            Operation::Lookup => (Method::GET, vec![tenant()], Body::None),
            Operation::Get | Operation::Poll => (Method::GET, under(""), Body::None),
            Operation::Change => (Method::PUT, under(""), Body::Change),
            Operation::Disable => (Method::PUT, under("disable"), Body::None),
            Operation::Enable => (Method::PUT, under("enable"), Body::None),
            Operation::Delete => (Method::DELETE, under(""), Body::None),
        };
        let query = match operation {
            Operation::Lookup => vec![("externalId".into(), Text::ExternalId)],
            Operation::Create
            | Operation::Get
            | Operation::Poll
            | Operation::Change
            | Operation::Disable
            | Operation::Enable
            | Operation::Delete => Vec::new(),
        };
        Self {
            method,
            path,
            query,
            headers: Vec::new(),
            body,
            reads_first: false,
        }
    }

    /// The call as a dialect has it; `at` is where it stands, for messages.
    pub(super) fn new(operation: Operation, at: &str, spec: &spec::Call) -> Result<Self, String> {
        let (mut call, names) = (Self::canonical(operation), names(operation));
        if let Some(method) = spec.method {
            call.method = match method {
                spec::HttpMethod::Get => Method::GET,
                spec::HttpMethod::Post => Method::POST,
                spec::HttpMethod::Put => Method::PUT,
                spec::HttpMethod::Patch => Method::PATCH,
                spec::HttpMethod::Delete => Method::DELETE,
            };
        }
        if let Some(path) = &spec.path {
            call.path = pieces(&format!("{at}.path"), path, names)?;
            // Another path is another call: its query is what stands there.
            call.query.clear();
        }
        if !spec.query.is_empty() {
            call.query = spec
                .query
                .iter()
                .map(|(name, source)| {
                    let at = format!("{at}.query.{name}");
                    Ok((name.clone(), Text::new(&at, source, names)?))
                })
                .collect::<Result<_, String>>()?;
        }
        for (name, source) in &spec.headers {
            let at = format!("{at}.headers.{name}");
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("{at}: this is no header name"))?;
            if RESERVED.contains(&name) {
                return Err(format!("{at}: this header is the operator's own"));
            }
            call.headers.push((name, Text::new(&at, source, names)?));
        }
        if let Some(source) = &spec.body {
            let at = format!("{at}.body");
            call.body = Body::Expression(Expression::new(&at, source, names)?);
        }
        call.reads_first = call.sees_current();
        Ok(call)
    }

    /// Whether its body is one that no expression writes.
    pub(super) fn has_canonical_body(&self) -> bool {
        match self.body {
            Body::Order | Body::Change => true,
            Body::None | Body::Expression(_) => false,
        }
    }

    /// Whether an expression sees the tenant as it is now.
    fn sees_current(&self) -> bool {
        let segments = self.path.iter().filter_map(|piece| match piece {
            Piece::Segment(text) => Some(text),
            Piece::Literal(_) => None,
        });
        let named = self.query.iter().map(|(_, text)| text);
        let named = named.chain(self.headers.iter().map(|(_, text)| text));
        let sees = |e: &Expression| e.uses("current") || e.uses("headers");
        let mut expressions = segments.chain(named).filter_map(|text| match text {
            Text::Expression(expression) => Some(expression),
            Text::Id | Text::ExternalId => None,
        });
        expressions.any(sees) || matches!(&self.body, Body::Expression(e) if sees(e))
    }

    /// Writes the call; the error says what cannot be written.
    pub(super) fn write(&self, ask: &Ask<'_>) -> Result<Written, String> {
        // Only what has expressions pays for what they see.
        let seen = std::cell::OnceCell::new();
        let names = || seen.get_or_init(|| known(ask));
        let mut path = String::new();
        for piece in &self.path {
            match piece {
                Piece::Literal(text) => path.push_str(text),
                Piece::Segment(text) => {
                    let segment = text.value(ask, &names)?.unwrap_or_default();
                    if !wire::usable_id(&segment) {
                        return Err(format!("{} cannot stand in a URL", text.at()));
                    }
                    path.extend(utf8_percent_encode(&segment, SEGMENT));
                }
            }
        }
        let mut query = Vec::new();
        for (name, text) in &self.query {
            if let Some(value) = text.value(ask, &names)? {
                query.push((name.clone(), value.into_owned()));
            }
        }
        let mut headers = HeaderMap::new();
        for (name, text) in &self.headers {
            if let Some(value) = text.value(ask, &names)? {
                let value = HeaderValue::from_str(&value)
                    .map_err(|_| format!("{} cannot stand in a header", text.at()))?;
                headers.insert(name, value);
            }
        }
        let body = match &self.body {
            Body::None => None,
            Body::Order => Some(wire::create_body(ask.order)),
            Body::Change => Some(Value::Object(wire::change_body(ask.order, ask.inputs))),
            Body::Expression(expression) => {
                let value = expression.value(names()).map_err(|why| why.told())?;
                match value {
                    Value::Null => None,
                    Value::Object(_) => Some(value),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        return Err(format!("{} gives no object", expression.at()));
                    }
                }
            }
        };
        Ok(Written {
            method: self.method.clone(),
            path,
            query,
            headers,
            body,
        })
    }
}

/// What the expressions of a request see.
fn known(ask: &Ask<'_>) -> Names {
    let mut subscription = match wire::create_body(ask.order) {
        Value::Object(body) => body,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    for always in ["limits", "parameters", "tiers"] {
        subscription
            .entry(always)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    subscription.insert("externalId".into(), ask.name.into());
    let current = ask.current.as_ref();
    let headers = current.map(|current| seen(&current.headers));
    Names::new([
        ("subscription", &Value::Object(subscription)),
        ("id", &ask.id.into()),
        ("operation", &json!(ask.token)),
        (
            "current",
            current.map_or(&Value::Null, |current| &current.body),
        ),
        ("headers", &headers.unwrap_or_default()),
    ])
}

impl Text {
    fn new(at: &str, source: &str, names: &[&'static str]) -> Result<Self, String> {
        Ok(match source.trim() {
            "id" if names.contains(&"id") => Self::Id,
            "subscription.externalId" => Self::ExternalId,
            _ => Self::Expression(Expression::new(at, source, names)?),
        })
    }

    fn at(&self) -> &str {
        match self {
            Self::Id => "the tenant's id",
            Self::ExternalId => "the externalId",
            Self::Expression(expression) => expression.at(),
        }
    }

    fn value<'a, 'n>(
        &self,
        ask: &Ask<'a>,
        names: &impl Fn() -> &'n Names,
    ) -> Result<Option<Cow<'a, str>>, String> {
        Ok(match self {
            Self::Id => Some(ask.id.into()),
            Self::ExternalId => Some(ask.name.into()),
            Self::Expression(expression) => {
                let value = expression.value(names()).map_err(|why| why.told())?;
                match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.into()),
                    Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
                    Value::Array(_) | Value::Object(_) => {
                        return Err(format!("{} gives no text", expression.at()));
                    }
                }
            }
        })
    }
}

/// A path in its pieces: `/tenants/{id}`.
fn pieces(at: &str, path: &str, names: &[&'static str]) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = path;
    while let Some(open) = rest.find('{') {
        let (literal, after) = rest.split_at(open);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let close = closing(after).ok_or_else(|| format!("{at}: a brace is not closed"))?;
        pieces.push(Piece::Segment(Text::new(at, &after[1..close], names)?));
        rest = &after[close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    let literal = pieces.iter().any(|piece| match piece {
        Piece::Literal(text) => {
            text.contains(['?', '#', '}']) || text.chars().any(char::is_whitespace)
        }
        Piece::Segment(_) => false,
    });
    if literal {
        return Err(format!(
            "{at}: a path has no query, fragment, space or lone brace; a query goes into query"
        ));
    }
    Ok(pieces)
}

/// Where the first brace of a text is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
