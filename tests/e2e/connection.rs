//! A connection and its credentials live as long as the tenants behind them.

use e2e::{
    SOON, World,
    binaries::workspace,
    objects::{self, standing},
};
use serde_json::{Value, json};

const IN_USE: &str = "fulfillment-operator.io/in-use";

fn is_held(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers
        .into_iter()
        .flatten()
        .any(|finalizer| finalizer == IN_USE)
}

/// The connection and its Secret.
const BOTH: [(&str, &str); 2] = [("VendorConnection", "acme"), ("Secret", "acme")];

/// The quickstart as it stands, but for the vendor's address.
fn quickstart(world: &World) -> String {
    let file = workspace().join("examples/quickstart.yaml");
    let yaml = std::fs::read_to_string(file).unwrap_or_default();
    assert!(yaml.contains("url: http://reference-vendor\n"));
    yaml.replace(
        "http://reference-vendor\n",
        &format!("{}\n", world.vendor.url()),
    )
}

#[test]
fn it_and_its_secret_are_held_from_before_the_first_tenant_until_after_the_last() {
    let world = World::start();
    for (kind, name) in BOTH {
        assert!(
            !is_held(&world.get(kind, name)),
            "{kind} without a subscription"
        );
    }
    // The create has come in and is not done.
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"delay": "3s"}}));
    world.subscribe("first", json!({}));
    world.eventually("the create is under way", SOON, || {
        let in_flight = world.vendor.count("inFlight");
        if in_flight == 1 {
            Ok(())
        } else {
            Err(in_flight)
        }
    });
    for (kind, name) in BOTH {
        assert!(
            is_held(&world.get(kind, name)),
            "{kind} before the first tenant"
        );
    }
    world.subscribe("second", json!({}));
    world.ready("first");
    world.ready("second");
    world.until("both are counted", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"]
            .as_u64()
            .is_some_and(|count| count >= 1)
    });
    world.unsubscribe("first");
    for (kind, name) in BOTH {
        assert!(is_held(&world.get(kind, name)), "{kind} with one left");
    }
    world.unsubscribe("second");
    for (kind, name) in BOTH {
        world.until(&format!("{kind} is free"), kind, name, |object| {
            !is_held(object)
        });
    }
    world.until("none is counted", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"] == 0
    });
}

#[test]
fn deleted_while_in_use_it_stays_until_the_last_tenant_is_gone() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    // The Secret first, as `kubectl delete -f` does.
    for (kind, name) in [BOTH[1], BOTH[0]] {
        world.kubectl(&["delete", kind, name, "--wait=false"]);
    }
    // A new process has nothing but what is stored.
    world.operator.restart();
    for (kind, name) in BOTH {
        assert!(is_held(&world.get(kind, name)), "{kind}");
    }
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    for (kind, name) in BOTH {
        world.gone(kind, name);
    }
}

#[test]
fn a_subscription_that_lost_its_label_still_counts() {
    let world = World::builder()
        .operator_arg("--watch-label-selector=shard=a")
        .start();
    world.subscribe("mail", json!({}));
    world.kubectl(&["label", "fsub", "mail", "shard=a"]);
    world.ready("mail");
    world.kubectl(&["label", "fsub", "mail", "shard-"]);
    world.eventually("the operator sees it no more", SOON, || {
        let metrics = world.operator.metrics();
        let seen = metrics
            .lines()
            .find(|line| line.starts_with("fulfillment_subscriptions") && !line.ends_with(" 0"));
        seen.map_or(Ok(()), |line| Err(line.to_owned()))
    });
    world.kubectl(&["delete", "VendorConnection", "acme", "--wait=false"]);
    world.patch_connection(r#"{"spec": {"polling": {"interval": "1h"}}}"#);
    world.until("it was looked at", "VendorConnection", "acme", |acme| {
        acme["status"]["observedGeneration"] == acme["metadata"]["generation"]
    });
    for (kind, name) in BOTH {
        assert!(is_held(&world.get(kind, name)), "{kind}");
    }
    world.kubectl(&["label", "fsub", "mail", "shard=a"]);
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    world.gone("VendorConnection", "acme");
}

#[test]
fn deleting_the_whole_quickstart_ends_by_itself_with_no_tenant_left() {
    // Its garbage collector would disturb others.
    let world = World::builder().own_control_plane().start();
    // Which collects the output Secret.
    world.control_plane().start_controller_manager().unwrap();
    world.vendor.behavior(json!({"operations": {
        "create": {"async": {"after": "1s"}}, "delete": {"async": {"after": "1s"}},
    }}));
    let yaml = quickstart(&world);
    world.apply(&yaml);
    world.ready("contoso-mail");
    assert!(world.find("Secret", "contoso-mail-activation").is_some());
    let output = world.kubectl_with(&["delete", "--timeout=60s", "-f", "-"], &yaml);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.count("tenants"), 1);
    for kind in ["Subscription", "VendorConnection"] {
        assert_eq!(world.list(kind), [json!(null); 0]);
    }

    // And in the middle of the purchase.
    world.apply(&yaml);
    world.stands("contoso-mail", "Ready", "False Provisioning");
    let output = world.kubectl_with(&["delete", "--timeout=60s", "-f", "-"], &yaml);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn deleting_the_namespace_ends_by_itself_with_no_tenant_left() {
    let world = World::builder().cluster_wide().start();
    world.control_plane().start_controller_manager().unwrap();
    world
        .vendor
        .behavior(json!({"operations": {"delete": {"async": {"after": "1s"}}}}));
    world.apply(&quickstart(&world));
    world.subscribe("second", json!({"state": "Suspended"}));
    world.ready("contoso-mail");
    world.ready("second");
    world.kubectl(&["delete", "namespace", world.namespace(), "--timeout=60s"]);
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.count("tenants"), 2);
    // The operator has outlived it and goes on elsewhere.
    assert!(world.operator.read("/readyz").contains("ok"));
}

#[test]
fn nothing_is_created_in_a_namespace_that_is_being_deleted() {
    let world = World::builder().cluster_wide().without_operator().start();
    world.subscribe("mail", json!({}));
    // Without a controller manager nobody deletes what is in it.
    world.kubectl(&["delete", "namespace", world.namespace(), "--wait=false"]);
    assert!(world.sub("mail")["metadata"]["deletionTimestamp"].is_null());
    world.operator.start();
    world.control_plane().start_controller_manager().unwrap();
    world.eventually("the namespace is gone", SOON, || {
        let found = world.find("namespace", world.namespace());
        found.map_or(Ok(()), |found| Err(found["status"].to_string()))
    });
    assert_eq!(world.vendor.calls().len(), 0);
}

#[test]
fn url_and_identity_are_fixed_while_tenants_depend_on_them() {
    let world = World::start();
    let connection = |url: &str, mode: &str, pending: &str| {
        objects::connection(
            url,
            json!({"identity": {"mode": mode}, "polling": {"pending": pending}}),
        )
    };
    // As long as nobody uses it, it can be anything.
    world.apply(&connection("http://elsewhere.example", "None", "1s"));
    world.apply(&connection(world.vendor.url(), "ExternalId", "1s"));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.until("it is counted", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"] == 1
    });

    let refused = world.apply_err(&connection("http://elsewhere.example", "ExternalId", "1s"));
    assert!(
        refused.contains("url cannot change while Subscriptions have tenants"),
        "{refused}"
    );
    let refused = world.apply_err(&connection(world.vendor.url(), "None", "1s"));
    assert!(
        refused.contains("identity cannot change while Subscriptions have tenants"),
        "{refused}"
    );
    world.apply(&connection(world.vendor.url(), "ExternalId", "2s"));
    let acme = world.until(
        "it is seen",
        "VendorConnection",
        "acme",
        objects::is_observed,
    );
    assert_eq!(standing(&acme, "Ready"), "True VendorAnswers");

    world.unsubscribe("mail");
    world.until("it is free", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"] == 0
    });
    world.apply(&connection("http://elsewhere.example", "None", "1s"));
}
