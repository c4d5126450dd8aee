//! The source of weights for packing: in memory as `Weights`, or in a file under their names. A file is read when an
//! array is asked for; what it holds stays there otherwise.
//!
//! Shapes are checked before anything is read. Knows models and names; knows no layout.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView, CowArray, Dimension};

use super::spelling::Spelling;
use super::tensors::{Tensors, non_finite_warning};
use super::{CellWeights, LayerWeights, LearnedStates, Weights, named, narrowed};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    BIAS, INITIAL_CELL, INITIAL_HIDDEN, LayerKind, MEAN, Model, Param, Part, Recurrent, VARIANCE, WEIGHT, cell_tensor,
};
use crate::platform::breathe;
use crate::precision::Precision;

/// An array of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Array {
    /// An embedding's table, a linear layer's product, or the kernel of a convolution.
    Weight,
    /// A linear layer's bias, a convolution's, or that of a layer that normalises.
    Bias,
    /// The mean that a batch norm keeps.
    Mean,
    /// The variance that it keeps.
    Variance,
    /// An array of a recurrent layer.
    Cell {
        /// The index of the cell: layer-major, forward before reverse.
        cell: usize,
        /// Which array of the cell.
        part: Part,
    },
}

/// Takes rows of an array, part by part: the index of a part's first row, and the part's elements.
pub(crate) type EachPart<'a> = dyn FnMut(usize, &[f32]) -> Result<()> + 'a;

/// The arrays of a model.
pub(crate) struct Source<'a>(Arrays<'a>);

enum Arrays<'a> {
    InMemory(Cow<'a, Weights>),
    Named {
        tensors: Cow<'a, Tensors>,
        /// The tensors that have been read, by name.
        seen: HashMap<String, Counted>,
    },
}

/// How far a tensor has been read.
#[derive(Default)]
struct Counted {
    /// Rows, from the first on.
    rows: usize,
    /// Elements in these rows that are NaN or infinite.
    bad: usize,
}

impl<'a> Source<'a> {
    /// Makes a source of `weights`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Weights` if they do not have the shapes of `model`.
    pub(crate) fn held(weights: &'a Weights, model: &Model) -> Result<Self> {
        check(weights, model)?;
        Ok(Self(Arrays::InMemory(Cow::Borrowed(weights))))
    }

    /// Makes a source of the tensors that `model` names. Warns about tensors that no layer uses, and while reading
    /// about elements that are NaN or infinite.
    ///
    /// # Errors
    ///
    /// Returns an error of kind
    ///
    /// - `ErrorKind::Model` if the layers do not fit each other;
    /// - `ErrorKind::Weights` if a tensor is missing, has another shape than the model's sizes
    ///   need, or has an unsupported type.
    pub(crate) fn named(tensors: &'a Tensors, model: &Model) -> Result<Self> {
        named::check(model, tensors)?;
        named::warn_of_unused(model, tensors);
        Ok(Self(Arrays::Named { tensors: Cow::Borrowed(tensors), seen: HashMap::new() }))
    }

    /// Copies what is borrowed, for work that outlives it. Tensors share their elements. Weights are copied layer by
    /// layer, and other tasks of the executor run in between.
    pub(crate) async fn into_owned(self) -> Source<'static> {
        Source(match self.0 {
            Arrays::InMemory(weights) => {
                let mut layers = Vec::with_capacity(weights.layers.len());
                for layer in &weights.layers {
                    layers.push(layer.clone());
                    breathe().await;
                }
                Arrays::InMemory(Cow::Owned(Weights { initial: weights.initial.clone(), ..Weights::new(layers) }))
            }
            Arrays::Named { tensors, seen } => Arrays::Named { tensors: Cow::Owned(tensors.into_owned()), seen },
        })
    }

    /// Returns the learned initial states of stacks of `model`, by stack, rounded like weights of `precision`.
    ///
    /// # Errors
    ///
    /// Returns any error of reading a file, or one of kind `ErrorKind::Weights` if a state is too large for `precision`.
    pub(crate) fn initial(&self, model: &Model, precision: Precision) -> Result<BTreeMap<usize, LearnedStates>> {
        let mut initial = match &self.0 {
            Arrays::InMemory(weights) => weights.initial.clone(),
            Arrays::Named { tensors, .. } => read_initial(tensors, model)?,
        };
        if precision == Precision::F16 {
            let states = initial.values_mut().flat_map(|states| [Some(&mut states.h), states.c.as_mut()]);
            for x in states.flatten().flatten() {
                *x = narrowed(*x)?.to_f32();
            }
        }
        Ok(initial)
    }

    /// Calls `each` with rows `rows` of `array` of layer `layer` of `model`, part by part and in order.
    ///
    /// # Errors
    ///
    /// Returns any error of reading a file, or of `each`.
    pub(crate) fn read_rows(
        &mut self,
        model: &Model,
        layer: usize,
        array: Array,
        rows: Range<usize>,
        each: &mut EachPart<'_>,
    ) -> Result<()> {
        match &mut self.0 {
            Arrays::InMemory(weights) => held(&weights.layers[layer], array, rows, each),
            Arrays::Named { tensors, seen } => {
                let name = name(model, layer, array, tensors);
                let tensor = tensors.get(&name).expect("every needed tensor was checked");
                let seen = seen.entry(name.clone()).or_default();
                let mut part = |first, elements: &[f32]| {
                    seen.look(first, elements, tensor.shape());
                    each(first, elements)
                };
                tensor.read_rows(rows, &mut part).map_err(|e| e.at_tensor(&name))?;
                if let Some(warning) = seen.warning(&name, tensor.shape()) {
                    log::warn!("{warning}");
                }
                Ok(())
            }
        }
    }
}

/// Reads the learned states among `tensors`, which have been checked.
fn read_initial(tensors: &Tensors, model: &Model) -> Result<BTreeMap<usize, LearnedStates>> {
    let stacks = model.layers.iter().filter_map(|layer| match &layer.kind {
        LayerKind::Recurrent(stack) => Some((stack, &layer.prefix)),
        _ => None,
    });
    let mut initial = BTreeMap::new();
    for (index, (stack, prefix)) in stacks.enumerate() {
        let states = stack.learned().map(|Param { name: local, shape, .. }| {
            let name = format!("{prefix}{local}");
            let tensor = tensors.get(&name).expect("every needed tensor was checked");
            let elements = tensor.read().map_err(|e| e.at_tensor(&name))?.into_owned();
            let bad = elements.iter().filter(|x| !x.is_finite()).count();
            if let Some(warning) = non_finite_warning(&name, bad, elements.len()) {
                log::warn!("{warning}");
            }
            Ok((local, Array2::from_shape_vec([shape[0], shape[1]], elements).expect("a checked shape")))
        });
        let mut states = states.collect::<Result<HashMap<_, _>>>()?;
        if let Some(h) = states.remove(INITIAL_HIDDEN) {
            initial.insert(index, LearnedStates { h, c: states.remove(INITIAL_CELL) });
        }
    }
    Ok(initial)
}

impl Counted {
    /// Counts the bad elements of a part that begins with row `first`, unless they have been counted.
    fn look(&mut self, first: usize, elements: &[f32], shape: &[usize]) {
        if first == self.rows {
            self.bad += elements.iter().filter(|x| !x.is_finite()).count();
            self.rows += elements.len() / shape[1..].iter().product::<usize>();
        }
    }

    /// Returns the warning about a tensor once it has been read to its end.
    fn warning(&mut self, name: &str, shape: &[usize]) -> Option<String> {
        if self.rows < shape[0] {
            return None;
        }
        non_finite_warning(name, mem::take(&mut self.bad), shape.iter().product())
    }
}

/// The name of `array` of layer `layer` among `tensors`, which have been checked.
fn name(model: &Model, layer: usize, array: Array, tensors: &Tensors) -> String {
    let layer = &model.layers[layer];
    let local = match (array, &layer.kind) {
        (Array::Weight, _) => WEIGHT.to_owned(),
        (Array::Bias, _) => BIAS.to_owned(),
        (Array::Mean, _) => MEAN.to_owned(),
        (Array::Variance, _) => VARIANCE.to_owned(),
        (Array::Cell { cell, part }, LayerKind::Recurrent(stack)) => {
            let (stacked, way) = stack.cells().nth(cell).expect("a cell of this stack");
            cell_tensor(part, stacked, way)
        }
        (Array::Cell { .. }, _) => unreachable!("only a recurrent layer has cells"),
    };
    let spelling = Spelling::of_layer(layer, tensors).expect("checked: one spelling");
    layer.prefix.clone() + spelling.of(&local)
}

fn held(layer: &LayerWeights, array: Array, rows: Range<usize>, each: &mut EachPart<'_>) -> Result<()> {
    match (layer, array) {
        (LayerWeights::Embedding(w) | LayerWeights::Linear { w, .. }, Array::Weight) => part(w.view(), rows, each),
        (LayerWeights::Conv { w, .. }, Array::Weight) => part(w.view(), rows, each),
        (LayerWeights::Linear { b: Some(b), .. } | LayerWeights::Conv { b: Some(b), .. }, Array::Bias) => {
            part(b.view(), rows, each)
        }
        (LayerWeights::Norm(norm), Array::Weight | Array::Bias | Array::Mean | Array::Variance) => {
            let array = match array {
                Array::Weight => &norm.weight,
                Array::Bias => &norm.bias,
                Array::Mean => &norm.mean,
                _ => &norm.variance,
            };
            part(array.as_ref().expect("checked: the array is there").view(), rows, each)
        }
        (LayerWeights::Recurrent(cells), Array::Cell { cell, part: of }) => {
            let CellWeights { w_x, w_h, b_x, b_h, w_r, peepholes } = &cells[cell];
            let matrix = match of {
                Part::WX => Some(w_x),
                Part::WH => Some(w_h),
                Part::WR => w_r.as_ref(),
                Part::Peepholes => peepholes.as_ref(),
                Part::BX | Part::BH => None,
            };
            let bias = if of == Part::BX { b_x } else { b_h };
            match (matrix, bias) {
                (Some(w), _) => part(w.view(), rows, each),
                (None, Some(b)) => part(b.view(), rows, each),
                (None, None) => unreachable!("checked: the array is there"),
            }
        }
        _ => unreachable!("checked: this layer's weights"),
    }
}

/// Passes rows `rows` of an array from the user, which is usually but not always row-major.
fn part<D: Dimension>(array: ArrayView<'_, f32, D>, rows: Range<usize>, each: &mut EachPart<'_>) -> Result<()> {
    let width: usize = array.shape()[1..].iter().product();
    let array: CowArray<'_, f32, D> = array.as_standard_layout();
    let elements = array.as_slice().expect("the standard layout is a slice");
    each(rows.start, &elements[rows.start * width..rows.end * width])
}

/// Checks that every tensor is there with the model's shape. The readers of files say more about what they read. This
/// check turns bad `Weights` from a caller into an error, and nothing worse.
fn check(weights: &Weights, model: &Model) -> Result<()> {
    if weights.layers.len() != model.layers.len() {
        return Err(Error::new(
            ErrorKind::Weights,
            format!("weights: expected {} layers, got {}", model.layers.len(), weights.layers.len()),
        ));
    }
    check_initial(weights, model)?;
    for (index, (layer, weights)) in model.layers.iter().zip(&weights.layers).enumerate() {
        let fits = match (&layer.kind, weights) {
            (LayerKind::Embedding(_) | LayerKind::Attention(_), LayerWeights::Embedding(table))
                if layer.kind.parameters() > 0 =>
            {
                fit(layer.kind.tensors(), [(WEIGHT.to_owned(), "table", Some(table.shape()))])
            }
            (LayerKind::Linear(_), LayerWeights::Linear { w, b }) => fit(
                layer.kind.tensors(),
                [(WEIGHT.to_owned(), "w", Some(w.shape())), (BIAS.to_owned(), "b", b.as_ref().map(Array1::shape))],
            ),
            (LayerKind::Conv1d(_), LayerWeights::Conv { w, b }) => fit(
                layer.kind.tensors(),
                [(WEIGHT.to_owned(), "w", Some(w.shape())), (BIAS.to_owned(), "b", b.as_ref().map(Array1::shape))],
            ),
            (LayerKind::Recurrent(r), LayerWeights::Recurrent(cells)) => check_cells(r, cells),
            (kind, LayerWeights::Norm(norm)) if kind.norm().is_some() => {
                let held = norm.each().map(|(name, field, array)| (name.to_owned(), field, array.map(Array1::shape)));
                fit(kind.tensors(), held)
            }
            (kind, LayerWeights::None) if kind.tensors().next().is_none() => Ok(()),
            _ => Err(Error::new(ErrorKind::Weights, "expected this layer's weights, got another layer's")),
        };
        fits.map_err(|e| model.of_layer(index, e).at(format!("weights of layer {}", model.place(index))))?;
    }
    Ok(())
}

/// Checks that all stacks with learned states have them, and no others.
fn check_initial(weights: &Weights, model: &Model) -> Result<()> {
    for (index, stack) in model.stacks().enumerate() {
        let given = weights.initial.get(&index);
        let given = [
            (INITIAL_HIDDEN.to_owned(), "h", given.map(|states| states.h.shape())),
            (INITIAL_CELL.to_owned(), "c", given.and_then(|states| states.c.as_ref()).map(Array2::shape)),
        ];
        fit(stack.learned(), given)
            .map_err(|e| e.at(format!("initial states of stack {index} ({})", stack.cell.name())))?;
    }
    let stacks = model.stacks().count();
    match weights.initial.keys().find(|&&stack| stack >= stacks) {
        None => Ok(()),
        Some(stack) => Err(Error::new(
            ErrorKind::Weights,
            format!("initial states of stack {stack}: the model has {stacks} recurrent stack(s), counted from 0"),
        )),
    }
}

fn check_cells(stack: &Recurrent, cells: &[CellWeights]) -> Result<()> {
    let directions = stack.directions();
    if cells.len() != stack.num_layers * directions {
        return Err(Error::new(
            ErrorKind::Weights,
            format!("expected {} cells (layers × directions), got {}", stack.num_layers * directions, cells.len()),
        ));
    }
    for (index, (cell, (stacked, way))) in cells.iter().zip(stack.cells()).enumerate() {
        let CellWeights { w_x, w_h, b_x, b_h, w_r, peepholes } = cell;
        let parts = [
            (Part::WX, "w_x", Some(w_x.shape())),
            (Part::WH, "w_h", Some(w_h.shape())),
            (Part::BX, "b_x", b_x.as_ref().map(Array1::shape)),
            (Part::BH, "b_h", b_h.as_ref().map(Array1::shape)),
            (Part::WR, "w_r", w_r.as_ref().map(Array2::shape)),
            (Part::Peepholes, "peepholes", peepholes.as_ref().map(Array2::shape)),
        ];
        let held = parts.map(|(part, field, shape)| (cell_tensor(part, stacked, way), field, shape));
        fit(stack.of_cell(stacked, way), held).map_err(|e| e.at(format!("cell {index}")))?;
    }
    Ok(())
}

/// Checks the arrays against `table`. Each array has a name in the table, the name of
/// its field, and a shape if it is there.
fn fit<'a>(
    table: impl Iterator<Item = Param>,
    held: impl IntoIterator<Item = (String, &'static str, Option<&'a [usize]>)>,
) -> Result<()> {
    let table: HashMap<_, _> = table.map(|param| (param.name, param.shape)).collect();
    for (name, field, got) in held {
        match (table.get(&name), got) {
            (Some(expected), got) => same(field, expected, got)?,
            (None, Some(got)) => {
                return Err(Error::new(ErrorKind::Weights, format!("{field}: expected none, got {got:?}")));
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn same(name: &str, expected: &[usize], got: Option<&[usize]>) -> Result<()> {
    if got == Some(expected) {
        return Ok(());
    }
    let got = got.map_or("none".into(), |got| format!("{got:?}"));
    Err(Error::new(ErrorKind::Weights, format!("{name}: expected {expected:?}, got {got}")))
}
