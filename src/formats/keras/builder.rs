//! A model that grows call by call: its layers, their edges, and what is known of the tensors between them.
//!
//! `run` calls the layers of a graph, and each of them adds to the model here. Knows no graph and no class of layer.

use std::collections::HashMap;
use std::rc::Rc;

use super::activations::Version;
use super::config::wrong;
use super::recurrent::Order;
use super::values::{Flow, Known, Source};
use super::variables::{Place, Variables};
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
    pub(super) label: String,
    /// The layer that has each prefix.
    prefixes: HashMap<String, Place>,
    /// The selections and slices that there are.
    pub(super) cut: HashMap<Source, Edge>,
    /// What values are without masks, where that was asked.
    pub(super) bare: HashMap<Edge, Option<Edge>>,
    pub(super) applied: usize,
}

impl Builder {
    /// A model of these inputs, without a layer.
    pub(super) fn new(inputs: Vec<Given>, version: Version, variables: Variables) -> Self {
        Self {
            model: Model::new(),
            tensors: Tensors::new(),
            variables,
            version,
            inputs,
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
    pub(super) fn order_axes(&mut self) -> Result<()> {
        if let Some((Order::TimeMajor, at)) = &self.order {
            if let Some(renamed) = &self.renamed {
                return Err(wrong(format!("{renamed}: expected the batch's axis first, got time first from {at}")));
            }
            self.model.axes = Axes::TimeMajor;
        }
        Ok(())
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
