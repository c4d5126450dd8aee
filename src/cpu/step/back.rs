//! A timestep back: the product of the next timestep's δ, and the cell's
//! backward pass. `team` decides which thread computes which part, and when.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Job, RELU, Span, States, Work, is_plain};
use crate::cell::Cell;
use crate::cpu::functions::{General, Plain, Relu, Tanh};
use crate::cpu::product::{Epilogue, Product, Rows};
use crate::cpu::training::cells::{Cell as Rule, Gru, Known, Lstm, NEW, Rnn};
use crate::cpu::training::curves::Curves;
use crate::kernel::{LANES, PAST_CELL, PAST_HIDDEN, StepBack};

impl Work<'_> {
    /// Computes a part of a step back. It gives δ, which the timestep before multiplies, and the gradient that
    /// bypasses the product. An LSTM also gives that of its cell state, and a GRU gives δ of the input product.
    pub(super) fn run_back(self, back: &StepBack) {
        match back.cell {
            Cell::Rnn if is_plain(back.cell, back.variant) => self.run_rule(Rnn(Tanh)),
            Cell::Rnn if back.variant == RELU => self.run_rule(Rnn(Relu)),
            Cell::Rnn => self.run_rule(Rnn(General(back.variant))),
            Cell::Lstm | Cell::Gru(_) if is_plain(back.cell, back.variant) => self.run_gated_back(back.cell, Plain),
            Cell::Lstm | Cell::Gru(_) => self.run_gated_back(back.cell, General(back.variant)),
        }
    }

    fn run_gated_back(self, cell: Cell, functions: impl Curves) {
        if cell == Cell::Lstm { self.run_rule(Lstm(functions)) } else { self.run_rule(Gru(functions)) }
    }

    fn run_rule<R: Rule>(self, rule: R) {
        let Self { arch, job, states, part, given } = self;
        let each = part.rows.len() * part.panels.len() * LANES * values::<R>();
        for (z, given) in part.sides.clone().zip(given.chunks_exact_mut(each.max(1))) {
            let (rows, panels) = (part.rows.clone(), part.panels.clone());
            arch.dispatch(Share { rule, side: side::<R>(job, states, z), rows, panels, given });
        }
    }
}

/// Returns how many numbers a unit gives.
fn values<R: Rule>() -> usize {
    R::DELTAS * (1 + usize::from(R::APART)) + 1 + usize::from(R::CARRIES)
}

/// What a direction reads. Columns count from its first unit, and panels from the dispatch's first.
struct Side<'a> {
    product: Product<'a>,
    kept: Rows<'a>,
    delta: Rows<'a>,
    states: [Rows<'a>; 2],
    past: [Rows<'a>; 2],
    /// Panels at equal distances.
    peepholes: Rows<'a>,
    live: Option<&'a [u32]>,
    /// The first panel of the dispatch, and the true units.
    panel: usize,
    features: usize,
}

fn side<'a, R: Rule>(job: &Job<'a>, states: &'a States<'_>, z: usize) -> Side<'a> {
    let p = job.params;
    let [batch, depth, units, directions] = [p.batch, p.depth, p.units, p.directions].map(|n| n as usize);
    let (d, width) = (p.direction as usize + z, directions * units);
    let rows = |data: &'a [f32], row: u32, stride: usize, column: usize| match data {
        [] => Rows::NONE,
        data => Rows { data: &data[row as usize * batch * stride + column..], stride },
    };
    let state = |data, row: u32| rows(data, row, width, d * units);
    let source = match states.span {
        Span::Bound => [p.source_0, p.source_1][z] as usize,
        Span::Current => z,
    };
    let operands = job.back;
    let step = match R::STATES {
        0 => [Rows::NONE; 2],
        1 => [state(operands.states, [p.before_0, p.before_1][z]), Rows::NONE],
        _ => [state(operands.states, p.cell_in), state(operands.states, p.cell_out)],
    };
    let past = |row: usize| Rows { data: &states.beside[row * batch * width + d * units..], stride: width };
    let panel_gates = R::DELTAS * LANES;
    let (panel, first) = ((units + 2) * panel_gates, p.weight_panel as usize + z * p.weight_panels as usize);
    Side {
        product: job.transposed(z, Rows { data: &states.hidden[source * batch * depth..], stride: depth }),
        kept: rows(operands.kept, [p.kept_0, p.kept_1][z], units * R::KEPT, 0),
        delta: state(operands.delta, [p.target_0, p.target_1][z]),
        states: step,
        past: [past(PAST_HIDDEN), past(PAST_CELL)],
        peepholes: match operands.peepholes {
            [] => Rows::NONE,
            data => Rows { data: &data[first * panel + (units + 1) * panel_gates..], stride: panel },
        },
        live: job.live(z),
        panel: p.panel as usize,
        features: p.features as usize,
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
        let each = self.rows.len() * self.panels.len() * LANES;
        let start = ((row - self.rows.start) * self.panels.len() + panel - self.panels.start) * LANES;
        let (deltas, rest) = self.given.split_at_mut(each * R::DELTAS);
        let (past, rest) = rest.split_at_mut(each);
        let (carry, apart) = rest.split_at_mut(if R::CARRIES { each } else { 0 });
        let deltas = &mut deltas[start * R::DELTAS..][..LANES * R::DELTAS];
        let past = &mut past[start..][..LANES];
        let carry = if R::CARRIES { &mut carry[start..][..LANES] } else { carry };
        // What the timestep before multiplies comes first. For a GRU this is δ of the recurrent product.
        let inputs = if R::APART { &mut apart[start * R::DELTAS..][..LANES * R::DELTAS] } else { apart };
        let column = (side.panel + panel) * LANES;
        let lives = side.live.is_none_or(|live| live[row] != 0);

        let (zero, registers) = (simd.splat_f32s(0.0), LANES / S::F32_LANES);
        let kept = S::as_simd_f32s(side.kept.part(row, column * R::KEPT, LANES * R::KEPT)).0;
        let delta = units::<S>(side.delta, row, column);
        let gone_past = side.past.map(|past| units::<S>(past, row, column));
        for at in 0..registers {
            let dh = simd.add_f32s(S::as_simd_f32s(product).0[at], gone_past[PAST_HIDDEN][at]);
            let mut known = Known {
                kept: [zero; 4],
                states: [zero; 2],
                peepholes: [zero; 4],
                dh: simd.add_f32s(dh, delta[at]),
                carried: gone_past[PAST_CELL][at],
            };
            if !lives {
                // No gradient enters a dead step: the gradients of the states bypass it.
                S::as_mut_simd_f32s(past).0[at] = known.dh;
                if R::CARRIES {
                    S::as_mut_simd_f32s(carry).0[at] = known.carried;
                }
                continue;
            }
            for gate in 0..R::KEPT {
                known.kept[gate] = kept[gate * registers + at];
            }
            for state in 0..R::STATES {
                known.states[state] = units::<S>(side.states[state], row, column)[at];
            }
            if side.peepholes.stride > 0 {
                let peepholes = S::as_simd_f32s(side.peepholes.part(panel, 0, R::DELTAS * LANES)).0;
                for gate in 0..R::DELTAS {
                    known.peepholes[gate] = peepholes[gate * registers + at];
                }
            }
            let found = self.rule.back(simd, known);
            for gate in 0..R::DELTAS {
                S::as_mut_simd_f32s(deltas).0[gate * registers + at] = found.delta[gate];
            }
            if R::APART {
                for gate in 0..R::DELTAS {
                    S::as_mut_simd_f32s(inputs).0[gate * registers + at] = found.delta[gate];
                }
                S::as_mut_simd_f32s(deltas).0[NEW * registers + at] = found.recurrent;
            }
            S::as_mut_simd_f32s(past).0[at] = found.past[PAST_HIDDEN];
            if R::CARRIES {
                S::as_mut_simd_f32s(carry).0[at] = found.past[PAST_CELL];
            }
        }
        if !lives {
            deltas.fill(0.0);
            inputs.fill(0.0);
        }
        // Gradients of padding must not become weights.
        if side.features < column + LANES {
            let true_units = side.features.saturating_sub(column);
            for written in [deltas, past, carry, inputs] {
                written.chunks_exact_mut(LANES).for_each(|units| units[true_units..].fill(0.0));
            }
        }
    }
}

/// Returns the registers of a panel of a row, or nothing if there are no rows.
#[inline(always)]
fn units<S: Simd>(rows: Rows<'_>, row: usize, column: usize) -> &[S::f32s] {
    if rows.stride == 0 { &[] } else { S::as_simd_f32s(rows.part(row, column, LANES)).0 }
}
