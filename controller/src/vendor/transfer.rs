//! One call on its way, to the vendor or to its token endpoint: the answer as it came, bounded in size
//! and in what it can make us wait, and what it means where none came.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode, header};
use k8s_openapi::jiff::fmt::rfc2822;
use rustls::AlertDescription;

use crate::metrics::Meter;

use super::{
    Class, Effect, VendorError,
    error::classify,
    last_look::{LastLook, stopped},
    text::{SHOWN, Secrets},
};

/// The largest body that is read.
const BODY: usize = 256 * 1024;
/// The longest a vendor can make us wait.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// A raw answer, its body read and capped.
pub(super) struct Raw {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Makes one call and counts it, if it may go. `who` answers, as messages name it.
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    look: Option<LastLook>,
    (operation, meter): (&'static str, &Meter),
    who: &str,
    secrets: &Secrets,
) -> Result<Raw, VendorError> {
    if let Some(look) = &look {
        look.may_go().map_err(|why| local(&why.to_string()))?;
    }
    let began = Instant::now();
    let answer = match send(request, look).await {
        Ok(response) => receive(response, who, secrets).await,
        Err(error) => Err(transport(&error, who, secrets)),
    };
    let status = match &answer {
        Ok(raw) => Some(raw.status.as_u16()),
        Err(error) => error.status,
    };
    meter.called(operation, status, began.elapsed());
    answer
}

async fn send(
    request: reqwest::RequestBuilder,
    look: Option<LastLook>,
) -> reqwest::Result<reqwest::Response> {
    let (client, request) = request.build_split();
    let mut request = request?;
    if let Some(look) = look {
        look.over(&mut request);
    }
    client.execute(request).await
}

/// Reads an answer's body, up to a limit.
async fn receive(
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

/// A success that says nothing.
pub(super) fn garbage(status: StatusCode, message: String) -> VendorError {
    VendorError {
        class: Class::Transient,
        effect: Effect::Unknown,
        retry_after: None,
        status: Some(status.as_u16()),
        code: String::new(),
        message,
        parameters: Vec::new(),
        unsent: false,
    }
}

/// A call that the operator did not send.
pub(super) fn local(message: &str) -> VendorError {
    VendorError {
        class: Class::Transient,
        effect: Effect::None,
        retry_after: None,
        status: None,
        code: String::new(),
        message: message.into(),
        parameters: Vec::new(),
        unsent: true,
    }
}

/// A call that failed on the way. Name, connection and TLS failures come before the first byte of
/// the request. `who` did not answer, as messages name it.
fn transport(error: &reqwest::Error, who: &str, secrets: &Secrets) -> VendorError {
    if let Some(alert) = refused_certificate(error) {
        let what = if alert == AlertDescription::CertificateRequired {
            format!("{who} asks for a client certificate: name one in tls.clientCertificateRef")
        } else {
            format!("{who} refuses the client certificate: {}", root(error))
        };
        return VendorError {
            class: Class::Auth,
            message: secrets.clean(&what, SHOWN),
            unsent: false,
            ..local("")
        };
    }
    if let Some(why) = stopped(error) {
        return local(&why.to_string());
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
        unsent: false,
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

/// What kind of body it says it has.
pub(super) fn content_type(raw: &Raw) -> &str {
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
