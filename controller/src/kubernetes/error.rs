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
    /// The operator may not do this.
    #[error("the operator's RBAC does not allow it: {0}")]
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
            403 => Self::Forbidden(status.message.clone()),
            code => Self::Failed(format!("{code}: {}", status.message)),
        }
    }
}
