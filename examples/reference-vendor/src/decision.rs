//! Fulfilment: how a request comes to its decision, and what the decision does to the tenant.
//!
//! There are no timers. A request that is decided later carries the moment at which it is due,
//! and whoever reads the tenant after that moment finds it decided. So a restart forgets nothing.

use crate::{
    behavior::{After, Outcome, Plan},
    tenant::{Mutation, Open, Request, RequestStatus, Tenant, TenantStatus, Terms},
};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A decision made by hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Decision {
    pub(crate) status: Decided,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) parameter_errors: BTreeMap<String, String>,
}

/// What a request can be decided to be.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Decided {
    Approved,
    Failed,
    Inquiring,
}

impl Tenant {
    /// Begins a request, and ends it at once where the vendor works synchronously.
    pub(crate) fn submit(
        &mut self,
        mutation: Mutation,
        terms: Terms,
        plan: Option<&Plan>,
        now: Timestamp,
    ) {
        match plan {
            None => {
                self.open = None;
                self.approve(mutation, terms);
            }
            Some(plan) => {
                let due = due(plan, now);
                self.open = Some(Open {
                    mutation,
                    terms,
                    plan: plan.clone(),
                    due,
                });
                self.request = Request::plain(RequestStatus::Pending);
            }
        }
    }

    /// Decides what has become due; says whether anything changed.
    pub(crate) fn settle(&mut self, now: Timestamp) -> bool {
        let Some(open) = &self.open else { return false };
        if open.due.is_none_or(|due| now < due) {
            return false;
        }
        let plan = open.plan.clone();
        self.decide(Decision {
            status: match plan.outcome {
                Outcome::Approve => Decided::Approved,
                Outcome::Fail => Decided::Failed,
                Outcome::Inquire => Decided::Inquiring,
            },
            reason: plan.reason,
            parameter_errors: plan.parameter_errors,
        })
    }

    /// Decides the open request; says no if there is none.
    pub(crate) fn decide(&mut self, decision: Decision) -> bool {
        let Some(mut open) = self.open.take() else {
            return false;
        };
        let Decision {
            status,
            reason,
            parameter_errors,
        } = decision;
        match status {
            Decided::Approved => self.approve(open.mutation, open.terms),
            Decided::Failed => {
                // Nothing was there before a purchase, also where a delete took its place.
                if self.status == TenantStatus::Pending {
                    self.status = TenantStatus::Failed;
                }
                self.request = Request {
                    status: RequestStatus::Failed,
                    reason,
                    parameter_errors,
                };
            }
            Decided::Inquiring => {
                open.due = None;
                self.open = Some(open);
                self.request = Request {
                    status: RequestStatus::Inquiring,
                    reason,
                    parameter_errors,
                };
            }
        }
        true
    }

    /// Takes the answer to an inquiry: the request is pending again.
    pub(crate) fn answer_inquiry(&mut self, change: &Terms, now: Timestamp) {
        let Some(open) = &mut self.open else { return };
        open.terms = open.terms.with(change);
        open.plan.outcome = open.plan.answered;
        open.due = due(&open.plan, now);
        self.request = Request::plain(RequestStatus::Pending);
    }

    /// Approves the open request, to make way for the next one.
    pub(crate) fn approve_open(&mut self) {
        if let Some(open) = self.open.take() {
            self.approve(open.mutation, open.terms);
        }
    }

    fn approve(&mut self, mutation: Mutation, terms: Terms) {
        self.terms = terms;
        self.request = Request::plain(RequestStatus::Approved);
        match mutation {
            Mutation::Create | Mutation::Enable => self.status = TenantStatus::Active,
            Mutation::Change => {}
            Mutation::Disable => self.status = TenantStatus::Suspended,
            Mutation::Delete => self.status = TenantStatus::Terminated,
        }
    }
}

fn due(plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    match plan.after {
        After::Manual => None,
        After::In(wait) => Some(wait.after(now)),
    }
}
