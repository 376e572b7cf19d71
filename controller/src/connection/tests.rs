mod rotation;

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, http::StatusCode, response::IntoResponse as _};
use fulfillment_crds::{Reason, VendorConnection};
use kube::{core::PartialObjectMeta, runtime::watcher::Event};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::{guard, ready};
use crate::{
    kinds::{Connection, ConnectionKey},
    link,
    testing::{World, cache, decoded, world},
    vendor::{Class, Effect, Operation, VendorError},
};

const API: &str = "/apis/fulfillment-operator.io/v1alpha1/namespaces/team";

fn connection(name: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "VendorConnection",
        "metadata": {
            "name": name, "namespace": "team", "uid": name, "resourceVersion": "1",
            "finalizers": ["fulfillment-operator.io/in-use"],
        },
        "spec": {"url": "https://acme.example", "auth": {"bearer": {"secretRef": {"name": secret, "key": "token"}}}},
    })
}

fn subscription(name: &str, connection: &str, finalizers: &[&str]) -> Value {
    json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "Subscription",
        "metadata": {"name": name, "namespace": "team", "uid": name, "finalizers": finalizers},
        "spec": {"connectionRef": {"name": connection}, "product": "mail-pro"},
    })
}

/// A cluster with the Subscriptions on two pages, the last of them for `last`; what is asked is noted, and
/// `listed` called at every list.
fn server(
    last: &'static str,
    asked: &Asked,
    listed: impl Fn() + Clone + Send + Sync + 'static,
) -> Router {
    let asked = Arc::clone(asked);
    Router::new().fallback(move |request: Request| {
        let (uri, method) = (request.uri(), request.method());
        asked.lock().unwrap().push(format!("{method} {}", uri.path()));
        let page = |next: &str, item: Value| json!({"metadata": {"continue": next}, "items": [item]});
        let held = ["fulfillment-operator.io/tenant"];
        let answer = if uri.path() == format!("{API}/subscriptions") {
            listed();
            let next = uri.query().unwrap_or_default().contains("continue=more");
            Some(if next {
                page("", subscription("b", last, &held))
            } else {
                page("more", subscription("a", "acme", &[]))
            })
        } else if uri.path().contains("/vendorconnections/") {
            Some(connection("acme", "acme-token"))
        } else if uri.path().contains("/secrets/") {
            let held = ["fulfillment-operator.io/in-use"];
            Some(json!({"metadata": {"name": "s", "namespace": "team", "uid": "s", "finalizers": held}}))
        } else {
            None
        };
        let answer = answer.map(|found| found.to_string().into_response());
        std::future::ready(answer.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response()))
    })
}

type Asked = Arc<Mutex<Vec<String>>>;

/// Two connections with Secrets, and nobody in sight.
fn filled(server: Router) -> World {
    let mut world = world(server, "team", Some("shard=a"));
    for (name, secret) in [("acme", "acme-token"), ("other", "other-token")] {
        cache(&mut world.connections, &connection(name, secret));
        let meta = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": secret, "namespace": "team", "finalizers": ["fulfillment-operator.io/in-use"]},
        });
        let secret: PartialObjectMeta<_> = serde_json::from_value(meta).unwrap();
        world.secrets.apply_watcher_event(&Event::Apply(secret));
    }
    world
}

async fn guarded(world: &World) -> i64 {
    let acme = decoded::<VendorConnection>(&connection("acme", "acme-token"));
    let acme = Connection::from(acme.0.unwrap());
    guard(&world.ctx, &world.scope, &acme, &acme.key())
        .await
        .unwrap()
}

fn protected(world: &World, name: &str) -> Arc<RwLock<bool>> {
    let key = ConnectionKey {
        namespace: Some("team".into()),
        name: name.into(),
    };
    Arc::clone(&world.ctx.links.get(&key).protected)
}

/// Who buys waits for the connection's lock, and a list of everything takes long.
#[tokio::test]
async fn whoever_is_out_of_sight_is_counted_page_by_page_while_others_buy() {
    let (asked, free) = (Asked::default(), Asked::default());
    let lock = Arc::new(Mutex::new(None::<Arc<RwLock<bool>>>));
    let (seen, locked) = (Arc::clone(&free), Arc::clone(&lock));
    let world = filled(server("acme", &asked, move || {
        let lock = locked.lock().unwrap().clone().unwrap();
        seen.lock()
            .unwrap()
            .push(lock.try_read().is_ok().to_string());
    }));
    *lock.lock().unwrap() = Some(protected(&world, "acme"));
    // Somebody buys at the other one, whose Secret stays.
    *protected(&world, "other").write().await = true;
    assert_eq!(guarded(&world).await, 1);
    assert_eq!(*free.lock().unwrap(), ["true", "true"]);
    let list = format!("GET {API}/subscriptions");
    assert_eq!(
        *asked.lock().unwrap(),
        [list.clone(), list],
        "nothing is let go"
    );
}

#[tokio::test]
async fn one_list_tells_of_all_whose_secrets_would_be_let_go() {
    let asked = Asked::default();
    let world = filled(server("other", &asked, || {}));
    assert_eq!(guarded(&world).await, 0);
    let asked = asked.lock().unwrap().clone();
    let list = format!("GET {API}/subscriptions");
    let expected = [
        list.as_str(),
        &list,
        "GET /api/v1/namespaces/team/secrets/acme-token",
        "PATCH /api/v1/namespaces/team/secrets/s",
        &format!("PATCH {API}/vendorconnections/acme"),
    ];
    assert_eq!(asked, expected);
}

/// A product that nobody can give holds up purchases only; that the vendor answers no more concerns all.
#[tokio::test]
async fn what_the_vendor_says_comes_before_a_product_that_is_unfit() {
    // What it says to a second one does not matter.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = json!({"token": "dG9rZW4="});
    let meta = json!({"name": "acme-token", "namespace": "team", "uid": "s"});
    let secret = json!({"metadata": meta, "data": data}).to_string();
    let mut world = world(
        Router::new().fallback(move || std::future::ready(secret.clone())),
        "team",
        None,
    );
    let choices: Vec<_> = (0..1000)
        .map(|n| json!({"value": format!("edition-{n}")}))
        .collect();
    let edition =
        json!({"name": "edition", "type": "dropdown", "default": "none", "choices": choices});
    let mut acme = connection("acme", "acme-token");
    acme["spec"]["products"] = json!([{"name": "mail-pro", "parameters": [edition]}]);
    cache(&mut world.connections, &acme);
    let key = decoded::<VendorConnection>(&acme);
    let key = Connection::from(key.0.unwrap()).key();
    let ready = async || ready(&world.ctx, &world.scope, &key).await.unwrap();

    let (reason, message) = ready().await.unwrap_err();
    assert_eq!(reason, Reason::DependencyNotReady);
    assert!(message.contains("product mail-pro: edition: "), "{message}");
    assert!(
        message.ends_with("nothing new of it is bought") && message.len() < 1000,
        "the remedy is not cut off: {message}"
    );

    let usable = link::usable(&world.ctx, &world.scope, &key).await;
    let refused = |_| {
        std::future::ready(Err(VendorError {
            class: Class::Auth,
            effect: Effect::None,
            retry_after: None,
            status: Some(401),
            code: String::new(),
            message: "the vendor answered 401".into(),
            parameters: Vec::new(),
            unsent: false,
        }))
    };
    let answer = usable.unwrap().unwrap().call(Operation::Get, refused).await;
    answer.unwrap_err();
    let said = (Reason::Unauthorized, "the vendor answered 401".to_owned());
    assert_eq!(ready().await, Err(said));
}

/// Who comes while it is counted protects the connection, and is counted.
#[tokio::test]
async fn nothing_is_let_go_under_whoever_buys_meanwhile() {
    let asked = Asked::default();
    let lock = Arc::new(Mutex::new(None::<Arc<RwLock<bool>>>));
    let locked = Arc::clone(&lock);
    let lists = Arc::clone(&asked);
    let world = filled(server("other", &asked, move || {
        if lists.lock().unwrap().len() == 1 {
            let lock = locked.lock().unwrap().clone().unwrap();
            *lock.try_write().unwrap() = true;
        }
    }));
    *lock.lock().unwrap() = Some(protected(&world, "acme"));
    assert_eq!(guarded(&world).await, 0);
    let asked = asked.lock().unwrap().clone();
    let lists = asked
        .iter()
        .take_while(|call| call.ends_with("/subscriptions"));
    assert_eq!(lists.count(), 4, "counted anew: {asked:#?}");
}
