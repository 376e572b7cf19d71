//! Who holds what at a vendor, among the Subscriptions this process sees: a name that was chosen by
//! a user is a claim, and two claims on one thing are a conflict before any vendor hears of it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use fulfillment_crds::{
    ParameterDefinition, ParameterError, Reason, RequestStatus, RequestType, Subscription,
    finalizers,
};
use kube::ResourceExt;

use crate::{
    controller::{Context, Scope},
    facts::Trouble,
    kinds::ConnectionKey,
    ledger::{CONFLICT, draft},
    link::{self, Usable},
    observe, product,
    vendor::{Class, Effect, Said, VendorError},
};

/// The uids of Subscriptions that this process has let go ahead with an externalId of their own
/// choice: between that and their finalizer they hold it already.
#[derive(Debug, Default)]
pub struct Claims(Mutex<HashSet<String>>);

impl Claims {
    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

/// Why a Subscription may not use the externalId it claims: another one of the same vendor has it.
/// Who already went ahead with it keeps it; else the older one has it, and at the same age the one
/// with the smaller uid.
pub fn conflict(ctx: &Context, object: &Subscription, usable: &Usable) -> Option<Trouble> {
    let id = object.spec.external_id.as_ref()?;
    let mut ahead = ctx.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
    let rank = |s: &Subscription| {
        let uid = s.uid().unwrap_or_default();
        let holds = ahead.contains(&uid) || is_finalized(s);
        (!holds, s.creation_timestamp(), uid)
    };
    let holder = others(ctx, object, usable, |other| names(other, id))
        .into_iter()
        .min_by_key(|other| rank(other));
    match holder {
        Some(holder) if rank(&holder) < rank(object) => Some(Trouble {
            reason: Reason::Conflict,
            message: format!(
                "externalId {id} belongs to Subscription {} already: choose another, or delete that one",
                path(&holder)
            ),
        }),
        Some(_) | None => {
            ahead.extend(object.uid());
            None
        }
    }
}

/// Why a tenant a person names cannot be this Subscription's: another one holds it.
pub fn taken(
    ctx: &Context,
    object: &Subscription,
    tenant: &str,
    usable: &Usable,
) -> Option<String> {
    let holders = others(ctx, object, usable, |other| has(other, tenant));
    holders.first().map(|holder| {
        format!(
            "tenant {tenant} belongs to Subscription {} already",
            path(holder)
        )
    })
}

/// The Subscription that has this tenant of the vendor, if there is one.
pub fn holds(ctx: &Context, usable: &Usable, tenant: &str) -> Option<String> {
    let url = &usable.connection.spec().url;
    ctx.scopes().iter().find_map(|scope| {
        let here = |subscription: &Subscription| {
            let key = ConnectionKey::named_by(subscription);
            reaches(scope, &key, "", true, url)
        };
        let all = scope.subscriptions.state();
        let mut all = all.iter().filter_map(|object| object.0.as_ref().ok());
        all.find(|subscription| has(subscription, tenant) && here(subscription))
            .map(|subscription| path(subscription))
    })
}

fn has(subscription: &Subscription, tenant: &str) -> bool {
    let status = subscription.status.as_ref();
    status.and_then(|status| status.tenant_id.as_deref()) == Some(tenant)
}

/// What another Subscription holds is not taken, whatever name led to it: an intent is an annotation,
/// and whoever may write the object can write a name there that is somebody else's. Said as a refusal
/// of the vendor's, so that it ends where a conflict of names ends.
pub fn refuse_taken(
    ctx: &Context,
    object: &Subscription,
    usable: &Usable,
    said: &mut Said,
) -> Option<VendorError> {
    match said {
        Said::Exists(_) | Said::Found(_) => {}
        Said::Tenant(_) | Said::Done | Said::Accepted(_) | Said::Absent => return None,
    }
    let own = object.status.as_ref().and_then(|s| s.tenant_id.as_deref());
    let shown = said.tenants().iter().map(|tenant| tenant.id.as_str());
    let why = shown
        .filter(|id| Some(*id) != own)
        .find_map(|id| taken(ctx, object, id, usable))?;
    Some(VendorError {
        class: Class::Refused,
        effect: Effect::None,
        retry_after: None,
        status: None,
        code: CONFLICT.to_owned(),
        message: why,
        parameters: Vec::new(),
        unsent: false,
    })
}

/// How firmly somebody has a value that no two of one product may have; the firmest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The vendor was sent it, and has not refused.
    Sent,
    /// It is in a spec that was not looked at yet, or not sent.
    Wanted,
    /// It was said to be wrong, or another's.
    Refused,
    /// Its purchase failed: the vendor has nothing of it.
    Failed,
}

impl Hold {
    /// Of the parameter of this name, where what stands in the spec `is_sent`, and these are wrong.
    pub fn new(name: &str, is_sent: bool, wrong: &[ParameterError]) -> Self {
        if wrong.iter().any(|error| error.name == name) {
            Self::Refused
        } else if is_sent {
            Self::Sent
        } else {
            Self::Wanted
        }
    }

    fn of(subscription: &Subscription, name: &str) -> Self {
        let meta = &subscription.metadata;
        let Some(status) = &subscription.status else {
            return Self::new(name, is_finalized(subscription), &[]);
        };
        let seen = status.observed_generation == meta.generation;
        let failed = status.request.as_ref();
        let failed = failed.filter(|r| seen && r.status == RequestStatus::Failed);
        let refused = match failed.map(|r| r.type_) {
            Some(RequestType::Purchase) => return Self::Failed,
            // It may have carried limits alone.
            Some(RequestType::Change) => status.sent_inputs_hash.is_some(),
            Some(RequestType::Suspend | RequestType::Resume | RequestType::Cancel) | None => false,
        };
        let is_sent = match status.observed_generation {
            // Its first order is on its way.
            None | Some(-1) => is_finalized(subscription),
            Some(_) => seen && link::is_recorded(subscription) && !refused,
        };
        Self::new(name, is_sent, &status.parameter_errors)
    }

    /// Of the one that asks, as the vendor has other parameters of it. Its status may be of this very spec
    /// with nothing sent: an earlier order was not decided, or a Secret was missing.
    fn own(subscription: &Subscription, name: &str) -> Self {
        let hold = Self::of(subscription, name);
        let status = subscription.status.as_ref();
        let Some(status) = status.filter(|status| observe::is_bought(status)) else {
            return hold;
        };
        let ordered = status.request.as_ref().is_some_and(|r| {
            matches!(r.type_, RequestType::Purchase | RequestType::Change)
                && !draft(r)
                && Some(r.generation) == subscription.metadata.generation
        });
        if ordered {
            hold
        } else {
            hold.max(Self::Wanted)
        }
    }
}

fn is_finalized(subscription: &Subscription) -> bool {
    let mut all = subscription.finalizers().iter();
    all.any(|name| name == finalizers::TENANT)
}

/// The Subscription that has a value which no two of one product may have: the one whose value was
/// sent, then the older one. Not asked for what the vendor has already.
pub fn holder(
    ctx: &Context,
    object: &Subscription,
    usable: &Usable,
    rule: &ParameterDefinition,
    value: &str,
) -> Option<String> {
    let rank = |s: &Subscription| (Hold::of(s, &rule.name), s.creation_timestamp(), s.uid());
    let own = Hold::own(object, &rule.name);
    let own = (own, object.creation_timestamp(), object.uid());
    let has = |other: &Subscription| {
        other.spec.product == object.spec.product
            && product::gives(rule, &other.spec.parameters, value)
            && rank(other) < own
    };
    let holders = others(ctx, object, usable, has).into_iter();
    let holder = holders.min_by_key(|other| rank(other))?;
    Some(format!("Subscription {}", path(&holder)))
}

/// Whether a Subscription goes by this externalId, claimed or derived.
fn names(subscription: &Subscription, id: &str) -> bool {
    let recorded = subscription.status.as_ref();
    subscription.spec.external_id.as_deref() == Some(id)
        || recorded.and_then(|s| s.external_id.as_deref()) == Some(id)
}

/// The other Subscriptions at the same URL that are wanted, in whatever is watched, as new as this process
/// knows them. All are asked, so none is copied but those.
fn others(
    ctx: &Context,
    object: &Subscription,
    usable: &Usable,
    wanted: impl Fn(&Subscription) -> bool,
) -> Vec<Arc<Subscription>> {
    let url = &usable.connection.spec().url;
    let mut found = Vec::new();
    for scope in ctx.scopes() {
        let same_url = |other: &Subscription| {
            let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
            let key = ConnectionKey::named_by(other);
            reaches(&scope, &key, namespace, link::is_recorded(other), url)
        };
        for other in scope.subscriptions.state() {
            let Ok(cached) = &other.0 else {
                continue;
            };
            let newer = ctx.pace.newer(cached);
            let other = newer.as_deref().unwrap_or(cached);
            if other.metadata.uid != object.metadata.uid && wanted(other) && same_url(other) {
                found.push(newer.unwrap_or_else(|| Arc::clone(cached)));
            }
        }
    }
    found
}

/// Whether a connection leads to this URL for a namespace, one of whose objects names it. Who may not
/// use a connection, and is not behind it already, claims nothing by naming it.
pub fn reaches(
    scope: &Scope,
    connection: &ConnectionKey,
    namespace: &str,
    recorded: bool,
    url: &str,
) -> bool {
    let found = scope.connection(connection).and_then(Result::ok);
    found.is_some_and(|c| c.spec().url == url && (c.allows(namespace) || recorded))
}

fn path(subscription: &Subscription) -> String {
    format!(
        "{}/{}",
        subscription.namespace().unwrap_or_default(),
        subscription.name_any()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn subscription(meta: &Value, status: Value) -> Subscription {
        let mut object = json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1",
            "kind": "Subscription",
            "metadata": meta,
            "spec": {"connectionRef": {"name": "acme"}, "product": "mail-pro"},
        });
        if !status.is_null() {
            object["status"] = status;
        }
        serde_json::from_value(object).unwrap()
    }

    fn hold(meta: &Value, status: Value) -> Hold {
        Hold::of(&subscription(meta, status), "site")
    }

    #[test]
    fn a_value_is_held_by_who_has_sent_it() {
        let edited = json!({"name": "mail", "generation": 3, "finalizers": [finalizers::TENANT]});
        let status = |generation: i64, type_: &str, outcome: &str| {
            json!({
                "observedGeneration": generation, "tenantId": "t-1",
                "request": {"id": "r", "type": type_, "status": outcome, "generation": generation, "attempts": 1},
            })
        };
        let wrong = |parameter: &str| {
            let mut status = status(3, "Change", "Inquiring");
            status["parameterErrors"] = json!([{"name": parameter, "message": "is wrong"}]);
            status
        };
        let mut refused = status(3, "Change", "Failed");
        refused["sentInputsHash"] = json!("other");
        for (status, expected) in [
            (status(3, "Change", "Approved"), Hold::Sent),
            (status(3, "Change", "Pending"), Hold::Sent),
            (wrong("phone"), Hold::Sent),
            (status(3, "Suspend", "Failed"), Hold::Sent),
            // The edit may be of this very value.
            (status(2, "Change", "Approved"), Hold::Wanted),
            // Limits alone were refused; a refused order is edited.
            (status(3, "Change", "Failed"), Hold::Sent),
            (refused, Hold::Wanted),
            (status(3, "Purchase", "Failed"), Hold::Failed),
            (status(2, "Purchase", "Failed"), Hold::Wanted),
            (wrong("site"), Hold::Refused),
        ] {
            assert_eq!(hold(&edited, status.clone()), expected, "{status}");
        }
        // Its first order is on its way, or nothing of it is.
        assert_eq!(hold(&edited, Value::Null), Hold::Sent);
        assert_eq!(hold(&edited, json!({"observedGeneration": -1})), Hold::Sent);
        let new = json!({"name": "mail", "generation": 1});
        assert_eq!(hold(&new, Value::Null), Hold::Wanted);
        assert_eq!(hold(&new, json!({"observedGeneration": 1})), Hold::Wanted);
        assert!(Hold::Sent < Hold::Wanted && Hold::Wanted < Hold::Refused);
        assert!(
            Hold::Refused < Hold::Failed,
            "who waits is before who has nothing"
        );
    }
}
