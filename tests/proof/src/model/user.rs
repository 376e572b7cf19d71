//! People, and what happens to a cluster.

use fulfillment_crds::{IdentityMode, OnUnknownOutcome, Request, RequestStatus, RequestType};
use fulfillment_operator::facts::{Intent, Ledger, Resolution};

use super::{
    known::Known,
    scenario::Scenario,
    store::settle_version,
    sweep,
    world::{Kept, Object, World},
};

/// What people do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The spec is edited.
    Edit,
    /// The object is deleted.
    Delete,
    /// An object of the same name is created after the last one is gone.
    CreateAgain,
    /// An object that is being deleted is told to leave its tenant.
    Retain,
    /// It is said what became of a create, as it looks then.
    Answer(Known<Resolution>),
}

/// What happens to a cluster, and should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A cache stands still.
    Freeze,
    /// The status is lost.
    LoseStatus,
    /// `kubectl replace`: finalizers and annotations are lost, status stays.
    Replace,
    /// A cluster rebuilt from a backup: another uid, no finalizer, no status.
    Restore { annotations: bool },
}

/// What people may do now.
pub(super) fn deeds(world: &World, s: &Scenario) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let Some(object) = &world.object else {
        if world.incarnations < s.incarnations {
            deeds.push(Deed::CreateAgain);
        }
        return deeds;
    };
    if object.deleting {
        if (s.grace || s.rival) && !object.retains {
            deeds.push(Deed::Retain);
        }
    } else {
        deeds.push(Deed::Delete);
        if object.generation < s.generations {
            deeds.push(Deed::Edit);
        }
    }
    if !is_asked(s, object) || is_handed_over(world, object) {
        return deeds;
    }
    let strangers = world.tenants.iter().filter(|t| s.given && t.owner == 0);
    let handed_over = strangers.map(|t| Resolution::Adopt(t.id.clone()));
    for answer in answer(world, s, object).into_iter().chain(handed_over) {
        let answer = Known::new(answer);
        if object.resolution.as_ref() != Some(&answer) {
            deeds.push(Deed::Answer(answer));
        }
    }
    deeds
}

/// A person has said that somebody else's tenant is the object's.
fn is_handed_over(world: &World, object: &Object) -> bool {
    let named = |t: &Kept| object.resolution.as_deref() == Some(&Resolution::Adopt(t.id.clone()));
    world.tenants.iter().any(|t| t.owner == 0 && named(t))
}

/// Whether only a person can say what became of a create.
pub(super) fn is_asked(s: &Scenario, object: &Object) -> bool {
    let Some(open) = unanswered(object) else {
        return false;
    };
    let contradicted = open.status == RequestStatus::Unknown && !open.reason.is_empty();
    match s.mode {
        IdentityMode::None => s.on_unknown == OnUnknownOutcome::Hold || object.deleting,
        // Only what repeating the order, or a lookup, cannot tell.
        IdentityMode::IdempotencyKey => contradicted || object.status.create.is_none(),
        IdentityMode::ExternalId | IdentityMode::Lookup => contradicted,
    }
}

/// What a look at the vendor says of a create without an answer. People may look, and answer, when it
/// can still land.
fn answer(world: &World, s: &Scenario, object: &Object) -> Option<Resolution> {
    let asked = unanswered(object)?;
    if object.status.tenant_id.is_some() {
        return None;
    }
    // What an object of this name left behind is another's in mode None.
    let mut made = world
        .live()
        .filter(|t| s.mode != IdentityMode::None || t.owner == object.uid);
    Some(made.next().map_or_else(
        || Resolution::None(asked.id.clone()),
        |tenant| Resolution::Adopt(tenant.id.clone()),
    ))
}

fn unanswered(object: &Object) -> Option<&Request> {
    object.status.request.as_ref().filter(|r| {
        r.type_ == RequestType::Purchase
            && matches!(r.status, RequestStatus::Unknown | RequestStatus::Pending)
    })
}

/// Whether a person has said too early that a create made nothing, and it has since. Who answers is told
/// from when on that counts, and looks again then.
pub(super) fn is_overtaken(world: &World, s: &Scenario, object: &Object) -> bool {
    let asked = unanswered(object).filter(|_| is_asked(s, object));
    asked.is_some_and(|asked| {
        let none = Resolution::None(asked.id.clone());
        asked.settled_at.is_none()
            && object.resolution.as_deref() == Some(&none)
            && answer(world, s, object).is_some_and(|answer| answer != none)
    })
}

pub(super) fn perform(world: &mut World, s: &Scenario, deed: Deed) -> Option<()> {
    if deed == Deed::CreateAgain {
        world.incarnations += 1;
        world.object = Some(Object::new(world.incarnations));
        sweep::revived(world, s);
        return Some(());
    }
    let object = world.object.as_mut()?;
    let old = object.clone();
    match deed {
        Deed::Edit => object.generation += 1,
        Deed::Delete => {
            object.deleting = true;
            world.grace = s.grace;
            // Without a fault, nothing was sent for what has no finalizer.
            // A rebuilt object knows of nothing until its first create is answered.
            let knows = object.status.tenant_id.is_some();
            let faulty = world.left.faults < s.left.faults;
            let bare = !object.finalized || (object.uid > RESTORED && !knows);
            world.excused |= faulty && bare;
        }
        Deed::Retain => {
            object.generation += 1;
            object.retains = true;
        }
        Deed::Answer(answer) => object.resolution = Some(answer),
        Deed::CreateAgain => {}
    }
    settle_version(world, None, &old);
    Some(())
}

/// Restored objects count from here.
const RESTORED: u8 = 100;

/// What may happen to the cluster now.
pub(super) fn faults(world: &World, s: &Scenario, faults: &mut Vec<Fault>) {
    let Some(object) = &world.object else {
        return;
    };
    if world.left.freezes > 0 {
        faults.push(Fault::Freeze);
    }
    if world.left.faults == 0 {
        return;
    }
    if *object.status != Ledger::default() {
        faults.push(Fault::LoseStatus);
    }
    if object.deleting {
        return;
    }
    // In this mode the annotation is all there is of a first intent: who replaces the object before
    // its answer is recorded takes that away. The next create finds the tenant; a delete that comes
    // before one does not.
    let recorded = object.status.request.as_ref().is_some_and(|r| {
        let open = |i: &Known<Intent>| i.id != r.id || i.attempt > r.attempts;
        !object.intent.as_ref().is_some_and(open)
    }) && !world.creating();
    if object.finalized && (s.mode != IdentityMode::ExternalId || recorded) {
        faults.push(Fault::Replace);
    }
    // A rebuilt cluster begins when everything sent by the old one has long landed. In mode None
    // the docs say that it buys again.
    if s.mode != IdentityMode::None && !world.creating() {
        faults.push(Fault::Restore { annotations: false });
        if object.intent.is_some() {
            faults.push(Fault::Restore { annotations: true });
        }
    }
}

pub(super) fn befall(world: &mut World, fault: Fault) -> Option<()> {
    if fault == Fault::Freeze {
        world.left.freezes -= 1;
        world.cached = Some(world.object.clone()?);
        for controller in &mut world.controllers {
            controller.ahead = false;
        }
        return Some(());
    }
    world.left.faults -= 1;
    let object = world.object.as_mut()?;
    let old = object.clone();
    match fault {
        Fault::Freeze => {}
        Fault::LoseStatus => object.status = Known::new(Ledger::default()),
        Fault::Replace => {
            object.finalized = false;
            object.intent = None;
            object.resolution = None;
        }
        Fault::Restore { annotations } => {
            let uid = RESTORED + world.incarnations;
            *object = Object {
                intent: object.intent.clone().filter(|_| annotations),
                ..Object::new(uid)
            };
        }
    }
    settle_version(world, None, &old);
    Some(())
}
