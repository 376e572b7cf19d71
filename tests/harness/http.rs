//! A blocking HTTP client for the harness' own looks.

use control_plane::ControlPlane;
use reqwest::{Certificate, Identity, blocking::Client};
use std::{sync::OnceLock, time::Duration};

/// For plain http on the loopback interface.
pub(crate) fn plain() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| client(None, None))
}

/// Posts to a server on the loopback interface; what it answers.
pub fn post(url: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut request = plain().post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

/// For an API server with this certificate authority.
pub(crate) fn trusting(ca_pem: &str) -> Client {
    client(Some(ca_pem), None)
}

/// For a server with a certificate of the control plane's authority that may ask for one itself:
/// `identity` is a certificate with its key.
pub(crate) fn showing(plane: &ControlPlane, identity: Option<&str>) -> Client {
    client(Some(plane.ca_pem()), identity)
}

fn client(ca_pem: Option<&str>, identity: Option<&str>) -> Client {
    // A second call would only say that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = ca_pem.map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
    let mut builder = Client::builder()
        .no_proxy()
        .tls_certs_only(ca)
        .timeout(Duration::from_secs(30));
    if let Some(pem) = identity {
        builder = builder.identity(Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}
