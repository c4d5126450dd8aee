//! Weights + layout → `Packed`: the bytes of every packed buffer; and back, for gradients and tests.
//!
//! Packs one buffer after the other, straight to where its bytes stay. A buffer that a device has taken can be
//! dropped here, and the contents of a file are never in memory twice. Knows where the layout puts each
//! weight; knows no shape of a call and no device.

mod matrix;
mod norm;
mod panels;
mod unpack;

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use half::f16;
use pulp::{Arch, Simd, WithSimd};

use crate::cell::Peepholes;
use crate::error::{Result, SMALLER_MODEL, zeros};
use crate::kernel::LANES;
use crate::layout::{Buffer, Form, Layout, Role, Vectors, band, depth};
use crate::model::{Bias, LayerKind, Model, Recurrent};
use crate::platform::parallel::*;
use crate::precision::Precision;
use crate::weights::Weights;
use crate::weights::{Array, EachPart, Part, Source, round_rows};
use panels::{Element, PanelShape, Panels, Stored};
pub(crate) use unpack::unpack;

/// The packed buffers of a model, in the layout's order: of the model that checks a device, and of tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packed {
    /// How the weights are stored.
    pub(crate) storage: Precision,
    /// One for each buffer of the layout.
    pub(crate) buffers: Vec<PackedBuffer>,
}

/// The data of one packed buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PackedBuffer {
    /// 32-bit floats.
    F32(Vec<Line>),
    /// 16-bit floats, an even number of them.
    F16(Vec<f16>),
    /// Panels of 8-bit integers, with their 32-bit floats.
    I8 {
        /// The words, as the device takes them.
        words: Vec<u32>,
        /// The shape of each panel.
        shape: PanelShape,
    },
}

/// A cache line: 16 units of a gate.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub(crate) struct Line(pub(crate) [f32; LANES]);

impl PackedBuffer {
    /// Returns the bytes, as a GPU takes them.
    #[cfg(any(test, feature = "gpu"))]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::F16(data) => bytemuck::cast_slice(data),
            Self::I8 { words, .. } => bytemuck::cast_slice(words),
        }
    }

    /// Makes a buffer of `len` zeros.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
    pub(crate) fn zeros(len: usize) -> Result<Self> {
        Ok(Self::F32(zeros("packed", &[len.div_ceil(LANES)], SMALLER_MODEL)?))
    }

    /// Makes a buffer of these numbers, with zeros to the end of the last line.
    #[cfg(test)]
    pub(crate) fn of(data: &[f32]) -> Self {
        let mut lines = vec![Line::zeroed(); data.len().div_ceil(LANES)];
        bytemuck::cast_slice_mut(&mut lines)[..data.len()].copy_from_slice(data);
        Self::F32(lines)
    }
}

/// Packs the weights of `model`.
///
/// # Errors
///
/// Returns an error of kind
///
/// - `ErrorKind::Weights` if the weights do not have the model's shapes, or if one is too large for 16-bit floats;
/// - `ErrorKind::Limits` if there is no memory for the packed ones.
pub(crate) fn pack(weights: &Weights, model: &Model, layout: &Layout) -> Result<Packed> {
    let packing = Packing::new(Source::held(weights, model)?, model, layout);
    Ok(Packed { storage: layout.storage, buffers: packing.collect::<Result<_>>()? })
}

/// Packs the buffers of a layout one after the other.
///
/// An item is an error of kind `ErrorKind::Weights` if a weight is too large for 16-bit floats. It is of kind
/// `ErrorKind::Limits` if there is no memory for a buffer. Errors of the source pass through.
pub(crate) struct Packing<'a> {
    source: Source<'a>,
    model: &'a Model,
    layout: &'a Layout,
    next: usize,
}

/// What goes into one direction of a buffer.
struct Content {
    /// The layer of the model.
    layer: usize,
    /// `[G · units, features]`; for an embedding `[V, features]`.
    w: Array,
    /// `[G · units]`.
    bias: Option<Array>,
    /// `[3, units]`.
    peepholes: Option<Array>,
    /// The rows of `w` and `bias`.
    rows: Range<usize>,
}

/// How many vectors of an embedding are folded together: they share each row of `W_x` while it is in a near cache.
const FOLDED: usize = 8;
/// How many of them have their sums in registers together.
const SUMMED: usize = 4;

/// The row of each gate in an LSTM's peepholes.
const PEEPHOLES: [Option<usize>; 4] = [Some(0), Some(1), None, Some(2)];

impl Iterator for Packing<'_> {
    type Item = Result<PackedBuffer>;

    fn next(&mut self) -> Option<Self::Item> {
        let buffer = self.layout.buffers.get(self.next)?;
        self.next += 1;
        Some(pack_buffer(&mut self.source, self.model, self.layout, buffer))
    }
}

/// Packs buffer `buffer` of `layout`, from the weights of `model` in `source`.
///
/// # Errors
///
/// As [`Packing`] says.
pub(crate) fn pack_buffer(
    source: &mut Source<'_>,
    model: &Model,
    layout: &Layout,
    buffer: &Buffer,
) -> Result<PackedBuffer> {
    Packer { source, model, layout }.buffer(buffer).map_err(|e| e.at(format!("weights {}", buffer.name)))
}

/// Packs a buffer.
struct Packer<'a, 's> {
    source: &'a mut Source<'s>,
    model: &'a Model,
    layout: &'a Layout,
}

impl<'a> Packing<'a> {
    /// Starts to pack the weights of `model` in `source`.
    pub(crate) fn new(source: Source<'a>, model: &'a Model, layout: &'a Layout) -> Self {
        Self { source, model, layout, next: 0 }
    }
}

impl Packer<'_, '_> {
    fn buffer(&mut self, buffer: &Buffer) -> Result<PackedBuffer> {
        let elems = usize::try_from(buffer.form.elems()).unwrap_or(usize::MAX);
        Ok(match self.layout.storage_of(buffer) {
            Precision::F32 => {
                let mut lines: Vec<Line> = zeros("packed", &[elems.div_ceil(LANES)], SMALLER_MODEL)?;
                self.fill::<f32>(buffer, bytemuck::cast_slice_mut(&mut lines))?;
                PackedBuffer::F32(lines)
            }
            Precision::F16 => {
                let mut halves = zeros("packed", &[elems], SMALLER_MODEL)?;
                self.fill::<f16>(buffer, &mut halves)?;
                PackedBuffer::F16(halves)
            }
            Precision::I8 => {
                let bytes = usize::try_from(self.layout.bytes_of(buffer)).unwrap_or(usize::MAX);
                let mut words: Vec<u32> = zeros("packed", &[bytes / 4], SMALLER_MODEL)?;
                self.matrices::<u8>(buffer, bytemuck::cast_slice_mut(&mut words))?;
                PackedBuffer::I8 { words, shape: panel_shape(buffer.form) }
            }
        })
    }

    fn fill<E: Element>(&mut self, buffer: &Buffer, data: &mut [E]) -> Result<()> {
        let Form::Table { directions, width, .. } = buffer.form else { return self.matrices(buffer, data) };
        if buffer.role.is_of_norm() {
            return self.normalized(buffer.role, data);
        }
        let vectors = self.vectors(buffer)?;
        for (part, data) in data.chunks_exact_mut(data.len() / directions).enumerate() {
            let content = content(self.model, self.layout, buffer, part);
            match (buffer.role, &vectors) {
                (Role::InputTable { layer, .. }, None) => {
                    self.token_table(&content, data, width, stack(self.model, layer))?;
                }
                (Role::InputTable { layer, .. }, Some(vectors)) => {
                    self.folded_table(&content, data, width, stack(self.model, layer), vectors)?;
                }
                _ => self.table(&content, data, width)?,
            }
        }
        Ok(())
    }

    /// Packs the matrices of `buffer`.
    fn matrices<S: Stored>(&mut self, buffer: &Buffer, data: &mut [S]) -> Result<()> {
        let Form::Matrix { matrices, source, units, .. } = buffer.form else { unreachable!("not a table") };
        for (part, data) in data.chunks_exact_mut(data.len() / matrices).enumerate() {
            let content = content(self.model, self.layout, buffer, part);
            let panels = Panels { data, shape: panel_shape(buffer.form), units };
            if let Role::Linear { layer } = buffer.role
                && let Some(band) = band(self.model, layer)?
            {
                self.convolution(&content, &band, panels)?;
                continue;
            }
            match self.around(buffer.role)? {
                Some(norms) => self.matrix_between(&content, source, panels, &norms)?,
                None => self.matrix(&content, source, panels)?,
            }
        }
        Ok(())
    }

    /// Reads the embedding's vectors that are folded into `buffer`, if any.
    fn vectors(&mut self, buffer: &Buffer) -> Result<Option<Vec<f32>>> {
        match (buffer.role, buffer.form) {
            (Role::InputTable { vectors: Vectors::Embedded { embedding }, .. }, Form::Table { rows, .. }) => {
                self.whole(embedding, Array::Weight, 0..rows).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Packs `[V][P][G][16]`: row v is the input product of the unit vector of v.
    fn token_table<E: Element>(
        &mut self,
        content: &Content,
        data: &mut [E],
        width: usize,
        stack: &Recurrent,
    ) -> Result<()> {
        let (gates, units, tokens) = (stack.cell.gates(), stack.hidden_size, stack.input_size);
        let bias = content.bias.map(|bias| self.whole(content.layer, bias, content.rows.clone())).transpose()?;
        self.product_rows(content, &mut |start, part| {
            data.par_chunks_exact_mut(width).enumerate().try_for_each(|(token, row)| {
                for (n, column) in (start..).zip(part.chunks_exact(tokens)) {
                    let bias = bias.as_ref().map_or(0.0, |bias| bias[n]);
                    row[lane(gates, n / units, n % units)] = E::of(column[token] + bias)?;
                }
                Ok(())
            })
        })
    }

    /// Packs `[V][P][G][16]`: row v is the input product of row v of `vectors`.
    fn folded_table<E: Element>(
        &mut self,
        content: &Content,
        data: &mut [E],
        width: usize,
        stack: &Recurrent,
        vectors: &[f32],
    ) -> Result<()> {
        let (gates, units, size) = (stack.cell.gates(), stack.hidden_size, stack.input_size);
        let bias = content.bias.map(|bias| self.whole(content.layer, bias, content.rows.clone())).transpose()?;
        let arch = Arch::new();
        self.product_rows(content, &mut |start, part| {
            let blocks = data.par_chunks_mut(FOLDED * width).zip(vectors.par_chunks(FOLDED * size));
            blocks.try_for_each_init(Vec::new, |products, (rows, vectors)| {
                let count = vectors.len() / size;
                products.resize(count * (part.len() / size), 0.0);
                arch.dispatch(Dots { vectors, weights: part, size, products: &mut *products });
                for (n, products) in (start..).zip(products.chunks_exact(count)) {
                    let bias = bias.as_ref().map_or(0.0, |bias| bias[n]);
                    for (row, product) in rows.chunks_exact_mut(width).zip(products) {
                        row[lane(gates, n / units, n % units)] = E::of(product + bias)?;
                    }
                }
                Ok(())
            })
        })
    }

    /// Packs `[V][width]`.
    fn table<E: Element>(&mut self, content: &Content, data: &mut [E], width: usize) -> Result<()> {
        let features = match &self.model.layers[content.layer].kind {
            LayerKind::Embedding(embedding) => embedding.embedding_dim,
            LayerKind::Attention(attention) => attention.features,
            _ => unreachable!("a table is an embedding's or an attention's"),
        };
        self.source.read_rows(self.model, content.layer, content.w, content.rows.clone(), &mut |start, part| {
            for (row, from) in data[start * width..].chunks_exact_mut(width).zip(part.chunks_exact(features)) {
                for (to, &from) in row.iter_mut().zip(from) {
                    *to = E::of(from)?;
                }
            }
            Ok(())
        })
    }

    /// Reads the rows of a product that goes into a table, rounded as matrices store them.
    fn product_rows(&mut self, content: &Content, each: &mut EachPart<'_>) -> Result<()> {
        let Content { layer, w, ref rows, .. } = *content;
        if self.layout.storage != Precision::I8 {
            return self.source.read_rows(self.model, layer, w, rows.clone(), each);
        }
        let width = stack(self.model, layer).input_size;
        self.source.read_rows(self.model, layer, w, rows.clone(), &mut |start, part| {
            let mut rounded = part.to_vec();
            round_rows(&mut rounded, width)?;
            each(start, &rounded)
        })
    }

    /// Reads rows `rows` of a small array.
    fn whole(&mut self, layer: usize, array: Array, rows: Range<usize>) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        self.source.read_rows(self.model, layer, array, rows, &mut |_, part| {
            all.extend_from_slice(part);
            Ok(())
        })?;
        Ok(all)
    }
}

/// The product of every vector with every row of weights. Each is made of sixteen sums, and each sum adds its products
/// in order: the result is the same on every machine.
struct Dots<'a> {
    /// `[V][size]`.
    vectors: &'a [f32],
    /// `[N][size]`.
    weights: &'a [f32],
    size: usize,
    /// `[N][V]`.
    products: &'a mut [f32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { vectors, weights, size, products } = self;
        let rows = weights.chunks_exact(size).zip(products.chunks_exact_mut(vectors.len() / size));
        for (weights, products) in rows {
            for (vectors, products) in vectors.chunks(SUMMED * size).zip(products.chunks_mut(SUMMED)) {
                if products.len() == SUMMED {
                    let vectors = std::array::from_fn(|v| &vectors[v * size..][..size]);
                    products.copy_from_slice(&dots::<S, SUMMED>(simd, vectors, weights));
                } else {
                    for (product, vector) in products.iter_mut().zip(vectors.chunks_exact(size)) {
                        [*product] = dots(simd, [vector], weights);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn dots<S: Simd, const N: usize>(simd: S, vectors: [&[f32]; N], weights: &[f32]) -> [f32; N] {
    let mut sums = [[0.0; LANES]; N];
    let whole = weights.len() / LANES;
    let weights_in = S::as_simd_f32s(&weights[..whole * LANES]).0;
    let vectors_in = vectors.map(|vector| &S::as_simd_f32s(&vector[..whole * LANES]).0[..weights_in.len()]);
    // This many registers make sixteen sums. Each goes its own way through the vectors.
    let registers = LANES / S::F32_LANES;
    for register in 0..registers {
        let mut parts = [simd.splat_f32s(0.0); N];
        let mut at = register;
        while at < weights_in.len() {
            for (part, vector) in parts.iter_mut().zip(vectors_in) {
                *part = simd.add_f32s(*part, simd.mul_f32s(vector[at], weights_in[at]));
            }
            at += registers;
        }
        for (sums, part) in sums.iter_mut().zip(parts) {
            S::as_mut_simd_f32s(sums).0[register] = part;
        }
    }
    for (sums, vector) in sums.iter_mut().zip(vectors) {
        for ((sum, a), b) in sums.iter_mut().zip(&vector[whole * LANES..]).zip(&weights[whole * LANES..]) {
            *sum += a * b;
        }
    }
    sums.map(|sums| sums.iter().sum())
}

fn panel_shape(form: Form) -> PanelShape {
    let Form::Matrix { source, gates, extra, .. } = form else { unreachable!("a table has no panels") };
    PanelShape { depth: depth(source), after: 1 + extra, gates }
}

/// The index of gate `gate` of unit `unit` in `[P][G][16]`.
fn lane(gates: usize, gate: usize, unit: usize) -> usize {
    (unit / LANES * gates + gate) * LANES + unit % LANES
}

/// What goes into direction `part` of `buffer`, or into matrix `part` of a run. The weights have been checked.
fn content(model: &Model, layout: &Layout, buffer: &Buffer, part: usize) -> Content {
    let direction = match buffer.role {
        Role::LayerRun { .. } => 0,
        _ => part,
    };
    let whole = |layer: usize, rows: usize, w, bias| Content { layer, w, bias, peepholes: None, rows: 0..rows };
    let cell = |layer: usize, stacked: usize| {
        let (stack, cell) = (stack(model, layer), stacked * stack(model, layer).directions() + direction);
        (stack, stack.cell.gates() * stack.hidden_size, move |part| Array::Cell { cell, part })
    };
    let input = |layer, stacked| {
        let (stack, rows, part) = cell(layer, stacked);
        whole(layer, rows, part(Part::WX), (stack.bias != Bias::None).then(|| part(Part::BX)))
    };
    let hidden = |layer, stacked, gate| {
        let (stack, _, part) = cell(layer, stacked);
        let Form::Matrix { gates, units, .. } = buffer.form else { unreachable!("a recurrent product is a matrix") };
        Content {
            layer,
            w: part(Part::WH),
            bias: (stack.bias == Bias::Two).then(|| part(Part::BH)),
            peepholes: (stack.peepholes != Peepholes::None).then(|| part(Part::Peepholes)),
            rows: gate * units..(gate + gates) * units,
        }
    };
    match (buffer.role, &model.layers[layer_of(layout, buffer.role)].kind) {
        (Role::Table { layer }, LayerKind::Embedding(e)) => whole(layer, e.num_embeddings, Array::Weight, None),
        (Role::Table { layer }, LayerKind::Attention(_)) => whole(layer, 1, Array::Weight, None),
        (Role::Linear { layer }, LayerKind::Linear(l)) => {
            whole(layer, l.out_features, Array::Weight, (l.bias != Bias::None).then_some(Array::Bias))
        }
        (Role::Linear { layer }, LayerKind::Conv1d(c)) => {
            whole(layer, c.out_features, Array::Weight, (c.bias != Bias::None).then_some(Array::Bias))
        }
        (Role::InputTable { layer, .. }, _) => input(layer, 0),
        (Role::Input { layer, stacked }, _) => input(layer, stacked),
        (Role::Hidden { layer, stacked, gate }, _) => hidden(layer, stacked, gate),
        (Role::LayerRun { run }, _) => {
            let (layer, stacked) = layout.layer_runs[run].layers[part.div_ceil(2)];
            if part.is_multiple_of(2) { hidden(layer, stacked, 0) } else { input(layer, stacked) }
        }
        (Role::Projection { layer, stacked }, _) => {
            let (stack, _, part) = cell(layer, stacked);
            whole(layer, stack.state_size(), part(Part::WR), None)
        }
        (Role::Norm { .. } | Role::Statistics { .. }, _) => unreachable!("they are packed by themselves"),
        (Role::Table { .. } | Role::Linear { .. }, _) => unreachable!("the layout is of this model"),
    }
}

/// The layer whose weights a buffer holds; for a run, its first layer.
fn layer_of(layout: &Layout, role: Role) -> usize {
    match role {
        Role::LayerRun { run } => layout.layer_runs[run].layers[0].0,
        _ => role.layer().expect("a run alone has several"),
    }
}

fn stack(model: &Model, layer: usize) -> &Recurrent {
    let LayerKind::Recurrent(stack) = &model.layers[layer].kind else { unreachable!("the layout is of this model") };
    stack
}

#[cfg(test)]
mod tests;
