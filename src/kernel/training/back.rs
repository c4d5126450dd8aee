//! The backward pass of timesteps: one or many in a dispatch if each
//! is one product, or the cell alone if the state is projected.

use crate::cell::{Cell, Variant};
use crate::kernel::derived::{invocations, walked_step};
use crate::kernel::{Mask, Matrix, Params, StateKind, Tile};

/// The backward pass of one timestep or many: the product with δ of the next timestep, and the way through the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepBack {
    /// The cell, which is never a GRU with the reset before the product.
    pub cell: Cell,
    /// How the cell departs from its plain equations.
    pub variant: Variant,
    /// Whether a mask is bound.
    pub mask: Mask,
    /// The recurrent matrix, transposed.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// Returns how many gates a step of `cell` keeps for its backward pass.
#[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
pub fn kept_gates(cell: Cell) -> u32 {
    match cell {
        Cell::Rnn | Cell::Lstm => cell.gates() as u32,
        // Both parts of the new gate count.
        Cell::Gru(_) => 4,
    }
}

impl StepBack {
    /// Returns how the forward step handled its states.
    pub fn states(&self) -> StateKind {
        if self.cell == Cell::Lstm { StateKind::Cell } else { StateKind::Hidden }
    }

    /// The bytes of a row of δ that a scan keeps in workgroup memory.
    #[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
    pub(super) fn row_bytes(&self) -> u32 {
        16 * 4 * self.tile.panels * self.cell.gates() as u32
    }

    /// Iterations of all loops of a scan. They are those of each step, with its loads and stores of
    /// gates. δ of the first step's successor, and what goes in and out row by row, come on top.
    pub(super) fn scan_iterations(&self, params: &Params) -> u64 {
        let rows = u64::from(self.tile.rows);
        let gates = u64::from(kept_gates(self.cell)) + 3 * self.cell.gates() as u64;
        let loaded = (rows * u64::from(params.depth / 4)).div_ceil(invocations(self.tile).into());
        u64::from(params.steps) * (walked_step(self.tile, 1, params) + rows * gates) + loaded + 2 * rows
    }
}

/// The backward pass through the cell of a timestep of an LSTM that projects its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellBack {
    /// How the cell departs from its plain equations.
    pub variant: Variant,
    /// Whether a mask is bound.
    pub mask: Mask,
}
