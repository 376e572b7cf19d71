//! The life of a tenant whose vendor does everything at once.

use crate::support::{Answer, Vendor};
use reference_vendor::{Auth, Config};
use serde_json::{Value, json};

#[tokio::test]
async fn the_life_of_a_tenant() {
    let vendor = Vendor::start().await;
    let order = json!({
        "externalId": "acme/ü 1", "product": "mail-pro", "somethingNew": [1],
        "limits": {"seats": 50, "storageGiB": "unlimited", "ratio": "2.50"},
        "parameters": {"contact_phone": "+1 201 555 0123"},
        "tiers": {"customer": {"externalId": "c-17"}},
        "callbackUrl": "http://127.0.0.1:1/"
    });
    let created = vendor.send("POST", "/tenant", order).await;
    assert_eq!(created.status, 201);
    let tenant = created.json();
    assert_eq!(tenant["externalId"], "acme/ü 1");
    assert_eq!(tenant["status"], "active");
    assert_eq!(
        tenant["limits"],
        json!({"seats": 50, "storageGiB": "unlimited", "ratio": "2.50"})
    );
    assert_eq!(
        tenant["request"],
        json!({"status": "approved", "reason": "", "parameterErrors": {}})
    );
    let id = tenant["id"].as_str().unwrap();
    assert_eq!(tenant["sensitive"], json!(["initial_password"]));
    assert_eq!(
        tenant["parameters"]["initial_password"]
            .as_str()
            .unwrap()
            .len(),
        24
    );
    assert_eq!(
        tenant["parameters"]["activation_link"],
        format!("{}/t/{id}", vendor.url)
    );

    let path = format!("/tenant/{id}");
    assert_eq!(vendor.get(&path).await.json(), tenant);
    let found = vendor.get("/tenant?externalId=acme%2F%C3%BC%201").await;
    assert_eq!((found.status, found.json()), (200, json!([tenant])));

    // What is not named stays.
    let change =
        json!({"limits": {"seats": "60"}, "parameters": {"contact_phone": null, "a": "b"}});
    let changed = vendor.send("PUT", &path, change).await;
    assert_eq!(changed.status, 200);
    let limits = json!({"seats": "60", "storageGiB": "unlimited", "ratio": "2.50"});
    assert_eq!(changed.json()["limits"], limits);
    let stored = vendor.get(&format!("/_vendor/tenants/{id}")).await.json();
    assert_eq!(stored["terms"]["parameters"], json!({"a": "b"}));
    assert_eq!(
        stored["terms"]["tiers"],
        json!({"customer": {"externalId": "c-17"}})
    );

    for (operation, status) in [
        ("disable", "suspended"),
        ("disable", "suspended"),
        ("enable", "active"),
        ("enable", "active"),
    ] {
        let answer = vendor.call("PUT", &format!("{path}/{operation}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(vendor.get(&path).await.json()["status"], status);
    }

    let deleted = vendor.call("DELETE", &path).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("PUT", format!("{path}/disable")),
        ("PUT", format!("{path}/enable")),
    ] {
        let answer = vendor.call(method, &path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{method} {path}"
        );
    }
    assert_eq!(vendor.send("PUT", &path, json!({})).await.status, 404);
    assert_eq!(
        vendor
            .get("/tenant?externalId=acme%2F%C3%BC%201")
            .await
            .json(),
        json!([])
    );
}

#[tokio::test]
async fn a_change_of_nothing_has_no_effect() {
    let vendor = Vendor::start().await;
    let path = vendor.create("a").await;
    for limits in [json!({"seats": "50.0"}), json!({}), Value::Null] {
        let answer = vendor.send("PUT", &path, json!({ "limits": limits })).await;
        // The limit keeps the form it had.
        assert_eq!(
            (answer.status, &answer.json()["limits"]),
            (200, &json!({"seats": 50}))
        );
        assert_eq!(vendor.last_call().await["effect"]["kind"], "none");
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let vendor = Vendor::start().await;
    let path = vendor.create("a").await;
    for limit in [
        json!(-1),
        json!(2.5),
        json!("many"),
        json!(true),
        json!({}),
        Value::Null,
    ] {
        for (method, path) in [("POST", "/tenant"), ("PUT", &path)] {
            let body = json!({"externalId": "b", "limits": {"seats": limit, "fine": 1}});
            let answer = vendor.send(method, path, body).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "invalid_limit")
            );
            let message = answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(message.contains("limits.seats"), "{message}");
        }
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"externalId": 1}"#,
        r#"{"limits": []}"#,
    ] {
        let answer = Answer::of(vendor.request("POST", "/tenant").body(body)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "invalid_body"),
            "{body}"
        );
    }
    for body in [
        json!({}),
        json!({"externalId": ""}),
        json!({"externalId": null}),
    ] {
        let answer = vendor.send("POST", "/tenant", body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "missing_external_id")
        );
    }
    let answer = vendor.get("/tenant").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "missing_external_id")
    );
    let answer = vendor.get("/tenant?externalId=a&externalId=b").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "invalid_query")
    );

    let long = json!({"externalId": "c", "product": "x".repeat(256 << 10)});
    let answer = vendor.send("POST", "/tenant", long).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );

    for (method, path) in [
        ("GET", "/tenant/x"),
        ("GET", "/tenant/%FF"),
        ("GET", "/tenants"),
        ("POST", "/x"),
    ] {
        assert_eq!(
            vendor.call(method, path).await.status,
            404,
            "{method} {path}"
        );
    }
    let answer = vendor.call("PATCH", &path).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, "GET, PUT, DELETE")
    );
    assert_eq!(answer.code(), "method_not_allowed");
    assert_eq!(vendor.counts().await["live"], 1);
}

#[tokio::test]
async fn bodies_where_none_is_expected_are_ignored() {
    let vendor = Vendor::start().await;
    let path = vendor.create("a").await;
    for (method, path) in [
        ("PUT", format!("{path}/disable")),
        ("PUT", format!("{path}/enable")),
        ("DELETE", path.clone()),
    ] {
        assert_eq!(vendor.send(method, &path, json!({})).await.status, 204);
    }
}

#[tokio::test]
async fn ids_are_percent_decoded() {
    let vendor = Vendor::behaving(json!({"idPrefix": "org/ü ?#%"})).await;
    let created = vendor
        .send("POST", "/tenant", json!({"externalId": "a"}))
        .await
        .json();
    assert_eq!(created["id"], "org/ü ?#%1001");
    let path = "/tenant/org%2F%C3%BC%20%3F%23%251001";
    assert_eq!(vendor.get(path).await.json(), created);
    assert_eq!(
        vendor.call("PUT", &format!("{path}/disable")).await.status,
        204
    );
    let link = created["parameters"]["activation_link"].as_str().unwrap();
    let page = Answer::of(vendor.http.get(link)).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("org/ü ?#%1001"));
    assert_eq!(vendor.call("DELETE", path).await.status, 204);
}

#[tokio::test]
async fn terminated_tenants_can_stay_to_be_seen() {
    let vendor = Vendor::behaving(json!({"keepTerminated": true})).await;
    let path = vendor.create("a").await;
    assert_eq!(vendor.call("DELETE", &path).await.status, 204);
    let seen = vendor.get(&path).await;
    assert_eq!(
        seen.statuses(),
        ("terminated".to_owned(), "approved".to_owned())
    );
    assert_eq!(
        vendor.get("/tenant?externalId=a").await.json()[0],
        seen.json()
    );
    assert_eq!(vendor.call("DELETE", &path).await.status, 204);
    let answer = vendor.call("PUT", &format!("{path}/enable")).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "terminated"));
}

#[tokio::test]
async fn some_vendors_delete_only_what_is_suspended() {
    let vendor = Vendor::behaving(json!({"deleteOnlySuspended": true})).await;
    let path = vendor.create("a").await;
    let answer = vendor.call("DELETE", &path).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "not_suspended")
    );
    assert_eq!(
        vendor.call("PUT", &format!("{path}/disable")).await.status,
        204
    );
    assert_eq!(vendor.call("DELETE", &path).await.status, 204);
}

#[tokio::test]
async fn outputs_can_be_turned_off() {
    let vendor = Vendor::behaving(json!({"outputs": false})).await;
    let tenant = vendor
        .send("POST", "/tenant", json!({"externalId": "a"}))
        .await
        .json();
    assert_eq!(
        (&tenant["parameters"], &tenant["sensitive"]),
        (&json!({}), &json!([]))
    );
}

#[tokio::test]
async fn the_public_url_is_where_links_lead() {
    let public_url = Some("https://vendor.example/shop/".to_owned());
    let vendor = Vendor::with(Config {
        public_url,
        ..Config::default()
    })
    .await;
    let tenant = vendor
        .send("POST", "/tenant", json!({"externalId": "a"}))
        .await
        .json();
    let link = &tenant["parameters"]["activation_link"];
    assert_eq!(link, "https://vendor.example/shop/t/t-1001");
}

#[tokio::test]
async fn callers_must_say_who_they_are() {
    let secret = "very-secret";
    let basic = Auth::Basic {
        user: "me".to_owned(),
        password: secret.to_owned(),
    };
    let key = Auth::ApiKey {
        header: "X-Shop".parse().unwrap(),
        key: secret.to_owned(),
    };
    for auth in [Auth::Bearer(secret.to_owned()), basic, key] {
        let config = Config {
            auth: auth.clone(),
            ..Config::default()
        };
        let vendor = Vendor::with(config).await;
        let request = || {
            vendor
                .request("POST", "/tenant")
                .json(&json!({"externalId": "a"}))
        };
        let with = |secret: &str| match &auth {
            Auth::Basic { user, .. } => request().basic_auth(user, Some(secret)),
            Auth::ApiKey { header, .. } => request().header(header.clone(), secret),
            Auth::Bearer(_) | Auth::OAuth2 { .. } | Auth::None => request().bearer_auth(secret),
        };
        for wrong in [
            request(),
            with("wrong"),
            with(""),
            with("very-secret2"),
            with("very-secre"),
        ] {
            let answer = Answer::of(wrong).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "unauthorized")
            );
            match &auth {
                Auth::Bearer(_) | Auth::OAuth2 { .. } => {
                    assert_eq!(answer.header("www-authenticate"), "Bearer");
                }
                Auth::Basic { .. } => {
                    assert_eq!(
                        answer.header("www-authenticate"),
                        "Basic realm=\"tenant API\""
                    );
                }
                Auth::ApiKey { .. } | Auth::None => {
                    assert!(!answer.headers.contains_key("www-authenticate"));
                }
            }
        }
        assert_eq!(vendor.counts().await["live"], 0);
        assert_eq!(Answer::of(with(secret)).await.status, 201);
        // People and the tests need not.
        assert_eq!(vendor.get("/").await.status, 200);

        // The refused calls are recorded as well, and no secret is.
        let calls = vendor.get("/_vendor/calls").await;
        assert_eq!(calls.json().as_array().unwrap().len(), 6);
        assert!(
            !calls.body.contains("secre") && !calls.body.contains("wrong"),
            "{calls}"
        );
        assert!(calls.body.contains("(redacted)"));
        assert!(!format!("{auth:?}").contains(secret));
    }
}
