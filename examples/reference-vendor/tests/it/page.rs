//! The web page.

use crate::support::{Answer, Vendor};
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

const EVIL: &str = "<script>alert(\"1\")</script>'&";
const HARMLESS: &str = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;";

async fn press(vendor: &Vendor, id: &str, form: &str) -> Answer {
    let request = vendor.request("POST", &format!("/t/{id}/decide"));
    let form_type = "application/x-www-form-urlencoded";
    Answer::of(
        request
            .header(CONTENT_TYPE, form_type)
            .body(form.to_owned()),
    )
    .await
}

#[tokio::test]
async fn everything_is_escaped() {
    let vendor = Vendor::behaving(json!({
        "idPrefix": EVIL,
        "operations": {"create": {"async": {"after": "manual"}}},
    }))
    .await;
    let order = json!({
        "externalId": EVIL, "product": EVIL, "limits": {EVIL: 1}, "parameters": {EVIL: EVIL},
        "tiers": {EVIL: {EVIL: EVIL}},
    });
    let tenant = vendor.send("POST", "/tenant", order).await.json();
    let id = percent_encoding::percent_encode(
        tenant["id"].as_str().unwrap().as_bytes(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    let inquiry = json!({"status": "inquiring", "reason": EVIL, "parameterErrors": {EVIL: EVIL}});
    vendor
        .send("POST", &format!("/_vendor/tenants/{id}/decide"), inquiry)
        .await;
    let outputs = json!({"parameters": {EVIL: EVIL}});
    vendor
        .send("PATCH", &format!("/_vendor/tenants/{id}"), outputs)
        .await;

    for path in ["/".to_owned(), format!("/t/{id}")] {
        let page = vendor.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(
            page.header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(!page.body.contains("<script"), "{}", page.body);
        // Id, external id, product, limit, reason, parameter and its message at least.
        assert!(page.body.matches(HARMLESS).count() >= 7, "{}", page.body);
    }
    let password = tenant["parameters"]["initial_password"].as_str().unwrap();
    assert!(
        !vendor
            .get(&format!("/t/{id}"))
            .await
            .body
            .contains(password)
    );
}

#[tokio::test]
async fn buttons_decide() {
    let plan = json!({"async": {"after": "manual"}});
    let vendor = Vendor::behaving(json!({"operations": {"create": plan}})).await;
    for external_id in ["a", "b", "c"] {
        vendor.create(external_id).await;
    }
    let page = vendor.get("/").await.body;
    assert_eq!(page.matches("value=\"approved\"").count(), 3);
    assert!(
        page.find("t-1003").unwrap() < page.find("t-1001").unwrap(),
        "newest first"
    );

    let pressed = press(&vendor, "t-1001", "from=list&reason=&status=approved").await;
    assert_eq!((pressed.status, pressed.header("location")), (303, "/"));
    let pressed = press(
        &vendor,
        "t-1002",
        "from=tenant&reason=no+credit&status=failed",
    )
    .await;
    assert_eq!(
        (pressed.status, pressed.header("location")),
        (303, "/t/t-1002")
    );
    let pressed = press(&vendor, "t-1003", "status=inquiring&reason=who%3F").await;
    assert_eq!(pressed.status, 303);
    for (id, status, request, reason) in [
        ("t-1001", "active", "approved", ""),
        ("t-1002", "failed", "failed", "no credit"),
        ("t-1003", "pending", "inquiring", "who?"),
    ] {
        let tenant = vendor.get(&format!("/tenant/{id}")).await;
        assert_eq!(tenant.statuses(), (status.to_owned(), request.to_owned()));
        assert_eq!(tenant.json()["request"]["reason"], reason);
    }
    assert_eq!(press(&vendor, "t-1001", "status=failed").await.status, 409);
    assert_eq!(press(&vendor, "x", "status=failed").await.status, 404);
    assert_eq!(vendor.get("/t/x").await.status, 404);
    let page = vendor.get("/").await.body;
    assert_eq!(page.matches("value=\"approved\"").count(), 1);
    assert!(
        !page.contains("value=\"inquiring\""),
        "it is inquiring already"
    );
}
