//! The layers `rnn`, `lstm`, `gru`: recurrent stacks, with the sizes and words that they have in PyTorch: plain data, built by a chain of calls.
//!
//! Knows cells; knows no weights and no layer beside it.

mod tensors;
mod text;

use std::fmt;

use super::Kind;
use super::dropout::share;
use super::param::{Param, count};
use crate::cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, unfit};

pub(crate) use tensors::{INITIAL_CELL, INITIAL_HIDDEN, Part, Way, cell_tensor};

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
    /// Which way each layer goes through time.
    pub direction: Direction,
    /// Which bias vectors there are.
    pub bias: Bias,
    /// The size of LSTM's projected hidden state (`proj_size`; Sak et al. 2014), if it is projected.
    pub proj_size: Option<usize>,
    /// What gates and states go through: in the first direction, and in the reverse one of [`Direction::Both`].
    pub functions: [Functions; 2],
    /// The bound of what goes into a gate's function, if there is one (ONNX's `clip`).
    pub clip: Option<Constant>,
    /// Whether an LSTM's forget gate is its own.
    pub coupling: Coupling,
    /// Whether an LSTM's gates see the cell state.
    pub peepholes: Peepholes,
    /// What becomes of the outputs of both directions.
    pub merge: Merge,
    /// What a dead step gives.
    pub padding: Padding,
    /// How long states last.
    pub memory: Memory,
    /// Where states begin.
    pub initial: Initial,
    /// The share that training drops of what each layer but the last gives, element by element (PyTorch's `dropout`).
    pub dropout: Constant,
    /// The share that training drops of what each layer takes, the same features at every step (Keras' `dropout`).
    pub input_dropout: Constant,
    /// The share that training drops of the hidden state before it is multiplied, the same units at every step (Keras'
    /// `recurrent_dropout`).
    pub recurrent_dropout: Constant,
}

/// Which way a recurrent layer goes through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// First step to last.
    Forward,
    /// Last step to first; each output stands where its step does (ONNX's `reverse`).
    Reverse,
    /// Last step to first; the outputs stand in the order in which they are computed (Keras' `go_backwards`): the
    /// first is of the last step.
    Backwards,
    /// Forward, and reverse beside it.
    Both,
}

impl Direction {
    /// The words of those in a description that `bidirectional` cannot say.
    pub(crate) const WORDS: [(&str, Self); 2] = [("reverse", Self::Reverse), ("backwards", Self::Backwards)];
}

/// What becomes of the outputs of both directions of a layer. Final states are never merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Merge {
    /// They stand side by side, forward then reverse.
    #[default]
    Concat,
    /// They are added.
    Sum,
    /// Their mean.
    Average,
    /// They are multiplied.
    Product,
}

impl Merge {
    /// The word of each in a description.
    pub(crate) const WORDS: [(&str, Self); 4] =
        [("concat", Self::Concat), ("sum", Self::Sum), ("ave", Self::Average), ("mul", Self::Product)];
}

/// What a step gives where the mask says that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Zero (PyTorch, ONNX, Keras' `zero_output_for_mask`).
    #[default]
    Zero,
    /// What the last live step before it gave, in the order in which the direction goes; zero before the first (Keras).
    Held,
}

impl Padding {
    /// The word of each in a description.
    pub(crate) const WORDS: [(&str, Self); 2] = [("zero", Self::Zero), ("held", Self::Held)];
}

/// How long the states of a stack last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Memory {
    /// For a call: each begins from zero or from what it is given.
    #[default]
    Call,
    /// From call to call of an engine (Keras' `stateful`): a call that is given no states begins where the last ended.
    Engine,
}

/// Where the states of a stack begin in a call that brings none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Initial {
    /// At zero.
    #[default]
    Zero,
    /// At weights of the model, the same for every row: `h_0` `[L · D, state_size]` and an LSTM's `c_0` `[L · D, H]`.
    Learned,
}

impl Initial {
    /// The word of each in a description.
    pub(crate) const WORDS: [(&str, Self); 2] = [("zero", Self::Zero), ("learned", Self::Learned)];
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
        Recurrent::new(Cell::Rnn, input_size, hidden_size)
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
            functions: [cell.functions(); 2],
            clip: None,
            coupling: Coupling::Apart,
            peepholes: Peepholes::None,
            merge: Merge::Concat,
            padding: Padding::Zero,
            memory: Memory::Call,
            initial: Initial::Zero,
            dropout: Constant::new(0.0),
            input_dropout: Constant::new(0.0),
            recurrent_dropout: Constant::new(0.0),
        }
    }

    /// The same with another cell, and that cell's own functions: `Cell::Gru(Reset::Before)`.
    #[must_use]
    pub fn cell(mut self, cell: Cell) -> Self {
        self.cell = cell;
        self.functions = [cell.functions(); 2];
        self
    }

    /// The same with other functions, in both directions.
    #[must_use]
    pub fn functions(mut self, functions: Functions) -> Self {
        self.functions = [functions; 2];
        self
    }

    /// The same with another first function: of an RNN, its nonlinearity.
    #[must_use]
    pub fn nonlinearity(mut self, f: Activation) -> Self {
        self.functions = self.functions.map(|functions| Functions { f, ..functions });
        self
    }

    /// The same with each gate's sum bounded to `−clip ..= clip` before its function.
    #[must_use]
    pub fn clip(mut self, clip: f32) -> Self {
        self.clip = Some(clip.into());
        self
    }

    /// The same with the forget gate `1 − i` (LSTM only).
    #[must_use]
    pub fn coupled(mut self) -> Self {
        self.coupling = Coupling::InputForget;
        self
    }

    /// The same with diagonal peepholes (LSTM only).
    #[must_use]
    pub fn peepholes(mut self) -> Self {
        self.peepholes = Peepholes::Diagonal;
        self
    }

    /// The same with the outputs of both directions merged.
    #[must_use]
    pub fn merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    /// The same with what a dead step gives.
    #[must_use]
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// The same with states that last from call to call.
    #[must_use]
    pub fn stateful(mut self) -> Self {
        self.memory = Memory::Engine;
        self
    }

    /// The same with initial states among its weights.
    #[must_use]
    pub fn learned_states(mut self) -> Self {
        self.initial = Initial::Learned;
        self
    }

    /// The same with this share dropped, in training, of what each layer but the last gives.
    #[must_use]
    pub fn dropout(mut self, rate: f32) -> Self {
        self.dropout = rate.into();
        self
    }

    /// The same with this share dropped, in training, of what each layer takes: the same features at every step.
    #[must_use]
    pub fn input_dropout(mut self, rate: f32) -> Self {
        self.input_dropout = rate.into();
        self
    }

    /// The same with this share dropped, in training, of the hidden state on its way into the gates, the same units at every step.
    #[must_use]
    pub fn recurrent_dropout(mut self, rate: f32) -> Self {
        self.recurrent_dropout = rate.into();
        self
    }

    /// The same in another direction.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
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
            Direction::Forward | Direction::Reverse | Direction::Backwards => 1,
            Direction::Both => 2,
        }
    }

    /// The length of the hidden state that a step hands on: the projection's size, or H.
    pub fn state_size(&self) -> usize {
        self.proj_size.unwrap_or(self.hidden_size)
    }

    /// The hidden states of a layer, side by side: one for each direction.
    pub fn hidden(&self) -> Features {
        Features { parts: self.directions(), size: self.state_size() }
    }

    /// Whether a layer's outputs are merged: there are two, and they do not stand side by side.
    pub fn is_merged(&self) -> bool {
        self.directions() == 2 && self.merge != Merge::Concat
    }

    /// What each step gives: the hidden states, or what they are merged to.
    pub fn output(&self) -> Features {
        if self.is_merged() { Features::one(self.state_size()) } else { self.hidden() }
    }

    /// How the cell of direction `direction` departs from its plain equations.
    pub fn variant(&self, direction: usize) -> Variant {
        Variant {
            functions: self.functions[direction],
            clip: self.clip,
            coupling: self.coupling,
            peepholes: self.peepholes,
        }
    }

    /// What layer `layer` of the stack takes.
    pub fn layer_input(&self, layer: usize) -> Features {
        if layer == 0 { Features::one(self.input_size) } else { self.output() }
    }

    /// The place, among those where the stack drops, before a direction of layer `layer`, where its input is dropped.
    pub(crate) fn place_before(&self, layer: usize, direction: usize) -> usize {
        2 * (layer + direction * self.num_layers)
    }

    /// The place where the states of layer `layer` are dropped on their way into the gates.
    pub(crate) fn place_of_states(&self, layer: usize) -> usize {
        2 * (layer + self.num_layers) + 1
    }

    /// The place between layer `layer` and the next.
    pub(crate) fn place_between(&self, layer: usize) -> usize {
        2 * layer + 1
    }

    /// Whether the sizes make sense.
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

    /// Whether the cell has what departs from its plain equations.
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

    /// All layers but the first are alike: a description may claim more of them than anything could count one by one.
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

    fn summary(&self) -> String {
        text::summary(self)
    }
}
