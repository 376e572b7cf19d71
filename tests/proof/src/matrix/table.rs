//! The matrix as a table.

use super::{
    cell::{Outcome, Plot},
    fault::Fault,
    mode::Mode,
    scenario::Scenario,
    spot::Spot,
};
use std::fmt::Write as _;

/// The matrix: which calls there are, and what became of the cells that were run.
pub(super) fn table(spots: &[(Mode, Scenario, Vec<Spot>)], results: &[(Plot, Outcome)]) -> String {
    let mut text = String::new();
    for (mode, scenario, calls) in spots {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n{}, {}", mode.name(), scenario.name());
        let heads = Fault::ALL.map(|fault| format!("{:>6}", fault.name()));
        let _ = writeln!(text, "  {:<40}{}", "", heads.concat());
        for (k, spot) in calls.iter().enumerate() {
            let cells = Fault::ALL.map(|fault| {
                let word = word(*mode, *scenario, spot, fault, results);
                format!("{word:>6}")
            });
            let call = format!("{:>2} {spot}", k + 1);
            let _ = writeln!(text, "  {call:<40}{}", cells.concat());
        }
    }
    let _ = writeln!(text, "\n{}.", Fault::LEGEND);
    let _ = writeln!(
        text,
        "ok: as promised; held: as promised, by a question to a person; x: left out; blank: not run."
    );
    for (mode, _, calls) in spots {
        let why = calls.iter().find_map(|spot| {
            let mut faults = Fault::ALL.iter();
            faults.find_map(|fault| fault.left_out(*mode, spot))
        });
        if let Some(why) = why {
            let _ = writeln!(text, "x, {}: {why}.", mode.name());
            break;
        }
    }
    text
}

fn word(
    mode: Mode,
    scenario: Scenario,
    spot: &Spot,
    fault: Fault,
    results: &[(Plot, Outcome)],
) -> &'static str {
    if fault.left_out(mode, spot).is_some() {
        return "x";
    }
    let here = |plot: &Plot| {
        let target = plot.target.as_ref();
        plot.mode == mode
            && plot.scenario == scenario
            && target.is_some_and(|target| target.spot == *spot && target.fault == fault)
    };
    match results.iter().find(|(plot, _)| here(plot)) {
        Some((_, Outcome::Ok)) => "ok",
        Some((_, Outcome::Held)) => "held",
        Some((_, Outcome::Failed(_))) => "FAIL",
        None => "",
    }
}
