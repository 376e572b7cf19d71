//! The life of a subscription at a vendor that does everything at once.

use e2e::{
    SOON, World,
    objects::{condition, is_observed, message, standing},
    vendor::operations,
};
use serde_json::{Value, json};

#[test]
fn a_purchase_is_one_call_and_ends_active() {
    let world = World::start();
    world.subscribe(
        "mail",
        json!({
            "limits": {"seats": 50, "storageGiB": "unlimited", "ratio": "1.5"},
            "parameters": [{"name": "contact_phone", "value": "+1 201 555 0123"}],
        }),
    );
    let mail = world.ready("mail");

    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create"]);
    let tenant = world.vendor.tenant();
    let status = &mail["status"];
    assert_eq!(
        *calls[0].body(),
        json!({
            "externalId": status["externalId"],
            "product": "mail-pro",
            "limits": {"seats": 50, "storageGiB": "unlimited", "ratio": "1.5"},
            "parameters": {"contact_phone": "+1 201 555 0123"},
        })
    );
    assert!(calls[0].0["headers"]["idempotency-key"].is_string());

    assert_eq!(status["tenantId"], tenant["id"]);
    assert_eq!(status["state"], "Active");
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        status["limits"],
        json!({"seats": 50, "storageGiB": "unlimited", "ratio": "1.5"})
    );
    let request = &status["request"];
    assert_eq!(request["type"], "Purchase");
    assert_eq!(request["status"], "Approved");
    assert_eq!(request["generation"], 1);
    assert_eq!(request["attempts"], 1);
    assert!(request["startedAt"].is_string() && request["finishedAt"].is_string());
    assert_eq!(status["history"], json!([request]));

    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert_eq!(standing(&mail, "Stalled"), "-");
    for condition in status["conditions"].as_array().unwrap() {
        assert_eq!(condition["observedGeneration"], 1, "{condition}");
    }
}

#[test]
fn changed_limits_are_sent_whole_and_removed_ones_are_let_be() {
    let world = World::start();
    let subscribe = |limits: Value| world.subscribe("mail", json!({ "limits": limits }));
    subscribe(json!({"seats": 50, "storageGiB": 100}));
    world.ready("mail");

    subscribe(json!({"seats": 60, "storageGiB": 100}));
    let mail = world.ready("mail");
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create", "change"]);
    let whole = json!({"limits": {"seats": 60, "storageGiB": 100}});
    assert_eq!(*calls[1].body(), whole);
    let request = &mail["status"]["request"];
    assert_eq!(request["type"], "Change");
    assert_eq!(request["status"], "Approved");
    assert_eq!(request["generation"], 2);
    assert_eq!(mail["status"]["limits"]["seats"], 60);

    // The same number in another form, and a limit that is no longer managed.
    subscribe(json!({"seats": "60.0"}));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["observedGeneration"], 3);
    assert_eq!(world.vendor.count("change"), 1);
    assert_eq!(world.vendor.tenant()["limits"]["storageGiB"], 100);

    subscribe(json!({"seats": "unlimited"}));
    world.ready("mail");
    let calls = world.vendor.calls();
    assert_eq!(
        *calls.last().unwrap().body(),
        json!({"limits": {"seats": "unlimited"}})
    );
    let limits = world.vendor.tenant()["limits"].clone();
    assert_eq!(limits, json!({"seats": "unlimited", "storageGiB": 100}));
}

#[test]
fn suspend_and_resume_are_one_call_each() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");

    world.subscribe("mail", json!({"state": "Suspended"}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Suspended");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
    assert_eq!(mail["status"]["state"], "Suspended");
    assert_eq!(mail["status"]["request"]["type"], "Suspend");
    assert_eq!(world.vendor.tenant()["status"], "suspended");

    world.subscribe("mail", json!({"state": "Active"}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["state"], "Active");
    assert_eq!(mail["status"]["request"]["type"], "Resume");
    assert_eq!(world.vendor.tenant()["status"], "active");

    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create", "disable", "enable"]);
    assert_eq!(types(&mail), ["Resume", "Suspend", "Purchase"]);
}

#[test]
fn what_a_success_does_not_tell_is_as_it_was_sent() {
    let world = World::start();
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    let id = world.ready("mail")["status"]["tenantId"].clone();
    // Success with a body that says next to nothing, as many an API answers an update.
    for body in [
        json!({}),
        json!({ "id": id }),
        json!({"id": id, "status": "ok"}),
    ] {
        world.vendor.fault(json!({
            "method": "PUT", "path": "*", "times": 3,
            "fault": {"effectThen": {"status": 200, "body": body}},
        }));
        let calls = world.vendor.calls().len();
        for spec in [
            json!({"limits": {"seats": 60}}),
            json!({"limits": {"seats": 60}, "state": "Suspended"}),
            json!({"limits": {"seats": 50}}),
        ] {
            world.subscribe("mail", spec);
            world.ready("mail");
        }
        let calls = world.vendor.calls().split_off(calls);
        assert_eq!(
            operations(&calls),
            ["change", "disable", "enable", "change"]
        );
    }
}

#[test]
fn metrics_count_what_was_decided_and_how_long_the_first_ready_took() {
    let world = World::start();
    world.subscribe("born", json!({"state": "Suspended"}));
    world.ready("born");
    world
        .vendor
        .fault(json!({"method": "POST", "path": "*", "fault": {"status": 422}}));
    world.subscribe("refused", json!({"limits": {"seats": 50}}));
    world.until("the purchase is refused", "fsub", "refused", |it| {
        standing(it, "Ready") == "False RequestFailed"
    });
    world.subscribe("refused", json!({"limits": {"seats": 60}}));
    world.ready("refused");
    // Ready for the second time.
    world.subscribe("born", json!({"state": "Active"}));
    world.ready("born");
    world.kubectl(&["delete", "fsub", "born"]);
    for series in [
        r#"requests_total{type="Purchase",status="Approved"} 2"#,
        r#"requests_total{type="Purchase",status="Failed"} 1"#,
        r#"requests_total{type="Suspend",status="Approved"} 1"#,
        r#"requests_total{type="Resume",status="Approved"} 1"#,
        r#"requests_total{type="Cancel",status="Approved"} 1"#,
        "time_to_ready_seconds_count 2",
        r#"subscriptions{state="Active",ready="True"} 1"#,
        "create_outcome_unknown 0",
    ] {
        world.eventually(series, SOON, || {
            let metrics = world.operator.metrics();
            let found = metrics.contains(&format!("fulfillment_{series}\n"));
            found.then_some(()).ok_or(metrics)
        });
    }
    let metrics = world.operator.metrics();
    let positive = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|count| count.trim().parse().is_ok_and(|n: f64| n > 0.0))
    };
    for name in [
        r#"fulfillment_reconcile_total{outcome="in_sync"}"#,
        "fulfillment_reconcile_duration_seconds_count",
        "fulfillment_vendor_request_duration_seconds_count",
    ] {
        assert!(positive(name), "{name}: {metrics}");
    }
}

#[test]
fn born_suspended_it_is_purchased_and_then_suspended() {
    let world = World::start();
    world.subscribe("mail", json!({"state": "Suspended"}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Suspended");
    assert_eq!(world.vendor.tenant()["status"], "suspended");
    assert_eq!(operations(&world.vendor.calls()), ["create", "disable"]);
    assert_eq!(types(&mail), ["Suspend", "Purchase"]);
}

#[test]
fn limits_change_while_suspended_and_together_with_the_resume() {
    let world = World::start();
    world.subscribe("mail", json!({"state": "Suspended"}));
    world.ready("mail");

    world.subscribe(
        "mail",
        json!({"state": "Suspended", "limits": {"seats": 60}}),
    );
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Suspended");
    let tenant = world.vendor.tenant();
    assert_eq!(tenant["status"], "suspended");
    assert_eq!(tenant["limits"]["seats"], 60);

    world.subscribe("mail", json!({"state": "Active", "limits": {"seats": 70}}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    let tenant = world.vendor.tenant();
    assert_eq!(tenant["status"], "active");
    assert_eq!(tenant["limits"]["seats"], 70);
    assert_eq!(world.vendor.count("change"), 2);
    assert_eq!(world.vendor.count("enable"), 1);
}

#[test]
fn a_refused_change_leaves_it_active_with_its_old_limits_until_the_spec_changes() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.vendor.fault(json!({
        "method": "PUT", "path": "/tenant/*", "times": "unlimited",
        "fault": {"status": 422, "body": {"error": {"code": "quota", "message": "at most 99 seats"}}},
    }));

    world.subscribe("mail", json!({"limits": {"seats": 100}}));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert!(standing(&mail, "Approved").starts_with("False "));
    assert!(message(&mail, "Ready").contains("at most 99 seats"));
    let status = &mail["status"];
    assert_eq!(status["state"], "Active");
    assert_eq!(status["limits"], json!({"seats": 50}));
    assert_eq!(status["request"]["type"], "Change");
    assert_eq!(status["request"]["status"], "Failed");
    assert_eq!(status["request"]["reason"], "quota");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);

    // Nothing is tried again by itself, not even by a new process.
    world.operator.restart();
    world.annotate("mail", "example.com/touched=yes");
    let tried = world.vendor.count("change");
    assert_eq!(tried, 1);

    world.vendor.clear_faults();
    world.subscribe("mail", json!({"limits": {"seats": 99}}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Approved"), "True Approved");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 99);
    assert_eq!(world.vendor.count("change"), 2);
}

#[test]
fn back_to_what_the_vendor_has_needs_no_call_after_a_refused_change() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.vendor.fault(json!({
        "method": "PUT", "path": "/tenant/*", "fault": {"status": 422},
    }));
    world.subscribe("mail", json!({"limits": {"seats": 100}}));
    world.stands("mail", "Ready", "False RequestFailed");
    world.subscribe("mail", json!({}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert_eq!(world.vendor.count("change"), 1);
}

#[test]
fn a_refused_purchase_is_tried_again_only_when_asked() {
    let world = World::start();
    world.vendor.fault(json!({
        "method": "POST", "path": "/tenant", "times": 2,
        "fault": {"status": 422, "body": {"error": {"code": "blocked", "message": "no such customer"}}},
    }));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(mail["status"]["state"], "Terminated");
    let first = mail["status"]["request"].clone();
    assert_eq!(first["status"], "Failed");
    assert_eq!(first["reason"], "blocked");

    // One more try, as a new request, for each token.
    world.request("mail", "one");
    let mail = world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "one"
            && mail["status"]["request"]["status"] == "Failed"
    });
    assert_ne!(mail["status"]["request"]["id"], first["id"]);
    assert_eq!(world.vendor.count("create"), 2);

    world.request("mail", "two");
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(world.vendor.count("create"), 3);
    assert_eq!(types(&mail), ["Purchase", "Purchase", "Purchase"]);
    world.vendor.tenant();
}

#[test]
fn history_keeps_the_last_ten_requests_newest_first() {
    let world = World::start();
    for seats in 1..=12 {
        world.subscribe("mail", json!({"limits": {"seats": seats}}));
        world.until("the limit is set", "Subscription", "mail", |mail| {
            is_observed(mail) && mail["status"]["limits"]["seats"] == seats
        });
    }
    let mail = world.ready("mail");
    let history = mail["status"]["history"].as_array().unwrap();
    let generations: Vec<_> = history
        .iter()
        .map(|request| request["generation"].as_i64().unwrap())
        .collect();
    assert_eq!(generations, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(history[0], mail["status"]["request"]);
    assert!(
        history
            .iter()
            .all(|request| request["status"] == "Approved")
    );
}

#[test]
fn paused_nothing_is_sent_and_a_deletion_waits() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    let before = world.ready("mail");
    world.annotate("mail", "fulfillment-operator.io/paused=true");
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let paused =
        |mail: &Value| condition(mail, "Ready").is_some_and(|ready| ready["reason"] == "Paused");
    let mail = world.until("it says Paused", "Subscription", "mail", paused);
    // The status still speaks of what the vendor was last told.
    assert_eq!(mail["status"]["observedGeneration"], 1);
    assert_eq!(mail["status"]["limits"], before["status"]["limits"]);
    assert_eq!(mail["status"]["request"], before["status"]["request"]);
    assert_eq!(condition(&mail, "Approved"), condition(&before, "Approved"));

    world.request("mail", "now");
    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    world.until(
        "it says that the deletion waits",
        "Subscription",
        "mail",
        |mail| paused(mail) && message(mail, "Ready").contains("delet"),
    );
    world.operator.restart();
    assert_eq!(operations(&world.vendor.calls()), ["create"]);

    world.annotate("mail", "fulfillment-operator.io/paused-");
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.live(), [json!(null); 0]);
}

#[test]
fn what_was_declared_while_paused_is_done_afterwards() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.annotate("mail", "fulfillment-operator.io/paused=true");
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    world.until("it says Paused", "Subscription", "mail", |mail| {
        condition(mail, "Ready").is_some_and(|ready| ready["reason"] == "Paused")
    });
    world.annotate("mail", "fulfillment-operator.io/paused-");
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["limits"]["seats"], 60);
    assert_eq!(operations(&world.vendor.calls()), ["create", "change"]);
}

#[test]
fn a_request_to_look_now_reads_the_vendor_once_and_is_echoed() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    for (looks, token) in ["one", "two"].iter().enumerate() {
        world.request("mail", token);
        world.until("the token is echoed", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == *token
        });
        assert_eq!(world.vendor.count("get"), looks as u64 + 1);
    }
    // The same token again asks for nothing.
    world.request("mail", "two");
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["lastHandledReconcileAt"], "two");
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "get", "get", "change"]
    );
}

#[test]
fn what_was_declared_while_the_operator_was_away_is_done_when_it_is_back() {
    let world = World::start();
    for name in ["changed", "suspended", "deleted", "same"] {
        world.subscribe(name, json!({}));
    }
    for name in ["changed", "suspended", "deleted", "same"] {
        world.ready(name);
    }
    world.operator.stop();
    let before = world.vendor.sequence();
    world.subscribe("changed", json!({"limits": {"seats": 60}}));
    world.subscribe("suspended", json!({"state": "Suspended"}));
    world.subscribe("born", json!({}));
    world.kubectl(&["delete", "subscription", "deleted", "--wait=false"]);
    world.operator.start();

    for name in ["changed", "suspended", "born", "same"] {
        world.ready(name);
    }
    world.gone("Subscription", "deleted");
    world.eventually("four tenants are left", SOON, || {
        let live = world.vendor.live().len();
        if live == 4 { Ok(()) } else { Err(live) }
    });
    let calls = world.vendor.calls_since(before);
    let mut called = operations(&calls);
    called.retain(|operation| *operation != "get");
    called.sort_unstable();
    assert_eq!(called, ["change", "create", "delete", "disable"]);
}

/// The types of the finished requests, the newest first.
fn types(object: &Value) -> Vec<&str> {
    let history = object["status"]["history"].as_array();
    history
        .into_iter()
        .flatten()
        .filter_map(|request| request["type"].as_str())
        .collect()
}
