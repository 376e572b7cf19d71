//! A fixed spread of the crash matrix; `cargo proof matrix --thorough` runs every cell.

use proof::{Size, matrix};

#[test]
fn every_cell_of_the_sample_ends_as_promised() {
    let tally = matrix::run(Size::Sample, None);
    assert_eq!(tally.failed, 0, "{tally:?}");
    // The calm runs and the control are 48: of the cells, most must have had their call.
    assert!(tally.passed > 68, "{tally:?}");
}

/// The operator once took its own record for another's, and slept until the next drift read.
#[test]
fn a_pending_delete_that_was_recorded_without_an_answer_goes_on() {
    let cell = "IdempotencyKey in operation, delete: cluster PUT subscription/status #1: lose";
    let tally = matrix::run(Size::Sample, Some(cell));
    assert_eq!(tally.failed, 0, "{tally:?}");
    // The calm run and the control; on a slow machine there is nothing pending to record.
    assert!(tally.passed >= 2, "{tally:?}");
}
