//! Builds a model that is no chain, value by value.
//!
//! Knows layers and their edges. `finish` checks that they fit.

use super::graph::{InputKind, ModelInput, ModelOutput, Pin, Value};
use super::layer::{Layer, LayerKind};
use super::ports::State;
use super::{Axes, Model};
use crate::error::{Error, ErrorKind, Result};

/// A model under construction: inputs and layers give values, and layers and outputs take them.
///
/// # Example
///
/// Two inputs, a residual sum, a concatenation, two outputs:
///
/// ```
/// use gatewave::layer::Join;
/// use gatewave::{Activation, Embedding, Linear, Lstm, Model};
///
/// let mut g = Model::graph();
/// let words = g.tokens("words", 20);
/// let facts = g.row("facts", 3);
/// let embedding = g.add("embedding", Embedding::new(20, 8), words);
/// let lower = g.add("lower", Lstm::new(8, 8), embedding);
/// let sum = g.add("sum", Join::Add, [embedding, lower]);
/// let upper = g.add("upper", Lstm::new(8, 6), sum);
/// let hidden = g.add("hidden", Linear::new(3, 4).activation(Activation::Relu), facts);
/// let joined = g.add("joined", Join::Concat, [upper.final_hidden(), hidden.y()]);
/// let tags = g.add("tags", Linear::new(6, 5).activation(Activation::Softmax), upper);
/// let score = g.add("score", Linear::new(10, 1).activation(Activation::Sigmoid), joined);
/// g.output("score", score);
/// g.output("tags", tags);
/// let model = g.finish()?;
/// println!("{}", model.summary());
/// # Ok::<(), gatewave::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Graph {
    model: Model,
    begun: Vec<(Node, State, Value)>,
}

/// A layer of a [`Graph`], with methods for each of its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    layer: usize,
}

/// The values that a layer takes: one, or several for a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<Value>);

impl Node {
    /// Returns the layer's output, at every step if it takes a sequence.
    #[must_use]
    pub fn y(self) -> Value {
        Value::Layer(self.layer, Pin::Output)
    }

    /// Returns the final hidden state of a stack's last layer as features, forward then reverse.
    #[must_use]
    pub fn final_hidden(self) -> Value {
        Value::Layer(self.layer, Pin::FinalHidden)
    }

    /// Returns the output that a stack's last layer computes last, as features.
    #[must_use]
    pub fn last_output(self) -> Value {
        Value::Layer(self.layer, Pin::LastOutput)
    }

    /// Returns the final cell state of an LSTM's last layer as features, forward then reverse.
    #[must_use]
    pub fn final_cell(self) -> Value {
        Value::Layer(self.layer, Pin::FinalCell)
    }

    /// Returns a stack's final hidden states of all layers and directions, `[L·D, B,
    /// state_size]`. Outputs can give them, and another stack can begin with them.
    #[must_use]
    pub fn hidden(self) -> Value {
        Value::Layer(self.layer, Pin::Hidden)
    }

    /// Returns an LSTM's final cell states of all layers and directions, `[L·D, B, H]`.
    #[must_use]
    pub fn cell(self) -> Value {
        Value::Layer(self.layer, Pin::Cell)
    }
}

impl From<Node> for Value {
    fn from(node: Node) -> Self {
        node.y()
    }
}

impl<T: Into<Value>> From<T> for Sources {
    fn from(value: T) -> Self {
        Self(vec![value.into()])
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Sources {
    fn from(values: [T; N]) -> Self {
        Self(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Vec<T>> for Sources {
    fn from(values: Vec<T>) -> Self {
        Self(values.into_iter().map(Into::into).collect())
    }
}

impl Model {
    /// Starts a model that is built value by value, batch first. It may have several inputs, joins and several outputs.
    pub fn graph() -> Graph {
        Graph { model: Self::new(), begun: Vec::new() }
    }
}

impl Graph {
    /// Sets how sequences are laid out.
    #[must_use]
    pub fn axes(mut self, axes: Axes) -> Self {
        self.model.axes = axes;
        self
    }

    /// Adds an input of `size` features at each step, `[B, T, size]`.
    pub fn sequence(&mut self, name: impl Into<String>, size: usize) -> Value {
        self.input(name, InputKind::Sequence(size))
    }

    /// Adds an input of tokens below `size`, `[B, T]`.
    pub fn tokens(&mut self, name: impl Into<String>, size: usize) -> Value {
        self.input(name, InputKind::Tokens(size))
    }

    /// Adds an input of `size` features without a time axis, `[B, size]`.
    pub fn row(&mut self, name: impl Into<String>, size: usize) -> Value {
        self.input(name, InputKind::Row(size))
    }

    /// Adds an input of initial states, `[L·D, B, …]`. Stacks use it after [`begin`](Self::begin).
    pub fn state(&mut self, name: impl Into<String>, state: State) -> Value {
        self.input(name, InputKind::State(state))
    }

    fn input(&mut self, name: impl Into<String>, kind: InputKind) -> Value {
        self.model.inputs.push(ModelInput { name: name.into(), kind });
        Value::Input(self.model.inputs.len() - 1)
    }

    /// Adds a layer that takes `from`. The names of its tensors begin with `NAME.`.
    ///
    /// A selection of the final hidden state or the last output may
    /// take a stack itself: it then takes that result of the stack.
    pub fn add(&mut self, name: impl Into<String>, layer: impl Into<LayerKind>, from: impl Into<Sources>) -> Node {
        let name = name.into();
        let prefix = format!("{name}.");
        self.add_with_weights(name, prefix, layer, from)
    }

    /// Adds a layer whose tensors have names that begin with `prefix`. Layers with the same prefix share their tensors.
    pub fn add_with_weights(
        &mut self,
        name: impl Into<String>,
        prefix: impl Into<String>,
        layer: impl Into<LayerKind>,
        from: impl Into<Sources>,
    ) -> Node {
        let kind = layer.into();
        let Sources(from) = from.into();
        let from = from.into_iter().map(|value| self.model.meant(&kind, value)).collect();
        let (prefix, name) = (prefix.into(), Some(name.into()));
        self.model.layers.push(Layer { kind, prefix, name, from, initial: [None; 2] });
        Node { layer: self.model.layers.len() - 1 }
    }

    /// Begins the hidden or cell states of `stack` at `value`. The value is an input of
    /// states, or final states of an earlier stack ([`Node::hidden`], [`Node::cell`]).
    /// For a stack of one layer it may also be features without a time axis.
    pub fn begin(&mut self, stack: Node, state: State, value: impl Into<Value>) {
        self.begun.push((stack, state, value.into()));
    }

    /// Adds an output: gives `value` under a name. Without any, the
    /// model gives its last layer's output and all final states.
    pub fn output(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.model.outputs.push(ModelOutput { name: name.into(), from: value.into() });
    }

    /// Finishes the model and checks it.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`] if layers do not
    /// fit each other, a name occurs twice, or no layer takes an input: see [`Model::check`].
    pub fn finish(self) -> Result<Model> {
        let Self { mut model, begun } = self;
        for (Node { layer }, state, value) in begun {
            let wrong = |model: &Model, text: &str| {
                Err(model.at_layer(layer, Error::new(ErrorKind::Model, text).at(state.key())))
            };
            let Some(Layer { kind: LayerKind::Recurrent(_), initial, .. }) = model.layers.get_mut(layer) else {
                return wrong(&model, "expected a recurrent layer of this model");
            };
            if initial[usize::from(state == State::Cell)].replace(value).is_some() {
                return wrong(&model, "expected one value to begin at, got two");
            }
        }
        model.check()?;
        Ok(model)
    }
}
