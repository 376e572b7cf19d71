//! Which calls meet a fault.

use super::Fault;
use crate::{call::Call, store::lock};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard};

/// Which calls meet a fault, and which fault that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The method; `*` is any.
    #[serde(default = "any")]
    pub method: String,
    /// The path as it is sent, in which `*` stands for any text. A pattern with a `?` is compared
    /// with path and query.
    #[serde(default = "any")]
    pub path: String,
    /// How many calls meet it.
    #[serde(default)]
    pub times: Times,
    /// How many calls pass before the first one meets it.
    #[serde(default)]
    pub skip: u64,
    /// What they meet.
    pub fault: Fault,
}

fn any() -> String {
    "*".to_owned()
}

/// A number of times, or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Times {
    /// That often.
    Limited(u64),
    /// Always.
    Unlimited(Unlimited),
}

impl Default for Times {
    fn default() -> Self {
        Self::Limited(1)
    }
}

/// The word `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unlimited {
    /// The word itself.
    Unlimited,
}

/// The rules in force. They belong to the running process and are gone with it.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Rules>);

#[derive(Debug, Default)]
struct Rules {
    added: u64,
    rules: Vec<Armed>,
}

/// A rule in force.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Armed {
    id: u64,
    #[serde(flatten)]
    rule: Rule,
    /// How many calls it let pass.
    skipped: u64,
    /// How many calls met it.
    hits: u64,
}

/// The fault a call met, as it is recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Met {
    pub(crate) rule: u64,
    pub(crate) fault: Fault,
}

impl Faults {
    /// The fault for this call: that of the first rule that matches and is neither spent nor
    /// letting calls pass.
    pub(crate) fn meet(&self, call: &Call) -> Option<Met> {
        self.lock().rules.iter_mut().find_map(|armed| {
            if !armed.rule.matches(call) || armed.is_spent() {
                return None;
            }
            if armed.skipped < armed.rule.skip {
                armed.skipped += 1;
                return None;
            }
            armed.hits += 1;
            Some(Met {
                rule: armed.id,
                fault: armed.rule.fault.clone(),
            })
        })
    }

    pub(crate) fn add(&self, rules: Vec<Rule>) -> Result<Vec<Armed>, String> {
        for rule in &rules {
            rule.fault.check()?;
        }
        let mut state = self.lock();
        let mut added = Vec::new();
        for rule in rules {
            state.added += 1;
            let armed = Armed {
                id: state.added,
                rule,
                skipped: 0,
                hits: 0,
            };
            state.rules.push(armed.clone());
            added.push(armed);
        }
        Ok(added)
    }

    pub(crate) fn list(&self) -> Vec<Armed> {
        self.lock().rules.clone()
    }

    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Removes one rule; says no if there is none of that id.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|armed| armed.id != id);
        state.rules.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        lock(&self.0)
    }
}

impl Armed {
    fn is_spent(&self) -> bool {
        matches!(self.rule.times, Times::Limited(times) if self.hits >= times)
    }
}

impl Rule {
    fn matches(&self, call: &Call) -> bool {
        let method = self.method == "*" || self.method.eq_ignore_ascii_case(call.method.as_str());
        let path = if self.path.contains('?') {
            call.target()
        } else {
            call.uri.path()
        };
        method && glob(&self.path, path)
    }
}

/// Whether the text is as the pattern says, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, matches) in [
            ("*", "/tenant", true),
            ("/tenant", "/tenant", true),
            ("/tenant", "/tenant/t-1", false),
            ("/tenant/*", "/tenant/t-1", true),
            ("/tenant/*", "/tenant", false),
            ("/tenant/*/disable", "/tenant/t-1/disable", true),
            ("/tenant/*/disable", "/tenant/t-1/enable", false),
            ("*/t-1*", "/tenant/t-1/enable", true),
            ("/a*a", "/a", false),
            ("*a*b*", "xbxaxb", true),
            ("*a*b*", "xbxax", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_says_when() {
        let faults = Faults::default();
        let fault = Fault {
            empty: true,
            ..Fault::default()
        };
        let rule = |times, skip| Rule {
            method: any(),
            path: any(),
            times,
            skip,
            fault: fault.clone(),
        };
        faults
            .add(vec![
                rule(Times::Limited(2), 1),
                rule(Times::Unlimited(Unlimited::Unlimited), 3),
            ])
            .unwrap();
        let call = Call::new(http::Method::GET, http::Uri::from_static("/tenant/t-1"));
        let met: Vec<_> = (0..7)
            .map(|_| faults.meet(&call).map(|met| met.rule))
            .collect();
        // The first call passes both, the next two meet the first, two more pass the second.
        assert_eq!(met, [None, Some(1), Some(1), None, None, Some(2), Some(2)]);
    }
}
