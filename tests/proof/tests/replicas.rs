//! A sample of `cargo proof replicas --thorough`, one test a case.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fulfillment_crds::IdentityMode;
use proof::{Size, replicas::Case};

fn sample(case: Case) {
    sample_in(IdentityMode::ExternalId, case);
}

fn sample_in(mode: IdentityMode, case: Case) {
    let reach = case.reach(Size::Sample).unwrap();
    case.run(mode, reach);
}

#[test]
fn two_that_act_make_one_tenant() {
    sample(Case::BothAct);
}

#[test]
fn a_leader_that_is_killed_is_succeeded() {
    sample(Case::Killed);
}

#[test]
fn where_nothing_tells_what_became_of_a_create_a_person_does() {
    sample_in(IdentityMode::None, Case::Killed);
}

#[test]
fn a_leader_that_was_paused_does_nothing_when_it_goes_on() {
    sample(Case::Paused);
}

#[test]
fn a_leader_that_is_cut_off_gives_up_before_another_takes_over() {
    sample(Case::CutOff);
}

#[test]
fn a_rollout_hands_the_lease_on() {
    sample(Case::RolledOut);
}
