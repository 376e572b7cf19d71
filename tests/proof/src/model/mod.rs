//! The model check of the shipped planner and protocol types.
//!
//! Two controllers act on one object at an API server and on a vendor, with nothing between but the
//! shipped decision code ([`fulfillment_operator::plan`], [`fulfillment_operator::ledger`] and
//! [`fulfillment_operator::report`]). Everything that can go wrong does, at every point, within
//! bounds: see [`scenario`]. Assumptions A1 and A2 of the protocol are taken as true: nothing that
//! is older than the settle time lands.
#![expect(clippy::print_stdout, reason = "the output is what it is run for")]

mod canonical;
mod check;
mod controller;
mod explore;
mod graph;
mod known;
mod mutant;
mod names;
mod promise;
mod scenario;
mod store;
mod user;
mod vendor;
mod world;

use std::time::Instant;

use crate::{Size, Tally};
use explore::{Found, explore};

/// Runs this part.
pub fn run(size: Size) -> Tally {
    let mut tally = Tally::default();
    let mut states = 0;
    for mode in scenario::MODES {
        for scenario in scenario::scenarios(mode, size) {
            let began = Instant::now();
            let found = explore(scenario);
            states += found.states;
            println!(
                "{:?} ({}): {} states, {} transitions, depth {}, {} good ends, {:.1} s: {}",
                mode,
                scenario.name,
                found.states,
                found.transitions,
                found.depth,
                found.ends,
                began.elapsed().as_secs_f64(),
                found.verdict(),
            );
            tally.count(found.against.is_none());
            print_way(&found);
        }
    }
    println!("{states} states in all");
    for mutant in mutant::ALL {
        let Some(scenario) = mutant::habitat(mutant) else {
            println!("mutant {mutant:?}: no world to run it in");
            tally.count(false);
            continue;
        };
        let found = explore(scenario);
        println!(
            "mutant {mutant:?} in {:?} ({}): {}",
            scenario.mode,
            scenario.name,
            found.verdict(),
        );
        tally.count(found.against.is_some());
    }
    tally
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
