//! Packed buffers → `Weights`, for a layout for training, in which every weight has a place of its own.

use std::ops::Range;

use ndarray::{Array1, ArrayViewMut1, ArrayViewMut2, Axis};

use super::{Content, PEEPHOLES, content, layer_of, norm};
use crate::kernel::{Band, LANES, padded};
use crate::layout::{Buffer, Form, Layout, Role, band, depth};
use crate::model::Model;
use crate::weights::{Array, LayerWeights, Part, Weights};

/// Returns the weights in `buffers`, one for each buffer of a layout for training. Learned states are zero. The first
/// of the layers that share a buffer gets its weights; the others get them only if they are `shared`.
pub(crate) fn unpack(model: &Model, layout: &Layout, buffers: &[Vec<f32>], shared: bool) -> Weights {
    let mut weights = Weights::zeros(model);
    let twin = |&(role, buffer): &(Role, usize)| (Buffer { role, ..layout.buffers[buffer].clone() }, &buffers[buffer]);
    let twins = layout.shared.iter().filter(|_| shared).map(twin);
    for (buffer, data) in layout.buffers.iter().cloned().zip(buffers).chain(twins) {
        for (direction, data) in data.chunks_exact(data.len() / buffer.form.matrices()).enumerate() {
            if buffer.role.is_of_norm() {
                let layer = layer_of(layout, buffer.role);
                norm::unpack(&mut weights.layers[layer], buffer.role, direction, data);
                continue;
            }
            let content = content(model, layout, &buffer, direction);
            let layer = &mut weights.layers[layer_of(layout, buffer.role)];
            match (buffer.form, buffer.role) {
                (Form::Table { width, .. }, Role::Table { .. }) => {
                    let LayerWeights::Embedding(table) = layer else { unreachable!("a table is an embedding's") };
                    for (mut row, data) in table.axis_iter_mut(Axis(0)).zip(data.chunks_exact(width)) {
                        row.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
                    }
                }
                _ => {
                    let band = band(model, content.layer).ok().flatten();
                    matrix(layer, &content, (buffer.form, band), data);
                }
            }
        }
    }
    weights
}

/// Unpacks a matrix, its bias and its peepholes.
fn matrix(layer: &mut LayerWeights, content: &Content, (form, band): (Form, Option<Band>), data: &[f32]) {
    let Form::Matrix { source, gates, extra, units, .. } = form else { unreachable!("a table is an embedding's") };
    let (deep, panel) = (depth(source), (depth(source) + 1 + extra) * gates * LANES);
    let at = |row: usize, k: usize| {
        let (gate, unit) = (row / units, row % units);
        data[unit / LANES * panel + (k * gates + gate) * LANES + unit % LANES]
    };
    let rows = content.rows.clone();
    let mut w = array(layer, content.w);
    for (n, mut row) in w.axis_iter_mut(Axis(0)).skip(rows.start).take(rows.len()).enumerate() {
        for (feature, w) in row.iter_mut().enumerate() {
            let padded = feature / source.size * padded(source.size) + feature % source.size;
            *w = at(n, band.map_or(padded, |band| band.place(n, feature)));
        }
    }
    if let Some(bias) = content.bias {
        put(vector(layer, bias), rows.clone(), |n| at(n, deep));
    }
    if let Some(peepholes) = content.peepholes {
        let mut peepholes = array(layer, peepholes);
        for (gate, of) in PEEPHOLES.into_iter().enumerate() {
            let Some(of) = of else { continue };
            put_row(peepholes.row_mut(of), |unit| at(gate * units + unit, deep + 1));
        }
    }
}

fn put(vector: &mut Array1<f32>, rows: Range<usize>, of: impl Fn(usize) -> f32) {
    for (n, to) in vector.iter_mut().skip(rows.start).take(rows.len()).enumerate() {
        *to = of(n);
    }
}

fn put_row(row: ArrayViewMut1<'_, f32>, of: impl Fn(usize) -> f32) {
    row.into_iter().enumerate().for_each(|(unit, to)| *to = of(unit));
}

/// Returns an array as a matrix. A row has the weights of one unit.
fn array(layer: &mut LayerWeights, array: Array) -> ArrayViewMut2<'_, f32> {
    let w = match (layer, array) {
        (LayerWeights::Conv { w, .. }, Array::Weight) => {
            let (units, inputs, taps) = w.dim();
            let w = w.view_mut().into_shape_with_order((units, inputs * taps));
            return w.expect("zeros are in the standard order");
        }
        (LayerWeights::Linear { w, .. }, Array::Weight) => w,
        (LayerWeights::Recurrent(cells), Array::Cell { cell, part }) => {
            let cell = &mut cells[cell];
            let absent = "the layout is of this model";
            match part {
                Part::WX => &mut cell.w_x,
                Part::WH => &mut cell.w_h,
                Part::WR => cell.w_r.as_mut().expect(absent),
                Part::Peepholes => cell.peepholes.as_mut().expect(absent),
                Part::BX | Part::BH => unreachable!("a bias is no matrix"),
            }
        }
        _ => unreachable!("the layout is of this model"),
    };
    w.view_mut()
}

fn vector(layer: &mut LayerWeights, array: Array) -> &mut Array1<f32> {
    let absent = "the layout is of this model";
    match (layer, array) {
        (LayerWeights::Linear { b, .. } | LayerWeights::Conv { b, .. }, Array::Bias) => b.as_mut().expect(absent),
        (LayerWeights::Recurrent(cells), Array::Cell { cell, part: Part::BX }) => {
            cells[cell].b_x.as_mut().expect(absent)
        }
        (LayerWeights::Recurrent(cells), Array::Cell { cell, part: Part::BH }) => {
            cells[cell].b_h.as_mut().expect(absent)
        }
        _ => unreachable!("the layout is of this model"),
    }
}
