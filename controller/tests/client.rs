//! The vendor client against a real HTTP server that says exactly what a test wants it to say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod settings;
mod socket;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fulfillment_crds::LimitValue;
use fulfillment_operator::lease::Fence;
use fulfillment_operator::vendor::{
    Answer, Class, Credentials, Effect, Order, Said, VendorClient, VendorError, client::Settings,
    guard::AddressPolicy,
};
use secrecy::SecretString;
use serde_json::json;
use settings::settings;
use socket::read_request;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::Instant};

/// A server that answers every request with the same bytes and remembers what it was sent.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

/// What the server does once it has read a request.
#[derive(Clone)]
enum Does {
    /// Sends these bytes and keeps the connection.
    Say(String),
    /// Sends these bytes for ever.
    Flood(String),
    /// Says nothing.
    Hang,
    /// Closes the connection.
    Close,
}

impl Server {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let connections = Arc::<Mutex<usize>>::default();
        let (seen, opened) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let Ok((mut socket, _)) = listener.accept().await else {
                    return;
                };
                *opened.lock().unwrap() += 1;
                let (does, seen) = (does.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut socket).await {
                        seen.lock().unwrap().push(request);
                        match &does {
                            Does::Say(bytes) => {
                                if socket.write_all(bytes.as_bytes()).await.is_err() {
                                    return;
                                }
                            }
                            Does::Flood(head) => {
                                let _ = socket.write_all(head.as_bytes()).await;
                                while socket.write_all(&[b' '; 65536]).await.is_ok() {}
                                return;
                            }
                            Does::Hang => std::future::pending().await,
                            Does::Close => return,
                        }
                    }
                });
            }
        });
        Self {
            url,
            requests,
            connections,
        }
    }

    async fn says(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::start(Does::Say(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )))
        .await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn client(url: &str) -> VendorClient {
    with(url, Credentials::None, false)
}

fn with(url: &str, credentials: Credentials, fresh_creates: bool) -> VendorClient {
    made(&Settings {
        fresh_creates,
        ..settings(url, credentials)
    })
}

fn made(settings: &Settings) -> VendorClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    VendorClient::new(settings).unwrap()
}

fn order() -> Order {
    Order {
        external_id: "k1-x".into(),
        product: "mail-pro".into(),
        callback_url: None,
        limits: [
            ("seats".to_owned(), LimitValue::from(50)),
            ("storageGiB".to_owned(), LimitValue::parse("unlimited")),
            ("cpu".to_owned(), LimitValue::parse("1.5")),
        ]
        .into(),
        structured: [].into(),
        parameters: [("admin_password".to_owned(), SecretString::from("p4ss-w0rd"))].into(),
        secrets: vec!["p4ss-w0rd".into()],
        ..Order::default()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn create(server: &Server) -> Result<Answer, VendorError> {
    client(&server.url).create(&order(), soon()).await
}

const TENANT: &str = r#"{"id":"t-1","status":"active","limits":{"seats":50}}"#;

#[tokio::test]
async fn each_operation_sends_what_the_contract_says() {
    let server = Server::says("200 OK", "", TENANT).await;
    let client = with(&server.url, Credentials::Bearer("t0ken".into()), false);
    client.create(&order(), soon()).await.unwrap();
    client.get("t-1", &order()).await.unwrap();
    client.change("t-1", &order(), true).await.unwrap();
    client.change("t-1", &order(), false).await.unwrap();
    client.disable("t-1", &order()).await.unwrap();
    client.enable("t-1", &order()).await.unwrap();
    client.delete("t-1", &order()).await.unwrap();
    let requests = server.requests();
    let lines: Vec<&str> = requests.iter().map(|r| r.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "POST /base/tenant HTTP/1.1",
            "GET /base/tenant/t-1 HTTP/1.1",
            "PUT /base/tenant/t-1 HTTP/1.1",
            "PUT /base/tenant/t-1 HTTP/1.1",
            "PUT /base/tenant/t-1/disable HTTP/1.1",
            "PUT /base/tenant/t-1/enable HTTP/1.1",
            "DELETE /base/tenant/t-1 HTTP/1.1",
        ]
    );
    let body = |n: usize| requests[n].split_once("\r\n\r\n").unwrap().1;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(body(0)).unwrap(),
        serde_json::json!({
            "externalId": "k1-x", "product": "mail-pro",
            "limits": {"cpu": "1.5", "seats": 50, "storageGiB": "unlimited"},
            "parameters": {"admin_password": "p4ss-w0rd"},
        })
    );
    assert!(
        requests[0].contains("idempotency-key: k1-x"),
        "{}",
        requests[0]
    );
    assert!(requests[0].contains("content-type: application/json"));
    assert!(body(2).contains("parameters") && !body(3).contains("parameters"));
    for n in [1, 4, 5, 6] {
        assert_eq!(body(n), "", "{}", lines[n]);
    }
    assert!(
        requests
            .iter()
            .all(|r| r.contains("authorization: Bearer t0ken"))
    );
}

#[tokio::test]
async fn every_way_to_authenticate_sends_its_header() {
    for (credentials, header) in [
        (
            Credentials::Basic("user".into(), "pass".into()),
            "authorization: Basic dXNlcjpwYXNz",
        ),
        (
            Credentials::Header("x-api-key".parse().unwrap(), "k3y".into()),
            "x-api-key: k3y",
        ),
    ] {
        let server = Server::says("200 OK", "", TENANT).await;
        with(&server.url, credentials, false)
            .get("t-1", &order())
            .await
            .unwrap();
        assert!(
            server.requests()[0].contains(header),
            "{:?}",
            server.requests()
        );
    }
}

#[tokio::test]
async fn ids_stay_one_segment_of_the_path() {
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("%2f", "%252f"),
        ("t?x=1#y", "t%3Fx%3D1%23y"),
        ("ü", "%C3%BC"),
        ("a b", "a%20b"),
    ] {
        let server = Server::says("204 No Content", "", "").await;
        client(&server.url).delete(id, &order()).await.unwrap();
        let line = server.requests()[0].lines().next().unwrap().to_owned();
        assert_eq!(line, format!("DELETE /base/tenant/{path} HTTP/1.1"), "{id}");
    }
    for id in ["..", ".", "", "a\r\nb", "a\0"] {
        let server = Server::says("204 No Content", "", "").await;
        assert!(
            client(&server.url).delete(id, &order()).await.is_err(),
            "{id:?}"
        );
        assert!(server.requests().is_empty(), "{id:?}");
    }
}

#[tokio::test]
async fn answers_mean_what_the_table_says() {
    let said = async |status: &str, body: &str| create(&Server::says(status, "", body).await).await;
    assert!(
        matches!(said("201 Created", TENANT).await.unwrap().said, Said::Tenant(t) if t.id == "t-1")
    );
    assert!(matches!(
        said("202 Accepted", TENANT).await.unwrap().said,
        Said::Accepted(Some(_))
    ));
    assert!(matches!(
        said("201 Created", "").await.unwrap().said,
        Said::Done
    ));
    assert!(
        matches!(said("201 Created", "{}").await.unwrap().said, Said::Done),
        "no id is no tenant"
    );
    assert!(matches!(
        said("409 Conflict", TENANT).await.unwrap().said,
        Said::Exists(Some(_))
    ));
    assert!(matches!(
        said("409 Conflict", r#"{"error":"exists"}"#)
            .await
            .unwrap()
            .said,
        Said::Exists(None)
    ));
    for (status, class, effect) in [
        ("400 Bad Request", Class::Refused, Effect::None),
        ("404 Not Found", Class::Refused, Effect::None),
        ("422 Unprocessable Entity", Class::Refused, Effect::None),
        ("401 Unauthorized", Class::Auth, Effect::None),
        ("403 Forbidden", Class::Auth, Effect::None),
        ("408 Request Timeout", Class::Transient, Effect::None),
        ("425 Too Early", Class::Transient, Effect::None),
        ("429 Too Many Requests", Class::Throttled, Effect::None),
        ("423 Locked", Class::Busy, Effect::Unknown),
        (
            "500 Internal Server Error",
            Class::Transient,
            Effect::Unknown,
        ),
        ("503 Service Unavailable", Class::Transient, Effect::Unknown),
        ("302 Found", Class::Transient, Effect::Unknown),
    ] {
        let error = said(status, r#"{"error":{"code":"c","message":"why"}}"#)
            .await
            .unwrap_err();
        assert_eq!((error.class, error.effect), (class, effect), "{status}");
        assert!(
            error.message.contains(&status[..3]) && error.message.contains("why"),
            "{}",
            error.message
        );
    }
    for body in ["{\"id\":", "<html>hello", "[]", "null", "\u{1}"] {
        let error = said("201 Created", body).await.unwrap_err();
        assert_eq!(
            (error.class, error.effect),
            (Class::Transient, Effect::Unknown),
            "{body}"
        );
    }
}

#[tokio::test]
async fn absence_is_said_by_404_and_410_only() {
    for status in ["404 Not Found", "410 Gone"] {
        let server = Server::says(status, "", "").await;
        assert!(matches!(
            client(&server.url).get("t-1", &order()).await.unwrap().said,
            Said::Absent
        ));
        assert!(matches!(
            client(&server.url)
                .delete("t-1", &order())
                .await
                .unwrap()
                .said,
            Said::Absent
        ));
    }
    for does in [Does::Close, Does::Hang] {
        let server = Server::start(does).await;
        assert_eq!(
            client(&server.url)
                .get("t-1", &order())
                .await
                .unwrap_err()
                .effect,
            Effect::Unknown
        );
    }
}

#[tokio::test]
async fn an_answer_about_another_tenant_is_garbage() {
    let server = Server::says("200 OK", "", TENANT).await;
    let error = client(&server.url).get("t-2", &order()).await.unwrap_err();
    assert!(
        error.message.contains("another tenant"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_page_for_people_is_called_one() {
    let html = "content-type: text/html\r\n";
    let server = Server::says("200 OK", html, "<html>hello").await;
    let client = client(&server.url);
    for answer in [
        client.get("t-1", &order()).await,
        client.lookup("k1-x", &order()).await,
    ] {
        let message = answer.unwrap_err().message;
        assert!(message.ends_with("with an HTML page"), "{message}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::start(Does::Flood(
        "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n".into(),
    ))
    .await;
    let error = client(&server.url).get("t-1", &order()).await.unwrap_err();
    assert!(
        error.message.contains("larger than 256 KiB"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Server::says("200 OK", "", TENANT).await;
    let server = Server::says(
        "302 Found",
        &format!("location: {}tenant/t-1\r\n", other.url),
        "",
    )
    .await;
    let error = client(&server.url).get("t-1", &order()).await.unwrap_err();
    assert!(
        error.message.contains("redirects are not followed"),
        "{}",
        error.message
    );
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms_and_capped() {
    let wait = async |value: &str| {
        let server = Server::says(
            "429 Too Many Requests",
            &format!("retry-after: {value}\r\n"),
            "",
        )
        .await;
        client(&server.url)
            .get("t-1", &order())
            .await
            .unwrap_err()
            .retry_after
    };
    assert_eq!(wait("7").await, Some(Duration::from_secs(7)));
    assert_eq!(wait("86400").await, Some(Duration::from_secs(300)));
    let at = fulfillment_operator::pace::now() + k8s_openapi::jiff::SignedDuration::from_secs(60);
    let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let seconds = wait(&date).await.unwrap().as_secs();
    assert!((57..=60).contains(&seconds), "{seconds}");
    assert_eq!(
        wait("Sun, 06 Nov 1994 08:49:37 GMT").await,
        Some(Duration::ZERO)
    );
    assert_eq!(wait("soon").await, None);
}

#[tokio::test]
async fn what_was_never_sent_had_no_effect() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = client(&format!("http://{closed}"))
        .create(&order(), soon())
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.effect),
        (Class::Transient, Effect::None),
        "{}",
        error.message
    );
    let error = client("http://no-such-host.invalid")
        .create(&order(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.effect, Effect::None, "{}", error.message);
    // TLS that fails comes before the request, too.
    let plain = Server::says("200 OK", "", TENANT).await;
    let error = client(&plain.url.replace("http://", "https://"))
        .create(&order(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.effect, Effect::None, "{}", error.message);
}

/// The body of a request.
fn body(request: &str) -> serde_json::Value {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn a_limit_with_a_path_is_sent_and_read_there() {
    let theirs = r#"{"id":"t-1","externalId":"k1-x","status":"active","limits":{"seats":1},
        "licences":{"limit":"40"},"account":{"password":"new"}}"#;
    let product = json!({
        "name": "mail-pro",
        "limits": [{"name": "seats", "path": "licences.limit"}, {"name": "storageGiB"}, {"name": "cpu"}],
        "parameters": [{"name": "admin_password", "path": "account.password"}],
    });
    let products = vec![serde_json::from_value(product).unwrap()];
    for (said, listed) in [(theirs.to_owned(), false), (format!("[{theirs}]"), true)] {
        let server = Server::says("200 OK", "", &said).await;
        let client = made(&Settings {
            products: products.clone(),
            ..settings(&server.url, Credentials::None)
        });
        let order = order();
        let mut answers = Vec::new();
        if listed {
            answers.push(client.lookup("k1-x", &order).await.unwrap());
        } else {
            let soon = Instant::now() + Duration::from_secs(9);
            answers.push(client.create(&order, soon).await.unwrap());
            answers.push(client.change("t-1", &order, true).await.unwrap());
            answers.push(client.get("t-1", &order).await.unwrap());
            for sent in &server.requests()[..2] {
                let sent = body(sent);
                assert_eq!(sent["licences"], json!({"limit": 50}));
                assert_eq!(
                    sent["limits"],
                    json!({"storageGiB": "unlimited", "cpu": "1.5"})
                );
                assert_eq!(sent["account"], json!({"password": "p4ss-w0rd"}));
                assert_eq!(sent.get("parameters"), None);
            }
        }
        for answer in &mut answers {
            let [tenant] = answer.said.tenants() else {
                panic!("{answer:?}");
            };
            let limits = tenant.limits.as_ref().unwrap();
            assert_eq!(limits.get("seats"), Some(&LimitValue::from(40)));
            assert_eq!(limits.len(), 1);
            assert_eq!(tenant.parameters["admin_password"], "new");
        }
    }
}

#[tokio::test]
async fn a_replica_that_does_not_lead_sends_nothing() {
    let server = Server::says("200 OK", "", "{}").await;
    let client = made(&Settings {
        fence: Fence::closed(),
        ..settings(&server.url, Credentials::None)
    });
    let soon = Instant::now() + Duration::from_secs(9);
    let order = order();
    for answer in [
        client.create(&order, soon).await,
        client.get("t-1", &order).await,
        client.change("t-1", &order, true).await,
        client.disable("t-1", &order).await,
        client.enable("t-1", &order).await,
        client.delete("t-1", &order).await,
    ] {
        assert_eq!(answer.unwrap_err().effect, Effect::None);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_create_past_its_deadline_is_not_sent() {
    let server = Server::says("201 Created", "", TENANT).await;
    let error = client(&server.url)
        .create(&order(), Instant::now())
        .await
        .unwrap_err();
    assert_eq!((error.effect, server.requests().len()), (Effect::None, 0));
}

#[tokio::test]
async fn secrets_sent_in_a_call_are_masked_in_what_comes_back() {
    let body = r#"{"error":{"code":"p4ss-w0rd","message":"token t0ken and p4ss-w0rd are bad\u0007\n","parameters":{"p":"p4ss-w0rd"}}}"#;
    let server = Server::says("400 Bad Request", "", body).await;
    let error = with(&server.url, Credentials::Bearer("t0ken".into()), false)
        .create(&order(), soon())
        .await
        .unwrap_err();
    let all = format!("{error:?}");
    assert!(
        !all.contains("p4ss-w0rd") && !all.contains("t0ken"),
        "{all}"
    );
    assert!(!error.message.contains(['\u{7}', '\n']), "{all}");
    assert_eq!(error.parameters.len(), 1);
}

#[tokio::test]
async fn what_a_secret_happens_to_be_part_of_is_still_compared_as_it_is() {
    let theirs = r#"{"id":"t-1","externalId":"contoso-500","operation":"op/contoso-7",
        "status":"active","limits":{"seats-500":"500"},
        "parameters":{"contoso_word":"hush","site":"contoso.example"}}"#;
    let server = Server::says("200 OK", "", &format!("[{theirs}]")).await;
    let product = json!({"name": "mail-pro", "parameters": [{"name": "contoso_word"}]});
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = VendorClient::new(&Settings {
        products: vec![serde_json::from_value(product).unwrap()],
        ..settings(&server.url, Credentials::None)
    })
    .unwrap();
    let order = Order {
        external_id: "contoso-500".into(),
        limits: [("seats-500".to_owned(), LimitValue::from(500))].into(),
        secrets: vec!["contoso".into(), "500".into()],
        ..order()
    };
    let mut answer = client.lookup("contoso-500", &order).await.unwrap();
    let [tenant] = answer.said.tenants() else {
        panic!("{answer:?}");
    };
    assert_eq!(tenant.external_id.as_deref(), Some("contoso-500"));
    // It would stand in status: the tenant is read instead of the operation.
    assert_eq!(tenant.operation, None);
    assert_eq!(tenant.limits.as_ref(), Some(&order.limits));
    // A name of the product's, as it is; a value, without the secret.
    assert_eq!(tenant.parameters["contoso_word"], "hush");
    assert_eq!(tenant.parameters["site"], "[redacted].example");
}

#[tokio::test]
async fn a_refusal_without_json_can_be_busy_and_says_what_it_said() {
    let server = Server::says("412 Precondition Failed", "", "the version is old").await;
    let dialect = json!({"error": {"busy": "status == 412"}});
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = VendorClient::new(&Settings {
        dialect: Some(serde_json::from_value(dialect).unwrap()),
        ..settings(&server.url, Credentials::None)
    })
    .unwrap();
    let error = client.delete("t-1", &order()).await.unwrap_err();
    assert_eq!((error.class, error.effect), (Class::Busy, Effect::None));
    assert!(error.message.ends_with(": the version is old"), "{error:?}");
}

#[tokio::test]
async fn an_answer_without_a_body_may_name_its_operation_in_a_header() {
    let server = Server::says("202 Accepted", "operation-location: op-7\r\n", "").await;
    let dialect = json!({"answer": {"operation": "headers['operation-location']"}});
    let vendor = made(&Settings {
        dialect: Some(serde_json::from_value(dialect).unwrap()),
        ..settings(&server.url, Credentials::None)
    });
    let Said::Accepted(Some(tenant)) = vendor.delete("t-1", &order()).await.unwrap().said else {
        panic!("no tenant");
    };
    assert_eq!(
        (tenant.id.as_str(), tenant.operation.as_deref()),
        ("t-1", Some("op-7"))
    );
    // Whose dialect reads no header hears what it heard before.
    let said = client(&server.url).delete("t-1", &order()).await;
    assert!(matches!(said.unwrap().said, Said::Accepted(None)));
}

#[tokio::test]
async fn a_change_is_made_to_the_version_that_was_read() {
    let server = Server::says("200 OK", "ETag: \"v3\"\r\nSet-Cookie: s=1\r\n", TENANT).await;
    let dialect = json!({
        "change": {"headers": {"If-Match": "headers.etag"}},
        "disable": {"headers": {"X-Session": "headers['set-cookie']"}},
    });
    let client = made(&Settings {
        dialect: Some(serde_json::from_value(dialect).unwrap()),
        ..settings(&server.url, Credentials::None)
    });
    client.change("t-1", &order(), false).await.unwrap();
    let requests = server.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|r| r.contains("if-match: \"v3\"\r\n"))
        .collect();
    assert_eq!(sent, [false, true], "{requests:?}");
    // A cookie is none of a dialect's business.
    let error = client.disable("t-1", &order()).await.unwrap_err();
    assert!(
        error.message.contains("there is no set-cookie"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_create_that_cannot_be_repeated_has_a_connection_of_its_own() {
    let server = Server::says("201 Created", "", TENANT).await;
    for (fresh, connections) in [(false, 1), (true, 4)] {
        let before = *server.connections.lock().unwrap();
        let client = with(&server.url, Credentials::None, fresh);
        for _ in 0..4 {
            client.create(&order(), soon()).await.unwrap();
        }
        assert_eq!(
            *server.connections.lock().unwrap() - before,
            connections,
            "fresh: {fresh}"
        );
    }
}

#[tokio::test]
async fn addresses_are_checked_before_the_connect() {
    let server = Server::says("200 OK", "", TENANT).await;
    let port = server
        .url
        .split(':')
        .nth(2)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let make = |url: &str| {
        VendorClient::new(&Settings {
            addresses: AddressPolicy {
                networks: vec!["127.0.0.0/8".parse().unwrap()],
                insecure: false,
            },
            ..settings(url, Credentials::None)
        })
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    for url in [
        "http://vendor.example",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::1]",
        "https://169.254.169.254",
        "https://user:pw@vendor.example",
    ] {
        match make(url) {
            Err(why) => assert!(!why.to_string().is_empty()),
            Ok(_) => panic!("{url} was taken"),
        }
    }
    let error = make(&format!("https://localhost:{port}"))
        .unwrap()
        .get("t-1", &order())
        .await
        .unwrap_err();
    assert!(error.message.contains("loopback"), "{}", error.message);
    assert_eq!((error.effect, server.requests().len()), (Effect::None, 0));
}
