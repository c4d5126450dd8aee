//! Timesteps back: those of one product, one or many in a dispatch, and the cell alone where the state is projected.

use crate::cell::{Cell, Variant};
use crate::kernel::derived::{invocations, walked_step};
use crate::kernel::{Mask, Matrix, Params, StateKind, Tile};

/// One timestep back, or many: the product of what the step after it gave, and the way back through the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepBack {
    /// The cell: never a GRU with the reset before the product.
    pub cell: Cell,
    /// How it departs from what its name alone stands for.
    pub variant: Variant,
    /// Whether a mask is bound.
    pub mask: Mask,
    /// The recurrent matrix, turned.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// How many gates a step of `cell` keeps for its way back.
#[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
pub fn kept_gates(cell: Cell) -> u32 {
    match cell {
        Cell::Rnn | Cell::Lstm => cell.gates() as u32,
        // Both parts of the new one.
        Cell::Gru(_) => 4,
    }
}

impl StepBack {
    /// What the step did with its states.
    pub fn states(&self) -> StateKind {
        if self.cell == Cell::Lstm { StateKind::Memory } else { StateKind::Hidden }
    }

    /// Bytes of a row of δ that a scan keeps in workgroup memory.
    #[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
    pub(super) fn row_bytes(&self) -> u32 {
        16 * 4 * self.tile.panels * self.cell.gates() as u32
    }

    /// Iterations of all loops of a scan: those of each step, among them what it loads and stores of its gates; δ of the step
    /// after the first, and what goes in and out row by row.
    pub(super) fn scan_iterations(&self, params: &Params) -> u64 {
        let rows = u64::from(self.tile.rows);
        let gates = u64::from(kept_gates(self.cell)) + 3 * self.cell.gates() as u64;
        let loaded = (rows * u64::from(params.depth / 4)).div_ceil(invocations(self.tile).into());
        u64::from(params.steps) * (walked_step(self.tile, 1, params) + rows * gates) + loaded + 2 * rows
    }
}

/// The way back through the cell of a timestep of an LSTM that projects its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellBack {
    /// How the cell departs from what its name alone stands for.
    pub variant: Variant,
    /// Whether a mask is bound.
    pub mask: Mask,
}
