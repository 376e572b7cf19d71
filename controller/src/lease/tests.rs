//! The election against a lease in memory, under a clock that the tests move.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    Fence, Gate, Phase, Timings,
    candidate::{Candidate, YIELD},
    memory::{Memory, Mood},
    record::{self, Sight, View},
};
use crate::{controller::Readiness, metrics::Metrics, pace};

const SECOND: Duration = Duration::from_secs(1);
const TIMINGS: Timings = Timings {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// A candidate and what can be seen of it.
struct Seen {
    memory: Memory,
    gate: Gate,
    readiness: Arc<Readiness>,
    release: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Seen {
    fn start(memory: &Memory, me: &str) -> Self {
        let (tell, phase) = watch::channel(Phase::Standby);
        let (release, asked) = watch::channel(false);
        let fence = Fence::closed();
        let readiness = Arc::new(Readiness::default());
        let candidate = Candidate {
            leases: memory.clone(),
            me: me.into(),
            timings: TIMINGS,
            fence: fence.clone(),
            phase: tell,
            readiness: Arc::clone(&readiness),
            metrics: Arc::new(Metrics::default()),
        };
        Self {
            memory: memory.clone(),
            gate: Gate { fence, phase },
            readiness,
            release,
            task: tokio::spawn(candidate.run(asked)),
        }
    }

    fn leads(&self) -> bool {
        self.gate.is_open()
    }

    fn lost(&self) -> Option<String> {
        match &*self.gate.phase.borrow() {
            Phase::Lost(why) => Some(why.clone()),
            Phase::Standby | Phase::Leading => None,
        }
    }
}

/// Lets a time pass, and all that happens in it.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_stands_by_until_it_is_released() {
    let memory = Memory::default();
    let first = Seen::start(&memory, "pod-a_1");
    pass(SECOND).await;
    assert!(first.leads());
    let mut second = Seen::start(&memory, "pod-b_2");
    pass(SECOND * 100).await;
    assert!(first.leads() && !second.leads());
    first.release.send(true).unwrap();
    pass(Duration::from_millis(1)).await;
    assert!(!first.leads());
    assert_eq!(memory.holder(), None);
    let released = Instant::now();
    assert!(second.gate.opened().await);
    assert!(released.elapsed() <= SECOND * 3, "{:?}", released.elapsed());
    let lease = memory.kept.lock().unwrap().lease.clone().unwrap();
    assert_eq!(record::transitions(&lease), 1);
    assert!(first.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_renewing_is_succeeded_after_it_gave_up() {
    let memory = Memory::default();
    let first = Seen::start(&memory, "pod-a_1");
    let mut second = Seen::start(&memory.other(), "pod-b_2");
    pass(SECOND * 30).await;
    assert!(first.leads() && !second.leads());
    first.memory.feel(Mood::Hangs);
    let cut = Instant::now();
    while first.leads() {
        pass(SECOND / 10).await;
        assert!(!second.leads());
    }
    let given_up = cut.elapsed();
    assert!(
        given_up >= SECOND * 8 && given_up <= SECOND * 11,
        "{given_up:?}"
    );
    assert!(second.gate.opened().await);
    let taken = cut.elapsed();
    assert!(taken > given_up + SECOND, "{taken:?}");
    assert!(taken <= SECOND * 19, "{taken:?}");
    pass(SECOND).await;
    assert!(first.lost().unwrap().contains("10s"), "{:?}", first.lost());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_leaves_time_for_another() {
    let memory = Memory::default();
    let leader = Seen::start(&memory, "pod-a_1");
    pass(SECOND).await;
    memory.feel(Mood::Hangs);
    pass(SECOND * 3).await;
    memory.feel(Mood::Answers);
    pass(SECOND * 60).await;
    assert!(leader.leads());
    memory.feel(Mood::Loses);
    pass(SECOND * 3).await;
    memory.feel(Mood::Answers);
    pass(SECOND * 60).await;
    assert!(leader.leads(), "its own unheard write is no other's");
}

#[tokio::test(start_paused = true)]
async fn slow_answers_count_from_before_the_question() {
    let memory = Memory::default();
    let leader = Seen::start(&memory, "pod-a_1");
    pass(SECOND).await;
    memory.feel(Mood::Slow(4));
    pass(SECOND * 60).await;
    assert!(leader.leads());
    memory.feel(Mood::Hangs);
    pass(SECOND * 11).await;
    assert!(!leader.leads());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_or_given_to_another_by_hand_is_lost() {
    type Edit = fn(&mut Option<Lease>);
    let edits: [(&str, Edit); 3] = [
        ("deleted", |lease| *lease = None),
        ("somebody", |lease| {
            let spec = lease.as_mut().unwrap().spec.as_mut().unwrap();
            spec.holder_identity = Some("somebody".into());
        }),
        ("removed", |lease| {
            let spec = lease.as_mut().unwrap().spec.as_mut().unwrap();
            spec.holder_identity = None;
        }),
    ];
    for (word, edit) in edits {
        let memory = Memory::default();
        let leader = Seen::start(&memory, "pod-a_1");
        pass(SECOND).await;
        assert!(leader.leads());
        memory.edit(edit);
        pass(SECOND * 3).await;
        assert!(!leader.leads(), "{word}");
        assert!(leader.lost().unwrap().contains(word), "{:?}", leader.lost());
        assert!(leader.task.is_finished(), "there is no second time");
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_on_the_lease_takes_nothing_away() {
    let memory = Memory::default();
    let leader = Seen::start(&memory, "pod-a_1");
    pass(SECOND).await;
    memory.edit(|lease| {
        let labels = &mut lease.as_mut().unwrap().metadata.labels;
        *labels = Some([("a".to_owned(), "b".to_owned())].into());
    });
    pass(SECOND * 60).await;
    assert!(leader.leads());
    let kept = memory.kept.lock().unwrap();
    assert!(kept.lease.as_ref().unwrap().metadata.labels.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_our_pods_name_from_an_earlier_start_is_anothers() {
    let memory = Memory::default();
    memory.edit(|lease| {
        *lease = Some(record::taken(
            None,
            "pod-a_earlier",
            TIMINGS.lease,
            pace::instant(),
        ));
    });
    let began = Instant::now();
    let mut candidate = Seen::start(&memory, "pod-a_now");
    assert!(candidate.gate.opened().await);
    assert!(began.elapsed() >= TIMINGS.lease, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_may_not_touch_the_lease_never_leads_and_says_so() {
    let memory = Memory::default();
    memory.feel(Mood::Forbids);
    let candidate = Seen::start(&memory, "pod-a_1");
    pass(SECOND * 60).await;
    assert!(!candidate.leads());
    let missing = candidate.readiness.missing();
    assert!(missing[0].contains("refuses"), "{missing:?}");
    memory.feel(Mood::Answers);
    pass(SECOND * 4).await;
    assert!(candidate.leads());
    assert!(candidate.readiness.missing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_ready_leaves_the_lease_to_others() {
    let memory = Memory::default();
    let blind = Seen::start(&memory, "pod-a_1");
    blind.readiness.wait_for("caches", "not filled yet");
    pass(YIELD - SECOND * 4).await;
    assert!(!blind.leads());
    assert_eq!(memory.holder(), None);
    assert_eq!(blind.readiness.missing(), ["caches: not filled yet"]);
    let healthy = Seen::start(&memory, "pod-b_2");
    // Long enough for the other to see it.
    pass(SECOND * 8).await;
    assert!(healthy.leads());
    healthy.release.send(true).unwrap();
    pass(YIELD - SECOND * 4).await;
    assert_eq!(memory.holder(), None);
    blind.readiness.has("caches");
    pass(SECOND * 4).await;
    assert!(blind.leads());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_takes_is_taken_by_one_that_is_not_ready() {
    let memory = Memory::default();
    let blind = Seen::start(&memory, "pod-a_1");
    blind.readiness.wait_for("caches", "not filled yet");
    pass(YIELD - SECOND * 4).await;
    assert!(!blind.leads());
    pass(SECOND * 8).await;
    assert!(blind.leads());
    assert_eq!(blind.readiness.missing(), ["caches: not filled yet"]);
}

#[tokio::test(start_paused = true)]
async fn an_acquiring_write_that_was_not_heard_of_is_given_up_at_the_end() {
    let memory = Memory::default();
    memory.feel(Mood::Loses);
    let candidate = Seen::start(&memory, "pod-a_1");
    // The read is lost as well; the write comes after one that is not.
    memory.edit(|lease| {
        *lease = Some(record::taken(
            None,
            "pod-a_1",
            TIMINGS.lease,
            pace::instant(),
        ));
    });
    pass(SECOND).await;
    assert!(!candidate.leads());
    memory.feel(Mood::Answers);
    candidate.release.send(true).unwrap();
    candidate.task.await.unwrap();
    assert_eq!(memory.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_one_leads_at_any_time() {
    let memory = Memory::default();
    let mut all: Vec<Seen> = (0..5)
        .map(|n| Seen::start(&memory.other(), &format!("pod-{n}_x")))
        .collect();
    for round in 0..20 {
        for _ in 0..400 {
            pass(SECOND / 10).await;
            let leading = all.iter().filter(|c| c.leads()).count();
            assert!(leading <= 1, "round {round}: {leading} lead");
        }
        let leader = all.iter().position(Seen::leads).unwrap();
        // It is cut off, or told to stop; another one starts in its place.
        if round % 2 == 0 {
            all[leader].memory.feel(Mood::Hangs);
            while all[leader].leads() {
                pass(SECOND / 10).await;
            }
        } else {
            all[leader].release.send(true).unwrap();
            pass(SECOND / 10).await;
        }
        all[leader] = Seen::start(&memory.other(), &format!("pod-{round}_y"));
    }
}

#[tokio::test(start_paused = true)]
async fn expiry_is_by_observed_change_alone() {
    let begun = Instant::now();
    let lease = record::taken(None, "other", TIMINGS.lease, pace::instant());
    let mut sight = Sight::default();
    let mut look = |lease: &Lease, after: u64| {
        let now = begun + SECOND * u32::try_from(after).unwrap();
        let times = (now, now + SECOND / 2);
        sight.look(Some(lease.clone()), "me", times, TIMINGS.lease)
    };
    let left = |view: View| match view {
        View::Held { left, .. } => left,
        View::Absent | View::Free(_) => Duration::ZERO,
    };
    assert_eq!(left(look(&lease, 0)), SECOND * 15, "whatever its times say");
    assert_eq!(left(look(&lease, 10)), SECOND * 5 + SECOND / 2);
    let mut renewed = record::taken(Some(lease), "other", TIMINGS.lease, pace::instant());
    renewed.metadata.resource_version = Some("2".into());
    assert_eq!(left(look(&renewed, 14)), SECOND * 15);
    assert_eq!(left(look(&renewed, 29)), SECOND / 2);
    assert_eq!(look(&renewed, 30), View::Free(Box::new(renewed.clone())));
    let mut longer = renewed;
    longer.metadata.resource_version = Some("3".into());
    longer.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    assert_eq!(
        left(look(&longer, 31)),
        SECOND * 60,
        "what its holder keeps to, where that is longer"
    );
}
