//! The names of a model's inputs and outputs: `y` besides the usual names, and a
//! number for each of several outputs. Several inputs have the names of their layers.
//!
//! A chain names neither inputs nor outputs. Knows ports; knows no configuration.

use std::collections::{HashMap, HashSet};

use super::builder::{Builder, LayerArgs, Stands};
use super::config::wrong;
use super::values::{Flow, Known, Source, unlike};
use crate::error::Result;
use crate::model::{
    Clocks, Dim, Direction, InputPort, InputValue, Layer, LayerKind, Model, ModelInput, ModelOutput, OutputPort,
    OutputValue, Pin, Ports, Select, State, Value as Edge,
};

/// Gives the model its outputs `gives`, and names its inputs and outputs.
pub(super) fn name(builder: &mut Builder, gives: &[Known]) -> Result<()> {
    let gives = gives.iter().map(|known| builder.settled(known)).collect::<Result<Vec<_>>>()?;
    if let Some(known) = gives.iter().find(|known| matches!(known.flow, Flow::OneStep(_))) {
        let text = format!(
            "output_layers: expected a sequence, or features without time, got {} of {}; leave out the axis of one step",
            known.shape(),
            known.from
        );
        return Err(wrong(text));
    }
    if let Some(known) = gives.iter().find(|known| known.flow == Flow::Mask || known.is_input().is_some()) {
        let text = format!("output_layers: expected what layers give, got {} of {}", known.shape(), known.from);
        return Err(wrong(text));
    }
    if let Some(layer) = gives.iter().find_map(|known| known.unlike.as_ref()) {
        return Err(unlike(layer).at("output_layers"));
    }
    // The possible outputs of a chain: its last layer's output,
    // single directions of it, the final states of one direction.
    let mut ends = gives.iter().map(|known| builder.end(known)).collect::<Result<Vec<_>>>()?;
    builder.prune(&mut ends);
    let chain = builder.is_chain(&ends);
    if !chain {
        for (end, known) in ends.iter_mut().zip(&gives).filter(|(end, _)| end.direction.is_some()) {
            // In a graph, a direction is a slice of the features.
            let (Flow::Steps { features: Some(count), .. } | Flow::Rows(count)) = known.flow else { continue };
            let part = Source::part(end.from, end.direction.unwrap_or_default() * count, count, 2 * count);
            *end = End { from: builder.cut(part), direction: None, bare: end.bare };
        }
        builder.name_graph(&ends)?;
        builder.lead(&ends)?;
    } else {
        // Layers with tensors are known by their prefix.
        builder.name_layers(|layer| layer.kind.parameters() == 0, HashSet::new());
    }
    builder.model.ports = builder.ports(&ends, chain)?;
    Ok(())
}

/// An output of the model.
struct End {
    from: Edge,
    /// The direction, if directions stay separate.
    direction: Option<usize>,
    /// Whether its only feature has no axis.
    bare: bool,
}

impl Builder {
    fn end(&mut self, known: &Known) -> Result<End> {
        let bare = matches!(known.flow, Flow::Steps { bare: true, .. });
        let whole = |from| End { from, direction: None, bare };
        if let Some((layer, pin)) = known.source.is_state()
            && self.stacks.iter().any(|stack| stack.layer == layer && stack.direction != Direction::Both)
        {
            return Ok(whole(Edge::Layer(layer, pin)));
        }
        match known.source {
            Source::Part { of: of @ Edge::Layer(_, Pin::Output | Pin::LastOutput), first, count, all }
                if 2 * count == all && first % count == 0 =>
            {
                let from = self.cut(Source::Whole(of));
                Ok(End { from, direction: Some(first / count), bare })
            }
            _ => Ok(whole(self.edge(known)?)),
        }
    }

    /// Whether the model is a chain with the outputs of one.
    fn is_chain(&self, ends: &[End]) -> bool {
        let last = self.model.last_value();
        let given = |end: &End| {
            let state = matches!(end.from, Edge::Layer(_, Pin::Hidden | Pin::Cell));
            state || end.from == last && (end.direction.is_none() || self.is_apart())
        };
        let begins = self.model.layers.first().map(|layer| &layer.kind);
        let begins = matches!(
            begins,
            Some(LayerKind::Embedding(_) | LayerKind::Masking(_) | LayerKind::Recurrent(_) | LayerKind::Linear(_))
        );
        // A chain takes a sequence: one of rows, of which a layer makes steps, is a graph.
        let makes_steps = self.model.layers.iter().any(|layer| layer.kind.own_steps().is_some());
        let takes_steps = self.inputs.iter().all(LayerArgs::has_time);
        begins
            && (takes_steps || !makes_steps)
            && self.inputs.len() == 1
            && self.model.is_chain()
            && ends.iter().all(given)
    }

    /// Whether the last layer gives the directions of a stack.
    fn is_apart(&self) -> bool {
        let last = self.model.layers.iter().rfind(|layer| !matches!(layer.kind, LayerKind::Select(_)));
        matches!(last.map(|layer| &layer.kind), Some(LayerKind::Recurrent(stack)) if stack.output().parts == 2)
    }

    /// Names the inputs, layers and outputs of a model that is no chain.
    fn name_graph(&mut self, ends: &[End]) -> Result<()> {
        let only = self.inputs.len() == 1;
        let input = |input: &LayerArgs| {
            let name = if only { "x".into() } else { input.name.clone() };
            let text =
                || format!("input_layers: expected a layer that takes {name}, got none; leave it out of the model");
            let kind = input.kind.ok_or_else(|| wrong(text()))?;
            Ok(ModelInput { name, kind })
        };
        self.model.inputs = self.inputs.iter().map(input).collect::<Result<_>>()?;
        let output = |(place, end): (usize, &End)| ModelOutput { name: output_name(place, ends.len()), from: end.from };
        self.model.outputs = ends.iter().enumerate().map(output).collect();
        let names = self.model.inputs.iter().map(|input| input.name.clone()).collect();
        self.name_layers(|_| true, names);
        Ok(())
    }

    /// Gives the `wanted` layers their names in the file. The names in `names` are in use already.
    fn name_layers(&mut self, wanted: impl Fn(&Layer) -> bool, mut names: HashSet<String>) {
        for (layer, label) in self.model.layers.iter_mut().zip(&self.labels) {
            let shown = !label.is_empty() && !label.starts_with('#');
            // A selection has the label of its consumer. Only the last step is an operation of Keras with its own name.
            let is_own = match layer.kind {
                LayerKind::Select(select) => select == Select::LastStep,
                LayerKind::Slice(_) => false,
                _ => true,
            };
            if shown && is_own && wanted(layer) && names.insert(label.clone()) {
                layer.name = Some(label.clone());
            }
        }
    }

    /// Puts the input first that has the steps of the first output with steps: a decoder's input before its encoder's.
    fn lead(&mut self, ends: &[End]) -> Result<()> {
        self.model.check()?;
        let clocks = Clocks::of(&self.model);
        let leader = ends.iter().find_map(|end| clocks.input_of(end.from));
        let Some(leader) = leader.filter(|leader| *leader != self.model.main_input()) else { return Ok(()) };
        self.model.inputs[..=leader].rotate_right(1);
        self.inputs[..=leader].rotate_right(1);
        for edge in self
            .model
            .layers
            .iter_mut()
            .flat_map(|layer| layer.from.iter_mut().chain(layer.initial.iter_mut().flatten()))
        {
            match edge {
                Edge::Input(input) if *input == leader => *input = 0,
                Edge::Input(input) if *input < leader => *input += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn ports(&self, ends: &[End], chain: bool) -> Result<Ports> {
        let mut ports = Ports::usual(&self.model);
        self.name_inputs(&mut ports, chain);
        let axes: HashMap<String, Vec<Dim>> =
            ports.outputs.iter().map(|port| (port.name.clone(), port.axes.clone())).collect();
        let mut outputs = Vec::new();
        let mut features = 0;
        for (place, end) in ends.iter().enumerate() {
            let standard = if chain { "output".into() } else { output_name(place, ends.len()) };
            let mut axes = axes.get(&standard).cloned().unwrap_or_default();
            axes.retain(|dim| !end.bare || *dim != Dim::Features);
            let states = |layer, state| OutputValue::States { state, stacks: vec![self.model.stack_of(layer)] };
            let value = match (end.from, end.direction) {
                (Edge::Layer(layer, Pin::Hidden), _) => states(layer, State::Hidden),
                (Edge::Layer(layer, Pin::Cell), _) => states(layer, State::Cell),
                (_, Some(direction)) => OutputValue::Direction(direction),
                _ if chain || features == 0 => OutputValue::Output,
                _ => OutputValue::Another(features),
            };
            if matches!(value, OutputValue::States { .. }) {
                // A stack of one direction has one row of states, whose axis is left out.
                axes = vec![Dim::Batch, Dim::Features];
            } else {
                features += 1;
            }
            let first = ["y", "output"].into_iter().filter(|_| place == 0).map(str::to_owned);
            let numbered = (ends.len() > 1).then(|| format!("y_{place}"));
            let port = |name| OutputPort { name, value: value.clone(), axes: axes.clone() };
            outputs.extend(first.chain(numbered).map(port));
        }
        if chain {
            ports.outputs.retain(|port| port.value != OutputValue::Output);
            ports.outputs.splice(0..0, outputs);
        } else {
            ports.outputs = outputs;
        }
        Ok(ports)
    }

    /// Gives the inputs the axes of the file. If there is only one, it is named `x` and `ids`.
    fn name_inputs(&self, ports: &mut Ports, chain: bool) {
        let main = self.model.main_input();
        if !chain && self.inputs.len() == 1 {
            let first = ports.inputs.iter().position(|port| port.value == InputValue::Sequence);
            if let Some(first) = first {
                let ids = InputPort { name: "ids".into(), ..ports.inputs[first].clone() };
                ports.inputs.insert(first + 1, ids);
            }
        }
        self.name_encoder(ports);
        for port in &mut ports.inputs {
            let input = match port.value {
                InputValue::Sequence => main,
                InputValue::Input(index) => index,
                _ => continue,
            };
            match self.inputs[input].axes {
                Stands::WithFeatures => {}
                Stands::WithoutFeatures => port.axes.retain(|dim| *dim != Dim::Features),
                Stands::WithOneMore => port.axes.push(Dim::One),
            }
        }
    }

    /// If there are two time axes and only one is that of outputs, the
    /// other is an encoder's. Its lengths and its mask get these names too.
    fn name_encoder(&self, ports: &mut Ports) {
        let clocks = Clocks::of(&self.model);
        let leads = |&input: &usize| clocks.leader(input) == Some(input);
        let leaders: Vec<usize> = (0..self.model.inputs.len()).filter(leads).collect();
        let out: HashSet<usize> = self.model.outputs.iter().filter_map(|output| clocks.input_of(output.from)).collect();
        let others: Vec<usize> = leaders.iter().copied().filter(|leader| !out.contains(leader)).collect();
        let ([_, _], [encoder]) = (&leaders[..], &others[..]) else { return };
        for (name, value, axes) in [
            ("encoder_lengths", InputValue::Lengths(*encoder), vec![Dim::Batch]),
            ("encoder_mask", InputValue::Mask(*encoder), vec![Dim::Batch, Dim::Time]),
        ] {
            if ports.inputs.iter().all(|port| port.name != name) {
                ports.inputs.push(InputPort { name: name.into(), value, axes });
            }
        }
    }

    /// Removes layers that no output needs.
    fn prune(&mut self, ends: &mut [End]) {
        let layers = &self.model.layers;
        let layer_of = |edge: &Edge| match edge {
            Edge::Layer(layer, _) => Some(*layer),
            Edge::Input(_) => None,
        };
        let mut needed = vec![false; layers.len()];
        ends.iter().filter_map(|end| layer_of(&end.from)).for_each(|layer| needed[layer] = true);
        for (index, layer) in layers.iter().enumerate().rev() {
            if needed[index] {
                let takes = layer.from.iter().chain(layer.initial.iter().flatten());
                takes.filter_map(layer_of).for_each(|layer| needed[layer] = true);
            }
        }
        if needed.iter().all(|needed| *needed) {
            return;
        }
        let mut places = Vec::with_capacity(needed.len());
        let mut next = 0;
        for &needed in &needed {
            places.push(next);
            next += usize::from(needed);
        }
        let moved = |edge: &mut Edge| {
            if let Edge::Layer(layer, _) = edge {
                *layer = places[*layer];
            }
        };
        keep(&mut self.model, &mut self.labels, &needed);
        for layer in &mut self.model.layers {
            layer.from.iter_mut().chain(layer.initial.iter_mut().flatten()).for_each(moved);
        }
        ends.iter_mut().for_each(|end| moved(&mut end.from));
        self.stacks.retain(|stack| needed[stack.layer]);
        self.stacks.iter_mut().for_each(|stack| stack.layer = places[stack.layer]);
        self.cut.clear();
    }
}

/// Keeps the layers that are needed.
fn keep(model: &mut Model, labels: &mut Vec<String>, needed: &[bool]) {
    let (mut one, mut other) = (needed.iter(), needed.iter());
    model.layers.retain(|_| one.next() == Some(&true));
    labels.retain(|_| other.next() == Some(&true));
}

/// Returns the name of output `place` of `all`.
fn output_name(place: usize, all: usize) -> String {
    if all == 1 { "y".into() } else { format!("y_{place}") }
}
