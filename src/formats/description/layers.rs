//! The layers of a description, except the recurrent ones: a JSON object → `Layer`, and back.

use serde_json::Value;

use super::across;
use super::edges::Edges;
use super::norms;
use super::numbers::{share, told};
use super::ordered::Json;
use super::recurrent;
use super::words::{function_json, function_of, word};
use crate::cell::{Activation, Constant};
use crate::error::Result;
use crate::formats::infer::{Under, agree};
use crate::formats::keys::{Keys, wrong};
use crate::model::{
    ACTIVATION, Bias, Dropout, DropoutUnit, Embedding, Join, Layer, LayerKind, Linear, Masking, OneHot, Select, Slice,
    SliceSteps,
};
use crate::weights::Tensors;
use crate::weights::dialect::WEIGHT;

/// The default rate of PyTorch's `nn.Dropout`.
const USUAL_DROPOUT: f32 = 0.5;

/// Reads the layer that `value` describes, the prefix of its tensors,
/// and its edges. Sizes that are left out are inferred from `tensors`.
pub(super) fn read(value: Value, tensors: &Tensors) -> Result<(LayerKind, String, Edges)> {
    let mut keys = Keys::of(value)?;
    let name = keys.needed_word("type", &LayerKind::NAMES.iter().map(|&name| (name, name)).collect::<Vec<_>>())?;
    let prefix = keys.text("weights")?.unwrap_or_default();
    let edges = Edges::take(&mut keys, ["rnn", "lstm", "gru"].contains(&name))?;
    let under = Under { tensors, prefix: &prefix };
    let join = Join::WORDS.into_iter().find(|(word, _)| *word == name);
    let kind = match name {
        "embedding" => embedding(keys, &under)?,
        "one_hot" => one_hot(keys)?,
        "masking" => masking(keys)?,
        "select" => select(keys)?,
        "linear" => linear(keys, &under)?,
        "activation" => activation(keys)?,
        "dropout" => dropout(keys)?,
        "slice" => slice(keys)?,
        "slice_steps" => slice_steps(keys)?,
        "batch_norm" | "layer_norm" | "rms_norm" | "l2_norm" | "prelu" => norms::read(name, keys, &under)?,
        "global_pool" | "window_pool" | "pad_steps" | "repeat" | "flatten" | "reshape" | "permute" => {
            across::read(name, keys)?
        }
        "attention" => super::attention::read(keys, &under)?,
        "conv1d" => super::conv::read(keys, &under)?,
        cell => match join {
            Some((_, join)) => keys.finish().map(|()| join.into())?,
            None => recurrent::read(cell, keys, &under)?.into(),
        },
    };
    Ok((kind, prefix, edges))
}

fn embedding(mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let [num_embeddings, embedding_dim, padding_idx, mask_token] = Embedding::KEYS;
    let (rows, columns) = (keys.size(num_embeddings)?, keys.size(embedding_dim)?);
    let (padding_idx, mask_token) = (keys.size(padding_idx)?, keys.size(mask_token)?);
    keys.finish()?;
    let (seen_rows, seen_columns) = under.matrix(WEIGHT)?.map(|[rows, columns]| (rows, columns)).unzip();
    let size = |key, said, seen| agree(key, said, seen, usize::clone)?.ok_or_else(|| under.untold_by_weight(key));
    Ok(LayerKind::Embedding(Embedding {
        num_embeddings: size(num_embeddings, rows, seen_rows)?,
        embedding_dim: size(embedding_dim, columns, seen_columns)?,
        padding_idx,
        mask_token,
    }))
}

fn one_hot(mut keys: Keys) -> Result<LayerKind> {
    let [num_classes] = OneHot::KEYS;
    let num_classes = told(keys.size(num_classes)?, num_classes)?;
    keys.finish()?;
    Ok(LayerKind::OneHot(OneHot { num_classes }))
}

fn masking(mut keys: Keys) -> Result<LayerKind> {
    let [features, value] = Masking::KEYS;
    let features = told(keys.size(features)?, features)?;
    let value = keys.number(value)?.unwrap_or(Constant::new(0.0));
    keys.finish()?;
    Ok(LayerKind::Masking(Masking { features, value }))
}

fn select(mut keys: Keys) -> Result<LayerKind> {
    let [what] = Select::KEYS;
    let select = keys.needed_word(what, &Select::WORDS)?;
    keys.finish()?;
    Ok(LayerKind::Select(select))
}

fn slice(mut keys: Keys) -> Result<LayerKind> {
    let [first, count] = Slice::KEYS;
    let needed = |size: Option<usize>, key| size.ok_or_else(|| wrong(format!("{key}: expected a number, got nothing")));
    let slice = Slice { first: needed(keys.size(first)?, first)?, count: needed(keys.size(count)?, count)? };
    keys.finish()?;
    Ok(slice.into())
}

fn slice_steps(mut keys: Keys) -> Result<LayerKind> {
    let [start, end, step, all_steps] = SliceSteps::KEYS;
    let (start, end) = (keys.whole(start)?.unwrap_or(0), keys.whole(end)?);
    let step = keys.size(step)?.unwrap_or(1);
    let slice = SliceSteps { start, end, step, all_steps: keys.flag(all_steps)?.unwrap_or(false) };
    keys.finish()?;
    Ok(slice.into())
}

fn activation(mut keys: Keys) -> Result<LayerKind> {
    let activation = function_of(&mut keys, ACTIVATION)?;
    keys.finish()?;
    let activation =
        activation.ok_or_else(|| wrong(format!("{ACTIVATION}: expected the name of a function, got nothing")))?;
    Ok(LayerKind::Activation(activation))
}

fn dropout(mut keys: Keys) -> Result<LayerKind> {
    let [rate, drops] = Dropout::KEYS;
    let rate = share(&mut keys, rate)?.unwrap_or(Constant::new(USUAL_DROPOUT));
    let drops = keys.word(drops, &DropoutUnit::WORDS)?.unwrap_or_default();
    keys.finish()?;
    Ok(LayerKind::Dropout(Dropout { rate, drops }))
}

fn linear(mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let [in_features, out_features, bias, activation] = Linear::KEYS;
    let (columns, rows) = (keys.size(in_features)?, keys.size(out_features)?);
    let said_bias = keys.word(bias, &[(true, Bias::One), (false, Bias::None)])?;
    let activation = function_of(&mut keys, activation)?;
    keys.finish()?;
    let (seen_rows, seen_columns) = under.matrix(WEIGHT)?.map(|[rows, columns]| (rows, columns)).unzip();
    let seen_bias = seen_rows.is_some().then(|| under.linear_bias()).transpose()?;
    let size = |key, said, seen| agree(key, said, seen, usize::clone)?.ok_or_else(|| under.untold_by_weight(key));
    Ok(LayerKind::Linear(Linear {
        in_features: size(in_features, columns, seen_columns)?,
        out_features: size(out_features, rows, seen_rows)?,
        bias: agree(bias, said_bias, seen_bias, |&bias| bias != Bias::None)?.unwrap_or(Bias::One),
        activation: activation.unwrap_or(Activation::Linear),
    }))
}

/// Returns the JSON that [`read`] reads. The keys in `first`
/// come first; those in `last` come before the tensors' prefix.
pub(super) fn json(layer: &Layer, [first, last]: [Vec<(&'static str, Json)>; 2]) -> Json {
    let mut keys = vec![("type", Json::from(layer.kind.name()))];
    keys.extend(first);
    match &layer.kind {
        LayerKind::Embedding(e) => {
            let [num_embeddings, embedding_dim, padding_idx, mask_token] = Embedding::KEYS;
            keys.extend([
                (num_embeddings, Json::from(e.num_embeddings)),
                (embedding_dim, Json::from(e.embedding_dim)),
                (padding_idx, Json::from(e.padding_idx)),
            ]);
            keys.extend(e.mask_token.map(|token| (mask_token, Json::from(token))));
        }
        LayerKind::OneHot(o) => keys.extend(OneHot::KEYS.into_iter().zip([Json::from(o.num_classes)])),
        LayerKind::Masking(m) => {
            keys.extend(Masking::KEYS.into_iter().zip([Json::from(m.features), Json::number(m.value)]));
        }
        LayerKind::Recurrent(stack) => keys.extend(recurrent::json(stack)),
        LayerKind::Select(select) => keys.extend(Select::KEYS.into_iter().zip([word(&Select::WORDS, select)])),
        LayerKind::Linear(l) => {
            let (bias, function) = (Json::from(l.bias != Bias::None), function_json(l.activation));
            let values = [Json::from(l.in_features), Json::from(l.out_features), bias, function];
            keys.extend(Linear::KEYS.into_iter().zip(values));
        }
        LayerKind::Conv1d(conv) => keys.extend(super::conv::json(conv)),
        LayerKind::Activation(activation) => keys.push((ACTIVATION, function_json(*activation))),
        LayerKind::Join(_) => {}
        LayerKind::GlobalPool(_)
        | LayerKind::WindowPool(_)
        | LayerKind::PadSteps(_)
        | LayerKind::Repeat(_)
        | LayerKind::Flatten(_)
        | LayerKind::Reshape(_)
        | LayerKind::Permute(_) => keys.extend(across::json(&layer.kind)),
        LayerKind::Slice(slice) => keys.extend(Slice::KEYS.into_iter().zip([slice.first, slice.count].map(Json::from))),
        LayerKind::SliceSteps(slice) => {
            let [start, end, step, all_steps] = SliceSteps::KEYS;
            keys.push((start, Json::from(slice.start)));
            keys.extend(slice.end.map(|at| (end, Json::from(at))));
            keys.extend((slice.step != 1).then(|| (step, Json::from(slice.step))));
            keys.extend(slice.all_steps.then(|| (all_steps, Json::from(true))));
        }
        LayerKind::BatchNorm(_)
        | LayerKind::LayerNorm(_)
        | LayerKind::RmsNorm(_)
        | LayerKind::L2Norm(_)
        | LayerKind::PRelu(_) => keys.extend(norms::json(&layer.kind)),
        LayerKind::Attention(attention) => keys.extend(super::attention::json(attention)),
        LayerKind::Dropout(dropout) => {
            let [rate, drops] = Dropout::KEYS;
            keys.push((rate, Json::number(dropout.rate)));
            keys.extend(
                (dropout.drops != DropoutUnit::Elements).then(|| (drops, word(&DropoutUnit::WORDS, &dropout.drops))),
            );
        }
    }
    keys.extend(last);
    keys.push(("weights", Json::from(layer.prefix.as_str())));
    Json::Object(keys)
}
