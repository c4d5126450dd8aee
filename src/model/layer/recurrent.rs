//! The layers `rnn`, `lstm`, `gru`: recurrent stacks, with the
//! sizes and words of PyTorch. Plain data, built by chained calls.
//!
//! Knows cells; knows no weights and no other layer.

mod options;
mod tensors;
mod text;

use std::fmt;

use super::Kind;
use super::dropout::share;
use super::param::{Param, count};
use crate::cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, unfit};

pub use options::{Bias, Direction, Initial, Merge, Padding, StateLifetime};
pub(crate) use tensors::{INITIAL_CELL, INITIAL_HIDDEN, Part, Way, cell_tensor};

/// A stack of recurrent layers of one cell: PyTorch's `nn.RNN`, `nn.LSTM`, `nn.GRU`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// I, the features of the input.
    pub input_size: usize,
    /// H, the units of each layer and direction.
    pub hidden_size: usize,
    /// L, the layers of the stack.
    pub num_layers: usize,
    /// The direction of each layer through time.
    pub direction: Direction,
    /// Which bias vectors there are.
    pub bias: Bias,
    /// The size of LSTM's projected hidden state (`proj_size`; Sak et al. 2014), if it is projected.
    pub proj_size: Option<usize>,
    /// The functions of gates and states: in the first direction, and in the reverse one of [`Direction::Both`].
    pub functions: [Functions; 2],
    /// The bound of the sums that go into gate functions, if there is one (ONNX's `clip`).
    pub clip: Option<Constant>,
    /// Whether an LSTM's forget gate has weights of its own.
    pub coupling: Coupling,
    /// Whether an LSTM's gates see the cell state.
    pub peepholes: Peepholes,
    /// How the outputs of both directions are merged.
    pub merge: Merge,
    /// What a dead step gives.
    pub padding: Padding,
    /// How long the states are kept.
    pub state_lifetime: StateLifetime,
    /// The initial states, if a call gives none.
    pub initial: Initial,
    /// The share that training drops of the output of each layer
    /// but the last, element by element (PyTorch's `dropout`).
    pub dropout: Constant,
    /// The share that training drops of the input of each layer, the same features at every step (Keras' `dropout`).
    pub input_dropout: Constant,
    /// The share that training drops of the hidden state before the recurrent
    /// product, the same units at every step (Keras' `recurrent_dropout`).
    pub recurrent_dropout: Constant,
}

/// A simple RNN: its constructor gives a [`Recurrent`], whose methods set the options.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rnn;

/// An LSTM: its constructor gives a [`Recurrent`], whose methods set the options.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lstm;

/// A GRU: its constructor gives a [`Recurrent`], whose methods set the options.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Gru;

impl Rnn {
    /// Creates one forward tanh layer with PyTorch's two biases.
    #[allow(clippy::new_ret_no_self, reason = "reads like torch.nn.RNN(input_size, hidden_size)")]
    pub fn new(input_size: usize, hidden_size: usize) -> Recurrent {
        Recurrent::new(Cell::Rnn, input_size, hidden_size)
    }
}

impl Lstm {
    /// Creates one forward layer with PyTorch's two biases.
    #[allow(clippy::new_ret_no_self, reason = "reads like torch.nn.LSTM(input_size, hidden_size)")]
    pub fn new(input_size: usize, hidden_size: usize) -> Recurrent {
        Recurrent::new(Cell::Lstm, input_size, hidden_size)
    }
}

impl Gru {
    /// Creates one forward layer with PyTorch's two biases and the reset gate after the product.
    #[allow(clippy::new_ret_no_self, reason = "reads like torch.nn.GRU(input_size, hidden_size)")]
    pub fn new(input_size: usize, hidden_size: usize) -> Recurrent {
        Recurrent::new(Cell::Gru(Reset::After), input_size, hidden_size)
    }
}

impl Recurrent {
    /// Creates one forward layer of `cell` with PyTorch's two biases.
    pub fn new(cell: Cell, input_size: usize, hidden_size: usize) -> Self {
        Self {
            cell,
            input_size,
            hidden_size,
            num_layers: 1,
            direction: Direction::Forward,
            bias: Bias::Two,
            proj_size: None,
            functions: [cell.functions(); 2],
            clip: None,
            coupling: Coupling::Apart,
            peepholes: Peepholes::None,
            merge: Merge::Concat,
            padding: Padding::Zero,
            state_lifetime: StateLifetime::Call,
            initial: Initial::Zero,
            dropout: Constant::new(0.0),
            input_dropout: Constant::new(0.0),
            recurrent_dropout: Constant::new(0.0),
        }
    }

    /// Sets the cell, with that cell's default functions: `Cell::Gru(Reset::Before)`.
    #[must_use]
    pub fn cell(mut self, cell: Cell) -> Self {
        self.cell = cell;
        self.functions = [cell.functions(); 2];
        self
    }

    /// Sets the functions, for both directions.
    #[must_use]
    pub fn functions(mut self, functions: Functions) -> Self {
        self.functions = [functions; 2];
        self
    }

    /// Sets the first function, for both directions: an RNN's nonlinearity.
    #[must_use]
    pub fn nonlinearity(mut self, f: Activation) -> Self {
        self.functions = self.functions.map(|functions| Functions { f, ..functions });
        self
    }

    /// Sets the bound `−clip ..= clip` of each gate's sum before its function.
    #[must_use]
    pub fn clip(mut self, clip: f32) -> Self {
        self.clip = Some(clip.into());
        self
    }

    /// Sets the forget gate to `1 − i` (LSTM only).
    #[must_use]
    pub fn coupled(mut self) -> Self {
        self.coupling = Coupling::InputForget;
        self
    }

    /// Adds diagonal peepholes (LSTM only).
    #[must_use]
    pub fn peepholes(mut self) -> Self {
        self.peepholes = Peepholes::Diagonal;
        self
    }

    /// Sets how the outputs of both directions are merged.
    #[must_use]
    pub fn merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    /// Sets the output of a dead step.
    #[must_use]
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Keeps the states between the calls of an engine.
    #[must_use]
    pub fn stateful(mut self) -> Self {
        self.state_lifetime = StateLifetime::Engine;
        self
    }

    /// Makes the initial states weights of the model.
    #[must_use]
    pub fn learned_states(mut self) -> Self {
        self.initial = Initial::Learned;
        self
    }

    /// Sets the share that training drops of the output of each layer but the last.
    #[must_use]
    pub fn dropout(mut self, rate: f32) -> Self {
        self.dropout = rate.into();
        self
    }

    /// Sets the share that training drops of the input of each layer, the same features at every step.
    #[must_use]
    pub fn input_dropout(mut self, rate: f32) -> Self {
        self.input_dropout = rate.into();
        self
    }

    /// Sets the share that training drops of the hidden state
    /// before the recurrent product, the same units at every step.
    #[must_use]
    pub fn recurrent_dropout(mut self, rate: f32) -> Self {
        self.recurrent_dropout = rate.into();
        self
    }

    /// Sets the direction.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Sets the number of layers.
    #[must_use]
    pub fn num_layers(mut self, num_layers: usize) -> Self {
        self.num_layers = num_layers;
        self
    }

    /// Sets both directions, forward and reverse.
    #[must_use]
    pub fn bidirectional(mut self) -> Self {
        self.direction = Direction::Both;
        self
    }

    /// Sets the biases.
    #[must_use]
    pub fn bias(mut self, bias: Bias) -> Self {
        self.bias = bias;
        self
    }

    /// Sets the size to which the hidden state is projected (LSTM only).
    #[must_use]
    pub fn proj_size(mut self, proj_size: usize) -> Self {
        self.proj_size = Some(proj_size);
        self
    }

    /// Returns D, the number of directions.
    pub fn directions(&self) -> usize {
        match self.direction {
            Direction::Forward | Direction::Reverse | Direction::Backwards => 1,
            Direction::Both => 2,
        }
    }

    /// Returns the length of the hidden state that goes to the next step: the projection's size, or H.
    pub fn state_size(&self) -> usize {
        self.proj_size.unwrap_or(self.hidden_size)
    }

    /// Returns the hidden states of a layer, side by side: one for each direction.
    pub fn hidden(&self) -> Features {
        Features { parts: self.directions(), size: self.state_size() }
    }

    /// Whether the two outputs of a layer are merged other than by concatenation.
    pub fn is_merged(&self) -> bool {
        self.directions() == 2 && self.merge != Merge::Concat
    }

    /// Returns the output of each step: the hidden states, or what they are merged to.
    pub fn output(&self) -> Features {
        if self.is_merged() { Features::one(self.state_size()) } else { self.hidden() }
    }

    /// Returns how the cell of direction `direction` differs from its plain equations.
    pub fn variant(&self, direction: usize) -> Variant {
        Variant {
            functions: self.functions[direction],
            clip: self.clip,
            coupling: self.coupling,
            peepholes: self.peepholes,
        }
    }

    /// Returns the input of layer `layer` of the stack.
    pub fn layer_input(&self, layer: usize) -> Features {
        if layer == 0 { Features::one(self.input_size) } else { self.output() }
    }

    /// Returns the index of the dropout place before direction
    /// `direction` of layer `layer`, where the layer's input is dropped.
    pub(crate) fn place_before(&self, layer: usize, direction: usize) -> usize {
        2 * (layer + direction * self.num_layers)
    }

    /// Returns the index of the dropout place of the states of layer `layer`, before the recurrent product.
    pub(crate) fn place_of_states(&self, layer: usize) -> usize {
        2 * (layer + self.num_layers) + 1
    }

    /// Returns the index of the dropout place between layer `layer` and the next.
    pub(crate) fn place_between(&self, layer: usize) -> usize {
        2 * layer + 1
    }

    /// Checks the sizes, the variant and the dropout rates.
    fn check(&self) -> Result<()> {
        for (name, size) in
            [("input_size", self.input_size), ("hidden_size", self.hidden_size), ("num_layers", self.num_layers)]
        {
            positive(name, size)?;
        }
        self.check_variant()?;
        share("dropout", self.dropout)?;
        share("input_dropout", self.input_dropout)?;
        share("recurrent_dropout", self.recurrent_dropout)?;
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

    /// Checks that the cell supports each departure from its plain equations.
    fn check_variant(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        for functions in &self.functions[..self.directions()] {
            for (letter, function) in ["f", "g", "h"].into_iter().zip(functions.each()).take(self.cell.function_count())
            {
                if !function.is_elementwise() {
                    return wrong(format!(
                        "function {letter}: expected one of each unit alone, got {function}, which needs all of them"
                    ));
                }
                function.check().map_err(|e| e.at(format!("function {letter}")))?;
            }
        }
        if let Some(clip) = self.clip.map(Constant::get)
            && !(clip > 0.0 && clip.is_finite())
        {
            return wrong(format!("clip: expected a number above 0, got {clip}"));
        }
        if self.cell != Cell::Lstm {
            if self.coupling != Coupling::Apart {
                return wrong("coupling: only an lstm has an input and a forget gate".into());
            }
            if self.peepholes != Peepholes::None {
                return wrong("peepholes: only an lstm has a cell state".into());
            }
        }
        Ok(())
    }
}

impl Kind for Recurrent {
    fn name(&self) -> &'static str {
        self.cell.name()
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Steps(Features::one(self.input_size)))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        self.check()?;
        match input {
            Flow::Steps(f) if f.len() == self.input_size => Ok(Flow::Steps(self.output())),
            _ => unfit(format!("a sequence of {} features (input_size)", self.input_size), input),
        }
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        Box::new(self.cells().flat_map(|(stacked, way)| self.of_cell(stacked, way)).chain(self.learned()))
    }

    /// All layers but the first are equal. They are not counted one
    /// by one, since a description may claim a huge number of them.
    fn parameters(&self) -> usize {
        let cell = |stacked| count(self.of_cell(stacked, Way::Forward));
        let rest = cell(1).saturating_mul(self.num_layers.saturating_sub(1));
        let cells =
            cell(0).saturating_mul(self.num_layers.min(1)).saturating_add(rest).saturating_mul(self.directions());
        cells.saturating_add(count(self.learned()))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::short(self, f)
    }

    fn class(&self) -> &'static str {
        text::class(self)
    }

    fn summary(&self) -> String {
        text::summary(self)
    }
}
