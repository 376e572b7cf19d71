//! One connection for several namespaces: who may use it, where its Secrets are, and that it is kept
//! and guarded over all of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::admission::policy;
use e2e::{
    SOON, Vendor, World, http,
    objects::{self, message, secret, standing},
    ports::free_port,
    vendor::{TOKEN, operations},
};
use serde_json::{Value, json};

pub(crate) const KIND: &str = "ClusterVendorConnection";
const IN_USE: &str = "fulfillment-operator.io/in-use";
const TENANT: &str = "fulfillment-operator.io/tenant";

/// An operator that watches all namespaces, and a connection for these, whose Secret is where the
/// operator is.
fn world(allowed: &[&str]) -> World {
    let world = World::builder().cluster_wide().start();
    world.apply_in(world.operator_namespace(), &shared_secret(TOKEN));
    allow(&world, allowed);
    world
}

pub(crate) fn shared_secret(token: &str) -> String {
    secret("shared", &[("token", token)])
}

/// The connection `shared` to the world's vendor.
pub(crate) fn shared(url: &str, allowed: &[&str], spec: Value) -> String {
    let mut object: Value = serde_json::from_str(&objects::connection(url, spec)).unwrap();
    object["kind"] = json!(KIND);
    object["metadata"]["name"] = json!("shared");
    object["spec"]["auth"]["bearer"]["secretRef"]["name"] = json!("shared");
    object["spec"]["allowedNamespaces"] = json!(allowed);
    object.to_string()
}

/// Says which namespaces may use it.
fn allow(world: &World, allowed: &[&str]) {
    world.apply(&shared(world.vendor.url(), allowed, json!({})));
}

/// A Subscription through it.
pub(crate) fn order(name: &str, mut spec: Value) -> String {
    spec["connectionRef"] = json!({"kind": KIND, "name": "shared"});
    objects::subscription(name, spec)
}

/// One more namespace.
pub(crate) fn namespace(world: &World, name: &str) {
    world.kubectl(&["create", "namespace", name]);
}

pub(crate) fn standing_in(world: &World, namespace: &str, name: &str, expected: &str) -> Value {
    let what = format!("{namespace}/{name} is {expected}");
    world.eventually(&what, SOON, || {
        let found = world.find_in(namespace, "Subscription", name);
        let found = found.ok_or("it is not there".to_owned())?;
        let ready = standing(&found, "Ready");
        if ready == expected && objects::is_observed(&found) {
            Ok(found)
        } else {
            Err(format!("{ready}: {}", message(&found, "Ready")))
        }
    })
}

fn held(object: &Value, finalizer: &str) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten().any(|f| f == finalizer)
}

fn gone_in(world: &World, namespace: &str, kind: &str, name: &str) {
    world.eventually(&format!("{kind} {name} is gone"), SOON, || {
        let found = world.find_in(namespace, kind, name);
        found.map_or(Ok(()), |found| Err(found["status"].to_string()))
    });
}

#[test]
fn a_namespace_it_allows_is_served_with_the_secret_of_the_operators_namespace() {
    let world = World::builder().cluster_wide().start();
    let here = world.namespace();
    let url = world.vendor.url();
    world.apply(&shared(url, &[here], json!({})));
    // One of that name where the Subscription is does not help.
    world.apply(&shared_secret(TOKEN));
    world.apply(&order("mail", json!({})));
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    let place = format!("Secrets are in namespace {}", world.operator_namespace());
    let said = message(&mail, "Ready");
    assert!(
        said.contains(&place) && said.contains("Secret shared"),
        "{said}"
    );
    world.apply_in(world.operator_namespace(), &shared_secret(TOKEN));
    world.ready("mail");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);

    // It and its Secret are held, and the other Secret is not.
    let counted = world.until("it is counted", KIND, "shared", |shared| {
        shared["status"]["subscriptions"] == 1 && standing(shared, "Ready") == "True VendorAnswers"
    });
    assert!(held(&counted, IN_USE));
    let kept = world.find_in(world.operator_namespace(), "Secret", "shared");
    assert!(kept.is_some_and(|secret| held(&secret, IN_USE)));
    assert!(!held(&world.get("Secret", "shared"), IN_USE));

    let table = world.kubectl(&["get", "clustervendorconnections"]);
    let mut lines = table.lines().map(str::split_whitespace);
    let columns: Vec<&str> = lines.next().unwrap().collect();
    assert_eq!(
        columns,
        ["NAME", "URL", "READY", "REASON", "SUBSCRIPTIONS", "AGE"]
    );
    let row: Vec<&str> = lines.next().unwrap().collect();
    assert_eq!(row[..5], ["shared", url, "True", "VendorAnswers", "1"]);
    let series = "fulfillment_vendor_requests_total{connection=\"clustervendorconnection/shared\"";
    assert!(world.operator.metrics().contains(series));

    // What tenants depend on does not change.
    let refused = world.apply_err(&shared("http://elsewhere.example", &[here], json!({})));
    let words = "url cannot change while Subscriptions have tenants";
    assert!(refused.contains(words), "{refused}");
    let identity = json!({"identity": {"mode": "None"}});
    let refused = world.apply_err(&shared(url, &[here], identity));
    let words = "identity cannot change while Subscriptions have tenants";
    assert!(refused.contains(words), "{refused}");

    // A Secret that is replaced counts at once.
    world.apply_in(world.operator_namespace(), &shared_secret("canary-wrong"));
    world.operator.restart();
    world.apply(&order("mail", json!({"limits": {"seats": 60}})));
    world.stands("mail", "Ready", "False Unauthorized");
    world.apply_in(world.operator_namespace(), &shared_secret(TOKEN));
    world.ready("mail");
    world.unsubscribe("mail");
    world.until("it is free", KIND, "shared", |shared| {
        shared["status"]["subscriptions"] == 0 && !held(shared, IN_USE)
    });
    world.eventually("the Secret is free", SOON, || {
        let kept = world.find_in(world.operator_namespace(), "Secret", "shared");
        let kept = kept.ok_or("it is gone")?;
        if held(&kept, IN_USE) {
            Err("it is held")
        } else {
            Ok(())
        }
    });
}

/// An order that claims by finalizer and intent to have been sent before, for `AS-1`.
fn forged() -> String {
    let mut forged: Value = serde_json::from_str(&order("forged", json!({}))).unwrap();
    forged["metadata"]["finalizers"] = json!([TENANT]);
    forged["metadata"]["annotations"] = json!({
        "fulfillment-operator.io/intent": json!({"id": "x", "attempt": 1, "externalId": "AS-1"}).to_string(),
    });
    forged.to_string()
}

#[test]
fn who_is_not_allowed_is_refused_without_a_call_until_the_list_says_so() {
    let world = world(&[]);
    let here = world.namespace();
    world.apply(&order("mail", json!({})));
    // Finalizer and intent can be written by whoever may write the object: they prove nothing.
    world.apply(&forged());
    let remedy = format!(
        "ClusterVendorConnection shared does not allow namespace {here}: add it to spec.allowedNamespaces"
    );
    for name in ["mail", "forged"] {
        let object = world.stands(name, "Ready", "False DependencyNotReady");
        assert_eq!(message(&object, "Ready"), remedy);
        assert!(standing(&object, "Reconciling").starts_with("True "));
        assert_eq!(standing(&object, "Stalled"), "-");
    }
    assert!(!held(&world.sub("mail"), TENANT));
    // Nobody's name but one's own is allowed.
    allow(&world, &["elsewhere"]);
    world.until("it is seen", KIND, "shared", objects::is_observed);
    world.request("mail", "look");
    world.until("it was looked at", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look" && message(mail, "Ready") == remedy
    });
    assert_eq!(operations(&world.vendor.calls()), [""; 0]);
    let finalizers = r#"{"metadata":{"finalizers":null}}"#;
    world.patch("forged", finalizers);
    world.unsubscribe("forged");

    allow(&world, &["elsewhere", here]);
    world.ready("mail");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    world.unsubscribe("mail");
    // "*" is every namespace.
    allow(&world, &["*"]);
    world.apply(&order("mail", json!({})));
    world.ready("mail");
}

#[test]
fn a_namespace_that_is_taken_out_keeps_what_it_has_and_gets_nothing_new() {
    let world = world(&["*"]);
    let here = world.namespace();
    world.apply(&order("mail", json!({})));
    let bought = world.ready("mail");
    allow(&world, &["elsewhere"]);
    world.until("it is seen", KIND, "shared", objects::is_observed);
    world.apply(&order("second", json!({})));
    let second = world.stands("second", "Ready", "False DependencyNotReady");
    assert!(
        message(&second, "Ready").ends_with("add it to spec.allowedNamespaces"),
        "{second}"
    );

    // What exists is read, suspended and resumed.
    world.vendor.patch_tenant(
        bought["status"]["tenantId"].as_str().unwrap_or_default(),
        json!({"limits": {"seats": 7}}),
    );
    world.request("mail", "look");
    world.until("drift is corrected", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
            && standing(mail, "Ready") == "True Active"
    });
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 50);
    world.apply(&order("mail", json!({"state": "Suspended"})));
    world.stands("mail", "Ready", "True Suspended");
    world.apply(&order("mail", json!({"state": "Active"})));
    world.stands("mail", "Ready", "True Active");

    // A tenant that is gone is not bought again.
    let tenant = bought["status"]["tenantId"].as_str().unwrap_or_default();
    world.vendor.vanish(tenant);
    world.request("mail", "gone");
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    let said = message(&mail, "Ready");
    let words = format!(
        "does not allow namespace {here}: add it to spec.allowedNamespaces; what exists is looked after, and nothing new is created"
    );
    assert!(said.contains(&words), "{said}");
    assert_eq!(world.vendor.count("create"), 1);

    // And one that is there is deleted.
    allow(&world, &[here]);
    world.ready("mail");
    world.ready("second");
    allow(&world, &[]);
    world.until("it is seen", KIND, "shared", objects::is_observed);
    assert_eq!(world.vendor.count("live"), 2);
    // A new process has nothing but what is stored.
    world.operator.restart();
    world.unsubscribe("mail");
    world.unsubscribe("second");
    assert_eq!(world.vendor.count("live"), 0);
    world.until("it is free", KIND, "shared", |shared| {
        shared["status"]["subscriptions"] == 0 && !held(shared, IN_USE)
    });
}

#[test]
fn two_namespaces_that_claim_one_name_are_a_conflict() {
    let world = world(&["team-a", "team-b"]);
    for name in ["team-a", "team-b", "team-c"] {
        namespace(&world, name);
    }
    // Who may not use the connection claims nothing by naming it, however old the claim is.
    let claim = |name: &str, id: &str| {
        order(
            name,
            json!({"externalId": id, "adoptionPolicy": "AdoptOrCreate"}),
        )
    };
    world.apply_in("team-c", &claim("early", "AS-1"));
    standing_in(&world, "team-c", "early", "False DependencyNotReady");
    world.apply_in("team-a", &claim("first", "AS-1"));
    let first = standing_in(&world, "team-a", "first", "True Active");
    world.apply_in("team-b", &claim("second", "AS-1"));
    let second = standing_in(&world, "team-b", "second", "False Conflict");
    assert_eq!(
        message(&second, "Ready"),
        "externalId AS-1 belongs to Subscription team-a/first already: choose another, or delete that one"
    );
    assert_eq!(operations(&world.vendor.calls()), ["create"]);

    // An intent that somebody wrote by hand does not lead to another's tenant.
    world.apply_in("team-b", &forged());
    let forged = world.eventually("it is stopped", SOON, || {
        let found = world.find_in("team-b", "Subscription", "forged");
        let found = found.ok_or("it is not there".to_owned())?;
        let stalled = standing(&found, "Stalled");
        if stalled.starts_with("True ") {
            Ok(found)
        } else {
            Err(stalled)
        }
    });
    assert_eq!(forged["status"]["tenantId"], Value::Null, "{forged}");
    let said = message(&forged, "Ready");
    assert!(
        said.contains("belongs to Subscription team-a/first"),
        "{said}"
    );
    assert_eq!(world.vendor.count("live"), 1);
    let tenant = world.vendor.tenant();
    assert_eq!(tenant["id"], first["status"]["tenantId"]);
    assert_eq!(tenant["status"], "active");

    // The name is free again when nobody has it any more.
    let finalizers = r#"{"metadata":{"finalizers":null}}"#;
    for args in [
        &[
            "patch",
            "subscription",
            "forged",
            "--type=merge",
            "-p",
            finalizers,
        ][..],
        &["delete", "subscription", "forged", "--timeout=60s"],
    ] {
        world.kubectl(&[&["-n=team-b"], args].concat());
    }
    world.kubectl(&[
        "-n=team-a",
        "delete",
        "subscription",
        "first",
        "--timeout=60s",
    ]);
    standing_in(&world, "team-b", "second", "True Active");
}

#[test]
fn everything_deleted_at_once_ends_by_itself_with_no_tenant_left() {
    let world = world(&["team-a", "team-b"]);
    for name in ["team-a", "team-b"] {
        namespace(&world, name);
        world.apply_in(name, &order("mail", json!({})));
    }
    for name in ["team-a", "team-b"] {
        standing_in(&world, name, "mail", "True Active");
    }
    world
        .vendor
        .behavior(json!({"operations": {"delete": {"async": {"after": "1s"}}}}));
    let operators = world.operator_namespace().to_owned();
    let in_operators = format!("-n={operators}");
    // What they need first, as a file has it.
    for args in [
        &["delete", KIND, "shared", "--wait=false"][..],
        &[&in_operators, "delete", "secret", "shared", "--wait=false"],
        &[
            "-n=team-a",
            "delete",
            "subscription",
            "mail",
            "--wait=false",
        ],
    ] {
        world.kubectl(args);
    }
    gone_in(&world, "team-a", "Subscription", "mail");
    // The other's tenant is still behind it.
    assert!(held(&world.get(KIND, "shared"), IN_USE));
    let kept = world.find_in(&operators, "Secret", "shared");
    assert!(kept.is_some_and(|secret| held(&secret, IN_USE)));
    // Nothing new comes through it.
    world.apply_in("team-a", &order("late", json!({})));
    let late = standing_in(&world, "team-a", "late", "False DependencyNotReady");
    assert!(
        message(&late, "Ready").contains("is being deleted"),
        "{late}"
    );

    world.operator.kill9();
    world.kubectl(&[
        "-n=team-b",
        "delete",
        "subscription",
        "mail",
        "--wait=false",
    ]);
    world.operator.start();
    gone_in(&world, "team-b", "Subscription", "mail");
    world.gone(KIND, "shared");
    gone_in(&world, &operators, "Secret", "shared");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.count("tenants"), 2);
}

#[test]
fn two_kinds_of_one_name_are_two_connections() {
    let world = World::builder().cluster_wide().start();
    let other = Vendor::start::<&str>(&[]);
    let here = world.namespace();
    // Both are called acme, and so are their Secrets.
    let named = |yaml: String| yaml.replace("\"shared\"", "\"acme\"");
    world.apply_in(world.operator_namespace(), &named(shared_secret(TOKEN)));
    let unheard = json!({"callback": {}});
    world.apply(&named(shared(other.url(), &[here], unheard)));
    world.subscribe("near", json!({}));
    world.apply(&named(order("far", json!({}))));
    world.ready("near");
    world.ready("far");
    assert_eq!(world.vendor.count("live"), 1);
    assert_eq!(other.count("live"), 1);
    // Events about what has no namespace stand in `default`.
    world.eventually("it says that it hears no callbacks", SOON, || {
        let events = world.kubectl(&["get", "events", "--namespace=default"]);
        let said = |line: &&str| line.contains("clustervendorconnection/acme");
        let line = events.lines().find(said).map(str::to_owned);
        line.filter(|line| line.contains("without --callback-url"))
            .ok_or(events)
    });
    for kind in ["VendorConnection", KIND] {
        world.until("one is counted", kind, "acme", |acme| {
            acme["status"]["subscriptions"] == 1
        });
    }
    // One is let go when its own are gone, and the other stays.
    world.unsubscribe("far");
    world.kubectl(&["delete", KIND, "acme", "--timeout=60s"]);
    assert_eq!(other.count("live"), 0);
    assert!(held(&world.get("VendorConnection", "acme"), IN_USE));
    assert!(held(&world.get("Secret", "acme"), IN_USE));
    world.unsubscribe("near");
    assert_eq!(world.vendor.count("live"), 0);
}

#[test]
fn callbacks_are_proved_by_the_secret_of_the_operators_namespace() {
    let key = "whsec_Y2FuYXJ5LWNhbGxiYWNrLWtleQ==";
    let base = format!("http://127.0.0.1:{}", free_port());
    let address = base.trim_start_matches("http://");
    let world = World::builder()
        .cluster_wide()
        .operator_arg(&format!("--callback-addr={address}"))
        .operator_arg(&format!("--callback-url={base}"))
        .vendor_arg(&format!("--callback-secret={key}"))
        .vendor_arg("--callback-proof=standard-webhooks")
        .start();
    let operators = world.operator_namespace().to_owned();
    let callback = json!({
        "polling": {"pending": "5m"},
        "callback": {"secretRef": {"name": "shared", "key": "callback"}},
    });
    let secrets = secret("shared", &[("token", TOKEN), ("callback", key)]);
    world.apply_in(&operators, &secrets);
    world.apply(&shared(world.vendor.url(), &["*"], callback));
    let by_hand = json!({"async": {"after": "manual", "retryAfter": null}});
    world
        .vendor
        .behavior(json!({"operations": {"create": by_hand}}));
    world.apply(&order("mail", json!({})));
    let mail = world.until("it is pending", "Subscription", "mail", |mail| {
        mail["status"]["request"]["status"] == "Pending" && mail["status"]["tenantId"].is_string()
    });
    let calls = world.vendor.calls();
    let url = calls[0].body()["callbackUrl"].as_str().unwrap_or_default();
    assert_eq!(http::post(url, &[], "{}").0, 401);
    world
        .vendor
        .approve(mail["status"]["tenantId"].as_str().unwrap_or_default());
    world.ready("mail");
}

#[test]
fn products_are_checked_at_apply_for_those_who_may_use_it() {
    let world = world(&[]);
    world.apply(&policy());
    let product = json!({"name": "mail-pro", "limits": [
        {"name": "seats", "minimum": 1, "maximum": 10, "required": true},
    ]});
    let url = world.vendor.url();
    let products = |allowed: &[&str]| shared(url, allowed, json!({"products": [product]}));
    world.apply(&products(&[world.namespace()]));
    let bad = order("mail", json!({}));
    // The API server learns of a new policy a little later.
    let dry = |expected: bool| {
        world.eventually("the policy counts", SOON, || {
            let output = world.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &bad);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() == expected {
                Ok(said)
            } else {
                Err(said)
            }
        })
    };
    let said = dry(false);
    assert!(
        said.contains("spec.limits.seats must be at most 10"),
        "{said}"
    );
    // A connection's rules are no business of who may not use it.
    world.apply(&products(&["elsewhere"]));
    dry(true);
    world.apply(&products(&["*"]));
    dry(false);
    world.apply(&order("mail", json!({"limits": {"seats": 5}})));
    world.ready("mail");
}

#[test]
fn an_operator_that_watches_single_namespaces_says_that_it_uses_none() {
    let world = World::start();
    let yaml = shared(world.vendor.url(), &["*"], json!({}));
    // Other tests share the control plane.
    let name = format!("shared-{}", world.namespace());
    let named = |yaml: String| yaml.replace("\"name\":\"shared\"", &format!("\"name\":\"{name}\""));
    world.apply(&named(yaml));
    world.apply(&named(order("mail", json!({}))));
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    let said = message(&mail, "Ready");
    assert!(said.contains("--watch-namespace"), "{said}");
    assert!(
        said.contains("use a VendorConnection in this namespace"),
        "{said}"
    );
    world.unsubscribe("mail");
    // What it can do, it does.
    world.subscribe("mail", json!({}));
    world.ready("mail");
    assert_eq!(world.get(KIND, &name)["status"]["conditions"], Value::Null);
    world.kubectl(&["delete", KIND, &name]);
}
