//! The product of many rows with all panels of a matrix, `gemm`.
//!
//! Threads share it by rows. Each walks over all panels with so few rows that they fit
//! its L2. If there are few rows, threads share panels instead, and write to scratch.
//!
//! It has the step's inner loop instead of a GEMM crate's. On one Zen 4 core, 192 × 512 × 2048
//! runs at 107 GFLOP/s against `matrixmultiply`'s 90, and the weights need no second layout.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::buffers::Bound;
use super::math::{Map, apply};
use super::product::{Epilogue, Product, Rows, even};
use super::threads;
use super::tune::NEAR_ROWS;
use crate::cell::Activation;
use crate::kernel::{Gemm, LANES, Params, Program, Role};
use crate::platform::parallel::*;

/// Returns how long one thread takes for a dispatch of the kernel.
pub(super) fn ns(program: &Program, params: &Params, sides: usize) -> usize {
    let weights = params.depth as usize * params.panels as usize * LANES * program.product_gates() as usize * sides;
    threads::product_ns(params.rows as usize, weights)
}

/// Runs `gemm`.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>) {
    let activation = bound.program.activation();
    let per_gate = bound.program.is_per_gate();
    let add = matches!(bound.program, Program::Gemm(Gemm { add: true, .. }));
    let threads = threads::worth(ns(bound.program, bound.params, bound.sides));
    let mut scratch = std::mem::take(&mut bound.buffers.scratch);
    bound.write(Role::Result, |bound, result| {
        let p = bound.params;
        let (rows, depth, width) = (p.rows as usize, p.depth as usize, bound.program.product_gates() as usize * LANES);
        let panel_rows = depth + bound.program.rows_after_depth() as usize;
        let (panels, size) = (p.panels as usize, panel_rows * width);
        for z in 0..bound.sides {
            let first = p.weight_panel as usize + z * p.weight_panels as usize;
            let stride = p.source_units as usize;
            let source = [p.source_0, p.source_1][z] as usize * stride + p.source_offset as usize;
            // If each gate has its own row, a row of the source is that many times as long.
            let gates = if per_gate { bound.program.product_gates() as usize } else { 1 };
            let product = Product {
                panels: &bound.floats(Role::Weights)[first * size..][..panels * size],
                gates: bound.program.product_gates() as usize,
                depth,
                panel_rows,
                source: Rows { data: &bound.floats(Role::Source)[source * gates..], stride: stride * gates },
                per_gate,
            };
            let target = Target {
                data: &mut result[[p.target_0, p.target_1][z] as usize * p.units as usize..],
                stride: p.units as usize,
                column: p.panel as usize * width,
            };
            let units = real_units(p);
            let whole = Share { product, activation, add, units, rows: 0..rows, panels: 0..panels, target };
            if threads == 1 {
                arch.dispatch(whole);
            } else if rows >= 2 * threads || panels < threads {
                by_rows(arch, whole, threads);
            } else {
                by_panels(arch, whole, threads, scratch.reserve(rows * panels * width));
            }
        }
    });
    bound.buffers.scratch = scratch;
}

fn by_rows(arch: Arch, whole: Share<'_>, threads: usize) {
    let Share { product, activation, add, units, rows, panels, target } = whole;
    let Target { data, stride, column } = target;
    // As few parts as fit a core's L2, since each walks over all weights, and equally many for each thread.
    let each = rows.len().div_ceil(rows.len().div_ceil(NEAR_ROWS).next_multiple_of(threads));
    data[..rows.len() * stride].par_chunks_mut(each * stride).enumerate().for_each(|(i, data)| {
        let rows = i * each..i * each + data.len() / stride;
        let target = Target { data, stride, column };
        arch.dispatch(Share { product, activation, add, units, rows, panels: panels.clone(), target });
    });
}

fn by_panels(arch: Arch, whole: Share<'_>, threads: usize, mut scratch: &mut [f32]) {
    let Share { product, activation, add, units, rows, panels, target } = whole;
    let width = product.gates * LANES;
    let mut parts = Vec::with_capacity(threads);
    for panels in even(panels.clone(), panels.len().div_ceil(threads)) {
        let (data, rest) = scratch.split_at_mut(rows.len() * panels.len() * width);
        parts.push((panels, data));
        scratch = rest;
    }
    parts.par_iter_mut().with_max_len(1).for_each(|(panels, data)| {
        let target = Target { data, stride: panels.len() * width, column: 0 };
        arch.dispatch(Share {
            product,
            activation,
            add: false,
            units,
            rows: rows.clone(),
            panels: panels.clone(),
            target,
        });
    });
    for (panels, data) in parts {
        for (row, part) in data.chunks_exact(panels.len() * width).enumerate() {
            let start = row * target.stride + target.column + panels.start * width;
            let target = &mut target.data[start..start + part.len()];
            if add {
                target.iter_mut().zip(part).for_each(|(y, x)| *y += x);
            } else {
                target.copy_from_slice(part);
            }
        }
    }
}

/// Returns the units that there are, from the first panel of a dispatch on.
fn real_units(p: &Params) -> usize {
    if p.count == 0 { usize::MAX } else { (p.count as usize).saturating_sub(p.panel as usize * LANES) }
}

/// The place of a share's first row, from `column` on.
pub(super) struct Target<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) column: usize,
}

/// One thread's rows × panels.
pub(super) struct Share<'a> {
    pub(super) product: Product<'a>,
    pub(super) activation: Activation,
    /// Whether the product is added to the target's old values.
    pub(super) add: bool,
    /// The units that there are, from the first panel on.
    pub(super) units: usize,
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
    pub(super) target: Target<'a>,
}

impl WithSimd for Share<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (product, rows, panels) = (self.product, self.rows.clone(), self.panels.clone());
        product.run(simd, rows, panels, &mut self);
    }
}

impl Epilogue for Share<'_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, row: usize, panel: usize, product: &[f32]) {
        let Target { data, stride, column } = &mut self.target;
        let start = (row - self.rows.start) * *stride + *column + (panel - self.panels.start) * product.len();
        let target = &mut data[start..][..product.len()];
        let f = self.activation;
        let is_linear = matches!(f, Activation::Linear | Activation::Softmax | Activation::LogSoftmax);
        if self.add {
            for (x, y) in S::as_simd_f32s(product).0.iter().zip(S::as_mut_simd_f32s(target).0) {
                let x = if is_linear { *x } else { apply(simd, f, *x) };
                *y = simd.add_f32s(*y, x);
            }
        } else if is_linear {
            // Register by register: a row of a panel is too short for a call of `memcpy`.
            for (x, y) in S::as_simd_f32s(product).0.iter().zip(S::as_mut_simd_f32s(target).0) {
                *y = *x;
            }
        } else {
            simd.vectorize(Map { f, source: product, target });
        }
        // The weights of the others are 0, and their product with an infinity is NaN.
        let real = self.units.saturating_sub(panel * LANES);
        if real < LANES {
            target.chunks_exact_mut(LANES).for_each(|gate| gate[real..].fill(0.0));
        }
    }
}
