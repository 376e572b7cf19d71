//! Commands as a user types them: what is on the screen is what the shell gets.

use crate::stop::{self, Stop};
use control_plane::{ControlPlane, spawn_bound, terminate};
use std::{
    ffi::OsString,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The longest a command may take; a delete waits until everything is gone.
const LIMIT: Duration = Duration::from_secs(90);
/// How often a running command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A shell in which kubectl is the one of the control plane, and speaks to it.
#[derive(Debug)]
pub(crate) struct Shell {
    path: OsString,
    kubeconfig: PathBuf,
    cache: PathBuf,
    dir: PathBuf,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Both streams, in the order in which they were written.
    pub(crate) output: String,
    pub(crate) succeeded: bool,
}

impl Shell {
    /// One that runs in a directory.
    pub(crate) fn new(control_plane: &ControlPlane, dir: &Path) -> Result<Self, Stop> {
        let kubectl = control_plane.kubectl();
        let bin = Path::new(kubectl.get_program()).parent();
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let all = bin
            .map(Path::to_owned)
            .into_iter()
            .chain(std::env::split_paths(&rest));
        Ok(Self {
            path: std::env::join_paths(all).map_err(Stop::broken("extend PATH"))?,
            kubeconfig: control_plane.admin_kubeconfig().to_owned(),
            cache: control_plane.dir().join("kubectl-cache"),
            dir: dir.to_owned(),
        })
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &str) -> Result<Outcome, Stop> {
        let broken = |error: std::io::Error| Stop::Broken(format!("cannot run `{line}`: {error}"));
        let mut output = tempfile::tempfile().map_err(broken)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(&self.dir)
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            // kubectl keys what it caches by host and port, which another run had before.
            .env("KUBECACHEDIR", &self.cache)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(broken)?)
            .stderr(output.try_clone().map_err(broken)?);
        let mut child = spawn_bound(command).map_err(broken)?;
        let deadline = Instant::now() + LIMIT;
        let mut status = child.try_wait().map_err(broken)?;
        while status.is_none() {
            if let Err(stop) = stop::check() {
                terminate(&mut child, Duration::from_secs(1)).map_err(broken)?;
                return Err(stop);
            }
            if Instant::now() > deadline {
                terminate(&mut child, Duration::from_secs(1)).map_err(broken)?;
                break;
            }
            thread::sleep(LOOK_EVERY);
            status = child.try_wait().map_err(broken)?;
        }
        // Ctrl-C reaches the command too, which then may be faster.
        stop::check()?;
        let mut text = String::new();
        output.rewind().map_err(broken)?;
        output.read_to_string(&mut text).map_err(broken)?;
        if status.is_none() {
            text.push_str(&format!("(ended after {} s)\n", LIMIT.as_secs()));
        }
        Ok(Outcome {
            output: text,
            succeeded: status.is_some_and(|status| status.success()),
        })
    }
}
