//! Two active replicas, leader kills, paused processes, partitions, rollouts: on a real API server,
//! with the real vendor and the real binary under the chart's rights.
//!
//! After each, every Subscription is Ready and has one live tenant, and the vendor's log shows that
//! there never was a second. In mode `None` somebody answers what a create that was under way has come
//! to, as the promise has it there.
#![expect(
    clippy::unwrap_used,
    reason = "a case fails by panicking; run counts it"
)]

mod cases;
mod fleet;
mod proxy;
mod times;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fulfillment_crds::IdentityMode;

pub use cases::{Case, Reach};
pub use times::Times;

use crate::{Size, Tally};

/// In none of them is anything left out.
const MODES: [IdentityMode; 4] = [
    IdentityMode::ExternalId,
    IdentityMode::IdempotencyKey,
    IdentityMode::Lookup,
    IdentityMode::None,
];

/// Runs this part, or the cases that have a word in their line.
pub fn run(size: Size, only: Option<&str>) -> Tally {
    let all = cases(size);
    let selected = |line: &str| only.is_none_or(|word| line.contains(word));
    let mut tally = Tally::default();
    for (what, mode, case, reach) in all.iter().filter(|(line, ..)| selected(line)) {
        // Whatever it starts is ended when it unwinds; nothing is looked at afterwards.
        let ended = catch_unwind(AssertUnwindSafe(|| case.run(*mode, *reach)));
        tally.count(ended.is_ok());
        match ended {
            Ok(times) => say(&format!("ok      {what}{}", seen(&times))),
            // What it said is on standard error already.
            Err(_) => say(&format!("FAILED  {what}")),
        }
    }
    if let (
        Tally {
            passed: 0,
            failed: 0,
        },
        Some(word),
    ) = (tally, only)
    {
        let lines: Vec<&str> = all.iter().map(|(line, ..)| line.as_str()).collect();
        say(&format!(
            "--only: {word:?} is in none of\n{}",
            lines.join("\n")
        ));
    }
    tally
}

/// Every case of that size in every mode, with its line.
fn cases(size: Size) -> Vec<(String, IdentityMode, Case, Reach)> {
    let in_mode = |mode| {
        let cases = Case::ALL.into_iter();
        cases.filter_map(move |case| {
            let reach = case.reach(size)?;
            Some((format!("{mode:?}: {case}, {reach}"), mode, case, reach))
        })
    };
    MODES.into_iter().flat_map(in_mode).collect()
}

fn seen(times: &Times) -> String {
    let taken_over = match times.is_empty() {
        true => String::new(),
        false => format!("; taken over after {times}"),
    };
    match times.asked {
        0 => taken_over,
        asked => format!("{taken_over}; {asked} held for a person, who answered"),
    }
}

#[expect(clippy::print_stdout, reason = "the output is what it is run for")]
fn say(line: &str) {
    println!("{line}");
}
