//! What a connection to this vendor should say, by what was seen.

use fulfillment_crds::IdentityMode;
use serde_json::Value;

use super::{Run, finding::Check};
use crate::vendor::Operation;

/// What a connection to this vendor should say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recommended {
    /// `identity.mode`; `None` where it could not be found out.
    pub(super) identity: Option<IdentityMode>,
    /// `dialect`, in words.
    pub(super) dialect: String,
}

/// The safest way to repeat a create that the vendor offers, and the dialect it speaks.
pub(super) fn recommend(run: &Run) -> Recommended {
    let tried = !run.findings.lack(Check::ExternalId);
    let offers = &run.offers;
    let identity = if offers.external_id {
        IdentityMode::ExternalId
    } else if offers.idempotency_key {
        IdentityMode::IdempotencyKey
    } else if offers.lookup {
        IdentityMode::Lookup
    } else {
        IdentityMode::None
    };
    Recommended {
        identity: tried.then_some(identity),
        dialect: dialect(run),
    }
}

fn dialect(run: &Run) -> String {
    let good = |check| !run.findings.lack(check) && !run.findings.failed(check);
    if good(Check::Create) && good(Check::Read) {
        return match run.spec.dialect {
            Some(_) => "as configured".into(),
            None => "none: it speaks the canonical one".into(),
        };
    }
    let answers = run.bench.record.all();
    let bought = |answer: &&crate::vendor::record::Exchange| {
        answer.operation == Operation::Create && (200..300).contains(&answer.status)
    };
    let body = answers.iter().find(bought).and_then(|a| a.body.as_ref());
    match body.and_then(looks_like) {
        Some("canonical") => "none: its answer to a create looks canonical".into(),
        Some(file) => format!("its answer to a create looks like examples/vendors/{file}.yaml"),
        None => "cannot be told from its answers: docs/dialects.md says how to write one".into(),
    }
}

/// Which of the shipped dialects an answer to a create is of, by its fields.
fn looks_like(body: &Value) -> Option<&'static str> {
    let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    if has("tenantId") {
        Some("scenario")
    } else if has("operation") && has("tenant") {
        Some("operation")
    } else if has("id") && has("version") && has("enabled") {
        Some("reseller-tree")
    } else if has("id") && has("status") {
        Some("canonical")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dialect_is_known_by_its_fields() {
        let known = looks_like(&json!({"tenantId": "t-1", "status": "ready"}));
        assert_eq!(known, Some("scenario"));
        let known = looks_like(&json!({"operation": "op-1", "tenant": "t-1"}));
        assert_eq!(known, Some("operation"));
        let known = looks_like(&json!({"id": "t-1", "version": 1, "enabled": true}));
        assert_eq!(known, Some("reseller-tree"));
        let known = looks_like(&json!({"id": 1, "status": "active"}));
        assert_eq!(known, Some("canonical"));
        assert_eq!(looks_like(&json!({"result": "ok"})), None);
        assert_eq!(looks_like(&json!([])), None);
    }
}
