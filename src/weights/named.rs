//! Named tensors → `Weights` and back, checked against the tables of parameters of a model's layers.
//!
//! The only place where the shape of every tensor is checked. Knows models and names; knows no file format.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;

use ndarray::{Array1, Array2, Array3};

use super::dialect::from_onnx;
use super::spelling::spelled;
use super::tensor::Tensor;
use super::tensors::{Entry, Tensors, non_finite_warning};
use super::{CellWeights, LayerWeights, LearnedStates, NormWeights, Weights};
use crate::cell::Cell;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    BIAS, INITIAL_CELL, INITIAL_HIDDEN, InputPort, InputValue, Layer, LayerKind, Model, Param, Part, WEIGHT, Way,
    cell_tensor,
};

impl Weights {
    /// Makes the weights of `model` from tensors with PyTorch's names. Warns about elements that are NaN or infinite,
    /// and about tensors that no layer uses.
    ///
    /// A tensor that two layers name is used by both.
    ///
    /// # Errors
    ///
    /// Returns an error of kind
    ///
    /// - [`ErrorKind::Model`] if the layers do not fit each other;
    /// - [`ErrorKind::Weights`] if a tensor is missing, has another shape than the model's
    ///   sizes need, or has an unsupported type.
    pub fn from_tensors(model: &Model, mut tensors: Tensors) -> Result<Self> {
        check(model, &tensors)?;
        warn_of_unused(model, &tensors);
        Self::taken(model, &mut tensors, true)
    }

    /// [`from_tensors`](Self::from_tensors) without warnings, for what is not weights but
    /// has their form, such as gradients.
    ///
    /// # Errors
    ///
    /// As [`from_tensors`](Self::from_tensors).
    pub(crate) fn of_tensors(model: &Model, mut tensors: Tensors) -> Result<Self> {
        check(model, &tensors)?;
        Self::taken(model, &mut tensors, false)
    }

    /// Takes the weights from tensors that have been checked.
    fn taken(model: &Model, tensors: &mut Tensors, warns: bool) -> Result<Self> {
        let tables: Vec<Vec<_>> = model.layers.iter().map(|layer| table(layer, tensors).collect()).collect();
        let mut uses: HashMap<String, usize> = HashMap::new();
        for (_, name) in tables.iter().flatten() {
            *uses.entry(name.clone()).or_default() += 1;
        }
        let (mut layers, mut initial) = (Vec::with_capacity(model.layers.len()), BTreeMap::new());
        let (mut stacks, mut integers) = (0, None);
        for ((index, layer), table) in model.layers.iter().enumerate().zip(tables) {
            let own = table.into_iter().map(|(Param { name: local, .. }, name)| {
                let uses = uses.get_mut(&name).expect("every needed name was counted");
                *uses -= 1;
                let tensor = if *uses > 0 { tensors.get(&name).cloned() } else { take(tensors, &name) };
                let tensor = tensor.expect("every needed tensor was checked");
                if tensor.is_of_integers() {
                    integers.get_or_insert_with(|| name.clone());
                }
                let parts = tensor.into_parts();
                let (shape, elements) = parts.map_err(|e| model.at_layer(index, e.at_tensor(&name)))?;
                let bad = elements.iter().filter(|x| !x.is_finite()).count();
                if let Some(warning) = non_finite_warning(&name, bad, elements.len()).filter(|_| warns && *uses == 0) {
                    log::warn!("{warning}");
                }
                Ok((local, (shape, elements)))
            });
            let mut own = own.collect::<Result<Own>>()?;
            layers.push(assemble(&layer.kind, &mut own));
            if let LayerKind::Recurrent(_) = layer.kind {
                let h = own.remove(INITIAL_HIDDEN).map(matrix);
                initial.extend(h.map(|h| (stacks, LearnedStates { h, c: own.remove(INITIAL_CELL).map(matrix) })));
                stacks += 1;
            }
        }
        Ok(Self { layers, initial, integers })
    }

    /// Returns the tensors of these weights, with PyTorch's names.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Weights`] if the weights do
    /// not belong to `model`, or of kind [`ErrorKind::Model`] if two
    /// layers give one name to different tensors.
    pub fn to_tensors(&self, model: &Model) -> Result<Tensors> {
        if self.layers.len() != model.layers.len() {
            let (wanted, got) = (model.layers.len(), self.layers.len());
            return Err(Error::new(ErrorKind::Weights, format!("expected weights of {wanted} layers, got {got}")));
        }
        let mut tensors = Tensors::new();
        let mut stacks = 0;
        for (index, (layer, weights)) in model.layers.iter().zip(&self.layers).enumerate() {
            let wrong = |name: &str, error: Error| Err(model.at_layer(index, error.of_tensor(name)));
            let mut arrays = weights.arrays();
            if let LayerKind::Recurrent(_) = layer.kind {
                arrays.extend(self.initial.get(&stacks).into_iter().flat_map(LearnedStates::arrays));
                stacks += 1;
            }
            let count = layer.kind.tensors().count();
            if count != arrays.len() {
                let message = format!("expected {count} tensors, got {}", arrays.len());
                return Err(model.at_layer(index, Error::new(ErrorKind::Weights, message)));
            }
            for (Param { name: local, shape, .. }, tensor) in layer.kind.tensors().zip(arrays) {
                let name = layer.prefix.clone() + &local;
                if shape != tensor.shape() {
                    return wrong(&name, misshapen(&layer.kind, &name, &shape, tensor.shape()));
                }
                if tensors.get(&name).is_some_and(|other| !same_bits(other, &tensor)) {
                    let message =
                        format!("{name}: another layer has a tensor of that name; give each its own \"weights\"");
                    return wrong(&name, Error::new(ErrorKind::Model, message));
                }
                tensors.insert(name, tensor);
            }
        }
        Ok(tensors)
    }
}

impl LearnedStates {
    pub(super) fn arrays(&self) -> impl Iterator<Item = Tensor> {
        let tensor = |w: &Array2<f32>| Tensor::new(w.shape(), w.iter().copied().collect());
        [Some(&self.h), self.c.as_ref()].into_iter().flatten().map(tensor)
    }
}

impl LayerWeights {
    /// Returns the arrays as tensors, in the order of the layer's table.
    pub(super) fn arrays(&self) -> Vec<Tensor> {
        let matrix = |w: &Array2<f32>| Tensor::new(w.shape(), w.iter().copied().collect());
        let vector = |b: &Array1<f32>| Tensor::new([b.len()], b.to_vec());
        match self {
            Self::None => Vec::new(),
            Self::Embedding(table) => vec![matrix(table)],
            Self::Recurrent(cells) => cells
                .iter()
                .flat_map(|cell| {
                    let biases = [&cell.b_x, &cell.b_h].into_iter().flatten().map(vector);
                    let products = [matrix(&cell.w_x), matrix(&cell.w_h)];
                    let rest = [&cell.w_r, &cell.peepholes].into_iter().flatten().map(matrix);
                    products.into_iter().chain(biases).chain(rest).collect::<Vec<_>>()
                })
                .collect(),
            Self::Linear { w, b } => iter::once(matrix(w)).chain(b.as_ref().map(vector)).collect(),
            Self::Conv { w, b } => {
                let w = Tensor::new(w.shape(), w.iter().copied().collect());
                iter::once(w).chain(b.as_ref().map(vector)).collect()
            }
            Self::Norm(norm) => norm.tensors(),
        }
    }
}

/// Checks that the layers fit each other, and that `tensors` are what they need. Reads no element.
///
/// # Errors
///
/// As [`Weights::from_tensors`], as far as shapes tell.
pub(crate) fn check(model: &Model, tensors: &Tensors) -> Result<()> {
    model.check()?;
    check_all(model, tensors)
}

/// The table of `layer`, with the name of each tensor among `tensors`, which have been checked.
fn table(layer: &Layer, tensors: &Tensors) -> impl Iterator<Item = (Param, String)> {
    spelled(layer, tensors).expect("checked: one spelling")
}

/// Renames tensors that `model` needs from a cell's names to the usual ones of a stack. `tensors`
/// have been checked. If two stacks use one cell for both directions, its names stay: the usual names
/// would be those of a bidirectional stack.
pub(crate) fn rename(model: &Model, tensors: &mut Tensors) {
    let mut renamed: HashMap<String, (&str, String)> = HashMap::new();
    let mut both_ways = HashSet::new();
    for layer in &model.layers {
        let prefix = layer.prefix.as_str();
        for (Param { name: local, .. }, name) in table(layer, tensors) {
            let usual = format!("{prefix}{local}");
            if usual != name
                && let Some((_, other)) = renamed.insert(name, (prefix, usual.clone()))
                && other != usual
            {
                both_ways.insert(prefix);
            }
        }
    }
    for (name, (prefix, usual)) in renamed {
        if !both_ways.contains(prefix)
            && let Some(tensor) = take(tensors, &name)
        {
            tensors.insert(usual, tensor);
        }
    }
}

/// Returns the names, among the checked `tensors`, that the layers of `model` need.
pub(crate) fn names(model: &Model, tensors: &Tensors) -> HashSet<String> {
    names_of(model, tensors, |_| true)
}

/// Returns those of these names that are matrices of products and nothing else.
pub(crate) fn products(model: &Model, tensors: &Tensors) -> HashSet<String> {
    let others = names_of(model, tensors, |param| !param.role.is_product());
    let products = names_of(model, tensors, |param| param.role.is_product());
    products.into_iter().filter(|name| !others.contains(name)).collect()
}

fn names_of(model: &Model, tensors: &Tensors, wanted: impl Fn(&Param) -> bool) -> HashSet<String> {
    let tables = model.layers.iter().flat_map(|layer| table(layer, tensors));
    tables.filter(|(param, _)| wanted(param)).map(|(_, name)| name).collect()
}

/// Warns about tensors that no layer of `model` uses.
pub(super) fn warn_of_unused(model: &Model, tensors: &Tensors) {
    if let Some(warning) = unused(model, tensors) {
        log::warn!("{warning}");
    }
}

/// The beginning of the names of tensors that a trainer keeps beside a model.
pub(crate) const OF_TRAINING: &str = "gatewave.training.";

/// Lists the tensors that no layer of `model` uses; usually they belong to a layer that the description forgot.
fn unused(model: &Model, tensors: &Tensors) -> Option<String> {
    const FEW: usize = 4;
    let used = names(model, tensors);
    let used: HashSet<_> = used.iter().map(|name| tensors.kept(name)).collect();
    let unused = |name: &&str| !used.contains(tensors.kept(name)) && !name.starts_with(OF_TRAINING);
    let names: Vec<_> = tensors.names().filter(unused).collect();
    let few = names.iter().take(FEW).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > FEW { ", …" } else { "" };
    (!names.is_empty()).then(|| format!("tensors that no layer of the model uses: {} ({few}{more})", names.len()))
}

/// The tensors of a layer by their names in its table: shape and elements.
type Own = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// Makes the weights of a layer from its tensors, whose names and shapes have been checked. Leaves learned states.
fn assemble(layer: &LayerKind, tensors: &mut Own) -> LayerWeights {
    let mut take = |name: &str| tensors.remove(name);
    const TAKEN: &str = "every tensor of the table was taken";
    match layer {
        LayerKind::Embedding(_) => LayerWeights::Embedding(matrix(take(WEIGHT).expect(TAKEN))),
        LayerKind::Attention(a) if a.weight => LayerWeights::Embedding(matrix(take(WEIGHT).expect(TAKEN))),
        LayerKind::Recurrent(stack) => {
            let cell = |(stacked, way): (usize, Way)| {
                let mut take = |part| take(&cell_tensor(part, stacked, way));
                CellWeights {
                    w_x: matrix(take(Part::WX).expect(TAKEN)),
                    w_h: matrix(take(Part::WH).expect(TAKEN)),
                    b_x: take(Part::BX).map(vector),
                    b_h: take(Part::BH).map(vector),
                    w_r: take(Part::WR).map(matrix),
                    peepholes: take(Part::Peepholes).map(matrix),
                }
            };
            LayerWeights::Recurrent(stack.cells().map(cell).collect())
        }
        LayerKind::Linear(_) => {
            LayerWeights::Linear { w: matrix(take(WEIGHT).expect(TAKEN)), b: take(BIAS).map(vector) }
        }
        LayerKind::Conv1d(_) => {
            let (shape, elements) = take(WEIGHT).expect(TAKEN);
            let w = Array3::from_shape_vec([shape[0], shape[1], shape[2]], elements).expect("a checked shape");
            LayerWeights::Conv { w, b: take(BIAS).map(vector) }
        }
        // Layers that normalise; others have no parameters.
        kind => NormWeights::of(kind, &mut |name, _| vector(take(name).expect(TAKEN))),
    }
}

fn matrix((shape, elements): (Vec<usize>, Vec<f32>)) -> Array2<f32> {
    Array2::from_shape_vec([shape[0], shape[1]], elements).expect("a checked shape")
}

fn vector((_, elements): (Vec<usize>, Vec<f32>)) -> Array1<f32> {
    Array1::from_vec(elements)
}

/// Compares bits, so that a NaN equals itself.
fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    let bits = |tensor: &Tensor| tensor.read().map(|x| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>()).ok();
    a.shape() == b.shape() && bits(a).is_some() && bits(a) == bits(b)
}

fn take(tensors: &mut Tensors, name: &str) -> Option<Tensor> {
    match tensors.remove(name) {
        Some(Entry::Read(tensor)) => Some(tensor),
        _ => None,
    }
}

/// Checks that every tensor that `model` needs is there, was read, and has its shape.
fn check_all(model: &Model, tensors: &Tensors) -> Result<()> {
    for (index, layer) in model.layers.iter().enumerate() {
        let check = || spelled(layer, tensors)?.try_for_each(|(param, name)| check_one(layer, &param, &name, tensors));
        check().map_err(|e| model.at_layer(index, e))?;
    }
    Ok(())
}

fn check_one(layer: &Layer, Param { shape, .. }: &Param, name: &str, tensors: &Tensors) -> Result<()> {
    let wrong = |message| Err(Error::new(ErrorKind::Weights, message).of_tensor(name));
    match tensors.entry(name) {
        None => {
            let hint = tensors.hint(&layer.prefix, &name[layer.prefix.len()..], |other| other == shape);
            wrong(format!("{name}: expected a tensor of that name, got none; {hint}"))
        }
        Some(Entry::Unread { dtype, .. }) => wrong(format!(
            "{name}: expected elements of type F32, F16, BF16, F64 or I8 with scales, got {dtype}; save it as one of them"
        )),
        Some(Entry::Read(tensor)) if tensor.shape() != shape.as_slice() => {
            let called = match tensors.kept(name) {
                kept if kept == name => name.to_owned(),
                kept => format!("{name} (tied to {kept})"),
            };
            Err(misshapen(&layer.kind, &called, shape, tensor.shape()).of_tensor(name))
        }
        Some(Entry::Read(_)) => Ok(()),
    }
}

/// The error for a tensor of the wrong shape, with a guess at the reason.
fn misshapen(layer: &LayerKind, name: &str, wanted: &[usize], got: &[usize]) -> Error {
    let mut message = format!("{name}: expected {wanted:?}");
    let mut hint = None;
    if let (LayerKind::Recurrent(stack), [rows, ..]) = (layer, wanted)
        && *rows == stack.cell.gates() * stack.hidden_size
    {
        let (gates, hidden) = (stack.cell.gates(), stack.hidden_size);
        if gates > 1 {
            message += &format!(" ({gates} gates × {hidden})");
        }
        hint = Cell::ALL.into_iter().find_map(|other| {
            let is_it = other.gates() != gates && got[..] == *[&[other.gates() * hidden], &wanted[1..]].concat();
            let name = other.name().to_uppercase();
            is_it.then(|| format!("{} = {} × {hidden}: is this {} {name}?", got[0], other.gates(), article(&name)))
        });
    }
    if hint.is_none() && wanted.len() == 2 && wanted.iter().eq(got.iter().rev()) {
        hint = Some("is it transposed?".into());
    }
    message += &format!(", got {got:?}");
    if let Some(hint) = hint {
        message += &format!("; {hint}");
    }
    Error::new(ErrorKind::Weights, message)
}

/// The article of an abbreviation, as it is spoken: an LSTM, an RNN, a GRU.
fn article(name: &str) -> &'static str {
    if name.starts_with('G') { "a" } else { "an" }
}

/// The tensors that the caller of `model` supplies, which cannot be read before a call.
pub(crate) fn supplied(model: &Model) -> Tensors {
    let mut tensors = Tensors::new();
    for InputPort { name, value, .. } in &model.ports.inputs {
        let &InputValue::Weights { layer, part } = value else { continue };
        let Some(Layer { kind: LayerKind::Recurrent(stack), prefix, .. }) = model.layers.get(layer) else {
            continue;
        };
        let message = format!("expected weights from the caller, who brings them as {name} with each call");
        let absent = Tensor::stored(part.shape(stack), move || Err(Error::new(ErrorKind::Weights, message.as_str())));
        let cut = from_onnx(stack, part, &absent).expect("a tensor of the part's own shape");
        tensors.extend(cut.into_iter().map(|(local, tensor)| (format!("{prefix}{local}"), tensor)));
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Linear;

    #[test]
    fn tensors_that_no_layer_uses_are_counted_and_a_few_are_named() {
        let model = Model::new().named_layer("fc.", Linear::new(1, 1).no_bias());
        let unused = |names: &[&str]| {
            let tensor = Tensor::new([1], vec![0.0]);
            unused(&model, &names.iter().chain(&["fc.weight"]).map(|&name| (name, tensor.clone())).collect())
        };
        assert_eq!(unused(&[]), None);
        let two = unused(&["head.bias", "head.weight"]).unwrap();
        assert_eq!(two, "tensors that no layer of the model uses: 2 (head.bias, head.weight)");
        let mut tied: Tensors = [("fc.weight", Tensor::new([1, 1], vec![0.0]))].into_iter().collect();
        tied.tie(&[("a.weight", "fc.weight"), ("b.weight", "fc.weight")].map(|(a, b)| (a.into(), b.into())).into());
        assert_eq!(super::unused(&model, &tied), None);
        tied.insert("b.weight", Tensor::new([1], vec![0.0]));
        assert_eq!(super::unused(&model, &tied).unwrap(), "tensors that no layer of the model uses: 1 (b.weight)");
        let five = unused(&["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(five, "tensors that no layer of the model uses: 5 (a, b, c, d, …)");
    }
}
