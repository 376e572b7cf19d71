//! End to end: what the project promises, on a real control plane with a real vendor.

mod charts;
mod connection;
mod costs;
mod deletion;
mod dependencies;
mod drift;
mod election;
mod faults;
mod gitops;
mod identity;
mod lifecycle;
mod parameters;
mod provisioning;
mod security;
mod unknown;
mod waiting;
