//! The ports of a model that has none of its own: named after its inputs and outputs, or as in PyTorch.

use std::borrow::Cow;

use super::{Dim, InputPort, InputValue, OutputPort, OutputValue, Ports, Required, State};
use crate::model::flow::Flow;
use crate::model::graph::{InputKind, ModelInput, Pin, Value};
use crate::model::layer::{Layer, LayerKind};
use crate::model::{Axes, Clocks, Model};

/// Both states, with the names of their input and output tensors.
const STATES: [(State, &str, &str); 2] = [(State::Hidden, "h_0", "h_n"), (State::Cell, "c_0", "c_n")];

impl Ports {
    /// Returns the names and axes for a model that has no ports of its own.
    ///
    /// A model with named inputs takes them by their names. A sequence NAME also has `NAME_lengths`
    /// and `NAME_mask`; `lengths` and `mask` are for each time axis that has none of its own. A
    /// model with named outputs gives them, in its order. All other names are PyTorch's.
    ///
    /// Inputs: `x` `[B, T, I]` or `ids` `[B, T]` (`[T, B, …]` if the model is time-major), `lengths`
    /// `[B]`, `mask` `[B, T]`. Each recurrent stack also has `h_0`, and an LSTM `c_0`, `[L·D, B, …]`.
    /// Outputs: `output`, `h_n`, `c_n`. The states of the second stack end in `.1`, those of the
    /// third in `.2`, and so on. A stack that begins at the final states of another one takes none.
    pub fn usual(model: &Model) -> Self {
        let inputs = if model.inputs.is_empty() { usual_inputs(model) } else { named_inputs(model) };
        let outputs = if model.outputs.is_empty() { usual_outputs(model) } else { named_outputs(model) };
        Self { inputs, outputs, required: Required::Sequence }
    }
}

impl Model {
    /// Returns the named tensors of a call: the model's own [`ports`](Self::ports),
    /// and the [usual](Ports::usual) ones for each empty list.
    pub fn all_ports(&self) -> Cow<'_, Ports> {
        let own = &self.ports;
        if !own.inputs.is_empty() && !own.outputs.is_empty() {
            return Cow::Borrowed(own);
        }
        let usual = Ports::usual(self);
        let inputs = if own.inputs.is_empty() { usual.inputs } else { own.inputs.clone() };
        let outputs = if own.outputs.is_empty() { usual.outputs } else { own.outputs.clone() };
        Cow::Owned(Ports { inputs, outputs, required: own.required })
    }

    /// Whether the inputs are the usual ones, by names and axes.
    pub(crate) fn has_usual_inputs(&self) -> bool {
        self.ports.inputs.is_empty() || self.ports.inputs == Ports::usual(self).inputs
    }

    /// Whether each input has the axes of the usual one for its value, whatever
    /// its name. No input may be required except those that every call needs.
    pub(crate) fn has_usual_axes(&self) -> bool {
        let own = &self.ports;
        if self.has_usual_inputs() {
            return true;
        }
        let is_standard = |port: &InputPort| match port.value {
            InputValue::Sequence | InputValue::Input(_) => {
                let index = if let InputValue::Input(index) = port.value { index } else { self.main_input() };
                let inputs = self.all_inputs().unwrap_or_default();
                let flow = inputs.get(index).and_then(|input| input.kind.flow());
                flow.is_some_and(|flow| port.axes == self.axes_of_flow(flow))
            }
            InputValue::Lengths(_) => port.axes == [Dim::Batch],
            InputValue::Mask(_) => port.axes == [Dim::Batch, Dim::Time],
            InputValue::State { first, .. } => first == 0 && port.axes == state_axes(),
            InputValue::Weights { .. } => false,
        };
        own.required == Required::Sequence && own.inputs.iter().all(is_standard)
    }

    /// Returns the axes of the model's sequences, of tokens or of features.
    pub(crate) fn axes_of(&self, tokens: bool) -> Vec<Dim> {
        let mut axes = match self.axes {
            Axes::BatchFirst => vec![Dim::Batch, Dim::Time],
            Axes::TimeMajor => vec![Dim::Time, Dim::Batch],
        };
        axes.extend((!tokens).then_some(Dim::Features));
        axes
    }

    /// Returns the axes of `flow`.
    pub(crate) fn axes_of_flow(&self, flow: Flow) -> Vec<Dim> {
        match flow {
            Flow::Tokens(_) => self.axes_of(true),
            Flow::Steps(_) => self.axes_of(false),
            Flow::Rows(_) => vec![Dim::Batch, Dim::Features],
        }
    }

    /// Returns the axes of output `index`, counted among those that are no final states.
    fn output_axes(&self, index: usize) -> Vec<Dim> {
        let flow = self.output_flows().ok().and_then(|flows| flows.get(index).copied());
        flow.map_or_else(|| self.axes_of(false), |flow| self.axes_of_flow(flow))
    }

    /// Returns the layers that are recurrent stacks.
    fn stack_layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_)))
    }
}

fn port(name: impl Into<String>, value: InputValue, axes: Vec<Dim>) -> InputPort {
    InputPort { name: name.into(), value, axes }
}

fn state_axes() -> Vec<Dim> {
    vec![Dim::Layers, Dim::Batch, Dim::Features]
}

/// Returns the inputs of a model that names none.
fn usual_inputs(model: &Model) -> Vec<InputPort> {
    let tokens = matches!(model.input(), Ok(Flow::Tokens(_)));
    let names = if tokens { &["x", "ids"][..] } else { &["x"] };
    let sequence = |name: &&str| port(*name, InputValue::Sequence, model.axes_of(tokens));
    let mut inputs: Vec<_> = names.iter().map(sequence).collect();
    inputs.push(port("lengths", InputValue::Lengths(0), vec![Dim::Batch]));
    inputs.push(port("mask", InputValue::Mask(0), vec![Dim::Batch, Dim::Time]));
    for ((index, stack), layer) in model.stacks().enumerate().zip(model.stack_layers()) {
        if layer.initial != [None, None] {
            continue;
        }
        for (state, name, _) in STATES.into_iter().filter(|(state, ..)| state.is_of(stack)) {
            inputs.push(port(of_stack(name, index), InputValue::State { stack: index, state, first: 0 }, state_axes()));
        }
    }
    inputs
}

/// Returns the inputs of a model that names them.
fn named_inputs(model: &Model) -> Vec<InputPort> {
    let main = model.main_input();
    let mut inputs = Vec::new();
    for (index, ModelInput { name, kind }) in model.inputs.iter().enumerate() {
        if let InputKind::State(state) = *kind {
            for (stack, layer) in model.stack_layers().enumerate() {
                let slot = usize::from(state == State::Cell);
                if layer.initial[slot] == Some(Value::Input(index)) {
                    inputs.push(port(name, InputValue::State { stack, state, first: 0 }, state_axes()));
                }
            }
        } else if let Some(flow) = kind.flow() {
            let value = if index == main { InputValue::Sequence } else { InputValue::Input(index) };
            inputs.push(port(name, value, model.axes_of_flow(flow)));
        }
    }
    let clocks = Clocks::of(model);
    let sequences = [main].into_iter().chain((0..model.inputs.len()).filter(|index| *index != main));
    for (index, leader) in sequences.filter_map(|index| Some((index, clocks.leader(index)?))) {
        let sequence = &model.inputs[index].name;
        let leads = if leader == clocks.leader(main).unwrap_or(main) { index == main } else { index == leader };
        for (word, value, axes) in [
            ("lengths", InputValue::Lengths(leader), vec![Dim::Batch]),
            ("mask", InputValue::Mask(leader), vec![Dim::Batch, Dim::Time]),
        ] {
            let short = leads.then(|| word.to_owned());
            for name in short.into_iter().chain([format!("{sequence}_{word}")]) {
                // An input of the model may itself have this name.
                if model.inputs.iter().all(|input| input.name != name) {
                    inputs.push(port(name, value, axes.clone()));
                }
            }
        }
    }
    inputs
}

/// Returns the outputs of a model that names none.
fn usual_outputs(model: &Model) -> Vec<OutputPort> {
    let output = OutputPort { name: "output".into(), value: OutputValue::Output, axes: model.output_axes(0) };
    let mut outputs = vec![output];
    for (index, stack) in model.stacks().enumerate() {
        for (state, _, name) in STATES.into_iter().filter(|(state, ..)| state.is_of(stack)) {
            let value = OutputValue::States { state, stacks: vec![index] };
            outputs.push(OutputPort { name: of_stack(name, index), value, axes: state_axes() });
        }
    }
    outputs
}

/// Returns the outputs of a model that names them.
fn named_outputs(model: &Model) -> Vec<OutputPort> {
    let mut features = 0;
    let one = |output: &crate::model::ModelOutput| {
        let states = |layer, state| OutputValue::States { state, stacks: vec![model.stack_of(layer)] };
        let (value, axes) = match output.from {
            Value::Layer(layer, Pin::Hidden) => (states(layer, State::Hidden), state_axes()),
            Value::Layer(layer, Pin::Cell) => (states(layer, State::Cell), state_axes()),
            _ => {
                let index = features;
                features += 1;
                let value = if index == 0 { OutputValue::Output } else { OutputValue::Another(index) };
                (value, model.output_axes(index))
            }
        };
        OutputPort { name: output.name.clone(), value, axes }
    };
    model.outputs.iter().map(one).collect()
}

/// Returns the name of a state of stack `index`.
fn of_stack(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}.{index}") }
}
