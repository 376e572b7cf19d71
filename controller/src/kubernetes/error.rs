//! Why a call to the API server failed, as a class.

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The object has changed: what was decided rests on an old state.
    #[error("the object has changed meanwhile")]
    Conflict,
    /// The object, or what it would stand in, is gone.
    #[error("the object is gone")]
    Gone,
    /// RBAC, a policy, a webhook or the schema does not let the operator do this: it had no effect.
    #[error("the API server refuses it: {0}")]
    Forbidden(String),
    /// Anything else, timeouts included: whether it had an effect is not known.
    #[error("the Kubernetes API: {0}")]
    Failed(String),
}

impl From<kube::Error> for KubeError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Self::Failed(error.to_string());
        };
        let rejected = status
            .details
            .as_ref()
            .is_some_and(|d| !d.causes.is_empty());
        match status.code {
            // A failed `test` of a JSON patch is a 422 without causes; one with causes says that
            // what we wrote does not fit the schema, which no repetition mends.
            409 => Self::Conflict,
            422 if !rejected => Self::Conflict,
            404 | 410 => Self::Gone,
            403 | 422 => Self::Forbidden(status.message.clone()),
            code => Self::Failed(format!("{code}: {}", status.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_refused_is_told_from_what_has_changed() {
        let error = |code, causes| {
            let status = json!({"code": code, "message": "why", "details": {"causes": causes}});
            let status: Status = serde_json::from_value(status).expect("a Status");
            KubeError::from(kube::Error::Api(Box::new(status)))
        };
        let schema = json!([{"reason": "FieldValueInvalid", "field": "status.state"}]);
        assert!(matches!(error(422, json!([])), KubeError::Conflict));
        assert!(matches!(error(422, schema), KubeError::Forbidden(_)));
        assert!(matches!(error(403, json!([])), KubeError::Forbidden(_)));
        assert!(matches!(error(500, json!([])), KubeError::Failed(_)));
    }
}
