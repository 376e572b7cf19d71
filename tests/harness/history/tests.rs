//! A rule that was never seen to fail is no rule: each has a log that breaks it.

use super::*;
use serde_json::{Value, json};

/// A log in the making.
#[derive(Default)]
struct Log(Vec<Call>);

impl Log {
    fn call(&mut self, operation: &str, target: &str, status: u64, effect: Value) -> &mut Self {
        let sequence = self.0.len() as u64 + 1;
        self.0.push(Call(json!({
            "sequence": sequence,
            "time": format!("2026-01-01T00:00:{sequence:02}Z"),
            "operation": operation,
            "path": target,
            "headers": {"user-agent": "fulfillment-operator/0.1.0"},
            "body": null,
            "status": status,
            "effect": effect,
        })));
        self
    }

    fn create(&mut self, id: &str, name: &str) -> &mut Self {
        let effect = effect("created", id, name, "active", "approved");
        self.call("create", "/tenant", 201, effect)
    }

    fn delete(&mut self, id: &str, name: &str) -> &mut Self {
        let effect = effect("deleted", id, name, "terminated", "approved");
        self.call("delete", &format!("/tenant/{id}"), 204, effect)
    }

    fn change(&mut self, id: &str, name: &str) -> &mut Self {
        let effect = effect("changed", id, name, "active", "approved");
        self.call("change", &format!("/tenant/{id}"), 200, effect)
    }

    fn get(&mut self, id: &str, name: &str, status: &str, request: &str) -> &mut Self {
        let effect = effect("none", id, name, status, request);
        self.call("get", &format!("/tenant/{id}"), 200, effect)
    }

    /// The last call was made by somebody else.
    fn by_another(&mut self) -> &mut Self {
        self.0.last_mut().unwrap().0["headers"] = json!({"user-agent": "curl/8"});
        self
    }

    fn check(&self, rules: &Rules) -> String {
        check(&self.0, rules).join("\n")
    }

    #[track_caller]
    fn is_good(&self) {
        assert_eq!(self.check(&Rules::default()), "");
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        assert_eq!(self.check(&Rules::default()), expected);
    }
}

fn effect(kind: &str, id: &str, name: &str, status: &str, request: &str) -> Value {
    json!({
        "kind": kind, "tenantId": id, "externalId": name,
        "tenantStatus": status, "requestStatus": request,
    })
}

fn log() -> Log {
    Log::default()
}

fn within(seconds: i64) -> Rules {
    Rules {
        twins: Twins::Within(SignedDuration::from_secs(seconds)),
        ..Rules::default()
    }
}

/// Names that were ordered, each with what was asked of it and since which second.
fn ordered<'a>(names: impl IntoIterator<Item = (&'a str, &'a [(&'static str, i8)])>) -> Rules {
    let time = |second| format!("2026-01-01T00:00:{second:02}Z").parse().unwrap();
    let names = names.into_iter().map(|(name, asked)| {
        let asked = asked.iter().map(|(effect, since)| (*effect, time(since)));
        (name.to_owned(), asked.collect())
    });
    Rules {
        ordered: Some(names.collect()),
        ..Rules::default()
    }
}

#[test]
fn a_life_and_a_second_one_under_the_same_name() {
    let mut life = log();
    life.create("t-1", "k").change("t-1", "k");
    life.delete("t-1", "k")
        .call("get", "/tenant/t-1", 404, Value::Null);
    // A delete whose answer was lost is sent again.
    life.call("delete", "/tenant/t-1", 404, Value::Null);
    life.create("t-2", "k-2").change("t-2", "k-2");
    life.is_good();
}

#[test]
fn a_repeated_create_that_is_told_of_its_tenant() {
    let mut repeated = log();
    let exists = effect("none", "t-1", "k", "active", "approved");
    repeated
        .create("t-1", "k")
        .call("create", "/tenant", 409, exists);
    repeated.change("t-1", "k").is_good();
}

#[test]
fn a_twin() {
    let mut twins = log();
    twins.create("t-1", "k").create("t-2", "k");
    twins.says("call 2 (create): t-2 is a twin of t-1, all of k");
    // A pending one costs money as well, and so does a successor that comes too early.
    let mut early = log();
    let pending = effect("created", "t-1", "k", "pending", "pending");
    early.call("create", "/tenant", 202, pending);
    early.create("t-2", "k-2");
    early.says("call 2 (create): t-2 is a twin of t-1, all of k");
    let accepted = Rules {
        twins: Twins::Accepted,
        ..Rules::default()
    };
    assert_eq!(twins.check(&accepted), "");
    let altered = Rules {
        altered: BTreeSet::from(["t-1".to_owned()]),
        ..Rules::default()
    };
    assert_eq!(twins.check(&altered), "");
}

#[test]
fn a_twin_that_settles_in_time_and_ones_that_do_not() {
    let mut twins = log();
    twins.create("t-1", "k").create("t-2", "k");
    let left = "t-2 is left at the end, a twin, of k";
    assert_eq!(twins.check(&within(60)), format!("call 2 (create): {left}"));
    twins.delete("t-2", "k");
    assert_eq!(twins.check(&within(60)), "");
    let mut late = log();
    late.create("t-1", "k").create("t-2", "k");
    late.change("t-1", "k")
        .change("t-1", "k")
        .delete("t-2", "k");
    assert_eq!(
        late.check(&within(1)),
        "call 4 (change): t-2 has been a twin, of k, for longer than 1s"
    );
}

#[test]
fn a_failed_purchase_makes_room_for_the_next() {
    let mut failed = log();
    let pending = effect("created", "t-1", "k", "pending", "pending");
    failed.call("create", "/tenant", 202, pending);
    failed
        .get("t-1", "k", "failed", "failed")
        .create("t-2", "k-2");
    failed.is_good();
}

#[test]
fn names_that_end_in_numbers_are_no_successors() {
    let mut names = log();
    names.create("t-1", "order-7").create("t-2", "order-8");
    names.is_good();
}

#[test]
fn an_effect_that_nobody_asked_for() {
    let mut log = log();
    log.create("t-1", "k");
    let deleted = effect("deleted", "t-1", "k", "active", "approved");
    log.call("get", "/tenant/t-1", 200, deleted);
    log.says("call 2 (get): it has an effect nobody asked for: deleted");
}

#[test]
fn a_tenant_that_no_subscription_ordered() {
    let mut log = log();
    log.create("t-1", "k").create("t-2", "other");
    // Whoever else buys there is not asked.
    log.create("t-3", "third").by_another();
    let ordered = |names: &[&str]| ordered(names.iter().map(|name| (*name, &[][..])));
    assert_eq!(log.check(&ordered(&["k", "other"])), "");
    let said = log.check(&ordered(&["k"]));
    assert_eq!(said, "call 2 (create): no Subscription ever ordered other");
    let mut nameless = Log::default();
    let effect = json!({"kind": "created", "tenantId": "t-1"});
    nameless.call("create", "/tenant", 201, effect);
    let said = "call 1 (create): nobody can tell which Subscription ordered it";
    assert_eq!(nameless.check(&ordered(&[])), said);
}

#[test]
fn an_end_that_no_subscription_wanted() {
    let mut log = log();
    log.create("t-1", "k").delete("t-1", "k");
    let said = "call 2 (delete): no Subscription had asked for that";
    // Never, by another, as something else, or too late.
    let asked: [&[_]; 3] = [&[], &[("disabled", 1)], &[("deleted", 3)]];
    for asked in asked {
        let others: &[_] = &[("deleted", 1)];
        let rules = ordered([("k", asked), ("other", others)]);
        assert_eq!(log.check(&rules), said, "{asked:?}");
    }
    assert_eq!(log.check(&ordered([])).lines().last(), Some(said));
    assert_eq!(log.check(&ordered([("k", &[("deleted", 2)][..])])), "");
    // Whoever else deletes there is not asked.
    log.by_another();
    assert_eq!(log.check(&ordered([("k", &[][..])])), "");
}

#[test]
fn a_switch_that_no_subscription_wanted() {
    for (operation, effected, status) in [
        ("disable", "disabled", "suspended"),
        ("enable", "enabled", "active"),
    ] {
        let mut log = log();
        let effect = effect(effected, "t-1", "k", status, "approved");
        log.create("t-1", "k");
        log.call(operation, "/tenant/t-1", 204, effect);
        let said = format!("call 2 ({operation}): no Subscription had asked for that");
        for asked in [("deleted", 1), (effected, 3)] {
            assert_eq!(
                log.check(&ordered([("k", &[asked][..])])),
                said,
                "{asked:?}"
            );
        }
        assert_eq!(log.check(&ordered([("k", &[(effected, 2)][..])])), "");
    }
}

/// The protocol deletes the second of two; the last one is not for it to delete.
#[test]
fn an_end_that_only_a_twin_may_come_to() {
    let mut twins = log();
    twins.create("t-1", "k").create("t-2", "k");
    twins.delete("t-2", "k");
    let late = |rules: Rules| Rules {
        twins: Twins::Within(SignedDuration::from_mins(1)),
        ..rules
    };
    let nothing = || ordered([("k", &[][..])]);
    assert_eq!(twins.check(&late(nothing())), "");
    let said = twins.check(&nothing());
    assert!(said.ends_with("call 3 (delete): no Subscription had asked for that"));
    twins.delete("t-1", "k");
    let said = twins.check(&late(nothing()));
    assert_eq!(said, "call 4 (delete): no Subscription had asked for that");
}

/// What a person gave the operator may have any name. Where a Subscription has it, that one is asked.
#[test]
fn an_end_of_what_was_given() {
    let mut log = log();
    log.create("t-1", "theirs")
        .by_another()
        .delete("t-1", "theirs");
    let given = |rules: Rules| Rules {
        adopted: BTreeSet::from(["t-1".to_owned()]),
        ..rules
    };
    assert_eq!(log.check(&given(ordered([]))), "");
    let said = log.check(&given(ordered([("theirs", &[][..])])));
    assert_eq!(said, "call 2 (delete): no Subscription had asked for that");
}

#[test]
fn an_effect_on_no_tenant() {
    let mut log = log();
    log.call("create", "/tenant", 201, json!({"kind": "created"}));
    log.says("call 1 (create): it has an effect on no tenant");
}

#[test]
fn a_call_that_is_missing() {
    let mut log = log();
    log.create("t-1", "k").change("t-1", "k").change("t-1", "k");
    log.0.remove(1);
    log.says("call 3 (change): calls before it are missing from the log");
}

#[test]
fn a_tenant_of_another() {
    let mut log = log();
    log.create("t-1", "k").by_another().delete("t-1", "k");
    let call = "call 2 (delete)";
    log.says(&format!(
        "{call}: t-1 was neither created by us nor adopted"
    ));
    let adopted = Rules {
        adopted: BTreeSet::from(["t-1".to_owned()]),
        ..Rules::default()
    };
    assert_eq!(log.check(&adopted), "");
    // What others do is theirs to answer for.
    log.0.pop();
    log.change("t-1", "k").by_another().is_good();
}

#[test]
fn a_tenant_that_nobody_made() {
    let mut log = log();
    log.call("disable", "/tenant/t%2F9/disable", 404, Value::Null);
    log.says("call 1 (disable): t/9 was neither created by us nor adopted");
}

#[test]
fn a_change_of_what_is_terminated() {
    let mut log = log();
    log.create("t-1", "k").delete("t-1", "k");
    log.call("enable", "/tenant/t-1/enable", 404, Value::Null);
    log.says("call 3 (enable): t-1 was terminated before");
}

#[test]
fn a_revival() {
    let mut log = log();
    log.create("t-1", "k").delete("t-1", "k").create("t-1", "k");
    log.says("call 3 (create): t-1 changes after it was terminated");
}

#[test]
fn a_result_that_regresses() {
    let mut log = log();
    log.create("t-1", "k").get("t-1", "k", "active", "pending");
    log.says("call 2 (get): the request of t-1 was approved and is pending now");
    // With a new request it may.
    let mut log = Log::default();
    let pending = effect("changed", "t-1", "k", "active", "pending");
    log.create("t-1", "k")
        .call("change", "/tenant/t-1", 202, pending);
    log.get("t-1", "k", "active", "pending").is_good();
}

#[test]
fn a_result_that_turns_into_its_opposite() {
    for (before, after) in [("approved", "failed"), ("failed", "approved")] {
        let mut log = log();
        let created = effect("created", "t-1", "k", "active", before);
        log.call("create", "/tenant", 201, created);
        log.get("t-1", "k", "active", before);
        log.get("t-1", "k", "active", after);
        let said = format!("the request of t-1 was {before} and is {after} now");
        log.says(&format!("call 3 (get): {said}"));
        // A create that is repeated tells of the same request, and so does a switch that does nothing.
        let seen = log.0.pop().unwrap().0["effect"].take();
        for operation in ["create", "disable"] {
            log.call(operation, "/tenant/t-1", 200, seen.clone());
            log.says(&format!("call 3 ({operation}): {said}"));
            log.0.pop();
        }
        // A request of its own may come to another result.
        let changed = effect("changed", "t-1", "k", "active", after);
        log.call("change", "/tenant/t-1", 200, changed).is_good();
    }
    // What is so already is approved, and needs no effect for it.
    let mut log = Log::default();
    let failed = effect("changed", "t-1", "k", "active", "failed");
    let so = effect("none", "t-1", "k", "active", "approved");
    log.create("t-1", "k");
    log.call("change", "/tenant/t-1", 202, failed);
    log.call("change", "/tenant/t-1", 200, so).is_good();
}
