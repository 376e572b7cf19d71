//! What a late record may not overwrite. Found by the model check in mode None: a replica repeats
//! the record of a send that was not delivered, another has armed the next send meanwhile.

use fulfillment_crds::{RequestStatus, RequestType, Subscription, SubscriptionStatus, annotations};
use fulfillment_operator::{
    facts::Intent,
    kubernetes::{Guard, Mark, encode},
};

use crate::model::request;

fn holding(status: RequestStatus, attempts: i64) -> Subscription {
    let mut object: Subscription = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "a", "namespace": "n"},
        "spec": {"connectionRef": {"name": "c"}, "product": "p", "limits": {"seats": 1}},
    }))
    .unwrap();
    let mut request = request(RequestType::Purchase, status, "");
    request.attempts = attempts;
    object.status = Some(SubscriptionStatus {
        request: Some(request),
        ..SubscriptionStatus::default()
    });
    object
}

fn sent_once() -> Mark {
    Mark {
        id: "r0".into(),
        status: RequestStatus::Pending,
        attempts: 1,
    }
}

#[test]
fn a_record_that_is_repeated_takes_back_nothing_that_came_after_it() {
    let intent = Intent {
        id: "r0".into(),
        attempt: 1,
        external_id: "e".into(),
        body: None,
        repeated: false,
        after: None,
    };
    let first = Guard::Intent(intent.clone(), None);
    let mut object = holding(RequestStatus::Approved, 1);
    object.metadata.annotations = Some([(annotations::INTENT.to_owned(), encode(&intent))].into());
    assert!(!first.holds(&object), "it is recorded");
    object.status = None;
    assert!(first.holds(&object));
}

#[test]
fn a_late_record_takes_back_neither_the_next_send_nor_what_was_decided() {
    let guard = Guard::Request(sent_once());
    assert!(guard.holds(&holding(RequestStatus::Pending, 1)));
    assert!(
        !guard.holds(&holding(RequestStatus::Pending, 2)),
        "armed again"
    );
    assert!(
        !guard.holds(&holding(RequestStatus::Approved, 1)),
        "decided"
    );
    assert!(
        !guard.holds(&holding(RequestStatus::Unknown, 1)),
        "recorded"
    );
}

#[test]
fn the_patch_tests_what_the_guard_says() {
    let guard = Guard::Request(sent_once());
    let paths: Vec<_> = guard.tests().iter().map(|t| t["path"].clone()).collect();
    assert_eq!(
        paths,
        [
            "/status/request/id",
            "/status/request/status",
            "/status/request/attempts"
        ]
    );
}
