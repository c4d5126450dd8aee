//! The inputs of a cell's rule and its functions: the gates of a register of units.

use pulp::Simd;

/// The gates of an LSTM, in order.
pub(super) const INPUT: usize = 0;
pub(super) const FORGET: usize = 1;
pub(super) const CELL: usize = 2;
pub(super) const OUTPUT: usize = 3;

/// The gates of a register of units: the input product, the recurrent product and their sum.
///
/// It has methods instead of closures. A closure is a function of its own, without the instructions of its caller.
#[derive(Clone, Copy)]
pub(super) struct Gates<'a, V> {
    /// `[INPUT_GATES][registers]`.
    pub(super) input: &'a [V],
    /// `[PRODUCT_GATES][registers]`.
    pub(super) product: &'a [V],
    /// `[PRODUCT_GATES][registers]`, if there are any.
    pub(super) peepholes: &'a [V],
    /// Registers of a gate.
    pub(super) registers: usize,
    /// The register that is computed.
    pub(super) at: usize,
}

impl<V: Copy> Gates<'_, V> {
    #[inline(always)]
    pub(super) fn x(&self, gate: usize) -> V {
        self.input[gate * self.registers + self.at]
    }

    #[inline(always)]
    pub(super) fn r(&self, gate: usize) -> V {
        self.product[gate * self.registers + self.at]
    }

    #[inline(always)]
    pub(super) fn peephole(&self, gate: usize) -> V {
        self.peepholes[gate * self.registers + self.at]
    }

    #[inline(always)]
    pub(super) fn sum<S: Simd<f32s = V>>(&self, simd: S, gate: usize) -> V {
        simd.add_f32s(self.x(gate), self.r(gate))
    }
}
