//! Kubeconfig files.

use std::path::Path;

use serde_json::json;

/// A kubeconfig for a bearer token; JSON is YAML, and quotes whatever a name may hold.
pub(crate) fn kubeconfig(url: &str, ca: &Path, user: &str, token: &str, namespace: &str) -> String {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": user,
        "contexts": [{
            "name": user,
            "context": { "cluster": "control-plane", "user": user, "namespace": namespace },
        }],
        "clusters": [{
            "name": "control-plane",
            "cluster": { "server": url, "certificate-authority": ca },
        }],
        "users": [{ "name": user, "user": { "token": token } }],
    });
    format!("{kubeconfig:#}\n")
}
