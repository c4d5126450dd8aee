//! The way back through the cell of a timestep. The equations are those of `kernel::catalog`.

use pulp::{Arch, Simd};

use super::back::{Panel, Rule, run};
use super::curves::Curves;
use crate::cell::{Activation, Cell, Variant};
use crate::cpu::buffers::Bound;
use crate::cpu::functions::{General, Plain, Relu, Tanh};
use crate::cpu::gates::{CELL, FORGET, INPUT, OUTPUT};
use crate::kernel::{CellBack, LANES};

/// The gates of a GRU, in order.
pub(super) const RESET: usize = 0;
pub(super) const UPDATE: usize = 1;
pub(super) const NEW: usize = 2;

/// Runs a dispatch.
pub(super) fn cell_back(arch: Arch, bound: &mut Bound<'_>, back: CellBack) {
    let is_plain = back.variant == Variant::plain(back.cell);
    let general = General(back.variant);
    match back.cell {
        Cell::Rnn if is_plain => run(arch, bound, Rnn(Tanh)),
        Cell::Rnn if is_relu(back.variant) => run(arch, bound, Rnn(Relu)),
        Cell::Rnn => run(arch, bound, Rnn(general)),
        Cell::Lstm if is_plain => run(arch, bound, Lstm(Plain)),
        Cell::Lstm => run(arch, bound, Lstm(general)),
        Cell::Gru(_) if is_plain => run(arch, bound, Gru(Plain)),
        Cell::Gru(_) => run(arch, bound, Gru(general)),
    }
}

fn is_relu(variant: Variant) -> bool {
    let plain = Variant::plain(Cell::Rnn);
    variant == Variant { functions: crate::cell::Functions { f: Activation::Relu, ..plain.functions }, ..plain }
}

/// Simple RNN.
#[derive(Clone, Copy)]
struct Rnn<F>(F);

impl<F: Curves> Rule for Rnn<F> {
    const GATES: [usize; 2] = [1, 0];

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        for at in 0..LANES / S::F32_LANES {
            let dh = panel.dh(simd, at);
            let gate = &mut S::as_mut_simd_f32s(panel.gates).0[at];
            let [_, slope] = self.0.f_at(simd, *gate);
            *gate = simd.mul_f32s(dh, slope);
        }
        panel.direct.fill(0.0);
    }
}

/// LSTM, whether its state is projected or not.
#[derive(Clone, Copy)]
struct Lstm<F>(F);

impl<F: Curves> Rule for Lstm<F> {
    const GATES: [usize; 2] = [4, 0];

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        let (one, zero) = (simd.splat_f32s(1.0), simd.splat_f32s(0.0));
        let registers = LANES / S::F32_LANES;
        for at in 0..registers {
            let dh = panel.dh(simd, at);
            let [old, new] = panel.memory.map(|memory| S::as_simd_f32s(memory).0[at]);
            let mut peepholes = [zero; 4];
            if F::PEEPHOLES && !panel.peepholes.is_empty() {
                for gate in [INPUT, FORGET, OUTPUT] {
                    peepholes[gate] = S::as_simd_f32s(panel.peepholes).0[gate * registers + at];
                }
            }
            let gates = S::as_mut_simd_f32s(panel.gates).0;
            let mut sums = [zero; 4];
            for (gate, memory) in [(INPUT, old), (FORGET, old), (CELL, zero), (OUTPUT, new)] {
                sums[gate] = gates[gate * registers + at];
                if F::PEEPHOLES && gate != CELL {
                    sums[gate] = simd.mul_add_e_f32s(peepholes[gate], memory, sums[gate]);
                }
            }
            let [input, input_slope] = self.0.f_at(simd, sums[INPUT]);
            let [cell, cell_slope] = self.0.g_at(simd, sums[CELL]);
            let [output, output_slope] = self.0.f_at(simd, sums[OUTPUT]);
            let [shown, shown_slope] = self.0.h_at(simd, new);

            let d_output = simd.mul_f32s(simd.mul_f32s(dh, shown), output_slope);
            let carry = &mut S::as_mut_simd_f32s(panel.carry).0[at];
            let mut dc = simd.mul_add_e_f32s(simd.mul_f32s(dh, output), shown_slope, *carry);
            if F::PEEPHOLES {
                dc = simd.mul_add_e_f32s(d_output, peepholes[OUTPUT], dc);
            }
            let d_cell = simd.mul_f32s(simd.mul_f32s(dc, input), cell_slope);
            let (d_input, d_forget, forget);
            if self.0.is_coupled() {
                forget = simd.sub_f32s(one, input);
                d_input = simd.mul_f32s(simd.mul_f32s(dc, simd.sub_f32s(cell, old)), input_slope);
                d_forget = zero;
            } else {
                let forget_slope;
                [forget, forget_slope] = self.0.f_at(simd, sums[FORGET]);
                d_input = simd.mul_f32s(simd.mul_f32s(dc, cell), input_slope);
                d_forget = simd.mul_f32s(simd.mul_f32s(dc, old), forget_slope);
            }
            let mut past = simd.mul_f32s(dc, forget);
            if F::PEEPHOLES {
                past = simd.mul_add_e_f32s(d_input, peepholes[INPUT], past);
                past = simd.mul_add_e_f32s(d_forget, peepholes[FORGET], past);
            }
            *carry = past;
            for (gate, delta) in [(INPUT, d_input), (FORGET, d_forget), (CELL, d_cell), (OUTPUT, d_output)] {
                gates[gate * registers + at] = delta;
            }
            if !panel.result.is_empty() {
                S::as_mut_simd_f32s(panel.result).0[at] = simd.mul_f32s(output, shown);
            }
        }
        panel.direct.fill(0.0);
    }
}

/// GRU with the reset after the product.
#[derive(Clone, Copy)]
struct Gru<F>(F);

impl<F: Curves> Rule for Gru<F> {
    const GATES: [usize; 2] = [3, 3];

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, panel: &mut Panel<'_>) {
        let registers = LANES / S::F32_LANES;
        for at in 0..registers {
            let dh = panel.dh(simd, at);
            let hidden = S::as_simd_f32s(panel.hidden).0[at];
            let gates = S::as_mut_simd_f32s(panel.gates).0;
            let recurrent = S::as_mut_simd_f32s(panel.recurrent).0;
            let place = [RESET, UPDATE, NEW].map(|gate| gate * registers + at);
            let q = recurrent[place[NEW]];
            let reset = simd.add_f32s(gates[place[RESET]], recurrent[place[RESET]]);
            let update = simd.add_f32s(gates[place[UPDATE]], recurrent[place[UPDATE]]);
            let [reset, reset_slope] = self.0.f_at(simd, reset);
            let [update, update_slope] = self.0.f_at(simd, update);
            let [new, new_slope] = self.0.g_at(simd, simd.mul_add_e_f32s(reset, q, gates[place[NEW]]));

            let rest = simd.sub_f32s(simd.splat_f32s(1.0), update);
            let d_new = simd.mul_f32s(simd.mul_f32s(dh, rest), new_slope);
            let d_update = simd.mul_f32s(simd.mul_f32s(dh, simd.sub_f32s(hidden, new)), update_slope);
            let d_reset = simd.mul_f32s(simd.mul_f32s(d_new, q), reset_slope);
            for (gate, delta) in [(RESET, d_reset), (UPDATE, d_update), (NEW, d_new)] {
                gates[place[gate]] = delta;
                recurrent[place[gate]] = if gate == NEW { simd.mul_f32s(delta, reset) } else { delta };
            }
            S::as_mut_simd_f32s(panel.direct).0[at] = simd.mul_f32s(update, dh);
        }
    }
}
