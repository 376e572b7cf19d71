//! What a Lease says, and what is written into it. No I/O; no clock is compared with another's.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use tokio::time::Instant;

use super::NAME;

/// What a look at the lease came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    /// There is none.
    Absent,
    /// It can be taken: nobody holds it, we do, or its holder has not renewed it in time.
    Free(Box<Lease>),
    /// Another holds it, for this long at least if it is not renewed.
    Held { holder: String, left: Duration },
}

/// What is remembered of another's lease: its version, and when it was first seen so. Any change is a
/// sign of life: a renewal may say the same as the one before.
#[derive(Debug, Default)]
pub(super) struct Sight(Option<(Version, Instant)>);

/// Changes with every change of a lease, and with the lease.
type Version = (Option<String>, Option<String>);

impl Sight {
    /// Judges what was found. A lease has run out when it has not changed for its whole duration on
    /// our own clock. It counts as unchanged up to the moment before it was `asked` for, and as new
    /// from the moment it was `seen`: both on the side of its holder.
    pub(super) fn look(
        &mut self,
        found: Option<Lease>,
        me: &str,
        (asked, seen): (Instant, Instant),
        ours: Duration,
    ) -> View {
        let Some(lease) = found else {
            return View::Absent;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let Some(holder) = holder(&lease).filter(|holder| *holder != me) else {
            return View::Free(Box::new(lease));
        };
        let holder = holder.to_owned();
        let meta = &lease.metadata;
        let version = (meta.uid.clone(), meta.resource_version.clone());
        let duration = duration(&spec, ours);
        match &self.0 {
            Some((known, since)) if *known == version => {
                let left = duration.saturating_sub(asked.saturating_duration_since(*since));
                if left.is_zero() {
                    return View::Free(Box::new(lease));
                }
                View::Held { holder, left }
            }
            Some(_) | None => {
                self.0 = Some((version, seen));
                View::Held {
                    holder,
                    left: duration,
                }
            }
        }
    }
}

/// Who holds a lease; one that was released names nobody.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity.as_deref().filter(|h| !h.is_empty())
}

/// How often the lease has changed hands.
pub(super) fn transitions(lease: &Lease) -> i64 {
    let spec = lease.spec.as_ref();
    spec.and_then(|s| s.lease_transitions)
        .unwrap_or_default()
        .into()
}

/// The longer of what the holder promises to keep to and what we would: replicas of two releases may
/// have different settings.
fn duration(spec: &LeaseSpec, ours: Duration) -> Duration {
    let theirs = spec
        .lease_duration_seconds
        .and_then(|s| u64::try_from(s).ok());
    Duration::from_secs(theirs.unwrap_or_default()).max(ours)
}

/// The lease with us as its holder: taken, or renewed where it is ours.
pub(super) fn taken(before: Option<Lease>, me: &str, duration: Duration, now: Timestamp) -> Lease {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let mut spec = LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(seconds).ok(),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    let Some(mut lease) = before else {
        return Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
    };
    let ours = holder(&lease) == Some(me);
    let before = lease.spec.take().unwrap_or_default();
    let transitions = before.lease_transitions.unwrap_or_default();
    if ours {
        spec.acquire_time = before.acquire_time;
        spec.lease_transitions = Some(transitions);
    } else {
        spec.lease_transitions = Some(transitions.saturating_add(1));
    }
    lease.spec = Some(spec);
    lease
}

/// The lease without a holder, for the next one to take at once.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..before
    });
    lease
}
