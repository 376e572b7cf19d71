//! What of a change of a TierConfiguration concerns those bought or set up under it. They are many, and
//! most of what is written of it is only its own affair.

use fulfillment_crds::TierConfiguration;

use crate::{object::Guarded, observe, report};

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nobody else.
    Nothing,
    /// Who waits for it, and says why that takes so long.
    Words,
    /// All below it: what their orders carry, or whether they can be bought.
    Terms,
}

/// What is new, against what was known before.
pub fn news(
    before: Option<&Guarded<TierConfiguration>>,
    now: &Guarded<TierConfiguration>,
    gone: bool,
) -> News {
    let (Some(Ok(before)), Ok(now), false) = (before.map(|b| &b.0), &now.0, gone) else {
        return News::Terms;
    };
    if terms(before) != terms(now) {
        News::Terms
    } else if words(before) != words(now) {
        News::Words
    } else {
        News::Nothing
    }
}

/// What orders under it carry and rest on.
fn terms(tier: &TierConfiguration) -> impl PartialEq {
    let meta = &tier.metadata;
    let status = tier.status.clone().unwrap_or_default();
    (
        (meta.uid.clone(), meta.generation),
        meta.deletion_timestamp.is_some(),
        // Its own tenant is paused with it.
        observe::is_paused(meta),
        (status.state, status.inputs_hash),
        (status.tenant_id, status.parameters),
    )
}

/// What is passed on by who waits for it.
fn words(tier: &TierConfiguration) -> Option<(&str, &str, &str)> {
    let status = tier.status.as_ref()?;
    let ready = report::ready(&status.conditions)?;
    Some((&ready.status, &ready.reason, &ready.message))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fulfillment_crds::TierConfiguration;
    use serde_json::{Value, json};

    use super::{News, news};
    use crate::object::Guarded;

    fn tier(patch: impl Fn(&mut Value)) -> Guarded<TierConfiguration> {
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Active", "message": "set up",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let mut object = json!({
            "apiVersion": "fulfillment-operator.io/v1alpha1",
            "kind": "TierConfiguration",
            "metadata": {"name": "north", "namespace": "team", "uid": "u1", "generation": 1},
            "spec": {
                "connectionRef": {"name": "acme"}, "product": "mail-pro", "level": 1,
                "account": {"name": "North"},
            },
            "status": {
                "state": "Active", "inputsHash": "h1", "tenantId": "t-1",
                "lastHandledReconcileAt": "first", "conditions": [ready],
            },
        });
        patch(&mut object);
        Guarded(Ok(Arc::new(serde_json::from_value(object).unwrap())))
    }

    #[test]
    fn a_change_concerns_those_below_by_what_they_rest_on() {
        let before = tier(|_| {});
        let changes: [(&str, Value, News); 10] = [
            ("/metadata/resourceVersion", json!("7"), News::Nothing),
            ("/metadata/finalizers", json!(["x"]), News::Nothing),
            (
                "/status/lastHandledReconcileAt",
                json!("second"),
                News::Nothing,
            ),
            (
                "/status/conditions/0/message",
                json!("set up: there"),
                News::Words,
            ),
            ("/metadata/uid", json!("u2"), News::Terms),
            ("/metadata/generation", json!(2), News::Terms),
            (
                "/metadata/deletionTimestamp",
                json!("2026-01-02T00:00:00Z"),
                News::Terms,
            ),
            ("/status/state", json!("Processing"), News::Terms),
            ("/status/inputsHash", json!("h2"), News::Terms),
            ("/status/tenantId", json!("t-2"), News::Terms),
        ];
        for (path, value, expected) in changes {
            let now = tier(|object| {
                let (parent, key) = path.rsplit_once('/').unwrap();
                object.pointer_mut(parent).unwrap()[key] = value.clone();
            });
            assert_eq!(news(Some(&before), &now, false), expected, "{path}");
        }
        let paused = json!({"fulfillment-operator.io/paused": "true"});
        let paused = tier(|object| object["metadata"]["annotations"] = paused.clone());
        assert_eq!(news(Some(&before), &paused, false), News::Terms);
        let given = json!([{"name": "id", "value": "7"}]);
        let given = tier(|object| object["status"]["parameters"] = given.clone());
        assert_eq!(news(Some(&before), &given, false), News::Terms);
        assert_eq!(news(Some(&before), &before, true), News::Terms);
        assert_eq!(news(None, &before, false), News::Terms);
    }
}
