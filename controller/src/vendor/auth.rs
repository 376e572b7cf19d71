//! What a call shows to say who makes it: a header that stays as it is, or a token that is renewed.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use crate::metrics::Meter;

use super::{
    VendorError,
    client::Unusable,
    oauth::{Grant, Token, Tokens},
    text::Secrets,
};

/// How a request is authenticated. Cannot be printed.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Not at all.
    None,
    /// `Authorization: Bearer`.
    Bearer(SecretString),
    /// `Authorization: Basic`.
    Basic(String, SecretString),
    /// A header of the vendor's choice.
    Header(HeaderName, SecretString),
    /// `Authorization: Bearer`, with a token that a token endpoint gives.
    OAuth2(Grant),
}

/// Credentials as a client holds them.
#[derive(Debug)]
pub(super) enum Auth {
    Fixed(Shown),
    Tokens(Arc<Tokens>),
}

/// What one call shows, and what must never be shown of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    secrets: Vec<SecretString>,
    token: Option<Arc<Token>>,
}

impl Auth {
    /// `http` is what the token endpoint is asked with, and `meter` counts how often.
    pub(super) fn new(
        credentials: &Credentials,
        http: &reqwest::Client,
        meter: &Meter,
    ) -> Result<Self, Unusable> {
        let (name, text, secrets) = match credentials {
            Credentials::None => return Ok(Self::Fixed(Shown::default())),
            Credentials::OAuth2(grant) => {
                return Ok(Self::Tokens(Arc::new(Tokens::new(
                    grant,
                    http.clone(),
                    meter.clone(),
                )?)));
            }
            Credentials::Bearer(token) => (
                header::AUTHORIZATION,
                format!("Bearer {}", token.expose_secret()),
                vec![token.clone()],
            ),
            Credentials::Basic(user, password) => {
                let pair = format!("{user}:{}", password.expose_secret());
                let encoded = data_encoding::BASE64.encode(pair.as_bytes());
                (
                    header::AUTHORIZATION,
                    format!("Basic {encoded}"),
                    vec![password.clone(), encoded.into()],
                )
            }
            Credentials::Header(name, value) => (
                name.clone(),
                value.expose_secret().to_owned(),
                vec![value.clone()],
            ),
        };
        let value = sensitive(&text).ok_or_else(|| {
            Unusable::new("the Secret named in auth holds characters that cannot stand in a header")
        })?;
        Ok(Self::Fixed(Shown {
            header: Some((name, value)),
            secrets,
            token: None,
        }))
    }

    /// What to show now; a token is fetched where there is none that is good.
    pub(super) async fn show(&self) -> Result<Shown, VendorError> {
        match self {
            Self::Fixed(shown) => Ok(shown.clone()),
            Self::Tokens(tokens) => Ok(Self::by(tokens, tokens.token().await?)),
        }
    }

    /// What to show instead of what was answered with 401; `None` where nothing better is to be had.
    pub(super) async fn renewed(&self, refused: &Shown) -> Result<Option<Shown>, VendorError> {
        match (self, &refused.token) {
            (Self::Tokens(tokens), Some(token)) => {
                let newer = tokens.instead_of(token).await?;
                Ok(newer.map(|token| Self::by(tokens, token)))
            }
            (Self::Fixed(_), _) | (Self::Tokens(_), None) => Ok(None),
        }
    }

    fn by(tokens: &Tokens, token: Arc<Token>) -> Shown {
        let mut secrets = tokens.secrets.clone();
        secrets.push(token.value.clone());
        Shown {
            header: Some((header::AUTHORIZATION, token.header.clone())),
            secrets,
            token: Some(token),
        }
    }
}

impl Shown {
    /// Everything that must be masked in the answer to a call that shows this.
    pub(super) fn secrets(&self, more: &[SecretString]) -> Secrets {
        Secrets::new(self.secrets.iter().chain(more).cloned())
    }

    /// The same for a call that shows two, one after the other.
    pub(super) fn secrets_with(&self, other: &Self, more: &[SecretString]) -> Secrets {
        let all = self.secrets.iter().chain(&other.secrets);
        Secrets::new(all.chain(more).cloned())
    }

    /// Learns from an answer whether the vendor takes the token.
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(token) = &self.token
            && status != StatusCode::UNAUTHORIZED
            && !status.is_server_error()
        {
            token.worked();
        }
    }
}

/// A header's value that is printed nowhere.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
