//! `transpose`: a matrix transposed, in panels of 16 of its rows.

use crate::cpu::buffers::Bound;
use crate::cpu::threads;
use crate::kernel::{LANES, Params, Role};
use crate::platform::parallel::*;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(p: &Params, gates: u32) -> usize {
    threads::copy_ns(p.depth as usize * p.panels as usize * gates as usize * LANES)
}

/// Runs a dispatch.
pub(super) fn run(bound: &mut Bound<'_>, (gates, after): (u32, u32), per_gate: bool) {
    let p = *bound.params;
    let (width, depth, panels) = (gates as usize * LANES, p.depth as usize, p.panels as usize);
    let biases = if per_gate { gates as usize } else { 1 };
    let (size, transposed) = ((depth + after as usize) * width, (panels * width + biases) * LANES);
    let threads = threads::worth(ns(&p, gates));
    bound.write(Role::Result, |bound, result| {
        let weights = &bound.floats(Role::Weights)[p.weight_panel as usize * size..][..panels * size];
        let target = &mut result[p.target_0 as usize * transposed..][..depth / LANES * transposed];
        let turn = |(i, target): (usize, &mut [f32])| {
            let (target, bias) = target.split_at_mut(panels * width * LANES);
            for (panel, target) in weights.chunks_exact(size).zip(target.chunks_exact_mut(width * LANES)) {
                let rows = &panel[i * LANES * width..][..LANES * width];
                // Blocks of 16 by 16: a cache line of a row stays in L1 until all of it is transposed.
                for gate in 0..gates as usize {
                    let (first, step) = if per_gate { (gate * LANES, width) } else { (gate * LANES * LANES, LANES) };
                    for (k, row) in rows.chunks_exact(width).enumerate() {
                        let row = &row[gate * LANES..][..LANES];
                        target[first + k..].iter_mut().step_by(step).zip(row).for_each(|(y, x)| *y = *x);
                    }
                }
            }
            bias.fill(0.0);
        };
        if threads == 1 {
            target.chunks_exact_mut(transposed).enumerate().for_each(turn);
        } else {
            target.par_chunks_exact_mut(transposed).enumerate().for_each(turn);
        }
    });
}
