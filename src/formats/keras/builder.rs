//! A model that grows call by call: its layers, their edges, and what is known of the tensors between them.
//!
//! `run` calls the layers of a graph, and each call adds to the model here. Knows no graph and no class of layer.

use std::collections::HashMap;
use std::rc::Rc;

use super::activations::Version;
use super::config::wrong;
use super::recurrent::Order;
use super::values::{Flow, Known, Source};
use super::variables::{VariablePath, Variables};
use crate::error::Result;
use crate::model::{Axes, Direction, InputKind, Layer, LayerKind, Model, Pin, Select, Slice, Value as Edge};
use crate::weights::Tensors;

/// An input of the model.
pub(super) struct LayerArgs {
    pub(super) name: String,
    /// Its shape without the batch, if a layer has given it.
    pub(super) shape: Option<Vec<Option<usize>>>,
    /// The rows of a batch, if their number is fixed.
    pub(super) batch: Option<usize>,
    /// Its kind, once a layer has taken it.
    pub(super) kind: Option<InputKind>,
    pub(super) axes: Stands,
}

impl LayerArgs {
    /// Whether its first axis after the batch is time.
    pub(super) fn has_time(&self) -> bool {
        self.kind.is_some_and(InputKind::has_time)
    }
}

/// The axes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Batch, time and, except for tokens, features.
    WithFeatures,
    /// Batch and time: a single feature has no axis.
    WithoutFeatures,
    /// An axis of length 1 after the features.
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
    pub(super) inputs: Vec<LayerArgs>,
    pub(super) stacks: Vec<Stack>,
    /// The input of the current layer, and later its output.
    pub(super) now: Known,
    /// The current layer, for messages.
    pub(super) place: Rc<str>,
    /// The order of the axes, and the first layer that sets it.
    pub(super) order: Option<(Order, String)>,
    /// The first layer that renamed axes.
    pub(super) renamed: Option<String>,
    /// The number of models around the current layer.
    pub(super) depth: usize,
    /// Whether one of them is applied to each step.
    pub(super) within_steps: bool,
    /// For each layer of the model, the name of the file's layer that it comes from.
    pub(super) labels: Vec<String>,
    pub(super) label: String,
    /// The layer with each prefix.
    prefixes: HashMap<String, VariablePath>,
    /// The selections and slices so far.
    pub(super) cut: HashMap<Source, Edge>,
    /// The values without masks that were asked for.
    pub(super) bare: HashMap<Edge, Option<Edge>>,
    pub(super) applied: usize,
}

impl Builder {
    /// Creates a model with these inputs and no layers.
    pub(super) fn new(inputs: Vec<LayerArgs>, version: Version, variables: Variables) -> Self {
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

    /// Adds a layer after the current value. `name` is the prefix of its tensors.
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
        self.model.layers.push(Layer { kind: layer.into(), prefix: weights, name: None, from, initial });
        self.labels.push(self.label.clone());
        Edge::Layer(self.model.layers.len() - 1, Pin::Output)
    }

    /// Adds a copy of layer `of`.
    pub(super) fn copy(&mut self, of: usize, layer: Layer) -> Edge {
        self.model.layers.push(layer);
        self.labels.push(self.labels[of].clone());
        Edge::Layer(self.model.layers.len() - 1, Pin::Output)
    }

    /// Returns the prefix of the tensors of the layer at `place`. No other layer may have it.
    pub(super) fn prefix(&mut self, place: &VariablePath) -> Result<String> {
        let prefix = place.names.join(".");
        let first = self.prefixes.entry(prefix.clone()).or_insert_with(|| place.clone());
        if first == place { Ok(prefix) } else { Err(wrong("name: another layer has the same".into())) }
    }

    /// Returns the value of `known`, for a layer that takes it.
    pub(super) fn edge(&mut self, known: &Known) -> Result<Edge> {
        let known = self.settled(known)?;
        if let Flow::Scores(_) = known.flow {
            return Err(wrong(format!("expected a sequence or features, got {} of {}", known.shape(), known.from)));
        }
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

    /// Records the kind of input `index`. All layers that take it must agree.
    pub(super) fn claim(&mut self, index: usize, kind: InputKind) -> Result<()> {
        let input = &mut self.inputs[index];
        let kind = match (input.kind, kind) {
            (None, kind) => kind,
            // Of two tables, the smaller one bounds the tokens.
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

    /// Returns the value of `source`. It is selected or sliced only once.
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

    /// Returns `known` with its axes. An input of one axis has features; one of two axes has time and features.
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

    /// Returns the length of the current sequence, and its features, as far as they are known.
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

    /// Sets the model's axes to time first, if the recurrent layers have them so.
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

/// Returns the kind of an input for messages.
fn words(kind: InputKind) -> String {
    match kind {
        InputKind::Tokens(_) => "tokens".into(),
        InputKind::Sequence(size) => format!("a sequence of {size} features"),
        InputKind::Row(size) => format!("{size} features without time"),
        _ => "states".into(),
    }
}
