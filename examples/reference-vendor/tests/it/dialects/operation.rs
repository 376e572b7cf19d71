//! Numbered operations.

use super::{expect, speaking};
use crate::{
    persistence::Program,
    support::{Answer, Vendor, eventually},
};
use reference_vendor::Dialect;
use serde_json::{Value, json};

const PATH: &str = "/tenant/t-1001";

async fn vendor() -> Vendor {
    speaking(Dialect::Operation).await
}

async fn last(vendor: &Vendor, operation: &str) -> Answer {
    vendor
        .get(&format!("{PATH}/last_operation?operation={operation}"))
        .await
}

/// How the operation ends.
async fn end(vendor: &Vendor, operation: &str) -> Value {
    eventually(async || {
        let answer = last(vendor, operation).await;
        assert_eq!(answer.status, 200, "{answer}");
        let said = answer.json();
        (said["state"] != "in progress").then_some(said)
    })
    .await
}

/// Begins an operation, which must get this id, and waits for its success.
async fn done(vendor: &Vendor, operation: &str, method: &str, path: &str, body: Value) {
    let begun = expect(vendor, 202, method, path, body).await.json();
    assert_eq!(begun, json!({ "operation": operation }));
    let success = json!({"state": "succeeded", "description": ""});
    assert_eq!(end(vendor, operation).await, success);
}

async fn manual(vendor: &Vendor) {
    let manual = json!({"async": {"after": "manual"}});
    let all = json!({"create": manual, "change": manual, "disable": manual, "delete": manual});
    vendor.behave(json!({ "operations": all })).await;
}

fn error(answer: &Answer) -> String {
    assert!(answer.json()["description"].is_string());
    answer.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_life_of_a_tenant() {
    let vendor = vendor().await;
    let order = json!({"externalId": "acme 1", "product": "mail-pro", "limits": {"seats": 50}});
    let bought = expect(&vendor, 202, "POST", "/tenant", order).await;
    assert_eq!(bought.header("retry-after"), "1");
    assert_eq!(
        bought.json(),
        json!({"tenant": "t-1001", "operation": "op-1"})
    );
    assert_eq!(end(&vendor, "op-1").await["state"], "succeeded");
    let seen = vendor.get(PATH).await.json();
    let expected = json!({
        "id": "t-1001", "name": "acme 1", "state": "active", "limits": {"seats": 50},
        "parameters": seen["parameters"]
    });
    assert_eq!(seen, expected);
    let link = format!("{}/t/t-1001", vendor.url);
    assert_eq!(seen["parameters"]["activation_link"], link);

    done(
        &vendor,
        "op-2",
        "PUT",
        PATH,
        json!({"limits": {"seats": 60}}),
    )
    .await;
    assert_eq!(
        vendor.get(PATH).await.json()["limits"],
        json!({"seats": 60})
    );
    let disable = format!("{PATH}/disable");
    done(&vendor, "op-3", "PUT", &disable, Value::Null).await;
    assert_eq!(vendor.get(PATH).await.json()["state"], "suspended");
    // What is so already is done.
    done(&vendor, "op-4", "PUT", &disable, Value::Null).await;
    done(
        &vendor,
        "op-5",
        "PUT",
        &format!("{PATH}/enable"),
        Value::Null,
    )
    .await;
    assert_eq!(vendor.get(PATH).await.json()["state"], "active");
    assert_eq!(last(&vendor, "op-1").await.json()["state"], "succeeded");

    let begun = expect(&vendor, 202, "DELETE", PATH, Value::Null).await;
    assert_eq!(begun.json(), json!({"operation": "op-6"}));
    eventually(async || (vendor.get(PATH).await.status == 410).then_some(())).await;
    for (method, rest, body) in [
        ("GET", "", Value::Null),
        ("GET", "/last_operation?operation=op-6", Value::Null),
        ("DELETE", "", Value::Null),
        ("PUT", "", json!({})),
        ("PUT", "/enable", Value::Null),
    ] {
        let gone = expect(&vendor, 410, method, &format!("{PATH}{rest}"), body).await;
        assert_eq!(error(&gone), "Gone");
    }
}

#[tokio::test]
async fn a_tenant_is_not_seen_before_it_is_made() {
    let vendor = vendor().await;
    manual(&vendor).await;
    expect(&vendor, 202, "POST", "/tenant", json!({"externalId": "a"})).await;
    let hidden = expect(&vendor, 404, "GET", PATH, Value::Null).await;
    assert_eq!(error(&hidden), "NotFound");
    // The record of calls does not take it for gone.
    let effect = vendor.last_call().await["effect"].clone();
    assert_eq!(
        (&effect["tenantId"], &effect["tenantStatus"]),
        (&json!("t-1001"), &json!("pending"))
    );
    let waiting = last(&vendor, "op-1").await;
    assert_eq!(waiting.json()["state"], "in progress");
    assert_eq!(waiting.header("retry-after"), "1");
    let decision = json!({"status": "failed", "reason": "no credit"});
    vendor.decide(PATH, decision).await;
    let failure = json!({"state": "failed", "description": "no credit"});
    assert_eq!(last(&vendor, "op-1").await.json(), failure);
    expect(&vendor, 404, "GET", PATH, Value::Null).await;
}

#[tokio::test]
async fn one_operation_at_a_time() {
    let vendor = vendor().await;
    manual(&vendor).await;
    let busy = async || {
        for (method, rest, body) in [
            ("PUT", "", json!({"limits": {"seats": 1}})),
            ("PUT", "/disable", Value::Null),
            ("PUT", "/enable", Value::Null),
            ("DELETE", "", Value::Null),
        ] {
            let refused = expect(&vendor, 422, method, &format!("{PATH}{rest}"), body).await;
            assert_eq!(error(&refused), "ConcurrencyError");
        }
    };
    expect(&vendor, 202, "POST", "/tenant", json!({"externalId": "a"})).await;
    busy().await;
    vendor.decide(PATH, json!({"status": "approved"})).await;
    expect(&vendor, 202, "PUT", PATH, json!({"limits": {"seats": 1}})).await;
    busy().await;
    vendor
        .decide(PATH, json!({"status": "failed", "reason": "no"}))
        .await;
    expect(&vendor, 202, "DELETE", PATH, Value::Null).await;
    busy().await;
    vendor
        .decide(PATH, json!({"status": "failed", "reason": "later"}))
        .await;
    // Each says how it ended, also when others came after it.
    for (operation, state, description) in [
        ("op-1", "succeeded", ""),
        ("op-2", "failed", "no"),
        ("op-3", "failed", "later"),
    ] {
        let said = last(&vendor, operation).await.json();
        assert_eq!(said, json!({"state": state, "description": description}));
    }
    assert_eq!(vendor.counts().await["effects"]["changed"], 1);
}

#[tokio::test]
async fn an_inquiry_is_part_of_its_operation() {
    let vendor = vendor().await;
    manual(&vendor).await;
    expect(&vendor, 202, "POST", "/tenant", json!({"externalId": "a"})).await;
    let errors = json!({"phone": "missing"});
    let inquiry = json!({"status": "inquiring", "reason": "who?", "parameterErrors": errors});
    vendor.decide(PATH, inquiry.clone()).await;
    let waiting = json!({"state": "input required", "description": "who?", "inputs": errors});
    assert_eq!(last(&vendor, "op-1").await.json(), waiting);
    let refused = expect(&vendor, 422, "PUT", &format!("{PATH}/disable"), Value::Null).await;
    assert_eq!(error(&refused), "ConcurrencyError");
    let answered = expect(
        &vendor,
        202,
        "PUT",
        PATH,
        json!({"parameters": {"phone": "1"}}),
    )
    .await;
    assert_eq!(answered.json(), json!({"operation": "op-1"}));
    vendor.decide(PATH, inquiry).await;
    let deleted = expect(&vendor, 202, "DELETE", PATH, Value::Null).await;
    assert_eq!(deleted.json(), json!({"operation": "op-2"}));
    let said = last(&vendor, "op-1").await.json();
    assert_eq!(said["state"], "failed");
    vendor.decide(PATH, json!({"status": "approved"})).await;
    assert_eq!(last(&vendor, "op-2").await.status, 410);
}

#[tokio::test]
async fn an_idempotency_key_replays_the_first_answer() {
    let vendor = vendor().await;
    let create = |key: &str, body: Value| {
        let request = vendor
            .request("POST", "/tenant")
            .header("Idempotency-Key", key);
        Answer::of(request.json(&body))
    };
    let order = json!({"externalId": "a"});
    let first = create("k1", order.clone()).await;
    let again = create("k1", order.clone()).await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(vendor.last_call().await["effect"]["tenantId"], "t-1001");
    let reused = create("k1", json!({"externalId": "b"})).await;
    assert_eq!(
        (reused.status, error(&reused).as_str()),
        (422, "IdempotencyKeyReused")
    );
    let second = create("k2", order).await;
    assert_eq!(
        second.json(),
        json!({"tenant": "t-1002", "operation": "op-2"})
    );
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let vendor = vendor().await;
    expect(
        &vendor,
        400,
        "POST",
        "/tenant",
        json!({"limits": {"seats": -1}}),
    )
    .await;
    expect(&vendor, 202, "POST", "/tenant", json!({"externalId": "a"})).await;
    end(&vendor, "op-1").await;
    expect(
        &vendor,
        400,
        "PUT",
        PATH,
        json!({"limits": {"seats": "many"}}),
    )
    .await;
    let missing = expect(
        &vendor,
        400,
        "GET",
        &format!("{PATH}/last_operation"),
        Value::Null,
    )
    .await;
    assert_eq!(error(&missing), "MissingOperation");
    assert_eq!(last(&vendor, "op-2").await.status, 404);
    let path = "/tenant/x/last_operation?operation=op-1";
    expect(&vendor, 404, "GET", path, Value::Null).await;
    expect(
        &vendor,
        405,
        "PUT",
        &format!("{PATH}/last_operation"),
        Value::Null,
    )
    .await;
    expect(&vendor, 404, "DELETE", "/tenant/x", Value::Null).await;
}

#[tokio::test]
async fn how_long_it_takes_can_be_said() {
    let vendor = vendor().await;
    vendor.behave(json!({"operationTime": "1h"})).await;
    expect(&vendor, 202, "POST", "/tenant", json!({"externalId": "a"})).await;
    assert_eq!(last(&vendor, "op-1").await.json()["state"], "in progress");
    vendor.behave(json!({"operationTime": "0s"})).await;
    expect(&vendor, 202, "POST", "/tenant", json!({"externalId": "b"})).await;
    assert_eq!(vendor.get("/tenant/t-1002").await.json()["state"], "active");
}

#[tokio::test]
async fn operations_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("vendor.redb");
    let arguments = [
        "--dialect",
        "operation",
        "--database",
        database.to_str().unwrap(),
    ];
    let program = Program::start(&arguments);
    let order = json!({"externalId": "a"});
    expect(&program.vendor, 202, "POST", "/tenant", order).await;
    end(&program.vendor, "op-1").await;
    manual(&program.vendor).await;
    expect(
        &program.vendor,
        202,
        "PUT",
        PATH,
        json!({"limits": {"seats": 1}}),
    )
    .await;
    program.kill();

    let program = Program::start(&arguments);
    let vendor = &program.vendor;
    assert_eq!(last(vendor, "op-1").await.json()["state"], "succeeded");
    assert_eq!(last(vendor, "op-2").await.json()["state"], "in progress");
    expect(vendor, 422, "DELETE", PATH, Value::Null).await;
    vendor.decide(PATH, json!({"status": "approved"})).await;
    assert_eq!(last(vendor, "op-2").await.json()["state"], "succeeded");
    let begun = expect(vendor, 202, "PUT", &format!("{PATH}/disable"), Value::Null).await;
    assert_eq!(begun.json(), json!({"operation": "op-3"}));
}
