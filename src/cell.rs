//! Cells: how many gates and states each has, and the canonical order of its gates.
//!
//! The only place that knows a gate order; loaders translate into it. Imports nothing of ours.

use std::fmt;

/// A recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// Simple (Elman) RNN: `h' = f(x·W_x + b_x + h·W_h + b_h)`.
    Rnn(Nonlinearity),
    /// LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 1999). Gates: input, forget, cell, output.
    Lstm,
    /// GRU (Cho et al. 2014). Gates: reset, update, new.
    Gru(Reset),
}

/// The nonlinearity of a simple RNN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nonlinearity {
    /// Hyperbolic tangent.
    Tanh,
    /// `max(0, x)`.
    Relu,
}

/// Where a GRU's reset gate acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// After the recurrent product, `r ∘ (h·W_h + b_h)`: PyTorch, cuDNN, Keras' default.
    After,
    /// Before the recurrent product, `(r ∘ h)·W_h + b_h`: the paper, ONNX's default.
    Before,
}

/// A nonlinearity that stands outside a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The identity.
    Linear,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(0, x)`.
    Relu,
    /// `exp(x_i) / Σ exp(x_j)` over the features.
    Softmax,
    /// `log(softmax(x))` over the features.
    LogSoftmax,
}

impl Cell {
    /// One of each cell there is, in a stable order.
    pub const ALL: [Self; 5] = [
        Self::Rnn(Nonlinearity::Tanh),
        Self::Rnn(Nonlinearity::Relu),
        Self::Lstm,
        Self::Gru(Reset::After),
        Self::Gru(Reset::Before),
    ];

    /// The gates by word, in canonical order (which is PyTorch's).
    pub fn gate_names(self) -> &'static [&'static str] {
        match self {
            Self::Rnn(_) => &["hidden"],
            Self::Lstm => &["input", "forget", "cell", "output"],
            Self::Gru(_) => &["reset", "update", "new"],
        }
    }

    /// G, the number of gates.
    pub fn gates(self) -> usize {
        self.gate_names().len()
    }

    /// S, the number of states: the hidden state, and LSTM's cell state.
    pub fn states(self) -> usize {
        match self {
            Self::Lstm => 2,
            Self::Rnn(_) | Self::Gru(_) => 1,
        }
    }

    /// The name of the cell, as descriptions write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn(_) => "rnn",
            Self::Lstm => "lstm",
            Self::Gru(_) => "gru",
        }
    }
}

impl fmt::Display for Cell {
    /// The name and what tells it from its siblings: `lstm`, `rnn relu`, `gru reset before`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rnn(Nonlinearity::Tanh) => "rnn tanh",
            Self::Rnn(Nonlinearity::Relu) => "rnn relu",
            Self::Lstm => "lstm",
            Self::Gru(Reset::After) => "gru",
            Self::Gru(Reset::Before) => "gru reset before",
        })
    }
}

impl Activation {
    /// Every activation, in a stable order.
    pub const ALL: [Self; 6] = [Self::Linear, Self::Sigmoid, Self::Tanh, Self::Relu, Self::Softmax, Self::LogSoftmax];

    /// The name, as descriptions write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
        }
    }
}
