//! The second scene: a purchase that waits for its reseller, is Inquiring, and is approved by a callback.

use crate::{
    stage::Stage,
    steps::{activation_link, is_active, nothing_lives, text},
    stop::Stop,
};
use e2e::{
    kstatus::Status::{Current, Failed, InProgress, NotFound, Terminating},
    objects::{message, standing},
};
use serde_json::json;
use std::time::{Duration, Instant};

/// The example that is played.
const FILE: &str = "fulfillment.yaml";
/// The Subscription it declares.
const NAME: &str = "northwind-mail";
/// How soon after the vendor's decision it has to be known.
const SOON: Duration = Duration::from_secs(2);

pub(crate) fn waits(stage: &mut Stage) -> Result<(), Stop> {
    stage.play(FILE, NAME)?;
    stage.show_file();
    stage
        .screen
        .say("Two slips of the pen: the reseller's number is not known yet, and the phone number is a note.");
    stage.edit("value: \"1077\"}", "value: \"\"}")?;
    stage.edit("value: \"+1 201 555 0123\"}", "value: \"ask Jo\"}")?;
    stage.run(&format!("kubectl apply -f {FILE}"))?;
    let waiting = stage.until("Ready is False, TierConfigurationNotReady", |object| {
        standing(object, "Ready") == "False TierConfigurationNotReady"
            && message(object, "Ready").contains("reseller_id")
    })?;
    let said = message(&waiting, "Ready");
    stage.screen.say(&format!("Its message: {said}"));
    let tiers = stage.run("kubectl get ftier")?;
    stage.expect(
        "the TierConfiguration is Processing, its Setup Inquiring",
        ["Processing", "Setup", "Inquiring"]
            .iter()
            .all(|word| tiers.contains(word)),
        tiers,
    )?;
    stage.expect_asked(&[])?;
    stage.expect_kstatus(&[NotFound, InProgress])?;
    stage.show()
}

pub(crate) fn inquiring(stage: &mut Stage) -> Result<(), Stop> {
    stage.edit("value: \"\"}", "value: \"1077\"}")?;
    stage.run(&format!("kubectl apply -f {FILE}"))?;
    stage.run("kubectl wait --for=condition=Ready ftier/trey-reseller")?;
    let asked = stage.until("Ready is False, Inquiring", |object| {
        standing(object, "Ready") == "False Inquiring"
    })?;
    stage
        .screen
        .say(&format!("Its message: {}", message(&asked, "Ready")));
    let errors = asked["status"]["parameterErrors"].clone();
    stage.expect(
        "status.parameterErrors names contact_phone, and nothing else",
        errors.as_array().map(Vec::len) == Some(1) && errors[0]["name"] == "contact_phone",
        &errors,
    )?;
    stage.expect_asked(&[])?;
    stage.expect_kstatus(&[InProgress, Failed])?;
    stage.show()
}

pub(crate) fn approved(stage: &mut Stage) -> Result<(), Stop> {
    stage
        .screen
        .say("From now on the vendor decides by hand, and does not say when to ask again:");
    let behavior =
        json!({"operations": {"create": {"async": {"after": "manual", "retryAfter": "0s"}}}});
    let vendor = stage.world.vendor.url().to_owned();
    let url = format!("{vendor}/_vendor/behavior");
    stage.screen.http("PATCH", &url, &behavior.to_string());
    stage.world.vendor.behavior(behavior);
    stage.edit("value: \"ask Jo\"}", "value: \"+1 201 555 0123\"}")?;
    stage.run(&format!("kubectl apply -f {FILE}"))?;
    stage.until("Ready is False, Provisioning", |object| {
        standing(object, "Ready") == "False Provisioning"
            && object["status"]["request"]["status"] == "Pending"
            && object["status"]["tenantId"].is_string()
    })?;
    let tenant = stage.world.vendor.tenant();
    let tiers = &tenant["terms"]["tiers"];
    stage.expect(
        "the vendor has the order, with customer and reseller",
        tiers["customer"]["externalId"] == "c-40"
            && tiers["tier1"]["parameters"]["reseller_id"] == "1077",
        tiers,
    )?;
    let id = text(&tenant["id"]);
    let url = format!("{vendor}/_vendor/tenants/{id}/decide");
    let decision = json!({"status": "approved"});
    stage.screen.http("POST", &url, &decision.to_string());
    let decided = Instant::now();
    stage.world.vendor.decide(&id, decision);
    stage.until("Ready is True, Active", is_active)?;
    let after = decided.elapsed();
    stage.expect(
        &format!(
            "that was known {:.1} s after the decision",
            after.as_secs_f64()
        ),
        after < SOON,
        format!("{after:?}"),
    )?;
    stage.expect_asked(&["create 202"])?;
    stage.expect_kstatus(&[Failed, InProgress, Current])?;
    stage.show()
}

pub(crate) fn activated(stage: &mut Stage) -> Result<(), Stop> {
    let described = stage.run(&format!("kubectl describe fsub {NAME}"))?;
    let active = stage.now();
    let link = activation_link(&active);
    stage.expect(
        "the activation message has the link",
        !link.is_empty() && described.contains(&format!("Your mail is at {link}")),
        &active["status"]["activation"],
    )?;
    stage.show_true();
    stage.run(&format!("kubectl delete -f {FILE}"))?;
    stage.until_gone()?;
    nothing_lives(stage)?;
    let left = stage.run("kubectl get ftier,vendorconnections -o name")?;
    stage.expect(
        "nothing is left in the cluster",
        left.trim().is_empty() || left.contains("No resources"),
        &left,
    )?;
    stage.expect_deleted()?;
    stage.expect_kstatus(&[Current, Terminating, NotFound])?;
    stage.show()?;
    stage
        .world
        .vendor
        .behavior(json!({"operations": {"create": "sync"}}));
    stage.manifest.restore()
}
