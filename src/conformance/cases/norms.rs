//! The table's cases of layers that normalise: of steps and of rows, alone, behind both ways, and between layers that
//! share or cut their features.

use super::whole;
use crate::cell::Activation;
use crate::conformance::{Case, MaskKind};
use crate::model::{
    BatchNorm, Bias, Gru, Join, L2Norm, LayerKind, LayerNorm, Linear, Lstm, Model, PRelu, RmsNorm, Rnn, Select,
};
use crate::precision::Precision;

/// Every case, in a stable order.
pub(super) fn norms() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, norm) in each(17) {
        let model = Model::new().layer(Gru::new(5, 17)).layer(norm).layer(Linear::new(17, 3));
        cases.push(whole(format!("{name} over time"), model, 7, 3).mask(MaskKind::Lengths));
    }
    for (name, norm) in each(34) {
        let model = Model::new().layer(Lstm::new(5, 17).bidirectional()).layer(norm).layer(Rnn::new(34, 16));
        cases.push(whole(format!("{name} between stacks, of both ways"), model, 5, 3).mask(MaskKind::Holes));
    }
    for (name, norm) in each(64) {
        let model = Model::new().layer(Lstm::new(5, 32).bidirectional()).layer(Select::LastStep).layer(norm);
        cases.push(whole(format!("{name} after the last step"), model, 7, 3).precision(Precision::F16));
    }
    for (name, norm) in each(130) {
        let model = Model::new().layer(norm).layer(Gru::new(130, 18));
        cases.push(whole(format!("{name} of the input"), model, 7, 3).precision(Precision::I8));
    }
    cases.push(residual());
    cases.push(shared());
    cases.push(bare());
    cases.extend(folded());
    cases
}

/// Every layer that normalises `n` features.
fn each(n: usize) -> Vec<(&'static str, LayerKind)> {
    vec![
        ("batch norm", BatchNorm::new(n).frozen().into()),
        ("constants", BatchNorm::new(n).eps(0.0).scale(false).bias(false).frozen().into()),
        ("layer norm", LayerNorm::new(n).into()),
        ("rms norm", RmsNorm::new(n).into()),
        ("l2 norm", L2Norm::new(n).into()),
        ("prelu", PRelu::new(n).into()),
        ("prelu of one slope", PRelu::new(n).shared().into()),
    ]
}

/// A block with a residual: its value is taken twice, so that gradients are added.
fn residual() -> Case {
    let mut graph = Model::graph();
    let g = &mut graph;
    let x = g.sequence("x", 17);
    let norm = g.add("norm", LayerNorm::new(17).eps(1e-3), x);
    let lstm = g.add("lstm", Lstm::new(17, 17), norm);
    let sum = g.add("sum", Join::Add, [x, lstm.y()]);
    let second = g.add("second", RmsNorm::new(17), sum);
    let prelu = g.add("prelu", PRelu::new(17), sum);
    let all = g.add("all", Join::Concat, [second.y(), prelu.y(), sum.y()]);
    g.add("head", Linear::new(51, 4).activation(Activation::Tanh), all);
    whole("norms around a residual", graph.finish().expect("the model of a case is right"), 7, 3).mask(MaskKind::Holes)
}

/// One layer of norms called twice, of steps and of a row.
fn shared() -> Case {
    let mut graph = Model::graph();
    let g = &mut graph;
    let x = g.sequence("x", 5);
    let gru = g.add("gru", Gru::new(5, 17).bidirectional(), x);
    let steps = g.add_with_weights("steps", "norm.", LayerNorm::new(34), gru);
    let row = g.add_with_weights("row", "norm.", LayerNorm::new(34), gru.final_hidden());
    let slopes = g.add_with_weights("slopes", "slopes.", PRelu::new(34).shared(), steps);
    let slope = g.add_with_weights("slope", "slopes.", PRelu::new(34).shared(), row);
    let product = g.add("product", Join::Multiply, [slopes.y(), slope.y()]);
    g.output("product", product);
    g.output("row", row);
    whole("norms called twice", graph.finish().expect("the model of a case is right"), 7, 3).mask(MaskKind::Lengths)
}

/// Batch norms around products, which compute them: before a product, behind one, and between two.
fn folded() -> [Case; 2] {
    let norm = |n| BatchNorm::new(n).frozen();
    let chain = Model::new()
        .layer(norm(5))
        .layer(Linear::new(5, 17).no_bias())
        .layer(norm(17))
        .layer(Gru::new(17, 16).bidirectional().bias(Bias::None))
        .layer(norm(32))
        .layer(Lstm::new(32, 17))
        .layer(Linear::new(17, 6))
        .layer(norm(6));
    let mut graph = Model::graph();
    let g = &mut graph;
    let x = g.sequence("x", 6);
    let norm_of_x = g.add("norm_of_x", norm(6), x);
    let lstm = g.add("lstm", Lstm::new(6, 17).bidirectional().num_layers(2), norm_of_x);
    let mix = g.add("mix", Linear::new(6, 34), norm_of_x);
    let sum = g.add("sum", Join::Add, [lstm, mix]);
    // Two take it, and one of them is no product.
    let norm_of_sum = g.add("norm_of_sum", norm(34), sum);
    let head = g.add("head", Linear::new(34, 4), norm_of_sum);
    g.output("head", head);
    g.output("sum", norm_of_sum);
    let graph = graph.finish().expect("the model of a case is right");
    [("batch norms between products", chain), ("batch norms of values that are taken twice", graph)]
        .map(|(name, model)| whole(name, model, 7, 3).mask(MaskKind::Lengths))
}

/// Layers without weight or bias.
fn bare() -> Case {
    let model = Model::new()
        .layer(LayerNorm::new(5).bias(false))
        .layer(Gru::new(5, 17))
        .layer(LayerNorm::new(17).scale(false))
        .layer(RmsNorm::new(17).scale(false))
        .layer(LayerNorm::new(17).scale(false).bias(false))
        .layer(BatchNorm::new(17).scale(false).frozen())
        .layer(BatchNorm::new(17).bias(false).frozen());
    whole("norms without weight or bias", model, 7, 3)
}
