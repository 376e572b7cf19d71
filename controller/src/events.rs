//! Kubernetes events: for people reading `kubectl describe`. Best effort: a bounded queue, written
//! slowly, so that a thousand purchases at once are not a thousand more writes in the same seconds.

use std::time::Duration;

use fulfillment_crds::Reason;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Resource, api::PostParams};
use tokio::sync::mpsc;

use crate::{
    kubernetes::{Cluster, FIELD_MANAGER},
    vendor::budget::Budget,
};

/// Statuses go first: an event waits until none was written for so long,
const CALM: Duration = Duration::from_millis(100);
/// but no longer than this, so that events come slowly while there is much to do.
const MOST: Duration = Duration::from_millis(200);

/// Where the API server wants the events of what has no namespace.
const CLUSTER: &str = "default";

/// Events that wait at most; later ones are dropped.
const QUEUE: usize = 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The same word as in conditions.
    pub reason: Reason,
    /// What was done, for example Purchase.
    pub action: String,
    /// For people, up to 1,024 bytes.
    pub note: String,
    /// Normal, or Warning where a person should look.
    pub warning: bool,
}

/// Takes events.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(ObjectReference, Note)>);

impl Events {
    /// Starts the writer; it ends when every `Events` is dropped and the queue is empty.
    pub fn start(cluster: Cluster, instance: String) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, mut queue) = mpsc::channel::<(ObjectReference, Note)>(QUEUE);
        let writer = tokio::spawn(async move {
            let budget = Budget::new(50, 50, 1);
            while let Some((regarding, note)) = queue.recv().await {
                budget.token().await;
                cluster.calm(CALM, MOST).await;
                let namespace = regarding.namespace.clone();
                let namespace = namespace.unwrap_or_else(|| CLUSTER.into());
                let api: Api<Event> = cluster.api(&namespace);
                let event = event(regarding, note, &instance);
                // In a namespace that is going away this is refused, and that is fine.
                if let Err(error) = cluster
                    .bounded(api.create(&PostParams::default(), &event))
                    .await
                {
                    tracing::debug!(%error, "an event was not written");
                }
            }
        });
        (Self(sender), writer)
    }

    /// Takes one event, or drops it where too many wait.
    pub fn publish(&self, object: &impl Resource<DynamicType = ()>, note: Note) {
        if self.0.try_send((object.object_ref(&()), note)).is_err() {
            tracing::debug!("too many events wait: one was dropped");
        }
    }
}

fn event(regarding: ObjectReference, note: Note, instance: &str) -> Event {
    let name = regarding.name.clone().unwrap_or_default();
    let unique = getrandom::u64().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{unique:016x}")),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(crate::pace::now())),
        action: Some(note.action),
        reason: Some(note.reason.as_str().into()),
        note: Some(cut(note.note)),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
        regarding: Some(regarding),
        reporting_controller: Some(FIELD_MANAGER.into()),
        reporting_instance: Some(instance.into()),
        ..Event::default()
    }
}

/// The longest note that the API server takes, in bytes.
const NOTE: usize = 1024;

/// A note that is too long would be refused whole.
fn cut(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(NOTE));
    note
}

/// How long the last events may take when the operator stops.
pub const DRAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_where_the_api_server_would_refuse_it() {
        let long = "é".repeat(1000);
        assert_eq!(cut(long), "é".repeat(512));
        assert_eq!(cut(format!("x{}", "é".repeat(1000))).len(), 1023);
        assert_eq!(cut("short".into()), "short");
    }
}
