//! A lane: a namespace, an operator and a proxy on each of its sides; one cell at a time.

use super::{
    cluster::Cluster,
    proxy::{Kill, Proxy},
    script::Script,
    setting::SETTLE,
    spot::Side,
};
use control_plane::ControlPlane;
use e2e::World;
use reqwest::{Certificate, Client};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;

/// Where cells are run.
#[derive(Debug)]
pub(super) struct Lane {
    world: Arc<World>,
    pub(super) script: Arc<Script>,
    pub(super) cluster: Cluster,
    /// Where the operator finds vendors: a cell's is below its name.
    pub(super) vendors: String,
    pub(super) runtime: Handle,
}

impl Lane {
    /// Starts one, its operator too.
    pub(super) fn start(runtime: &Handle) -> Result<Self, String> {
        let plane = ControlPlane::shared();
        let script = Script::new();
        let kill: Kill = Arc::new(OnceLock::new());
        let serve = |side, upstream, client| {
            let proxy = Proxy {
                side,
                upstream,
                client,
                script: Arc::clone(&script),
                kill: Arc::clone(&kill),
            };
            proxy.serve(runtime).map_err(|error| error.to_string())
        };
        let api = serve(Side::Cluster, plane.url(), client(Some(plane.ca_pem()))?)?;
        let vendors = serve(Side::Vendor, String::new(), client(None)?)?;
        let world = World::builder()
            .without_operator()
            .api_server(&api)
            .operator_arg("--request-deadline=1s")
            .operator_arg(&format!("--settle={}s", SETTLE.as_secs()))
            .operator_arg("--sweep-interval=1s")
            .start();
        let world = Arc::new(world);
        // Weak, as the proxies live until the end of the program.
        let operator = Arc::downgrade(&world);
        let killer = move || {
            if let Some(world) = operator.upgrade() {
                world.operator.kill9();
            }
        };
        // The cell is new, so it is not set.
        let _ = kill.set(Box::new(killer));
        world.operator.start();
        Ok(Self {
            cluster: Cluster::new(plane, world.namespace())?,
            world,
            script,
            vendors,
            runtime: runtime.clone(),
        })
    }

    /// Where its objects are.
    pub(super) fn namespace(&self) -> &str {
        self.world.namespace()
    }

    /// The operator is killed.
    pub(super) fn down(&self) {
        self.world.operator.kill9();
    }

    /// Another process takes over.
    pub(super) fn up(&self) {
        self.world.operator.kill9();
        self.world.operator.spawn();
    }

    /// Starts the operator again where a fault has killed it.
    pub(super) fn tend(&self) {
        if self.script.take_died() {
            self.up();
        }
    }

    /// The operator's log.
    pub(super) fn log(&self) -> String {
        self.world.operator.log()
    }
}

fn client(ca_pem: Option<&str>) -> Result<Client, String> {
    let ca = ca_pem.map(|pem| Certificate::from_pem(pem.as_bytes()));
    let ca = ca.transpose().map_err(|error| error.to_string())?;
    let client = Client::builder()
        .no_proxy()
        .http1_only()
        .tls_certs_only(ca)
        // One that is kept could be closed by the other side just as it is used again: a fault that
        // no cell asked for.
        .pool_max_idle_per_host(0);
    client.build().map_err(|error| error.to_string())
}
