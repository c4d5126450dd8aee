//! Everything that needs an adapter: results, slot by slot and as a whole; functions
//! and variants, large sizes, long runs, threads, streams, draws, NaN, a lost device.
//!
//! `GATEWAVE_ADAPTER` is a part of the adapter's name, and the adapter must be
//! there. `scripts/test.sh` installs two software adapters and runs this on both.

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

use gatewave::inspect::plan::tune::Target;
use gatewave::{Engine, Strategy};
use support::devices::adapter;
use support::executor;

#[test]
fn every_case_of_the_table_gives_the_truth() {
    executor::table(&adapter(), 1, &[Engine::builder()]);
}

/// A software adapter would by itself never run a GPU's tiles, with slices of the depth, or matrices
/// in buffers. Each shape compiles its own kernels, which takes long. So only each seventh case runs, half of whose
/// kernels are compiled for its slots too.
#[test]
fn each_seventh_case_of_the_table_gives_the_truth_with_the_tiles_of_a_gpu() {
    let by = |strategy| Engine::builder().strategy(strategy).target(Target::Gpu);
    executor::table(&adapter(), 7, &[Strategy::Wavefront, Strategy::Scan].map(by));
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
