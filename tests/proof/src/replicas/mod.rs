//! Two active replicas, leader kills, paused processes, partitions.

use crate::{Size, Tally};

/// Runs this part.
pub fn run(_size: Size) -> Tally {
    Tally::default()
}
