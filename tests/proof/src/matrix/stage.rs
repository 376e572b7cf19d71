//! A cell's own vendor and objects: what a user does with them, and what is seen of them.

mod beside;

use super::{
    cluster::Kind,
    lane::Lane,
    setting::{DRIFT_INTERVAL, Setting},
};
use e2e::{
    history::{self, Rules, Twins},
    objects,
    orders::{self, Orderer},
    vendor::{Call, TOKEN, id_in, seats_of},
};
use reference_vendor::Running;
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

/// How often a state is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long any end may take: the longest fault and the back-offs after it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a part of a life ends, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ready, with one tenant, of so many seats.
    Active(u64),
    /// The same, suspended.
    Suspended(u64),
    /// No object, no tenant, and nothing left of their protection.
    Gone,
}

/// What is promised of a cell besides its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    /// Whether a question to a person is allowed.
    pub(super) may_hold: bool,
    /// Whether two tenants may be seen.
    pub(super) twins: Twins,
}

/// What a cell stands on.
pub(super) struct Stage<'l> {
    pub(super) lane: &'l Lane,
    pub(super) setting: Setting,
    /// Of every object of the cell.
    pub(super) name: String,
    promise: Promise,
    vendor: Running,
    http: reqwest::blocking::Client,
    /// The questions that were answered.
    answered: RefCell<BTreeSet<String>>,
    adopted: RefCell<BTreeSet<String>>,
    held: Cell<bool>,
    /// How many resellers have tenants of their own.
    resellers: Cell<usize>,
}

impl<'l> Stage<'l> {
    /// A vendor, a connection to it through the proxy, and its Secret.
    pub(super) fn set(
        lane: &'l Lane,
        setting: Setting,
        name: &str,
        promise: Promise,
    ) -> Result<Self, String> {
        let vendor = reference_vendor::start(setting.vendor());
        let vendor = lane.runtime.block_on(vendor);
        let vendor = vendor.map_err(|error| error.to_string())?;
        lane.script.begin(name, vendor.url());
        let http = reqwest::blocking::Client::builder().no_proxy().build();
        let stage = Self {
            lane,
            setting,
            name: name.to_owned(),
            promise,
            vendor,
            http: http.map_err(|error| error.to_string())?,
            answered: RefCell::default(),
            adopted: RefCell::default(),
            held: Cell::new(false),
            resellers: Cell::new(0),
        };
        let secret = objects::secret(name, &[("token", TOKEN)]);
        lane.cluster.create(Kind::Secret, &secret)?;
        let mut connection: Value = parsed(&objects::connection(
            &format!("{}/{name}", lane.vendors),
            setting.connection(),
        ))?;
        if stage.promise.twins != Twins::Never {
            let often = json!({"polling": {"interval": format!("{}s", DRIFT_INTERVAL.as_secs())}});
            objects::merge(&mut connection["spec"], often);
        }
        connection["metadata"]["name"] = json!(name);
        connection["spec"]["auth"]["bearer"]["secretRef"]["name"] = json!(name);
        lane.cluster
            .create(Kind::Connection, &connection.to_string())?;
        stage.wait("the connection is known", || stage.is_unprotected())?;
        if setting.has_resellers() {
            stage.set_reseller()?;
        }
        Ok(stage)
    }

    /// The reseller, and the tenant that makes him one at the vendor.
    fn set_reseller(&self) -> Result<(), String> {
        let tier = json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1",
            "kind": "TierConfiguration",
            "metadata": {"name": self.name},
            "spec": {
                "connectionRef": {"name": self.name},
                "product": "mail-pro",
                "level": 1,
                "account": {"externalId": "r-3", "name": "Elbe Cloud"},
            },
        });
        let cluster = &self.lane.cluster;
        cluster.create(Kind::TierConfiguration, &tier.to_string())?;
        self.resellers.set(1);
        self.wait("the reseller is set up", || {
            let tier = cluster.find(Kind::TierConfiguration, &self.name)?;
            let tier = tier.unwrap_or_default();
            if tier["status"]["state"] == "Active" {
                self.is_unprotected()
            } else {
                Err(said(&tier))
            }
        })
    }

    /// The reseller goes, when nobody is below him any more.
    fn strike_reseller(&self) -> Result<(), String> {
        let cluster = &self.lane.cluster;
        cluster.delete(Kind::TierConfiguration, &self.name)?;
        self.resellers.set(0);
        self.wait("the reseller is gone", || {
            match cluster.find(Kind::TierConfiguration, &self.name)? {
                Some(tier) => Err(said(&tier)),
                None => self.is_unprotected(),
            }
        })
    }

    /// Whether a person was asked.
    pub(super) fn was_held(&self) -> bool {
        self.held.get()
    }

    /// Applies the Subscription.
    pub(super) fn subscribe(&self, spec: Value) -> Result<(), String> {
        let mut object: Value = parsed(&objects::subscription(&self.name, spec))?;
        object["spec"]["connectionRef"]["name"] = json!(self.name);
        if self.resellers.get() > 0 {
            let tier = json!({"tierConfigurationRef": {"name": self.name}});
            object["spec"]["tiers"]["tier1"] = tier;
        }
        let object = object.to_string();
        self.lane.cluster.create(Kind::Subscription, &object)
    }

    /// Merges into its spec.
    pub(super) fn edit(&self, spec: &Value) -> Result<(), String> {
        let patch = json!({"spec": spec});
        let cluster = &self.lane.cluster;
        cluster.merge(Kind::Subscription, &self.name, "", &patch)
    }

    /// Deletes it, and waits for nothing.
    pub(super) fn unsubscribe(&self) -> Result<(), String> {
        self.lane.cluster.delete(Kind::Subscription, &self.name)
    }

    /// The object is gone as with its cluster, and the operator does not see it go.
    pub(super) fn lose_object(&self) -> Result<(), String> {
        let bare = json!({"metadata": {"finalizers": null}});
        let cluster = &self.lane.cluster;
        cluster.merge(Kind::Subscription, &self.name, "", &bare)?;
        cluster.delete(Kind::Subscription, &self.name)
    }

    /// Status and annotations are gone, the finalizer is not.
    pub(super) fn lose_status(&self) -> Result<(), String> {
        let cluster = &self.lane.cluster;
        let bare = json!({"metadata": {"annotations": null}});
        cluster.merge(Kind::Subscription, &self.name, "", &bare)?;
        let bare = json!({"status": null});
        cluster.merge(Kind::Subscription, &self.name, "/status", &bare)
    }

    /// Waits until the create is on its way; or will not be, as a person is asked.
    pub(super) fn create_is_under_way(&self) -> Result<(), String> {
        self.wait("a create is under way", || {
            let object = self.object()?.unwrap_or_default();
            if self.lane.script.is_at_gate() || is_held(&object) {
                Ok(())
            } else {
                Err(said(&object))
            }
        })
    }

    /// Waits for an end, to stay: nothing is under way that could still undo it. Answers for the
    /// person where one is asked.
    pub(super) fn reach(&self, end: End) -> Result<(), String> {
        self.wait(&format!("{end:?}"), || {
            // Asked first: what is under way now may land after the look.
            let idle = self.lane.script.is_idle();
            let (object, live) = (self.object()?, self.live()?);
            if let Some(object) = object.as_ref().filter(|object| is_held(object)) {
                self.hold(object, &live, idle)?;
                return Err("a person is asked".to_owned());
            }
            let is_there = self.is_there(end, object.as_ref(), &live);
            if !is_there || !idle {
                let object = object.unwrap_or_default();
                return Err(format!("{}; live: {live:?}; idle: {idle}", said(&object)));
            }
            match end {
                End::Active(_) | End::Suspended(_) => self.is_protected(),
                End::Gone => self.is_unprotected(),
            }
        })
    }

    fn is_there(&self, end: End, object: Option<&Value>, live: &[Value]) -> bool {
        let (word, status, seats) = match end {
            End::Active(seats) => ("Active", "active", seats),
            End::Suspended(seats) => ("Suspended", "suspended", seats),
            End::Gone => return object.is_none() && live.is_empty(),
        };
        let (Some(object), [tenant]) = (object, live) else {
            return false;
        };
        objects::is_observed(object)
            && objects::standing(object, "Ready") == format!("True {word}")
            && object["status"]["state"] == word
            && object["status"]["tenantId"] == tenant["id"]
            && tenant["status"] == status
            && seats_of(tenant) == Some(seats)
    }

    /// Somebody must say what became of a create: the vendor's truth, once nothing is under way.
    fn hold(&self, object: &Value, live: &[Value], idle: bool) -> Result<(), String> {
        self.held.set(true);
        let request = object["status"]["request"]["id"].as_str().unwrap_or("");
        let none = format!("none:{request}");
        // Until a create can land no more, nobody is asked whether it made none.
        let asked = !live.is_empty() || objects::message(object, "Ready").contains(&none);
        if !idle || !asked || !self.answered.borrow_mut().insert(request.to_owned()) {
            return Ok(());
        }
        let answer = match live.first().map(id_in) {
            Some(tenant) => {
                self.adopted.borrow_mut().insert(tenant.clone());
                format!("adopt:{tenant}")
            }
            None => none,
        };
        let answer = json!({"fulfillment-operator.io/resolve-create": answer});
        let patch = json!({"metadata": {"annotations": answer}});
        let cluster = &self.lane.cluster;
        cluster.merge(Kind::Subscription, &self.name, "", &patch)
    }

    fn object(&self) -> Result<Option<Value>, String> {
        self.lane.cluster.find(Kind::Subscription, &self.name)
    }

    /// The customers' tenants that are there.
    fn live(&self) -> Result<Vec<Value>, String> {
        let mut tenants = self.vendor_list("tenants")?;
        tenants.retain(|tenant| {
            let live = matches!(
                tenant["status"].as_str(),
                Some("pending" | "active" | "suspended")
            );
            live && tenant["tree"]["kind"] != "partner"
        });
        Ok(tenants)
    }

    /// The vendor's calls, as it recorded them.
    pub(super) fn calls(&self) -> Result<Vec<Call>, String> {
        Ok(self.vendor_list("calls")?.into_iter().map(Call).collect())
    }

    fn vendor_list(&self, what: &str) -> Result<Vec<Value>, String> {
        let url = format!("{}/_vendor/{what}", self.vendor.url());
        let answer = self.http.get(url).send().and_then(|a| a.json());
        answer.map_err(|error| error.to_string())
    }

    /// The vendor's log is one that the promise allows.
    pub(super) fn history(&self) -> Result<(), String> {
        let calls = self.calls()?;
        let here = self.lane.namespace();
        // Those of the cell have its connection.
        let ours = |who: &Orderer| who.namespace == here && who.connection == self.name;
        let violations = orders::judged(ours, |orders| {
            let rules = Rules {
                twins: self.promise.twins,
                adopted: self.adopted.borrow().clone(),
                ordered: Some(orders),
                ..Rules::default()
            };
            history::check(&calls, &rules)
        });
        if violations.is_empty() {
            Ok(())
        } else {
            Err(format!("history: {}", violations.join("; ")))
        }
    }

    /// Everything ends: the object with its tenant, then what only it needed.
    pub(super) fn strike(&self) -> Result<(), String> {
        self.unsubscribe()?;
        self.reach(End::Gone)?;
        if self.resellers.get() > 0 {
            self.strike_reseller()?;
        }
        self.history()?;
        self.lane.cluster.delete(Kind::Connection, &self.name)?;
        self.lane.cluster.delete(Kind::Secret, &self.name)?;
        self.lane.cluster.clear_tombstones()
    }

    /// Looks until it is so, and starts the operator again where a fault has killed it. What must
    /// never be ends the wait at once.
    fn wait(
        &self,
        what: &str,
        mut probe: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.lane.tend();
            let seen = probe();
            if self.promise.twins == Twins::Never && self.live()?.len() > 1 {
                return Err(format!("two tenants: {:?}", self.live()?));
            }
            if self.held.get() && !self.promise.may_hold {
                let object = self.object()?.unwrap_or_default();
                return Err(format!("a person is asked: {}", said(&object)));
            }
            match seen {
                Ok(()) => return Ok(()),
                Err(last) if began.elapsed() > PATIENCE => {
                    return Err(format!(
                        "not within {PATIENCE:?}: {what}; last seen: {last}"
                    ));
                }
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn is_held(object: &Value) -> bool {
    objects::standing(object, "Ready") == "False CreateOutcomeUnknown"
}

fn said(object: &Value) -> String {
    let ready = objects::standing(object, "Ready");
    format!("{ready} {:?}", objects::message(object, "Ready"))
}
