//! The recurrent kernels: `step`, `step_reset`, `step_new`, `step_project`.
//!
//! All four are one product and one pointwise rule; they differ in where operands come from and where results go.
//! The new states are computed into scratch, from buffers that nobody writes meanwhile, and copied to their rows at
//! the end: so threads share the work by direction, panel and row without sharing a buffer they write.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::buffers::Bound;
use super::cells::{Gates, Gru, GruNew, GruReset, Lstm, LstmProjected, Projection, Rnn, Rule};
use super::functions::{Functions, General, Plain, Relu, Tanh};
use super::product::{Epilogue, Product, Rows, even};
use super::threads;
use crate::cell::{self, Activation, Cell, Variant};
use crate::kernel::{Kernel, LANES, MEMORY_RESET, MEMORY_UNPROJECTED, MEMORY_UPDATE, Mask, Params, Program, StateKind};

/// What else has a rule of its own: a simple RNN with `max(0, x)`.
const RELU: Variant =
    Variant { functions: cell::Functions { f: Activation::Relu, ..cell::Functions::NONE }, ..Variant::NONE };

/// Fewest rows that are worth a part of their own.
const PART_ROWS: usize = 12;

/// Runs a recurrent kernel.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>) {
    let Program { kernel, cell, variant, .. } = *bound.program;
    let plain = cell.is_none_or(|cell| variant == Variant::plain(cell));
    match (kernel, cell) {
        (Kernel::StepProject, _) => step(arch, bound, Projection),
        (_, Some(Cell::Rnn)) if plain => step(arch, bound, Rnn(Tanh)),
        (_, Some(Cell::Rnn)) if variant == RELU => step(arch, bound, Rnn(Relu)),
        (_, Some(Cell::Rnn)) => step(arch, bound, Rnn(General(variant))),
        _ if plain => gated(arch, bound, Plain),
        _ => gated(arch, bound, General(variant)),
    }
}

/// Runs a part of a step of an LSTM or a GRU.
fn gated(arch: Arch, bound: &mut Bound<'_>, functions: impl Functions) {
    match (bound.program.kernel, bound.program.states) {
        (Kernel::StepReset, _) => step(arch, bound, GruReset(functions)),
        (Kernel::StepNew, _) => step(arch, bound, GruNew(functions)),
        (_, StateKind::Projected) => step(arch, bound, LstmProjected(functions)),
        (_, StateKind::Memory) => step(arch, bound, Lstm(functions)),
        (_, StateKind::Hidden) => step(arch, bound, Gru(functions)),
    }
}

/// How long one thread takes for a dispatch of a recurrent kernel.
pub(super) fn ns(program: &Program, params: &Params, sides: usize) -> usize {
    let gates = match (program.kernel, program.cell) {
        (Kernel::StepReset, _) => 2,
        (Kernel::Step, Some(cell)) => cell.gates(),
        _ => 1,
    };
    let weights = params.depth as usize * params.panels as usize * LANES * gates * sides;
    threads::product_ns(params.batch as usize, weights)
}

/// What a direction reads; panels and columns count from the dispatch's first.
#[derive(Clone, Copy)]
struct Side<'a> {
    product: Product<'a>,
    gates: Rows<'a>,
    states: [Rows<'a>; 2],
    live: Option<&'a [u32]>,
}

/// Where a result goes: a row of a buffer.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    row: [usize; 2],
    width: usize,
}

/// A thread's share of a dispatch: rows × panels of one direction.
struct Part<'a> {
    side: usize,
    rows: Range<usize>,
    panels: Range<usize>,
    /// `[GIVES][rows][panels][16]`.
    given: &'a mut [f32],
}

fn step<R: Rule>(arch: Arch, bound: &mut Bound<'_>, rule: R) {
    let params = *bound.params;
    let (batch, panels) = (params.batch as usize, params.panels as usize);
    let threads = threads::worth(ns(bound.program, &params, bound.sides));
    let mut scratch = std::mem::take(&mut bound.buffers.scratch);
    let mut free = scratch.reserve(R::GIVES * bound.sides * batch * panels * LANES);
    let mut cut = |(side, rows, panels): (usize, Range<usize>, Range<usize>)| {
        let len = R::GIVES * rows.len() * panels.len() * LANES;
        let (given, rest) = std::mem::take(&mut free).split_at_mut(len);
        free = rest;
        Part { side, rows, panels, given }
    };
    let (mut alone, mut shared);
    let parts: &mut [Part<'_>] = if threads == 1 {
        // The common case of a small step takes no memory.
        alone = [0, 1].map(|side| cut((side, 0..if side < bound.sides { batch } else { 0 }, 0..panels)));
        &mut alone[..bound.sides]
    } else {
        shared = cuts(threads, bound.sides, batch, panels).into_iter().map(cut).collect::<Vec<_>>();
        &mut shared
    };
    let sides: [Side<'_>; 2] = std::array::from_fn(|z| side::<R>(bound, z.min(bound.sides - 1)));
    let compute = |part: &mut Part<'_>| {
        let Part { side, rows, panels, given } = part;
        let side = sides[*side];
        arch.dispatch(Share { rule, side, rows: rows.clone(), panels: panels.clone(), given });
    };
    match threads {
        1 => parts.iter_mut().for_each(compute),
        _ => parts.par_iter_mut().with_max_len(1).for_each(compute),
    }
    for (index, place) in places(bound).into_iter().enumerate().take(R::GIVES) {
        let target = bound.floats_mut(place.name);
        for part in &*parts {
            put(target, part, index, place, &params);
        }
    }
    bound.buffers.scratch = scratch;
}

/// The parts of a dispatch for `threads` threads: panels first, since each thread then has its own weights.
fn cuts(threads: usize, sides: usize, batch: usize, panels: usize) -> Vec<(usize, Range<usize>, Range<usize>)> {
    let across = threads.div_ceil(sides).min(panels);
    let down = threads.div_ceil(sides * across).min(batch.div_ceil(PART_ROWS));
    let mut cuts = Vec::with_capacity(sides * across * down);
    for side in 0..sides {
        for panels in even(0..panels, panels.div_ceil(across)) {
            cuts.extend(even(0..batch, batch.div_ceil(down)).map(|rows| (side, rows, panels.clone())));
        }
    }
    cuts
}

/// What direction `z` of the dispatch reads.
fn side<'a, R: Rule>(bound: &'a Bound<'_>, z: usize) -> Side<'a> {
    let p = bound.params;
    let [batch, depth, units, directions] = [p.batch, p.depth, p.units, p.directions].map(|n| n as usize);
    let (panel, d) = (p.panel as usize, p.direction as usize + z);
    let column = d * units + panel * LANES;
    let row = |name, row: usize, width: usize, column: usize| Rows {
        data: &bound.floats(name)[row * batch * width + column..],
        stride: width,
    };
    let source = [p.source_0, p.source_1][z] as usize;
    let wide = directions * units;
    let hidden = || row("hidden", source, wide, column);
    let (source, states) = match bound.program.kernel {
        Kernel::StepReset => (row("hidden", source, wide, d * depth), [hidden(), Rows::NONE]),
        Kernel::StepNew => {
            (row("memory", MEMORY_RESET, wide, d * depth), [hidden(), row("memory", MEMORY_UPDATE, wide, column)])
        }
        Kernel::StepProject => {
            (row("memory", MEMORY_UNPROJECTED, directions * depth, d * depth), [hidden(), Rows::NONE])
        }
        _ => {
            let source = row("hidden", source, directions * depth, d * depth);
            let memory = || row("memory", p.memory_in as usize, wide, column);
            match bound.program.states {
                StateKind::Hidden => (source, [hidden(), Rows::NONE]),
                StateKind::Memory => (source, [hidden(), memory()]),
                StateKind::Projected => (source, [Rows::NONE, memory()]),
            }
        }
    };
    let panel_rows = depth + bound.program.rows_after_depth() as usize;
    let size = panel_rows * R::PRODUCT_GATES * LANES;
    let first = p.weight_panel as usize + z * p.weight_panels as usize;
    let width = units * R::INPUT_GATES;
    let timestep = [p.gates_0, p.gates_1][z] as usize;
    let live = [p.live_0, p.live_1][z] as usize;
    Side {
        product: Product {
            panels: &bound.floats("weights")[first * size..][..p.panels as usize * size],
            gates: R::PRODUCT_GATES,
            depth,
            panel_rows,
            source,
        },
        gates: match R::INPUT_GATES {
            0 => Rows::NONE,
            gates => row("gates", timestep, width, panel * LANES * gates),
        },
        states,
        live: (bound.program.mask == Mask::Live).then(|| &bound.indices("live")[live * batch..][..batch]),
    }
}

/// Where the results of a kernel go, first to last.
fn places(bound: &Bound<'_>) -> [Place; 2] {
    let p = bound.params;
    let width = p.directions as usize * p.units as usize;
    let hidden = Place { name: "hidden", row: [p.target_0 as usize, p.target_1 as usize], width };
    let memory = |row| Place { name: "memory", row: [row; 2], width };
    match (bound.program.kernel, bound.program.states) {
        (Kernel::StepReset, _) => [memory(MEMORY_RESET), memory(MEMORY_UPDATE)],
        (Kernel::Step, StateKind::Projected) => [memory(MEMORY_UNPROJECTED), memory(p.memory_out as usize)],
        _ => [hidden, memory(p.memory_out as usize)],
    }
}

/// Copies result `index` of a part to its place in `target`.
fn put(target: &mut [f32], part: &Part<'_>, index: usize, place: Place, params: &Params) {
    let [batch, units, panel] = [params.batch, params.units, params.panel].map(|n| n as usize);
    let column = (params.direction as usize + part.side) * units + (panel + part.panels.start) * LANES;
    let len = part.panels.len() * LANES;
    let given = &part.given[index * part.rows.len() * len..];
    for (row, given) in part.rows.clone().zip(given.chunks_exact(len)) {
        let start = (place.row[part.side] * batch + row) * place.width + column;
        target[start..start + len].copy_from_slice(given);
    }
}

/// A part, on SIMD registers.
struct Share<'a, R> {
    rule: R,
    side: Side<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    given: &'a mut [f32],
}

impl<R: Rule> WithSimd for Share<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (product, rows, panels) = (self.side.product, self.rows.clone(), self.panels.clone());
        product.run(simd, rows, panels, &mut self);
    }
}

impl<R: Rule> Epilogue for Share<'_, R> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, simd: S, row: usize, panel: usize, product: &[f32]) {
        let side = &self.side;
        let x = side.gates_of::<R>(row, panel);
        let states: [&[f32]; 2] = std::array::from_fn(|i| side.state(i, row, panel));
        let each = self.rows.len() * self.panels.len() * LANES;
        let start = ((row - self.rows.start) * self.panels.len() + panel - self.panels.start) * LANES;
        let (first, second) = self.given.split_at_mut(each);
        let first = &mut first[start..][..LANES];
        let second = if R::GIVES == 2 { &mut second[start..][..LANES] } else { second };

        let registers = LANES / S::F32_LANES;
        let (input, product) = (S::as_simd_f32s(x).0, S::as_simd_f32s(product).0);
        let peepholes = if R::PEEPHOLES { S::as_simd_f32s(side.product.after_bias(panel)).0 } else { &[] };
        for at in 0..registers {
            let mut old = [simd.splat_f32s(0.0); 2];
            for i in 0..2 {
                if R::READS[i] {
                    old[i] = S::as_simd_f32s(states[i]).0[at];
                }
            }
            let new = self.rule.update(simd, Gates { input, product, peepholes, registers, at }, old);
            S::as_mut_simd_f32s(first).0[at] = new[0];
            if R::GIVES == 2 {
                S::as_mut_simd_f32s(second).0[at] = new[1];
            }
        }
        if side.live.is_some_and(|live| live[row] == 0) {
            match R::HELD[0] {
                true => first.copy_from_slice(states[0]),
                false => first.fill(0.0),
            }
            if R::HELD[1] && R::GIVES == 2 {
                second.copy_from_slice(states[1]);
            }
        }
    }
}

impl<'a> Side<'a> {
    /// The input product of a row and a panel, `[INPUT_GATES][16]`.
    #[inline(always)]
    fn gates_of<R: Rule>(&self, row: usize, panel: usize) -> &'a [f32] {
        let width = R::INPUT_GATES * LANES;
        if width == 0 { &[] } else { self.gates.part(row, panel * width, width) }
    }

    /// State `i` of a row and a panel, `[16]`, or nothing where the kernel reads none.
    #[inline(always)]
    fn state(&self, i: usize, row: usize, panel: usize) -> &'a [f32] {
        let state = self.states[i];
        if state.stride == 0 { &[] } else { state.part(row, panel * LANES, LANES) }
    }
}
