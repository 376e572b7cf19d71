//! A fixed spread of the crash matrix; `cargo proof matrix --thorough` runs every cell.

use proof::{Size, matrix};

#[test]
fn every_cell_of_the_sample_ends_as_promised() {
    let tally = matrix::run(Size::Sample, None);
    assert_eq!(tally.failed, 0, "{tally:?}");
    // Also where calls go by the board, the sample is about as large as it is meant to be.
    assert!(tally.passed > 40, "{tally:?}");
}
