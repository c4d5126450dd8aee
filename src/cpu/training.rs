//! The kernels of training. Each is in a file of its own; what some share is in `back` and `curves`.

mod back;
mod cell_back;
mod curves;

use pulp::Arch;

use super::buffers::Bound;
use crate::kernel::{Params, Training};

/// How long one thread takes for a dispatch.
pub(super) fn ns(training: Training, params: &Params, sides: usize) -> usize {
    match training {
        Training::CellBack(_) => back::ns(params, training.gates(), sides),
        Training::ResetRows(_)
        | Training::NewBack(..)
        | Training::ResetBack(_)
        | Training::StateBack(_)
        | Training::Outer(_)
        | Training::PeepholeBack { .. }
        | Training::Transpose { .. }
        | Training::ActivateBack(_)
        | Training::SoftmaxBack { .. }
        | Training::MaximumBack
        | Training::SumSteps { .. }
        | Training::Scatter { .. }
        | Training::Zero
        | Training::Loss(_) => 0,
    }
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, training: Training) {
    match training {
        Training::CellBack(cell) => cell_back::cell_back(arch, bound, cell),
        Training::ResetRows(_)
        | Training::NewBack(..)
        | Training::ResetBack(_)
        | Training::StateBack(_)
        | Training::Outer(_)
        | Training::PeepholeBack { .. }
        | Training::Transpose { .. }
        | Training::ActivateBack(_)
        | Training::SoftmaxBack { .. }
        | Training::MaximumBack
        | Training::SumSteps { .. }
        | Training::Scatter { .. }
        | Training::Zero
        | Training::Loss(_) => unimplemented!(),
    }
}
