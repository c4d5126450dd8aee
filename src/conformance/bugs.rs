//! Negative controls: minimal bugs in weights, planted so that a test can prove that a tolerance finds them.
//!
//! Knows weights and models; knows no case and no executor.

use ndarray::Axis;

use super::{rounded, rounded_to_half};
use crate::model::Model;
use crate::precision::Precision;
use crate::weights::{CellWeights, LayerWeights, Weights};

/// A bug in the weights of the last layer of the last recurrent stack, in the forward direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The first two gates are swapped.
    GatesSwapped,
    /// One element of one bias vector is zero.
    BiasDropped,
    /// One row of the recurrent product has the values of the next row.
    RowOffByOne,
    /// Every weight of the model is rounded to half precision.
    RoundedToHalf,
    /// The matrices of the model are rounded to 8-bit integers.
    RoundedToIntegers,
    /// Each row of the recurrent product, stored as 8-bit integers, has the scale of the next row.
    ScaleOffByOne,
}

impl Bug {
    /// Every bug, in a stable order.
    pub const ALL: [Self; 6] = [
        Self::GatesSwapped,
        Self::BiasDropped,
        Self::RowOffByOne,
        Self::RoundedToHalf,
        Self::RoundedToIntegers,
        Self::ScaleOffByOne,
    ];

    /// Returns the weights with the bug, or `None` if the model cannot have it.
    pub fn plant(self, model: &Model, weights: &Weights) -> Option<Weights> {
        let stack = model.stacks().last()?;
        let mut wrong = weights.clone();
        let cells = wrong.layers.iter_mut().rev().find_map(|layer| match layer {
            LayerWeights::Recurrent(cells) => Some(cells),
            _ => None,
        })?;
        let cell = &mut cells[(stack.num_layers - 1) * stack.directions()];
        match self {
            Self::GatesSwapped => swap_gates(cell, stack.cell.gates())?,
            Self::BiasDropped => drop_bias(cell)?,
            Self::RowOffByOne => repeat_row(cell)?,
            Self::RoundedToHalf => return Some(rounded_to_half(weights)),
            Self::RoundedToIntegers => return rounded(weights, Precision::I8).ok(),
            Self::ScaleOffByOne => mistake_scales(cell)?,
        }
        Some(wrong)
    }
}

fn swap_gates(cell: &mut CellWeights, gates: usize) -> Option<()> {
    if gates < 2 {
        return None;
    }
    let rows = cell.w_h.nrows();
    let hidden = rows / gates;
    let order: Vec<usize> = (hidden..2 * hidden).chain(0..hidden).chain(2 * hidden..rows).collect();
    cell.w_x = cell.w_x.select(Axis(0), &order);
    cell.w_h = cell.w_h.select(Axis(0), &order);
    for bias in [&mut cell.b_x, &mut cell.b_h].into_iter().flatten() {
        *bias = bias.select(Axis(0), &order);
    }
    Some(())
}

fn drop_bias(cell: &mut CellWeights) -> Option<()> {
    let bias = cell.b_h.as_mut().or(cell.b_x.as_mut())?;
    *bias.last_mut()? = 0.0;
    Some(())
}

fn repeat_row(cell: &mut CellWeights) -> Option<()> {
    let last = cell.w_h.nrows() - 1;
    let next = cell.w_h.row(last).to_owned();
    cell.w_h.row_mut(last.checked_sub(1)?).assign(&next);
    Some(())
}

/// Returns `None` if every scale is close to the next.
fn mistake_scales(cell: &mut CellWeights) -> Option<()> {
    let most: Vec<f32> =
        cell.w_h.rows().into_iter().map(|row| row.iter().fold(0.0, |most, w| w.abs().max(most))).collect();
    let mut factors = most.windows(2).map(|pair| pair[1] / pair[0]);
    for (mut row, factor) in cell.w_h.rows_mut().into_iter().zip(factors.clone()) {
        row.mapv_inplace(|w| w * factor);
    }
    factors.any(|factor| (factor - 1.0).abs() > 0.05).then_some(())
}
