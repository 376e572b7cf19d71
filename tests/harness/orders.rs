//! Who ordered what, and since when: every name that a Subscription stood for at its vendor and what
//! was wanted of it, whatever became of the object since.
//!
//! The API server is asked, not the operator: a watch of all Subscriptions sees each intent that is
//! written, and an intent names the tenant that is about to be made. Times are the API server's, to
//! the second; where they are not known, early ones.

use crate::http;
use control_plane::ControlPlane;
use jiff::Timestamp;
use reqwest::blocking::Client;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

/// How long the watch may lag behind.
const LAG: Duration = Duration::from_secs(15);
/// How often it is looked at meanwhile, and an API server that does not answer asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Whose a name is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orderer {
    /// Where the Subscription is, or was.
    pub namespace: String,
    /// The connection it ordered through.
    pub connection: String,
}

/// What was asked to be done to a tenant, in the vendor's words for it (`disabled`, `enabled`,
/// `deleted`), and since when.
pub type Asked = BTreeMap<&'static str, Timestamp>;

/// What was ordered, by the names at the vendor.
pub type Orders = BTreeMap<String, Asked>;

/// What was ordered on all control planes of the process.
static RECORD: Mutex<Record> = Mutex::new(Record(BTreeMap::new()));

/// Judges by what an orderer of this kind ordered: what is wrong. Again for a while where something
/// is, as the vendor may have heard of an order before the watch has.
pub fn judged(by: impl Fn(&Orderer) -> bool, judge: impl Fn(Orders) -> Vec<String>) -> Vec<String> {
    let deadline = Instant::now() + LAG;
    loop {
        let orders = RECORD.lock().unwrap().orders(&by);
        let violations = judge(orders);
        if violations.is_empty() || Instant::now() > deadline {
            return violations;
        }
        thread::sleep(AGAIN);
    }
}

/// Sees all orders on a control plane for as long as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Watch(#[expect(dead_code, reason = "the thread ends with it")] Arc<()>);

impl Watch {
    /// Begins. The CustomResourceDefinitions are served.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        let kept = Arc::new(());
        let api = Api {
            client: http::trusting(plane.ca_pem()),
            url: format!(
                "{}/apis/fulfillment-operator.io/v1alpha1/subscriptions",
                plane.url()
            ),
            token: plane.admin_token().to_owned(),
        };
        let is_kept = Arc::downgrade(&kept);
        thread::spawn(move || api.follow(&is_kept));
        Self(kept)
    }
}

struct Api {
    client: Client,
    url: String,
    token: String,
}

impl Api {
    /// An API server that is paused or restarted is asked again.
    fn follow(&self, is_kept: &Weak<()>) {
        let mut version: Option<String> = None;
        while is_kept.strong_count() > 0 {
            version = match &version {
                None => self.list(),
                Some(version) => self.watch(version),
            };
            if version.is_none() {
                thread::sleep(AGAIN);
            }
        }
    }

    /// Takes in all that are there; the version of the list.
    fn list(&self) -> Option<String> {
        let request = self.client.get(&self.url).bearer_auth(&self.token);
        let answer = request.send().ok()?.error_for_status().ok()?;
        let list: Value = answer.json().ok()?;
        let mut record = RECORD.lock().unwrap();
        record.take_list(&self.url, list["items"].as_array()?);
        version_of(&list)
    }

    /// Takes in what happens after a version, until the API server ends the watch; the last version.
    fn watch(&self, version: &str) -> Option<String> {
        // Within the client's own time limit.
        let url = format!(
            "{}?watch=true&timeoutSeconds=20&resourceVersion={version}",
            self.url
        );
        let request = self.client.get(url).bearer_auth(&self.token);
        let answer = request.send().ok()?.error_for_status().ok()?;
        let mut last = version.to_owned();
        for line in BufReader::new(answer).lines() {
            let event: Value = serde_json::from_str(&line.ok()?).ok()?;
            if event["type"] == "ERROR" {
                // The version is too old: all that is there is taken in again.
                return None;
            }
            RECORD.lock().unwrap().take_event(&self.url, &event);
            last = version_of(&event["object"])?;
        }
        Some(last)
    }
}

fn version_of(object: &Value) -> Option<String> {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.map(str::to_owned)
}

/// All Subscriptions that were ever seen, by their uids.
#[derive(Debug, Default)]
struct Record(BTreeMap<String, Subscription>);

#[derive(Debug)]
struct Subscription {
    /// Where its API server lists it.
    url: String,
    by: Orderer,
    names: BTreeSet<String>,
    asked: Asked,
}

impl Subscription {
    /// Asks for these effects at the latest since then.
    fn ask(&mut self, effects: &[&'static str], since: Timestamp) {
        for effect in effects {
            self.asked.entry(effect).or_insert(since);
        }
    }
}

/// What a Subscription asks for that is being deleted, or gone: some vendors delete only what is
/// disabled.
const END: [&str; 2] = ["disabled", "deleted"];

impl Record {
    fn orders(&self, by: impl Fn(&Orderer) -> bool) -> Orders {
        let mut orders = Orders::new();
        for subscription in self.0.values().filter(|it| by(&it.by)) {
            for name in &subscription.names {
                let asked = orders.entry(name.clone()).or_default();
                for (effect, since) in &subscription.asked {
                    let first = asked.entry(effect).or_insert(*since);
                    *first = (*first).min(*since);
                }
            }
        }
        orders
    }

    /// All that are there. A watch was missed before, so it is not known since when they are as they
    /// are, nor when those went that are not there any more.
    fn take_list(&mut self, url: &str, objects: &[Value]) {
        let uids: BTreeSet<_> = objects.iter().map(uid_of).collect();
        let here = self.0.iter_mut().filter(|(_, it)| it.url == url);
        for (_, gone) in here.filter(|(uid, _)| !uids.contains(uid.as_str())) {
            gone.ask(&END, Timestamp::MIN);
        }
        for object in objects {
            self.take_in(url, object, Timestamp::MIN);
        }
    }

    /// One that was written or removed.
    fn take_event(&mut self, url: &str, event: &Value) {
        let object = &event["object"];
        let written = last_write(object);
        let subscription = self.take_in(url, object, written);
        if event["type"] == "DELETED" {
            subscription.ask(&END, written);
        }
    }

    fn take_in(&mut self, url: &str, object: &Value, since: Timestamp) -> &mut Subscription {
        let (meta, spec) = (&object["metadata"], &object["spec"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uid = uid_of(object).to_owned();
        let known = self.0.entry(uid).or_insert_with(|| Subscription {
            url: url.to_owned(),
            by: Orderer {
                namespace: text(&meta["namespace"]),
                connection: text(&spec["connectionRef"]["name"]),
            },
            names: BTreeSet::new(),
            asked: Asked::new(),
        });
        let intent = meta["annotations"]["fulfillment-operator.io/intent"].as_str();
        let intent: Value = intent
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let names = [&intent["externalId"], &object["status"]["externalId"]];
        let names = names.into_iter().filter_map(Value::as_str);
        known.names.extend(names.map(str::to_owned));
        if let Some(deleted) = time(&meta["deletionTimestamp"]) {
            known.ask(&END, deleted);
        }
        let state = match spec["state"].as_str() {
            Some("Suspended") => "disabled",
            Some(_) | None => "enabled",
        };
        known.ask(&[state], since);
        known
    }
}

fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// When an object became as it is: every write leaves its time with its writer's fields.
fn last_write(object: &Value) -> Timestamp {
    let managers = object["metadata"]["managedFields"].as_array();
    let times = managers.into_iter().flatten().map(|it| &it["time"]);
    times.filter_map(time).max().unwrap_or(Timestamp::MIN)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests;
