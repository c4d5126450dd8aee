//! What gates and states go through: a cell's own functions, compiled in, or those that a program names.
//!
//! A rule is written once and takes either: the plain cell pays nothing for what the general one can do.
//! Knows no rule and no buffer.

use pulp::Simd;

use super::cells::{FORGET, Gates};
use super::math::{apply, bounded, relu, sigmoid, tanh};
use crate::cell::{Activation, Coupling, Peepholes, Variant};

/// The functions of a cell by ONNX's letters, and how its gates see each other and the memory.
pub(super) trait Functions: Copy + Send + Sync {
    /// Whether the gates may have peepholes.
    const PEEPHOLES: bool = false;

    fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;

    fn g<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;

    fn h<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;

    /// What goes into the function of gate input, forget or output of an LSTM whose memory is `memory`.
    #[inline(always)]
    fn peeped<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, gate: usize, memory: S::f32s) -> S::f32s {
        let _ = memory;
        gates.sum(simd, gate)
    }

    /// The forget gate of an LSTM whose input gate is `input`.
    #[inline(always)]
    fn forget<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, memory: S::f32s, input: S::f32s) -> S::f32s {
        let _ = input;
        self.f(simd, self.peeped(simd, gates, FORGET, memory))
    }
}

/// Sigmoid for gates, tanh for what they let through: LSTM and GRU as their names alone say.
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
    /// A function of what is bounded before, where there is a clip.
    #[inline(always)]
    fn through<S: Simd>(self, simd: S, f: Activation, x: S::f32s) -> S::f32s {
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
        self.through(simd, self.0.functions.f, x)
    }

    #[inline(always)]
    fn g<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        self.through(simd, self.0.functions.g, x)
    }

    #[inline(always)]
    fn h<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        self.through(simd, self.0.functions.h, x)
    }

    #[inline(always)]
    fn peeped<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, gate: usize, memory: S::f32s) -> S::f32s {
        match self.0.peepholes {
            Peepholes::None => gates.sum(simd, gate),
            Peepholes::Diagonal => simd.mul_add_e_f32s(gates.peephole(gate), memory, gates.sum(simd, gate)),
        }
    }

    #[inline(always)]
    fn forget<S: Simd>(self, simd: S, gates: Gates<'_, S::f32s>, memory: S::f32s, input: S::f32s) -> S::f32s {
        match self.0.coupling {
            Coupling::Apart => self.f(simd, self.peeped(simd, gates, FORGET, memory)),
            Coupling::InputForget => simd.sub_f32s(simd.splat_f32s(1.0), input),
        }
    }
}

/// A simple RNN's function, compiled in. It has no other.
macro_rules! only {
    ($(#[$about:meta])* $name:ident, $function:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        impl Functions for $name {
            #[inline(always)]
            fn f<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                $function(simd, x)
            }

            #[inline(always)]
            fn g<S: Simd>(self, _: S, x: S::f32s) -> S::f32s {
                x
            }

            #[inline(always)]
            fn h<S: Simd>(self, _: S, x: S::f32s) -> S::f32s {
                x
            }
        }
    };
}

only!(
    /// Simple RNN with tanh.
    Tanh, tanh
);
only!(
    /// Simple RNN with `max(0, x)`.
    Relu, relu
);
