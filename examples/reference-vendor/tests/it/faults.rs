//! Each fault as a caller meets it.

use crate::support::{Answer, Vendor, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Creates a tenant while this fault is in force.
async fn create(vendor: &Vendor, fault: Value) -> reqwest::Result<Answer> {
    vendor.fault("POST", fault).await;
    Answer::try_of(
        vendor
            .request("POST", "/tenant")
            .json(&json!({"externalId": "a"})),
    )
    .await
}

/// What the vendor remembers of the last call: status, kind of effect, fault.
async fn remembered(vendor: &Vendor) -> (Value, String, Value) {
    let call = vendor.last_call().await;
    let kind = call["effect"]["kind"].as_str().unwrap().to_owned();
    (call["status"].clone(), kind, call["fault"]["fault"].clone())
}

async fn lives(vendor: &Vendor) -> bool {
    vendor.counts().await["live"] == 1
}

#[tokio::test]
async fn an_answer_without_an_effect() {
    let vendor = Vendor::start().await;
    let fault = json!({"status": 503, "headers": {"Retry-After": "7"}, "body": {"error": "down"}});
    let answer = create(&vendor, fault.clone()).await.unwrap();
    assert_eq!(
        (answer.status, answer.json()),
        (503, json!({"error": "down"}))
    );
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        remembered(&vendor).await,
        (json!(503), "none".to_owned(), fault)
    );

    let fault = json!({"status": 429, "body": "slow down", "headers": {"content-type": "text/x"}});
    let answer = create(&vendor, fault).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (429, "slow down"));
    assert_eq!(answer.header("content-type"), "text/x");

    let answer = create(&vendor, json!({"status": 200})).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(!lives(&vendor).await);
}

#[tokio::test]
async fn an_effect_and_then_another_answer() {
    let vendor = Vendor::start().await;
    let fault = json!({"effectThen": {"status": 500, "headers": {}, "body": {"oops": true}}});
    let answer = create(&vendor, fault.clone()).await.unwrap();
    assert_eq!((answer.status, answer.json()), (500, json!({"oops": true})));
    assert!(lives(&vendor).await);
    assert_eq!(
        remembered(&vendor).await,
        (json!(500), "created".to_owned(), fault)
    );
    assert_eq!(
        create(&vendor, json!({"delay": "1ms"}))
            .await
            .unwrap()
            .status,
        409
    );
}

#[tokio::test]
async fn a_connection_that_closes() {
    for (fault, effect) in [
        (json!({"closeBefore": true}), "none"),
        (json!({"closeAfter": true}), "created"),
        (json!({"closeAfter": true, "effect": false}), "none"),
    ] {
        let vendor = Vendor::start().await;
        let error = create(&vendor, fault.clone()).await.unwrap_err();
        assert!(error.is_request() && !error.is_timeout(), "{error:?}");
        assert_eq!(
            remembered(&vendor).await,
            (Value::Null, effect.to_owned(), fault)
        );
        assert_eq!(lives(&vendor).await, effect == "created");
    }
}

#[tokio::test]
async fn bodies_that_lie() {
    for (fault, status, effect) in [
        (json!({"garbage": true}), 201, "created"),
        (json!({"garbage": true, "effect": false}), 200, "none"),
        (json!({"empty": true}), 201, "created"),
        (json!({"empty": true, "effect": false}), 200, "none"),
        (json!({"html": true}), 200, "none"),
        (json!({"html": true, "effect": true}), 200, "created"),
    ] {
        let vendor = Vendor::start().await;
        let answer = create(&vendor, fault.clone()).await.unwrap();
        assert_eq!(answer.status, status, "{fault}");
        assert!(
            serde_json::from_str::<Value>(&answer.body).is_err(),
            "{answer}"
        );
        if fault.get("html").is_some() {
            assert!(answer.header("content-type").starts_with("text/html"));
        } else {
            assert_eq!(answer.body.is_empty(), fault.get("empty").is_some());
        }
        assert_eq!(
            remembered(&vendor).await,
            (json!(status), effect.to_owned(), fault)
        );
        assert_eq!(lives(&vendor).await, effect == "created");
    }
}

#[tokio::test]
async fn a_redirect() {
    let vendor = Vendor::start().await;
    let answer = create(&vendor, json!({"redirect": "http://127.0.0.1:1/tenant"}))
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, "http://127.0.0.1:1/tenant")
    );
    assert!(!lives(&vendor).await);
}

#[tokio::test]
async fn a_huge_body() {
    let vendor = Vendor::start().await;
    let answer = create(&vendor, json!({"huge": 1_000_003})).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (201, 1_000_003));
    assert!(answer.json()["id"].is_string());

    // As much as anybody likes: the caller is the one to stop.
    vendor.fault("GET", json!({"huge": 1_u64 << 50})).await;
    let mut response = vendor
        .request("GET", "/tenant/t-1001")
        .send()
        .await
        .unwrap();
    let mut read = 0;
    while read < 10 << 20 {
        read += response.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let vendor = Vendor::start().await;
    vendor.fault("POST", json!({"truncate": true})).await;
    let order = json!({"externalId": "a"});
    let response = vendor
        .request("POST", "/tenant")
        .json(&order)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.content_length().unwrap() > 100);
    let error = response.bytes().await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert!(lives(&vendor).await);

    vendor.fault("DELETE", json!({"truncate": true})).await;
    let response = vendor
        .request("DELETE", "/tenant/t-1001")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "a 204 has no body to break off");
    assert!(response.bytes().await.is_err());
    assert!(!lives(&vendor).await);
}

#[tokio::test]
async fn a_body_that_trickles() {
    let vendor = Vendor::start().await;
    vendor.fault("POST", json!({"slowBody": true})).await;
    let order = json!({"externalId": "a"});
    let started = Instant::now();
    let mut response = vendor
        .request("POST", "/tenant")
        .json(&order)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.content_length().unwrap() > 100);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "{");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "\"");
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert!(lives(&vendor).await);
}

#[tokio::test]
async fn delays() {
    let vendor = Vendor::start().await;
    let started = Instant::now();
    assert_eq!(
        create(&vendor, json!({"delay": "200ms"}))
            .await
            .unwrap()
            .status,
        201
    );
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert!(vendor.last_call().await["durationMs"].as_u64().unwrap() >= 200);

    vendor.behave(json!({"latency": "200ms"})).await;
    let started = Instant::now();
    assert_eq!(vendor.get("/tenant/t-1001").await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_take_its_call_back() {
    // Before the effect: it comes later, when nobody waits for it any more.
    let vendor = Vendor::start().await;
    vendor.fault("POST", json!({"delay": "500ms"})).await;
    let order = json!({"externalId": "a"});
    let request = vendor.request("POST", "/tenant").json(&order);
    let error = request
        .timeout(Duration::from_millis(100))
        .send()
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    eventually(async || lives(&vendor).await.then_some(())).await;
    assert_eq!(vendor.calls().await.len(), 1);

    // After it: it is there already.
    let vendor = Vendor::start().await;
    vendor.fault("POST", json!({"delayAfter": "1h"})).await;
    let request = vendor.request("POST", "/tenant").json(&order);
    let waiting = tokio::spawn(request.send());
    eventually(async || lives(&vendor).await.then_some(())).await;
    assert!(!waiting.is_finished());
    waiting.abort();
    vendor.stop().await;
}

#[tokio::test]
async fn rules_say_which_calls_and_how_often() {
    let vendor = Vendor::start().await;
    let path = vendor.create("a").await;
    let rules = json!([
        {"method": "GET", "path": "/tenant/*", "skip": 1, "times": 2, "fault": {"status": 500}},
        {"path": "/tenant?externalId=*", "times": "unlimited", "fault": {"status": 502}},
    ]);
    let added = vendor.send("POST", "/_vendor/faults", rules).await;
    assert_eq!(
        (added.status, added.json().as_array().unwrap().len()),
        (201, 2)
    );
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(vendor.get(&path).await.status);
        assert_eq!(vendor.get("/tenant?externalId=a").await.status, 502);
    }
    assert_eq!(seen, [200, 500, 500, 200]);
    assert_eq!(
        vendor.call("PUT", &format!("{path}/disable")).await.status,
        204
    );

    let rules = vendor.get("/_vendor/faults").await.json();
    assert_eq!(
        (&rules[0]["hits"], &rules[0]["skipped"], &rules[1]["hits"]),
        (&json!(2), &json!(1), &json!(4))
    );
    assert_eq!(vendor.call("DELETE", "/_vendor/faults/2").await.status, 204);
    assert_eq!(vendor.call("DELETE", "/_vendor/faults/2").await.status, 404);
    assert_eq!(vendor.get("/tenant?externalId=a").await.status, 200);
    assert_eq!(vendor.call("DELETE", "/_vendor/faults").await.status, 204);
    assert_eq!(vendor.get("/_vendor/faults").await.json(), json!([]));

    for wrong in [
        json!({"fault": {}}),
        json!({"fault": {"garbage": true, "html": true}}),
        json!({"fault": {"garbage": true}, "tiems": 1}),
        json!({"fault": {"garbage": true}, "times": "often"}),
        json!([{"fault": {"garbage": true}}, {"fault": {"status": 9}}]),
    ] {
        assert_eq!(
            vendor.send("POST", "/_vendor/faults", wrong).await.status,
            400
        );
    }
    assert_eq!(vendor.get("/_vendor/faults").await.json(), json!([]));
}
