//! The hint of a callback: an annotation on the Subscription, for whoever leads.

use fulfillment_crds::{Subscription, annotations};
use kube::{Api, api::Patch};
use serde_json::json;

use crate::kubernetes::{KubeError, bounded, params};

/// Leaves a hint on the Subscription of this name and uid.
///
/// # Errors
///
/// [`KubeError::Gone`] where it is not there any more, or another of its name is.
pub(super) async fn leave(
    subscriptions: &Api<Subscription>,
    name: &str,
    uid: &str,
    value: &str,
) -> Result<(), KubeError> {
    let patch = Patch::Merge(json!({"metadata": {
        "uid": uid,
        "annotations": {annotations::CALLED_BACK: value},
    }}));
    let written = bounded(subscriptions.patch_metadata(name, &params(), &patch)).await;
    let Err(conflict @ KubeError::Conflict) = written else {
        return written.map(drop);
    };
    // The uid is another's; or the object is being written so often that the patch found no gap. A
    // vendor that hears "gone" never calls again, so that is looked up.
    match bounded(subscriptions.get_metadata_opt(name)).await? {
        Some(found) if found.metadata.uid.as_deref() == Some(uid) => Err(conflict),
        Some(_) | None => Err(KubeError::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::StatusCode, routing};
    use kube::Client;

    /// The API of a server that takes no patch of the one Subscription it has, of this uid.
    fn busy(has: Option<&str>) -> Api<Subscription> {
        let status = |code: StatusCode| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
            });
            (code, status.to_string())
        };
        let found = has.map_or(status(StatusCode::NOT_FOUND), |uid| {
            let object = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "mail", "namespace": "team-a", "uid": uid},
            });
            (StatusCode::OK, object.to_string())
        });
        let path = "/apis/fulfillment-operator.io/v1alpha1/namespaces/team-a/subscriptions/mail";
        let server = routing::get(found).patch(status(StatusCode::CONFLICT));
        let client = Client::new(Router::new().route(path, server), "default");
        Api::namespaced(client, "team-a")
    }

    #[tokio::test]
    async fn a_conflict_means_gone_only_where_it_is_gone() {
        for (has, gone) in [(Some("u1"), false), (Some("u2"), true), (None, true)] {
            let left = leave(&busy(has), "mail", "u1", "now").await;
            match left {
                Err(KubeError::Gone) => assert!(gone, "{has:?}"),
                Err(KubeError::Conflict) => assert!(!gone, "{has:?}"),
                other => panic!("{has:?}: {other:?}"),
            }
        }
    }
}
