//! A model that grows call by call: from the graph of a file to layers and their edges.
//!
//! Each call of a layer becomes layers here, and what is known of its tensors goes to those that take them. A model inside
//! the model is run in its place, so that it leaves no trace but in names. Knows graphs; what each layer means, `layers`
//! says.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_json::Value;

use super::activations::Version;
use super::calls::{Argument, Tensor};
use super::config::{Config, wrong};
use super::graph::{Graph, Kind, MOST_LAYERS};
use super::masks::Mask;
use super::operations::Operand;
use super::outputs;
use super::recurrent::Order;
use super::values::{Flow, Known, Source};
use super::variables::{Place, Variables, Within};
use crate::error::Result;
use crate::model::{Axes, Direction, InputKind, Layer, LayerKind, Model, Pin, Select, Slice, Value as Edge};
use crate::weights::Tensors;

/// An input of the model.
pub(super) struct Given {
    pub(super) name: String,
    /// Its shape without the batch, where a layer has told it.
    pub(super) shape: Option<Vec<Option<usize>>>,
    /// What it is, as soon as a layer has taken it.
    pub(super) kind: Option<InputKind>,
    pub(super) axes: Stands,
}

/// How the axes of an input stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Batch, time and, but for tokens, features.
    WithFeatures,
    /// Batch and time: one feature has no axis.
    WithoutFeatures,
    /// An axis of length 1 behind the features.
    WithOneMore,
}

/// A recurrent layer of the model.
pub(super) struct Stack {
    pub(super) layer: usize,
    pub(super) direction: Direction,
}

/// A model that grows call by call.
pub(super) struct Builder {
    pub(super) model: Model,
    pub(super) tensors: Tensors,
    pub(super) variables: Variables,
    pub(super) version: Version,
    pub(super) inputs: Vec<Given>,
    pub(super) stacks: Vec<Stack>,
    /// What the current layer takes, and then what it gives.
    pub(super) now: Known,
    /// The current layer, in messages.
    pub(super) place: Rc<str>,
    /// The order of the axes, and the layer that first said it.
    pub(super) order: Option<(Order, String)>,
    /// A layer that renamed axes.
    pub(super) renamed: Option<String>,
    /// How many models there are around the current layer.
    pub(super) depth: usize,
    /// Whether one of them is applied to each step.
    pub(super) within_steps: bool,
    /// The name of the file's layer of which each layer of the model comes.
    pub(super) labels: Vec<String>,
    label: String,
    /// The layer that has each prefix.
    prefixes: HashMap<String, Place>,
    /// The selections and slices that there are.
    pub(super) cut: HashMap<Source, Edge>,
    /// What values are without masks, where that was asked.
    pub(super) bare: HashMap<Edge, Option<Edge>>,
    applied: usize,
}

/// The model that `graph` is, its tensors still in the file.
pub(super) fn build(graph: &Graph, version: Version, variables: Variables) -> Result<(Model, Tensors)> {
    let mut builder = Builder::new(graph, version, variables);
    let given = (0..graph.inputs.len()).map(Known::input).collect();
    let given = builder.run(graph, given, &Place::default())?;
    builder.order_axes()?;
    outputs::name(&mut builder, &given)?;
    builder.model.check()?;
    Ok((builder.model, builder.tensors))
}

/// A shape `[batch, …]` without its batch; null is any length.
fn shape(value: &Value) -> Option<Vec<Option<usize>>> {
    let axes = value.as_array()?;
    axes.iter()
        .skip(1)
        .map(|n| if n.is_null() { Some(None) } else { Some(Some(usize::try_from(n.as_u64()?).ok()?)) })
        .collect()
}

/// What the calls of a graph have given so far.
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
    fn new(graph: &Graph, version: Version, variables: Variables) -> Self {
        let input = |(index, name): (usize, &String)| Given {
            name: name.clone(),
            shape: graph.input_shape.as_ref().filter(|_| index == 0).and_then(shape),
            kind: None,
            axes: Stands::WithFeatures,
        };
        Self {
            model: Model::new(),
            tensors: Tensors::new(),
            variables,
            version,
            inputs: graph.inputs.iter().enumerate().map(input).collect(),
            stacks: Vec::new(),
            now: Known::input(0),
            place: "".into(),
            order: None,
            renamed: None,
            depth: 0,
            within_steps: false,
            labels: Vec::new(),
            label: String::new(),
            prefixes: HashMap::new(),
            cut: HashMap::new(),
            bare: HashMap::new(),
            applied: 0,
        }
    }

    /// Calls the layers of `graph` with `given`: what it gives.
    fn run(&mut self, graph: &Graph, given: Vec<Known>, scope: &Place) -> Result<Vec<Known>> {
        if given.len() != graph.inputs.len() {
            return Err(wrong(format!("expected {} inputs, got {}", graph.inputs.len(), given.len())));
        }
        let (mut results, mut last) = (Results::new(), None);
        for call in graph.order()? {
            let node = &graph.nodes[call.0];
            let gives = self.call(graph, call, &given, &results, scope).map_err(|e| e.at(node.place()))?;
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
        scope: &Place,
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
        if let Kind::Operation(operation) = &node.kind {
            return match &call.axis {
                Some(axis) => self.operation(&operation.over(axis), &operands),
                None => self.operation(operation, &operands),
            };
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
            Kind::Layer(config) => self.layer(config.clone(), &place, tensors, &initial, mask.is_some()),
            Kind::Operation(_) => Ok(Vec::new()),
        }
    }

    /// A model of layers that look at one step alone, over the features of each.
    fn each_step(&mut self, graph: &Graph, tensors: Vec<Known>, mut place: Place) -> Result<Vec<Known>> {
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

    /// What a layer gives that is no model.
    fn layer(
        &mut self,
        mut config: Config,
        place: &Place,
        tensors: Vec<Known>,
        initial: &[Known],
        told: bool,
    ) -> Result<Vec<Known>> {
        if let Some(join) = super::joins::of(config.class()) {
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
            "SimpleRNN" | "LSTM" | "GRU" => gives = self.recurrent(&mut config, place, initial, told)?,
            "Bidirectional" => gives = self.bidirectional(&mut config, place, initial, told)?,
            "Dense" => self.dense(&mut config, place, Within::Layer)?,
            "TimeDistributed" => self.time_distributed(&mut config, place)?,
            "Flatten" | "Reshape" | "Permute" => self.rename_axes(&mut config)?,
            "Cropping1D" => self.cropping(&mut config)?,
            _ => self.elementwise(&mut config)?,
        }
        config.finish()?;
        if gives.is_empty() {
            gives.push(Known { from: self.place.clone(), ..self.now.clone() });
        }
        Ok(gives)
    }

    /// The shape of the input, which the first layer tells.
    fn take_shape(&mut self, config: &mut Config) {
        let told = [config.take("batch_shape"), config.take("batch_input_shape")]
            .into_iter()
            .flatten()
            .find_map(|v| shape(&v));
        // A layer that is wrapped around the first may say less than the input itself.
        if let (Flow::Input, Some(index), Some(told)) = (&self.now.flow, self.now.is_input(), told)
            && let known = &mut self.inputs[index].shape
            && (config.class() == "InputLayer" && self.depth == 0 || known.is_none())
        {
            *known = Some(told);
        }
    }

    /// Adds a layer that takes what flows. `name` is the prefix of its tensors.
    pub(super) fn push(&mut self, name: &str, layer: impl Into<LayerKind>) -> Result<()> {
        let from = vec![self.edge(&self.now.clone())?];
        self.now.source = Source::Whole(self.add(name, layer, from, [None; 2]));
        Ok(())
    }

    /// Adds a layer.
    pub(super) fn add(
        &mut self,
        name: &str,
        layer: impl Into<LayerKind>,
        from: Vec<Edge>,
        initial: [Option<Edge>; 2],
    ) -> Edge {
        let weights = if name.is_empty() { String::new() } else { format!("{name}.") };
        self.model.layers.push(Layer { kind: layer.into(), weights, name: None, from, initial });
        self.labels.push(self.label.clone());
        Edge::Layer(self.model.layers.len() - 1, Pin::Output)
    }

    /// Adds a copy of layer `of`.
    pub(super) fn copy(&mut self, of: usize, layer: Layer) -> Edge {
        self.model.layers.push(layer);
        self.labels.push(self.labels[of].clone());
        Edge::Layer(self.model.layers.len() - 1, Pin::Output)
    }

    /// The prefix of the tensors of the layer at `place`, which no other layer has.
    pub(super) fn prefix(&mut self, place: &Place) -> Result<String> {
        let prefix = place.names.join(".");
        let first = self.prefixes.entry(prefix.clone()).or_insert_with(|| place.clone());
        if first == place { Ok(prefix) } else { Err(wrong("name: another layer has the same".into())) }
    }

    /// The value that `known` is, for a layer that takes it.
    pub(super) fn edge(&mut self, known: &Known) -> Result<Edge> {
        let known = self.settled(known)?;
        if let Some(index) = known.is_input() {
            let kind = match known.flow {
                Flow::Steps { features: Some(features), .. } => InputKind::Sequence(features),
                Flow::Rows(features) | Flow::OneStep(features) => InputKind::Row(features),
                _ => return Err(wrong("expected an input whose features are told".into())),
            };
            self.claim(index, kind)?;
        }
        Ok(self.cut(known.source))
    }

    /// Says what input `index` is. All layers that take it must agree.
    pub(super) fn claim(&mut self, index: usize, kind: InputKind) -> Result<()> {
        let input = &mut self.inputs[index];
        let kind = match (input.kind, kind) {
            (None, kind) => kind,
            // Of two tables the smaller one says what a token may be.
            (Some(InputKind::Tokens(one)), InputKind::Tokens(other)) => InputKind::Tokens(one.min(other)),
            (Some(one), other) if one == other => one,
            (Some(one), other) => {
                let (one, other) = (words(one), words(other));
                return Err(wrong(format!("expected {} as {one}, as another layer takes it, got {other}", input.name)));
            }
        };
        input.kind = Some(kind);
        Ok(())
    }

    /// The value that `source` is: selected or cut out, once.
    pub(super) fn cut(&mut self, source: Source) -> Edge {
        let (layer, from) = match source {
            Source::Whole(from @ Edge::Layer(_, Pin::LastOutput)) => (Select::LastOutput.into(), from),
            Source::Whole(from @ Edge::Layer(_, Pin::FinalHidden)) => (Select::FinalHidden.into(), from),
            Source::Whole(value) => return value,
            Source::Part { of, first, count, .. } => (LayerKind::from(Slice::features(first, count)), of),
        };
        if let Some(&value) = self.cut.get(&source) {
            return value;
        }
        let value = self.add("", layer, vec![from], [None; 2]);
        self.cut.insert(source, value);
        value
    }

    /// `known`, of which its axes are told: an input of one axis has features, one of two has time before them.
    pub(super) fn settled(&self, known: &Known) -> Result<Known> {
        let (Flow::Input, Some(index)) = (&known.flow, known.is_input()) else { return Ok(known.clone()) };
        let flow = match self.inputs[index].shape.as_deref() {
            Some([Some(features)]) => Flow::Rows(*features),
            Some([time, features]) => Flow::Steps { time: *time, features: *features, bare: false },
            Some([None]) => {
                return Err(wrong("expected an input whose features are told, got one of any length".into()));
            }
            Some(axes) => {
                return Err(wrong(format!("expected an input of time and features, got {} axes", axes.len())));
            }
            None => return Err(wrong("expected an input whose shape is told".into())),
        };
        Ok(Known { flow, ..known.clone() })
    }

    /// The sequence that flows: its length, and its features where they are known.
    pub(super) fn steps(&mut self) -> Result<(Option<usize>, Option<usize>)> {
        let (time, features) = match (&self.now.flow, self.now.is_input()) {
            (Flow::Input, Some(index)) => match self.inputs[index].shape.as_deref() {
                None => (None, None),
                Some([time, features]) => (*time, *features),
                Some(axes) => {
                    return Err(wrong(format!("expected an input of time and features, got {} axes", axes.len())));
                }
            },
            (Flow::Steps { time, features, bare: false }, _) => (*time, *features),
            _ => return Err(wrong("expected a sequence of features, got features without a time axis".into())),
        };
        self.now.flow = Flow::Steps { time, features, bare: false };
        Ok((time, features))
    }

    /// Whether all recurrent layers put time first.
    fn order_axes(&mut self) -> Result<()> {
        if let Some((Order::TimeMajor, at)) = &self.order {
            if let Some(renamed) = &self.renamed {
                return Err(wrong(format!("{renamed}: expected the batch's axis first, got time first from {at}")));
            }
            self.model.axes = Axes::TimeMajor;
        }
        Ok(())
    }
}

/// The one tensor that a layer takes.
fn only(mut tensors: Vec<Known>) -> Result<Known> {
    match (tensors.len(), tensors.pop()) {
        (1, Some(one)) => Ok(one),
        (got, _) => Err(wrong(format!("expected one input, got {got}; join them with a layer (Concatenate, Add, …)"))),
    }
}

/// What an input is, in messages.
fn words(kind: InputKind) -> String {
    match kind {
        InputKind::Tokens(_) => "tokens".into(),
        InputKind::Sequence(size) => format!("a sequence of {size} features"),
        InputKind::Row(size) => format!("{size} features without time"),
        _ => "states".into(),
    }
}
