//! What something cost: writes at the API server, over all resources and by its own count, and calls
//! at the vendor.

use crate::{World, vendor::Call};
use std::collections::BTreeMap;

/// Writes by what they were, `"PATCH subscriptions/status"` for example.
pub type Writes = BTreeMap<String, u64>;

/// The counts at one moment.
#[derive(Debug)]
pub struct Meter<'w> {
    world: &'w World,
    writes: Writes,
    sequence: u64,
}

/// What was spent since.
#[derive(Debug)]
pub struct Spent {
    /// All writes but events and leases, of everybody; what the test itself wrote is in it until
    /// [`Spent::own`] takes it out.
    pub writes: Writes,
    /// Events made or extended.
    pub events: u64,
    /// The vendor's calls.
    pub calls: Vec<Call>,
}

impl<'w> Meter<'w> {
    /// Begins to count. The API server's count is of everything it does, so the world must have a
    /// control plane of its own.
    pub fn start(world: &'w World) -> Self {
        Self {
            world,
            writes: writes(&world.raw("/metrics")),
            sequence: world.vendor.sequence(),
        }
    }

    /// What was spent since [`start`](Self::start).
    pub fn spent(&self) -> Spent {
        let calls = self.world.vendor.calls_since(self.sequence);
        let mut writes = writes(&self.world.raw("/metrics"));
        for (what, count) in &mut writes {
            *count -= self.writes.get(what).copied().unwrap_or_default();
        }
        let mut events = 0;
        writes.retain(|what, count| {
            let is_event = what.ends_with(" events");
            if is_event {
                events += *count;
            }
            *count > 0 && !is_event && !what.ends_with(" leases")
        });
        Spent {
            writes,
            events,
            calls,
        }
    }
}

impl Spent {
    /// Takes out what the test itself wrote.
    #[must_use]
    pub fn own(mut self, what: &str, count: u64) -> Self {
        let left = self
            .writes
            .get(what)
            .copied()
            .unwrap_or_default()
            .checked_sub(count);
        match left {
            Some(0) => drop(self.writes.remove(what)),
            Some(left) => drop(self.writes.insert(what.to_owned(), left)),
            None => panic!(
                "the test did not write {what} {count} times: {:?}",
                self.writes
            ),
        }
        self
    }

    /// How many writes there were.
    pub fn total(&self) -> u64 {
        self.writes.values().sum()
    }
}

/// The writes in the API server's metrics: `apiserver_request_total` has one line for each
/// combination of labels.
fn writes(metrics: &str) -> Writes {
    let mut writes = Writes::new();
    let lines = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("apiserver_request_total{"));
    for line in lines {
        let (labels, count) = line.rsplit_once("} ").unwrap();
        let label = |name: &str| {
            labels
                .split("\",")
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""))
                .unwrap_or_default()
                .trim_end_matches('"')
        };
        let verb = label("verb");
        if !matches!(
            verb,
            "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION"
        ) || !label("dry_run").is_empty()
        {
            continue;
        }
        let count: f64 = count.parse().unwrap();
        let what = match label("subresource") {
            "" => format!("{verb} {}", label("resource")),
            subresource => format!("{verb} {}/{subresource}", label("resource")),
        };
        *writes.entry(what).or_default() += count as u64;
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_summed_by_resource() {
        let metrics = r#"
apiserver_request_total{code="200",component="apiserver",dry_run="",group="g",resource="subscriptions",scope="resource",subresource="status",verb="PATCH",version="v1"} 2
apiserver_request_total{code="409",component="apiserver",dry_run="",group="g",resource="subscriptions",scope="resource",subresource="status",verb="PATCH",version="v1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="All",group="g",resource="subscriptions",scope="resource",subresource="",verb="PATCH",version="v1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 5
"#;
        let expected = [("PATCH subscriptions/status".to_owned(), 3)];
        assert_eq!(writes(metrics), expected.into());
    }
}
