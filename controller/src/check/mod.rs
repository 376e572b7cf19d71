//! `check-vendor`: what of the contract, and of each identity mode, holds at a vendor's own endpoint.
//!
//! It asks through the operator's own client, so what it finds is what the operator would meet. It makes
//! tenants under a name that nobody has, touches no others, and deletes them at the end.

mod answers;
mod at_once;
mod bench;
mod change;
mod contract;
mod create;
mod documents;
mod fields;
mod finding;
mod identity;
mod input;
mod order;
mod output;
mod parties;
mod recommend;
mod rules;
mod stand;

use std::{
    io::{self, Write as _},
    time::Instant,
};

use fulfillment_crds::VendorConnectionSpec;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::{
    bench::{Bench, Bounds, Stop},
    finding::{Check, Findings},
    identity::Offers,
    input::Input,
    output::Report,
};
use crate::{
    config::CheckArgs,
    vendor::{Level, Order, budget::Budget, guard::AddressPolicy, record::Record},
};

/// The exit codes.
const CONFORMS: u8 = 0;
const FINDINGS: u8 = 1;
const BAD_INPUT: u8 = 2;

/// The checks under way.
#[derive(Debug)]
struct Run {
    bench: Bench,
    spec: VendorConnectionSpec,
    findings: Findings,
    offers: Offers,
    /// The tiers that are set up first.
    resellers: Vec<Level>,
    /// Names under which there may be a tenant whose id was never said.
    doubtful: Vec<String>,
}

impl Run {
    /// Whether the connection's dialect writes creates of its own, which may leave limits out.
    fn has_own_create(&self) -> bool {
        let dialect = self.spec.dialect.as_ref();
        let create = dialect.and_then(|dialect| dialect.create.as_ref());
        create.is_some_and(|create| create.body.is_some())
    }
}

/// Checks a vendor, writes the report, and gives the exit code.
pub async fn run(args: CheckArgs, addresses: AddressPolicy) -> u8 {
    // Where there is one already, it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let began = Instant::now();
    let (asked, stop) = watch::channel(0);
    tokio::spawn(signals(asked));
    let input = match input::read(&args) {
        Ok(input) => input,
        Err(why) => return refused(&why),
    };
    let (mut run, order) = match prepare(&args, &addresses, &input, stop.clone()) {
        Ok(prepared) => prepared,
        Err(why) => return refused(&format!("{}: {}: {why}", args.file, input.connection)),
    };
    let ended = match checks(&mut run, &order).await {
        Ok(()) => None,
        Err(Stop::Interrupted) => Some("interrupted".to_owned()),
        Err(Stop::TooManyCalls) => Some(format!(
            "{} calls were not enough: raise --max-calls",
            args.max_calls
        )),
    };
    let left = clean_up(&mut run, stop).await;
    answers::all(&mut run);
    let recommended = recommend::recommend(&run);
    let why = ended.as_deref().unwrap_or("what it rests on failed");
    let report = Report {
        connection: input.connection,
        url: run.spec.url.clone(),
        mode: run.spec.identity.mode,
        external_id: order.external_id,
        findings: run.findings.complete(why),
        offers: run.offers,
        recommended,
        calls: run.bench.calls,
        took: began.elapsed(),
        made: run.bench.made.len(),
        left,
        ended,
    };
    let written = io::stdout().write_all(report.write(args.output).as_bytes());
    match (written, report.conforms()) {
        (Ok(()), true) => CONFORMS,
        (Ok(()) | Err(_), _) => FINDINGS,
    }
}

fn refused(why: &str) -> u8 {
    // There is nobody left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "check-vendor: {why}");
    BAD_INPUT
}

fn prepare(
    args: &CheckArgs,
    addresses: &AddressPolicy,
    input: &Input,
    stop: watch::Receiver<u8>,
) -> Result<(Run, Order), String> {
    let order = Order {
        external_id: order::name()?,
        ..input.order.clone()
    };
    let record = Record::default();
    let clients = input.clients(addresses, &record)?;
    let bounds = Bounds {
        calls: args.max_calls,
        patience: args.patience,
        decision: args.decision.min(input.spec.timeouts.provisioning.into()),
    };
    let budget = Budget::of(&input.spec.budget);
    let run = Run {
        bench: Bench::new(clients, record, budget, bounds, order.clone(), stop),
        spec: input.spec.clone(),
        findings: Findings::default(),
        offers: Offers::default(),
        resellers: input.resellers.clone(),
        doubtful: Vec::new(),
    };
    Ok((run, order))
}

/// Every check, in an order in which one tenant is enough for nearly all of them.
async fn checks(run: &mut Run, order: &Order) -> Result<(), Stop> {
    let mut order = order.clone();
    identity::nobody(run, &order.external_id).await?;
    if !create::resellers(run, &mut order).await? {
        return Ok(());
    }
    let Some(id) = create::create(run, &order).await? else {
        return Ok(());
    };
    identity::fresh(run, &id, &order).await?;
    create::read(run, &id, &order).await?;
    let readable = !run.findings.failed(Check::Read);
    if readable {
        answers::credentials(run, &id).await?;
    }
    identity::repeats(run, &id, &order).await?;
    for twin in run.bench.made.clone() {
        let is_twin = twin.name == order.external_id && twin.id != id;
        if is_twin && contract::remove(run, &twin.id).await?.is_ok() {
            run.bench.gone(&twin.id);
        }
    }
    if !readable {
        // What follows would only say so again.
        return Ok(());
    }
    change::changes(run, &id, &mut order).await?;
    contract::switches(run, &id, &order).await?;
    answers::unknown_id(run, &id).await?;
    contract::delete(run, &id).await?;
    identity::gone(run, &order).await?;
    at_once::at_once(run, &order).await
}

/// Deletes whatever is still there; says what could not be.
async fn clean_up(run: &mut Run, mut stop: watch::Receiver<u8>) -> Vec<String> {
    run.bench.clean();
    let mut left = Vec::new();
    // What was made first stands above the rest.
    for made in run.bench.made.clone().into_iter().rev() {
        if made.gone {
            continue;
        }
        let removed = tokio::select! {
            removed = contract::remove(run, &made.id) => removed,
            // Somebody cannot wait.
            _ = stop.wait_for(|signals| *signals > 1) => Err(Stop::Interrupted),
        };
        let why = match removed {
            Ok(Ok(())) => {
                run.bench.gone(&made.id);
                continue;
            }
            Ok(Err(why)) => why,
            Err(Stop::Interrupted | Stop::TooManyCalls) => "the clean-up was interrupted".into(),
        };
        left.push(format!("tenant {}: {why}", made.id));
    }
    for name in &run.doubtful {
        left.push(format!(
            "perhaps a tenant with the externalId {name}: look for it"
        ));
    }
    match left.first() {
        None => {
            let what = format!("{} made, none left", run.bench.made.len());
            run.findings.pass(Check::CleanUp, what);
        }
        Some(first) => run.findings.fail(Check::CleanUp, first.clone()),
    }
    left
}

/// Counts the signals that ask for an end: the first ends the checks, the second the clean-up.
async fn signals(asked: watch::Sender<u8>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.send_modify(|count| *count = count.saturating_add(1));
    }
}
