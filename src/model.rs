//! The first noun of the road: what the user asks for. Layers, cells, directions, and `summary()`.
//!
//! A `Model` is a description: it holds no weights and knows no device.

use std::fmt;

use crate::cell::{Activation, Cell, Nonlinearity, Reset};
use crate::error::{Error, ErrorKind, Result};

/// A recurrent model: layers one after the other.
///
/// # Example
///
/// ```
/// use gatewave::{Activation, Embedding, Linear, Lstm, Model, Select};
///
/// let model = Model::new()
///     .layer(Embedding::new(500, 16))
///     .layer(Lstm::new(16, 8).num_layers(2).bidirectional())
///     .layer(Select::FinalHidden)
///     .layer(Linear::new(16, 1).activation(Activation::Sigmoid));
/// model.check()?;
/// println!("{}", model.summary());
/// # Ok::<(), gatewave::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Which axis of an input is the batch.
    pub axes: Axes,
    /// The characters of a character model, in token order.
    pub vocabulary: Option<Vec<char>>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

/// The order of the axes of sequences, in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axes {
    /// `[B, T, …]`: PyTorch's `batch_first=True`, and Keras.
    BatchFirst,
    /// `[T, B, …]`: PyTorch's default.
    TimeMajor,
}

/// A layer and the prefix of its tensors' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What the layer does.
    pub kind: LayerKind,
    /// The prefix of its tensors: with `lstm.`, the first is `lstm.weight_ih_l0`.
    pub weights: String,
}

/// What a layer does.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// Tokens to vectors, by a table.
    Embedding(Embedding),
    /// Tokens to unit vectors.
    OneHot(OneHot),
    /// A stack of recurrent layers.
    Recurrent(Recurrent),
    /// Part of a sequence.
    Select(Select),
    /// A dense product over the features.
    Linear(Linear),
    /// A nonlinearity.
    Activation(Activation),
}

/// A table of vectors: token `v` becomes row `v`. Tensor: `weight` `[num_embeddings, embedding_dim]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// V, the number of rows.
    pub num_embeddings: usize,
    /// The length of each row.
    pub embedding_dim: usize,
    /// The token whose row got no gradient in training. Kept for round trips: it changes no number at inference.
    pub padding_idx: Option<usize>,
}

/// Token `v` becomes the vector of `num_classes` elements with a one at `v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneHot {
    /// V, the length of the vector.
    pub num_classes: usize,
}

/// A stack of recurrent layers of one cell: PyTorch's `nn.RNN`, `nn.LSTM`, `nn.GRU`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// I, the features of the input.
    pub input_size: usize,
    /// H, the units of each layer and direction.
    pub hidden_size: usize,
    /// L, the layers of the stack.
    pub num_layers: usize,
    /// Forward, or forward and reverse side by side.
    pub direction: Direction,
    /// Which bias vectors there are.
    pub bias: Bias,
    /// The size of LSTM's projected hidden state (`proj_size`; Sak et al. 2014), if it is projected.
    pub proj_size: Option<usize>,
}

/// The directions of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// First step to last.
    Forward,
    /// Both, their outputs concatenated: forward, then reverse.
    Both,
}

/// The bias vectors of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bias {
    /// None.
    None,
    /// One, added to the input product (Keras).
    One,
    /// One for the input product and one for the recurrent product (PyTorch, cuDNN).
    Two,
}

/// Which part of a sequence goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// Every step.
    AllSteps,
    /// The output at the last time index.
    LastStep,
    /// The last layer's final hidden state, forward then reverse: each row's own last step.
    FinalHidden,
}

/// `y = f(x·Wᵀ + b)` over the features. Tensors: `weight` `[out_features, in_features]`, `bias` `[out_features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The features of the input.
    pub in_features: usize,
    /// The features of the output.
    pub out_features: usize,
    /// Whether there is a bias: [`Bias::One`] or [`Bias::None`].
    pub bias: Bias,
    /// What the product goes through.
    pub activation: Activation,
}

/// What flows between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// `[B, T]` tokens below the bound.
    Tokens(usize),
    /// `[B, T, F]` features: `parts` equal parts (the directions of a bidirectional layer), `size` each.
    Steps(Features),
    /// `[B, F]` features: the time axis is gone.
    Rows(Features),
}

/// The features of one step: `parts` vectors of `size`, concatenated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// How many vectors stand side by side: the directions, or 1.
    pub parts: usize,
    /// The length of each.
    pub size: usize,
}

impl Flow {
    /// The number of tokens, where tokens flow.
    pub fn tokens(self) -> Option<usize> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Steps(_) | Self::Rows(_) => None,
        }
    }
}

impl Features {
    /// One vector of `size`.
    pub fn one(size: usize) -> Self {
        Self { parts: 1, size }
    }

    /// All features: `parts · size`.
    pub fn len(self) -> usize {
        self.parts * self.size
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A model with no layers yet, batch first.
    pub fn new() -> Self {
        Self { axes: Axes::BatchFirst, vocabulary: None, layers: Vec::new() }
    }

    /// The model with `layer` after its last. Its tensors get the prefix of `nn.Sequential`: `0.`, `1.`, …
    #[must_use]
    pub fn layer(self, layer: impl Into<LayerKind>) -> Self {
        let weights = format!("{}.", self.layers.len());
        self.named_layer(weights, layer)
    }

    /// The model with `layer` after its last, its tensors named with the prefix `weights`.
    #[must_use]
    pub fn named_layer(mut self, weights: impl Into<String>, layer: impl Into<LayerKind>) -> Self {
        self.layers.push(Layer { kind: layer.into(), weights: weights.into() });
        self
    }

    /// The model with its sequences laid out as `axes`.
    #[must_use]
    pub fn axes(mut self, axes: Axes) -> Self {
        self.axes = axes;
        self
    }

    /// The recurrent stacks, first to last.
    pub fn stacks(&self) -> impl Iterator<Item = &Recurrent> {
        self.layers.iter().filter_map(|layer| match &layer.kind {
            LayerKind::Recurrent(stack) => Some(stack),
            _ => None,
        })
    }

    /// What the model takes.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where there is no layer or the first one takes no sequence.
    pub fn input(&self) -> Result<Flow> {
        let first = self.layers.first().ok_or_else(|| Error::new(ErrorKind::Model, "the model has no layers"))?;
        match &first.kind {
            LayerKind::Embedding(e) => Ok(Flow::Tokens(e.num_embeddings)),
            LayerKind::OneHot(o) => Ok(Flow::Tokens(o.num_classes)),
            LayerKind::Recurrent(r) => Ok(Flow::Steps(Features::one(r.input_size))),
            LayerKind::Linear(l) => Ok(Flow::Steps(Features::one(l.in_features))),
            LayerKind::Select(_) | LayerKind::Activation(_) => Err(Error::new(
                ErrorKind::Model,
                format!(
                    "layer 0 {}: expected a layer that takes a sequence (embedding, one_hot, rnn, lstm, gru, linear) first",
                    first.kind.name()
                ),
            )),
        }
    }

    /// What flows out of each layer, first to last.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where a layer cannot take what the one before it gives, or has a size of zero.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        let mut flow = self.input()?;
        let mut recurrent = None;
        let mut flows = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            flow =
                layer.kind.flow(flow, recurrent).map_err(|e| e.at(format!("layer {index} {}", layer.kind.name())))?;
            if let LayerKind::Recurrent(stack) = &layer.kind {
                recurrent = Some(stack.output());
            }
            flows.push(flow);
        }
        Ok(flows)
    }

    /// Whether the layers fit each other.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows), and where the vocabulary's length is not the number of tokens.
    pub fn check(&self) -> Result<()> {
        self.flows()?;
        if let (Some(vocabulary), Flow::Tokens(tokens)) = (&self.vocabulary, self.input()?)
            && vocabulary.len() != tokens
        {
            return Err(Error::new(
                ErrorKind::Model,
                format!("vocabulary: expected {tokens} characters, one for each token, got {}", vocabulary.len()),
            ));
        }
        Ok(())
    }

    /// The number of trainable parameters.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.kind.parameters()).sum()
    }
}

impl Embedding {
    /// A table of `num_embeddings` rows of `embedding_dim`.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Self { num_embeddings, embedding_dim, padding_idx: None }
    }
}

impl OneHot {
    /// Unit vectors of `num_classes` elements.
    pub fn new(num_classes: usize) -> Self {
        Self { num_classes }
    }
}

impl Linear {
    /// A product with a bias and no activation.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self { in_features, out_features, bias: Bias::One, activation: Activation::Linear }
    }

    /// The same with an activation.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The same without a bias.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.bias = Bias::None;
        self
    }
}

/// A simple RNN, to be refined: see [`Recurrent`].
#[derive(Clone, Copy, Debug)]
pub struct Rnn;

/// An LSTM, to be refined: see [`Recurrent`].
#[derive(Clone, Copy, Debug)]
pub struct Lstm;

/// A GRU, to be refined: see [`Recurrent`].
#[derive(Clone, Copy, Debug)]
pub struct Gru;

impl Rnn {
    /// One forward tanh layer with PyTorch's two biases.
    #[allow(clippy::new_ret_no_self, reason = "reads like torch.nn.RNN(input_size, hidden_size)")]
    pub fn new(input_size: usize, hidden_size: usize) -> Recurrent {
        Recurrent::new(Cell::Rnn(Nonlinearity::Tanh), input_size, hidden_size)
    }
}

impl Lstm {
    /// One forward layer with PyTorch's two biases.
    #[allow(clippy::new_ret_no_self, reason = "reads like torch.nn.LSTM(input_size, hidden_size)")]
    pub fn new(input_size: usize, hidden_size: usize) -> Recurrent {
        Recurrent::new(Cell::Lstm, input_size, hidden_size)
    }
}

impl Gru {
    /// One forward layer with PyTorch's two biases, the reset gate after the product.
    #[allow(clippy::new_ret_no_self, reason = "reads like torch.nn.GRU(input_size, hidden_size)")]
    pub fn new(input_size: usize, hidden_size: usize) -> Recurrent {
        Recurrent::new(Cell::Gru(Reset::After), input_size, hidden_size)
    }
}

impl Recurrent {
    /// One forward layer of `cell` with PyTorch's two biases.
    pub fn new(cell: Cell, input_size: usize, hidden_size: usize) -> Self {
        Self {
            cell,
            input_size,
            hidden_size,
            num_layers: 1,
            direction: Direction::Forward,
            bias: Bias::Two,
            proj_size: None,
        }
    }

    /// The same with another cell of the family: `Cell::Gru(Reset::Before)`, `Cell::Rnn(Nonlinearity::Relu)`.
    #[must_use]
    pub fn cell(mut self, cell: Cell) -> Self {
        self.cell = cell;
        self
    }

    /// The same with `num_layers` layers.
    #[must_use]
    pub fn num_layers(mut self, num_layers: usize) -> Self {
        self.num_layers = num_layers;
        self
    }

    /// The same in both directions.
    #[must_use]
    pub fn bidirectional(mut self) -> Self {
        self.direction = Direction::Both;
        self
    }

    /// The same with other biases.
    #[must_use]
    pub fn bias(mut self, bias: Bias) -> Self {
        self.bias = bias;
        self
    }

    /// The same with the hidden state projected to `proj_size` (LSTM only).
    #[must_use]
    pub fn proj_size(mut self, proj_size: usize) -> Self {
        self.proj_size = Some(proj_size);
        self
    }

    /// D, the number of directions.
    pub fn directions(&self) -> usize {
        match self.direction {
            Direction::Forward => 1,
            Direction::Both => 2,
        }
    }

    /// The length of the hidden state that a step hands on: the projection's size, or H.
    pub fn state_size(&self) -> usize {
        self.proj_size.unwrap_or(self.hidden_size)
    }

    /// What each step gives: a hidden state for each direction.
    pub fn output(&self) -> Features {
        Features { parts: self.directions(), size: self.state_size() }
    }

    /// What layer `layer` of the stack takes.
    pub fn layer_input(&self, layer: usize) -> Features {
        if layer == 0 { Features::one(self.input_size) } else { self.output() }
    }

    fn parameters(&self) -> usize {
        let rows = self.cell.gates() * self.hidden_size;
        let biases = match self.bias {
            Bias::None => 0,
            Bias::One => 1,
            Bias::Two => 2,
        };
        let one = |layer| {
            rows * (self.layer_input(layer).len() + self.state_size() + biases)
                + self.proj_size.map_or(0, |p| p * self.hidden_size)
        };
        (0..self.num_layers).map(one).sum::<usize>() * self.directions()
    }

    fn check(&self) -> Result<()> {
        for (name, size) in
            [("input_size", self.input_size), ("hidden_size", self.hidden_size), ("num_layers", self.num_layers)]
        {
            positive(name, size)?;
        }
        match self.proj_size {
            Some(_) if self.cell != Cell::Lstm => {
                Err(Error::new(ErrorKind::Model, "proj_size: only an lstm has a projection"))
            }
            Some(p) if p == 0 || p >= self.hidden_size => Err(Error::new(
                ErrorKind::Model,
                format!(
                    "proj_size: expected 1 to {} (less than hidden_size), got {p}",
                    self.hidden_size.saturating_sub(1)
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl LayerKind {
    /// The name of the layer, as descriptions write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedding(_) => "embedding",
            Self::OneHot(_) => "one_hot",
            Self::Recurrent(r) => r.cell.name(),
            Self::Select(_) => "select",
            Self::Linear(_) => "linear",
            Self::Activation(_) => "activation",
        }
    }

    /// The number of trainable parameters.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Embedding(e) => e.num_embeddings * e.embedding_dim,
            Self::Recurrent(r) => r.parameters(),
            Self::Linear(l) => l.out_features * (l.in_features + usize::from(l.bias != Bias::None)),
            Self::OneHot(_) | Self::Select(_) | Self::Activation(_) => 0,
        }
    }

    /// What the layer gives for `input`. `recurrent` is what the last recurrent stack before it gave.
    fn flow(&self, input: Flow, recurrent: Option<Features>) -> Result<Flow> {
        let unfit = |wants: String| Err(Error::new(ErrorKind::Model, format!("expected {wants}, got {input}")));
        match self {
            Self::Embedding(_) | Self::OneHot(_) => {
                let size = match self {
                    Self::Embedding(e) => e.embedding_dim,
                    _ => input.tokens().unwrap_or(1),
                };
                positive("num_embeddings", input.tokens().unwrap_or(1))?;
                positive("embedding_dim", size)?;
                match input {
                    Flow::Tokens(_) => Ok(Flow::Steps(Features::one(size))),
                    _ => unfit("tokens (it can only be the first layer)".into()),
                }
            }
            Self::Recurrent(stack) => {
                stack.check()?;
                match input {
                    Flow::Steps(f) if f.len() == stack.input_size => Ok(Flow::Steps(stack.output())),
                    _ => unfit(format!("a sequence of {} features (input_size)", stack.input_size)),
                }
            }
            Self::Select(select) => match (select, input, recurrent) {
                (Select::AllSteps, Flow::Steps(f), _) => Ok(Flow::Steps(f)),
                (Select::LastStep, Flow::Steps(f), _) => Ok(Flow::Rows(f)),
                (Select::FinalHidden, Flow::Steps(_), Some(f)) => Ok(Flow::Rows(f)),
                (Select::FinalHidden, Flow::Steps(_), None) => unfit("a recurrent layer before final_hidden".into()),
                _ => unfit("a sequence".into()),
            },
            Self::Linear(l) => {
                positive("in_features", l.in_features)?;
                positive("out_features", l.out_features)?;
                match input {
                    Flow::Steps(f) if f.len() == l.in_features => Ok(Flow::Steps(Features::one(l.out_features))),
                    Flow::Rows(f) if f.len() == l.in_features => Ok(Flow::Rows(Features::one(l.out_features))),
                    _ => unfit(format!("{} features (in_features)", l.in_features)),
                }
            }
            Self::Activation(_) => match input {
                Flow::Tokens(_) => unfit("features".into()),
                other => Ok(other),
            },
        }
    }
}

fn positive(name: &str, size: usize) -> Result<()> {
    // The bound keeps every product of two sizes inside 64 bits.
    match size {
        1..=0x7fff_ffff => Ok(()),
        0 => Err(Error::new(ErrorKind::Model, format!("{name}: expected at least 1, got 0"))),
        _ => Err(Error::new(ErrorKind::Model, format!("{name}: expected at most 2147483647, got {size}"))),
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(tokens) => write!(f, "tokens below {tokens}"),
            Self::Steps(features) => write!(f, "a sequence of {} features", features.len()),
            Self::Rows(features) => write!(f, "{} features without a time axis", features.len()),
        }
    }
}

impl From<Embedding> for LayerKind {
    fn from(layer: Embedding) -> Self {
        Self::Embedding(layer)
    }
}

impl From<OneHot> for LayerKind {
    fn from(layer: OneHot) -> Self {
        Self::OneHot(layer)
    }
}

impl From<Recurrent> for LayerKind {
    fn from(layer: Recurrent) -> Self {
        Self::Recurrent(layer)
    }
}

impl From<Select> for LayerKind {
    fn from(layer: Select) -> Self {
        Self::Select(layer)
    }
}

impl From<Linear> for LayerKind {
    fn from(layer: Linear) -> Self {
        Self::Linear(layer)
    }
}

impl From<Activation> for LayerKind {
    fn from(layer: Activation) -> Self {
        Self::Activation(layer)
    }
}

impl fmt::Display for LayerKind {
    /// The layer in a few words: `lstm(64→256)×2`, `linear(256→65) softmax`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding(e) => write!(f, "embedding({}→{})", e.num_embeddings, e.embedding_dim),
            Self::OneHot(o) => write!(f, "one_hot({})", o.num_classes),
            Self::Recurrent(r) => {
                write!(f, "{}({}→{}", r.cell, r.input_size, r.hidden_size)?;
                if let Some(p) = r.proj_size {
                    write!(f, "→{p}")?;
                }
                f.write_str(")")?;
                if r.num_layers > 1 {
                    write!(f, "×{}", r.num_layers)?;
                }
                match r.direction {
                    Direction::Forward => Ok(()),
                    Direction::Both => f.write_str(" bidirectional"),
                }
            }
            Self::Select(Select::AllSteps) => f.write_str("all_steps"),
            Self::Select(Select::LastStep) => f.write_str("last_step"),
            Self::Select(Select::FinalHidden) => f.write_str("final_hidden"),
            Self::Linear(l) => {
                write!(f, "linear({}→{})", l.in_features, l.out_features)?;
                match l.activation {
                    Activation::Linear => Ok(()),
                    activation => write!(f, " {}", activation.name()),
                }
            }
            Self::Activation(activation) => f.write_str(activation.name()),
        }
    }
}
