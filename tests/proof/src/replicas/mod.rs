//! Two active replicas, leader kills, paused processes, partitions, rollouts: on a real API server,
//! with the real vendor and the real binary under the chart's rights.
//!
//! After each, every Subscription is Ready and has one live tenant, and the vendor's log shows that
//! there never was a second.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
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

/// The modes in which a Subscription never needs a person, whatever replicas do.
const MODES: [IdentityMode; 3] = [
    IdentityMode::ExternalId,
    IdentityMode::IdempotencyKey,
    IdentityMode::Lookup,
];

/// Runs this part.
pub fn run(size: Size) -> Tally {
    let mut tally = Tally::default();
    for mode in MODES {
        for case in Case::ALL {
            let Some(reach) = case.reach(size) else {
                continue;
            };
            // Whatever it starts is ended when it unwinds; nothing is looked at afterwards.
            let ended = catch_unwind(AssertUnwindSafe(|| case.run(mode, reach)));
            tally.count(ended.is_ok());
            let what = format!("{mode:?}: {case}, {reach}");
            match ended {
                Ok(times) => say(&format!("ok      {what}{}", seen(&times))),
                // What it said is on standard error already.
                Err(_) => say(&format!("FAILED  {what}")),
            }
        }
    }
    tally
}

fn seen(times: &Times) -> String {
    if times.is_empty() {
        String::new()
    } else {
        format!("; taken over after {times}")
    }
}

#[expect(clippy::print_stdout, reason = "the output is what it is run for")]
fn say(line: &str) {
    println!("{line}");
}
