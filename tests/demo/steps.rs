//! The steps: the whole life of one subscription, and then another one that takes more than one party.

use crate::{
    domain,
    stage::Stage,
    stop::{self, Stop},
};
use e2e::{
    kstatus::Status::{Current, Failed, InProgress, NotFound, Terminating},
    objects::{message, standing},
};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use std::time::Instant;

/// The example that is played first.
pub(crate) const FILE: &str = "quickstart.yaml";
/// The Subscription it declares.
pub(crate) const NAME: &str = "contoso-mail";

/// The output Secret that the quickstart names.
const OUTPUT: &str = "contoso-mail-activation";

/// One step of the walk.
#[derive(Debug)]
pub(crate) struct Step {
    title: &'static str,
    walk: fn(&mut Stage) -> Result<(), Stop>,
}

/// All of them, in their order: each begins where the one before it ended.
pub(crate) const ALL: [Step; 11] = [
    Step {
        title: "Purchase, from a vendor that takes two seconds to approve",
        walk: purchase,
    },
    Step {
        title: "Change of limits: 50 seats become 80",
        walk: change,
    },
    Step {
        title: "Suspend",
        walk: suspend,
    },
    Step {
        title: "Resume",
        walk: resume,
    },
    Step {
        title: "Drift: somebody changes the limits at the vendor, and it is repaired",
        walk: drift,
    },
    Step {
        title: "A change that the vendor refuses, and the way back",
        walk: refusal,
    },
    Step {
        title: "Delete everything",
        walk: delete,
    },
    Step {
        title: "Another purchase: it waits for its reseller",
        walk: domain::waits,
    },
    Step {
        title: "The reseller is set up; now a phone number is none",
        walk: domain::inquiring,
    },
    Step {
        title: "Corrected, and approved by a callback while the vendor is asked every five minutes",
        walk: domain::approved,
    },
    Step {
        title: "What the customer gets, and the end of it all",
        walk: domain::activated,
    },
];

/// Walks all steps, up to the first that does not come true.
pub(crate) fn walk(stage: &mut Stage) -> Result<(), Stop> {
    for (number, step) in (1..).zip(&ALL) {
        stop::check()?;
        let started = Instant::now();
        let title = format!("{number}/{}  {}", ALL.len(), step.title);
        stage.screen.heading(&title);
        (step.walk)(stage)?;
        let seconds = started.elapsed().as_secs_f64();
        stage.screen.step_came_true(number, seconds);
    }
    Ok(())
}

fn purchase(stage: &mut Stage) -> Result<(), Stop> {
    stage
        .screen
        .say("The vendor is told to decide on orders after two seconds:");
    let behavior = json!({"operations": {"create": {"async": {"after": "2s"}}}});
    let url = format!("{}/_vendor/behavior", stage.world.vendor.url());
    stage.screen.http("PATCH", &url, &behavior.to_string());
    stage.world.vendor.behavior(behavior);
    stage.show_file();

    stage.run(&format!("kubectl apply -f {FILE}"))?;
    let pending = stage.until("Ready is False, Provisioning", |object| {
        standing(object, "Ready") == "False Provisioning"
            && object["status"]["request"]["status"] == "Pending"
    })?;
    let approved = standing(&pending, "Approved");
    stage.expect(
        "Approved is Unknown, Pending",
        approved == "Unknown Pending",
        approved,
    )?;
    stage.expect_asked(&["create 202"])?;
    stage.expect_kstatus(&[NotFound, InProgress])?;
    stage.show()?;

    stage.run(&format!("kubectl wait --for=condition=Ready fsub/{NAME}"))?;
    let active = stage.until("Ready is True, Active", is_active)?;
    let approved = standing(&active, "Approved");
    stage.expect("Approved is True", approved == "True Approved", approved)?;
    let tenant = stage.world.vendor.tenant();
    let id = text(&tenant["id"]);
    stage.expect(
        &format!("the vendor has one tenant, {id}, active, with 50 seats"),
        tenant["status"] == "active" && seats(&tenant) == 50 && active["status"]["tenantId"] == id,
        &tenant,
    )?;
    stage.expect_asked(&[])?;
    stage.expect_kstatus(&[InProgress, Current])?;
    stage.show()?;
    activation(stage, &active, &id)
}

/// What the customer gets: a link, and a Secret with a password.
fn activation(stage: &mut Stage, active: &Value, tenant: &str) -> Result<(), Stop> {
    stage.screen.say(
        "What the customer gets from it, the link in the status and the password in a Secret:",
    );
    let link = activation_link(active);
    stage.screen.http("GET", &link, "");
    let page = Client::builder().no_proxy().build().and_then(|client| {
        let page = client.get(&link).send()?;
        Ok((page.status().as_u16(), page.text()?))
    });
    let (status, body) = page.unwrap_or_else(|error| (0, format!("{error:?}")));
    stage.expect(
        &format!("the activation link leads to the tenant's page: {status}"),
        status == 200 && body.contains(tenant),
        format!("{link:?}: {status} {body}"),
    )?;
    let secret = stage.run(&format!("kubectl describe secret {OUTPUT}"))?;
    stage.expect(
        "the Secret has the password, and the status has not",
        secret.contains("initial_password:")
            && !active["status"].to_string().contains("initial_password"),
        secret,
    )?;
    stage.show_true();
    Ok(())
}

fn change(stage: &mut Stage) -> Result<(), Stop> {
    stage.edit("seats: 50", "seats: 80")?;
    stage.run(&format!("kubectl apply -f {FILE}"))?;
    stage.run(&format!("kubectl wait --for=condition=Ready fsub/{NAME}"))?;
    stage.until(
        "Ready is True, Active, with 80 seats in the status",
        |object| {
            is_active(object)
                && object["status"]["limits"]["seats"] == 80
                && object["status"]["request"]["type"] == "Change"
                && object["status"]["request"]["status"] == "Approved"
        },
    )?;
    let tenant = stage.world.vendor.tenant();
    stage.expect("the tenant has 80 seats", seats(&tenant) == 80, &tenant)?;
    stage.expect_asked(&["change 200"])?;
    stage.expect_kstatus(&[Current, InProgress, Current])?;
    stage.show()
}

fn suspend(stage: &mut Stage) -> Result<(), Stop> {
    switch(stage, "Suspended", "Suspend")?;
    let tenant = stage.world.vendor.tenant();
    stage.expect(
        "the tenant is suspended",
        tenant["status"] == "suspended",
        &tenant,
    )?;
    stage.expect_asked(&["disable 204"])?;
    stage.expect_kstatus(&[Current, InProgress, Current])?;
    stage.show()?;
    stage
        .screen
        .note("Suspended on purpose is as declared, hence Current.");
    Ok(())
}

fn resume(stage: &mut Stage) -> Result<(), Stop> {
    switch(stage, "Active", "Resume")?;
    let tenant = stage.world.vendor.tenant();
    stage.expect(
        "the tenant is active",
        tenant["status"] == "active",
        &tenant,
    )?;
    stage.expect_asked(&["enable 204"])?;
    stage.expect_kstatus(&[Current, InProgress, Current])?;
    stage.show()
}

fn switch(stage: &mut Stage, state: &str, request: &str) -> Result<(), Stop> {
    stage.run(&format!(
        "kubectl patch fsub {NAME} --type=merge -p '{{\"spec\":{{\"state\":\"{state}\"}}}}'"
    ))?;
    stage.run(&format!("kubectl wait --for=condition=Ready fsub/{NAME}"))?;
    let ready = format!("True {state}");
    stage.until(&format!("Ready is True, {state}"), |object| {
        standing(object, "Ready") == ready
            && object["status"]["state"] == state
            && object["status"]["request"]["type"] == request
            && object["status"]["request"]["status"] == "Approved"
    })?;
    Ok(())
}

fn drift(stage: &mut Stage) -> Result<(), Stop> {
    stage
        .screen
        .say("At the vendor, behind the operator's back:");
    let id = text(&stage.world.vendor.tenant()["id"]);
    let url = format!("{}/_vendor/tenants/{id}", stage.world.vendor.url());
    let tampered = json!({"limits": {"seats": 10}});
    stage.screen.http("PATCH", &url, &tampered.to_string());
    stage.world.vendor.patch_tenant(&id, tampered);
    stage.screen.say(
        "The operator would find it by itself, within the interval of 10 s. Not to wait, it is asked to look now:",
    );
    stage.run(&format!(
        "kubectl annotate --overwrite --field-manager=flux-client-side-apply fsub {NAME} reconcile.fluxcd.io/requestedAt=\"$(date +%s)\""
    ))?;
    let repaired = stage.until(
        "the look is done: status.lastHandledReconcileAt",
        |object| {
            let token = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
            token.is_string() && object["status"]["lastHandledReconcileAt"] == *token
        },
    )?;
    stage.eventually("the tenant has 80 seats again", |stage| {
        let tenant = stage.world.vendor.tenant();
        if seats(&tenant) == 80 {
            Ok(())
        } else {
            Err(tenant.to_string())
        }
    })?;
    stage.expect(
        "Ready is True, Active, and no drift is left",
        is_active(&repaired)
            && repaired["status"]["drift"]
                .as_array()
                .is_none_or(Vec::is_empty),
        &repaired["status"],
    )?;
    let history = repaired["status"]["history"][0].to_string();
    stage.expect(
        "the newest entry in status.history names the limit, 80 declared and 10 seen",
        ["limits.seats", "80", "10"]
            .iter()
            .all(|word| history.contains(word)),
        history,
    )?;
    let note = stage.eventually("an event DriftCorrected says so", |stage| {
        let events = stage.events();
        let corrected = events.iter().find(|(reason, _)| reason == "DriftCorrected");
        corrected
            .map(|(_, note)| note.clone())
            .ok_or_else(|| format!("{events:?}"))
    })?;
    stage.screen.say(&format!("The event: {note}"));
    stage.expect_asked(&["change 200"])?;
    stage.expect_kstatus(&[Current])?;
    stage.show()
}

fn refusal(stage: &mut Stage) -> Result<(), Stop> {
    stage
        .screen
        .say("The vendor is told to refuse changes, as one that does not sell so many seats:");
    let error = json!({"code": "limit_exceeded", "message": "at most 500 seats are sold"});
    let rule = json!({
        "method": "PUT", "path": "/tenant/*", "times": "unlimited",
        "fault": {"status": 422, "body": {"error": error}},
    });
    let url = format!("{}/_vendor/faults", stage.world.vendor.url());
    stage.screen.http("POST", &url, &rule.to_string());
    stage.world.vendor.fault(rule);
    stage.edit("seats: 80", "seats: 5000")?;
    stage.run(&format!("kubectl apply -f {FILE}"))?;
    let refused = stage.until("Ready is False, RequestFailed", |object| {
        standing(object, "Ready") == "False RequestFailed"
    })?;
    let said = message(&refused, "Ready");
    stage.screen.say(&format!("Its message: {said}"));
    stage.expect(
        "the message has the vendor's reason",
        said.contains("at most 500 seats"),
        &said,
    )?;
    for (name, expected) in [
        ("Stalled", "True RequestFailed"),
        ("Approved", "False RequestFailed"),
    ] {
        let stands = standing(&refused, name);
        let what = format!("{name} is {}", expected.replace(' ', ", "));
        stage.expect(&what, stands == expected, stands)?;
    }
    let tenant = stage.world.vendor.tenant();
    stage.expect(
        "the tenant is active and has its 80 seats, in the status too",
        tenant["status"] == "active"
            && seats(&tenant) == 80
            && refused["status"]["state"] == "Active"
            && refused["status"]["limits"]["seats"] == 80,
        &tenant,
    )?;
    stage.expect_asked(&["change 422"])?;
    stage.expect_kstatus(&[Current, InProgress, Failed])?;
    stage.show()?;

    stage
        .screen
        .say("The way back is to declare what the vendor sells:");
    stage.edit("seats: 5000", "seats: 80")?;
    stage.run(&format!("kubectl apply -f {FILE}"))?;
    stage.run(&format!("kubectl wait --for=condition=Ready fsub/{NAME}"))?;
    let back = stage.until("Ready is True, Active", is_active)?;
    let stalled = standing(&back, "Stalled");
    stage.expect("Stalled is gone", stalled == "-", stalled)?;
    let approved = standing(&back, "Approved");
    stage.expect("Approved is True", approved.starts_with("True "), approved)?;
    stage.expect_asked(&[])?;
    stage.expect_kstatus(&[Failed, InProgress, Current])?;
    stage.show()?;
    stage.world.vendor.clear_faults();
    Ok(())
}

fn delete(stage: &mut Stage) -> Result<(), Stop> {
    stage
        .screen
        .say("The subscription, the connection and its Secret at once, in no particular order:");
    stage.run(&format!("kubectl delete -f {FILE}"))?;
    stage.until_gone()?;
    nothing_lives(stage)?;
    // It is owned by the Subscription, so that the garbage collector removes it.
    stage.run(&format!("kubectl wait --for=delete secret/{OUTPUT}"))?;
    let left = stage.run("kubectl get vendorconnections,secrets -o name")?;
    stage.expect(
        "nothing of the quickstart is left in the cluster, nor the output Secret",
        !left.contains("/acme") && !left.contains(OUTPUT),
        &left,
    )?;
    stage.expect_asked(&["delete 204"])?;
    stage.expect_kstatus(&[Current, Terminating, NotFound])?;
    stage.show()?;
    stage.manifest.restore()
}

/// The link that the vendor gave; empty where it gave none.
pub(crate) fn activation_link(active: &Value) -> String {
    let parameters = active["status"]["parameters"].as_array();
    parameters
        .into_iter()
        .flatten()
        .find(|parameter| parameter["name"] == "activation_link")
        .map(|parameter| text(&parameter["value"]))
        .unwrap_or_default()
}

pub(crate) fn nothing_lives(stage: &mut Stage) -> Result<(), Stop> {
    let live = stage.world.vendor.live();
    stage.expect(
        "the vendor has no live tenant",
        live.is_empty(),
        format!("{live:?}"),
    )
}

pub(crate) fn is_active(object: &Value) -> bool {
    standing(object, "Ready") == "True Active" && object["status"]["state"] == "Active"
}

/// The seats of a tenant as the vendor keeps it.
fn seats(tenant: &Value) -> i64 {
    tenant["terms"]["limits"]["seats"].as_i64().unwrap_or(-1)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
