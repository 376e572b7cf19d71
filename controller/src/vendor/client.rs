//! The HTTP client of one connection: one call, one answer, no redirects, no retries, bounded in
//! time and size. What an answer means is decided here, by table; what to do about it is not.

use std::{error::Error as _, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use k8s_openapi::jiff::fmt::rfc2822;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::AlertDescription;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::{Host, Url};

use crate::lease::Fence;

use super::{
    Answer, Class, Credentials, Effect, Order, Said, VendorError,
    auth::{Auth, Shown},
    certificate::ClientCertificate,
    error::classify,
    guard::{AddressPolicy, GuardedResolver},
    text::{SHOWN, Secrets},
    wire,
};

/// Who answers, as messages name it.
const VENDOR: &str = "the vendor";
/// The largest body that is read.
const BODY: usize = 256 * 1024;
/// The longest a vendor can make us wait.
const RETRY_AFTER: Duration = Duration::from_secs(300);
/// Unreserved characters stay, everything else of an id is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a client is made of.
#[derive(Debug)]
pub struct Settings {
    /// The base URL.
    pub url: String,
    /// How to authenticate.
    pub credentials: Credentials,
    /// Certificates in PEM to trust instead of the public ones.
    pub ca: Option<Vec<u8>>,
    /// What to show to a vendor who asks for a certificate.
    pub certificate: Option<ClientCertificate>,
    /// For the connection.
    pub connect_timeout: Duration,
    /// For the whole call.
    pub request_timeout: Duration,
    /// Which addresses the vendor may have.
    pub addresses: AddressPolicy,
    /// Send each create on a connection of its own: where it cannot be repeated, a reused
    /// connection that the vendor closes meanwhile would leave its outcome unknown.
    pub fresh_creates: bool,
    /// Whether this process may act: asked right before each call is sent.
    pub fence: Fence,
}

/// Why a connection's settings cannot be used. The message names the field and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Unusable {
    pub(super) fn new(why: &str) -> Self {
        Self(why.into())
    }
}

/// The HTTP client of one connection.
#[derive(Debug)]
pub struct VendorClient {
    base: Url,
    http: reqwest::Client,
    creates: reqwest::Client,
    auth: Auth,
    fence: Fence,
}

/// A raw answer, its body read and capped.
pub(super) struct Raw {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl VendorClient {
    /// Makes the client of a connection.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field of the connection.
    pub fn new(settings: &Settings) -> Result<Self, Unusable> {
        let base = checked_url("url", &settings.url, &settings.addresses)?;
        let is_https = match &settings.credentials {
            Credentials::OAuth2(grant) if grant.url.scheme() == "https" => true,
            Credentials::None
            | Credentials::Bearer(_)
            | Credentials::Basic(..)
            | Credentials::Header(..)
            | Credentials::OAuth2(_) => base.scheme() == "https",
        };
        let roots = roots(is_https, settings.ca.as_deref())?;
        let build = |fresh: bool| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("fulfillment-operator/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .http1_only()
                .connect_timeout(settings.connect_timeout)
                .timeout(settings.request_timeout)
                .dns_resolver(GuardedResolver(settings.addresses.clone()))
                .https_only(!settings.addresses.insecure);
            if fresh {
                builder = builder.pool_max_idle_per_host(0);
            }
            if let Some(certificate) = &settings.certificate {
                builder = builder.identity(certificate.identity()?);
            }
            builder.tls_certs_only(roots.clone()).build()
        };
        let build = |fresh: bool| {
            build(fresh)
                .map_err(|e| Unusable(format!("the connection cannot be used: {}", chain(&e))))
        };
        let http = build(false)?;
        let auth = Auth::new(&settings.credentials, &http)?;
        let creates = if settings.fresh_creates {
            build(true)?
        } else {
            http.clone()
        };
        Ok(Self {
            base,
            http,
            creates,
            auth,
            fence: settings.fence.clone(),
        })
    }

    /// `POST /tenant`, unless the deadline has passed: then it is not sent.
    pub async fn create(&self, order: &Order, deadline: Instant) -> Result<Answer, VendorError> {
        let url = self.url(&[]);
        let request = self
            .creates
            .request(Method::POST, url)
            .header("Idempotency-Key", &order.external_id)
            .json(&wire::create_body(order));
        let (raw, secrets) = self.send(request, order, Some(deadline)).await?;
        let retry_after = retry_after(&raw.headers);
        if raw.status == StatusCode::CONFLICT {
            let tenant = wire::tenant(&raw.body, &secrets)
                .ok()
                .filter(|t| !t.id.is_empty());
            return Ok(Answer {
                said: Said::Exists(tenant.map(Box::new)),
                retry_after,
            });
        }
        interpret(&raw, &secrets, None)
    }

    /// `GET /tenant/{id}`
    pub async fn get(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(Method::GET, id, "", order, None).await
    }

    /// `GET /tenant?externalId=…`: every tenant of that name. Only a list says that there is none.
    pub async fn lookup(&self, external_id: &str, order: &Order) -> Result<Answer, VendorError> {
        let mut url = self.url(&[]);
        url.query_pairs_mut().append_pair("externalId", external_id);
        let request = self.http.request(Method::GET, url);
        let (raw, secrets) = self.send(request, order, None).await?;
        if raw.status != StatusCode::OK {
            // Anything else that is no failure is no list either.
            return match interpret(&raw, &secrets, None) {
                Ok(_) => Err(garbage(
                    raw.status,
                    "the vendor answered the lookup without a list".into(),
                )),
                Err(error) => Err(error),
            };
        }
        let found = wire::tenants(&raw.body, external_id, &secrets).map_err(|why| {
            garbage(
                raw.status,
                format!("the vendor answered the lookup with {why}"),
            )
        })?;
        Ok(Answer {
            said: Said::Found(found),
            retry_after: retry_after(&raw.headers),
        })
    }

    /// `PUT /tenant/{id}`; `parameters` says whether they go along with the limits.
    pub async fn change(
        &self,
        id: &str,
        order: &Order,
        parameters: bool,
    ) -> Result<Answer, VendorError> {
        self.call(
            Method::PUT,
            id,
            "",
            order,
            Some(wire::change_body(order, parameters)),
        )
        .await
    }

    /// `PUT /tenant/{id}/disable`
    pub async fn disable(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(Method::PUT, id, "disable", order, None).await
    }

    /// `PUT /tenant/{id}/enable`
    pub async fn enable(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(Method::PUT, id, "enable", order, None).await
    }

    /// `DELETE /tenant/{id}`
    pub async fn delete(&self, id: &str, order: &Order) -> Result<Answer, VendorError> {
        self.call(Method::DELETE, id, "", order, None).await
    }

    async fn call(
        &self,
        method: Method,
        id: &str,
        action: &str,
        order: &Order,
        body: Option<Map<String, Value>>,
    ) -> Result<Answer, VendorError> {
        if !wire::usable_id(id) {
            return Err(local("the tenant's id cannot stand in a URL"));
        }
        let path: Vec<&str> = [id, action].into_iter().filter(|s| !s.is_empty()).collect();
        let mut request = self.http.request(method, self.url(&path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (raw, secrets) = self.send(request, order, None).await?;
        interpret(&raw, &secrets, Some(id))
    }

    /// `<base>/tenant/<segments>`, each segment encoded as one.
    fn url(&self, segments: &[&str]) -> Url {
        let mut path = format!("{}/tenant", self.base.path().trim_end_matches('/'));
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, SEGMENT));
        }
        let mut url = self.base.clone();
        url.set_path(&path);
        url
    }

    /// The call with its credentials, once more with a newer token where the vendor refuses one that
    /// it may have known; and what must be masked in the answer.
    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        order: &Order,
        deadline: Option<Instant>,
    ) -> Result<(Raw, Secrets), VendorError> {
        let again = request.try_clone();
        let shown = self.auth.show().await?;
        let secrets = shown.secrets(&order.secrets);
        let raw = self.send_once(request, &shown, deadline, &secrets).await?;
        if raw.status == StatusCode::UNAUTHORIZED
            && let Some(again) = again
            && let Some(newer) = self.auth.renewed(&shown).await?
        {
            let secrets = newer.secrets_with(&shown, &order.secrets);
            let raw = self.send_once(again, &newer, deadline, &secrets).await?;
            return Ok((raw, secrets));
        }
        Ok((raw, secrets))
    }

    async fn send_once(
        &self,
        mut request: reqwest::RequestBuilder,
        shown: &Shown,
        deadline: Option<Instant>,
        secrets: &Secrets,
    ) -> Result<Raw, VendorError> {
        if let Some((name, value)) = &shown.header {
            request = request.header(name, value);
        }
        // After the token: it may have taken a while.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(local("the create was not sent in time; it is tried again"));
        }
        // The last look before the socket: a process that was stopped on the way here sends nothing
        // after another one took over.
        if !self.fence.holds() {
            return Err(local(
                "this replica does not lead any more: nothing was sent",
            ));
        }
        let response = request.send().await;
        let response = response.map_err(|e| transport(&e, VENDOR, secrets))?;
        shown.answered(response.status());
        receive(response, VENDOR, secrets).await
    }
}

/// Reads an answer's body, up to a limit. `who` answers, as messages name it.
pub(super) async fn receive(
    mut response: reqwest::Response,
    who: &str,
    secrets: &Secrets,
) -> Result<Raw, VendorError> {
    let mut body = Vec::new();
    let (status, headers) = (response.status(), response.headers().clone());
    while let Some(chunk) = response.chunk().await.map_err(|e| {
        let mut error = transport(&e, who, secrets);
        error.message = format!("the answer broke off: {}", error.message);
        error.effect = effect_of(status);
        error
    })? {
        if body.len() + chunk.len() > BODY {
            let mut error = garbage(
                status,
                format!("the answer of {who} is larger than {} KiB", BODY / 1024),
            );
            error.effect = effect_of(status);
            return Err(error);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Raw {
        status,
        headers,
        body,
    })
}

/// What an answer whose body is of no use says about the effect: its status alone.
fn effect_of(status: StatusCode) -> Effect {
    if status.is_success() {
        Effect::Unknown
    } else {
        classify(status.as_u16()).1
    }
}

/// What an answer means, for every operation but the conflict of a create. `known` is the id asked
/// for; without it the call was a create.
fn interpret(raw: &Raw, secrets: &Secrets, known: Option<&str>) -> Result<Answer, VendorError> {
    let retry_after = retry_after(&raw.headers);
    let answer = |said| Ok(Answer { said, retry_after });
    match raw.status.as_u16() {
        404 | 410 if known.is_some() => answer(Said::Absent),
        202 => answer(Said::Accepted(
            body_tenant(raw, secrets, known)?.map(Box::new),
        )),
        200..=299 => answer(match body_tenant(raw, secrets, known)? {
            Some(tenant) => Said::Tenant(Box::new(tenant)),
            None => Said::Done,
        }),
        status => {
            let (class, effect) = classify(status);
            let (code, said, parameters) = wire::error(&raw.body, content_type(raw), secrets);
            let hint = if raw.status.is_redirection() {
                "; redirects are not followed"
            } else {
                ""
            };
            let said = if said.is_empty() || raw.body.is_empty() {
                String::new()
            } else {
                format!(": {said}")
            };
            Err(VendorError {
                class,
                effect,
                retry_after,
                status: Some(status),
                code,
                message: format!("the vendor answered {}{said}{hint}", raw.status),
                parameters,
            })
        }
    }
}

/// The tenant in a successful answer; `None` for an empty body.
fn body_tenant(
    raw: &Raw,
    secrets: &Secrets,
    known: Option<&str>,
) -> Result<Option<super::Tenant>, VendorError> {
    if raw.body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let mut tenant = wire::tenant(&raw.body, secrets).map_err(|why| {
        let kind = content_type(raw);
        let why = if kind.contains("html") {
            "an HTML page".to_owned()
        } else {
            why
        };
        garbage(
            raw.status,
            format!("the vendor answered {} with {why}", raw.status),
        )
    })?;
    match known {
        Some(known) if tenant.id.is_empty() => known.clone_into(&mut tenant.id),
        Some(known) if tenant.id != known => {
            return Err(garbage(
                raw.status,
                "the vendor answered with another tenant".into(),
            ));
        }
        None if tenant.id.is_empty() => return Ok(None),
        Some(_) | None => {}
    }
    Ok(Some(tenant))
}

fn garbage(status: StatusCode, message: String) -> VendorError {
    VendorError {
        class: Class::Transient,
        effect: Effect::Unknown,
        retry_after: None,
        status: Some(status.as_u16()),
        code: String::new(),
        message,
        parameters: Vec::new(),
    }
}

/// A call that was not sent.
fn local(message: &str) -> VendorError {
    VendorError {
        class: Class::Transient,
        effect: Effect::None,
        retry_after: None,
        status: None,
        code: String::new(),
        message: message.into(),
        parameters: Vec::new(),
    }
}

/// A call that failed on the way. Name, connection and TLS failures come before the first byte of
/// the request. `who` did not answer, as messages name it.
pub(super) fn transport(error: &reqwest::Error, who: &str, secrets: &Secrets) -> VendorError {
    if let Some(alert) = refused_certificate(error) {
        let what = if alert == AlertDescription::CertificateRequired {
            format!("{who} asks for a client certificate: name one in tls.clientCertificateRef")
        } else {
            format!("{who} refuses the client certificate: {}", root(error))
        };
        return VendorError {
            class: Class::Auth,
            message: secrets.clean(&what, SHOWN),
            ..local("")
        };
    }
    let what = if error.is_connect() {
        format!("{who} cannot be reached")
    } else if error.is_timeout() {
        format!("{who} did not answer in time")
    } else {
        format!("the call to {who} broke off")
    };
    VendorError {
        effect: if error.is_connect() || error.is_builder() {
            Effect::None
        } else {
            Effect::Unknown
        },
        message: secrets.clean(&format!("{what}: {}", root(error)), SHOWN),
        ..local("")
    }
}

/// The alert by which a server refuses our certificate, or the lack of one. With TLS 1.3 it comes
/// after our side of the handshake, when the request may be on its way already; but a server
/// reads no request before it knows its client, so nothing happened.
fn refused_certificate(error: &reqwest::Error) -> Option<AlertDescription> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(|io| {
            let inner = io.get_ref()?;
            inner.downcast_ref::<rustls::Error>()
        });
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            return matches!(
                alert,
                AlertDescription::CertificateRequired
                    | AlertDescription::BadCertificate
                    | AlertDescription::UnsupportedCertificate
                    | AlertDescription::CertificateRevoked
                    | AlertDescription::CertificateExpired
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::UnknownCA
                    | AlertDescription::AccessDenied
                    | AlertDescription::DecryptError
            )
            .then_some(*alert);
        }
        cause = error.source();
    }
    None
}

/// The innermost cause: the outer ones only repeat where it happened.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// The authorities to trust: the connection's own, or the public ones. Those are built in, as the
/// operator's image holds nothing but the operator.
fn roots(is_https: bool, bundle: Option<&[u8]>) -> Result<Vec<reqwest::Certificate>, Unusable> {
    let Some(bundle) = bundle else {
        let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter(|_| is_https);
        return Ok(public
            .filter_map(|der| reqwest::Certificate::from_der(der).ok())
            .collect());
    };
    let roots = reqwest::Certificate::from_pem_bundle(bundle)
        .map_err(|e| Unusable(format!("tls.caBundle is not PEM: {e}")))?;
    if roots.is_empty() {
        return Err(Unusable("tls.caBundle holds no certificate".into()));
    }
    Ok(roots)
}

/// A URL that may be called; `field` is the connection's, for the message.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn checked_url(field: &str, text: &str, addresses: &AddressPolicy) -> Result<Url, Unusable> {
    let url = Url::parse(text).map_err(|e| Unusable(format!("{field} {text} is no URL: {e}")))?;
    match url.scheme() {
        "https" => {}
        "http" if addresses.insecure => {}
        "http" => {
            return Err(Unusable(format!(
                "{field} {text} is plain http: use https, or start the operator with --allow-insecure-vendor-urls for development"
            )));
        }
        _ => {
            return Err(Unusable(format!(
                "{field} {text} is neither https nor http"
            )));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Unusable(format!(
            "{field} holds a user or password: put them into auth"
        )));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) => None,
        None => return Err(Unusable(format!("{field} {text} names no host"))),
    };
    if let Some(address) = literal {
        addresses
            .check(address)
            .map_err(|e| Unusable(format!("{field}: {e}")))?;
    }
    Ok(url)
}

fn content_type(raw: &Raw) -> &str {
    raw.headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// `Retry-After` in both its forms, capped.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            let seconds = at.as_second() - crate::pace::now().as_second();
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }
    };
    Some(wait.min(RETRY_AFTER))
}
