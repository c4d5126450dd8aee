//! The pointwise half of a step: the update of each cell from its gates and states, on SIMD registers.
//!
//! There is one rule for each thing that can be linked into a step, generic over the
//! functions of its gates. The equations are those of `oracle`. Knows no buffers and no plan.

use pulp::Simd;

use super::functions::Functions;
use super::gates::{CELL, Gates, INPUT, OUTPUT};

/// The gates of a GRU, in order. If the reset comes before the
/// product, the new gate is the first one of its own product.
const RESET: usize = 0;
const UPDATE: usize = 1;
const NEW: usize = 2;

/// A cell, or the half of one that a kernel computes.
pub(super) trait Rule: Copy + Send + Sync {
    /// G of the recurrent product.
    const PRODUCT_GATES: usize;
    /// G of the hoisted input product, or 0 if the kernel reads none.
    const INPUT_GATES: usize;
    /// Which states it reads: the hidden state, the cell state.
    const READS: [bool; 2];
    /// How many values it gives.
    const GIVES: usize;
    /// Which of the values are states: a dead row keeps them.
    const HELD: [bool; 2];
    /// Whether its gates may have peepholes.
    const PEEPHOLES: bool = false;

    /// Returns its values, from the gates and the states.
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2];
}

/// Simple RNN.
#[derive(Clone, Copy)]
pub(super) struct Rnn<F>(pub(super) F);

impl<F: Functions> Rule for Rnn<F> {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 1;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        [self.0.f(simd, gates.sum(simd, 0)), states[1]]
    }
}

#[inline(always)]
fn lstm<S: Simd>(functions: impl Functions, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
    let old = states[1];
    let input = functions.f(simd, functions.peeped(simd, gates, INPUT, old));
    let forget = functions.forget(simd, gates, old, input);
    let cell = functions.g(simd, gates.sum(simd, CELL));
    let c = simd.mul_add_e_f32s(forget, old, simd.mul_f32s(input, cell));
    let output = functions.f(simd, functions.peeped(simd, gates, OUTPUT, c));
    [simd.mul_f32s(output, functions.h(simd, c)), c]
}

/// LSTM.
#[derive(Clone, Copy)]
pub(super) struct Lstm<F>(pub(super) F);

impl<F: Functions> Rule for Lstm<F> {
    const PRODUCT_GATES: usize = 4;
    const INPUT_GATES: usize = 4;
    const READS: [bool; 2] = [true, true];
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [true, true];
    const PEEPHOLES: bool = F::PEEPHOLES;

    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        lstm(self.0, simd, gates, states)
    }
}

/// LSTM before its projection: its first value is not a state yet.
#[derive(Clone, Copy)]
pub(super) struct LstmProjected<F>(pub(super) F);

impl<F: Functions> Rule for LstmProjected<F> {
    const PRODUCT_GATES: usize = 4;
    const INPUT_GATES: usize = 4;
    const READS: [bool; 2] = [false, true];
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [false, true];
    const PEEPHOLES: bool = F::PEEPHOLES;

    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        lstm(self.0, simd, gates, states)
    }
}

/// The projection of an LSTM's hidden state.
#[derive(Clone, Copy)]
pub(super) struct Projection;

impl Rule for Projection {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 0;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(self, _: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        [gates.r(0), states[1]]
    }
}

#[inline(always)]
fn blend<S: Simd>(simd: S, update: S::f32s, new: S::f32s, hidden: S::f32s) -> S::f32s {
    let rest = simd.sub_f32s(simd.splat_f32s(1.0), update);
    simd.mul_add_e_f32s(rest, new, simd.mul_f32s(update, hidden))
}

/// GRU with the reset after the product.
#[derive(Clone, Copy)]
pub(super) struct Gru<F>(pub(super) F);

impl<F: Functions> Rule for Gru<F> {
    const PRODUCT_GATES: usize = 3;
    const INPUT_GATES: usize = 3;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        let (reset, update) = (self.0.f(simd, gates.sum(simd, RESET)), self.0.f(simd, gates.sum(simd, UPDATE)));
        let new = self.0.g(simd, simd.mul_add_e_f32s(reset, gates.r(NEW), gates.x(NEW)));
        [blend(simd, update, new, states[0]), states[1]]
    }
}

/// GRU with the reset before the product, first half. It gives `r ∘ h` and the update gate.
#[derive(Clone, Copy)]
pub(super) struct GruReset<F>(pub(super) F);

impl<F: Functions> Rule for GruReset<F> {
    const PRODUCT_GATES: usize = 2;
    const INPUT_GATES: usize = 3;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [false, false];

    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        let (reset, update) = (self.0.f(simd, gates.sum(simd, RESET)), self.0.f(simd, gates.sum(simd, UPDATE)));
        [simd.mul_f32s(reset, states[0]), update]
    }
}

/// GRU with the reset before the product, second half. The second state that it reads is the update gate.
#[derive(Clone, Copy)]
pub(super) struct GruNew<F>(pub(super) F);

impl<F: Functions> Rule for GruNew<F> {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 3;
    const READS: [bool; 2] = [true, true];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        let new = self.0.g(simd, simd.add_f32s(gates.x(NEW), gates.r(0)));
        [blend(simd, states[1], new, states[0]), states[1]]
    }
}
