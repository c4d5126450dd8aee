//! `wavefront`: a step of each of several layers, as an input product and a step of each, one after the other.
//!
//! Fewer dispatches do not make the host faster: this kernel exists to compare a GPU
//! with. Knows `gemm` and `step` as the plan does, by their programs and params.

use pulp::Arch;

use super::buffers::{Bound, Buffer, Floats};
use super::{gemm, step};
use crate::cell::Activation;
use crate::kernel::{Gemm, Mask, Params, Program, Role, StateKind, Step};
use crate::plan::Window;

/// Runs a wavefront.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, step: Step) {
    for z in 0..bound.sides {
        layer(arch, bound, step, u32::try_from(z).expect("a grid is counted in 32 bits"));
    }
}

/// Returns the row of a layer's states, from the row that layer 0 has.
fn state_row(layer: u32, row: u32) -> u32 {
    2 * layer + (row + layer) % 2
}

fn layer(arch: Arch, bound: &mut Bound<'_>, step: Step, z: u32) {
    let p = *bound.params;
    let layer = p.direction + z;
    let (read, written) = (state_row(layer, p.cell_in), state_row(layer, p.cell_out));
    let hoisted = layer == 0;
    let gates = if hoisted { bound.window(Role::Gates) } else { input_product(arch, bound, step, z) };
    let params = Params {
        directions: 1,
        direction: 0,
        weight_panel: p.weight_panel + z * p.weight_panels,
        source_0: read,
        target_0: written,
        gates_0: if hoisted { p.gates_0 } else { 0 },
        live_0: p.live_0.saturating_sub(z),
        cell_in: read,
        cell_out: written,
        ..p
    };
    let program = Program::Step(step);
    let mut windows = vec![bound.window(Role::Weights), gates];
    windows.extend((step.mask == Mask::Live).then(|| bound.window(Role::Live)));
    windows.push(bound.window(Role::Hidden));
    windows.extend((step.states == StateKind::Cell).then(|| bound.window(Role::CellState)));
    step::run(arch, &mut inner(bound, &program, &params, &windows));
    if !hoisted {
        bound.buffers.slots.pop();
    }
    if layer + 1 == p.directions {
        let row = (p.batch * p.units) as usize;
        bound.write(Role::Output, |bound, output| {
            let state = &bound.floats(Role::Hidden)[written as usize * row..][..row];
            output[p.target_0 as usize * row..][..row].copy_from_slice(state);
        });
    }
}

/// Computes the input product of a layer above another, in an extra slot after the plan's.
fn input_product(arch: Arch, bound: &mut Bound<'_>, step: Step, z: u32) -> Window {
    let p = *bound.params;
    let below = state_row(p.direction + z - 1, p.cell_in);
    let Step { cell, matrix, tile, .. } = step;
    let gates = u32::try_from(cell.gates()).unwrap_or(u32::MAX);
    let program = Program::Gemm(Gemm {
        cell: Some(cell),
        gates,
        after: 1,
        activation: Activation::Linear,
        matrix,
        tile,
        add: false,
        per_gate: false,
    });
    let width = p.units * program.product_gates();
    let params = Params {
        rows: p.batch,
        depth: p.depth,
        units: width,
        source_units: p.depth,
        panels: p.panels,
        weight_panel: p.weight_panel + z * p.weight_panels - p.weight_panels / 2,
        source_0: below * p.batch,
        ..Params::default()
    };
    let elems = p.batch as usize * width as usize;
    let gates = Window { slot: bound.buffers.slots.len(), offset: 0, bytes: 4 * elems as u64 };
    bound.buffers.slots.push(Buffer::Floats(Floats::zeros(elems)));
    let windows = [bound.window(Role::Weights), bound.window(Role::Hidden), gates];
    gemm::run(arch, &mut inner(bound, &program, &params, &windows));
    gates
}

/// Returns a dispatch within this one.
fn inner<'a>(bound: &'a mut Bound<'_>, program: &'a Program, params: &'a Params, windows: &'a [Window]) -> Bound<'a> {
    Bound { program, params, sides: 1, windows, weights: bound.weights, buffers: &mut *bound.buffers }
}
