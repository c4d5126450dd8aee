//! `diagonal`: a step of each of some layers, as an input product and a step of each, one after the other.
//!
//! The host has nothing to win from fewer dispatches: this is what the kernel means, for comparing a GPU with. Knows
//! `project` and `step` as the plan does, by their programs and params.

use pulp::Arch;

use super::buffers::{Bound, Buffer, Floats};
use super::{project, step};
use crate::cell::Activation;
use crate::kernel::{Mask, Params, Program, Project, Role, StateKind, Step};
use crate::plan::Window;

/// Runs a diagonal.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, step: Step) {
    for z in 0..bound.sides {
        layer(arch, bound, step, u32::try_from(z).expect("a grid is counted in 32 bits"));
    }
}

/// The row of the states that a layer has, by the row that layer 0 has.
fn state_row(layer: u32, row: u32) -> u32 {
    2 * layer + (row + layer) % 2
}

fn layer(arch: Arch, bound: &mut Bound<'_>, step: Step, z: u32) {
    let p = *bound.params;
    let layer = p.direction + z;
    let (read, written) = (state_row(layer, p.memory_in), state_row(layer, p.memory_out));
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
        memory_in: read,
        memory_out: written,
        ..p
    };
    let program = Program::Step(step);
    let mut windows = vec![bound.window(Role::Weights), gates];
    windows.extend((step.mask == Mask::Live).then(|| bound.window(Role::Live)));
    windows.push(bound.window(Role::Hidden));
    windows.extend((step.states == StateKind::Memory).then(|| bound.window(Role::Memory)));
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

/// The input product of a layer above another, in a slot of its own past the plan's.
fn input_product(arch: Arch, bound: &mut Bound<'_>, step: Step, z: u32) -> Window {
    let p = *bound.params;
    let below = state_row(p.direction + z - 1, p.memory_in);
    let Step { cell, matrix, tile, .. } = step;
    let gates = u32::try_from(cell.gates()).unwrap_or(u32::MAX);
    let program = Program::Project(Project {
        cell: Some(cell),
        gates,
        after: 1,
        activation: Activation::Linear,
        matrix,
        tile,
        add: false,
        apart: false,
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
    project::run(arch, &mut inner(bound, &program, &params, &windows));
    gates
}

/// A dispatch within this one.
fn inner<'a>(bound: &'a mut Bound<'_>, program: &'a Program, params: &'a Params, windows: &'a [Window]) -> Bound<'a> {
    Bound { program, params, sides: 1, windows, weights: bound.weights, buffers: &mut *bound.buffers }
}
