//! Connections that get their token by OAuth2 client credentials.

use crate::security::{assert_nowhere, echoes, leaks, shown};
use e2e::{
    SOON, Vendor, World,
    objects::{self, message, secret, standing},
    vendor::{Call, operations},
};
use serde_json::{Value, json};

const CLIENT: &str = "reseller-42";
const SECRET: &str = "Rw6yGd3k:Fs94=Nb+2vC";
/// As a form writes it.
const ENCODED: &str = "Rw6yGd3k%3AFs94%3DNb%2B2vC";
/// `reseller-42:` with [`ENCODED`], as Basic writes it.
const BASIC: &str = "cmVzZWxsZXItNDI6Unc2eUdkM2slM0FGczk0JTNETmIlMkIydkM=";
const TOKEN: &str = "Mj5tQx8w.Lp27_Zc-4hK";

/// A connection of that name; `more` is merged into its `auth.oauth2`.
fn connection(name: &str, vendor: &Vendor, more: Value, spec: Value) -> String {
    let mut oauth2 = json!({
        "tokenUrl": format!("{}/oauth2/token", vendor.url()), "clientId": CLIENT,
        "clientSecretRef": {"name": "client", "key": "secret"},
    });
    objects::merge(&mut oauth2, more);
    let mut all = json!({"auth": {"bearer": null, "oauth2": oauth2}});
    objects::merge(&mut all, spec);
    objects::connection_named(name, vendor.url(), all)
}

/// A world whose connection `acme` uses tokens of its vendor.
fn world(spec: Value) -> World {
    let builder = World::builder().vendor_arg(&format!("--oauth2={CLIENT}:{SECRET}"));
    let builder = match spec["identity"]["mode"].as_str() {
        Some(mode) => builder.identity(mode),
        None => builder,
    };
    let world = builder.without_operator().start();
    world.apply(&objects::all(&[
        secret("client", &[("secret", SECRET)]),
        connection("acme", &world.vendor, json!({}), spec),
    ]));
    world.operator.start();
    world
}

fn refused(calls: &[Call]) -> Vec<String> {
    let refused = calls.iter().filter(|call| call.status() == Some(401));
    refused.map(Call::brief).collect()
}

#[test]
fn one_token_serves_every_subscription_of_a_connection() {
    let world = world(json!({}));
    let names: Vec<String> = (0..20).map(|number| format!("mail-{number}")).collect();
    let all: Vec<String> = names
        .iter()
        .map(|name| objects::subscription(name, json!({})))
        .collect();
    world.apply(&objects::all(&all));
    for name in &names {
        world.ready(name);
    }
    // Another look, and a change, from the same process: still the same token.
    world.request("mail-0", "look");
    world.until("it was looked at", "Subscription", "mail-0", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    world.subscribe("mail-1", json!({"limits": {"seats": 51}}));
    world.ready("mail-1");
    assert_eq!(world.vendor.count("token"), 1);
    assert_eq!(refused(&world.vendor.calls()), [""; 0]);
    let calls = world.vendor.calls();
    let token = calls
        .iter()
        .find(|call| call.operation() == "token")
        .unwrap();
    assert_eq!(token.body(), &json!({"grant_type": "client_credentials"}));

    // With scopes and an audience, and with the secret in the form.
    let more = json!({
        "scopes": ["tenants:read", "tenants:write"], "audience": "https://tenants.example/",
        "clientAuthentication": "Body",
    });
    world.apply(&objects::all(&[
        connection("other", &world.vendor, more, json!({})),
        objects::subscription("desk", json!({"connectionRef": {"name": "other"}})),
    ]));
    world.ready("desk");
    let calls = world.vendor.calls();
    let token = calls
        .iter()
        .rfind(|call| call.operation() == "token")
        .unwrap();
    assert_eq!(
        token.body(),
        &json!({
            "grant_type": "client_credentials", "scope": "tenants:read tenants:write",
            "audience": "https://tenants.example/",
            "client_id": CLIENT, "client_secret": "(redacted)",
        })
    );
    assert!(token.0["headers"]["authorization"].is_null(), "{token:?}");
    assert_eq!(world.vendor.count("token"), 2);
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let world = world(json!({}));
    // Pending, so that the vendor is read every second.
    let manual = json!({"async": {"after": "manual"}});
    world
        .vendor
        .behavior(json!({"tokenLifetime": "10s", "operations": {"create": manual}}));
    world.subscribe("mail", json!({}));
    world.eventually("two renewals", SOON, || {
        let tokens = world.vendor.count("token");
        if tokens >= 3 { Ok(()) } else { Err(tokens) }
    });
    world
        .vendor
        .approve(world.vendor.tenant()["id"].as_str().unwrap());
    world.ready("mail");
    assert_eq!(refused(&world.vendor.calls()), [""; 0]);
}

#[test]
fn a_token_that_the_vendor_refuses_is_renewed_before_that_counts() {
    let world = world(json!({}));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let before = world.vendor.sequence();
    world.vendor.revoke_tokens();
    world.subscribe("mail", json!({"limits": {"seats": 51}}));
    world.ready("mail");
    let calls = world.vendor.calls_since(before);
    assert_eq!(operations(&calls), ["change", "token", "change"]);
    assert_eq!(refused(&calls).len(), 1, "{calls:?}");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 51);

    // A create as well; a vendor that was started again knows no token either.
    let before = world.vendor.sequence();
    world.vendor.restart();
    world.subscribe("desk", json!({}));
    world.ready("desk");
    let calls = world.vendor.calls_since(before);
    assert_eq!(operations(&calls), ["create", "token", "create"]);

    // A vendor that refuses every token: one is fetched, and then it is said.
    let before = world.vendor.count("token");
    let fault = json!({"status": 401, "body": {"error": {"code": "no", "message": "go away"}}});
    world
        .vendor
        .fault(json!({"path": "/tenant*", "times": "unlimited", "fault": fault}));
    world.subscribe("mail", json!({"limits": {"seats": 52}}));
    let mail = world.stands("mail", "Ready", "False Unauthorized");
    assert!(message(&mail, "Ready").contains("go away"), "{mail:#}");
    for look in ["one", "two"] {
        world.request("mail", look);
        world.until("it was tried again", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == look
        });
    }
    assert_eq!(world.vendor.count("token") - before, 1);
    assert!(world.vendor.faults()[0]["hits"].as_u64().unwrap() >= 3);
    world.vendor.clear_faults();
    world.request("mail", "three");
    world.ready("mail");
}

#[test]
fn without_a_token_nothing_is_sent_and_nothing_is_in_doubt() {
    // Where a create that may have happened would be held for a person.
    let world = world(json!({"identity": {"mode": "None"}}));
    let endpoint = format!("{}/oauth2/token", world.vendor.url());
    for (fault, reason, says) in [
        (json!({"status": 503}), "VendorUnavailable", "503"),
        (
            json!({"closeBefore": true}),
            "VendorUnavailable",
            "broke off",
        ),
        (
            json!({"html": true}),
            "VendorUnavailable",
            "without a bearer token",
        ),
        (
            json!({"status": 400, "body": {"error": "invalid_scope"}}),
            "Unauthorized",
            "invalid_scope",
        ),
    ] {
        let name = format!("mail-{}", world.vendor.sequence());
        let before = world.vendor.sequence();
        let path = "/oauth2/token";
        world.vendor.revoke_tokens();
        world.operator.restart();
        world
            .vendor
            .fault(json!({"path": path, "times": "unlimited", "fault": fault}));
        world.subscribe(&name, json!({}));
        let mail = world.stands(&name, "Ready", &format!("False {reason}"));
        let said = message(&mail, "Ready");
        assert!(said.contains(says) && said.contains(&endpoint), "{said}");
        world.until(
            "the connection says so",
            "VendorConnection",
            "acme",
            |acme| standing(acme, "Ready") == format!("False {reason}"),
        );
        let calls = world.vendor.calls_since(before);
        assert!(
            calls.iter().all(|call| call.operation() == "token"),
            "{calls:?}"
        );
        world.vendor.clear_faults();
        if reason == "Unauthorized" {
            // Tried again by itself, but not soon.
            world.request(&name, "now");
        }
        world.ready(&name);
    }
    assert_eq!(world.vendor.count("live"), 4);
    world.until(
        "the connection is fine",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "True VendorAnswers",
    );
}

#[test]
fn a_wrong_client_secret_is_said_and_the_right_one_is_used_at_once() {
    let world = world(json!({}));
    world.apply(&secret("client", &[("secret", "canary-wrong")]));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False Unauthorized");
    let said = message(&mail, "Ready");
    for part in ["invalid_client", "/oauth2/token", "401"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(world.vendor.count("create"), 0);
    world.apply(&secret("client", &[("secret", SECRET)]));
    world.ready("mail");
    assert_eq!(world.vendor.count("create"), 1);

    // In the place of a right one it is reported, and the token of the client before goes on.
    world.apply(&secret("client", &[("secret", "canary-wrong")]));
    let acme = world.refusal("mail", "acme");
    let said = message(&acme, "Ready");
    assert!(said.contains("invalid_client"), "{said}");
    world.subscribe("mail", json!({"limits": {"seats": 51}}));
    world.ready("mail");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 51);
}

#[test]
fn the_clients_secret_and_its_tokens_appear_nowhere() {
    let world = World::builder()
        .operator_arg("--log-level=trace")
        .vendor_arg(&format!("--oauth2={CLIENT}:{SECRET}"))
        .start();
    // It is told to speak of it, and does not have it.
    world.vendor.adopted("t-1");
    world.apply(&secret("client", &[("secret", SECRET)]));
    for (name, way) in [("header", "Basic"), ("form", "Body")] {
        let way = json!({"clientAuthentication": way});
        world.apply(&connection(name, &world.vendor, way, json!({})));
    }
    let needles: Vec<String> = [SECRET, ENCODED, BASIC, TOKEN]
        .iter()
        .flat_map(|secret| {
            let letters: Vec<char> = secret.chars().collect();
            let pieces: Vec<String> = letters.windows(9).map(|w| w.iter().collect()).collect();
            pieces
        })
        // What stands in base64 in front of the secret is no secret.
        .filter(|piece| !BASIC[..16].contains(piece.as_str()))
        .collect();

    // The token endpoint hands back what it was shown.
    let all = format!("{SECRET} {ENCODED} {BASIC}");
    let echo = json!({"error": all, "error_description": format!("{}{all}", "x".repeat(180))});
    for (number, status) in [(1, 401), (2, 500), (3, 200)] {
        let fault = json!({"status": status, "body": echo});
        let rule = json!({"path": "/oauth2/token", "times": "unlimited", "fault": fault});
        world.vendor.fault(rule);
        for connection in ["header", "form"] {
            let name = format!("{connection}-{number}");
            world.subscribe(&name, json!({"connectionRef": {"name": connection}}));
            world.until("the token is refused", "Subscription", &name, |object| {
                message(object, "Ready").contains("/oauth2/token")
            });
        }
        assert_nowhere(
            &world,
            &needles,
            &format!("a token endpoint that echoes, {status}"),
        );
        world.vendor.clear_faults();
    }

    // And the vendor hands back the token.
    let given = json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600});
    let rule = json!({"path": "/oauth2/token", "times": "unlimited", "fault": {"status": 200, "body": given}});
    let mut leaked = Vec::new();
    world.operator.stop();
    world.vendor.fault(rule);
    world.operator.start();
    for (number, (echo, fault)) in echoes(TOKEN).iter().enumerate() {
        world.vendor.fault(
            json!({"method": "POST", "path": "/tenant", "times": "unlimited", "fault": fault}),
        );
        let name = format!("echo-{number}");
        world.subscribe(&name, json!({"connectionRef": {"name": "header"}}));
        world.until(echo, "Subscription", &name, |object| {
            let ready = standing(object, "Ready");
            ready != "-" && ready != "False Provisioning"
        });
        let whole = [TOKEN.to_owned()];
        let looked_for: &[String] = if echo.starts_with("split") {
            &whole
        } else {
            &needles
        };
        let mut places = shown(&world);
        places.retain(|(place, _)| !place.contains('-') || place.ends_with(&name));
        if !echo.starts_with("split") {
            leaked.extend(
                leaks(&places, looked_for)
                    .iter()
                    .map(|leak| format!("{echo}: {leak}")),
            );
        }
        // The token endpoint's stays: another token would not be the one that is looked for.
        for rule in world.vendor.faults() {
            if rule["path"] == "/tenant" {
                world.vendor.remove_fault(rule["id"].as_u64().unwrap());
            }
        }
    }
    leaked.extend(leaks(&shown(&world), &[TOKEN.to_owned()]));
    assert!(leaked.is_empty(), "{}", leaked.join("\n"));
    assert!(
        world.operator.log().contains("DEBUG"),
        "the log was not at its loudest"
    );
}
