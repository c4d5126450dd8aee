//! Windows: which bytes of which slots a dispatch binds, within the device's binding limit.

use super::ops::{Axis, Sequence, Span};
use super::{CHUNK_ALIGN, Chunk, Lowering};
use crate::error::{Error, Result};
use crate::kernel::Medium;
use crate::layout::{Form, Layout, MatrixRef, depth};
use crate::plan::tune::Product;
use crate::plan::{SlotId, WINDOW_ALIGN, Window};

/// Panels of a weight matrix, as they are bound.
pub(super) struct Panels {
    pub(super) window: Window,
    pub(super) direction: usize,
    pub(super) directions: usize,
    /// The first of the direction's panels, and the count.
    pub(super) panel: usize,
    pub(super) panels: usize,
    /// The index of `panel` of `direction` in the window, and the panels from one direction to the next.
    pub(super) at: usize,
    pub(super) stride: usize,
}

/// Rows of a table by token, as they are bound.
pub(super) struct Table {
    pub(super) window: Window,
    pub(super) direction: usize,
    pub(super) directions: usize,
    /// The first token, and the count.
    pub(super) token: usize,
    pub(super) tokens: usize,
    /// The index of `token` of `direction` in the window, and the rows from one direction to the next.
    pub(super) at: usize,
    pub(super) stride: usize,
}

/// Returns the product of `rows` rows with a matrix of packed buffer `buffer`.
///
/// # Errors
///
/// Returns an error of kind `Internal` if the buffer holds a table.
pub(super) fn product(layout: &Layout, buffer: usize, rows: usize) -> Result<Product> {
    match layout.buffers[buffer].form {
        Form::Matrix { panels, source, gates, .. } => Ok(Product { rows, depth: depth(source), panels, gates }),
        Form::Table { .. } => Err(Error::internal(format!("{}: expected a matrix", layout.buffers[buffer].name))),
    }
}

/// Returns the rows of one direction of the table in packed buffer `buffer`, and their width.
///
/// # Errors
///
/// Returns an error of kind `Internal` if the buffer holds a matrix.
pub(super) fn table(layout: &Layout, buffer: usize) -> Result<(usize, usize)> {
    match layout.buffers[buffer].form {
        Form::Table { rows, width, .. } => Ok((rows, width)),
        Form::Matrix { .. } => Err(Error::internal(format!("{}: expected a table", layout.buffers[buffer].name))),
    }
}

impl Lowering<'_> {
    /// Returns the bytes of a row `[B][width]` of a slot.
    pub(super) fn row_bytes(&self, slot: SlotId) -> u64 {
        self.plan.slots[slot].dims[1..].iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64))
    }

    /// Returns the window of a whole slot.
    pub(super) fn whole(&self, slot: SlotId) -> Window {
        Window { slot, offset: 0, bytes: self.plan.slots[slot].bytes }
    }

    /// Returns the window with rows `first .. first + rows` of a slot, and the row that the window starts at.
    ///
    /// A call in one chunk binds whole slots, and so does a slot that holds one chunk: one bind group serves
    /// all dispatches. Otherwise each chunk binds its own rows, so that the params of all chunks are the same.
    pub(super) fn rows(&self, sequence: Sequence, first: usize, rows: usize) -> (Window, usize) {
        let in_one = sequence.axis != Axis::Rows && sequence.axis.time(self.shape) <= self.chunk;
        if in_one || sequence.span == Span::Chunk {
            return (self.whole(sequence.slot), 0);
        }
        let start = first / CHUNK_ALIGN * CHUNK_ALIGN;
        let bytes = self.row_bytes(sequence.slot);
        let window =
            Window { slot: sequence.slot, offset: start as u64 * bytes, bytes: (first + rows - start) as u64 * bytes };
        (window, start)
    }

    /// Returns the window with the rows of a chunk of a sequence, and its first row there, of which a step has B.
    pub(super) fn rows_of_chunk(&self, sequence: Sequence, chunk: Chunk) -> (Window, usize) {
        let row = self.row_of(sequence, chunk, 0);
        let (window, start) = self.rows(sequence, row, chunk.len);
        (window, (row - start) * self.shape.batch)
    }

    /// Whether slots can be bound whole, so that both directions of a layer can be in one dispatch.
    pub(super) fn fit_whole(&self, slots: &[SlotId]) -> bool {
        slots.iter().all(|&slot| self.plan.slots[slot].bytes <= self.limits.binding_bytes)
    }

    /// Returns the panels of a packed matrix in the form that products read, for the
    /// directions of a side. They are in a texture if the layout has them in a buffer
    /// and that is slower. Else they are as in [`packed_panels`](Self::packed_panels).
    pub(super) fn panels(&mut self, matrix: MatrixRef, first: usize, directions: usize) -> Result<Vec<Panels>> {
        let MatrixRef { buffer, first: own } = matrix;
        if self.matrix(buffer).medium == self.layout.medium_of(buffer) {
            return self.packed_panels(matrix, first, directions);
        }
        let Product { panels, .. } = product(self.layout, buffer, 0)?;
        let packed = self.weights(buffer);
        let texture = self.all_in_texture(packed)?;
        Ok(self.panels_of((texture, panels, None), own, first, directions))
    }

    /// Returns the panels of a packed matrix, in as few windows
    /// as the binding limit allows, for the directions of a side.
    pub(super) fn packed_panels(&mut self, matrix: MatrixRef, first: usize, directions: usize) -> Result<Vec<Panels>> {
        let slot = self.weights(matrix.buffer);
        let form = self.layout.buffers[matrix.buffer].form;
        let Product { panels, .. } = product(self.layout, matrix.buffer, 0)?;
        let whole = self.layout.medium_of(matrix.buffer) == Medium::Texture || self.fit_whole(&[slot]);
        let panel_bytes = (!whole).then(|| self.layout.panel_bytes(form));
        Ok(self.panels_of((slot, panels, panel_bytes), matrix.first, first, directions))
    }

    /// Returns the panels of the matrices in `slot`, `panels` each, for `directions` directions from `first` on.
    /// The first of all is in matrix `matrix`. They are in one window, or cut if a size of a panel is given.
    pub(super) fn panels_of(
        &self,
        (slot, panels, panel_bytes): (SlotId, usize, Option<u64>),
        matrix: usize,
        first: usize,
        directions: usize,
    ) -> Vec<Panels> {
        let Some(panel_bytes) = panel_bytes else {
            let window = self.whole(slot);
            let at = (matrix + first) * panels;
            return vec![Panels { window, direction: first, directions, panel: 0, panels, at, stride: panels }];
        };
        let mut windows = Vec::new();
        let (fit, aligned) = self.cuts(panel_bytes);
        for direction in first..first + directions {
            let base = (matrix + direction) * panels;
            let mut panel = 0;
            while panel < panels {
                let start = (base + panel) / aligned * aligned;
                // At least one panel: if even that is too much, `check` refuses the plan.
                let end = (start + fit).min(base + panels).max(base + panel + 1);
                windows.push(Panels {
                    window: Window {
                        slot,
                        offset: start as u64 * panel_bytes,
                        bytes: (end - start) as u64 * panel_bytes,
                    },
                    direction,
                    directions: 1,
                    panel,
                    panels: end - base - panel,
                    at: base + panel - start,
                    stride: 0,
                });
                panel = end - base;
            }
        }
        windows
    }

    /// Returns the rows of a packed table, in as few windows as the
    /// binding limit allows, for `directions` directions from `first` on.
    pub(super) fn table(&mut self, buffer: usize, first: usize, directions: usize) -> Result<Vec<Table>> {
        let slot = self.weights(buffer);
        let (rows, width) = table(self.layout, buffer)?;
        if self.fit_whole(&[slot]) {
            let window = self.whole(slot);
            let at = first * rows;
            return Ok(vec![Table { window, direction: first, directions, token: 0, tokens: rows, at, stride: rows }]);
        }
        let row_bytes = width as u64 * self.layout.storage.of_tables().bytes();
        let (fit, aligned) = self.cuts(row_bytes);
        let mut windows = Vec::new();
        for direction in first..first + directions {
            let (base, mut row) = (direction * rows, 0);
            while row < rows {
                let start = (base + row) / aligned * aligned;
                let end = (start + fit).min(base + rows).max(base + row + 1);
                windows.push(Table {
                    window: Window { slot, offset: start as u64 * row_bytes, bytes: (end - start) as u64 * row_bytes },
                    direction,
                    directions: 1,
                    token: row,
                    tokens: end - base - row,
                    at: base + row - start,
                    stride: 0,
                });
                row = end - base;
            }
        }
        Ok(windows)
    }

    /// Returns how pieces of `bytes` are cut into windows: how many fit one, and the multiple at which one may start.
    fn cuts(&self, bytes: u64) -> (usize, usize) {
        let fit = usize::try_from(self.limits.binding_bytes / bytes).unwrap_or(usize::MAX);
        // The alignment is a power of two, and so is the part of it that `bytes` lack.
        let aligned = WINDOW_ALIGN >> bytes.trailing_zeros().min(WINDOW_ALIGN.trailing_zeros());
        (fit, usize::try_from(aligned).expect("at most the alignment"))
    }
}
