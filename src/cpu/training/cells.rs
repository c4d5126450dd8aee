//! The backward pass of each cell, on SIMD registers. The equations are those of `kernel::catalog`.
//!
//! Knows no buffer.

use pulp::Simd;

use super::curves::Curves;
use crate::cpu::gates::{CELL, FORGET, INPUT, OUTPUT};

/// The gates of a GRU, in order.
pub(in crate::cpu) const RESET: usize = 0;
pub(in crate::cpu) const UPDATE: usize = 1;
pub(in crate::cpu) const NEW: usize = 2;
/// The recurrent product of the new gate is kept behind its input product.
const NEW_RECURRENT: usize = 3;

/// The inputs of a step back, for a register of units.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Known<V> {
    /// What the step kept, by gate.
    pub(in crate::cpu) kept: [V; 4],
    /// States of the forward step: a GRU's hidden state before it, or an LSTM's cell states before and after it.
    pub(in crate::cpu) states: [V; 2],
    /// Peepholes, by gate.
    pub(in crate::cpu) peepholes: [V; 4],
    /// The gradient of the hidden state after the step.
    pub(in crate::cpu) dh: V,
    /// The gradient of the cell state.
    pub(in crate::cpu) carried: V,
}

/// The results of a step back.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Found<V> {
    /// δ, by gate.
    pub(in crate::cpu) delta: [V; 4],
    /// δ of the new gate of a GRU's recurrent product.
    pub(in crate::cpu) recurrent: V,
    /// The gradients of the states before the step, without the parts that go through products.
    pub(in crate::cpu) past: [V; 2],
    /// The hidden state that an LSTM outputs.
    pub(in crate::cpu) shown: V,
}

/// The backward pass of a cell.
pub(in crate::cpu) trait Cell: Copy + Send + Sync {
    /// Gates that a step keeps.
    const KEPT: usize;
    /// Gates of δ.
    const DELTAS: usize;
    /// How many states of the forward step it reads.
    const STATES: usize;
    /// Whether there is a cell state.
    const CARRIES: bool = false;
    /// Whether δ of the recurrent product differs from that of the input product.
    const APART: bool = false;

    fn back<S: Simd>(self, simd: S, known: Known<S::f32s>) -> Found<S::f32s>;
}

/// Simple RNN.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Rnn<F>(pub(in crate::cpu) F);

impl<F: Curves> Cell for Rnn<F> {
    const KEPT: usize = 1;
    const DELTAS: usize = 1;
    const STATES: usize = 0;

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, known: Known<S::f32s>) -> Found<S::f32s> {
        let zero = simd.splat_f32s(0.0);
        let [_, slope] = self.0.f_at(simd, known.kept[0]);
        let delta = simd.mul_f32s(known.dh, slope);
        Found { delta: [delta, zero, zero, zero], recurrent: zero, past: [zero; 2], shown: zero }
    }
}

/// LSTM.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Lstm<F>(pub(in crate::cpu) F);

impl<F: Curves> Cell for Lstm<F> {
    const KEPT: usize = 4;
    const DELTAS: usize = 4;
    const STATES: usize = 2;
    const CARRIES: bool = true;

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, known: Known<S::f32s>) -> Found<S::f32s> {
        let Known { kept, states: [old, new], peepholes, dh, carried } = known;
        let (one, zero) = (simd.splat_f32s(1.0), simd.splat_f32s(0.0));
        let mut sums = kept;
        if F::PEEPHOLES {
            for (gate, cell_state) in [(INPUT, old), (FORGET, old), (OUTPUT, new)] {
                sums[gate] = simd.mul_add_e_f32s(peepholes[gate], cell_state, sums[gate]);
            }
        }
        let [input, input_slope] = self.0.f_at(simd, sums[INPUT]);
        let [cell, cell_slope] = self.0.g_at(simd, sums[CELL]);
        let [output, output_slope] = self.0.f_at(simd, sums[OUTPUT]);
        let [shown, shown_slope] = self.0.h_at(simd, new);

        let d_output = simd.mul_f32s(simd.mul_f32s(dh, shown), output_slope);
        let mut dc = simd.mul_add_e_f32s(simd.mul_f32s(dh, output), shown_slope, carried);
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
        let mut delta = [zero; 4];
        for (gate, found) in [(INPUT, d_input), (FORGET, d_forget), (CELL, d_cell), (OUTPUT, d_output)] {
            delta[gate] = found;
        }
        Found { delta, recurrent: zero, past: [zero, past], shown: simd.mul_f32s(output, shown) }
    }
}

/// GRU with the reset after the product.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Gru<F>(pub(in crate::cpu) F);

impl<F: Curves> Cell for Gru<F> {
    const KEPT: usize = 4;
    const DELTAS: usize = 3;
    const STATES: usize = 1;
    const APART: bool = true;

    #[inline(always)]
    fn back<S: Simd>(self, simd: S, known: Known<S::f32s>) -> Found<S::f32s> {
        let Known { kept, states: [hidden, _], dh, .. } = known;
        let (one, zero) = (simd.splat_f32s(1.0), simd.splat_f32s(0.0));
        let q = kept[NEW_RECURRENT];
        let [reset, reset_slope] = self.0.f_at(simd, kept[RESET]);
        let [update, update_slope] = self.0.f_at(simd, kept[UPDATE]);
        let [new, new_slope] = self.0.g_at(simd, simd.mul_add_e_f32s(reset, q, kept[NEW]));

        let d_new = simd.mul_f32s(simd.mul_f32s(dh, simd.sub_f32s(one, update)), new_slope);
        let d_update = simd.mul_f32s(simd.mul_f32s(dh, simd.sub_f32s(hidden, new)), update_slope);
        let d_reset = simd.mul_f32s(simd.mul_f32s(d_new, q), reset_slope);
        Found {
            delta: [d_reset, d_update, d_new, zero],
            recurrent: simd.mul_f32s(d_new, reset),
            past: [simd.mul_f32s(update, dh), zero],
            shown: zero,
        }
    }
}
