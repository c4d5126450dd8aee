//! `normalize` and `normalize_back`: the features of each row by themselves, and their gradients.

use pulp::{Arch, Simd, WithSimd};

use super::buffers::Bound;
use super::rows::{by_rows, span, span_mut, sum};
use super::threads;
use crate::kernel::{LANES, Norm, Params, Role};
use crate::platform::parallel::*;

/// What is the same for all rows.
#[derive(Clone, Copy)]
struct Shared<'a> {
    norm: Norm,
    epsilon: f32,
    /// F.
    features: usize,
    /// The two numbers of each feature; the first of them may be one for all.
    a: &'a [f32],
    b: &'a [f32],
}

impl<'a> Shared<'a> {
    fn of(norm: Norm, p: &Params, weights: &'a [f32]) -> Self {
        let (a, b) = weights[..2 * p.source_units as usize].split_at(p.source_units as usize);
        let a = if p.count == 1 { &a[..1] } else { a };
        Self { norm, epsilon: f32::from_bits(p.scale), features: p.features as usize, a, b }
    }
}

/// Normalises rows.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, norm: Norm) {
    let p = *bound.params;
    let (rows, width) = (p.rows as usize, p.units as usize);
    bound.write(Role::Result, |bound, result| {
        let shared = Shared::of(norm, &p, bound.floats(Role::Weights));
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            let source = &source[from * width..][..target.len()];
            arch.dispatch(Forward { shared, width, source, target });
        });
    });
}

/// Returns how long one thread takes for a dispatch of the backward pass.
pub(super) fn back_ns(p: &Params) -> usize {
    threads::copy_ns(2 * p.rows as usize * p.units as usize)
}

/// Computes the backward pass of rows.
pub(super) fn back(arch: Arch, bound: &mut Bound<'_>, norm: Norm) {
    let p = *bound.params;
    let (rows, width) = (p.rows as usize, p.units as usize);
    bound.write_each([Role::Result, Role::Product], |bound, [result, product]| {
        let shared = Shared::of(norm, &p, bound.floats(Role::Weights));
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        let delta = span(bound.floats(Role::Delta), p.source_1, rows, width);
        let result = span_mut(result, p.target_0, rows, width);
        let product = span_mut(product, p.target_1, rows, width);
        let some = |from: usize, result: &mut [f32], product: &mut [f32]| {
            let [source, delta] = [source, delta].map(|rows| &rows[from * width..][..result.len()]);
            arch.dispatch(Back { shared, width, source, delta, result, product });
        };
        let threads = threads::worth(back_ns(&p));
        if threads == 1 {
            return some(0, result, product);
        }
        let each = rows.div_ceil(2 * threads);
        let parts = result.par_chunks_mut(each * width).zip(product.par_chunks_mut(each * width));
        parts.enumerate().for_each(|(i, (result, product))| some(i * each, result, product));
    });
}

/// The sum of `f` over the elements of a row, lane by lane and block by block as [`sum`] adds.
#[inline(always)]
fn sum_of(row: &[f32], f: impl Fn(usize, f32) -> f32) -> f32 {
    const BLOCK: usize = 64 * LANES;
    let mut total = 0.0;
    for (index, block) in row.chunks(BLOCK).enumerate() {
        let mut lanes = [0.0; LANES];
        let first = index * BLOCK;
        for (n, part) in block.chunks(LANES).enumerate() {
            for (lane, (sum, &x)) in lanes.iter_mut().zip(part).enumerate() {
                *sum += f(first + n * LANES + lane, x);
            }
        }
        total += sum(&lanes);
    }
    total
}

/// The mean of a row and the factor of what is left without it; the factor's sums are over `parts`.
#[inline(always)]
fn scaled(shared: &Shared<'_>, x: &[f32]) -> (f32, f32, bool) {
    #[expect(clippy::cast_precision_loss, reason = "the number of features")]
    let count = shared.features as f32;
    let mean = if shared.norm == Norm::Layer { sum_of(x, |_, x| x) / count } else { 0.0 };
    let squares = sum_of(x, |_, x| (x - mean) * (x - mean));
    if shared.norm == Norm::L2 {
        let length = squares.sqrt();
        let is_short = length < shared.epsilon;
        return (mean, 1.0 / if is_short { shared.epsilon } else { length }, is_short);
    }
    (mean, 1.0 / (squares / count + shared.epsilon).sqrt(), false)
}

/// Some rows.
struct Forward<'a> {
    shared: Shared<'a>,
    width: usize,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    // Plain loops: the instructions are those of `S`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { shared, width, source, target } = self;
        let Shared { norm, epsilon, features, a, b } = shared;
        for (x, y) in source.chunks_exact(width).zip(target.chunks_exact_mut(width)) {
            let (x, (y, padding)) = (&x[..features], y.split_at_mut(features));
            padding.fill(0.0);
            let pairs = x.iter().zip(a).zip(b).zip(&mut *y);
            match norm {
                Norm::Affine => pairs.for_each(|(((x, a), b), y)| *y = x * a + b),
                Norm::Standard => pairs.for_each(|(((x, a), b), y)| *y = (x - a) / (b + epsilon).sqrt()),
                Norm::Layer | Norm::Rms | Norm::L2 => {
                    let (mean, factor, _) = scaled(&shared, x);
                    pairs.for_each(|(((x, a), b), y)| *y = (x - mean) * factor * a + b);
                }
                Norm::PRelu => {
                    let slope = |x: f32, a: f32| if x > 0.0 { x } else { a * x };
                    match a {
                        [one] => x.iter().zip(y).for_each(|(&x, y)| *y = slope(x, *one)),
                        _ => x.iter().zip(a).zip(y).for_each(|((&x, &a), y)| *y = slope(x, a)),
                    }
                }
            }
        }
    }
}

/// The backward pass of some rows.
struct Back<'a> {
    shared: Shared<'a>,
    width: usize,
    source: &'a [f32],
    delta: &'a [f32],
    result: &'a mut [f32],
    product: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { shared, width, source, delta, result, product } = self;
        let rows = source.chunks_exact(width).zip(delta.chunks_exact(width));
        let written = result.chunks_exact_mut(width).zip(product.chunks_exact_mut(width));
        for ((x, d), (dx, dp)) in rows.zip(written) {
            let features = shared.features;
            dx[features..].fill(0.0);
            dp[features..].fill(0.0);
            row_back(&shared, (&x[..features], &d[..features]), (&mut dx[..features], &mut dp[..features]));
        }
    }
}

/// The backward pass of the features of a row.
#[inline(always)]
fn row_back(shared: &Shared<'_>, (x, d): (&[f32], &[f32]), (dx, dp): (&mut [f32], &mut [f32])) {
    let Shared { norm, epsilon, features, a, b } = *shared;
    let written = dx.iter_mut().zip(dp.iter_mut());
    match norm {
        Norm::Affine => {
            for (((x, d), a), (dx, dp)) in x.iter().zip(d).zip(a).zip(written) {
                (*dx, *dp) = (d * a, d * x);
            }
        }
        Norm::Standard => {
            for ((d, b), (dx, dp)) in d.iter().zip(b).zip(written) {
                (*dx, *dp) = (d / (b + epsilon).sqrt(), 0.0);
            }
        }
        Norm::PRelu => {
            for (c, ((&x, &d), (dx, dp))) in x.iter().zip(d).zip(written).enumerate() {
                let a = if let [one] = a { *one } else { a[c] };
                (*dx, *dp) = if x > 0.0 { (d, 0.0) } else { (d * a, d * x) };
            }
        }
        Norm::Layer | Norm::Rms | Norm::L2 => {
            let (mean, factor, is_short) = scaled(shared, x);
            #[expect(clippy::cast_precision_loss, reason = "the number of features")]
            let parts = if norm == Norm::L2 { 1.0 } else { features as f32 };
            let plain = if norm == Norm::Layer { sum_of(d, |c, d| d * a[c]) / parts } else { 0.0 };
            let along = sum_of(d, |c, d| d * a[c] * (x[c] - mean) * factor) / parts;
            let along = if is_short { 0.0 } else { along };
            for (((x, d), a), (dx, dp)) in x.iter().zip(d).zip(a).zip(written) {
                let normal = (x - mean) * factor;
                (*dx, *dp) = (factor * (d * a - plain - normal * along), d * normal);
            }
        }
    }
}
