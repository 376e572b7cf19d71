//! The dialects that are shipped in `examples/vendors/`: a whole life, faults and a crash in each of
//! them, from the YAML alone.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use crate::callbacks;
use e2e::{
    Builder, SOON, World, examples,
    objects::{self, is_observed, message, standing},
    vendor::{Call, id_in, seats_of},
};
use serde_json::{Value, json};

/// A world whose vendor speaks a dialect and whose connection is that of the example.
struct Speaking {
    world: World,
    dialect: &'static str,
    /// Beside every Subscription's own spec.
    tiers: Value,
}

impl Speaking {
    fn start(dialect: &'static str) -> Self {
        Self::of(dialect, Builder::start)
    }

    /// The same with callbacks, where the vendor decides creates by hand and is asked every five minutes.
    fn calling_back(dialect: &'static str) -> Self {
        let at = Self::of(dialect, |builder| {
            let key = callbacks::KEY;
            callbacks::world_of(builder, "standard-webhooks", key, Some(key)).0
        });
        // The reseller's tenant waits for its vendor, too.
        if at.tiers != json!({}) {
            let made = || at.world.vendor.live().pop().ok_or("there is none");
            let reseller = at.world.eventually("it has a tenant", SOON, made);
            at.world.vendor.approve(&id_in(&reseller));
        }
        at
    }

    fn of(dialect: &'static str, start: impl FnOnce(Builder) -> World) -> Self {
        let documents = examples::vendor(dialect);
        let builder = World::builder()
            .vendor_dialect(dialect)
            .connection(examples::vendor_connection(dialect))
            .connection(json!({"polling": {"pending": "1s"}, "timeouts": {"request": "2s"}}));
        let world = start(builder);
        let mut tiers = json!({});
        for tier in documents
            .iter()
            .filter(|d| d["kind"] == "TierConfiguration")
        {
            let mut tier = tier.clone();
            tier["spec"]["connectionRef"]["name"] = json!("acme");
            world.apply(&tier.to_string());
            tiers = examples::of_kind(&documents, "Subscription")["spec"]["tiers"].clone();
        }
        Self {
            world,
            dialect,
            tiers,
        }
    }

    fn subscribe(&self, mut spec: Value) {
        if self.tiers != json!({}) {
            spec["tiers"] = self.tiers.clone();
        }
        self.world.subscribe("mail", spec);
    }

    /// Where a create cannot be found again, a person is asked, and says which tenant it made.
    fn answer_if_asked(&self) {
        if self.dialect != "bare" {
            return;
        }
        let world = &self.world;
        let held = world.stands("mail", "Ready", "False CreateOutcomeUnknown");
        assert!(message(&held, "Ready").contains("resolve-create"), "{held}");
        let id = id_in(&world.vendor.tenant());
        world.vendor.adopted(&id);
        let answer = format!("fulfillment-operator.io/resolve-create=adopt:{id}");
        world.annotate("mail", &answer);
    }

    /// The Subscription once it is Ready in a state, with so many seats; and its tenant, which says
    /// the same.
    fn ready(&self, state: &str, seats: u64) -> (Value, Value) {
        let mail = self.world.until(state, "Subscription", "mail", |mail| {
            is_observed(mail)
                && standing(mail, "Ready") == format!("True {state}")
                && mail["status"]["limits"]["seats"] == seats
        });
        let id = &mail["status"]["tenantId"];
        let mut tenants = self.world.vendor.live();
        tenants.retain(|tenant| tenant["id"] == *id);
        let tenant = tenants.pop().expect("no such tenant");
        assert_eq!(tenant["status"], state.to_lowercase(), "{}", self.dialect);
        assert_eq!(seats_of(&tenant), Some(seats), "{}", self.dialect);
        (mail, tenant)
    }

    /// The vendor refuses an operation for something that it names, until it takes it.
    fn refuse(&self, operation: &str, name: &str, message: &str) {
        let refuse = json!({"reason": "no", "parameterErrors": {name: message}});
        let modes = json!({operation: {"refuse": refuse}});
        self.world.vendor.behavior(json!({"operations": modes}));
    }

    fn take(&self, operation: &str) {
        let modes = json!({operation: "sync"});
        self.world.vendor.behavior(json!({"operations": modes}));
    }

    /// Every tenant that is not a reseller's.
    fn creates(&self) -> usize {
        let tenants = self.world.vendor.tenants();
        let customer = |tenant: &&Value| tenant["tree"]["kind"] != "partner";
        tenants.iter().filter(customer).count()
    }

    fn end(&self) {
        self.world.unsubscribe("mail");
        let live = self.world.vendor.live();
        let resellers = usize::from(self.tiers != json!({}));
        assert_eq!(live.len(), resellers, "{}: {live:#?}", self.dialect);
    }
}

/// What the vendor complains of.
fn complaint(at: &Speaking, name: &str, message: &str) -> Value {
    let mail = at.world.stands("mail", "Ready", "False Inquiring");
    let errors = json!([{"name": name, "message": message}]);
    assert_eq!(mail["status"]["parameterErrors"], errors, "{}", at.dialect);
    mail
}

fn with_phone(phone: &str) -> Value {
    json!({"limits": {"seats": 10}, "parameters": [{"name": "contact_phone", "value": phone}]})
}

/// A purchase that the vendor asks about and then approves, both said by a callback; a spec that is
/// edited where it asked is the answer.
fn bought_after_an_inquiry(dialect: &'static str) -> Speaking {
    let at = Speaking::calling_back(dialect);
    let (world, vendor) = (&at.world, &at.world.vendor);
    at.subscribe(with_phone("555"));
    let mail = callbacks::has_it(world, "mail");
    let id = mail["status"]["tenantId"].as_str().expect("an id");
    let errors = json!({"contact_phone": "too short"});
    vendor.decide(
        id,
        json!({"status": "inquiring", "parameterErrors": errors}),
    );
    let asked = complaint(&at, "contact_phone", "too short");

    at.subscribe(with_phone("+1 201 555 0123"));
    world.eventually("it is answered", SOON, || {
        let mut live = vendor.live();
        live.retain(|tenant| tenant["id"] == id);
        match &live[0]["open"]["terms"]["parameters"]["contact_phone"] {
            phone if phone == "+1 201 555 0123" => Ok(()),
            phone => Err(phone.to_string()),
        }
    });
    vendor.approve(id);
    let (mail, tenant) = at.ready("Active", 10);
    assert_eq!(
        tenant["terms"]["parameters"]["contact_phone"],
        "+1 201 555 0123"
    );
    // In one dialect the limits follow, which is a request of their own.
    if dialect != "scenario" {
        let request = |mail: &Value| mail["status"]["request"]["id"].clone();
        assert_eq!(request(&mail), request(&asked), "the same request goes on");
    }
    assert!(mail["metadata"]["annotations"]["fulfillment-operator.io/called-back"].is_string());

    at.take("create");
    world.patch_connection(r#"{"spec": {"polling": {"pending": "1s"}}}"#);
    at
}

/// The same where a refusal is the only inquiry, and nobody calls back.
fn bought_after_a_refusal(dialect: &'static str) -> Speaking {
    let at = Speaking::start(dialect);
    at.refuse("create", "contact_phone", "too short");
    at.subscribe(with_phone("555"));
    complaint(&at, "contact_phone", "too short");
    at.take("create");
    at.subscribe(with_phone("+1 201 555 0123"));
    at
}

fn life(dialect: &'static str) {
    let at = match dialect {
        "bare" => bought_after_a_refusal(dialect),
        _ => bought_after_an_inquiry(dialect),
    };
    let (mail, _) = at.ready("Active", 10);
    assert_eq!(standing(&mail, "Approved"), "True Approved");

    at.subscribe(json!({"limits": {"seats": 20}}));
    at.ready("Active", 20);
    at.subscribe(json!({"limits": {"seats": 20}, "state": "Suspended"}));
    at.ready("Suspended", 20);
    at.subscribe(json!({"limits": {"seats": 30}, "state": "Suspended"}));
    at.ready("Suspended", 30);
    at.subscribe(json!({"limits": {"seats": 40}, "state": "Active"}));
    at.ready("Active", 40);

    // Read again, it is still as it is declared.
    at.world.request("mail", "again");
    let mail = at
        .world
        .until("read again", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == "again"
        });
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(mail["status"]["history"][0]["type"], "Change", "{mail}");

    // Refused, it stays as it was until the spec says something else.
    let refused = json!({"method": "PUT", "path": "*/tenant*", "times": "unlimited", "fault": {"status": 422}});
    at.world.vendor.fault(refused);
    at.subscribe(json!({"limits": {"seats": 50}}));
    let mail = at.world.stands("mail", "Ready", "False RequestFailed");
    assert_eq!(mail["status"]["limits"]["seats"], 40, "{dialect}");
    at.world.vendor.clear_faults();
    // Refused with a word about a field, it waits for that.
    at.refuse("change", "limits.seats", "none are left");
    at.subscribe(json!({"limits": {"seats": 55}}));
    complaint(&at, "limits.seats", "none are left");
    at.take("change");
    at.subscribe(json!({"limits": {"seats": 60}}));
    let (_, tenant) = at.ready("Active", 60);

    // Suspended behind our back, it is resumed; where a vendor shows it.
    if dialect != "scenario" && dialect != "bare" {
        let id = id_in(&tenant);
        at.world
            .vendor
            .patch_tenant(&id, json!({"status": "suspended"}));
        at.world.request("mail", "once more");
        at.world.until("resumed", "Subscription", "mail", |mail| {
            mail["status"]["lastHandledReconcileAt"] == "once more"
                && standing(mail, "Ready") == "True Active"
        });
        at.ready("Active", 60);
        at.world.event("mail", "DriftCorrected");
    }
    at.end();
    assert_eq!(at.creates(), 1, "{dialect}");
}

/// Killed while its create is on its way, the operator finds it again, or asks.
fn killed(dialect: &'static str) {
    let at = Speaking::start(dialect);
    if at.tiers != json!({}) {
        at.world.until(
            "the tier is there",
            "TierConfiguration",
            "elbe-reseller",
            |tier| standing(tier, "Ready").starts_with("True"),
        );
    }
    let slow =
        json!({"method": "POST", "path": "*/tenant*", "times": 1, "fault": {"delay": "1500ms"}});
    at.world.vendor.fault(slow);
    at.subscribe(json!({"limits": {"seats": 10}}));
    at.world.eventually("the create is on its way", SOON, || {
        match at.world.vendor.count("inFlight") {
            0 => Err("nothing is"),
            _ => Ok(()),
        }
    });
    at.world.operator.kill9();
    at.world.eventually("it lands", SOON, || {
        match at.world.vendor.count("inFlight") {
            0 => Ok(()),
            _ => Err("not yet"),
        }
    });
    at.world.operator.start();
    at.answer_if_asked();
    at.ready("Active", 10);
    at.end();
    assert_eq!(at.creates(), 1, "{dialect}");
}

macro_rules! in_every_dialect {
    ($($name:ident $dialect:literal,)*) => {
        $(mod $name {
            #[test]
            fn a_whole_life() {
                super::life($dialect);
            }

            #[test]
            fn killed_while_it_creates() {
                super::killed($dialect);
            }
        })*
    };
}

in_every_dialect! {
    canonical "canonical",
    scenario "scenario",
    reseller_tree "reseller-tree",
    operation "operation",
    bare "bare",
}

macro_rules! faults_in {
    ($($name:ident $dialect:literal,)*) => {
        /// The canonical dialect has its own in `faults.rs`.
        mod faults {
            use crate::faults::Fleet;

            $(#[test]
            fn $name() {
                Fleet::speaking($dialect).lives();
            })*
        }
    };
}

faults_in! {
    scenario "scenario",
    reseller_tree "reseller-tree",
    operation "operation",
    bare "bare",
}

/// Changed by another between the read of its version and the change that names it, a tenant is read
/// again.
#[test]
fn a_version_that_another_changed_is_read_again() {
    let at = Speaking::start("reseller-tree");
    at.subscribe(json!({"limits": {"seats": 10}}));
    let (_, tenant) = at.ready("Active", 10);
    let before = at.world.vendor.sequence();
    let slow = json!({"method": "PUT", "fault": {"delay": "1500ms"}});
    at.world.vendor.fault(slow);
    at.subscribe(json!({"limits": {"seats": 20}}));
    at.world.eventually("the change is on its way", SOON, || {
        let faults = at.world.vendor.faults();
        if faults[0]["hits"] == 1 {
            Ok(())
        } else {
            Err(format!("{faults:?}"))
        }
    });
    let limits = json!({"limits": {"seats": 15}});
    at.world.vendor.patch_tenant(&id_in(&tenant), limits);
    at.ready("Active", 20);
    let mut changes = at.world.vendor.calls_since(before);
    changes.retain(|call| call.operation() == "change");
    let answers: Vec<_> = changes.iter().map(Call::status).collect();
    assert_eq!(answers, [Some(409), Some(200)]);
    at.end();
    assert_eq!(at.creates(), 1);
}

#[test]
fn what_is_wrong_with_a_dialect_is_said_where_it_stands() {
    let world = World::builder()
        .connection(json!({"dialect": {"create": {"body": "{'product': subscripton.product}"}}}))
        .start();
    let connection = world.until("said", "VendorConnection", "acme", |connection| {
        standing(connection, "Ready") == "False DependencyNotReady"
    });
    let said = message(&connection, "Ready");
    assert!(
        said.contains("dialect.create.body, line 1, column 13 uses subscripton"),
        "{said}"
    );
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False DependencyNotReady");
    assert_eq!(world.vendor.calls().len(), 0);

    // Mended, it goes on by itself; what this one Subscription cannot be written with is its own.
    let mended = json!({"dialect": {"create": {
        "body": "{'externalId': subscription.externalId, 'product': subscription.product, 'limits': {'seats': subscription.limits.mailboxes}}",
    }}});
    world.apply(&objects::connection(world.vendor.url(), mended));
    let mail = world.stands("mail", "Ready", "False RequestFailed");
    let said = message(&mail, "Ready");
    assert!(
        said.contains("dialect.create.body: there is no mailboxes"),
        "{said}"
    );
    let limits = json!({"limits": {"seats": 5, "mailboxes": 5}});
    world.subscribe("mail", limits);
    world.until("bought", "Subscription", "mail", |mail| {
        mail["status"]["state"] == "Active"
    });
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 5);
}
