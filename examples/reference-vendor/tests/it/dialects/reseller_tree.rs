//! Customers below partners, and versions.

use super::{expect, speaking};
use crate::support::{Answer, Vendor};
use reference_vendor::Dialect;
use serde_json::{Value, json};

const ROOT: &str = "/tenants";

async fn vendor() -> Vendor {
    speaking(Dialect::ResellerTree).await
}

async fn partner(vendor: &Vendor, name: &str) -> Value {
    let order = json!({"external_id": name, "name": "Reseller", "kind": "partner"});
    expect(vendor, 201, "POST", ROOT, order).await.json()
}

async fn customer(vendor: &Vendor, name: &str, parent: &Value) -> Value {
    let order = json!({
        "external_id": name, "name": "Contoso", "kind": "customer", "parent_id": parent["id"],
        "product": "mail-pro", "offerings": {"seats": 50}, "contact": {"email": "a@example.com"}
    });
    expect(vendor, 201, "POST", ROOT, order).await.json()
}

fn path(tenant: &Value) -> String {
    format!("{ROOT}/{}", tenant["id"].as_str().unwrap())
}

fn code(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_life_of_a_tenant() {
    let vendor = vendor().await;
    let reseller = partner(&vendor, "r 3").await;
    assert_eq!(reseller["parent_id"], Value::Null);
    let mut tenant = customer(&vendor, "acme 1", &reseller).await;
    let expected = json!({
        "id": "t-1002", "external_id": "acme 1", "kind": "customer", "parent_id": "t-1001",
        "name": "Contoso", "enabled": true, "version": 1, "offerings": {"seats": 50},
        "provisioning": "done", "activation_url": format!("{}/t/t-1002", vendor.url)
    });
    assert_eq!(tenant, expected);
    let path = path(&tenant);
    assert_eq!(vendor.get(&path).await.json(), tenant);
    let stored = vendor.get("/_vendor/tenants/t-1002").await.json();
    assert_eq!(
        stored["terms"]["parameters"],
        json!({"email": "a@example.com"})
    );
    assert_eq!(
        (&stored["product"], &stored["tree"]["parentId"]),
        (&json!("mail-pro"), &json!("t-1001"))
    );

    // Each change raises the version, also one that changes nothing.
    for (change, member, value) in [
        (
            json!({"offerings": {"seats": 60}}),
            "offerings",
            json!({"seats": 60}),
        ),
        (
            json!({"offerings": {"seats": 60}}),
            "offerings",
            json!({"seats": 60}),
        ),
        (json!({"contact": {"phone": "1"}}), "enabled", json!(true)),
        (json!({"enabled": false}), "enabled", json!(false)),
        (json!({"enabled": false}), "enabled", json!(false)),
        (json!({}), "enabled", json!(false)),
        (json!({"enabled": true}), "enabled", json!(true)),
    ] {
        let mut change = change;
        change["version"] = tenant["version"].clone();
        let changed = expect(&vendor, 200, "PUT", &path, change).await.json();
        tenant["version"] = json!(tenant["version"].as_u64().unwrap() + 1);
        tenant[member] = value;
        assert_eq!(changed, tenant);
        assert_eq!(vendor.get(&path).await.json(), tenant);
    }
    let found = vendor.get("/tenants?external_id=acme%201").await.json();
    assert_eq!(found, json!({"items": [tenant]}));

    let delete = |version: u64| format!("{path}?version={version}");
    let refused = expect(&vendor, 409, "DELETE", &delete(8), Value::Null).await;
    assert_eq!(code(&refused), "disable_first");
    let disable = json!({"version": 8, "enabled": false});
    expect(&vendor, 200, "PUT", &path, disable).await;
    let refused = expect(&vendor, 409, "DELETE", &delete(8), Value::Null).await;
    assert_eq!(code(&refused), "version_conflict");
    let deleted = expect(&vendor, 204, "DELETE", &delete(9), Value::Null).await;
    assert_eq!(deleted.body, "");
    for (method, path) in [("GET", &path), ("DELETE", &delete(9))] {
        let gone = expect(&vendor, 404, method, path, Value::Null).await;
        assert_eq!(code(&gone), "not_found");
    }
    expect(&vendor, 404, "PUT", &path, json!({"version": 9})).await;
    let found = vendor.get("/tenants?external_id=acme%201").await.json();
    assert_eq!(found, json!({"items": []}));
}

#[tokio::test]
async fn a_customer_needs_a_partner() {
    let vendor = vendor().await;
    let reseller = partner(&vendor, "r-3").await;
    let tenant = customer(&vendor, "c-1", &reseller).await;
    // Nothing, nobody, a customer, and for a partner as well.
    for (kind, parent) in [
        ("customer", Value::Null),
        ("customer", json!("t-1")),
        ("customer", tenant["id"].clone()),
        ("partner", json!("t-1")),
    ] {
        let order = json!({"external_id": "c-2", "kind": kind, "parent_id": parent});
        let refused = expect(&vendor, 422, "POST", ROOT, order).await;
        assert_eq!(code(&refused), "parent_not_found");
    }

    let disable = json!({"version": 1, "enabled": false});
    for tenant in [&reseller, &tenant] {
        expect(&vendor, 200, "PUT", &path(tenant), disable.clone()).await;
    }
    let delete = |tenant| format!("{}?version=2", path(tenant));
    let refused = expect(&vendor, 409, "DELETE", &delete(&reseller), Value::Null).await;
    assert_eq!(code(&refused), "has_children");
    expect(&vendor, 204, "DELETE", &delete(&tenant), Value::Null).await;
    expect(&vendor, 204, "DELETE", &delete(&reseller), Value::Null).await;
    let order = json!({"external_id": "c-3", "kind": "customer", "parent_id": reseller["id"]});
    let refused = expect(&vendor, 422, "POST", ROOT, order).await;
    assert_eq!(code(&refused), "parent_not_found");

    // Who has a tenant is told so, also when the partner is gone.
    let order = json!({"external_id": "c-1", "kind": "customer", "parent_id": reseller["id"]});
    let exists = expect(&vendor, 409, "POST", ROOT, order).await;
    assert_eq!(
        (code(&exists).as_str(), &exists.json()["existing"]["id"]),
        ("exists", &tenant["id"])
    );
    assert_eq!(exists.json()["existing"]["provisioning"], "deleted");
}

#[tokio::test]
async fn an_external_id_is_unique() {
    let vendor = vendor().await;
    let reseller = partner(&vendor, "r-3").await;
    let order = json!({"external_id": "r-3", "kind": "partner"});
    let exists = expect(&vendor, 409, "POST", ROOT, order).await.json();
    assert_eq!(
        (&exists["code"], &exists["existing"]),
        (&json!("exists"), &reseller)
    );
    assert_eq!(
        vendor.last_call().await["effect"]["tenantId"],
        reseller["id"]
    );
    assert_eq!(vendor.counts().await["live"], 1);
}

#[tokio::test]
async fn a_change_names_the_version_it_is_for() {
    let vendor = vendor().await;
    let tenant = partner(&vendor, "r-3").await;
    let path = path(&tenant);
    for version in [0, 2] {
        let change = json!({"version": version, "offerings": {"seats": 1}});
        let refused = expect(&vendor, 409, "PUT", &path, change).await;
        assert_eq!(code(&refused), "version_conflict");
    }
    // Behind the caller's back.
    let limits = json!({"limits": {"seats": 7}});
    expect(&vendor, 200, "PATCH", "/_vendor/tenants/t-1001", limits).await;
    let change = json!({"version": 1, "offerings": {"seats": 1}});
    let refused = expect(&vendor, 409, "PUT", &path, change).await;
    assert_eq!(code(&refused), "version_conflict");
    let seen = vendor.get(&path).await.json();
    assert_eq!(
        (&seen["version"], &seen["offerings"]),
        (&json!(2), &json!({"seats": 7}))
    );
    // A change that is refused raises nothing.
    let wrong = json!({"version": 2, "offerings": {"seats": -1}});
    expect(&vendor, 400, "PUT", &path, wrong).await;
    assert_eq!(vendor.get(&path).await.json()["version"], 2);
    assert_eq!(vendor.counts().await["effects"]["changed"], 0);
}

#[tokio::test]
async fn two_changes_in_one_are_both_done_or_neither() {
    let vendor = vendor().await;
    let tenant = partner(&vendor, "r-3").await;
    let path = path(&tenant);
    let both = |version, seats: Value, enabled| json!({"version": version, "offerings": {"seats": seats}, "enabled": enabled});
    let told = async || {
        let call = vendor.last_call().await;
        let (operation, effect) = (call["operation"].clone(), call["effect"].clone());
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        (
            word(&operation),
            word(&effect["kind"]),
            word(&effect["tenantStatus"]),
        )
    };
    let is = |told: (String, String, String), operation: &str, kind: &str, status: &str| {
        assert_eq!(
            told,
            (operation.to_owned(), kind.to_owned(), status.to_owned())
        );
    };
    expect(&vendor, 400, "PUT", &path, both(1, json!(-1), false)).await;
    assert_eq!(vendor.get(&path).await.json(), tenant);
    expect(&vendor, 200, "PUT", &path, both(1, json!(5), true)).await;
    is(told().await, "change", "changed", "active");
    expect(&vendor, 200, "PUT", &path, both(2, json!(6), false)).await;
    is(told().await, "change", "changed", "suspended");
    expect(&vendor, 200, "PUT", &path, both(3, json!(6), true)).await;
    is(told().await, "enable", "enabled", "active");
    let seen = vendor.get(&path).await.json();
    assert_eq!(
        (&seen["version"], &seen["enabled"]),
        (&json!(4), &json!(true))
    );

    vendor
        .behave(json!({"operations": {"disable": {"async": {"after": "manual"}}}}))
        .await;
    let refused = expect(&vendor, 409, "PUT", &path, both(4, json!(7), false)).await;
    assert_eq!(code(&refused), "one_at_a_time");
    assert_eq!(vendor.get(&path).await.json(), seen);
}

/// What never came to its effect is recorded as what it asked for.
#[tokio::test]
async fn a_suspension_is_recorded_as_one() {
    let vendor = vendor().await;
    let path = path(&partner(&vendor, "r-3").await);
    for (change, operation) in [
        (json!({"version": 1, "enabled": false}), "disable"),
        (json!({"version": 1, "enabled": true}), "enable"),
        (json!({"version": 1, "offerings": {"seats": 1}}), "change"),
        (json!({"version": 1}), "change"),
    ] {
        vendor.fault("PUT", json!({"status": 503})).await;
        expect(&vendor, 503, "PUT", &path, change).await;
        let call = vendor.last_call().await;
        assert_eq!(
            (&call["operation"], &call["effect"]["kind"]),
            (&json!(operation), &json!("none"))
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let vendor = vendor().await;
    let tenant = partner(&vendor, "r-3").await;
    let path = path(&tenant);
    for order in [
        json!({"external_id": "a"}),
        json!({"external_id": "a", "kind": "reseller"}),
        json!({"external_id": "a", "kind": "partner", "offerings": {"seats": -1}}),
        json!({"external_id": 1, "kind": "partner"}),
        json!({"kind": "partner"}),
    ] {
        expect(&vendor, 400, "POST", ROOT, order).await;
    }
    for change in [
        json!({}),
        json!({"version": "1"}),
        json!({"version": 1, "enabled": "no"}),
        json!({"version": 1, "offerings": []}),
    ] {
        expect(&vendor, 400, "PUT", &path, change).await;
    }
    expect(&vendor, 400, "DELETE", &path, Value::Null).await;
    expect(
        &vendor,
        400,
        "DELETE",
        &format!("{path}?version=x"),
        Value::Null,
    )
    .await;
    // There are no such paths.
    for path in [format!("{path}/disable"), format!("{path}/enable")] {
        expect(&vendor, 404, "PUT", &path, json!({})).await;
    }
    expect(&vendor, 404, "POST", "/tenant", json!({})).await;
    assert_eq!(vendor.get(&path).await.json(), tenant);
}

#[tokio::test]
async fn provisioning_takes_its_time() {
    let vendor = vendor().await;
    vendor
        .behave(json!({"operations": {
            "create": {"async": {"after": "manual"}}, "change": {"async": {"after": "manual"}}
        }}))
        .await;
    let order = json!({"external_id": "r-3", "kind": "partner"});
    let pending = expect(&vendor, 202, "POST", ROOT, order).await;
    assert_eq!(pending.header("retry-after"), "1");
    let pending = pending.json();
    assert_eq!(
        (&pending["enabled"], &pending["provisioning"]),
        (&json!(false), &json!("pending"))
    );
    // A partner that is being made is none yet.
    let order = json!({"external_id": "c-1", "kind": "customer", "parent_id": pending["id"]});
    expect(&vendor, 422, "POST", ROOT, order).await;

    let path = path(&pending);
    let decide = async |decision: Value| {
        let decide = "/_vendor/tenants/t-1001/decide";
        expect(&vendor, 200, "POST", decide, decision).await;
        vendor.get(&path).await.json()
    };
    let errors = json!({"phone": "missing"});
    let inquiry = json!({"status": "inquiring", "reason": "who?", "parameterErrors": errors});
    let asked = decide(inquiry).await;
    assert_eq!(
        (
            &asked["provisioning"],
            &asked["provisioning_detail"],
            &asked["parameter_errors"]
        ),
        (&json!("inquiring"), &json!("who?"), &errors)
    );
    let answer = json!({"version": 1, "enabled": true, "contact": {"phone": "1"}});
    let pending = expect(&vendor, 202, "PUT", &path, answer).await.json();
    assert_eq!(
        (&pending["provisioning"], &pending["version"]),
        (&json!("pending"), &json!(2))
    );
    let done = decide(json!({"status": "approved"})).await;
    assert_eq!(
        (&done["provisioning"], &done["enabled"]),
        (&json!("done"), &json!(true))
    );

    // A change that is pending or failed leaves what there is.
    let change = json!({"version": 2, "offerings": {"seats": 5}});
    let pending = expect(&vendor, 202, "PUT", &path, change).await.json();
    assert_eq!(
        (&pending["provisioning"], &pending["enabled"]),
        (&json!("pending"), &json!(true))
    );
    let failed = decide(json!({"status": "failed", "reason": "no credit"})).await;
    assert_eq!(
        (&failed["provisioning"], &failed["enabled"]),
        (&json!("failed"), &json!(true))
    );
    assert_eq!(failed["provisioning_detail"], "no credit");
}
