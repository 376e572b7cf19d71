//! Towards what it does not control the operator is careful: secrets stay where they are, a vendor's
//! text is text and its ids are ids, and no address is called that nobody allowed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use crate::faults::{Trap, assert_clean};
use control_plane::spawn_bound;
use e2e::{
    Vendor, World, binaries, free_port,
    objects::{self, message, standing},
    vendor::{Call, TOKEN},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

const BEARER: &str = "Kq7vBx0r+Zx81/Wd5cE";
const PASSWORD: &str = "Jh2pQk9s:Mn64=Rt9aX";
const API_KEY: &str = "Vb3nHw5d.Qw20-Ly7uP";
/// With all that JSON escapes.
const PARAMETER: &str = "Tg5m\"Pz8r\\mtr6\nUi90Ops";
const PLAIN: &str = "Xc8wPl4nSkr31Mb7f";
const OUTPUT: &str = "Zs4eOu7tFv77Dl9yR";

/// Every secret, as it is and as JSON writes it.
fn whole() -> Vec<String> {
    let secrets = [BEARER, PASSWORD, API_KEY, PARAMETER, PLAIN, OUTPUT];
    let escaped = json!(PARAMETER).to_string();
    let mut whole = secrets.map(str::to_owned).to_vec();
    whole.push(escaped.trim_matches('"').to_owned());
    whole
}

/// Pieces of every secret, short enough to be seen where a secret was cut.
fn pieces() -> Vec<String> {
    // What stands in base64 in front of the password.
    let mut pieces = vec!["cmVzZWxsZXItNDI6".to_owned()];
    for secret in whole() {
        let letters: Vec<char> = secret.chars().collect();
        let windows = letters.windows(9);
        pieces.extend(windows.map(|piece| piece.iter().collect::<String>()));
    }
    pieces
}

/// Everything that people and tools read without being allowed to read Secrets.
pub(crate) fn shown(world: &World) -> Vec<(String, String)> {
    let mut shown = vec![
        ("the log".to_owned(), world.operator.log()),
        ("the metrics".to_owned(), world.operator.metrics()),
        ("readyz".to_owned(), world.operator.read("/readyz")),
    ];
    let kinds = [
        "subscriptions",
        "tierconfigurations",
        "vendorconnections",
        "configmaps",
        "events",
    ];
    for kind in kinds {
        for object in world.list(kind) {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            shown.push((format!("{kind} {name}"), object.to_string()));
        }
    }
    for secret in world.list("secrets") {
        // Its data are secret; what else it says is not.
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        let mut metadata = secret["metadata"].clone();
        if let Some(annotations) = metadata["annotations"].as_object_mut() {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        shown.push((
            format!("the metadata of Secret {name}"),
            metadata.to_string(),
        ));
    }
    shown
}

/// Where a piece is shown: one line for each place.
pub(crate) fn leaks(places: &[(String, String)], pieces: &[String]) -> Vec<String> {
    let mut leaks = Vec::new();
    for (place, text) in places {
        let found = pieces
            .iter()
            .find_map(|piece| Some((piece, text.find(piece)?)));
        if let Some((piece, at)) = found {
            let around: String = text[..at].chars().rev().take(160).collect();
            let around: String = around.chars().rev().collect();
            leaks.push(format!("{piece:?} is in {place}, after {around:?}"));
        }
    }
    leaks
}

pub(crate) fn assert_nowhere(world: &World, pieces: &[String], when: &str) {
    let leaks = leaks(&shown(world), pieces);
    assert!(leaks.is_empty(), "{when}:\n{}", leaks.join("\n"));
}

/// All ways in which a vendor can hand back what it was told: the parameters, and what it was
/// authenticated with.
pub(crate) fn echoes(own: &str) -> Vec<(&'static str, Value)> {
    let all = format!("{own} {PARAMETER} {PLAIN}");
    let split = |by: &str| {
        [own, PLAIN]
            .map(|secret| format!("{}{by}{}", &secret[..7], &secret[7..]))
            .join(" ")
    };
    let reply = |status: u16, body: Value| json!({"status": status, "body": body});
    let error = |message: &str| json!({"error": {"code": "no", "message": message}});
    let tenant = |more: Value| {
        let mut tenant = json!({"id": "t-1", "status": "active"});
        objects::merge(&mut tenant, more);
        tenant
    };
    vec![
        (
            "an error",
            reply(
                422,
                json!({"error": {"code": PLAIN, "message": all, "parameters": {
                    "admin_password": format!("{PLAIN} and {PARAMETER} are too weak"), PLAIN: "what is that?",
                }}}),
            ),
        ),
        (
            "an error's code",
            reply(422, json!({"error": {"code": own}})),
        ),
        ("text", reply(500, json!(all))),
        (
            "an error that is cut in the middle of a secret",
            reply(422, error(&format!("{}{all}{all}{all}", "x".repeat(180)))),
        ),
        (
            "a word for the status",
            reply(201, tenant(json!({"status": PLAIN}))),
        ),
        (
            "a number that is none",
            reply(201, tenant(json!({"limits": PLAIN}))),
        ),
        (
            "names that are no list",
            reply(201, tenant(json!({"sensitive": PLAIN}))),
        ),
        (
            "a request that is none",
            reply(201, tenant(json!({"request": own}))),
        ),
        (
            "a word for a request's status",
            reply(201, tenant(json!({"request": {"status": PLAIN}}))),
        ),
        (
            "a request that failed",
            reply(
                201,
                tenant(json!({"status": "failed", "request": {
                    "status": "failed", "reason": all, "parameterErrors": {"admin_password": all},
                }})),
            ),
        ),
        (
            "a request that inquires",
            reply(
                201,
                tenant(json!({"status": "pending", "request": {
                    "status": "inquiring", "reason": all, "parameterErrors": {"admin_password": all},
                }})),
            ),
        ),
        (
            "a redirect",
            json!({"status": 307, "headers": {"Location": format!("https://vendor.example/?t={own}")}}),
        ),
        (
            "headers",
            json!({"status": 503, "headers": {
                "Retry-After": own, "Content-Type": own, "Server": own, "Set-Cookie": own,
            }}),
        ),
        (
            "parameters and limits",
            reply(
                201,
                tenant(json!({
                    "limits": {"seats": PLAIN, PLAIN: 5},
                    "parameters": {
                        "activation_link": format!("https://vendor.example/?t={own}&p={PLAIN}"),
                        "echo": PARAMETER, "nested": {"list": [PARAMETER, own]}, PLAIN: "x",
                        "initial_password": OUTPUT,
                    },
                    "sensitive": ["initial_password"],
                })),
            ),
        ),
        // From here on the pieces are shown, and the whole must not be put together from them.
        ("split by NUL", reply(500, json!(split("\u{0}")))),
        ("split by a line break", reply(500, json!(split("\r\n")))),
        (
            "split by an invisible space",
            reply(500, json!(split("\u{200b}"))),
        ),
        ("split by a deletion", reply(422, error(&split("\u{7f}")))),
    ]
}

#[test]
fn secrets_that_a_vendor_echoes_appear_nowhere() {
    let bearer = format!("--token={BEARER}");
    let world = World::builder()
        .operator_arg("--log-level=trace")
        .vendor_arg(&bearer)
        .start();
    let basic = Vendor::start(&[format!("--basic=reseller-42:{PASSWORD}")]);
    let api_key = Vendor::start(&[format!("--api-key=X-Reseller-Key={API_KEY}")]);
    for vendor in [&world.vendor, &basic, &api_key] {
        // They are told to speak of it, and do not have it.
        vendor.adopted("t-1");
    }
    let connection = |name: &str, vendor: &Vendor, auth: Value| {
        objects::connection_named(name, vendor.url(), json!({"auth": auth}))
    };
    let by_basic = json!({"bearer": null, "basic": {"secretRef": {"name": "basic"}}});
    let by_key = json!({"bearer": null, "apiKey": {
        "header": "X-Reseller-Key", "secretRef": {"name": "key", "key": "key"},
    }});
    world.apply(&objects::all(&[
        objects::secret("acme", &[("token", BEARER)]),
        objects::secret(
            "basic",
            &[("username", "reseller-42"), ("password", PASSWORD)],
        ),
        objects::secret("key", &[("key", API_KEY)]),
        objects::secret("parameters", &[("a", PARAMETER), ("b", PLAIN)]),
        connection("basic", &basic, by_basic),
        connection("key", &api_key, by_key),
    ]));
    let vendors = [
        ("acme", &world.vendor, echoes(BEARER)),
        ("basic", &basic, echoes(PASSWORD)),
        ("key", &api_key, echoes(API_KEY)),
    ];
    let from = |key: &str| json!({"secretKeyRef": {"name": "parameters", "key": key}});
    let (whole, pieces) = (whole(), pieces());
    let (mut leaked, mut logged) = (Vec::new(), 0);
    for number in 0..vendors[0].2.len() {
        let mut all = Vec::new();
        for (connection, vendor, echoes) in &vendors {
            let fault = &echoes[number].1;
            vendor.fault(json!({"method": "POST", "times": "unlimited", "fault": fault}));
            let name = format!("{connection}-{number}");
            all.push(objects::subscription(
                &name,
                json!({
                    "connectionRef": {"name": connection},
                    "parameters": [
                        {"name": "admin_password", "valueFrom": from("a")},
                        {"name": "plain_password", "valueFrom": from("b")},
                    ],
                    "outputSecretName": format!("{name}-output"),
                }),
            ));
        }
        world.apply(&objects::all(&all));
        let echo = vendors[0].2[number].0;
        for (connection, ..) in &vendors {
            let name = format!("{connection}-{number}");
            world.until(echo, "Subscription", &name, |object| {
                let ready = standing(object, "Ready");
                ready != "-" && ready != "False Provisioning"
            });
        }
        let looked_for: &[String] = if echo.starts_with("split") {
            &whole
        } else {
            &pieces
        };
        // Of the log what is new, of the objects those that are.
        let mut shown = shown(&world);
        shown[0].1 = shown[0].1.split_off(logged);
        logged += shown[0].1.len();
        let new = |place: &str| !place.contains('-') || place.ends_with(&format!("-{number}"));
        shown.retain(|(place, _)| new(place));
        leaked.extend(
            leaks(&shown, looked_for)
                .iter()
                .map(|leak| format!("{echo}: {leak}")),
        );
        for (_, vendor, _) in &vendors {
            vendor.clear_faults();
        }
    }
    assert!(leaked.is_empty(), "{}", leaked.join("\n"));
    let log = world.operator.log();
    assert!(log.contains("DEBUG"), "the log was not at its loudest");
    assert_nowhere(&world, &whole, "in the end");

    // Its own secrets as well: the installation key, and the token it shows to the API server.
    let key = world.get("Secret", "fulfillment-installation-key");
    let key = key["data"]["key"].as_str().unwrap();
    let kubeconfig = format!("{}.kubeconfig", world.namespace());
    let kubeconfig = std::fs::read_to_string(world.control_plane().dir().join(kubeconfig)).unwrap();
    let token = kubeconfig
        .split_whitespace()
        .map(|word| word.trim_matches('"'))
        .find(|word| word.starts_with("eyJ"))
        .expect("no token in the kubeconfig");
    for (place, text) in shown(&world) {
        assert!(!text.contains(key), "the installation key is in {place}");
        assert!(!text.contains(token), "the operator's token is in {place}");
    }
}

#[test]
fn sensitive_outputs_are_in_the_output_secret_and_nowhere_else() {
    let world = World::builder().operator_arg("--log-level=trace").start();
    world.subscribe("kept", json!({"outputSecretName": "kept"}));
    world.subscribe("dropped", json!({}));
    for name in ["kept", "dropped"] {
        world.ready(name);
    }
    let secret = world.get("Secret", "kept");
    assert!(secret["data"]["initial_password"].is_string(), "{secret}");
    assert_eq!(
        secret["metadata"]["ownerReferences"][0]["kind"],
        "Subscription"
    );
    let note = world.event("dropped", "SensitiveParametersDropped");
    assert!(note.contains("initial_password"), "{note}");
    let shown = shown(&world);
    for tenant in world.vendor.tenants() {
        let password = tenant["parameters"]["initial_password"].as_str().unwrap();
        for (place, text) in &shown {
            assert!(!text.contains(password), "{password} is in {place}");
        }
    }
}

#[test]
fn a_parameter_from_a_secret_that_the_vendor_returns_later_stays_out_of_status() {
    let world = World::builder().operator_arg("--log-level=trace").start();
    world.apply(&objects::secret("parameters", &[("b", PLAIN)]));
    world.subscribe(
        "mail",
        json!({"parameters": [
            {"name": "admin_password", "valueFrom": {"secretKeyRef": {"name": "parameters", "key": "b"}}},
        ]}),
    );
    let mail = world.ready("mail");
    let id = mail["status"]["tenantId"].as_str().unwrap();
    let link = format!("https://vendor.example/?password={PLAIN}");
    let echo = json!({"parameters": {"admin_password": PLAIN, "login_link": link}});
    world.vendor.patch_tenant(id, echo);
    world.request("mail", "look");
    let mail = world.until("the look is handled", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "look"
    });
    let parameters = mail["status"]["parameters"].to_string();
    assert!(parameters.contains("login_link"), "{parameters}");
    assert_nowhere(&world, &pieces(), "after a read");

    // Where numbers should be, and names.
    let odd = json!({
        "status": "active", "limits": {"seats": PLAIN, PLAIN: 5, TOKEN: 5, "disk": TOKEN},
        "parameters": {PLAIN: "x", TOKEN: "x", "echo": TOKEN},
    });
    for method in ["GET", "PUT"] {
        let fault = json!({"status": 200, "body": odd});
        world
            .vendor
            .fault(json!({"method": method, "times": "unlimited", "fault": fault}));
    }
    world.request("mail", "odd");
    world.until("the limits differ", "Subscription", "mail", |mail| {
        standing(mail, "Ready") == "False Drifted"
    });
    let mut needles = pieces();
    needles.push(TOKEN.to_owned());
    assert_nowhere(&world, &needles, "in odd places");
    world.vendor.clear_faults();

    // A change of the limits does not send the password.
    let weak = json!({"error": {"code": "weak", "message": format!("{PLAIN} is too weak")}});
    let fault = json!({"status": 422, "body": weak});
    world
        .vendor
        .fault(json!({"method": "PUT", "times": "unlimited", "fault": fault}));
    let mut spec: Value = world.sub("mail")["spec"].take();
    spec["limits"]["seats"] = json!(51);
    world.subscribe("mail", spec);
    world.stands("mail", "Ready", "False RequestFailed");
    assert_nowhere(&world, &needles, "after a change that failed");
}

#[test]
fn a_token_that_cannot_stand_in_a_header_is_named_and_not_shown() {
    let world = World::start();
    let broken = format!("{BEARER}\nX-Admin: true");
    world.apply(&objects::secret("acme", &[("token", &broken)]));
    world.subscribe("mail", json!({}));
    let mail = world.stands("mail", "Ready", "False DependencyNotReady");
    let said = message(&mail, "Ready");
    assert!(said.contains("Secret") && said.contains("header"), "{said}");
    assert_clean(&said);
    assert_nowhere(&world, &pieces(), "a token with a line break");
    assert!(world.vendor.calls().is_empty());
    world.apply(&objects::secret("acme", &[("token", "quickstart-token")]));
    world.ready("mail");
}

#[test]
fn a_vendors_text_is_one_short_plain_line_wherever_it_is_shown() {
    // An OSC title, a colour, a bell, line breaks of all kinds, and text that runs backwards.
    const NASTY: &str = "\u{1b}]0;pwned\u{7}\u{1b}[5;31mred\u{1b}[0m\r\nERROR forged line\u{2028}\u{85}\u{202e}drawkcab\u{0}\u{9b}31m\t.";
    let world = World::builder().operator_arg("--log-level=debug").start();
    let long = format!("{NASTY}{}", "long ".repeat(10_000));
    let error = json!({"error": {"code": long, "message": long, "parameters": {"contact": long, long.clone(): "x"}}});
    let failed = json!({"status": 422, "body": error});
    let tenant = json!({"status": 201, "body": {
        "id": "t-1001", "status": "active",
        "limits": {"seats": 50, NASTY: NASTY},
        "parameters": {"welcome": long, NASTY: long},
    }});
    let down = json!({"status": 500, "body": long});
    for (name, fault) in [("failed", failed), ("tenant", tenant), ("down", down)] {
        let rule = json!({"method": "POST", "times": "unlimited", "fault": fault});
        world.vendor.fault(rule);
        world.subscribe(name, json!({}));
        let object = world.until(name, "Subscription", name, |object| {
            let ready = standing(object, "Ready");
            ready != "-" && ready != "False Provisioning"
        });
        let status = object["status"].to_string();
        assert!(status.len() < 16_384, "{name}: {} bytes", status.len());
        for text in texts(&object["status"]) {
            let is_plain = |c: char| !c.is_control() && !"\u{2028}\u{202e}".contains(c);
            assert!(text.chars().all(is_plain), "{name}: {text:?}");
            assert!(text.chars().count() <= 2048, "{name}: {text}");
        }
        world.vendor.clear_faults();
    }
    for event in world.list("events") {
        let note = event["note"].as_str().unwrap();
        assert_clean(note);
    }
    let log = world.operator.log();
    for line in log.lines() {
        assert!(!line.starts_with("ERROR forged"), "{line}");
        assert!(line.len() < 8192, "a line of {} bytes", line.len());
    }
    for forbidden in [
        "\u{1b}]0;",
        "\u{1b}[5;31m",
        "\u{7}",
        "\u{202e}",
        "\u{0}",
        "\u{9b}",
    ] {
        assert!(!log.contains(forbidden), "{forbidden:?} is in the log");
    }
}

/// Every text in a value, the names of members too.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| [vec![name.clone()], texts(value)].concat())
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[test]
fn an_id_is_one_segment_of_the_path_whatever_is_in_it() {
    let world = World::start();
    for (number, prefix) in [
        "../x",
        "..",
        "a/b",
        "%2f",
        "%2e%2e%2f",
        "ünï-東",
        "t?x=1#y",
        "a b",
        "..;/",
        "a\\b",
        "+&=@:",
        "-._~",
        "//",
        "{id}",
        "\"<>",
        "%",
    ]
    .into_iter()
    .enumerate()
    {
        world.vendor.behavior(json!({"idPrefix": prefix}));
        let name = format!("mail-{number}");
        let before = world.vendor.sequence();
        world.subscribe(&name, json!({}));
        let object = world.ready(&name);
        let id = object["status"]["tenantId"].as_str().unwrap().to_owned();
        assert!(id.starts_with(prefix), "{prefix}: {id}");
        world.subscribe(
            &name,
            json!({"limits": {"seats": 51}, "state": "Suspended"}),
        );
        world.stands(&name, "Ready", "True Suspended");
        world.unsubscribe(&name);

        let encoded = encode(&id);
        let calls = world.vendor.calls_since(before);
        for call in &calls {
            let (method, path) = method_and_path(call);
            let segments: Vec<&str> = path.split('/').collect();
            match (method, segments.as_slice()) {
                ("POST", ["", "tenant"]) => {}
                ("GET" | "PUT" | "DELETE", ["", "tenant", segment])
                | ("PUT", ["", "tenant", segment, "disable"]) => {
                    assert_eq!(*segment, encoded, "{prefix}");
                }
                _ => panic!("{prefix}: {method} {path}"),
            }
        }
        assert!(calls.len() >= 4, "{prefix}: {calls:?}");
        assert_eq!(world.vendor.count("live"), 0, "{prefix}");
    }
}

/// As RFC 3986 says: everything but unreserved characters.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn method_and_path(call: &Call) -> (&str, &str) {
    (
        call.0["method"].as_str().unwrap(),
        call.0["path"].as_str().unwrap(),
    )
}

#[test]
fn an_id_that_cannot_be_one_segment_is_refused() {
    let world = World::start();
    let long = "x".repeat(3000);
    for (number, id) in ["..", ".", "a\u{0}b", "a\nb", &long]
        .into_iter()
        .enumerate()
    {
        let before = world.vendor.sequence();
        let tenant = json!({"id": id, "status": "active", "limits": {"seats": 50}});
        let fault = json!({"effectThen": {"status": 201, "body": tenant}});
        let rule = json!({"method": "POST", "times": "unlimited", "fault": fault});
        world.vendor.fault(rule);
        let name = format!("mail-{number}");
        world.subscribe(&name, json!({}));
        let object = world.stands(&name, "Ready", "False VendorUnavailable");
        let said = message(&object, "Ready");
        assert!(said.contains("id"), "{id:?}: {said}");
        assert_clean(&said);
        let status = &object["status"];
        assert!(status["tenantId"].is_null(), "{id:?}: {status:#}");
        for call in world.vendor.calls_since(before) {
            assert_eq!(method_and_path(&call), ("POST", "/tenant"), "{id:?}");
        }
        // Asked again, the vendor names the tenant properly.
        world.vendor.clear_faults();
        world.ready(&name);
        world.unsubscribe(&name);
        assert_eq!(world.vendor.count("live"), 0, "{id:?}");
    }
}

/// An operator with exactly the flags and the environment of the test: the harness' own allows
/// insecure URLs.
struct Plain {
    child: Child,
    log: PathBuf,
}

impl Plain {
    fn start(world: &World, args: &[&str], environment: &[(&str, String)]) -> Self {
        let dir = world.control_plane().dir();
        let log = dir.join(format!("{}.plain.log", world.namespace()));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let port = free_port();
        let kubeconfig = dir.join(format!("{}.kubeconfig", world.namespace()));
        let mut command = Command::new(binaries::operator());
        command
            .env("KUBECONFIG", kubeconfig)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .arg(format!("--health-addr=127.0.0.1:{port}"))
            .arg(format!("--metrics-addr=127.0.0.1:{port}"))
            .arg(format!("--watch-namespace={}", world.namespace()))
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        Self {
            child: spawn_bound(command).unwrap(),
            log,
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!(
                "── the operator's log, last line first ──\n{}",
                lines.join("\n")
            );
        }
    }
}

/// A connection to that URL and a subscription over it, both of that name.
fn apply_at(world: &World, name: &str, url: &str, tls: &Value) {
    let spec = json!({"timeouts": {"connect": "300ms", "request": "1s"}, "tls": tls});
    world.apply(&objects::all(&[
        objects::connection_named(name, url, spec),
        objects::subscription(name, json!({"connectionRef": {"name": name}})),
    ]));
}

/// What a subscription says that cannot be delivered.
pub(crate) fn refusal(world: &World, name: &str) -> String {
    let object = world.until(name, "Subscription", name, |object| {
        standing(object, "Ready").starts_with("False ")
            && standing(object, "Ready") != "False Provisioning"
    });
    let said = message(&object, "Ready");
    assert_clean(&said);
    format!("{}: {said}", standing(&object, "Ready"))
}

#[test]
fn without_flags_no_plain_http_and_no_inner_address_is_called() {
    let world = World::builder().without_operator().start();
    let trap = Trap::start();
    let port = trap.port;
    let cases = [
        (
            "http",
            format!("http://127.0.0.1:{port}"),
            "--allow-insecure-vendor-urls",
        ),
        (
            "http-public",
            "http://tenants.acme.example".to_owned(),
            "https",
        ),
        ("loopback", format!("https://127.0.0.1:{port}"), "loopback"),
        (
            "loopback-too",
            format!("https://127.8.9.10:{port}"),
            "loopback",
        ),
        (
            "loopback-short",
            format!("https://127.1:{port}"),
            "loopback",
        ),
        (
            "loopback-number",
            format!("https://2130706433:{port}"),
            "loopback",
        ),
        (
            "loopback-hex",
            format!("https://0x7f000001:{port}"),
            "loopback",
        ),
        ("loopback-v6", format!("https://[::1]:{port}"), "loopback"),
        (
            "loopback-mapped",
            format!("https://[::ffff:127.0.0.1]:{port}"),
            "loopback",
        ),
        (
            "unspecified",
            format!("https://0.0.0.0:{port}"),
            "unspecified",
        ),
        ("metadata", "https://169.254.169.254".to_owned(), "metadata"),
        (
            "metadata-v6",
            "https://[fd00:ec2::254]".to_owned(),
            "metadata",
        ),
        (
            "metadata-nat64",
            "https://[64:ff9b::a9fe:a9fe]".to_owned(),
            "metadata",
        ),
        (
            "private",
            "https://10.0.0.1".to_owned(),
            "--allow-vendor-network",
        ),
        (
            "private-172",
            "https://172.16.0.1".to_owned(),
            "--allow-vendor-network",
        ),
        (
            "private-192",
            "https://192.168.0.1".to_owned(),
            "--allow-vendor-network",
        ),
        (
            "private-v6",
            "https://[fd12::1]".to_owned(),
            "--allow-vendor-network",
        ),
        ("name", format!("https://localhost:{port}"), "loopback"),
    ];
    for (name, url, _) in &cases {
        apply_at(&world, name, url, &Value::Null);
    }
    let operator = Plain::start(&world, &[], &[]);
    for (name, url, says) in &cases {
        let said = refusal(&world, name);
        assert!(said.contains(says), "{url}: {said}");
        let what = format!("the connection {name} is not Ready");
        world.until(&what, "VendorConnection", name, |connection| {
            standing(connection, "Ready").starts_with("False ")
        });
    }
    drop(operator);
    assert_eq!(trap.seen(), 0);

    // A private network can be allowed, and what can never be a vendor stays refused.
    let networks = [
        "--allow-vendor-network=10.0.0.0/8",
        "--allow-vendor-network=127.0.0.0/8",
        "--allow-vendor-network=169.254.0.0/16",
        "--allow-vendor-network=::/0",
    ];
    for (name, ..) in &cases {
        world.request(name, "allowed");
    }
    let _operator = Plain::start(&world, &networks, &[]);
    for (name, url, says) in &cases {
        let what = format!("{name} was looked at again");
        world.until(&what, "Subscription", name, |object| {
            let ready = standing(object, "Ready");
            object["status"]["lastHandledReconcileAt"] == "allowed"
                && ready.starts_with("False ")
                && ready != "False Provisioning"
        });
        let said = refusal(&world, name);
        match *name {
            "private" | "private-v6" => {
                assert!(said.starts_with("False VendorUnavailable"), "{url}: {said}");
                assert!(!said.contains(says), "{url}: {said}");
            }
            _ => assert!(said.contains(says), "{url}: {said}"),
        }
    }
    assert_eq!(trap.seen(), 0);
}

#[test]
fn a_proxy_in_the_environment_is_not_used_for_vendors() {
    let world = World::builder().without_operator().start();
    let trap = Trap::start();
    let proxy = format!("http://127.0.0.1:{}", trap.port);
    // The API server's own variables are the Kubernetes client's business.
    let environment =
        ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, proxy.clone()));
    let _operator = Plain::start(&world, &["--allow-insecure-vendor-urls"], &environment);
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(trap.seen(), 0);
}

#[test]
fn a_vendor_with_a_private_authority_is_trusted_by_its_bundle_alone() {
    let world = World::start();
    let vendor = Vendor::start_tls::<&str>(world.control_plane(), &[], None);
    let by_name = vendor.url().replace("127.0.0.1", "localhost");
    let ca = world.control_plane().ca_pem();
    let in_base64 = base64(ca.as_bytes());
    let other =
        std::fs::read_to_string(binaries::workspace().join("examples/custom-ca.yaml")).unwrap();
    let start = other.find("-----BEGIN").unwrap();
    let end = other.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----".len();
    let other: String = other[start..end]
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let both = format!("{other}{ca}");
    let bundle = |pem: &str| json!({"caBundle": pem});
    apply_at(&world, "address", vendor.url(), &bundle(ca));
    apply_at(&world, "name", &by_name, &bundle(&in_base64));
    apply_at(&world, "both", vendor.url(), &bundle(&both));
    apply_at(&world, "wrong", vendor.url(), &bundle(&other));
    apply_at(&world, "public", vendor.url(), &Value::Null);
    apply_at(&world, "no-pem", vendor.url(), &bundle("not a certificate"));
    let cut = &ca[..ca.len() / 2];
    apply_at(&world, "cut", vendor.url(), &bundle(cut));
    // The certificate is for 127.0.0.1.
    let elsewhere = vendor.url().replace("127.0.0.1", "127.0.0.2");
    apply_at(&world, "elsewhere", &elsewhere, &bundle(ca));
    // Plain text where TLS is expected, and the other way round.
    let plain = world.vendor.url().replace("http:", "https:");
    apply_at(&world, "plain", &plain, &bundle(ca));

    for name in ["address", "name", "both"] {
        world.ready(name);
    }
    assert_eq!(vendor.count("live"), 3);
    for name in ["wrong", "public"] {
        let said = refusal(&world, name);
        assert!(
            said.starts_with("False VendorUnavailable"),
            "{name}: {said}"
        );
        let lower = said.to_lowercase();
        assert!(lower.contains("certificate"), "{name}: {said}");
        assert!(
            said.contains("tls.caBundle") || lower.contains("issuer"),
            "{name}: {said}"
        );
    }
    for name in ["no-pem", "cut"] {
        let said = refusal(&world, name);
        assert!(
            said.starts_with("False DependencyNotReady"),
            "{name}: {said}"
        );
        assert!(said.contains("tls.caBundle"), "{name}: {said}");
    }
    for name in ["elsewhere", "plain"] {
        let said = refusal(&world, name);
        assert!(
            said.starts_with("False VendorUnavailable"),
            "{name}: {said}"
        );
    }
    assert_eq!(vendor.count("create"), 3, "a create without trust");
}

/// As RFC 4648 says.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            (0..4).map(move |at| {
                if at <= chunk.len() {
                    char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize])
                } else {
                    '='
                }
            })
        })
        .collect()
}

#[test]
fn base64_is_as_others_write_it() {
    for (plain, encoded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
    ] {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
}

/// What an account may do beyond what everybody may: `kubectl auth can-i --list`, sorted, and the verbs of
/// each line too: kubectl merges rules in no order of its own.
fn rights(world: &World, account: &str, namespace: &str) -> Vec<String> {
    let list = |account: &str| -> Vec<String> {
        let listed = world.kubectl(&[
            "auth",
            "can-i",
            "--list",
            "--as",
            account,
            "--namespace",
            namespace,
            "--no-headers",
        ]);
        let lines = listed.lines();
        lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .map(|line| match line.rsplit_once('[') {
                Some((resource, verbs)) => {
                    let mut verbs: Vec<_> =
                        verbs.trim_end_matches(']').split_whitespace().collect();
                    verbs.sort_unstable();
                    format!("{resource}[{}]", verbs.join(" "))
                }
                None => line,
            })
            .collect()
    };
    let everybody = list("system:serviceaccount:default:somebody");
    let mut rights = list(account);
    rights.retain(|line| !everybody.contains(line));
    rights.sort();
    rights
}

/// The operator's own account, as `system:serviceaccount:<namespace>:<name>`.
fn account(world: &World, namespace: &str) -> String {
    let names = world.kubectl(&[
        "get",
        "serviceaccounts",
        "--namespace",
        namespace,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ]);
    let mut names = names.split_whitespace().filter(|name| *name != "default");
    let name = names.next().expect("no ServiceAccount");
    format!("system:serviceaccount:{namespace}:{name}")
}

const RIGHTS: [&str; 10] = [
    "configmaps [] [] [get list watch]",
    "events.events.k8s.io [] [] [create patch]",
    "namespaces [] [] [get]",
    "secrets [] [] [create get list patch watch]",
    // It makes and deletes those of resellers' own tenants.
    "subscriptions.fulfillment-operator.io [] [] [create delete get list patch watch]",
    "subscriptions.fulfillment-operator.io/status [] [] [patch update]",
    "tierconfigurations.fulfillment-operator.io [] [] [get list patch watch]",
    "tierconfigurations.fulfillment-operator.io/status [] [] [patch]",
    "vendorconnections.fulfillment-operator.io [] [] [get list patch watch]",
    "vendorconnections.fulfillment-operator.io/status [] [] [patch]",
];

#[test]
fn the_operator_may_do_what_it_needs_and_nothing_else() {
    let world = World::builder().without_operator().start();
    let account = account(&world, world.namespace());
    let mut expected = RIGHTS.to_vec();
    // Tombstones are in its own namespace, which is the one it watches here.
    expected.retain(|right| !right.starts_with("configmaps "));
    expected.extend([
        "configmaps [] [] [create delete get list patch watch]",
        // Its key, by name; where it watches its own namespace that is allowed twice.
        "secrets [] [fulfillment-installation-key] [get]",
        // Its lease.
        "leases.coordination.k8s.io [] [] [create]",
        "leases.coordination.k8s.io [] [fulfillment-operator] [get update]",
    ]);
    expected.sort_unstable();
    assert_eq!(rights(&world, &account, world.namespace()), expected);
    // The operator of one namespace has no business in another.
    assert_eq!(rights(&world, &account, "default"), [""; 0]);
    assert_eq!(rights(&world, &account, "kube-system"), [""; 0]);
}

#[test]
fn a_name_never_leads_out_of_its_namespace() {
    let world = World::builder().cluster_wide().start();
    let operators = world.kubectl(&[
        "get",
        "namespaces",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ]);
    let operators = operators
        .split_whitespace()
        .find(|name| name.starts_with("operator"))
        .expect("no namespace of the operator");
    let account = account(&world, operators);
    let mut expected = RIGHTS.to_vec();
    expected.extend([
        "customresourcedefinitions.apiextensions.k8s.io [] [subscriptions.fulfillment-operator.io] [get]",
        "customresourcedefinitions.apiextensions.k8s.io [] [tierconfigurations.fulfillment-operator.io] [get]",
        // Only who watches all namespaces uses these.
        "clustervendorconnections.fulfillment-operator.io [] [] [get list patch watch]",
        "clustervendorconnections.fulfillment-operator.io/status [] [] [patch]",
    ]);
    expected.sort_unstable();
    assert_eq!(rights(&world, &account, world.namespace()), expected);

    world.kubectl(&["create", "namespace", "victim"]);
    world.kubectl(&[
        "create",
        "secret",
        "generic",
        "creds",
        "--namespace=victim",
        "--from-literal=token=quickstart-token",
        "--from-literal=password=Xc8wPl4nSkr31Mb7f",
    ]);
    let names = [
        "creds",
        "../../victim/secrets/creds",
        "..%2f..%2fvictim%2fsecrets%2fcreds",
        "victim/creds",
        "acme?watch=true",
        "acme#",
        "acme creds",
        "..",
    ];
    let mut all = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let from = json!({"secretKeyRef": {"name": name, "key": "password"}});
        let parameters = json!({"parameters": [{"name": "p", "valueFrom": from}]});
        all.push(objects::subscription(
            &format!("parameter-{number}"),
            parameters,
        ));
        let auth = json!({"auth": {"bearer": {"secretRef": {"name": name, "key": "token"}}}});
        let own = format!("connection-{number}");
        all.push(objects::connection_named(&own, world.vendor.url(), auth));
        all.push(objects::subscription(
            &own,
            json!({"connectionRef": {"name": own}}),
        ));
        let reference = json!({"connectionRef": {"name": name}});
        all.push(objects::subscription(
            &format!("reference-{number}"),
            reference,
        ));
    }
    world.apply(&objects::all(&all));
    for kind in ["parameter", "connection", "reference"] {
        for (number, name) in names.iter().enumerate() {
            let object = world.stands(
                &format!("{kind}-{number}"),
                "Ready",
                "False DependencyNotReady",
            );
            let said = message(&object, "Ready");
            assert!(said.contains(name), "{kind} {name}: {said}");
        }
    }
    assert!(
        world.vendor.calls().is_empty(),
        "{:?}",
        world.vendor.calls()
    );
    // The next one is served all the same.
    world.subscribe("mail", json!({}));
    world.ready("mail");
    let victim = world.kubectl(&["get", "secret", "creds", "--namespace=victim", "-o", "json"]);
    assert!(!victim.contains("finalizers"), "{victim}");
}
