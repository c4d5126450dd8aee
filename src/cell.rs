//! Cells: how many gates and states each has, the canonical order of its gates, and its functions.
//!
//! The only place that knows a gate order; loaders translate into it. Imports nothing of ours.

mod activation;

use std::fmt;

pub use activation::{Activation, Constant};

/// A recurrent cell. The functions of its gates are its [`Functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cell {
    /// Simple (Elman) RNN: `h' = f(x·W_x + b_x + h·W_h + b_h)`.
    Rnn,
    /// LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 1999). Gates: input, forget, cell, output.
    Lstm,
    /// GRU (Cho et al. 2014). Gates: reset, update, new.
    Gru(Reset),
}

/// Where a GRU's reset gate acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// After the recurrent product, `r ∘ (h·W_h + b_h)`: PyTorch, cuDNN, Keras' default.
    After,
    /// Before the recurrent product, `(r ∘ h)·W_h + b_h`: the paper, ONNX's default.
    Before,
}

/// The functions of a cell's gates and states, by ONNX's letters. Each is
/// elementwise; a function that a cell does not have is [`Activation::Linear`].
///
/// | cell | `f` | `g` | `h` |
/// | --- | --- | --- | --- |
/// | RNN | the state: tanh | | |
/// | LSTM | gates input, forget, output: sigmoid | gate cell: tanh | the cell state on its way out: tanh |
/// | GRU | gates reset, update: sigmoid | gate new: tanh | |
///
/// Keras' `recurrent_activation` is `f`. Its `activation` is `g` and `h`, or an RNN's `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Functions {
    /// The first.
    pub f: Activation,
    /// The second.
    pub g: Activation,
    /// The third.
    pub h: Activation,
}

/// Whether an LSTM's forget gate has weights of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coupling {
    /// Four separate gates.
    #[default]
    Apart,
    /// `f = 1 − i`, whatever the forget gate's weights (ONNX's `input_forget`; Greff et al. 2017, "CIFG").
    InputForget,
}

/// Whether an LSTM's gates see the cell state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peepholes {
    /// They do not.
    #[default]
    None,
    /// Each sees its own unit's cell state (Gers and Schmidhuber
    /// 2000): input and forget the old one, output the new one.
    Diagonal,
}

/// How a cell differs from its plain equations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Variant {
    /// The functions of gates and states.
    pub functions: Functions,
    /// The bound `−clip ..= clip` of the sums that go into gate functions: products, biases and peephole
    /// (ONNX's `clip`). A cell state is never bounded, neither when it is kept nor when it goes into `h`.
    pub clip: Option<Constant>,
    /// The forget gate of an LSTM.
    pub coupling: Coupling,
    /// The peepholes of an LSTM.
    pub peepholes: Peepholes,
}

impl Functions {
    /// No functions: for a kernel without a cell.
    pub const NONE: Self = Self { f: Activation::Linear, g: Activation::Linear, h: Activation::Linear };

    /// The functions in order.
    pub fn each(self) -> [Activation; 3] {
        [self.f, self.g, self.h]
    }
}

impl Variant {
    /// No variant: for a kernel without a cell.
    pub const NONE: Self =
        Self { functions: Functions::NONE, clip: None, coupling: Coupling::Apart, peepholes: Peepholes::None };

    /// Creates the plain variant of `cell`, with its default functions.
    pub fn plain(cell: Cell) -> Self {
        Self { functions: cell.functions(), ..Self::NONE }
    }
}

impl Cell {
    /// All cells, in a stable order.
    pub const ALL: [Self; 4] = [Self::Rnn, Self::Lstm, Self::Gru(Reset::After), Self::Gru(Reset::Before)];

    /// Returns the names of the gates in canonical order (which is PyTorch's).
    pub fn gate_names(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["hidden"],
            Self::Lstm => &["input", "forget", "cell", "output"],
            Self::Gru(_) => &["reset", "update", "new"],
        }
    }

    /// Returns G, the number of gates.
    pub fn gates(self) -> usize {
        self.gate_names().len()
    }

    /// Returns S, the number of states: the hidden state, and an LSTM's cell state.
    pub fn states(self) -> usize {
        match self {
            Self::Lstm => 2,
            Self::Rnn | Self::Gru(_) => 1,
        }
    }

    /// Returns how many functions the cell has: `f`, `g`, `h`.
    pub fn function_count(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 3,
            Self::Gru(_) => 2,
        }
    }

    /// Returns the default functions of the gates and states.
    pub const fn functions(self) -> Functions {
        let (sigmoid, tanh) = (Activation::Sigmoid, Activation::Tanh);
        match self {
            Self::Rnn => Functions { f: tanh, ..Functions::NONE },
            Self::Lstm => Functions { f: sigmoid, g: tanh, h: tanh },
            Self::Gru(_) => Functions { f: sigmoid, g: tanh, ..Functions::NONE },
        }
    }

    /// Returns the name of the cell, as descriptions write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Lstm => "lstm",
            Self::Gru(_) => "gru",
        }
    }
}

impl fmt::Display for Cell {
    /// Writes the name, and what distinguishes the cell from others of that name: `lstm`, `gru reset before`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rnn => "rnn",
            Self::Lstm => "lstm",
            Self::Gru(Reset::After) => "gru",
            Self::Gru(Reset::Before) => "gru reset before",
        })
    }
}
