//! Where every weight sits in its packed buffer. No data: shapes only.
//!
//! The third noun of the road, made from a `Model` alone; `pack` fills it, `plan::lower` binds it.

use crate::cell::{Cell, Peepholes, Reset};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, Storage, padded};
use crate::model::{Features, Flow, Layer, LayerKind, Model};

/// Layers of a stack: far more than anyone trains, and few enough to list.
const MOST_STACKED: usize = 1 << 12;

/// Every packed buffer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How product weights and tables are stored.
    pub storage: Storage,
    /// The buffers; a plan's `SlotKind::Weights` is an index into it.
    pub buffers: Vec<Buffer>,
}

/// One packed buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The name, for plans and labels: `1.w_h.0` is layer 1's recurrent product, layer 0 of the stack.
    pub name: String,
    /// Which weights go in.
    pub role: Role,
    /// How they are laid out.
    pub form: Form,
}

/// Which weights a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// An embedding's table.
    Table {
        /// The layer of the model.
        layer: usize,
    },
    /// The input product and its bias, all directions of a layer of a stack.
    Input {
        /// The layer of the model.
        layer: usize,
        /// The layer of the stack.
        stacked: usize,
    },
    /// The input product by token: row v is column v of `W_x`, plus the bias.
    InputTable {
        /// The layer of the model (the recurrent one).
        layer: usize,
    },
    /// Gates of the recurrent product and their bias, all directions of a layer of a stack.
    Hidden {
        /// The layer of the model.
        layer: usize,
        /// The layer of the stack.
        stacked: usize,
        /// The first gate.
        gate: usize,
    },
    /// The projection of the hidden state.
    Projection {
        /// The layer of the model.
        layer: usize,
        /// The layer of the stack.
        stacked: usize,
    },
    /// A linear layer's product and bias.
    Linear {
        /// The layer of the model.
        layer: usize,
    },
}

/// How a buffer is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `[directions][panels][depth + 1 + extra][gates][16]`: row `depth` is the bias, and what is after it an LSTM's
    /// peepholes.
    Matrix {
        /// D.
        directions: usize,
        /// P, the panels of 16 units.
        panels: usize,
        /// The features of the input; K is their padded number.
        source: Features,
        /// G.
        gates: usize,
        /// Rows after the bias: 1 where there are peepholes.
        extra: usize,
        /// True units of the output: what lies between them and `16 P` is zero.
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
    /// Elements in all; more than 64 bits count saturate.
    pub fn elems(self) -> u64 {
        let product = |axes: &[usize]| axes.iter().fold(1, |elems: u64, &n| elems.saturating_mul(n as u64));
        match self {
            Self::Matrix { directions, panels, source, gates, extra, .. } => {
                product(&[directions, panels, depth(source) + 1 + extra, gates, LANES])
            }
            Self::Table { directions, rows, width } => product(&[directions, rows, width]),
        }
    }
}

/// K: the padded number of `features`, each part padded by itself.
pub fn depth(features: Features) -> usize {
    features.parts * padded(features.size)
}

impl Storage {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

impl Layout {
    /// The layout of `model`'s weights.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the layers do not fit each other; `Limits`, where there are too many to list.
    pub fn of(model: &Model, storage: Storage) -> Result<Self> {
        let mut buffers = Vec::new();
        let mut add = |name: String, role, form| buffers.push(Buffer { name, role, form });
        let mut input = model.input()?;
        for (layer, (Layer { kind, .. }, flow)) in model.layers.iter().zip(model.flows()?).enumerate() {
            // What the layer takes, in the parts that the layer before it gives.
            let source = match input {
                Flow::Steps(f) | Flow::Rows(f) => f,
                Flow::Tokens(tokens) => Features::one(tokens),
            };
            match kind {
                LayerKind::Embedding(e) => add(
                    format!("{layer}.table"),
                    Role::Table { layer },
                    Form::Table { directions: 1, rows: e.num_embeddings, width: padded(e.embedding_dim) },
                ),
                LayerKind::Recurrent(r) => {
                    let (directions, gates, units) = (r.directions(), r.cell.gates(), r.hidden_size);
                    let matrix = |source, gates, units: usize, extra| Form::Matrix {
                        directions,
                        panels: units.div_ceil(LANES),
                        source,
                        gates,
                        extra,
                        units,
                    };
                    let peepholes = usize::from(r.peepholes != Peepholes::None);
                    if r.num_layers > MOST_STACKED {
                        let text =
                            format!("layer {layer}: a stack of {} layers, the most is {MOST_STACKED}", r.num_layers);
                        return Err(Error::new(ErrorKind::Limits, text));
                    }
                    for stacked in 0..r.num_layers {
                        if stacked == 0 && one_hot_before(model, layer) {
                            add(
                                format!("{layer}.w_x.0"),
                                Role::InputTable { layer },
                                Form::Table { directions, rows: r.input_size, width: gates * padded(units) },
                            );
                        } else {
                            add(
                                format!("{layer}.w_x.{stacked}"),
                                Role::Input { layer, stacked },
                                matrix(if stacked == 0 { source } else { r.output() }, gates, units, 0),
                            );
                        }
                        let state = Features::one(r.state_size());
                        let hidden = |gate| Role::Hidden { layer, stacked, gate };
                        match r.cell {
                            Cell::Gru(Reset::Before) => {
                                add(
                                    format!("{layer}.w_h.{stacked}.reset_update"),
                                    hidden(0),
                                    matrix(state, 2, units, 0),
                                );
                                add(format!("{layer}.w_h.{stacked}.new"), hidden(2), matrix(state, 1, units, 0));
                            }
                            _ => {
                                add(format!("{layer}.w_h.{stacked}"), hidden(0), matrix(state, gates, units, peepholes))
                            }
                        }
                        if let Some(p) = r.proj_size {
                            add(
                                format!("{layer}.w_r.{stacked}"),
                                Role::Projection { layer, stacked },
                                matrix(Features::one(units), 1, p, 0),
                            );
                        }
                    }
                }
                LayerKind::Linear(l) => {
                    add(
                        format!("{layer}.w"),
                        Role::Linear { layer },
                        Form::Matrix {
                            directions: 1,
                            panels: l.out_features.div_ceil(LANES),
                            source,
                            gates: 1,
                            extra: 0,
                            units: l.out_features,
                        },
                    );
                }
                LayerKind::OneHot(_)
                | LayerKind::Masking(_)
                | LayerKind::Select(_)
                | LayerKind::Activation(_)
                | LayerKind::Dropout(_) => {}
            }
            input = flow;
        }
        Ok(Self { storage, buffers })
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().fold(0, |bytes: u64, buffer| bytes.saturating_add(self.bytes_of(buffer)))
    }

    /// Bytes of `buffer`, which is one of them.
    pub fn bytes_of(&self, buffer: &Buffer) -> u64 {
        buffer.form.elems().saturating_mul(self.storage.bytes())
    }

    /// The index of the buffer that holds `role`.
    pub fn find(&self, role: Role) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.role == role)
    }
}

/// Whether `layer` is a recurrent one that takes unit vectors straight from a one-hot layer: its input product is then
/// a row of `W_x`.
pub fn one_hot_before(model: &Model, layer: usize) -> bool {
    let kind = |layer: usize| model.layers.get(layer).map(|layer| &layer.kind);
    layer > 0 && matches!((kind(layer - 1), kind(layer)), (Some(LayerKind::OneHot(_)), Some(LayerKind::Recurrent(_))))
}
