//! One state for all that no future can tell apart, so that the model ends.

use std::hash::{DefaultHasher, Hash, Hasher};

use fulfillment_operator::{kubernetes::Guard, plan::Step};

use super::{
    controller,
    known::Known,
    mutant::Mutant,
    names,
    scenario::Scenario,
    sweep,
    world::{Object, Older, Pass, Phase, Sight, World},
};

impl World {
    /// One of all the states that differ only in the order of things without an order.
    pub(super) fn canonical(mut self, s: &Scenario) -> Self {
        self.end_doomed(s);
        self.forget_sights();
        sweep::forget(&mut self, s);
        names::compress(&mut self);
        self.posts.sort();
        self.calls.sort();
        // Where each acts for an object of its own, they are not alike.
        if s.controllers == 1 || s.rival {
            return self;
        }
        let [first, second] = [self.key(0), self.key(1)];
        if first > second {
            self.controllers.swap(0, 1);
            for post in &mut self.posts {
                post.older.0.swap(0, 1);
                post.awaited_by = post.awaited_by.map(|by| 1 - by);
            }
            for controller in &mut self.controllers {
                if let Some(pass) = &mut controller.pass {
                    pass.older.0.swap(0, 1);
                }
            }
            self.posts.sort();
            names::compress(&mut self);
        }
        self
    }

    fn key(&self, controller: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some(known) = self.controllers.get(controller) {
            known.sight.hash(&mut hasher);
            known.ahead.hash(&mut hasher);
            if let Some(pass) = &known.pass {
                (&pass.facts, &pass.phase, pass.current, pass.covered).hash(&mut hasher);
            }
        }
        for post in &self.posts {
            (post.awaited_by == Some(controller)).hash(&mut hasher);
            post.older.than_sight_of(controller).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Ends the passes that nothing can come of any more: all that is left to them is to find out.
    fn end_doomed(&mut self, s: &Scenario) {
        if matches!(
            s.mutant,
            Some(Mutant::ClaimsBlindly | Mutant::ReportsBlindly | Mutant::RecordsByVersion)
        ) {
            return;
        }
        for (nth, controller) in self.controllers.iter_mut().enumerate() {
            let over = controller.pass.as_ref().is_some_and(|p| {
                let mut objects = self.object.iter().chain(&self.rival);
                doomed(s, objects.find(|o| o.uid == p.uid), p)
            });
            if over {
                controller.pass = None;
                for post in &mut self.posts {
                    post.awaited_by = post.awaited_by.filter(|by| *by != nth);
                }
            }
        }
    }

    /// An intent seen before matters only as long as it can be seen again.
    fn forget_sights(&mut self) {
        let lagging = self.cached.is_some();
        let armed = self.passes().filter(|p| p.is_armed());
        let older: Vec<Older> = armed.map(|p| p.older).collect();
        for (nth, controller) in self.controllers.iter_mut().enumerate() {
            controller.ahead &= lagging;
            let Some(sight) = &controller.sight else {
                continue;
            };
            let objects = self.object.iter().chain(&self.rival).chain(&self.cached);
            let seen = |o: &Object| o.uid == sight.uid && (shows(o, sight) || lost(o, sight));
            let marked = self.posts.iter().any(|p| p.older.than_sight_of(nth));
            let marked = marked || older.iter().any(|older| older.than_sight_of(nth));
            if !objects.into_iter().any(seen) {
                // What was sent before still holds up the settling.
                controller.sight = marked.then(|| {
                    Known::new(Sight {
                        uid: sight.uid,
                        id: String::new(),
                        attempt: 0,
                    })
                });
            }
        }
    }
}

/// Whether an intent can be seen in an object.
fn shows(object: &Object, sight: &Sight) -> bool {
    let request = object.status.request.as_ref();
    object
        .intent
        .as_ref()
        .is_some_and(|i| i.id == sight.id && i.attempt == sight.attempt)
        || request.is_some_and(|r| r.id == sight.id && r.attempts == sight.attempt)
}

/// The sight of a record that is lost, which is still so.
fn lost(object: &Object, sight: &Sight) -> bool {
    let status = &object.status;
    sight.id.is_empty() && status.request.is_none() && status.tenant_id.is_none()
}

/// Whether all that is left to a pass is to find out that its guard does not hold.
fn doomed(s: &Scenario, object: Option<&Object>, pass: &Pass) -> bool {
    let Some(object) = object else {
        return match &pass.phase {
            Phase::Waiting(_) | Phase::Recording { .. } => true,
            Phase::Acting => writes(&pass.step),
        };
    };
    let holds = |guard: &Guard| match guard {
        Guard::Version(_) => pass.current,
        // A request that has moved on never comes back: every record is guarded by it.
        Guard::Intent(intent, before) => {
            object.intent.as_deref() == Some(intent) && object.mark() == *before
        }
        Guard::Request(before) => object.mark().as_ref() == Some(before),
    };
    match &pass.phase {
        Phase::Acting => !pass.current && writes(&pass.step),
        Phase::Recording { guard, .. } => !holds(guard),
        Phase::Waiting(_) => {
            if let Step::Create(intent) = &*pass.step {
                !holds(&controller::create_guard(s, intent, &pass.before))
            } else {
                false
            }
        }
    }
}

/// Steps that are a compare-and-swap on the resourceVersion.
fn writes(step: &Step) -> bool {
    matches!(
        step,
        Step::Claim(_) | Step::Finalize | Step::Intend(_) | Step::Release
    )
}
