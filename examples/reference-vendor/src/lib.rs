//! A small SaaS vendor that implements the tenant API completely.
//!
//! It is the example for vendors of how the API is implemented, and the server that the operator
//! is tested against: slow, asynchronous or broken on request, and with a memory of every call.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vendor = reference_vendor::start(reference_vendor::Config::default()).await?;
//! println!("{}/tenant", vendor.url());
//! vendor.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Read `desk.rs` first: it holds the seven operations. `idempotency.rs` is what lets a create be sent
//! again; `decision.rs` is fulfilment, what becomes of a request that is not done at once; `store.rs`
//! is what is kept and how; `api.rs` and `vendor.rs` are the way of a call from the socket to the desk
//! and back, and `dialect/` is what the API looks like on that way. The rest serves tests and people:
//! `faults/`, `defects.rs`, `admin.rs`, `page.rs`.

mod admin;
mod answer;
mod api;
mod behavior;
mod call;
mod callbacks;
mod config;
mod decision;
mod defects;
mod desk;
mod dialect;
mod disk;
mod faults;
mod idempotency;
mod limit;
mod oauth;
mod page;
mod server;
mod store;
mod tenant;
mod vendor;
mod wait;

pub use behavior::{
    AcceptedStatus, After, Behavior, Mode, Operations, Outcome, Plan, Refuse, WhileBusy,
};
pub use callbacks::{CallbackProof, Callbacks};
pub use config::{Auth, Config, Identity, Tls};
pub use defects::Defect;
pub use dialect::Dialect;
pub use faults::{Fault, Reply, Rule, Times, Unlimited};
pub use server::{Running, StartError, start};
pub use store::StoreError;
pub use wait::Wait;
