//! Every version of the subscription that the API server has had, as a watch brings them.
//!
//! A poll could miss a state that lasts for milliseconds; with a watch, what GitOps tools made of
//! each step is known exactly.

use crate::stop::Stop;
use control_plane::ControlPlane;
use reqwest::{
    Certificate,
    blocking::{Client, Response},
};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Those in the namespace of a user who says none.
const SUBSCRIPTIONS: &str =
    "/apis/fulfillment-operator.io/v1alpha1/namespaces/default/subscriptions";

/// The versions seen so far; `None` is the object's absence.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    versions: Vec<Option<Value>>,
    /// Why nothing more will come.
    ended: Option<String>,
}

impl Watch {
    /// Watches a subscription that does not exist yet.
    pub(crate) fn start(control_plane: &ControlPlane, name: &str) -> Result<Self, Stop> {
        let response = open(control_plane, name)
            .map_err(|error| Stop::Broken(format!("cannot watch {name}: {error:?}")))?;
        let shared = Arc::new(Shared::default());
        shared.push(None);
        let ours = Arc::clone(&shared);
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                let why = ours.follow(response);
                ours.seen().ended = Some(why);
                ours.more.notify_all();
            })
            .map_err(Stop::broken("start a thread"))?;
        Ok(Self(shared))
    }

    /// Where the next versions will be, for [`since`](Self::since).
    pub(crate) fn mark(&self) -> usize {
        self.0.seen().versions.len()
    }

    /// The versions since a mark, with the one before them in front.
    pub(crate) fn since(&self, mark: usize) -> Vec<Option<Value>> {
        self.0.seen().versions[mark.saturating_sub(1)..].to_vec()
    }

    /// The versions since a mark, after waiting a while for one if there is none.
    pub(crate) fn wait_since(
        &self,
        mark: usize,
        bound: Duration,
    ) -> Result<Vec<Option<Value>>, Stop> {
        let nothing_new = |seen: &mut Seen| seen.versions.len() <= mark && seen.ended.is_none();
        let (seen, _timed_out) = self
            .0
            .more
            .wait_timeout_while(self.0.seen(), bound, nothing_new)
            .unwrap_or_else(PoisonError::into_inner);
        match (&seen.ended, seen.versions.get(mark..)) {
            (None, versions) => Ok(versions.unwrap_or_default().to_vec()),
            (Some(why), _) => Err(Stop::Broken(format!("the watch ended: {why}"))),
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, version: Option<Value>) {
        self.seen().versions.push(version);
        self.more.notify_all();
    }

    /// Takes versions in until there are no more; returns why.
    fn follow(&self, response: Response) -> String {
        for line in BufReader::new(response).lines() {
            let event = line
                .map_err(|error| error.to_string())
                .and_then(|line| serde_json::from_str(&line).map_err(|error| error.to_string()));
            match event.map(version) {
                Ok(Ok(version)) => self.push(version),
                Ok(Err(why)) | Err(why) => return why,
            }
        }
        "the API server closed it".to_owned()
    }
}

/// The version that a watch event brings.
fn version(mut event: Value) -> Result<Option<Value>, String> {
    match event["type"].as_str() {
        Some("ADDED" | "MODIFIED") => Ok(Some(event["object"].take())),
        Some("DELETED") => Ok(None),
        _ => Err(event.to_string()),
    }
}

fn open(control_plane: &ControlPlane, name: &str) -> reqwest::Result<Response> {
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(control_plane.ca_pem().as_bytes())?])
        .timeout(None)
        .build()?;
    let get = |query: &[(&str, &str)]| {
        client
            .get(format!("{}{SUBSCRIPTIONS}", control_plane.url()))
            .query(query)
            .bearer_auth(control_plane.admin_token())
            .send()?
            .error_for_status()
    };
    let list: Value = get(&[("limit", "1")])?.json()?;
    let from = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    get(&[
        ("watch", "true"),
        ("resourceVersion", from),
        ("fieldSelector", &format!("metadata.name={name}")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_become_versions() {
        let object = json!({"metadata": {"name": "mail"}});
        let event = |kind: &str| json!({"type": kind, "object": object});
        assert_eq!(version(event("ADDED")), Ok(Some(object.clone())));
        assert_eq!(version(event("MODIFIED")), Ok(Some(object.clone())));
        assert_eq!(version(event("DELETED")), Ok(None));
        assert!(version(event("ERROR")).unwrap_err().contains("ERROR"));
    }
}
