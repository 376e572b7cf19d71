//! What is learned of a Subscription from each way of hearing of it.

use super::*;
use serde_json::json;

const URL: &str = "https://plane";

/// A Subscription of the name `k`, last written in this second.
fn object(uid: &str, second: u8, state: &str) -> Value {
    json!({
        "metadata": {
            "uid": uid, "namespace": "team",
            "managedFields": [{"time": at(0).to_string()}, {"time": at(second).to_string()}],
        },
        "spec": {"connectionRef": {"name": "acme"}, "state": state},
        "status": {"externalId": "k"},
    })
}

fn at(second: u8) -> Timestamp {
    format!("2026-01-01T00:00:{second:02}Z").parse().unwrap()
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

impl Record {
    fn hear(&mut self, kind: &str, object: &Value) {
        self.take_event(URL, &event(kind, object));
    }

    /// What was asked under the name `k`.
    fn asked(&self) -> Vec<(&'static str, Timestamp)> {
        let orders = self.orders(|who| who.namespace == "team" && who.connection == "acme");
        orders["k"].clone().into_iter().collect()
    }
}

#[test]
fn a_life_asks_for_each_of_its_turns_from_when_it_is_taken() {
    let mut record = Record::default();
    record.hear("ADDED", &object("a", 1, "Active"));
    record.hear("MODIFIED", &object("a", 2, "Active"));
    assert_eq!(record.asked(), [("enabled", at(1))]);
    record.hear("MODIFIED", &object("a", 3, "Suspended"));
    record.hear("MODIFIED", &object("a", 4, "Active"));
    let switched = [("disabled", at(3)), ("enabled", at(1))];
    assert_eq!(record.asked(), switched);
    // Nobody writes a field where it begins to be deleted.
    let mut ending = object("a", 4, "Active");
    ending["metadata"]["deletionTimestamp"] = json!(at(6).to_string());
    record.hear("MODIFIED", &ending);
    record.hear("DELETED", &ending);
    let ended = [("deleted", at(6)), switched[0], switched[1]];
    assert_eq!(record.asked(), ended);
    assert!(record.orders(|who| who.namespace == "other").is_empty());
}

#[test]
fn one_without_a_finalizer_goes_at_once() {
    let mut record = Record::default();
    record.hear("ADDED", &object("a", 1, "Active"));
    record.hear("DELETED", &object("a", 2, "Active"));
    let ended = [("deleted", at(2)), ("disabled", at(2)), ("enabled", at(1))];
    assert_eq!(record.asked(), ended);
    // What comes after it under the same name takes nothing of that back.
    record.hear("ADDED", &object("b", 9, "Suspended"));
    assert_eq!(record.asked(), ended);
}

#[test]
fn a_list_does_not_tell_since_when() {
    let mut record = Record::default();
    record.hear("ADDED", &object("a", 1, "Active"));
    record.take_list("https://other", &[]);
    record.take_list(URL, &[object("a", 5, "Suspended")]);
    let listed = [("disabled", Timestamp::MIN), ("enabled", at(1))];
    assert_eq!(record.asked(), listed);
    record.take_list(URL, &[]);
    let ended = [("deleted", Timestamp::MIN), listed[0], listed[1]];
    assert_eq!(record.asked(), ended);
}
