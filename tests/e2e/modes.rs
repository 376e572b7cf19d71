//! The identity modes besides ExternalId, end to end: what each promises about a create whose
//! answer is lost, about names that are taken, and about a cluster that is rebuilt.

use e2e::{
    World,
    history::Twins,
    objects::{self, message, standing},
    vendor::operations,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// The tenant is made, and the answer is lost.
fn lose_the_answer(world: &World) {
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"closeAfter": true}}));
}

/// The key that a rebuilt cluster derives is one the vendor knows; what it made with it, only a person
/// can say where the order is another one by now.
#[test]
fn a_key_that_made_something_else_is_held_and_not_replaced() {
    let world = World::builder().identity("IdempotencyKey").start();
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    let before = world.ready("mail");
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    world.ready("mail");
    rebuild(&world);
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let held = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    let said = message(&held, "Ready");
    assert!(
        said.contains("was sent before, with other limits"),
        "{said}"
    );
    // Neither an edit nor a person's impatience buys another one.
    world.subscribe("mail", json!({"limits": {"seats": 70}}));
    world.request("mail", "again");
    world.until("held", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "again"
    });
    world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    assert_eq!(world.vendor.count("live"), 1);
    let tenant = before["status"]["tenantId"].as_str().unwrap_or_default();
    world.vendor.adopted(tenant);
    world.annotate(
        "mail",
        &format!("fulfillment-operator.io/resolve-create=adopt:{tenant}"),
    );
    world.until("taken", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "True Active" && mail["status"]["limits"]["seats"] == 70
    });
    assert_eq!(world.vendor.count("tenants"), 1);
}

/// All that is left of the cluster is the YAML and the installation key.
fn rebuild(world: &World) {
    world.operator.stop();
    let none = r#"{"metadata":{"finalizers":null}}"#;
    world.patch("mail", none);
    world.kubectl(&["delete", "subscription", "mail", "--timeout=60s"]);
    world.operator.start();
}

/// A whole life: bought, changed, suspended, resumed, deleted.
fn life(world: &World) {
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    world.ready("mail");
    world.subscribe(
        "mail",
        json!({"limits": {"seats": 60}, "state": "Suspended"}),
    );
    let mail = world.until("changed and suspended", "Subscription", "mail", |mail| {
        mail["status"]["limits"]["seats"] == 60 && standing(mail, "Ready") == "True Suspended"
    });
    assert_eq!(mail["status"]["state"], "Suspended");
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.count("create"), 1);
}

#[test]
fn a_whole_life_in_mode_lookup() {
    let world = World::builder().identity("Lookup").start();
    life(&world);
    assert_eq!(
        operations(&world.vendor.calls()),
        [
            "lookup", "create", "disable", "change", "enable", "delete", "lookup"
        ]
    );
}

#[test]
fn a_whole_life_in_mode_idempotency_key() {
    let world = World::builder().identity("IdempotencyKey").start();
    life(&world);
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "disable", "change", "enable", "delete", "get"]
    );
}

#[test]
fn a_lost_answer_is_looked_up_when_nothing_can_land_any_more() {
    let world = World::builder().identity("Lookup").start();
    lose_the_answer(&world);
    world.subscribe("mail", json!({}));
    let mail = world.until("it settles", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "False Provisioning"
    });
    assert!(message(&mail, "Ready").contains("--settle"), "{mail}");
    assert_eq!(mail["status"]["request"]["status"], "Unknown");
    world.ready("mail");
    assert_eq!(world.vendor.count("create"), 1);
    assert_eq!(world.vendor.count("live"), 1);
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_create_that_never_arrived_is_sent_again_after_two_looks() {
    let world = World::builder().identity("Lookup").start();
    world
        .vendor
        .fault(json!({"method": "POST", "path": "/tenant", "fault": {"closeBefore": true}}));
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let calls = world.vendor.calls();
    let sent = operations(&calls);
    assert_eq!(
        sent[..5],
        ["lookup", "create", "lookup", "lookup", "create"],
        "{sent:?}"
    );
    assert_eq!(world.vendor.count("live"), 1);
}

#[test]
fn a_twin_is_found_by_the_next_read_and_deleted() {
    let world = World::builder()
        .identity("Lookup")
        .connection(json!({"polling": {"interval": "10s"}}))
        .start();
    world.subscribe("mail", json!({}));
    let mail = world.ready("mail");
    // The interval and the settle time.
    let most = SignedDuration::from_secs(10 + 3);
    world.vendor.allow_twins(Twins::Within(most));
    let body = json!({"externalId": mail["status"]["externalId"], "product": "mail-pro", "limits": {"seats": 50}});
    world.vendor.order(&body);
    assert_eq!(world.vendor.count("live"), 2);
    world.request("mail", "look");
    world.eventually("one tenant is left", e2e::SOON, || {
        match world.vendor.count("live") {
            1 => Ok(()),
            live => Err(format!("{live} live")),
        }
    });
    let now = world.ready("mail");
    assert_eq!(now["status"]["tenantId"], mail["status"]["tenantId"]);
    assert_eq!(world.vendor.live()[0]["id"], mail["status"]["tenantId"]);
    world.event("mail", "DuplicateTenant");
}

#[test]
fn a_lost_answer_is_repeated_with_the_same_key_and_the_same_bytes() {
    let world = World::builder().identity("IdempotencyKey").start();
    lose_the_answer(&world);
    // Down before the repeat, so that the spec can change in between.
    world
        .vendor
        .fault(json!({"times": 2, "method": "POST", "fault": {"status": 503}}));
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    world.until("it is unknown", "Subscription", "mail", |mail| {
        mail["status"]["request"]["status"] == "Unknown"
    });
    world.subscribe("mail", json!({"limits": {"seats": 60}}));
    let mail = world.until("it is as declared", "Subscription", "mail", |mail| {
        mail["status"]["limits"]["seats"] == 60 && standing(mail, "Ready") == "True Active"
    });
    assert_eq!(mail["status"]["create"], Value::Null);
    let calls = world.vendor.calls();
    let bodies: Vec<&Value> = calls
        .iter()
        .filter(|call| call.operation() == "create")
        .map(e2e::vendor::Call::body)
        .collect();
    assert!(
        bodies.len() >= 2 && bodies.iter().all(|body| *body == bodies[0]),
        "{bodies:?}"
    );
    assert_eq!(world.vendor.count("live"), 1);
    assert_eq!(world.vendor.tenants().len(), 1, "one had an effect");
}

#[test]
fn a_secret_that_changed_meanwhile_makes_a_key_useless_and_the_create_held() {
    let world = World::builder().identity("IdempotencyKey").start();
    world.apply(&objects::secret("contoso", &[("password", "old")]));
    lose_the_answer(&world);
    world
        .vendor
        .fault(json!({"times": "unlimited", "method": "POST", "fault": {"status": 503}}));
    let parameter = json!({"name": "admin_password", "valueFrom": {"secretKeyRef": {"name": "contoso", "key": "password"}}});
    world.subscribe("mail", json!({"parameters": [parameter]}));
    let mail = world.until("it is unknown", "Subscription", "mail", |mail| {
        mail["status"]["request"]["status"] == "Unknown"
    });
    assert!(!mail["status"].to_string().contains("old"), "{mail}");
    world.apply(&objects::secret("contoso", &[("password", "new")]));
    let held = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
    world.vendor.clear_faults();
    let tenant = world.vendor.live()[0]["id"].as_str().unwrap().to_owned();
    let answer = format!("fulfillment-operator.io/resolve-create=adopt:{tenant}");
    world.annotate("mail", &answer);
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["tenantId"], tenant.as_str());
    // Then the new password was sent.
    let purchase = mail["status"]["history"].as_array().unwrap().last();
    assert_eq!(purchase.unwrap()["id"], held["status"]["request"]["id"]);
    assert_eq!(world.vendor.count("live"), 1);
}

#[test]
fn a_rebuilt_cluster_finds_its_tenants_by_lookup_and_by_key() {
    for mode in ["Lookup", "IdempotencyKey"] {
        let world = World::builder().identity(mode).start();
        world.subscribe("mail", json!({}));
        let before = world.ready("mail");
        rebuild(&world);
        world.subscribe("mail", json!({}));
        let after = world.ready("mail");
        assert_eq!(
            before["status"]["tenantId"], after["status"]["tenantId"],
            "{mode}"
        );
        assert_eq!(world.vendor.count("live"), 1, "{mode}");
    }
}

#[test]
fn a_claimed_name_is_taken_over_only_where_the_policy_says_so() {
    for mode in ["ExternalId", "Lookup"] {
        let world = World::builder().identity(mode).start();
        let body = json!({"externalId": "AS-1", "product": "mail-pro", "limits": {"seats": 50}});
        let there = world.vendor.order(&body);
        let spec = |policy: &str| json!({"externalId": "AS-1", "adoptionPolicy": policy});
        world.subscribe("mail", spec("CreateOnly"));
        let mail = world.stands("mail", "Ready", "False Conflict");
        assert!(
            message(&mail, "Ready").contains("AdoptOrCreate"),
            "{mode}: {mail}"
        );
        world.subscribe("mail", spec("AdoptOrCreate"));
        let mail = world.ready("mail");
        assert_eq!(mail["status"]["tenantId"], there["id"], "{mode}");
        assert_eq!(world.vendor.count("live"), 1, "{mode}");
    }
}

#[test]
fn who_only_adopts_waits_for_the_tenant_and_creates_none() {
    let world = World::builder().identity("Lookup").start();
    world.subscribe(
        "mail",
        json!({"externalId": "AS-2", "adoptionPolicy": "AdoptOnly"}),
    );
    let mail = world.stands("mail", "Ready", "False TenantMissing");
    assert!(message(&mail, "Ready").contains("AS-2"), "{mail}");
    let there = world
        .vendor
        .order(&json!({"externalId": "AS-2", "product": "mail-pro"}));
    world.request("mail", "look");
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["tenantId"], there["id"]);
    assert_eq!(
        operations(&world.vendor.calls())
            .iter()
            .filter(|o| **o == "create")
            .count(),
        1
    );
}

#[test]
fn adopting_only_takes_a_vendor_that_can_be_asked() {
    let world = World::builder().identity("None").start();
    world.subscribe(
        "mail",
        json!({"externalId": "AS-3", "adoptionPolicy": "AdoptOnly"}),
    );
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    assert!(
        message(&mail, "Ready").contains("adoptionPolicy AdoptOnly"),
        "{mail}"
    );
    assert!(world.vendor.calls().is_empty());
}

#[test]
fn a_name_used_again_begins_with_the_next_key() {
    let world = World::builder().identity("IdempotencyKey").start();
    let mut names = Vec::new();
    for _ in 0..3 {
        world.subscribe("mail", json!({}));
        let mail = world.ready("mail");
        names.push(mail["status"]["externalId"].as_str().unwrap().to_owned());
        assert_eq!(world.vendor.tenant()["id"], mail["status"]["tenantId"]);
        world.unsubscribe("mail");
        assert_eq!(world.vendor.count("live"), 0);
    }
    assert_eq!(names[1], format!("{}-2", names[0]));
    assert_eq!(names[2], format!("{}-3", names[0]));
}
