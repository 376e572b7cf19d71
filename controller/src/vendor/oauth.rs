//! OAuth2 client credentials (RFC 6749, 4.4): one token for all Subscriptions of a connection,
//! fetched when it is needed, renewed before it ends, and asked for by one call at a time.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::metrics::Meter;

use super::{
    Class, Effect, VendorError,
    auth::sensitive,
    client::Unusable,
    error::classify,
    text::{SHOWN, Secrets},
    transfer::{Raw, exchange, retry_after},
};

/// How long a token is taken to be good where its endpoint does not say. A token that ends sooner is
/// found out by a 401.
const UNSAID: Duration = Duration::from_secs(300);
/// The longest a token is used, whatever its endpoint says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A token that never worked is not renewed for a 401 before it is this old: a vendor that refuses
/// everything must not have us fetch a token for each call.
const YOUNG: Duration = Duration::from_secs(30);
/// How soon after a failed fetch the endpoint is asked again: whoever comes in between waits.
const STANDS: Duration = Duration::from_secs(1);
/// The calls to token endpoints, in metrics.
const OPERATION: &str = "token";
/// As much of a token endpoint's URL as a message shows, in characters.
const NAMED: usize = 100;

/// What a token is asked for with. Cannot be printed.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The token endpoint, checked as the connection's own URL is.
    pub url: Url,
    /// The client's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// What the token is to be good for.
    pub scopes: Vec<String>,
    /// The API it is for, where the endpoint asks which.
    pub audience: Option<String>,
    /// Show id and secret in the form and not in a header.
    pub in_body: bool,
}

/// A token as it was given.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: SecretString,
    pub(super) header: HeaderValue,
    fetched: Instant,
    lifetime: Duration,
    worked: AtomicBool,
}

impl Token {
    /// The vendor took it.
    pub(super) fn worked(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    fn is_good(&self) -> bool {
        self.fetched.elapsed() < self.lifetime
    }

    fn is_due(&self) -> bool {
        self.fetched.elapsed() >= self.lifetime.mul_f64(0.8)
    }

    fn is_young(&self) -> bool {
        !self.worked.load(Ordering::Relaxed) && self.fetched.elapsed() < YOUNG
    }
}

/// The tokens of one connection: one at a time.
#[derive(Debug)]
pub(super) struct Tokens {
    http: reqwest::Client,
    meter: Meter,
    url: Url,
    /// The endpoint as messages name it: no query, and not too long.
    name: String,
    form: SecretString,
    basic: Option<HeaderValue>,
    /// What must never be shown.
    pub(super) secrets: Vec<SecretString>,
    known: Mutex<Known>,
    /// Held by the one call that asks for a token.
    flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    token: Option<Arc<Token>>,
    failure: Option<Failure>,
}

/// The last fetch, where it failed.
#[derive(Clone, Debug)]
struct Failure {
    error: VendorError,
    ended: Instant,
    /// When the endpoint may be asked again.
    until: Instant,
}

impl Tokens {
    pub(super) fn new(
        grant: &Grant,
        http: reqwest::Client,
        meter: Meter,
    ) -> Result<Self, Unusable> {
        let (id, secret) = (&grant.client_id, grant.client_secret.expose_secret());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !grant.scopes.is_empty() {
            form.append_pair("scope", &grant.scopes.join(" "));
        }
        if let Some(audience) = &grant.audience {
            form.append_pair("audience", audience);
        }
        // As RFC 6749, 2.3.1 has it: encoded as in a form first.
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let pair = format!("{}:{}", encoded(id), encoded(secret));
        let pair = data_encoding::BASE64.encode(pair.as_bytes());
        let basic = if grant.in_body {
            form.append_pair("client_id", id);
            form.append_pair("client_secret", secret);
            None
        } else {
            let value = sensitive(&format!("Basic {pair}"));
            Some(value.ok_or_else(|| Unusable::new("auth.oauth2 cannot stand in a header"))?)
        };
        let secrets = vec![
            grant.client_secret.clone(),
            encoded(secret).into(),
            pair.into(),
        ];
        let mut shown = grant.url.clone();
        shown.set_query(None);
        Ok(Self {
            http,
            meter,
            url: grant.url.clone(),
            name: Secrets::default().clean(shown.as_str(), NAMED),
            form: form.finish().into(),
            basic,
            secrets,
            known: Mutex::default(),
            flight: Arc::default(),
        })
    }

    /// A token that is good. Where it is due one call renews it beside the others, who go on with it.
    pub(super) async fn token(self: &Arc<Self>) -> Result<Arc<Token>, VendorError> {
        let began = Instant::now();
        let Some(token) = self.good() else {
            let _flight = self.flight.lock().await;
            return self.newer_than(None, began).await;
        };
        if token.is_due()
            && let Ok(flight) = Arc::clone(&self.flight).try_lock_owned()
        {
            let (tokens, due) = (Arc::clone(self), Arc::clone(&token));
            tokio::spawn(async move {
                let _flight = flight;
                if let Err(error) = tokens.newer_than(Some(&due), began).await {
                    tracing::warn!(%error, "a token is not renewed yet; the present one is still good");
                }
            });
        }
        Ok(token)
    }

    /// Another token than the one that the vendor answered with 401; `None` where that one is so
    /// new that another would be no better.
    pub(super) async fn instead_of(
        &self,
        refused: &Arc<Token>,
    ) -> Result<Option<Arc<Token>>, VendorError> {
        if refused.is_young() {
            return Ok(None);
        }
        let began = Instant::now();
        let _flight = self.flight.lock().await;
        self.known()
            .token
            .take_if(|token| Arc::ptr_eq(token, refused));
        self.newer_than(None, began).await.map(Some)
    }

    /// The known token, where it is good and not the one given, or else a new one. The flight must
    /// be held; who waited for it while a fetch failed shares the failure.
    async fn newer_than(
        &self,
        old: Option<&Arc<Token>>,
        began: Instant,
    ) -> Result<Arc<Token>, VendorError> {
        let is_newer = |token: &Arc<Token>| old.is_none_or(|old| !Arc::ptr_eq(old, token));
        if let Some(token) = self.good().filter(is_newer) {
            return Ok(token);
        }
        let failure = self.known().failure.clone();
        if let Some(failure) = failure {
            if failure.ended >= began || failure.until > Instant::now() + STANDS {
                return Err(failure.error);
            }
            tokio::time::sleep_until(failure.until).await;
        }
        let fetched = self.fetch().await;
        let mut known = self.known();
        match fetched {
            Ok(token) => {
                let token = Arc::new(token);
                known.token = Some(Arc::clone(&token));
                known.failure = None;
                Ok(token)
            }
            Err(error) => {
                let ended = Instant::now();
                known.failure = Some(Failure {
                    error: error.clone(),
                    ended,
                    until: ended + error.retry_after.unwrap_or_default().max(STANDS),
                });
                Err(error)
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self) -> Option<Arc<Token>> {
        self.known().token.clone().filter(|token| token.is_good())
    }

    async fn fetch(&self) -> Result<Token, VendorError> {
        let secrets = Secrets::new(self.secrets.iter().cloned());
        let mut request = self
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(self.form.expose_secret().to_owned());
        if let Some(basic) = &self.basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let who = format!("the token endpoint {}", self.name);
        // Its life began before we heard of it.
        let fetched = Instant::now();
        let raw = exchange(request, None, (OPERATION, &self.meter), &who, &secrets).await;
        let raw = raw.map_err(nothing_happened)?;
        let answer = serde_json::from_slice(&raw.body).unwrap_or_default();
        given(&answer, fetched)
            .filter(|_| raw.status.is_success())
            .ok_or_else(|| failure(&raw, &answer, &who, &secrets))
    }
}

/// The call to the vendor was not made.
fn nothing_happened(error: VendorError) -> VendorError {
    VendorError {
        effect: Effect::None,
        // The status in metrics is the vendor's.
        status: None,
        ..error
    }
}

/// The token in an answer.
fn given(answer: &Map<String, Value>, fetched: Instant) -> Option<Token> {
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let value = text("access_token").filter(|value| !value.is_empty())?;
    // Required, and left out by some.
    if !text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return None;
    }
    Some(Token {
        header: sensitive(&format!("Bearer {value}"))?,
        value: value.into(),
        fetched,
        lifetime: lifetime(answer.get("expires_in")),
        worked: AtomicBool::new(false),
    })
}

/// How long a token is used. Some endpoints write the number as text, and some say 0 for no end.
fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    seconds
        .filter(|seconds| *seconds >= 1.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok())
        .unwrap_or(UNSAID)
}

/// What an answer without a token means. That our client is refused is a matter of the connection
/// and its Secret, whatever the status: it is tried again and fails no Subscription.
fn failure(raw: &Raw, answer: &Map<String, Value>, who: &str, secrets: &Secrets) -> VendorError {
    let text = |key: &str, max: usize| {
        let text = answer.get(key).and_then(Value::as_str);
        secrets.clean(text.unwrap_or_default(), max)
    };
    let (code, why) = (text("error", 64), text("error_description", SHOWN));
    let class = match classify(raw.status.as_u16()).0 {
        _ if raw.status.is_success() && !code.is_empty() => Class::Auth,
        _ if raw.status.is_success() => Class::Transient,
        Class::Refused | Class::Auth => Class::Auth,
        Class::Busy | Class::Transient => Class::Transient,
        Class::Throttled => Class::Throttled,
    };
    let mut message = format!("{who} answered {}", raw.status);
    if raw.status.is_success() && code.is_empty() {
        message.push_str(" without a bearer token");
    }
    if raw.status.is_redirection() {
        message.push_str("; redirects are not followed");
    }
    for said in [&code, &why] {
        if !said.is_empty() {
            message.push_str(": ");
            message.push_str(said);
        }
    }
    if raw.status == StatusCode::NOT_FOUND {
        message.push_str("; is auth.oauth2.tokenUrl right?");
    }
    VendorError {
        class,
        effect: Effect::None,
        retry_after: retry_after(&raw.headers),
        status: None,
        code: String::new(),
        message: secrets.clean(&message, SHOWN),
        parameters: Vec::new(),
        unsent: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lifetime_is_read_in_every_form_and_bounded() {
        let of = |value: Value| lifetime(Some(&value)).as_secs();
        assert_eq!(of(json!(3600)), 3600);
        assert_eq!(of(json!("3599")), 3599);
        assert_eq!(of(json!(1)), 1);
        assert_eq!(of(json!(1e300)), LONGEST.as_secs());
        assert_eq!(of(json!(u64::MAX)), LONGEST.as_secs());
        for odd in [
            json!(0),
            json!(-5),
            json!("soon"),
            json!("NaN"),
            json!({}),
            Value::Null,
        ] {
            assert_eq!(lifetime(Some(&odd)), UNSAID, "{odd}");
        }
        assert_eq!(lifetime(None), UNSAID);
    }

    #[test]
    fn only_a_bearer_token_that_fits_into_a_header_is_one() {
        let is_one = |answer: Value| {
            let answer: Map<String, Value> = serde_json::from_value(answer).unwrap();
            given(&answer, Instant::now()).is_some()
        };
        assert!(is_one(json!({"access_token": "t", "token_type": "Bearer"})));
        assert!(is_one(json!({"access_token": "t", "token_type": "bearer"})));
        assert!(is_one(json!({"access_token": "t"})));
        assert!(!is_one(json!({"access_token": "t", "token_type": "DPoP"})));
        assert!(!is_one(json!({"access_token": ""})));
        assert!(!is_one(json!({"access_token": "a\r\nX-Admin: 1"})));
        assert!(!is_one(json!({"access_token": 7})));
        assert!(!is_one(json!({})));
    }
}
