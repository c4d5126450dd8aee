//! The functions of gates and states: a cell's own functions, compiled in, or those that a program names.
//!
//! A rule is written once and takes either kind, so the plain cell
//! pays nothing for the general one. Knows no rule and no buffer.

use pulp::Simd;

use super::gates::{FORGET, Gates};
use super::math::{apply, bounded, relu, sigmoid, tanh};
use crate::cell::{Activation, Coupling, Peepholes, Variant};

/// The functions of a cell by ONNX's letters, and how its gates depend on each other
/// and on the cell state. A function that a cell does not have is the identity.
pub(super) trait Functions: Copy + Send + Sync {
    /// Whether the gates may have peepholes.
    const PEEPHOLES: bool = false;

    fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;

    #[inline(always)]
    fn g<S: Simd>(self, _: S, x: S::f32s) -> S::f32s {
        x
    }

    #[inline(always)]
    fn h<S: Simd>(self, _: S, x: S::f32s) -> S::f32s {
        x
    }

    /// Returns the input of an LSTM's input, forget or output gate. The last argument is the cell state.
    #[inline(always)]
    fn peeped<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, gate: usize, _: S::f32s) -> S::f32s {
        gates.sum(simd, gate)
    }

    /// Returns the forget gate of an LSTM, from its cell state and its input gate.
    #[inline(always)]
    fn forget<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, cell_state: S::f32s, _: S::f32s) -> S::f32s {
        self.f(simd, self.peeped(simd, gates, FORGET, cell_state))
    }
}

/// Simple RNN with tanh.
#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Functions for Tanh {
    #[inline(always)]
    fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        tanh(simd, x)
    }
}

/// Simple RNN with `max(0, x)`.
#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Functions for Relu {
    #[inline(always)]
    fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        relu(simd, x)
    }
}

/// Sigmoid for gates, tanh for their values: plain LSTM and GRU.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Functions for Plain {
    #[inline(always)]
    fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        sigmoid(simd, x)
    }

    #[inline(always)]
    fn g<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        tanh(simd, x)
    }

    #[inline(always)]
    fn h<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        tanh(simd, x)
    }
}

/// The functions and the options of a program.
#[derive(Clone, Copy)]
pub(super) struct General(pub(super) Variant);

impl General {
    /// Returns a gate's function of x, which is clipped first if there is a clip.
    #[inline(always)]
    fn gate<S: Simd>(self, simd: S, f: Activation, x: S::f32s) -> S::f32s {
        let x = match self.0.clip {
            Some(clip) => bounded(simd, x, clip),
            None => x,
        };
        apply(simd, f, x)
    }
}

impl Functions for General {
    const PEEPHOLES: bool = true;

    #[inline(always)]
    fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        self.gate(simd, self.0.functions.f, x)
    }

    #[inline(always)]
    fn g<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        self.gate(simd, self.0.functions.g, x)
    }

    #[inline(always)]
    fn h<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        // A cell state is not clipped.
        apply(simd, self.0.functions.h, x)
    }

    #[inline(always)]
    fn peeped<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, gate: usize, cell_state: S::f32s) -> S::f32s {
        match self.0.peepholes {
            Peepholes::None => gates.sum(simd, gate),
            Peepholes::Diagonal => simd.mul_add_e_f32s(gates.peephole(gate), cell_state, gates.sum(simd, gate)),
        }
    }

    #[inline(always)]
    fn forget<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, cell_state: S::f32s, input: S::f32s) -> S::f32s {
        match self.0.coupling {
            Coupling::Apart => self.f(simd, self.peeped(simd, gates, FORGET, cell_state)),
            Coupling::InputForget => simd.sub_f32s(simd.splat_f32s(1.0), input),
        }
    }
}
