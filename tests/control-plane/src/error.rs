//! What can go wrong, in words that tell the reader what to do.
//!
//! The messages are whole: they quote their causes, since they mostly end up in a test's panic.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why the control plane could not be found, built, started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `KUBEBUILDER_ASSETS` is set, but what it promises is not there.
    #[error(
        "KUBEBUILDER_ASSETS is set to {dir}, which holds no {name}; unset it to have {name} built",
        dir = dir.display()
    )]
    MissingAsset {
        /// The variable's value.
        dir: PathBuf,
        /// The file that is missing.
        name: &'static str,
    },

    /// `go build` failed.
    #[error("cannot build {name} ({status}):\n{output}")]
    Build {
        /// The binary.
        name: &'static str,
        /// How `go build` ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },

    /// A part of the control plane ended by itself.
    #[error("{name} ended ({status}); the end of {log}:\n{tail}", log = log.display())]
    Exited {
        /// Which part.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// A part of the control plane is running but not ready within the time allowed.
    #[error(
        "{name} is not ready after {seconds} s (last answer: {answer}); the end of {log}:\n{tail}",
        log = log.display()
    )]
    NotReady {
        /// Which part.
        name: &'static str,
        /// The time allowed.
        seconds: u64,
        /// What the last readiness check said.
        answer: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// The keys or certificates could not be made.
    #[error("cannot make the control plane's certificates: {0}")]
    Certificates(rcgen::Error),

    /// The TLS client of the readiness checks could not be made.
    #[error("cannot set up TLS for the readiness checks: {0}")]
    Tls(rustls::Error),

    /// An operation on a file or process failed.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was being done.
        action: String,
        /// Why it failed.
        cause: io::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            action: action.into(),
            cause,
        }
    }
}
