//! A number and a word.

use super::{expect, speaking};
use crate::support::Answer;
use reference_vendor::Dialect;
use serde_json::{Value, json};

#[tokio::test]
async fn the_life_of_a_tenant() {
    let vendor = speaking(Dialect::Bare).await;
    let order = json!({
        "externalId": "acme-1", "product": "mail-pro", "limits": {"seats": 50},
        "callbackUrl": "http://127.0.0.1:1/", "tiers": {"customer": {"externalId": "c-17"}}
    });
    let bought = expect(&vendor, 201, "POST", "/tenant", order).await.json();
    assert_eq!(bought, json!({"id": 1001, "status": "active"}));
    let path = "/tenant/1001";
    assert_eq!(vendor.get(path).await.json(), bought);

    let changed = expect(&vendor, 200, "PUT", path, json!({"limits": {"seats": 60}})).await;
    assert_eq!(changed.body, "");
    let tenants = vendor.get("/_vendor/tenants").await.json();
    let tenant = &tenants[0];
    assert_eq!(
        (&tenant["id"], &tenant["limits"]),
        (&json!("1001"), &json!({"seats": 60}))
    );
    assert_eq!(
        (&tenant["callbackUrl"], &tenant["terms"]["tiers"]),
        (&Value::Null, &json!({}))
    );

    for (operation, status) in [("disable", "suspended"), ("enable", "active")] {
        for _ in 0..2 {
            let path = format!("{path}/{operation}");
            let answer = expect(&vendor, 204, "PUT", &path, Value::Null).await;
            assert_eq!(answer.body, "");
        }
        let seen = vendor.get(path).await.json();
        assert_eq!(seen, json!({"id": 1001, "status": status}));
    }
    let deleted = expect(&vendor, 204, "DELETE", path, Value::Null).await;
    assert_eq!(deleted.body, "");
    assert_eq!(
        expect(&vendor, 404, "GET", path, Value::Null).await.body,
        ""
    );
    expect(&vendor, 404, "DELETE", path, Value::Null).await;
    assert_eq!(vendor.get("/t/1001").await.status, 200);
}

#[tokio::test]
async fn nothing_makes_a_repeated_create_safe() {
    let vendor = speaking(Dialect::Bare).await;
    for id in [1001, 1002, 1003] {
        let create = vendor
            .request("POST", "/tenant")
            .header("Idempotency-Key", "k");
        let bought = Answer::of(create.json(&json!({"externalId": "acme-1"}))).await;
        assert_eq!((bought.status, &bought.json()["id"]), (201, &json!(id)));
    }
    for query in ["externalId=acme-1", "id=1001", ""] {
        let answer = expect(
            &vendor,
            404,
            "GET",
            &format!("/tenant?{query}"),
            Value::Null,
        )
        .await;
        assert_eq!(answer.body, "");
    }
    assert_eq!(vendor.last_call().await["operation"], "lookup");
}

#[tokio::test]
async fn it_takes_its_time_in_silence() {
    let vendor = speaking(Dialect::Bare).await;
    let manual = json!({"async": {"after": "manual"}});
    let all = json!({"create": manual, "change": manual, "disable": manual, "delete": manual});
    vendor.behave(json!({ "operations": all })).await;
    let path = "/tenant/1001";
    let bought = expect(&vendor, 202, "POST", "/tenant", json!({}))
        .await
        .json();
    assert_eq!(bought, json!({"id": 1001, "status": "pending"}));
    assert_eq!(vendor.get(path).await.json(), bought);
    vendor.decide(path, json!({"status": "approved"})).await;
    assert_eq!(vendor.get(path).await.json()["status"], "active");
    for (method, path, body) in [
        ("PUT", path.to_owned(), json!({"limits": {"seats": 1}})),
        ("PUT", format!("{path}/disable"), Value::Null),
        ("DELETE", path.to_owned(), Value::Null),
    ] {
        assert_eq!(expect(&vendor, 202, method, &path, body).await.body, "");
        vendor
            .decide("/tenant/1001", json!({"status": "approved"}))
            .await;
    }
    expect(&vendor, 404, "GET", path, Value::Null).await;

    let fail = json!({"create": {"async": {"after": "0s", "outcome": "fail"}}});
    vendor.behave(json!({ "operations": fail })).await;
    expect(&vendor, 202, "POST", "/tenant", json!({})).await;
    let failed = vendor.get("/tenant/1002").await.json();
    assert_eq!(failed, json!({"id": 1002, "status": "failed"}));
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let vendor = speaking(Dialect::Bare).await;
    for body in [json!({"limits": {"seats": -1}}), json!({"limits": []})] {
        assert_eq!(expect(&vendor, 400, "POST", "/tenant", body).await.body, "");
    }
    expect(&vendor, 201, "POST", "/tenant", json!({})).await;
    let body = json!({"limits": {"seats": "many"}});
    expect(&vendor, 400, "PUT", "/tenant/1001", body).await;
}
