//! What is told of a watch's events, and above all of a list.

use std::{collections::BTreeMap, sync::Mutex};

use futures::stream;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::*;

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
