//! Where every weight sits in its packed buffer. No data: shapes only.
//!
//! The third noun of the road, made from a `Model` alone; `pack` fills it, `plan::lower` binds it.

mod contents;
mod tune;

pub(crate) use contents::{Contents, contents};
use tune::{FOLD_BYTES, FOLD_PRODUCTS, RUN_BYTES};

use crate::cell::{Cell, Peepholes, Reset};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, Medium, Storage, padded};
use crate::model::{Direction, Features, Layer, LayerKind, Model, Pin, Recurrent, Takers, Value};

/// Layers of a stack: far more than anyone trains, and few enough to list.
const MOST_STACKED: usize = 1 << 12;

/// Every packed buffer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How product weights are stored; tables as [`Storage::of_tables`] says.
    pub storage: Storage,
    /// What holds the matrices that fit one.
    pub medium: Medium,
    /// The buffers; a plan's `SlotKind::Weights` is an index into it.
    pub buffers: Vec<Buffer>,
    /// What lies in a buffer of another role, by the index of that: layers that share their tensors and lay them out alike are
    /// trained in one buffer.
    pub shared: Vec<(Role, usize)>,
    /// The layers whose weights lie together.
    pub runs: Vec<Run>,
    /// Whether every weight stands by itself, so that it can be trained: no vectors of tokens are folded into a table of
    /// products, and no layers lie together.
    pub trains: bool,
}

/// Recurrent layers of equal shape, each on the outputs of the one before: at least two, stacked or one after the other
/// in the model. Their products lie in one buffer, so that one dispatch reaches those of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Layer of the model and layer of the stack, first to last.
    pub layers: Vec<(usize, usize)>,
}

/// Where the weights of a product are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The packed buffer.
    pub buffer: usize,
    /// Which of its matrices is the first direction's.
    pub first: usize,
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
    /// The input product by token: row v is what the vector of token v gives, plus the bias.
    InputTable {
        /// The layer of the model (the recurrent one).
        layer: usize,
        /// Where the vectors come from.
        vectors: Vectors,
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
    /// The products of a run: the recurrent one of its first layer, then the input product and the recurrent one of each
    /// further layer, with their biases.
    Run {
        /// Which of the layout's.
        run: usize,
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

impl Role {
    /// The layer whose weights a buffer of this role holds; none of a run's, which has those of several.
    pub(crate) fn layer(self) -> Option<usize> {
        match self {
            Self::Run { .. } => None,
            Self::Table { layer }
            | Self::Input { layer, .. }
            | Self::InputTable { layer, .. }
            | Self::Hidden { layer, .. }
            | Self::Projection { layer, .. }
            | Self::Linear { layer } => Some(layer),
        }
    }
}

/// The vectors of tokens that go straight into a recurrent layer, which then takes rows of a table in the place of a
/// product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vectors {
    /// Unit vectors: the table is `W_x`, turned.
    Unit,
    /// An embedding's: the table is its own times `W_x`.
    Embedded {
        /// The layer of the model.
        embedding: usize,
    },
}

/// How a buffer is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `[matrices][panels][depth + 1 + extra][gates][16]`: row `depth` is the bias, and what is after it an LSTM's
    /// peepholes.
    Matrix {
        /// D, or how many products a run has.
        matrices: usize,
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
    /// How many matrices, or tables, lie one after the other.
    pub(crate) fn matrices(self) -> usize {
        match self {
            Self::Matrix { matrices, .. } => matrices,
            Self::Table { directions, .. } => directions,
        }
    }

    /// Elements in all; more than 64 bits count saturate.
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
    /// The layout of `model`'s weights.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the layers do not fit each other; `Limits`, where there are too many to list.
    pub fn of(model: &Model, storage: Storage) -> Result<Self> {
        Self::with(model, storage, false)
    }

    /// The layout of `model`'s weights where they are trained: in 32-bit floats, each by itself.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn for_training(model: &Model) -> Result<Self> {
        Self::with(model, Storage::F32, true)
    }

    fn with(model: &Model, storage: Storage, trains: bool) -> Result<Self> {
        if let Some((layer, r)) = recurrent(model).find(|(_, r)| r.num_layers > MOST_STACKED) {
            let text = format!("layer {layer}: a stack of {} layers, the most is {MOST_STACKED}", r.num_layers);
            return Err(Error::new(ErrorKind::Limits, text));
        }
        let runs = if trains { Vec::new() } else { runs(model) };
        let mut layout =
            Self { storage, medium: Medium::Buffer, buffers: Vec::new(), shared: Vec::new(), runs, trains };
        for (layer, (Layer { kind, .. }, taken)) in model.layers.iter().zip(model.taken()?).enumerate() {
            // What the layer takes, in the parts that it is given in.
            let source = taken.features();
            match kind {
                LayerKind::Embedding(_) if layout.is_folded(model, layer) => {}
                LayerKind::Embedding(e) => layout.add(
                    model,
                    format!("{layer}.table"),
                    Role::Table { layer },
                    Form::Table { directions: 1, rows: e.num_embeddings, width: padded(e.embedding_dim) },
                ),
                LayerKind::Recurrent(r) => {
                    for stacked in 0..r.num_layers {
                        layout.stacked(model, (layer, stacked), r, source);
                    }
                }
                LayerKind::Linear(l) => {
                    let panels = l.out_features.div_ceil(LANES);
                    let form = Form::Matrix { matrices: 1, panels, source, gates: 1, extra: 0, units: l.out_features };
                    layout.add(model, format!("{layer}.w"), Role::Linear { layer }, form);
                }
                // Those without parameters.
                _ => {}
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

    /// The buffer that has the tensors of `buffer`, laid out as there, where these are trained.
    fn twin(&self, model: &Model, buffer: &Buffer) -> Option<usize> {
        let tensors = |buffer: &Buffer| -> Option<Vec<Contents>> {
            (0..buffer.form.matrices()).map(|matrix| contents(model, buffer, matrix)).collect()
        };
        if !self.trains {
            return None;
        }
        let own = tensors(buffer)?;
        let is_twin = |other: &Buffer| other.form == buffer.form && tensors(other).is_some_and(|other| other == own);
        self.buffers.iter().position(is_twin)
    }

    /// The buffers of a layer of stack `r`, which takes `source`.
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
        // The products of a run lie where its first layer's do, and its first layer's input product by itself.
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
                let (matrices, panels) = (2 * self.runs[run].layers.len() - 1, units.div_ceil(LANES));
                let form = Form::Matrix { matrices, panels, source: state, gates, extra: 0, units };
                self.add(model, format!("{layer}.w_hx.{stacked}"), Role::Run { run }, form);
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

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().fold(0, |bytes: u64, buffer| bytes.saturating_add(self.bytes_of(buffer)))
    }

    /// Bytes of `buffer`, which is one of them.
    pub fn bytes_of(&self, buffer: &Buffer) -> u64 {
        match buffer.form {
            Form::Matrix { matrices, panels, .. } => {
                self.panel_bytes(buffer.form).saturating_mul((matrices as u64).saturating_mul(panels as u64))
            }
            Form::Table { .. } => buffer.form.elems().saturating_mul(self.storage.of_tables().bytes()),
        }
    }

    /// Bytes of a panel of a matrix of `form`.
    pub fn panel_bytes(&self, form: Form) -> u64 {
        let Form::Matrix { source, gates, extra, .. } = form else { unreachable!("a table has no panels") };
        self.storage.panel_bytes(depth(source) as u64, 1 + extra as u64, gates as u64)
    }

    /// How `buffer`, which is one of them, is stored.
    pub fn storage_of(&self, buffer: &Buffer) -> Storage {
        match buffer.form {
            Form::Matrix { .. } => self.storage,
            Form::Table { .. } => self.storage.of_tables(),
        }
    }

    /// The same layout for a device that is to have its matrices in `medium`.
    #[must_use]
    pub fn with_medium(self, medium: Medium) -> Self {
        Self { medium, ..self }
    }

    /// What holds buffer `index`: tables stay in buffers, as do matrices that no texture is large enough for.
    pub fn medium_of(&self, index: usize) -> Medium {
        let buffer = &self.buffers[index];
        let fits =
            matches!(buffer.form, Form::Matrix { .. }) && self.bytes_of(buffer) <= Medium::most_bytes(self.storage);
        if fits { self.medium } else { Medium::Buffer }
    }

    /// [`vectors`], where they are folded.
    pub fn vectors(&self, model: &Model, layer: usize) -> Option<(Vectors, usize)> {
        if self.trains { None } else { vectors(model, layer) }
    }

    /// [`is_folded`], where anything is.
    pub fn is_folded(&self, model: &Model, layer: usize) -> bool {
        !self.trains && is_folded(model, layer)
    }

    /// The index of the buffer that holds `role`.
    pub fn find(&self, role: Role) -> Option<usize> {
        let own = self.buffers.iter().position(|buffer| buffer.role == role);
        own.or_else(|| self.shared.iter().find(|(other, _)| *other == role).map(|(_, buffer)| *buffer))
    }

    /// Where the product of `role` is: in a buffer of its own, or among those of a run.
    pub fn place(&self, role: Role) -> Option<Place> {
        let run = match role {
            Role::Hidden { layer, stacked, .. } => self.run(layer, stacked).map(|(run, index)| (run, 2 * index)),
            Role::Input { layer, stacked } => {
                self.run(layer, stacked).filter(|(_, index)| *index > 0).map(|(run, index)| (run, 2 * index - 1))
            }
            _ => None,
        };
        let (role, first) = run.map_or((role, 0), |(run, first)| (Role::Run { run }, first));
        Some(Place { buffer: self.find(role)?, first })
    }

    /// The run that a layer of a stack is in, and which of its layers it is.
    pub fn run(&self, layer: usize, stacked: usize) -> Option<(usize, usize)> {
        let index = |run: &Run| run.layers.binary_search(&(layer, stacked)).ok();
        self.runs.iter().enumerate().find_map(|(number, run)| Some((number, index(run)?)))
    }
}

/// The recurrent layers of a model.
fn recurrent(model: &Model) -> impl Iterator<Item = (usize, &Recurrent)> {
    model.layers.iter().enumerate().filter_map(|(layer, Layer { kind, .. })| match kind {
        LayerKind::Recurrent(r) => Some((layer, r)),
        _ => None,
    })
}

/// The runs of a model, each as long as [`RUN_BYTES`] allow.
fn runs(model: &Model) -> Vec<Run> {
    let takers = Takers::of(model);
    let mut runs = vec![Run { layers: Vec::new() }];
    let mut before: Option<(usize, &Recurrent)> = None;
    for (layer, r) in recurrent(model) {
        let follows = before.is_some_and(|(first, of)| alike(of, r) && is_only_taker(&takers, first, layer));
        let is_apart = takers.begins(layer) || model.layers[layer].initial != [None; 2];
        for stacked in 0..r.num_layers {
            let goes_on = steps_alone(r) && !is_apart && (stacked > 0 || follows);
            let run = runs.last_mut().expect("there is one from the start");
            if goes_on && run_bytes(r, run.layers.len() + 1) <= RUN_BYTES {
                run.layers.push((layer, stacked));
            } else {
                runs.push(Run { layers: vec![(layer, stacked)] });
            }
        }
        before = Some((layer, r));
    }
    runs.retain(|run| run.layers.len() > 1);
    runs
}

/// Whether recurrent layer `taker` takes what `layer` gives at every step, and nothing else takes any of its results.
fn is_only_taker(takers: &Takers<'_>, layer: usize, taker: usize) -> bool {
    takers.of_steps(layer) == [Some(taker)] && !takers.of_finals(layer) && !takers.begins(layer)
}

/// Whether layers of `r` go forward in time alone and take one product of one shape a step.
fn steps_alone(r: &Recurrent) -> bool {
    r.direction == Direction::Forward
        && r.proj_size.is_none()
        && r.peepholes == Peepholes::None
        && r.cell != Cell::Gru(Reset::Before)
}

/// Whether a layer of `b` on the outputs of `a` computes what those of `a` do.
fn alike(a: &Recurrent, b: &Recurrent) -> bool {
    steps_alone(a) && steps_alone(b) && (a.cell, a.hidden_size, a.variant(0)) == (b.cell, b.hidden_size, b.variant(0))
}

/// Bytes of the weights of a run of `layers` layers of `r`.
fn run_bytes(r: &Recurrent, layers: usize) -> u64 {
    let (source, panels) = (Features::one(r.hidden_size), r.hidden_size.div_ceil(LANES));
    let (matrices, gates) = (2 * layers - 1, r.cell.gates());
    Form::Matrix { matrices, panels, source, gates, extra: 0, units: r.hidden_size }.elems().saturating_mul(4)
}

/// The vectors that recurrent layer `layer` takes straight from tokens, and how many there are: its input product is then
/// a table. Unit vectors always; an embedding's where folding it costs little.
///
/// A row of the table is as wide as all gates, an embedding's row is not: the table takes more memory, and making it
/// costs what V rows cost in a call. From then on each call saves the product of all its rows.
pub fn vectors(model: &Model, layer: usize) -> Option<(Vectors, usize)> {
    let of = model.layers.get(layer)?;
    let LayerKind::Recurrent(r) = &of.kind else { return None };
    let Value::Layer(before, Pin::Output) = model.origin(*of.from.first()?) else { return None };
    match &model.layers[before].kind {
        LayerKind::OneHot(_) => Some((Vectors::Unit, r.input_size)),
        LayerKind::Embedding(e) => {
            let (rows, width) = (e.num_embeddings, r.directions() * r.cell.gates() * padded(r.hidden_size));
            let product = |axes: &[usize]| axes.iter().fold(1, |elems: u64, &n| elems.saturating_mul(n as u64));
            let folds = product(&[4, rows, width.max(e.embedding_dim)]) <= FOLD_BYTES
                && product(&[rows, width, e.embedding_dim]) <= FOLD_PRODUCTS;
            folds.then_some((Vectors::Embedded { embedding: before }, rows))
        }
        _ => None,
    }
}

/// Whether layer `layer` gives the vectors of tokens to a recurrent layer that has a table of them: nothing is left to
/// compute of it.
pub fn is_folded(model: &Model, layer: usize) -> bool {
    if !matches!(model.layers[layer].kind, LayerKind::OneHot(_) | LayerKind::Embedding(_)) {
        return false;
    }
    let takers = Takers::of(model).of_steps(layer);
    !takers.is_empty() && takers.iter().all(|taker| taker.is_some_and(|taker| vectors(model, taker).is_some()))
}
