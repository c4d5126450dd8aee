//! The backward pass of an elementwise function.

use pulp::Arch;

use crate::cell::Activation;
use crate::cpu::buffers::Bound;
use crate::cpu::math::Slopes;
use crate::cpu::rows::{by_rows, span, span_mut};
use crate::kernel::Role;

/// Runs a dispatch.
pub(super) fn activate_back(arch: Arch, bound: &mut Bound<'_>, f: Activation) {
    let p = *bound.params;
    let [rows, units, features] = [p.rows, p.units, p.features].map(|n| n as usize);
    let width = units * p.directions as usize;
    bound.write(Role::Result, |bound, result| {
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        let delta = span(bound.floats(Role::Delta), p.source_1, rows, width);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            let rows = from * width..from * width + target.len();
            arch.dispatch(Slopes { f, source: &source[rows.clone()], target });
            for (target, delta) in target.chunks_exact_mut(units).zip(delta[rows].chunks_exact(units)) {
                target.iter_mut().zip(delta).for_each(|(y, d)| *y *= d);
                target[features..].fill(0.0);
            }
        });
    });
}
