//! Explores one world whole, or until it breaks a promise.

use std::sync::{Arc, Mutex, PoisonError};

use stateright::{Checker, HasDiscoveries, Model};

use super::{
    action::Action,
    check::Check,
    graph::{Graph, print},
    scenario::Scenario,
};

/// Both cores of a small machine.
const THREADS: usize = 2;

/// What an exploration found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) states: usize,
    /// There are more, which were not looked at.
    pub(super) bounded: bool,
    pub(super) transitions: usize,
    pub(super) depth: usize,
    /// How many states are good ends.
    pub(super) ends: usize,
    /// The broken promise, and the way there.
    pub(super) against: Option<(&'static str, Vec<String>)>,
}

impl Found {
    /// In a few words.
    pub(super) fn verdict(&self) -> String {
        match &self.against {
            None if self.bounded => "every promise holds so far".into(),
            None => "every promise holds".into(),
            Some((promise, way)) => format!("\"{promise}\" is broken in {} steps", way.len()),
        }
    }
}

/// Explores a world, until it breaks a promise, is explored whole, or has shown as many states as it
/// is bounded by. Whether a good end can be reached is only known of what is explored whole.
pub(super) fn explore(scenario: Scenario) -> Found {
    let graph = Arc::new(Mutex::new(Graph::of_at_most(scenario.most)));
    let check = Check {
        scenario,
        graph: Some(Arc::clone(&graph)),
    };
    let checker = check
        .checker()
        .threads(THREADS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    graph
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_over();
    let broken = checker
        .discoveries()
        .into_iter()
        .map(|(promise, path)| (promise, words(&path.into_actions())))
        .min_by_key(|(_, way)| way.len());
    // Only now: to tell the way to a broken promise, the model is asked again.
    let mut graph = graph.lock().unwrap_or_else(PoisonError::into_inner);
    let against = broken.or_else(|| {
        if graph.cut {
            return None;
        }
        let stuck = graph.stuck();
        (!stuck.is_empty()).then(|| {
            let way = graph.way(&stuck);
            ("a good end can be reached", retrace(scenario, &way))
        })
    });
    Found {
        states: checker.unique_state_count(),
        bounded: graph.cut,
        transitions: graph.transitions,
        depth: checker.max_depth(),
        ends: graph.ends(),
        against,
    }
}

fn words(actions: &[Action]) -> Vec<String> {
    actions.iter().map(|action| format!("{action:?}")).collect()
}

/// The actions that lead from state to state.
fn retrace(scenario: Scenario, way: &[u64]) -> Vec<String> {
    let check = Check {
        scenario,
        graph: None,
    };
    let mut at = check
        .init_states()
        .into_iter()
        .find(|world| Some(&print(world)) == way.first());
    let mut said = Vec::new();
    for next in way.iter().skip(1) {
        let steps = at.iter().flat_map(|world| check.next_steps(world));
        let Some((action, world)) = steps.into_iter().find(|(_, world)| print(world) == *next)
        else {
            break;
        };
        said.push(format!("{action:?}"));
        at = Some(world);
    }
    said
}
