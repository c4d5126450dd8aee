//! Checks the edges of a model: values fit the layers that take them, names are unique, and no layer is unused.
//!
//! Knows layers and the values between them; knows no weights and no call.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::clocks::Clocks;
use super::flow::{Flow, positive};
use super::graph::{InputKind, ModelInput, Pin, Value, is_state};
use super::layer::{Join, Layer, LayerKind, Recurrent, Select};
use super::ports::State;
use super::{Initial, Model, StateLifetime};
use crate::error::{Error, ErrorKind, Result};

impl Model {
    /// Checks that the values that a join takes element by element have features of one size.
    pub(super) fn check_join(&self, layer: &Layer, taken: &[Flow], inputs: &[ModelInput]) -> Result<()> {
        let (LayerKind::Join(join), Some(first)) = (&layer.kind, taken.first()) else { return Ok(()) };
        let called = |index: usize| self.called(layer.from[index], inputs);
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        if let Some(tokens) = taken.iter().position(|flow| flow.tokens().is_some()) {
            return wrong(format!("from: expected features, got {} ({})", called(tokens), taken[tokens]));
        }
        let other = taken.iter().position(|flow| flow.features().len() != first.features().len());
        match other.filter(|_| *join != Join::Concat) {
            None => Ok(()),
            Some(other) => wrong(format!(
                "from: expected values of equal features, got {} {} and {} {}",
                called(0),
                first.shape(),
                called(other),
                taken[other].shape()
            )),
        }
    }

    /// Checks that a selection of a stack's result takes that result.
    pub(super) fn check_select(&self, layer: &Layer, inputs: &[ModelInput]) -> Result<()> {
        let (pin, value) = match (&layer.kind, layer.from.first()) {
            (LayerKind::Select(Select::FinalHidden), Some(&value)) => (Pin::FinalHidden, value),
            (LayerKind::Select(Select::LastOutput), Some(&value)) => (Pin::LastOutput, value),
            _ => return Ok(()),
        };
        if matches!(value, Value::Layer(_, of) if of == pin) {
            return Ok(());
        }
        let text = format!("from: expected a recurrent layer, got {}", self.called(value, inputs));
        Err(Error::new(ErrorKind::Model, text))
    }

    /// Checks that the values that a stack begins at fit it.
    pub(super) fn check_initial(
        &self,
        stack: &Recurrent,
        initial: [Option<Value>; 2],
        inputs: &[ModelInput],
        flows: &[Flow],
    ) -> Result<()> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        for (state, value) in [State::Hidden, State::Cell].into_iter().zip(initial) {
            let (Some(value), key) = (value, state.key()) else { continue };
            if !state.is_of(stack) {
                return wrong(format!("{key}: expected none, since a {} has no cell state", stack.cell.name()));
            }
            if stack.initial == Initial::Learned || stack.state_lifetime == StateLifetime::Engine {
                return wrong(format!(
                    "{key}: expected a stack without initial states of its own, got one that has them"
                ));
            }
            let rows = stack.num_layers.saturating_mul(stack.directions());
            let size = state.size(stack);
            match value {
                Value::Input(index) if is_state(value, inputs) => {
                    if inputs[index].kind != InputKind::State(state) {
                        return wrong(format!(
                            "{key}: expected a {} state, got another in {}",
                            state.word(),
                            inputs[index].name
                        ));
                    }
                }
                Value::Layer(layer, pin @ (Pin::Hidden | Pin::Cell)) => {
                    let Some(LayerKind::Recurrent(from)) =
                        self.layers.get(layer).filter(|_| layer < flows.len()).map(|l| &l.kind)
                    else {
                        return wrong(format!(
                            "{key}: expected states of a stack before this one, got those of layer {}",
                            self.place(layer)
                        ));
                    };
                    let which = if pin == Pin::Hidden { State::Hidden } else { State::Cell };
                    let got_rows = from.num_layers.saturating_mul(from.directions());
                    if !which.is_of(from) || (got_rows, which.size(from)) != (rows, size) {
                        return wrong(format!(
                            "{key}: expected [{rows}, B, {size}] (layers · directions, B, size), got {} [{got_rows}, B, {}]",
                            self.called(value, inputs),
                            which.size(from)
                        ));
                    }
                }
                value => match self.flow_of(value, inputs, flows).map_err(|e| e.at(key))? {
                    // The state of one layer, with all its directions side by side.
                    Flow::Rows(features) if stack.num_layers == 1 && features.len() == stack.directions() * size => {}
                    flow => {
                        let wants =
                            if stack.num_layers == 1 { "" } else { " of each layer (the final states of a stack)" };
                        return wrong(format!(
                            "{key}: expected {} features without a time axis{wants}, got {} ({flow})",
                            stack.directions() * size,
                            self.called(value, inputs)
                        ));
                    }
                },
            }
        }
        Ok(())
    }

    /// Checks names and edges: each name occurs once, and something takes each input.
    pub(super) fn check_graph(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        let layers = self.layers.iter().enumerate().filter_map(|(index, layer)| Some((index, layer.name.as_deref()?)));
        check_names(self.inputs.iter().map(|input| input.name.as_str()), layers)?;
        for input in &self.inputs {
            match input.kind {
                InputKind::Sequence(size) | InputKind::Tokens(size) | InputKind::Row(size) => {
                    positive("size", size).map_err(|e| e.at(&input.name).at("inputs"))?;
                }
                InputKind::State(_) => {}
            }
        }
        let makes_steps = self.layers.iter().any(|layer| layer.kind.own_steps().is_some())
            && self.inputs.iter().any(|input| input.kind.flow().is_some());
        if !self.inputs.is_empty() && !makes_steps && !self.inputs.iter().any(|input| input.kind.has_time()) {
            return wrong("inputs: expected a sequence or tokens among them, got none".into());
        }
        let taken: HashSet<Value> = self
            .layers
            .iter()
            .flat_map(|layer| layer.from.iter().chain(layer.initial.iter().flatten()))
            .copied()
            .collect();
        if let Some(unread) = (0..self.inputs.len()).find(|&index| !taken.contains(&Value::Input(index))) {
            return wrong(format!("inputs: expected a layer that takes {}, got none", self.inputs[unread].name));
        }
        Clocks::of(self).check()?;
        let mut names = HashMap::new();
        let (inputs, flows) = (self.all_inputs()?, self.flows()?);
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(first) = names.insert(&output.name, Named("output", index)) {
                let second = Named("output", index);
                return wrong(format!(
                    "outputs: expected each name once, got {} of {first} and of {second}",
                    output.name
                ));
            }
            let flow = match output.from {
                Value::Layer(layer, pin @ (Pin::Hidden | Pin::Cell)) => match self.layers.get(layer).map(|l| &l.kind) {
                    Some(LayerKind::Recurrent(stack)) if pin == Pin::Hidden || State::Cell.is_of(stack) => continue,
                    _ => {
                        return wrong(format!(
                            "outputs: {}: expected a state of a stack, got {}",
                            output.name,
                            self.called(output.from, &inputs)
                        ));
                    }
                },
                value => self.flow_of(value, &inputs, &flows).map_err(|e| e.at(&output.name).at("outputs"))?,
            };
            if let (Flow::Tokens(_), _) | (_, Value::Input(_)) = (flow, output.from) {
                return wrong(format!("outputs: {}: expected what a layer gives, got an input", output.name));
            }
            if let Value::Input(input) = self.origin(output.from) {
                let input = inputs.get(input).map_or("the input", |input| input.name.as_str());
                return wrong(format!(
                    "outputs: {}: expected what a layer computes, got {input} as it is; give it a layer that computes, or \
                     leave it out",
                    output.name
                ));
            }
        }
        Ok(())
    }

    /// Warns of layers that no output needs. An engine does so by itself.
    pub fn warn_of_unused(&self) {
        for layer in self.unused() {
            log::warn!("layer {}: no output needs it", self.place(layer));
        }
    }

    /// Returns the layers that no output needs.
    fn unused(&self) -> Vec<usize> {
        let mut needed: HashSet<usize> = HashSet::new();
        let layer_of = |value: &Value| match value {
            Value::Layer(layer, _) => Some(*layer),
            Value::Input(_) => None,
        };
        if self.outputs.is_empty() {
            // Such a model also gives the final states of all stacks.
            let is_stack = |layer: &usize| matches!(self.layers[*layer].kind, LayerKind::Recurrent(_));
            needed.extend(layer_of(&self.last_value()).into_iter().chain((0..self.layers.len()).filter(is_stack)));
        }
        needed.extend(self.outputs.iter().filter_map(|output| layer_of(&output.from)));
        for (index, layer) in self.layers.iter().enumerate().rev() {
            if needed.contains(&index) {
                needed.extend(layer.from.iter().chain(layer.initial.iter().flatten()).filter_map(layer_of));
            }
        }
        (0..self.layers.len()).filter(|index| !needed.contains(index)).collect()
    }
}

/// Checks that the names of inputs and layers are unique.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`] if two have the
/// same name, or if a name could be confused with a layer's number.
pub(crate) fn check_names<'a>(
    inputs: impl Iterator<Item = &'a str>,
    layers: impl Iterator<Item = (usize, &'a str)>,
) -> Result<()> {
    let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
    let twice = |list: &str, name: &str, first: Named, second: Named| {
        wrong(format!("{list}: expected each name once, got {name} of {first} and of {second}"))
    };
    let mut names: HashMap<&str, Named> = HashMap::new();
    for (index, input) in inputs.enumerate() {
        if input.is_empty() {
            return wrong("inputs: expected a name of each, got an empty one".into());
        }
        let second = Named("input", index);
        if let Some(first) = names.insert(input, second) {
            return twice("inputs", input, first, second);
        }
    }
    for (index, layer) in layers {
        // An empty name looks like no name, and one that begins with `#` looks like a layer's number.
        if layer.is_empty() || layer.starts_with('#') {
            return wrong(format!(
                "layers: expected a name that does not begin with #, got {layer:?} of layer {index}"
            ));
        }
        let second = Named("layer", index);
        if let Some(first) = names.insert(layer, second) {
            return twice("layers", layer, first, second);
        }
    }
    Ok(())
}

/// What a name belongs to, for messages: the word for an input, a layer or an output, and its index.
#[derive(Clone, Copy)]
struct Named(&'static str, usize);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}
