//! What the vendor's log says of the past: an independent look, by nothing but the effects it
//! recorded in their order.

use std::collections::{BTreeMap, BTreeSet};

use e2e::vendor::Call;

/// Goes through the calls of a vendor that carries everything out at once.
///
/// # Errors
///
/// The first moment at which two tenants of one externalId were alive.
pub(super) fn never_two(calls: &[Call]) -> Result<(), String> {
    let mut live: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in calls {
        let effect = &call.0["effect"];
        let (Some(external_id), Some(tenant)) =
            (effect["externalId"].as_str(), effect["tenantId"].as_str())
        else {
            continue;
        };
        let tenants = live.entry(external_id).or_default();
        match effect["kind"].as_str() {
            Some("created") => tenants.insert(tenant),
            Some("deleted") => tenants.remove(tenant),
            Some(_) | None => false,
        };
        if tenants.len() > 1 {
            return Err(format!(
                "after call {} {external_id} had two tenants: {tenants:?}",
                call.sequence()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn calls(effects: &[(&str, &str)]) -> Vec<Call> {
        let call = |(kind, tenant): &(&str, &str)| {
            let effect = json!({"kind": kind, "tenantId": tenant, "externalId": "k1"});
            Call(json!({"sequence": 1, "effect": effect}))
        };
        effects.iter().map(call).collect()
    }

    #[test]
    fn twins_are_seen_and_successors_are_none() {
        let one = [("created", "t-1"), ("deleted", "t-1"), ("created", "t-2")];
        assert_eq!(never_two(&calls(&one)), Ok(()));
        let twins = [("created", "t-1"), ("changed", "t-1"), ("created", "t-2")];
        assert!(never_two(&calls(&twins)).is_err());
    }
}
