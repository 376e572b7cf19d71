//! The Kubernetes client against a real HTTP server that says exactly what a test wants it to say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod socket;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use fulfillment_crds::{Subscription, SubscriptionStatus};
use fulfillment_operator::kubernetes::{Cluster, Guard};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Config, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use socket::read_request;
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    time::{Instant, timeout},
};

/// An API server that refuses every request, and remembers it.
struct Refusing {
    cluster: Cluster,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Refusing {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        // As soon as its caller may.
        let head =
            format!("HTTP/1.1 {status} Later\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n");
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (head, seen) = (head.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut socket).await {
                        seen.lock().unwrap().push(request);
                        if socket.write_all(head.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let config = Config::new(url.parse().unwrap());
        Self {
            cluster: Cluster::new(config).unwrap(),
            requests,
        }
    }

    /// The methods of what came since this was asked last.
    fn methods(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        let method = |request: &String| request.split(' ').next().unwrap_or_default().to_owned();
        requests.iter().map(method).collect()
    }
}

fn subscription() -> Subscription {
    let object = json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "Subscription",
        "metadata": {
            "name": "mail", "namespace": "team-a", "uid": "u-1", "resourceVersion": "7",
            "finalizers": ["fulfillment-operator.io/tenant"],
        },
        "spec": {"connectionRef": {"name": "acme"}, "product": "mail-pro"},
    });
    serde_json::from_value(object).unwrap()
}

/// kube's client repeats whatever was answered 429, 503 or 504 by itself, a create too: fifteen times,
/// unless that is switched off. An intent that was written so could have been taken back meanwhile.
#[tokio::test]
async fn kube_rs_2082_nothing_below_us_repeats_a_write() {
    let object = subscription();
    for status in [429, 503, 504] {
        let server = Refusing::start(status).await;
        let cluster = &server.cluster;

        assert!(cluster.claim(&object, None).await.is_err());
        assert_eq!(server.methods(), ["PATCH"], "{status}: finalizer");

        let guard = Guard::Version("7".to_owned());
        let said = SubscriptionStatus::default();
        let written = cluster.write_status(&object, &said, &guard).await;
        assert!(written.is_err());
        // Where nothing else may have changed it is put as it is.
        assert_eq!(server.methods(), ["PUT"], "{status}: status");

        assert!(cluster.release(&object).await.is_err());
        assert_eq!(server.methods(), ["PATCH"], "{status}: release");

        let secrets = cluster.api::<Secret>("team-a");
        let (params, secret) = (PostParams::default(), Secret::default());
        assert!(secrets.create(&params, &secret).await.is_err());
        assert_eq!(server.methods(), ["POST"], "{status}: create");
    }
}

/// What was deleted with the definition was deleted before anybody asks about it: an answer from before
/// that would let it through.
#[tokio::test]
async fn whether_the_definition_is_being_deleted_is_never_an_older_answer() {
    // Without the right to read it nobody knows, and all asks end well.
    let server = Refusing::start(403).await;
    let asks = || async { assert!(!server.cluster.crd_is_terminating().await.unwrap()) };
    asks().await;
    asks().await;
    assert_eq!(server.methods(), ["GET", "GET"]);
    // The second asks while the first reads; the third's answer is the second's.
    tokio::join!(asks(), asks(), asks());
    assert_eq!(server.methods(), ["GET", "GET"]);
}

/// An API server that takes the first watch of ConfigMaps and never says a word to it.
async fn swallows_a_watch(listener: TcpListener) {
    let list = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
    let event = r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"late","namespace":"default","resourceVersion":"2"}}}"#;
    let mut swallowed = Vec::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        while let Some(request) = read_request(&mut socket).await {
            let watch = request.contains("watch=true");
            if watch && swallowed.is_empty() {
                // From here on only time passes.
                tokio::time::pause();
                break;
            }
            let body = if watch { event } else { list };
            let length = body.len() + 1;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}\n"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        swallowed.push(socket);
    }
}

#[tokio::test]
async fn a_watch_that_is_accepted_and_never_begins_is_begun_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(swallows_a_watch(listener));
    let cluster = Cluster::new(Config::new(url.parse().unwrap())).unwrap();
    let config = watcher::Config::default().timeout(60);
    let events = watcher::watcher(cluster.api::<ConfigMap>("default"), config);
    let mut events = pin!(events.default_backoff().applied_objects());
    let began = Instant::now();
    let seen = async {
        loop {
            if let Some(Ok(map)) = events.next().await {
                return map.name_any();
            }
        }
    };
    let seen = timeout(Duration::from_secs(3600), seen).await;
    assert_eq!(seen.as_deref(), Ok("late"));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(120), "{took:?}");
}
