//! Plans without a device: golden texts, and the properties of every plan that `lower` returns.

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

use gatewave::inspect::kernel::{Kernel, Loads, Mask, Medium, Tile};
use gatewave::inspect::layout::Layout;
use gatewave::inspect::plan::check::{Violation, check, covers};
use gatewave::inspect::plan::lower::lower;
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Limits, Plan, Shape, SlotKind};
use gatewave::layer::{Cell, Direction, Dropout, Functions, Join, Merge, Padding, Recurrent, Reset};
use gatewave::{
    Activation, Embedding, Error, ErrorKind, Gru, Linear, Lstm, Model, OneHot, Precision, Rnn, Select, Strategy,
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
    let layout = Layout::of(model, Precision::F32).expect("the model is right").with_medium(tuning.medium());
    lower(model, &layout, Shape::new(time, batch, mask), limits, &tuning)
}

/// The choices for `target`, with this strategy.
fn fixed_to(strategy: Strategy, target: Target) -> Tuning {
    Tuning::of(target).with_strategy(Some(strategy))
}

fn plan(model: &Model, shape: (usize, usize, Mask)) -> Plan {
    plan_on(model, shape, &Limits::WEBGPU, fixed_to(Strategy::Step, Target::Software)).expect("the plan fits")
}

/// Compares with `tests/golden/plans/NAME.txt`.
fn assert_golden(name: &str, plan: &Plan) {
    assert_file(&format!("tests/golden/plans/{name}.txt"), &plan.to_string());
}

fn steps(plan: &Plan, kernel: Kernel) -> usize {
    plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == kernel).count()
}
