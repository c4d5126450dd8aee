//! The kernels of training, except those of steps back. Each
//! has its own file, and `back` and `curves` have shared parts.

mod activate_back;
mod back;
mod cell_back;
pub(super) mod cells;
pub(super) mod curves;
mod drop;
mod halves;
mod loss;
mod outer;
mod peephole_back;
mod rows_back;
mod spread;
mod sums;
mod to_texture;
mod transpose;
mod update;
mod zero;

use pulp::Arch;

use super::buffers::Bound;
use super::{normalize, rows};
use crate::kernel::{Params, Training};

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(training: Training, params: &Params, sides: usize) -> usize {
    match training {
        Training::CellBack(_) | Training::NewBack(..) | Training::ResetBack(_) | Training::StateBack(_) => {
            back::ns(params, training.gates(), sides)
        }
        Training::StepBack(_) => unreachable!("a step back is a stage of steps"),
        Training::ScanBack(_) => unreachable!("a scan back is steps back"),
        Training::ResetRows(_) | Training::ActivateBack(_) => rows::ns(params, sides),
        Training::PeepholeBack { .. } => peephole_back::ns(params),
        Training::Outer(_) => outer::ns(params),
        Training::Transpose { gates, .. } => transpose::ns(params, gates),
        Training::SoftmaxBack { .. } | Training::MaximumBack => rows_back::ns(params),
        Training::NormalizeBack(_) => normalize::back_ns(params),
        Training::SumSteps { .. } => sums::steps_ns(params),
        Training::Scatter { .. } => sums::scatter_ns(params),
        Training::Drop => drop::ns(params),
        Training::Spread { gates } | Training::SpreadBack { gates, .. } => spread::ns(params, gates, sides),
        Training::Zero => zero::ns(params),
        Training::ToTexture => to_texture::ns(params),
        Training::Loss(loss) => loss::ns(params, loss),
        Training::Squares => update::ns(params, 2),
        Training::Update(rule) => update::ns(params, 2 + rule.moments().len()),
        // These run on one thread, however long they take.
        Training::Tie { .. } | Training::Total { .. } => 0,
    }
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, training: Training) {
    match training {
        Training::StepBack(_) => unreachable!("a step back is a stage of steps"),
        Training::ScanBack(_) => unreachable!("a scan back is steps back"),
        Training::CellBack(cell) => cell_back::cell_back(arch, bound, cell),
        Training::Outer(outer) => outer::run(arch, bound, outer),
        Training::Transpose { gates, after, per_gate } => transpose::run(bound, (gates, after), per_gate),
        Training::SoftmaxBack { log } => rows_back::softmax(arch, bound, log),
        Training::MaximumBack => rows_back::maximum(bound),
        Training::NormalizeBack(norm) => normalize::back(arch, bound, norm),
        Training::SumSteps { first } => sums::steps(arch, bound, first),
        Training::Scatter { first } => sums::scatter(arch, bound, first),
        Training::Drop => drop::run(arch, bound),
        Training::Spread { gates } => spread::forward(arch, bound, gates),
        Training::SpreadBack { gates, first } => spread::back(arch, bound, (gates, first)),
        Training::Zero => zero::run(bound),
        Training::ToTexture => to_texture::run(bound),
        Training::Loss(loss) => loss::run(arch, bound, loss),
        Training::Tie { first } => update::tie(bound, first),
        Training::Squares => update::squares(arch, bound),
        Training::Total { first } => update::total(bound, first),
        Training::Update(rule) => update::update(arch, bound, rule),
        Training::ResetRows(variant) => halves::reset_rows(arch, bound, variant),
        Training::NewBack(variant, _) => halves::new_back(arch, bound, variant),
        Training::ResetBack(variant) => halves::reset_back(arch, bound, variant),
        Training::StateBack(_) => halves::state_back(arch, bound),
        Training::PeepholeBack { first } => peephole_back::peephole_back(arch, bound, first),
        Training::ActivateBack(f) => activate_back::activate_back(arch, bound, f),
    }
}
