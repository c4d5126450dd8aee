//! Plans without a device: golden texts, and what must hold for every plan that `lower` returns.

#[path = "plans/directions.rs"]
mod directions;
#[path = "plans/drawing.rs"]
mod drawing;
#[path = "plans/golden.rs"]
mod golden;
#[path = "plans/integers.rs"]
mod integers;
#[path = "plans/limits.rs"]
mod limits;
#[path = "plans/persistent.rs"]
mod persistent;
mod support;
#[path = "plans/textures.rs"]
mod textures;
#[path = "plans/training.rs"]
mod training;
#[path = "plans/walks.rs"]
mod walks;

use std::collections::{BTreeMap, BTreeSet};

use gatewave::kernel::{Kernel, Loads, Mask, Medium, Storage, Tile};
use gatewave::layout::Layout;
use gatewave::plan::check::{Violation, check, covers};
use gatewave::plan::lower::lower;
use gatewave::plan::tune::{Target, Tuning};
use gatewave::plan::{Limits, Plan, Shape, SlotKind};
use gatewave::{
    Activation, Cell, Direction, Dropout, Embedding, Error, ErrorKind, Functions, Gru, Join, Linear, Lstm, Merge,
    Model, OneHot, Padding, Recurrent, Reset, Rnn, Select, Strategy,
};
use support::golden::assert_file;
use support::plans::Outcomes;

fn plan_on(
    model: &Model,
    (time, batch, mask): (usize, usize, Mask),
    limits: &Limits,
    tuning: impl Into<Tuning>,
) -> Result<Plan, Error> {
    let tuning = tuning.into();
    let layout = Layout::of(model, Storage::F32).expect("the model is right").with_medium(tuning.medium());
    lower(model, &layout, Shape::new(time, batch, mask), limits, &tuning)
}

/// The choices for `target` but for the strategy.
fn held_to(strategy: Strategy, target: Target) -> Tuning {
    Tuning::of(target).with_strategy(Some(strategy))
}

fn plan(model: &Model, shape: (usize, usize, Mask)) -> Plan {
    plan_on(model, shape, &Limits::WEBGPU, held_to(Strategy::Step, Target::Software)).expect("the plan fits")
}

/// Compares with `tests/golden/plans/NAME.txt`.
fn assert_golden(name: &str, plan: &Plan) {
    assert_file(&format!("tests/golden/plans/{name}.txt"), &plan.to_string());
}

fn steps(plan: &Plan, kernel: Kernel) -> usize {
    plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == kernel).count()
}
