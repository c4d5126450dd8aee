//! Everything that only an adapter can show: results, slot by slot and as a whole, functions and variants, large sizes,
//! long runs, threads, streams, draws, NaN, a lost device.
//!
//! `GATEWAVE_ADAPTER` names the adapter by a part of its name, and it must be there: `scripts/test.sh` installs two
//! software adapters and runs this on both.

mod support;

#[cfg(all(feature = "keras", feature = "onnx"))]
#[path = "gpu/formats.rs"]
mod formats;
#[path = "gpu/functions.rs"]
mod functions;
#[path = "gpu/generate.rs"]
mod generate;
#[path = "gpu/nan.rs"]
mod nan;
#[path = "gpu/persistent.rs"]
mod persistent;
#[path = "gpu/runs.rs"]
mod runs;
#[path = "gpu/sides.rs"]
mod sides;
#[path = "gpu/sizes.rs"]
mod sizes;
#[path = "gpu/slots.rs"]
mod slots;
#[path = "gpu/streams.rs"]
mod streams;
#[path = "gpu/training.rs"]
mod training;
#[path = "gpu/variants.rs"]
mod variants;

use gatewave::plan::tune::Target;
use gatewave::{Options, Strategy};
use support::devices::adapter;
use support::executor;

#[test]
fn every_case_of_the_table_gives_the_truth() {
    executor::table(&adapter(), 1, &[Options::default()]);
}

/// On a software adapter the tiles of a GPU, with its slices of the depth, and its matrices in buffers would otherwise
/// never run. Each shape compiles kernels of its own, which takes long: each fifth case does.
#[test]
fn each_fifth_case_of_the_table_gives_the_truth_with_the_tiles_of_a_gpu() {
    let by = |strategy| Options { target: Some(Target::Gpu), ..Options::default().strategy(strategy) };
    executor::table(&adapter(), 5, &[Strategy::Diagonal, Strategy::Scan].map(by));
}

#[test]
fn a_planted_bug_overshoots_the_tolerance_tenfold() {
    executor::planted_bugs(&adapter());
}

#[test]
fn every_fixture_gives_what_pytorch_gives() {
    executor::fixtures_of_pytorch(&adapter());
}

#[test]
fn shakespeares_logits_and_states_are_pytorchs() {
    executor::shakespeare(&adapter());
}
