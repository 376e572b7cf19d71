//! A walk: the steps of a life one after the other, and the operator killed in each of them.

use e2e::{
    SOON, Seeded, World,
    objects::{merge, message, standing},
};
use serde_json::{Value, json};
use std::fmt::Debug;

/// How long the vendor holds a call in which the operator is to be killed.
pub(super) const HELD: &str = "700ms";
/// A moment within this many milliseconds, where no call of the vendor's says when.
const WITHIN: u64 = 400;

/// When the operator is killed, in each step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
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

/// A step of a life.
pub(super) trait Step: Copy + Debug {
    /// What a user, or somebody at the vendor, does.
    fn begin(self, world: &World, name: &str);

    /// Whether the step has come to its end, both here and at the vendor; `live` are the tenants there.
    fn is_done(self, world: &World, name: &str, live: &[Value]) -> bool;

    /// Whether the vendor is called in it for sure.
    fn has_calls(self) -> bool;

    /// What becomes of the vendor's answer, if it is not to be as usual: a fault.
    fn answer(self) -> Option<Value> {
        None
    }

    /// How many tenants the vendor has made by its end, in a walk of its own.
    fn bought(self) -> u64;
}

/// Walks through a life, the world's `number`th, with a kill in each step.
pub(super) fn walk<S: Step>(
    world: &World,
    steps: &[S],
    number: u64,
    moment: Moment,
    seeded: &mut Seeded,
) {
    let name = format!("mail-{number}");
    for &step in steps {
        // Where no call is sure to come, none can be waited for.
        let moment = if step.has_calls() {
            moment
        } else {
            Moment::AtAnyTime { within: WITHIN }
        };
        let what = format!("{step:?} of walk {number}, killed {moment:?}");
        let before = world.vendor.sequence();
        prepare(world, step, moment);
        step.begin(world, &name);
        kill(world, &what, before, moment, seeded);
        world.operator.start();
        ends(world, &what, step, &name);
        world.vendor.clear_faults();
        let counts = world.vendor.counts();
        let bought = number - 1 + step.bought();
        assert_eq!(counts["effects"]["created"], bought, "{what}: {counts}");
    }
}

/// Tells the vendor which call it is to hold, and what to answer.
fn prepare<S: Step>(world: &World, step: S, moment: Moment) {
    let hold = |mut fault: Value, skip: u64| {
        merge(&mut fault, step.answer().unwrap_or_else(|| json!({})));
        let rule = json!({"path": "/tenant*", "skip": skip, "times": 1, "fault": fault});
        world.vendor.fault(rule);
    };
    match moment {
        Moment::BeforeTheEffect { calls } => hold(json!({"delay": HELD}), calls),
        Moment::AfterTheEffect { calls } => hold(json!({"delayAfter": HELD}), calls),
        Moment::AfterTheAnswer { .. } | Moment::AtAnyTime { .. } => {}
    }
    if let Some(answer) = step.answer() {
        let rule =
            json!({"method": "PUT", "path": "/tenant/*", "times": "unlimited", "fault": answer});
        world.vendor.fault(rule);
    }
}

/// Kills the operator when its moment has come.
fn kill(world: &World, what: &str, before: u64, moment: Moment, seeded: &mut Seeded) {
    let calls_at_least = |count: u64| {
        world.eventually(&format!("{what}: a call"), SOON, || {
            let calls = world.vendor.calls_since(before).len();
            if calls as u64 >= count {
                Ok(())
            } else {
                Err(calls)
            }
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
        }
        Moment::AfterTheEffect { calls } => calls_at_least(calls + 1),
        Moment::AfterTheAnswer { within } => {
            calls_at_least(1);
            seeded.pass(within);
        }
        Moment::AtAnyTime { within } => {
            for _ in 0..2 {
                seeded.pass(within);
                world.operator.kill9();
                world.operator.spawn();
            }
            seeded.pass(within);
        }
    }
    world.operator.kill9();
}

/// Waits for the end of a step, on whose way there is never a second tenant.
fn ends<S: Step>(world: &World, what: &str, step: S, name: &str) {
    world.eventually(what, SOON, || {
        let live = world.vendor.live();
        assert!(live.len() <= 1, "{what}: twins: {live:#?}");
        if step.is_done(world, name, &live) {
            return Ok(());
        }
        let object = world.find("Subscription", name).unwrap_or_default();
        let (ready, said) = (standing(&object, "Ready"), message(&object, "Ready"));
        Err(format!("{ready} {said:?} {live:?}"))
    });
}
