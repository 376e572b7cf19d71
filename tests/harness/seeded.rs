//! Chance that is the same in each run.

use std::{thread, time::Duration};

/// Numbers that look random and are the same each time (splitmix64).
#[derive(Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    /// A number below that.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Lets a while pass, at most that many milliseconds: it is the moment that is tried, and
    /// nothing is waited for.
    pub fn pass(&mut self, within: u64) {
        thread::sleep(Duration::from_millis(self.below(within)));
    }
}
