//! The kernels of training. Each is in a file of its own; what some share is in `back` and `curves`.

mod back;
mod cell_back;
mod curves;

mod loss;
mod outer;
mod transpose;
mod zero;

use pulp::Arch;

use super::buffers::Bound;
use crate::kernel::{Params, Training};

/// How long one thread takes for a dispatch.
pub(super) fn ns(training: Training, params: &Params, sides: usize) -> usize {
    match training {
        Training::CellBack(_) => back::ns(params, training.gates(), sides),
        Training::Outer(_) => outer::ns(params),
        Training::Transpose { gates, .. } => transpose::ns(params, gates),
        Training::Zero => zero::ns(params),
        Training::Loss(loss) => loss::ns(params, loss),
        Training::SoftmaxBack { .. } | Training::MaximumBack | Training::SumSteps { .. } | Training::Scatter { .. } => {
            0
        }
        Training::ResetRows(_)
        | Training::NewBack(..)
        | Training::ResetBack(_)
        | Training::StateBack(_)
        | Training::PeepholeBack { .. }
        | Training::ActivateBack(_) => 0,
    }
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, training: Training) {
    match training {
        Training::CellBack(cell) => cell_back::cell_back(arch, bound, cell),
        Training::Outer(outer) => outer::run(arch, bound, outer),
        Training::Transpose { gates, after } => transpose::run(bound, gates, after),
        Training::Zero => zero::run(bound),
        Training::Loss(loss) => loss::run(arch, bound, loss),
        Training::SoftmaxBack { .. } | Training::MaximumBack | Training::SumSteps { .. } | Training::Scatter { .. } => {
            unimplemented!()
        }
        Training::ResetRows(_)
        | Training::NewBack(..)
        | Training::ResetBack(_)
        | Training::StateBack(_)
        | Training::PeepholeBack { .. }
        | Training::ActivateBack(_) => unimplemented!(),
    }
}
