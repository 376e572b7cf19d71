//! Requests that are decided later.

use crate::support::{Vendor, eventually, reach};
use serde_json::{Value, json};

/// A vendor that decides all operations like this.
async fn deciding(plan: Value) -> Vendor {
    let mode = json!({ "async": plan });
    let operations = ["create", "change", "disable", "enable", "delete"];
    let operations: serde_json::Map<_, _> = operations
        .iter()
        .map(|name| ((*name).to_owned(), mode.clone()))
        .collect();
    Vendor::behaving(json!({ "operations": operations })).await
}

fn pair(status: &str, request: &str) -> (String, String) {
    (status.to_owned(), request.to_owned())
}

#[tokio::test]
async fn every_operation_can_be_approved_later() {
    let vendor = deciding(json!({"after": "manual"})).await;
    let approved = json!({"status": "approved"});
    let created = vendor
        .send(
            "POST",
            "/tenant",
            json!({"externalId": "a", "limits": {"seats": 1}}),
        )
        .await;
    assert_eq!(
        (created.status, created.statuses()),
        (202, pair("pending", "pending"))
    );
    assert_eq!(created.header("retry-after"), "1");
    let path = "/tenant/t-1001";
    assert_eq!(vendor.get(path).await.header("retry-after"), "1");
    assert_eq!(vendor.decide(path, approved.clone()).await.status, 200);
    let read = vendor.get(path).await;
    assert_eq!(read.statuses(), pair("active", "approved"));
    assert!(!read.headers.contains_key("retry-after"));

    for (method, suffix, before, after) in [
        ("PUT", "", "active", "active"),
        ("PUT", "/disable", "active", "suspended"),
        ("PUT", "/enable", "suspended", "active"),
    ] {
        let body = json!({"limits": {"seats": 2}});
        // Twice: the same request again is the same request.
        for kind in [true, false] {
            let answer = vendor
                .send(method, &format!("{path}{suffix}"), body.clone())
                .await;
            assert_eq!(
                (answer.status, answer.statuses()),
                (202, pair(before, "pending"))
            );
            assert_eq!(answer.header("retry-after"), "1");
            let effect = &vendor.last_call().await["effect"];
            assert_eq!(
                (effect["kind"] != "none", &effect["pending"]),
                (kind, &json!(kind))
            );
        }
        vendor.decide(path, approved.clone()).await;
        assert_eq!(vendor.get(path).await.statuses(), pair(after, "approved"));
    }
    assert_eq!(vendor.get(path).await.json()["limits"]["seats"], 2);

    for _ in 0..2 {
        let answer = vendor.call("DELETE", path).await;
        assert_eq!(
            (answer.status, answer.statuses()),
            (202, pair("active", "pending"))
        );
    }
    vendor.decide(path, approved.clone()).await;
    assert_eq!(vendor.get(path).await.status, 404);
    let answer = vendor.decide(path, approved).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "nothing_pending")
    );
    assert_eq!(
        vendor
            .decide("/tenant/x", json!({"status": "approved"}))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn time_decides() {
    let vendor = deciding(json!({"after": "300ms"})).await;
    let path = vendor.create("a").await;
    reach(&vendor, &path, "active", "approved").await;
    assert_eq!(
        vendor.call("PUT", &format!("{path}/disable")).await.status,
        202
    );
    reach(&vendor, &path, "suspended", "approved").await;
    assert_eq!(
        vendor.call("PUT", &format!("{path}/enable")).await.status,
        202
    );
    reach(&vendor, &path, "active", "approved").await;
    assert_eq!(vendor.call("DELETE", &path).await.status, 202);
    eventually(async || (vendor.get(&path).await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn a_failed_create_ends_the_tenant() {
    let vendor = deciding(json!({"after": "0s", "outcome": "fail", "reason": "no credit"})).await;
    let path = vendor.create("a").await;
    let read = vendor.get(&path).await;
    assert_eq!(read.statuses(), pair("failed", "failed"));
    assert_eq!(read.json()["request"]["reason"], "no credit");
    let answer = vendor
        .send("PUT", &path, json!({"limits": {"seats": 2}}))
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "failed"));
    assert_eq!(vendor.counts().await["live"], 0);
    vendor
        .behave(json!({"operations": {"delete": "sync"}}))
        .await;
    assert_eq!(vendor.call("DELETE", &path).await.status, 204);
    assert_eq!(vendor.get(&path).await.status, 404);
}

#[tokio::test]
async fn what_fails_leaves_the_tenant_as_it_was() {
    let vendor = deciding(json!({"after": "0s", "outcome": "fail", "reason": "no"})).await;
    vendor
        .behave(json!({"operations": {"create": "sync"}}))
        .await;
    let path = vendor.create("a").await;
    for (method, suffix) in [("PUT", ""), ("PUT", "/disable"), ("DELETE", "")] {
        let body = json!({"limits": {"seats": 2}});
        assert_eq!(
            vendor
                .send(method, &format!("{path}{suffix}"), body)
                .await
                .status,
            202
        );
        let read = vendor.get(&path).await;
        assert_eq!(read.statuses(), pair("active", "failed"));
        assert_eq!(
            (
                &read.json()["limits"]["seats"],
                &read.json()["request"]["reason"]
            ),
            (&json!(50), &json!("no"))
        );
    }
    // To ask for what is already so takes the failure back.
    let answer = vendor
        .send("PUT", &path, json!({"limits": {"seats": 50}}))
        .await;
    assert_eq!(
        (answer.status, answer.statuses()),
        (200, pair("active", "approved"))
    );
}

#[tokio::test]
async fn an_inquiry_is_answered_by_parameters() {
    let errors = json!({"contact_phone": "not a phone number"});
    let plan =
        json!({"after": "0s", "outcome": "inquire", "reason": "who?", "parameterErrors": errors});
    let vendor = deciding(plan).await;
    let path = vendor.create("a").await;
    let read = vendor.get(&path).await;
    assert_eq!(read.statuses(), pair("pending", "inquiring"));
    let asked = json!({"status": "inquiring", "reason": "who?", "parameterErrors": errors});
    assert_eq!(read.json()["request"], asked);
    // There is nothing to wait for but a person.
    assert!(!read.headers.contains_key("retry-after"));

    // The limits that were ordered are no answer.
    let answer = vendor
        .send("PUT", &path, json!({"limits": {"seats": 50}}))
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "busy"));

    let answer = json!({"limits": {"seats": 2}, "parameters": {"contact_phone": "+1"}});
    let answer = vendor.send("PUT", &path, answer).await;
    assert_eq!(
        (answer.status, answer.statuses()),
        (202, pair("pending", "pending"))
    );
    assert_eq!(answer.json()["request"]["parameterErrors"], json!({}));
    let read = reach(&vendor, &path, "active", "approved").await;
    assert_eq!(read.json()["limits"]["seats"], 2);
    let stored = vendor.get("/_vendor/tenants/t-1001").await.json();
    assert_eq!(
        stored["terms"]["parameters"],
        json!({"contact_phone": "+1"})
    );
}

#[tokio::test]
async fn other_limits_answer_an_inquiry_too() {
    let errors = json!({"limits.seats": "at most 20"});
    let plan = json!({"after": "0s", "outcome": "inquire", "parameterErrors": errors});
    let vendor = deciding(plan).await;
    let path = vendor.create("a").await;
    assert_eq!(
        vendor.get(&path).await.statuses(),
        pair("pending", "inquiring")
    );
    let other = json!({"limits": {"seats": 20}});
    assert_eq!(vendor.send("PUT", &path, other).await.status, 202);
    let read = reach(&vendor, &path, "active", "approved").await;
    assert_eq!(read.json()["limits"]["seats"], 20);
}

#[tokio::test]
async fn an_answered_inquiry_can_come_to_anything() {
    let plan = json!({"after": "0s", "outcome": "inquire", "answered": "fail", "reason": "no"});
    let vendor = deciding(plan).await;
    let answer = json!({"tiers": {"tier1": {"externalId": "r-1"}}});
    let path = vendor.create("a").await;
    assert_eq!(
        vendor.get(&path).await.statuses(),
        pair("pending", "inquiring")
    );
    assert_eq!(vendor.send("PUT", &path, answer.clone()).await.status, 202);
    assert_eq!(vendor.get(&path).await.statuses(), pair("failed", "failed"));

    // By hand.
    vendor
        .behave(json!({"operations": {"create": {"async": {"after": "manual"}}}}))
        .await;
    let path = vendor.create("b").await;
    let inquiry = json!({"status": "inquiring", "reason": "who?", "parameterErrors": {"a": "b"}});
    assert_eq!(vendor.decide(&path, inquiry).await.status, 200);
    assert_eq!(
        vendor.get(&path).await.json()["request"]["parameterErrors"],
        json!({"a": "b"})
    );
    assert_eq!(vendor.send("PUT", &path, answer).await.status, 202);
    assert_eq!(
        vendor.get(&path).await.statuses(),
        pair("pending", "pending")
    );
    vendor
        .decide(&path, json!({"status": "failed", "reason": "sorry"}))
        .await;
    let read = vendor.get(&path).await;
    assert_eq!(
        (read.statuses(), &read.json()["request"]["reason"]),
        (pair("failed", "failed"), &json!("sorry"))
    );
}

#[tokio::test]
async fn one_request_at_a_time() {
    let vendor = deciding(json!({"after": "manual"})).await;
    let path = vendor.create("a").await;
    for suffix in ["", "/disable", "/enable"] {
        let answer = vendor
            .send(
                "PUT",
                &format!("{path}{suffix}"),
                json!({"limits": {"seats": 2}}),
            )
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "busy"),
            "{suffix}"
        );
        assert_eq!(vendor.last_call().await["effect"]["kind"], "none");
    }
    // A delete is accepted, and if it fails there is nothing left.
    let answer = vendor.call("DELETE", &path).await;
    assert_eq!(
        (answer.status, answer.statuses()),
        (202, pair("pending", "pending"))
    );
    vendor.decide(&path, json!({"status": "failed"})).await;
    assert_eq!(vendor.get(&path).await.statuses(), pair("failed", "failed"));
}

#[tokio::test]
async fn a_vendor_may_take_the_next_request_at_once() {
    let vendor = deciding(json!({"after": "manual"})).await;
    vendor.behave(json!({"whileBusy": "accept"})).await;
    let path = vendor.create("a").await;
    let answer = vendor
        .send("PUT", &path, json!({"limits": {"seats": 2}}))
        .await;
    assert_eq!(
        (answer.status, answer.statuses()),
        (202, pair("active", "pending"))
    );
    let answer = vendor.call("PUT", &format!("{path}/disable")).await;
    assert_eq!(
        (answer.status, &answer.json()["limits"]["seats"]),
        (202, &json!(2))
    );
}

#[tokio::test]
async fn the_answer_can_look_different() {
    let vendor =
        deciding(json!({"status": 201, "retryAfter": "90s", "retryAfterAsDate": true})).await;
    let created = vendor
        .send("POST", "/tenant", json!({"externalId": "a"}))
        .await;
    assert_eq!(
        (created.status, created.statuses()),
        (201, pair("pending", "pending"))
    );
    let date = created.header("retry-after");
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    let wait = date.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((60..=90).contains(&wait), "{wait}");

    let plan = json!({"retryAfter": null});
    vendor
        .behave(json!({"operations": {"create": {"async": plan}}}))
        .await;
    let created = vendor
        .send("POST", "/tenant", json!({"externalId": "b"}))
        .await;
    // A merge patch with null takes the member away, and so brings back the default.
    assert_eq!(
        created.header("retry-after").len(),
        "Mon, 23 Nov 2026 08:00:00 GMT".len()
    );
    let whole = json!({"operations": {"create": {"async": {"retryAfter": null}}}});
    assert_eq!(
        vendor.send("PUT", "/_vendor/behavior", whole).await.status,
        200
    );
    let created = vendor
        .send("POST", "/tenant", json!({"externalId": "c"}))
        .await;
    assert_eq!(created.status, 202);
    assert!(!created.headers.contains_key("retry-after"));
}
