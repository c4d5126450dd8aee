//! The kernels of training.

use pulp::Arch;

use super::buffers::Bound;
use crate::kernel::{Params, Training};

/// How long one thread takes for a dispatch.
pub(super) fn ns(_training: Training, _params: &Params, _sides: usize) -> usize {
    0
}

/// Runs a dispatch.
pub(super) fn run(_arch: Arch, _bound: &mut Bound<'_>, _training: Training) {
    unimplemented!()
}
