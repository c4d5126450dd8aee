//! Weights + Layout → Packed: the bytes of every packed buffer, and (for tests) back.
//!
//! Knows where the layout puts each weight; knows no shape of a call and no device.

use ndarray::{ArrayView1, ArrayView2, s};
use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result, SMALLER_MODEL, zeros};
use crate::kernel::{LANES, Storage, padded};
use crate::layout::{Buffer, Form, Layout, Role, depth};
use crate::model::{Bias, Features, LayerKind, Model, Recurrent};
use crate::weights::{CellWeights, LayerWeights, Weights};

/// The packed buffers of a model, in the layout's order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packed {
    /// How they are stored.
    pub(crate) storage: Storage,
    /// One for each buffer of the layout.
    pub(crate) buffers: Vec<PackedBuffer>,
}

/// The data of one packed buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PackedBuffer {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats; an even number of them.
    F16(Vec<half::f16>),
}

impl PackedBuffer {
    /// The bytes, as a GPU takes them.
    #[cfg(feature = "gpu")]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::F16(data) => bytemuck::cast_slice(data),
        }
    }
}

/// What goes into one direction of a buffer.
struct Source<'a> {
    /// `[G · units, features]`; of an embedding's table `[V, features]`.
    w: ArrayView2<'a, f32>,
    /// `[G · units]`.
    bias: Option<ArrayView1<'a, f32>>,
}

/// The packed buffers of `model`.
///
/// # Errors
///
/// Kind `Weights`, where the weights are not of the model's shapes, or one is too large for 16-bit floats; `Limits`, where
/// there is no memory for the packed ones.
pub(crate) fn pack(weights: &Weights, model: &Model, layout: &Layout) -> Result<Packed> {
    check(weights, model)?;
    let one = |buffer: &Buffer| {
        let sources = sources(weights, model, buffer);
        let data = match (buffer.form, buffer.role) {
            (Form::Matrix { panels, source, gates, extra, units, .. }, _) => {
                matrix(&sources, panels, source, [gates, extra], units)
            }
            (Form::Table { width, .. }, Role::InputTable { layer }) => {
                token_table(&sources, width, stack(model, layer))
            }
            (Form::Table { rows, width, .. }, _) => table(&sources, rows, width),
        };
        data.and_then(|data| store(data, layout.storage)).map_err(|e| e.at(format!("weights {}", buffer.name)))
    };
    Ok(Packed { storage: layout.storage, buffers: layout.buffers.iter().map(one).collect::<Result<_>>()? })
}

/// `[D][P][K + 1 + extra][G][16]`.
fn matrix(
    sources: &[Source<'_>],
    panels: usize,
    source: Features,
    [gates, extra]: [usize; 2],
    units: usize,
) -> Result<Vec<f32>> {
    let rows = depth(source);
    let panel_elems = (rows + 1 + extra) * gates * LANES;
    let mut data = zeros("packed", &[sources.len(), panels, panel_elems], SMALLER_MODEL)?;
    data.par_chunks_exact_mut(panel_elems).enumerate().for_each(|(index, panel)| {
        let (from, first) = (&sources[index / panels], index % panels * LANES);
        for gate in 0..gates {
            for lane in 0..LANES.min(units - first) {
                let row = gate * units + first + lane;
                let mut put = |k, value| panel[(k * gates + gate) * LANES + lane] = value;
                for (feature, &w) in from.w.row(row).iter().enumerate() {
                    put(padded_row(source, feature), w);
                }
                if let Some(bias) = &from.bias {
                    put(rows, bias[row]);
                }
            }
        }
    });
    Ok(data)
}

/// The padded row that feature `feature` of `source` has.
fn padded_row(source: Features, feature: usize) -> usize {
    feature / source.size * padded(source.size) + feature % source.size
}

/// `[D][V][P][G][16]`: row v is what the input product gives for the unit vector of v.
fn token_table(sources: &[Source<'_>], width: usize, stack: &Recurrent) -> Result<Vec<f32>> {
    let (gates, units, tokens) = (stack.cell.gates(), stack.hidden_size, stack.input_size);
    let mut data = zeros("packed", &[sources.len(), tokens, width], SMALLER_MODEL)?;
    data.par_chunks_exact_mut(width).enumerate().for_each(|(index, row)| {
        let (from, token) = (&sources[index / tokens], index % tokens);
        for gate in 0..gates {
            for unit in 0..units {
                let n = gate * units + unit;
                let bias = from.bias.as_ref().map_or(0.0, |bias| bias[n]);
                row[lane(gates, gate, unit)] = from.w[[n, token]] + bias;
            }
        }
    });
    Ok(data)
}

/// Where gate `gate` of unit `unit` stands in `[P][G][16]`.
fn lane(gates: usize, gate: usize, unit: usize) -> usize {
    (unit / LANES * gates + gate) * LANES + unit % LANES
}

/// `[V][width]`.
fn table(sources: &[Source<'_>], rows: usize, width: usize) -> Result<Vec<f32>> {
    let mut data = zeros("packed", &[sources.len(), rows, width], SMALLER_MODEL)?;
    let all = sources.iter().flat_map(|source| source.w.rows());
    for (target, row) in data.chunks_exact_mut(width).zip(all) {
        target.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
    }
    Ok(data)
}

fn store(data: Vec<f32>, storage: Storage) -> Result<PackedBuffer> {
    match storage {
        Storage::F32 => Ok(PackedBuffer::F32(data)),
        Storage::F16 => {
            let halves: Vec<_> = data.iter().map(|&w| half::f16::from_f32(w)).collect();
            match data.iter().zip(&halves).find(|(w, half)| w.is_finite() && half.is_infinite()) {
                Some((w, _)) => Err(Error::new(
                    ErrorKind::Weights,
                    format!("expected at most 65504 in magnitude for 16-bit floats, got {w}; use 32-bit floats"),
                )),
                None => Ok(PackedBuffer::F16(halves)),
            }
        }
    }
}

/// What goes into `buffer`, direction by direction. The weights have been checked.
fn sources<'a>(weights: &'a Weights, model: &Model, buffer: &Buffer) -> Vec<Source<'a>> {
    let cells = |layer: usize, stacked: usize| {
        let LayerWeights::Recurrent(cells) = &weights.layers[layer] else { unreachable!("checked: recurrent") };
        let directions = stack(model, layer).directions();
        cells[stacked * directions..(stacked + 1) * directions].iter()
    };
    let input = |cell: &'a CellWeights| Source { w: cell.w_x.view(), bias: cell.b_x.as_ref().map(|b| b.view()) };
    match buffer.role {
        Role::Table { layer } => {
            let LayerWeights::Embedding(table) = &weights.layers[layer] else { unreachable!("checked: embedding") };
            vec![Source { w: table.view(), bias: None }]
        }
        Role::Linear { layer } => {
            let LayerWeights::Linear { w, b } = &weights.layers[layer] else { unreachable!("checked: linear") };
            vec![Source { w: w.view(), bias: b.as_ref().map(|b| b.view()) }]
        }
        Role::InputTable { layer } => cells(layer, 0).map(input).collect(),
        Role::Input { layer, stacked } => cells(layer, stacked).map(input).collect(),
        Role::Hidden { layer, stacked, gate } => {
            let rows = gate_rows(buffer.form, gate);
            let hidden = |cell: &'a CellWeights| Source {
                w: cell.w_h.slice(s![rows.clone(), ..]),
                bias: cell.b_h.as_ref().map(|b| b.slice(s![rows.clone()])),
            };
            cells(layer, stacked).map(hidden).collect()
        }
        Role::Projection { layer, stacked } => cells(layer, stacked)
            .map(|cell| Source { w: cell.w_r.as_ref().expect("checked: projected").view(), bias: None })
            .collect(),
    }
}

/// The rows of `W_h` that gates `gate…` of a buffer are.
fn gate_rows(form: Form, gate: usize) -> std::ops::Range<usize> {
    let Form::Matrix { gates, units, .. } = form else { unreachable!("a recurrent product is a matrix") };
    gate * units..(gate + gates) * units
}

fn stack(model: &Model, layer: usize) -> &Recurrent {
    let LayerKind::Recurrent(stack) = &model.layers[layer].kind else { unreachable!("the layout is of this model") };
    stack
}

/// Whether every tensor is there with the model's shape. The readers of files say more about what they read; this
/// keeps weights that were put together by hand from anything worse than an error.
fn check(weights: &Weights, model: &Model) -> Result<()> {
    if weights.layers.len() != model.layers.len() {
        return Err(Error::new(
            ErrorKind::Weights,
            format!("weights: expected {} layers, got {}", model.layers.len(), weights.layers.len()),
        ));
    }
    for (index, (layer, weights)) in model.layers.iter().zip(&weights.layers).enumerate() {
        let fits = match (&layer.kind, weights) {
            (LayerKind::Embedding(e), LayerWeights::Embedding(table)) => {
                same("table", &[e.num_embeddings, e.embedding_dim], Some(table.shape()))
            }
            (LayerKind::Linear(l), LayerWeights::Linear { w, b }) => {
                same("w", &[l.out_features, l.in_features], Some(w.shape())).and_then(|()| {
                    let expected = [l.out_features];
                    same_if(l.bias != Bias::None, "b", &expected, b.as_ref().map(|b| b.shape()))
                })
            }
            (LayerKind::Recurrent(r), LayerWeights::Recurrent(cells)) => check_cells(r, cells),
            (kind, LayerWeights::None) if kind.parameters() == 0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Weights, "expected this layer's weights, got another layer's")),
        };
        fits.map_err(|e| e.at(format!("weights of layer {index} {}", layer.kind.name())))?;
    }
    Ok(())
}

fn check_cells(stack: &Recurrent, cells: &[CellWeights]) -> Result<()> {
    let directions = stack.directions();
    if cells.len() != stack.num_layers * directions {
        return Err(Error::new(
            ErrorKind::Weights,
            format!("expected {} cells (layers × directions), got {}", stack.num_layers * directions, cells.len()),
        ));
    }
    let rows = stack.cell.gates() * stack.hidden_size;
    for (index, cell) in cells.iter().enumerate() {
        let input = stack.layer_input(index / directions).len();
        let projection = [stack.proj_size.unwrap_or(0), stack.hidden_size];
        same("w_x", &[rows, input], Some(cell.w_x.shape()))
            .and_then(|()| same("w_h", &[rows, stack.state_size()], Some(cell.w_h.shape())))
            .and_then(|()| same_if(stack.bias != Bias::None, "b_x", &[rows], cell.b_x.as_ref().map(|b| b.shape())))
            .and_then(|()| same_if(stack.bias == Bias::Two, "b_h", &[rows], cell.b_h.as_ref().map(|b| b.shape())))
            .and_then(|()| {
                let w_r = cell.w_r.as_ref().map(|w| w.shape());
                same_if(stack.proj_size.is_some(), "w_r", &projection, w_r)
            })
            .map_err(|e| e.at(format!("cell {index}")))?;
    }
    Ok(())
}

/// `same` where there should be a tensor; that there is none elsewhere.
fn same_if(wanted: bool, name: &str, expected: &[usize], got: Option<&[usize]>) -> Result<()> {
    match got {
        Some(got) if !wanted => Err(Error::new(ErrorKind::Weights, format!("{name}: expected none, got {got:?}"))),
        None if !wanted => Ok(()),
        _ => same(name, expected, got),
    }
}

fn same(name: &str, expected: &[usize], got: Option<&[usize]>) -> Result<()> {
    if got == Some(expected) {
        return Ok(());
    }
    let got = got.map_or("none".into(), |got| format!("{got:?}"));
    Err(Error::new(ErrorKind::Weights, format!("{name}: expected {expected:?}, got {got}")))
}

#[cfg(test)]
mod tests;
