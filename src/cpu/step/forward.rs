//! A step forward: the operands of each kernel, and its product with the rule of its cell.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Job, Span, States, Timestep, Work};
use crate::cell::Cell;
use crate::cpu::cells::{Gru, Lstm, LstmProjected, Rule};
use crate::cpu::functions::Functions;
use crate::cpu::gates::Gates;
use crate::cpu::product::{Epilogue, Product, Rows};
use crate::kernel::{CELL_UNPROJECTED, LANES, SCRATCH_RESET, SCRATCH_UPDATE, StateKind, Step, kept_gates};

impl Work<'_> {
    /// Computes a part of a step of an LSTM or a GRU.
    pub(super) fn run_gated(self, step: &Step, functions: impl Functions) {
        match step.states {
            StateKind::Projected => self.run(LstmProjected(functions)),
            StateKind::Cell => self.run(Lstm(functions)),
            StateKind::Hidden => self.run(Gru(functions)),
        }
    }

    pub(super) fn run<R: Rule>(self, rule: R) {
        let Self { arch, job, states, part, given } = self;
        let keeps = job.keeps();
        let values = R::GIVES + keeps.map_or(0, |cell| kept_gates(cell) as usize);
        let each = values * part.rows.len() * part.panels.len() * LANES;
        for (z, given) in part.sides.clone().zip(given.chunks_exact_mut(each.max(1))) {
            let (rows, panels) = (part.rows.clone(), part.panels.clone());
            arch.dispatch(Share { rule, side: side::<R>(job, states, z), keeps, rows, panels, given });
        }
    }
}

/// Returns what direction `z` of the dispatch reads.
fn side<'a, R: Rule>(job: &Job<'a>, states: &'a States<'_>, z: usize) -> Side<'a> {
    let p = job.params;
    let [batch, depth, units, directions] = [p.batch, p.depth, p.units, p.directions].map(|n| n as usize);
    let (panel, d) = (p.panel as usize, p.direction as usize + z);
    let column = d * units + panel * LANES;
    let row = |data: &'a [f32], row: usize, width: usize, column: usize| Rows {
        data: &data[row * batch * width + column..],
        stride: width,
    };
    let (beside, current) = (&*states.beside, &*states.hidden);
    let source = match states.span {
        Span::Bound => [p.source_0, p.source_1][z] as usize,
        Span::Current => 0,
    };
    let wide = directions * units;
    let hidden = || row(current, source, wide, column);
    let (source, old) = match job.timestep {
        Timestep::Reset(_) => (row(current, source, wide, d * depth), [hidden(), Rows::NONE]),
        Timestep::New(_) => {
            (row(beside, SCRATCH_RESET, wide, d * depth), [hidden(), row(beside, SCRATCH_UPDATE, wide, column)])
        }
        Timestep::Project => (row(beside, CELL_UNPROJECTED, directions * depth, d * depth), [hidden(), Rows::NONE]),
        Timestep::Back(_) => unreachable!("a step back has a rule of its own"),
        Timestep::Whole(step) => {
            let source = match job.copies {
                Some(_) => Rows::NONE,
                None => row(current, source, directions * depth, d * depth),
            };
            let beside = || row(beside, p.cell_in as usize, wide, column);
            match step.states {
                StateKind::Hidden => (source, [hidden(), Rows::NONE]),
                StateKind::Cell => (source, [hidden(), beside()]),
                StateKind::Projected => (source, [Rows::NONE, beside()]),
            }
        }
    };
    let copies = job.copies.map(|copies| {
        let stride = depth * R::PRODUCT_GATES;
        Rows { data: &copies[d * batch * stride..], stride }
    });
    let panel_rows = depth + job.after_depth;
    let size = panel_rows * R::PRODUCT_GATES * LANES;
    let first = p.weight_panel as usize + z * p.weight_panels as usize;
    let width = units * R::INPUT_GATES;
    let timestep = [p.gates_0, p.gates_1][z] as usize;
    Side {
        product: Product {
            panels: &job.weights[first * size..][..p.panels as usize * size],
            gates: R::PRODUCT_GATES,
            depth,
            panel_rows,
            source: copies.unwrap_or(source),
            per_gate: copies.is_some(),
        },
        gates: match R::INPUT_GATES {
            0 => Rows::NONE,
            gates => row(job.gates, timestep, width, panel * LANES * gates),
        },
        states: old,
        live: job.live(z),
    }
}

/// What a direction reads. Panels and columns count from the dispatch's first.
#[derive(Clone, Copy)]
struct Side<'a> {
    product: Product<'a>,
    gates: Rows<'a>,
    states: [Rows<'a>; 2],
    live: Option<&'a [u32]>,
}

/// A part, on SIMD registers.
struct Share<'a, R> {
    rule: R,
    side: Side<'a>,
    /// The cell whose step keeps what its backward pass needs, if it does.
    keeps: Option<Cell>,
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
        let (first, rest) = self.given.split_at_mut(each);
        let first = &mut first[start..][..LANES];
        let (second, kept) = if R::GIVES == 2 { rest.split_at_mut(each) } else { rest.split_at_mut(0) };
        let second = if R::GIVES == 2 { &mut second[start..][..LANES] } else { second };

        let registers = LANES / S::F32_LANES;
        let (input, product) = (S::as_simd_f32s(x).0, S::as_simd_f32s(product).0);
        if let Some(cell) = self.keeps {
            let gates = kept_gates(cell) as usize;
            let kept = &mut kept[start * gates..][..LANES * gates];
            keep(simd, cell, [input, product], S::as_mut_simd_f32s(kept).0);
        }
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

/// Writes what a step keeps for its backward pass, `[gates][16]`:
/// the inputs of the gates, and both parts of a GRU's new gate.
#[inline(always)]
fn keep<S: Simd>(simd: S, cell: Cell, [input, product]: [&[S::f32s]; 2], kept: &mut [S::f32s]) {
    let (sums, separate) = match cell {
        Cell::Rnn | Cell::Lstm => kept.split_at_mut(kept.len()),
        Cell::Gru(_) => kept.split_at_mut(kept.len() / 2),
    };
    for ((kept, x), r) in sums.iter_mut().zip(input).zip(product) {
        *kept = simd.add_f32s(*x, *r);
    }
    let (first, second) = separate.split_at_mut(separate.len() / 2);
    let new = sums.len();
    first.copy_from_slice(&input[new..][..first.len()]);
    second.copy_from_slice(&product[new..][..second.len()]);
}

impl<'a> Side<'a> {
    /// Returns the input product of a row and a panel, `[INPUT_GATES][16]`.
    #[inline(always)]
    fn gates_of<R: Rule>(&self, row: usize, panel: usize) -> &'a [f32] {
        let width = R::INPUT_GATES * LANES;
        if width == 0 { &[] } else { self.gates.part(row, panel * width, width) }
    }

    /// Returns state `i` of a row and a panel, `[16]`, or nothing if the kernel reads none.
    #[inline(always)]
    fn state(&self, i: usize, row: usize, panel: usize) -> &'a [f32] {
        let state = self.states[i];
        if state.stride == 0 { &[] } else { state.part(row, panel * LANES, LANES) }
    }
}
