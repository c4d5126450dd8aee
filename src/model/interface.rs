//! The interface of a model that brings its own names: which named tensor is which input or output, and how its axes
//! stand. A model from PyTorch has none (`x`, `lengths`, `output`, `h_n` …); one from ONNX has its graph's.
//!
//! Plain data; `call::named` turns tensors by these names into a call and its results into tensors.

use super::Model;
use super::layers::LayerKind;
use crate::error::{Error, ErrorKind, Result};

/// What a caller gives and gets, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// What goes in. Several ports may take parts of the tensor of one name.
    pub inputs: Vec<InputPort>,
    /// What comes out.
    pub outputs: Vec<OutputPort>,
}

/// What one value of a call is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPort {
    /// The tensor.
    pub name: String,
    /// What it is.
    pub value: InputValue,
    /// Its axes, slowest first. [`InputValue::Lengths`] has batch alone; weights have those that ONNX gives them.
    pub axes: Vec<Dim>,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputValue {
    /// The sequence: features or tokens.
    Sequence,
    /// The number of steps of each row.
    Lengths,
    /// Where there are steps: batch, time.
    Mask,
    /// Initial states of a stack: `L · D` rows of [`Dim::Layers`] from `first` on.
    State {
        /// The stack, counted from 0 among the model's recurrent layers.
        stack: usize,
        /// Which state.
        state: State,
        /// The first row that is the stack's.
        first: usize,
    },
    /// Weights of a recurrent layer that the caller supplies, in ONNX's shapes and gate order.
    Weights {
        /// The layer of the model.
        layer: usize,
        /// Which of its tensors.
        part: WeightPart,
    },
}

/// A state of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The hidden state.
    Hidden,
    /// An LSTM's cell state.
    Cell,
}

/// A tensor of an ONNX recurrent operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightPart {
    /// `W` `[D, G·H, I]`.
    Input,
    /// `R` `[D, G·H, H]`.
    Recurrent,
    /// `B` `[D, 2·G·H]`.
    Bias,
    /// `P` `[D, 3·H]`.
    Peepholes,
}

/// An axis of a named tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// T.
    Time,
    /// B.
    Batch,
    /// The features of a step or the elements of a state. Beside [`Dim::Directions`], those of one direction.
    Features,
    /// The directions of a layer's output, apart from its features.
    Directions,
    /// Layers × directions of a state, layer-major.
    Layers,
    /// An axis of length 1.
    One,
}

/// What one named result is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPort {
    /// The tensor.
    pub name: String,
    /// What it is.
    pub value: OutputValue,
    /// Its axes, slowest first.
    pub axes: Vec<Dim>,
}

/// What an output is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutputValue {
    /// What the last layer gives.
    Output,
    /// One direction of it: 0 forward, 1 reverse.
    Direction(usize),
    /// Final states of these stacks, one after the other along [`Dim::Layers`].
    States {
        /// Which state.
        state: State,
        /// The stacks, counted from 0 among the model's recurrent layers.
        stacks: Vec<usize>,
    },
}

impl Interface {
    /// Whether the caller supplies weights.
    pub fn takes_weights(&self) -> bool {
        self.inputs.iter().any(|port| matches!(port.value, InputValue::Weights { .. }))
    }

    /// Whether the ports fit `model`.
    pub(super) fn check(&self, model: &Model) -> Result<()> {
        let stacks = model.stacks().count();
        let wrong = |name: &str, text: String| Err(Error::new(ErrorKind::Model, format!("{name}: {text}")));
        if !self.inputs.iter().any(|port| port.value == InputValue::Sequence) {
            return wrong("inputs", "expected a sequence among them, got none".into());
        }
        for InputPort { name, value, axes } in &self.inputs {
            match value {
                InputValue::State { stack, .. } if *stack >= stacks => {
                    return wrong(name, format!("stack: expected less than {stacks}, got {stack}"));
                }
                InputValue::Weights { layer, .. }
                    if !matches!(model.layers.get(*layer).map(|l| &l.kind), Some(LayerKind::Recurrent(_))) =>
                {
                    return wrong(name, format!("layer: expected a recurrent one, got {layer}"));
                }
                _ => once_each(name, axes)?,
            }
        }
        for OutputPort { name, value, axes } in &self.outputs {
            if let OutputValue::States { stacks: used, .. } = value
                && let Some(stack) = used.iter().find(|&&stack| stack >= stacks)
            {
                return wrong(name, format!("stacks: expected less than {stacks}, got {stack}"));
            }
            once_each(name, axes)?;
        }
        Ok(())
    }
}

/// Whether no axis but those of length 1 stands twice.
fn once_each(name: &str, axes: &[Dim]) -> Result<()> {
    let twice = axes.iter().enumerate().find(|&(i, dim)| *dim != Dim::One && axes[..i].contains(dim));
    match twice {
        None => Ok(()),
        Some((_, dim)) => {
            Err(Error::new(ErrorKind::Model, format!("{name}: expected each axis once, got {dim:?} twice")))
        }
    }
}
