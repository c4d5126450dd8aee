//! `sum_steps` and `scatter`: rows added up in order, those of all timesteps or those of a token.
//!
//! Threads share the targets, so that one thread computes each sum.

use std::ops::Range;

use pulp::Arch;

use crate::cpu::buffers::Bound;
use crate::cpu::rows::span_mut;
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role};
use crate::platform::parallel::*;

/// Elements that are summed over all steps before the next ones: they stay in L1.
const NEAR: usize = 2048;

/// Returns how long one thread takes for a dispatch of `sum_steps`.
pub(super) fn steps_ns(p: &Params) -> usize {
    threads::copy_ns((p.steps as usize + 1) * (p.batch * p.units * p.directions) as usize)
}

/// Adds up the rows of all timesteps.
pub(super) fn steps(arch: Arch, bound: &mut Bound<'_>, first: bool) {
    let p = *bound.params;
    let (steps, width) = (p.steps as usize, p.units as usize * p.directions as usize);
    let size = p.batch as usize * width;
    let threads = threads::worth(steps_ns(&p));
    bound.write(Role::Result, |bound, result| {
        let source = &bound.floats(Role::Source)[p.source_0 as usize * width..][..steps * size];
        let target = span_mut(result, p.target_0, p.batch as usize, width);
        let some = |(i, target): (usize, &mut [f32])| {
            let place = i * NEAR;
            if first {
                target.fill(0.0);
            }
            arch.dispatch(|| {
                source.chunks_exact(size.max(1)).for_each(|step| add(target, &step[place..][..target.len()]));
            });
        };
        if threads == 1 {
            target.chunks_mut(NEAR).enumerate().for_each(some);
        } else {
            target.par_chunks_mut(NEAR).enumerate().for_each(some);
        }
    });
}

/// Returns how long one thread takes for a dispatch of `scatter`.
pub(super) fn scatter_ns(p: &Params) -> usize {
    threads::copy_ns((p.tokens as usize + p.count as usize) * p.units as usize)
}

/// Adds up the rows of each token.
pub(super) fn scatter(arch: Arch, bound: &mut Bound<'_>, first: bool) {
    let (p, width) = (*bound.params, bound.params.units as usize);
    let threads = threads::worth(scatter_ns(&p));
    bound.write(Role::Result, |bound, result| {
        let (order, starts) = (bound.indices(Role::Order), &bound.indices(Role::Starts)[p.token as usize..]);
        let delta = bound.floats(Role::Delta);
        let own = |v: usize| -> Range<usize> {
            let place = |at: u32| at.clamp(p.offset, p.offset + p.count) as usize;
            place(starts[v])..place(starts[v + 1])
        };
        let some = |from: usize, target: &mut [f32]| {
            arch.dispatch(|| {
                for (v, target) in (from..).zip(target.chunks_exact_mut(width)) {
                    if first {
                        target.fill(0.0);
                    }
                    for row in order.get(own(v)).unwrap_or_default() {
                        let row = row.checked_sub(p.source_0).filter(|&row| row < p.rows);
                        if let Some(row) = row {
                            add(target, &delta[row as usize * width..][..width]);
                        }
                    }
                }
            });
        };
        let target = span_mut(result, 0, p.tokens as usize, width);
        if threads == 1 {
            some(0, target);
        } else {
            // There are many small parts, since a frequent token has more to add than others.
            let each = (p.tokens as usize).div_ceil(LANES * threads);
            target.par_chunks_mut(each * width).enumerate().for_each(|(i, target)| some(i * each, target));
        }
    });
}

#[inline(always)]
fn add(target: &mut [f32], row: &[f32]) {
    target.iter_mut().zip(row).for_each(|(y, x)| *y += x);
}
