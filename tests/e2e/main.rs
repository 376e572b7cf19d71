//! End to end: what the project promises, on a real control plane with a real vendor.

mod charts;
mod connection;
mod costs;
mod deletion;
mod dependencies;
mod drift;
mod faults;
mod gitops;
mod identity;
mod lifecycle;
mod modes;
mod parameters;
mod provisioning;
mod security;
mod unknown;
mod waiting;
