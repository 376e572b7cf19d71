//! A create whose way to the socket takes longer than it may: the connection stands and has shaken
//! hands, and nothing is sent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod settings;
mod socket;

use std::{sync::Arc, time::Duration};

use fulfillment_operator::vendor::{Credentials, Effect, Order, VendorClient, client::Settings};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use settings::settings;
use socket::read_request;
use tokio::{net::TcpListener, time::Instant};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// One call that may be sent for so long, to a server that shakes hands after `wait`; what the client
/// says, and what the server read.
async fn create(
    wait: Duration,
    allowed: Duration,
) -> (Result<(), (bool, Effect, String)>, Option<String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let client = VendorClient::new(&Settings {
        ca: Some(cert.pem().into_bytes()),
        connect_timeout: Duration::from_secs(20),
        ..settings(&url, Credentials::None)
    })
    .unwrap();
    let order = Order {
        external_id: "k1-x".into(),
        product: "mail-pro".into(),
        ..Order::default()
    };
    let began = Instant::now();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::time::sleep_until(began + wait).await;
        let mut socket = TlsAcceptor::from(Arc::new(tls))
            .accept(socket)
            .await
            .unwrap();
        read_request(&mut socket).await
    });
    let answer = client.create(&order, began + allowed).await;
    drop(client);
    let answer = answer
        .map(|_| ())
        .map_err(|e| (e.unsent, e.effect, e.message));
    let read = tokio::time::timeout(Duration::from_secs(20), server).await;
    (answer, read.unwrap().unwrap())
}

#[tokio::test]
async fn a_create_that_is_late_after_the_handshake_is_not_sent() {
    // Longer than a busy machine needs to connect.
    let deadline = Duration::from_secs(2);
    let (answer, read) = create(deadline, deadline).await;
    let (unsent, effect, message) = answer.unwrap_err();
    assert_eq!((unsent, effect), (true, Effect::None));
    assert!(message.contains("not sent in time"), "{message}");
    assert_eq!(read, None, "nothing was sent");
}

#[tokio::test]
async fn a_create_that_is_in_time_is_sent_whole() {
    let (answer, read) = create(Duration::ZERO, Duration::from_secs(60)).await;
    // The server hangs up when it has read.
    assert_eq!(answer.unwrap_err().1, Effect::Unknown);
    let request = read.unwrap();
    assert!(request.contains("content-length: "), "{request}");
    assert!(!request.contains("transfer-encoding"), "{request}");
    assert!(request.contains("k1-x"), "{request}");
}
