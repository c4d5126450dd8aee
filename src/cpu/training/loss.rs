//! `loss`: the loss of each row of outputs, and its gradient.
//!
//! One thread computes a row. Its terms are summed in lanes, block by block, independent of the thread.

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffers::Bound;
use crate::cpu::math::{corner, exp, sigmoid};
use crate::cpu::rows::{clear_padding, span, span_mut, sum};
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role, RowLoss, RowTargets};
use crate::platform::parallel::*;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(p: &Params, loss: RowLoss) -> usize {
    let elems = p.rows as usize * p.units as usize * p.directions as usize;
    match loss {
        RowLoss::CrossEntropy { .. } | RowLoss::BinaryCrossEntropy { .. } => threads::pointwise_ns(elems),
        RowLoss::Squared | RowLoss::Absolute | RowLoss::Huber { .. } | RowLoss::SumOfSquares => threads::copy_ns(elems),
    }
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, loss: RowLoss) {
    let (p, rows) = (*bound.params, bound.params.rows as usize);
    let width = p.units as usize * p.directions as usize;
    let threads = threads::worth(ns(&p, loss));
    bound.write_each([Role::Result, Role::Losses], |bound, [result, losses]| {
        let job = Job::new(bound, loss);
        let (target, losses) = (span_mut(result, p.target_0, rows, width), span_mut(losses, p.source_1, rows, 1));
        let some = |first: usize, target: &mut [f32], losses: &mut [f32]| {
            for (m, (target, of_row)) in target.chunks_exact_mut(width).zip(losses).enumerate() {
                *of_row = arch.dispatch(Row { job, m: first + m, target });
            }
        };
        if threads == 1 {
            some(0, target, losses);
        } else {
            let each = rows.div_ceil(2 * threads);
            let parts = target.par_chunks_mut(each * width).zip(losses.par_chunks_mut(each));
            parts.enumerate().for_each(|(i, (target, losses))| some(i * each, target, losses));
        }
    });
}

/// A dispatch, without what it writes. Operands that it does not use are empty.
#[derive(Clone, Copy)]
struct Job<'a> {
    loss: RowLoss,
    /// Elements of a part of a row, and how many of them are true.
    part: [usize; 2],
    /// True elements of a row.
    features: usize,
    /// Elements of a row.
    width: usize,
    source: &'a [f32],
    scale: &'a [f32],
    classes: &'a [u32],
    values: &'a [f32],
    /// The weight of each class.
    weights: &'a [f32],
    /// Their sum.
    weight: f32,
}

impl<'a> Job<'a> {
    fn new(bound: &'a Bound<'_>, loss: RowLoss) -> Self {
        let (p, rows) = (bound.params, bound.params.rows as usize);
        let part = [p.units as usize, p.features as usize];
        let (features, width) = (part[1] * p.directions as usize, part[0] * p.directions as usize);
        let (mut classes, mut values): (&[u32], &[f32]) = (&[], &[]);
        match loss.targets() {
            RowTargets::Classes => classes = span(bound.indices(Role::Tokens), p.source_1, rows, 1),
            RowTargets::Values => values = span(bound.floats(Role::Values), p.source_1, rows, width),
            RowTargets::None => {}
        }
        let weighted = matches!(loss, RowLoss::CrossEntropy { weighted: true, .. });
        let weights = if weighted { &bound.floats(Role::ClassWeights)[..features] } else { &[] };
        Self {
            loss,
            part,
            features,
            width,
            source: span(bound.floats(Role::Source), p.source_0, rows, width),
            scale: span(bound.floats(Role::Scale), p.source_1, rows, 1),
            classes,
            values,
            weights,
            weight: if weighted { sum_of(features, |c| weights[c]) } else { features as f32 },
        }
    }
}

/// A row, which gives its loss.
struct Row<'a> {
    job: Job<'a>,
    m: usize,
    target: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let Self { job, m, target } = self;
        let (scale, row) = (job.scale[m], m * job.width..(m + 1) * job.width);
        if scale == 0.0 {
            target.fill(0.0);
            return 0.0;
        }
        let z = &job.source[row.clone()];
        let loss = match job.loss {
            RowLoss::CrossEntropy { smoothing, .. } => {
                cross_entropy(simd, &job, z, job.classes[m] as usize, smoothing.get(), scale, target)
            }
            RowLoss::BinaryCrossEntropy { smoothing } => {
                let of_target = [1.0 - smoothing.get(), smoothing.get() / 2.0].map(|x| simd.splat_f32s(x));
                elementwise(simd, &job, [z, &job.values[row]], scale, target, |z, t| {
                    let y = simd.mul_add_e_f32s(t, of_target[0], of_target[1]);
                    let ramp = simd.max_f32s(simd.splat_f32s(0.0), z);
                    let term = simd.sub_f32s(ramp, simd.mul_f32s(z, y));
                    [simd.add_f32s(term, corner(simd, z)), simd.sub_f32s(sigmoid(simd, z), y)]
                })
            }
            RowLoss::Squared => elementwise(simd, &job, [z, &job.values[row]], scale, target, |z, y| {
                let d = simd.sub_f32s(z, y);
                [simd.mul_f32s(d, d), simd.add_f32s(d, d)]
            }),
            RowLoss::Absolute => elementwise(simd, &job, [z, &job.values[row]], scale, target, |z, y| {
                let (d, one) = (simd.sub_f32s(z, y), simd.splat_f32s(1.0));
                let zero = simd.splat_f32s(0.0);
                // A NaN is neither above nor below.
                let sign = simd.select_f32s(simd.less_than_f32s(d, zero), simd.neg_f32s(one), d);
                [simd.abs_f32s(d), simd.select_f32s(simd.greater_than_f32s(d, zero), one, sign)]
            }),
            RowLoss::Huber { delta } => elementwise(simd, &job, [z, &job.values[row]], scale, target, |z, y| {
                let (d, most, half) = (simd.sub_f32s(z, y), simd.splat_f32s(delta.get()), simd.splat_f32s(0.5));
                let size = simd.abs_f32s(d);
                let square = simd.mul_f32s(half, simd.mul_f32s(d, d));
                let line = simd.mul_f32s(most, simd.sub_f32s(size, simd.mul_f32s(half, most)));
                let (over, under) = (simd.greater_than_f32s(d, most), simd.less_than_f32s(d, simd.neg_f32s(most)));
                let slope = simd.select_f32s(over, most, simd.select_f32s(under, simd.neg_f32s(most), d));
                [simd.select_f32s(simd.greater_than_f32s(size, most), line, square), slope]
            }),
            RowLoss::SumOfSquares => {
                elementwise(simd, &job, [z, z], scale, target, |z, _| [simd.mul_f32s(z, z), simd.add_f32s(z, z)])
            }
        };
        loss * scale
    }
}

/// Returns the sum of the first results of `each` over the true elements. The second results, scaled, go to the target.
#[inline(always)]
fn elementwise<S: Simd>(
    simd: S,
    job: &Job<'_>,
    [z, y]: [&[f32]; 2],
    scale: f32,
    target: &mut [f32],
    each: impl Fn(S::f32s, S::f32s) -> [S::f32s; 2],
) -> f32 {
    let pairs = || S::as_simd_f32s(z).0.iter().zip(S::as_simd_f32s(y).0);
    for ((z, y), to) in pairs().zip(S::as_mut_simd_f32s(target).0) {
        *to = each(*z, *y)[0];
    }
    clear_padding(job.part, target);
    let loss = sum(target);
    let scale = simd.splat_f32s(scale);
    for ((z, y), to) in pairs().zip(S::as_mut_simd_f32s(target).0) {
        *to = simd.mul_f32s(scale, each(*z, *y)[1]);
    }
    clear_padding(job.part, target);
    loss
}

/// Returns the cross-entropy of a row, without its scale. A logit
/// far below the others has softmax 0, but a finite log-softmax.
#[inline(always)]
fn cross_entropy<S: Simd>(
    simd: S,
    job: &Job<'_>,
    z: &[f32],
    class: usize,
    smoothing: f32,
    scale: f32,
    target: &mut [f32],
) -> f32 {
    let [padded, size] = job.part;
    let parts = || z.chunks_exact(padded).flat_map(|part| &part[..size]);
    let most = parts().fold(f32::NEG_INFINITY, |most, &x| if x > most || x.is_nan() { x } else { most });
    let shift = simd.splat_f32s(most);
    for (x, y) in S::as_simd_f32s(z).0.iter().zip(S::as_mut_simd_f32s(target).0) {
        *y = exp(simd, simd.sub_f32s(*x, shift));
    }
    clear_padding(job.part, target);
    let total = sum(target);
    let log_total = total.ln();
    // A class that does not exist has no share.
    let place = (class < job.features).then(|| class / size.max(1) * padded + class % size.max(1));
    let own = place.map_or(0.0, |_| (1.0 - smoothing) * job.weights.get(class).copied().unwrap_or(1.0));
    let share = smoothing / job.features as f32;
    let mut loss = place.map_or(0.0, |place| own * (log_total - (z[place] - most)));
    let by = simd.splat_f32s(scale * (own + share * job.weight) / total);
    for y in S::as_mut_simd_f32s(target).0 {
        *y = simd.mul_f32s(by, *y);
    }
    if smoothing != 0.0 {
        let mut below = 0.0;
        for (p, (target, z)) in target.chunks_exact_mut(padded).zip(z.chunks_exact(padded)).enumerate() {
            let (target, z) = (&mut target[..size], &z[..size]);
            if job.weights.is_empty() {
                below += sum_of(size, |c| z[c] - most);
                target.iter_mut().for_each(|y| *y -= scale * share);
            } else {
                let weights = &job.weights[p * size..][..size];
                below += sum_of(size, |c| weights[c] * (z[c] - most));
                target.iter_mut().zip(weights).for_each(|(y, w)| *y -= scale * share * w);
            }
        }
        loss += share * (job.weight * log_total - below);
    }
    if let Some(place) = place {
        target[place] -= scale * own;
    }
    loss
}

/// Returns the sum of `each` at `len` places, in lanes and block by block.
#[inline(always)]
fn sum_of(len: usize, each: impl Fn(usize) -> f32) -> f32 {
    let block = |first: usize| {
        let mut lanes = [0.0; LANES];
        for first in (first..len.min(first + 64 * LANES)).step_by(LANES) {
            lanes.iter_mut().zip(first..len).for_each(|(sum, c)| *sum += each(c));
        }
        lanes.iter().sum::<f32>()
    };
    (0..len).step_by(64 * LANES).map(block).sum()
}
