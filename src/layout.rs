//! Where every weight sits in its packed buffer: shapes only, no data.
//!
//! The third noun of the road, made from a `Model` alone. `pack` fills the buffers, `plan::lower` binds them.

mod band;
mod contents;
mod fold;
mod norm;
mod tune;

pub(crate) use band::band;
pub(crate) use contents::{Contents, contents};
pub use fold::{is_folded, vectors};
use tune::RUN_BYTES;

use crate::cell::{Cell, Peepholes, Reset};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, Medium, padded};
use crate::model::{Consumers, Direction, Features, Layer, LayerKind, Model, Recurrent};
use crate::precision::Precision;

/// The most layers of a stack: far more than anyone trains, and few enough to list.
const MOST_STACKED: usize = 1 << 12;

/// Every packed buffer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How the weights of products are stored. Tables are stored as [`Precision::of_tables`] says; the numbers of
    /// layers that normalise are 32-bit floats.
    pub storage: Precision,
    /// Which medium holds the matrices that fit one.
    pub medium: Medium,
    /// The buffers; a plan's `SlotKind::Weights` is an index into it.
    pub buffers: Vec<Buffer>,
    /// Roles whose weights lie in a buffer of another role, with the index of that buffer. Layers that share their
    /// tensors and lay them out alike are trained in one buffer.
    pub shared: Vec<(Role, usize)>,
    /// Recurrent layers whose weights lie in one buffer.
    pub layer_runs: Vec<LayerRun>,
    /// Whether each weight has a place of its own, so that it can be trained: no table
    /// is folded, and no layers share a buffer as a run.
    pub trains: bool,
}

/// Recurrent layers of equal shape, each fed by the one before: at least two, in one stack or one after the other in
/// the model. Their products lie in one buffer, so that one dispatch reaches all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRun {
    /// (Layer of the model, layer of its stack), first to last.
    pub layers: Vec<(usize, usize)>,
}

/// Where the weights of a product are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixRef {
    /// The packed buffer.
    pub buffer: usize,
    /// Which of its matrices belongs to the first direction.
    pub first: usize,
}

/// One packed buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The name, for plans and labels: `1.w_h.0` is the recurrent product of layer 1, layer 0 of its stack.
    pub name: String,
    /// Which weights it holds.
    pub role: Role,
    /// How they are laid out.
    pub form: Form,
}

/// Which weights a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// An embedding's table, or the weight of an attention's additive scores, which is one row.
    Table {
        /// The layer of the model.
        layer: usize,
    },
    /// The input product and its bias, in all directions of one layer of a stack.
    Input {
        /// The layer of the model.
        layer: usize,
        /// The layer of the stack.
        stacked: usize,
    },
    /// The input product by token: row v is the product for token v, plus the bias.
    InputTable {
        /// The layer of the model (the recurrent one).
        layer: usize,
        /// Where the vectors of the tokens come from.
        vectors: Vectors,
    },
    /// Gates of the recurrent product and their bias, in all directions of one layer of a stack.
    Hidden {
        /// The layer of the model.
        layer: usize,
        /// The layer of the stack.
        stacked: usize,
        /// The first gate.
        gate: usize,
    },
    /// The products of a run: the recurrent product of its first layer, then the input and the
    /// recurrent product of each further layer, with their biases.
    LayerRun {
        /// Which run of the layout.
        run: usize,
    },
    /// The projection of the hidden state.
    Projection {
        /// The layer of the model.
        layer: usize,
        /// The layer of the stack.
        stacked: usize,
    },
    /// The product and the bias of a linear layer, or of a convolution.
    Linear {
        /// The layer of the model.
        layer: usize,
    },
    /// The two numbers of each feature of a layer that normalises: what it multiplies with, and what it adds.
    Norm {
        /// The layer of the model.
        layer: usize,
    },
    /// The mean and the variance of each feature of a batch norm, in a layout for training. Else they are folded into
    /// the numbers of [`Norm`](Self::Norm).
    Statistics {
        /// The layer of the model.
        layer: usize,
    },
}

impl Role {
    /// The layer whose weights a buffer of this role holds; `None` for a run, which holds those of several.
    pub(crate) fn layer(self) -> Option<usize> {
        match self {
            Self::LayerRun { .. } => None,
            Self::Table { layer }
            | Self::Input { layer, .. }
            | Self::InputTable { layer, .. }
            | Self::Hidden { layer, .. }
            | Self::Projection { layer, .. }
            | Self::Linear { layer }
            | Self::Norm { layer }
            | Self::Statistics { layer } => Some(layer),
        }
    }
}

/// Vectors of tokens that go straight into a recurrent layer. That layer
/// then takes rows of a table instead of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vectors {
    /// Unit vectors: the table is `W_x`, transposed.
    Unit,
    /// Rows of an embedding: the table is the embedding's times `W_x`.
    Embedded {
        /// The layer of the model.
        embedding: usize,
    },
}

/// How a buffer is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `[matrices][panels][depth + 1 + extra][gates][16]`. Row `depth` is the bias; after it come an LSTM's peepholes.
    Matrix {
        /// D, or the number of products of a run.
        matrices: usize,
        /// P, the panels of 16 units.
        panels: usize,
        /// The features of the input; K is their padded number.
        source: Features,
        /// G.
        gates: usize,
        /// Rows after the bias: 1 with peepholes, else 0.
        extra: usize,
        /// Units of the output without padding: weights between them and `16 P` are zero.
        units: usize,
    },
    /// `[directions][rows][width]`.
    Table {
        /// D.
        directions: usize,
        /// V.
        rows: usize,
        /// Elements of a row, padded.
        width: usize,
    },
}

impl Form {
    /// The number of matrices, or of tables, that lie one after the other.
    pub(crate) fn matrices(self) -> usize {
        match self {
            Self::Matrix { matrices, .. } => matrices,
            Self::Table { directions, .. } => directions,
        }
    }

    /// The number of elements; saturates at 64 bits.
    pub fn elems(self) -> u64 {
        let product = |axes: &[usize]| axes.iter().fold(1, |elems: u64, &n| elems.saturating_mul(n as u64));
        match self {
            Self::Matrix { matrices, panels, source, gates, extra, .. } => {
                product(&[matrices, panels, depth(source) + 1 + extra, gates, LANES])
            }
            Self::Table { directions, rows, width } => product(&[directions, rows, width]),
        }
    }
}

/// K: the padded number of `features`, each part padded by itself.
pub fn depth(features: Features) -> usize {
    features.parts * padded(features.size)
}

impl Layout {
    /// Lays out the weights of `model`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other, or
    /// of kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if there are too many to list.
    pub fn of(model: &Model, storage: Precision) -> Result<Self> {
        Self::with(model, storage, false)
    }

    /// Lays out the weights of `model` for training: in 32-bit floats, each with a place of its own.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of). Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) as well if a layer
    /// cannot be trained.
    pub fn for_training(model: &Model) -> Result<Self> {
        norm::check_trained(model)?;
        Self::with(model, Precision::F32, true)
    }

    fn with(model: &Model, storage: Precision, trains: bool) -> Result<Self> {
        if let Some((layer, r)) = recurrent(model).find(|(_, r)| r.num_layers > MOST_STACKED) {
            let text = format!("layer {layer}: a stack of {} layers, the most is {MOST_STACKED}", r.num_layers);
            return Err(Error::new(ErrorKind::Limits, text));
        }
        let layer_runs = if trains { Vec::new() } else { layer_runs(model) };
        let mut layout =
            Self { storage, medium: Medium::Buffer, buffers: Vec::new(), shared: Vec::new(), layer_runs, trains };
        for (layer, (Layer { kind, .. }, taken)) in model.layers.iter().zip(model.taken()?).enumerate() {
            // What the layer takes, in its parts.
            let source = taken.features();
            match kind {
                LayerKind::Embedding(_) if layout.is_folded(model, layer) => {}
                LayerKind::Embedding(e) => layout.add(
                    model,
                    format!("{layer}.table"),
                    Role::Table { layer },
                    Form::Table { directions: 1, rows: e.num_embeddings, width: padded(e.embedding_dim) },
                ),
                LayerKind::Attention(a) if a.weight => layout.add(
                    model,
                    format!("{layer}.weight"),
                    Role::Table { layer },
                    Form::Table { directions: 1, rows: 1, width: padded(a.features) },
                ),
                LayerKind::Recurrent(r) => {
                    for stacked in 0..r.num_layers {
                        layout.stacked(model, (layer, stacked), r, source);
                    }
                }
                LayerKind::Linear(l) => layout.product(model, layer, l.out_features, source),
                LayerKind::Conv1d(c) => layout.product(model, layer, c.out_features, band::depth_of(c, source)),
                // Layers that normalise; others have no parameters.
                _ => layout.normalized(model, layer, kind),
            }
        }
        Ok(layout)
    }

    fn add(&mut self, model: &Model, name: String, role: Role, form: Form) {
        let buffer = Buffer { name, role, form };
        match self.twin(model, &buffer) {
            Some(twin) => self.shared.push((role, twin)),
            None => self.buffers.push(buffer),
        }
    }

    /// Finds the buffer that holds the same tensors as `buffer` in the same layout, if they are trained.
    fn twin(&self, model: &Model, buffer: &Buffer) -> Option<usize> {
        let tensors = |buffer: &Buffer| -> Option<Vec<Contents>> {
            (0..buffer.form.matrices()).map(|matrix| contents(model, buffer, matrix)).collect()
        };
        if !self.trains {
            return None;
        }
        let own = tensors(buffer)?;
        // What no update changes is nobody's twin.
        if own.iter().all(|contents| contents.tensors.iter().all(Option::is_none)) {
            return None;
        }
        let is_twin = |other: &Buffer| other.form == buffer.form && tensors(other).is_some_and(|other| other == own);
        self.buffers.iter().position(is_twin)
    }

    /// Adds the buffers of one layer of stack `r`, whose input is `source`.
    fn stacked(&mut self, model: &Model, (layer, stacked): (usize, usize), r: &Recurrent, source: Features) {
        let (gates, units, directions) = (r.cell.gates(), r.hidden_size, r.directions());
        let matrix = |source, gates, units: usize, extra| Form::Matrix {
            matrices: directions,
            panels: units.div_ceil(LANES),
            source,
            gates,
            extra,
            units,
        };
        let run = self.run(layer, stacked);
        // The products of a run lie with those of its first layer; the first
        // layer's input product has a buffer of its own.
        if run.is_none_or(|(_, index)| index == 0) {
            match self.vectors(model, layer).filter(|_| stacked == 0) {
                Some((vectors, rows)) => self.add(
                    model,
                    format!("{layer}.w_x.0"),
                    Role::InputTable { layer, vectors },
                    Form::Table { directions, rows, width: gates * padded(units) },
                ),
                None => self.add(
                    model,
                    format!("{layer}.w_x.{stacked}"),
                    Role::Input { layer, stacked },
                    matrix(if stacked == 0 { source } else { r.output() }, gates, units, 0),
                ),
            }
        }
        let state = Features::one(r.state_size());
        let hidden = |gate| Role::Hidden { layer, stacked, gate };
        match (run, r.cell) {
            (Some((run, 0)), _) => {
                let (matrices, panels) = (2 * self.layer_runs[run].layers.len() - 1, units.div_ceil(LANES));
                let form = Form::Matrix { matrices, panels, source: state, gates, extra: 0, units };
                self.add(model, format!("{layer}.w_hx.{stacked}"), Role::LayerRun { run }, form);
            }
            (Some(_), _) => {}
            (None, Cell::Gru(Reset::Before)) => {
                self.add(model, format!("{layer}.w_h.{stacked}.reset_update"), hidden(0), matrix(state, 2, units, 0));
                self.add(model, format!("{layer}.w_h.{stacked}.new"), hidden(2), matrix(state, 1, units, 0));
            }
            (None, _) => {
                let peepholes = usize::from(r.peepholes != Peepholes::None);
                self.add(model, format!("{layer}.w_h.{stacked}"), hidden(0), matrix(state, gates, units, peepholes));
            }
        }
        if let Some(p) = r.proj_size {
            let role = Role::Projection { layer, stacked };
            self.add(model, format!("{layer}.w_r.{stacked}"), role, matrix(Features::one(units), 1, p, 0));
        }
    }

    /// The bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().fold(0, |bytes: u64, buffer| bytes.saturating_add(self.bytes_of(buffer)))
    }

    /// The bytes of `buffer`, one of this layout.
    pub fn bytes_of(&self, buffer: &Buffer) -> u64 {
        match buffer.form {
            Form::Matrix { matrices, panels, .. } => {
                self.panel_bytes(buffer.form).saturating_mul((matrices as u64).saturating_mul(panels as u64))
            }
            Form::Table { .. } => buffer.form.elems().saturating_mul(self.storage_of(buffer).bytes()),
        }
    }

    /// The bytes of one panel of a matrix of `form`.
    pub fn panel_bytes(&self, form: Form) -> u64 {
        let Form::Matrix { source, gates, extra, .. } = form else { unreachable!("a table has no panels") };
        self.storage.panel_bytes(depth(source) as u64, 1 + extra as u64, gates as u64)
    }

    /// How `buffer`, one of this layout, is stored.
    pub fn storage_of(&self, buffer: &Buffer) -> Precision {
        match buffer.form {
            Form::Matrix { .. } => self.storage,
            Form::Table { .. } if buffer.role.is_of_norm() => Precision::F32,
            Form::Table { .. } => self.storage.of_tables(),
        }
    }

    /// Sets the medium that the device should hold its matrices in.
    #[must_use]
    pub fn with_medium(self, medium: Medium) -> Self {
        Self { medium, ..self }
    }

    /// The medium of buffer `index`. Tables stay in buffers, and so do matrices too large for any texture.
    pub fn medium_of(&self, index: usize) -> Medium {
        let buffer = &self.buffers[index];
        let fits =
            matches!(buffer.form, Form::Matrix { .. }) && self.bytes_of(buffer) <= Medium::most_bytes(self.storage);
        if fits { self.medium } else { Medium::Buffer }
    }

    /// [`vectors`], or `None` if nothing is folded because the weights are trained.
    pub fn vectors(&self, model: &Model, layer: usize) -> Option<(Vectors, usize)> {
        if self.trains { None } else { vectors(model, layer) }
    }

    /// [`is_folded`], or `false` if nothing is folded because the weights are trained.
    pub fn is_folded(&self, model: &Model, layer: usize) -> bool {
        !self.trains && is_folded(model, layer)
    }

    /// Finds the index of the buffer that holds `role`.
    pub fn find(&self, role: Role) -> Option<usize> {
        let own = self.buffers.iter().position(|buffer| buffer.role == role);
        own.or_else(|| self.shared.iter().find(|(other, _)| *other == role).map(|(_, buffer)| *buffer))
    }

    /// Finds the product of `role`: in a buffer of its own, or among those of a run.
    pub fn place(&self, role: Role) -> Option<MatrixRef> {
        let run = match role {
            Role::Hidden { layer, stacked, .. } => self.run(layer, stacked).map(|(run, index)| (run, 2 * index)),
            Role::Input { layer, stacked } => {
                self.run(layer, stacked).filter(|(_, index)| *index > 0).map(|(run, index)| (run, 2 * index - 1))
            }
            _ => None,
        };
        let (role, first) = run.map_or((role, 0), |(run, first)| (Role::LayerRun { run }, first));
        Some(MatrixRef { buffer: self.find(role)?, first })
    }

    /// Finds the run that a layer of a stack is in, and its index among the layers of the run.
    pub fn run(&self, layer: usize, stacked: usize) -> Option<(usize, usize)> {
        let index = |run: &LayerRun| run.layers.binary_search(&(layer, stacked)).ok();
        self.layer_runs.iter().enumerate().find_map(|(number, run)| Some((number, index(run)?)))
    }
}

/// The recurrent layers of a model, with their indices.
fn recurrent(model: &Model) -> impl Iterator<Item = (usize, &Recurrent)> {
    model.layers.iter().enumerate().filter_map(|(layer, Layer { kind, .. })| match kind {
        LayerKind::Recurrent(r) => Some((layer, r)),
        _ => None,
    })
}

/// Finds the runs of a model, each as long as [`RUN_BYTES`] allows.
fn layer_runs(model: &Model) -> Vec<LayerRun> {
    let consumers = Consumers::of(model);
    let mut runs = vec![LayerRun { layers: Vec::new() }];
    let mut before: Option<(usize, &Recurrent)> = None;
    for (layer, r) in recurrent(model) {
        let follows = before.is_some_and(|(first, of)| same_shape(of, r) && is_only_consumer(&consumers, first, layer));
        let is_apart = consumers.begins(layer) || model.layers[layer].initial != [None; 2];
        for stacked in 0..r.num_layers {
            let goes_on = steps_alone(r) && !is_apart && (stacked > 0 || follows);
            let run = runs.last_mut().expect("there is one from the start");
            if goes_on && run_bytes(r, run.layers.len() + 1) <= RUN_BYTES {
                run.layers.push((layer, stacked));
            } else {
                runs.push(LayerRun { layers: vec![(layer, stacked)] });
            }
        }
        before = Some((layer, r));
    }
    runs.retain(|run| run.layers.len() > 1);
    runs
}

/// Whether recurrent layer `consumer` takes the output of `layer` at every
/// step, and nothing else takes any result of `layer`.
fn is_only_consumer(consumers: &Consumers<'_>, layer: usize, consumer: usize) -> bool {
    consumers.of_steps(layer) == [Some(consumer)] && !consumers.of_finals(layer) && !consumers.begins(layer)
}

/// Whether layers of `r` only go forward in time, with one product of one shape in each step.
fn steps_alone(r: &Recurrent) -> bool {
    r.direction == Direction::Forward
        && r.proj_size.is_none()
        && r.peepholes == Peepholes::None
        && r.cell != Cell::Gru(Reset::Before)
}

/// Whether a layer of `b`, fed by `a`, has the same shape and computes the same function as the layers of `a`.
fn same_shape(a: &Recurrent, b: &Recurrent) -> bool {
    steps_alone(a) && steps_alone(b) && (a.cell, a.hidden_size, a.variant(0)) == (b.cell, b.hidden_size, b.variant(0))
}

/// The bytes of the weights of a run of `layers` layers of `r`.
fn run_bytes(r: &Recurrent, layers: usize) -> u64 {
    let (source, panels) = (Features::one(r.hidden_size), r.hidden_size.div_ceil(LANES));
    let (matrices, gates) = (2 * layers - 1, r.cell.gates());
    Form::Matrix { matrices, panels, source, gates, extra: 0, units: r.hidden_size }.elems().saturating_mul(4)
}
