//! What is to happen to the calls of one cell, and what did: shared by the cell and its proxies.

use super::{
    fault::Fault,
    spot::{Deed, Spot},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// The fault of a cell: at that call, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) spot: Spot,
    pub(super) fault: Fault,
}

/// One cell at a time.
#[derive(Debug)]
pub(super) struct Script {
    now: Mutex<Now>,
    /// Creates wait at the gate while this is true.
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Now {
    cell: String,
    vendor: String,
    /// Calls are numbered, and meet the fault.
    armed: bool,
    seen: HashMap<Deed, usize>,
    calls: Vec<Spot>,
    target: Option<Target>,
    met: bool,
    died: bool,
    under_way: usize,
    at_gate: bool,
    /// One create alone waits at the gate.
    strands: bool,
    /// It does.
    stranded: bool,
    /// There is something that a sweep looks at.
    buried: bool,
}

/// A numbered call, for as long as it is under way: also when its caller is no more.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Script>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

impl Script {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::default(),
            closed: watch::channel(false).0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a cell: nothing is numbered yet.
    pub(super) fn begin(&self, cell: &str, vendor: &str) {
        let mut now = self.lock();
        let under_way = now.under_way;
        *now = Now {
            cell: cell.to_owned(),
            vendor: vendor.to_owned(),
            under_way,
            ..Now::default()
        };
        drop(now);
        self.closed.send_replace(false);
    }

    /// From now on calls are numbered, and one of them meets the fault.
    pub(super) fn arm(&self, target: Option<Target>) {
        let mut now = self.lock();
        now.armed = true;
        now.target = target;
    }

    /// Ends the numbering: the calls in their order, and whether the fault was met.
    pub(super) fn disarm(&self) -> (Vec<Spot>, bool) {
        let mut now = self.lock();
        now.armed = false;
        (std::mem::take(&mut now.calls), now.met)
    }

    /// The cell of the moment.
    pub(super) fn cell(&self) -> String {
        self.lock().cell.clone()
    }

    /// Where the vendor of a cell is, if it is the cell of the moment.
    pub(super) fn vendor_of(&self, cell: &str) -> Option<String> {
        let now = self.lock();
        (now.cell == cell).then(|| now.vendor.clone())
    }

    /// A call comes in: it is under way, and perhaps meets the fault.
    pub(super) fn meet(self: &Arc<Self>, deed: Deed) -> (UnderWay, Option<Fault>) {
        let mut now = self.lock();
        now.under_way += 1;
        now.buried |= deed.buries();
        let mut fault = None;
        if now.armed && (now.buried || !deed.is_sweep()) {
            let nth = now.seen.entry(deed.clone()).or_default();
            *nth += 1;
            let spot = Spot { nth: *nth, deed };
            if !now.met
                && let Some(target) = &now.target
                && target.spot == spot
            {
                fault = Some(target.fault);
                now.met = true;
            }
            now.calls.push(spot);
        }
        drop(now);
        (UnderWay(Arc::clone(self)), fault)
    }

    /// No numbered call is under way, but one that is stranded.
    pub(super) fn is_idle(&self) -> bool {
        let now = self.lock();
        now.under_way == usize::from(now.stranded)
    }

    /// How often the tombstones were looked at since this was armed.
    pub(super) fn sweeps(&self) -> usize {
        let now = self.lock();
        let sweeps = now.seen.iter().filter(|(deed, _)| deed.is_sweep());
        sweeps.map(|(_, times)| times).sum()
    }

    /// A fault has killed the operator.
    pub(super) fn died(&self) {
        self.lock().died = true;
    }

    /// Whether one has since this was asked last.
    pub(super) fn take_died(&self) -> bool {
        std::mem::take(&mut self.lock().died)
    }

    /// Creates wait until [`open`](Self::open).
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// The next create waits until [`open`](Self::open); those after it do not.
    pub(super) fn strand(&self) {
        self.lock().strands = true;
        self.close();
    }

    /// Creates go on.
    pub(super) fn open(&self) {
        self.lock().stranded = false;
        self.closed.send_replace(false);
    }

    /// Whether a create waits, or waited.
    pub(super) fn is_at_gate(&self) -> bool {
        self.lock().at_gate
    }

    /// Waits until the gate is open.
    pub(super) async fn pass_gate(&self) {
        let mut closed = self.closed.subscribe();
        if *closed.borrow() {
            let mut now = self.lock();
            if now.strands && now.at_gate {
                return;
            }
            now.at_gate = true;
            now.stranded = now.strands;
        }
        // The sender lives as long as we do.
        let _ = closed.wait_for(|closed| !closed).await;
    }
}
