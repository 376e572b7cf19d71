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

use e2e::{
    SOON, Vendor, World,
    objects::{self, condition, is_observed, message, standing},
    vendor::{Call, operations},
};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// The id of the first tenant of every vendor.
const FIRST: &str = "t-1001";
/// How many calls a fault must have met before its pace is judged.
const MET: usize = 3;

/// A kind of fault.
struct Kind {
    /// The name of its subscription and connection.
    name: &'static str,
    /// What the vendor is told.
    fault: Value,
    /// What the message must say, as a person would look for it.
    says: &'static [&'static str],
    /// Whether a call that meets it may have had its effect, so far as its caller can know: then
    /// a create at a vendor of mode None cannot be repeated.
    may_have_effect: bool,
    /// The least time between two calls, where the vendor asks for one.
    pause: Duration,
}

fn kind(name: &'static str, fault: Value, says: &'static [&'static str]) -> Kind {
    Kind {
        name,
        fault,
        says,
        may_have_effect: true,
        pause: Duration::ZERO,
    }
}

/// Every kind; `elsewhere` is where the redirects lead.
fn kinds(elsewhere: &Trap) -> Vec<Kind> {
    let said = json!({"error": {"code": "broken", "message": "our database is down"}});
    let limited =
        |retry_after: &str| json!({"status": 429, "headers": {"Retry-After": retry_after}});
    let no_effect = |kind| Kind {
        may_have_effect: false,
        ..kind
    };
    vec![
        kind(
            "error-500",
            json!({"status": 500, "body": said}),
            &["500", "our database is down"],
        ),
        kind(
            "error-500-after-effect",
            json!({"effectThen": {"status": 500, "body": said}}),
            &["500", "our database is down"],
        ),
        kind(
            "error-502",
            json!({"status": 502, "body": "upstream"}),
            &["502"],
        ),
        kind("error-503", json!({"status": 503}), &["503"]),
        no_effect(kind("timeout-408", json!({"status": 408}), &["408"])),
        no_effect(kind("early-425", json!({"status": 425}), &["425"])),
        no_effect(Kind {
            pause: Duration::from_secs(2),
            ..kind("limited-seconds", limited("2"), &["429"])
        }),
        no_effect(Kind {
            // Dates have whole seconds, and it was made a moment ago.
            pause: Duration::from_secs(1),
            ..kind("limited-date", Value::Null, &["429"])
        }),
        kind("garbage", json!({"garbage": true}), &["JSON"]),
        kind("huge", json!({"huge": 1_u64 << 30}), &["larger than"]),
        kind("html", json!({"html": true}), &["HTML"]),
        kind(
            "redirect",
            json!({"redirect": format!("http://127.0.0.1:{}/tenant", elsewhere.port)}),
            &["307", "redirect"],
        ),
        kind("truncated", json!({"truncate": true}), &["broke off"]),
        kind("slow-before", json!({"delay": "5s"}), &["in time"]),
        kind("slow-after", json!({"delayAfter": "5s"}), &["in time"]),
        kind("slow-body", json!({"slowBody": true}), &["in time"]),
        kind(
            "closed-before",
            json!({"closeBefore": true}),
            &["broke off"],
        ),
        kind("closed-after", json!({"closeAfter": true}), &["broke off"]),
    ]
}

impl Kind {
    /// The fault as of now: a date in it has to be made anew.
    fn fault(&self) -> Value {
        if self.name == "limited-date" {
            json!({"status": 429, "headers": {"Retry-After": http_date(Duration::from_secs(3))}})
        } else {
            self.fault.clone()
        }
    }

    /// The message says what is wrong, in one clean line.
    fn check_message(&self, message: &str) {
        let name = self.name;
        for word in self.says {
            assert!(message.contains(word), "{name}: no {word:?} in {message:?}");
        }
        assert_clean(message);
    }

    fn is_slow(&self) -> bool {
        self.name.starts_with("slow")
    }
}

/// One line, short, and nothing that a terminal would act on.
pub(crate) fn assert_clean(message: &str) {
    assert!(!message.is_empty(), "no message");
    assert!(message.chars().count() <= 1024, "too long: {message}");
    assert!(
        !message.chars().any(char::is_control),
        "control characters: {message:?}"
    );
}

/// One vendor for each kind of fault, with a connection and a subscription of the same name.
struct Fleet {
    world: World,
    ships: Vec<Ship>,
    elsewhere: Trap,
}

struct Ship {
    kind: Kind,
    vendor: Vendor,
}

impl Fleet {
    /// All vendors and connections; no subscription yet.
    fn start(identity: &str) -> Self {
        let elsewhere = Trap::start();
        let world = World::start();
        let ships: Vec<Ship> = kinds(&elsewhere)
            .into_iter()
            .map(|kind| {
                let flag = match identity {
                    "None" => "--identity=none",
                    _ => "--identity=external-id",
                };
                let vendor = Vendor::start(&[flag]);
                Ship { kind, vendor }
            })
            .collect();
        let connections: Vec<String> = ships
            .iter()
            .map(|ship| ship.connection(identity).to_string())
            .collect();
        world.apply(&objects::all(&connections));
        Self {
            world,
            ships,
            elsewhere,
        }
    }

    /// Applies all subscriptions, with `spec` merged in.
    fn apply(&self, spec: &Value) {
        let all: Vec<String> = self
            .ships
            .iter()
            .map(|ship| ship.subscription(spec))
            .collect();
        self.world.apply(&objects::all(&all));
    }

    /// From now on the calls of that method and path meet each vendor's fault.
    fn arm(&self, method: &str, path: &str) -> Vec<u64> {
        let arm = |ship: &Ship| {
            let before = ship.vendor.sequence();
            ship.vendor.fault(json!({
                "method": method, "path": path, "times": "unlimited", "fault": ship.kind.fault(),
            }));
            before
        };
        self.ships.iter().map(arm).collect()
    }

    /// Waits until each vendor's fault has been met a few times, or what is wanted came about all
    /// the same; judges pace and message, ends the fault, and waits for what is wanted.
    fn weather(&self, before: &[u64], condition: &str, wanted: impl Fn(&Ship, &Value) -> bool) {
        for (ship, before) in self.ships.iter().zip(before) {
            let name = ship.kind.name;
            let bound = Duration::from_secs(60);
            let what = format!("{name}: calls that meet the fault");
            let weathered = self.world.eventually(&what, bound, || {
                let object = self.world.find("Subscription", name);
                if wanted(ship, &object.clone().unwrap_or_default()) {
                    return Ok(None);
                }
                let object = object.ok_or("it is gone".to_owned())?;
                let met = ship.met_since(*before).len();
                let said = message(&object, "Ready");
                // A little later than the calls, as it is written after them.
                if met >= MET && said.contains(ship.kind.says[0]) {
                    Ok(Some(object))
                } else {
                    Err(format!(
                        "{met} calls, {} {said:?}",
                        standing(&object, "Ready")
                    ))
                }
            });
            let calls = ship.vendor.calls_since(*before);
            assert_no_hot_loop(name, &calls);
            assert_paused(&ship.kind, &ship.met_since(*before));
            if let Some(object) = weathered {
                assert_eq!(standing(&object, "Ready"), condition, "{name}");
                assert_eq!(standing(&object, "Stalled"), "-", "{name}");
                ship.kind.check_message(&message(&object, "Ready"));
            }
            ship.vendor.clear_faults();
        }
        for ship in &self.ships {
            let name = ship.kind.name;
            self.world
                .eventually(&format!("{name} recovers"), SOON, || {
                    let object = self.world.find("Subscription", name).unwrap_or_default();
                    if wanted(ship, &object) {
                        Ok(())
                    } else {
                        Err(format!(
                            "{:#} {:#?}",
                            object["status"],
                            ship.vendor.tenants()
                        ))
                    }
                });
        }
        assert_eq!(self.elsewhere.seen(), 0, "a redirect was followed");
    }

    /// Each vendor has one live tenant, made by one create.
    fn assert_one_tenant_each(&self) {
        for ship in &self.ships {
            let counts = ship.vendor.counts();
            assert_eq!(counts["live"], 1, "{}: {counts}", ship.kind.name);
            assert_eq!(
                counts["effects"]["created"], 1,
                "{}: {counts}",
                ship.kind.name
            );
        }
    }
}

impl Ship {
    fn connection(&self, identity: &str) -> Value {
        let mut spec = json!({"identity": {"mode": identity}});
        if self.kind.is_slow() {
            objects::merge(&mut spec, json!({"timeouts": {"request": "1s"}}));
        }
        let text = objects::connection(self.vendor.url(), spec);
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["metadata"]["name"] = json!(self.kind.name);
        object
    }

    fn subscription(&self, spec: &Value) -> String {
        let mut own = json!({"connectionRef": {"name": self.kind.name}});
        objects::merge(&mut own, spec.clone());
        objects::subscription(self.kind.name, own)
    }

    fn met_since(&self, sequence: u64) -> Vec<Call> {
        let mut calls = self.vendor.calls_since(sequence);
        calls.retain(|call| !call.0["fault"].is_null());
        calls
    }
}

/// Ready, and at this generation.
fn is_ready(object: &Value, reason: &str) -> bool {
    is_observed(object) && standing(object, "Ready") == format!("True {reason}")
}

/// Never more than four calls within a second, of any kind.
fn assert_no_hot_loop(name: &str, calls: &[Call]) {
    // They are recorded when they are done, which a slow vendor does in another order.
    let mut calls = calls.to_vec();
    calls.sort_by_key(Call::time);
    for window in calls.windows(5) {
        let took = between(&window[0], &window[4]);
        assert!(
            took >= Duration::from_secs(1),
            "{name}: five calls within {took:?}: {:?}",
            operations(&calls)
        );
    }
}

/// The vendor is left alone for as long as it asked.
fn assert_paused(kind: &Kind, met: &[Call]) {
    // The date is that of the first answer, so that it says nothing of the later ones.
    let judged = match kind.name {
        "limited-date" => met.len().min(2),
        _ => met.len(),
    };
    for pair in met[..judged].windows(2) {
        let pause = between(&pair[0], &pair[1]);
        assert!(pause >= kind.pause, "{}: again after {pause:?}", kind.name);
    }
}

#[test]
fn whatever_fails_at_whatever_operation_ends_with_one_tenant_as_declared() {
    let fleet = Fleet::start("ExternalId");

    let mut before = fleet.arm("POST", "/tenant");
    fleet.apply(&json!({}));
    fleet.weather(&before, "False VendorUnavailable", |_, object| {
        is_ready(object, "Active")
    });
    fleet.assert_one_tenant_each();

    before = fleet.arm("PUT", &format!("/tenant/{FIRST}"));
    fleet.apply(&json!({"limits": {"seats": 60}}));
    fleet.weather(&before, "False VendorUnavailable", |ship, object| {
        is_ready(object, "Active") && ship.vendor.tenant()["limits"]["seats"] == 60
    });

    let suspended = json!({"limits": {"seats": 60}, "state": "Suspended"});
    before = fleet.arm("PUT", &format!("/tenant/{FIRST}/disable"));
    fleet.apply(&suspended);
    fleet.weather(&before, "False VendorUnavailable", |ship, object| {
        is_ready(object, "Suspended") && ship.vendor.tenant()["status"] == "suspended"
    });

    before = fleet.arm("PUT", &format!("/tenant/{FIRST}/enable"));
    fleet.apply(&json!({"limits": {"seats": 60}}));
    fleet.weather(&before, "False VendorUnavailable", |ship, object| {
        is_ready(object, "Active") && ship.vendor.tenant()["status"] == "active"
    });
    fleet.assert_one_tenant_each();

    before = fleet.arm("DELETE", &format!("/tenant/{FIRST}"));
    let delete = ["delete", "subscription", "--all", "--wait=false"];
    fleet.world.kubectl(&delete);
    fleet.weather(&before, "False Terminating", |_, object| object.is_null());
    for ship in &fleet.ships {
        let counts = ship.vendor.counts();
        assert_eq!(counts["live"], 0, "{}: {counts}", ship.kind.name);
        assert_eq!(
            counts["effects"]["created"], 1,
            "{}: {counts}",
            ship.kind.name
        );
    }

    // However large an answer is, little of it is kept.
    let peak = peak_memory(fleet.world.operator.pid());
    assert!(peak < 200 << 20, "{peak} bytes");
}

#[test]
fn a_drift_read_that_fails_leaves_ready_true_and_says_unverified() {
    let fleet = Fleet::start("ExternalId");
    fleet.apply(&json!({}));
    for ship in &fleet.ships {
        fleet.world.ready(ship.kind.name);
    }
    let before = fleet.arm("GET", &format!("/tenant/{FIRST}"));
    let look = "reconcile.fluxcd.io/requestedAt=now";
    fleet
        .world
        .kubectl(&["annotate", "subscription", "--all", look]);

    for (ship, before) in fleet.ships.iter().zip(&before) {
        let name = ship.kind.name;
        let what = format!("{name} is unverified");
        let object = fleet.world.until(&what, "Subscription", name, |object| {
            message(object, "Ready").contains("unverified") && ship.met_since(*before).len() >= 2
        });
        assert_eq!(standing(&object, "Ready"), "True Active", "{name}");
        assert_eq!(standing(&object, "Reconciling"), "-", "{name}");
        assert_eq!(standing(&object, "Stalled"), "-", "{name}");
        assert_eq!(standing(&object, "Approved"), "True Approved", "{name}");
        assert_eq!(object["status"]["lastHandledReconcileAt"], "now", "{name}");
        ship.kind.check_message(&message(&object, "Ready"));
        assert_no_hot_loop(name, &ship.vendor.calls_since(*before));

        let what = format!("the connection {name} is not Ready");
        let connection = fleet
            .world
            .until(&what, "VendorConnection", name, |connection| {
                standing(connection, "Ready") == "False VendorUnavailable"
            });
        ship.kind.check_message(&message(&connection, "Ready"));
        let calls = ship.vendor.calls_since(*before);
        assert!(calls.iter().all(|call| call.operation() == "get"), "{name}");
        ship.vendor.clear_faults();
    }
    for ship in &fleet.ships {
        let name = ship.kind.name;
        let what = format!("{name} is verified again");
        let object = fleet.world.until(&what, "Subscription", name, |object| {
            !message(object, "Ready").contains("unverified")
        });
        assert_eq!(standing(&object, "Ready"), "True Active", "{name}");
        let what = format!("the connection {name} is Ready");
        fleet
            .world
            .until(&what, "VendorConnection", name, |connection| {
                standing(connection, "Ready") == "True VendorAnswers"
            });
    }
    fleet.assert_one_tenant_each();
}

#[test]
fn a_tenant_is_not_gone_until_a_read_says_so() {
    let fleet = Fleet::start("ExternalId");
    fleet.apply(&json!({}));
    for ship in &fleet.ships {
        fleet.world.ready(ship.kind.name);
    }
    let before = fleet.arm("GET", &format!("/tenant/{FIRST}"));
    let delete = ["delete", "subscription", "--all", "--wait=false"];
    fleet.world.kubectl(&delete);
    // What the fault does to an answer that has no body may be no fault at all: then the tenant
    // was said to be gone, and is.
    fleet.weather(&before, "False Terminating", |ship, object| {
        object.is_null() && ship.vendor.count("live") == 0
    });
}

#[test]
fn a_bare_vendor_is_never_asked_twice_for_what_it_may_have_done() {
    let fleet = Fleet::start("None");
    let before = fleet.arm("POST", "/tenant");
    fleet.apply(&json!({}));
    for (ship, before) in fleet.ships.iter().zip(&before) {
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
                let met = ship.met_since(*before).len();
                if met >= MET { Ok(()) } else { Err(met) }
            });
            ship.vendor.clear_faults();
            fleet.world.ready(name);
            assert_eq!(ship.vendor.count("live"), 1, "{name}");
        }
    }
    // A look, a restart and a vendor that is well again change nothing of that.
    let look = "reconcile.fluxcd.io/requestedAt=now";
    fleet
        .world
        .kubectl(&["annotate", "subscription", "--all", look]);
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
    assert_eq!(fleet.elsewhere.seen(), 0, "a redirect was followed");
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
    let mut connection: Value =
        serde_json::from_str(&objects::connection(bad.url(), json!({}))).unwrap();
    connection["metadata"]["name"] = json!("bad");
    let mut all = vec![connection.to_string()];
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

/// A server that nobody may call: it counts those who do.
#[derive(Debug)]
pub(crate) struct Trap {
    pub(crate) port: u16,
    seen: Arc<AtomicUsize>,
}

impl Trap {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        // It ends with the process; nothing is lost with it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(mut stream) = stream {
                    let _ = stream.write_all(b"HTTP/1.1 502 Trap\r\ncontent-length: 0\r\n\r\n");
                }
            }
        });
        Self { port, seen }
    }

    /// How many connections came.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

/// All calls that the operator counted.
fn requests_counted(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("fulfillment_vendor_requests_total"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as u64
}

/// The largest resident size a process ever had.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("no VmHWM") * 1024
}

/// Now and that much later, as HTTP writes dates.
fn http_date(later: Duration) -> String {
    let at = jiff::Timestamp::now() + later;
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The time between two calls.
fn between(earlier: &Call, later: &Call) -> Duration {
    let time = later.time().duration_since(earlier.time());
    Duration::try_from(time).unwrap_or_default()
}
