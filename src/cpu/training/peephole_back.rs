//! The gradient of an LSTM's peepholes.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::buffers::Bound;
use crate::cpu::gates::{FORGET, INPUT, OUTPUT};
use crate::cpu::product::Rows;
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role};
use crate::platform::parallel::*;

/// Elements of a row of a panel.
const PANEL: usize = 4 * LANES;
/// Rows that are added up before their sum is added to the total.
const BLOCK: usize = 256;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(params: &Params) -> usize {
    // Three gates, and a cell state before and after.
    threads::copy_ns(params.rows as usize * params.panels as usize * 5 * LANES)
}

/// Runs a dispatch.
pub(super) fn peephole_back(arch: Arch, bound: &mut Bound<'_>, first: bool) {
    let p = *bound.params;
    let (depth, panels) = (p.depth as usize, p.panels as usize);
    let panel = (depth + 2) * PANEL;
    bound.write(Role::Result, |bound, result| {
        let cell_state = bound.floats(Role::CellState);
        let gates = &bound.floats(Role::Gates)[p.target_0 as usize * panels * PANEL..];
        let target = &mut result[p.weight_panel as usize * panel..][..panels * panel];
        let make = |(i, target): (usize, &mut [f32])| {
            let gates = Rows { data: &gates[i * PANEL..], stride: panels * PANEL };
            let target = &mut target[(depth + 1) * PANEL..][..PANEL];
            let mut sum = [0.0; PANEL];
            arch.dispatch(Sum { p: &p, panel: i, gates, cell_state, sum: &mut sum });
            let units = (p.count as usize).saturating_sub(i * LANES).min(LANES);
            for (target, sum) in target.chunks_exact_mut(LANES).zip(sum.chunks_exact(LANES)) {
                let (own, padding) = target.split_at_mut(units);
                own.iter_mut().zip(sum).for_each(|(y, sum)| *y = if first { *sum } else { *y + sum });
                padding.fill(0.0);
            }
        };
        if threads::worth(ns(&p)) == 1 {
            target.chunks_exact_mut(panel).enumerate().for_each(make);
        } else {
            target.par_chunks_exact_mut(panel).enumerate().for_each(make);
        }
    });
}

/// The sum of one panel, over the rows in order, by blocks.
struct Sum<'a> {
    p: &'a Params,
    panel: usize,
    /// The gates from the panel on.
    gates: Rows<'a>,
    cell_state: &'a [f32],
    sum: &'a mut [f32; PANEL],
}

impl Sum<'_> {
    /// Returns the sum of some rows.
    #[inline(always)]
    fn block(&self, rows: Range<usize>) -> [f32; PANEL] {
        let p = self.p;
        let (batch, direction, panels) = (p.batch as usize, p.direction as usize, p.panels as usize);
        let width = p.directions as usize * panels * LANES;
        let mut sum = [0.0; PANEL];
        for m in rows {
            #[allow(clippy::cast_possible_truncation, reason = "rows are counted in 32 bits")]
            let (t, b) = ((m / batch) as u32, m % batch);
            let at = |first: u32| {
                let row = first.wrapping_add(t.wrapping_mul(p.hidden_step_0)) as usize;
                (row * batch + b) * width + (direction * panels + self.panel) * LANES
            };
            let (old, new) = (&self.cell_state[at(p.cell_in)..][..LANES], &self.cell_state[at(p.cell_out)..][..LANES]);
            let delta = self.gates.part(m, 0, PANEL);
            for (gate, cell_state) in [(INPUT, old), (FORGET, old), (OUTPUT, new)] {
                let (sum, delta) = (&mut sum[gate * LANES..][..LANES], &delta[gate * LANES..][..LANES]);
                for u in 0..LANES {
                    sum[u] += delta[u] * cell_state[u];
                }
            }
        }
        sum
    }
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.p.rows as usize;
        for first in (0..rows).step_by(BLOCK) {
            let block = self.block(first..rows.min(first + BLOCK));
            self.sum.iter_mut().zip(block).for_each(|(sum, block)| *sum += block);
        }
    }
}
