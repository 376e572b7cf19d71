//! The checker reads what real vendors record, whatever dialect they speak.

use super::{Rules, Twins, check};
use crate::{
    Vendor, http,
    vendor::{TOKEN, id_in, identity_of},
};
use reqwest::{
    Method,
    blocking::Response,
    header::{AUTHORIZATION, USER_AGENT},
};
use serde_json::{Value, json};
use std::time::Duration;

const DIALECTS: [&str; 5] = [
    "canonical",
    "scenario",
    "reseller-tree",
    "operation",
    "bare",
];

/// A call that the record takes for the operator's.
fn call(vendor: &Vendor, method: &str, path: &str, body: &Value) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = http::plain()
        .request(method, format!("{}{path}", vendor.url()))
        .header(USER_AGENT, "fulfillment-operator/0.0.0")
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"));
    request.json(body).send().unwrap()
}

/// Buys a tenant and waits until it is there; its id.
fn buy(vendor: &Vendor, name: &str) -> String {
    let body = json!({"externalId": name, "external_id": name, "kind": "partner"});
    let answer = call(vendor, "POST", vendor.path(), &body);
    let status = answer.status();
    let answer: Value = answer.json().unwrap();
    assert!(status.is_success(), "{status} {answer}");
    settle(vendor);
    id_in(&answer)
}

fn settle(vendor: &Vendor) {
    crate::poll("nothing is pending", Duration::from_secs(30), || {
        let tenants = vendor.tenants();
        let open = tenants.iter().find(|tenant| !tenant["open"].is_null());
        open.map_or(Ok(()), |tenant| Err(tenant.to_string()))
    });
}

/// Disables and deletes it, and looks.
fn end(vendor: &Vendor, id: &str) {
    let path = format!("{}/{id}", vendor.path());
    let steps = if vendor.path() == "/tenants" {
        [
            ("PUT", "", json!({"version": 1, "enabled": false})),
            ("DELETE", "?version=2", json!({})),
        ]
    } else {
        [("PUT", "/disable", json!({})), ("DELETE", "", json!({}))]
    };
    for (method, rest, body) in steps {
        let answer = call(vendor, method, &format!("{path}{rest}"), &body);
        assert!(
            answer.status().is_success(),
            "{method} {path}{rest}: {answer:?}"
        );
        settle(vendor);
    }
    let answer = call(vendor, "GET", &path, &Value::Null);
    assert!([404, 410].contains(&answer.status().as_u16()), "{answer:?}");
}

#[test]
fn a_life_is_good_and_what_is_over_stays_so() {
    for dialect in DIALECTS {
        let vendor = Vendor::start_alone(&[format!("--dialect={dialect}")]);
        let id = buy(&vendor, "k");
        assert_eq!(vendor.tenants_of("k").len(), 1, "{dialect}");
        end(&vendor, &id);
        assert_eq!(
            check(&vendor.calls(), &Rules::default()),
            [""; 0],
            "{dialect}"
        );

        // Nobody of us made this one.
        vendor.adopted("t-9");
        let before = vendor.sequence();
        let path = format!("{}/t-9", vendor.path());
        let change = json!({"version": 1});
        call(&vendor, "PUT", &path, &change);
        let said = check(&vendor.calls(), &Rules::default());
        let expected = format!(
            "call {} (change): t-9 was neither created by us nor adopted",
            before + 1
        );
        assert_eq!(said, [expected], "{dialect}");
    }
}

#[test]
fn a_twin_is_seen() {
    for dialect in DIALECTS
        .into_iter()
        .filter(|dialect| identity_of(dialect) != "ExternalId")
    {
        let vendor = Vendor::start_alone(&[format!("--dialect={dialect}")]);
        vendor.allow_twins(Twins::Accepted);
        let (first, second) = (buy(&vendor, "k"), buy(&vendor, "k"));
        let said = check(&vendor.calls(), &Rules::default());
        let expected = format!("call 2 (create): {second} is a twin of {first}, all of k");
        assert_eq!(said, [expected], "{dialect}");
    }
}

/// A purchase under way is hidden in one dialect. It is a tenant all the same.
#[test]
fn what_is_not_seen_yet_is_not_gone() {
    let vendor = Vendor::start_alone(&["--dialect=operation"]);
    vendor.allow_twins(Twins::Accepted);
    vendor.behavior(json!({"operationTime": "1h"}));
    let order = json!({"externalId": "k"});
    for _ in 0..2 {
        let answer = call(&vendor, "POST", "/tenant", &order);
        let path = format!("/tenant/{}", id_in(&answer.json().unwrap()));
        assert_eq!(call(&vendor, "GET", &path, &Value::Null).status(), 404);
    }
    let said = check(&vendor.calls(), &Rules::default());
    assert_eq!(
        said,
        ["call 3 (create): t-1002 is a twin of t-1001, all of k"]
    );
}
