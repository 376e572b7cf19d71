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
    };
    let config = Config {
        tls: Some(wrong),
        ..Config::default()
    };
    assert!(reference_vendor::start(config).await.is_err());
}
