//! Times, on a clock that only moves when told to.

use super::{rest::BACKOFF_MOST, *};
use crate::{plan::Rest, vendor::Class};

const INTERVALS: Intervals = Intervals {
    drift: Duration::from_secs(600),
    pending: Duration::from_secs(30),
    poll: Duration::from_secs(30),
    settle: Duration::from_secs(220),
    missing: Duration::from_secs(2),
    jitter: 10,
};

fn end(rest: Rest) -> End<'static> {
    End {
        rest,
        intent: None,
        settled: true,
        read_due: false,
        read: false,
        called: true,
        failed: None,
        unknown_effect: false,
        retry_after: None,
        wake: None,
        twins: false,
    }
}

fn intent(attempt: i64) -> Intent {
    Intent {
        id: "r".into(),
        attempt,
        external_id: "e".into(),
        body: None,
        repeated: false,
        after: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_off_grows_is_bounded_and_ends_when_something_changes() {
    let pace = Pace::default();
    for failures in 0..40u32 {
        pace.due("u", "a", None, None, false, &INTERVALS);
        let wait = pace.rested("u", &end(Rest::Retry), &INTERVALS);
        let most = Duration::from_secs(1 << failures.min(9)).min(BACKOFF_MOST);
        assert!(
            wait >= BACKOFF_FIRST / 2 && wait <= most + Duration::from_millis(5),
            "{failures}: {wait:?}"
        );
    }
    assert!(
        pace.due("u", "a", None, None, false, &INTERVALS)
            .backing_off
    );
    assert!(
        !pace
            .due("u", "b", None, None, false, &INTERVALS)
            .backing_off
    );
}

#[tokio::test(start_paused = true)]
async fn reads_after_a_restart_are_spread_over_the_interval() {
    let pace = Pace::default();
    let mut late = 0;
    for object in 0..200 {
        let uid = object.to_string();
        assert!(!pace.due(&uid, "a", None, None, false, &INTERVALS).read);
        let wait = pace.rested(
            &uid,
            &End {
                called: false,
                ..end(Rest::InSync)
            },
            &INTERVALS,
        );
        assert!(wait <= Duration::from_secs(601), "{wait:?}");
        late += usize::from(wait > Duration::from_secs(300));
    }
    assert!(
        (50..150).contains(&late),
        "{late} of 200 in the second half"
    );
}

#[tokio::test(start_paused = true)]
async fn settling_counts_from_the_first_sight_of_the_attempt() {
    let pace = Pace::default();
    let settled = |attempt| {
        pace.due("u", "a", None, Some(&intent(attempt)), false, &INTERVALS)
            .settled
    };
    assert!(!settled(1));
    tokio::time::advance(Duration::from_secs(219)).await;
    assert!(!settled(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(settled(1));
    assert!(!settled(2));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_gone_and_may_not_be_bought_again_stays_missing() {
    let pace = Pace::default();
    let read = |rest| End {
        read: true,
        ..end(rest)
    };
    let due = || pace.due("u", "a", None, None, false, &INTERVALS);
    due();
    pace.rested("u", &read(Rest::VerifyMissing), &INTERVALS);
    assert!(!due().missing_confirmed);
    tokio::time::advance(INTERVALS.missing).await;
    pace.rested("u", &read(Rest::Trouble), &INTERVALS);
    let next = due();
    assert!(next.read && next.missing_confirmed);
    // Found again, or bought.
    pace.rested("u", &read(Rest::InSync), &INTERVALS);
    let next = due();
    assert!(!next.read && !next.missing_confirmed);
    // What was not read for is not read for because of that.
    pace.rested("u", &end(Rest::Trouble), &INTERVALS);
    assert!(!due().read);
}

#[tokio::test(start_paused = true)]
async fn the_vendors_word_on_when_to_ask_again_is_kept() {
    let pace = Pace::default();
    pace.due("u", "a", None, None, true, &INTERVALS);
    let asked = End {
        retry_after: Some(Duration::from_secs(7)),
        ..end(Rest::Pending)
    };
    assert_eq!(pace.rested("u", &asked, &INTERVALS).as_secs(), 7);
    let throttled = End {
        retry_after: Some(Duration::from_secs(90)),
        ..end(Rest::Retry)
    };
    assert!(pace.rested("u", &throttled, &INTERVALS) >= Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn what_settles_while_a_pass_runs_is_looked_at_at_once() {
    let pace = Pace::default();
    let due = || pace.due("u", "a", None, Some(&intent(1)), false, &INTERVALS);
    let terminating = |due: Due| End {
        settled: due.settled,
        read_due: due.read,
        called: false,
        ..end(Rest::Terminating)
    };
    due();
    pace.rested("u", &end(Rest::InSync), &INTERVALS);
    tokio::time::advance(INTERVALS.settle - Duration::from_millis(1)).await;
    let seen = due();
    tokio::time::advance(Duration::from_millis(2)).await;
    let wait = pace.rested("u", &terminating(seen), &INTERVALS);
    assert_eq!(wait, Duration::ZERO);
    // And once it was seen, nothing is waited for that is over.
    let wait = pace.rested("u", &terminating(due()), &INTERVALS);
    assert!(wait > BACKOFF_FIRST, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_held_create_is_looked_at_when_it_settles_and_not_in_a_loop() {
    let pace = Pace::default();
    // The pass that sent it: its clock knew of no intent.
    let intent = intent(1);
    let held = |settled| End {
        intent: Some(&intent),
        settled,
        ..end(Rest::Held)
    };
    assert!(pace.due("u", "a", None, None, false, &INTERVALS).settled);
    let wait = pace.rested("u", &held(true), &INTERVALS);
    assert!(wait.abs_diff(INTERVALS.settle) < BACKOFF_FIRST, "{wait:?}");
    tokio::time::advance(wait).await;
    let due = pace.due("u", "a", None, Some(&intent), false, &INTERVALS);
    assert!(due.settled);
    let wait = pace.rested("u", &held(due.settled), &INTERVALS);
    assert!(wait > INTERVALS.settle, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_vendor_looks_soon_where_a_record_went_astray() {
    for rest in [Rest::Pending, Rest::Terminating, Rest::InSync] {
        let pace = Pace::default();
        let due = || pace.due("u", "a", None, None, false, &INTERVALS);
        let rested = |due: Due| {
            let end = End {
                read_due: due.read,
                called: false,
                ..end(rest)
            };
            pace.rested("u", &end, &INTERVALS)
        };
        // Ready until now: the next read is far away.
        due();
        pace.rested("u", &end(Rest::InSync), &INTERVALS);
        pace.read_soon("u");
        let wait = rested(due());
        assert!(wait < 2 * BACKOFF_FIRST, "{rest:?}: {wait:?}");
        // Due while a pass runs that did not know it yet.
        let seen = due();
        tokio::time::advance(wait).await;
        assert_eq!(rested(seen), Duration::ZERO, "{rest:?}");
        // A pass that knows it and may not read is not repeated at once.
        let seen = due();
        assert!(seen.read, "{rest:?}");
        let wait = rested(seen);
        assert!(wait > BACKOFF_FIRST, "{rest:?}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_becomes_due_while_a_pass_runs_is_not_left_out() {
    let pace = Pace::default();
    let due = || pace.due("u", "a", None, None, true, &INTERVALS);
    due();
    let next = pace.rested("u", &end(Rest::Pending), &INTERVALS);
    tokio::time::advance(next - Duration::from_millis(10)).await;
    let idle = |due: Due| End {
        read_due: due.read,
        called: false,
        ..end(Rest::Pending)
    };
    let seen = due();
    tokio::time::advance(Duration::from_millis(10)).await;
    assert_eq!(pace.rested("u", &idle(seen), &INTERVALS), Duration::ZERO);
    let wait = pace.rested("u", &idle(due()), &INTERVALS);
    assert!(wait > INTERVALS.poll, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_says_at_once_is_not_asked_in_a_loop() {
    let pace = Pace::default();
    for rest in [Rest::Pending, Rest::Inquiring, Rest::Terminating] {
        let at_once = End {
            retry_after: Some(Duration::ZERO),
            ..end(rest)
        };
        pace.due("u", "a", None, None, true, &INTERVALS);
        let wait = pace.rested("u", &at_once, &INTERVALS);
        assert!(wait >= BACKOFF_FIRST, "{rest:?}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_overdue_is_said_in_time_and_asked_for_slowly() {
    let pace = Pace::default();
    pace.due("u", "a", None, None, true, &INTERVALS);
    let pending = End {
        wake: Some(Duration::from_secs(7)),
        retry_after: Some(Duration::from_secs(300)),
        ..end(Rest::Pending)
    };
    let wait = pace.rested("u", &pending, &INTERVALS);
    assert!(wait.abs_diff(Duration::from_secs(7)) < BACKOFF_FIRST);
    let overdue = End {
        retry_after: Some(Duration::from_secs(1)),
        ..end(Rest::Overdue)
    };
    assert!(pace.rested("u", &overdue, &INTERVALS) >= BACKOFF_MOST);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_ends_a_wait_brings_the_read_that_was_owed() {
    let pace = Pace::default();
    pace.due("u", "a", None, None, false, &INTERVALS);
    let refused = End {
        failed: Some(Class::Auth),
        ..end(Rest::Unverified)
    };
    pace.rested("u", &refused, &INTERVALS);
    let due = pace.due("u", "a", None, None, false, &INTERVALS);
    assert!(due.backing_off && !due.read);
    let due = pace.due("u", "another secret", None, None, false, &INTERVALS);
    assert!(!due.backing_off && due.read);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_never_comes_to_an_end_is_slowed_down() {
    let pace = Pace::default();
    pace.due("u", "a", None, None, false, &INTERVALS);
    let again = || pace.rested("u", &end(Rest::Again), &INTERVALS);
    let waits: Vec<Duration> = (0..12).map(|_| again()).collect();
    assert!(waits[..7].iter().all(Duration::is_zero), "{waits:?}");
    assert!(waits[8..].iter().all(|wait| *wait >= BACKOFF_FIRST / 2));
    pace.rested("u", &end(Rest::InSync), &INTERVALS);
    assert_eq!(again(), Duration::ZERO);
}

#[test]
fn conflicts_without_end_are_repeated_slowly_until_a_pass_ends() {
    let pace = Pace::default();
    pace.rested("u", &end(Rest::InSync), &INTERVALS);
    for n in 0..40 {
        let most = CONFLICT_FIRST
            .saturating_mul(1 << n.min(16))
            .min(CONFLICT_MOST);
        let wait = pace.stumbled("u", true);
        assert!(wait >= most && wait <= most * 2, "{n}: {wait:?}");
    }
    pace.rested("u", &end(Rest::InSync), &INTERVALS);
    assert!(pace.stumbled("u", true) <= CONFLICT_FIRST * 2);
}

fn version(version: &str) -> Arc<Subscription> {
    let object = serde_json::json!({
        "apiVersion": "fulfillment-operator.io/v1alpha1", "kind": "Subscription",
        "metadata": {"name": "mail", "uid": "u", "resourceVersion": version},
        "spec": {"connectionRef": {"name": "acme"}, "product": "mail-pro"},
    });
    Arc::new(serde_json::from_value(object).expect("a Subscription"))
}

/// The cache has it then, and thousands of objects are not kept twice.
#[test]
fn an_echo_takes_the_place_of_what_was_written() {
    let pace = Pace::default();
    let (written, echo) = (version("7"), version("7"));
    pace.wrote("u", Arc::clone(&written), false);
    assert!(pace.is_echo(&version("6")));
    assert_eq!(Arc::strong_count(&written), 2);
    assert!(pace.is_echo(&echo) && pace.is_echo(&echo));
    assert_eq!(Arc::strong_count(&written), 1);
    assert!(Arc::ptr_eq(&pace.newest(&version("6")), &echo));
    assert!(!pace.is_echo(&version("8")));
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_waited_for_unless_it_was_faster_than_the_answer_or_does_not_come() {
    const MOST: Duration = Duration::from_secs(2);
    let pace = Arc::new(Pace::default());
    let waits = async || {
        let began = Instant::now();
        pace.echoed("u", MOST).await;
        began.elapsed()
    };
    assert_eq!(waits().await, Duration::ZERO, "nothing was written");

    // Nothing older counts, anything newer does.
    for shown in ["7", "8"] {
        pace.wrote("u", version("7"), false);
        pace.is_echo(&version("6"));
        let later = Arc::clone(&pace);
        let watch = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            later.is_echo(&version(shown));
        });
        assert_eq!(waits().await, Duration::from_millis(30), "{shown}");
        assert_eq!(waits().await, Duration::ZERO, "{shown}: once");
        watch.await.expect("the watch");
        pace.forget("u");
    }

    pace.wrote("u", version("7"), false);
    pace.is_echo(&version("7"));
    assert_eq!(waits().await, Duration::ZERO, "it had come");
    pace.is_echo(&version("9"));
    pace.wrote("u", version("9"), false);
    assert_eq!(waits().await, Duration::ZERO, "it was faster");
    // Its cache is filled before anybody is told.
    pace.wrote("u", version("10"), false);
    pace.newest(&version("10"));
    assert_eq!(waits().await, Duration::ZERO, "the cache has it");

    pace.wrote("u", version("11"), false);
    assert_eq!(waits().await, MOST, "it does not come");
    let later = Arc::clone(&pace);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        later.forget("u");
    });
    assert_eq!(waits().await, Duration::from_millis(30), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_callback_ends_a_back_off() {
    let pace = Pace::default();
    let backing_off = |said: Option<&str>| {
        let due = pace.due("u", "a", said, None, true, &INTERVALS);
        (due.backing_off, due.read)
    };
    backing_off(None);
    for _ in 0..9 {
        pace.rested("u", &end(Rest::Retry), &INTERVALS);
    }
    assert!(backing_off(None).0);
    assert_eq!(backing_off(Some("1")), (false, true));
}
