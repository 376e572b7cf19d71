//! What end-to-end tests stand on: a real control plane, the real vendor, and the real operator with
//! exactly the rights its chart gives it.
//!
//! ```no_run
//! use e2e::{World, objects::standing};
//! use serde_json::json;
//!
//! let world = World::start();
//! world.subscribe("mail", json!({"limits": {"seats": 50}}));
//! let mail = world.ready("mail");
//! assert_eq!(standing(&mail, "Ready"), "True Active");
//! assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
//! ```
//!
//! A [`World`] is a namespace of the test's own on the control plane that all tests of the process
//! share, with a vendor, a connection `acme` with its Secret, and an operator that watches that
//! namespace alone, as the ServiceAccount of the rendered chart. [`World::builder`] says what is to
//! be otherwise: an own control plane, flags of operator and vendor, fields of the connection.
//!
//! * What a user does is done with kubectl: [`World::kubectl`], [`World::apply`],
//!   [`World::subscribe`], [`World::ready`]. What a test looks at is read over HTTP, which is quick:
//!   [`World::sub`], [`World::get`], [`World::list`], [`World::events`].
//! * Nothing sleeps: [`World::stands`], [`World::until`], [`World::event`] and
//!   [`World::eventually`] wait for a state and say the last one they saw if it does not come.
//! * [`Vendor`] steers the vendor and shows what it was asked; [`Operator`] kills, stops and starts
//!   the operator; [`costs::Meter`] counts what something cost; [`kstatus::status`] says what GitOps
//!   tools take an object for.
//! * At the end of every vendor its log is judged by [`history::check`], also where it speaks https or
//!   is down; what a test did behind the operator's back is taken into account.
//!
//! If a test panics, the end of its operator's log is printed. `KEEP_CONTROL_PLANE=1` keeps the
//! control plane's directory, in which all operators' logs are.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness fails by panicking"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "`json!({…})` reads better without a `&` at each call"
)]
#![expect(clippy::missing_panics_doc, reason = "it is how everything here fails")]

mod api;
pub mod binaries;
mod call;
pub mod costs;
pub mod examples;
pub mod flood;
pub mod history;
pub mod http;
pub mod kstatus;
pub mod objects;
mod operator;
pub mod orders;
pub mod ports;
mod seeded;
pub mod vendor;
mod world;

pub use control_plane::{Assets, ControlPlane};
pub use operator::Operator;
pub use ports::free_port;
pub use seeded::Seeded;
pub use vendor::Vendor;
pub use world::{Builder, SOON, World};

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// How often a state is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks again and again until the probe succeeds; its last error is in the panic's message
/// otherwise.
pub fn poll<T, E: Display>(what: &str, bound: Duration, probe: impl FnMut() -> Result<T, E>) -> T {
    poll_or(what, bound, probe, String::new)
}

fn poll_or<T, E: Display>(
    what: &str,
    bound: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
    explain: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + bound;
    loop {
        match probe() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => {
                panic!(
                    "not within {bound:?}: {what}; last seen: {last}\n{}",
                    explain()
                )
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// As much of the end of a log as is worth printing.
fn log_tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
