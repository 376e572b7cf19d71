//! Parameters in: values, Secrets and ConfigMaps. Parameters out: status and the output Secret.

use e2e::{
    SOON, World,
    objects::{config_map, message, secret, standing},
    vendor::{Call, operations},
};
use serde_json::{Value, json};

fn from_secret(name: &str, key: &str) -> Value {
    json!({"name": "admin_password", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})
}

fn from_config_map(name: &str, key: &str) -> Value {
    json!({"name": "plan", "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}})
}

/// A Secret's value as base64 and back is none of these tests' business.
fn decoded(world: &World, name: &str, key: &str) -> String {
    let template = format!("-o=go-template={{{{index .data \"{key}\" | base64decode}}}}");
    world.kubectl(&["get", "secret", name, &template])
}

/// The parameters of the last call that sent any.
fn sent(calls: &[Call]) -> Value {
    let bodies = calls.iter().rev().map(Call::body);
    let mut parameters = bodies.map(|body| body["parameters"].clone());
    parameters
        .find(|parameters| !parameters.is_null())
        .unwrap_or_default()
}

#[test]
fn a_changed_secret_or_config_map_is_sent() {
    let world = World::start();
    world.apply(&secret("contoso", &[("password", "canary-one")]));
    world.apply(&config_map("contoso", &[("plan", "gold")]));
    let spec = json!({"parameters": [
        {"name": "contact_phone", "value": "+1 201 555 0123"},
        from_secret("contoso", "password"),
        from_config_map("contoso", "plan"),
    ]});
    world.subscribe("mail", spec);
    let mail = world.ready("mail");
    let calls = world.vendor.calls();
    assert_eq!(
        calls[0].body()["parameters"],
        json!({"contact_phone": "+1 201 555 0123", "admin_password": "canary-one", "plan": "gold"})
    );
    let hash = mail["status"]["inputsHash"].clone();
    assert!(hash.is_string());

    let arrives = |name: &str, value: &str| {
        world.eventually(&format!("{name} = {value} is sent"), SOON, || {
            let parameters = sent(&world.vendor.calls());
            if parameters[name] == value {
                Ok(())
            } else {
                Err(parameters)
            }
        });
        world.until("it is recorded", "Subscription", "mail", |mail| {
            mail["status"]["request"]["type"] == "Change"
                && mail["status"]["request"]["status"] == "Approved"
        });
    };
    world.apply(&secret("contoso", &[("password", "canary-two")]));
    arrives("admin_password", "canary-two");
    world.apply(&config_map("contoso", &[("plan", "silver")]));
    arrives("plan", "silver");
    let mail = world.until("another hash", "Subscription", "mail", |mail| {
        mail["status"]["inputsHash"] != hash
    });
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "change", "change"]
    );

    // A change of another key is nobody's business.
    world.apply(&secret(
        "contoso",
        &[("password", "canary-two"), ("other", "x")],
    ));
    world.subscribe(
        "other",
        json!({"parameters": [from_secret("contoso", "other")]}),
    );
    world.ready("other");
    assert_eq!(world.vendor.count("change"), 2);

    let seen = format!(
        "{}{:?}{}",
        world.sub("mail"),
        world.events("mail"),
        world.operator.log()
    );
    assert!(!seen.contains("canary-"), "a secret value is to be seen");
}

#[test]
fn a_secret_changed_while_the_operator_was_away_is_sent() {
    let world = World::start();
    world.apply(&secret("contoso", &[("password", "one")]));
    world.subscribe(
        "mail",
        json!({"parameters": [from_secret("contoso", "password")]}),
    );
    world.subscribe(
        "same",
        json!({"parameters": [{"name": "plan", "value": "gold"}]}),
    );
    world.ready("mail");
    world.ready("same");
    world.operator.stop();
    world.apply(&secret("contoso", &[("password", "two")]));
    world.operator.start();
    world.eventually("it is sent", SOON, || {
        let parameters = sent(&world.vendor.calls());
        if parameters["admin_password"] == "two" {
            Ok(())
        } else {
            Err(parameters)
        }
    });
    world.ready("mail");
    assert_eq!(world.vendor.count("change"), 1);
}

#[test]
fn a_parameter_that_is_added_is_sent_and_one_taken_out_is_let_be() {
    let world = World::start();
    let subscribe =
        |parameters: Value| world.subscribe("mail", json!({ "parameters": parameters }));
    let (phone, plan) = (
        json!({"name": "phone", "value": "1"}),
        json!({"name": "plan", "value": "gold"}),
    );
    subscribe(json!([phone]));
    world.ready("mail");
    subscribe(json!([phone, plan]));
    world.ready("mail");
    assert_eq!(
        sent(&world.vendor.calls()),
        json!({"phone": "1", "plan": "gold"})
    );
    let changes = world.vendor.count("change");
    assert_eq!(changes, 1);

    subscribe(json!([plan]));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["observedGeneration"], 3);
    let tenant = world.vendor.tenant();
    assert_eq!(
        tenant["terms"]["parameters"],
        json!({"phone": "1", "plan": "gold"})
    );
}

#[test]
fn what_the_vendor_gives_is_in_the_status_and_what_is_sensitive_in_the_output_secret_alone() {
    let world = World::start();
    world.subscribe("mail", json!({"outputSecretName": "mail-activation"}));
    let mail = world.ready("mail");
    let tenant = world.vendor.tenant();
    let password = tenant["parameters"]["initial_password"].as_str().unwrap();
    assert_eq!(
        mail["status"]["parameters"],
        json!([{"name": "activation_link", "value": tenant["parameters"]["activation_link"]}])
    );
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
    let output = world.get("Secret", "mail-activation");
    let owner = &output["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "Subscription");
    assert_eq!(owner["uid"], mail["metadata"]["uid"]);
    let seen = format!("{mail}{:?}{}", world.events("mail"), world.operator.log());
    assert!(!seen.contains(password), "the password is to be seen");
    let reasons: Vec<_> = world
        .events("mail")
        .into_iter()
        .map(|event| event.0)
        .collect();
    assert!(
        !reasons.contains(&"SensitiveParametersDropped".to_owned()),
        "{reasons:?}"
    );

    // The vendor gives another.
    let id = tenant["id"].as_str().unwrap();
    world.vendor.patch_tenant(
        id,
        json!({"parameters": {
            "initial_password": "canary-new", "activation_link": "https://new.example",
        }}),
    );
    world.request("mail", "look");
    world.until("the link is new", "Subscription", "mail", |mail| {
        mail["status"]["parameters"][0]["value"] == "https://new.example"
    });
    world.eventually("the password is new", SOON, || {
        let password = decoded(&world, "mail-activation", "initial_password");
        if password == "canary-new" {
            Ok(())
        } else {
            Err(password)
        }
    });
}

#[test]
fn sensitive_parameters_without_an_output_secret_are_dropped_and_an_event_says_so() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    let mail = world.ready("mail");
    let tenant = world.vendor.tenant();
    let password = tenant["parameters"]["initial_password"].as_str().unwrap();
    let note = world.event("mail", "SensitiveParametersDropped");
    assert!(note.contains("initial_password"), "{note}");
    assert!(note.contains("outputSecretName"), "{note}");
    let seen = format!("{mail}{note}{}", world.operator.log());
    assert!(!seen.contains(password), "the password is to be seen");

    // Named later, the vendor is asked for them again.
    world.subscribe("mail", json!({"outputSecretName": "mail-activation"}));
    world.ready("mail");
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
    assert_eq!(world.vendor.count("create"), 1);
    assert_eq!(world.vendor.count("change"), 0);
}

#[test]
fn an_output_secret_of_somebody_else_is_never_overwritten() {
    let world = World::start();
    world.apply(&secret("mail-activation", &[("initial_password", "mine")]));
    world.subscribe("mail", json!({"outputSecretName": "mail-activation"}));
    let mail = world.stands("mail", "Ready", "False OutputSecretConflict");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert!(message(&mail, "Ready").contains("mail-activation"));
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        "mine"
    );
    assert!(world.get("Secret", "mail-activation")["metadata"]["ownerReferences"].is_null());

    world.kubectl(&["delete", "secret", "mail-activation"]);
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Stalled"), "-");
    let password = world.vendor.tenant()["parameters"]["initial_password"].clone();
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
    assert_eq!(world.vendor.count("create"), 1);
}

/// Takes the operator's right to do this with Secrets.
pub(crate) fn take_right(world: &World, verb: &str) {
    let roles = world.kubectl(&["get", "roles", "-o=json"]);
    let mut roles: Value = serde_json::from_str(&roles).unwrap_or_default();
    for role in roles["items"].as_array_mut().into_iter().flatten() {
        let Some(rules) = role["rules"].as_array_mut() else {
            continue;
        };
        for rule in rules
            .iter_mut()
            .filter(|r| r["resources"] == json!(["secrets"]))
        {
            if let Some(verbs) = rule["verbs"].as_array_mut() {
                verbs.retain(|granted| granted != verb);
            }
        }
        rules.retain(|rule| rule["verbs"] != json!([]));
    }
    world.apply(&roles.to_string());
    until_may(world, verb, "no");
}

/// Gives it back.
pub(crate) fn give_right(world: &World, verb: &str) {
    let account = format!("--serviceaccount={}:{}", world.namespace(), account(world));
    let granted = format!("--verb={verb}");
    world.kubectl(&["create", "role", "given", &granted, "--resource=secrets"]);
    world.kubectl(&["create", "rolebinding", "given", "--role=given", &account]);
    until_may(world, verb, "yes");
}

/// The operator's ServiceAccount.
fn account(world: &World) -> String {
    let bindings = ["get", "rolebindings", "fulfillment-operator"];
    let subject = "-o=jsonpath={.subjects[0].name}";
    world.kubectl(&[bindings.as_slice(), &[subject]].concat())
}

/// The API server's authorizer learns of a role a moment later.
fn until_may(world: &World, verb: &str, expected: &str) {
    let (namespace, name) = (world.namespace(), account(world));
    let account = format!("--as=system:serviceaccount:{namespace}:{name}");
    world.eventually(expected, SOON, || {
        let args = ["auth", "can-i", verb, "secrets", &account];
        let said = world.kubectl_with(&args, "").stdout;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if said == expected { Ok(()) } else { Err(said) }
    });
}

/// The vendor does not say the password any more; what it was.
fn forget_password(world: &World) -> String {
    let tenant = world.vendor.tenant();
    let password = tenant["parameters"]["initial_password"].as_str();
    let forgotten = json!({"parameters": {"initial_password": null}});
    world
        .vendor
        .patch_tenant(tenant["id"].as_str().unwrap_or_default(), forgotten);
    password.unwrap_or_default().to_owned()
}

#[test]
fn what_the_vendor_stops_repeating_stays_in_the_output_secret() {
    let world = World::start();
    world.subscribe("mail", json!({"outputSecretName": "mail-activation"}));
    world.ready("mail");
    let password = forget_password(&world);
    world.operator.restart();
    let before = world.vendor.sequence();
    world.request("mail", "look");
    world.until("it was looked at", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    assert_eq!(operations(&world.vendor.calls_since(before)), ["get"]);
    // Another value is written next to it.
    let id = world.vendor.tenant()["id"].clone();
    world.vendor.patch_tenant(
        id.as_str().unwrap_or_default(),
        json!({"parameters": {"activation_link": "https://new.example"}}),
    );
    world.request("mail", "again");
    world.until("the link is new", "Subscription", "mail", |mail| {
        mail["status"]["parameters"][0]["value"] == "https://new.example"
    });
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
}

#[test]
fn a_password_said_once_reaches_an_output_secret_that_could_not_be_written() {
    let world = World::start();
    take_right(&world, "create");
    world.subscribe("mail", json!({"outputSecretName": "mail-activation"}));
    let note = world.event("mail", "DependencyNotReady");
    assert!(note.contains("Secret mail-activation"), "{note}");
    let password = forget_password(&world);
    give_right(&world, "create");
    let mail = world.ready("mail");
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
    assert_eq!(world.vendor.count("create"), 1);
    let seen = format!("{mail}{note}{}", world.operator.log());
    assert!(!seen.contains(&password), "the password is to be seen");
}

#[test]
fn an_output_secret_that_cannot_be_written_holds_up_neither_a_stop_nor_a_deletion() {
    let world = World::start();
    take_right(&world, "create");
    for name in ["mail", "files"] {
        world.subscribe(
            name,
            json!({"outputSecretName": format!("{name}-activation")}),
        );
        world.event(name, "DependencyNotReady");
    }
    world.unsubscribe("files");
    assert_eq!(world.vendor.live().len(), 1);
    world.operator.restart();
    give_right(&world, "create");
    let mail = world.ready("mail");
    let tenant = world.vendor.live()[0].clone();
    assert_eq!(mail["status"]["tenantId"], tenant["id"]);
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        tenant["parameters"]["initial_password"]
    );
}

#[test]
fn a_password_is_kept_though_a_later_answer_of_the_same_pass_is_without_it() {
    let world = World::start();
    world
        .vendor
        .behavior(json!({"operations": {"create": {"async": {
            "after": "manual", "retryAfter": "0s",
        }}}}));
    // The poll that brings the password is followed by this call, and by no other for long.
    world.vendor.fault(json!({
        "method": "PUT", "path": "*",
        "fault": {"effectThen": {"status": 200, "body": {"status": "suspended"}}},
    }));
    world.subscribe(
        "mail",
        json!({"outputSecretName": "mail-activation", "state": "Suspended"}),
    );
    world.until("the vendor has the order", "fsub", "mail", |mail| {
        mail["status"]["tenantId"].is_string()
    });
    let id = world.vendor.tenant()["id"].clone();
    world.vendor.approve(id.as_str().unwrap_or_default());
    world.ready("mail");
    let password = world.vendor.tenant()["parameters"]["initial_password"].clone();
    assert!(password.is_string());
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
    let calls = world.vendor.calls();
    assert_eq!(calls.last().map(Call::operation), Some("disable"));
}

#[test]
fn what_waits_for_an_output_secret_goes_into_the_one_that_is_named_instead() {
    let world = World::start();
    world.vendor.pause();
    world.subscribe("mail", json!({"outputSecretName": "stuck"}));
    let mail = world.until("the create is on its way", "fsub", "mail", |mail| {
        mail["metadata"]["annotations"]["fulfillment-operator.io/intent"].is_string()
    });
    // Its own Secret, and yet it cannot be written: it was made immutable.
    world.apply(
        &json!({
            "apiVersion": "v1", "kind": "Secret", "immutable": true,
            "metadata": {"name": "stuck", "ownerReferences": [{
                "apiVersion": mail["apiVersion"], "kind": mail["kind"], "name": "mail",
                "uid": mail["metadata"]["uid"], "controller": true,
            }]},
        })
        .to_string(),
    );
    world.vendor.resume();
    world.event("mail", "DependencyNotReady");
    let password = forget_password(&world);
    world.subscribe("mail", json!({"outputSecretName": "mail-activation"}));
    world.ready("mail");
    assert_eq!(
        decoded(&world, "mail-activation", "initial_password"),
        password
    );
}
