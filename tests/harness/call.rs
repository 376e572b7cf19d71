//! A call as a vendor recorded it.

use jiff::Timestamp;
use serde_json::Value;

/// A call as the vendor recorded it.
#[derive(Clone, Debug)]
pub struct Call(pub Value);

impl Call {
    /// Its number, counting up from 1.
    pub fn sequence(&self) -> u64 {
        self.0["sequence"].as_u64().unwrap()
    }

    /// `create`, `get`, `lookup`, `change`, `disable`, `enable`, `delete`, `token` or `other`.
    pub fn operation(&self) -> &str {
        self.0["operation"].as_str().unwrap()
    }

    /// What matters of it, in a line.
    pub fn brief(&self) -> String {
        let (operation, sequence) = (self.operation(), self.sequence());
        let (path, status, effect) = (&self.0["path"], &self.0["status"], &self.0["effect"]);
        format!("{sequence} {operation} {path} {status} {effect}")
    }

    /// When it came in.
    pub fn time(&self) -> Timestamp {
        self.0["time"].as_str().unwrap().parse().unwrap()
    }

    /// The JSON body, `null` if there was none.
    pub fn body(&self) -> &Value {
        &self.0["body"]
    }

    /// The status answered; none where the connection was closed instead.
    pub fn status(&self) -> Option<u64> {
        self.0["status"].as_u64()
    }
}

/// The operations of calls, in order.
pub fn operations(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(Call::operation).collect()
}
