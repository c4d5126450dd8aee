//! What dispatches are made of: rows of chunks and pairs of directions. Two dispatches
//! that many operations share are here too: a product of many rows, and rows of a table.

use super::ops::{Axis, Sequence, Span};
use super::windows::{self, Panels, table};
use super::{Chunk, Lowering};
use crate::cell::{Activation, Cell};
use crate::error::Result;
use crate::kernel::{Gemm, LANES, Matrix, Params, Program, Role, Tile, WORKGROUP};
use crate::layout::MatrixRef;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};
use crate::precision::Precision;

/// Returns the value of each direction of a dispatch, as a pair
/// of `Params`, with 0 for a direction that it does not have.
pub(super) fn pair(first: usize, directions: usize, of: impl Fn(usize) -> usize) -> (u32, u32) {
    (word(of(first)), if directions == 2 { word(of(first + 1)) } else { 0 })
}

/// Returns a size for `Params`. A size past 32 bits saturates: no slot is that large, so `check` refuses the plan.
pub(super) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Returns where units end behind which a product writes 0, or 0 if there is no padding behind them.
pub(super) fn end_of_units(units: usize) -> u32 {
    if units.is_multiple_of(LANES) { 0 } else { word(units) }
}

impl Lowering<'_> {
    /// Returns the row of step `chunk.start + step` of a sequence in its slot.
    pub(super) fn row_of(&self, sequence: Sequence, chunk: Chunk, step: usize) -> usize {
        match (sequence.axis, sequence.span) {
            (Axis::Steps(_), Span::Whole) => sequence.first + chunk.start + step,
            (Axis::Steps(_), Span::Chunk) => sequence.first + chunk.at + step,
            (Axis::Rows, _) => sequence.first + step,
        }
    }

    /// Returns the most iterations of a kernel's loop, beside `others` that it runs.
    pub(super) fn most_iterations(&self, others: usize) -> usize {
        (self.limits.loop_iterations as usize).saturating_sub(others).max(1)
    }

    /// Returns the tile-high pieces of `rows` rows that a grid's y can hold: first row and count.
    pub(super) fn pieces(&self, rows: usize, tile_rows: u32) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = (self.limits.workgroups as usize).saturating_mul(tile_rows as usize);
        (0..rows).step_by(most).map(move |first| (first, most.min(rows - first)))
    }

    /// Reads rows of the tables of `directions` directions from `first` on.
    pub(super) fn gather(&mut self, gather: &Gather, first: usize, directions: usize) -> Result<()> {
        let tokens = self.whole(gather.tokens);
        let (_, width) = table(self.layout, gather.buffer)?;
        for table in self.table(gather.buffer, first, directions)? {
            for (row, rows) in self.pieces(gather.rows, 1) {
                let (source_0, source_1) = pair(table.direction, table.directions, |d| gather.sources[d] + row);
                let (target_0, target_1) = pair(table.direction, table.directions, |d| gather.targets[d] + row);
                let params = Params {
                    rows: word(rows),
                    units: word(width),
                    weight_panel: word(table.at),
                    weight_panels: word(table.stride),
                    source_0,
                    source_1,
                    target_0,
                    target_1,
                    token: word(table.token),
                    tokens: word(table.tokens),
                    ..Params::default()
                };
                let program = Program::Gather(self.layout.storage.of_tables());
                let grid = [lanes(width), rows, table.directions];
                let windows = [
                    (Role::Weights, Some(table.window)),
                    (Role::Tokens, Some(tokens)),
                    (Role::Result, Some(gather.result)),
                ];
                self.dispatch(program, params, grid, &windows)?;
            }
        }
        Ok(())
    }

    /// Emits the hoisted input product of `directions` directions from `first` on, with the matrix at `place`.
    pub(super) fn gemm(
        &mut self,
        place: MatrixRef,
        product: &InputGemm,
        first: usize,
        directions: usize,
    ) -> Result<()> {
        let one = windows::product(self.layout, place.buffer, product.rows)?;
        let panels = self.panels(place, first, directions)?;
        self.project_panels(
            self.matrix(place.buffer),
            &panels,
            product,
            Product { panels: one.panels * directions, ..one },
        )
    }

    /// Returns the tile that `of` chooses for a product of `size` with `panels`. It is wide if the panels
    /// are `alike` row by row, have one gate each, and no window ends between those of an invocation.
    pub(super) fn wide(&self, panels: &[Panels], alike: bool, size: Product, of: impl Fn(Product) -> Tile) -> Tile {
        let wide = self.tuning.wide();
        let is_whole = |panels: &Panels| panels.panels.is_multiple_of(wide as usize);
        if !alike || size.gates != 1 || !panels.iter().all(is_whole) {
            return of(size);
        }
        Tile { wide, ..of(Product { panels: size.panels / wide as usize, ..size }) }
    }

    /// Emits the hoisted input product with `panels` of `matrix`, which has `size` in all.
    pub(super) fn project_panels(
        &mut self,
        matrix: Matrix,
        panels: &[Panels],
        product: &InputGemm,
        size: Product,
    ) -> Result<()> {
        // Integers also have rows of scales.
        let alike = product.after == 1 && matrix.storage != Precision::I8 && !product.per_gate;
        let tile =
            self.wide(panels, alike, size, |size| self.tuning.gemm(size, self.limits)).own_loads(product.per_gate);
        let tile_rows = tile.rows * tile.slices;
        for panels in panels {
            for (row, rows) in self.pieces(product.rows, tile_rows) {
                let (source_0, source_1) = pair(panels.direction, panels.directions, |d| product.sources[d] + row);
                let (target_0, target_1) = pair(panels.direction, panels.directions, |d| product.targets[d] + row);
                let params = Params {
                    rows: word(rows),
                    depth: word(size.depth),
                    units: word(product.width),
                    source_units: word(product.source_width.unwrap_or(size.depth)),
                    source_offset: word(product.source_column),
                    source_0,
                    source_1,
                    target_0,
                    target_1,
                    panel: word(product.panel + panels.panel),
                    count: end_of_units(product.panel * LANES + product.units),
                    ..panels.params()
                };
                let program = Program::Gemm(Gemm {
                    cell: product.cell,
                    gates: word(size.gates),
                    after: word(product.after),
                    activation: product.activation,
                    matrix,
                    tile,
                    add: product.add,
                    per_gate: product.per_gate,
                });
                let grid = [
                    panels.panels.div_ceil((tile.panels * tile.wide) as usize),
                    rows.div_ceil(tile_rows as usize),
                    panels.directions,
                ];
                let windows = [
                    (Role::Weights, Some(panels.window)),
                    (Role::Source, Some(product.source)),
                    (Role::Result, Some(product.result)),
                ];
                self.dispatch(program, params, grid, &windows)?;
            }
        }
        Ok(())
    }
}

/// Rows of a table by token, many at once.
pub(super) struct Gather {
    pub(super) buffer: usize,
    pub(super) tokens: SlotId,
    pub(super) rows: usize,
    /// The first token, by direction.
    pub(super) sources: [usize; 2],
    pub(super) result: Window,
    /// The first row written, by direction.
    pub(super) targets: [usize; 2],
}

/// A product of many rows with a matrix.
pub(super) struct InputGemm {
    /// The cell whose gates the product gives, or none for a linear layer.
    pub(super) cell: Option<Cell>,
    pub(super) activation: Activation,
    pub(super) rows: usize,
    pub(super) source: Window,
    /// The first row read, and the first row written, by direction.
    pub(super) sources: [usize; 2],
    pub(super) result: Window,
    pub(super) targets: [usize; 2],
    /// Elements of a row of the result, and the first panel of the row that the product writes.
    pub(super) width: usize,
    pub(super) panel: usize,
    /// The units that there are, from that panel on; 0 if those of padding may have any value.
    pub(super) units: usize,
    /// Elements of a row of the source, if it has more than the product's depth, and the first element that is taken.
    pub(super) source_width: Option<usize>,
    pub(super) source_column: usize,
    /// Rows of a panel of the matrix after those of the depth.
    pub(super) after: usize,
    /// Whether the product is added to the result's old values.
    pub(super) add: bool,
    /// Whether each gate multiplies its own rows.
    pub(super) per_gate: bool,
}

impl InputGemm {
    /// Describes a plain product: rows of a window times a matrix with one row after those of
    /// its depth. The result goes into rows of another window, with `width` elements each.
    pub(super) fn plain(
        rows: usize,
        (source, sources): (Window, [usize; 2]),
        (result, targets): (Window, [usize; 2]),
        width: usize,
    ) -> Self {
        Self {
            cell: None,
            activation: Activation::Linear,
            rows,
            source,
            sources,
            result,
            targets,
            width,
            panel: 0,
            units: 0,
            source_width: None,
            source_column: 0,
            after: 1,
            add: false,
            per_gate: false,
        }
    }
}

impl Panels {
    pub(super) fn params(&self) -> Params {
        Params {
            direction: word(self.direction),
            panel: word(self.panel),
            panels: word(self.panels),
            weight_panel: word(self.at),
            weight_panels: word(self.stride),
            ..Params::default()
        }
    }
}

/// Returns the workgroups for `elems` elements, four in each invocation.
pub(super) fn lanes(elems: usize) -> usize {
    elems.div_ceil(4 * WORKGROUP as usize)
}
