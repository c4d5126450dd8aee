//! The kernels of a convolution: `conv`, `conv_back` and `conv_outer`.
//!
//! The windows of a few rows are laid side by side in a copy that stays in a core's L2, and are then rows of a product
//! like any other. Panels whose bands differ have copies of their own. Threads share rows, or the panels of a gradient.

use std::ops::Range;

use pulp::Arch;

use super::buffers::{Bound, Floats};
use super::gemm::{Share, Target};
use super::product::{Product, Rows};
use super::rows::{span, span_mut};
use super::threads;
use super::tune::NEAR_ROWS;
use crate::cell::Activation;
use crate::kernel::{Band, Convolve, LANES, Params, Role};
use crate::platform::parallel::*;

/// Elements of the windows that are copied together.
const NEAR: usize = 1 << 16;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(_: Convolve, p: &Params) -> usize {
    threads::product_ns(p.rows as usize, p.depth as usize * p.panels as usize * LANES)
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, convolve: Convolve) {
    match convolve {
        Convolve::Forward { activation, .. } => forward(arch, bound, activation),
        Convolve::Back { first } => back(arch, bound, first),
        Convolve::Outer { first } => outer(arch, bound, first),
    }
}

/// The rows of a sequence that taps read: those that are there, and which row of the source each is.
#[derive(Clone, Copy)]
struct Windows<'a> {
    p: &'a Params,
    source: &'a [f32],
}

impl<'a> Windows<'a> {
    /// Returns the row that tap `tap` of row `m` of the dispatch reads; `None` outside of the sequence.
    fn row(self, m: usize, tap: usize) -> Option<&'a [f32]> {
        let Params { batch, offset, source_0, kept_0, kept_1, time_step_0, time_step_1, source_units, .. } = *self.p;
        #[expect(clippy::cast_possible_truncation, reason = "fewer than 2³² rows and taps")]
        let (n, tap) = (offset.wrapping_add(m as u32), tap as u32);
        let steps = (n / batch).wrapping_mul(time_step_0).wrapping_add(tap.wrapping_mul(time_step_1));
        let row = source_0.wrapping_add(steps.wrapping_mul(batch)).wrapping_add(n % batch);
        let width = source_units as usize;
        (row.wrapping_sub(kept_0) < kept_1).then(|| &self.source[row as usize * width..][..width])
    }
}

/// Panels that multiply the same elements of their rows.
struct Part<'a> {
    /// The first element of a row that they multiply.
    from: usize,
    /// The rows of their depth.
    depth: usize,
    /// The first element of a row of the target.
    column: usize,
    /// `[panels][depth + 1][16]`.
    weights: &'a [f32],
}

/// How the products of parts go into rows of a target.
struct Products<'a> {
    parts: &'a [Part<'a>],
    /// Elements of a row of the target.
    width: usize,
    activation: Activation,
    /// Whether they are added to the target's old values.
    add: bool,
    /// The units that there are.
    units: usize,
}

impl Products<'_> {
    /// Computes the rows of `target`. `window` writes what a part multiplies for a row.
    fn run(
        &self,
        arch: Arch,
        target: &mut [f32],
        scratch: &mut Floats,
        window: impl Fn(usize, &Part<'_>, &mut [f32]) + Sync,
    ) {
        let (rows, deepest) = (target.len() / self.width, self.parts.iter().map(|part| part.depth).max().unwrap_or(1));
        let weights = self.parts.iter().map(|part| part.weights.len()).sum();
        let threads = threads::worth(threads::product_ns(rows, weights));
        let each = (NEAR / deepest).clamp(1, NEAR_ROWS).min(rows.div_ceil(threads));
        let block = |(index, (target, copy)): (usize, (&mut [f32], &mut [f32]))| {
            let (first, rows) = (index * each, target.len() / self.width);
            for part in self.parts {
                let (depth, size) = (part.depth, (part.depth + 1) * LANES);
                let copy = &mut copy[..rows * depth];
                for (m, copy) in (first..).zip(copy.chunks_exact_mut(depth)) {
                    window(m, part, copy);
                }
                let product = Product {
                    panels: part.weights,
                    gates: 1,
                    depth,
                    panel_rows: depth + 1,
                    source: Rows { data: copy, stride: depth },
                    per_gate: false,
                };
                let target = Target { data: &mut *target, stride: self.width, column: part.column };
                let (activation, add, panels) = (self.activation, self.add, 0..part.weights.len() / size);
                let units = self.units.saturating_sub(part.column);
                arch.dispatch(Share { product, activation, add, units, rows: 0..rows, panels, target });
            }
        };
        if threads == 1 {
            let copy = scratch.reserve(each * deepest);
            target.chunks_mut(each * self.width).enumerate().for_each(|(i, target)| block((i, (target, &mut *copy))));
        } else {
            let copies = scratch.reserve(rows.div_ceil(each) * each * deepest);
            let blocks = target.par_chunks_mut(each * self.width).zip(copies.par_chunks_mut(each * deepest));
            blocks.enumerate().for_each(block);
        }
    }
}

/// Runs `conv`.
fn forward(arch: Arch, bound: &mut Bound<'_>, activation: Activation) {
    let p = *bound.params;
    let (width, depth, band) = (p.units as usize, p.depth as usize, Band::told(&p));
    let mut scratch = std::mem::take(&mut bound.buffers.scratch);
    bound.write(Role::Result, |bound, result| {
        let size = (depth + 1) * LANES;
        let weights = &bound.floats(Role::Weights)[p.weight_panel as usize * size..];
        let windows = Windows { p: &p, source: bound.floats(Role::Source) };
        let from = |panel: &usize| band.first(p.panel as usize + panel);
        let parts = runs(p.panels as usize, from).map(|panels| Part {
            from: from(&panels.start),
            depth,
            column: (p.panel as usize + panels.start) * LANES,
            weights: &weights[panels.start * size..panels.end * size],
        });
        let units = if p.count == 0 { usize::MAX } else { p.count as usize };
        let products = Products { parts: &parts.collect::<Vec<_>>(), width, activation, add: false, units };
        let target = span_mut(result, p.target_0, p.rows as usize, width);
        products.run(arch, target, &mut scratch, |m, part, copy| {
            for (tap, copy) in copy.chunks_exact_mut(band.width).enumerate() {
                match windows.row(m, tap) {
                    Some(row) => copy.copy_from_slice(&row[part.from..][..band.width]),
                    None => copy.fill(0.0),
                }
            }
        });
    });
    bound.buffers.scratch = scratch;
}

/// Returns the runs of `0..count` with equal `key`s.
fn runs<K: PartialEq>(count: usize, key: impl Fn(&usize) -> K) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let first = (next < count).then_some(next)?;
        next = (first + 1..count).find(|other| key(other) != key(&first)).unwrap_or(count);
        Some(first..next)
    })
}

/// Runs `conv_back`: a convolution by the matrix transposed, whose taps read the rows of δ that each row has become.
fn back(arch: Arch, bound: &mut Bound<'_>, first: bool) {
    let p = *bound.params;
    let (width, units, batch, depth) = (p.source_units as usize, p.units as usize, p.batch as usize, p.depth as usize);
    let band = Band::told(&p);
    let mut scratch = std::mem::take(&mut bound.buffers.scratch);
    bound.write(Role::Result, |bound, result| {
        let size = (depth + 1) * LANES;
        let weights = &bound.floats(Role::Weights)[p.weight_panel as usize * size..][..p.panels as usize * size];
        let delta = bound.floats(Role::Delta);
        // The row of δ that row n of the source belongs to by a tap.
        let row_of = |n: usize, tap: usize| {
            let end = (p.before_0 as usize + n / batch).checked_sub(tap * p.time_step_1 as usize)?;
            let step = end.is_multiple_of(p.time_step_0 as usize).then(|| end / p.time_step_0 as usize)?;
            let place = step.checked_sub(p.kept_0 as usize).filter(|&place| place < p.kept_1 as usize)?;
            let row = p.source_1 as usize + place * batch + n % batch;
            Some(&delta[row * units..][..units])
        };
        // The panels whose bands have some of these 16 columns.
        let range = |columns: &usize| {
            let (begin, end) = (columns * LANES, (columns + 1) * LANES);
            let has = |&panel: &usize| band.first(panel) < end && begin < band.first(panel) + band.width;
            let first = (0..p.panels as usize).find(has).unwrap_or(0);
            first..(first..p.panels as usize).take_while(has).count() + first
        };
        let groups: Vec<_> = runs(width / LANES, range).map(|columns| (range(&columns.start), columns)).collect();
        let deep = |panels: &Range<usize>| band.taps * panels.len() * LANES;
        let sizes = groups.iter().map(|(panels, columns)| columns.len() * (deep(panels) + 1) * LANES);
        let mut transposed = vec![0.0; sizes.sum()];
        let mut rest = &mut transposed[..];
        for (panels, columns) in &groups {
            let (own, others) = rest.split_at_mut(columns.len() * (deep(panels) + 1) * LANES);
            rest = others;
            for (column, own) in columns.clone().zip(own.chunks_exact_mut((deep(panels) + 1) * LANES)) {
                transpose(&band, weights, (panels, column), own);
            }
        }
        let mut at = 0;
        let parts = groups.iter().filter(|(panels, _)| !panels.is_empty()).map(|(panels, columns)| {
            let len = columns.len() * (deep(panels) + 1) * LANES;
            at += len;
            let (from, column) = (panels.start * LANES, columns.start * LANES);
            Part { from, depth: deep(panels), column, weights: &transposed[at - len..at] }
        });
        let parts: Vec<_> = parts.collect();
        let target = span_mut(result, p.target_0, p.rows as usize, width);
        if first {
            target.fill(0.0);
        }
        let (activation, units) = (Activation::Linear, usize::MAX);
        let products = Products { parts: &parts, width, activation, add: true, units };
        products.run(arch, target, &mut scratch, |m, part, copy| {
            let len = copy.len() / band.taps;
            for (tap, copy) in copy.chunks_exact_mut(len).enumerate() {
                match row_of(p.offset as usize + m, tap) {
                    Some(row) => copy.copy_from_slice(&row[part.from..][..len]),
                    None => copy.fill(0.0),
                }
            }
        });
    });
    bound.buffers.scratch = scratch;
}

/// Writes what `panels` multiply 16 columns with: `[taps][panels][16][16]`, a row for each unit. The bias is zero.
fn transpose(band: &Band, weights: &[f32], (panels, column): (&Range<usize>, usize), target: &mut [f32]) {
    let size = (band.taps * band.width + 1) * LANES;
    for (tap, panel) in (0..band.taps).flat_map(|tap| panels.clone().map(move |panel| (tap, panel))) {
        let own = (tap * panels.len() + panel - panels.start) * LANES * LANES;
        for c in 0..LANES {
            let k = (column * LANES + c).checked_sub(band.first(panel)).filter(|&k| k < band.width);
            let Some(k) = k else { continue };
            let from = &weights[panel * size + (tap * band.width + k) * LANES..][..LANES];
            for (u, w) in from.iter().enumerate() {
                target[own + u * LANES + c] = *w;
            }
        }
    }
}

/// Runs `conv_outer`: each panel adds up the products of all rows, tap by tap, in their order.
fn outer(arch: Arch, bound: &mut Bound<'_>, first: bool) {
    let p = *bound.params;
    let (rows, depth, width) = (p.rows as usize, p.depth as usize, p.units as usize);
    let band = Band::told(&p);
    let threads = threads::worth(threads::product_ns(rows, depth * p.panels as usize * LANES));
    bound.write(Role::Result, |bound, result| {
        let windows = Windows { p: &p, source: bound.floats(Role::Source) };
        let delta = span(bound.floats(Role::Delta), p.target_0, rows, width);
        // The rows of a tap of a panel, and the bias, which is one row more.
        let part = |(index, target): (usize, &mut [f32])| {
            let (panel, tap) = (p.panel as usize + index / (band.taps + 1), index % (band.taps + 1));
            let column = panel * LANES;
            let column_of = band.first(panel);
            if first {
                target.fill(0.0);
            }
            arch.dispatch(|| {
                for (m, delta) in delta.chunks_exact(width).enumerate() {
                    let delta = &delta[column..][..LANES];
                    if tap == band.taps {
                        target.iter_mut().zip(delta).for_each(|(to, d)| *to += d);
                        continue;
                    }
                    let Some(row) = windows.row(m, tap) else { continue };
                    for (target, x) in target.chunks_exact_mut(LANES).zip(&row[column_of..][..band.width]) {
                        target.iter_mut().zip(delta).for_each(|(to, d)| *to += x * d);
                    }
                }
            });
            for (k, target) in target.chunks_exact_mut(LANES).enumerate() {
                let group = band.group(column_of + k);
                for (unit, to) in (column..).zip(target) {
                    let own = tap == band.taps || group == Some(unit / band.outputs);
                    if unit >= p.count as usize || !own {
                        *to = 0.0;
                    }
                }
            }
        };
        let size = (depth + 1) * LANES;
        let target = &mut result[p.weight_panel as usize * size..][..p.panels as usize * size];
        let parts = target.chunks_exact_mut(size).flat_map(|panel| panel.chunks_mut(band.width * LANES));
        if threads == 1 {
            parts.enumerate().for_each(part);
        } else {
            parts.enumerate().collect::<Vec<_>>().into_par_iter().for_each(part);
        }
    });
}
