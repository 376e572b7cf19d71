//! What Argo CD makes of what is reported, by the script of `examples/argocd/argocd-cm.yaml` run in a Lua
//! of the version that Argo CD has.

use fulfillment_crds::SubscriptionStatus;
use mlua::{Lua, LuaSerdeExt as _};
use serde_json::{Value, json};

const CONFIG: &str = include_str!("../../../examples/argocd/argocd-cm.yaml");
const KINDS: [&str; 4] = [
    "Subscription",
    "TierConfiguration",
    "VendorConnection",
    "ClusterVendorConnection",
];

fn script(kind: &str) -> String {
    let config: Value = serde_yaml::from_str(CONFIG).unwrap();
    let key = format!("resource.customizations.health.fulfillment-operator.io_{kind}");
    config["data"][&key].as_str().unwrap().to_owned()
}

fn health(object: &Value) -> (String, String) {
    let lua = Lua::new();
    lua.globals()
        .set("obj", lua.to_value(object).unwrap())
        .unwrap();
    let health: mlua::Table = lua.load(script("Subscription")).eval().unwrap();
    (
        health.get("status").unwrap(),
        health.get("message").unwrap(),
    )
}

/// What Argo CD takes an object of generation 4 with this status for.
pub(crate) fn of(status: &SubscriptionStatus) -> String {
    health(&json!({"metadata": {"generation": 4}, "status": status})).0
}

#[test]
fn every_kind_has_the_same_script() {
    for kind in KINDS {
        assert_eq!(script(kind), script("Subscription"), "{kind}");
    }
}

#[test]
fn what_nobody_has_seen_is_not_healthy() {
    let now = |status: Value| {
        let mut object = json!({"metadata": {"generation": 2}});
        if !status.is_null() {
            object["status"] = status;
        }
        health(&object)
    };
    assert_eq!(now(Value::Null).0, "Progressing");
    assert_eq!(now(json!({"observedGeneration": -1})).0, "Progressing");
    let ready = |generation, status: &str, reason: &str| {
        let ready = json!({"type": "Ready", "status": status, "reason": reason, "message": "why"});
        now(json!({"observedGeneration": generation, "conditions": [ready]}))
    };
    let (health, said) = ready(1, "True", "Active");
    assert_eq!(
        (health.as_str(), said.as_str()),
        ("Progressing", "the spec is not observed yet")
    );
    let (health, said) = ready(2, "True", "Active");
    assert_eq!((health.as_str(), said.as_str()), ("Healthy", "Active: why"));
    assert_eq!(ready(2, "False", "MassVanish").0, "Degraded");
    assert_eq!(ready(2, "False", "Provisioning").0, "Progressing");
    assert_eq!(ready(1, "True", "Paused").0, "Suspended");
}
