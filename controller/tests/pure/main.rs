//! The pure parts: planner, ledger and report, with no client and no clock.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and speaks of the cases it is about"
)]

mod argocd;
mod guard;
mod identity;
mod late;
mod model;
mod planner;
mod report;
mod told;
