//! The second scene of `cargo demo`, as a walk: a purchase that waits for its reseller, is Inquiring, is
//! decided by hand and told by a callback.

use super::walk::Step;
use crate::tiers::{numbered, tier, under};
use e2e::{
    Builder, World,
    objects::{is_observed, merge, standing},
};
use serde_json::{Value, json};

/// A step of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scene {
    /// The reseller's number is not known yet, and the phone number is none.
    Waits,
    /// The number is known.
    Inquiring,
    /// The phone number is one: the vendor has the order.
    Ordered,
    /// The vendor decides.
    Approved,
    /// All is deleted.
    Ended,
}

pub(super) const STEPS: [Scene; 5] = [
    Scene::Waits,
    Scene::Inquiring,
    Scene::Ordered,
    Scene::Approved,
    Scene::Ended,
];

/// The connection's product.
pub(super) fn product(builder: Builder) -> Builder {
    builder.connection(json!({"products": [{
        "name": "mail-pro",
        "parameters": [
            {"name": "reseller_id", "scope": "tier", "required": true},
            {"name": "contact_phone", "type": "phone", "required": true},
            {"name": "activation_link", "type": "url", "phase": "fulfillment"},
            {"name": "initial_password", "type": "password", "phase": "fulfillment", "sensitive": true},
        ],
        "template": "Welcome. Your mail is at {activation_link}",
    }]}))
}

fn reseller(name: &str) -> String {
    format!("reseller-of-{name}")
}

fn order(world: &World, name: &str, phone: &str) {
    let mut spec = under(&reseller(name));
    spec["tiers"]["customer"] = json!({"externalId": "c-40", "name": "Northwind Traders"});
    merge(
        &mut spec,
        json!({"parameters": [{"name": "contact_phone", "value": phone}]}),
    );
    world.subscribe(name, spec);
}

impl Step for Scene {
    fn begin(self, world: &World, name: &str) {
        match self {
            Self::Waits => {
                world.apply(&tier(&reseller(name), numbered("")));
                order(world, name, "ask Jo");
            }
            Self::Inquiring => {
                world.apply(&tier(&reseller(name), numbered("1077")));
            }
            Self::Ordered => order(world, name, "+1 201 555 0123"),
            Self::Approved => {
                let id = world.vendor.tenant()["id"].clone();
                world.vendor.approve(id.as_str().unwrap_or_default());
            }
            Self::Ended => {
                let tier = format!("tierconfiguration/{}", reseller(name));
                let subscription = format!("subscription/{name}");
                world.kubectl(&["delete", &tier, &subscription, "--wait=false"]);
            }
        }
    }

    fn is_done(self, world: &World, name: &str, live: &[Value]) -> bool {
        let object = world.find("Subscription", name);
        let tier = world.find("TierConfiguration", &reseller(name));
        let (Some(object), Some(tier)) = (&object, &tier) else {
            let gone = object.is_none() && tier.is_none() && live.is_empty();
            return matches!(self, Self::Ended) && gone;
        };
        let stands = |ready: &str| is_observed(object) && standing(object, "Ready") == ready;
        let has = |status: &str| {
            let [tenant] = live else {
                return false;
            };
            let tiers = &tenant["terms"]["tiers"];
            tenant["status"] == status
                && object["status"]["tenantId"] == tenant["id"]
                && tiers["customer"]["externalId"] == "c-40"
                && tiers["tier1"]["parameters"]["reseller_id"] == "1077"
        };
        match self {
            Self::Waits => {
                stands("False TierConfigurationNotReady")
                    && standing(tier, "Stalled") == "True Inquiring"
                    && live.is_empty()
            }
            Self::Inquiring => {
                let errors = &object["status"]["parameterErrors"];
                stands("False Inquiring")
                    && standing(tier, "Ready") == "True Active"
                    && errors[0]["name"] == "contact_phone"
                    && live.is_empty()
            }
            Self::Ordered => {
                stands("False Provisioning")
                    && object["status"]["request"]["status"] == "Pending"
                    && has("pending")
            }
            Self::Approved => {
                let link = live
                    .first()
                    .map(|tenant| &tenant["parameters"]["activation_link"]);
                let link = link.and_then(Value::as_str).unwrap_or_default();
                let welcome = format!("Welcome. Your mail is at {link}");
                stands("True Active") && has("active") && object["status"]["activation"] == welcome
            }
            Self::Ended => false,
        }
    }

    fn has_calls(self) -> bool {
        match self {
            Self::Waits | Self::Inquiring => false,
            Self::Ordered | Self::Approved | Self::Ended => true,
        }
    }

    fn bought(self) -> u64 {
        match self {
            Self::Waits | Self::Inquiring => 0,
            Self::Ordered | Self::Approved | Self::Ended => 1,
        }
    }
}
