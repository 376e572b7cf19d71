//! What the control plane promises, on a real one.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is to fail its test"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use control_plane::{Assets, ControlPlane, spawn_bound};

/// The crate's own program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_control-plane");

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> Output {
    let mut kubectl = control_plane.kubectl();
    kubectl.args(arguments).output().unwrap()
}

/// What kubectl prints, which has to succeed.
fn kubectl_ok(control_plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = kubectl(control_plane, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The processes that run in a directory: each part of a control plane runs in that one's own.
fn processes_in(dir: &Path) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    processes
        .filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == dir))
        .collect()
}

/// A directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn versions_are_the_ones_asked_for() {
    let versions = kubectl_ok(ControlPlane::shared(), &["version", "--output=json"]);
    let versions: serde_json::Value = serde_json::from_str(&versions).unwrap();
    let server = versions["serverVersion"]["gitVersion"].as_str().unwrap();
    assert_eq!(versions["clientVersion"]["gitVersion"], server);
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        let required = format!("\tk8s.io/kubernetes {server} ");
        assert!(include_str!("../go.mod").contains(&required), "{server}");
    }
}

#[test]
fn service_account_tokens_work_under_rbac() {
    let control_plane = ControlPlane::shared();
    kubectl_ok(control_plane, &["create", "namespace", "rbac"]);
    let rbac = |arguments: &[&str]| {
        kubectl_ok(control_plane, &[&["--namespace=rbac"], arguments].concat())
    };
    rbac(&["create", "serviceaccount", "reader"]);
    rbac(&[
        "create",
        "role",
        "reader",
        "--verb=list",
        "--resource=configmaps",
    ]);
    rbac(&[
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--serviceaccount=rbac:reader",
    ]);
    let token = rbac(&["create", "token", "reader"]);
    let kubeconfig = control_plane
        .kubeconfig("reader", token.trim(), "rbac")
        .unwrap();
    let as_reader = |arguments: &[&str]| {
        let mut kubectl = control_plane.kubectl();
        kubectl
            .env("KUBECONFIG", &kubeconfig)
            .args(arguments)
            .output()
            .unwrap()
    };

    assert!(as_reader(&["get", "configmaps"]).status.success());
    let secrets = as_reader(&["get", "secrets"]);
    let refusal = String::from_utf8_lossy(&secrets.stderr);
    assert!(!secrets.status.success());
    assert!(refusal.contains("(Forbidden)"), "{refusal}");
    assert!(
        refusal.contains("system:serviceaccount:rbac:reader"),
        "{refusal}"
    );
}

#[test]
fn clients_need_a_token_to_do_anything() {
    let control_plane = ControlPlane::shared();
    let kubeconfig = control_plane
        .kubeconfig("stranger", "guessed", "default")
        .unwrap();
    let mut kubectl = control_plane.kubectl();
    let output = kubectl
        .env("KUBECONFIG", kubeconfig)
        .args(["get", "namespaces"])
        .output()
        .unwrap();
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert!(refusal.contains("You must be logged in"), "{refusal}");
}

#[test]
fn controller_manager_ends_namespaces() {
    let control_plane = ControlPlane::shared();
    control_plane.start_controller_manager().unwrap();
    // Once more does no harm.
    control_plane.start_controller_manager().unwrap();
    kubectl_ok(control_plane, &["create", "namespace", "short-lived"]);
    let made = "--namespace=short-lived";
    kubectl_ok(control_plane, &["create", "configmap", "content", made]);
    kubectl_ok(
        control_plane,
        &["delete", "namespace", "short-lived", "--timeout=60s"],
    );
    assert!(
        !kubectl(control_plane, &["get", "namespace", "short-lived"])
            .status
            .success()
    );
}

#[test]
fn api_server_pauses_and_restarts() {
    let control_plane = ControlPlane::start(&Assets::find_or_build().unwrap()).unwrap();
    kubectl_ok(&control_plane, &["create", "namespace", "kept"]);

    control_plane.pause_api_server().unwrap();
    let asked = kubectl(
        &control_plane,
        &["get", "--raw=/readyz", "--request-timeout=500ms"],
    );
    assert!(!asked.status.success());
    control_plane.resume_api_server().unwrap();
    assert_eq!(kubectl_ok(&control_plane, &["get", "--raw=/readyz"]), "ok");

    let (pid, url) = (control_plane.api_server_pid(), control_plane.url());
    control_plane.restart_api_server().unwrap();
    assert_ne!(control_plane.api_server_pid(), pid);
    assert_eq!(control_plane.url(), url);
    kubectl_ok(&control_plane, &["get", "namespace", "kept"]);
    control_plane.check_running().unwrap();
}

#[test]
fn nothing_is_left_after_a_drop() {
    let control_plane = ControlPlane::start(&Assets::find_or_build().unwrap()).unwrap();
    let dir = control_plane.dir().to_owned();
    assert_eq!(processes_in(&dir).len(), 2);
    // Even when the API server cannot listen to a request to end.
    control_plane.pause_api_server().unwrap();
    control_plane.stop();
    assert_eq!(processes_in(&dir), Vec::<PathBuf>::new());
    assert!(!dir.exists());
}

#[test]
fn nothing_is_left_of_the_shared_one_after_exit() {
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.args(["--exact", "versions_are_the_ones_asked_for"]);
    let mut child = this.stdout(Stdio::null()).spawn().unwrap();
    let prefix = format!("{}-", child.id());
    assert!(child.wait().unwrap().success());

    let runs = ControlPlane::shared().dir().parent().unwrap();
    for run in fs::read_dir(runs).unwrap() {
        let name = run.unwrap().file_name();
        assert!(
            !name.to_string_lossy().starts_with(&prefix),
            "{name:?} is left"
        );
    }
}

/// Runs `control-plane run` and waits until it says where its kubeconfig is, which is in its
/// directory.
fn run_program() -> (Child, PathBuf) {
    let mut program = Command::new(PROGRAM);
    program.arg("run").stdout(Stdio::piped());
    let mut child = spawn_bound(program).unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").unwrap();
    (child, Path::new(kubeconfig).parent().unwrap().to_owned())
}

#[test]
fn nothing_is_left_after_a_kill() {
    let (mut program, dir) = run_program();
    assert_eq!(processes_in(&dir).len(), 2);
    program.kill().unwrap();
    program.wait().unwrap();
    eventually("the processes die with the one that started them", || {
        processes_in(&dir).is_empty()
    });
    // What the killed process could not remove, the next one does.
    drop(ControlPlane::start(&Assets::find_or_build().unwrap()).unwrap());
    assert!(!dir.exists());
}

#[test]
fn nothing_is_left_after_an_interrupt() {
    let (mut program, dir) = run_program();
    let status = control_plane::terminate(&mut program, Duration::from_secs(60)).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(processes_in(&dir), Vec::<PathBuf>::new());
    assert!(!dir.exists());
}

#[test]
fn a_missing_asset_is_named() {
    let empty = scratch("empty");
    let mut program = Command::new(PROGRAM);
    program.arg("build").env("KUBEBUILDER_ASSETS", &empty);
    let output = program.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let expected = format!(
        "control-plane: KUBEBUILDER_ASSETS is set to {}, which holds no kube-apiserver",
        empty.display()
    );
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[test]
fn an_early_death_is_explained_by_the_log() {
    let dir = scratch("broken");
    let assets = Assets::find_or_build().unwrap();
    symlink(assets.etcd(), dir.join("etcd")).unwrap();
    symlink(assets.kubectl(), dir.join("kubectl")).unwrap();
    let broken = dir.join("kube-apiserver");
    fs::write(&broken, "#!/bin/sh\necho no such luck\nexit 3\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();

    let mut program = Command::new(PROGRAM);
    program.arg("run").env("KUBEBUILDER_ASSETS", &dir);
    let output = program.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("kube-apiserver ended (exit status: 3)"),
        "{stderr}"
    );
    assert!(stderr.contains("no such luck"), "{stderr}");
}

#[test]
fn usage_is_told() {
    let output = Command::new(PROGRAM).arg("start").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: control-plane build"));
}
