//! What is done to the replicas.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use e2e::Seeded;
use fulfillment_crds::IdentityMode;

use super::{
    fleet::{Election, Fleet},
    proxy::Cut,
    times::Times,
};
use crate::Size;

/// How many Subscriptions are bought in each round.
const BATCH: usize = 3;

/// How long a replica that takes over after a release may take at most (the retry period of
/// [`Election::Quick`], its jitter, and a noisy machine).
const AFTER_A_RELEASE: Duration = Duration::from_secs(4);

/// What is done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Without an election both act, through whole lives of many Subscriptions.
    BothAct,
    /// The leader is killed (SIGKILL) in the middle of purchases.
    Killed,
    /// The same with the times of a real installation.
    KilledByDefault,
    /// The leader stands still (SIGSTOP) for longer than the lease, then goes on.
    Paused,
    /// The leader alone does not reach the API server.
    CutOff,
    /// One after the other is replaced (SIGTERM) while purchases go on.
    RolledOut,
}

/// How often, or with how many Subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The number.
    pub times: usize,
    of: &'static str,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.times, self.of)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BothAct => "both act, there is no election",
            Self::Killed => "the leader is killed in purchases",
            Self::KilledByDefault => "the leader is killed, times as by default",
            Self::Paused => "the leader is paused beyond its lease",
            Self::CutOff => "the leader is cut off from the API server",
            Self::RolledOut => "replicas are replaced in purchases",
        })
    }
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::BothAct,
        Self::Killed,
        Self::KilledByDefault,
        Self::Paused,
        Self::CutOff,
        Self::RolledOut,
    ];

    /// How far a run of that size goes; `None` where it leaves the case out.
    pub fn reach(self, size: Size) -> Option<Reach> {
        let (sample, thorough, of) = match self {
            Self::BothAct => (10, 200, "Subscriptions"),
            Self::Killed => (3, 100, "kills"),
            Self::KilledByDefault => (0, 5, "kills"),
            Self::Paused => (1, 20, "pauses"),
            Self::CutOff => (1, 20, "partitions"),
            Self::RolledOut => (1, 10, "rollouts"),
        };
        let times = match size {
            Size::Sample => sample,
            Size::Thorough => thorough,
        };
        (times > 0).then_some(Reach { times, of })
    }

    /// Runs it; says what it brought.
    pub fn run(self, mode: IdentityMode, reach: Reach) -> Times {
        let times = reach.times;
        match self {
            Self::BothAct => both_act(mode, times),
            Self::Killed => killed(mode, Election::Quick, times),
            Self::KilledByDefault => killed(mode, Election::Default, times),
            Self::Paused => paused(mode, times),
            Self::CutOff => cut_off(mode, times),
            Self::RolledOut => rolled_out(mode, times),
        }
    }
}

fn names(round: usize, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s-{round}-{n}")).collect()
}

fn both_act(mode: IdentityMode, count: usize) -> Times {
    let fleet = Fleet::start(mode, Election::Off);
    let all = names(0, count);
    fleet.declare(&all, 50, "Active");
    fleet.converges();
    // The second follows at once: the replicas are at different ones of the two.
    fleet.declare(&all, 60, "Active");
    fleet.declare(&all, 70, "Active");
    fleet.converges();
    fleet.declare(&all, 70, "Suspended");
    fleet.converges();
    fleet.declare(&all, 80, "Active");
    fleet.converges();
    let kubectl = |args: &[&str]| fleet.world.kubectl(args);
    kubectl(&["delete", "subscriptions", "--all", "--wait=false"]);
    fleet.converges();
    // And again under the same names, in the middle of the deletes.
    fleet.declare(&all, 50, "Active");
    fleet.converges();
    kubectl(&["delete", "subscriptions", "--all", "--wait=false"]);
    fleet.all_gone();
    fleet.seen(Times::default())
}

/// Buys a batch, and is in the middle of it when it returns.
fn amid_purchases(fleet: &Fleet, round: usize, seeded: &mut Seeded) {
    let before = fleet.world.vendor.sequence();
    fleet.declare(&names(round, BATCH), 50, "Active");
    if seeded.below(2) == 0 {
        fleet.called(before);
    }
    seeded.pass(150);
}

fn killed(mode: IdentityMode, election: Election, rounds: usize) -> Times {
    let fleet = Fleet::start(mode, election);
    let mut seeded = Seeded(1);
    let mut times = Times::default();
    for round in 0..rounds {
        let leader = fleet.leader();
        amid_purchases(&fleet, round, &mut seeded);
        fleet.replicas[leader].kill9();
        let killed = Instant::now();
        fleet.replicas[leader].spawn();
        fleet.leader();
        times.add(killed.elapsed());
        fleet.converges();
    }
    fleet.seen(times)
}

fn paused(mode: IdentityMode, rounds: usize) -> Times {
    let fleet = Fleet::start(mode, Election::Quick);
    let mut seeded = Seeded(2);
    let mut times = Times::default();
    for round in 0..rounds {
        let leader = fleet.leader();
        amid_purchases(&fleet, round, &mut seeded);
        fleet.replicas[leader].pause();
        let paused = Instant::now();
        times.add(fleet.taken_over(paused, leader));
        fleet.converges();
        let last = fleet.world.vendor.sequence();
        fleet.replicas[leader].resume();
        assert_eq!(fleet.replicas[leader].wait().code(), Some(1));
        let mut late = fleet.world.vendor.calls_since(last);
        // The one that leads now may read for drift at any moment.
        late.retain(|call| call.0["method"] != "GET");
        assert!(late.is_empty(), "it acted when it went on: {late:#?}");
        fleet.replicas[leader].start();
        fleet.converges();
    }
    fleet.seen(times)
}

fn cut_off(mode: IdentityMode, rounds: usize) -> Times {
    let fleet = Fleet::start(mode, Election::Quick);
    let mut seeded = Seeded(3);
    let mut times = Times::default();
    let (first, second) = (&fleet.replicas[0], &fleet.replicas[1]);
    for round in 0..rounds {
        // The way that can be cut is the first one's.
        if fleet.leader() != 0 {
            second.stop();
            fleet.another_leads(1);
            second.start();
        }
        amid_purchases(&fleet, round, &mut seeded);
        fleet.proxy.cut(if round % 2 == 0 {
            Cut::Hang
        } else {
            Cut::Refuse
        });
        let cut = Instant::now();
        let code = first.wait().code();
        let ended = cut.elapsed();
        assert_eq!(code, Some(1), "{}", first.log_tail());
        let taken_over = fleet.taken_over(cut, 0);
        assert!(ended < taken_over, "two led: {ended:?}, {taken_over:?}");
        times.add(taken_over);
        fleet.converges();
        fleet.proxy.mend();
        first.start();
    }
    fleet.converges();
    fleet.seen(times)
}

fn rolled_out(mode: IdentityMode, rollouts: usize) -> Times {
    let fleet = Fleet::start(mode, Election::Quick);
    let mut times = Times::default();
    thread::scope(|scope| {
        let rolling = scope.spawn(|| {
            let mut times = Times::default();
            for _ in 0..rollouts {
                for number in 0..fleet.replicas.len() {
                    let led = fleet.leader() == number;
                    // It drains, releases, and ends with exit code 0.
                    fleet.replicas[number].stop();
                    let stopped = Instant::now();
                    if led {
                        times.add(fleet.taken_over(stopped, number));
                    }
                    fleet.replicas[number].start();
                }
            }
            times
        });
        let mut round = 0;
        while !rolling.is_finished() {
            fleet.declare(&names(round, BATCH), 50, "Active");
            round += 1;
        }
        times = rolling.join().unwrap();
    });
    fleet.converges();
    assert!(times.most() < AFTER_A_RELEASE, "{times}");
    fleet.seen(times)
}
