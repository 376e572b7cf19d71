//! Reading objects from the API server: quick, and without a kubectl process for each look.

use crate::{http, poll};
use control_plane::ControlPlane;
use reqwest::{StatusCode, blocking::Client};
use serde_json::Value;
use std::time::Duration;

/// How long an API server may be unable to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads as the admin; never writes.
#[derive(Debug)]
pub(crate) struct Reader {
    client: Client,
    url: String,
    token: String,
}

impl Reader {
    pub(crate) fn new(control_plane: &ControlPlane) -> Self {
        Self {
            client: http::trusting(control_plane.ca_pem()),
            url: control_plane.url(),
            token: control_plane.admin_token().to_owned(),
        }
    }

    /// What is at a path; `None` if nothing is.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let text = self.text(path)?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
    }

    /// Waits where the API server asks for patience, as it does after a start, or does not answer.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        poll("the API server answers", PATIENCE, || {
            let request = self.client.get(format!("{}{path}", self.url));
            let answer = request.bearer_auth(&self.token).send();
            let answer = answer.map_err(|error| error.to_string())?;
            let status = answer.status();
            let text = answer.text().map_err(|error| error.to_string())?;
            match status {
                StatusCode::OK => Ok(Some(text)),
                StatusCode::NOT_FOUND => Ok(None),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(text),
                _ => panic!("GET {path}: {status} {text}"),
            }
        })
    }
}

/// The path of a kind's objects in a namespace. The kind as kubectl takes it: any case, singular,
/// plural or short.
pub(crate) fn collection(kind: &str, namespace: &str) -> String {
    let (prefix, plural) = match kind.to_lowercase().as_str() {
        "subscription" | "subscriptions" | "fsub" => {
            ("/apis/fulfillment-operator.io/v1alpha1", "subscriptions")
        }
        "vendorconnection" | "vendorconnections" => (
            "/apis/fulfillment-operator.io/v1alpha1",
            "vendorconnections",
        ),
        "tierconfiguration" | "tierconfigurations" | "ftier" => (
            "/apis/fulfillment-operator.io/v1alpha1",
            "tierconfigurations",
        ),
        "clustervendorconnection" | "clustervendorconnections" => {
            return "/apis/fulfillment-operator.io/v1alpha1/clustervendorconnections".to_owned();
        }
        "secret" | "secrets" => ("/api/v1", "secrets"),
        "configmap" | "configmaps" => ("/api/v1", "configmaps"),
        "event" | "events" => ("/apis/events.k8s.io/v1", "events"),
        "lease" | "leases" => ("/apis/coordination.k8s.io/v1", "leases"),
        "namespace" | "namespaces" => return "/api/v1/namespaces".to_owned(),
        _ => panic!("where {kind} are, the harness must be told in api.rs"),
    };
    format!("{prefix}/namespaces/{namespace}/{plural}")
}
