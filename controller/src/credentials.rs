//! What the Secrets of a connection hold: named, read, checked and hashed. A message names the
//! Secret and the key that is wrong.

use std::collections::{BTreeMap, BTreeSet};

use fulfillment_crds::{Auth, ClientAuthentication, KeyRef, OAuth2Auth, VendorConnectionSpec};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    inputs::secret_key,
    vendor::{
        Credentials,
        certificate::{ClientCertificate, Wrong},
        client::checked_url,
        guard::AddressPolicy,
        oauth::Grant,
    },
};

/// The Secrets a connection names, as they are; `None` for one that is not there.
pub type Secrets = BTreeMap<String, Option<Secret>>;

/// What to call a vendor with.
#[derive(Clone, Debug)]
pub struct Keys {
    /// How to authenticate.
    pub credentials: Credentials,
    /// What to show to a vendor who asks for a certificate.
    pub certificate: Option<ClientCertificate>,
    /// Every secret part by Secret and key, and what `auth` says of them, to be hashed: when one
    /// changes, a back-off ends.
    pub parts: BTreeMap<String, SecretString>,
}

impl Keys {
    /// The Secrets that they stand in.
    pub fn secret_names(&self) -> Vec<&str> {
        let parts = self.parts.keys();
        let mut names: Vec<&str> = parts
            .filter_map(|part| Some(part.split_once('/')?.0))
            .collect();
        names.dedup();
        names
    }
}

/// The Secrets a connection names.
pub fn secret_names(spec: &VendorConnectionSpec) -> BTreeSet<&str> {
    let auth = spec.auth.as_ref();
    let certificate = spec
        .tls
        .as_ref()
        .and_then(|tls| tls.client_certificate_ref.as_ref());
    let bearer = auth.and_then(|a| a.bearer.as_ref().map(|a| &a.secret_ref.name));
    let basic = auth.and_then(|a| a.basic.as_ref().map(|a| &a.secret_ref.name));
    let api_key = auth.and_then(|a| a.api_key.as_ref().map(|a| &a.secret_ref.name));
    let oauth2 = auth.and_then(|a| a.oauth2.as_ref().map(|a| &a.client_secret_ref.name));
    let certificate = certificate.map(|reference| &reference.name);
    let callback = callback_key(spec).map(|key| &key.name);
    [bearer, basic, api_key, oauth2, certificate, callback]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect()
}

/// The key that callbacks are signed with, where the connection names one.
fn callback_key(spec: &VendorConnectionSpec) -> Option<&KeyRef> {
    spec.callback.as_ref()?.secret_ref.as_ref()
}

/// Why callbacks cannot be proved to be the vendor's, if they cannot. Calls go on without.
pub fn callback_lacks(spec: &VendorConnectionSpec, secrets: &Secrets) -> Option<String> {
    let key = callback_key(spec)?;
    let secret = secrets.get(&key.name).and_then(Option::as_ref);
    let why = secret_key(secret, key).err()?;
    Some(format!("no callback is taken: {why}"))
}

/// What a connection says to call its vendor with.
///
/// # Errors
///
/// Says what is missing or cannot be used, and where.
pub fn keys(
    spec: &VendorConnectionSpec,
    secrets: &Secrets,
    addresses: &AddressPolicy,
) -> Result<Keys, String> {
    let mut parts = BTreeMap::new();
    let mut read = |key: &KeyRef| {
        let secret = secrets.get(&key.name).and_then(Option::as_ref);
        let value = secret_key(secret, key)?;
        parts.insert(format!("{}/{}", key.name, key.key), value.clone());
        Ok::<_, String>(value)
    };
    let credentials = match &spec.auth {
        Some(auth) => credentials(auth, &mut read, addresses)?,
        None => Credentials::None,
    };
    let reference = spec
        .tls
        .as_ref()
        .and_then(|tls| tls.client_certificate_ref.as_ref());
    let certificate = match reference {
        Some(reference) => Some(certificate(&reference.name, &mut read)?),
        None => None,
    };
    if let Some(auth) = &spec.auth {
        // A client's id and whom it is shown to stand in no Secret.
        let auth = serde_json::json!(auth).to_string();
        parts.insert("auth".into(), auth.into());
    }
    Ok(Keys {
        credentials,
        certificate,
        parts,
    })
}

fn credentials(
    auth: &Auth,
    read: &mut impl FnMut(&KeyRef) -> Result<SecretString, String>,
    addresses: &AddressPolicy,
) -> Result<Credentials, String> {
    if let Some(bearer) = &auth.bearer {
        let token = read(&bearer.secret_ref)?;
        return Ok(Credentials::Bearer(for_header(&bearer.secret_ref, token)?));
    }
    if let Some(basic) = &auth.basic {
        let user = read(&key_of(&basic.secret_ref.name, "username"))?;
        let password = read(&key_of(&basic.secret_ref.name, "password"))?;
        return Ok(Credentials::Basic(
            user.expose_secret().to_owned(),
            password,
        ));
    }
    if let Some(api_key) = &auth.api_key {
        let header = HeaderName::from_bytes(api_key.header.as_bytes())
            .map_err(|_| format!("auth.apiKey.header {} is no header name", api_key.header))?;
        let value = read(&api_key.secret_ref)?;
        let value = for_header(&api_key.secret_ref, value)?;
        return Ok(Credentials::Header(header, value));
    }
    if let Some(oauth2) = &auth.oauth2 {
        let secret = read(&oauth2.client_secret_ref)?;
        return grant(oauth2, secret, addresses).map(Credentials::OAuth2);
    }
    Ok(Credentials::None)
}

fn grant(
    oauth2: &OAuth2Auth,
    client_secret: SecretString,
    addresses: &AddressPolicy,
) -> Result<Grant, String> {
    let url = checked_url("auth.oauth2.tokenUrl", &oauth2.token_url, addresses)
        .map_err(|why| why.to_string())?;
    Ok(Grant {
        url,
        client_id: oauth2.client_id.clone(),
        client_secret,
        scopes: oauth2.scopes.clone(),
        audience: oauth2.audience.clone(),
        in_body: oauth2.client_authentication == ClientAuthentication::Body,
    })
}

fn certificate(
    secret: &str,
    read: &mut impl FnMut(&KeyRef) -> Result<SecretString, String>,
) -> Result<ClientCertificate, String> {
    const CERTIFICATE: &str = "tls.crt";
    const KEY: &str = "tls.key";
    let chain = read(&key_of(secret, CERTIFICATE))?;
    let key = read(&key_of(secret, KEY))?;
    ClientCertificate::new(&chain, &key).map_err(|wrong| {
        let at = match wrong {
            Wrong::Certificate => CERTIFICATE,
            Wrong::Key | Wrong::Apart => KEY,
        };
        format!("key {at} of Secret {secret} {wrong}")
    })
}

fn key_of(secret: &str, key: &str) -> KeyRef {
    KeyRef {
        name: secret.to_owned(),
        key: key.to_owned(),
    }
}

/// A value that is sent in a header as it is.
fn for_header(key: &KeyRef, value: SecretString) -> Result<SecretString, String> {
    if HeaderValue::from_str(value.expose_secret()).is_err() {
        return Err(format!(
            "key {} of Secret {} holds characters that cannot stand in a header (a line break at its end, perhaps)",
            key.key, key.name
        ));
    }
    Ok(value)
}
