//! A real Kubernetes API server for tests and the quickstart: no container runtime, no cluster, no
//! download of binaries.
//!
//! [`Assets`] finds kube-apiserver, etcd and kubectl, or builds them once from the Go module proxy
//! into the target directory. [`ControlPlane`] runs them on the loopback interface, with RBAC, TLS
//! that clients verify, and working ServiceAccount tokens, and leaves nothing behind, however the
//! process that started it ends.
//!
//! ```no_run
//! # fn main() -> Result<(), control_plane::Error> {
//! let assets = control_plane::Assets::find_or_build()?;
//! let control_plane = control_plane::ControlPlane::start(&assets)?;
//! println!("export KUBECONFIG={}", control_plane.admin_kubeconfig().display());
//! # Ok(())
//! # }
//! ```
//!
//! Three environment variables matter: `KUBEBUILDER_ASSETS` names a directory of ready-made
//! binaries (the convention of setup-envtest), `CARGO_TARGET_DIR` moves what is built and run, and
//! `KEEP_CONTROL_PLANE=1` keeps the directory of a run, with its logs, for a look afterwards.

mod assets;
mod control_plane;
mod error;
mod kubeconfig;
mod pki;
mod probe;
mod process;
mod run_dir;
mod sys;

pub use assets::Assets;
pub use control_plane::ControlPlane;
pub use error::Error;
pub use process::{pause, resume, spawn_bound, terminate};
pub use sys::interrupted;
