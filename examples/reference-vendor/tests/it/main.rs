//! The reference vendor over real HTTP, each test on a port of its own.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic, in what tests share too"
)]

mod admin;
mod api;
mod asynchrony;
mod contract;
mod dialects;
mod faults;
mod identity;
mod oauth;
mod page;
mod persistence;
mod support;
mod tls;
