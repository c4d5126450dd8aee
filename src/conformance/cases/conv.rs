//! The table's cases of convolutions: every padding, strides, dilations and groups, alone and around stacks.
//!
//! Parts of unequal sizes cross a tile's edge, and masks have holes or lengths.

use super::graphs::graph;
use super::whole;
use crate::cell::Activation;
use crate::conformance::{Case, MaskKind};
use crate::model::{Conv1d, ConvPadding, Embedding, GlobalPool, Gru, Join, Linear, Lstm, Model, Reduce, Rnn};
use crate::precision::Precision;

/// Every case of a convolution, in a stable order.
pub(super) fn conv() -> Vec<Case> {
    let mut cases = chains();
    cases.extend(blocks());
    cases
}

/// Convolutions in a chain.
fn chains() -> Vec<Case> {
    let one = |layer: Conv1d| Model::new().layer(layer);
    let of = Conv1d::new;
    use ConvPadding::{Causal, Explicit, Same};
    vec![
        whole(
            "a kernel over words",
            Model::new().layer(Embedding::new(11, 9)).layer(of(9, 20, 3)).layer(Gru::new(20, 17)),
            7,
            3,
        )
        .mask(MaskKind::Lengths),
        whole("a kernel of even size, before a stack", one(of(6, 17, 4).padding(Same)).layer(Lstm::new(17, 18)), 7, 3)
            .mask(MaskKind::Holes),
        whole(
            "a stride over both ways, with unequal padding",
            {
                let conv = of(34, 18, 4).stride(2).padding(Explicit(2, 1)).activation(Activation::Tanh);
                Model::new().layer(Lstm::new(5, 17).bidirectional()).layer(conv).layer(Gru::new(18, 16).bidirectional())
            },
            7,
            3,
        )
        .mask(MaskKind::Lengths),
        whole("a stride under same padding", one(of(5, 17, 3).stride(3).padding(Same)).layer(Rnn::new(17, 9)), 7, 3),
        whole(
            "a causal stride",
            one(of(5, 33, 3).stride(2).dilation(2).padding(Causal)).layer(GlobalPool::new(Reduce::Mean)),
            7,
            17,
        )
        .mask(MaskKind::Lengths),
        whole("a dilated kernel, of which holes are zeros", one(of(5, 17, 3).dilation(2)).layer(Gru::new(17, 9)), 9, 5)
            .mask(MaskKind::Holes),
        whole(
            "each feature of both ways by itself",
            {
                let conv = of(34, 34, 3).groups(34).padding(Same);
                Model::new().layer(Lstm::new(5, 17).bidirectional()).layer(conv).layer(Linear::new(34, 3))
            },
            7,
            3,
        )
        .mask(MaskKind::Holes),
        whole("three groups, in halves", one(of(18, 48, 2).groups(3).padding(Causal)), 7, 3).precision(Precision::F16),
        whole(
            "five groups of unequal sizes, in integers",
            one(of(10, 65, 3).groups(5).no_bias()).layer(Gru::new(65, 16)),
            7,
            3,
        )
        .precision(Precision::I8),
        whole(
            "groups that share panels, then a kernel over all",
            one(of(130, 130, 3).groups(26).padding(Same).activation(Activation::Relu)).layer(of(130, 18, 5)),
            7,
            3,
        ),
        whole(
            "one tap is a linear layer",
            one(of(17, 20, 1).activation(Activation::Relu)).layer(Gru::new(20, 17)),
            7,
            3,
        )
        .mask(MaskKind::Holes),
        whole("one tap of every second step", one(of(17, 20, 1).stride(2)).layer(Gru::new(20, 17)), 7, 3)
            .mask(MaskKind::Lengths),
        whole("more padding than steps", one(of(5, 17, 3).dilation(2).padding(Explicit(6, 5))), 2, 3),
        whole("a wide kernel in integers", one(of(65, 64, 7).padding(Causal)).layer(Lstm::new(64, 16)), 33, 3)
            .precision(Precision::I8),
        whole("shares of each step", one(of(6, 5, 3).padding(Same).activation(Activation::Softmax)), 7, 3)
            .mask(MaskKind::Lengths),
        whole(
            "a kernel over dead steps, which all become live",
            one(of(6, 17, 3).padding(Same).all_steps()).layer(Lstm::new(17, 9)),
            7,
            3,
        )
        .mask(MaskKind::Holes),
    ]
}

/// Convolutions in graphs: residuals, branches that meet, and one kernel in two places.
fn blocks() -> Vec<Case> {
    vec![
        graph("two dilated kernels around a residual", |g| {
            let x = g.sequence("x", 17);
            let first = g.add("first", Conv1d::new(17, 17, 3).padding(ConvPadding::Causal), x);
            let wide = Conv1d::new(17, 17, 2).dilation(2).padding(ConvPadding::Causal).activation(Activation::Tanh);
            let second = g.add("second", wide, first);
            let sum = g.add("sum", Join::Add, [x, second.y()]);
            let lstm = g.add("lstm", Lstm::new(17, 16), sum);
            g.output("y", lstm);
            g.output("first", first);
        }),
        Case {
            // So long that rows are left of which a step lives.
            time: 9,
            batch: 5,
            ..graph("kernels of one span side by side", |g| {
                let x = g.sequence("x", 6);
                let three = g.add("three", Conv1d::new(6, 17, 3), x);
                let apart = g.add("apart", Conv1d::new(6, 9, 2).dilation(2), x);
                let both = g.add("both", Join::Concat, [three, apart]);
                let narrow = g.add("narrow", Conv1d::new(26, 18, 2), both);
                g.add("gru", Gru::new(18, 17), narrow);
            })
        }
        .mask(MaskKind::Lengths),
        graph("one kernel in two places, over three parts", |g| {
            let x = g.sequence("x", 17);
            let gru = g.add("gru", Gru::new(17, 17), x);
            let three = g.add("three", Join::Concat, [x, gru.y(), x]);
            let conv = Conv1d::new(51, 51, 3).groups(3).padding(ConvPadding::Same);
            let first = g.add_with_weights("first", "shared.", conv.clone(), three);
            let again = g.add("again", Join::Concat, [gru.y(), x, gru.y()]);
            let second = g.add_with_weights("second", "shared.", conv, again);
            g.add("sum", Join::Add, [first, second]);
        }),
    ]
}
