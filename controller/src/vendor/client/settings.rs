//! What a client is made of, and whether it can be.

use std::time::Duration;

use fulfillment_crds::Product;
use url::{Host, Url};

use super::VendorClient;
use crate::{
    lease::Fence,
    metrics::Meter,
    vendor::{
        Credentials,
        auth::Auth,
        certificate::ClientCertificate,
        dialect::Dialect,
        guard::{AddressPolicy, GuardedResolver},
    },
};

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
    /// What the vendor's API says in other words than the canonical one.
    pub dialect: Option<fulfillment_crds::Dialect>,
    /// Its products, which may say where in bodies their limits and parameters stand.
    pub products: Vec<Product>,
    /// Whether this process may act: asked right before each call is sent.
    pub fence: Fence,
    /// Counts the calls.
    pub meter: Meter,
}

/// Why a connection's settings cannot be used. The message names the field and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Unusable {
    pub(in crate::vendor) fn new(why: &str) -> Self {
        Self(why.into())
    }
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
        let auth = Auth::new(&settings.credentials, &http, &settings.meter)?;
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
            dialect: Dialect::new(settings.dialect.as_ref(), &settings.products)
                .map_err(Unusable)?,
            fence: settings.fence.clone(),
            meter: settings.meter.clone(),
            record: None,
            names: settings.products.iter().map(names).collect(),
        })
    }
}

/// The names that a product's definition gives.
fn names(product: &Product) -> (String, Vec<String>) {
    let limits = product.limits.iter().map(|limit| &limit.name);
    let parameters = product.parameters.iter().map(|parameter| &parameter.name);
    let names = limits.chain(parameters).cloned().collect();
    (product.name.clone(), names)
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
