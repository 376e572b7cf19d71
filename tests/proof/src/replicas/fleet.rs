//! Several replicas of one operator, and what must be true of their vendor.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use e2e::{
    Operator, World,
    objects::{self, is_observed, standing},
};
use fulfillment_crds::IdentityMode;
use serde_json::{Value, json};

use super::proxy::Proxy;

/// How long anything may take that takes seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the vendor takes over each call: long enough to be interrupted in.
const LATENCY: &str = "60ms";

/// Whether and how a leader is elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// Every replica acts.
    Off,
    /// With short times, so that many take-overs fit into a minute.
    Quick,
    /// With the times of a real installation.
    Default,
}

impl Election {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Off => &[],
            Self::Quick => &[
                "--enable-leader-election",
                "--leader-election-lease-duration=4s",
                "--leader-election-renew-deadline=3s",
                "--leader-election-retry-period=500ms",
            ],
            Self::Default => &["--enable-leader-election"],
        }
    }
}

/// Two replicas of one operator. The first reaches the API server through a proxy.
pub(super) struct Fleet {
    // Ended before the world they are in.
    pub(super) replicas: Vec<Operator>,
    pub(super) proxy: Proxy,
    pub(super) world: World,
}

impl Fleet {
    /// Starts them, the first one first.
    pub(super) fn start(mode: IdentityMode, election: Election) -> Self {
        let mut builder = World::builder().without_operator();
        for flag in election.flags() {
            builder = builder.operator_arg(flag);
        }
        // Whole fleets are deleted here, which is what the pace of deletes is against.
        let unpaced = json!({"policies": {"maxDeletesPerMinute": 0}});
        let world = builder
            .identity(&format!("{mode:?}"))
            .connection(unpaced)
            .start();
        world.vendor.behavior(json!({"latency": LATENCY}));
        let url = world.control_plane().url();
        let address: SocketAddr = url.trim_start_matches("https://").parse().unwrap();
        let proxy = Proxy::start(address).unwrap();
        let way = format!("https://127.0.0.1:{}", proxy.port());
        let replicas = vec![
            world.operator.replica("a", Some(&way)),
            world.operator.replica("b", None),
        ];
        let fleet = Self {
            replicas,
            proxy,
            world,
        };
        for replica in &fleet.replicas {
            replica.start();
            if election != Election::Off {
                fleet.leader();
            }
        }
        fleet
    }

    /// Waits until one leads, and says which. What has ended by itself is started again, as a
    /// kubelet does.
    pub(super) fn leader(&self) -> usize {
        self.leader_among(|_| true)
    }

    /// Waits until another than this one leads.
    pub(super) fn another_leads(&self, than: usize) -> usize {
        self.leader_among(|replica| replica != than)
    }

    fn leader_among(&self, wanted: impl Fn(usize) -> bool) -> usize {
        self.world.eventually("a replica leads", PATIENCE, || {
            for (number, replica) in self.replicas.iter().enumerate() {
                if !wanted(number) {
                    continue;
                }
                if replica.leads() {
                    return Ok(number);
                }
                if replica.ended().is_some() {
                    replica.spawn();
                }
            }
            Err("none does")
        })
    }

    /// Waits until one leads, and says how long ago that time was.
    pub(super) fn taken_over(&self, since: Instant, than: usize) -> Duration {
        self.another_leads(than);
        since.elapsed()
    }

    /// Declares Subscriptions with as many seats, all at once.
    pub(super) fn declare(&self, names: &[String], seats: u64, state: &str) {
        let spec = json!({"limits": {"seats": seats}, "state": state});
        let all: Vec<String> = names
            .iter()
            .map(|name| objects::subscription(name, spec.clone()))
            .collect();
        self.world.apply(&objects::all(&all));
    }

    /// Waits until the vendor has had a call after that one.
    pub(super) fn called(&self, after: u64) {
        self.world.eventually("the vendor is called", PATIENCE, || {
            if self.world.vendor.calls_since(after).is_empty() {
                Err("no call")
            } else {
                Ok(())
            }
        });
    }

    /// Waits until every Subscription is as declared, here and at the vendor, and looks back over all
    /// the vendor has seen.
    pub(super) fn converges(&self) {
        self.world
            .eventually("all is as declared", PATIENCE, || self.looks_right());
        self.never_two();
    }

    /// Fails where the vendor has two tenants of one name, or its log breaks the promise.
    pub(super) fn never_two(&self) {
        let vendor = &self.world.vendor;
        assert_eq!(vendor.count("duplicates"), 0, "{:#?}", vendor.live());
        assert_eq!(vendor.violations(), [""; 0]);
    }

    fn looks_right(&self) -> Result<(), String> {
        let subscriptions = self.world.list("Subscription");
        let live = self.world.vendor.live();
        for object in &subscriptions {
            as_declared(object, &live)?;
        }
        if live.len() == subscriptions.len() {
            Ok(())
        } else {
            Err(format!(
                "{} live tenants of {} Subscriptions",
                live.len(),
                subscriptions.len()
            ))
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (number, replica) in self.replicas.iter().enumerate() {
                eprintln!("── replica {number} ──\n{}\n──", replica.log_tail());
            }
        }
    }
}

/// Whether an object is Ready and its one tenant is as it says.
fn as_declared(object: &Value, live: &[Value]) -> Result<(), String> {
    let name = &object["metadata"]["name"];
    let ready = standing(object, "Ready");
    if !is_observed(object) || !ready.starts_with("True ") {
        return Err(format!("{name} is {ready}"));
    }
    let (spec, status) = (&object["spec"], &object["status"]);
    let tenants: Vec<&Value> = live
        .iter()
        .filter(|tenant| tenant["externalId"] == status["externalId"])
        .collect();
    let [tenant] = tenants.as_slice() else {
        return Err(format!("{name} has the tenants {tenants:?}"));
    };
    let wanted = match spec["state"].as_str() {
        Some("Suspended") => "suspended",
        Some(_) | None => "active",
    };
    let same = tenant["id"] == status["tenantId"]
        && tenant["status"] == wanted
        && tenant["limits"]["seats"] == spec["limits"]["seats"];
    if same {
        Ok(())
    } else {
        Err(format!("{name} is {spec}, and its tenant {tenant}"))
    }
}
