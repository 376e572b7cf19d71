use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    response::IntoResponse as _,
};
use serde_json::Value;

use super::*;
use crate::testing::{OWN, cache, world};

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
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
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
