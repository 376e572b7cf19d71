//! End to end: what the project promises, on a real control plane with a real vendor.

mod certificates;
mod charts;
mod connection;
mod costs;
mod crash;
mod deletion;
mod dependencies;
mod drift;
mod election;
mod examples;
mod faults;
mod gitops;
mod guards;
mod hazards;
mod identity;
mod lifecycle;
mod modes;
mod oauth;
mod parameters;
mod provisioning;
mod regressions;
mod rotation;
mod scale;
mod security;
mod unknown;
mod waiting;
