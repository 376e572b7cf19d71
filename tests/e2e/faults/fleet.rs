//! A vendor for each kind of fault, which all stand on one operator, and the life that they are led
//! through.

use super::kinds::{Kind, Trap, kinds};
use e2e::{
    Builder, SOON, Vendor, World, examples,
    objects::{self, is_observed, message, standing},
    vendor::{Call, id_in, identity_flag, identity_of, operations, seats_of},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{cell::Cell, time::Duration};

/// One vendor for each kind of fault, with a connection and a subscription of the same name.
pub(crate) struct Fleet {
    pub(super) world: World,
    pub(super) ships: Vec<Ship>,
    elsewhere: Trap,
    /// The identity mode of all of them.
    identity: &'static str,
    /// How many calls a fault must have met before it ends.
    met: u64,
}

pub(super) struct Ship {
    pub(super) kind: Kind,
    pub(super) vendor: Vendor,
    /// Whether its customers stand under a reseller, who has a tenant too.
    under_reseller: bool,
    /// When it was armed.
    armed: Cell<Timestamp>,
}

impl Fleet {
    /// All vendors and connections, of an identity mode; no subscription yet. A fault meets calls
    /// enough to judge their pace by.
    pub(super) fn start(identity: &'static str) -> Self {
        let (flag, spec) = (
            identity_flag(identity),
            json!({"identity": {"mode": identity}}),
        );
        Self::of(World::builder(), identity, &flag, &spec, 3)
    }

    /// The same with the connection of a dialect's example, and its resellers are there.
    pub(crate) fn speaking(dialect: &str) -> Self {
        // A slow call must not land when it is taken for lost.
        let builder = World::builder().operator_arg("--settle=6s");
        let flag = format!("--dialect={dialect}");
        let spec = examples::vendor_connection(dialect);
        let mut fleet = Self::of(builder, identity_of(dialect), &flag, &spec, 1);
        let documents = examples::vendor(dialect);
        let reseller = documents.iter().find(|d| d["kind"] == "TierConfiguration");
        if let Some(reseller) = reseller {
            fleet.put_under(reseller);
        }
        fleet
    }

    fn of(builder: Builder, identity: &'static str, flag: &str, spec: &Value, met: u64) -> Self {
        let elsewhere = Trap::start();
        let world = builder.start();
        let ship = |kind| Ship {
            kind,
            vendor: Vendor::start(&[flag]),
            under_reseller: false,
            armed: Cell::new(Timestamp::MIN),
        };
        let ships: Vec<Ship> = kinds(&elsewhere).into_iter().map(ship).collect();
        let connections: Vec<String> = ships.iter().map(|ship| ship.connection(spec)).collect();
        world.apply(&objects::all(&connections));
        Self {
            world,
            ships,
            elsewhere,
            identity,
            met,
        }
    }

    /// Each gets a reseller of its own.
    fn put_under(&mut self, reseller: &Value) {
        let mut all = Vec::new();
        for ship in &mut self.ships {
            ship.under_reseller = true;
            let mut own = reseller.clone();
            own["metadata"]["name"] = json!(ship.kind.name);
            own["spec"]["connectionRef"]["name"] = json!(ship.kind.name);
            all.push(own.to_string());
        }
        self.world.apply(&objects::all(&all));
        for ship in &self.ships {
            let made = |tier: &Value| standing(tier, "Ready") == "True Active";
            self.world
                .until("a reseller", "TierConfiguration", ship.kind.name, made);
        }
    }

    /// Applies all subscriptions, with `spec` merged in.
    pub(super) fn apply(&self, spec: &Value) {
        let all: Vec<String> = self
            .ships
            .iter()
            .map(|ship| ship.subscription(spec))
            .collect();
        self.world.apply(&objects::all(&all));
    }

    /// `kubectl COMMAND subscription … ARGUMENT` for all of them.
    pub(super) fn kubectl(&self, command: &str, argument: &str) {
        let mut args = vec![command, "subscription"];
        args.extend(self.ships.iter().map(|ship| ship.kind.name));
        args.push(argument);
        self.world.kubectl(&args);
    }

    /// From now on the calls of that method meet each vendor's fault, and nothing else does.
    pub(super) fn arm(&self, method: &str) {
        for ship in &self.ships {
            ship.vendor.clear_faults();
            ship.armed.set(Timestamp::now());
            ship.meets(method, &json!("unlimited"));
        }
    }

    /// Asks of all of them, again and again, until each was once as the probe wants it; it is given the
    /// object of that kind and of the ship's name, `null` where there is none.
    fn each(
        &self,
        what: &str,
        kind: &str,
        mut probe: impl FnMut(&Ship, &Value) -> Result<(), String>,
    ) {
        let mut left: Vec<&Ship> = self.ships.iter().collect();
        self.world.eventually(what, SOON, || {
            let mut open = Vec::new();
            left.retain(|ship| {
                let name = ship.kind.name;
                let object = self.world.find(kind, name);
                match probe(ship, &object.unwrap_or_default()) {
                    Ok(()) => false,
                    Err(why) => {
                        open.push(format!("{name}: {why}"));
                        true
                    }
                }
            });
            if open.is_empty() {
                Ok(())
            } else {
                Err(open.join("\n"))
            }
        });
    }

    /// From purchase to deletion: each operation's calls meet the faults for a while, and then a read
    /// on the way to its end.
    pub(crate) fn lives(&self) {
        self.arm("POST");
        self.apply(&json!({}));
        self.weather("create", |_, object| is_ready(object, "Active"));
        self.assert_one_tenant_each();

        self.arm("PUT");
        self.apply(&json!({"limits": {"seats": 60}}));
        self.weather("change", |ship, object| {
            is_ready(object, "Active") && seats_of(&ship.tenant()) == Some(60)
        });

        self.arm("PUT");
        self.apply(&json!({"limits": {"seats": 60}, "state": "Suspended"}));
        self.weather("disable", |ship, object| {
            is_ready(object, "Suspended") && ship.tenant()["status"] == "suspended"
        });

        self.arm("PUT");
        self.apply(&json!({"limits": {"seats": 60}}));
        self.weather("enable", |ship, object| {
            is_ready(object, "Active") && ship.tenant()["status"] == "active"
        });
        self.look_in_vain();
        self.assert_one_tenant_each();

        self.arm("DELETE");
        self.kubectl("delete", "--wait=false");
        self.weather("delete", |_, object| object.is_null());
        if self.ships.iter().any(|ship| ship.under_reseller) {
            let resellers = ["delete", "tierconfiguration", "--all", "--timeout=60s"];
            self.world.kubectl(&resellers);
        }
        for ship in &self.ships {
            ship.assert_has(0, 1);
        }

        // However large an answer is, little of it is kept.
        let peak = peak_memory(self.world.operator.pid());
        assert!(peak < 200 << 20, "{peak} bytes");
    }

    /// A look at what is Ready fails: it stays so, and says that it is not verified, until a look
    /// succeeds.
    fn look_in_vain(&self) {
        let read = match self.identity {
            "Lookup" => "lookup",
            _ => "get",
        };
        self.arm("GET");
        self.kubectl("annotate", "reconcile.fluxcd.io/requestedAt=now");
        self.each("unverified", "subscription", |ship, object| {
            let (name, said) = (ship.kind.name, message(object, "Ready"));
            if !said.contains("unverified") || ship.hits() < self.met.min(2) {
                return Err(said);
            }
            let connection = self.world.get("VendorConnection", name);
            let stands = standing(&connection, "Ready");
            if stands != "False VendorUnavailable" {
                return Err(stands);
            }
            ship.kind.check_message(&message(&connection, "Ready"));
            ship.kind.check_message(&said);
            assert_eq!(standing(object, "Ready"), "True Active", "{name}");
            assert_eq!(standing(object, "Reconciling"), "-", "{name}");
            assert_eq!(standing(object, "Stalled"), "-", "{name}");
            assert_eq!(standing(object, "Approved"), "True Approved", "{name}");
            assert_eq!(object["status"]["lastHandledReconcileAt"], "now", "{name}");
            ship.assert_no_hot_loop();
            let calls = ship.calls();
            assert!(calls.iter().all(|call| call.operation() == read), "{name}");
            ship.vendor.clear_faults();
            Ok(())
        });
        self.each("verified again", "subscription", |ship, object| {
            let said = message(object, "Ready");
            if said.contains("unverified") {
                return Err(said);
            }
            let name = ship.kind.name;
            assert_eq!(standing(object, "Ready"), "True Active", "{name}");
            Ok(())
        });
        let ready = "the connection is Ready";
        self.each(ready, "vendorconnection", |_, connection| {
            match standing(connection, "Ready").as_str() {
                "True VendorAnswers" => Ok(()),
                stands => Err(stands.to_owned()),
            }
        });
    }

    /// Waits until each vendor's fault has been met a few times by calls of that operation, or what is
    /// wanted came about all the same; judges pace and message, ends the fault, and waits for what is
    /// wanted.
    pub(super) fn weather(&self, operation: &str, wanted: impl Fn(&Ship, &Value) -> bool) {
        let what = format!("each {operation} meets its fault");
        self.each(&what, "subscription", |ship, object| {
            if !wanted(ship, object) {
                self.holds(ship, operation, object)?;
            }
            ship.assert_no_hot_loop();
            assert_paused(&ship.kind, &ship.met(operation));
            ship.vendor.clear_faults();
            ship.meets("GET", &json!(1));
            Ok(())
        });
        if operation == "create" && self.identity == "None" {
            self.answer();
        }
        let what = format!("each {operation} recovers");
        self.each(&what, "subscription", |ship, object| {
            if wanted(ship, object) {
                return Ok(());
            }
            let said = message(object, "Ready");
            Err(format!("{} {said:?}", standing(object, "Ready")))
        });
        self.assert_nothing_astray();
    }

    /// Calls of that operation met the fault, and it is said well; a little later than the calls.
    fn holds(&self, ship: &Ship, operation: &str, object: &Value) -> Result<(), String> {
        let (stands, said) = (standing(object, "Ready"), message(object, "Ready"));
        let holding = self.holding(&ship.kind, operation, object);
        if stands != holding || !said.contains(ship.kind.says[0]) {
            return Err(format!("{stands} {said:?}"));
        }
        let met = ship.hits();
        if met < self.met {
            return Err(format!("{met} calls"));
        }
        let held = stands == "False CreateOutcomeUnknown";
        let stalled = if held {
            "True CreateOutcomeUnknown"
        } else {
            "-"
        };
        assert_eq!(standing(object, "Stalled"), stalled, "{}", ship.kind.name);
        ship.kind.check_message(&said);
        Ok(())
    }

    /// How a Subscription stands whose calls meet the fault.
    fn holding(&self, kind: &Kind, operation: &str, object: &Value) -> &'static str {
        if object["metadata"]["deletionTimestamp"].is_string() {
            return "False Terminating";
        }
        match self.identity {
            "None" if operation == "create" && kind.may_have_effect => "False CreateOutcomeUnknown",
            _ => "False VendorUnavailable",
        }
    }

    /// Where a create cannot be found again, a person is asked, and says which tenant it made, if any.
    fn answer(&self) {
        let mut all = Vec::new();
        self.each("nothing is on its way", "subscription", |ship, object| {
            if ship.vendor.count("inFlight") > 0 {
                return Err("a call is".to_owned());
            }
            if standing(object, "Ready") != "False CreateOutcomeUnknown" {
                return Ok(());
            }
            let answer = if let Some(tenant) = ship.vendor.live().pop() {
                let id = id_in(&tenant);
                ship.vendor.adopted(&id);
                format!("adopt:{id}")
            } else {
                let request = object["status"]["request"]["id"].as_str();
                format!("none:{}", request.unwrap_or_default())
            };
            let text = ship.subscription(&json!({}));
            let mut answered: Value = serde_json::from_str(&text).unwrap();
            let resolve = json!({"fulfillment-operator.io/resolve-create": answer});
            answered["metadata"]["annotations"] = resolve;
            all.push(answered.to_string());
            Ok(())
        });
        self.world.apply(&objects::all(&all));
    }

    pub(super) fn assert_one_tenant_each(&self) {
        for ship in &self.ships {
            ship.assert_has(1, 1);
        }
        self.assert_nothing_astray();
    }

    pub(super) fn assert_nothing_astray(&self) {
        assert_eq!(self.elsewhere.seen(), 0, "a redirect was followed");
    }
}

impl Ship {
    fn connection(&self, spec: &Value) -> String {
        let mut spec = spec.clone();
        if self.kind.is_slow() {
            objects::merge(&mut spec, json!({"timeouts": {"request": "1s"}}));
        }
        objects::connection_named(self.kind.name, self.vendor.url(), spec)
    }

    fn subscription(&self, spec: &Value) -> String {
        let name = self.kind.name;
        let mut own = json!({"connectionRef": {"name": name}});
        if self.under_reseller {
            own["tiers"] = json!({"tier1": {"tierConfigurationRef": {"name": name}}});
        }
        objects::merge(&mut own, spec.clone());
        objects::subscription(name, own)
    }

    /// So many calls of that method meet the fault from now on.
    fn meets(&self, method: &str, times: &Value) {
        let fault = self.kind.fault();
        self.vendor
            .fault(json!({"method": method, "times": times, "fault": fault}));
    }

    /// Its calls since it was armed. They are recorded when they are done, which a slow vendor does in
    /// another order.
    fn calls(&self) -> Vec<Call> {
        let mut calls = self.vendor.calls();
        calls.retain(|call| call.time() >= self.armed.get());
        calls.sort_by_key(Call::time);
        calls
    }

    /// How many calls met its fault; some may be under way still.
    pub(super) fn hits(&self) -> u64 {
        let faults = self.vendor.faults();
        faults
            .iter()
            .filter_map(|fault| fault["hits"].as_u64())
            .sum()
    }

    /// The calls of that operation among them that met the fault.
    fn met(&self, operation: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| !call.0["fault"].is_null() && call.operation() == operation);
        calls
    }

    /// Never more than four attempts within a second, of any kind.
    fn assert_no_hot_loop(&self) {
        let calls = self.calls();
        // Below a reseller each begins with a look, and a read of the version.
        let each = if self.under_reseller { 3 } else { 1 };
        for window in calls.windows(4 * each + 1) {
            let took = between(&window[0], &window[4 * each]);
            assert!(
                took >= Duration::from_secs(1),
                "{}: {} calls within {took:?}: {:?}",
                self.kind.name,
                window.len(),
                operations(&calls)
            );
        }
    }

    /// The customer's tenant.
    fn tenant(&self) -> Value {
        let mut live = self.vendor.live();
        live.retain(|tenant| tenant["tree"]["kind"] != "partner");
        assert_eq!(live.len(), 1, "{}: {live:#?}", self.kind.name);
        live.remove(0)
    }

    /// So many tenants are there, made by so many creates, of one customer; a reseller's come to that.
    fn assert_has(&self, live: u64, created: u64) {
        let more = u64::from(self.under_reseller);
        let counts = self.vendor.counts();
        let name = self.kind.name;
        let there = if live == 0 { 0 } else { live + more };
        assert_eq!(counts["live"], there, "{name}: {counts}");
        assert_eq!(
            counts["effects"]["created"],
            created + more,
            "{name}: {counts}"
        );
    }
}

/// Ready, and at this generation.
fn is_ready(object: &Value, reason: &str) -> bool {
    is_observed(object) && standing(object, "Ready") == format!("True {reason}")
}

/// The vendor is left alone for as long as it asked.
fn assert_paused(kind: &Kind, met: &[Call]) {
    for pair in met.windows(2) {
        let (asked, pause) = (kind.pause(&pair[0]), between(&pair[0], &pair[1]));
        assert!(pause >= asked, "{}: again after {pause:?}", kind.name);
    }
}

/// The largest resident size a process ever had.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("no VmHWM") * 1024
}

/// The time between two calls.
fn between(earlier: &Call, later: &Call) -> Duration {
    let time = later.time().duration_since(earlier.time());
    Duration::try_from(time).unwrap_or_default()
}
