use std::{
    sync::{Mutex, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    response::IntoResponse as _,
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;
use crate::{
    testing::{OWN, cache, world},
    vendor::budget::Budget,
};

const MAPS: &str = "/api/v1/namespaces/operator/configmaps";

fn subscription(name: &str, going: bool) -> Value {
    json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "Subscription",
        "metadata": {
            "name": name, "namespace": "team",
            "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z"),
        },
        "spec": {"connectionRef": {"name": "acme"}, "product": "mail-pro"},
    })
}

fn stone(of: &str, namespace: &str, until: &str) -> Value {
    json!({
        "metadata": {"name": of, "namespace": OWN, "uid": format!("uid-{of}"), "resourceVersion": "7"},
        "data": {
            UNTIL: until, "namespace": namespace, "name": of, "connection": "acme",
            KIND: "VendorConnection", KEYED: "false",
        },
    })
}

/// Tombstones on two pages, and Subscriptions of these names.
async fn server(request: Request) -> axum::response::Response {
    let (uri, late) = (request.uri().clone(), "2999-01-01T00:00:00Z");
    let query = uri.query().unwrap_or_default();
    let page = |next: &str, items: Value| {
        json!({"metadata": {"continue": next}, "items": items})
            .to_string()
            .into_response()
    };
    match (request.method(), uri.path()) {
        (&Method::GET, MAPS) if query.contains("continue=more") => page(
            "",
            json!([
                stone("followed", "team", late),
                stone("going", "team", late),
                stone("elsewhere", "other", late),
            ]),
        ),
        (&Method::GET, MAPS) => page(
            "more",
            json!([
                stone("gone", "team", late),
                stone("old", "other", "2020-01-01T00:00:00Z"),
            ]),
        ),
        (&Method::DELETE, _) => json!({"kind": "Status", "status": "Success"})
            .to_string()
            .into_response(),
        (_, path) if path.ends_with("/subscriptions/followed") => {
            subscription("followed", false).to_string().into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What is gone for good costs a part of a list. (The DELETE of what was buried anew would lose it.)
#[tokio::test]
async fn a_sweep_asks_page_by_page_and_for_no_subscription_that_is_gone() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let router = Router::new().fallback(move |request: Request| {
        let log = Arc::clone(&log);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            log.lock()
                .unwrap()
                .push(format!("{} {} {body}", parts.method, parts.uri));
            server(Request::from_parts(parts, body.into())).await
        }
    });
    let mut world = world(router, "team", None);
    for (name, going) in [("followed", false), ("going", true)] {
        cache(&mut world.subscriptions, &subscription(name, going));
    }
    all(&world.ctx).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    let [first, second, old, followed, over] = &asked[..] else {
        panic!("{asked:#?}");
    };
    assert!(
        first.contains("limit=") && !first.contains("continue="),
        "{first}"
    );
    assert!(second.contains("continue=more"), "{second}");
    for (name, delete) in [("old", old), ("followed", over)] {
        assert!(
            delete.starts_with(&format!("DELETE {MAPS}/{name}")),
            "{delete}"
        );
        let preconditions = format!(r#""resourceVersion":"7","uid":"uid-{name}""#);
        assert!(delete.contains(&preconditions), "{delete}");
    }
    assert!(
        followed.ends_with("/namespaces/team/subscriptions/followed "),
        "{followed}"
    );
}

/// A vendor that finds this tenant; what it is asked for.
async fn vendor() -> (String, Arc<Mutex<Vec<Method>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let found = json!([{"id": "t-1", "externalId": "fo-late", "status": "active"}]).to_string();
    let router = Router::new().fallback(move |method: Method| {
        log.lock().unwrap().push(method);
        std::future::ready(found.clone())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

/// The sweep once looked for an owner and then waited for its turn: what was applied meanwhile took the
/// tenant, and lost it.
#[tokio::test]
async fn what_is_applied_while_a_sweep_waits_for_its_turn_keeps_the_tenant() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, asked) = vendor().await;
    let budget = Arc::new(OnceLock::<Arc<Budget>>::new());
    let turns = Arc::clone(&budget);
    let router = Router::new().fallback(async move |request: Request| match request.uri().path() {
        path if path.ends_with("/secrets/acme-token") => json!({
            "metadata": {"name": "acme-token", "namespace": "team"},
            "data": {"token": "c2VjcmV0"},
        })
        .to_string()
        .into_response(),
        path if path.ends_with("/subscriptions/late") => {
            // Of one call at a time: where it is to be had, the sweep has to wait for its turn yet.
            let turn = turns.get().unwrap().enter(Line::Awaited);
            match tokio::time::timeout(Duration::from_millis(200), turn).await {
                Ok(_) => {
                    let gone = json!({"status": "Failure", "reason": "NotFound", "code": 404});
                    (StatusCode::NOT_FOUND, gone.to_string()).into_response()
                }
                Err(_) => subscription("late", false).to_string().into_response(),
            }
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    });
    let mut world = world(router, "team", None);
    world.ctx.settings.addresses.insecure = true;
    let acme = json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "VendorConnection",
        "metadata": {"name": "acme", "namespace": "team", "uid": "acme", "resourceVersion": "1"},
        "spec": {
            "url": url, "identity": {"mode": "ExternalId"},
            "auth": {"bearer": {"secretRef": {"name": "acme-token", "key": "token"}}},
            "budget": {"requestsPerSecond": 100, "burst": 100, "maxInFlight": 1},
        },
    });
    cache(&mut world.connections, &acme);
    let mut data = stone("late", "team", "2999-01-01T00:00:00Z")["data"].take();
    data["externalId"] = json!("fo-late");
    let data = serde_json::from_value(data).unwrap();
    let usable = link::usable(&world.ctx, &world.scope, &connection(&data)).await;
    budget.set(usable.unwrap().unwrap().budget).unwrap();

    let over = look(&world.ctx, &world.scope, &data).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [Method::GET]);
    assert!(over, "the name has a new owner");
}

#[test]
fn a_tombstone_names_the_connection_of_its_kind() {
    let stone = |kind: Option<&str>| {
        let texts = [("namespace", "team-a"), ("connection", "acme")];
        let all = texts.into_iter().chain(kind.map(|kind| (KIND, kind)));
        connection(&all.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    };
    let near = ConnectionKey {
        namespace: Some("team-a".into()),
        name: "acme".into(),
    };
    // Those of an older operator say nothing of the kind.
    assert_eq!(stone(None), near);
    assert_eq!(stone(Some("VendorConnection")), near);
    let far = stone(Some("ClusterVendorConnection"));
    assert_eq!(far.to_string(), "ClusterVendorConnection acme");
}
