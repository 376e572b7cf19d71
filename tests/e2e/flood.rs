//! Callbacks that nobody sent: as many as there may be, they cost no write and no call, and what is
//! genuine passes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::{
    callbacks::{KEY, pending, url, world_of},
    costs::settle,
};
use e2e::{
    World,
    costs::Meter,
    flood::{Answered, Flood, Flooder},
    objects::standing,
    vendor::operations,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// More connections than the operator has places for.
const CONNECTIONS: usize = 300;
const FLOODERS: [Flooder; 3] = [
    Flooder::Kept(CONNECTIONS),
    Flooder::New,
    Flooder::Silent(CONNECTIONS),
];

/// A flood of guesses at the URL of a Subscription.
fn flood(world: &World, base: &str, rest: Duration) -> Flood {
    let (namespace, guess) = (world.namespace(), "b".repeat(26));
    let url = format!("{base}/callbacks/{namespace}/mail/{guess}");
    Flood::start(&url, &[], rest, &FLOODERS)
}

/// How long a purchase takes to be with the vendor, and how long what the vendor then decides by
/// hand takes to be known; it is polled every five minutes, so only a callback can say it.
fn purchase(world: &World, name: &str) -> (Duration, Duration) {
    let applied = Instant::now();
    let object = pending(world, name);
    let bought = applied.elapsed();
    let tenant = object["status"]["tenantId"].as_str().unwrap().to_owned();
    let decided = Instant::now();
    world.vendor.approve(&tenant);
    let object = world.ready(name);
    assert_eq!(standing(&object, "Ready"), "True Active");
    (bought, decided.elapsed())
}

/// Nothing but refusals, those that are told why and those that are not.
fn assert_refused(answered: &Answered, told: u16) {
    let both = answered.of(told) > 0 && answered.of(429) > 0;
    assert!(both && answered.by_status.len() == 2, "{answered:?}");
}

/// Waits until most of it is refused without a word: what is told why is 50 a second.
fn is_a_flood(world: &World, flood: &Flood) {
    world.eventually("it is a flood", e2e::SOON, || {
        let answered = flood.answered();
        match answered.of(429) {
            1000.. => Ok(()),
            _ => Err(format!("{answered:?}")),
        }
    });
}

/// Waits until more of it was answered.
fn goes_on(world: &World, flood: &Flood) {
    let before = flood.answered().total();
    world.eventually("it still goes on", e2e::SOON, || {
        match flood.answered().total() {
            now if now > before => Ok(()),
            now => Err(now),
        }
    });
}

#[test]
fn a_flood_changes_nothing_and_what_is_genuine_passes_it() {
    let (world, base) = world_of(World::builder(), "standard-webhooks", KEY, Some(KEY));
    let mail = pending(&world, "mail");
    // With a rest: the other tests want to run, too.
    let flood = flood(&world, &base, Duration::from_millis(1));
    is_a_flood(&world, &flood);
    assert_eq!(
        world.sub("mail")["metadata"]["resourceVersion"],
        mail["metadata"]["resourceVersion"],
        "a refused callback was written"
    );
    assert_eq!(operations(&world.vendor.calls()), ["create"]);

    purchase(&world, "desk");
    goes_on(&world, &flood);
    assert_refused(&flood.answered(), 404);
}

#[test]
fn a_flood_at_the_right_url_with_a_forged_signature_changes_nothing_either() {
    let builder = World::builder().own_control_plane();
    let (world, _) = world_of(builder, "standard-webhooks", KEY, Some(KEY));
    purchase(&world, "mail");
    world.until("settled", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"] == 1 && standing(acme, "Ready") == "True VendorAnswers"
    });
    settle(&world);

    let meter = Meter::start(&world);
    let now = jiff::Timestamp::now().as_second().to_string();
    let forged = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &*now),
        (
            "webhook-signature",
            "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
    ];
    let rest = Duration::from_millis(1);
    let flood = Flood::start(&url(&world), &forged, rest, &FLOODERS);
    is_a_flood(&world, &flood);
    let spent = meter.spent();
    assert_eq!((spent.total(), spent.events), (0, 0), "{:?}", spent.writes);
    assert!(spent.calls.is_empty(), "{:?}", spent.calls);

    purchase(&world, "desk");
    goes_on(&world, &flood);
    assert_refused(&flood.answered(), 401);
}

#[test]
fn callbacks_that_never_end_are_cut_and_keep_nobody_out() {
    let (world, _) = world_of(World::builder(), "standard-webhooks", KEY, Some(KEY));
    let mail = pending(&world, "mail");
    let url = url(&world);
    let drip = |connections| {
        let flooders = [Flooder::Slow(connections)];
        Flood::start(&url, &[], Duration::ZERO, &flooders)
    };
    // Fewer than there are places: each has all the time that a callback may take.
    let few = drip(20);
    purchase(&world, "desk");
    world.eventually("they are cut", e2e::SOON, || match few.answered() {
        answered if answered.of(408) >= 20 => Ok(()),
        answered => Err(format!("{answered:?}")),
    });
    assert_eq!(few.answered().by_status.len(), 1, "{:?}", few.answered());
    drop(few);
    // More than there are places: who wants one gets the place of the oldest.
    let many = drip(CONNECTIONS);
    world.eventually("all places were taken", e2e::SOON, || {
        match many.answered().broken {
            1.. => Ok(()),
            0 => Err(format!("{:?}", many.answered())),
        }
    });
    purchase(&world, "shop");
    drop(many);
    assert_eq!(
        world.sub("mail")["metadata"]["resourceVersion"],
        mail["metadata"]["resourceVersion"],
        "half a callback was written"
    );
}

/// What Linux counts processor time in.
const TICK: Duration = Duration::from_millis(10);

/// The processor time a process has used.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks = rest.split(' ').skip(11).take(2);
    let ticks: u32 = ticks.map(|n| n.parse::<u32>().unwrap()).sum();
    TICK * ticks
}

/// How much of a process is in memory, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.unwrap().trim().trim_end_matches(" kB");
    text.parse().unwrap()
}

#[test]
#[ignore = "takes a minute and the whole machine: cargo test -p e2e --test e2e -- --ignored --nocapture minute_of_flood"]
fn a_minute_of_flood_costs_nothing_but_time() {
    let builder = World::builder().own_control_plane();
    let (world, base) = world_of(builder, "standard-webhooks", KEY, Some(KEY));
    purchase(&world, "mail");
    world.until("settled", "VendorConnection", "acme", |acme| {
        acme["status"]["subscriptions"] == 1 && standing(acme, "Ready") == "True VendorAnswers"
    });
    settle(&world);

    let pid = world.operator.pid();
    let meter = Meter::start(&world);
    let (memory, used, began) = (resident(pid), cpu(pid), Instant::now());
    let flood = flood(&world, &base, Duration::ZERO);
    let minute = Duration::from_secs(60);
    let mut most = memory;
    while began.elapsed() < minute {
        thread::sleep(Duration::from_secs(1));
        most = most.max(resident(pid));
    }
    let (answered, took) = (flood.answered(), began.elapsed());
    let used = cpu(pid).saturating_sub(used);
    let spent = meter.spent();
    let rate = answered.total() as f64 / took.as_secs_f64();
    println!("{answered:?} in {took:.1?}: {rate:.0} a second");
    println!("resident memory {memory} KiB, at most {most} KiB");
    println!("{:.1?} of CPU each", used.div_f64(answered.total() as f64));
    assert_refused(&answered, 404);
    assert!(rate >= 1000.0, "{rate} a second is no flood");
    assert_eq!((spent.total(), spent.events), (0, 0), "{:?}", spent.writes);
    assert!(spent.calls.is_empty(), "{:?}", spent.calls);
    assert!(most - memory < 10 * 1024, "{memory} to {most} KiB");
    // Told why: 50 a second, and 50 at the beginning.
    let told = 50.0 * (took.as_secs_f64() + 2.0);
    assert!(answered.of(404) as f64 <= told, "{answered:?}");

    // It goes on.
    for n in 0..5 {
        let (bought, known) = purchase(&world, &format!("desk-{n}"));
        println!("applied to bought {bought:.1?}, decided to known {known:.1?}");
        let most = Duration::from_secs(5);
        assert!(bought < most && known < most, "{bought:?}, {known:?}");
    }
    let later = flood.answered();
    assert!(later.total() > answered.total(), "the flood had ended");
    assert_refused(&later, 404);
}
