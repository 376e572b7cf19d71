//! The certificate that is shown to a vendor who asks for one.

use rustls::{
    Error, InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};

/// A client certificate and its private key, which belong together. Cannot be printed.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Both, in PEM.
    pem: SecretString,
}

/// What is wrong with a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is no certificate.
    #[error("holds no certificate in PEM that can be used")]
    Certificate,
    /// It is no key.
    #[error("holds no private key in PEM that can be used (an encrypted one cannot)")]
    Key,
    /// They are of two pairs.
    #[error("is not the private key of the certificate")]
    Apart,
}

impl ClientCertificate {
    /// Checks the two, so that what is wrong is known before a vendor says it.
    ///
    /// # Errors
    ///
    /// Says which of the two cannot be used.
    pub fn new(chain: &SecretString, key: &SecretString) -> Result<Self, Wrong> {
        let (chain, key) = (chain.expose_secret(), key.expose_secret());
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| Wrong::Certificate)?;
        if certificates.is_empty() {
            return Err(Wrong::Certificate);
        }
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Wrong::Key)?;
        let provider = rustls::crypto::ring::default_provider();
        match CertifiedKey::from_der(certificates, private, &provider) {
            Ok(_) => Ok(Self {
                pem: format!("{chain}\n{key}\n").into(),
            }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(Wrong::Apart),
            Err(Error::InvalidCertificate(_)) => Err(Wrong::Certificate),
            Err(_) => Err(Wrong::Key),
        }
    }

    /// As the HTTP client takes it.
    pub(super) fn identity(&self) -> reqwest::Result<reqwest::Identity> {
        reqwest::Identity::from_pem(self.pem.expose_secret().as_bytes())
    }
}
