//! The control plane's keys and certificates, made anew for each.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;

pub(crate) struct Pki {
    pub(crate) ca_pem: String,
    pub(crate) ca_der: CertificateDer<'static>,
    /// For 127.0.0.1 and localhost.
    pub(crate) serving_pem: String,
    pub(crate) serving_key_pem: String,
    /// What ServiceAccount tokens are signed with.
    pub(crate) service_account_key_pem: String,
    /// What they are checked with; kube-apiserver does not derive it from a PKCS #8 key.
    pub(crate) service_account_public_key_pem: String,
}

impl Pki {
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name
            .push(DnType::CommonName, "control-plane CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        let ca_certificate = ca.self_signed(&ca_key)?;

        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut serving = CertificateParams::new(names)?;
        serving
            .distinguished_name
            .push(DnType::CommonName, "control-plane");
        serving.use_authority_key_identifier_extension = true;
        serving.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let serving_key = KeyPair::generate()?;
        let serving_certificate = serving.signed_by(&serving_key, &Issuer::new(ca, &ca_key))?;

        let service_account_key = KeyPair::generate()?;

        Ok(Self {
            ca_pem: ca_certificate.pem(),
            ca_der: ca_certificate.der().clone(),
            serving_pem: serving_certificate.pem(),
            serving_key_pem: serving_key.serialize_pem(),
            service_account_key_pem: service_account_key.serialize_pem(),
            service_account_public_key_pem: service_account_key.public_key_pem(),
        })
    }
}
