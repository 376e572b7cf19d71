//! Runs etcd, kube-apiserver and, if asked, kube-controller-manager.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::Error;
use crate::assets::{Assets, work_dir};
use crate::kubeconfig::kubeconfig;
use crate::pki::Pki;
use crate::probe::Probe;
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::sys::{self, Signal};

/// How long a part may take to be ready; on a quiet machine the slowest takes three seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a server whose port was taken in the meantime is started with another.
const PORT_ATTEMPTS: u32 = 5;

/// Where etcd listens: a Unix socket named like this in its working directory, which is the run's
/// own. It has no port to lose to somebody else, and nobody else can reach it, which matters as it
/// asks for no credentials. (etcd insists on a host and a port even here.)
const ETCD_CLIENT_URL: &str = "unix://etcd-client:0";
const ETCD_PEER_URL: &str = "unix://etcd-peer:0";

/// A running control plane. Dropping it ends its processes and removes its directory.
///
/// All methods take `&self`, so tests can share one; those that disturb the API server are for
/// tests that have one of their own.
pub struct ControlPlane {
    // Before the directory, as fields are dropped in this order.
    processes: Mutex<Processes>,
    dir: RunDir,
    assets: Assets,
    probe: Probe,
    port: u16,
    ca_pem: String,
    admin_token: String,
    admin_kubeconfig: PathBuf,
}

/// In the order they have to end in: each needs the next.
struct Processes {
    controller_manager: Option<Process>,
    api_server: Process,
    etcd: Process,
}

static SHARED: OnceLock<Result<ControlPlane, Error>> = OnceLock::new();

impl ControlPlane {
    /// Starts etcd and kube-apiserver and waits until they are ready.
    pub fn start(assets: &Assets) -> Result<Self, Error> {
        let dir = RunDir::create(&work_dir().join("run"))?;
        let pki = Pki::generate().map_err(Error::Certificates)?;
        let admin_token = random_token()?;
        let ca = dir.write("ca.crt", &pki.ca_pem)?;
        dir.write("serving.crt", &pki.serving_pem)?;
        dir.write("serving.key", &pki.serving_key_pem)?;
        dir.write("service-account.key", &pki.service_account_key_pem)?;
        dir.write("service-account.pub", &pki.service_account_public_key_pem)?;
        dir.write(
            "tokens.csv",
            &format!("{admin_token},admin,admin,system:masters\n"),
        )?;
        let probe = Probe::new(pki.ca_der, &admin_token).map_err(Error::Tls)?;

        let mut etcd = start_etcd(assets, &dir)?;
        let (api_server, port) = with_free_port(|port| {
            let mut api_server = start_api_server(assets, &dir, port)?;
            wait_for_api_server(&mut api_server, &mut etcd, &probe, port)?;
            Ok(api_server)
        })?;

        let admin = kubeconfig(&url(port), &ca, "admin", &admin_token, "default");
        Ok(Self {
            admin_kubeconfig: dir.write("admin.kubeconfig", &admin)?,
            processes: Mutex::new(Processes {
                controller_manager: None,
                api_server,
                etcd,
            }),
            dir,
            assets: assets.clone(),
            probe,
            port,
            ca_pem: pki.ca_pem,
            admin_token,
        })
    }

    /// The control plane that all tests of this process share, started by the first that asks and
    /// ended when the process exits.
    ///
    /// # Panics
    ///
    /// If it cannot be found, built or started: then no test that needs it can go on.
    pub fn shared() -> &'static Self {
        let shared = SHARED.get_or_init(|| {
            let control_plane = Self::start(&Assets::find_or_build()?)?;
            // Statics are not dropped. The processes would die all the same, with the thread that
            // spawned them; this is for the directory.
            sys::at_exit(abandon_shared).map_err(Error::io("register the clean-up"))?;
            Ok(control_plane)
        });
        match shared {
            Ok(control_plane) => control_plane,
            #[expect(clippy::panic, reason = "documented: without it the test cannot go on")]
            Err(error) => panic!("no control plane: {error}"),
        }
    }

    /// The API server's URL, `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The certificate authority that the API server's certificate is from.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The bearer token of a user in `system:masters`.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A kubeconfig for [`admin_token`](Self::admin_token), with the namespace `default`.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// Writes a kubeconfig for another token, for example a ServiceAccount's, to
    /// `<dir>/<name>.kubeconfig`.
    pub fn kubeconfig(&self, name: &str, token: &str, namespace: &str) -> Result<PathBuf, Error> {
        let content = kubeconfig(
            &self.url(),
            &self.dir.join("ca.crt"),
            name,
            token,
            namespace,
        );
        self.dir.write(&format!("{name}.kubeconfig"), &content)
    }

    /// A kubectl command as the admin; add the arguments.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(self.assets.kubectl());
        kubectl
            .env("KUBECONFIG", &self.admin_kubeconfig)
            // It lives for a moment: collecting its garbage is a third of the CPU time it takes, and
            // kubectl is what tests take most of.
            .env("GOGC", "off")
            // Its discovery cache is keyed by host and port, which another run had before.
            .arg(format!(
                "--cache-dir={}",
                self.dir.join("kubectl-cache").display()
            ));
        kubectl
    }

    /// The directory of the data, the logs (`*.log`) and the kubeconfigs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts kube-controller-manager, unless it is running, and waits until it is healthy: with
    /// the controllers that end namespaces, collect garbage and make ServiceAccounts, no others.
    ///
    /// Without it a deleted namespace stays `Terminating`.
    pub fn start_controller_manager(&self) -> Result<(), Error> {
        let binary = self.assets.kube_controller_manager()?;
        let mut processes = self.processes();
        let processes = &mut *processes;
        if processes.controller_manager.is_none() {
            let (controller_manager, _port) = with_free_port(|port| {
                let mut process = start_controller_manager(&binary, self.dir(), port)?;
                let healthy = || self.probe.ok(port, "/healthz");
                process.wait_until(Some(&mut processes.api_server), START_LIMIT, healthy)?;
                Ok(process)
            })?;
            processes.controller_manager = Some(controller_manager);
        }
        Ok(())
    }

    /// Stops the API server in its tracks (SIGSTOP): connections stay open and nothing answers.
    pub fn pause_api_server(&self) -> Result<(), Error> {
        self.processes().api_server.signal(Signal::Stop)
    }

    /// Lets a paused API server go on.
    pub fn resume_api_server(&self) -> Result<(), Error> {
        self.processes().api_server.signal(Signal::Continue)
    }

    /// Kills the API server (SIGKILL), starts it again on the same port and data, and waits until
    /// it is ready.
    pub fn restart_api_server(&self) -> Result<(), Error> {
        let mut processes = self.processes();
        let Processes {
            api_server, etcd, ..
        } = &mut *processes;
        api_server.kill()?;
        *api_server = start_api_server(&self.assets, &self.dir, self.port)?;
        wait_for_api_server(api_server, etcd, &self.probe, self.port)
    }

    /// The API server's process number; another after each restart.
    pub fn api_server_pid(&self) -> u32 {
        self.processes().api_server.pid()
    }

    /// An error with the end of its log if one of the processes has ended by itself.
    pub fn check_running(&self) -> Result<(), Error> {
        let mut processes = self.processes();
        processes.etcd.check_running()?;
        processes.api_server.check_running()?;
        match &mut processes.controller_manager {
            Some(controller_manager) => controller_manager.check_running(),
            None => Ok(()),
        }
    }

    /// Ends it, as dropping does.
    pub fn stop(self) {
        drop(self);
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        // A test that panicked while holding the lock has failed; the others can go on.
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token.
        formatter
            .debug_struct("ControlPlane")
            .field("url", &self.url())
            .field("dir", &self.dir())
            .finish_non_exhaustive()
    }
}

/// What is left to do at exit for a control plane that is not dropped.
extern "C" fn abandon_shared() {
    let Some(Ok(control_plane)) = SHARED.get() else {
        return;
    };
    // If another thread is at it (a process may exit while tests run), the processes die with the
    // thread that spawned them.
    if let Ok(mut processes) = control_plane.processes.try_lock() {
        if let Some(controller_manager) = &mut processes.controller_manager {
            let _ = controller_manager.kill();
        }
        let _ = processes.api_server.kill();
        let _ = processes.etcd.kill();
    }
    control_plane.dir.remove();
}

fn start_etcd(assets: &Assets, dir: &RunDir) -> Result<Process, Error> {
    let mut command = Command::new(assets.etcd());
    command
        // The data need not survive the machine, only kube-apiserver.
        .arg("--unsafe-no-fsync")
        .arg("--data-dir=etcd")
        .arg(format!("--listen-client-urls={ETCD_CLIENT_URL}"))
        .arg(format!("--advertise-client-urls={ETCD_CLIENT_URL}"))
        .arg(format!("--listen-peer-urls={ETCD_PEER_URL}"))
        .arg(format!("--initial-advertise-peer-urls={ETCD_PEER_URL}"))
        .arg(format!("--initial-cluster=default={ETCD_PEER_URL}"));
    let mut etcd = Process::start("etcd", command, dir.path())?;
    // From here on connections queue; kube-apiserver can start while etcd is still at it.
    let socket = dir.join(ETCD_CLIENT_URL.trim_start_matches("unix://"));
    let listening = || {
        socket
            .exists()
            .then_some(())
            .ok_or_else(|| "no socket".to_owned())
    };
    etcd.wait_until(None, START_LIMIT, listening)?;
    Ok(etcd)
}

fn start_api_server(assets: &Assets, dir: &RunDir, port: u16) -> Result<Process, Error> {
    let mut command = Command::new(assets.kube_apiserver());
    command
        .arg(format!("--etcd-servers={ETCD_CLIENT_URL}"))
        .arg(format!("--secure-port={port}"))
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            // The Service `kubernetes` may not have endpoints on the loopback interface.
            "--endpoint-reconciler-type=none",
            "--tls-cert-file=serving.crt",
            "--tls-private-key-file=serving.key",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=service-account.pub",
            "--service-account-signing-key-file=service-account.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            // It refuses pods until a controller has made the namespace's default ServiceAccount.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged",
        ]);
    Process::start("kube-apiserver", command, dir.path())
}

fn wait_for_api_server(
    api_server: &mut Process,
    etcd: &mut Process,
    probe: &Probe,
    port: u16,
) -> Result<(), Error> {
    api_server.wait_until(Some(etcd), START_LIMIT, || {
        probe.ok(port, "/readyz")?;
        // Being ready does not include this, yet it is the first thing a test uses.
        probe.ok(port, "/api/v1/namespaces/default")
    })
}

fn start_controller_manager(binary: &Path, dir: &Path, port: u16) -> Result<Process, Error> {
    let mut command = Command::new(binary);
    command.arg(format!("--secure-port={port}")).args([
        "--bind-address=127.0.0.1",
        "--tls-cert-file=serving.crt",
        "--tls-private-key-file=serving.key",
        "--kubeconfig=admin.kubeconfig",
        "--leader-elect=false",
        "--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller",
    ]);
    Process::start("kube-controller-manager", command, dir)
}

/// Starts a server on a port that was free a moment ago, and again on another if it has lost it.
fn with_free_port<T>(mut start: impl FnMut(u16) -> Result<T, Error>) -> Result<(T, u16), Error> {
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        match start(port) {
            Ok(server) => return Ok((server, port)),
            Err(Error::Exited { tail, .. })
                if attempt < PORT_ATTEMPTS && tail.contains("address already in use") => {}
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

/// A port below those that systems give to outgoing connections: one of those could take the port
/// while the API server restarts, even a client's own attempt to reach it.
fn free_port() -> Result<u16, Error> {
    // RandomState is the standard library's only source of randomness, and good enough here.
    let random = RandomState::new();
    let ports = (0_u64..100).map(|attempt| 20_000 + (random.hash_one(attempt) % 10_000) as u16);
    let mut result = Err(std::io::ErrorKind::AddrInUse.into());
    for port in ports {
        result = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_listener| port);
        if result.is_ok() {
            break;
        }
    }
    result.map_err(Error::io("find a free port"))
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn random_token() -> Result<String, Error> {
    let number = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    let (high, low) = number.map_err(|error| Error::io("make a token")(error.into()))?;
    Ok(format!("{high:016x}{low:016x}"))
}
