//! Random small models: chains and graphs of every layer, with every option.

use gatewave::conformance::{Case, InitialStates, MaskKind};
use gatewave::interface::{Axes, Graph, State, Value};
use gatewave::layer::{
    Attention, BatchNorm, Bias, Cell, Direction, Dropout, Functions, Join, L2Norm, LayerKind, LayerNorm, Masking,
    Merge, PRelu, Padding, Recurrent, Reset, RmsNorm, Slice, SliceSteps,
};
use gatewave::{Activation, Embedding, Error, Linear, Model, OneHot, Precision, Select};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Every join.
const JOINS: [Join; 7] =
    [Join::Concat, Join::Add, Join::Subtract, Join::Multiply, Join::Average, Join::Maximum, Join::ConcatSteps];

/// The value that masks: no function has its corner or its jump there.
const MASKED: f32 = 0.55;

/// The source of a model's random numbers.
pub(crate) struct Draw(pub(crate) ChaCha8Rng);

impl Draw {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u32() as usize) % bound
    }

    /// Returns true with a probability of one in `of`.
    pub(crate) fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    #[allow(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
    pub(crate) fn between(&mut self, least: f32, most: f32) -> f32 {
        least + (most - least) * (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }
}

/// A value of the graph so far.
#[derive(Clone, Copy)]
struct Flow {
    value: Value,
    size: usize,
    has_time: bool,
    /// An input cannot be an output.
    is_input: bool,
}

/// Whether an error is about steps: a slice leaves none, values have different
/// ones, or masks take out all. Layers cannot know this before a call.
pub(crate) fn is_of_steps(error: &Error) -> bool {
    let text = error.to_string();
    let of_steps = ["expected a step to be left", "expected values of equal T", "expected a step that there is"];
    of_steps.iter().any(|part| text.contains(part))
}

/// Returns a random case; `None` if its layers do not fit.
pub(crate) fn draw(seed: u64) -> Option<Case> {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
    let model = if draw.chance(3) { chain(&mut draw) } else { graph(&mut draw)? };
    model.check().ok()?;
    let mask = draw.one(&[MaskKind::All, MaskKind::Own, MaskKind::Lengths, MaskKind::Holes, MaskKind::Holes]);
    let learns = model.stacks().any(|stack| stack.initial == gatewave::layer::Initial::Learned);
    let states = if !learns && draw.chance(2) { InitialStates::Given } else { InitialStates::Zero };
    let (time, batch) = (1 + draw.below(6), 1 + draw.below(4));
    Some(Case { name: format!("random {seed}"), model, time, batch, precision: Precision::F32, mask, states, seed })
}

fn activation(draw: &mut Draw) -> Activation {
    match draw.below(3) {
        0 => draw.one(&[Activation::Softmax, Activation::LogSoftmax, Activation::Sigmoid, Activation::Linear]),
        _ => draw.one(&Activation::ALL.map(|f| if f.is_total() { f } else { Activation::Linear })),
    }
}

fn functions(draw: &mut Draw, own: Functions) -> Functions {
    let mut one = |own: Activation| {
        let other = draw.one(&Activation::ALL);
        if draw.chance(4) && other.is_elementwise() && other.is_total() { other } else { own }
    };
    Functions { f: one(own.f), g: one(own.g), h: one(own.h) }
}

fn stack(draw: &mut Draw, input: usize) -> Recurrent {
    let cell = draw.one(&[Cell::Rnn, Cell::Lstm, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)]);
    let hidden = 1 + draw.below(5);
    let mut stack = Recurrent::new(cell, input, hidden)
        .num_layers(1 + draw.below(3))
        .direction(draw.one(&[Direction::Forward, Direction::Reverse, Direction::Backwards, Direction::Both]))
        .bias(draw.one(&[Bias::None, Bias::One, Bias::Two]))
        .merge(draw.one(&[Merge::Concat, Merge::Sum, Merge::Average, Merge::Product]))
        .padding(draw.one(&[Padding::Zero, Padding::Held]));
    stack.functions = [functions(draw, cell.functions()), functions(draw, cell.functions())];
    if draw.chance(3) {
        stack = stack.clip(draw.between(0.2, 1.0));
    }
    if draw.chance(4) {
        stack = stack.learned_states();
    }
    if cell == Cell::Lstm {
        if hidden > 1 && draw.chance(3) {
            stack = stack.proj_size(1 + draw.below(hidden - 1));
        }
        if draw.chance(3) {
            stack = stack.peepholes();
        }
        if draw.chance(3) {
            stack = stack.coupled();
        }
    }
    // It draws nothing, so that other models stay the same.
    match hidden {
        2 => stack.input_dropout(0.3),
        4 if stack.num_layers > 1 => stack.recurrent_dropout(0.4).input_dropout(0.2),
        4 => stack.recurrent_dropout(0.4),
        1 | 3 | 5 => stack.dropout(0.4),
        _ => stack,
    }
}

/// Returns a layer that normalises, in every other place of more than one feature. It draws nothing.
fn norm(place: usize, size: usize) -> Option<LayerKind> {
    let kinds: [LayerKind; 6] = [
        LayerNorm::new(size).eps(0.1).into(),
        BatchNorm::new(size).frozen().into(),
        PRelu::new(size).into(),
        RmsNorm::new(size).eps(0.1).into(),
        PRelu::new(size).shared().into(),
        L2Norm::new(size).eps(0.1).into(),
    ];
    (place % 2 == 1 && size > 1).then(|| kinds[(place / 2 + size) % kinds.len()].clone())
}

fn chain(draw: &mut Draw) -> Model {
    let mut size = 1 + draw.below(5);
    let mut model = Model::new();
    match draw.below(5) {
        0 => model = model.layer(OneHot::new(size)),
        1 => model = model.layer(Embedding::new(4, size)),
        2 => model = model.layer(Embedding::new(4, size).mask_token(draw.below(4))),
        3 => model = model.layer(Masking::new(size, MASKED)),
        _ => {}
    }
    for _ in 0..1 + draw.below(2) {
        let stack = stack(draw, size);
        size = stack.output().len();
        model = model.layer(stack);
        if draw.chance(4) {
            model = model.layer(Dropout::new(0.3));
        }
    }
    let last = model.stacks().last().expect("a chain has a stack").hidden().len();
    match draw.below(5) {
        0 => model = model.layer(Select::LastStep),
        1 if matches!(model.layers.last().map(|layer| &layer.kind), Some(LayerKind::Recurrent(_))) => {
            model = model.layer(Select::FinalHidden);
            size = last;
        }
        // A selection would bypass dropout.
        2 if matches!(model.layers.last().map(|layer| &layer.kind), Some(LayerKind::Recurrent(_))) => {
            model = model.layer(Select::LastOutput);
        }
        3 => model = model.layer(Select::AllSteps),
        _ => {}
    }
    if draw.chance(2) {
        let out = 1 + draw.below(4);
        model = model.layer(Linear::new(size, out).activation(activation(draw)));
    } else if draw.chance(2) {
        model = model.layer(activation(draw));
    }
    match draw.below(5) {
        0 => model = model.layer(Dropout::new(0.5)),
        1 if model.output_has_time() => model = model.layer(Select::LastStep),
        _ => {}
    }
    if draw.chance(3) { model.axes(Axes::TimeMajor) } else { model }
}

trait Timed {
    fn output_has_time(&self) -> bool;
}

impl Timed for Model {
    fn output_has_time(&self) -> bool {
        matches!(self.flows().ok().and_then(|flows| flows.last().copied()), Some(gatewave::layer::Flow::Steps(_)))
    }
}

/// A graph whose layers take any values that fit.
struct Drawn<'a> {
    draw: &'a mut Draw,
    graph: Graph,
    flows: Vec<Flow>,
    /// Layers whose tensors another may share.
    shared: Vec<(String, LayerKind)>,
    stacks: Vec<(gatewave::interface::Node, Recurrent)>,
    layers: usize,
}

fn graph(draw: &mut Draw) -> Option<Model> {
    let axes = draw.one(&[Axes::BatchFirst, Axes::BatchFirst, Axes::TimeMajor]);
    let mut drawn =
        Drawn { draw, graph: Model::graph().axes(axes), flows: vec![], shared: vec![], stacks: vec![], layers: 0 };
    drawn.inputs();
    for _ in 0..2 + drawn.draw.below(6) {
        drawn.layer();
    }
    let outputs: Vec<_> = drawn.flows.iter().copied().filter(|flow| !flow.is_input).collect();
    let count = 1 + drawn.draw.below(3.min(outputs.len()));
    for index in 0..count {
        // The last are those on which most depends.
        let from = if index == 0 { outputs.len() - 1 } else { drawn.draw.below(outputs.len()) };
        drawn.graph.output(format!("y{index}"), outputs[from].value);
    }
    drawn.graph.finish().ok()
}

impl Drawn<'_> {
    fn push(&mut self, value: Value, size: usize, has_time: bool) {
        self.flows.push(Flow { value, size, has_time, is_input: matches!(value, Value::Input(_)) });
    }

    fn inputs(&mut self) {
        let size = 1 + self.draw.below(4);
        let x = self.graph.sequence("x", size);
        self.push(x, size, true);
        if self.draw.chance(2) {
            let size = 1 + self.draw.below(4);
            let row = self.graph.row("row", size);
            self.push(row, size, false);
        }
        if self.draw.chance(3) {
            let tokens = self.graph.tokens("tokens", 5);
            let size = 1 + self.draw.below(4);
            let mut embedding = Embedding::new(5, size);
            if self.draw.chance(2) {
                embedding = embedding.mask_token(1);
            }
            let name = self.name();
            let node = self.graph.add(name, embedding, tokens);
            self.push(node.y(), size, true);
        }
        if self.draw.chance(4) {
            let name = self.name();
            let node = self.graph.add(name, Masking::new(size, MASKED), x);
            self.push(node.y(), size, true);
        }
    }

    fn name(&mut self) -> String {
        self.layers += 1;
        format!("layer{}", self.layers)
    }

    fn any(&mut self) -> Flow {
        // Prefers late values, so that graphs are deep.
        let from = if self.draw.chance(2) { self.flows.len().saturating_sub(3) } else { 0 };
        self.flows[from + self.draw.below(self.flows.len() - from)]
    }

    fn layer(&mut self) {
        let from = self.any();
        match self.draw.below(13) {
            0..=2 if from.has_time => self.stack(from),
            3 | 4 => {
                let out = 1 + self.draw.below(4);
                let linear = Linear::new(from.size, out).activation(activation(self.draw));
                self.with_tensors(linear.into(), from, out);
            }
            5 => {
                let f = activation(self.draw);
                match norm(self.layers, from.size) {
                    Some(norm) => {
                        self.with_tensors(norm, from, from.size);
                    }
                    None => self.plain(f, from.value, from.size, from.has_time),
                }
            }
            6 => {
                let first = self.draw.below(from.size);
                let count = 1 + self.draw.below(from.size - first);
                self.plain(Slice::features(first, count), from.value, count, from.has_time);
            }
            7 if from.has_time => {
                let slice = self.draw.one(&[
                    SliceSteps::from(0),
                    SliceSteps::from(1),
                    SliceSteps::from(-2),
                    SliceSteps::from(0).to(-1),
                    SliceSteps::from(0).every(2),
                ]);
                self.plain(slice, from.value, from.size, true);
            }
            8 if from.has_time => {
                let select = self.draw.one(&[Select::LastStep, Select::AllSteps]);
                self.plain(select, from.value, from.size, select == Select::AllSteps);
            }
            9 => self.plain(Dropout::new(0.2), from.value, from.size, from.has_time),
            10 if from.has_time => self.attend(from),
            _ => self.join(from),
        }
    }

    fn plain(
        &mut self,
        layer: impl Into<LayerKind>,
        from: impl Into<gatewave::interface::Sources>,
        size: usize,
        has_time: bool,
    ) {
        let name = self.name();
        let node = self.graph.add(name, layer, from);
        self.push(node.y(), size, has_time);
    }

    /// Adds a layer with tensors; sometimes they are those of an equal earlier layer.
    fn with_tensors(&mut self, layer: LayerKind, from: Flow, size: usize) -> gatewave::interface::Node {
        let name = self.name();
        let twin = self.shared.iter().find(|(_, other)| *other == layer).map(|(prefix, _)| prefix.clone());
        let prefix = twin.unwrap_or_else(|| format!("{name}."));
        self.shared.push((prefix.clone(), layer.clone()));
        let node = self.graph.add_with_weights(name, prefix, layer, from.value);
        self.push(node.y(), size, from.has_time);
        node
    }

    fn stack(&mut self, from: Flow) {
        let again = self.stacks.iter().rev().map(|(_, stack)| stack).find(|stack| stack.input_size == from.size);
        let again = again.cloned();
        let stack = match again {
            Some(stack) if self.draw.chance(2) => stack,
            _ => stack(self.draw, from.size),
        };
        let node = self.with_tensors(stack.clone().into(), from, stack.output().len());
        let rows = (stack.directions(), stack.state_size());
        self.push(node.final_hidden(), rows.0 * rows.1, false);
        self.push(node.last_output(), stack.output().len(), false);
        if stack.cell == Cell::Lstm {
            self.push(node.final_cell(), rows.0 * stack.hidden_size, false);
        }
        if stack.initial == gatewave::layer::Initial::Zero && self.draw.chance(2) {
            self.begin(node, &stack);
        }
        self.stacks.push((node, stack));
    }

    /// Begins a stack at the states of another, or at rows.
    fn begin(&mut self, node: gatewave::interface::Node, stack: &Recurrent) {
        let sizes = |other: &Recurrent| (other.num_layers * other.directions(), other.state_size(), other.hidden_size);
        let before = self.stacks.iter().find(|(_, other)| sizes(other) == sizes(stack));
        if let Some(&(before, ref other)) = before {
            self.graph.begin(node, State::Hidden, before.hidden());
            if stack.cell == Cell::Lstm && other.cell == Cell::Lstm {
                self.graph.begin(node, State::Cell, before.cell());
            }
            return;
        }
        let size = stack.directions() * stack.state_size();
        let row = self.flows.iter().find(|flow| {
            // Not a result of the stack itself.
            !flow.has_time
                && flow.size == size
                && !matches!(flow.value, Value::Layer(layer, _) if layer + 1 == self.layers)
        });
        if let Some(row) = row.filter(|_| stack.num_layers == 1) {
            self.graph.begin(node, State::Hidden, row.value);
            if stack.cell == Cell::Lstm {
                let cell = self.graph.state(format!("cell {}", self.layers), State::Cell);
                self.graph.begin(node, State::Cell, cell);
            }
        }
    }

    /// Sums the steps of `from` for a query of as many features.
    fn attend(&mut self, from: Flow) {
        let queries: Vec<_> = self.flows.iter().filter(|flow| flow.size == from.size).copied().collect();
        let query = queries[self.draw.below(queries.len())];
        let attention = match self.draw.below(3) {
            0 => Attention::dot(from.size).scale(0.5),
            1 => Attention::scaled_dot(from.size),
            _ => Attention::additive(from.size).weight(self.draw.chance(2)),
        };
        let (name, attention) = (self.name(), attention.causal(self.draw.chance(3)));
        let node = self.graph.add_with_weights(name.clone(), format!("{name}."), attention, [query.value, from.value]);
        self.push(node.y(), from.size, query.has_time);
    }

    fn join(&mut self, from: Flow) {
        let join = self.draw.one(&JOINS);
        let fits = |flow: &&Flow| join == Join::Concat || flow.size == from.size;
        let others: Vec<_> = self.flows.iter().filter(fits).copied().collect();
        let count = if join == Join::Subtract { 1 } else { 1 + self.draw.below(2) };
        let mut taken = vec![from];
        for _ in 0..count {
            taken.push(others[self.draw.below(others.len())]);
        }
        let size = if join == Join::Concat { taken.iter().map(|flow| flow.size).sum() } else { from.size };
        let has_time = join == Join::ConcatSteps || taken.iter().any(|flow| flow.has_time);
        let values: Vec<Value> = taken.iter().map(|flow| flow.value).collect();
        self.plain(join, values, size, has_time);
    }
}
