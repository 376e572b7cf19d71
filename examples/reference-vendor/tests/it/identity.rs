//! What becomes of a create that comes twice.

use crate::support::{Answer, Vendor, eventually};
use reference_vendor::{Config, Identity};
use serde_json::{Value, json};

async fn vendor(identity: Identity) -> Vendor {
    Vendor::with(Config {
        identity,
        ..Config::default()
    })
    .await
}

async fn create(vendor: &Vendor, key: &str, body: Value) -> Answer {
    Answer::of(
        vendor
            .request("POST", "/tenant")
            .header("Idempotency-Key", key)
            .json(&body),
    )
    .await
}

#[tokio::test]
async fn an_external_id_is_unique_for_ever() {
    let vendor = vendor(Identity::ExternalId).await;
    let order = json!({"externalId": "a", "limits": {"seats": 1}});
    let first = create(&vendor, "1", order.clone()).await;
    let second = create(&vendor, "1", order.clone()).await;
    assert_eq!((first.status, second.status), (201, 409));
    assert_eq!(first.json(), second.json());
    assert_eq!(
        vendor.last_call().await["effect"]["tenantId"],
        first.json()["id"]
    );

    let path = format!("/tenant/{}", first.json()["id"].as_str().unwrap());
    vendor.call("DELETE", &path).await;
    let third = create(&vendor, "2", order).await;
    assert_eq!(
        (third.status, third.json()["status"].as_str().unwrap()),
        (409, "terminated")
    );

    vendor
        .behave(json!({"operations": {"create": {"async": {"after": "0s", "outcome": "fail"}}}}))
        .await;
    let order = json!({"externalId": "b"});
    assert_eq!(create(&vendor, "3", order.clone()).await.status, 202);
    let again = create(&vendor, "3", order).await;
    assert_eq!(
        (again.status, again.json()["status"].as_str().unwrap()),
        (409, "failed")
    );
    assert_eq!(vendor.counts().await["effects"]["created"], 2);
}

#[tokio::test]
async fn only_one_of_many_creates_at_once_makes_a_tenant() {
    let vendor = vendor(Identity::ExternalId).await;
    let creates = (0..20).map(|_| create(&vendor, "k", json!({"externalId": "a"})));
    let mut statuses: Vec<u16> = futures::future::join_all(creates)
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 19][..]));
    assert_eq!(vendor.counts().await["live"], 1);
}

#[tokio::test]
async fn an_idempotency_key_replays_the_first_answer() {
    let vendor = vendor(Identity::IdempotencyKey).await;
    let order = json!({"externalId": "a", "limits": {"seats": 1}});
    let first = create(&vendor, "k1", order.clone()).await;
    assert_eq!(first.status, 201);
    assert!(!first.headers.contains_key("idempotency-replayed"));

    let replay = create(&vendor, "k1", order.clone()).await;
    assert_eq!((replay.status, &replay.body), (201, &first.body));
    assert_eq!(replay.header("idempotency-replayed"), "true");
    let effect = &vendor.last_call().await["effect"];
    assert_eq!(
        (&effect["kind"], &effect["tenantId"]),
        (&json!("none"), &first.json()["id"])
    );

    let other = create(&vendor, "k1", json!({"externalId": "a"})).await;
    assert_eq!(
        (other.status, other.code().as_str()),
        (422, "idempotency_key_reused")
    );

    // The key alone counts.
    assert_eq!(create(&vendor, "k2", order.clone()).await.status, 201);
    assert_eq!(
        vendor.send("POST", "/tenant", order.clone()).await.status,
        201
    );
    let counts = vendor.counts().await;
    assert_eq!(
        (&counts["live"], &counts["duplicates"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(vendor.get("/tenant?externalId=a").await.code(), "no_lookup");

    // A refused body may be corrected.
    assert_eq!(
        create(&vendor, "k3", json!({"limits": {"seats": -1}}))
            .await
            .status,
        400
    );
    assert_eq!(
        create(&vendor, "k3", json!({"limits": {"seats": 1}}))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn an_idempotency_key_is_forgotten_in_the_end() {
    let vendor = vendor(Identity::IdempotencyKey).await;
    vendor.behave(json!({"idempotencyRetention": "0s"})).await;
    let first = create(&vendor, "k", json!({})).await.json();
    let second = create(&vendor, "k", json!({"product": "p"})).await;
    assert_eq!(second.status, 201);
    assert_ne!(second.json()["id"], first["id"]);
}

#[tokio::test]
async fn an_idempotency_key_in_flight_is_refused() {
    let vendor = vendor(Identity::IdempotencyKey).await;
    // Longer than the test, so that only the order of things matters.
    vendor.fault("POST", json!({"delay": "1h"})).await;
    let slow = vendor
        .request("POST", "/tenant")
        .header("Idempotency-Key", "k")
        .json(&json!({}));
    let slow = tokio::spawn(slow.send());
    eventually(async || (vendor.counts().await["inFlight"] == 1).then_some(())).await;
    let answer = create(&vendor, "k", json!({})).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "idempotency_key_in_flight")
    );
    assert_eq!(create(&vendor, "other", json!({})).await.status, 201);
    slow.abort();
    vendor.stop().await;
}

#[tokio::test]
async fn lookup_finds_them_all() {
    let vendor = vendor(Identity::Lookup).await;
    for _ in 0..12 {
        assert_eq!(
            create(&vendor, "k", json!({"externalId": "a"}))
                .await
                .status,
            201
        );
    }
    create(&vendor, "k", json!({})).await;
    let found = vendor.get("/tenant?externalId=a").await.json();
    let ids: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["id"].as_str().unwrap())
        .collect();
    let oldest_first: Vec<String> = (1001..1013).map(|number| format!("t-{number}")).collect();
    assert_eq!(ids, oldest_first);
    assert_eq!(vendor.counts().await["duplicates"], 12);
    assert_eq!(vendor.get("/tenant?externalId=b").await.json(), json!([]));
}

#[tokio::test]
async fn a_bare_vendor_offers_nothing() {
    let vendor = vendor(Identity::None).await;
    let order = json!({"externalId": "a"});
    let first = create(&vendor, "k", order.clone()).await;
    let second = create(&vendor, "k", order).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_ne!(first.json()["id"], second.json()["id"]);
    assert_eq!(first.json().get("externalId"), None);
    let lookup = vendor.get("/tenant?externalId=a").await;
    assert_eq!((lookup.status, lookup.code().as_str()), (400, "no_lookup"));
    // It knows all the same, so that tests can tell.
    assert_eq!(vendor.counts().await["duplicates"], 2);
}
