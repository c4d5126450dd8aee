//! The table's cases of attention: each way to score, over steps of the query's own sequence and of another one.

use super::graphs::graph;
use crate::cell::Activation;
use crate::conformance::{Case, MaskKind};
use crate::model::{Attention, Embedding, Gru, Linear, Lstm, Masking, Rnn};
use crate::precision::Precision;

/// Every case of attention, in a stable order.
pub(super) fn attention() -> Vec<Case> {
    vec![
        graph("a sequence attends to itself", |g| {
            let x = g.sequence("x", 5);
            let lstm = g.add("lstm", Lstm::new(5, 17).bidirectional(), x);
            let sums = g.add("sums", Attention::dot(34).scale(0.25), [lstm, lstm]);
            g.add("head", Linear::new(34, 3), sums);
        }),
        Case {
            time: 33,
            ..graph("query, key and value of one sequence, causal", |g| {
                let x = g.sequence("x", 6);
                let gru = g.add("gru", Gru::new(6, 18), x);
                let query = g.add("query", Linear::new(18, 19), gru);
                let key = g.add("key", Linear::new(6, 19).activation(Activation::Sigmoid), x);
                let value = g.add("value", Linear::new(18, 33).activation(Activation::Sigmoid), gru);
                let sums = g.add("sums", Attention::scaled_dot(19).causal(true), [query, value, key]);
                g.add("rnn", Rnn::new(33, 16), sums);
            })
        },
        graph("a decoder attends to its encoder", |g| {
            let x = g.sequence("x", 5);
            let source = g.sequence("source", 4);
            let encoder = g.add("encoder", Gru::new(4, 17).bidirectional(), source);
            let decoder = g.add("decoder", Lstm::new(5, 34), x);
            let sums = g.add("sums", Attention::additive(34), [decoder, encoder]);
            g.output("sums", sums);
            g.output("decoder", decoder);
        })
        .precision(Precision::F16),
        graph("a final state asks its own steps", |g| {
            let x = g.sequence("x", 5);
            let gru = g.add("gru", Gru::new(5, 18), x);
            let query = g.add("query", Linear::new(18, 7), gru.final_hidden());
            let key = g.add("key", Linear::new(18, 7), gru);
            let sum = g.add("sum", Attention::additive(7).weight(false).scale(0.5), [query.y(), gru.y(), key.y()]);
            g.add("head", Linear::new(18, 4).activation(Activation::Softmax), sum);
        })
        .mask(MaskKind::Lengths),
        graph("steps by scores of their own", |g| {
            let x = g.sequence("x", 5);
            let lstm = g.add("lstm", Lstm::new(5, 17).bidirectional(), x);
            let hidden = g.add("hidden", Linear::new(34, 9).activation(Activation::Tanh), lstm);
            let scores = g.add("scores", Linear::new(9, 1), hidden);
            let sum = g.add("sum", Attention::given(), [scores, lstm]);
            g.add("head", Linear::new(34, 3), sum);
        })
        .precision(Precision::I8),
        graph("words that are left out have no part", |g| {
            let words = g.tokens("words", 12);
            let x = g.sequence("x", 5);
            let vectors = g.add("vectors", Embedding::new(12, 6).mask_token(2), words);
            let masked = g.add("masked", Masking::new(5, -1.0), x);
            let query = g.add("query", Rnn::new(5, 6), masked);
            let sums = g.add("sums", Attention::scaled_dot(6), [query, vectors]);
            g.add("gru", Gru::new(6, 16), sums);
        })
        .mask(MaskKind::Own)
        .batch(6),
    ]
}
