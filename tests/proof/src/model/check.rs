//! The model as stateright explores it.

use std::sync::{Arc, Mutex, PoisonError};

use fulfillment_operator::{plan::Step, status::Weight, vendor::Effect};
use stateright::{Model, Property};

use super::{
    action::Action,
    controller::{self, Outcome, View},
    graph::Graph,
    promise::{at_most_one, good, left_behind, of_one},
    scenario::Scenario,
    store, sweep, user, vendor,
    world::{Broken, Controller, Kept, Pass, Phase, TenantState, World},
};

/// How many creates may be on their way at once.
const POSTS: usize = 2;

/// What is explored.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) scenario: Scenario,
    /// What led where, for the search backwards from the good ends.
    pub(super) graph: Option<Arc<Mutex<Graph>>>,
}

impl Model for Check {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let worlds = self.scenario.beginnings();
        if let Some(graph) = &self.graph {
            let mut graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
            for world in &worlds {
                graph.begin(world, good(&self.scenario, world));
            }
        }
        worlds
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        if let Some(graph) = &self.graph {
            let mut graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
            if !graph.goes_on() {
                return;
            }
        }
        let s = &self.scenario;
        let turned = s.rival.then(|| world.clone().turned());
        for by in 0..s.controllers {
            let seen = turned.as_ref().filter(|_| by == 1).unwrap_or(world);
            self.of_controller(seen, by, actions);
        }
        for (nth, post) in world.posts.iter().enumerate() {
            actions.push(Action::Land(nth, false));
            if world.left.duplicates > 0 {
                actions.push(Action::Land(nth, true));
            }
            if post.awaited_by.is_none() {
                actions.push(Action::Lose(nth));
            }
        }
        for nth in 0..world.calls.len() {
            actions.push(Action::LandCall(nth));
            actions.push(Action::LoseCall(nth));
        }
        of_vendor(world, actions);
        if sweep::due(world, &self.scenario) {
            actions.push(Action::Sweep);
        }
        actions.extend(user::deeds(world, s).into_iter().map(Action::Deed));
        if let Some(turned) = turned.filter(|turned| turned.object.is_some()) {
            actions.extend(user::deeds(&turned, s).into_iter().map(Action::Rival));
        }
        let mut faults = Vec::new();
        user::faults(world, &self.scenario, &mut faults);
        actions.extend(faults.into_iter().map(Action::Fault));
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let leads_on = action.leads_on();
        let mut world = last.clone();
        if self.scenario.rival && action.is_rivals() {
            world = world.turned();
            self.apply(&mut world, action)?;
            world = world.turned();
        } else {
            self.apply(&mut world, action)?;
        }
        let world = world.canonical(&self.scenario);
        if let Some(graph) = &self.graph {
            let good = good(&self.scenario, &world);
            graph
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .step(last, &world, leads_on, good);
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two tenants", |check, world| {
                at_most_one(&check.scenario, world)
            }),
            Property::always("no tenant of two Subscriptions", |_, world: &World| {
                of_one(world)
            }),
            Property::always("never a lost tenant", |check, world| {
                !left_behind(&check.scenario, world)
            }),
            Property::always("only what is ours is touched", |_, world: &World| {
                world.broken != Some(Broken::Foreign)
            }),
            Property::always("no create without its own intent", |_, world: &World| {
                world.broken != Some(Broken::Uncovered)
            }),
            Property::always("no answer is dropped", |_, world: &World| {
                world.broken != Some(Broken::Dropped)
            }),
            Property::always("no create where none is wanted", |_, world: &World| {
                world.broken != Some(Broken::Unwanted)
            }),
            Property::always("no delete within the grace period", |_, world: &World| {
                world.broken != Some(Broken::Early)
            }),
            Property::always("a terminal result stays", |_, world: &World| {
                world.broken != Some(Broken::Regressed)
            }),
        ]
    }
}

/// What happens at the vendor, and with time.
fn of_vendor(world: &World, actions: &mut Vec<Action>) {
    for (nth, tenant) in world.tenants.iter().enumerate() {
        if tenant.pending || tenant.state == TenantState::Leaving {
            actions.push(Action::Decide(nth, true));
            if tenant.state == TenantState::Provisioning && world.left.refusals > 0 {
                actions.push(Action::Decide(nth, false));
            }
        }
        let stands = matches!(tenant.state, TenantState::Active | TenantState::Suspended);
        if stands && tenant.owner != 0 && world.left.vanishings > 0 {
            actions.push(Action::Vanish(nth));
        }
    }
    if world.grace {
        // Nobody looks after one that was let go, where its object's successor cannot find it.
        let kept = |t: &Kept| world.retained.contains(&t.owner);
        let runs = |t: &Kept| matches!(t.state, TenantState::Provisioning | TenantState::Active);
        actions.push(Action::GraceEnds(
            !world.live().any(|t| runs(t) && !kept(t)),
        ));
    }
}

impl Check {
    fn of_controller(&self, world: &World, by: usize, actions: &mut Vec<Action>) {
        let Some(me) = world.controllers.get(by) else {
            return;
        };
        let Some(pass) = &me.pass else {
            for cached in [false, true] {
                if cached && (me.ahead || world.cached == world.object) {
                    continue;
                }
                let (corrects, waits) = controller::questions(world, &self.scenario, cached);
                for due in [false, true] {
                    for settled in [false, true] {
                        if (due || corrects) && (!settled || waits) {
                            actions.push(Action::Observe(
                                by,
                                View {
                                    cached,
                                    due,
                                    settled,
                                },
                            ));
                        }
                    }
                }
            }
            if me.sight.is_some() || me.ahead {
                actions.push(Action::Crash(by));
            }
            return;
        };
        let silent = controller::is_in_doubt(&self.scenario, pass);
        let may_end = !silent || world.left.silences > 0;
        if may_end {
            actions.push(Action::Crash(by));
        }
        match &pass.phase {
            Phase::Recording { weight, .. } => {
                actions.push(Action::Write(by, true));
                if **weight != Weight::View {
                    actions.push(Action::Write(by, false));
                }
            }
            Phase::Waiting(answer) => {
                if may_end {
                    actions.push(Action::GiveUp(by));
                }
                match answer {
                    Some(_) => actions.push(Action::Hear(by)),
                    None if world.left.refusals > 0 => actions.push(Action::Refused(by)),
                    None => {}
                }
            }
            Phase::Acting => match &*pass.step {
                Step::Claim(_) | Step::Finalize | Step::Intend(_) | Step::Bury | Step::Release => {
                    // Not to hear of it is to die right after it.
                    actions.push(Action::Write(by, true));
                }
                Step::Create(_) => {
                    actions.push(Action::TooLate(by));
                    if world.posts.len() < POSTS {
                        actions.push(Action::Send(by));
                    }
                }
                Step::Read
                | Step::Look(_)
                | Step::Discard(_)
                | Step::Adopt(_)
                | Step::Change
                | Step::Suspend
                | Step::Resume
                | Step::Delete => {
                    actions.push(Action::Call(by, Outcome::Answered));
                    if world.left.calls > 0 {
                        actions.push(Action::Call(by, Outcome::AnswerLost));
                        actions.push(Action::Call(by, Outcome::NotSent));
                        if vendor::verb(&pass.facts, &pass.step).is_some() {
                            actions.push(Action::Call(by, Outcome::Late));
                            actions.push(Action::Call(by, Outcome::Twice));
                        }
                    }
                }
                Step::Rest(_) => {}
            },
        }
    }

    /// `None` where it cannot happen.
    fn apply(&self, world: &mut World, action: Action) -> Option<()> {
        let s = &self.scenario;
        match action {
            Action::Observe(by, view) => controller::observe(world, s, by, view)?,
            Action::Write(by, answered) => {
                let pass = pass(world, by)?;
                store::write(world, s, by, pass, answered);
            }
            Action::Send(by) => {
                let pass = pass(world, by)?;
                if let Step::Create(intent) = &*pass.step.clone() {
                    controller::send(world, s, by, pass, intent);
                }
            }
            Action::TooLate(by) => {
                let heard = Err(vendor::failure(Effect::None));
                let pass = pass(world, by)?;
                controller::created(world, s, by, pass, heard);
            }
            Action::Hear(by) => {
                let pass = pass(world, by)?;
                if let Phase::Waiting(Some(answer)) = &pass.phase {
                    let heard = (**answer).clone();
                    controller::created(world, s, by, pass, heard);
                }
            }
            Action::GiveUp(by) => {
                let heard = Err(vendor::failure(Effect::Unknown));
                let pass = pass(world, by)?;
                world.left.silences -= u8::from(controller::is_in_doubt(s, &pass));
                controller::created(world, s, by, pass, heard);
            }
            Action::Refused(by) => {
                world.left.refusals -= 1;
                world.posts.retain(|post| post.awaited_by != Some(by));
                let pass = pass(world, by)?;
                controller::created(world, s, by, pass, Err(vendor::refusal()));
            }
            Action::Call(by, outcome) => {
                let pass = pass(world, by)?;
                controller::call(world, s, by, pass, outcome);
            }
            Action::Crash(by) => {
                let doubts = pass(world, by).is_some_and(|p| controller::is_in_doubt(s, &p));
                world.left.silences -= u8::from(doubts);
                for post in &mut world.posts {
                    if post.awaited_by == Some(by) {
                        post.awaited_by = None;
                    }
                }
                world.forget(by);
                *world.controllers.get_mut(by)? = Controller::default();
            }
            Action::Land(nth, again) => land(world, s, nth, again)?,
            Action::Lose(nth) => {
                world.posts.remove(nth);
            }
            Action::LandCall(nth) => {
                let call = world.calls.remove(nth);
                // Nobody listens any more.
                let _ = vendor::carry_out(world, s, &call.tenant, call.verb);
            }
            Action::LoseCall(nth) => {
                world.calls.remove(nth);
            }
            Action::Decide(nth, approve) => {
                world.left.refusals -= u8::from(!approve);
                vendor::decide(world, s, nth, approve);
            }
            Action::Sweep => sweep::sweep(world, s),
            Action::Vanish(nth) => vendor::vanish(world, s, nth),
            Action::GraceEnds(_) => world.grace = false,
            Action::Deed(deed) | Action::Rival(deed) => user::perform(world, s, deed)?,
            Action::Fault(fault) => user::befall(world, fault)?,
        }
        Some(())
    }
}

fn pass(world: &World, by: usize) -> Option<Pass> {
    world.controllers.get(by)?.pass.clone()
}

fn land(world: &mut World, s: &Scenario, nth: usize, again: bool) -> Option<()> {
    let mut post = world.posts.get(nth)?.clone();
    world.posts.remove(nth);
    let heard = vendor::create(world, s, &post);
    let sender = post.awaited_by.take();
    if let Some(pass) = sender
        .and_then(|by| world.controllers.get_mut(by))
        .and_then(|me| me.pass.as_mut())
    {
        pass.phase = Phase::Waiting(Some(super::known::Known::new(heard)));
    }
    if again {
        // Who repeats a request on its way does so before it answers.
        world.left.duplicates -= 1;
        let _ = vendor::create(world, s, &post);
    }
    Some(())
}
