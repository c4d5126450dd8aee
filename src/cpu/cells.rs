//! The pointwise half of a step: what each cell makes of its gates and states, on SIMD registers.
//!
//! One rule for each thing that can be linked into a step, as each has a file under `shaders/cell/`.
//! The equations are `oracle`'s. Knows no buffers and no plan.

use pulp::Simd;

use super::math::{relu, sigmoid, tanh};

/// The gates of a register of units: the input product, the recurrent product and their sum.
///
/// Methods and not closures: a closure is a function of its own, without the instructions that its caller has.
#[derive(Clone, Copy)]
pub(super) struct Gates<'a, V> {
    /// `[INPUT_GATES][registers]`.
    pub(super) input: &'a [V],
    /// `[PRODUCT_GATES][registers]`.
    pub(super) product: &'a [V],
    /// Registers of a gate.
    pub(super) registers: usize,
    /// Which of them.
    pub(super) at: usize,
}

impl<V: Copy> Gates<'_, V> {
    #[inline(always)]
    fn x(&self, gate: usize) -> V {
        self.input[gate * self.registers + self.at]
    }

    #[inline(always)]
    fn r(&self, gate: usize) -> V {
        self.product[gate * self.registers + self.at]
    }

    #[inline(always)]
    fn sum<S: Simd<f32s = V>>(&self, simd: S, gate: usize) -> V {
        simd.add_f32s(self.x(gate), self.r(gate))
    }
}

/// A cell, or the half of one that a kernel computes.
pub(super) trait Rule: Send + Sync {
    /// G of the recurrent product.
    const PRODUCT_GATES: usize;
    /// G of the hoisted input product, 0 where the kernel reads none.
    const INPUT_GATES: usize;
    /// Which states it reads: the hidden state, the memory.
    const READS: [bool; 2];
    /// How many values it gives.
    const GIVES: usize;
    /// Which of them are states: a dead row keeps those.
    const HELD: [bool; 2];

    /// What it gives, from the gates and the states.
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2];
}

/// Simple RNN with tanh.
pub(super) struct RnnTanh;

impl Rule for RnnTanh {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 1;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        [tanh(simd, gates.sum(simd, 0)), states[1]]
    }
}

/// Simple RNN with `max(0, x)`.
pub(super) struct RnnRelu;

impl Rule for RnnRelu {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 1;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        [relu(simd, gates.sum(simd, 0)), states[1]]
    }
}

#[inline(always)]
fn lstm<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
    let (input, forget) = (sigmoid(simd, gates.sum(simd, 0)), sigmoid(simd, gates.sum(simd, 1)));
    let (cell, output) = (tanh(simd, gates.sum(simd, 2)), sigmoid(simd, gates.sum(simd, 3)));
    let c = simd.mul_add_e_f32s(forget, states[1], simd.mul_f32s(input, cell));
    [simd.mul_f32s(output, tanh(simd, c)), c]
}

/// LSTM.
pub(super) struct Lstm;

impl Rule for Lstm {
    const PRODUCT_GATES: usize = 4;
    const INPUT_GATES: usize = 4;
    const READS: [bool; 2] = [true, true];
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        lstm(simd, gates, states)
    }
}

/// LSTM before its projection: what it gives first is no state yet.
pub(super) struct LstmProjected;

impl Rule for LstmProjected {
    const PRODUCT_GATES: usize = 4;
    const INPUT_GATES: usize = 4;
    const READS: [bool; 2] = [false, true];
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [false, true];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        lstm(simd, gates, states)
    }
}

/// The projection of an LSTM's hidden state.
pub(super) struct Projection;

impl Rule for Projection {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 0;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(_: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        [gates.r(0), states[1]]
    }
}

#[inline(always)]
fn blend<S: Simd>(simd: S, update: S::f32s, new: S::f32s, hidden: S::f32s) -> S::f32s {
    let rest = simd.sub_f32s(simd.splat_f32s(1.0), update);
    simd.mul_add_e_f32s(rest, new, simd.mul_f32s(update, hidden))
}

/// GRU with the reset after the product.
pub(super) struct Gru;

impl Rule for Gru {
    const PRODUCT_GATES: usize = 3;
    const INPUT_GATES: usize = 3;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        let (reset, update) = (sigmoid(simd, gates.sum(simd, 0)), sigmoid(simd, gates.sum(simd, 1)));
        let new = tanh(simd, simd.mul_add_e_f32s(reset, gates.r(2), gates.x(2)));
        [blend(simd, update, new, states[0]), states[1]]
    }
}

/// GRU with the reset before the product, first half: gives `r ∘ h` and the update gate.
pub(super) struct GruReset;

impl Rule for GruReset {
    const PRODUCT_GATES: usize = 2;
    const INPUT_GATES: usize = 3;
    const READS: [bool; 2] = [true, false];
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [false, false];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        let (reset, update) = (sigmoid(simd, gates.sum(simd, 0)), sigmoid(simd, gates.sum(simd, 1)));
        [simd.mul_f32s(reset, states[0]), update]
    }
}

/// GRU with the reset before the product, second half: the second state it reads is the update gate.
pub(super) struct GruNew;

impl Rule for GruNew {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 3;
    const READS: [bool; 2] = [true, true];
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(simd: S, gates: Gates<'_, S::f32s>, states: [S::f32s; 2]) -> [S::f32s; 2] {
        let new = tanh(simd, simd.add_f32s(gates.x(2), gates.r(0)));
        [blend(simd, states[1], new, states[0]), states[1]]
    }
}
