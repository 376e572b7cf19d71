//! `Attributes`, `licences` and the word `ready`.

use super::{expect, speaking};
use crate::support::{Answer, Vendor};
use reference_vendor::Dialect;
use serde_json::{Value, json};

async fn vendor() -> Vendor {
    speaking(Dialect::Scenario).await
}

#[tokio::test]
async fn the_life_of_a_tenant() {
    let vendor = vendor().await;
    let order = json!({
        "externalId": "acme 1",
        "Attributes": {
            "product": {"mpn": "mail-pro", "quantity": "50"},
            "account": {"accountFirstName": "Ada", "floor": 3}
        }
    });
    let bought = expect(&vendor, 201, "POST", "/tenant", order).await.json();
    let tenant = json!({
        "tenantId": "t-1001", "externalId": "acme 1", "productItemId": "mail-pro", "status": "ready"
    });
    assert_eq!(bought, tenant);
    let stored = vendor.get("/_vendor/tenants/t-1001").await.json();
    let terms = json!({
        "limits": {}, "tiers": {}, "parameters": {"accountFirstName": "Ada", "floor": "3"}
    });
    assert_eq!(stored["terms"], terms);

    let path = "/tenant/t-1001";
    let link = format!("{}/t/t-1001", vendor.url);
    let mut seen = tenant;
    seen["activationLink"] = json!(link);
    assert_eq!(
        expect(&vendor, 200, "GET", path, Value::Null).await.json(),
        seen
    );

    let change = json!({
        "licences": {"limit": "10"}, "Attributes": {"account": {"floor": null, "accountLastName": "L"}}
    });
    let changed = expect(&vendor, 200, "PUT", path, change).await.json();
    seen["licences"] = json!({"limit": "10"});
    assert_eq!(changed, seen);
    let stored = vendor.get("/_vendor/tenants/t-1001").await.json();
    let parameters = json!({"accountFirstName": "Ada", "accountLastName": "L"});
    assert_eq!(stored["terms"]["parameters"], parameters);
    assert_eq!(stored["terms"]["limits"], json!({"seats": "10"}));

    for (operation, status) in [("disable", "suspended"), ("enable", "active")] {
        let path = format!("{path}/{operation}");
        for _ in 0..2 {
            let answer = expect(&vendor, 204, "PUT", &path, json!({})).await;
            assert_eq!(answer.body, "");
        }
        let stored = vendor.get("/_vendor/tenants/t-1001").await.json();
        assert_eq!(stored["status"], status);
        // Of that the wire says nothing.
        assert_eq!(vendor.get("/tenant/t-1001").await.json(), seen);
    }

    let found = "/tenant?externalId=acme%201";
    assert_eq!(vendor.get(found).await.json(), json!([seen]));
    let answer = expect(&vendor, 204, "DELETE", path, json!({})).await;
    assert_eq!(answer.body, "");
    assert_eq!(vendor.get(found).await.json(), json!([]));
    expect(&vendor, 404, "GET", path, Value::Null).await;
    expect(&vendor, 404, "DELETE", path, json!({})).await;
}

#[tokio::test]
async fn an_inquiry_names_what_is_wrong_as_connect_does() {
    let vendor = vendor().await;
    let manual = json!({"async": {"after": "manual"}});
    let operations = json!({"create": manual, "change": manual});
    vendor.behave(json!({ "operations": operations })).await;
    let account = json!({"accountFax": "556", "accountPhone": "555"});
    let order = json!({"Attributes": {"account": account}});
    let bought = expect(&vendor, 202, "POST", "/tenant", order).await;
    assert_eq!(bought.json()["status"], "processing");
    let path = "/tenant/t-1001";
    let inquire = async || {
        let errors = json!({"accountPhone": "too short"});
        let inquiry = json!({"status": "inquiring", "reason": "who?", "parameterErrors": errors});
        vendor.decide(path, inquiry).await;
        let asked = vendor.get(path).await.json();
        assert_eq!(
            (&asked["status"], &asked["reason"], &asked["params"]),
            (
                &json!("inquiring"),
                &json!("who?"),
                &json!([
                    {"id": "accountFax", "value_error": ""},
                    {"id": "accountPhone", "value_error": "too short"}
                ])
            )
        );
    };
    inquire().await;
    let answer = |phone: &str| json!({"Attributes": {"account": {"accountPhone": phone}}});
    let taken = expect(&vendor, 202, "PUT", path, answer("1")).await.json();
    assert_eq!(
        (&taken["status"], &taken["params"]),
        (&json!("processing"), &Value::Null)
    );
    vendor.decide(path, json!({"status": "approved"})).await;
    assert_eq!(vendor.get(path).await.json()["status"], "ready");

    // A change of what is there can ask, too.
    expect(&vendor, 202, "PUT", path, answer("2")).await;
    inquire().await;
    expect(&vendor, 204, "DELETE", path, json!({})).await;
}

#[tokio::test]
async fn a_refusal_lists_what_is_fine_too() {
    let vendor = vendor().await;
    expect(&vendor, 201, "POST", "/tenant", json!({})).await;
    let wrong = json!({"phone": "too short"});
    let refuse = json!({"refuse": {"reason": "no", "parameterErrors": wrong}});
    let operations = json!({"create": refuse, "change": refuse});
    vendor.behave(json!({ "operations": operations })).await;
    let order = json!({"Attributes": {"account": {"fax": "556", "phone": "555"}}});
    let listed = json!([
        {"id": "fax", "value_error": ""}, {"id": "phone", "value_error": "too short"}
    ]);
    for (method, path) in [("POST", "/tenant"), ("PUT", "/tenant/t-1001")] {
        let refused = expect(&vendor, 422, method, path, order.clone()).await;
        assert_eq!(refused.json()["params"], listed, "{method}");
    }
}

#[tokio::test]
async fn any_object_buys_a_tenant() {
    let vendor = vendor().await;
    let bought = expect(&vendor, 201, "POST", "/tenant", json!({})).await;
    assert_eq!(
        bought.json(),
        json!({"tenantId": "t-1001", "status": "ready"})
    );
    // Limits are none of its business.
    let order = json!({"licences": {"limit": 5}, "limits": {"seats": 5}, "Attributes": {}});
    expect(&vendor, 201, "POST", "/tenant", order).await;
    let seen = vendor.get("/tenant/t-1002").await.json();
    assert_eq!(seen["licences"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let vendor = vendor().await;
    expect(&vendor, 201, "POST", "/tenant", json!({})).await;
    let path = "/tenant/t-1001";
    for licences in [
        json!({"limit": 10}),
        json!({"limit": "many"}),
        json!({"limit": "-1"}),
        json!({"limit": null}),
        json!({}),
        json!("10"),
    ] {
        expect(&vendor, 400, "PUT", path, json!({"licences": licences})).await;
    }
    for (method, path) in [
        ("PUT", path.to_owned()),
        ("PUT", format!("{path}/disable")),
        ("PUT", format!("{path}/enable")),
        ("DELETE", path.to_owned()),
    ] {
        for body in ["", "[]", "null"] {
            let answer = Answer::of(vendor.request(method, &path).body(body)).await;
            assert_eq!(answer.status, 400, "{method} {path} {body}");
            assert!(answer.json()["message"].is_string());
        }
    }
    assert_eq!(
        expect(&vendor, 200, "PUT", path, json!({})).await.json()["status"],
        "ready"
    );
    let effects = vendor.counts().await["effects"].clone();
    let nothing = json!({"created": 1, "changed": 0, "disabled": 0, "enabled": 0, "deleted": 0});
    assert_eq!(effects, nothing);
    expect(&vendor, 400, "GET", "/tenant", Value::Null).await;
    expect(
        &vendor,
        400,
        "GET",
        "/tenant?externalId=a&externalId=b",
        Value::Null,
    )
    .await;
}

#[tokio::test]
async fn a_purchase_takes_its_time() {
    let vendor = vendor().await;
    vendor
        .behave(json!({"operations": {"create": {"async": {"after": "manual"}}}}))
        .await;
    for (name, decision, status) in [("a", "approved", "ready"), ("b", "failed", "failed")] {
        let order = json!({"externalId": name});
        let bought = expect(&vendor, 202, "POST", "/tenant", order).await;
        assert_eq!(bought.header("retry-after"), "1");
        let bought = bought.json();
        assert_eq!(bought["status"], "processing");
        let path = format!("/tenant/{}", bought["tenantId"].as_str().unwrap());
        assert_eq!(vendor.get(&path).await.json()["status"], "processing");
        vendor.decide(&path, json!({"status": decision})).await;
        assert_eq!(vendor.get(&path).await.json()["status"], status);
    }
}
