//! What is the same in every dialect; the rest is in a file for each.

mod bare;
mod operation;
mod reseller_tree;
mod scenario;

use crate::{
    persistence::Program,
    support::{Answer, Vendor, eventually},
};
use reference_vendor::{Auth, Config, Dialect, Identity};
use serde_json::{Value, json};

const ALL: [Dialect; 5] = [
    Dialect::Canonical,
    Dialect::Scenario,
    Dialect::ResellerTree,
    Dialect::Operation,
    Dialect::Bare,
];

async fn speaking(dialect: Dialect) -> Vendor {
    Vendor::with(Config::in_dialect(dialect)).await
}

/// A call that must be answered with this status.
async fn expect(vendor: &Vendor, status: u16, method: &str, path: &str, body: Value) -> Answer {
    let answer = send(vendor, method, path, body).await;
    assert_eq!(answer.status, status, "{method} {path}: {answer}");
    answer
}

/// A call with this body, or with none.
async fn send(vendor: &Vendor, method: &str, path: &str, body: Value) -> Answer {
    if body.is_null() {
        vendor.call(method, path).await
    } else {
        vendor.send(method, path, body).await
    }
}

/// Where tenants are, and a purchase of one.
fn purchase(dialect: Dialect, name: &str) -> (&'static str, Value) {
    match dialect {
        Dialect::Canonical | Dialect::Operation | Dialect::Bare => (
            "/tenant",
            json!({"externalId": name, "product": "mail-pro"}),
        ),
        Dialect::Scenario => {
            let attributes = json!({"product": {"mpn": "mail-pro", "quantity": "50"}});
            (
                "/tenant",
                json!({"externalId": name, "Attributes": attributes}),
            )
        }
        Dialect::ResellerTree => {
            let product = "mail-pro";
            (
                "/tenants",
                json!({"external_id": name, "kind": "partner", "product": product}),
            )
        }
    }
}

/// The steps of a life after its purchase: method, what follows the tenant's path, body.
fn steps(dialect: Dialect) -> Vec<(&'static str, &'static str, Value)> {
    let put = |limits: Value| match dialect {
        Dialect::Scenario => json!({"licences": {"limit": limits.to_string()}}),
        Dialect::ResellerTree => json!({"version": 1, "offerings": {"seats": limits}}),
        Dialect::Canonical | Dialect::Operation | Dialect::Bare => {
            json!({"limits": {"seats": limits}})
        }
    };
    let mut steps = vec![("GET", "", Value::Null), ("PUT", "", put(json!(10)))];
    steps.extend(match dialect {
        Dialect::ResellerTree => vec![
            ("PUT", "", json!({"version": 2, "enabled": false})),
            ("PUT", "", json!({"version": 3, "enabled": true})),
            ("PUT", "", json!({"version": 4, "enabled": false})),
            ("DELETE", "?version=5", Value::Null),
        ],
        Dialect::Canonical | Dialect::Operation | Dialect::Bare | Dialect::Scenario => vec![
            ("PUT", "/disable", json!({})),
            ("PUT", "/enable", json!({})),
            ("PUT", "/disable", json!({})),
            ("DELETE", "", json!({})),
        ],
    });
    steps.push(("GET", "", Value::Null));
    steps
}

/// The path of the one tenant there is.
async fn path_of_the_tenant(vendor: &Vendor, tenants: &str) -> String {
    let all = vendor.get("/_vendor/tenants").await.json();
    assert_eq!(all.as_array().unwrap().len(), 1);
    format!("{tenants}/{}", all[0]["id"].as_str().unwrap())
}

async fn nothing_is_pending(vendor: &Vendor) {
    eventually(async || {
        let tenants = vendor.get("/_vendor/tenants").await.json();
        let mut all = tenants.as_array().unwrap().iter();
        all.all(|tenant| tenant["open"].is_null()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_record_of_calls_tells_the_same_life_in_each_dialect() {
    for dialect in ALL {
        let vendor = speaking(dialect).await;
        let (tenants, order) = purchase(dialect, "acme-1");
        let bought = vendor.send("POST", tenants, order).await;
        assert!([201, 202].contains(&bought.status), "{dialect:?} {bought}");
        nothing_is_pending(&vendor).await;
        let path = path_of_the_tenant(&vendor, tenants).await;
        for (method, rest, body) in steps(dialect) {
            let path = format!("{path}{rest}");
            let answer = send(&vendor, method, &path, body).await;
            assert!(
                answer.status < 300 || method == "GET",
                "{dialect:?} {answer}"
            );
            nothing_is_pending(&vendor).await;
        }
        let calls = vendor.calls().await;
        let told: Vec<_> = calls
            .iter()
            .map(|call| {
                (
                    call["operation"].as_str().unwrap(),
                    call["effect"]["kind"].as_str().unwrap(),
                )
            })
            .collect();
        let life = [
            ("create", "created"),
            ("get", "none"),
            ("change", "changed"),
            ("disable", "disabled"),
            ("enable", "enabled"),
            ("disable", "disabled"),
            ("delete", "deleted"),
            ("get", "none"),
        ];
        assert_eq!(told, life, "{dialect:?}");
        let (last, about) = calls.split_last().unwrap();
        assert_eq!(
            last["status"],
            if dialect == Dialect::Operation {
                410
            } else {
                404
            }
        );
        assert_eq!(last["effect"]["tenantId"], Value::Null, "{dialect:?}");
        let id = path.rsplit('/').next().unwrap();
        for call in about {
            let effect = &call["effect"];
            assert_eq!(
                (&effect["tenantId"], &effect["externalId"]),
                (&json!(id), &json!("acme-1"))
            );
        }
        let counts = vendor.counts().await;
        assert_eq!(
            (&counts["live"], &counts["disable"]),
            (&json!(0), &json!(2)),
            "{dialect:?}"
        );
        assert_eq!(vendor.get("/").await.status, 200);
        let page = vendor.get(&format!("/t/{id}")).await;
        assert!(
            page.status == 200 && page.body.contains("mail-pro"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn faults_work_in_each_dialect() {
    for dialect in ALL {
        let vendor = speaking(dialect).await;
        let (tenants, order) = purchase(dialect, "acme-1");
        let send = || vendor.request("POST", tenants).json(&order);

        vendor.fault("POST", json!({"closeBefore": true})).await;
        assert!(Answer::try_of(send()).await.is_err());
        vendor.fault("POST", json!({"html": true})).await;
        assert!(Answer::of(send()).await.body.starts_with("<!doctype html>"));
        for status in [503, 429] {
            let fault = json!({"status": status, "headers": {"Retry-After": "2"}});
            vendor.fault("POST", fault).await;
            let answer = Answer::of(send()).await;
            assert_eq!((answer.status, answer.header("retry-after")), (status, "2"));
        }
        assert_eq!(vendor.counts().await["live"], 0);

        vendor
            .fault("POST", json!({"delay": "50ms", "closeAfter": true}))
            .await;
        assert!(Answer::try_of(send()).await.is_err());
        let call = vendor.last_call().await;
        assert_eq!(
            (&call["status"], &call["effect"]["kind"]),
            (&Value::Null, &json!("created"))
        );
        assert_eq!(vendor.counts().await["live"], 1);
        nothing_is_pending(&vendor).await;

        let path = path_of_the_tenant(&vendor, tenants).await;
        vendor.fault("GET", json!({"garbage": true})).await;
        let garbage = vendor.get(&path).await;
        assert!(serde_json::from_str::<Value>(&garbage.body).is_err());
        vendor.fault("GET", json!({"empty": true})).await;
        let empty = vendor.get(&path).await;
        assert_eq!((empty.status, empty.body.as_str()), (200, ""));
        vendor.fault("GET", json!({"truncate": true})).await;
        assert!(Answer::try_of(vendor.request("GET", &path)).await.is_err());
    }
}

#[tokio::test]
async fn each_dialect_says_no_in_its_own_words() {
    let says = |dialect, answer: &Answer, code: &str| match dialect {
        Dialect::Canonical => assert_eq!(answer.code(), code),
        Dialect::Scenario => {
            let body = answer.json();
            let members: Vec<_> = body.as_object().unwrap().keys().collect();
            assert_eq!(members, ["message"]);
        }
        Dialect::ResellerTree => {
            assert_eq!(answer.json()["code"], code);
            assert!(answer.json()["detail"].is_string());
        }
        Dialect::Operation => {
            let body = answer.json();
            let error = body["error"].as_str().unwrap();
            assert_eq!(error.to_lowercase(), code.replace('_', ""));
            assert!(body["description"].is_string());
        }
        Dialect::Bare => assert_eq!(answer.body, ""),
    };
    for dialect in ALL {
        let config = Config {
            auth: Auth::Bearer("very-secret".to_owned()),
            ..Config::in_dialect(dialect)
        };
        let vendor = Vendor::with(config).await;
        let (tenants, order) = purchase(dialect, "acme-1");
        let refused = expect(&vendor, 401, "POST", tenants, order).await;
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        says(dialect, &refused, "unauthorized");

        let vendor = speaking(dialect).await;
        says(
            dialect,
            &expect(&vendor, 404, "GET", "/x", Value::Null).await,
            "unknown_path",
        );
        let missing = format!("{tenants}/x");
        says(
            dialect,
            &expect(&vendor, 404, "GET", &missing, Value::Null).await,
            "not_found",
        );
        let patch = expect(&vendor, 405, "PATCH", &missing, Value::Null).await;
        assert_eq!(patch.header("allow"), "GET, PUT, DELETE");
        says(dialect, &patch, "method_not_allowed");
        for body in ["", "{", "[]", "null", "5"] {
            let answer = Answer::of(vendor.request("POST", tenants).body(body)).await;
            assert_eq!(answer.status, 400, "{dialect:?} {body}");
            says(dialect, &answer, "invalid_body");
        }
        assert_eq!(vendor.counts().await["tenants"], 0);
    }
}

#[tokio::test]
async fn a_refusal_names_parameters_in_each_dialect() {
    for dialect in ALL {
        let vendor = speaking(dialect).await;
        let wrong = json!({"phone": "too short"});
        let refuse = json!({"refuse": {"reason": "no", "parameterErrors": wrong}});
        vendor
            .behave(json!({"operations": {"create": refuse}}))
            .await;
        let (tenants, order) = purchase(dialect, "acme-1");
        let refused = expect(&vendor, 422, "POST", tenants, order.clone()).await;
        let body = refused.json();
        let (message, named) = match dialect {
            Dialect::Canonical => (&body["error"]["message"], &body["error"]["parameters"]),
            Dialect::Scenario => (&body["message"], &body["params"]),
            Dialect::ResellerTree => (&body["detail"], &body["parameter_errors"]),
            Dialect::Operation => (&body["description"], &body["inputs"]),
            Dialect::Bare => (&body["message"], &body["parameters"]),
        };
        let wrong = match dialect {
            Dialect::Scenario => json!([{"id": "phone", "value_error": "too short"}]),
            Dialect::Canonical | Dialect::ResellerTree | Dialect::Operation | Dialect::Bare => {
                wrong
            }
        };
        assert_eq!((message, named), (&json!("no"), &wrong), "{dialect:?}");
        assert_eq!(vendor.counts().await["live"], 0);

        vendor
            .behave(json!({"operations": {"create": "sync"}}))
            .await;
        let taken = send(&vendor, "POST", tenants, order).await;
        assert!(taken.status < 300, "{dialect:?} {taken}");
    }
}

/// Where each dialect's order has it; the bare contract has no such thing.
#[tokio::test]
async fn an_order_says_where_it_is_called_back() {
    for dialect in ALL {
        let vendor = speaking(dialect).await;
        let (tenants, mut order) = purchase(dialect, "acme-1");
        let url = json!("http://127.0.0.1:1/here");
        order["callbackUrl"] = url.clone();
        send(&vendor, "POST", tenants, order).await;
        let all = vendor.get("/_vendor/tenants").await.json();
        let given = match dialect {
            Dialect::Bare => Value::Null,
            Dialect::Canonical | Dialect::Scenario | Dialect::ResellerTree | Dialect::Operation => {
                url
            }
        };
        assert_eq!(all[0]["callbackUrl"], given, "{dialect:?}");
    }
}

#[tokio::test]
async fn a_dialect_brings_its_identity_mode() {
    // What a second purchase of the same name is answered, and how many tenants there are then.
    for (arguments, tenants, status, live) in [
        (vec!["--dialect", "canonical"], "/tenant", 409, 1),
        (vec!["--dialect", "scenario"], "/tenant", 201, 2),
        (vec!["--dialect", "reseller-tree"], "/tenants", 409, 1),
        (vec!["--dialect", "operation"], "/tenant", 202, 2),
        (vec!["--dialect", "bare"], "/tenant", 201, 2),
        (
            vec!["--dialect", "scenario", "--identity", "external-id"],
            "/tenant",
            409,
            1,
        ),
        (
            vec!["--dialect", "operation", "--identity", "external-id"],
            "/tenant",
            409,
            1,
        ),
        (
            vec!["--dialect", "reseller-tree", "--identity", "none"],
            "/tenants",
            201,
            2,
        ),
    ] {
        let program = Program::start(&arguments);
        let order = json!({"externalId": "a", "external_id": "a", "kind": "partner"});
        program.vendor.send("POST", tenants, order.clone()).await;
        let second = program.vendor.send("POST", tenants, order).await;
        assert_eq!(second.status, status, "{arguments:?} {second}");
        assert_eq!(program.vendor.counts().await["live"], live, "{arguments:?}");
    }
    assert_eq!(Dialect::Scenario.identity(), Identity::Lookup);
}
