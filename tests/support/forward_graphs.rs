//! Models that are no chain and go only forward: for streams, and for draws.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use gatewave::interface::{Graph, Node, State, Value};
use gatewave::layer::{Cell, Join, Masking, Padding, Recurrent, Reset, Slice};
use gatewave::{Activation, Embedding, Gru, Linear, Lstm, Model, Rnn, Select};

fn built(build: impl FnOnce(&mut Graph)) -> Model {
    let mut graph = Model::graph();
    build(&mut graph);
    graph.finish().expect("the model of a test is right")
}

/// Adds two inputs, a residual sum, a concatenation and the outputs "score" and "tags"; returns the upper LSTM.
pub fn eight_nodes(g: &mut Graph) -> Node {
    let (words, facts) = (g.tokens("words", 20), g.row("facts", 3));
    let embedding = g.add("embedding", Embedding::new(20, 8), words);
    let lower = g.add("lower", Lstm::new(8, 8), embedding);
    let sum = g.add("sum", Join::Add, [embedding, lower]);
    let upper = g.add("upper", Lstm::new(8, 6), sum);
    let hidden = g.add("hidden", Linear::new(3, 4).activation(Activation::Relu), facts);
    let joined = g.add("joined", Join::Concat, [upper.final_hidden(), hidden.y()]);
    let tags = g.add("tags", Linear::new(6, 5).activation(Activation::Softmax), upper);
    let score = g.add("score", Linear::new(10, 1).activation(Activation::Sigmoid), joined);
    g.output("score", score);
    g.output("tags", tags);
    upper
}

/// Graphs that go forward, each with a special feature.
pub fn graphs() -> Vec<(&'static str, Model)> {
    let mut graphs = vec![
        (
            "tokens, a row, a residual sum, an output of steps and one of the newest",
            built(|g| {
                let upper = eight_nodes(g);
                g.output("last", upper.cell());
            }),
        ),
        (
            "two sequences that meet, a row at each step, slices, an output that is a row",
            built(|g| {
                let (a, b, row) = (g.sequence("a", 5), g.sequence("b", 19), g.row("row", 17));
                let part = g.add("part", Slice::features(2, 17), b);
                let product = g.add("product", Linear::new(5, 17), a);
                let sum = g.add("sum", Join::Add, [product.y(), part.y(), row]);
                let stack = g.add("stack", Gru::new(17, 20).num_layers(2), sum);
                let known = g.add("known", Linear::new(17, 3), row);
                let head = g.add("head", Linear::new(20, 4), stack);
                g.output("known", known);
                g.output("head", head);
            }),
        ),
        (
            "two sequences that do not meet but at their ends",
            built(|g| {
                let (a, b) = (g.sequence("a", 5), g.tokens("b", 9));
                let first = g.add("first", Rnn::new(5, 18), a);
                let vectors = g.add("vectors", Embedding::new(9, 4).mask_token(0), b);
                let second = g.add("second", Lstm::new(4, 7).padding(Padding::Held), vectors);
                let ends = [first.final_hidden(), second.last_output(), second.final_cell()];
                let joined = g.add("joined", Join::Concat, ends);
                let head = g.add("head", Linear::new(32, 3), joined);
                g.output("head", head);
                g.output("steps", second);
            }),
        ),
        (
            "a row that begins the states of two stacks",
            built(|g| {
                let (row, x) = (g.row("row", 6), g.sequence("x", 5));
                let begin = g.add("begin", Linear::new(6, 20).activation(Activation::Tanh), row);
                let wide = twice(g, row);
                let lstm = g.add("lstm", Lstm::new(5, 20), x);
                g.begin(lstm, State::Hidden, begin);
                g.begin(lstm, State::Cell, wide);
                let gru = g.add("gru", Gru::new(20, 6), lstm);
                g.begin(gru, State::Hidden, row);
                g.output("y", gru);
                g.output("lstm", lstm);
            }),
        ),
        (
            "rows that begin one state of a stack, and states of the stream the other",
            built(|g| {
                let (row, x) = (g.row("row", 6), g.sequence("x", 5));
                let (h, c) = (g.state("h", State::Hidden), g.state("c", State::Cell));
                let lower = g.add("lower", Lstm::new(5, 6), x);
                g.begin(lower, State::Hidden, row);
                g.begin(lower, State::Cell, c);
                let wide = twice(g, row);
                let upper = g.add("upper", Lstm::new(6, 20), lower);
                g.begin(upper, State::Hidden, h);
                g.begin(upper, State::Cell, wide);
                g.output("upper", upper);
            }),
        ),
        (
            "masks of two branches",
            built(|g| {
                let (masked, x) = (g.sequence("masked", 3), g.sequence("x", 3));
                let masking = g.add("masking", Masking::new(3, 0.0), masked);
                let upper = g.add("upper", Gru::new(3, 17), masking);
                let held = g.add("held", Lstm::new(3, 17).padding(Padding::Held), masking);
                let other = g.add("other", Gru::new(3, 17), x);
                let product = g.add("product", Join::Multiply, [upper, held]);
                let joined = g.add("joined", Join::Concat, [product.y(), other.y()]);
                let last = g.add("last", Rnn::new(34, 5), joined);
                g.output("last", last);
                g.output("other", other);
            }),
        ),
        (
            "states that are inputs, layers that share their weights",
            built(|g| {
                let (h, x, y) = (g.state("h", State::Hidden), g.sequence("x", 4), g.sequence("y", 4));
                let one = g.add_with_weights("one", "shared.", Gru::new(4, 6), x);
                let two = g.add_with_weights("two", "shared.", Gru::new(4, 6), y);
                g.begin(one, State::Hidden, h);
                let less = g.add("less", Join::Subtract, [one, two]);
                let newest = g.add("newest", Select::LastStep, less);
                g.output("newest", newest);
                g.output("less", less);
            }),
        ),
    ];
    graphs.push((
        "every cell",
        built(|g| {
            let x = g.sequence("x", 5);
            let reset = g.add("reset", Recurrent::new(Cell::Gru(Reset::Before), 5, 9), x);
            let projected = g.add("projected", Lstm::new(9, 33).proj_size(5), reset);
            let mean = g.add("mean", Join::Average, [projected.y(), x]);
            g.add("rnn", Rnn::new(5, 3).num_layers(3), mean);
        }),
    ));
    graphs
}

/// Adds layers that use `row` twice.
fn twice(g: &mut Graph, row: Value) -> Node {
    let twice = g.add("twice", Join::Add, [row, row]);
    g.add("wide", Linear::new(6, 20), twice)
}

/// A random generator: the same numbers for the same seed.
struct Dice(u32);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) as usize % sides
    }
}

/// Returns a random graph of a sequence, tokens and a row.
pub fn random(seed: u32) -> Model {
    let mut dice = Dice(seed.wrapping_mul(2_654_435_761));
    built(|g| {
        let x = (seed.is_multiple_of(2)).then(|| g.sequence("x", 5));
        let (words, facts) = (g.tokens("words", 9), g.row("facts", 3));
        let x = x.unwrap_or_else(|| g.sequence("x", 5));
        let first = g.add("first", Linear::new(5, 6), x);
        let vectors = g.add("vectors", Embedding::new(9, 4), words);
        let known = g.add("known", Linear::new(3, 4).activation(Activation::Tanh), facts);
        let mut steps: Vec<(Value, usize)> = vec![(first.y(), 6), (vectors.y(), 4)];
        let mut stacks: Vec<Node> = Vec::new();
        for index in 0..7 {
            let name = format!("node{index}");
            // Mostly the newest value, so that the graph is deep.
            let picked = if dice.throw(3) > 0 { steps.len() - 1 } else { dice.throw(steps.len()) };
            let (a, size) = steps[picked];
            let (b, other) = steps[dice.throw(steps.len())];
            let (node, size) = match dice.throw(7) {
                0 | 1 => {
                    let hidden = [4, 17, 20][dice.throw(3)];
                    let (layers, cell) = (1 + dice.throw(2), dice.throw(3));
                    let stack = [Gru::new(size, hidden), Lstm::new(size, hidden), Rnn::new(size, hidden)][cell].clone();
                    let begins = layers == 1 && dice.throw(2) == 0;
                    let begin = begins.then(|| g.add(format!("begin{index}"), Linear::new(3, hidden), facts));
                    let stack = g.add(name, stack.num_layers(layers), a);
                    if let Some(begin) = begin {
                        g.begin(stack, State::Hidden, begin);
                    }
                    stacks.push(stack);
                    (stack, hidden)
                }
                2 => (g.add(name, Linear::new(size, 17).activation(Activation::Tanh), a), 17),
                3 => (g.add(name, Join::Concat, [a, b]), size + other),
                4 => (g.add(name, Join::Concat, [known.y(), a]), 4 + size),
                5 => {
                    let fitted = g.add(format!("{name}.fitted"), Linear::new(other, size), b);
                    let join = [Join::Add, Join::Subtract, Join::Multiply, Join::Average, Join::Maximum][dice.throw(5)];
                    (g.add(name, join, [a, fitted.y()]), size)
                }
                _ if size > 3 => (g.add(name, Slice::features(1, size - 2), a), size - 2),
                _ => (g.add(name, Activation::Tanh, a), size),
            };
            steps.push((node.y(), size));
        }
        let (last, size) = steps[steps.len() - 1];
        let head = g.add("head", Linear::new(size, 3), last);
        g.output("head", head);
        let (other, _) = steps[dice.throw(steps.len())];
        g.output("other", other);
        if let (Some(stack), 0) = (stacks.last(), dice.throw(2)) {
            let end = [stack.final_hidden(), stack.last_output()][dice.throw(2)];
            g.output("end", end);
        }
    })
}

/// Graphs for drawing tokens, each with the output to draw from.
pub fn drawn() -> Vec<(&'static str, Model)> {
    vec![
        (
            "next",
            built(|g| {
                let text = g.tokens("text", 30);
                let vectors = g.add("vectors", Embedding::new(30, 8), text);
                let stack = g.add("stack", Gru::new(8, 8), vectors);
                let sum = g.add("sum", Join::Add, [vectors, stack]);
                let next = g.add("next", Linear::new(8, 30).activation(Activation::Softmax), sum);
                g.output("next", next);
            }),
        ),
        (
            "next",
            built(|g| {
                let (facts, text) = (g.row("facts", 3), g.tokens("text", 30));
                let known = g.add("known", Linear::new(3, 5).activation(Activation::Relu), facts);
                let vectors = g.add("vectors", Embedding::new(30, 8), text);
                let joined = g.add("joined", Join::Concat, [vectors, known]);
                let one = g.add("one", Lstm::new(13, 17).num_layers(2), joined);
                let two = g.add("two", Gru::new(13, 20), joined);
                let both = g.add("both", Join::Concat, [one, two]);
                let part = g.add("part", Slice::features(3, 30), both);
                let value = g.add("value", Linear::new(17, 1), one);
                let next = g.add("next", Linear::new(30, 30), part);
                g.output("value", value);
                g.output("next", next);
            }),
        ),
        (
            "next",
            built(|g| {
                let (text, picture) = (g.tokens("text", 30), g.row("picture", 20));
                let vectors = g.add("vectors", Embedding::new(30, 8), text);
                let begin = g.add("begin", Linear::new(20, 20), picture);
                let stack = g.add("stack", Lstm::new(8, 20), vectors);
                g.begin(stack, State::Hidden, begin);
                g.begin(stack, State::Cell, picture);
                let ends = g.add("ends", Join::Concat, [stack.final_hidden(), picture]);
                let next = g.add("next", Linear::new(40, 30), ends);
                g.output("next", next);
            }),
        ),
        (
            "joined",
            built(|g| {
                let (h, text) = (g.state("h", State::Hidden), g.tokens("text", 30));
                let vectors = g.add("vectors", Embedding::new(30, 8), text);
                let stack = g.add("stack", Gru::new(8, 20), vectors);
                g.begin(stack, State::Hidden, h);
                let (a, b) = (g.add("a", Linear::new(20, 15), stack), g.add("b", Linear::new(20, 15), stack));
                let joined = g.add("joined", Join::Concat, [a, b]);
                g.output("joined", joined);
            }),
        ),
    ]
}
