//! Whose tenant it is: kept through what a cluster may lose, and never taken from somebody else.

use e2e::{
    SOON, Vendor, World,
    objects::{self, message, standing},
    vendor::{TOKEN, identity_flag, operations},
};
use serde_json::{Value, json};

/// In one world a vendor of each of these modes, and a Subscription there that is Ready.
fn side_by_side(modes: &[&str]) -> (World, Vec<(Value, Vendor)>) {
    let world = World::start();
    let start = |mode: &&str| {
        let vendor = Vendor::start(&[identity_flag(mode)]);
        let (name, spec) = (mode.to_lowercase(), json!({"identity": {"mode": mode}}));
        world.apply(&objects::connection_named(&name, vendor.url(), spec));
        world.subscribe(&name, json!({"connectionRef": {"name": name}}));
        (world.ready(&name), vendor)
    };
    let bought = modes.iter().map(start).collect();
    (world, bought)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// As `kubectl replace` sends it: without finalizers and without the operator's annotations.
fn replace(world: &World, name: &str, spec: Value) {
    let yaml = objects::subscription(name, spec);
    let output = world.kubectl_with(&["replace", "-f", "-"], &yaml);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn has_finalizer(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|finalizers| !finalizers.is_empty())
}

#[test]
fn a_replaced_object_keeps_its_tenant() {
    let (world, bought) = side_by_side(&["ExternalId", "IdempotencyKey", "Lookup", "None"]);
    for (before, _) in &bought {
        let connection = &before["spec"]["connectionRef"];
        let spec = json!({"connectionRef": connection, "limits": {"seats": 60}});
        replace(&world, name(before), spec);
    }
    for (before, vendor) in &bought {
        let name = name(before);
        let after = world.until("the finalizer is back", "Subscription", name, |after| {
            has_finalizer(after) && after["status"]["limits"]["seats"] == 60
        });
        assert_eq!(standing(&after, "Ready"), "True Active", "{name}");
        assert_eq!(after["status"]["tenantId"], before["status"]["tenantId"]);
        let mut calls = vec!["create", "change"];
        if name == "lookup" {
            calls.insert(0, "lookup");
        }
        assert_eq!(operations(&vendor.calls()), calls, "{name}");
    }
    world.kubectl(&["delete", "subscription", "--all", "--timeout=60s"]);
    for (before, vendor) in &bought {
        assert_eq!(vendor.count("live"), 0, "{}", name(before));
    }
}

/// A backup may restore the object and not its status: the finalizer alone says that there was something.
#[test]
fn an_object_whose_status_is_lost_finds_its_tenant_where_a_create_can_be_repeated() {
    let (world, bought) = side_by_side(&["ExternalId", "IdempotencyKey", "Lookup"]);
    world.operator.stop();
    for (before, _) in &bought {
        let name = name(before);
        world.patch(name, r#"{"metadata":{"annotations":null}}"#);
        let patch = ["patch", "subscription", name, "--subresource=status"];
        let lost = ["--type=merge", "-p", r#"{"status":null}"#];
        world.kubectl(&[&patch[..], &lost].concat());
        let left = world.sub(name);
        let (request, tenant) = (&left["status"]["request"], &left["status"]["tenantId"]);
        assert!(has_finalizer(&left) && request.is_null() && tenant.is_null());
    }
    world.operator.start();
    for (before, vendor) in &bought {
        let after = world.ready(name(before));
        for field in ["tenantId", "externalId"] {
            assert_eq!(after["status"][field], before["status"][field], "{after:#}");
        }
        assert_eq!(vendor.count("tenants"), 1, "{after:#}");
    }
    world.kubectl(&["delete", "subscription", "--all", "--timeout=60s"]);
    for (before, vendor) in &bought {
        assert_eq!(vendor.count("live"), 0, "{}", name(before));
    }
}

#[test]
fn the_same_yaml_in_a_rebuilt_cluster_finds_the_same_tenant() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    let before = world.ready("mail");
    world.operator.stop();
    // All that is left of the cluster is the YAML and the installation key.
    let none = r#"{"metadata":{"finalizers":null}}"#;
    world.patch("mail", none);
    world.unsubscribe("mail");
    world.subscribe("mail", json!({}));
    world.operator.start();
    let mail = world.ready("mail");
    assert_ne!(mail["metadata"]["uid"], before["metadata"]["uid"]);
    for field in ["tenantId", "externalId"] {
        assert_eq!(mail["status"][field], before["status"][field], "{field}");
    }
    assert_eq!(world.vendor.count("tenants"), 1);
    assert!(has_finalizer(&mail));
}

#[test]
fn a_claimed_id_is_sent_as_it_is_and_belongs_to_the_first_who_claims_it() {
    let world = World::start();
    world.subscribe("first", json!({"externalId": "AS-7957-9623"}));
    let first = world.ready("first");
    assert_eq!(first["status"]["externalId"], "AS-7957-9623");
    assert_eq!(world.vendor.tenant()["externalId"], "AS-7957-9623");

    let claim = json!({"externalId": "AS-7957-9623", "limits": {"seats": 1}});
    world.subscribe("second", claim);
    let second = world.stands("second", "Ready", "False Conflict");
    assert!(standing(&second, "Stalled").starts_with("True "));
    assert!(
        message(&second, "Ready").contains("AS-7957-9623"),
        "{second:#}"
    );
    assert_ne!(second["status"]["tenantId"], first["status"]["tenantId"]);
    world.request("second", "look");
    world.until("the token is echoed", "Subscription", "second", |second| {
        second["status"]["lastHandledReconcileAt"] == "look"
    });
    // No proof of ownership: neither a change nor a deletion.
    world.unsubscribe("second");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
    assert_eq!(
        world.vendor.count("change") + world.vendor.count("delete"),
        0
    );
    assert_eq!(standing(&world.sub("first"), "Ready"), "True Active");
}

#[test]
fn a_second_claim_is_a_conflict_where_the_vendor_would_not_notice() {
    let world = World::builder().identity_none().start();
    world.subscribe("first", json!({"externalId": "AS-7957-9623"}));
    world.ready("first");
    world.subscribe("second", json!({"externalId": "AS-7957-9623"}));
    let second = world.stands("second", "Ready", "False Conflict");
    assert!(standing(&second, "Stalled").starts_with("True "));
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    // The first gives it up.
    world.unsubscribe("first");
    world.request("second", "now");
    world.ready("second");
    assert_eq!(world.vendor.count("live"), 1);
}

#[test]
fn claims_count_over_all_namespaces_that_are_watched() {
    let (one, other) = ("claims-one", "claims-other");
    let world = World::builder()
        .cluster_wide()
        .operator_arg(&format!("--watch-namespace={one}"))
        .operator_arg(&format!("--watch-namespace={other}"))
        .start();
    let claim = |name: &str| {
        let spec = json!({"externalId": "AS-7957-9623", "adoptionPolicy": "AdoptOrCreate"});
        objects::subscription(name, spec)
    };
    for namespace in [one, other] {
        world.kubectl(&["create", "namespace", namespace]);
        let secret = objects::secret(objects::CONNECTION, &[("token", TOKEN)]);
        world.apply_in(namespace, &secret);
        let connection = objects::connection(world.vendor.url(), json!({}));
        world.apply_in(namespace, &connection);
    }
    let stands = |namespace: &str, kind: &str, name: &str, expected: &str| {
        world.eventually(expected, SOON, || {
            let found = world.find_in(namespace, kind, name);
            let now = found.map_or_else(String::new, |found| standing(&found, "Ready"));
            if now == expected { Ok(()) } else { Err(now) }
        });
    };
    let acme = |namespace, expected| {
        stands(namespace, "VendorConnection", objects::CONNECTION, expected);
    };
    world.apply_in(one, &claim("first"));
    stands(one, "Subscription", "first", "True Active");
    acme(one, "True VendorAnswers");
    world.apply_in(other, &claim("second"));
    stands(other, "Subscription", "second", "False Conflict");
    acme(other, "True Configured");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
}

#[test]
fn of_claims_made_at_the_same_moment_one_is_served() {
    let world = World::builder().identity_none().start();
    for name in ["a", "b", "c", "d"] {
        world.subscribe(name, json!({"externalId": "AS-7957-9623"}));
    }
    let ready = |wanted: &str| {
        let claims = ["a", "b", "c", "d"].map(|name| standing(&world.sub(name), "Ready"));
        claims.iter().filter(|is| *is == wanted).count()
    };
    world.eventually("one is served, three are told", SOON, || {
        match (ready("True Active"), ready("False Conflict")) {
            (1, 3) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
}

#[test]
fn a_claimed_id_that_the_vendor_has_given_to_somebody_is_left_alone() {
    let world = World::start();
    // It was made by somebody this cluster knows nothing of.
    let retained = json!({"externalId": "AS-1", "deletionPolicy": "Retain"});
    world.subscribe("stranger", retained);
    world.ready("stranger");
    world.unsubscribe("stranger");
    assert_eq!(world.vendor.count("live"), 1);

    world.subscribe(
        "mail",
        json!({"externalId": "AS-1", "limits": {"seats": 1}}),
    );
    let mail = world.stands("mail", "Ready", "False Conflict");
    assert!(standing(&mail, "Stalled").starts_with("True "));
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert!(message(&mail, "Ready").contains("AS-1"), "{mail:#}");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 1);
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
    assert_eq!(
        world.vendor.count("change") + world.vendor.count("delete"),
        0
    );
}

#[test]
fn a_lost_answer_in_mode_external_id_is_found_again() {
    let world = World::start();
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}}));
    world.subscribe("mail", json!({}));
    let mail = world.ready("mail");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["tenantId"], world.vendor.tenant()["id"]);
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create", "create"]);
    assert_eq!(calls[0].body(), calls[1].body(), "the same POST again");
    assert_eq!(world.vendor.count("tenants"), 1);
}
