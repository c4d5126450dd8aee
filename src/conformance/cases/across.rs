//! The table's cases of layers between steps and rows: pools, windows, rows that are repeated, and numbers in another
//! shape.
//!
//! All have five steps of three rows. Parts of unequal sizes cross a tile's edge, and masks have holes.

use super::graphs::graph;
use crate::cell::Activation;
use crate::conformance::{Case, InitialStates, MaskKind};
use crate::model::{
    Embedding, Flatten, GlobalPool, Gru, Join, Linear, Lstm, PadMode, PadSteps, Padding, Permute, PoolPadding, Reduce,
    Repeat, Reshape, Rnn, SliceSteps, WindowPool,
};

/// Every case of such a layer, in a stable order.
pub(super) fn across() -> Vec<Case> {
    let mut cases = pools();
    cases.extend(windows());
    cases.extend(shapes());
    cases
}

/// Pools of stacks, of inputs, and of values that are equally large.
fn pools() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (word, reduce) in Reduce::WORDS {
        cases.push(graph(&format!("the {word} of all steps, both ways"), |g| {
            let x = g.sequence("x", 6);
            let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional(), x);
            let pool = g.add("pool", GlobalPool::new(reduce), lstm);
            g.add("head", Linear::new(34, 3), pool);
        }));
        cases.push(graph(&format!("the {word} of held and of dead steps, beside the steps"), |g| {
            let x = g.sequence("x", 18);
            let gru = g.add("gru", Gru::new(18, 18).padding(Padding::Held), x);
            let pool = g.add("pool", GlobalPool::new(reduce).all_steps(), gru);
            let live = g.add("live", GlobalPool::new(reduce), x);
            let beside = g.add("beside", Join::Multiply, [gru.y(), live.y()]);
            g.output("y", beside);
            g.output("pool", pool);
        }));
    }
    cases.push(graph("the largest and the mean of what a relu cuts off", |g| {
        let ids = g.tokens("ids", 9);
        let vectors = g.add("vectors", Embedding::new(9, 8).mask_token(1), ids);
        let rnn = g.add("rnn", Rnn::new(8, 16), vectors);
        let cut = g.add("cut", Linear::new(16, 20).activation(Activation::Relu), rnn);
        let largest = g.add("largest", GlobalPool::new(Reduce::Max), cut);
        let mean = g.add("mean", GlobalPool::new(Reduce::Mean), cut);
        let both = g.add("both", Join::Concat, [largest, mean]);
        g.add("head", Linear::new(40, 4).activation(Activation::Softmax), both);
    }));
    cases.push(
        graph("a mean of steps in lengths", |g| {
            let x = g.sequence("x", 7);
            let lstm = g.add("lstm", Lstm::new(7, 20).num_layers(2), x);
            g.add("mean", GlobalPool::new(Reduce::Mean), lstm);
        })
        .mask(MaskKind::Lengths),
    );
    cases
}

/// Pools of windows, and every n-th step.
fn windows() -> Vec<Case> {
    let around = |before, after| PoolPadding::Around { before, after };
    vec![
        graph("the largest of padded windows, between two stacks", |g| {
            let x = g.sequence("x", 6);
            let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional(), x);
            let pool = g.add("pool", WindowPool::new(Reduce::Max, 3).stride(2).padding(around(1, 1)), lstm);
            g.add("upper", Gru::new(34, 18), pool);
        })
        .mask(MaskKind::Lengths),
        graph("means of windows, padded to be as many as strides, and up to the last step", |g| {
            let x = g.sequence("x", 18);
            let gru = g.add("gru", Gru::new(18, 18).padding(Padding::Held), x);
            let same = WindowPool::new(Reduce::Mean, 4).stride(2).padding(PoolPadding::Same);
            let same = g.add("same", same, gru);
            let padded = WindowPool::new(Reduce::Mean, 3).stride(2).padding(around(1, 0)).ceil().counts_padding();
            let padded = g.add("padded", padded, x);
            g.add("sum", Join::Add, [same, padded]);
        })
        .mask(MaskKind::All),
        graph("means of the windows that each row has alone", |g| {
            let x = g.sequence("x", 18);
            let gru = g.add("gru", Gru::new(18, 18), x);
            let same = WindowPool::new(Reduce::Mean, 4).stride(2).padding(PoolPadding::Same);
            let same = g.add("same", same, gru);
            let padded = g.add("padded", WindowPool::new(Reduce::Mean, 3).stride(2).padding(around(1, 0)).ceil(), x);
            let sum = g.add("sum", Join::Add, [same, padded]);
            let counted = WindowPool::new(Reduce::Mean, 2).stride(1).padding(around(1, 0)).counts_padding();
            let counted = g.add("counted", counted, sum);
            g.add("upper", Gru::new(18, 17), counted);
        })
        .mask(MaskKind::Lengths),
        graph("windows and steps of a sequence whose dead ones become live", |g| {
            let x = g.sequence("x", 18);
            let gru = g.add("gru", Gru::new(18, 18).padding(Padding::Held), x);
            let mean = g.add("mean", WindowPool::new(Reduce::Mean, 2).all_steps(), gru);
            let second = g.add("second", SliceSteps::from(1).every(2).all_steps(), x);
            let sum = g.add("sum", Join::Add, [mean, second]);
            g.add("upper", Gru::new(18, 17), sum);
        }),
        graph("the smallest and the sum of windows with gaps, which overlap", |g| {
            let x = g.sequence("x", 18);
            let gru = g.add("gru", Gru::new(18, 18), x);
            let smallest = g.add("smallest", WindowPool::new(Reduce::Min, 2).stride(1).dilation(2), gru);
            let sum = g.add("sum", WindowPool::new(Reduce::Sum, 3).stride(1), gru);
            let both = g.add("both", Join::Concat, [smallest, sum]);
            g.add("head", Linear::new(36, 3), both);
        }),
        graph("windows of what a relu cuts off, beside the steps", |g| {
            let ids = g.tokens("ids", 9);
            let vectors = g.add("vectors", Embedding::new(9, 8).mask_token(1), ids);
            let rnn = g.add("rnn", Rnn::new(8, 16), vectors);
            let cut = g.add("cut", Linear::new(16, 20).activation(Activation::Relu), rnn);
            let pool = WindowPool::new(Reduce::Max, 3).stride(1).padding(PoolPadding::SameStart);
            let pool = g.add("pool", pool, cut);
            g.add("product", Join::Multiply, [pool, cut]);
        }),
        graph("every second step of a stack, and every third from the second on", |g| {
            let x = g.sequence("x", 6);
            let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional(), x);
            let second = g.add("second", SliceSteps::from(0).every(2), lstm);
            let third = g.add("third", SliceSteps::from(1).every(3), x);
            let upper = g.add("upper", Gru::new(34, 18), second);
            g.output("y", upper);
            g.output("third", third);
        }),
    ]
}

/// Repeated rows, and numbers in another shape.
fn shapes() -> Vec<Case> {
    vec![
        graph("a row repeated for another stack", |g| {
            let x = g.sequence("x", 6);
            let code = g.add("code", Lstm::new(6, 17).bidirectional(), x);
            let steps = g.add("steps", Repeat::new(7), code.final_hidden());
            let back = g.add("back", Gru::new(34, 18).bidirectional(), steps);
            g.add("head", Linear::new(36, 6), back);
        }),
        graph("a repeated row meets the steps of an input", |g| {
            let x = g.sequence("x", 6);
            let facts = g.row("facts", 17);
            let steps = g.add("steps", Repeat::new(5), facts);
            let joined = g.add("joined", Join::Concat, [x, steps.y()]);
            let lstm = g.add("lstm", Lstm::new(23, 16), joined);
            g.output("y", lstm);
            g.output("steps", steps);
        }),
        graph("all steps side by side", |g| {
            let x = g.sequence("x", 6);
            let gru = g.add("gru", Gru::new(6, 17).bidirectional(), x);
            let flat = g.add("flat", Flatten::new(5), gru);
            g.add("head", Linear::new(170, 4).activation(Activation::Tanh), flat);
        }),
        graph("steps cut in two, and put together in threes", |g| {
            let x = g.sequence("x", 18);
            let halves = g.add("halves", Reshape::new(10, 9), x);
            let lstm = g.add("lstm", Lstm::new(9, 9).bidirectional(), halves);
            let threes = g.add("threes", Reshape::new(6, 30), lstm);
            let upper = g.add("upper", Rnn::new(30, 17), threes);
            g.output("y", upper);
            g.output("halves", halves);
        }),
        graph("steps and features swapped, twice", |g| {
            let x = g.sequence("x", 18);
            let turned = g.add("turned", Permute::new(5, 18), x);
            let gru = g.add("gru", Gru::new(5, 17), turned);
            let back = g.add("back", Permute::new(18, 17), gru);
            let sum = g.add("sum", Linear::new(18, 3), back);
            g.output("y", sum);
            g.output("steps", gru);
        }),
        graph("a row as steps, without any other input", |g| {
            let x = g.row("x", 36);
            let steps = g.add("steps", Reshape::new(4, 9), x);
            let lstm = g.add("lstm", Lstm::new(9, 17).bidirectional(), steps);
            let pool = g.add("pool", GlobalPool::new(Reduce::Max), lstm);
            g.add("head", Linear::new(34, 2), pool);
        })
        .mask(MaskKind::All)
        .states(InitialStates::Given),
    ]
}

/// Steps of a sequence around it.
pub(super) fn padded() -> Vec<Case> {
    vec![graph("steps that are mirrored, repeated and taken from the other end, around a stack", |g| {
        let x = g.sequence("x", 6);
        let mirrored = g.add("mirrored", PadSteps::new(PadMode::Reflect, 2, 1), x);
        let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional(), mirrored);
        let held = g.add("held", PadSteps::new(PadMode::Replicate, 3, 2), lstm);
        let turned = g.add("turned", PadSteps::new(PadMode::Circular, 3, 5), x);
        g.output("held", held);
        g.output("turned", turned);
    })]
}
