//! Leader election: who acts, who stands by, and how the lease changes hands. What crashes, pauses and
//! partitions do to it is proved by `cargo proof replicas`.

use crate::callbacks::{KEY, pending, world_at};
use e2e::{Builder, Operator, SOON, World, ports::free_port, vendor::operations};
use serde_json::json;

/// A world without an operator, whose operator takes part in an election with short times.
fn world() -> World {
    electing().start()
}

fn electing() -> Builder {
    World::builder()
        .without_operator()
        .operator_arg("--enable-leader-election")
        .operator_arg("--leader-election-lease-duration=4s")
        .operator_arg("--leader-election-renew-deadline=3s")
        .operator_arg("--leader-election-retry-period=500ms")
}

fn leads(world: &World, replica: &Operator) {
    world.eventually("it leads", SOON, || {
        replica.leads().then_some(()).ok_or("it does not")
    });
}

/// A leader, and one that is ready and stands by.
fn two(world: &World) -> (Operator, Operator) {
    let first = world.operator.replica("first", None);
    first.start();
    leads(world, &first);
    let second = world.operator.replica("second", None);
    second.start();
    (first, second)
}

fn holder(world: &World) -> String {
    let lease = world.get("Lease", "fulfillment-operator");
    let holder = lease["spec"]["holderIdentity"].as_str();
    holder.unwrap_or_default().to_owned()
}

#[test]
fn one_acts_and_the_other_stands_by_ready_and_warm() {
    let world = world();
    let (first, second) = two(&world);
    world.subscribe("mail", json!({}));
    world.ready("mail");
    world.eventually("its caches are warm", SOON, || {
        let waits = second.read("/readyz");
        (waits == "ok\n").then_some(()).ok_or(waits)
    });
    assert!(first.leads() && !second.leads());
    // Counted by the one that acts: a sum over both counts each once.
    let counted = r#"fulfillment_subscriptions{state="Active",ready="True"} 1"#;
    world.eventually("it is counted", SOON, || {
        let metrics = first.metrics();
        metrics.contains(counted).then_some(()).ok_or(metrics)
    });
    assert!(!second.metrics().contains("fulfillment_subscriptions{"));
    assert_eq!(second.read("/healthz"), "ok\n");
    let log = second.log();
    assert!(
        log.contains("standing by") && log.contains(&holder(&world)),
        "{log}"
    );
    assert!(!log.contains("vendor answered"), "{log}");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    second.stop();
    assert!(first.leads(), "a standby that stops takes nothing along");
}

#[test]
fn a_callback_at_the_standby_is_acted_on_by_the_leader() {
    let [first_at, second_at] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let base = format!("http://{second_at}");
    let world = world_at(&base, electing(), "standard-webhooks", KEY, Some(KEY));
    let start = |name: &str, address: &str| {
        let replica = world.operator.replica(name, None);
        replica.push_args(&[format!("--callback-addr={address}")]);
        replica.start();
        replica
    };
    let first = start("first", &first_at);
    leads(&world, &first);
    let second = start("second", &second_at);

    let mail = pending(&world, "mail");
    world
        .vendor
        .approve(mail["status"]["tenantId"].as_str().unwrap_or_default());
    // It is polled every five minutes: nothing but the callback can say so.
    world.ready("mail");
    let taken = r#"fulfillment_callbacks_total{outcome="taken"} "#;
    assert!(second.metrics().contains(taken) && !first.metrics().contains(taken));
    assert!(first.leads() && !second.leads());
    assert_eq!(operations(&world.vendor.calls())[..2], ["create", "get"]);
    let log = second.log();
    assert!(!log.contains("vendor answered"), "{log}");
}

#[test]
fn a_leader_that_stops_ends_what_is_under_way_and_only_then_hands_on() {
    let world = world();
    let (first, second) = two(&world);
    let rule = json!({"method": "POST", "times": 1, "fault": {"delayAfter": "2s"}});
    world.vendor.fault(rule);
    world.subscribe("mail", json!({}));
    world.eventually("the create is under way", SOON, || {
        let calls = world.vendor.calls();
        if calls.is_empty() {
            Err("no call")
        } else {
            Ok(())
        }
    });
    // With exit code 0.
    first.stop();
    let mail = world.sub("mail");
    assert!(mail["status"]["tenantId"].is_string(), "its answer is kept");
    assert!(
        first.log().contains("released the lease"),
        "{}",
        first.log_tail()
    );
    leads(&world, &second);
    world.ready("mail");
    assert_eq!(operations(&world.vendor.calls()), ["create"]);
    let lease = world.get("Lease", "fulfillment-operator");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    world.subscribe("more", json!({}));
    world.ready("more");
}

#[test]
fn a_lease_that_a_person_takes_away_is_lost() {
    let world = world();
    let leader = world.operator.replica("leader", None);
    leader.start();
    leads(&world, &leader);
    world.kubectl(&["delete", "lease", "fulfillment-operator"]);
    assert_eq!(leader.wait().code(), Some(1));
    assert!(
        leader.log().contains("it was deleted"),
        "{}",
        leader.log_tail()
    );

    leader.start();
    leads(&world, &leader);
    let somebody = json!({"spec": {"holderIdentity": "somebody"}}).to_string();
    world.kubectl(&[
        "patch",
        "lease",
        "fulfillment-operator",
        "--type=merge",
        "-p",
        &somebody,
    ]);
    assert_eq!(leader.wait().code(), Some(1));
    let lost = "somebody holds it now";
    assert!(leader.log().contains(lost), "{}", leader.log_tail());

    // Nobody renews it: it runs out. Who leads then does what was left.
    world.subscribe("mail", json!({}));
    leader.start();
    world.ready("mail");
    assert_ne!(holder(&world), "somebody");
}

#[test]
fn without_the_right_to_the_lease_it_never_leads_and_says_why() {
    let world = world();
    let binding = "fulfillment-operator-leader-election";
    world.kubectl(&["delete", "rolebinding", binding]);
    let replica = world.operator.replica("replica", None);
    replica.spawn();
    world.subscribe("mail", json!({}));
    world.eventually("it says why it is not ready", SOON, || {
        let said = replica.probe("/readyz")?;
        let why = said.contains("lease") && said.contains("refuses");
        why.then_some(()).ok_or(said)
    });
    assert!(!replica.leads());
    assert!(world.vendor.calls().is_empty());
    replica.stop();
}

#[test]
fn one_that_is_not_ready_leaves_the_lease_to_one_that_is() {
    let world = world();
    let healthy = world.operator.replica("healthy", None);
    healthy.start();
    healthy.stop();
    let sick = world.operator.replica("sick", None);
    // It may not list anything there.
    sick.push_args(&["--watch-namespace=kube-system"]);
    sick.spawn();
    world.eventually("it says why it is not ready", SOON, || {
        let said = sick.probe("/readyz")?;
        let why = said.contains("Secrets in kube-system") && said.contains("RBAC");
        why.then_some(()).ok_or(said)
    });
    healthy.start();
    leads(&world, &healthy);
    world.subscribe("mail", json!({}));
    world.ready("mail");
    assert!(!sick.leads());
    assert_eq!(sick.read("/healthz"), "ok\n");
    sick.stop();
    assert!(healthy.leads());
}

#[test]
fn times_that_do_not_fit_are_a_configuration_error() {
    let world = World::builder()
        .without_operator()
        .operator_arg("--enable-leader-election")
        .operator_arg("--leader-election-renew-deadline=15s")
        .start();
    world.operator.spawn();
    assert_eq!(world.operator.wait().code(), Some(2));
    let log = world.operator.log();
    assert!(log.contains("--leader-election-lease-duration"), "{log}");
}

#[test]
fn a_change_that_lands_late_is_put_right_at_once() {
    let world = World::builder().without_operator().start();
    world.operator.start();
    world.subscribe("mail", json!({"limits": {"seats": 50}}));
    world.ready("mail");
    // Both act: there is no election.
    let second = world.operator.replica("second", None);
    second.start();
    let rule = json!({"method": "PUT", "times": 1, "fault": {"delay": "3s"}});
    world.vendor.fault(rule);
    let seats = |seats: u64| {
        world.subscribe("mail", json!({"limits": {"seats": seats}}));
        world.ready("mail");
    };
    // One replica's call is held up; the other's settles this change, and the next one.
    seats(60);
    seats(70);
    world.eventually("the old change lands after the new one", SOON, || {
        let calls = world.vendor.calls();
        let changes = calls.iter().filter(|call| call.operation() == "change");
        let changes: Vec<_> = changes.map(|call| call.body()["limits"].clone()).collect();
        let old = json!({"seats": 60});
        let landed = changes.iter().filter(|limits| **limits == old).count() == 2;
        landed.then_some(()).ok_or(format!("{changes:?}"))
    });
    world.eventually("the tenant is as declared", SOON, || {
        let tenant = world.vendor.tenant();
        let right = tenant["limits"]["seats"] == 70;
        right.then_some(()).ok_or(tenant)
    });
}
