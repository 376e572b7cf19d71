//! What the vendor is started with.

use crate::{Behavior, Callbacks, Defect, Dialect, oauth::Tokens};
use data_encoding::BASE64;
use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
};
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, path::PathBuf};

/// What the vendor is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database file; without one everything is kept in memory and lost at the end.
    pub database: Option<PathBuf>,
    /// Wait for the disk at each commit. Without it nothing is lost when the process dies, but a
    /// power cut may lose the last seconds.
    pub fsync: bool,
    /// Where browsers reach the vendor; by default where it listens.
    pub public_url: Option<String>,
    /// How callers of the tenant API prove who they are.
    pub auth: Auth,
    /// What the vendor offers so that a repeated create makes no second tenant.
    pub identity: Identity,
    /// What its tenant API looks like on the wire.
    pub dialect: Dialect,
    /// How the vendor behaves at first.
    pub behavior: Behavior,
    /// The promises that it breaks.
    pub defects: Vec<Defect>,
    /// Serve HTTPS.
    pub tls: Option<Tls>,
    /// Call back where an order says so.
    pub callbacks: Option<Callbacks>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: None,
            fsync: false,
            public_url: None,
            auth: Auth::None,
            identity: Identity::ExternalId,
            dialect: Dialect::Canonical,
            behavior: Behavior::default(),
            defects: Vec::new(),
            tls: None,
            callbacks: None,
        }
    }
}

impl Config {
    /// A vendor that speaks this dialect and has the identity mode that goes with it.
    #[must_use]
    pub fn in_dialect(dialect: Dialect) -> Self {
        Self {
            dialect,
            identity: dialect.identity(),
            ..Self::default()
        }
    }
}

/// The files HTTPS needs, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain, the server's own first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities of whose certificates a client must show one; without them it need not.
    pub client_authorities: Option<PathBuf>,
}

/// What the vendor offers so that a repeated create makes no second tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// `externalId` is unique for ever; a repeated create answers 409 with the tenant.
    ExternalId,
    /// A repeated `Idempotency-Key` replays the first answer.
    IdempotencyKey,
    /// `GET /tenant?externalId=…` finds tenants; nothing is unique.
    Lookup,
    /// Nothing: each create makes a tenant.
    None,
}

impl Identity {
    /// Whether tenants can be looked up by their external id.
    pub(crate) fn has_lookup(self) -> bool {
        matches!(self, Self::ExternalId | Self::Lookup)
    }
}

/// How callers of the tenant API prove who they are.
#[derive(Clone, Default)]
pub enum Auth {
    /// They need not.
    #[default]
    None,
    /// `Authorization: Bearer …`.
    Bearer(String),
    /// `Authorization: Basic …`.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// A header of its own.
    ApiKey {
        /// The header's name.
        header: HeaderName,
        /// The key.
        key: String,
    },
    /// `Authorization: Bearer …` with a token that `POST /oauth2/token` gives to whoever shows the
    /// client's secret.
    OAuth2 {
        /// The client's id.
        client: String,
        /// Its secret.
        secret: String,
    },
}

impl Auth {
    pub(crate) fn permits(&self, headers: &HeaderMap, tokens: &Tokens) -> bool {
        let (header, expected) = match self {
            Self::None => return true,
            Self::OAuth2 { .. } => return tokens.permit(headers),
            Self::Bearer(token) => (&AUTHORIZATION, format!("Bearer {token}")),
            Self::Basic { user, password } => {
                let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
                (&AUTHORIZATION, format!("Basic {pair}"))
            }
            Self::ApiKey { header, key } => (header, key.clone()),
        };
        headers
            .get(header)
            .is_some_and(|given| same(given.as_bytes(), expected.as_bytes()))
    }

    /// What `WWW-Authenticate` says to a caller that is not permitted.
    pub(crate) fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::None | Self::ApiKey { .. } => None,
            Self::Bearer(_) | Self::OAuth2 { .. } => Some("Bearer"),
            Self::Basic { .. } => Some("Basic realm=\"tenant API\""),
        }
    }

    /// Whether the header's value must not be recorded.
    pub(crate) fn is_secret(&self, header: &HeaderName) -> bool {
        let own = matches!(self, Self::ApiKey { header: own, .. } if own == header);
        own || [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(header)
            || header.as_str().contains("api-key")
    }
}

/// Compares without stopping at the first difference, so that the time taken tells nothing.
pub(crate) fn same(given: &[u8], expected: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(expected)
        .fold(0, |all, (one, other)| all | (one ^ other));
    differences == 0 && given.len() == expected.len()
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(…)",
            Self::Basic { .. } => "Basic(…)",
            Self::ApiKey { .. } => "ApiKey(…)",
            Self::OAuth2 { .. } => "OAuth2(…)",
        })
    }
}
