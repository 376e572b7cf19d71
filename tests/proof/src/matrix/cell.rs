//! One cell: a scenario with one fault, and how it ends.

use super::{
    fault::Fault,
    lane::Lane,
    script::Target,
    setting::Scene,
    spot::Spot,
    stage::{Promise, Stage},
};
use e2e::history::Twins;
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

/// How often a cell is run whose call does not come: whether it does hangs on what happened just
/// before.
const TRIES: usize = 3;
/// The same, where it does not come always.
const TRIES_BY_CHANCE: usize = 6;
/// How many lines of the operator's log go with a failure.
const LINES: usize = 40;

/// A scenario, and what goes wrong in it.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) scene: Scene,
    /// Nothing, to learn the calls.
    pub(super) target: Option<Target>,
    /// A call that does not come is a failure: it came whenever nothing went wrong.
    pub(super) must_come: bool,
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As promised.
    Ok,
    /// As promised, after a person was asked.
    Held,
    /// The call, which comes by chance, did not come.
    Absent,
    /// Not as promised.
    Failed(String),
}

impl Outcome {
    pub(super) fn is_as_promised(&self) -> bool {
        match self {
            Self::Ok | Self::Held => true,
            Self::Absent | Self::Failed(_) => false,
        }
    }
}

/// What a run of a cell brought.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) outcome: Outcome,
    /// The numbered calls, in their order.
    pub(super) calls: Vec<Spot>,
}

/// Runs a cell, again where its call does not come.
pub(super) fn run(lane: &Lane, plot: &Plot) -> Run {
    let tries = if plot.must_come {
        TRIES
    } else {
        TRIES_BY_CHANCE
    };
    for _ in 0..tries {
        let result = catch_unwind(AssertUnwindSafe(|| once(lane, plot)));
        let (run, met) = result.unwrap_or_else(|_| (failed("the harness panicked"), true));
        if let Outcome::Failed(_) = run.outcome {
            // Whatever state it is in, the next cell begins with another process.
            lane.up();
            return run;
        }
        if met {
            return run;
        }
    }
    if plot.must_come {
        return failed("the call did not come");
    }
    Run {
        outcome: Outcome::Absent,
        calls: Vec::new(),
    }
}

fn once(lane: &Lane, plot: &Plot) -> (Run, bool) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    let name = format!("c{:05}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let logged = lane.log().len();
    let Scene { setting, scenario } = plot.scene;
    let stage = match Stage::set(lane, setting, &name, plot.promise()) {
        Ok(stage) => stage,
        Err(why) => return (failed(&why), true),
    };
    let prepared = scenario.prepare(&stage);
    lane.script.arm(plot.target.clone());
    let played = prepared.and_then(|()| scenario.play(&stage));
    let (calls, met) = lane.script.disarm();
    let met = met || plot.target.is_none();
    let outcome = match played.and_then(|()| stage.strike()) {
        Ok(()) if stage.was_held() => Outcome::Held,
        Ok(()) if met && plot.must_hold() => {
            Outcome::Failed(explain(lane, &stage, logged, "nobody was asked"))
        }
        Ok(()) => Outcome::Ok,
        Err(why) => Outcome::Failed(explain(lane, &stage, logged, &why)),
    };
    (Run { outcome, calls }, met)
}

fn failed(why: &str) -> Run {
    Run {
        outcome: Outcome::Failed(why.to_owned()),
        calls: Vec::new(),
    }
}

/// Why a cell failed, with what both sides say of it.
fn explain(lane: &Lane, stage: &Stage<'_>, logged: usize, why: &str) -> String {
    let calls = stage.calls().unwrap_or_default();
    let calls = calls
        .iter()
        .map(|call| format!("  vendor: {}", call.brief()));
    let log = lane.log();
    let log: Vec<&str> = log.get(logged..).unwrap_or_default().lines().collect();
    let log = log
        .get(log.len().saturating_sub(LINES)..)
        .unwrap_or_default();
    let log = log.iter().map(|line| format!("  operator: {line}"));
    let lines: Vec<String> = calls.chain(log).collect();
    format!("{why} (in {})\n{}", stage.name, lines.join("\n"))
}

impl Plot {
    fn promise(&self) -> Promise {
        let Scene { setting, scenario } = self.scene;
        match &self.target {
            Some(Target { spot, fault }) => Promise {
                may_hold: fault.may_hold(setting.mode, scenario, spot),
                twins: fault.twins(setting.mode, spot),
            },
            None => Promise {
                may_hold: self.scene.holds(),
                twins: Twins::Never,
            },
        }
    }

    /// Whether a person must have been asked.
    fn must_hold(&self) -> bool {
        let Scene { setting, scenario } = self.scene;
        match &self.target {
            Some(Target { spot, fault }) => fault.must_hold(setting.mode, scenario, spot),
            None => self.scene.holds(),
        }
    }

    /// Whether it waits for long.
    pub(super) fn is_slow(&self) -> bool {
        self.target
            .as_ref()
            .is_some_and(|target| target.fault == Fault::Delay)
    }
}

/// In a line.
impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scene = self.scene;
        match &self.target {
            Some(Target { spot, fault }) => write!(f, "{scene}: {spot}: {}", fault.name()),
            None => write!(f, "{scene}: calm"),
        }
    }
}
