//! The routes that steer the vendor and show what it was asked.

use crate::support::{Answer, Vendor};
use serde_json::{Value, json};

#[tokio::test]
async fn calls_are_recorded() {
    let vendor = Vendor::start().await;
    let order = json!({"externalId": "a", "limits": {"seats": 1}});
    let request = vendor.request("POST", "/tenant").json(&order);
    let request = request
        .bearer_auth("hidden-1")
        .header("X-Api-Key", "hidden-2")
        .header("X-Note", "n1");
    Answer::of(request.header("X-Note", "n2").header("Cookie", "hidden-3")).await;
    vendor.get("/tenant/t-1001?x=1").await;
    vendor.get("/tenant?externalId=a").await;
    Answer::of(vendor.request("PUT", "/tenant/t-1001").body("no json")).await;
    vendor
        .send("PUT", "/tenant/t-1001", json!({"limits": {"seats": 2}}))
        .await;
    vendor.call("PUT", "/tenant/t-1001/disable").await;
    vendor.call("PUT", "/tenant/t-1001/enable").await;
    vendor.call("DELETE", "/tenant/t-1001").await;
    vendor.get("/nowhere").await;
    // Neither the admin routes nor the page are calls to the tenant API.
    vendor.get("/").await;

    let all = vendor.get("/_vendor/calls").await;
    assert!(!all.body.contains("hidden"), "{all}");
    let calls = vendor.calls().await;
    let summary: Vec<String> = calls
        .iter()
        .map(|call| {
            let text = |name: &str| call[name].as_str().unwrap().to_owned();
            let kind = call["effect"]["kind"].as_str().unwrap();
            format!(
                "{} {} {} {} {} {kind}",
                call["sequence"],
                text("operation"),
                text("method"),
                text("path"),
                call["status"],
            )
        })
        .collect();
    assert_eq!(
        summary,
        [
            "1 create POST /tenant 201 created",
            "2 get GET /tenant/t-1001?x=1 200 none",
            "3 lookup GET /tenant?externalId=a 200 none",
            "4 change PUT /tenant/t-1001 400 none",
            "5 change PUT /tenant/t-1001 200 changed",
            "6 disable PUT /tenant/t-1001/disable 204 disabled",
            "7 enable PUT /tenant/t-1001/enable 204 enabled",
            "8 delete DELETE /tenant/t-1001 204 deleted",
            "9 other GET /nowhere 404 none",
        ]
    );
    assert_eq!(calls[0]["body"], order);
    assert_eq!(
        (&calls[1]["body"], &calls[3]["body"]),
        (&Value::Null, &json!("no json"))
    );
    for header in ["authorization", "x-api-key", "cookie"] {
        assert_eq!(calls[0]["headers"][header], "(redacted)");
    }
    assert_eq!(calls[0]["headers"]["x-note"], "n1, n2");
    let effect = json!({
        "kind": "created", "pending": false, "tenantId": "t-1001", "externalId": "a",
        "tenantStatus": "active", "requestStatus": "approved",
    });
    assert_eq!(calls[0]["effect"], effect);
    assert_eq!(calls[0]["fault"], Value::Null);
    let time: jiff::Timestamp = calls[0]["time"].as_str().unwrap().parse().unwrap();
    assert!(time <= jiff::Timestamp::now());

    for (query, sequences) in [
        ("?since=7", vec![8, 9]),
        ("?since=2&limit=2", vec![3, 4]),
        ("?method=delete", vec![8]),
        ("?pathPrefix=/tenant/t-1001/", vec![6, 7]),
        ("?since=99", vec![]),
    ] {
        let calls = vendor.get(&format!("/_vendor/calls{query}")).await.json();
        let found: Vec<u64> = calls
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(found, sequences, "{query}");
    }
    assert_eq!(vendor.get("/_vendor/calls?sicne=1").await.status, 400);

    let counts = vendor.counts().await;
    assert_eq!(
        counts,
        json!({
            "create": 1, "get": 1, "lookup": 1, "change": 2, "disable": 1, "enable": 1,
            "delete": 1, "token": 0, "other": 1,
            "effects": {"created": 1, "changed": 1, "disabled": 1, "enabled": 1, "deleted": 1},
            "inFlight": 0, "tenants": 1, "live": 0, "duplicates": 0,
        })
    );

    assert_eq!(vendor.call("DELETE", "/_vendor/calls").await.status, 204);
    assert_eq!(vendor.get("/_vendor/calls").await.json(), json!([]));
    let counts = vendor.counts().await;
    assert_eq!(
        (&counts["create"], &counts["effects"]["created"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(counts["tenants"], 1);
    vendor.get("/tenant/x").await;
    assert_eq!(
        vendor.last_call().await["sequence"],
        10,
        "the sequence goes on"
    );
}

#[tokio::test]
async fn the_behavior_can_be_read_and_changed() {
    let vendor = Vendor::start().await;
    let usual = vendor.get("/_vendor/behavior").await.json();
    assert_eq!(
        usual,
        json!({
            "operations": {
                "create": "sync", "change": "sync", "disable": "sync", "enable": "sync",
                "delete": "sync",
            },
            "latency": "0s", "whileBusy": "refuse", "keepTerminated": false,
            "deleteOnlySuspended": false, "outputs": true, "idempotencyRetention": "24h",
            "idPrefix": "t-", "tokenLifetime": "1h", "operationTime": "300ms",
        })
    );
    let plan = json!({"async": {"after": "1m 30s", "outcome": "fail"}});
    let patch = json!({"operations": {"create": plan}, "latency": "1ms"});
    let patched = vendor
        .send("PATCH", "/_vendor/behavior", patch)
        .await
        .json();
    assert_eq!(
        patched["operations"]["create"],
        json!({"async": {
            "after": "1m 30s", "outcome": "fail", "reason": "", "parameterErrors": {},
            "answered": "approve", "status": 202, "retryAfter": "1s", "retryAfterAsDate": false,
        }})
    );
    assert_eq!(
        (&patched["operations"]["delete"], &patched["latency"]),
        (&json!("sync"), &json!("1ms"))
    );
    assert_eq!(vendor.get("/_vendor/behavior").await.json(), patched);

    for wrong in [
        json!({"latensy": "1s"}),
        json!({"latency": "soon"}),
        json!({"latency": "-1s"}),
        json!({"operations": {"create": "later"}}),
        json!({"operations": {"create": {"async": {"status": 204}}}}),
    ] {
        for method in ["PATCH", "PUT"] {
            let answer = vendor
                .send(method, "/_vendor/behavior", wrong.clone())
                .await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "invalid_body"),
                "{wrong}"
            );
        }
    }
    assert_eq!(vendor.get("/_vendor/behavior").await.json(), patched);
    assert_eq!(
        vendor
            .send("PUT", "/_vendor/behavior", json!({}))
            .await
            .json(),
        usual
    );
}

#[tokio::test]
async fn tenants_can_be_changed_behind_the_callers_backs() {
    let vendor = Vendor::start().await;
    let path = vendor.create("a").await;
    let altered = json!({
        "limits": {"seats": 7, "extra": "1.5"}, "status": "suspended",
        "parameters": {"activation_link": null, "note": "moved"},
    });
    assert_eq!(
        vendor
            .send("PATCH", "/_vendor/tenants/t-1001", altered)
            .await
            .status,
        200
    );
    let read = vendor.get(&path).await.json();
    assert_eq!(read["limits"], json!({"seats": 7, "extra": "1.5"}));
    assert_eq!(
        (&read["status"], &read["parameters"]["note"]),
        (&json!("suspended"), &json!("moved"))
    );
    assert_eq!(read["parameters"].get("activation_link"), None);
    for wrong in [
        json!({"limits": {"seats": -1}}),
        json!({"status": "gone"}),
        json!({"x": 1}),
    ] {
        assert_eq!(
            vendor
                .send("PATCH", "/_vendor/tenants/t-1001", wrong)
                .await
                .status,
            400
        );
    }
    let all = vendor.get("/_vendor/tenants").await.json();
    assert_eq!(
        (all.as_array().unwrap().len(), &all[0]["id"]),
        (1, &json!("t-1001"))
    );

    assert_eq!(
        vendor
            .call("DELETE", "/_vendor/tenants/t-1001")
            .await
            .status,
        204
    );
    assert_eq!(
        vendor
            .call("DELETE", "/_vendor/tenants/t-1001")
            .await
            .status,
        404
    );
    assert_eq!(vendor.get(&path).await.status, 404);
    // It has never been, so its externalId is free.
    assert_eq!(vendor.create("a").await, "/tenant/t-1002");
}

#[tokio::test]
async fn it_says_when_it_is_ready() {
    let vendor = Vendor::start().await;
    assert_eq!(vendor.get("/_vendor/readyz").await.status, 200);
    assert_eq!(vendor.get("/_vendor/nothing").await.status, 404);
    assert_eq!(vendor.calls().await.len(), 0);
}

/// How many creates it takes. Not a test of anything, so it runs only when asked for:
/// `cargo test --release -p reference-vendor -- --ignored --nocapture throughput`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn throughput() {
    const CALLERS: usize = 32;
    const EACH: usize = 500;
    let directory = tempfile::tempdir().unwrap();
    for fsync in [false, true] {
        let database = Some(directory.path().join(fsync.to_string()));
        let config = reference_vendor::Config {
            database,
            fsync,
            ..Default::default()
        };
        let vendor = Vendor::with(config).await;
        let started = std::time::Instant::now();
        let callers = (0..CALLERS).map(|caller| {
            let vendor = &vendor;
            async move {
                for number in 0..EACH {
                    vendor.create(&format!("{caller}-{number}")).await;
                }
            }
        });
        futures::future::join_all(callers).await;
        let rate = (CALLERS * EACH) as f64 / started.elapsed().as_secs_f64();
        println!("fsync {fsync}: {rate:.0} creates a second");
        assert_eq!(vendor.counts().await["live"], CALLERS * EACH);
        vendor.stop().await;
    }
}
