//! Runs the calls of a graph, one after the other, from its inputs to its outputs.
//!
//! An inner model is run in its place, so that only its names remain. Knows
//! graphs and the classes of layers; `layers` knows what each layer means.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::activations::Version;
use super::attention::is_attention;
use super::builder::{Builder, LayerArgs, Stands};
use super::calls::{Argument, Tensor};
use super::config::{Config, wrong};
use super::graph::{Graph, Kind, MOST_LAYERS, is_recurrent};
use super::joins;
use super::masks::Mask;
use super::norms;
use super::operations::Operand;
use super::outputs;
use super::values::{Flow, Known};
use super::variables::{VariablePath, Variables, Within};
use crate::error::Result;
use crate::model::{Axes, Model};
use crate::weights::Tensors;

/// Builds the model of `graph`, and its tensors, whose elements stay in the file.
pub(super) fn build(graph: &Graph, version: Version, variables: Variables) -> Result<(Model, Tensors)> {
    let input = |(index, name): (usize, &String)| LayerArgs {
        name: name.clone(),
        shape: graph.input_shape.as_ref().filter(|_| index == 0).and_then(shape),
        batch: graph.input_shape.as_ref().filter(|_| index == 0).and_then(batch),
        kind: None,
        axes: Stands::WithFeatures,
    };
    let inputs = graph.inputs.iter().enumerate().map(input).collect();
    let mut builder = Builder::new(inputs, version, variables);
    let given = (0..graph.inputs.len()).map(Known::input).collect();
    let given = builder.run(graph, given, &VariablePath::default())?;
    builder.variables.check_rest(graph)?;
    builder.order_axes()?;
    outputs::name(&mut builder, &given)?;
    builder.tell_summary(graph);
    builder.model.check()?;
    Ok((builder.model, builder.tensors))
}

/// Returns a shape `[batch, …]` without its batch; null is any length.
fn shape(value: &Value) -> Option<Vec<Option<usize>>> {
    let axes = value.as_array()?;
    axes.iter()
        .skip(1)
        .map(|n| if n.is_null() { Some(None) } else { Some(Some(usize::try_from(n.as_u64()?).ok()?)) })
        .collect()
}

/// Returns the batch of a shape, if it is fixed.
fn batch(value: &Value) -> Option<usize> {
    value.get(0)?.as_u64().and_then(|n| usize::try_from(n).ok())
}

/// The results of a graph's calls so far.
type Results = HashMap<(usize, usize), Vec<Known>>;

fn find<'a>(graph: &Graph, results: &'a Results, tensor: &Tensor) -> Result<&'a Known> {
    let call = graph.call(tensor)?;
    let all = results.get(&call).map_or(&[][..], |all| all);
    all.get(tensor.place).ok_or_else(|| {
        let (given, place) = (all.len(), tensor.place);
        wrong(format!("expected one of {given} tensors of {}, got tensor {place}", graph.nodes[call.0].place()))
    })
}

impl Builder {
    /// Keeps the names and fixed sizes that only a summary shows.
    fn tell_summary(&mut self, graph: &Graph) {
        let model = &mut self.model;
        model.name.clone_from(&graph.name);
        if let ([input], true) = (&graph.inputs[..], graph.outputs().is_some()) {
            model.input_layer = Some(input.clone());
        }
        model.batch_size = self.inputs.iter().find_map(|input| input.batch);
        let steps = |input: &LayerArgs| input.shape.as_deref()?.first().copied().flatten().filter(|_| input.has_time());
        if model.axes == Axes::BatchFirst && self.inputs.iter().any(|input| steps(input).is_some()) {
            model.steps = self.inputs.iter().map(steps).collect();
        }
    }

    /// Calls the layers of `graph` with `given`, and returns its outputs.
    fn run(&mut self, graph: &Graph, given: Vec<Known>, scope: &VariablePath) -> Result<Vec<Known>> {
        if given.len() != graph.inputs.len() {
            return Err(wrong(format!("expected {} inputs, got {}", graph.inputs.len(), given.len())));
        }
        let (mut results, mut last) = (Results::new(), None);
        for call in graph.order()? {
            let node = &graph.nodes[call.0];
            let gives = self.call(graph, call, &given, &results, scope).map_err(|e| node.error(e))?;
            results.insert(call, gives);
            last = Some(call);
        }
        let used: HashSet<usize> = results.keys().map(|(node, _)| *node).collect();
        let layers =
            graph.nodes.iter().enumerate().filter(|(_, node)| matches!(node.kind, Kind::Layer(_) | Kind::Model(_)));
        for (_, node) in layers.filter(|(index, _)| !used.contains(index)) {
            log::warn!("{}: no output needs it", node.place());
        }
        match (graph.outputs(), last) {
            (None, None) => Err(wrong("expected layers, got none".into())),
            (None, Some(last)) => Ok(results.remove(&last).unwrap_or_default()),
            (Some([]), _) => Err(wrong("output_layers: expected one or more, got none".into())),
            (Some(outputs), _) => {
                let find = |tensor: &Tensor| find(graph, &results, tensor).cloned();
                outputs.iter().map(find).collect::<Result<_>>().map_err(|e| e.at("output_layers"))
            }
        }
    }

    fn call(
        &mut self,
        graph: &Graph,
        at: (usize, usize),
        given: &[Known],
        results: &Results,
        scope: &VariablePath,
    ) -> Result<Vec<Known>> {
        self.applied += 1;
        if self.applied > MOST_LAYERS {
            return Err(wrong(format!("expected at most {MOST_LAYERS} calls of layers in all, got more")));
        }
        let (node, call) = (&graph.nodes[at.0], &graph.nodes[at.0].calls[at.1]);
        let find = |tensor: &Tensor| find(graph, results, tensor).cloned();
        let operand = |argument: &Argument| match argument {
            Argument::Tensor(tensor) => find(tensor).map(Operand::Tensor),
            Argument::Input(index) => Ok(Operand::Tensor(given[*index].clone())),
            Argument::Constant(value) => Ok(Operand::Constant(value.clone())),
        };
        let operands = call.inputs.iter().map(operand).collect::<Result<Vec<_>>>()?;
        let initial = call.initial.iter().map(find).collect::<Result<Vec<_>>>().map_err(|e| e.at("initial_state"))?;
        let mask = |tensor: &Option<Tensor>| match tensor.as_ref().map(find).transpose()? {
            None => Ok(Mask::None),
            Some(Known { flow: Flow::Mask, mask, .. }) => Ok(mask),
            Some(known) => Err(wrong(format!("mask: expected a mask, got {} of {}", known.shape(), known.from))),
        };
        let mask = call.mask.as_ref().map(|all| all.iter().map(mask).collect::<Result<Vec<_>>>()).transpose()?;
        self.place = node.place().into();
        let place = scope.inner(&node.name, &node.path);
        self.label = place.names.join(".");
        let unlike = operands.iter().filter_map(Operand::tensor).find_map(|tensor| tensor.unlike.clone());
        let behind = |gives: Vec<Known>| -> Vec<Known> {
            gives.into_iter().map(|known| Known { unlike: known.unlike.or_else(|| unlike.clone()), ..known }).collect()
        };
        if let Kind::Operation(operation) = &node.kind {
            let gives = match &call.axis {
                Some(axis) => self.operation(&operation.over(axis), &operands),
                None => self.operation(operation, &operands),
            };
            return gives.map(behind);
        }
        let mut tensors: Vec<Known> = operands.into_iter().filter_map(Operand::into_tensor).collect();
        if tensors.iter().any(|tensor| tensor.flow == Flow::Mask) {
            return Err(wrong("expected features, got a mask; only layers that take one as mask=… may".into()));
        }
        if let Some(masks) = &mask {
            if masks.len() != tensors.len() {
                let text = format!("mask: expected one for each of {} inputs, got {}", tensors.len(), masks.len());
                return Err(wrong(text));
            }
            tensors.iter_mut().zip(masks).for_each(|(tensor, mask)| tensor.mask = mask.clone());
        }
        match &node.kind {
            Kind::Model(inner) => {
                self.depth += 1;
                let gives = self.run(inner, tensors, &place);
                self.depth -= 1;
                gives
            }
            Kind::EachStep(inner) => self.each_step(inner, tensors, place),
            Kind::Layer(config) if is_attention(config.class()) => {
                self.attention(config.clone(), &place, tensors, call.causal).map(|known| vec![known])
            }
            Kind::Layer(config) => {
                let gives = self.layer(config.clone(), &place, tensors, &initial, mask.is_some())?;
                // Recurrent layers decide themselves what they see.
                Ok(if is_recurrent(config.class()) { gives } else { behind(gives) })
            }
            Kind::Operation(_) => Ok(Vec::new()),
        }
    }

    /// Runs a model whose layers depend only on one step, for the features of each step.
    fn each_step(&mut self, graph: &Graph, tensors: Vec<Known>, mut place: VariablePath) -> Result<Vec<Known>> {
        let known = self.settled(&only(tensors)?)?;
        let Flow::Steps { time, features: Some(features), bare: false } = known.flow else {
            return Err(wrong(format!("expected a sequence of features, got {} of {}", known.shape(), known.from)));
        };
        place.wrapped();
        let mask = known.mask.clone();
        let step = Known { flow: Flow::Rows(features), mask: Mask::None, ..known };
        self.depth += 1;
        let around = std::mem::replace(&mut self.within_steps, true);
        let gives = self.run(graph, vec![step], &place);
        self.within_steps = around;
        self.depth -= 1;
        let over_time = |known: Known| match known.flow {
            Flow::Rows(features) => {
                let flow = Flow::Steps { time, features: Some(features), bare: false };
                Ok(Known { flow, mask: mask.clone(), ..known })
            }
            _ => Err(wrong(format!("expected features of each step, got {}", known.shape()))),
        };
        gives?.into_iter().map(over_time).collect()
    }

    /// Runs a layer that is no model, and returns its outputs.
    fn layer(
        &mut self,
        mut config: Config,
        place: &VariablePath,
        tensors: Vec<Known>,
        initial: &[Known],
        told: bool,
    ) -> Result<Vec<Known>> {
        if config.class() == "Dot" {
            let known = self.dot(&mut config, tensors)?;
            return config.finish().map(|()| vec![known]);
        }
        if let Some(join) = joins::of(config.class()) {
            let known = self.merge(join, &mut config, tensors)?;
            return config.finish().map(|()| vec![known]);
        }
        self.now = only(tensors)?;
        self.take_shape(&mut config);
        if config.class() != "InputLayer" {
            config.dtype()?;
        }
        let mut gives = Vec::new();
        match config.class() {
            "InputLayer" => {
                // Tokens are integers of any type, and features are read as float32.
                drop(config.take("dtype"));
                config.only("sparse", &Value::Bool(false))?;
                config.only("ragged", &Value::Bool(false))?;
                return config.finish().map(|()| vec![Known { from: self.place.clone(), ..self.now.clone() }]);
            }
            "Embedding" => self.embedding(&mut config, place)?,
            "Masking" => self.masking(&mut config)?,
            "Bidirectional" => gives = self.bidirectional(&mut config, place, initial, told)?,
            class if is_recurrent(class) => gives = self.recurrent(&mut config, place, initial, told)?,
            "Dense" => self.dense(&mut config, place, Within::Layer)?,
            "TimeDistributed" => self.time_distributed(&mut config, place)?,
            class if norms::CLASSES.contains(&class) => self.norm(&mut config, place, Within::Layer)?,
            "Flatten" | "Reshape" | "Permute" => self.rename_axes(&mut config)?,
            "Cropping1D" => self.cropping(&mut config)?,
            "GlobalMaxPooling1D" | "GlobalAveragePooling1D" => self.global_pooling(&mut config)?,
            "Conv1D" | "DepthwiseConv1D" | "SeparableConv1D" => self.convolution(&mut config, place)?,
            "MaxPooling1D" | "AveragePooling1D" => self.window_pooling(&mut config)?,
            "RepeatVector" => self.repeat_vector(&mut config)?,
            _ => self.elementwise(&mut config)?,
        }
        config.finish()?;
        if gives.is_empty() {
            gives.push(Known { from: self.place.clone(), ..self.now.clone() });
        }
        Ok(gives)
    }

    /// Takes the shape of the input from the first layer.
    fn take_shape(&mut self, config: &mut Config) {
        let told = [config.take("batch_shape"), config.take("batch_input_shape")]
            .into_iter()
            .flatten()
            .find_map(|v| Some((shape(&v)?, batch(&v))));
        // A wrapper around the first layer may say less than the input itself.
        if let (Flow::Input, Some(index), Some((shape, batch))) = (&self.now.flow, self.now.is_input(), told)
            && let known = &mut self.inputs[index]
            && (config.class() == "InputLayer" && self.depth == 0 || known.shape.is_none())
        {
            (known.shape, known.batch) = (Some(shape), batch);
        }
    }
}

/// Returns the only tensor that a layer takes.
fn only(mut tensors: Vec<Known>) -> Result<Known> {
    match (tensors.len(), tensors.pop()) {
        (1, Some(one)) => Ok(one),
        (got, _) => Err(wrong(format!("expected one input, got {got}; join them with a layer (Concatenate, Add, …)"))),
    }
}
