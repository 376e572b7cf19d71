//! A blocking HTTP client for the harness' own looks.

use reqwest::{Certificate, blocking::Client};
use std::{sync::OnceLock, time::Duration};

/// For plain http on the loopback interface.
pub(crate) fn plain() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| client(None))
}

/// For an API server with this certificate authority.
pub(crate) fn trusting(ca_pem: &str) -> Client {
    client(Some(ca_pem))
}

fn client(ca_pem: Option<&str>) -> Client {
    // A second call would only say that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = ca_pem.map(|pem| Certificate::from_pem(pem.as_bytes()).unwrap());
    Client::builder()
        .no_proxy()
        .tls_certs_only(ca)
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}
