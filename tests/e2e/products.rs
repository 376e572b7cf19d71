//! Products: what breaks their rules is Inquiring before the vendor hears of it.

use crate::tiers::{self, numbered, tier, under};
use e2e::{
    SOON, World,
    objects::{connection, message, secret, standing},
    vendor::operations,
};
use serde_json::{Value, json};

/// A product with a rule of every kind.
pub(crate) fn mail_pro() -> Value {
    json!({
        "name": "mail-pro",
        "limits": [{"name": "seats", "unit": "seats", "minimum": 1, "maximum": 100, "required": true}],
        "parameters": [
            {"name": "contact_phone", "type": "phone", "required": true, "hint": "who answers at night"},
            {"name": "address", "type": "address"},
            {"name": "edition", "type": "choice", "choices": [{"value": "basic"}, {"value": "gold"}], "default": "basic"},
            {"name": "site", "type": "subdomain", "unique": true},
            {"name": "admin_password", "type": "password", "sensitive": true, "minLength": 8},
            {"name": "activation_link", "type": "url", "phase": "fulfillment"},
            {"name": "reseller_id", "scope": "tier"},
        ],
        "template": "Welcome. Your mail is at {activation_link} ({tenantId}).",
    })
}

fn world() -> World {
    World::builder()
        .connection(json!({"products": [mail_pro()]}))
        .start()
}

/// The names in `status.parameterErrors`.
fn errors(object: &Value) -> Vec<&str> {
    let errors = object["status"]["parameterErrors"].as_array();
    let names = errors.into_iter().flatten();
    names.filter_map(|error| error["name"].as_str()).collect()
}

/// Waits until these are what is wrong.
pub(crate) fn inquiring(world: &World, name: &str, wrong: &[&str]) -> Value {
    world.until(
        &format!("{wrong:?} are wrong"),
        "Subscription",
        name,
        |object| standing(object, "Ready") == "False Inquiring" && errors(object) == wrong,
    )
}

#[test]
fn a_purchase_that_breaks_the_rules_waits_for_its_author_and_then_goes_on() {
    let world = world();
    world.apply(&secret("contoso", &[("password", "canary-long-enough")]));
    world.subscribe(
        "mail",
        json!({
            "limits": {"seats": 101, "boxes": 1},
            "parameters": [
                {"name": "contact_phone", "value": "canary"},
                {"name": "edition", "value": "silver"},
                {"name": "admin_password", "value": "in the open"},
            ],
        }),
    );
    let wrong = [
        "limits.boxes",
        "limits.seats",
        "contact_phone",
        "edition",
        "admin_password",
    ];
    let mail = inquiring(&world, "mail", &wrong);
    assert_eq!(standing(&mail, "Stalled"), "True Inquiring");
    assert_eq!(standing(&mail, "Approved"), "Unknown Inquiring");
    let said = message(&mail, "Ready");
    for words in [
        "limits.seats must be at most 100 seats",
        "contact_phone is not a phone number: who answers at night",
        "edition must be one of basic, gold",
        "nothing is sent to the vendor before",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!mail["status"].to_string().contains("canary"), "{mail}");
    let request = mail["status"]["request"].clone();
    assert_eq!(
        (&request["type"], &request["status"]),
        (&json!("Purchase"), &json!("Inquiring"))
    );
    assert!(world.vendor.calls().is_empty());
    // Nobody waits for an object that was never sent.
    assert_eq!(mail["metadata"]["finalizers"], Value::Null);

    // The answer: the same request goes on.
    world.subscribe(
        "mail",
        json!({"parameters": [
            {"name": "contact_phone", "structuredValue": {"country_code": "+1", "area_code": "201", "phone_number": "5550123"}},
            {"name": "address", "structuredValue": {"address_line1": "1 Main St", "city": "Ely", "country": "GB"}},
            {"name": "admin_password", "valueFrom": {"secretKeyRef": {"name": "contoso", "key": "password"}}},
        ]}),
    );
    let mail = world.ready("mail");
    let approved = &mail["status"]["request"];
    assert_eq!(
        (&approved["id"], &approved["status"]),
        (&request["id"], &json!("Approved"))
    );
    assert_eq!(errors(&mail), [""; 0]);
    let calls = world.vendor.calls();
    assert_eq!(operations(&calls), ["create"]);
    assert_eq!(
        calls[0].body()["parameters"],
        json!({
            "contact_phone": {"country_code": "+1", "area_code": "201", "phone_number": "5550123"},
            "address": {"address_line1": "1 Main St", "city": "Ely", "country": "GB"},
            "edition": "basic",
            "admin_password": "canary-long-enough",
        })
    );
    let tenant = mail["status"]["tenantId"].as_str().unwrap_or_default();
    let activation = mail["status"]["activation"].as_str().unwrap_or_default();
    assert!(
        activation.starts_with("Welcome. Your mail is at http"),
        "{activation}"
    );
    assert!(
        activation.ends_with(&format!("({tenant}).")),
        "{activation}"
    );
}

#[test]
fn a_change_that_breaks_the_rules_leaves_the_tenant_as_it_is() {
    let world = world();
    let phone = json!([{"name": "contact_phone", "value": "+1 201 555 0123"}]);
    world.subscribe("mail", json!({"parameters": phone}));
    let bought = world.ready("mail");

    // A suspension does not wait for a limit.
    let spec = json!({"parameters": phone, "limits": {"seats": 1000}, "state": "Suspended"});
    world.subscribe("mail", spec);
    let mail = inquiring(&world, "mail", &["limits.seats"]);
    assert_eq!(mail["status"]["state"], "Suspended");
    assert_eq!(mail["status"]["request"]["type"], "Change");
    assert_eq!(mail["status"]["limits"]["seats"], 50);
    assert_eq!(operations(&world.vendor.calls()), ["create", "disable"]);

    // Back to what the vendor has: there was no change.
    world.subscribe("mail", json!({"parameters": phone}));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["request"]["type"], "Resume");
    assert_eq!(errors(&mail), [""; 0]);
    assert_eq!(
        operations(&world.vendor.calls()),
        ["create", "disable", "enable"]
    );
    assert_eq!(mail["status"]["tenantId"], bought["status"]["tenantId"]);

    // The limit alone, and back: nothing was sent, and the last request is the one before.
    let before = mail["status"]["request"]["id"].clone();
    world.subscribe(
        "mail",
        json!({"parameters": phone, "limits": {"seats": 1000}}),
    );
    inquiring(&world, "mail", &["limits.seats"]);
    world.subscribe("mail", json!({"parameters": phone}));
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["request"]["id"], before);

    // What breaks the rules can be deleted.
    world.subscribe("mail", json!({"parameters": []}));
    inquiring(&world, "mail", &["contact_phone"]);
    world.unsubscribe("mail");
    world.gone("Subscription", "mail");
    assert_eq!(world.vendor.live().len(), 0);
}

#[test]
fn a_unique_value_belongs_to_the_older_until_it_lets_it_go() {
    let world = world();
    let site = json!({"parameters": [
        {"name": "contact_phone", "value": "+1 201 555 0123"},
        {"name": "site", "value": "contoso"},
    ]});
    world.subscribe("first", site.clone());
    world.ready("first");
    // A second is a second: creation times have no parts of one.
    let first = world.sub("first")["metadata"]["creationTimestamp"].clone();
    world.eventually("the next second", SOON, || {
        world.subscribe("clock", json!({"product": "unlisted"}));
        let clock = world.sub("clock")["metadata"]["creationTimestamp"].clone();
        world.unsubscribe("clock");
        if clock == first { Err(clock) } else { Ok(()) }
    });
    let sent = world.vendor.count("create");
    world.subscribe("second", site);
    let second = inquiring(&world, "second", &["site"]);
    assert!(
        message(&second, "Ready").contains("/first has it"),
        "{second}"
    );
    assert_eq!(world.vendor.count("create"), sent);
    world.unsubscribe("first");
    world.gone("Subscription", "first");
    world.ready("second");
}

#[test]
fn a_unique_value_stays_with_who_has_it_when_an_older_one_wants_it() {
    let world = world();
    let site = |site: &str, seats: i64| {
        let phone = json!({"name": "contact_phone", "value": "+1 201 555 0123"});
        let site = json!({"name": "site", "value": site});
        json!({"parameters": [phone, site], "limits": {"seats": seats}})
    };
    world.subscribe("older", site("fabrikam", 50));
    world.ready("older");
    world.subscribe("holder", site("contoso", 50));
    world.ready("holder");
    world.subscribe("older", site("contoso", 50));
    let older = inquiring(&world, "older", &["site"]);
    assert!(message(&older, "Ready").contains("/holder has it"));
    // Not even in the moment in which its holder is edited.
    world.subscribe("holder", site("contoso", 60));
    let holder = world.ready("holder");
    assert_eq!(holder["status"]["limits"]["seats"], 60);
    inquiring(&world, "older", &["site"]);
    assert_eq!(world.vendor.count("create"), 2);
    world.subscribe("holder", site("adatum", 60));
    world.ready("holder");
    world.ready("older");
}

#[test]
fn what_a_reseller_has_to_give_is_asked_of_an_order_that_names_none() {
    let product = |required: bool| {
        let reseller = json!({"name": "reseller_id", "scope": "tier", "required": required});
        json!({"products": [{"name": "mail-pro", "parameters": [reseller]}]})
    };
    let world = World::builder().connection(product(false)).start();
    world.subscribe("direct", json!({}));
    world.ready("direct");
    let changed = connection(world.vendor.url(), product(true));
    world.apply(&changed);
    world.subscribe("mail", json!({}));
    let mail = inquiring(&world, "mail", &["reseller_id"]);
    let said = message(&mail, "Ready");
    assert!(
        said.contains("spec.tiers.tier1.tierConfigurationRef"),
        "{said}"
    );
    assert_eq!(world.vendor.count("create"), 1);
    // What was bought without one goes on, and can be changed.
    world.subscribe("direct", json!({"limits": {"seats": 60}}));
    let direct = world.ready("direct");
    assert_eq!(direct["status"]["limits"]["seats"], 60);

    world.apply(&tier("north", numbered("77")));
    world.subscribe("mail", under("north"));
    world.ready("mail");
}

#[test]
fn new_rules_of_a_connection_count_at_once_and_a_product_that_is_not_listed_has_none() {
    let world = world();
    world.subscribe("mail", json!({}));
    inquiring(&world, "mail", &["contact_phone"]);
    world.subscribe(
        "other",
        json!({"product": "unlisted", "limits": {"anything": "unlimited"}}),
    );
    world.ready("other");

    let mut product = mail_pro();
    product["parameters"][0]["required"] = json!(false);
    world.apply(&connection(
        world.vendor.url(),
        json!({"products": [product]}),
    ));
    world.ready("mail");
    assert_eq!(world.vendor.count("create"), 2);
}

#[test]
fn what_has_a_path_is_sent_read_and_held_against_drift_there() {
    let product = json!({
        "name": "mail-pro",
        "limits": [{"name": "seats", "maximum": 100, "path": "limits.mailboxes"}, {"name": "boxes"}],
        "parameters": [
            {"name": "contact_phone", "path": "parameters.phone"},
            {"name": "link", "phase": "fulfillment", "path": "parameters.activation_link"},
        ],
    });
    let world = World::builder()
        .connection(json!({"products": [product]}))
        .start();
    let phone = json!([{"name": "contact_phone", "value": "+1 201 555 0123"}]);
    world.subscribe(
        "mail",
        json!({"limits": {"seats": 50, "boxes": 2}, "parameters": phone}),
    );
    let mail = world.ready("mail");
    let calls = world.vendor.calls();
    let sent = calls[0].body();
    assert_eq!(sent["limits"], json!({"mailboxes": 50, "boxes": 2}));
    assert_eq!(sent["parameters"], json!({"phone": "+1 201 555 0123"}));
    // By the names that the Subscription knows.
    assert_eq!(mail["status"]["limits"], json!({"seats": 50, "boxes": 2}));
    let link = &mail["status"]["parameters"][0];
    assert_eq!(link["name"], "link", "{mail}");

    // What somebody changes there is found and set right.
    let tenant = mail["status"]["tenantId"].as_str().unwrap_or_default();
    let theirs = json!({"limits": {"mailboxes": 5}});
    world.vendor.patch_tenant(tenant, theirs);
    world.request("mail", "look");
    let note = world.event("mail", "DriftCorrected");
    assert!(note.contains("limits.seats"), "{note}");
    world.eventually(
        "it is set right",
        SOON,
        || match &world.vendor.tenant()["limits"] {
            limits if *limits == json!({"mailboxes": 50, "boxes": 2}) => Ok(()),
            limits => Err(limits.clone()),
        },
    );
}

#[test]
fn a_path_that_cannot_be_used_is_said_where_it_stands() {
    let world = World::start();
    let with = |path: &str| {
        let limits = json!([{"name": "seats", "path": path}, {"name": "boxes"}]);
        let product = json!({"name": "mail-pro", "limits": limits});
        connection(world.vendor.url(), json!({"products": [product]}))
    };
    let said = world.apply_err(&with("licences..limit"));
    assert!(said.contains("spec.products[0].limits[0].path"), "{said}");

    for (path, why) in [
        (
            "limits.boxes",
            "is also where products[mail-pro].limits[boxes] stands",
        ),
        ("externalId", "is not free"),
    ] {
        world.apply(&with(path));
        let said = format!("products[mail-pro].limits[seats].path: {path} {why}");
        world.until(&said, "VendorConnection", "acme", |connection| {
            standing(connection, "Ready") == "False DependencyNotReady"
                && message(connection, "Ready").contains(&said)
        });
    }
    world.subscribe("mail", json!({}));
    world.stands("mail", "Ready", "False DependencyNotReady");
    assert!(world.vendor.calls().is_empty());
    world.apply(&with("limits.mailboxes"));
    world.ready("mail");
}

#[test]
fn a_definition_that_nobody_can_keep_stops_what_is_new_and_nothing_that_runs() {
    let world = world();
    let phone = json!({"name": "contact_phone", "value": "+1 201 555 0123"});
    let order = |edition: &str| {
        let edition = json!({"name": "edition", "value": edition});
        json!({"parameters": [phone, edition]})
    };
    world.subscribe("mail", order("gold"));
    world.ready("mail");
    world.apply(&tier("north", numbered("77")));
    tiers::stands(&world, "north", "Ready", "True Active");
    let with = |mail: Value| connection(world.vendor.url(), json!({"products": [mail]}));
    // What the API server's own rules cannot tell.
    let mut unfit = mail_pro();
    unfit["parameters"][3]["default"] = json!("Not.A.Label");
    world.apply(&with(unfit));
    let said = "VendorConnection acme: product mail-pro: site: default breaks its own rules";
    world.until(said, "VendorConnection", "acme", |acme| {
        standing(acme, "Ready") == "False DependencyNotReady"
            && message(acme, "Ready").contains(said)
    });
    let before = world.vendor.sequence();
    world.subscribe("new", order("gold"));
    let new = world.stands("new", "Ready", "False DependencyNotReady");
    assert!(message(&new, "Ready").contains(said), "{new}");
    world.apply(&tier("south", numbered("78")));
    tiers::stands(&world, "south", "Ready", "False DependencyNotReady");
    tiers::stands(&world, "north", "Ready", "True Active");
    // What was bought is suspended and resumed; what would have to carry the default waits.
    world.patch("mail", r#"{"spec":{"state":"Suspended"}}"#);
    world.until("suspended", "Subscription", "mail", |mail| {
        mail["status"]["state"] == "Suspended" && errors(mail) == ["site"]
    });
    let calls = world.vendor.calls_since(before);
    assert_eq!(operations(&calls), ["disable"]);

    world.apply(&with(mail_pro()));
    world.ready("new");
    tiers::stands(&world, "south", "Ready", "True Active");
    let mail = world.ready("mail");
    assert_eq!(errors(&mail), [""; 0]);
    assert_eq!(world.vendor.count("create"), 2);
    let calls = world.vendor.calls_since(before);
    assert!(!operations(&calls).contains(&"change"));
}
