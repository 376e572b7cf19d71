//! The crash matrix: one fault at each call to either side, over the scenarios, on a real
//! kube-apiserver and etcd.
//!
//! A calm run of a scenario tells which calls there are; then each of them is disturbed in every
//! way, one cell for each, and the cell must end as the mode promises: converged, with one tenant or
//! none, nothing left behind, and a log at the vendor that [`e2e::history`] finds no fault with.
//! [`spot`] says which calls are numbered, and [`fault`] what is done to them.
#![expect(clippy::print_stdout, reason = "the output is what it is run for")]

mod cell;
mod cluster;
mod fault;
mod lane;
mod mode;
mod proxy;
mod scenario;
mod script;
mod spot;
mod stage;
mod table;

use crate::{Size, Tally};
use cell::{Outcome, Plot};
use control_plane::ControlPlane;
use fault::Fault;
use lane::Lane;
use mode::Mode;
use scenario::Scenario;
use script::Target;
use spot::Spot;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};
use tokio::runtime::Runtime;

/// About how many cells the sample has.
const SAMPLE: usize = 40;

/// How many cells run at a time: most of a cell's time is spent waiting.
fn lanes(size: Size) -> usize {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    match size {
        // Each lane costs a second to start.
        Size::Sample => 2 * cores,
        Size::Thorough => 4 * cores,
    }
}

/// Runs the matrix, prints it, and says how many cells ended as promised.
pub fn run(size: Size) -> Tally {
    match matrix(size) {
        Ok(tally) => tally,
        Err(why) => {
            println!("the matrix cannot be run: {why}");
            Tally {
                passed: 0,
                failed: 1,
            }
        }
    }
}

fn matrix(size: Size) -> Result<Tally, String> {
    let began = Instant::now();
    // A second call would only say that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    // Before the lanes, which share it.
    ControlPlane::shared();
    let lanes = thread::scope(|scope| {
        let start = || Lane::start(runtime.handle());
        let starting: Vec<_> = (0..lanes(size)).map(|_| scope.spawn(start)).collect();
        let started = starting.into_iter().map(|lane| lane.join());
        started
            .map(|lane| lane.map_err(|_| "a lane panicked".to_owned())?)
            .collect::<Result<Vec<Lane>, String>>()
    })?;

    let calm = each(&lanes, &calm_plots());
    let mut tally = Tally::default();
    let mut spots = Vec::new();
    for (plot, run) in calm {
        let promised = match plot.scenario.holds(plot.mode) {
            true => Outcome::Held,
            false => Outcome::Ok,
        };
        tally.count(run.outcome == promised);
        if run.outcome != promised {
            println!("FAIL {}: {:?}", plot.describe(), run.outcome);
        }
        spots.push((plot.mode, plot.scenario, run.calls));
    }

    let all = plots(&spots);
    let chosen = match size {
        Size::Thorough => all.clone(),
        Size::Sample => spread(&all),
    };
    let results: Vec<(Plot, Outcome)> = each(&lanes, &chosen)
        .into_iter()
        .map(|(plot, run)| (plot, run.outcome))
        .collect();
    println!("{}", table::table(&spots, &results));
    let mut held = 0;
    for (plot, outcome) in &results {
        tally.count(!matches!(outcome, Outcome::Failed(_)));
        match outcome {
            Outcome::Ok => {}
            Outcome::Held => held += 1,
            Outcome::Failed(why) => println!("FAIL {}: {why}", plot.describe()),
        }
    }
    println!(
        "{} of {} cells and {} calm runs, {held} held, {} at a time, {:.0?}",
        results.len(),
        all.len(),
        spots.len(),
        lanes.len(),
        began.elapsed(),
    );
    Ok(tally)
}

fn calm_plots() -> Vec<Plot> {
    let of = |mode| {
        Scenario::ALL.map(|scenario| Plot {
            mode,
            scenario,
            target: None,
        })
    };
    Mode::ALL.into_iter().flat_map(of).collect()
}

/// A cell for each call and fault.
fn plots(spots: &[(Mode, Scenario, Vec<Spot>)]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (mode, scenario, calls) in spots {
        for spot in calls {
            let faults = Fault::ALL.iter();
            let faults = faults.filter(|fault| fault.left_out(*mode, spot).is_none());
            plots.extend(faults.map(|fault| Plot {
                mode: *mode,
                scenario: *scenario,
                target: Some(Target {
                    spot: spot.clone(),
                    fault: *fault,
                }),
            }));
        }
    }
    plots
}

/// The same few of the same cells each time, over all scenarios, calls and faults.
fn spread(all: &[Plot]) -> Vec<Plot> {
    let step = (all.len() / SAMPLE).max(1);
    // Not in step with the faults, or some would never be met.
    let step = (step..).find(|step| step % 2 == 1 && step % 5 != 0);
    all.iter().step_by(step.unwrap_or(1)).cloned().collect()
}

/// Runs cells on all lanes, the slow ones first; the results are in the cells' order.
fn each(lanes: &[Lane], plots: &[Plot]) -> Vec<(Plot, cell::Run)> {
    let mut order: Vec<usize> = (0..plots.len()).collect();
    order.sort_by_key(|index| plots.get(*index).is_none_or(|plot| !plot.is_slow()));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(|| {
                while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(plot) = plots.get(*index) else {
                        continue;
                    };
                    let run = cell::run(lane, plot);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((*index, plot.clone(), run));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _, _)| *index);
    done.into_iter().map(|(_, plot, run)| (plot, run)).collect()
}
