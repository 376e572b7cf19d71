//! Processes that do not outlive the one that started them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::sys::{self, Signal};

/// How long a part of the control plane may take to end by itself. A quiet kube-apiserver takes one
/// second; one with open watches would take its time, and has nothing to lose.
const GRACE: Duration = Duration::from_secs(2);

struct Job {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// The thread that all children are spawned from.
///
/// Linux sends the death signal when the *thread* that forked the child ends, not the process. A
/// test harness runs each test on a thread of its own, so a child that several tests share has to
/// come from a thread that nothing ends but the process: this one, which waits for jobs forever,
/// since the static keeps the sending side.
static SPAWNER: LazyLock<io::Result<Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for mut job in jobs {
                sys::die_with_spawning_thread(&mut job.command);
                // Nobody waiting for the reply means nobody to own the child.
                if let Err(mpsc::SendError(Ok(mut child))) = job.reply.send(job.command.spawn()) {
                    let _ = child.kill().and_then(|()| child.wait());
                }
            }
        })?;
    Ok(sender)
});

/// Spawns a command whose process dies when this one does, even when this one is killed or aborts.
///
/// On Linux only; elsewhere this is a plain spawn.
pub fn spawn_bound(command: Command) -> io::Result<Child> {
    let sender = SPAWNER
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (reply, child) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the spawner thread is gone");
    sender.send(Job { command, reply }).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// Ends a child: asks it to with SIGTERM, waits for at most `grace`, then kills it. Returns how it
/// ended; a child that has already ended is fine, and so is one that is stopped by SIGSTOP.
pub fn terminate(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + grace;
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    sys::send(child.id(), Signal::Terminate)?;
    sys::send(child.id(), Signal::Continue)?;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()
}

/// Stops a child in its tracks (SIGSTOP), until it is [resumed](resume).
pub fn pause(child: &Child) -> io::Result<()> {
    sys::send(child.id(), Signal::Stop)
}

/// Lets a paused child go on.
pub fn resume(child: &Child) -> io::Result<()> {
    sys::send(child.id(), Signal::Continue)
}

/// A part of the control plane, with its log; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command in a directory, where both its outputs go to a log file of its own.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        dir: &Path,
    ) -> Result<Self, Error> {
        let spawn = || {
            let (log, stdout) = create_log(dir, name)?;
            let stderr = stdout.try_clone()?;
            command
                .current_dir(dir)
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(stderr)
                // Out of the terminal's process group: Ctrl-C is for the program that runs the
                // control plane, which may still need it to clean up.
                .process_group(0);
            let child = spawn_bound(command)?;
            Ok(Self { name, child, log })
        };
        spawn().map_err(Error::io(format!("start {name}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        sys::send(self.pid(), signal).map_err(Error::io(format!("signal {}", self.name)))
    }

    /// Kills the process at once, without letting it clean up.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed
            .map(drop)
            .map_err(Error::io(format!("kill {}", self.name)))
    }

    /// An error with the end of the log if the process has ended.
    pub(crate) fn check_running(&mut self) -> Result<(), Error> {
        let status = self.child.try_wait();
        match status.map_err(Error::io(format!("wait for {}", self.name)))? {
            None => Ok(()),
            Some(status) => Err(Error::Exited {
                name: self.name,
                status,
                log: self.log.clone(),
                tail: log_tail(&self.log),
            }),
        }
    }

    /// Polls a condition until it holds, for as long as this process and the one it needs live and
    /// at most `limit`. The condition says why it does not hold yet.
    pub(crate) fn wait_until(
        &mut self,
        mut needs: Option<&mut Self>,
        limit: Duration,
        ready: impl Fn() -> Result<(), String>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        while let Err(answer) = ready() {
            if let Some(needs) = &mut needs {
                needs.check_running()?;
            }
            self.check_running()?;
            if Instant::now() >= deadline {
                return Err(Error::NotReady {
                    name: self.name,
                    seconds: limit.as_secs(),
                    answer,
                    log: self.log.clone(),
                    tail: log_tail(&self.log),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = terminate(&mut self.child, GRACE) {
            eprintln!("cannot end {}: {error}", self.name);
        }
    }
}

/// Opens `<name>.log`, or `<name>.2.log` and so on after a restart.
fn create_log(dir: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let mut path = dir.join(format!("{name}.log"));
    let mut number = 1;
    loop {
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                number += 1;
                path.set_file_name(format!("{name}.{number}.log"));
            }
            Err(error) => return Err(error),
        }
    }
}

fn log_tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(log) => last_lines(&String::from_utf8_lossy(&log)),
        Err(error) => format!("(unreadable: {error})"),
    }
}

/// As much of the end of a text as is worth putting into an error.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Starts a shell script and waits until it has printed a line.
    fn script(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = spawn_bound(command).unwrap();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout)
            .read_line(&mut String::new())
            .unwrap();
        child
    }

    #[test]
    fn terminate_asks_first() {
        let mut child = script("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        let status = terminate(&mut child, Duration::from_secs(60)).unwrap();
        assert_eq!(status.code(), Some(7));
        // Once more does no harm.
        assert_eq!(
            terminate(&mut child, Duration::ZERO).unwrap().code(),
            Some(7)
        );
    }

    #[test]
    fn terminate_kills_what_does_not_listen() {
        let mut child = script("trap '' TERM; echo ready; exec sleep 600");
        let status = terminate(&mut child, Duration::from_millis(50)).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn terminate_wakes_what_is_stopped() {
        let mut child = script("echo ready; exec sleep 600");
        sys::send(child.id(), Signal::Stop).unwrap();
        let status = terminate(&mut child, Duration::from_secs(60)).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn children_outlive_the_thread_that_asked_for_them() {
        let asking = thread::spawn(|| {
            let thread = fs::read_link("/proc/thread-self").unwrap();
            (
                Path::new("/proc").join(thread),
                script("echo ready; exec sleep 600"),
            )
        });
        let (thread, mut child) = asking.join().unwrap();
        // Joining returns shortly before the kernel has ended the thread and sent its signals.
        while thread.exists() {
            thread::yield_now();
        }
        assert_eq!(child.try_wait().unwrap(), None);
        terminate(&mut child, Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn a_start_that_fails_says_why() {
        let error = spawn_bound(Command::new("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
