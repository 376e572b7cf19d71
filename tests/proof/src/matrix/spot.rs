//! Which calls are numbered, and how one is found again in another run.
//!
//! Numbered is each call that can have an effect or that a decision rests on: every call to the
//! vendor; at the API server every write but those below, every read of one object, and the list of
//! the tombstones, by which the sweep goes. Not numbered are watches and the other lists, which kube
//! repeats until they succeed, as nothing that sends a create rests on them alone; events and leases,
//! on which nothing rests; and calls about objects of another cell.
//!
//! A call is known by what it does and how often that was done before in the run, not by its place
//! among all: the pass over a connection runs beside that over its Subscription, and which of them
//! comes first is chance.

use http::Method;
use serde_json::Value;
use std::fmt;

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Side {
    Cluster,
    Vendor,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Deed {
    pub(super) side: Side,
    /// `PATCH subscription/status`, say.
    pub(super) what: String,
}

impl Deed {
    /// A sweep begins with it. It comes by the clock, in every run: it counts where there is something
    /// to sweep.
    pub(super) fn is_sweep(&self) -> bool {
        self.what == "GET tombstones"
    }

    /// From now on there is.
    pub(super) fn buries(&self) -> bool {
        self.what == "POST tombstone"
    }
}

/// A call in a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) deed: Deed,
    /// Counting from 1 among those that do the same.
    pub(super) nth: usize,
}

impl Spot {
    /// The call that makes a tenant.
    pub(super) fn is_create(&self) -> bool {
        self.deed.side == Side::Vendor && self.deed.what.starts_with("POST")
    }

    /// A write of the Subscription, or what comes between its finalizer and the intent: if it fails,
    /// the object has a finalizer and no word of a create.
    pub(super) fn follows_the_finalizer(&self) -> bool {
        let writes = ["PATCH subscription", "PUT subscription"];
        writes.iter().any(|write| self.deed.what.starts_with(write)) || self.is_paced()
    }

    /// Whether it may stay away in a run where nothing goes wrong before it: a look at the namespace,
    /// as the operator goes by what it saw within the last half second, for a reseller too; a sweep;
    /// and what guards a connection, its Secret or a tier, which the pass over that and those over its
    /// Subscriptions share; the one that comes first does it, and the other finds it done.
    pub(super) fn comes_by_chance(&self) -> bool {
        let what = self.deed.what.as_str();
        let (_, role) = what.split_once(' ').unwrap_or(("", what));
        let shared = [
            "connection",
            "connection/status",
            "secret",
            "tier",
            "tier/status",
        ];
        what == "GET namespace" || self.deed.is_sweep() || shared.contains(&role)
    }

    /// A repeated look at the namespace: the operator goes by what it saw within the last half
    /// second, so that whether it comes is a matter of the machine's pace.
    pub(super) fn is_paced(&self) -> bool {
        self.deed.what == "GET namespace" && self.nth > 1
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.deed.side {
            Side::Cluster => "cluster",
            Side::Vendor => "vendor",
        };
        write!(f, "{side} {} #{}", self.deed.what, self.nth)
    }
}

/// What a call to the vendor does; `path` without the cell's prefix.
pub(super) fn at_vendor(method: &Method, path: &str) -> Deed {
    let (path, _query) = path.split_once('?').unwrap_or((path, ""));
    let mut segments = path.trim_matches('/').split('/');
    let what = match (segments.nth(1), segments.next()) {
        (None, _) => "/tenant".to_owned(),
        (Some(_), None) => "/tenant/{id}".to_owned(),
        (Some(_), Some(action)) => format!("/tenant/{{id}}/{action}"),
    };
    Deed {
        side: Side::Vendor,
        what: format!("{method} {what}"),
    }
}

/// What a call to the API server does, if it is one that is numbered in the cell of that name.
pub(super) fn at_cluster(method: &Method, target: &str, body: &[u8], cell: &str) -> Option<Deed> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if query.split('&').any(|pair| pair.starts_with("watch=")) {
        return None;
    }
    let (_, below) = path.split_once("/namespaces/")?;
    let segments: Vec<&str> = below.split('/').collect();
    let deed = |what: String| {
        Some(Deed {
            side: Side::Cluster,
            what: format!("{method} {what}"),
        })
    };
    match segments.as_slice() {
        [_namespace] => deed("namespace".to_owned()),
        [_, "events" | "leases", ..] => None,
        [_, "configmaps"] if method == Method::GET && query.contains("%2Ftombstone") => {
            deed("tombstones".to_owned())
        }
        // A list, or a create with the name in its body.
        [_, kind] if method == Method::POST => {
            let object: Value = serde_json::from_slice(body).unwrap_or_default();
            let name = object["metadata"]["name"].as_str()?;
            deed(role(kind, name, cell)?.to_owned())
        }
        [_, kind, name] => deed(role(kind, name, cell)?.to_owned()),
        [_, kind, name, sub] => deed(format!("{}/{sub}", role(kind, name, cell)?)),
        [] | [..] => None,
    }
}

/// What an object is in the cell; none where it is not of the cell.
fn role(kind: &str, name: &str, cell: &str) -> Option<&'static str> {
    if kind == "secrets" && name == "fulfillment-installation-key" {
        return Some("installation key");
    }
    // A cell leaves none behind, and nobody can tell from its name whose it is.
    if kind == "configmaps" && name.starts_with("fulfillment-tombstone-") {
        return Some("tombstone");
    }
    match (kind, name.strip_prefix(cell)?) {
        ("subscriptions", "") => Some("subscription"),
        ("vendorconnections", "") => Some("connection"),
        ("tierconfigurations", "") => Some("tier"),
        ("secrets", "") => Some("secret"),
        ("secrets", _) => Some("output secret"),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_an_effect_and_reads_of_one_object_are_numbered() {
        let base = "/apis/fulfillment-operator.io/v1alpha1/namespaces/test-1";
        let cluster = |method: Method, target: &str, body: &str| {
            at_cluster(&method, target, body.as_bytes(), "c0001").map(|deed| deed.what)
        };
        let some = |what: &str| Some(what.to_owned());
        let status = format!("{base}/subscriptions/c0001/status?fieldManager=x");
        assert_eq!(
            cluster(Method::PATCH, &status, ""),
            some("PATCH subscription/status")
        );
        let other = format!("{base}/subscriptions/c0002");
        assert_eq!(cluster(Method::PATCH, &other, ""), None);
        let watch = format!("{base}/subscriptions?watch=true&resourceVersion=7");
        assert_eq!(cluster(Method::GET, &watch, ""), None);
        assert_eq!(
            cluster(Method::GET, &format!("{base}/subscriptions"), ""),
            None
        );
        assert_eq!(
            cluster(Method::GET, "/api/v1/namespaces/test-1", ""),
            some("GET namespace")
        );
        let secrets = "/api/v1/namespaces/test-1/secrets";
        let out = r#"{"metadata": {"name": "c0001-out"}}"#;
        assert_eq!(
            cluster(Method::POST, secrets, out),
            some("POST output secret")
        );
        let maps = "/api/v1/namespaces/test-1/configmaps";
        let stone = r#"{"metadata": {"name": "fulfillment-tombstone-k1-x"}}"#;
        assert_eq!(cluster(Method::POST, maps, stone), some("POST tombstone"));
        assert_eq!(cluster(Method::POST, maps, out), None);
        let one = format!("{maps}/fulfillment-tombstone-k1-x");
        assert_eq!(cluster(Method::DELETE, &one, ""), some("DELETE tombstone"));
        let sweep = format!("{maps}?&labelSelector=fulfillment-operator.io%2Ftombstone");
        assert_eq!(cluster(Method::GET, &sweep, ""), some("GET tombstones"));
        assert_eq!(cluster(Method::GET, maps, ""), None);
        let events = "/apis/events.k8s.io/v1/namespaces/test-1/events";
        assert_eq!(cluster(Method::POST, events, out), None);
        for (path, what) in [
            ("/tenant", "PUT /tenant"),
            ("/tenant?externalId=k", "PUT /tenant"),
            ("/tenant/t-1", "PUT /tenant/{id}"),
            ("/tenants/t-1?version=3", "PUT /tenant/{id}"),
            ("/tenant/t-1/disable", "PUT /tenant/{id}/disable"),
            (
                "/tenant/t-1/last_op?operation=9",
                "PUT /tenant/{id}/last_op",
            ),
        ] {
            assert_eq!(at_vendor(&Method::PUT, path).what, what);
        }
    }
}
