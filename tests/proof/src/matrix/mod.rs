//! The crash matrix: one fault at each call to either side, over the scenarios, on a real
//! kube-apiserver and etcd.
//!
//! A calm run of a scenario tells which calls there are; then each of them is disturbed in every
//! way, one cell for each, and the cell must end as the mode promises: converged, with one tenant or
//! none, nothing left behind, and a log at the vendor that [`e2e::history`] finds no fault with.
//! `spot.rs` says which calls are numbered, and `fault.rs` what is done to them.
#![expect(clippy::print_stdout, reason = "the output is what it is run for")]

mod acts;
mod cell;
mod cluster;
mod fault;
mod lane;
mod mode;
mod proxy;
mod scenario;
mod script;
mod setting;
mod spot;
mod stage;
mod table;

use crate::{Size, Tally};
use cell::{Outcome, Plot};
use control_plane::ControlPlane;
use lane::Lane;
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
const SAMPLE: usize = 32;

/// How many cells run at a time: most of a cell's time is spent waiting.
fn lanes(size: Size) -> usize {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    match size {
        // Each lane costs a second to start.
        Size::Sample => 2 * cores,
        Size::Thorough => 6 * cores,
    }
}

/// How often the calm runs are repeated: a call that comes in one and not in another comes by chance.
fn calm_runs(size: Size) -> usize {
    match size {
        Size::Sample => 1,
        Size::Thorough => 4,
    }
}

/// Runs the matrix, or the cells that have a word in their line; prints it, and says how many cells
/// ended as promised.
pub fn run(size: Size, only: Option<&str>) -> Tally {
    match matrix(size, only) {
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

fn matrix(size: Size, only: Option<&str>) -> Result<Tally, String> {
    let began = Instant::now();
    // A second call would only say that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let lanes = start(size, &runtime)?;

    let times = calm_runs(size);
    let calm = each(&lanes, &acts::calm(&acts::scenes(only), times));
    let acts = acts::learn(&calm);
    let all = acts::select(acts::cells(&acts, times), only)?;
    let mut tally = Tally::default();
    for (_, run) in &calm {
        tally.count(run.outcome.is_as_promised());
    }
    if let Some(lane) = lanes.first() {
        tally.count(sees_twins(lane));
    }

    let chosen = match size {
        Size::Thorough => all.clone(),
        Size::Sample => acts::spread(&all, SAMPLE),
    };
    let results: Vec<(Plot, Outcome)> = each(&lanes, &chosen)
        .into_iter()
        .map(|(plot, run)| (plot, run.outcome))
        .collect();
    println!("{}", table::table(&acts, &results));
    let (mut held, mut absent) = (0, 0);
    for (_, outcome) in &results {
        held += usize::from(*outcome == Outcome::Held);
        // Neither passed nor failed: what it is about was not seen.
        match outcome {
            Outcome::Absent => absent += 1,
            Outcome::Ok | Outcome::Held | Outcome::Failed(_) => {
                tally.count(outcome.is_as_promised());
            }
        }
    }
    for call in acts::never_met(&acts, &results) {
        println!("FAIL {call}");
        tally.count(false);
    }
    println!(
        "{} of {} cells ({held} held; besides those passed and failed, {absent} whose call did not \
         come again) and {} calm runs, {} at a time, {:.0?}",
        results.len(),
        all.len(),
        calm.len(),
        lanes.len(),
        began.elapsed(),
    );
    Ok(tally)
}

fn start(size: Size, runtime: &Runtime) -> Result<Vec<Lane>, String> {
    // Before the lanes, which share it.
    ControlPlane::shared();
    thread::scope(|scope| {
        let start = || Lane::start(runtime.handle());
        let starting: Vec<_> = (0..lanes(size)).map(|_| scope.spawn(start)).collect();
        let started = starting.into_iter().map(|lane| lane.join());
        started
            .map(|lane| lane.map_err(|_| "a lane panicked".to_owned())?)
            .collect()
    })
}

/// Whether the two tenants of the control are seen; says so if they are not.
fn sees_twins(lane: &Lane) -> bool {
    let run = cell::run(lane, &acts::control());
    let seen = matches!(&run.outcome, Outcome::Failed(why) if why.starts_with("two tenants"));
    if !seen {
        println!("FAIL the two tenants of the control were not seen: {run:?}");
    }
    seen
}

/// Runs cells on all lanes; the results are in the cells' order.
fn each(lanes: &[Lane], plots: &[Plot]) -> Vec<(Plot, cell::Run)> {
    let mut order: Vec<usize> = (0..plots.len()).collect();
    if plots.len() < 10 * lanes.len() {
        // Where they are few, the slow ones first, so that none is left alone at the end. Where they
        // are many, the others have the machine while these wait.
        order.sort_by_key(|index| plots.get(*index).is_none_or(|plot| !plot.is_slow()));
    }
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
                    if let Outcome::Failed(why) = &run.outcome {
                        // At once: the rest may take an hour.
                        println!("FAIL {plot}: {why}");
                    }
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
