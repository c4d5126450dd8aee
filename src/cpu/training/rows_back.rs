//! `softmax_back` and `maximum_back`: the gradients of rows, from the gradients of their results.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffers::Bound;
use crate::cpu::math::exp;
use crate::cpu::rows::{by_rows, clear_padding, span, span_mut, sum};
use crate::cpu::threads;
use crate::kernel::{Params, Role};

/// Returns how long one thread takes for a dispatch of either kernel.
pub(super) fn ns(p: &Params) -> usize {
    threads::copy_ns(p.rows as usize * p.units as usize * p.directions as usize)
}

/// Computes the backward pass of a softmax, or of its logarithm.
pub(super) fn softmax(arch: Arch, bound: &mut Bound<'_>, log: bool) {
    each(bound, |_, of_row| {
        let Row { source, delta, target, part, .. } = of_row;
        arch.dispatch(Softmax { log, source, delta, target, part });
    });
}

/// Computes the backward pass of the larger of two values.
pub(super) fn maximum(bound: &mut Bound<'_>) {
    each(bound, |bound, of_row| {
        let Row { place, source, delta, target, part } = of_row;
        let other = &bound.floats(Role::Other)[place..][..source.len()];
        let pairs = source.iter().zip(other).zip(delta);
        for (((a, b), d), y) in pairs.zip(&mut *target) {
            *y = if a > b { *d } else { 0.0 };
            if a == b {
                *y = 0.5 * d;
            }
        }
        clear_padding(part, target);
    });
}

/// A row.
struct Row<'a> {
    /// Its place in the source.
    place: usize,
    source: &'a [f32],
    delta: &'a [f32],
    target: &'a mut [f32],
    /// Elements of a part, and how many of them are true.
    part: [usize; 2],
}

fn each(bound: &mut Bound<'_>, make: impl Fn(&Bound<'_>, Row<'_>) + Sync) {
    let p = *bound.params;
    let (rows, width) = (p.rows as usize, p.units as usize * p.directions as usize);
    let part = [p.units as usize, p.features as usize];
    bound.write(Role::Result, |bound, result| {
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        let delta = span(bound.floats(Role::Delta), p.source_1, rows, width);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            for (m, target) in (from..).zip(target.chunks_exact_mut(width)) {
                let [source, delta] = [source, delta].map(|rows| &rows[m * width..][..width]);
                make(bound, Row { place: (p.source_0 as usize + m) * width, source, delta, target, part });
            }
        });
    });
}

/// The backward pass of one row.
struct Softmax<'a> {
    log: bool,
    source: &'a [f32],
    delta: &'a [f32],
    target: &'a mut [f32],
    part: [usize; 2],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { log, source, delta, target, part } = self;
        let pairs = || S::as_simd_f32s(source).0.iter().zip(S::as_simd_f32s(delta).0);
        for ((y, d), to) in pairs().zip(S::as_mut_simd_f32s(target).0) {
            *to = if log { *d } else { simd.mul_f32s(*y, *d) };
        }
        clear_padding(part, target);
        let total = simd.splat_f32s(sum(target));
        for ((y, d), to) in pairs().zip(S::as_mut_simd_f32s(target).0) {
            *to = if log {
                simd.sub_f32s(*d, simd.mul_f32s(exp(simd, *y), total))
            } else {
                simd.mul_f32s(*y, simd.sub_f32s(*d, total))
            };
        }
        clear_padding(part, target);
    }
}
