//! Tokens for whoever shows the client's secret, and calls with them.

use crate::support::{Answer, Vendor};
use reference_vendor::{Auth, Config};
use serde_json::json;

const SECRET: &str = "p:ss w%rd+é";

async fn start() -> Vendor {
    Vendor::with(Config {
        auth: Auth::OAuth2 {
            client: "me".to_owned(),
            secret: SECRET.to_owned(),
        },
        ..Config::default()
    })
    .await
}

/// As a form writes it.
const ENCODED: &str = "p%3Ass+w%25rd%2B%C3%A9";

async fn token(vendor: &Vendor, secret: &str, form: &str) -> Answer {
    let request = vendor.request("POST", "/oauth2/token");
    let request = request.basic_auth("me", Some(secret));
    Answer::of(request.body(form.to_owned())).await
}

#[tokio::test]
async fn a_token_is_given_for_the_secret_and_lets_calls_in() {
    let vendor = start().await;
    let form = "grant_type=client_credentials&scope=a+b";
    let by_header = token(&vendor, ENCODED, form).await;
    let in_form = format!("{form}&client_id=me&client_secret={ENCODED}");
    let by_body = Answer::of(vendor.request("POST", "/oauth2/token").body(in_form)).await;
    for given in [by_header, by_body] {
        assert_eq!(given.status, 200, "{given}");
        assert_eq!(given.header("cache-control"), "no-store");
        let body = given.json();
        assert_eq!(
            (&body["token_type"], &body["expires_in"]),
            (&json!("Bearer"), &json!(3600))
        );
        let token = body["access_token"].as_str().unwrap();
        let call = || vendor.request("GET", "/tenant/x");
        assert_eq!(Answer::of(call().bearer_auth(token)).await.status, 404);
        assert_eq!(
            Answer::of(call().bearer_auth(&token[1..])).await.status,
            401
        );
        assert_eq!(Answer::of(call()).await.status, 401);
    }
    assert_eq!(vendor.counts().await["token"], 2);
    let calls = vendor.get("/_vendor/calls").await;
    assert!(
        !calls.body.contains("p%3Ass") && !calls.body.contains("p:ss"),
        "{calls}"
    );
    assert_eq!(calls.json()[0]["body"]["scope"], "a b");
}

#[tokio::test]
async fn nobody_else_gets_one() {
    let vendor = start().await;
    let good = "grant_type=client_credentials";
    for (secret, form, status, error) in [
        ("wrong", good, 401, "invalid_client"),
        ("", good, 401, "invalid_client"),
        (
            ENCODED,
            "grant_type=password",
            400,
            "unsupported_grant_type",
        ),
        (ENCODED, "", 400, "unsupported_grant_type"),
        (ENCODED, "\u{1}", 400, "invalid_request"),
    ] {
        let answer = token(&vendor, secret, form).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (status, &json!(error)),
            "{answer}"
        );
    }
    let plain = Vendor::start().await;
    let answer = token(&plain, "x", good).await;
    assert_eq!(answer.json()["error"], "unauthorized_client");
    assert_eq!(vendor.get("/oauth2/token").await.status, 401);
}

#[tokio::test]
async fn a_token_ends_and_can_be_revoked() {
    let vendor = start().await;
    let form = "grant_type=client_credentials";
    let get = async || token(&vendor, ENCODED, form).await.json()["access_token"].clone();
    let status = async |token: &serde_json::Value| {
        let call = vendor.request("GET", "/tenant/x");
        Answer::of(call.bearer_auth(token.as_str().unwrap()))
            .await
            .status
    };
    let long = get().await;
    vendor.behave(json!({"tokenLifetime": "0s"})).await;
    assert_eq!(status(&get().await).await, 401);
    assert_eq!(status(&long).await, 404);
    assert_eq!(vendor.call("DELETE", "/_vendor/tokens").await.status, 204);
    assert_eq!(status(&long).await, 401);
}
