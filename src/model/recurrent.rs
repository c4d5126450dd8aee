//! Recurrent stacks, with the sizes and words that they have in PyTorch: plain data, built by a chain of calls.
//!
//! Knows cells; knows no weights and no layer beside it.

use super::flow::{Features, positive};
use crate::cell::{Cell, Nonlinearity, Reset};
use crate::error::{Error, ErrorKind, Result};

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

    /// The number of trainable parameters.
    pub(super) fn parameters(&self) -> usize {
        let rows = self.cell.gates() * self.hidden_size;
        let biases = match self.bias {
            Bias::None => 0,
            Bias::One => 1,
            Bias::Two => 2,
        };
        let one = |layer| {
            let products = rows.saturating_mul(self.layer_input(layer).len() + self.state_size() + biases);
            products.saturating_add(self.proj_size.map_or(0, |p| p * self.hidden_size))
        };
        // All layers but the first are alike.
        let rest = one(1).saturating_mul(self.num_layers.saturating_sub(1));
        one(0).saturating_add(rest).saturating_mul(self.directions())
    }

    /// Whether the sizes make sense.
    pub(super) fn check(&self) -> Result<()> {
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
