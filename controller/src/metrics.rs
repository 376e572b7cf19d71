//! Metrics, all beginning with `fulfillment_`. Labels are bounded: none names a single object but
//! the connection.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Labels of a vendor call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VendorCall {
    connection: String,
    operation: &'static str,
    code: String,
}

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Finished {
    r#type: &'static str,
    status: &'static str,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    outcome: &'static str,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Field {
    field: &'static str,
}

/// Labels of the gauge over all Subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Standing {
    state: String,
    ready: String,
}

/// What [`Metrics::text`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    /// One scrape at a time: each counts the gauges over all Subscriptions anew.
    scraped: Mutex<()>,
    registry: Registry,
    calls: Family<VendorCall, Counter>,
    call_seconds: Histogram,
    requests: Family<Finished, Counter>,
    ready_seconds: Histogram,
    passes: Family<Outcome, Counter>,
    callbacks: Family<Outcome, Counter>,
    pass_seconds: Histogram,
    subscriptions: Family<Standing, Gauge>,
    drift: Family<Field, Counter>,
    unknown: Gauge,
    leader: Gauge,
    transitions: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("fulfillment");
        let calls = Family::default();
        let requests = Family::default();
        let passes = Family::default();
        let callbacks = Family::default();
        let subscriptions = Family::default();
        let drift = Family::default();
        let unknown = Gauge::default();
        let leader = Gauge::default();
        let transitions = Gauge::default();
        // From a local answer to the longest call a connection may allow.
        let call_seconds = Histogram::new(exponential_buckets(0.005, 2.0, 16));
        // From a synchronous purchase to a vendor's working day.
        let ready_seconds = Histogram::new(exponential_buckets(0.05, 3.0, 13));
        let pass_seconds = Histogram::new(exponential_buckets(0.0005, 3.0, 12));
        registry.register("vendor_requests", "Calls to vendors", calls.clone());
        registry.register(
            "vendor_request_duration_seconds",
            "Time of a vendor call",
            call_seconds.clone(),
        );
        registry.register(
            "requests",
            "Finished fulfillment requests",
            requests.clone(),
        );
        registry.register(
            "time_to_ready_seconds",
            "From an object's creation to its first Ready",
            ready_seconds.clone(),
        );
        registry.register("reconcile", "Passes by how they ended", passes.clone());
        registry.register(
            "callbacks",
            "Callbacks of vendors, taken or refused",
            callbacks.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time of a pass",
            pass_seconds.clone(),
        );
        registry.register(
            "subscriptions",
            "Subscriptions by state and readiness",
            subscriptions.clone(),
        );
        registry.register("drift", "Differences found at vendors", drift.clone());
        registry.register(
            "create_outcome_unknown",
            "Subscriptions held for a person's answer",
            unknown.clone(),
        );
        registry.register("leader", "1 while this replica acts", leader.clone());
        registry.register(
            "lease_transitions",
            "How often the lease has changed hands, as this replica saw it last",
            transitions.clone(),
        );
        Self {
            scraped: Mutex::default(),
            registry,
            calls,
            call_seconds,
            requests,
            ready_seconds,
            passes,
            callbacks,
            pass_seconds,
            subscriptions,
            drift,
            unknown,
            leader,
            transitions,
        }
    }
}

/// Counts the calls that are made through one connection.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    metrics: Arc<Metrics>,
    connection: String,
}

impl Meter {
    /// Counts them under this label.
    pub fn new(metrics: Arc<Metrics>, connection: String) -> Self {
        Self {
            metrics,
            connection,
        }
    }

    /// A call ended: with an HTTP status, or without an answer.
    pub fn called(&self, operation: &'static str, status: Option<u16>, took: Duration) {
        let call = VendorCall {
            connection: self.connection.clone(),
            operation,
            code: code(status),
        };
        self.metrics.calls.get_or_create(&call).inc();
        self.metrics.call_seconds.observe(took.as_secs_f64());
    }
}

/// The label of an answer: its status, or the class of one that no standard knows, so that a vendor
/// cannot make as many series as there are numbers.
fn code(status: Option<u16>) -> String {
    let Some(status) = status else {
        return "none".to_owned();
    };
    match StatusCode::from_u16(status) {
        Ok(known) if known.canonical_reason().is_some() => status.to_string(),
        Ok(_) | Err(_) => format!("{}xx", status / 100),
    }
}

impl Metrics {
    /// A request was decided.
    pub fn finished(&self, request: &fulfillment_crds::Request) {
        self.requests
            .get_or_create(&Finished {
                r#type: request.type_.as_str(),
                status: request.status.as_str(),
            })
            .inc();
    }

    /// An object is Ready for the first time.
    pub fn ready(&self, after_seconds: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        self.ready_seconds.observe(after_seconds.max(0) as f64);
    }

    /// A callback was taken or refused.
    pub fn callback(&self, outcome: &'static str) {
        self.callbacks.get_or_create(&Outcome { outcome }).inc();
    }

    /// A pass ended.
    pub fn passed(&self, outcome: &'static str, took: Duration) {
        self.passes.get_or_create(&Outcome { outcome }).inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    /// A difference was found; limits share one label, as their names are the users'.
    pub fn drifted(&self, field: &str) {
        let field = if field.starts_with("limits.") {
            "limits"
        } else {
            "state"
        };
        self.drift.get_or_create(&Field { field }).inc();
    }

    /// Whether this replica acts.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// How often the lease has changed hands.
    pub fn lease_transitions(&self, transitions: i64) {
        self.transitions.set(transitions);
    }

    /// All metrics as text. `standing` gives the (state, ready) of each Subscription and how many are
    /// held; it counts only where this replica acts, as a sum over all replicas would be twice as much.
    ///
    /// # Errors
    ///
    /// Never in practice: writing into a String does not fail.
    pub fn text(
        &self,
        standing: impl FnOnce() -> (Vec<(String, String)>, usize),
    ) -> Result<String, std::fmt::Error> {
        let acts = self.leader.get() == 1;
        let (all, held) = if acts { standing() } else { Default::default() };
        let _one = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        self.subscriptions.clear();
        for (state, ready) in all {
            self.subscriptions
                .get_or_create(&Standing { state, ready })
                .inc();
        }
        self.unknown.set(i64::try_from(held).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_cannot_make_as_many_series_as_there_are_numbers() {
        for (status, label) in [
            (None, "none"),
            (Some(200), "200"),
            (Some(429), "429"),
            (Some(418), "418"),
            (Some(299), "2xx"),
            (Some(499), "4xx"),
            (Some(999), "9xx"),
        ] {
            assert_eq!(code(status), label);
        }
        let all: std::collections::BTreeSet<String> = (100..1000).map(|s| code(Some(s))).collect();
        assert!(all.len() < 80, "{all:?}");
    }

    #[test]
    fn only_who_acts_counts_all_subscriptions() {
        let metrics = Metrics::default();
        let all = || (vec![("Active".into(), "True".into()); 2], 1);
        let counted = r#"fulfillment_subscriptions{state="Active",ready="True"} 2"#;
        for (leads, shown, held) in [(false, false, 0), (true, true, 1), (false, false, 0)] {
            metrics.leads(leads);
            let text = metrics.text(all).unwrap();
            assert_eq!(text.contains(counted), shown, "{leads}: {text}");
            let held = format!("fulfillment_create_outcome_unknown {held}\n");
            assert!(text.contains(&held), "{leads}: {text}");
        }
    }
}
