//! The backward pass of the pointwise half of a timestep: the part that all its kernels share.
//!
//! A rule computes one panel of one row. This file has the rows of
//! each binding, dead rows, padding and threads. Knows no cell.

use std::mem;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffers::Bound;
use crate::cpu::product::Rows;
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role};
use crate::platform::parallel::*;

/// The bindings that a dispatch may write.
const WRITTEN: [Role; 6] = [Role::Gates, Role::New, Role::Recurrent, Role::Result, Role::Direct, Role::Carry];

/// A kernel's backward pass of a panel, in a live row.
pub(super) trait Rule: Copy + Send + Sync {
    /// Gates of the bindings `gates` and `recurrent`.
    const GATES: [usize; 2];
    /// How many gates it writes, from the first on.
    const WRITES: usize = 4;

    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>);
}

/// A panel of a row: `[16]` of each binding, and `[G][16]` of gates. Roles without a binding are empty.
pub(super) struct Panel<'a> {
    pub(super) gates: &'a mut [f32],
    pub(super) new: &'a mut [f32],
    pub(super) recurrent: &'a mut [f32],
    pub(super) result: &'a mut [f32],
    pub(super) direct: &'a mut [f32],
    pub(super) carry: &'a mut [f32],
    pub(super) product: &'a [f32],
    pub(super) delta: &'a [f32],
    pub(super) hidden: &'a [f32],
    /// The cell state before the step and after it.
    pub(super) cell_state: [&'a [f32]; 2],
    pub(super) peepholes: &'a [f32],
}

impl Panel<'_> {
    /// Returns register `at` of the gradient of the state after the step.
    #[inline(always)]
    pub(super) fn dh<S: Simd>(&self, simd: S, at: usize) -> S::f32s {
        let mut dh = S::as_simd_f32s(self.product).0[at];
        for more in [&*self.direct, self.delta] {
            if !more.is_empty() {
                dh = simd.add_f32s(dh, S::as_simd_f32s(more).0[at]);
            }
        }
        dh
    }

    /// Handles a dead step: the gradient of the state bypasses it, and that of the cell state stays.
    #[inline(always)]
    fn pass<S: Simd>(&mut self, simd: S) {
        for at in 0..self.direct.len() / S::F32_LANES {
            let dh = self.dh(simd, at);
            S::as_mut_simd_f32s(self.direct).0[at] = dh;
        }
        for written in [&mut *self.gates, self.new, self.recurrent, self.result] {
            written.fill(0.0);
        }
    }

    /// Writes zeros from unit `size` on, of at most `gates` gates.
    #[inline(always)]
    fn end(&mut self, size: usize, gates: usize) {
        for written in [&mut *self.gates, self.new, self.recurrent, self.result, self.direct, self.carry] {
            written.chunks_exact_mut(LANES).take(gates).for_each(|units| units[size..].fill(0.0));
        }
    }
}

/// Returns how long one thread takes for a dispatch of any of these kernels.
pub(super) fn ns(params: &Params, gates: u32, sides: usize) -> usize {
    // The functions and their derivatives.
    2 * threads::pointwise_ns(params.batch as usize * params.units as usize * gates as usize * sides)
}

/// Runs a dispatch.
pub(super) fn run<R: Rule>(arch: Arch, bound: &mut Bound<'_>, rule: R) {
    let p = *bound.params;
    let (batch, units) = (p.batch as usize, p.units as usize);
    let worth = threads::worth(ns(&p, bound.program.product_gates(), bound.sides));
    let [gates, recurrent] = R::GATES.map(|gates| gates * units);
    let widths = [gates, units, recurrent, units, units, units];
    bound.write_each(WRITTEN, |bound, mut written| {
        for z in 0..bound.sides {
            let (own, handed) = ([p.gates_0, p.gates_1][z] as usize, p.direction as usize + z);
            let firsts = [own, own, own, own, handed, handed];
            let mut places = firsts.iter().zip(&widths).map(|(first, width)| (first * batch * width, batch * width));
            let mut rest = written.each_mut().map(|data| match places.next() {
                Some((first, len)) if !data.is_empty() => &mut data[first..][..len],
                _ => &mut [],
            });
            let side = Side::of(bound, &p, z);
            let rows = batch.div_ceil(if worth == 1 { 1 } else { 2 * worth }).max(1);
            let mut share = |first: usize| {
                let len = rows.min(batch - first);
                let mut widths = widths.iter();
                let written = rest.each_mut().map(|rest| piece(rest, len * widths.next().unwrap_or(&0)));
                Share { rule, side, units, first, rows: len, written }
            };
            if worth == 1 {
                arch.dispatch(share(0));
            } else {
                let shares: Vec<_> = (0..batch).step_by(rows).map(share).collect();
                shares.into_par_iter().for_each(|share| arch.dispatch(share));
            }
        }
    });
}

/// Splits off the first `len` elements of `rest`, or nothing if it is empty.
fn piece<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let data = mem::take(rest);
    let len = len.min(data.len());
    let (first, after) = data.split_at_mut(len);
    *rest = after;
    first
}

/// What a direction reads, from the first row of the batch on.
#[derive(Clone, Copy)]
struct Side<'a> {
    product: Rows<'a>,
    delta: Rows<'a>,
    hidden: Rows<'a>,
    cell_state: [Rows<'a>; 2],
    /// Panels at equal distances.
    peepholes: Rows<'a>,
    live: &'a [u32],
    /// True units.
    features: usize,
}

impl<'a> Side<'a> {
    /// Returns what direction `z` of the dispatch reads.
    fn of(bound: &'a Bound<'_>, p: &Params, z: usize) -> Self {
        let [batch, units, directions] = [p.batch, p.units, p.directions].map(|n| n as usize);
        let (d, width) = (p.direction as usize + z, directions * units);
        let rows = |role, first: usize, stride: usize| match bound.floats_or_none(role) {
            [] => Rows::NONE,
            data => Rows { data: &data[first..], stride },
        };
        let state = |role, row: u32| rows(role, row as usize * batch * width + d * units, width);
        let panel_gates = bound.program.product_gates() as usize * LANES;
        let panel = (p.depth as usize + bound.program.rows_after_depth() as usize) * panel_gates;
        let first = p.weight_panel as usize + z * p.weight_panels as usize;
        let live = bound.indices_or_none(Role::Live);
        Self {
            product: rows(Role::Product, d * batch * units, units),
            delta: state(Role::Delta, [p.target_0, p.target_1][z]),
            hidden: state(Role::Hidden, [p.source_0, p.source_1][z]),
            cell_state: [state(Role::CellState, p.cell_in), state(Role::CellState, p.cell_out)],
            peepholes: rows(Role::Peepholes, first * panel + (p.depth as usize + 1) * panel_gates, panel),
            live: live.get([p.live_0, p.live_1][z] as usize * batch..).unwrap_or_default(),
            features: p.features as usize,
        }
    }
}

/// Some rows of a direction.
struct Share<'a, R> {
    rule: R,
    side: Side<'a>,
    units: usize,
    first: usize,
    rows: usize,
    written: [&'a mut [f32]; 6],
}

impl<R: Rule> WithSimd for Share<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rule, side, units, first, rows, written: [gates, new, recurrent, result, direct, carry] } = self;
        for row in 0..rows {
            let b = first + row;
            let is_live = side.live.get(b).is_none_or(|live| *live != 0);
            for column in (0..units).step_by(LANES) {
                let at = row * units + column;
                let mut panel = Panel {
                    gates: own(gates, at, R::GATES[0]),
                    new: own(new, at, 1),
                    recurrent: own(recurrent, at, R::GATES[1]),
                    result: own(result, at, 1),
                    direct: own(direct, at, 1),
                    carry: own(carry, at, 1),
                    product: units_of(side.product, b, column),
                    delta: units_of(side.delta, b, column),
                    hidden: units_of(side.hidden, b, column),
                    cell_state: [units_of(side.cell_state[0], b, column), units_of(side.cell_state[1], b, column)],
                    peepholes: match side.peepholes.stride {
                        0 => &[],
                        _ => side.peepholes.part(column / LANES, 0, R::GATES[0] * LANES),
                    },
                };
                if is_live {
                    rule.back(simd, &mut panel);
                } else {
                    panel.pass(simd);
                }
                if side.features < column + LANES {
                    panel.end(side.features.saturating_sub(column), R::WRITES);
                }
            }
        }
    }
}

/// Returns a panel of what is written, `gates` times 16 elements, or nothing if it is empty.
#[inline(always)]
fn own(data: &mut [f32], unit: usize, gates: usize) -> &mut [f32] {
    if data.is_empty() { data } else { &mut data[unit * gates..][..gates * LANES] }
}

/// Returns a panel of what is read, or nothing if there are no rows.
#[inline(always)]
fn units_of(rows: Rows<'_>, row: usize, column: usize) -> &[f32] {
    if rows.stride == 0 { &[] } else { rows.part(row, column, LANES) }
}
