//! The history checker: whether a vendor's log of calls is one that the promise allows.
//!
//! It shares no code with the operator and knows nothing of what the operator believes: it replays
//! what the vendor recorded, call by call, and says in words what must never have happened.
//!
//! Of a change it does not judge the limits, as a connection may word them in any way: only that the
//! tenant is the operator's to change.

use crate::{call::Call, orders::Orders};
use jiff::SignedDuration;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the operator's calls say they are made by.
const OPERATOR: &str = "fulfillment-operator/";

/// Whether two live tenants of one Subscription may ever be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Twins {
    /// Never: `ExternalId`, `IdempotencyKey`, and `None` where nobody asked for a retry.
    #[default]
    Never,
    /// For this long after the second was made, and not at the end: `Lookup`, whose operator finds
    /// a late twin when it has settled, and deletes it.
    Within(SignedDuration),
    /// An admin accepts them: `None` with `policies.onUnknownOutcome: Retry`.
    Accepted,
}

/// What a log is judged by.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Whether there may be two.
    pub twins: Twins,
    /// Tenants that a person gave the operator; they are its own from the beginning.
    pub adopted: BTreeSet<String>,
    /// Tenants that somebody changed behind the operator's back: the log does not tell how they
    /// fared, so they count as nobody's twin and as never terminated.
    pub altered: BTreeSet<String>,
    /// What Subscriptions ordered ([`crate::orders`]); none where no Subscription stands behind the
    /// calls.
    pub ordered: Option<Orders>,
}

/// Every way in which the log breaks the promise, in words; the calls in their order.
pub fn check(calls: &[Call], rules: &Rules) -> Vec<String> {
    let mut replay = Replay {
        rules,
        names: calls.iter().filter_map(external_id).collect(),
        tenants: BTreeMap::new(),
        violations: Vec::new(),
    };
    let mut before = None;
    for call in calls {
        replay.in_order(before, call);
        before = Some(call.sequence());
        replay.take(call);
    }
    replay.end(calls.last());
    replay.violations
}

/// A tenant as the log tells of it.
#[derive(Debug)]
struct Tenant {
    /// The Subscription it is of.
    base: Option<String>,
    /// The operator asked for it.
    ours: bool,
    live: bool,
    terminated: bool,
    /// What its latest request came to: `approved` or `failed`.
    outcome: Option<String>,
    /// When it became the second live one.
    twin_since: Option<jiff::Timestamp>,
}

struct Replay<'a> {
    rules: &'a Rules,
    /// Every externalId that a create ever carried.
    names: BTreeSet<String>,
    tenants: BTreeMap<String, Tenant>,
    violations: Vec<String>,
}

impl Replay<'_> {
    fn violation(&mut self, call: &Call, what: &str) {
        let (sequence, operation) = (call.sequence(), call.operation());
        self.violations
            .push(format!("call {sequence} ({operation}): {what}"));
    }

    /// Without holes: what is missing could have had any effect.
    fn in_order(&mut self, before: Option<u64>, call: &Call) {
        if before.is_some_and(|before| before + 1 != call.sequence()) {
            self.violation(call, "calls before it are missing from the log");
        }
    }

    fn take(&mut self, call: &Call) {
        self.effect_is_asked_for(call);
        self.is_ordered(call);
        self.mutates_its_own(call);
        if let Some(id) = call.0["effect"]["tenantId"].as_str() {
            self.learn(call, id);
            self.twins(call, id);
        } else if let (Some(id), Some(404 | 410)) = (path_id(call), call.status()) {
            // It is gone; whoever asks is told so.
            if let Some(tenant) = self.tenants.get_mut(&id) {
                tenant.live = false;
            }
        }
        self.twins_are_gone_in_time(call);
    }

    /// An effect is of the kind that its call asks for.
    fn effect_is_asked_for(&mut self, call: &Call) {
        let kind = effect(call);
        let asked = match call.operation() {
            "create" => "created",
            "change" => "changed",
            "disable" => "disabled",
            "enable" => "enabled",
            "delete" => "deleted",
            _ => "none",
        };
        if kind != "none" && kind != asked {
            self.violation(call, &format!("it has an effect nobody asked for: {kind}"));
        } else if kind != "none" && !call.0["effect"]["tenantId"].is_string() {
            self.violation(call, "it has an effect on no tenant");
        }
    }

    /// A tenant that the operator made is one that a Subscription ordered: that exists, or did. What
    /// becomes of it is what such a Subscription wanted by then.
    fn is_ordered(&mut self, call: &Call) {
        let Some(ordered) = self.rules.ordered.as_ref().filter(|_| is_operators(call)) else {
            return;
        };
        let (kind, name) = (effect(call), external_id(call));
        let asked = name.as_ref().and_then(|name| ordered.get(name));
        match (kind, &name, asked) {
            ("created", Some(name), None) => {
                self.violation(call, &format!("no Subscription ever ordered {name}"));
            }
            ("created", None, _) => {
                self.violation(call, "nobody can tell which Subscription ordered it");
            }
            ("disabled" | "enabled" | "deleted", _, asked) => {
                let since = asked.and_then(|asked| asked.get(kind));
                let in_time = since.is_some_and(|since| *since <= call.time());
                if !in_time && !self.is_excused(call, asked.is_some()) {
                    self.violation(call, "no Subscription had asked for that");
                }
            }
            _ => {}
        }
    }

    /// It is done to one of two tenants where two are allowed for a while; or to one that a person gave
    /// the operator, made under a name that no Subscription has.
    fn is_excused(&self, call: &Call, has_orderer: bool) -> bool {
        let Some(id) = call.0["effect"]["tenantId"].as_str() else {
            return false;
        };
        let given = !has_orderer && self.rules.adopted.contains(id);
        let base = self.tenants.get(id).and_then(|it| it.base.as_ref());
        let has_twin = base.is_some_and(|base| !self.live_of(base, id).is_empty());
        given || (has_twin && self.rules.twins != Twins::Never)
    }

    /// The operator changes what it made or was given, and nothing that is over.
    fn mutates_its_own(&mut self, call: &Call) {
        let repeatable = match call.operation() {
            "change" | "disable" | "enable" => false,
            // Its answer may have been lost; deleting what is gone does nothing.
            "delete" => true,
            _ => return,
        };
        let Some(id) = path_id(call).filter(|_| is_operators(call)) else {
            return;
        };
        let known = self.tenants.get(&id);
        let ours = known.is_some_and(|tenant| tenant.ours);
        let over = known.is_some_and(|tenant| tenant.terminated);
        if !ours && !self.rules.adopted.contains(&id) {
            self.violation(call, &format!("{id} was neither created by us nor adopted"));
        }
        if over && !repeatable && !self.rules.altered.contains(&id) {
            self.violation(call, &format!("{id} was terminated before"));
        }
    }

    /// Takes in what a call says of its tenant.
    fn learn(&mut self, call: &Call, id: &str) {
        let said = &call.0["effect"];
        let word = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let (status, request) = (word("tenantStatus"), word("requestStatus"));
        if status.is_empty() && request.is_empty() {
            // A key that was used is answered with what it made, not with how that is now.
            return;
        }
        let (created, effect) = (effect(call) == "created", effect(call) != "none");
        let base = said["externalId"].as_str().map(|name| self.base(name));
        let over = self.tenants.get(id).is_some_and(|it| it.terminated);
        if over && effect && !self.rules.altered.contains(id) {
            self.violation(call, &format!("{id} changes after it was terminated"));
        }
        let outcome = Some(&request).filter(|word| matches!(word.as_str(), "approved" | "failed"));
        let before = self.tenants.get(id).and_then(|it| it.outcome.clone());
        // A change to what is so already is a request, approved at once.
        let anew = effect || (call.operation() == "change" && request == "approved");
        if let Some(before) = before.filter(|before| *before != request && !anew) {
            let what = format!("the request of {id} was {before} and is {request} now");
            self.violation(call, &what);
        }
        let tenant = self.tenants.entry(id.to_owned()).or_insert(Tenant {
            base,
            ours: false,
            live: false,
            terminated: false,
            outcome: None,
            twin_since: None,
        });
        tenant.ours |= created && is_operators(call);
        tenant.live = matches!(status.as_str(), "pending" | "active" | "suspended");
        tenant.terminated = status == "terminated";
        tenant.outcome = outcome.cloned();
    }

    /// A create made a tenant: is it the only one?
    fn twins(&mut self, call: &Call, id: &str) {
        let base = self
            .tenants
            .get(id)
            .filter(|tenant| tenant.live && effect(call) == "created")
            .and_then(|tenant| tenant.base.clone());
        let Some(base) = base.filter(|_| !self.rules.altered.contains(id)) else {
            return;
        };
        let others = self.live_of(&base, id);
        if others.is_empty() {
            return;
        }
        match self.rules.twins {
            Twins::Accepted => {}
            Twins::Never => {
                let others = others.join(", ");
                self.violation(call, &format!("{id} is a twin of {others}, all of {base}"));
            }
            Twins::Within(_) => {
                if let Some(tenant) = self.tenants.get_mut(id) {
                    tenant.twin_since = Some(call.time());
                }
            }
        }
    }

    /// Where twins are allowed for a while: it is not over yet.
    fn twins_are_gone_in_time(&mut self, call: &Call) {
        let Twins::Within(most) = self.rules.twins else {
            return;
        };
        for (id, base) in self.lasting_twins() {
            let since = self.tenants.get(&id).and_then(|tenant| tenant.twin_since);
            if since.is_some_and(|since| call.time().duration_since(since) > most) {
                let what = format!("{id} has been a twin, of {base}, for longer than {most:#}");
                self.violation(call, &what);
                if let Some(tenant) = self.tenants.get_mut(&id) {
                    tenant.twin_since = None;
                }
            }
        }
    }

    /// Where twins are allowed for a while: none is left.
    fn end(&mut self, last: Option<&Call>) {
        let (Twins::Within(_), Some(last)) = (self.rules.twins, last) else {
            return;
        };
        for (id, base) in self.lasting_twins() {
            self.violation(last, &format!("{id} is left at the end, a twin, of {base}"));
        }
    }

    /// The second tenants that are still there beside another one.
    fn lasting_twins(&self) -> Vec<(String, String)> {
        let twins = self.tenants.iter().filter(|(_, tenant)| tenant.live);
        twins
            .filter(|(_, tenant)| tenant.twin_since.is_some())
            .filter_map(|(id, tenant)| Some((id.clone(), tenant.base.clone()?)))
            .filter(|(id, base)| !self.live_of(base, id).is_empty())
            .collect()
    }

    fn live_of(&self, base: &str, but: &str) -> Vec<String> {
        let of = |tenant: &Tenant| tenant.live && tenant.base.as_deref() == Some(base);
        self.tenants
            .iter()
            .filter(|(id, tenant)| of(tenant) && *id != but && !self.rules.altered.contains(*id))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// The name without the counter that successors have: only where a create carried the base too,
    /// since a claimed name may well end in a number.
    fn base(&self, name: &str) -> String {
        match name.rsplit_once('-') {
            Some((base, n)) if n.parse::<u32>().is_ok_and(|n| n >= 2) => {
                let known = self.names.contains(base);
                let base = if known { base } else { name };
                base.to_owned()
            }
            Some(_) | None => name.to_owned(),
        }
    }
}

fn effect(call: &Call) -> &str {
    call.0["effect"]["kind"].as_str().unwrap_or("none")
}

/// The name that the call is about, as the vendor says it or as its caller did, in any dialect.
fn external_id(call: &Call) -> Option<String> {
    let (said, body) = (&call.0["effect"]["externalId"], call.body());
    let names = [said, &body["externalId"], &body["external_id"]];
    names.into_iter().find_map(Value::as_str).map(str::to_owned)
}

fn is_operators(call: &Call) -> bool {
    call.0["headers"]["user-agent"]
        .as_str()
        .is_some_and(|agent| agent.starts_with(OPERATOR))
}

/// The tenant's id in `/tenant/{id}` and below, or in one dialect `/tenants/{id}`.
fn path_id(call: &Call) -> Option<String> {
    let path = call.0["path"].as_str()?;
    let rest = ["/tenant/", "/tenants/"].map(|prefix| path.strip_prefix(prefix));
    let segment = rest
        .into_iter()
        .flatten()
        .next()?
        .split(['/', '?'])
        .next()?;
    Some(percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod dialects;
#[cfg(test)]
mod tests;
