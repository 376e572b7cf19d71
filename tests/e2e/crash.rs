//! The operator is killed (SIGKILL) at many moments of a subscription's life. Started again, it goes
//! on to the same end: one tenant, ever, and none after the delete.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use e2e::{
    SOON, World,
    objects::{is_observed, message, standing},
};
use serde_json::{Value, json};
use std::{thread, time::Duration};

/// How long the vendor holds a call in which the operator is to be killed.
const HELD: &str = "700ms";

/// When the operator is killed, in each step.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The vendor has a call and has not acted on it.
    BeforeTheEffect {
        /// How many calls of the step pass before.
        calls: u64,
    },
    /// The vendor has acted and not answered.
    AfterTheEffect {
        /// How many calls of the step pass before.
        calls: u64,
    },
    /// The vendor has answered, this many milliseconds ago at most.
    AfterTheAnswer {
        /// The most.
        within: u64,
    },
    /// This many milliseconds at most after the step began, and twice more after its starts.
    AtAnyTime {
        /// The most.
        within: u64,
    },
}

/// A step of the walk.
#[derive(Clone, Copy, Debug)]
enum Step {
    Purchase,
    Change,
    Suspend,
    Resume,
    Drift,
    Delete,
}

const WALK: [Step; 6] = [
    Step::Purchase,
    Step::Change,
    Step::Suspend,
    Step::Resume,
    Step::Drift,
    Step::Delete,
];

/// Numbers that look random and are the same each time (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Lets a while pass, at most that many milliseconds: it is the moment that is tried, and
    /// nothing is waited for.
    fn pass(&mut self, within: u64) {
        thread::sleep(Duration::from_millis(self.below(within)));
    }
}

impl Step {
    fn begin(self, world: &World, name: &str) {
        match self {
            Self::Purchase => world.subscribe(name, json!({})),
            Self::Change | Self::Resume => world.subscribe(name, json!({"limits": {"seats": 60}})),
            Self::Suspend => {
                world.subscribe(name, json!({"limits": {"seats": 60}, "state": "Suspended"}));
            }
            Self::Drift => {
                let id = world.vendor.tenant()["id"].as_str().unwrap().to_owned();
                let behind = json!({"limits": {"seats": 1}});
                world.vendor.patch_tenant(&id, behind);
                world.request(name, "drift");
            }
            Self::Delete => {
                world.kubectl(&["delete", "subscription", name, "--wait=false"]);
            }
        }
    }

    /// Whether the step has come to its end, both here and at the vendor.
    fn is_done(self, object: Option<&Value>, live: &[Value]) -> bool {
        let is = |reason: &str, status: &str, seats: u64| {
            let (Some(object), [tenant]) = (object, live) else {
                return false;
            };
            is_observed(object)
                && standing(object, "Ready") == format!("True {reason}")
                && tenant["status"] == status
                && tenant["limits"]["seats"] == seats
                && object["status"]["tenantId"] == tenant["id"]
        };
        match self {
            Self::Purchase => is("Active", "active", 50),
            Self::Change | Self::Resume => is("Active", "active", 60),
            Self::Suspend => is("Suspended", "suspended", 60),
            Self::Drift => {
                let handled = object.map(|object| &object["status"]["lastHandledReconcileAt"]);
                is("Active", "active", 60) && handled.is_some_and(|token| *token == "drift")
            }
            Self::Delete => object.is_none() && live.is_empty(),
        }
    }
}

/// Walks through a life, with a kill in each step.
fn walk(world: &World, number: u64, moment: Moment, seeded: &mut Seeded) {
    let name = format!("mail-{number}");
    for step in WALK {
        let what = format!("{step:?} of walk {number}, killed {moment:?}");
        let before = world.vendor.sequence();
        let hold = |fault: Value, skip: u64| {
            let rule = json!({"path": "/tenant*", "skip": skip, "times": 1, "fault": fault});
            world.vendor.fault(rule);
        };
        match moment {
            Moment::BeforeTheEffect { calls } => hold(json!({"delay": HELD}), calls),
            Moment::AfterTheEffect { calls } => hold(json!({"delayAfter": HELD}), calls),
            Moment::AfterTheAnswer { .. } | Moment::AtAnyTime { .. } => {}
        }
        step.begin(world, &name);
        let calls_at_least = |count: usize| {
            world.eventually(&format!("{what}: a call"), SOON, || {
                let calls = world.vendor.calls_since(before).len();
                if calls >= count { Ok(()) } else { Err(calls) }
            });
        };
        match moment {
            Moment::BeforeTheEffect { .. } => {
                world.eventually(&format!("{what}: a call is held"), SOON, || {
                    let hits = &world.vendor.faults()[0]["hits"];
                    if *hits == 1 {
                        Ok(())
                    } else {
                        Err(hits.clone())
                    }
                });
                world.operator.kill9();
            }
            Moment::AfterTheEffect { calls } => {
                calls_at_least(usize::try_from(calls).unwrap() + 1);
                world.operator.kill9();
            }
            Moment::AfterTheAnswer { within } => {
                calls_at_least(1);
                seeded.pass(within);
                world.operator.kill9();
            }
            Moment::AtAnyTime { within } => {
                seeded.pass(within);
                world.operator.kill9();
                for _ in 0..2 {
                    world.operator.spawn();
                    seeded.pass(within);
                    world.operator.kill9();
                }
            }
        }
        world.operator.start();
        world.eventually(&what, SOON, || {
            let object = world.find("Subscription", &name);
            let live = world.vendor.live();
            assert!(live.len() <= 1, "{what}: twins: {live:#?}");
            if step.is_done(object.as_ref(), &live) {
                return Ok(());
            }
            let object = object.unwrap_or_default();
            let (ready, said) = (standing(&object, "Ready"), message(&object, "Ready"));
            Err(format!("{ready} {said:?} {live:?}"))
        });
        world.vendor.clear_faults();
        let counts = world.vendor.counts();
        assert_eq!(counts["effects"]["created"], number, "{what}: {counts}");
    }
}

/// A world whose vendor decides at once, or a little later.
fn world(is_async: bool) -> World {
    let world = World::start();
    if is_async {
        let later = json!({"async": {"after": "300ms", "retryAfter": "1s"}});
        world.vendor.behavior(json!({"operations": {
            "create": later, "change": later, "disable": later, "enable": later, "delete": later,
        }}));
    }
    world
}

#[test]
fn killed_before_the_vendor_acts_it_ends_with_one_tenant() {
    let mut seeded = Seeded(1);
    walk(
        &world(false),
        1,
        Moment::BeforeTheEffect { calls: 0 },
        &mut seeded,
    );
    let later = world(true);
    walk(&later, 1, Moment::BeforeTheEffect { calls: 0 }, &mut seeded);
    walk(&later, 2, Moment::BeforeTheEffect { calls: 1 }, &mut seeded);
}

#[test]
fn killed_before_it_hears_what_the_vendor_did_it_ends_with_one_tenant() {
    let mut seeded = Seeded(2);
    walk(
        &world(false),
        1,
        Moment::AfterTheEffect { calls: 0 },
        &mut seeded,
    );
    let later = world(true);
    walk(&later, 1, Moment::AfterTheEffect { calls: 0 }, &mut seeded);
    walk(&later, 2, Moment::AfterTheEffect { calls: 1 }, &mut seeded);
}

#[test]
fn killed_before_it_writes_down_what_it_heard_it_ends_with_one_tenant() {
    let mut seeded = Seeded(3);
    let at_once = world(false);
    walk(
        &at_once,
        1,
        Moment::AfterTheAnswer { within: 1 },
        &mut seeded,
    );
    walk(
        &at_once,
        2,
        Moment::AfterTheAnswer { within: 20 },
        &mut seeded,
    );
    walk(
        &world(true),
        1,
        Moment::AfterTheAnswer { within: 20 },
        &mut seeded,
    );
}

#[test]
fn killed_again_and_again_at_any_time_it_ends_with_one_tenant() {
    let mut seeded = Seeded(4);
    walk(
        &world(false),
        1,
        Moment::AtAnyTime { within: 400 },
        &mut seeded,
    );
    walk(
        &world(true),
        1,
        Moment::AtAnyTime { within: 900 },
        &mut seeded,
    );
}

#[test]
fn killed_in_a_create_that_cannot_be_repeated_it_holds_and_asks() {
    let world = World::builder().identity_none().start();
    for (number, fault) in [json!({"delay": HELD}), json!({"delayAfter": HELD})]
        .into_iter()
        .enumerate()
    {
        let name = format!("mail-{number}");
        let rule = json!({"method": "POST", "times": 1, "fault": fault});
        world.vendor.fault(rule);
        world.subscribe(&name, json!({}));
        world.eventually("the create is held", SOON, || {
            let faults = world.vendor.faults();
            if faults[0]["hits"] == 1 {
                Ok(())
            } else {
                Err(format!("{faults:?}"))
            }
        });
        world.operator.kill9();
        world.vendor.clear_faults();
        world.operator.start();
        let object = world.stands(&name, "Ready", "False CreateOutcomeUnknown");
        assert_eq!(standing(&object, "Stalled"), "True CreateOutcomeUnknown");

        // The vendor did it all the same, and a person says so.
        let tenants = world.eventually("the create landed", SOON, || {
            let live = world.vendor.live();
            if live.len() == number + 1 {
                Ok(live)
            } else {
                Err(live.len())
            }
        });
        let id = tenants[number]["id"].as_str().unwrap();
        let said = message(&object, "Ready");
        assert!(said.contains("kubectl annotate"), "{said}");
        let answer = format!("fulfillment-operator.io/resolve-create=adopt:{id}");
        world.annotate(&name, &answer);
        let object = world.ready(&name);
        assert_eq!(object["status"]["tenantId"], id);
        assert_eq!(world.vendor.count("create"), number as u64 + 1);
    }
}
