//! The ports of a model: which named tensor of a call is which input or output, and the order of its axes. A model
//! from PyTorch has the usual ones (`x`, `lengths`, `output`, `h_n` …); one from ONNX has those of its graph.
//!
//! Plain data. `named` uses it to turn named tensors into a call, and results into named tensors.

mod dims;
mod usual;

use std::collections::{HashMap, HashSet};

use super::Model;
use super::flow::Flow;
use super::layer::{Bias, LayerKind, Recurrent};
use crate::cell::Peepholes;
use crate::error::{Error, ErrorKind, Result};

/// The named tensors of a call. If a list is empty, the [usual](Self::usual) ports are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ports {
    /// The inputs. Several ports may take parts of the same tensor.
    pub inputs: Vec<InputPort>,
    /// The outputs.
    pub outputs: Vec<OutputPort>,
    /// Which of the inputs a call must have.
    pub required: Required,
}

/// Which inputs a call must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Required {
    /// The sequence, and weights. Lengths, mask and states may be left out.
    #[default]
    Sequence,
    /// All of them (ONNX).
    All,
}

/// A named tensor of a call, or a part of it, and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputPort {
    /// The name of the tensor.
    pub name: String,
    /// What it is.
    pub value: InputValue,
    /// Its axes, slowest first. [`InputValue::Lengths`] have the batch axis alone. Weights have the axes of ONNX.
    pub axes: Vec<Dim>,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InputValue {
    /// The sequence: features or tokens. If there are several inputs, it is the first one with a time axis.
    Sequence,
    /// Another input of the model, counted from 0 among [`Model::inputs`]. It is features or
    /// tokens with steps, or a row. The features of a row may be in groups along [`Dim::Layers`], and those of a step
    /// along [`Dim::Directions`].
    Input(usize),
    /// The number of steps of each row, along the time axis of this
    /// input of [`Model::inputs`]. It is 0 if the model names none.
    Lengths(usize),
    /// The mask along the time axis of this input: batch, time.
    Mask(usize),
    /// Initial states of a stack: `L · D` rows of [`Dim::Layers`], from `first` on.
    State {
        /// The stack, counted from 0 among the model's recurrent layers.
        stack: usize,
        /// Which state.
        state: State,
        /// The first row of this stack.
        first: usize,
    },
    /// Weights of a recurrent layer that the caller supplies, in the shapes and gate order of ONNX.
    Weights {
        /// The layer of the model.
        layer: usize,
        /// Which of its tensors.
        part: WeightPart,
    },
}

/// A state of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The hidden state.
    Hidden,
    /// An LSTM's cell state.
    Cell,
}

/// A tensor of an ONNX recurrent operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum Dim {
    /// T.
    Time,
    /// B.
    Batch,
    /// The features of a step, or the elements of a state. Together with [`Dim::Directions`], those of one direction.
    Features,
    /// The directions of a layer's output, on an axis of their own; or groups of the features of a sequence.
    Directions,
    /// Layers × directions of a state, layer-major.
    Layers,
    /// An axis of length 1.
    One,
}

/// A named result of a call, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputPort {
    /// The name of the tensor.
    pub name: String,
    /// What it is.
    pub value: OutputValue,
    /// Its axes, slowest first.
    pub axes: Vec<Dim>,
}

/// What an output is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputValue {
    /// The last layer's output, or the model's first output that is no final state.
    Output,
    /// Another output, counted from 0 among the model's outputs that are no final states.
    Another(usize),
    /// One direction of the output: 0 forward, 1 reverse.
    Direction(usize),
    /// The index of the largest feature of an output, counted from 0; the first of equal ones.
    /// The number is that of [`Another`](Self::Another), and 0 for [`Output`](Self::Output).
    Largest(usize),
    /// Final states of these stacks, concatenated along [`Dim::Layers`].
    States {
        /// Which state.
        state: State,
        /// The stacks, counted from 0 among the model's recurrent layers.
        stacks: Vec<usize>,
    },
}

impl InputPort {
    /// Creates a port: tensor `name` is `value`, with `axes` slowest first.
    pub fn new(name: impl Into<String>, value: InputValue, axes: impl Into<Vec<Dim>>) -> Self {
        Self { name: name.into(), value, axes: axes.into() }
    }
}

impl OutputPort {
    /// Creates a port: tensor `name` is `value`, with `axes` slowest first.
    pub fn new(name: impl Into<String>, value: OutputValue, axes: impl Into<Vec<Dim>>) -> Self {
        Self { name: name.into(), value, axes: axes.into() }
    }
}

impl Ports {
    /// Creates the ports of a call, which must have the sequence ([`Required::Sequence`]).
    pub fn new(inputs: impl Into<Vec<InputPort>>, outputs: impl Into<Vec<OutputPort>>) -> Self {
        Self { inputs: inputs.into(), outputs: outputs.into(), ..Self::default() }
    }

    /// Sets which inputs a call must have.
    #[must_use]
    pub fn required(mut self, required: Required) -> Self {
        self.required = required;
        self
    }

    /// Whether the caller supplies weights.
    pub fn takes_weights(&self) -> bool {
        self.inputs.iter().any(|port| matches!(port.value, InputValue::Weights { .. }))
    }

    /// Whether the caller supplies weights of layer `layer`.
    pub fn supplies(&self, layer: usize) -> bool {
        self.inputs.iter().any(|port| matches!(port.value, InputValue::Weights { layer: l, .. } if l == layer))
    }

    /// Checks that the ports fit `model`.
    pub(super) fn check(&self, model: &Model) -> Result<()> {
        let stacks: Vec<_> = model.stacks().collect();
        if !self.inputs.is_empty() && !self.inputs.iter().any(|port| port.value == InputValue::Sequence) {
            return Err(wrong("inputs: expected a sequence among them, got none"));
        }
        let (mut names, mut values) = (HashMap::new(), HashSet::new());
        for port in &self.inputs {
            // Several states may be parts of one tensor. Several time axes may have the same lengths or the same mask.
            let kind = std::mem::discriminant(&port.value);
            let shared = matches!(port.value, InputValue::State { .. } | InputValue::Lengths(_) | InputValue::Mask(_));
            if names.insert(&port.name, kind).is_some_and(|other| !shared || other != kind) {
                return Err(wrong(format!("{}: expected a name of its own, got another input's", port.name)));
            }
            // The same sequence, lengths or mask may have several names.
            let aliased = matches!(
                port.value,
                InputValue::Sequence | InputValue::Input(_) | InputValue::Lengths(_) | InputValue::Mask(_)
            );
            if !values.insert(port.value) && !aliased {
                return Err(wrong(format!("{}: expected what no other input is, got {:?}", port.name, port.value)));
            }
            port.check(model, &stacks).map_err(|e| e.at(&port.name))?;
        }
        let flows = model.output_flows()?;
        let mut names = HashSet::new();
        for port in &self.outputs {
            if !names.insert(&port.name) {
                return Err(wrong(format!("{}: expected a name of its own, got another output's", port.name)));
            }
            port.check(&flows, &stacks).map_err(|e| e.at(&port.name))?;
        }
        Ok(())
    }
}

impl State {
    /// Returns its name for messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Cell => "cell",
        }
    }

    /// Returns its key in a description.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Hidden => "h_0",
            Self::Cell => "c_0",
        }
    }

    /// Whether the cell of `stack` has this state.
    pub(crate) fn is_of(self, stack: &Recurrent) -> bool {
        self == Self::Hidden || stack.cell.states() > 1
    }

    /// Returns the length of this state in `stack`.
    pub(crate) fn size(self, stack: &Recurrent) -> usize {
        match self {
            Self::Hidden => stack.state_size(),
            Self::Cell => stack.hidden_size,
        }
    }

    fn check(self, stacks: &[&Recurrent], stack: usize) -> Result<()> {
        match stacks.get(stack) {
            None => Err(wrong(format!("stack: expected less than {}, got {stack}", stacks.len()))),
            Some(stack) if !self.is_of(stack) => Err(wrong(format!(
                "expected a state of the stack, got the cell state, which no {} has",
                stack.cell.name()
            ))),
            Some(_) => Ok(()),
        }
    }
}

impl InputPort {
    fn check(&self, model: &Model, stacks: &[&Recurrent]) -> Result<()> {
        let (axes, long) = (&self.axes, |dim, size: usize| (dim, size != 1));
        match self.value {
            InputValue::Sequence => {
                let flow = model.input()?;
                let features = match flow {
                    Flow::Steps(features) | Flow::Rows(features) => Some(long(Dim::Features, features.len())),
                    Flow::Tokens(_) => None,
                };
                let time = (!matches!(flow, Flow::Rows(_))).then_some((Dim::Time, false));
                let groups = groups_of(flow).map(|dim| (dim, false));
                fit(axes, time.into_iter().chain([(Dim::Batch, false)]).chain(groups).chain(features))
            }
            InputValue::Input(index) => {
                let flow = model.inputs.get(index).and_then(|input| input.kind.flow());
                let Some(flow) = flow else {
                    return Err(wrong(format!("input: expected one of {} inputs, got {index}", model.inputs.len())));
                };
                let time = (!matches!(flow, Flow::Rows(_))).then_some((Dim::Time, false));
                let groups = groups_of(flow).map(|dim| (dim, false));
                let features = flow.tokens().is_none().then(|| long(Dim::Features, flow.features().len()));
                fit(axes, [(Dim::Batch, false)].into_iter().chain(time).chain(groups).chain(features))
            }
            InputValue::Lengths(input) | InputValue::Mask(input) => {
                if model.all_inputs()?.get(input).is_none_or(|input| !input.kind.has_time()) {
                    return Err(wrong(format!("input: expected one with a time axis, got {input}")));
                }
                let time = matches!(self.value, InputValue::Mask(_)).then_some((Dim::Time, false));
                fit(axes, [(Dim::Batch, false)].into_iter().chain(time))
            }
            InputValue::State { stack, state, first } => {
                state.check(stacks, stack)?;
                if model.begun(stack).has(state) {
                    return Err(wrong(format!(
                        "stack: expected one that begins where the caller says, got {stack}, which a value of the model begins"
                    )));
                }
                let rows = stacks[stack].num_layers.saturating_mul(stacks[stack].directions());
                let last = first.saturating_add(rows);
                fit(
                    axes,
                    [long(Dim::Layers, last), (Dim::Batch, false), long(Dim::Features, state.size(stacks[stack]))],
                )
            }
            InputValue::Weights { layer, part } => part.check(model, layer),
        }
    }
}

impl WeightPart {
    fn check(self, model: &Model, layer: usize) -> Result<()> {
        let Some(LayerKind::Recurrent(stack)) = model.layers.get(layer).map(|layer| &layer.kind) else {
            return Err(wrong(format!("layer: expected a recurrent one, got {layer}")));
        };
        if stack.num_layers != 1 || stack.proj_size.is_some() {
            return Err(wrong(format!(
                "layer {layer}: expected one without a projection or layers in it, as ONNX has them"
            )));
        }
        match self {
            Self::Bias if stack.bias != Bias::Two => {
                Err(wrong(format!("layer {layer}: expected one with two biases, which ONNX' B has")))
            }
            Self::Peepholes if stack.peepholes == Peepholes::None => {
                Err(wrong(format!("layer {layer}: expected one with peepholes")))
            }
            _ => Ok(()),
        }
    }

    /// Returns the shape of this part in `stack`, as in ONNX. The first axis is the directions.
    pub(crate) fn shape(self, stack: &Recurrent) -> Vec<usize> {
        let (directions, hidden) = (stack.directions(), stack.hidden_size);
        let rows = stack.cell.gates() * hidden;
        match self {
            Self::Input => vec![directions, rows, stack.input_size],
            Self::Recurrent => vec![directions, rows, hidden],
            Self::Bias => vec![directions, 2 * rows],
            Self::Peepholes => vec![directions, 3 * hidden],
        }
    }
}

impl OutputValue {
    /// Returns which output of features it belongs to, counted from 0.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Another(index) | Self::Largest(index) => *index,
            Self::Output | Self::Direction(_) | Self::States { .. } => 0,
        }
    }
}

impl OutputPort {
    /// Checks that the output fits a model that gives `flows`.
    fn check(&self, flows: &[Flow], stacks: &[&Recurrent]) -> Result<()> {
        let index = self.value.index();
        let (time, features) = match flows.get(index) {
            Some(Flow::Steps(features)) => (Some((Dim::Time, false)), *features),
            Some(Flow::Rows(features)) => (None, *features),
            Some(Flow::Tokens(_)) | None => return Err(wrong("expected layers that give features, got none")),
        };
        let steps = time.into_iter().chain([(Dim::Batch, false)]);
        let long = |dim, size: usize| (dim, size != 1);
        match &self.value {
            // Without an axis for directions, the features are those of all directions.
            OutputValue::Output | OutputValue::Another(_) if self.axes.contains(&Dim::Directions) => {
                fit(&self.axes, steps.chain([(Dim::Directions, true), long(Dim::Features, features.size)]))
            }
            OutputValue::Output | OutputValue::Another(_) => {
                fit(&self.axes, steps.chain([long(Dim::Features, features.len())]))
            }
            OutputValue::Largest(_) => fit(&self.axes, steps),
            OutputValue::Direction(direction) if *direction >= features.parts => {
                Err(wrong(format!("direction: expected less than {}, got {direction}", features.parts)))
            }
            OutputValue::Direction(_) => fit(&self.axes, steps.chain([long(Dim::Features, features.size)])),
            OutputValue::States { state, stacks: used } => {
                let Some(&first) = used.first() else { return Err(wrong("stacks: expected at least one, got none")) };
                let mut seen = HashSet::new();
                for &stack in used {
                    state.check(stacks, stack)?;
                    if !seen.insert(stack) {
                        return Err(wrong(format!("stacks: expected each once, got {stack} twice")));
                    }
                    let (wanted, got) = (state.size(stacks[first]), state.size(stacks[stack]));
                    if wanted != got {
                        return Err(wrong(format!("stacks: expected states of one size, got {wanted} and {got}")));
                    }
                }
                let rows =
                    used.iter().map(|&stack| stacks[stack].num_layers.saturating_mul(stacks[stack].directions()));
                let rows = rows.fold(0, usize::saturating_add);
                let size = state.size(stacks[first]);
                fit(&self.axes, [long(Dim::Layers, rows), (Dim::Batch, false), long(Dim::Features, size)])
            }
        }
    }
}

/// Checks that `axes` are some of `dims`, each once, and any
/// number of axes of length 1. `dims` say which axes are required.
fn fit(axes: &[Dim], dims: impl IntoIterator<Item = (Dim, bool)>) -> Result<()> {
    let dims: Vec<_> = dims.into_iter().collect();
    for (index, axis) in axes.iter().enumerate() {
        if *axis == Dim::One {
            continue;
        }
        if axes[..index].contains(axis) {
            return Err(wrong(format!("axes: expected each once, got {axis:?} twice")));
        }
        if !dims.iter().any(|(dim, _)| dim == axis) {
            let dims = dims.iter().map(|(dim, _)| format!("{dim:?}")).collect::<Vec<_>>().join(", ");
            return Err(wrong(format!("axes: expected some of {dims}, got {axis:?}")));
        }
    }
    match dims.iter().find(|(dim, needed)| *needed && !axes.contains(dim)) {
        Some((dim, _)) => Err(wrong(format!("axes: expected {dim:?} among them, which is longer than 1"))),
        None => Ok(()),
    }
}

/// Returns the axis along which the features of an input may be in consecutive groups.
pub(crate) fn groups_of(flow: Flow) -> Option<Dim> {
    match flow {
        Flow::Rows(_) => Some(Dim::Layers),
        Flow::Steps(_) => Some(Dim::Directions),
        Flow::Tokens(_) => None,
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}
