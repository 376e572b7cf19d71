//! What is told of a watch's events, and above all of a list.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use futures::{channel::mpsc, stream};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::Status;
use serde_json::{Value, json};

use super::*;
use crate::testing::{cache, decoded, world};

fn map(name: &str, uid: &str, version: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("default".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::new()),
        ..ConfigMap::default()
    }
}

fn list(objects: &[ConfigMap]) -> Vec<Event<ConfigMap>> {
    let listed = objects.iter().cloned().map(Event::InitApply);
    let mut events = vec![Event::Init];
    events.extend(listed);
    events.push(Event::InitDone);
    events
}

/// What is told of these events, and what the cache has at the end.
async fn told(first: FirstList, events: Vec<Event<ConfigMap>>) -> (Vec<String>, Vec<String>) {
    let (store, writer) = reflector::store();
    let said = Arc::new(Mutex::new(Vec::new()));
    let (tells, cache) = (Arc::clone(&said), store.clone());
    let tell = move |event: &Event<ConfigMap>, before: Option<&ConfigMap>| {
        let Some(object) = object(event) else { return };
        let word = match (event, before) {
            (Event::Delete(_), _) => "gone",
            (_, Some(_)) => "changed",
            (_, None) => "new",
        };
        let at = is_there(&cache, object);
        assert_eq!(at, word != "gone", "the cache first");
        let uid = object.uid().unwrap_or_default();
        tells.lock().unwrap().push(format!("{word} {uid}"));
    };
    let events = stream::iter(events.into_iter().map(Ok));
    follow(
        events,
        writer,
        "maps".to_owned(),
        Arc::default(),
        first,
        tell,
    )
    .await;
    let mut has: Vec<String> = store.state().iter().filter_map(|o| o.uid()).collect();
    has.sort();
    let said = said.lock().unwrap().clone();
    (said, has)
}

#[tokio::test]
async fn what_was_deleted_while_nobody_watched_is_told() {
    let mut events = list(&[
        map("a", "1", "10"),
        map("b", "2", "11"),
        map("c", "3", "12"),
    ]);
    // Of b, another one has come; c is as it was.
    events.extend(list(&[map("b", "4", "20"), map("c", "3", "12")]));
    let (mut said, has) = told(FirstList::Quiet, events).await;
    assert_eq!(has, ["3", "4"]);
    assert_eq!(said.pop().as_deref(), Some("changed 4"), "after its like");
    said.sort();
    assert_eq!(said, ["gone 1", "gone 2"]);
}

#[tokio::test]
async fn a_first_list_is_told_where_it_is_news() {
    let all = [map("a", "1", "10"), map("b", "2", "11")];
    let (said, has) = told(FirstList::Told, list(&all)).await;
    assert_eq!((said.len(), has.len()), (2, 2));
    let (said, has) = told(FirstList::Quiet, list(&all)).await;
    assert_eq!((said.len(), has.len()), (0, 2));
}

#[tokio::test]
async fn what_is_deleted_under_watch_is_told_once() {
    let mut events = list(&[map("a", "1", "10")]);
    events.push(Event::Delete(map("a", "1", "11")));
    events.extend(list(&[]));
    let (said, _) = told(FirstList::Quiet, events).await;
    assert_eq!(said, ["gone 1"]);
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_for_minutes_is_said_until_it_goes_on() {
    let (_store, writer) = reflector::store();
    let (events, stream) = mpsc::unbounded();
    let readiness = Arc::<Readiness>::default();
    tokio::spawn(follow(
        stream,
        writer,
        "maps".to_owned(),
        Arc::clone(&readiness),
        FirstList::Quiet,
        |_, _| {},
    ));
    // A minute is longer than any pause after a failure.
    let after = async |event| {
        events.unbounded_send(event).unwrap();
        tokio::time::sleep(MINUTE).await;
        readiness.missing().join("; ")
    };
    let refused = || {
        let status = Status::failure("no watch for you", "Forbidden").with_code(403);
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(
            status.boxed(),
        )))
    };
    let fails = async || {
        for _ in 0..3 {
            assert_eq!(after(refused()).await, "");
        }
        let said = after(refused()).await;
        assert!(
            said.starts_with("maps: ") && said.contains("RBAC"),
            "{said}"
        );
    };

    assert_eq!(after(Ok(Event::Init)).await, "maps: not listed yet");
    assert_eq!(after(Ok(Event::InitDone)).await, "");
    fails().await;
    assert_eq!(after(Ok(Event::Apply(map("a", "1", "11")))).await, "");
    fails().await;
    // A list that begins is none that ends.
    assert_ne!(after(Ok(Event::Init)).await, "");
    assert_eq!(after(Ok(Event::InitDone)).await, "");
    fails().await;
    tokio::time::sleep(MINUTE * 2).await;
    assert!(
        readiness.missing().is_empty(),
        "it has begun, and has no news"
    );
    for _ in 0..10 {
        let cut = kube::Error::LinesCodecMaxLineLengthExceeded;
        assert_eq!(after(Err(watcher::Error::WatchFailed(cut))).await, "");
    }
}

#[test]
fn what_may_repeat_a_secret_is_not_kept() {
    let mut secret = map("a", "1", "10");
    let words = BTreeMap::from([(
        "last-applied-configuration".to_owned(),
        "hunter2".to_owned(),
    )]);
    secret.metadata.annotations = Some(words.clone());
    secret.metadata.labels = Some(words);
    without_words(&mut secret);
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert_eq!(secret.uid().as_deref(), Some("1"));
}

/// The Subscription for the reseller's tenant may be away, and would have told the distributor.
#[tokio::test]
async fn the_last_customer_of_a_reseller_tells_the_distributor_too() {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": "team", "uid": name},
            "spec": spec,
        })
    };
    let tier = |level: u8, parent: Value| {
        json!({
            "connectionRef": {"name": "acme"}, "product": "mail-pro", "level": level,
            "account": {"name": "N"}, "parentRef": parent,
        })
    };
    let mut world = world(axum::Router::new(), "team", None);
    for (name, spec) in [
        ("north", tier(1, json!({"name": "top"}))),
        ("top", tier(2, Value::Null)),
        ("south", tier(1, Value::Null)),
    ] {
        cache(&mut world.tiers, &object("TierConfiguration", name, spec));
    }
    let mail = json!({
        "connectionRef": {"name": "acme"}, "product": "mail-pro",
        "tiers": {"tier1": {"tierConfigurationRef": {"name": "north"}}},
    });
    let (queues, mut queued) = Queues::new();
    let tell = Tell {
        scope: Arc::clone(&world.scope),
        queues,
    };
    let gone = Event::Delete(decoded(&object("Subscription", "mail", mail)));
    tell.subscription(&world.ctx, &gone, None);
    let mut told = Vec::new();
    while let Ok(tier) = queued.tiers.try_recv() {
        told.push(tier.obj_ref.name);
    }
    while let Ok(subscription) = queued.subscriptions.try_recv() {
        told.push(subscription.obj_ref.name);
    }
    assert_eq!(told, ["north", "top", "north-tier", "top-tier"]);
}
