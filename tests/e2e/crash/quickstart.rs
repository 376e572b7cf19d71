//! The first scene of `cargo demo`, as a walk: a purchase with what the customer gets, and all that may
//! happen to it.

use super::walk::Step;
use data_encoding::BASE64;
use e2e::{
    World,
    objects::{is_observed, message, standing},
};
use serde_json::{Value, json};

/// Why the vendor does not make a change.
const REFUSAL: &str = "at most 500 seats are sold";

/// A step of it. The vendor decides at once, or `later`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scene {
    Purchase,
    Change,
    Suspend,
    Resume,
    Drift,
    /// A change that the vendor does not make.
    Refusal {
        later: bool,
    },
    /// The way back: what the vendor has is declared again.
    Back {
        later: bool,
    },
    Delete,
}

/// All of them, for a vendor that decides at once, or later.
pub(super) const fn steps(later: bool) -> [Scene; 8] {
    [
        Scene::Purchase,
        Scene::Change,
        Scene::Suspend,
        Scene::Resume,
        Scene::Drift,
        Scene::Refusal { later },
        Scene::Back { later },
        Scene::Delete,
    ]
}

/// What a vendor does that does nothing at once.
pub(super) fn later(outcome: &str) -> Value {
    let reason = if outcome == "fail" { REFUSAL } else { "" };
    let plan = json!({"after": "300ms", "retryAfter": "1s", "outcome": outcome, "reason": reason});
    json!({"async": plan})
}

fn output(name: &str) -> String {
    format!("{name}-activation")
}

/// A purchase with an output Secret.
fn declare(world: &World, name: &str, state: &str, seats: u64, phone: &str) {
    let parameters = json!([{"name": "contact_phone", "value": phone}]);
    let spec = json!({
        "state": state, "limits": {"seats": seats},
        "parameters": parameters, "outputSecretName": output(name),
    });
    world.subscribe(name, spec);
}

const FIRST: &str = "+1 201 555 0100";
const SECOND: &str = "+1 201 555 0123";

impl Step for Scene {
    fn begin(self, world: &World, name: &str) {
        match self {
            Self::Purchase => declare(world, name, "Active", 50, FIRST),
            Self::Change | Self::Resume => declare(world, name, "Active", 60, SECOND),
            Self::Suspend => declare(world, name, "Suspended", 60, SECOND),
            Self::Drift => {
                let id = world.vendor.tenant()["id"].clone();
                let behind = json!({"limits": {"seats": 1}});
                world
                    .vendor
                    .patch_tenant(id.as_str().unwrap_or_default(), behind);
                world.request(name, "drift");
            }
            Self::Refusal { later: slow } => {
                if slow {
                    let change = json!({"operations": {"change": later("fail")}});
                    world.vendor.behavior(change);
                }
                declare(world, name, "Active", 5000, SECOND);
            }
            Self::Back { later: slow } => {
                if slow {
                    let change = json!({"operations": {"change": later("approve")}});
                    world.vendor.behavior(change);
                }
                declare(world, name, "Active", 60, SECOND);
            }
            Self::Delete => {
                world.kubectl(&["delete", "subscription", name, "--wait=false"]);
            }
        }
    }

    fn is_done(self, world: &World, name: &str, live: &[Value]) -> bool {
        let object = world.find("Subscription", name);
        let (Some(object), [tenant]) = (&object, live) else {
            return matches!(self, Self::Delete) && object.is_none() && live.is_empty();
        };
        let stands = |ready: &str, status: &str, seats: u64, phone: &str| {
            is_observed(object)
                && standing(object, "Ready") == ready
                && object["status"]["tenantId"] == tenant["id"]
                && tenant["status"] == status
                && tenant["limits"]["seats"] == seats
                && tenant["terms"]["parameters"]["contact_phone"] == phone
        };
        let is_active = || stands("True Active", "active", 60, SECOND);
        match self {
            Self::Purchase => {
                stands("True Active", "active", 50, FIRST) && customer_has_it(world, name, tenant)
            }
            Self::Change | Self::Resume => is_active(),
            Self::Suspend => stands("True Suspended", "suspended", 60, SECOND),
            Self::Drift => is_active() && object["status"]["lastHandledReconcileAt"] == "drift",
            Self::Refusal { .. } => {
                stands("False RequestFailed", "active", 60, SECOND)
                    && standing(object, "Stalled") == "True RequestFailed"
                    && message(object, "Ready").contains(REFUSAL)
                    && object["status"]["limits"]["seats"] == 60
            }
            Self::Back { .. } => {
                is_active()
                    && standing(object, "Stalled") == "-"
                    && standing(object, "Approved").starts_with("True ")
            }
            Self::Delete => false,
        }
    }

    fn has_calls(self) -> bool {
        match self {
            Self::Purchase
            | Self::Change
            | Self::Suspend
            | Self::Resume
            | Self::Drift
            | Self::Refusal { .. }
            | Self::Delete => true,
            // The vendor has it so already.
            Self::Back { .. } => false,
        }
    }

    fn answer(self) -> Option<Value> {
        let error = json!({"code": "limit_exceeded", "message": REFUSAL});
        let refused = json!({"status": 422, "body": {"error": error}});
        matches!(self, Self::Refusal { later: false }).then_some(refused)
    }

    fn bought(self) -> u64 {
        1
    }
}

/// The link is in the status, and the password in the Secret and nowhere else.
fn customer_has_it(world: &World, name: &str, tenant: &Value) -> bool {
    let gave = |name: &str| tenant["parameters"][name].as_str().unwrap_or_default();
    let status = world.sub(name)["status"]["parameters"].clone();
    let link = json!({"name": "activation_link", "value": gave("activation_link")});
    let listed = status.as_array().is_some_and(|all| all.contains(&link));
    let secret = world.find("Secret", &output(name)).unwrap_or_default();
    let kept = &secret["data"]["initial_password"];
    assert!(
        !status.to_string().contains(gave("initial_password")),
        "{status}"
    );
    listed && *kept == BASE64.encode(gave("initial_password").as_bytes())
}
