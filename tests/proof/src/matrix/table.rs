//! The matrix as a table.

use super::{
    acts::Act,
    cell::{Outcome, Plot},
    fault::Fault,
    spot::Spot,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// The matrix: which calls there are, and what became of the cells that were run.
pub(super) fn table(acts: &[Act], results: &[(Plot, Outcome)]) -> String {
    let mut text = String::new();
    for act in acts {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n{}", act.scene);
        let heads = Fault::ALL.map(|fault| format!("{:>6}", fault.name()));
        let _ = writeln!(text, "  {:<40}{}", "", heads.concat());
        for (k, known) in act.calls.iter().enumerate() {
            let spot = &known.spot;
            let cells = Fault::ALL.map(|fault| {
                let word = word(act, spot, fault, results);
                format!("{word:>6}")
            });
            let call = format!("{:>2} {spot}", k + 1);
            let _ = writeln!(text, "  {call:<40}{}", cells.concat());
        }
    }
    let _ = writeln!(text, "\n{}.", Fault::LEGEND);
    let _ = writeln!(
        text,
        "ok: as promised; held: as promised, by a question to a person; x: left out; ~: the \
         call comes by chance and did not come; blank: not run."
    );
    let left_out: BTreeSet<_> = acts.iter().filter_map(left_out).collect();
    for (mode, why) in left_out {
        let _ = writeln!(text, "x, {mode}: {why}.");
    }
    text
}

/// Of an act with cells that are left out: the mode, and why.
fn left_out(act: &Act) -> Option<(&'static str, &'static str)> {
    let mode = act.scene.setting.mode;
    let of = |spot: &Spot| {
        Fault::ALL
            .iter()
            .find_map(|fault| fault.left_out(mode, spot))
    };
    let why = act.calls.iter().find_map(|known| of(&known.spot))?;
    Some((mode.name(), why))
}

fn word(act: &Act, spot: &Spot, fault: Fault, results: &[(Plot, Outcome)]) -> &'static str {
    if fault.left_out(act.scene.setting.mode, spot).is_some() {
        return "x";
    }
    let here = |plot: &Plot| {
        let target = plot.target.as_ref();
        plot.scene == act.scene
            && target.is_some_and(|target| target.spot == *spot && target.fault == fault)
    };
    match results.iter().find(|(plot, _)| here(plot)) {
        Some((_, Outcome::Ok)) => "ok",
        Some((_, Outcome::Held)) => "held",
        Some((_, Outcome::Absent)) => "~",
        Some((_, Outcome::Failed(_))) => "FAIL",
        None => "",
    }
}
