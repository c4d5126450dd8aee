//! A model that is no chain, built value by value.
//!
//! Knows layers and their edges; what does not fit is told by `finish`.

use super::graph::{InputKind, ModelInput, ModelOutput, Pin, Value};
use super::layer::{Layer, LayerKind};
use super::ports::State;
use super::{Axes, Model};
use crate::error::{Error, ErrorKind, Result};

/// A model that is being built: inputs and layers give values, which layers and outputs take.
///
/// # Example
///
/// Two inputs, a residual sum, a concatenation, two outputs:
///
/// ```
/// use gatewave::{Activation, Embedding, Join, Linear, Lstm, Model};
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

/// A layer of a [`Graph`], and what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    layer: usize,
}

/// What a layer takes: one value, or those of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<Value>);

impl Node {
    /// What the layer gives, at every step where it takes a sequence.
    #[must_use]
    pub fn y(self) -> Value {
        Value::Layer(self.layer, Pin::Output)
    }

    /// Of a stack, the last layer's final hidden state as features, forward then reverse.
    #[must_use]
    pub fn final_hidden(self) -> Value {
        Value::Layer(self.layer, Pin::FinalHidden)
    }

    /// Of a stack, the output that its last layer computes last, as features.
    #[must_use]
    pub fn last_output(self) -> Value {
        Value::Layer(self.layer, Pin::LastOutput)
    }

    /// Of an LSTM, the last layer's final cell state as features, forward then reverse.
    #[must_use]
    pub fn final_cell(self) -> Value {
        Value::Layer(self.layer, Pin::FinalCell)
    }

    /// Of a stack, the final hidden states of all layers and directions, `[L·D, B, state_size]`: for outputs, and to
    /// begin another stack.
    #[must_use]
    pub fn hidden(self) -> Value {
        Value::Layer(self.layer, Pin::Hidden)
    }

    /// Of an LSTM, the final cell states of all layers and directions, `[L·D, B, H]`.
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
    /// A model that is built value by value, batch first: several inputs, joins, several outputs.
    pub fn graph() -> Graph {
        Graph { model: Self::new(), begun: Vec::new() }
    }
}

impl Graph {
    /// Sets how the sequences are laid out.
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

    /// Adds an input of initial states, `[L·D, B, …]`, for stacks that [`begin`](Self::begin) with it.
    pub fn state(&mut self, name: impl Into<String>, state: State) -> Value {
        self.input(name, InputKind::State(state))
    }

    fn input(&mut self, name: impl Into<String>, kind: InputKind) -> Value {
        self.model.inputs.push(ModelInput { name: name.into(), kind });
        Value::Input(self.model.inputs.len() - 1)
    }

    /// Adds a layer that takes `from`. Its tensors get the prefix `NAME.`.
    ///
    /// A selection of the final hidden state or the last output that takes a stack takes that result of it.
    pub fn add(&mut self, name: impl Into<String>, layer: impl Into<LayerKind>, from: impl Into<Sources>) -> Node {
        let name = name.into();
        let weights = format!("{name}.");
        self.add_with_weights(name, weights, layer, from)
    }

    /// The same with the prefix `weights`. Two layers of one prefix share their tensors.
    pub fn add_with_weights(
        &mut self,
        name: impl Into<String>,
        weights: impl Into<String>,
        layer: impl Into<LayerKind>,
        from: impl Into<Sources>,
    ) -> Node {
        let kind = layer.into();
        let Sources(from) = from.into();
        let from = from.into_iter().map(|value| self.model.meant(&kind, value)).collect();
        let (weights, name) = (weights.into(), Some(name.into()));
        self.model.layers.push(Layer { kind, weights, name, from, initial: [None; 2] });
        Node { layer: self.model.layers.len() - 1 }
    }

    /// Begins the hidden or cell states of `stack` at `value`: an input of states, final states of an earlier stack
    /// ([`Node::hidden`], [`Node::cell`]), or features without a time axis where the stack has one layer.
    pub fn begin(&mut self, stack: Node, state: State, value: impl Into<Value>) {
        self.begun.push((stack, state, value.into()));
    }

    /// Gives `value` under a name. A model without such outputs gives what its last layer gives, and all final states.
    pub fn output(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.model.outputs.push(ModelOutput { name: name.into(), from: value.into() });
    }

    /// The model, whose layers fit each other.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where they do not, where a name stands twice or no layer takes an input: see [`Model::check`].
    pub fn finish(self) -> Result<Model> {
        let Self { mut model, begun } = self;
        for (Node { layer }, state, value) in begun {
            let place = model.place(layer);
            let wrong =
                |text: &str| Err(Error::new(ErrorKind::Model, text).at(format!("layer {place}: {}", state.key())));
            let Some(Layer { kind: LayerKind::Recurrent(_), initial, .. }) = model.layers.get_mut(layer) else {
                return wrong("expected a recurrent layer of this model");
            };
            if initial[usize::from(state == State::Cell)].replace(value).is_some() {
                return wrong("expected one value to begin at, got two");
            }
        }
        model.check()?;
        Ok(model)
    }
}
