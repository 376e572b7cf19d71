//! Who ordered what: every name that a Subscription stood for at its vendor, whatever became of the
//! object since.
//!
//! The API server is asked, not the operator: a watch of all Subscriptions sees each intent that is
//! written, and an intent names the tenant that is about to be made.

use crate::http;
use control_plane::ControlPlane;
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

/// The names that were ordered, on all control planes of the process.
static ORDERED: Mutex<BTreeMap<String, BTreeSet<Orderer>>> = Mutex::new(BTreeMap::new());

/// Those of the names that an orderer of this kind ordered. Waits a while for what is not known yet:
/// the vendor may have heard of it first.
pub fn ordered(names: &BTreeSet<String>, by: impl Fn(&Orderer) -> bool) -> BTreeSet<String> {
    let deadline = Instant::now() + LAG;
    loop {
        let all = ORDERED.lock().unwrap();
        let is_known = |name: &&String| all.get(*name).is_some_and(|who| who.iter().any(&by));
        let known: BTreeSet<String> = names.iter().filter(is_known).cloned().collect();
        drop(all);
        if known.len() == names.len() || Instant::now() > deadline {
            return known;
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
        list["items"].as_array()?.iter().for_each(take_in);
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
            take_in(&event["object"]);
            last = version_of(&event["object"])?;
        }
        Some(last)
    }
}

fn version_of(object: &Value) -> Option<String> {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.map(str::to_owned)
}

fn take_in(object: &Value) {
    let meta = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let orderer = Orderer {
        namespace: text(&meta["namespace"]),
        connection: text(&object["spec"]["connectionRef"]["name"]),
    };
    let intent = meta["annotations"]["fulfillment-operator.io/intent"].as_str();
    let intent: Value = intent
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let names = [&intent["externalId"], &object["status"]["externalId"]];
    let mut ordered = ORDERED.lock().unwrap();
    for name in names.into_iter().filter_map(Value::as_str) {
        let who = ordered.entry(name.to_owned()).or_default();
        who.insert(orderer.clone());
    }
}
