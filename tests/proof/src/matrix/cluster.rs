//! What the harness itself does at the API server, past the proxy: as the admin, over HTTP, as a
//! kubectl process for each of some thousand cells would cost more than the cells.

use control_plane::ControlPlane;
use reqwest::{
    Certificate, Method, StatusCode,
    blocking::{Client, RequestBuilder},
};
use serde_json::Value;
use std::time::Duration;

const OURS: &str = "/apis/fulfillment-operator.io/v1alpha1";

/// The kinds of objects a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Subscription,
    Connection,
    TierConfiguration,
    Secret,
}

/// The API server, seen from a namespace.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    client: Client,
    url: String,
    token: String,
    namespace: String,
}

impl Cluster {
    pub(super) fn new(plane: &ControlPlane, namespace: &str) -> Result<Self, String> {
        let ca = Certificate::from_pem(plane.ca_pem().as_bytes());
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only(ca)
            .timeout(Duration::from_secs(30))
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            url: plane.url(),
            token: plane.admin_token().to_owned(),
            namespace: namespace.to_owned(),
        })
    }

    fn path(&self, kind: Kind, name: &str) -> String {
        let (prefix, plural) = match kind {
            Kind::Subscription => (OURS, "subscriptions"),
            Kind::Connection => (OURS, "vendorconnections"),
            Kind::TierConfiguration => (OURS, "tierconfigurations"),
            Kind::Secret => ("/api/v1", "secrets"),
        };
        let path = format!("{prefix}/namespaces/{}/{plural}/{name}", self.namespace);
        path.trim_end_matches('/').to_owned()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        request.bearer_auth(&self.token)
    }

    /// An object, if it is there.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Result<Option<Value>, String> {
        sent(self.request(Method::GET, &self.path(kind, name)))
    }

    /// Makes an object.
    pub(super) fn create(&self, kind: Kind, object: &str) -> Result<(), String> {
        let request = self.request(Method::POST, &self.path(kind, ""));
        let request = request.header("Content-Type", "application/json");
        sent(request.body(object.to_owned())).map(drop)
    }

    /// Merges into an object; `sub` is `/status` or nothing.
    pub(super) fn merge(
        &self,
        kind: Kind,
        name: &str,
        sub: &str,
        patch: &Value,
    ) -> Result<(), String> {
        let path = format!("{}{sub}", self.path(kind, name));
        let request = self.request(Method::PATCH, &path);
        let request = request.header("Content-Type", "application/merge-patch+json");
        sent(request.body(patch.to_string())).map(drop)
    }

    /// Deletes an object, and waits for nothing.
    pub(super) fn delete(&self, kind: Kind, name: &str) -> Result<(), String> {
        sent(self.request(Method::DELETE, &self.path(kind, name))).map(drop)
    }

    fn tombstones(&self) -> String {
        let namespace = &self.namespace;
        let label = "fulfillment-operator.io/tombstone";
        format!("/api/v1/namespaces/{namespace}/configmaps?labelSelector={label}")
    }

    /// Whether a deleted Subscription is remembered.
    pub(super) fn has_tombstones(&self) -> Result<bool, String> {
        let list = sent(self.request(Method::GET, &self.tombstones()))?.unwrap_or_default();
        Ok(list["items"].as_array().is_some_and(|all| !all.is_empty()))
    }

    /// Forgets all that are.
    pub(super) fn clear_tombstones(&self) -> Result<(), String> {
        sent(self.request(Method::DELETE, &self.tombstones())).map(drop)
    }
}

/// What is answered; none where there is no such object.
fn sent(request: RequestBuilder) -> Result<Option<Value>, String> {
    let answer = request.send().map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().map_err(|error| error.to_string())?;
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| format!("{error}: {text}"))
}
