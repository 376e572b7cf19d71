//! Tokens of a token endpoint, by the vendor client, against real HTTP servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod renewal;
#[path = "../settings/mod.rs"]
mod settings;
#[path = "../socket/mod.rs"]
mod socket;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fulfillment_operator::{
    metrics::{Meter, Metrics},
    vendor::{
        Class, Credentials, Effect, Order, VendorClient, VendorError,
        client::{Settings, checked_url},
        guard::AddressPolicy,
        oauth::Grant,
    },
};
use settings::{anywhere, settings};
use socket::read_request;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::Instant};

/// What a server answers to a request, head and body.
type Says = dyn Fn(&str) -> String + Send + Sync;

/// A server that remembers what it was sent.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(says: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (says, all): (Arc<Says>, _) = (Arc::new(says), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (says, all) = (Arc::clone(&says), Arc::clone(&all));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut socket).await {
                        all.lock().unwrap().push(request.clone());
                        let answer = says(&request);
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn tokens(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|r| r.starts_with("POST /token")).count()
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

const TENANT: &str = r#"{"id":"t-1","status":"active"}"#;

fn token(value: &str) -> String {
    token_for(value, 3600)
}

/// A token that is good for so many seconds.
fn token_for(value: &str, seconds: u64) -> String {
    let body =
        format!(r#"{{"access_token":"{value}","token_type":"Bearer","expires_in":{seconds}}}"#);
    http("200 OK", "", &body)
}

fn is_token(request: &str) -> bool {
    request.starts_with("POST /token")
}

fn grant(url: &str) -> Grant {
    Grant {
        url: checked_url("tokenUrl", url, &anywhere()).unwrap(),
        client_id: "me:you".into(),
        client_secret: "p:ss w%rd+é".into(),
        scopes: vec!["read".into(), "write&all".into()],
        audience: None,
        in_body: false,
    }
}

fn client(vendor: &str, grant: Grant) -> VendorClient {
    with(&settings(vendor, Credentials::OAuth2(grant)))
}

fn with(settings: &Settings) -> VendorClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    VendorClient::new(settings).unwrap()
}

fn client_of(server: &Server) -> VendorClient {
    client(
        &server.url,
        grant(&format!("{}/token?tenant=x", server.url)),
    )
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn a_token_is_asked_for_as_the_rfc_says() {
    let server = Server::start(|request| match is_token(request) {
        true => token("t0ken"),
        false => http("200 OK", "", TENANT),
    })
    .await;
    let by_header = client_of(&server);
    by_header.create(&Order::default(), soon()).await.unwrap();
    by_header.get("t-1", &Order::default()).await.unwrap();
    let body = Grant {
        in_body: true,
        scopes: Vec::new(),
        audience: Some("https://tenants.example/?v=1&x".into()),
        ..grant(&format!("{}/token", server.url))
    };
    let by_body = client(&server.url, body);
    by_body.get("t-1", &Order::default()).await.unwrap();

    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().map(|r| r.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "POST /token?tenant=x HTTP/1.1",
            "POST /tenant HTTP/1.1",
            "GET /tenant/t-1 HTTP/1.1",
            "POST /token HTTP/1.1",
            "GET /tenant/t-1 HTTP/1.1",
        ]
    );
    // me%3Ayou:p%3Ass+w%25rd%2B%C3%A9
    let basic = "authorization: Basic bWUlM0F5b3U6cCUzQXNzK3clMjVyZCUyQiVDMyVBOQ==";
    assert!(seen[0].contains(basic), "{}", seen[0]);
    assert!(seen[0].contains("content-type: application/x-www-form-urlencoded"));
    let form = |n: usize| seen[n].split_once("\r\n\r\n").unwrap().1;
    assert_eq!(
        form(0),
        "grant_type=client_credentials&scope=read+write%26all"
    );
    assert!(!seen[3].contains("authorization"), "{}", seen[3]);
    assert_eq!(
        form(3),
        "grant_type=client_credentials&audience=https%3A%2F%2Ftenants.example%2F%3Fv%3D1%26x\
         &client_id=me%3Ayou&client_secret=p%3Ass+w%25rd%2B%C3%A9"
    );
    for n in [1, 2, 4] {
        assert!(
            seen[n].contains("authorization: Bearer t0ken"),
            "{}",
            seen[n]
        );
    }
}

#[tokio::test]
async fn many_at_once_ask_for_one_token() {
    let server = Server::start(|request| match is_token(request) {
        true => token("t0ken"),
        false => http("200 OK", "", TENANT),
    })
    .await;
    let client = client_of(&server);
    let order = Order::default();
    let calls = (0..50).map(|_| client.get("t-1", &order));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(server.tokens(), 1);
}

#[tokio::test]
async fn many_at_once_share_a_failure() {
    let server = Server::start(|_| http("503 Service Unavailable", "", "")).await;
    let client = client_of(&server);
    let order = Order::default();
    let calls = (0..50).map(|_| client.get("t-1", &order));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap_err().class, Class::Transient);
    }
    assert_eq!(server.tokens(), 1);
}

#[tokio::test]
async fn after_a_failure_the_next_call_asks_again_unless_the_endpoint_says_when() {
    let answers = Arc::new(Mutex::new(vec![
        http("429 Too Many Requests", "retry-after: 99\r\n", ""),
        token("t0ken"),
        http("400 Bad Request", "", r#"{"error":"invalid_client"}"#),
    ]));
    let server = Server::start(move |request| match is_token(request) {
        true => answers.lock().unwrap().pop().unwrap(),
        false => http("401 Unauthorized", "", ""),
    })
    .await;
    let client = client_of(&server);
    let order = Order::default();
    let message = async || client.get("t-1", &order).await.unwrap_err().message;
    assert!(message().await.contains("invalid_client"));
    assert_eq!(message().await, "the vendor answered 401 Unauthorized");

    let client = client_of(&server);
    for _ in 0..3 {
        let error = client.get("t-1", &order).await.unwrap_err();
        assert_eq!(error.class, Class::Throttled, "{error:?}");
    }
    assert_eq!(server.tokens(), 3);
}

#[tokio::test]
async fn a_token_that_worked_and_is_refused_is_renewed_once_for_all() {
    let issued = Arc::new(Mutex::new(0));
    let (count, good) = (Arc::clone(&issued), Arc::new(Mutex::new("t-1")));
    let now = Arc::clone(&good);
    let server = Server::start(move |request| {
        if is_token(request) {
            let mut count = count.lock().unwrap();
            *count += 1;
            return token(&format!("t-{count}"));
        }
        match request.contains(&format!("Bearer {}\r\n", now.lock().unwrap())) {
            true => http("200 OK", "", TENANT),
            false => http("401 Unauthorized", "", "no t-1, t-2 or t-3 is good"),
        }
    })
    .await;
    let client = client_of(&server);
    let order = Order::default();
    client.get("t-1", &order).await.unwrap();
    *good.lock().unwrap() = "t-2";
    let calls = (0..20).map(|_| client.get("t-1", &order));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(*issued.lock().unwrap(), 2);

    // A vendor that takes no token any more: one renewal, and then the 401 counts.
    *good.lock().unwrap() = "none";
    for _ in 0..5 {
        let error = client.create(&order, soon()).await.unwrap_err();
        assert_eq!((error.class, error.effect), (Class::Auth, Effect::None));
        assert_eq!(error.status, Some(401));
        let all = format!("{error:?}");
        assert!(!all.contains("t-3"), "{all}");
    }
    assert_eq!(*issued.lock().unwrap(), 3);
}

/// What a call says whose token endpoint answers that; the vendor itself is never called.
async fn failed(answer: String) -> VendorError {
    let server = Server::start(move |request| {
        assert!(is_token(request), "{request}");
        answer.clone()
    })
    .await;
    let error = client_of(&server)
        .create(&Order::default(), soon())
        .await
        .unwrap_err();
    assert_eq!(error.effect, Effect::None, "{error:?}");
    assert!(
        error.message.contains(&format!("{}/token", server.url)),
        "{error:?}"
    );
    assert!(error.message.chars().count() <= 256, "{error:?}");
    assert_eq!((server.tokens(), server.seen().len()), (1, 1));
    error
}

#[tokio::test]
async fn an_endpoint_that_gives_no_token_is_named_and_nothing_was_sent() {
    let refused = |code: &str| format!(r#"{{"error":"{code}","error_description":"because"}}"#);
    for (status, body, class, says) in [
        (
            "401 Unauthorized",
            refused("invalid_client"),
            Class::Auth,
            "invalid_client",
        ),
        (
            "400 Bad Request",
            refused("invalid_client"),
            Class::Auth,
            "because",
        ),
        (
            "400 Bad Request",
            refused("invalid_scope"),
            Class::Auth,
            "invalid_scope",
        ),
        ("403 Forbidden", String::new(), Class::Auth, "403"),
        ("404 Not Found", String::new(), Class::Auth, "tokenUrl"),
        (
            "200 OK",
            refused("incorrect_client_credentials"),
            Class::Auth,
            "incorrect",
        ),
        (
            "200 OK",
            "<html>".to_owned(),
            Class::Transient,
            "without a bearer token",
        ),
        (
            "200 OK",
            "[]".to_owned(),
            Class::Transient,
            "without a bearer token",
        ),
        (
            "429 Too Many Requests",
            String::new(),
            Class::Throttled,
            "429",
        ),
        (
            "408 Request Timeout",
            String::new(),
            Class::Transient,
            "408",
        ),
        (
            "500 Internal Server Error",
            String::new(),
            Class::Transient,
            "500",
        ),
        (
            "503 Service Unavailable",
            refused("x"),
            Class::Transient,
            "503",
        ),
    ] {
        let error = failed(http(status, "", &body)).await;
        assert_eq!(error.class, class, "{status} {body}: {error:?}");
        assert!(error.message.contains(says), "{status} {body}: {error:?}");
    }
    let limited = http("429 Too Many Requests", "retry-after: 7\r\n", "");
    assert_eq!(
        failed(limited).await.retry_after,
        Some(Duration::from_secs(7))
    );
    let huge = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(300 * 1024));
    let error = failed(http("200 OK", "", &huge)).await;
    assert!(error.message.contains("larger than 256 KiB"), "{error:?}");
}

#[tokio::test]
async fn what_an_endpoint_echoes_is_masked() {
    let server = Server::start(|request| {
        let basic = request
            .lines()
            .find_map(|l| l.strip_prefix("authorization: Basic "));
        let echo = format!(
            "p:ss w%rd+é p%3Ass+w%25rd%2B%C3%A9 {}",
            basic.unwrap_or_default()
        );
        let body = format!(r#"{{"error":"{echo}","error_description":"{echo}"}}"#);
        http("401 Unauthorized", "", &body)
    })
    .await;
    let error = client_of(&server)
        .get("t-1", &Order::default())
        .await
        .unwrap_err();
    let all = format!("{error:?}");
    for secret in ["p:ss", "p%3Ass", "bWUlM0F5b3U6"] {
        assert!(!all.contains(secret), "{all}");
    }
    assert!(!format!("{:?}", grant(&server.url)).contains("p:ss"));
}

#[tokio::test]
async fn an_endpoint_is_held_to_the_rules_of_a_vendor() {
    // A redirect is not followed.
    let elsewhere = Server::start(|_| token("t")).await;
    let location = format!("location: {}/token\r\n", elsewhere.url);
    let error = failed(http("307 Temporary Redirect", &location, "")).await;
    assert_eq!(error.class, Class::Transient);
    assert!(
        error.message.contains("redirects are not followed"),
        "{error:?}"
    );
    assert!(elsewhere.seen().is_empty());

    // No plain http, no inner address.
    let strict = AddressPolicy::default();
    for url in [
        "http://login.example/token",
        "https://127.0.0.1/token",
        "https://169.254.169.254/token",
        "https://[fd00:ec2::254]/token",
        "https://10.0.0.1/token",
        "https://me:secret@login.example/token",
        "ftp://login.example/token",
    ] {
        let why = checked_url("auth.oauth2.tokenUrl", url, &strict)
            .unwrap_err()
            .to_string();
        assert!(why.contains("auth.oauth2.tokenUrl"), "{url}: {why}");
    }
    // A name that leads to one is refused when it is resolved.
    let port = elsewhere.url.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/token");
    let client = with(&Settings {
        addresses: strict,
        ..settings("https://vendor.invalid", Credentials::OAuth2(grant(&url)))
    });
    let error = client.create(&Order::default(), soon()).await.unwrap_err();
    assert!(error.message.contains("loopback"), "{error:?}");
    assert!(error.message.contains("token endpoint"), "{error:?}");
    assert_eq!(error.effect, Effect::None);
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_create_whose_token_came_too_late_is_not_sent() {
    let server = Server::start(|request| {
        assert!(is_token(request), "{request}");
        token("t0ken")
    })
    .await;
    let late = client_of(&server)
        .create(&Order::default(), Instant::now())
        .await;
    assert_eq!(late.unwrap_err().effect, Effect::None);
    assert_eq!(server.seen().len(), server.tokens());
}

#[tokio::test]
async fn every_call_is_counted_as_what_it_is() {
    let server = Server::start(|request| match request.split(' ').next() {
        _ if is_token(request) => token("t0ken"),
        _ if request.starts_with("GET /operations/") => {
            http("200 OK", "", r#"{"request":{"status":"approved"}}"#)
        }
        Some("PUT") => http("503 Service Unavailable", "", ""),
        _ => http("200 OK", "", TENANT),
    })
    .await;
    let dialect = serde_json::json!({
        "poll": {"path": "/operations/{operation}"},
        "change": {"headers": {"If-Match": "string(current.status)"}},
    });
    let metrics = Arc::new(Metrics::default());
    let counted = || {
        let text = metrics.text(Default::default).unwrap();
        let lines = text.lines().filter_map(|line| {
            let line =
                line.strip_prefix("fulfillment_vendor_requests_total{connection=\"acme\",")?;
            Some(line.replace('"', ""))
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines
    };
    let grant_of = |url: &str| Credentials::OAuth2(grant(&format!("{url}/token")));
    let mut settings = settings(&server.url, grant_of(&server.url));
    settings.dialect = Some(serde_json::from_value(dialect).unwrap());
    settings.meter = Meter::new(Arc::clone(&metrics), "acme".into());
    let client = with(&settings);
    let order = Order::default();
    client.poll("t-1", "op-1", &order).await.unwrap();
    client.change("t-1", &order, false).await.unwrap_err();
    client.create(&order, Instant::now()).await.unwrap_err();
    assert_eq!(
        counted(),
        [
            "operation=change,code=503} 1",
            // Once the operation is done, and before the change.
            "operation=get,code=200} 2",
            "operation=poll,code=200} 1",
            "operation=token,code=200} 1",
        ],
        "what is not sent is no call"
    );
    assert_eq!(server.seen().len(), 5);

    // Nobody there, and a client that is not let in.
    settings.url = "http://127.0.0.1:1".into();
    with(&settings).delete("t-1", &order).await.unwrap_err();
    settings.credentials = grant_of(&settings.url);
    with(&settings).delete("t-1", &order).await.unwrap_err();
    let lines = counted();
    for line in [
        "operation=delete,code=none} 1",
        "operation=token,code=200} 2",
        "operation=token,code=none} 1",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
    }
}
