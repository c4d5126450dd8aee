//! Tensors by the names of a model's ports: named tensors → `Input`, `Output` → named tensors.
//!
//! Stands before `call`, which knows one order of axes: here they are permuted, split and joined as the ports say.
//! Knows models, calls and the tensors that weights are made from; knows no plan and no device.

mod examples;
mod input;
mod output;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use ndarray::{Array, ArrayD, Axis, Dimension};

use crate::call::{Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dim, InputPort, InputValue, Layer, LayerKind, Model, OutputPort};
use crate::weights::{Tensor, Tensors, from_onnx};

use output::Results;

pub use examples::Examples;
pub(crate) use input::read_input;

/// The numbers of a named tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Reals: features, states, weights.
    Real(ArrayD<f32>),
    /// Integers: tokens, lengths, flags.
    Whole(ArrayD<i64>),
}

/// Tensors of a call, by name.
pub type NamedTensors = BTreeMap<String, Values>;

impl Values {
    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Real(array) => array.shape(),
            Self::Whole(array) => array.shape(),
        }
    }

    /// The numbers as reals.
    #[expect(clippy::cast_precision_loss, reason = "flags and small numbers")]
    pub fn real(&self) -> Cow<'_, ArrayD<f32>> {
        match self {
            Self::Real(array) => Cow::Borrowed(array),
            Self::Whole(array) => Cow::Owned(array.mapv(|value| value as f32)),
        }
    }
}

/// Reals are equal to an array of them; whole numbers are not.
impl PartialEq<ArrayD<f32>> for Values {
    fn eq(&self, other: &ArrayD<f32>) -> bool {
        matches!(self, Self::Real(array) if array == other)
    }
}

impl<D: Dimension> From<Array<f32, D>> for Values {
    fn from(array: Array<f32, D>) -> Self {
        Self::Real(array.into_dyn())
    }
}

impl<D: Dimension> From<Array<i64, D>> for Values {
    fn from(array: Array<i64, D>) -> Self {
        Self::Whole(array.into_dyn())
    }
}

impl Model {
    /// The input that `tensors` make by the names of [`all_ports`](Self::all_ports), which has been checked to fit the model.
    ///
    /// Lengths, mask and states may be left out, where the ports do not require all. Weights that the model takes with a call are passed over: see
    /// [`named_weights`](Self::named_weights).
    ///
    /// # Shapes
    ///
    /// As the ports say. Where the inputs are the standard ones, all of them may lack the batch's axis: one sequence.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a tensor is missing, unknown, or not of its port's axes; `Model`, where the layers do not fit
    /// each other.
    pub fn named_input(&self, tensors: &NamedTensors) -> Result<Input> {
        let input = read_input(self, tensors)?;
        input.check(self)?;
        Ok(input)
    }

    /// The weights among `tensors`, which the caller supplies: those of ONNX' operators, under the names that the layers
    /// give theirs. None, where the model takes none.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where one is missing or holds integers; `Weights`, where one is of another shape.
    pub fn named_weights(&self, tensors: &NamedTensors) -> Result<Tensors> {
        let mut weights = Tensors::new();
        for InputPort { name, value, .. } in &self.all_ports().inputs {
            let &InputValue::Weights { layer, part } = value else { continue };
            let Some(Layer { kind: LayerKind::Recurrent(stack), weights: prefix, .. }) = self.layers.get(layer) else {
                return Err(Error::new(ErrorKind::Model, format!("{name}: layer {layer} is no recurrent one")));
            };
            let array = match tensors.get(name) {
                Some(Values::Real(array)) => array,
                Some(Values::Whole(array)) => return Err(not_real(name, array.shape())),
                None => return Err(shape(format!("{name}: expected weights under this name, got none"))),
            };
            let tensor = Tensor::new(array.shape(), array.iter().copied().collect());
            for (local, tensor) in from_onnx(stack, part, &tensor).map_err(|e| e.at(name))? {
                weights.insert(format!("{prefix}{local}"), tensor);
            }
        }
        Ok(weights)
    }

    /// The results of a call of this model under their names, in the order of [`all_ports`](Self::all_ports): reals, and whole numbers
    /// where a port gives places.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where an output has no axis for the steps or rows of which there are several; `Model`, where the
    /// layers do not fit each other.
    pub fn named_output(&self, output: &Output) -> Result<Vec<(String, Values)>> {
        let results = Results::of(self, output)?;
        let ports = self.all_ports();
        let one = |port: &OutputPort| Ok((port.name.clone(), results.under(port).map_err(|e| e.at(&port.name))?));
        ports.outputs.iter().map(one).collect()
    }
}

/// The letter of an axis, in messages.
fn letter(dim: Dim, features: &str) -> &str {
    match dim {
        Dim::Time => "T",
        Dim::Batch => "B",
        Dim::Features => features,
        Dim::Directions => "D",
        Dim::Layers => "L·D",
        Dim::One => "1",
    }
}

/// `array`, whose axes are `axes`, with the axes `wanted`: what it lacks has length 1, what is left out must have it.
pub(crate) fn arrange<A>(mut array: ArrayD<A>, axes: &[Dim], wanted: &[Dim]) -> ArrayD<A> {
    let mut axes = axes.to_vec();
    for place in (0..axes.len()).rev() {
        if !wanted.contains(&axes[place]) {
            array = array.index_axis_move(Axis(place), 0);
            axes.remove(place);
        }
    }
    for dim in wanted {
        if !axes.contains(dim) {
            array.insert_axis_inplace(Axis(axes.len()));
            axes.push(*dim);
        }
    }
    let place = |dim: &Dim| axes.iter().position(|d| d == dim).expect("every wanted axis is there");
    array.permuted_axes(wanted.iter().map(place).collect::<Vec<_>>())
}

fn not_real(name: &str, got: &[usize]) -> Error {
    shape(format!("{name}: expected floats, got integers {got:?}"))
}

fn joined(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn shape(message: String) -> Error {
    Error::new(ErrorKind::Shape, message)
}
