//! The operator as a process, with the rights the chart gives it.

use crate::{binaries, http, log_tail, poll, ports::free_port};
use control_plane::{pause, resume, spawn_bound, terminate};
use serde_json::{Value, json};
use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

/// How long the operator may take to be ready, or to end; a quiet machine needs a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// An operator that can be ended and started again. Dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    kubeconfig: PathBuf,
    log: PathBuf,
    args: Mutex<Vec<String>>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    port: u16,
}

impl Operator {
    /// One that is not started yet.
    pub(crate) fn new(kubeconfig: PathBuf, log: PathBuf, args: Vec<String>) -> Self {
        Self {
            kubeconfig,
            log,
            args: Mutex::new(args),
            running: Mutex::new(None),
        }
    }

    /// Another replica of it, with the same flags and rights, not started yet. `server` says where
    /// it reaches the API server, if not where this one does.
    #[must_use]
    pub fn replica(&self, name: &str, server: Option<&str>) -> Self {
        let beside = |path: &PathBuf, suffix: &str| {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            path.with_file_name(format!("{stem}.{name}.{suffix}"))
        };
        let kubeconfig = match server {
            None => self.kubeconfig.clone(),
            Some(server) => {
                let text = fs::read_to_string(&self.kubeconfig).unwrap();
                let mut config: Value = serde_json::from_str(&text).unwrap();
                config["clusters"][0]["cluster"]["server"] = json!(server);
                let path = beside(&self.kubeconfig, "kubeconfig");
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600);
                let mut file = options.open(&path).unwrap();
                file.write_all(config.to_string().as_bytes()).unwrap();
                path
            }
        };
        let args = self.args.lock().unwrap().clone();
        Self::new(kubeconfig, beside(&self.log, "log"), args)
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(&self) {
        self.spawn();
        poll("the operator is ready", PATIENCE, || {
            let mut running = self.running.lock().unwrap();
            let running = running.as_mut().unwrap();
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("the operator ended: {status}\n{}", self.log_tail());
            }
            let url = format!("http://127.0.0.1:{}/readyz", running.port);
            let answer = http::plain()
                .get(url)
                .send()
                .map_err(|error| error.to_string())?;
            let status = answer.status();
            let text = answer.text().unwrap_or_default();
            if status.is_success() {
                Ok(())
            } else {
                Err(text)
            }
        });
    }

    /// Starts it and waits for nothing: where it is not meant to be ready.
    pub fn spawn(&self) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "the operator runs already");
        let port = free_port();
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = Command::new(binaries::operator());
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NO_COLOR", "1")
            .arg(format!("--health-addr=127.0.0.1:{port}"))
            .arg(format!("--metrics-addr=127.0.0.1:{port}"))
            .arg("--log-encoding=console")
            .args(self.args.lock().unwrap().iter())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = spawn_bound(command).unwrap();
        *running = Some(Running { child, port });
    }

    /// Its flags from the next start on; those the harness needs stay.
    pub fn push_args<S: AsRef<str>>(&self, args: &[S]) {
        let args = args.iter().map(|arg| arg.as_ref().to_owned());
        self.args.lock().unwrap().extend(args);
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub fn kill9(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
    }

    /// Ends it with SIGTERM, which must end with exit code 0.
    pub fn stop(&self) {
        let mut running = self
            .running
            .lock()
            .unwrap()
            .take()
            .expect("the operator does not run");
        let status = terminate(&mut running.child, PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.log_tail());
    }

    /// Ends it with SIGTERM and starts it again.
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// Waits until it ends by itself.
    pub fn wait(&self) -> ExitStatus {
        let mut running = self
            .running
            .lock()
            .unwrap()
            .take()
            .expect("the operator does not run");
        poll("the operator ends", PATIENCE, || {
            running.child.try_wait().unwrap().ok_or("it runs")
        })
    }

    /// Stops it in its tracks (SIGSTOP).
    pub fn pause(&self) {
        pause(&self.running.lock().unwrap().as_ref().unwrap().child).unwrap();
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        resume(&self.running.lock().unwrap().as_ref().unwrap().child).unwrap();
    }

    /// How it ended, if it has ended by itself since it was started; it can be started again then.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut running = self.running.lock().unwrap();
        let status = running.as_mut()?.child.try_wait().unwrap()?;
        *running = None;
        Some(status)
    }

    /// Whether it says that it acts; not while it does not run. Not to be asked of a paused one.
    pub fn leads(&self) -> bool {
        let leads = |text: String| text.lines().any(|line| line == "fulfillment_leader 1");
        self.probe("/metrics").is_ok_and(leads)
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.running
            .lock()
            .unwrap()
            .as_ref()
            .expect("the operator does not run")
            .child
            .id()
    }

    /// Everything it wrote to its log, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of [`log`](Self::log).
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    /// Its metrics, as a scrape sees them.
    pub fn metrics(&self) -> String {
        self.read("/metrics")
    }

    /// How many Subscriptions it sees, by its metrics.
    pub fn subscriptions(&self) -> u64 {
        let metrics = self.metrics();
        let counted = metrics
            .lines()
            .filter(|line| line.starts_with("fulfillment_subscriptions"));
        counted
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// What one of its endpoints answers, whatever the status.
    pub fn read(&self, path: &str) -> String {
        self.probe(path).unwrap()
    }

    /// The same, or why it does not answer: it may not run, or not yet.
    pub fn probe(&self, path: &str) -> Result<String, String> {
        let running = self.running.lock().unwrap();
        let port = running.as_ref().ok_or("the operator does not run")?.port;
        drop(running);
        let answer = http::plain()
            .get(format!("http://127.0.0.1:{port}{path}"))
            .send()
            .map_err(|error| error.to_string())?;
        answer.text().map_err(|error| error.to_string())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill9();
    }
}
