//! Builds what is missing, and shows that it is at it: on a fresh machine this takes minutes.

use crate::{screen::Screen, stop::Stop};
use control_plane::Assets;
use e2e::binaries::workspace;
use std::{
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// The variables in which cargo tells a program about its own package.
const OF_A_PACKAGE: [&str; 5] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
];

/// How often a build that says nothing is seen to be alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// The control plane, helm, and the programs of this workspace.
pub(crate) fn all(screen: &Screen) -> Result<(), Stop> {
    screen.heading("What it takes");
    let started = Instant::now();
    screen.say("the control plane, kubectl and helm: built once, from the Go module proxy");
    let alive = SignOfLife::start();
    Assets::find_or_build()
        .and_then(|assets| {
            assets.kube_controller_manager()?;
            assets.helm()
        })
        .map_err(|error| Stop::Broken(error.to_string()))?;
    drop(alive);
    screen.say("fulfillment-operator and reference-vendor: cargo build");
    cargo()?;
    let seconds = started.elapsed().as_secs_f64();
    screen.came_true(&format!("everything is built ({seconds:.1} s)"));
    Ok(())
}

/// What the harness does as well, so that it finds it done; but with cargo's progress on the screen.
fn cargo() -> Result<(), Stop> {
    let broken = |error: std::io::Error| Stop::Broken(format!("cannot run cargo: {error}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let own = std::env::current_exe().map_err(broken)?;
    let profile = own.parent().map(PathBuf::from).unwrap_or_default();
    let mut command = Command::new(cargo);
    command
        .args(["build", "--workspace", "--bins", "--target-dir"])
        .arg(profile.parent().unwrap_or(&profile))
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    // Some build scripts (ring's) ask to be run again when these change: each run of the demo would
    // have half of the workspace compiled anew, and the next one back.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_a_package(name)) {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(broken)?;
    for line in child
        .stderr
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufReader::lines)
    {
        let line = line.map_err(broken)?;
        if !line.trim_start().starts_with("Finished ") {
            eprintln!("  {line}");
        }
    }
    let status = child.wait().map_err(broken)?;
    if status.success() {
        Ok(())
    } else {
        Err(Stop::Broken(format!(
            "cargo build has failed ({status}), see above"
        )))
    }
}

fn is_of_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    OF_A_PACKAGE.iter().any(|prefix| name.starts_with(prefix))
}

/// Says now and then that a build goes on, until it is dropped.
#[derive(Debug)]
struct SignOfLife(#[expect(dead_code, reason = "dropping it is the message")] Sender<()>);

impl SignOfLife {
    fn start() -> Self {
        let (end, ended) = mpsc::channel();
        let started = Instant::now();
        thread::spawn(move || {
            while ended.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
                let seconds = started.elapsed().as_secs();
                eprintln!("  … {} min {:02} s so far", seconds / 60, seconds % 60);
            }
        });
        Self(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_set_is_passed_on() {
        assert!(is_of_a_package(OsStr::new("CARGO_MANIFEST_DIR")));
        assert!(is_of_a_package(OsStr::new("CARGO_PKG_NAME")));
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS"] {
            assert!(!is_of_a_package(OsStr::new(name)), "{name}");
        }
    }
}
