//! The CPU executor against the oracle, PyTorch and a trained model.

mod support;

use gatewave::Device;
use support::executor;

#[test]
fn every_case_of_the_table_gives_the_truth() {
    executor::table(&Device::Cpu, None);
}

#[test]
fn a_planted_bug_overshoots_the_tolerance_tenfold() {
    executor::planted_bugs(&Device::Cpu);
}

#[test]
fn every_fixture_gives_what_pytorch_gives() {
    executor::fixtures_of_pytorch(&Device::Cpu);
}

#[test]
fn shakespeares_logits_and_states_are_pytorchs() {
    executor::shakespeare(&Device::Cpu);
}
