//! The reference vendor as a process, and what it lets its owner see and do.

pub use crate::call::{Call, operations};
use crate::{
    binaries,
    history::{self, Rules, Twins},
    http, orders, poll,
    ports::free_port,
};
use control_plane::{ControlPlane, pause, resume, spawn_bound, terminate};
use reqwest::{
    Method,
    blocking::{Client, Response},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};
use tempfile::TempDir;

/// The bearer token that the vendor asks for unless told otherwise.
pub const TOKEN: &str = "quickstart-token";

/// The flag that makes a vendor be of an identity mode, in the API's word.
pub fn identity_flag(mode: &str) -> String {
    let word = match mode {
        "ExternalId" => "external-id",
        "IdempotencyKey" => "idempotency-key",
        "Lookup" => "lookup",
        "None" => "none",
        _ => panic!("no identity mode {mode}"),
    };
    format!("--identity={word}")
}

/// The identity mode, in the API's word, that goes with a dialect of the vendor.
pub fn identity_of(dialect: &str) -> &'static str {
    match dialect {
        "canonical" | "reseller-tree" => "ExternalId",
        "scenario" => "Lookup",
        "operation" => "IdempotencyKey",
        "bare" => "None",
        _ => panic!("no dialect {dialect}"),
    }
}

/// A running vendor with a database of its own. Dropping it ends both.
#[derive(Debug)]
pub struct Vendor {
    url: String,
    port: u16,
    args: Vec<String>,
    child: Mutex<Option<Child>>,
    /// What its owner looks at it with.
    client: Mutex<Client>,
    /// What its log is judged by at the end.
    rules: Mutex<Rules>,
    /// Whether no Subscription stands behind what it is asked for.
    alone: bool,
    dir: TempDir,
}

impl Vendor {
    /// Starts one that asks for [`TOKEN`]; more flags, for example `--identity=none` or
    /// `--dialect=scenario`, as needed.
    pub fn start<S: AsRef<str>>(args: &[S]) -> Self {
        Self::launch(args, "http", http::plain().clone(), false)
    }

    /// The same where no Subscription stands behind what it is asked for: `check-vendor` asks, or the
    /// test itself.
    pub fn start_alone<S: AsRef<str>>(args: &[S]) -> Self {
        Self::launch(args, "http", http::plain().clone(), true)
    }

    /// The same over https, with a certificate of the control plane's authority for 127.0.0.1 and
    /// localhost. `identity` is a certificate with its key that it takes from its owner, where it asks
    /// for one.
    pub fn start_tls<S: AsRef<str>>(
        plane: &ControlPlane,
        args: &[S],
        identity: Option<&str>,
    ) -> Self {
        let file = |flag: &str, name: &str| format!("{flag}={}", plane.dir().join(name).display());
        let mut all = vec![
            file("--tls-cert", "serving.crt"),
            file("--tls-key", "serving.key"),
        ];
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        Self::launch(&all, "https", http::showing(plane, identity), false)
    }

    fn launch<S: AsRef<str>>(args: &[S], scheme: &str, client: Client, alone: bool) -> Self {
        let given = |flag: &str| args.iter().any(|arg| arg.as_ref().starts_with(flag));
        let mut all = Vec::new();
        let auth = [
            "--token",
            "--basic",
            "--api-key",
            "--oauth2",
            "--tls-client-ca",
        ];
        if !auth.into_iter().any(given) {
            all.push(format!("--token={TOKEN}"));
        }
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        let port = free_port();
        let vendor = Self {
            url: format!("{scheme}://127.0.0.1:{port}"),
            port,
            args: all,
            child: Mutex::new(None),
            client: Mutex::new(client),
            rules: Mutex::default(),
            alone,
            dir: tempfile::tempdir().unwrap(),
        };
        vendor.run();
        vendor
    }

    /// Takes another certificate from its owner from the next start on.
    pub fn take(&self, plane: &ControlPlane, identity: &str) {
        *self.client.lock().unwrap() = http::showing(plane, Some(identity));
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap().clone()
    }

    /// Where it is reached: what a connection's `spec.url` is to be.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts it again, with all that it knew, at the same URL. Faults are forgotten.
    pub fn run(&self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("vendor.log"))
            .unwrap();
        let mut command = Command::new(binaries::vendor());
        command
            .arg(format!("--listen=127.0.0.1:{}", self.port))
            .arg("--database")
            .arg(self.dir.path().join("vendor.redb"))
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = spawn_bound(command).unwrap();
        *self.child.lock().unwrap() = Some(child);
        poll("the vendor is up", Duration::from_secs(60), || {
            if let Some(status) = self
                .child
                .lock()
                .unwrap()
                .as_mut()
                .unwrap()
                .try_wait()
                .unwrap()
            {
                panic!("the vendor ended: {status}\n{}", self.log());
            }
            let url = format!("{}/_vendor/readyz", self.url);
            let answer = self.client().get(url).send();
            answer.map(drop).map_err(|error| error.to_string())
        });
    }

    /// Ends it at once (SIGKILL); calls are refused until [`run`](Self::run).
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks (SIGSTOP): calls reach it and wait.
    pub fn pause(&self) {
        pause(self.child.lock().unwrap().as_ref().unwrap()).unwrap();
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        resume(self.child.lock().unwrap().as_ref().unwrap()).unwrap();
    }

    /// Ends it as a service manager does and starts it again.
    pub fn restart(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            terminate(&mut child, Duration::from_secs(20)).unwrap();
        }
        self.run();
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("vendor.log")).unwrap_or_default()
    }

    /// Changes its behaviour by a JSON merge patch, for example
    /// `{"operations": {"create": {"async": {"after": "manual"}}}}`.
    pub fn behavior(&self, patch: Value) {
        self.admin(&Method::PATCH, "/behavior", Some(&patch));
    }

    /// Adds a fault rule, for example
    /// `{"method": "POST", "path": "/tenant", "times": 1, "fault": {"closeAfter": true}}`.
    pub fn fault(&self, rule: Value) {
        self.admin(&Method::POST, "/faults", Some(&rule));
    }

    /// The fault rules in force, each with its `hits`.
    pub fn faults(&self) -> Vec<Value> {
        self.list("/faults")
    }

    /// Removes one fault rule.
    pub fn remove_fault(&self, id: u64) {
        self.admin(&Method::DELETE, &format!("/faults/{id}"), None);
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.admin(&Method::DELETE, "/faults", None);
    }

    /// Makes it know none of the tokens any more that it gave out.
    pub fn revoke_tokens(&self) {
        self.admin(&Method::DELETE, "/tokens", None);
    }

    /// Every call it received, in order: `sequence`, `operation`, `method`, `path`, `headers`,
    /// `body`, `status`, `effect`, `fault`.
    pub fn calls(&self) -> Vec<Call> {
        self.list("/calls").into_iter().map(Call).collect()
    }

    /// The calls after that one.
    pub fn calls_since(&self, sequence: u64) -> Vec<Call> {
        let calls = self.list(&format!("/calls?since={sequence}"));
        calls.into_iter().map(Call).collect()
    }

    /// The number of the latest call, for [`calls_since`](Self::calls_since).
    pub fn sequence(&self) -> u64 {
        self.calls().last().map_or(0, Call::sequence)
    }

    /// How often each operation was called, and what there is now: `create`, `get`, …, `tenants`,
    /// `live`, `duplicates`, `inFlight`, `effects`.
    pub fn counts(&self) -> Value {
        self.admin(&Method::GET, "/counts", None).json().unwrap()
    }

    /// One number of [`counts`](Self::counts).
    pub fn count(&self, name: &str) -> u64 {
        let counts = self.counts();
        counts[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {counts}"))
    }

    /// Every tenant it has or had, the oldest first.
    pub fn tenants(&self) -> Vec<Value> {
        self.list("/tenants")
    }

    /// The tenants that are pending, active or suspended.
    pub fn live(&self) -> Vec<Value> {
        let mut tenants = self.tenants();
        tenants.retain(|tenant| {
            matches!(
                tenant["status"].as_str(),
                Some("pending" | "active" | "suspended")
            )
        });
        tenants
    }

    /// Every tenant that was ordered under this name, the oldest first, whatever the vendor's
    /// dialect. One of the dialect `bare` knows the names only that its callers cared to send.
    pub fn tenants_of(&self, external_id: &str) -> Vec<Value> {
        let mut tenants = self.tenants();
        tenants.retain(|tenant| tenant["externalId"] == external_id);
        tenants
    }

    /// The one live tenant.
    pub fn tenant(&self) -> Value {
        let mut live = self.live();
        assert_eq!(live.len(), 1, "{live:#?}");
        live.remove(0)
    }

    /// Decides what is pending for a tenant: `{"status": "approved" | "failed" | "inquiring",
    /// "reason": …, "parameterErrors": {…}}`.
    pub fn decide(&self, id: &str, decision: Value) {
        self.admin(
            &Method::POST,
            &format!("/tenants/{id}/decide"),
            Some(&decision),
        );
    }

    /// Approves what is pending for a tenant.
    pub fn approve(&self, id: &str) {
        self.decide(id, json!({"status": "approved"}));
    }

    /// Changes a tenant behind the operator's back: `{"status", "limits", "parameters"}`.
    pub fn patch_tenant(&self, id: &str, change: Value) {
        if !change["status"].is_null() {
            self.altered(id);
        }
        self.admin(&Method::PATCH, &format!("/tenants/{id}"), Some(&change));
    }

    /// Makes a tenant vanish as if it had never been.
    pub fn vanish(&self, id: &str) {
        self.altered(id);
        self.admin(&Method::DELETE, &format!("/tenants/{id}"), None);
    }

    /// Buys a tenant as somebody else with the operator's token: `{"externalId", "product", …}`, or
    /// what the vendor's dialect says for it. Returns the answer.
    pub fn order(&self, body: &Value) -> Value {
        let answer = self
            .client()
            .post(format!("{}{}", self.url, self.path()))
            .bearer_auth(TOKEN)
            .json(body)
            .send()
            .unwrap();
        let tenant: Value = answer.error_for_status().unwrap().json().unwrap();
        // Whoever takes it over may change it.
        self.adopted(&id_in(&tenant));
        tenant
    }

    /// Where its tenants are: `/tenant`, but for one dialect.
    pub fn path(&self) -> &'static str {
        let tree = |arg: &String| arg == "--dialect=reseller-tree";
        if self.args.iter().any(tree) {
            "/tenants"
        } else {
            "/tenant"
        }
    }

    /// A person gave the operator this tenant, or the vendor was told to speak of it as if it had it.
    pub fn adopted(&self, id: &str) {
        self.rule(|rules| rules.adopted.extend([id.to_owned()]));
    }

    /// Whether two tenants of one Subscription may be seen.
    pub fn allow_twins(&self, twins: Twins) {
        self.rule(|rules| rules.twins = twins);
    }

    /// How its log so far breaks the promise, in words. At the end it is judged anyway.
    pub fn violations(&self) -> Vec<String> {
        self.judge(&self.calls())
    }

    fn judge(&self, calls: &[Call]) -> Vec<String> {
        let rules = self.rules.lock().unwrap().clone();
        if self.alone {
            return history::check(calls, &rules);
        }
        orders::judged(
            |_| true,
            |orders| {
                let ordered = Some(orders);
                let rules = rules.clone();
                history::check(calls, &Rules { ordered, ..rules })
            },
        )
    }

    fn altered(&self, id: &str) {
        self.rule(|rules| rules.altered.extend([id.to_owned()]));
    }

    fn rule(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules.lock().unwrap());
    }

    fn list(&self, path: &str) -> Vec<Value> {
        self.admin(&Method::GET, path, None).json().unwrap()
    }

    fn admin(&self, method: &Method, path: &str, body: Option<&Value>) -> Response {
        let url = format!("{}/_vendor{path}", self.url);
        let mut request = self.client().request(method.clone(), url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}\n{}", self.log()));
        let status = answer.status();
        if status.is_success() {
            answer
        } else {
            panic!(
                "{method} {path} {body:?}: {status} {}",
                answer.text().unwrap_or_default()
            )
        }
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return self.kill();
        }
        if self.child.lock().unwrap().is_none() {
            // It is down and has its log still.
            self.run();
        }
        let calls = self.calls();
        self.kill();
        let violations = self.judge(&calls).join("\n");
        if !violations.is_empty() {
            let calls: Vec<String> = calls.iter().map(Call::brief).collect();
            panic!(
                "the vendor's log breaks the promise:\n{violations}\n{}",
                calls.join("\n")
            );
        }
    }
}

/// The tenant's id in an answer to its purchase, whatever the dialect.
pub fn id_in(answer: &Value) -> String {
    let mut ids = ["id", "tenantId", "tenant"]
        .map(|name| &answer[name])
        .into_iter();
    match ids.find(|id| !id.is_null()) {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => panic!("no id in {answer}"),
    }
}

/// The seats of a tenant: a number, or a text in the dialect whose limits are texts.
pub fn seats_of(tenant: &Value) -> Option<u64> {
    let seats = &tenant["limits"]["seats"];
    seats.as_u64().or_else(|| seats.as_str()?.parse().ok())
}
