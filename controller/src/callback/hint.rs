//! The hint of a callback: an annotation on the Subscription, for whoever leads.

use fulfillment_crds::{Subscription, annotations};
use kube::api::Patch;
use serde_json::json;

use crate::kubernetes::{Cluster, KubeError, params};

/// Leaves a hint on the Subscription of this name and uid.
///
/// # Errors
///
/// [`KubeError::Gone`] where it is not there any more, or another of its name is.
pub(super) async fn leave(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    uid: &str,
    value: &str,
) -> Result<(), KubeError> {
    let patch = Patch::Merge(json!({"metadata": {
        "uid": uid,
        "annotations": {annotations::CALLED_BACK: value},
    }}));
    let subscriptions = cluster.api::<Subscription>(namespace);
    let params = params();
    let write = subscriptions.patch_metadata(name, &params, &patch);
    let written = cluster.bounded(write).await;
    let error = match written {
        Ok(_) => return Ok(()),
        Err(KubeError::Gone) => return Err(KubeError::Gone),
        Err(error @ (KubeError::Conflict | KubeError::Forbidden(_) | KubeError::Failed(_))) => {
            error
        }
    };
    // The uid is another's, which is a 422; or the object is written so often that there was no gap
    // for this; or the API server is unwell. A vendor that hears "gone" may never call again, so it
    // hears that only where a look says so.
    match cluster
        .bounded(subscriptions.get_metadata_opt(name))
        .await?
    {
        Some(found) if found.metadata.uid.as_deref() == Some(uid) => Err(error),
        Some(_) | None => Err(KubeError::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::tests::served_by;
    use axum::{Router, http::StatusCode, routing};
    use serde_json::Value;

    fn status(code: StatusCode, causes: &Value) -> (StatusCode, String) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
            "details": {"causes": causes},
        });
        (code, status.to_string())
    }

    /// An API server that answers every patch so, and whose one Subscription has this uid.
    fn refusing(patch: (StatusCode, String), has: Option<&str>) -> Cluster {
        let found = has.map_or(status(StatusCode::NOT_FOUND, &json!([])), |uid| {
            let object = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "mail", "namespace": "team-a", "uid": uid},
            });
            (StatusCode::OK, object.to_string())
        });
        let path = "/apis/fulfillment-operator.io/v1alpha1/namespaces/team-a/subscriptions/mail";
        let server = routing::get(found).patch(patch);
        served_by(Router::new().route(path, server))
    }

    #[tokio::test]
    async fn a_refused_hint_means_gone_only_where_the_object_is_gone() {
        let conflict = status(StatusCode::CONFLICT, &json!([]));
        let immutable = json!([{
            "reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid",
        }]);
        let invalid = status(StatusCode::UNPROCESSABLE_ENTITY, &immutable);
        let unwell = status(StatusCode::INTERNAL_SERVER_ERROR, &json!([]));
        for answer in [conflict, invalid, unwell] {
            for (has, gone) in [(Some("u1"), false), (Some("u2"), true), (None, true)] {
                let cluster = refusing(answer.clone(), has);
                let left = leave(&cluster, "team-a", "mail", "u1", "now").await;
                let error = left.expect_err("it was refused");
                let says = matches!(error, KubeError::Gone);
                assert_eq!(says, gone, "{has:?} {answer:?}: {error:?}");
            }
        }
    }
}
