//! The table's cases of models that are no chain: joins, several inputs and outputs, states that begin at values.
//!
//! All have five steps of three rows. Parts of unequal sizes cross a tile's edge, and masks have holes.

use super::whole;
use crate::cell::{Activation, Cell, Reset};
use crate::conformance::{Case, InitialStates, MaskKind};
use crate::model::{
    Axes, Embedding, Graph, Gru, Join, Linear, Lstm, Masking, Merge, Model, Padding, Rnn, Select, Slice, SliceSteps,
    State,
};
use crate::precision::Precision;

/// Every case of a graph, in a stable order.
pub(super) fn graphs() -> Vec<Case> {
    let mut cases = joins();
    cases.extend(slices());
    cases.extend(branches());
    cases.extend(clocks());
    cases.extend(pieces());
    cases.extend(states());
    cases.extend(inputs());
    cases.push(in_place());
    cases
}

/// Returns the case of the graph that `build` makes, with holes and given states.
pub(super) fn graph(name: &str, build: impl FnOnce(&mut Graph)) -> Case {
    let mut graph = Model::graph();
    build(&mut graph);
    let model = graph.finish().expect("the model of a case is right");
    whole(name, model, 5, 3).mask(MaskKind::Holes).states(InitialStates::Given)
}

/// Each join: of steps alone, of three values, and with a row that is combined with every step; with unequal parts.
fn joins() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (word, join) in Join::WORDS {
        cases.push(graph(&format!("{word} of an input and a product"), |g| {
            let x = g.sequence("x", 17);
            let mix = g.add("mix", Linear::new(17, 17).activation(Activation::Tanh), x);
            let joined = g.add("joined", join, [mix.y(), x]);
            let size = if join == Join::Concat { 34 } else { 17 };
            let lstm = g.add("lstm", Lstm::new(size, 18), joined);
            g.add("head", Linear::new(18, 3), lstm);
        }));
        cases.push(graph(&format!("{word} of steps and a row"), |g| {
            let x = g.sequence("x", 5);
            let facts = g.row("facts", 18);
            let gru = g.add("gru", Gru::new(5, 18), x);
            g.add("joined", join, [gru.y(), facts]);
        }));
        if join != Join::Subtract {
            cases.push(graph(&format!("{word} of three branches both ways"), |g| {
                let x = g.sequence("x", 9);
                let rnn = g.add("rnn", Rnn::new(9, 17).bidirectional().merge(Merge::Sum), x);
                let gru = g.add("gru", Gru::new(9, 17).bidirectional().merge(Merge::Average), x);
                let lstm = g.add("lstm", Lstm::new(9, 17), x);
                let joined = g.add("joined", join, [rnn.y(), gru.y(), lstm.y()]);
                let size = if join == Join::Concat { 51 } else { 17 };
                g.add("head", Linear::new(size, 5).activation(Activation::Softmax), joined);
            }));
        }
    }
    cases.push(graph("concat of unequal parts, rows of final states", |g| {
        let x = g.sequence("x", 6);
        let facts = g.row("facts", 3);
        let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional(), x);
        let hidden = g.add("hidden", Linear::new(3, 5).activation(Activation::Relu), facts);
        let joined = g.add("joined", Join::Concat, [lstm.final_hidden(), hidden.y(), lstm.last_output()]);
        g.add("head", Linear::new(34 + 5 + 34, 4).activation(Activation::Sigmoid), joined);
    }));
    cases.push(graph("a sum of both ways, parts side by side", |g| {
        let x = g.sequence("x", 6);
        let a = g.add("a", Lstm::new(6, 17).bidirectional(), x);
        let b = g.add("b", Gru::new(6, 17).bidirectional(), x);
        let sum = g.add("sum", Join::Add, [a, b]);
        let concat = g.add("concat", Join::Concat, [sum.y(), x]);
        g.add("head", Rnn::new(40, 16), concat);
    }));
    cases
}

/// Parts of a concatenation that are computed in place, and others beside them that are not.
fn in_place() -> Case {
    graph("products written where a concat has them", |g| {
        let x = g.sequence("x", 6);
        let lstm = g.add("lstm", Lstm::new(6, 16), x);
        let left = g.add("left", Linear::new(16, 32).activation(Activation::Sigmoid), lstm);
        let right = g.add("right", Linear::new(6, 18).activation(Activation::Sigmoid), x);
        let steps = g.add("steps", Join::Concat, [left, lstm, right]);
        let inner = g.add("inner", Linear::new(66, 16).activation(Activation::Tanh), steps);
        let outer = g.add("outer", Linear::new(66, 19).activation(Activation::Sigmoid), steps);
        let joined = g.add("joined", Join::Concat, [inner, outer]);
        g.add("head", Gru::new(35, 17), joined);
    })
}

/// Slices of features: of an input, across both directions, of a row; and values that are sliced and joined again.
fn slices() -> Vec<Case> {
    vec![
        graph("parts of an input into two stacks, and back together", |g| {
            let x = g.sequence("x", 23);
            let left = g.add("left", Slice::features(0, 6), x);
            let right = g.add("right", Slice::features(6, 17), x);
            let a = g.add("a", Lstm::new(6, 18), left);
            let b = g.add("b", Gru::new(17, 18).bidirectional(), right);
            let middle = g.add("middle", Slice::features(11, 20), b);
            g.add("joined", Join::Concat, [a.y(), middle.y(), x]);
        }),
        graph("a packed state, cut and joined again", |g| {
            let x = g.sequence("x", 5);
            let memory = g.row("memory", 36);
            let hidden = g.add("hidden", Slice::features(0, 18), memory);
            let cell = g.add("cell", Slice::features(18, 18), memory);
            let lstm = g.add("lstm", Lstm::new(5, 18), x);
            g.begin(lstm, State::Hidden, hidden);
            g.begin(lstm, State::Cell, cell);
            let next = g.add("next", Join::Concat, [lstm.final_hidden(), lstm.final_cell()]);
            g.output("y", lstm);
            g.output("next", next);
        }),
        graph("cell states of both ways", |g| {
            let x = g.sequence("x", 5);
            let lstm = g.add("lstm", Lstm::new(5, 17).num_layers(2).bidirectional(), x);
            let part = g.add("part", Slice::features(9, 16), lstm.final_cell());
            let sum = g.add("sum", Join::Multiply, [lstm.final_cell(), lstm.final_hidden()]);
            g.output("y", sum);
            g.output("part", part);
            g.output("cell", lstm.final_cell());
        }),
        graph("a final cell state through a product", |g| {
            let x = g.sequence("x", 16);
            let a = g.add("a", Lstm::new(16, 16).num_layers(2), x);
            let b = g.add("b", Lstm::new(16, 16), a);
            g.add("head", Linear::new(16, 3), b.final_cell());
        }),
    ]
}

/// Several inputs, outputs and consumers.
fn branches() -> Vec<Case> {
    let residual = |padding: Padding| {
        move |g: &mut Graph| {
            let x = g.sequence("x", 16);
            let gru = g.add("gru", Gru::new(16, 16).num_layers(2).padding(padding), x);
            let mix = g.add("mix", Linear::new(16, 16), gru);
            let sum = g.add("sum", Join::Add, [x, mix.y()]);
            let lstm = g.add("lstm", Lstm::new(16, 33), sum);
            let head = g.add("head", Linear::new(33, 3), lstm);
            // Only the sum shows the first stack's output at dead steps.
            g.output("y", head);
            g.output("sum", sum);
        }
    };
    vec![
        graph("a residual sum", residual(Padding::Zero)),
        graph("a residual sum of held outputs", residual(Padding::Held)),
        graph("a residual sum, f16", residual(Padding::Zero)).precision(Precision::F16),
        graph("a residual sum, all steps", residual(Padding::Zero)).mask(MaskKind::All),
        graph("two heads and final states", |g| {
            let x = g.sequence("x", 5);
            let lstm = g.add("lstm", Lstm::new(5, 18).num_layers(2), x);
            let policy = g.add("policy", Linear::new(18, 4).activation(Activation::Softmax), lstm);
            let value = g.add("value", Linear::new(18, 1), lstm);
            g.output("policy", policy);
            g.output("value", value);
            g.output("h", lstm.hidden());
            g.output("last", lstm.final_hidden());
        }),
        graph("words and facts", |g| {
            let words = g.tokens("words", 20);
            let facts = g.row("facts", 3);
            let embedding = g.add("embedding", Embedding::new(20, 6), words);
            let lstm = g.add("lstm", Lstm::new(6, 10), embedding);
            let hidden = g.add("hidden", Linear::new(3, 5).activation(Activation::Relu), facts);
            let joined = g.add("joined", Join::Concat, [lstm.final_hidden(), hidden.y()]);
            g.add("head", Linear::new(15, 1).activation(Activation::Sigmoid), joined);
        }),
        graph("two embeddings, one of them taken twice", |g| {
            let words = g.tokens("words", 20);
            let shapes = g.tokens("shapes", 7);
            let a = g.add("a", Embedding::new(20, 6), words);
            let b = g.add("b", Embedding::new(7, 5), shapes);
            let joined = g.add("joined", Join::Concat, [a, b]);
            let lstm = g.add("lstm", Lstm::new(11, 17), joined);
            let gru = g.add("gru", Gru::new(6, 17), a);
            g.add("sum", Join::Add, [lstm, gru]);
        }),
        graph("a stack with a consumer between its layers and the next stack", |g| {
            let x = g.sequence("x", 16);
            let first = g.add("first", Lstm::new(16, 16).num_layers(2), x);
            let second = g.add("second", Lstm::new(16, 16), first);
            let sum = g.add("sum", Join::Add, [first, second]);
            g.output("y", sum);
            g.output("first", first.final_hidden());
            g.output("second", second.last_output());
        })
        .mask(MaskKind::Lengths),
        graph("a layer and its last step meet again", |g| {
            let x = g.sequence("x", 7);
            let gru = g.add("gru", Gru::new(7, 19), x);
            let last = g.add("last", Select::LastStep, gru);
            let scaled = g.add("scaled", Join::Multiply, [gru.y(), last.y()]);
            g.add("head", Gru::new(19, 16).cell(Cell::Gru(Reset::Before)), scaled);
        }),
    ]
}

/// Sequences with lengths and masks of their own, and the states and joins that use them.
fn clocks() -> Vec<Case> {
    let mut time_major = graph("an encoder both ways begins a decoder, time-major", |g| {
        let facts = g.row("facts", 4);
        let target = g.tokens("target", 12);
        let source = g.tokens("source", 15);
        let letters = g.add("letters", Embedding::new(15, 5).mask_token(2), source);
        let encoder = g.add("encoder", Lstm::new(5, 17).bidirectional(), letters);
        let words = g.add("words", Embedding::new(12, 5).mask_token(1), target);
        let with_facts = g.add("with_facts", Join::Concat, [words.y(), facts]);
        let decoder = g.add("decoder", Lstm::new(9, 34), with_facts);
        g.begin(decoder, State::Hidden, encoder.final_hidden());
        g.begin(decoder, State::Cell, encoder.final_cell());
        let head = g.add("head", Linear::new(34, 12).activation(Activation::Softmax), decoder);
        g.output("y", head);
        g.output("letters", encoder);
    });
    time_major.model.axes = Axes::TimeMajor;
    vec![
        time_major,
        graph("two towers of different lengths meet in their final states", |g| {
            let query = g.sequence("query", 6);
            let text = g.sequence("text", 6);
            let tower = || Gru::new(6, 17).num_layers(2).bidirectional();
            let a = g.add_with_weights("tower_a", "tower.", tower(), query);
            let b = g.add_with_weights("tower_b", "tower.", tower(), text);
            let product = g.add("product", Join::Multiply, [a.final_hidden(), b.last_output()]);
            let head = g.add("head", Linear::new(34, 1).activation(Activation::Sigmoid), product);
            g.output("match", head);
            g.output("query_steps", a);
            g.output("text_steps", b);
        })
        .mask(MaskKind::Lengths),
        graph("the stack of the second sequence begins that of the first", |g| {
            let x = g.sequence("x", 16);
            let source = g.sequence("source", 16);
            let low = g.add("low", Gru::new(16, 16).num_layers(2), source);
            let mix = g.add("mix", Linear::new(16, 16), low);
            let high = g.add("high", Rnn::new(16, 16).padding(Padding::Held), mix);
            let decoder = g.add("decoder", Gru::new(16, 16).num_layers(2), x);
            g.begin(decoder, State::Hidden, low.hidden());
            let sum = g.add("sum", Join::Add, [decoder.y(), high.final_hidden()]);
            g.output("y", sum);
            g.output("high", high);
        })
        .precision(Precision::F16),
        graph("two masks on one time axis", |g| {
            let words = g.tokens("words", 20);
            let tags = g.tokens("tags", 7);
            let a = g.add("a", Embedding::new(20, 6).mask_token(3), words);
            let b = g.add("b", Embedding::new(7, 5).mask_token(2), tags);
            let raw = g.add("raw", Embedding::new(7, 6), tags);
            let words = g.add("of_words", Lstm::new(6, 17).bidirectional(), a);
            let tags = g.add("of_tags", Gru::new(5, 17).padding(Padding::Held), b);
            let plain = g.add("plain", Rnn::new(6, 17), raw);
            let joined = g.add("joined", Join::Concat, [words.y(), tags.y(), plain.y()]);
            let both = g.add("both", Gru::new(68, 16), joined);
            g.output("joined", joined);
            g.output("both", both);
            g.output("last", tags.last_output());
        })
        .mask(MaskKind::Own)
        .batch(6),
        graph("masked and as it comes", |g| {
            let x = g.sequence("x", 5);
            let other = g.sequence("other", 5);
            let masked = g.add("masked", Masking::new(5, -1.0), x);
            let other = g.add("other_masked", Masking::new(5, 0.0), other);
            let a = g.add("a", Lstm::new(5, 17), masked);
            let b = g.add("b", Gru::new(5, 17), x);
            let c = g.add("c", Gru::new(5, 17).bidirectional().merge(Merge::Sum), other);
            let sum = g.add("sum", Join::Add, [a, b]);
            let masked = g.add("masked_mix", Linear::new(5, 17), masked);
            let all = g.add("all", Join::Multiply, [sum.y(), masked.y(), c.last_output()]);
            g.output("all", all);
            g.output("c", c);
        })
        .mask(MaskKind::Own)
        .batch(6),
    ]
}

/// Slices of steps, and concatenations of steps.
fn pieces() -> Vec<Case> {
    vec![
        graph("an image, then words, and what follows of it", |g| {
            let words = g.tokens("words", 12);
            let image = g.row("image", 9);
            let first = g.add("first", Linear::new(9, 6), image);
            let vectors = g.add("vectors", Embedding::new(12, 6).mask_token(2), words);
            let all = g.add("all", Join::ConcatSteps, [first, vectors]);
            let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional(), all);
            let rest = g.add("rest", SliceSteps::from(1), lstm);
            g.add("head", Linear::new(34, 12).activation(Activation::Softmax), rest);
        }),
        graph("differences of neighbours meet another sequence", |g| {
            let x = g.sequence("x", 5);
            let later = g.add("later", SliceSteps::from(1), x);
            let before = g.add("before", SliceSteps::from(0).to(-1), x);
            let change = g.add("change", Join::Subtract, [later, before]);
            let a = g.add("a", Gru::new(5, 17).padding(Padding::Held), change);
            let b = g.add("b", Rnn::new(5, 17), x);
            g.output("a", a);
            g.output("last", a.last_output());
            g.output("b", b);
        }),
        graph("two sequences, one behind the other", |g| {
            let x = g.sequence("x", 16);
            let other = g.sequence("other", 16);
            let low = g.add("low", Lstm::new(16, 16), x);
            let both = g.add("both", Join::ConcatSteps, [other, low.y(), low.final_hidden()]);
            let high = g.add("high", Lstm::new(16, 16).num_layers(2), both);
            let tail = g.add("tail", SliceSteps::from(-4).to(-1), high);
            let middle = g.add("middle", SliceSteps::from(1).to(4), x);
            let sum = g.add("sum", Join::Add, [tail, middle]);
            g.output("high", high);
            g.output("sum", sum);
        })
        .mask(MaskKind::Lengths),
    ]
}

/// Stacks that begin at values.
fn states() -> Vec<Case> {
    vec![
        graph("final states begin another stack both ways", |g| {
            let x = g.sequence("x", 5);
            let first = g.add("first", Lstm::new(5, 17).num_layers(2).bidirectional(), x);
            let second = g.add("second", Lstm::new(34, 17).num_layers(2).bidirectional(), first);
            g.begin(second, State::Hidden, first.hidden());
            g.begin(second, State::Cell, first.cell());
        }),
        graph("final states begin another stack", |g| {
            let x = g.sequence("x", 16);
            let first = g.add("first", Lstm::new(16, 16).num_layers(2), x);
            let second = g.add("second", Lstm::new(16, 16).num_layers(2), x);
            g.begin(second, State::Hidden, first.hidden());
            g.begin(second, State::Cell, first.cell());
            g.add("sum", Join::Add, [first, second]);
        })
        .mask(MaskKind::All),
        graph("a row begins a stack", |g| {
            let x = g.sequence("x", 5);
            let facts = g.row("facts", 3);
            let hidden = g.add("hidden", Linear::new(3, 18).activation(Activation::Tanh), facts);
            let cell = g.add("cell", Linear::new(3, 18), facts);
            let lstm = g.add("lstm", Lstm::new(5, 18), x);
            g.begin(lstm, State::Hidden, hidden);
            g.begin(lstm, State::Cell, cell);
        }),
        graph("rows begin a stack both ways", |g| {
            let x = g.sequence("x", 5);
            let facts = g.row("facts", 34);
            let gru = g.add("gru", Gru::new(5, 17).bidirectional(), x);
            g.begin(gru, State::Hidden, facts);
            let last = g.add("last", Linear::new(34, 17), gru.final_hidden());
            let next = g.add("next", Gru::new(34, 17).cell(Cell::Gru(Reset::Before)), gru);
            g.begin(next, State::Hidden, last);
        }),
        graph("a row begins the hidden state, the call the cell", |g| {
            let x = g.sequence("x", 5);
            let facts = g.row("facts", 3);
            let c = g.state("c", State::Cell);
            let hidden = g.add("hidden", Linear::new(3, 34).activation(Activation::Tanh), facts);
            let lstm = g.add("lstm", Lstm::new(5, 17).bidirectional(), x);
            g.begin(lstm, State::Hidden, hidden);
            g.begin(lstm, State::Cell, c);
        }),
        graph("final states begin the cell state both ways, the call the hidden", |g| {
            let x = g.sequence("x", 5);
            let h = g.state("h", State::Hidden);
            let first = g.add("first", Lstm::new(5, 17).num_layers(2).bidirectional(), x);
            let second = g.add("second", Lstm::new(34, 17).num_layers(2).bidirectional(), first);
            g.begin(second, State::Hidden, h);
            g.begin(second, State::Cell, first.cell());
            g.add("joined", Join::Concat, [first, second]);
        }),
        graph("given states begin two stacks", |g| {
            let x = g.sequence("x", 5);
            let h = g.state("h", State::Hidden);
            let a = g.add("a", Gru::new(5, 17), x);
            let b = g.add("b", Rnn::new(5, 17), x);
            g.begin(a, State::Hidden, h);
            g.begin(b, State::Hidden, h);
            g.add("sum", Join::Subtract, [a, b]);
        }),
    ]
}

/// Inputs in other axes, a layer used for several inputs, inputs that mask themselves; and all results of a stack.
fn inputs() -> Vec<Case> {
    let mut time_major = graph("two sequences after a row, time-major", |g| {
        let facts = g.row("facts", 18);
        let x = g.sequence("x", 5);
        let other = g.sequence("other", 18);
        let lstm = g.add("lstm", Lstm::new(5, 18), x);
        let joined = g.add("joined", Join::Multiply, [other, lstm.y(), facts]);
        let gru = g.add("gru", Gru::new(18, 17), joined);
        g.output("y", joined);
        g.output("z", gru);
    });
    time_major.model.axes = Axes::TimeMajor;
    vec![
        time_major,
        graph("one stack for two inputs", |g| {
            let a = g.sequence("a", 6);
            let b = g.sequence("b", 6);
            let tower = || Gru::new(6, 17).bidirectional();
            let a = g.add_with_weights("tower_a", "tower.", tower(), a);
            let b = g.add_with_weights("tower_b", "tower.", tower(), b);
            let difference = g.add("difference", Join::Subtract, [a, b]);
            g.add("head", Rnn::new(34, 16), difference);
        }),
        graph("mask_token behind another embedding", |g| {
            let words = g.tokens("words", 20);
            let tags = g.tokens("tags", 7);
            let plain = g.add("plain", Embedding::new(20, 9), words);
            let masking = g.add("masking", Embedding::new(20, 9).mask_token(3), words);
            let tags = g.add("tagged", Embedding::new(7, 9), tags);
            let sum = g.add("sum", Join::Add, [plain, masking, tags]);
            let lstm = g.add("lstm", Lstm::new(9, 17).padding(Padding::Held), sum);
            g.add("joined", Join::Concat, [sum, lstm]);
        })
        .mask(MaskKind::Own)
        .batch(6),
        graph("masking into two branches, lengths as well", |g| {
            let x = g.sequence("x", 5);
            let masking = g.add("masking", Masking::new(5, -1.0), x);
            let lstm = g.add("lstm", Lstm::new(5, 17), masking);
            let gru = g.add("gru", Gru::new(5, 17).bidirectional().merge(Merge::Sum).padding(Padding::Held), masking);
            let joined = g.add("joined", Join::Average, [lstm, gru]);
            g.output("y", joined);
            g.output("last", gru.last_output());
        })
        .mask(MaskKind::Lengths),
        graph("both ways with lengths into a sum, int8", |g| {
            let x = g.sequence("x", 9);
            let a = g.add("a", Lstm::new(9, 17).bidirectional(), x);
            let b = g.add("b", Gru::new(9, 17).bidirectional().padding(Padding::Held), x);
            let sum = g.add("sum", Join::Add, [a, b]);
            let head = g.add("head", Gru::new(34, 16), sum);
            g.output("sum", sum);
            g.output("head", head);
        })
        .mask(MaskKind::Lengths)
        .precision(Precision::I8),
        graph("all that a stack gives meets again", |g| {
            let x = g.sequence("x", 5);
            let lstm = g.add("lstm", Lstm::new(5, 17).num_layers(2).bidirectional(), x);
            let all = g.add("all", Join::Average, [lstm.y(), lstm.final_hidden(), lstm.last_output()]);
            let second = g.add("second", Lstm::new(34, 17).num_layers(2).bidirectional(), all);
            g.begin(second, State::Hidden, lstm.hidden());
            g.begin(second, State::Cell, lstm.cell());
            g.output("all", all);
            g.output("second", second);
            g.output("last", lstm.last_output());
        }),
    ]
}
