//! The state of the model: an object at an API server, a vendor, what is between, and two
//! controllers that do not know of each other.

use fulfillment_operator::{
    facts::{Facts, Intent, Ledger, Resolution},
    kubernetes::{Guard, Mark},
    plan::Step,
    status::Weight,
    vendor::{Answer, VendorError},
};

use super::known::{Known, Names};

/// How many controllers act, each believing that it is the only one.
pub(super) const CONTROLLERS: usize = 2;

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The newest version of the object; `None` where there is none.
    pub(super) object: Option<Object>,
    /// A past version that a lagging watch still shows.
    pub(super) cached: Option<Object>,
    /// An object of another name that claims the same externalId.
    pub(super) rival: Option<Object>,
    /// How many objects of this name there have been: the uid of the newest.
    pub(super) incarnations: u8,
    /// The vendor's tenants, oldest first.
    pub(super) tenants: Vec<Kept>,
    /// Creates on their way.
    pub(super) posts: Vec<Post>,
    /// Other calls on their way, whose senders have given them up or heard of them before.
    pub(super) calls: Vec<Late>,
    /// The tombstone of the last object: the name the sweep looks for.
    pub(super) stone: Option<String>,
    /// The object is deleted, and its tenant only suspended yet.
    pub(super) grace: bool,
    /// The uids of the objects that were let go and whose tenants were to stay.
    pub(super) retained: Vec<u8>,
    pub(super) controllers: [Controller; CONTROLLERS],
    /// What may still go wrong.
    pub(super) left: Left,
    /// An injected fault let the object go without the operator: no promise covers that.
    pub(super) excused: bool,
    /// A promise about a single step that was broken.
    pub(super) broken: Option<Broken>,
}

/// A version of the object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) uid: u8,
    pub(super) generation: i64,
    pub(super) deleting: bool,
    pub(super) finalized: bool,
    /// Told, when it was being deleted already, to leave its tenant.
    pub(super) retains: bool,
    pub(super) intent: Option<Known<Intent>>,
    pub(super) resolution: Option<Known<Resolution>>,
    pub(super) status: Known<Ledger>,
}

impl Object {
    /// The request in status.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.status.request.as_ref().map(Mark::from)
    }
}

impl Object {
    pub(super) fn new(uid: u8) -> Self {
        Self {
            uid,
            generation: 1,
            deleting: false,
            finalized: false,
            retains: false,
            intent: None,
            resolution: None,
            status: Known::new(Ledger::default()),
        }
    }

    fn names(&self) -> Names {
        let mut names = self.status.names;
        if let Some(intent) = &self.intent {
            names.add(intent.names);
        }
        if let Some(resolution) = &self.resolution {
            names.add(resolution.names);
        }
        names
    }
}

/// A tenant at the vendor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) external_id: String,
    /// The object whose it is, by its uid: the one whose create made it, or that took it over.
    /// 0: somebody else's.
    pub(super) owner: u8,
    pub(super) state: TenantState,
    /// The vendor has not decided what was asked of it last.
    pub(super) pending: bool,
    pub(super) seats: i64,
    /// What it was ordered with.
    pub(super) ordered: i64,
}

impl Kept {
    pub(super) fn live(&self) -> bool {
        self.state != TenantState::Dead
    }
}

/// The state of a tenant at the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TenantState {
    Provisioning,
    Active,
    Suspended,
    /// To be deleted once the vendor gets to it.
    Leaving,
    /// Gone or failed, and perhaps still shown.
    Dead,
}

/// A create on its way to the vendor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Post {
    /// All that its landing depends on: not which attempt it was.
    pub(super) external_id: String,
    pub(super) seats: i64,
    pub(super) uid: u8,
    /// The controller that still waits for the answer.
    pub(super) awaited_by: Option<usize>,
    pub(super) older: Older,
}

/// A call to a known tenant that lands late.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Late {
    pub(super) tenant: String,
    pub(super) verb: Verb,
}

/// What a call asks of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Verb {
    Change { seats: i64 },
    Suspend,
    Resume,
    Delete,
}

/// For which controllers something is older than their first sight of the present intent: until it
/// has landed or is lost, that controller cannot see `settled` (assumptions A1 and A2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Older(pub(super) [bool; CONTROLLERS]);

impl Older {
    pub(super) fn than_sight_of(self, controller: usize) -> bool {
        self.0.get(controller).copied().unwrap_or_default()
    }

    pub(super) fn seen_by(&mut self, controller: usize) {
        if let Some(older) = self.0.get_mut(controller) {
            *older = true;
        }
    }

    fn forgotten_by(&mut self, controller: usize) {
        if let Some(older) = self.0.get_mut(controller) {
            *older = false;
        }
    }
}

/// A controller: what its process holds in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Controller {
    /// The intent it has seen last, whose first sight its settling counts from.
    pub(super) sight: Option<Known<Sight>>,
    /// It has written the object since the cache stood still, and goes by what it wrote.
    pub(super) ahead: bool,
    pub(super) pass: Option<Pass>,
}

/// The intent that settling counts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) uid: u8,
    pub(super) id: String,
    pub(super) attempt: i64,
}

/// A pass in progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pass {
    pub(super) facts: Known<Facts>,
    /// What the shipped planner says of these facts.
    pub(super) step: Known<Step>,
    pub(super) uid: u8,
    /// The resourceVersion it holds is still the newest.
    pub(super) current: bool,
    /// The status as it stood in the object it holds.
    pub(super) before: Known<Ledger>,
    pub(super) guard: Option<Known<Guard>>,
    /// It has won its intent by a compare-and-swap, and has not used it.
    pub(super) covered: bool,
    /// As for a post: an armed controller is a post to be.
    pub(super) older: Older,
    pub(super) phase: Phase,
}

/// Where a pass stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The planned step is to be carried out.
    Acting,
    /// A create is sent; its answer, once the vendor gave one.
    Waiting(Option<Known<Result<Answer, VendorError>>>),
    /// The result is to be written.
    Recording {
        status: Known<Ledger>,
        guard: Known<Guard>,
        weight: Known<Weight>,
    },
}

/// How often what may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) freezes: u8,
    pub(super) faults: u8,
    pub(super) duplicates: u8,
    pub(super) refusals: u8,
    /// Calls, creates aside, that fail, lose their answer, land late or twice.
    pub(super) calls: u8,
    /// Tenants that are gone without the operator.
    pub(super) vanishings: u8,
    /// Where such a create is sent again without a person: those whose answer nobody hears.
    pub(super) silences: u8,
}

/// A promise about a single step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    /// A create without an intent that was won by compare-and-swap for it alone.
    Uncovered,
    /// A tenant that is somebody else's was changed, deleted or taken.
    Foreign,
    /// A terminal result that is no longer in status.
    Regressed,
    /// The answer to a create that was heard, is still asked for, and was not recorded.
    Dropped,
    /// A create where the policy is to make none.
    Unwanted,
    /// A delete within the grace period.
    Early,
}

impl World {
    /// The ids that something still names.
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        for object in self.objects().chain(&self.cached) {
            names.add(object.names());
        }
        for tenant in &self.tenants {
            names.add(Names::of(&tenant.id));
        }
        for call in &self.calls {
            names.add(Names::of(&call.tenant));
        }
        for controller in &self.controllers {
            if let Some(sight) = &controller.sight {
                names.add(sight.names);
            }
            if let Some(pass) = &controller.pass {
                names.add(pass.names());
            }
        }
        names
    }

    /// The same with the two objects in each other's place: whoever acts for the rival sees it so.
    pub(super) fn turned(mut self) -> Self {
        std::mem::swap(&mut self.object, &mut self.rival);
        self
    }

    /// The objects there are.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.object.iter().chain(&self.rival)
    }

    /// Our tenants that live.
    pub(super) fn live(&self) -> impl Iterator<Item = &Kept> {
        self.tenants.iter().filter(|t| t.owner != 0 && t.live())
    }

    /// Whether a create is on its way, or about to be.
    pub(super) fn creating(&self) -> bool {
        !self.posts.is_empty() || self.passes().any(Pass::is_armed)
    }

    /// A controller forgets what it has seen: nothing is older than that.
    pub(super) fn forget(&mut self, controller: usize) {
        for post in &mut self.posts {
            post.older.forgotten_by(controller);
        }
        for pass in self.controllers.iter_mut().filter_map(|c| c.pass.as_mut()) {
            pass.older.forgotten_by(controller);
        }
    }

    pub(super) fn passes(&self) -> impl Iterator<Item = &Pass> {
        self.controllers.iter().filter_map(|c| c.pass.as_ref())
    }
}

impl Pass {
    /// It may send a create any moment.
    pub(super) fn is_armed(&self) -> bool {
        self.facts.pass.armed && self.phase == Phase::Acting
    }

    fn names(&self) -> Names {
        let mut names = self.facts.names;
        names.add(self.step.names);
        names.add(self.before.names);
        if let Some(guard) = &self.guard {
            names.add(guard.names);
        }
        match &self.phase {
            Phase::Acting | Phase::Waiting(None) => {}
            Phase::Waiting(Some(answer)) => names.add(answer.names),
            Phase::Recording { status, guard, .. } => {
                names.add(status.names);
                names.add(guard.names);
            }
        }
        names
    }
}
