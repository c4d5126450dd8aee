//! Drafts a description of a model from the names and shapes of its tensors.
//!
//! `groups` finds the possible layers under each prefix, and `order` puts the layers in order by their sizes. Facts
//! that no tensor shows are assumed, and each assumption is a note. Knows names and shapes; reads no element.

mod groups;
mod order;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::description;
use crate::error::{Error, ErrorKind, Result, some_of};
use crate::model::{Embedding, LayerKind, Linear, Model, Recurrent, Select};
use crate::weights::Tensors;
use crate::weights::spelling::spelled;

use groups::Part;

/// A description that was drafted from the names and shapes of tensors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Draft {
    /// The model that fits the tensors.
    pub model: Model,
    /// Its description: JSON, with one layer on each line.
    pub json: String,
    /// The assumptions of the draft about facts that no tensor shows, one sentence each.
    pub notes: Vec<String>,
    /// The layer of the model, counted from 0, that each tensor belongs to.
    pub placed: BTreeMap<String, usize>,
    /// The tensors that belong to no layer of the draft.
    pub unplaced: Vec<Unplaced>,
}

/// A tensor that belongs to no layer of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unplaced {
    /// The tensor's name.
    pub name: String,
    /// The reason.
    pub why: String,
}

/// Drafts a description of the model whose weights are `tensors`, with the names of a PyTorch `state_dict`.
///
/// A prefix with `weight_ih_l0` is a recurrent stack; `weight_ih` is that of an `nn.LSTMCell` or another cell. A
/// prefix with `weight` and `bias` is an `nn.Linear`. One with only a `weight` is an `nn.Embedding` or an `nn.Linear`
/// without a bias. The layers are put in the order in which each takes as many features as the one before it gives.
///
/// Some facts are not in the tensors: functions without parameters, the order of the axes, which steps go
/// on. They are assumed and listed in the [`notes`](Draft::notes): read those before you trust the draft.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`] if no tensor belongs to a known layer.
///
/// # Example
///
/// ```
/// use gatewave::formats;
/// use gatewave::weights::{Tensor, Tensors};
///
/// let mut tensors = Tensors::new();
/// for (name, shape) in [
///     ("lstm.weight_ih_l0", vec![32, 5]),
///     ("lstm.weight_hh_l0", vec![32, 8]),
///     ("head.weight", vec![2, 8]),
///     ("head.bias", vec![2]),
/// ] {
///     let elements = vec![0.0; shape.iter().product()];
///     tensors.insert(name, Tensor::new(shape, elements));
/// }
/// let draft = formats::describe(&tensors)?;
/// assert!(draft.json.contains(r#""input_size":5,"hidden_size":8"#));
/// assert!(draft.notes.iter().any(|note| note.contains("final_hidden")));
/// # Ok::<(), gatewave::Error>(())
/// ```
pub fn describe(tensors: &Tensors) -> Result<Draft> {
    let (parts, mut reasons) = groups::parts(tensors);
    let found = order::orders(&parts);
    if found.best.is_empty() {
        let names: Vec<_> = tensors.names().collect();
        let text = match names.len() {
            0 => "expected the tensors of a recurrent network, got none".to_owned(),
            _ => format!(
                "expected tensors that PyTorch's layers have (NAME.weight_ih_l0, NAME.weight), got {}",
                some_of(names.iter(), 4)
            ),
        };
        return Err(Error::new(ErrorKind::Weights, text));
    }
    let mut notes = vec![
        "batch_first: tensors do not tell the order of the axes; true is assumed: inputs are [batch, steps, features]"
            .to_owned(),
    ];
    let (mut model, mut tokens) = (Model::new(), None);
    let mut after_stack = false;
    for (at, &(part, reading)) in found.best.iter().enumerate() {
        let Part { prefix, readings } = &parts[part];
        let kind = &readings[reading];
        notes.extend(note_of(prefix, kind, readings.len() > 1));
        match kind {
            LayerKind::Embedding(table) => tokens = Some(table.num_embeddings),
            LayerKind::Linear(linear) if after_stack => {
                let is_last = at + 1 == found.best.len();
                notes.push(head_note(prefix, linear, tokens.filter(|_| is_last)));
                if !(is_last && tokens == Some(linear.out_features)) {
                    model = model.layer(Select::FinalHidden);
                }
            }
            _ => {}
        }
        after_stack = matches!(kind, LayerKind::Recurrent(_));
        model = model.named_layer(prefix.as_str(), kind.clone());
    }
    model.check()?;
    notes.extend(found.other.map(|other| {
        let names: Vec<_> = other.iter().map(|&(part, _)| called(&parts[part].prefix)).collect();
        format!("layers: another order fits the sizes as well: {}", names.join(", "))
    }));
    for (index, part) in parts.iter().enumerate() {
        if found.best.iter().all(|&(placed, _)| placed != index) {
            reasons.insert(part.prefix.clone(), part.unfit());
        }
    }
    let placed = places(&model, tensors)?;
    let unplaced = unplaced(tensors, &placed, &reasons);
    Ok(Draft { json: description::to_json_by_lines(&model), model, notes, placed, unplaced })
}

/// Finds the layer of `model`, counted from 0, that each of `tensors`
/// belongs to. A tensor that layers share belongs to the last of them.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`] if a layer has both the tensors of a cell and those of a stack.
pub fn places(model: &Model, tensors: &Tensors) -> Result<BTreeMap<String, usize>> {
    let mut placed = BTreeMap::new();
    for (index, layer) in model.layers.iter().enumerate() {
        let names = spelled(layer, tensors)?.map(|(_, name)| (name, index));
        placed.extend(names.filter(|(name, _)| tensors.contains(name)));
    }
    Ok(placed)
}

/// Returns the tensors that are not in `placed`. `reasons` has the reason for each prefix.
fn unplaced(tensors: &Tensors, placed: &BTreeMap<String, usize>, reasons: &HashMap<String, String>) -> Vec<Unplaced> {
    let names = tensors.names().filter(|name| !placed.contains_key(*name));
    let unplaced = names.map(|name| {
        let (prefix, _) = groups::split(name);
        let why = reasons.get(prefix).cloned();
        Unplaced { name: name.to_owned(), why: why.unwrap_or_else(|| "the layer has no tensor of that name".into()) }
    });
    unplaced.collect()
}

/// Returns notes on the facts of a layer that its tensors do not show.
fn note_of(prefix: &str, kind: &LayerKind, is_ambiguous: bool) -> Vec<String> {
    let name = called(prefix);
    let mut notes = Vec::new();
    match kind {
        LayerKind::Recurrent(stack) => notes.extend(note_of_stack(&name, stack)),
        LayerKind::Embedding(Embedding { .. }) => {
            notes.push(format!(
                "{name}: padding_idx is not in the tensors; none is assumed, and only training needs it"
            ));
        }
        LayerKind::Linear(_) => notes.push(format!(
            "{name}: activation: a function behind it (sigmoid, relu, softmax) has no tensors; none is assumed"
        )),
        _ => notes.extend(of_shape(&name, kind.name())),
    }
    if is_ambiguous {
        let (kind, other) = match kind {
            LayerKind::Embedding(_) => ("an embedding", "a linear layer without a bias"),
            _ => ("a linear layer without a bias", "an embedding"),
        };
        notes.push(format!("{name}: a lone matrix is {kind} or {other}; by its place it is {kind}"));
    }
    notes
}

/// Returns a note on the options of a layer that was guessed by its shapes.
fn of_shape(name: &str, kind: &str) -> Option<String> {
    let text = match kind {
        "conv1d" => "stride, dilation and padding are not in the tensors; 1, 1 and none are assumed",
        "batch_norm" | "layer_norm" | "rms_norm" => "eps is not in the tensors; the usual one is assumed",
        _ => return None,
    };
    Some(format!("{name}: {text}"))
}

fn note_of_stack(name: &str, stack: &Recurrent) -> Vec<String> {
    let mut notes = Vec::new();
    if stack.cell.function_count() == 1 {
        let text = "nonlinearity: tensors do not tell tanh from relu; tanh is assumed";
        notes.push(format!("{name}: {text}"));
    }
    if stack.directions() == 1 && stack.direction != crate::model::Direction::Forward {
        let text = "direction: reverse and backwards have the same tensors; reverse is assumed";
        notes.push(format!("{name}: {text}"));
    }
    notes
}

/// Returns a note on the steps that a linear layer after a stack takes. They are a guess, since both would fit.
fn head_note(prefix: &str, linear: &Linear, tokens: Option<usize>) -> String {
    let name = called(prefix);
    if tokens == Some(linear.out_features) {
        format!("{name}: as many outputs as tokens: it is assumed to take every step; else put {SELECT} before it")
    } else {
        format!(
            "{name}: tensors do not tell whether it takes each step or the last; {SELECT} is assumed (or \
             last_step, last_output); leave it out for every step"
        )
    }
}

/// The layer that takes only the last step.
const SELECT: &str = r#"{"type": "select", "what": "final_hidden"}"#;

/// Returns a prefix for messages.
fn called(prefix: &str) -> String {
    match prefix.trim_end_matches('.') {
        "" => "the layer without a prefix".into(),
        name => name.to_owned(),
    }
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)
    }
}
