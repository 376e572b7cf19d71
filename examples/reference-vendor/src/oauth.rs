//! OAuth2 client credentials (RFC 6749, 4.4): whoever shows the client's secret gets a token, which
//! lets calls in for a while. Tokens are kept in memory: a vendor that is started again knows none.

use crate::{
    answer::Answer,
    call::Call,
    config::same,
    store::{StoreError, lock},
};
use axum::extract::Query;
use data_encoding::{BASE32_NOPAD, BASE64};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

type Form = BTreeMap<String, String>;

/// The tokens that were given out, and when each ends.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, Instant>>);

impl Tokens {
    /// Whether the call shows a token that is good.
    pub(crate) fn permit(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let Some(token) = given.and_then(|given| given.strip_prefix(b"Bearer ")) else {
            return false;
        };
        let mut tokens = lock(&self.0);
        tokens.retain(|_, ends| *ends > Instant::now());
        tokens.keys().any(|known| same(token, known.as_bytes()))
    }

    /// Forgets every token.
    pub(crate) fn revoke(&self) {
        lock(&self.0).clear();
    }

    /// A new token for the client, or why there is none.
    pub(crate) fn issue(
        &self,
        client: Option<(&str, &str)>,
        call: &Call,
        lifetime: Duration,
    ) -> Result<Answer, StoreError> {
        let refuse = |status, code, why| {
            Answer::json(status, &json!({"error": code, "error_description": why}))
        };
        let Some((id, secret)) = client else {
            let why = "this vendor gives no tokens";
            return refuse(StatusCode::BAD_REQUEST, "unauthorized_client", why);
        };
        let form = call.body().ok().and_then(|body| form(body));
        let Some(form) = form else {
            let why = "the body is no form";
            return refuse(StatusCode::BAD_REQUEST, "invalid_request", why);
        };
        let shown = by_header(&call.headers).or_else(|| by_body(&form));
        let known = shown.is_some_and(|(given_id, given_secret)| {
            same(given_id.as_bytes(), id.as_bytes())
                & same(given_secret.as_bytes(), secret.as_bytes())
        });
        if !known {
            let why = "no such client, or not its secret";
            let challenge = HeaderValue::from_static("Basic realm=\"tokens\"");
            return Ok(refuse(StatusCode::UNAUTHORIZED, "invalid_client", why)?
                .header(WWW_AUTHENTICATE, challenge));
        }
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            let why = "only client_credentials";
            return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", why);
        }
        let mut random = [0u8; 20];
        if getrandom::fill(&mut random).is_err() {
            let why = "no randomness";
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "server_error", why);
        }
        let token = BASE32_NOPAD.encode(&random);
        lock(&self.0).insert(token.clone(), Instant::now() + lifetime);
        let body = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": lifetime.as_secs(),
        });
        let no_store = HeaderValue::from_static("no-store");
        Ok(Answer::json(StatusCode::OK, &body)?.header(CACHE_CONTROL, no_store))
    }
}

/// What is recorded of a token call's form: all but the secret.
pub(crate) fn recorded(body: &[u8]) -> Value {
    let Some(mut form) = form(body) else {
        return Value::Null;
    };
    if let Some(secret) = form.get_mut("client_secret") {
        "(redacted)".clone_into(secret);
    }
    json!(form)
}

/// A form is written like a query.
fn form(body: &[u8]) -> Option<Form> {
    let text = std::str::from_utf8(body).ok()?;
    let uri: Uri = format!("/?{text}").parse().ok()?;
    Query::<Form>::try_from_uri(&uri).ok().map(|query| query.0)
}

/// `Basic`, with id and secret written as in a form (RFC 6749, 2.3.1).
fn by_header(headers: &HeaderMap) -> Option<(String, String)> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let pair = BASE64
        .decode(given.strip_prefix("Basic ")?.as_bytes())
        .ok()?;
    let (id, secret) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    let mut form = form(format!("id={id}&secret={secret}").as_bytes())?;
    Some((form.remove("id")?, form.remove("secret")?))
}

fn by_body(form: &Form) -> Option<(String, String)> {
    Some((
        form.get("client_id")?.clone(),
        form.get("client_secret")?.clone(),
    ))
}
