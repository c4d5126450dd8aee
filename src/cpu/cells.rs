//! The pointwise half of a step: what each cell makes of its gates and states, on SIMD registers.
//!
//! One rule for each thing that can be linked into a step, as each has a file under `shaders/cell/`.
//! The equations are `oracle`'s. Knows no buffers and no plan.

use pulp::Simd;

use super::math::{relu, sigmoid, tanh};

/// A cell, or the half of one that a kernel computes.
pub(super) trait Rule: Copy + Send + Sync {
    /// G of the recurrent product.
    const PRODUCT_GATES: usize;
    /// G of the hoisted input product, 0 where the kernel reads none.
    const INPUT_GATES: usize;
    /// How many states it reads.
    const READS: usize;
    /// How many values it gives.
    const GIVES: usize;
    /// Which of them are states: a dead row keeps those.
    const HELD: [bool; 2];

    /// What it gives, from gates `x` of the input product, `r` of the recurrent product, and the states.
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2];
}

/// Simple RNN with tanh.
#[derive(Clone, Copy)]
pub(super) struct RnnTanh;

impl Rule for RnnTanh {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 1;
    const READS: usize = 1;
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        [tanh(simd, simd.add_f32s(x(0), r(0))), states[1]]
    }
}

/// Simple RNN with `max(0, x)`.
#[derive(Clone, Copy)]
pub(super) struct RnnRelu;

impl Rule for RnnRelu {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 1;
    const READS: usize = 1;
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        [relu(simd, simd.add_f32s(x(0), r(0))), states[1]]
    }
}

#[inline(always)]
fn lstm<S: Simd>(
    simd: S,
    x: impl Fn(usize) -> S::f32s,
    r: impl Fn(usize) -> S::f32s,
    states: [S::f32s; 2],
) -> [S::f32s; 2] {
    let gate = |g| simd.add_f32s(x(g), r(g));
    let (input, forget) = (sigmoid(simd, gate(0)), sigmoid(simd, gate(1)));
    let (cell, output) = (tanh(simd, gate(2)), sigmoid(simd, gate(3)));
    let c = simd.mul_add_e_f32s(forget, states[1], simd.mul_f32s(input, cell));
    [simd.mul_f32s(output, tanh(simd, c)), c]
}

/// LSTM.
#[derive(Clone, Copy)]
pub(super) struct Lstm;

impl Rule for Lstm {
    const PRODUCT_GATES: usize = 4;
    const INPUT_GATES: usize = 4;
    const READS: usize = 2;
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        lstm(simd, x, r, states)
    }
}

/// LSTM before its projection: what it gives first is no state yet.
#[derive(Clone, Copy)]
pub(super) struct LstmProjected;

impl Rule for LstmProjected {
    const PRODUCT_GATES: usize = 4;
    const INPUT_GATES: usize = 4;
    const READS: usize = 2;
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [false, true];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        lstm(simd, x, r, states)
    }
}

/// The projection of an LSTM's hidden state.
#[derive(Clone, Copy)]
pub(super) struct Projection;

impl Rule for Projection {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 0;
    const READS: usize = 1;
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(
        _: S,
        _: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        [r(0), states[1]]
    }
}

#[inline(always)]
fn blend<S: Simd>(simd: S, update: S::f32s, new: S::f32s, hidden: S::f32s) -> S::f32s {
    let rest = simd.sub_f32s(simd.splat_f32s(1.0), update);
    simd.mul_add_e_f32s(rest, new, simd.mul_f32s(update, hidden))
}

/// GRU with the reset after the product.
#[derive(Clone, Copy)]
pub(super) struct Gru;

impl Rule for Gru {
    const PRODUCT_GATES: usize = 3;
    const INPUT_GATES: usize = 3;
    const READS: usize = 1;
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        let gate = |g| sigmoid(simd, simd.add_f32s(x(g), r(g)));
        let (reset, update) = (gate(0), gate(1));
        let new = tanh(simd, simd.mul_add_e_f32s(reset, r(2), x(2)));
        [blend(simd, update, new, states[0]), states[1]]
    }
}

/// GRU with the reset before the product, first half: gives `r ∘ h` and the update gate.
#[derive(Clone, Copy)]
pub(super) struct GruReset;

impl Rule for GruReset {
    const PRODUCT_GATES: usize = 2;
    const INPUT_GATES: usize = 3;
    const READS: usize = 1;
    const GIVES: usize = 2;
    const HELD: [bool; 2] = [false, false];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        let gate = |g| sigmoid(simd, simd.add_f32s(x(g), r(g)));
        [simd.mul_f32s(gate(0), states[0]), gate(1)]
    }
}

/// GRU with the reset before the product, second half: the second state it reads is the update gate.
#[derive(Clone, Copy)]
pub(super) struct GruNew;

impl Rule for GruNew {
    const PRODUCT_GATES: usize = 1;
    const INPUT_GATES: usize = 3;
    const READS: usize = 2;
    const GIVES: usize = 1;
    const HELD: [bool; 2] = [true, true];

    #[inline(always)]
    fn update<S: Simd>(
        simd: S,
        x: impl Fn(usize) -> S::f32s,
        r: impl Fn(usize) -> S::f32s,
        states: [S::f32s; 2],
    ) -> [S::f32s; 2] {
        let new = tanh(simd, simd.add_f32s(x(2), r(0)));
        [blend(simd, states[1], new, states[0]), states[1]]
    }
}
