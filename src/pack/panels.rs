//! The panels of a matrix: where a row of weights goes in them, and how its numbers are stored.
//!
//! A part of packing. Knows rows, gates and units; knows no layer, nor where a weight comes from.

use bytemuck::Pod;
use half::f16;

use crate::error::Result;
use crate::kernel::{LANES, padded};
use crate::model::Features;
use crate::platform::parallel::*;
use crate::weights::{Scale, narrowed};

/// An element of a packed buffer that is one weight.
pub(super) trait Element: Pod + Send + Sync {
    /// Converts the nearest number to `w`.
    fn of(w: f32) -> Result<Self>;
}

impl Element for f32 {
    fn of(w: f32) -> Result<Self> {
        Ok(w)
    }
}

impl Element for f16 {
    fn of(w: f32) -> Result<Self> {
        narrowed(w)
    }
}

/// An element of panels.
pub(super) trait Stored: Pod + Send + Sync {
    /// Returns the number of elements of a panel.
    fn panel_elems(shape: PanelShape) -> usize;

    /// Puts a row of weights, whose features are those of `source`, into its column.
    fn put_row(column: &mut Column<'_, Self>, source: Features, row: &[f32]) -> Result<()>;

    /// Puts `w` into row `row` of those after the depth; row 0 is the bias.
    fn put_after(column: &mut Column<'_, Self>, row: usize, w: f32) -> Result<()>;
}

impl<E: Element> Stored for E {
    fn panel_elems(shape: PanelShape) -> usize {
        shape.floats()
    }

    fn put_row(column: &mut Column<'_, Self>, source: Features, row: &[f32]) -> Result<()> {
        for (feature, &w) in row.iter().enumerate() {
            *column.elem(padded_row(source, feature)) = E::of(w)?;
        }
        Ok(())
    }

    fn put_after(column: &mut Column<'_, Self>, row: usize, w: f32) -> Result<()> {
        *column.elem(column.depth + row) = E::of(w)?;
        Ok(())
    }
}

/// Bytes: integers, then the rows of scales, biases and peepholes in 32-bit floats.
impl Stored for u8 {
    fn panel_elems(shape: PanelShape) -> usize {
        (shape.depth + 4 * (1 + shape.after)) * shape.gates * LANES
    }

    fn put_row(column: &mut Column<'_, Self>, source: Features, row: &[f32]) -> Result<()> {
        let scale = Scale::of(row)?;
        for (feature, &w) in row.iter().enumerate() {
            *column.elem(padded_row(source, feature)) = scale.integer(w).cast_unsigned();
        }
        column.put_float(0, scale.0);
        Ok(())
    }

    fn put_after(column: &mut Column<'_, Self>, row: usize, w: f32) -> Result<()> {
        column.put_float(1 + row, w);
        Ok(())
    }
}

/// The rows of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PanelShape {
    /// K.
    pub(crate) depth: usize,
    /// Rows after the depth: the bias and peepholes.
    pub(crate) after: usize,
    /// G.
    pub(crate) gates: usize,
}

impl PanelShape {
    /// The floats of a panel whose weights are floats.
    pub(crate) fn floats(self) -> usize {
        (self.depth + self.after) * self.gates * LANES
    }

    /// The bytes of a panel of integers.
    pub(crate) fn integer_bytes(self) -> usize {
        u8::panel_elems(self)
    }

    /// Writes to `floats` the numbers that `bytes`, a panel of integers, represents.
    pub(crate) fn widen(self, bytes: &[u8], floats: &mut [f32]) {
        let width = self.gates * LANES;
        let (integers, rest) = bytes.split_at(self.depth * width);
        let mut rest = rest.chunks_exact(4).map(|float| f32::from_ne_bytes([float[0], float[1], float[2], float[3]]));
        let scales: Vec<_> = rest.by_ref().take(width).map(Scale).collect();
        let (weights, after) = floats.split_at_mut(self.depth * width);
        for (weights, integers) in weights.chunks_exact_mut(width).zip(integers.chunks_exact(width)) {
            for ((weight, &integer), scale) in weights.iter_mut().zip(integers).zip(&scales) {
                *weight = scale.weight(integer.cast_signed());
            }
        }
        after.iter_mut().zip(rest).for_each(|(to, from)| *to = from);
    }
}

/// The panels of one direction of a matrix.
pub(super) struct Panels<'a, S> {
    pub(super) data: &'a mut [S],
    pub(super) shape: PanelShape,
    pub(super) units: usize,
}

/// The numbers of one gate of one unit in a panel, one for each row.
pub(super) struct Column<'a, S> {
    panel: &'a mut [S],
    first: usize,
    step: usize,
    depth: usize,
}

impl<S: Stored> Panels<'_, S> {
    /// Calls `each` with those of `rows` (gate · units + unit) that are in these panels, and with the column of each.
    pub(super) fn put(
        &mut self,
        rows: std::ops::Range<usize>,
        each: impl Fn(usize, &mut Column<'_, S>) -> Result<()> + Sync,
    ) -> Result<()> {
        let PanelShape { depth, gates, .. } = self.shape;
        let units = self.units;
        self.data.par_chunks_exact_mut(S::panel_elems(self.shape)).enumerate().try_for_each(|(index, panel)| {
            let first = index * LANES;
            for gate in 0..gates {
                for lane in 0..LANES.min(units - first) {
                    let row = gate * units + first + lane;
                    if rows.contains(&row) {
                        each(row, &mut Column { panel, first: gate * LANES + lane, step: gates * LANES, depth })?;
                    }
                }
            }
            Ok(())
        })
    }
}

impl<S> Column<'_, S> {
    /// The element of row `row`.
    fn elem(&mut self, row: usize) -> &mut S {
        &mut self.panel[self.first + row * self.step]
    }
}

impl Column<'_, u8> {
    /// Puts `w` into row `row` of those in 32-bit floats.
    fn put_float(&mut self, row: usize, w: f32) {
        let at = self.depth * self.step + 4 * (self.first + row * self.step);
        self.panel[at..at + 4].copy_from_slice(&w.to_ne_bytes());
    }
}

/// The padded row of feature `feature` of `source`.
fn padded_row(source: Features, feature: usize) -> usize {
    feature / source.size * padded(source.size) + feature % source.size
}
