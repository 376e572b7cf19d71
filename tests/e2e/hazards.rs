//! What the Kubernetes client, the API server and the operator's own surroundings can do to it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use crate::faults::assert_clean;
use control_plane::{spawn_bound, terminate};
use e2e::{
    SOON, World, binaries, free_port,
    objects::{self, message, standing},
    poll,
    vendor::{TOKEN, operations},
};
use serde_json::{Value, json};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Lets objects in that the published schema refuses, as an older or newer CRD might.
pub(crate) fn loosen(world: &World, kind: &str, fields: &[&str]) {
    let name = format!("{kind}.fulfillment-operator.io");
    let text = world.kubectl(&["get", "crd", &name, "-o", "json"]);
    let mut crd: Value = serde_json::from_str(&text).unwrap();
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let spec = &mut schema["properties"]["spec"]["properties"];
    for field in fields {
        let member = field
            .split('.')
            .fold(&mut *spec, |at, name| match at.get("properties") {
                Some(_) => &mut at["properties"][name],
                None => &mut at[name],
            });
        assert!(member.is_object(), "no {field}");
        *member = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    let output = world.kubectl_with(&["replace", "-f", "-"], &crd.to_string());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
}

#[test]
fn an_object_that_cannot_be_decoded_says_so_and_stops_no_other() {
    let world = World::builder().own_control_plane().start();
    world.subscribe("had-a-tenant", json!({}));
    world.ready("had-a-tenant");
    let odd_connection = |request: Value| {
        let auth = json!({"bearer": {"secretRef": {"name": "odd"}}});
        let spec = json!({"timeouts": {"request": request}, "auth": auth});
        objects::connection_named("odd", world.vendor.url(), spec)
    };
    world.apply(&objects::secret("odd", &[("token", TOKEN)]));
    world.apply(&odd_connection(json!("10s")));
    world.subscribe("behind-odd", json!({"connectionRef": {"name": "odd"}}));
    world.ready("behind-odd");
    loosen(&world, "subscriptions", &["state", "interval", "limits"]);
    loosen(&world, "vendorconnections", &["timeouts.request"]);

    let weird = [
        ("weird-state", json!({"state": "Weird"})),
        ("weird-interval", json!({"interval": [1, 2]})),
        ("weird-limits", json!({"limits": "many"})),
        ("had-a-tenant", json!({"state": "Weird"})),
    ];
    // What is served changes a moment after the CRD does.
    world.eventually("the looser schema is served", SOON, || {
        for (name, spec) in &weird {
            let yaml = objects::subscription(name, spec.clone());
            let output = world.kubectl_with(&["apply", "-f", "-"], &yaml);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        let output = world.kubectl_with(&["apply", "-f", "-"], &odd_connection(json!([1])));
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    let odd = world.until("odd is InvalidSpec", "VendorConnection", "odd", |odd| {
        standing(odd, "Ready") == "False InvalidSpec"
    });
    assert_clean(&message(&odd, "Ready"));
    // A pass over it has a reason to say something now.
    world.subscribe(
        "behind-odd",
        json!({"connectionRef": {"name": "odd"}, "limits": {"seats": 51}}),
    );
    world.subscribe("good", json!({}));
    world.ready("good");
    let invalid = |name: &str| {
        let what = format!("{name} is InvalidSpec");
        let object = world.until(&what, "Subscription", name, |object| {
            standing(object, "Ready") == "False InvalidSpec"
        });
        assert_eq!(standing(&object, "Stalled"), "True InvalidSpec", "{name}");
        assert_eq!(standing(&object, "Reconciling"), "-", "{name}");
        assert_clean(&message(&object, "Ready"));
    };
    for (name, _) in &weird {
        invalid(name);
    }
    let object = world.stands("behind-odd", "Ready", "False DependencyNotReady");
    let said = message(&object, "Ready");
    assert!(said.contains("odd"), "{said}");
    assert_clean(&said);
    // Its Secret stays until it can be read which tenants are behind it, whoever else has a turn.
    let secret = world.get("Secret", "odd");
    assert_eq!(
        secret["metadata"]["finalizers"],
        json!(["fulfillment-operator.io/in-use"])
    );
    // The status it had is not lost with it.
    assert_eq!(world.sub("had-a-tenant")["status"]["tenantId"], "t-1001");

    // Nor does it matter to an operator that finds them when it starts.
    world.operator.restart();
    world.subscribe("after-a-restart", json!({}));
    world.ready("after-a-restart");
    world.subscribe("good", json!({"limits": {"seats": 51}}));
    world.ready("good");

    // A tenant is not forgotten because its object cannot be read.
    world.kubectl(&["delete", "subscription", "had-a-tenant", "--wait=false"]);
    world.unsubscribe("good");
    let count = |id: &str| {
        let live = world.vendor.live();
        live.iter().filter(|tenant| tenant["id"] == id).count()
    };
    let is_there = world.find("Subscription", "had-a-tenant").is_some();
    assert!(
        is_there || count("t-1001") == 0,
        "the tenant was left behind"
    );

    // Repaired, they go on by themselves.
    world.apply(&odd_connection(json!("10s")));
    for (name, _) in &weird[..3] {
        world.subscribe(
            name,
            json!({"state": "Active", "limits": {"seats": 50}, "interval": null}),
        );
        world.ready(name);
    }
    world.ready("behind-odd");
    if is_there {
        let repair = r#"{"spec": {"state": "Active"}}"#;
        world.kubectl(&[
            "patch",
            "subscription",
            "had-a-tenant",
            "--type=merge",
            "-p",
            repair,
        ]);
        world.gone("Subscription", "had-a-tenant");
    }
    assert_eq!(count("t-1001"), 0);
    assert_eq!(world.vendor.count("duplicates"), 0);
}

#[test]
fn an_api_server_that_restarts_or_hangs_in_the_middle_of_work_costs_nothing_but_time() {
    const MANY: u64 = 30;
    let world = World::builder()
        .own_control_plane()
        .connection(json!({"budget": {"maxInFlight": 2}}))
        .start();
    world.vendor.behavior(json!({"latency": "150ms"}));
    let apply = |seats: u64| {
        let all: Vec<String> = (0..MANY)
            .map(|number| {
                let spec = json!({"limits": {"seats": seats}});
                objects::subscription(&format!("mail-{number}"), spec)
            })
            .collect();
        world.apply(&objects::all(&all));
    };
    let under_way = |operation: &str| {
        world.eventually(&format!("each {operation} is under way"), SOON, || {
            let count = world.vendor.count(operation);
            if count >= MANY / 6 {
                Ok(())
            } else {
                Err(count)
            }
        });
        let count = world.vendor.count(operation);
        assert!(count < MANY, "each {operation} was done already");
    };
    let all_ready = |seats: u64| {
        for number in 0..MANY {
            world.stands(&format!("mail-{number}"), "Ready", "True Active");
        }
        let live = world.vendor.live();
        assert_eq!(live.len() as u64, MANY);
        for tenant in live {
            assert_eq!(tenant["limits"]["seats"], seats);
        }
        assert_eq!(world.vendor.counts()["effects"]["created"], MANY);
        assert_eq!(world.vendor.count("duplicates"), 0);
    };
    let process = world.operator.pid();

    apply(50);
    under_way("create");
    world.control_plane().restart_api_server().unwrap();
    all_ready(50);

    apply(60);
    under_way("change");
    world.control_plane().pause_api_server().unwrap();
    // The pause is the fault itself: long enough for every timeout of a call.
    thread::sleep(Duration::from_secs(12));
    world.control_plane().resume_api_server().unwrap();
    all_ready(60);

    world.kubectl(&["delete", "subscription", "--all", "--wait=false"]);
    under_way("delete");
    world.control_plane().restart_api_server().unwrap();
    for number in 0..MANY {
        world.gone("Subscription", &format!("mail-{number}"));
    }
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.operator.pid(), process, "it is another process");
    assert!(
        world.operator.read("/healthz").contains("ok"),
        "not healthy"
    );

    // The watches are alive: what comes now is seen.
    world.subscribe("afterwards", json!({}));
    world.ready("afterwards");
}

#[test]
fn a_missing_installation_key_ends_the_operator_with_what_to_do() {
    const KEY: &str = "fulfillment-installation-key";
    let world = World::start();
    world.subscribe("mail", json!({}));
    let before = world.ready("mail");
    world.operator.stop();
    let key = world.get("Secret", KEY);
    world.kubectl(&["delete", "secret", KEY]);

    let ends = |says: &[&str]| {
        let logged = world.operator.log().len();
        world.operator.spawn();
        assert_eq!(world.operator.wait().code(), Some(2));
        let log = world.operator.log().split_off(logged);
        for word in says {
            assert!(log.contains(word), "no {word:?} in {log}");
        }
    };
    ends(&[KEY, "restore", "mail"]);
    assert!(world.find("Secret", KEY).is_none(), "another key was made");
    let broken = objects::secret(KEY, &[("key", "short")]);
    world.apply(&broken);
    ends(&[KEY, "key"]);
    world.kubectl(&["delete", "secret", KEY]);

    let restored = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEY}, "data": key["data"],
    });
    world.apply(&restored.to_string());
    world.operator.start();
    world.request("mail", "restored");
    let mail = world.until("the look is handled", "Subscription", "mail", |mail| {
        mail["status"]["lastHandledReconcileAt"] == "restored"
    });
    assert_eq!(mail["status"]["externalId"], before["status"]["externalId"]);
    assert_eq!(standing(&mail, "Ready"), "True Active");
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
    assert_eq!(world.vendor.counts()["effects"]["created"], 1);
}

#[test]
fn a_rebuilt_cluster_waits_for_its_installation_key() {
    const KEY: &str = "fulfillment-installation-key";
    let world = World::start();
    world.subscribe("mail", json!({}));
    let before = world.ready("mail");
    world.operator.stop();
    let key = world.get("Secret", KEY);
    world.kubectl(&["delete", "secret", KEY]);
    // As in a new cluster no object has a finalizer or a status yet.
    let finalizers = r#"{"metadata":{"finalizers":null}}"#;
    let patch = ["patch", "subscription", "mail", "--type=merge", "-p"];
    world.kubectl(&[&patch[..], &[finalizers]].concat());
    world.kubectl(&["delete", "subscription", "mail"]);
    world
        .operator
        .push_args(&["--create-installation-key=false"]);
    world.operator.spawn();
    world.eventually("it says what it waits for", e2e::SOON, || {
        let said = world.operator.probe("/readyz")?;
        let all = [KEY, "restore", "--create-installation-key=false"];
        let named = all.iter().all(|word| said.contains(word));
        if named { Ok(()) } else { Err(said) }
    });
    world.subscribe("mail", json!({}));
    let restored = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEY}, "data": key["data"],
    });
    // A plain create: it fails where the operator has made one.
    let made = world.kubectl_with(&["create", "-f", "-"], &restored.to_string());
    assert!(made.status.success(), "{made:?}");
    let mail = world.ready("mail");
    assert_eq!(mail["status"]["externalId"], before["status"]["externalId"]);
    assert_eq!(world.vendor.counts()["effects"]["created"], 1);
}

#[test]
fn another_installation_key_makes_no_second_tenant() {
    const KEY: &str = "fulfillment-installation-key";
    let world = World::start();
    world.subscribe("mail", json!({}));
    let before = world.ready("mail");
    world.operator.stop();
    world.kubectl(&["delete", "secret", KEY]);
    let other = "another key, of thirty-two bytes or more";
    world.apply(&objects::secret(KEY, &[("key", other)]));
    world.operator.start();
    // status.externalId, once written, wins over a new derivation.
    world.subscribe("mail", json!({"limits": {"seats": 51}}));
    let mail = world.stands("mail", "Ready", "True Active");
    assert_eq!(mail["status"]["externalId"], before["status"]["externalId"]);
    assert_eq!(world.vendor.tenant()["limits"]["seats"], 51);
    assert_eq!(world.vendor.counts()["effects"]["created"], 1);
    world.unsubscribe("mail");
    assert_eq!(world.vendor.count("live"), 0);
}

/// An operator that is expected to end by itself.
fn run(environment: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(binaries::operator());
    command
        .env_remove("KUBECONFIG")
        .envs(environment.iter().copied())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child: Child = spawn_bound(command).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// Environment, flags, and what the message must name.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

#[test]
fn a_configuration_that_cannot_be_used_ends_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage.kubeconfig");
    fs::write(&garbage, "}{").unwrap();
    let nowhere = closed_kubeconfig(dir.path());
    let missing = dir.path().join("missing.kubeconfig");
    let kubeconfig = ("KUBECONFIG", nowhere.to_str().unwrap());
    let mut wrong = Vec::new();
    let cases: [Case<'_>; 17] = [
        (&[kubeconfig], &["--no-such-flag"], "--no-such-flag"),
        (&[kubeconfig], &["word"], "word"),
        (&[kubeconfig], &["--concurrent=0"], "--concurrent"),
        (&[kubeconfig], &["--concurrent=many"], "--concurrent"),
        (&[kubeconfig], &["--settle=soon"], "--settle"),
        (&[kubeconfig], &["--settle=-5s"], "--settle"),
        (
            &[kubeconfig],
            &["--request-deadline=1"],
            "--request-deadline",
        ),
        (&[kubeconfig], &["--metrics-addr=nowhere"], "--metrics-addr"),
        (
            &[kubeconfig],
            &["--health-addr=127.0.0.1:99999"],
            "--health-addr",
        ),
        (
            &[kubeconfig],
            &["--allow-vendor-network=10.0.0.0"],
            "--allow-vendor-network",
        ),
        (
            &[kubeconfig],
            &["--installation-key-secret=key"],
            "--installation-key-secret",
        ),
        (
            &[kubeconfig],
            &["--interval-jitter-percentage=200"],
            "--interval-jitter-percentage",
        ),
        (&[kubeconfig], &["--log-level=loud"], "log-level"),
        (&[kubeconfig], &["--log-encoding=xml"], "--log-encoding"),
        (
            &[kubeconfig, ("FULFILLMENT_SETTLE", "soon")],
            &[],
            "--settle",
        ),
        (
            &[("KUBECONFIG", missing.to_str().unwrap())],
            &[],
            "missing.kubeconfig",
        ),
        (
            &[("KUBECONFIG", garbage.to_str().unwrap())],
            &[],
            "Kubernetes",
        ),
    ];
    for (environment, args, says) in cases {
        let port = free_port();
        let health = format!("--health-addr=127.0.0.1:{port}");
        let metrics = format!("--metrics-addr=127.0.0.1:{port}");
        let mut all = vec!["--log-encoding=console"];
        for own in [&health, &metrics] {
            let flag = own.split('=').next().unwrap();
            if !args.iter().any(|arg| arg.starts_with(flag)) {
                all.push(own);
            }
        }
        if args.iter().any(|arg| arg.starts_with("--log-encoding")) {
            all.remove(0);
        }
        all.extend(args);
        let output = run(environment, &all);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.code() != Some(2) || !said.contains(says) {
            wrong.push(format!(
                "{args:?} {environment:?}: {} {said}",
                output.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A kubeconfig for an API server that is not there.
fn closed_kubeconfig(dir: &std::path::Path) -> std::path::PathBuf {
    let path = dir.join("closed.kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "closed",
        "clusters": [{"name": "closed", "cluster": {"server": format!("https://127.0.0.1:{}", free_port())}}],
        "users": [{"name": "nobody", "user": {"token": "none"}}],
        "contexts": [{"name": "closed", "context": {"cluster": "closed", "user": "nobody", "namespace": "default"}}],
    });
    fs::write(&path, config.to_string()).unwrap();
    path
}

#[test]
fn a_port_that_is_taken_ends_with_exit_code_1_and_names_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let kubeconfig = closed_kubeconfig(dir.path());
    let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
    let (health, metrics) = (
        format!("--health-addr={address}"),
        format!("--metrics-addr=127.0.0.1:{}", free_port()),
    );
    let output = run(&environment, &[&health, &metrics]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn sigterm_ends_it_with_exit_code_0_while_it_waits_for_an_api_server() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(binaries::operator());
    command
        .env("KUBECONFIG", closed_kubeconfig(dir.path()))
        .arg(format!("--health-addr=127.0.0.1:{port}"))
        .arg(format!("--metrics-addr=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = spawn_bound(command).unwrap();
    let client = reqwest::blocking::Client::builder()
        .no_proxy()
        .build()
        .unwrap();
    // It is alive, and says why it is not ready.
    let read = |path: &str| client.get(format!("http://127.0.0.1:{port}{path}")).send();
    poll("it is alive", SOON, || {
        read("/healthz").and_then(reqwest::blocking::Response::error_for_status)
    });
    let ready = read("/readyz").unwrap();
    assert!(!ready.status().is_success());
    let text = ready.text().unwrap();
    assert!(text.contains("installation key"), "{text}");
    let status = terminate(&mut child, Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn sigterm_lets_a_call_under_way_end_and_records_its_result() {
    let world = World::start();
    let slow = json!({"method": "POST", "times": 1, "fault": {"delay": "2s"}});
    world.vendor.fault(slow);
    world.subscribe("mail", json!({}));
    world.eventually("the create is under way", SOON, || {
        let busy = world.vendor.count("inFlight");
        if busy == 1 { Ok(()) } else { Err(busy) }
    });
    // It must end with exit code 0.
    world.operator.stop();
    let mail = world.sub("mail");
    assert_eq!(mail["status"]["tenantId"], "t-1001");
    assert_eq!(standing(&mail, "Ready"), "True Active");
    assert_eq!(world.vendor.count("create"), 1);
    // Started again it has nothing to do.
    let before = world.vendor.sequence();
    world.operator.start();
    world.subscribe("other", json!({}));
    world.ready("other");
    let calls = world.vendor.calls_since(before);
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[test]
fn without_its_crds_the_operator_waits_and_says_so() {
    let world = World::builder()
        .own_control_plane()
        .without_operator()
        .start();
    let crds = binaries::workspace().join("crds");
    let crds = crds.to_str().unwrap();
    world.kubectl(&["delete", "-f", crds]);
    world.operator.spawn();
    world.eventually("it is alive and not ready", SOON, || {
        let log = world.operator.log();
        if log.contains("serving") {
            Ok(())
        } else {
            Err(log)
        }
    });
    world.eventually("it says what it waits for", SOON, || {
        let ready = world.operator.read("/readyz");
        if ready.to_lowercase().contains("subscription") {
            Ok(())
        } else {
            Err(ready)
        }
    });
    world.kubectl(&["apply", "--server-side", "-f", crds]);
    world.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "-f",
        crds,
    ]);
    world.eventually("it serves", SOON, || {
        let connection = objects::connection(world.vendor.url(), json!({}));
        let all = [connection, objects::subscription("mail", json!({}))];
        let output = world.kubectl_with(&["apply", "-f", "-"], &objects::all(&all));
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    world.ready("mail");
    let ready = world.operator.read("/readyz");
    assert!(!ready.to_lowercase().contains("not"), "{ready}");
}

#[test]
fn an_older_role_without_the_right_to_put_is_enough() {
    let world = World::start();
    let role = world.kubectl(&["get", "role", "fulfillment-operator", "-o", "json"]);
    let mut role: Value = serde_json::from_str(&role).unwrap();
    for rule in role["rules"].as_array_mut().unwrap() {
        rule["verbs"]
            .as_array_mut()
            .unwrap()
            .retain(|verb| verb != "update");
    }
    let replaced = world.kubectl_with(&["replace", "-f", "-"], &role.to_string());
    assert!(replaced.status.success(), "{replaced:?}");
    let account = format!(
        "--as=system:serviceaccount:{}:fulfillment-operator",
        world.namespace()
    );
    world.eventually("the right is gone", SOON, || {
        let status = "--subresource=status";
        let args = ["auth", "can-i", "update", "subscriptions", status, &account];
        let can = world.kubectl_with(&args, "");
        let said = String::from_utf8_lossy(&can.stdout).into_owned();
        if said.trim() == "no" {
            Ok(())
        } else {
            Err(said)
        }
    });
    world.subscribe("mail", json!({"limits": {"seats": 5}}));
    world.ready("mail");
    world.patch("mail", r#"{"spec":{"limits":{"seats":6}}}"#);
    world.ready("mail");
    world.unsubscribe("mail");
    assert_eq!(operations(&world.vendor.calls())[..2], ["create", "change"]);
    assert_eq!(world.vendor.count("live"), 0);
}
