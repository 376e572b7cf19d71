//! The operator: it drives each vendor's tenant API until the vendor's side is as declared.
//!
//! One law: **observe (I/O) → plan (pure) → act (I/O, at most one vendor mutation) → report (pure)
//! → write status (I/O)**. [`reconcile`] is its table of contents. A crash at any point looks like
//! a late pass; the promise that there is never a second tenant rests on [`plan`] and on the two
//! compare-and-swap writes in [`kubernetes`], not on timing and not on leader election.

pub mod act;
pub mod admin;
pub mod callback;
pub mod check;
pub mod claims;
pub mod config;
pub mod connection;
pub mod controller;
pub mod credentials;
pub mod drift;
pub mod events;
pub mod facts;
pub mod form;
pub mod identity;
pub mod inputs;
pub mod kinds;
pub mod kubernetes;
pub mod lease;
pub mod ledger;
pub mod link;
pub mod metrics;
pub mod object;
pub mod observe;
pub mod outputs;
pub mod pace;
pub mod passes;
pub mod plan;
pub mod product;
pub mod queues;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod scope;
pub mod standby;
pub mod startup;
pub mod status;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tier;
pub mod tombstones;
pub mod vendor;
pub mod watches;
