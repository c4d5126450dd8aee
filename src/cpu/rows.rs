//! The kernels without a product: `gather`, `one_hot`, `final_state`, `mask_outputs`, `merge`, `softmax`, `activate`.
//!
//! Each makes rows from rows, so threads share them by rows if there is much to write.

use pulp::{Arch, Simd, WithSimd};

use super::buffers::Bound;
use super::math::{Map, exp};
use super::threads;
use crate::cell::Activation;
use crate::kernel::{Combine, EMPTY, LANES, Params, Role};
use crate::platform::parallel::*;

/// Returns how long one thread takes for a dispatch of any of these kernels.
pub(super) fn ns(params: &Params, sides: usize) -> usize {
    threads::copy_ns(params.rows as usize * params.units as usize * params.directions as usize * sides)
}

/// Calls `make` with consecutive rows of `target` and the index of the first, on all threads if that pays.
pub(super) fn by_rows(target: &mut [f32], width: usize, make: impl Fn(usize, &mut [f32]) + Sync) {
    let threads = threads::worth(threads::copy_ns(target.len()));
    if threads == 1 {
        make(0, target);
    } else {
        let rows = (target.len() / width).div_ceil(2 * threads);
        target.par_chunks_mut(rows * width).enumerate().for_each(|(i, chunk)| make(i * rows, chunk));
    }
}

/// Returns `len` rows of `width` elements from row `first` on.
pub(super) fn span<T>(data: &[T], first: u32, len: usize, width: usize) -> &[T] {
    &data[first as usize * width..][..len * width]
}

pub(super) fn span_mut<T>(data: &mut [T], first: u32, len: usize, width: usize) -> &mut [T] {
    &mut data[first as usize * width..][..len * width]
}

/// Copies rows of a table by token. A token outside the bound part of the table leaves its row alone.
pub(super) fn gather(bound: &mut Bound<'_>) {
    let (p, width) = (*bound.params, bound.params.units as usize);
    let (rows, first) = (p.rows as usize, p.token as usize);
    bound.write(Role::Result, |bound, result| {
        for z in 0..bound.sides {
            let tokens = span(bound.indices(Role::Tokens), [p.source_0, p.source_1][z], rows, 1);
            let table =
                &bound.floats(Role::Weights)[(p.weight_panel as usize + z * p.weight_panels as usize) * width..];
            let target = span_mut(result, [p.target_0, p.target_1][z], rows, width);
            by_rows(target, width, |from, target| {
                for (token, row) in tokens[from..].iter().zip(target.chunks_exact_mut(width)) {
                    let place = (*token as usize).checked_sub(first).filter(|&v| v < p.tokens as usize);
                    if let Some(v) = place {
                        row.copy_from_slice(&table[v * width..][..width]);
                    }
                }
            });
        }
    });
}

/// Writes unit vectors by token.
pub(super) fn one_hot(bound: &mut Bound<'_>) {
    let (p, width) = (*bound.params, bound.params.units as usize);
    bound.write(Role::Result, |bound, result| {
        let tokens = span(bound.indices(Role::Tokens), p.source_0, p.rows as usize, 1);
        by_rows(span_mut(result, p.target_0, tokens.len(), width), width, |from, target| {
            target.fill(0.0);
            for (token, row) in tokens[from..].iter().zip(target.chunks_exact_mut(width)) {
                if let Some(one) = row.get_mut(*token as usize) {
                    *one = 1.0;
                }
            }
        });
    });
}

/// Empties a mailbox.
pub(super) fn reset_mailbox(bound: &mut Bound<'_>) {
    let p = *bound.params;
    bound.write_indices(Role::Mailbox, |_, words| {
        span_mut(words, p.target_0, p.rows as usize, p.units as usize).fill(EMPTY);
    });
}

/// Copies one row of the sequence for each direction.
pub(super) fn final_state(bound: &mut Bound<'_>) {
    let p = *bound.params;
    let (batch, units) = (p.batch as usize, p.units as usize);
    let width = units * p.directions as usize;
    bound.write(Role::Result, |bound, result| {
        for (z, row) in [p.source_0, p.source_1].into_iter().enumerate().take(bound.sides) {
            let column = (p.direction as usize + z) * units;
            let source = span(bound.floats(Role::Source), row, 1, batch * width);
            for (source, target) in source.chunks_exact(width).zip(result.chunks_exact_mut(width)) {
                target[column..][..units].copy_from_slice(&source[column..][..units]);
            }
        }
    });
}

/// Copies a sequence, with zeros where a direction has no step.
pub(super) fn mask_outputs(bound: &mut Bound<'_>) {
    let p = *bound.params;
    let (rows, units) = (p.rows as usize, p.units as usize);
    let width = units * p.directions as usize;
    bound.write(Role::Result, |bound, result| {
        let live = bound.indices(Role::Live);
        let live = [p.live_0, p.live_1].map(|first| live.get(first as usize..).unwrap_or_default());
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            let sources = source[from * width..].chunks_exact(width);
            for (row, (source, target)) in sources.zip(target.chunks_exact_mut(width)).enumerate() {
                let parts = source.chunks_exact(units).zip(target.chunks_exact_mut(units));
                for ((source, target), live) in parts.zip(&live) {
                    if live[from + row] == 0 { target.fill(0.0) } else { target.copy_from_slice(source) }
                }
            }
        });
    });
}

/// Combines the outputs of two directions.
pub(super) fn merge(bound: &mut Bound<'_>, combine: Combine) {
    let p = *bound.params;
    let (rows, units) = (p.rows as usize, p.units as usize);
    bound.write(Role::Result, |bound, result| {
        let source = span(bound.floats(Role::Source), p.source_0, rows, 2 * units);
        by_rows(span_mut(result, p.target_0, rows, units), units, |from, target| {
            let sources = source[2 * from * units..].chunks_exact(2 * units);
            for (source, target) in sources.zip(target.chunks_exact_mut(units)) {
                let (a, b) = source.split_at(units);
                let pairs = a.iter().zip(b).zip(target);
                match combine {
                    Combine::Sum => pairs.for_each(|((a, b), y)| *y = a + b),
                    Combine::Average => pairs.for_each(|((a, b), y)| *y = (a + b) * 0.5),
                    Combine::Product => pairs.for_each(|((a, b), y)| *y = a * b),
                }
            }
        });
    });
}

/// Applies an elementwise function.
pub(super) fn activate(arch: Arch, bound: &mut Bound<'_>, f: Activation) {
    each(bound, |_, source, target| arch.dispatch(Map { f, source, target }));
}

/// Applies a softmax over the features of each row, or its logarithm.
pub(super) fn softmax(arch: Arch, bound: &mut Bound<'_>, log: bool) {
    let part = [bound.params.units as usize, bound.params.features as usize];
    each(bound, |width, source, target| {
        for (source, target) in source.chunks_exact(width).zip(target.chunks_exact_mut(width)) {
            arch.dispatch(Softmax { log, source, target, part });
        }
    });
}

/// Calls `make` with the width of a row, some rows of the source, and the same rows of the result.
fn each(bound: &mut Bound<'_>, make: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
    let p = *bound.params;
    let (rows, width) = (p.rows as usize, p.units as usize * p.directions as usize);
    bound.write(Role::Result, |bound, result| {
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            make(width, &source[from * width..][..target.len()], target);
        });
    });
}

/// The softmax of one row.
struct Softmax<'a> {
    log: bool,
    source: &'a [f32],
    target: &'a mut [f32],
    /// Elements of a part of the features, and how many of them are true.
    part: [usize; 2],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { log, source, target, part: [padded, size] } = self;
        let parts = || source.chunks_exact(padded).flat_map(|part| &part[..size]);
        let most = parts().fold(f32::NEG_INFINITY, |most, &x| if x > most || x.is_nan() { x } else { most });
        let shift = simd.splat_f32s(most);
        for (x, y) in S::as_simd_f32s(source).0.iter().zip(S::as_mut_simd_f32s(target).0) {
            *y = exp(simd, simd.sub_f32s(*x, shift));
        }
        for part in target.chunks_exact_mut(padded) {
            part[size..].fill(0.0);
        }
        let sum = sum(target);
        let log_sum = sum.ln();
        for (target, source) in target.chunks_exact_mut(padded).zip(source.chunks_exact(padded)) {
            for (y, x) in target[..size].iter_mut().zip(source) {
                *y = if log { x - most - log_sum } else { *y / sum };
            }
        }
    }
}

/// Writes zeros into the padding of a row whose parts have `padded` elements, `size` of them true.
pub(super) fn clear_padding([padded, size]: [usize; 2], row: &mut [f32]) {
    row.chunks_exact_mut(padded).for_each(|part| part[size..].fill(0.0));
}

/// Returns the sum of a row, whose length is a multiple of 16. It adds lane by lane and
/// block by block: a single running sum would lose three digits over 100,000 classes.
#[inline(always)]
pub(super) fn sum(row: &[f32]) -> f32 {
    let block = |block: &[f32]| {
        let mut lanes = [0.0; LANES];
        for part in block.chunks_exact(LANES) {
            lanes.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        lanes.iter().sum::<f32>()
    };
    row.chunks(64 * LANES).map(block).sum()
}
