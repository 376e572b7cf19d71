//! What there is beside the Subscription of a cell: the output Secret, what protects its connection, and
//! its tombstone.

use super::{Kind, Stage};
use serde_json::Value;

impl Stage<'_> {
    /// The vendor's password is in the output Secret.
    pub(in crate::matrix) fn has_output(&self, secret: &str) -> Result<(), String> {
        self.wait("the output Secret", || {
            let found = self.lane.cluster.find(Kind::Secret, secret)?;
            let found = found.ok_or("it is not there")?;
            let password = &found["data"]["initial_password"];
            let given = password.as_str().is_some_and(|text| !text.is_empty());
            given.then_some(()).ok_or("it has no password".to_owned())
        })
    }

    /// It is deleted and remembered.
    pub(in crate::matrix) fn is_buried(&self) -> Result<(), String> {
        let buried = self.lane.cluster.has_tombstones()?;
        buried.then_some(()).ok_or("no tombstone".to_owned())
    }

    /// Its tombstone is gone.
    pub(in crate::matrix) fn is_unburied(&self) -> Result<(), String> {
        self.wait("the tombstone is gone", || {
            let buried = self.lane.cluster.has_tombstones()?;
            (!buried).then_some(()).ok_or("it is there".to_owned())
        })
    }

    /// A sweep has come to its end: the next one has begun.
    pub(in crate::matrix) fn is_swept(&self) -> Result<(), String> {
        let script = &self.lane.script;
        self.wait("the second sweep", || match script.sweeps() {
            2.. => Ok(()),
            sweeps => Err(format!("{sweeps} so far")),
        })
    }

    /// Connection and Secret have the finalizer and count the tenant.
    pub(super) fn is_protected(&self) -> Result<(), String> {
        self.protection(1)
    }

    /// Connection and Secret can go.
    pub(super) fn is_unprotected(&self) -> Result<(), String> {
        self.protection(0)
    }

    fn protection(&self, tenants: usize) -> Result<(), String> {
        let find = |kind| self.lane.cluster.find(kind, &self.name);
        let connection = find(Kind::Connection)?.unwrap_or_default();
        let secret = find(Kind::Secret)?.unwrap_or_default();
        let finalizers = |object: &Value| {
            let finalizers = object["metadata"]["finalizers"].as_array();
            finalizers.map_or(0, Vec::len)
        };
        let counted = &connection["status"]["subscriptions"];
        let seen = (finalizers(&connection), finalizers(&secret));
        // What it comes to is said at once where it leaves or reaches 0, else within a minute.
        let (held, right) = match self.resellers.get() {
            0 => (tenants, *counted == tenants),
            _ => (1, counted.as_u64().is_some_and(|count| count > 0)),
        };
        if seen == (held, held) && right {
            Ok(())
        } else {
            Err(format!(
                "finalizers of connection and Secret: {seen:?}, counted: {counted}"
            ))
        }
    }
}
