//! Several replicas of one operator, and what must be true of their vendor.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use e2e::{
    Operator, World,
    objects::{self, is_observed, standing},
    vendor::id_in,
};
use fulfillment_crds::IdentityMode;
use serde_json::{Value, json};

use super::{proxy::Proxy, times::Times};

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
    /// The requests about which a person was asked, and answered.
    answered: Mutex<BTreeSet<String>>,
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
            answered: Mutex::default(),
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

    /// Waits until no Subscription and no tenant is left.
    pub(super) fn all_gone(&self) {
        self.world.eventually("all is gone", PATIENCE, || {
            let left = self.world.list("Subscription");
            left.iter().for_each(|object| self.answer(object));
            let live = self.world.vendor.live();
            if left.is_empty() && live.is_empty() {
                Ok(())
            } else {
                Err(format!("{} left, live: {live:?}", left.len()))
            }
        });
        self.never_two();
    }

    /// Where a person is asked what became of a create, they say what is true at the vendor, once it
    /// has nothing under way.
    fn answer(&self, object: &Value) {
        if standing(object, "Ready") != "False CreateOutcomeUnknown" {
            return;
        }
        let vendor = &self.world.vendor;
        let request = object["status"]["request"]["id"].as_str().unwrap();
        if vendor.count("inFlight") > 0 || self.answered.lock().unwrap().contains(request) {
            return;
        }
        let name = &object["status"]["externalId"];
        let tenant = vendor
            .live()
            .into_iter()
            .find(|tenant| tenant["externalId"] == *name);
        let answer = match tenant {
            Some(tenant) => format!("adopt:{}", id_in(&tenant)),
            None => format!("none:{request}"),
        };
        let annotation = format!("fulfillment-operator.io/resolve-create={answer}");
        let name = object["metadata"]["name"].as_str().unwrap();
        self.world.annotate(name, &annotation);
        self.answered.lock().unwrap().insert(request.to_owned());
    }

    /// What a case brought, at its end.
    pub(super) fn seen(&self, mut times: Times) -> Times {
        times.asked = self.answered.lock().unwrap().len();
        times
    }

    /// Fails where the vendor has two tenants of one name, or its log breaks the promise.
    pub(super) fn never_two(&self) {
        let vendor = &self.world.vendor;
        assert_eq!(vendor.count("duplicates"), 0, "{:#?}", vendor.live());
        assert_eq!(vendor.violations(), [""; 0]);
    }

    fn looks_right(&self) -> Result<(), String> {
        let subscriptions = self.world.list("Subscription");
        subscriptions.iter().for_each(|object| self.answer(object));
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
