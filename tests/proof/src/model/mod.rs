//! The model check of the shipped planner and protocol types.
//!
//! Two controllers act on one object at an API server and on a vendor, with nothing between but the
//! shipped decision code ([`fulfillment_operator::plan`], [`fulfillment_operator::ledger`] and
//! [`fulfillment_operator::report`]). Everything that can go wrong does, at every point, within
//! bounds: see `scenario.rs`. Assumptions A1 and A2 of the protocol are taken as true: nothing that
//! is older than the settle time lands.
#![expect(clippy::print_stdout, reason = "the output is what it is run for")]

mod action;
mod canonical;
mod check;
mod controller;
mod explore;
mod graph;
mod known;
mod mutant;
mod names;
mod patches;
mod policies;
mod promise;
mod scenario;
mod store;
mod sweep;
mod user;
mod vendor;
mod world;

use std::time::Instant;

use crate::{Size, Tally};
use explore::{Found, explore};
use scenario::Scenario;

/// Runs this part.
pub fn run(size: Size) -> Tally {
    let mut tally = Tally::default();
    let mut states = 0;
    let mut unfit = Vec::new();
    for mode in scenario::MODES {
        for scenario in scenario::scenarios(mode, size) {
            let failed = tally.failed;
            states += shipped(scenario, &mut tally);
            if tally.failed > failed {
                unfit.push((scenario.mode, scenario.name));
            }
        }
    }
    println!("{states} states in all");
    for mutant in mutant::ALL {
        let Some(scenario) = mutant::habitat(mutant) else {
            println!("mutant {mutant:?}: no world to run it in");
            tally.count(false);
            continue;
        };
        // What is seen there proves nothing.
        if unfit.contains(&(scenario.mode, scenario.name)) {
            println!(
                "mutant {mutant:?}: {:?} ({}) breaks a promise without it too",
                scenario.mode, scenario.name
            );
            tally.count(false);
            continue;
        }
        let found = explore(scenario);
        println!(
            "mutant {mutant:?} in {:?} ({}): {}",
            scenario.mode,
            scenario.name,
            found.verdict(),
        );
        tally.count(found.against.is_some());
    }
    if size == Size::Thorough {
        patches::run(&mut tally);
    }
    tally
}

/// Explores the shipped planner in these worlds, or in those of the sample where none is named,
/// until it breaks a promise. `None` where there is no such world.
pub fn worlds(names: &[&str]) -> Option<Tally> {
    let worlds = if names.is_empty() {
        let sample = |mode| scenario::scenarios(mode, Size::Sample);
        scenario::MODES.into_iter().flat_map(sample).collect()
    } else {
        let worlds = names.iter().map(|name| named(name));
        worlds.collect::<Option<Vec<_>>>()?
    };
    let mut tally = Tally::default();
    for scenario in worlds {
        shipped(scenario, &mut tally);
        if tally.failed > 0 {
            break;
        }
    }
    Some(tally)
}

/// The world that goes by this name: `None: refusals, an edit`.
fn named(world: &str) -> Option<Scenario> {
    let (mode, name) = world.split_once(": ")?;
    let mode = scenario::MODES
        .into_iter()
        .find(|known| format!("{known:?}") == mode)?;
    scenario::scenarios(mode, Size::Thorough)
        .into_iter()
        .find(|scenario| scenario.name == name)
}

/// Explores a world as it is shipped, and says how many states it has.
fn shipped(scenario: Scenario, tally: &mut Tally) -> usize {
    let began = Instant::now();
    let found = explore(scenario);
    println!(
        "{:?} ({}): {} states{}, {} transitions, depth {}, {} good ends, {:.1} s: {}",
        scenario.mode,
        scenario.name,
        found.states,
        if found.bounded { ", bounded" } else { "" },
        found.transitions,
        found.depth,
        found.ends,
        began.elapsed().as_secs_f64(),
        found.verdict(),
    );
    tally.count(found.against.is_none());
    print_way(&found);
    found.states
}

fn print_way(found: &Found) {
    let Some((_, way)) = &found.against else {
        return;
    };
    for (nth, action) in way.iter().enumerate() {
        println!("  {:2}. {action}", nth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_protocol_holds_and_every_mutant_is_caught() {
        let tally = run(Size::Sample);
        assert_eq!(tally.failed, 0);
        assert!(tally.passed > mutant::ALL.len());
    }
}
