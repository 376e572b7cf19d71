//! A namespace with a vendor, an operator and a connection between them.

use crate::{
    Operator, Vendor, api,
    api::Reader,
    binaries::workspace,
    history::Twins,
    log_tail,
    objects::{self, condition, is_observed, message, standing},
    orders::Watch,
    poll_or,
    vendor::{TOKEN, identity_flag, identity_of},
};
use control_plane::{Assets, ControlPlane, spawn_bound};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How long anything may take that takes a second on a quiet machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The harness' name in the chart's rendering, for which each namespace's own is put.
const PLACEHOLDER: &str = "namespace-of-the-test";

/// A namespace of a test's own, with everything that belongs to it.
///
/// Dropping it ends the operator and the vendor; the namespace goes with the control plane. If the
/// test panics, the end of the operator's log is printed.
#[derive(Debug)]
pub struct World {
    // In the order they have to end in.
    /// The operator under test.
    pub operator: Operator,
    /// The vendor behind the default connection.
    pub vendor: Vendor,
    reader: Reader,
    namespace: String,
    operator_namespace: String,
    orders: Option<Watch>,
    control_plane: Plane,
}

#[derive(Debug)]
enum Plane {
    Shared(&'static ControlPlane),
    Own(Box<ControlPlane>),
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Self::Shared(control_plane) => control_plane,
            Self::Own(control_plane) => control_plane,
        }
    }
}

/// How a [`World`] is to be, where it is not to be as usual.
#[derive(Clone, Debug)]
pub struct Builder {
    own_control_plane: bool,
    cluster_wide: bool,
    operator_args: Vec<String>,
    without_operator: bool,
    api_server: Option<String>,
    vendor_args: Vec<String>,
    connection: Value,
}

impl Builder {
    /// A control plane that no other test shares: to measure it, or to disturb it.
    #[must_use]
    pub fn own_control_plane(mut self) -> Self {
        self.own_control_plane = true;
        self
    }

    /// An operator in a namespace of its own that watches all of them, with the chart's
    /// ClusterRole. Takes a control plane of its own.
    #[must_use]
    pub fn cluster_wide(mut self) -> Self {
        self.cluster_wide = true;
        self.own_control_plane = true;
        self
    }

    /// One more flag for the operator; it replaces the harness' own of that name.
    #[must_use]
    pub fn operator_arg(mut self, arg: &str) -> Self {
        self.operator_args.push(arg.to_owned());
        self
    }

    /// The test starts the operator itself.
    #[must_use]
    pub fn without_operator(mut self) -> Self {
        self.without_operator = true;
        self
    }

    /// Where the operator finds the API server: a proxy before it, over plain http.
    #[must_use]
    pub fn api_server(mut self, url: &str) -> Self {
        self.api_server = Some(url.to_owned());
        self
    }

    /// One more flag for the vendor.
    #[must_use]
    pub fn vendor_arg(mut self, arg: &str) -> Self {
        self.vendor_args.push(arg.to_owned());
        self
    }

    /// Merged into the default connection's spec.
    #[must_use]
    pub fn connection(mut self, spec: Value) -> Self {
        objects::merge(&mut self.connection, spec);
        self
    }

    /// A vendor that offers nothing to make creates safe, and a connection that says so.
    #[must_use]
    pub fn identity_none(self) -> Self {
        self.identity("None")
    }

    /// A vendor and a connection of this identity mode, in the API's word: `Lookup`.
    #[must_use]
    pub fn identity(self, mode: &str) -> Self {
        self.vendor_arg(&identity_flag(mode))
            .connection(json!({"identity": {"mode": mode}}))
    }

    /// A vendor of this dialect (`scenario`, `reseller-tree`, `operation`, `bare`), with the identity
    /// mode that goes with it, and a connection of that mode. What the dialect looks like is for the
    /// test to say, by [`connection`](Self::connection).
    #[must_use]
    pub fn vendor_dialect(self, dialect: &str) -> Self {
        self.vendor_arg(&format!("--dialect={dialect}"))
            .connection(json!({"identity": {"mode": identity_of(dialect)}}))
    }

    /// Starts it all and waits until it is ready.
    pub fn start(self) -> World {
        let control_plane = if self.own_control_plane {
            let assets = Assets::find_or_build().unwrap_or_else(|error| panic!("{error}"));
            let own = ControlPlane::start(&assets).unwrap_or_else(|error| panic!("{error}"));
            Plane::Own(Box::new(own))
        } else {
            Plane::Shared(ControlPlane::shared())
        };
        let namespace = unique("test");
        let operator_namespace = if self.cluster_wide {
            unique("operator")
        } else {
            namespace.clone()
        };
        let log = control_plane
            .dir()
            .join(format!("{operator_namespace}.operator.log"));
        let kubeconfig = control_plane
            .dir()
            .join(format!("{operator_namespace}.kubeconfig"));
        let mut args = vec![
            "--allow-insecure-vendor-urls".to_owned(),
            // The vendor is not so far away that a call could be under way for long.
            "--settle=3s".to_owned(),
        ];
        if !self.cluster_wide {
            args.push(format!("--watch-namespace={namespace}"));
        }
        let flag = |arg: &str| arg.split('=').next().unwrap_or_default().to_owned();
        args.retain(|own| !self.operator_args.iter().any(|arg| flag(arg) == flag(own)));
        args.extend(self.operator_args);
        let mut world = World {
            operator: Operator::new(kubeconfig, log, args),
            vendor: Vendor::start(&self.vendor_args),
            reader: Reader::new(&control_plane),
            namespace,
            operator_namespace,
            orders: None,
            control_plane,
        };
        world.install_crds();
        if self.connection["policies"]["onUnknownOutcome"] == "Retry" {
            world.vendor.allow_twins(Twins::Accepted);
        }
        let kubeconfig = world.prepare(&world.operator_namespace, self.cluster_wide);
        if let Some(url) = self.api_server {
            redirect(&kubeconfig, &url);
        }
        world.apply(&objects::all(&[
            objects::secret(objects::CONNECTION, &[("token", TOKEN)]),
            objects::connection(world.vendor.url(), self.connection),
        ]));
        if !self.without_operator {
            world.operator.start();
        }
        world
    }
}

impl World {
    /// As usual: the shared control plane, an operator for the namespace alone, a vendor in mode
    /// ExternalId that does everything at once, and a connection `acme` with its Secret `acme`.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// To say what is not to be as usual.
    pub fn builder() -> Builder {
        Builder {
            own_control_plane: false,
            cluster_wide: false,
            operator_args: Vec::new(),
            without_operator: false,
            api_server: None,
            vendor_args: Vec::new(),
            connection: json!({}),
        }
    }

    /// The test's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The operator's namespace: the test's own, but for one that watches all.
    pub fn operator_namespace(&self) -> &str {
        &self.operator_namespace
    }

    /// The control plane it runs on.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Namespaces, and the operator's account with the chart's rights and nothing more.
    fn prepare(&self, operator_namespace: &str, cluster_wide: bool) -> PathBuf {
        let mut objects = vec![namespace(&self.namespace)];
        if operator_namespace != self.namespace {
            objects.push(namespace(operator_namespace));
        }
        objects.push(rendered_rbac(cluster_wide).replace(PLACEHOLDER, operator_namespace));
        let account = service_account(objects.last().unwrap());
        // Into more than one namespace, so without the one that `apply` names.
        let args = ["apply", "-f", "-"];
        let output = self.kubectl_anywhere(&args, &objects::all(&objects));
        succeeded(&args, &output);
        let in_operators = format!("--namespace={operator_namespace}");
        let token = self.kubectl(&["create", "token", &account, "--duration=24h", &in_operators]);
        self.control_plane
            .kubeconfig(operator_namespace, token.trim(), operator_namespace)
            .unwrap()
    }

    /// The CRDs, and from then on all orders are seen.
    fn install_crds(&mut self) {
        static SHARED: OnceLock<Watch> = OnceLock::new();
        match &self.control_plane {
            Plane::Shared(plane) => {
                SHARED.get_or_init(|| {
                    self.apply_crds();
                    Watch::start(plane)
                });
            }
            Plane::Own(plane) => {
                self.apply_crds();
                self.orders = Some(Watch::start(plane));
            }
        }
    }

    fn apply_crds(&self) {
        let crds = workspace().join("crds");
        let crds = crds.to_str().unwrap();
        self.kubectl(&["apply", "--server-side", "-f", crds]);
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            crds,
        ]);
        // Established is said a moment before it is served.
        self.eventually("the CRDs are served", SOON, || {
            let kinds = [
                "subscriptions",
                "tierconfigurations",
                "vendorconnections",
                "clustervendorconnections",
            ];
            kinds.iter().try_for_each(|kind| {
                let path = api::collection(kind, "default");
                self.reader.get(&path).map(drop).ok_or(format!("no {path}"))
            })
        });
    }

    /// Runs kubectl as the admin in the test's namespace; it must succeed. Returns what it printed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        succeeded(args, &self.kubectl_with(args, ""))
    }

    /// Runs kubectl with a standard input, and may fail.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Output {
        run(self.kubectl_command(args), input)
    }

    /// The same without a namespace: the objects name theirs.
    pub fn kubectl_anywhere(&self, args: &[&str], input: &str) -> Output {
        let mut kubectl = self.control_plane.kubectl();
        kubectl.args(args);
        run(kubectl, input)
    }

    /// Starts kubectl and leaves it running; its outputs are pipes.
    pub fn kubectl_spawn(&self, args: &[&str]) -> Child {
        spawn(self.kubectl_command(args))
    }

    fn kubectl_command(&self, args: &[&str]) -> Command {
        self.hear_adoptions(args);
        let mut kubectl = self.control_plane.kubectl();
        // First, as kubectl takes the last of a flag that the arguments repeat.
        kubectl
            .arg(format!("--namespace={}", self.namespace))
            .args(args);
        kubectl
    }

    /// A tenant that a person names is the operator's from then on.
    fn hear_adoptions(&self, args: &[&str]) {
        let answer = "fulfillment-operator.io/resolve-create=adopt:";
        for tenant in args.iter().filter_map(|arg| arg.strip_prefix(answer)) {
            self.vendor.adopted(tenant);
        }
    }

    /// `kubectl apply -f -`; returns what it printed.
    pub fn apply(&self, yaml: &str) -> String {
        let args = ["apply", "-f", "-"];
        succeeded(&args, &self.kubectl_with(&args, yaml))
    }

    /// The same in another namespace.
    pub fn apply_in(&self, namespace: &str, yaml: &str) -> String {
        let namespace = format!("--namespace={namespace}");
        let args = ["apply", "-f", "-", &namespace];
        succeeded(&args, &self.kubectl_with(&args, yaml))
    }

    /// `kubectl apply -f -`, which must be refused; returns what it printed to stderr.
    pub fn apply_err(&self, yaml: &str) -> String {
        let output = self.kubectl_with(&["apply", "-f", "-"], yaml);
        assert!(!output.status.success(), "applied: {yaml}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Applies a Subscription as [`objects::subscription`] makes it.
    pub fn subscribe(&self, name: &str, spec: Value) {
        self.apply(&objects::subscription(name, spec));
    }

    /// `kubectl delete subscription`, which waits until it is gone.
    pub fn unsubscribe(&self, name: &str) {
        self.kubectl(&["delete", "subscription", name, "--timeout=60s"]);
    }

    /// Sets the annotation that asks for a look now.
    pub fn request(&self, name: &str, token: &str) {
        let annotation = format!("reconcile.fluxcd.io/requestedAt={token}");
        self.annotate(name, &annotation);
    }

    /// Asks for a look at a Subscription, again and again, until its connection says that its new
    /// credentials are refused and calls go on: a Secret and a Subscription come to the operator by two
    /// watches, in any order.
    pub fn refusal(&self, subscription: &str, connection: &str) -> Value {
        let mut asked = 0;
        self.eventually("the new credentials are refused", SOON, || {
            asked += 1;
            self.request(subscription, &format!("look-{connection}-{asked}"));
            let object = self.get("VendorConnection", connection);
            let said = message(&object, "Ready");
            let refused = standing(&object, "Ready") == "False Unauthorized"
                && said.contains("the new credentials in Secret")
                && said.contains("calls go on with the former ones");
            if refused { Ok(object) } else { Err(said) }
        })
    }

    /// `kubectl annotate --overwrite subscription NAME KEY=VALUE` (or `KEY-`).
    pub fn annotate(&self, name: &str, annotation: &str) {
        self.kubectl(&["annotate", "--overwrite", "subscription", name, annotation]);
    }

    /// Merges a patch into a Subscription.
    pub fn patch(&self, name: &str, patch: &str) {
        self.kubectl(&["patch", "subscription", name, "--type=merge", "-p", patch]);
    }

    /// Merges a patch into the connection.
    pub fn patch_connection(&self, patch: &str) {
        let kind = "vendorconnection";
        self.kubectl(&["patch", kind, "acme", "--type=merge", "-p", patch]);
    }

    /// Waits until the connection says that it is of no use, in these words.
    pub fn connection_says(&self, parts: &[&str]) -> Value {
        let what = "the connection says so";
        self.until(what, "VendorConnection", "acme", |acme| {
            let said = message(acme, "Ready");
            standing(acme, "Ready") == "False DependencyNotReady"
                && parts.iter().all(|part| said.contains(part))
        })
    }

    /// Pauses an object, and waits until it says so.
    pub fn pause(&self, kind: &str, name: &str) {
        let paused = "fulfillment-operator.io/paused=true";
        self.kubectl(&["annotate", "--overwrite", kind, name, paused]);
        self.until("paused", kind, name, |object| {
            standing(object, "Ready") == "True Paused"
        });
    }

    /// Takes that back.
    pub fn unpause(&self, kind: &str, name: &str) {
        self.kubectl(&["annotate", kind, name, "fulfillment-operator.io/paused-"]);
    }

    /// Waits until the operator knows of so many Subscriptions.
    pub fn sees(&self, count: u64) {
        let what = format!("the operator sees {count} Subscriptions");
        self.eventually(&what, SOON, || match self.operator.subscriptions() {
            seen if seen == count => Ok(()),
            seen => Err(seen),
        });
    }

    /// An object; the kind as kubectl takes it. It must be there.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// An object, if it is there.
    pub fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let path = api::collection(kind, &self.namespace);
        self.reader.get(&format!("{path}/{name}"))
    }

    /// An object in another namespace, if it is there.
    pub fn find_in(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let path = api::collection(kind, namespace);
        self.reader.get(&format!("{path}/{name}"))
    }

    /// All objects of a kind in the namespace.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let mut list = self
            .reader
            .get(&api::collection(kind, &self.namespace))
            .unwrap();
        let Value::Array(items) = list["items"].take() else {
            panic!("no items: {list}");
        };
        items
    }

    /// Reads any path of the API server as text, `/metrics` for example.
    pub fn raw(&self, path: &str) -> String {
        self.reader
            .text(path)
            .unwrap_or_else(|| panic!("nothing at {path}"))
    }

    /// The Subscription, by name.
    pub fn sub(&self, name: &str) -> Value {
        self.get("Subscription", name)
    }

    /// Waits with `kubectl wait` until the Subscription is Ready, and returns it.
    pub fn ready(&self, name: &str) -> Value {
        let what = format!("subscription/{name}");
        let args = ["wait", "--for=condition=Ready", "--timeout=60s", &what];
        let output = self.kubectl_with(&args, "");
        if !output.status.success() {
            let found = self.find("Subscription", name).unwrap_or_default();
            panic!(
                "{}\n{:#}",
                String::from_utf8_lossy(&output.stderr),
                found["status"]
            );
        }
        self.sub(name)
    }

    /// Waits until the Subscription's condition stands like `"False Provisioning"` (`"-"`: absent)
    /// in a status that speaks of the object as it is now, and returns it.
    pub fn stands(&self, name: &str, type_: &str, expected: &str) -> Value {
        let what = format!("{type_} of {name} is {expected}");
        self.eventually(&what, SOON, || {
            let object = self
                .find("Subscription", name)
                .ok_or("it is gone".to_owned())?;
            let current = condition(&object, type_)
                .is_none_or(|c| c["observedGeneration"] == object["metadata"]["generation"]);
            if is_observed(&object) && current && standing(&object, type_) == expected {
                Ok(object)
            } else {
                Err(brief(&object))
            }
        })
    }

    /// Waits until an object is as wanted, and returns it.
    pub fn until(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        self.eventually(what, SOON, || {
            let object = self.find(kind, name).ok_or(format!("no {kind} {name}"))?;
            if wanted(&object) {
                Ok(object)
            } else {
                Err(brief(&object))
            }
        })
    }

    /// Waits until an object is gone.
    pub fn gone(&self, kind: &str, name: &str) {
        self.eventually(&format!("{kind} {name} is gone"), SOON, || {
            self.find(kind, name)
                .map_or(Ok(()), |object| Err(brief(&object)))
        });
    }

    /// The events about an object: `(reason, note)`, the oldest first.
    pub fn events(&self, name: &str) -> Vec<(String, String)> {
        let mut events = self.list("events");
        events.retain(|event| event["regarding"]["name"] == name);
        events.sort_by_key(|event| {
            let time = event["eventTime"]
                .as_str()
                .or(event["metadata"]["creationTimestamp"].as_str());
            time.unwrap_or_default().to_owned()
        });
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events
            .iter()
            .map(|event| (text(&event["reason"]), text(&event["note"])))
            .collect()
    }

    /// Waits for an event of that reason about an object, and returns its note.
    pub fn event(&self, name: &str, reason: &str) -> String {
        self.eventually(&format!("an event {reason} about {name}"), SOON, || {
            let events = self.events(name);
            let found = events.iter().rev().find(|event| event.0 == reason);
            found
                .map(|event| event.1.clone())
                .ok_or(format!("{events:?}"))
        })
    }

    /// Asks again and again until the probe succeeds; its last error and the end of the operator's
    /// log are in the panic's message otherwise.
    pub fn eventually<T, E: std::fmt::Display>(
        &self,
        what: &str,
        bound: Duration,
        probe: impl FnMut() -> Result<T, E>,
    ) -> T {
        // The log is printed when the world is dropped by the panic.
        poll_or(what, bound, probe, || {
            self.control_plane
                .check_running()
                .err()
                .map_or_else(String::new, |e| e.to_string())
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "── the operator's log in {}, its end ──\n{}\n──",
                self.namespace,
                log_tail(&self.operator.log())
            );
        }
    }
}

/// What matters of an object when it is not as expected.
fn brief(object: &Value) -> String {
    let mut brief = json!({
        "generation": object["metadata"]["generation"],
        "deletionTimestamp": object["metadata"]["deletionTimestamp"],
        "finalizers": object["metadata"]["finalizers"],
        "status": object["status"],
    });
    if let Some(status) = brief["status"].as_object_mut() {
        status.remove("history");
    }
    format!("{brief:#}")
}

/// Makes a kubeconfig lead to another server.
fn redirect(kubeconfig: &Path, url: &str) {
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["clusters"][0]["cluster"] = json!({"server": url});
    std::fs::write(kubeconfig, config.to_string()).unwrap();
}

fn spawn(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn_bound(command).unwrap()
}

/// Runs a command with a standard input.
fn run(command: Command, input: &str) -> Output {
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().unwrap();
    // One that does not read it is not to be held up.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn succeeded(args: &[&str], output: &Output) -> String {
    assert!(
        output.status.success(),
        "kubectl {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A name that no other test of this process has.
fn unique(prefix: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn namespace(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string()
}

/// The chart's ServiceAccount, Roles and bindings: for [`PLACEHOLDER`] alone, or for all namespaces.
fn rendered_rbac(cluster_wide: bool) -> String {
    static RENDERED: Mutex<[Option<String>; 2]> = Mutex::new([None, None]);
    let mut rendered = RENDERED.lock().unwrap();
    rendered[usize::from(cluster_wide)]
        .get_or_insert_with(|| render_rbac(cluster_wide))
        .clone()
}

fn render_rbac(cluster_wide: bool) -> String {
    let helm: PathBuf = Assets::find_or_build()
        .and_then(|assets| assets.helm())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(helm);
    command
        .args(["template", "fulfillment-operator"])
        .arg(workspace().join("charts/fulfillment-operator"))
        .args(["--namespace", PLACEHOLDER])
        .args(["--show-only", "templates/serviceaccount.yaml"])
        .args(["--show-only", "templates/rbac.yaml"]);
    if !cluster_wide {
        command.args(["--set", &format!("watchNamespaces={{{PLACEHOLDER}}}")]);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The name of the ServiceAccount among the rendered documents.
fn service_account(yaml: &str) -> String {
    use serde_yaml::{Deserializer, Value as Yaml};
    let mut documents = Deserializer::from_str(yaml)
        .filter_map(|document| <Yaml as serde::Deserialize>::deserialize(document).ok());
    documents
        .find(|document| document["kind"] == "ServiceAccount")
        .and_then(|document| document["metadata"]["name"].as_str().map(str::to_owned))
        .unwrap_or_else(|| panic!("no ServiceAccount in {yaml}"))
}
