//! A vendor, or the network before it, fails in every way at every operation: one tenant, no hot
//! loop, a message that says what is wrong, and recovery without help.
//!
//! Each kind of fault has a vendor and a subscription of its own, and they all stand on one
//! operator, so that whatever one vendor does is seen not to stop the others.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

mod fleet;
mod kinds;

pub(crate) use fleet::Fleet;
pub(crate) use kinds::{Trap, assert_clean};

use e2e::{
    SOON, Vendor, World,
    objects::{self, condition, message, standing},
    vendor::operations,
};
use serde_json::json;
use std::time::Duration;

/// The id of the first tenant of every vendor.
const FIRST: &str = "t-1001";

#[test]
fn whatever_fails_at_whatever_operation_ends_with_one_tenant_as_declared() {
    Fleet::start("ExternalId").lives();
}

#[test]
fn a_tenant_is_not_gone_until_a_read_says_so() {
    let fleet = Fleet::start("ExternalId");
    fleet.apply(&json!({}));
    for ship in &fleet.ships {
        fleet.world.ready(ship.kind.name);
    }
    fleet.arm("GET");
    fleet.kubectl("delete", "--wait=false");
    // What the fault does to an answer that has no body may be no fault at all: then the tenant
    // was said to be gone, and is.
    fleet.weather("get", |ship, object| {
        object.is_null() && ship.vendor.count("live") == 0
    });
}

#[test]
fn a_bare_vendor_is_never_asked_twice_for_what_it_may_have_done() {
    let fleet = Fleet::start("None");
    fleet.arm("POST");
    fleet.apply(&json!({}));
    for ship in &fleet.ships {
        let name = ship.kind.name;
        if ship.kind.may_have_effect {
            let object = fleet
                .world
                .stands(name, "Ready", "False CreateOutcomeUnknown");
            assert_eq!(
                standing(&object, "Stalled"),
                "True CreateOutcomeUnknown",
                "{name}"
            );
            assert_eq!(
                standing(&object, "Approved"),
                "Unknown CreateOutcomeUnknown",
                "{name}"
            );
            assert_eq!(object["status"]["request"]["status"], "Unknown", "{name}");
            ship.kind.check_message(&message(&object, "Ready"));
        } else {
            let what = format!("{name}: calls that meet the fault");
            fleet.world.eventually(&what, SOON, || {
                let met = ship.hits();
                if met >= 3 { Ok(()) } else { Err(met) }
            });
            ship.vendor.clear_faults();
            fleet.world.ready(name);
            assert_eq!(ship.vendor.count("live"), 1, "{name}");
        }
    }
    // A look, a restart and a vendor that is well again change nothing of that.
    fleet.kubectl("annotate", "reconcile.fluxcd.io/requestedAt=now");
    fleet.world.operator.restart();
    for ship in fleet.ships.iter().filter(|ship| ship.kind.may_have_effect) {
        let name = ship.kind.name;
        ship.vendor.clear_faults();
        let what = format!("{name} was looked at");
        let object = fleet.world.until(&what, "Subscription", name, |object| {
            object["status"]["lastHandledReconcileAt"] == "now"
        });
        assert_eq!(
            standing(&object, "Ready"),
            "False CreateOutcomeUnknown",
            "{name}"
        );
        assert_eq!(ship.vendor.count("create"), 1, "{name}");
        assert!(ship.vendor.count("live") <= 1, "{name}");
    }
    fleet.assert_nothing_astray();
}

#[test]
fn an_empty_answer_to_a_create_is_not_taken_for_a_tenant() {
    let world = World::start();
    let empty = json!({"method": "POST", "path": "/tenant", "times": 2, "fault": {"empty": true}});
    world.vendor.fault(empty);
    world.subscribe("mail", json!({}));
    world.ready("mail");
    assert_eq!(world.vendor.tenant()["id"], FIRST);
    assert_eq!(world.vendor.counts()["effects"]["created"], 1);
    assert_eq!(world.sub("mail")["status"]["tenantId"], FIRST);
}

#[test]
fn one_404_is_not_believed() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let before = world.vendor.sequence();
    world
        .vendor
        .fault(json!({"method": "GET", "times": 1, "fault": {"status": 404}}));
    world.request("mail", "look");
    world.until("the look is handled", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    let mail = world.stands("mail", "Ready", "True Active");
    assert_eq!(mail["status"]["tenantId"], FIRST);
    let calls = world.vendor.calls_since(before);
    assert!(
        calls.iter().all(|call| call.operation() == "get"),
        "{:?}",
        operations(&calls)
    );
}

#[test]
fn a_vendor_that_is_down_is_waited_for_at_every_step() {
    let world = World::start();
    let sixty = json!({"limits": {"seats": 60}});
    let suspended = json!({"limits": {"seats": 60}, "state": "Suspended"});
    for (what, spec, end) in [
        ("a purchase", Some(json!({})), "Active"),
        ("a change", Some(sixty.clone()), "Active"),
        ("a suspend", Some(suspended), "Suspended"),
        ("a resume", Some(sixty), "Active"),
        ("a delete", None, ""),
    ] {
        world.vendor.kill();
        let holding = if let Some(spec) = &spec {
            world.subscribe("mail", spec.clone());
            "False VendorUnavailable"
        } else {
            world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
            "False Terminating"
        };
        let mail = world.until(what, "Subscription", "mail", |mail| {
            let ready = condition(mail, "Ready").map(|c| &c["observedGeneration"]);
            standing(mail, "Ready") == holding && ready == Some(&mail["metadata"]["generation"])
        });
        let said = message(&mail, "Ready");
        assert!(said.contains("cannot be reached"), "{what}: {said}");
        assert_clean(&said);

        world.vendor.run();
        if let Some(spec) = spec {
            world.stands("mail", "Ready", &format!("True {end}"));
            let tenant = world.vendor.tenant();
            assert_eq!(tenant["status"], end.to_lowercase(), "{what}");
            let seats = spec["limits"]["seats"].as_u64().unwrap_or(50);
            assert_eq!(tenant["limits"]["seats"], seats, "{what}");
        } else {
            world.gone("Subscription", "mail");
        }
    }
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.counts()["effects"]["created"], 1);
}

#[test]
fn a_vendor_that_is_down_while_in_sync_leaves_ready_true_and_the_connection_not() {
    let world = World::start();
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let calls = || requests_counted(&world.operator.metrics());
    let (counted, began) = (calls(), std::time::Instant::now());
    world.vendor.kill();
    world.request("mail", "look");
    let mail = world.until("it is unverified", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("unverified")
    });
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(standing(&mail, "Reconciling"), "-");
    assert_clean(&message(&mail, "Ready"));
    // The message says since when.
    let since = message(&mail, "Ready");
    assert!(since.contains("since 20"), "{since}");
    let acme = world.until("acme is not Ready", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False VendorUnavailable"
    });
    assert_clean(&message(&acme, "Ready"));

    // No hot loop against a closed port either: its own count says so. Of the first ones, as the later
    // are minutes apart.
    world.eventually("five attempts", Duration::from_secs(90), || {
        let more = calls() - counted;
        if more >= 5 { Ok(()) } else { Err(more) }
    });
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "five attempts in {took:?}");

    world.vendor.run();
    // By itself; how long it waits by now is a matter of chance, up to five minutes.
    world.eventually("it is verified", Duration::from_secs(330), || {
        let said = message(&world.sub("mail"), "Ready");
        if said.contains("unverified") {
            Err(said)
        } else {
            Ok(())
        }
    });
    world.until("acme is Ready", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "True VendorAnswers"
    });
}

#[test]
fn a_wrong_token_says_unauthorized_and_a_corrected_secret_is_taken_at_once() {
    let world = World::start();
    world.apply(&objects::secret("acme", &[("token", "a-wrong-token")]));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False Unauthorized");
    assert_eq!(standing(&mail, "Reconciling"), "True Unauthorized");
    assert_eq!(standing(&mail, "Stalled"), "-");
    let said = message(&mail, "Ready");
    assert!(said.contains("401"), "{said}");
    assert_clean(&said);
    let acme = world.until("acme is not Ready", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False Unauthorized"
    });
    assert_clean(&message(&acme, "Ready"));
    let refused = world.vendor.count("create");
    assert!(refused <= 2, "{refused} calls with a token that is refused");

    world.apply(&objects::secret("acme", &[("token", "quickstart-token")]));
    world.ready("mail");
    world.until("acme is Ready", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "True VendorAnswers"
    });
    assert_eq!(world.vendor.count("live"), 1);

    // In sync it stays Ready, as it does when the vendor cannot be reached. A process that knows none
    // from before has no others.
    world.apply(&objects::secret("acme", &[("token", "a-wrong-token")]));
    world.operator.restart();
    world.request("mail", "look");
    let mail = world.until("it is unverified", "Subscription", "mail", |mail| {
        message(mail, "Ready").contains("unverified")
    });
    assert_eq!(standing(&mail, "Ready"), "True Active");
    world.until("acme is not Ready", "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False Unauthorized"
    });

    // Deleting holds too, and says why.
    world.kubectl(&["delete", "subscription", "mail", "--wait=false"]);
    let mail = world.until("the delete says why", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "False Terminating" && message(mail, "Ready").contains("401")
    });
    assert_eq!(standing(&mail, "Reconciling"), "True Terminating");
    assert_eq!(world.vendor.count("live"), 1);
    world.apply(&objects::secret("acme", &[("token", "quickstart-token")]));
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn a_403_is_unauthorized_and_a_request_to_look_ends_the_wait() {
    let world = World::start();
    world.vendor.fault(json!({
        "method": "POST", "times": "unlimited",
        "fault": {"status": 403, "body": {"error": {"code": "plan", "message": "no such reseller"}}},
    }));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False Unauthorized");
    let said = message(&mail, "Ready");
    assert!(
        said.contains("403") && said.contains("no such reseller"),
        "{said}"
    );
    assert_clean(&said);
    world.vendor.clear_faults();
    world.request("mail", "now");
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["lastHandledReconcileAt"], "now");
    assert_eq!(world.vendor.counts()["effects"]["created"], 1);
}

#[test]
fn a_change_of_the_spec_ends_a_wait_at_once() {
    let world = World::start();
    let wait = json!({"status": 429, "headers": {"Retry-After": "240"}});
    world
        .vendor
        .fault(json!({"method": "POST", "times": 1, "fault": wait}));
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False VendorUnavailable");
    // The vendor asked for four minutes; a person who changes the spec asks for now.
    world.subscribe("mail", json!({"limits": {"seats": 51}}));
    world.ready("mail");
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 51);
}

#[test]
fn a_bad_vendor_does_not_slow_a_good_one() {
    let world = World::builder()
        .connection(json!({"budget": {"maxInFlight": 1}}))
        .start();
    let bad = Vendor::start::<&str>(&[]);
    bad.fault(json!({"method": "*", "times": "unlimited", "fault": {"delay": "20s"}}));
    let mut all = vec![objects::connection_named("bad", bad.url(), json!({}))];
    for number in 0..80 {
        let spec = json!({"connectionRef": {"name": "bad"}});
        all.push(objects::subscription(&format!("bad-{number}"), spec));
    }
    world.apply(&objects::all(&all));
    world.eventually("the bad vendor is busy", SOON, || {
        let busy = bad.count("inFlight");
        if busy >= 8 { Ok(()) } else { Err(busy) }
    });
    world.subscribe("good", json!({}));
    let began = std::time::Instant::now();
    world.ready("good");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// All calls that the operator counted.
fn requests_counted(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("fulfillment_vendor_requests_total"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as u64
}
