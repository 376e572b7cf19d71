//! The operator is killed (SIGKILL) at many moments of a subscription's life, in every step that
//! `cargo demo` shows. Started again, it goes on to the same end: one tenant, ever, and none after the
//! delete.

mod fulfillment;
mod quickstart;
mod walk;

use crate::callbacks;
use e2e::{
    SOON, Seeded, World,
    objects::{message, standing},
};
use serde_json::json;
use walk::{HELD, Moment, walk};

/// A world whose vendor decides at once, or a little later.
fn world(is_later: bool) -> World {
    let world = World::start();
    if is_later {
        let later = quickstart::later("approve");
        world.vendor.behavior(json!({"operations": {
            "create": later, "change": later, "disable": later, "enable": later, "delete": later,
        }}));
    }
    world
}

/// Lives of the first scene in one world, one for each moment.
fn lives(is_later: bool, moments: &[Moment], seeded: &mut Seeded) {
    let world = world(is_later);
    for (number, moment) in (1..).zip(moments) {
        walk(
            &world,
            &quickstart::steps(is_later),
            number,
            *moment,
            seeded,
        );
    }
}

#[test]
fn killed_before_the_vendor_acts_it_ends_with_one_tenant() {
    let mut seeded = Seeded(1);
    let before = |calls| Moment::BeforeTheEffect { calls };
    lives(false, &[before(0)], &mut seeded);
    lives(true, &[before(0), before(1)], &mut seeded);
}

#[test]
fn killed_before_it_hears_what_the_vendor_did_it_ends_with_one_tenant() {
    let mut seeded = Seeded(2);
    let after = |calls| Moment::AfterTheEffect { calls };
    lives(false, &[after(0)], &mut seeded);
    // The second call is a read, which has no effect: it is held in the test before this one.
    lives(true, &[after(0)], &mut seeded);
}

#[test]
fn killed_before_it_writes_down_what_it_heard_it_ends_with_one_tenant() {
    let mut seeded = Seeded(3);
    let within = |within| Moment::AfterTheAnswer { within };
    lives(false, &[within(1), within(20)], &mut seeded);
    lives(true, &[within(20)], &mut seeded);
}

#[test]
fn killed_again_and_again_at_any_time_it_ends_with_one_tenant() {
    let mut seeded = Seeded(4);
    lives(false, &[Moment::AtAnyTime { within: 400 }], &mut seeded);
    lives(true, &[Moment::AtAnyTime { within: 900 }], &mut seeded);
}

#[test]
fn killed_while_it_waits_for_a_reseller_a_correction_or_a_callback_it_ends_with_one_tenant() {
    let key = Some(callbacks::KEY);
    let builder = fulfillment::product(World::builder());
    let (world, _) = callbacks::world_of(builder, "standard-webhooks", callbacks::KEY, key);
    let mut seeded = Seeded(5);
    let moments = [
        Moment::BeforeTheEffect { calls: 0 },
        Moment::AfterTheEffect { calls: 0 },
        Moment::AfterTheAnswer { within: 20 },
        Moment::AtAnyTime { within: 400 },
    ];
    for (number, moment) in (1..).zip(moments) {
        walk(&world, &fulfillment::STEPS, number, moment, &mut seeded);
    }
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
