//! `scores`, `shares`, `blend` and `scores_back`: the kernels of attention. Threads share the rows of the result.

use pulp::{Arch, Simd, WithSimd};

use super::buffers::Bound;
use super::math::{exp, tanh};
use super::rows::{span_mut, sum};
use super::threads;
use crate::kernel::{Attend, LANES, Params, Role, ScoresBackOf, Scoring};
use crate::platform::parallel::*;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(attend: Attend, p: &Params) -> usize {
    let [rows, units, steps] = [p.rows, p.units, p.steps].map(|n| n as usize);
    match attend {
        Attend::Scores(Scoring::Dot) | Attend::Blend { .. } => threads::product_ns(rows, steps.saturating_mul(units)),
        Attend::Scores(Scoring::Given) => threads::copy_ns(rows.saturating_mul(steps)),
        Attend::Scores(Scoring::Additive | Scoring::Weighted(_)) => {
            threads::pointwise_ns(rows.saturating_mul(steps).saturating_mul(units))
        }
        Attend::Shares { .. } => threads::pointwise_ns(rows.saturating_mul(units)),
        Attend::ScoresBack { .. } => threads::pointwise_ns(rows.saturating_mul(steps).saturating_mul(units)),
    }
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, attend: Attend) {
    let p = *bound.params;
    let threads = threads::worth(ns(attend, &p));
    match attend {
        Attend::Scores(scoring) => scores(arch, bound, scoring, threads),
        Attend::Shares { causal, .. } => shares(arch, bound, causal, threads),
        Attend::Blend { transposed, first } => blend(arch, bound, (transposed, first), threads),
        Attend::ScoresBack { of, first, .. } => scores_back(arch, bound, (of, first), threads),
    }
}

/// Calls `make` with each row of `target` and its index, on `threads` threads.
fn each_row(target: &mut [f32], width: usize, threads: usize, make: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = (target.len() / width.max(1)).div_ceil(2 * threads).max(1);
    let some = |first: usize, target: &mut [f32]| {
        (first..).zip(target.chunks_exact_mut(width)).for_each(|(m, row)| make(m, row));
    };
    if threads == 1 {
        some(0, target);
    } else {
        target.par_chunks_mut(rows * width).enumerate().for_each(|(i, chunk)| some(i * rows, chunk));
    }
}

fn scores(arch: Arch, bound: &mut Bound<'_>, scoring: Scoring, threads: usize) {
    let p = *bound.params;
    let (units, batch, width) = (p.units as usize, p.batch as usize, p.source_units as usize);
    let (offset, steps, features) = (p.offset as usize, p.steps as usize, p.features as usize);
    bound.write(Role::Result, |bound, result| {
        let (query, weight) = (bound.floats_or_none(Role::Source), bound.floats_or_none(Role::Weights));
        let key = &bound.floats(Role::Key)[p.source_1 as usize * units..];
        each_row(span_mut(result, p.target_0, p.rows as usize, width), width, threads, |m, target| {
            let b = (p.target_0 as usize + m) % batch;
            let query = query.get((p.source_0 as usize + m) * units..).and_then(|query| query.get(..features));
            arch.dispatch(Scored {
                scoring,
                query: query.unwrap_or_default(),
                weight: weight.get(..features).unwrap_or_default(),
                keys: &key[b * units..],
                step: batch * units,
                scale: f32::from_bits(p.scale),
                target: &mut target[offset..offset + steps],
            });
        });
    });
}

/// The scores of all steps for one row of the query.
struct Scored<'a> {
    scoring: Scoring,
    query: &'a [f32],
    weight: &'a [f32],
    keys: &'a [f32],
    /// The elements from one step of the key to the next.
    step: usize,
    scale: f32,
    target: &'a mut [f32],
}

impl WithSimd for Scored<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { scoring, query, weight, keys, step, scale, target } = self;
        let whole = query.len() / LANES * LANES;
        // The last block is padded with zeros, which add nothing to any score.
        let mut last = [[0.0; LANES]; 3];
        last[0][..query.len() - whole].copy_from_slice(&query[whole..]);
        last[2][..weight.len().saturating_sub(whole)].copy_from_slice(weight.get(whole..).unwrap_or_default());
        for (n, score) in target.iter_mut().enumerate() {
            let key = &keys[n * step..];
            if scoring == Scoring::Given {
                *score = scale * key[0];
                continue;
            }
            last[1][..query.len() - whole].copy_from_slice(&key[whole..query.len()]);
            let rows = [&query[..whole], &key[..whole], weight.get(..whole).unwrap_or_default()];
            let mut sums = [0.0; LANES];
            add_terms(simd, scoring, rows, &mut sums);
            if whole < query.len() {
                add_terms(simd, scoring, [&last[0], &last[1], &last[2]], &mut sums);
            }
            *score = scale * sums.iter().sum::<f32>();
        }
    }
}

/// Adds the terms of a score to as many sums as a block has elements. Rows of query, key and weight are whole blocks.
#[inline(always)]
fn add_terms<S: Simd>(simd: S, scoring: Scoring, rows: [&[f32]; 3], sums: &mut [f32; LANES]) {
    let [query, key, weight] = rows.map(|row| S::as_simd_f32s(row).0);
    let registers = LANES / S::F32_LANES;
    for (register, to) in S::as_mut_simd_f32s(sums).0.iter_mut().enumerate() {
        let mut sum = *to;
        let mut at = register;
        while at < query.len() {
            let (q, k) = (query[at], key[at]);
            sum = match scoring {
                Scoring::Dot | Scoring::Given => simd.mul_add_e_f32s(q, k, sum),
                Scoring::Additive => simd.add_f32s(sum, tanh(simd, simd.add_f32s(q, k))),
                Scoring::Weighted(_) => simd.mul_add_e_f32s(weight[at], tanh(simd, simd.add_f32s(q, k)), sum),
            };
            at += registers;
        }
        *to = sum;
    }
}

fn shares(arch: Arch, bound: &mut Bound<'_>, causal: bool, threads: usize) {
    let p = *bound.params;
    let (width, batch, features) = (p.units as usize, p.batch as usize, p.features as usize);
    bound.write(Role::Result, |bound, result| {
        let source = bound.floats(Role::Source);
        let live = bound.indices_or_none(Role::Live);
        each_row(span_mut(result, p.target_0, p.rows as usize, width), width, threads, |m, target| {
            let row = p.target_0 as usize + m;
            let seen = if causal { features.min(p.offset as usize + row / batch + 1) } else { features };
            let is_live =
                |n: usize| live.get(p.live_0 as usize + n * batch + row % batch).is_none_or(|live| *live != 0);
            let source = &source[(p.source_0 as usize + m) * width..][..width];
            let most = source[..seen]
                .iter()
                .enumerate()
                .filter(|(n, _)| is_live(*n))
                .fold(f32::NEG_INFINITY, |most, (_, &x)| if x > most || x.is_nan() { x } else { most });
            arch.dispatch(Exponentials { most, source, target });
            target[seen..].fill(0.0);
            target[..seen].iter_mut().enumerate().filter(|(n, _)| !is_live(*n)).for_each(|(_, y)| *y = 0.0);
            let total = sum(target);
            // A row that sees no step has none but zeros.
            if total != 0.0 {
                target.iter_mut().for_each(|y| *y /= total);
            }
        });
    });
}

/// `exp(source − most)` of each element.
struct Exponentials<'a> {
    most: f32,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let shift = simd.splat_f32s(self.most);
        for (x, y) in S::as_simd_f32s(self.source).0.iter().zip(S::as_mut_simd_f32s(self.target).0) {
            *y = exp(simd, simd.sub_f32s(*x, shift));
        }
    }
}

fn blend(arch: Arch, bound: &mut Bound<'_>, (transposed, first): (bool, bool), threads: usize) {
    let p = *bound.params;
    let (width, batch, steps) = (p.units as usize, p.batch as usize, p.steps as usize);
    let scored = p.source_units as usize;
    let scale = f32::from_bits(p.scale);
    bound.write(Role::Result, |bound, result| {
        let (shares, source) = (bound.floats(Role::Shares), bound.floats(Role::Source));
        each_row(span_mut(result, p.target_0, p.rows as usize, width), width, threads, |m, target| {
            let (step, b) = ((p.target_0 as usize + m) / batch, (p.target_0 as usize + m) % batch);
            let (own, column) = if transposed { (b, step) } else { (m, 0) };
            let at = (p.source_1 as usize + own) * scored + p.source_offset as usize + column;
            let apart = if transposed { batch * scored } else { 1 };
            if first {
                target.fill(0.0);
            }
            arch.dispatch(|| {
                for i in 0..steps {
                    let share = scale * shares[at + i * apart];
                    let row = &source[(p.source_0 as usize + i * batch + b) * width..][..width];
                    target.iter_mut().zip(row).for_each(|(y, x)| *y += share * x);
                }
            });
            target[p.features as usize..].fill(0.0);
        });
    });
}

fn scores_back(arch: Arch, bound: &mut Bound<'_>, (of, first): (ScoresBackOf, bool), threads: usize) {
    let p = *bound.params;
    let (width, batch, steps) = (p.units as usize, p.batch as usize, p.steps as usize);
    let scored = p.source_units as usize;
    bound.write(Role::Result, |bound, result| {
        let shares = bound.floats(Role::Shares);
        let [source, other, weight] = [Role::Source, Role::Other, Role::Weights].map(|role| bound.floats_or_none(role));
        each_row(span_mut(result, p.target_0, p.rows as usize, width), width, threads, |m, target| {
            let (step, b) = ((p.target_0 as usize + m) / batch, (p.target_0 as usize + m) % batch);
            let transposed = of.is_transposed();
            let (own, column) = if transposed { (b, step) } else { (m, 0) };
            let at = (p.source_1 as usize + own) * scored + p.source_offset as usize + column;
            let apart = if transposed { batch * scored } else { 1 };
            let mut sum = vec![0.0; width];
            let own = other.get((p.kept_0 as usize + m) * width..).and_then(|own| own.get(..width)).unwrap_or_default();
            for i in 0..steps {
                let share = shares[at + i * apart];
                match of {
                    ScoresBackOf::Given => sum.iter_mut().for_each(|sum| *sum += share),
                    ScoresBackOf::Query | ScoresBackOf::Key | ScoresBackOf::Weight => {
                        let row = &source[(p.source_0 as usize + i * batch + b) * width..][..width];
                        arch.dispatch(Curved { slope: of != ScoresBackOf::Weight, share, own, row, sum: &mut sum });
                    }
                }
            }
            let scale = f32::from_bits(p.scale);
            for (n, (to, sum)) in target.iter_mut().zip(&sum).enumerate() {
                let old = if first { 0.0 } else { *to };
                let is_feature = n < p.features as usize;
                *to = if is_feature { old + scale * weight.get(n).unwrap_or(&1.0) * sum } else { 0.0 };
            }
        });
    });
}

/// Adds `share · r` or `share · (1 − r²)` to sums, with r = tanh(own + row).
struct Curved<'a> {
    slope: bool,
    share: f32,
    own: &'a [f32],
    row: &'a [f32],
    sum: &'a mut [f32],
}

impl WithSimd for Curved<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { slope, share, own, row, sum } = self;
        let (share, one) = (simd.splat_f32s(share), simd.splat_f32s(1.0));
        let rows = S::as_simd_f32s(own).0.iter().zip(S::as_simd_f32s(row).0);
        for ((own, row), sum) in rows.zip(S::as_mut_simd_f32s(sum).0) {
            let r = tanh(simd, simd.add_f32s(*own, *row));
            let term = if slope { simd.sub_f32s(one, simd.mul_f32s(r, r)) } else { r };
            *sum = simd.mul_add_e_f32s(share, term, *sum);
        }
    }
}
