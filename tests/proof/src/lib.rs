//! The proof that there is never a second tenant and never a lost one. Each part is run whole by
//! `cargo proof`, and in a size that fits CI by `cargo test`.

pub mod matrix;
pub mod model;
pub mod replicas;

/// What a part of the proof came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that ended as promised.
    pub passed: usize,
    /// Cases that did not.
    pub failed: usize,
}

impl Tally {
    /// Counts one case.
    pub fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// What fits CI.
    Sample,
    /// Everything.
    Thorough,
}
