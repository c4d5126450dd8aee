//! Which vectors of tokens are folded into the input products that take them.

use super::Vectors;
use super::tune::{FOLD_BYTES, FOLD_PRODUCTS};
use crate::kernel::padded;
use crate::model::{Consumers, LayerKind, Model, Pin, Value};

/// Finds the vectors of tokens that recurrent layer `layer` takes, and how many there are. Its input product is then a
/// table. Unit vectors are always folded, an embedding if folding it costs little.
///
/// A row of the table is as wide as all gates, while a row of the embedding is not. So the table takes more memory, and
/// making it costs as much as V rows of a call. After that, each call saves the product of all its rows.
pub fn vectors(model: &Model, layer: usize) -> Option<(Vectors, usize)> {
    let of = model.layers.get(layer)?;
    let LayerKind::Recurrent(r) = &of.kind else { return None };
    let Value::Layer(before, Pin::Output) = model.origin(*of.from.first()?) else { return None };
    match &model.layers[before].kind {
        LayerKind::OneHot(_) => Some((Vectors::Unit, r.input_size)),
        LayerKind::Embedding(e) => {
            let (rows, width) = (e.num_embeddings, r.directions() * r.cell.gates() * padded(r.hidden_size));
            let product = |axes: &[usize]| axes.iter().fold(1, |elems: u64, &n| elems.saturating_mul(n as u64));
            let folds = product(&[4, rows, width.max(e.embedding_dim)]) <= FOLD_BYTES
                && product(&[rows, width, e.embedding_dim]) <= FOLD_PRODUCTS;
            folds.then_some((Vectors::Embedded { embedding: before }, rows))
        }
        _ => None,
    }
}

/// Whether all consumers of layer `layer` are recurrent layers that have a table of its
/// vectors. Then nothing of the layer is left to compute.
pub fn is_folded(model: &Model, layer: usize) -> bool {
    if !matches!(model.layers[layer].kind, LayerKind::OneHot(_) | LayerKind::Embedding(_)) {
        return false;
    }
    let consumers = Consumers::of(model).of_steps(layer);
    !consumers.is_empty()
        && consumers.iter().all(|consumer| consumer.is_some_and(|consumer| vectors(model, consumer).is_some()))
}
