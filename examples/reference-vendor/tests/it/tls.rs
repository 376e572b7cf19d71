//! HTTPS with a certificate of one's own.

use crate::support::{Vendor, builder};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reference_vendor::{Config, Tls};

#[tokio::test]
async fn https() {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let certificates = file("certificate.pem", own.pem());
    let tls = Tls {
        certificates: certificates.clone(),
        key: file("key.pem", key.serialize_pem()),
        client_authorities: None,
    };
    let vendor = Vendor::with(Config {
        tls: Some(tls),
        ..Config::default()
    })
    .await;
    assert!(vendor.url.starts_with("https://127.0.0.1:"));

    let trusted = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let http = builder().tls_certs_only([trusted]).build().unwrap();
    let vendor = Vendor { http, ..vendor };
    vendor.create("a").await;
    vendor
        .fault("GET", serde_json::json!({"closeAfter": true}))
        .await;
    assert!(
        vendor
            .request("GET", "/tenant/t-1001")
            .send()
            .await
            .is_err()
    );
    assert_eq!(vendor.get("/tenant/t-1001").await.status, 200);

    // Nobody else's authority will do.
    let other = CertifiedIssuer::self_signed(
        CertificateParams::new([]).unwrap(),
        KeyPair::generate().unwrap(),
    );
    let other = reqwest::Certificate::from_pem(other.unwrap().pem().as_bytes()).unwrap();
    let http = builder().tls_certs_only([other]).build().unwrap();
    assert!(http.get(&vendor.url).send().await.is_err());

    let wrong = Tls {
        certificates,
        key: file("no.pem", "no key".to_owned()),
        client_authorities: None,
    };
    let config = Config {
        tls: Some(wrong),
        ..Config::default()
    };
    assert!(reference_vendor::start(config).await.is_err());
}

#[tokio::test]
async fn a_client_shows_a_certificate_where_it_is_asked_for_one() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let own = own.signed_by(&key, &ours).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let tls = Tls {
        certificates: file("certificate.pem", own.pem()),
        key: file("key.pem", key.serialize_pem()),
        client_authorities: Some(file("clients.pem", ours.pem())),
    };
    let vendor = Vendor::with(Config {
        tls: Some(tls),
        ..Config::default()
    })
    .await;
    let trusting = || {
        let ca = reqwest::Certificate::from_pem(ours.pem().as_bytes()).unwrap();
        builder().tls_certs_only([ca])
    };
    let showing = |authority: &CertifiedIssuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        let pem = params.signed_by(&key, authority).unwrap().pem() + &key.serialize_pem();
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        trusting().identity(identity).build().unwrap()
    };
    let url = format!("{}/tenant/x", vendor.url);
    let status = showing(&ours).get(&url).send().await.unwrap().status();
    assert_eq!(status, 404);
    assert!(showing(&theirs).get(&url).send().await.is_err());
    assert!(trusting().build().unwrap().get(&url).send().await.is_err());
}
