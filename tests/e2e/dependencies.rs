//! What a subscription needs beside itself, missing or wrong, and then right.

use crate::parameters::{give_right, take_right};
use e2e::{
    SOON, World,
    objects::{self, config_map, message, secret, standing},
    vendor::{TOKEN, operations},
};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn whatever_is_missing_is_named_and_found_when_it_comes() {
    let world = World::start();
    let secret_key = |name: &str, key: &str| json!([{"name": "p", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]);
    let config_map_key = |name: &str, key: &str| json!([{"name": "p", "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}]);
    world.apply(&objects::all(&[
        secret("half", &[("there", "x")]),
        config_map("half", &[("there", "x")]),
        objects::subscription(
            "no-secret",
            json!({"parameters": secret_key("late-secret", "k")}),
        ),
        objects::subscription(
            "no-key",
            json!({"parameters": secret_key("half", "late-key")}),
        ),
        objects::subscription(
            "no-map",
            json!({"parameters": config_map_key("late-map", "k")}),
        ),
        objects::subscription(
            "no-map-key",
            json!({"parameters": config_map_key("half", "late-map-key")}),
        ),
        objects::subscription(
            "no-connection",
            json!({"connectionRef": {"name": "late-connection"}}),
        ),
    ]));
    for (name, missing) in [
        ("no-secret", "late-secret"),
        ("no-key", "late-key"),
        ("no-map", "late-map"),
        ("no-map-key", "late-map-key"),
        ("no-connection", "late-connection"),
    ] {
        let object = world.stands(name, "Ready", "False DependencyNotReady");
        assert!(message(&object, "Ready").contains(missing), "{object:#}");
        assert!(standing(&object, "Reconciling").starts_with("True "));
        assert_eq!(standing(&object, "Stalled"), "-");
    }
    assert_eq!(operations(&world.vendor.calls()), [""; 0]);

    let late_connection =
        objects::connection_named("late-connection", world.vendor.url(), json!({}));
    world.apply(&objects::all(&[
        secret("half", &[("there", "x"), ("late-key", "y")]),
        config_map("half", &[("there", "x"), ("late-map-key", "y")]),
        secret("late-secret", &[("k", "y")]),
        config_map("late-map", &[("k", "y")]),
        late_connection,
    ]));
    for name in [
        "no-secret",
        "no-key",
        "no-map",
        "no-map-key",
        "no-connection",
    ] {
        world.ready(name);
    }
    assert_eq!(world.vendor.count("create"), 5);
    assert_eq!(world.vendor.count("live"), 5);
}

#[test]
fn a_parameter_that_goes_missing_later_is_named_and_nothing_is_sent() {
    let world = World::start();
    world.apply(&secret("contoso", &[("password", "one")]));
    world.subscribe(
        "mail",
        json!({"parameters": [
            {"name": "p", "valueFrom": {"secretKeyRef": {"name": "contoso", "key": "password"}}},
        ]}),
    );
    world.ready("mail");
    world.kubectl(&["delete", "secret", "contoso"]);
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    assert!(message(&mail, "Ready").contains("contoso"));
    world.apply(&secret("contoso", &[("password", "one")]));
    world.ready("mail");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    // And it does not keep the subscription from being deleted.
    world.kubectl(&["delete", "secret", "contoso"]);
    world.stands("mail", "Ready", "False DependencyNotReady");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn missing_credentials_are_named_on_the_connection_and_on_its_subscriptions() {
    let world = World::builder()
        .connection(json!({"auth": {"bearer": {"secretRef": {"name": "late", "key": "token"}}}}))
        .start();
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    assert!(message(&mail, "Ready").contains("late"), "{mail:#}");
    let not_ready = |object: &Value| standing(object, "Ready") == "False DependencyNotReady";
    let acme = world.until(
        "the connection says so",
        "VendorConnection",
        "acme",
        not_ready,
    );
    assert!(message(&acme, "Ready").contains("late"));

    world.apply(&secret("late", &[("other", "x")]));
    let names_key =
        |object: &Value| not_ready(object) && message(object, "Ready").contains("token");
    world.until("the key is named", "VendorConnection", "acme", names_key);
    world.apply(&secret("late", &[("token", TOKEN)]));
    world.ready("mail");
    world.until(
        "the connection is fine",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "True VendorAnswers",
    );
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
}

#[test]
fn wrong_credentials_fail_nothing_and_the_right_ones_are_used_at_once() {
    let world = World::start();
    world.apply(&secret("acme", &[("token", "canary-wrong")]));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False Unauthorized");
    assert!(standing(&mail, "Reconciling").starts_with("True "));
    assert_eq!(standing(&mail, "Stalled"), "-");
    assert_ne!(mail["status"]["request"]["status"], "Failed");
    let unauthorized = |object: &Value| standing(object, "Ready") == "False Unauthorized";
    world.until(
        "the connection says so",
        "VendorConnection",
        "acme",
        unauthorized,
    );
    assert_eq!(world.vendor.count("live"), 0);

    world.apply(&secret("acme", &[("token", TOKEN)]));
    // Not after the slow retry.
    world.eventually("it is ready at once", Duration::from_secs(10), || {
        let ready = standing(&world.sub("mail"), "Ready");
        if ready == "True Active" {
            Ok(())
        } else {
            Err(ready)
        }
    });
    world.until(
        "the connection is fine",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "True VendorAnswers",
    );
    assert_eq!(world.vendor.count("tenants"), 1);
    assert!(!world.operator.log().contains("canary-wrong"));
}

#[test]
fn an_unreachable_vendor_with_nothing_to_do_leaves_it_ready_and_the_connection_not() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.vendor.kill();
    world.request("mail", "look");
    let mail = world.until(
        "it says since when it is unverified",
        "Subscription",
        "mail",
        |mail| {
            message(mail, "Ready").contains("unverified")
                || message(mail, "Ready").contains("not verified")
        },
    );
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(standing(&mail, "Reconciling"), "-");
    world.until(
        "the connection is not ready",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "False VendorUnavailable",
    );

    // With something to do it is not.
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let mail = world.stands("mail", "Ready", "False VendorUnavailable");
    assert!(standing(&mail, "Reconciling").starts_with("True "));
    world.vendor.run();
    world.eventually("it is ready again", SOON, || {
        let mail = world.sub("mail");
        if standing(&mail, "Ready") == "True Active" && mail["status"]["limits"]["seats"] == 60 {
            Ok(())
        } else {
            Err(standing(&mail, "Ready"))
        }
    });
    world.until(
        "the connection is fine",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "True VendorAnswers",
    );
}

#[test]
fn what_the_api_server_refuses_is_said_on_the_object_with_the_remedy() {
    let world = World::start();
    let name = "no-tenants-today";
    let applied = world.kubectl_anywhere(&["apply", "-f", "-"], &json!({
        "apiVersion": "v1", "kind": "List", "items": [{
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace()}},
                    "resourceRules": [{
                        "apiGroups": ["fulfillment-operator.io"], "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"], "resources": ["subscriptions"],
                    }],
                },
                "validations": [{
                    "expression": "!has(object.metadata.finalizers) || !('fulfillment-operator.io/tenant' in object.metadata.finalizers)",
                    "message": name, "reason": "Forbidden",
                }],
            },
        }, {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
        }],
    }).to_string());
    assert!(applied.status.success(), "{applied:?}");
    let mut probe: Value =
        serde_json::from_str(&objects::subscription("probe", json!({}))).unwrap();
    probe["metadata"]["finalizers"] = json!(["fulfillment-operator.io/tenant"]);
    world.eventually("the policy is in force", SOON, || {
        let tried = ["create", "--dry-run=server", "-f", "-"];
        let output = world.kubectl_with(&tried, &probe.to_string());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.contains(name).then_some(()).ok_or(said)
    });

    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    let said = message(&mail, "Ready");
    assert!(
        said.contains("the API server refuses it") && said.contains(name),
        "{said}"
    );
    assert_eq!(world.vendor.count("create"), 0);

    let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
    world.kubectl_anywhere(&["delete", kinds, name], "");
    // Nothing tells of a policy that is gone: a person does, or a minute passes.
    let mut asked = 0;
    world.eventually("it is bought", SOON, || {
        asked += 1;
        world.request("mail", &asked.to_string());
        let ready = standing(&world.sub("mail"), "Ready");
        (ready == "True Active").then_some(()).ok_or(ready)
    });
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_secret_that_may_not_be_read_is_said_on_the_object_and_stops_nothing_that_runs() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.apply(&secret("contoso", &[("phone", "+1 201 555 0123")]));
    take_right(&world, "get");

    let phone = json!({"name": "phone", "valueFrom": {"secretKeyRef": {"name": "contoso", "key": "phone"}}});
    world.subscribe("desk", json!({"parameters": [phone]}));
    let desk = world.stands("desk", "Ready", "False DependencyNotReady");
    let said = message(&desk, "Ready");
    for part in ["secrets \"contoso\" is forbidden", "its role"] {
        assert!(said.contains(part), "{said}");
    }

    // The connection's own: what it was before is known.
    world.apply(&secret("acme", &[("token", TOKEN), ("new", "x")]));
    world.connection_says(&["secrets \"acme\" is forbidden", "the credentials before"]);
    world.subscribe("mail", json!({"limits": {"seats": 51}}));
    world.ready("mail");

    give_right(&world, "get");
    // Nothing tells of a role that has changed: a person does, or a minute passes.
    world.request("desk", "now");
    world.ready("desk");
    world.until(
        "the connection is fine",
        "VendorConnection",
        "acme",
        |acme| standing(acme, "Ready") == "True VendorAnswers",
    );
}
