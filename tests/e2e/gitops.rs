//! The same YAML applied again, by whatever tool, changes nothing.

use e2e::{SOON, World, costs::Meter, objects, vendor::operations};
use serde_json::{Value, json};

/// How often the first test applies its YAML after the first time.
const APPLIES: u64 = 6;

fn yaml(world: &World) -> String {
    objects::all(&[
        encoded(objects::CONNECTION, "token", "cXVpY2tzdGFydC10b2tlbg=="),
        encoded("contoso", "password", "czNjcmV0"),
        objects::connection(world.vendor.url(), json!({})),
        objects::subscription(
            "mail",
            json!({
                "state": "Suspended",
                "limits": {"seats": 50, "storageGiB": "unlimited", "ratio": "1.5"},
                "parameters": [
                    {"name": "contact_phone", "value": "+1 201 555 0123"},
                    {"name": "admin_password", "valueFrom": {"secretKeyRef": {"name": "contoso", "key": "password"}}},
                ],
                "outputSecretName": "mail-activation",
                "deletionPolicy": "Retain",
                "interval": "24h",
            }),
        ),
    ])
}

/// A Secret without `stringData`, which the API server forgets: a second manager of it would always
/// be in conflict with the first.
fn encoded(name: &str, key: &str, base64: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {key: base64}})
        .to_string()
}

#[test]
fn applying_the_same_yaml_again_changes_nothing() {
    let world = World::builder().own_control_plane().start();
    let yaml = yaml(&world);
    world.apply(&yaml);
    let before = world.ready("mail");
    world.until(
        "the connection is in use",
        "VendorConnection",
        "acme",
        |acme| {
            acme["status"]["subscriptions"] == 1
                && objects::standing(acme, "Ready") == "True VendorAnswers"
        },
    );
    // Events give way to statuses: they come last.
    world.eventually("purchase and suspend are told", SOON, || {
        match world.events("mail").len() {
            2 => Ok(()),
            other => Err(other),
        }
    });
    let connection = world.get("VendorConnection", "acme");
    let credentials = world.get("Secret", "acme");

    let meter = Meter::start(&world);
    let server_side = ["--server-side", "--force-conflicts"];
    for flags in [
        // As people and kubectl-based tools do.
        &[][..],
        // As Flux and Argo CD do; the first one takes the fields over from the client-side apply.
        &server_side,
        &server_side,
        // A second tool that declares the same.
        &["--server-side", "--field-manager=another-tool"],
        &["--server-side", "--field-manager=another-tool"],
    ] {
        kubectl(&world, "apply", flags, &yaml);
        kubectl(&world, "diff", flags, &yaml);
    }
    kubectl(&world, "apply", &[], &yaml);
    kubectl(&world, "diff", &[], &yaml);
    // The operator has seen all of it when it has done what comes after it.
    world.request("mail", "look");
    let after = world.until("the token is echoed", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    assert_eq!(
        after["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    assert_eq!(after["spec"], before["spec"]);

    let spent = meter.spent();
    assert_eq!(
        operations(&spent.calls),
        ["get"],
        "but for the look that was asked for"
    );
    assert_eq!(spent.events, 0);
    // By resource, what kubectl may have sent: one for each object and apply, and the annotation.
    for (what, count) in &spent.writes {
        let (verb, resource) = what.split_once(' ').unwrap();
        let by_kubectl = match resource {
            "subscriptions" => APPLIES + 1,
            "vendorconnections" => APPLIES,
            "secrets" => 2 * APPLIES,
            // The token's echo, which is the operator's only write.
            "subscriptions/status" if verb == "PUT" => 1,
            _ => 0,
        };
        assert!(
            matches!(verb, "PATCH" | "APPLY" | "PUT") && *count <= by_kubectl,
            "{:?}",
            spent.writes
        );
    }
    // Those counts are of kubectl's requests alone: nobody else has changed the objects.
    for (kind, name, before) in [
        ("Subscription", "mail", &before),
        ("VendorConnection", "acme", &connection),
        ("Secret", "acme", &credentials),
    ] {
        assert_eq!(
            by_operator(&world.get(kind, name), ""),
            by_operator(before, ""),
            "{kind} {name}"
        );
    }
}

/// What the operator has written to the object itself (not to its status), and when.
fn by_operator(object: &Value, subresource: &str) -> Vec<Value> {
    let fields = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    fields
        .filter(|entry| {
            entry["manager"]
                .as_str()
                .is_some_and(|manager| manager.starts_with("fulfillment"))
                && entry["subresource"].as_str().unwrap_or_default() == subresource
        })
        .cloned()
        .collect()
}

/// Applies or compares the YAML; either must succeed, and `diff` does only if nothing differs.
fn kubectl(world: &World, command: &str, flags: &[&str], yaml: &str) {
    let args = [&[command, "-f", "-"], flags].concat();
    let output = world.kubectl_with(&args, yaml);
    let printed = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "kubectl {args:?}: {printed}{error}"
    );
}

#[test]
fn what_the_operator_writes_is_no_drift_for_kubectl() {
    let world = World::start();
    let yaml = yaml(&world);
    world.apply(&yaml);
    world.ready("mail");
    let diff = world.kubectl_with(&["diff", "-f", "-"], &yaml);
    assert!(
        diff.status.success(),
        "{}",
        String::from_utf8_lossy(&diff.stdout)
    );
    // The operator never writes spec.
    let fields = world.sub("mail")["metadata"]["managedFields"].clone();
    for manager in fields.as_array().unwrap() {
        let ours = manager["manager"]
            .as_str()
            .unwrap()
            .starts_with("fulfillment");
        assert!(
            !ours || manager["fieldsV1"]["f:spec"].is_null(),
            "{manager:#}"
        );
    }
}

#[test]
fn what_others_write_while_the_vendor_works_stays_and_so_does_its_answer() {
    let world = World::start();
    world.vendor.pause();
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    world.until("the create is on its way", "fsub", "mail", |mail| {
        mail["metadata"]["annotations"]["fulfillment-operator.io/intent"].is_string()
    });
    world.kubectl(&["label", "fsub", "mail", "team=blue"]);
    world.vendor.resume();

    let mail = world.ready("mail");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    assert_eq!(mail["metadata"]["labels"]["team"], "blue");

    // Nothing but the status is the operator's: the spec and the label go on being theirs who wrote
    // them, which is what server-side apply goes by.
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let mail = world.ready("mail");
    let [status] = by_operator(&mail, "status").try_into().expect("one entry");
    let owned = status["fieldsV1"].as_object().unwrap().keys();
    assert_eq!(owned.collect::<Vec<_>>(), ["f:status"]);
    let by_others = mail["metadata"]["managedFields"].as_array().unwrap();
    let fields: String = by_others.iter().map(ToString::to_string).collect();
    for field in ["f:team", "f:seats", "f:product"] {
        assert!(fields.contains(field), "{field}: {fields}");
    }
}
