//! From every state a good end can be reached (AG EF). stateright's own `eventually` does not see
//! cycles, so what it explores is kept as a graph, and searched backwards from the good ends.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::world::World;

type Print = u64;

/// Stands for a state.
pub(super) fn print(world: &World) -> Print {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// What led where.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Whence each state was reached first; the beginnings from nowhere.
    first: HashMap<Print, Option<Print>>,
    good: Vec<Print>,
    /// From, to: the steps that may be counted on.
    steps: Vec<(Print, Print)>,
    /// All steps, those that may not be counted on too.
    pub(super) transitions: usize,
    /// How many states are enough.
    most: Option<usize>,
    /// There were more.
    pub(super) cut: bool,
}

impl Graph {
    pub(super) fn of_at_most(most: Option<usize>) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Whether the world is explored any further.
    pub(super) fn goes_on(&mut self) -> bool {
        let full = self.most.is_some_and(|most| self.first.len() >= most);
        self.cut |= full;
        !full
    }

    /// The exploration is over: whoever follows a way through it is not stopped.
    pub(super) fn is_over(&mut self) {
        self.most = None;
    }

    pub(super) fn begin(&mut self, world: &World, good: bool) {
        self.note(print(world), None, good);
    }

    pub(super) fn step(&mut self, from: &World, to: &World, leads_on: bool, good: bool) {
        let (from, to) = (print(from), print(to));
        self.note(to, Some(from), good);
        self.transitions += 1;
        if leads_on && from != to {
            self.steps.push((from, to));
        }
    }

    fn note(&mut self, print: Print, from: Option<Print>, good: bool) {
        if let Entry::Vacant(place) = self.first.entry(print) {
            place.insert(from);
            if good {
                self.good.push(print);
            }
        }
    }

    /// How many states are good ends.
    pub(super) fn ends(&self) -> usize {
        self.good.len()
    }

    /// The states from which no good end can be reached.
    pub(super) fn stuck(&mut self) -> Vec<Print> {
        self.steps.sort_unstable_by_key(|(_, to)| *to);
        self.steps.dedup();
        let mut reached: HashSet<Print> = self.good.iter().copied().collect();
        let mut open = self.good.clone();
        while let Some(at) = open.pop() {
            let begin = self.steps.partition_point(|(_, to)| *to < at);
            let into = self.steps.iter().skip(begin);
            for (from, _) in into.take_while(|(_, to)| *to == at) {
                if reached.insert(*from) {
                    open.push(*from);
                }
            }
        }
        let all = self.first.keys().copied();
        all.filter(|print| !reached.contains(print)).collect()
    }

    /// The shortest of the ways to these states, as the states on it.
    pub(super) fn way(&self, to: &[Print]) -> Vec<Print> {
        let ways = to.iter().map(|print| {
            let mut way = vec![*print];
            let mut at = *print;
            while let Some(Some(from)) = self.first.get(&at) {
                way.push(*from);
                at = *from;
            }
            way.reverse();
            way
        });
        ways.min_by_key(Vec::len).unwrap_or_default()
    }
}
