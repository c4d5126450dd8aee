//! `zero`: rows of zeros.

use crate::cpu::buffers::Bound;
use crate::cpu::rows::{by_rows, span_mut};
use crate::cpu::threads;
use crate::kernel::{Params, Role};

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(p: &Params) -> usize {
    threads::copy_ns(p.rows as usize * p.units as usize)
}

/// Runs a dispatch.
pub(super) fn run(bound: &mut Bound<'_>) {
    let (p, width) = (*bound.params, bound.params.units as usize);
    bound.write(Role::Result, |_, result| {
        by_rows(span_mut(result, p.target_0, p.rows as usize, width), width, |_, target| target.fill(0.0));
    });
}
