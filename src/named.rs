//! Tensors by the names of a model's ports: named tensors → `Input`, and `Output` → named tensors.
//!
//! `call` knows one order of axes; here they are permuted, split and joined as the ports say. Knows models, calls and
//! the tensors of weights; knows no plan and no device.

mod examples;
mod input;
mod output;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use ndarray::{Array, ArrayBase, ArrayD, Axis, Data, Dimension, IxDyn};

use crate::call::{Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dim, InputPort, InputValue, Layer, LayerKind, Model, OutputPort};
use crate::weights::{Tensor, Tensors, from_onnx};

use output::Results;

pub use examples::Examples;
pub(crate) use input::read_input;

/// The numbers of a named tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Reals: features, states, weights.
    F32(ArrayD<f32>),
    /// Integers: tokens, lengths, flags.
    I64(ArrayD<i64>),
}

/// Tensors of a call, by name.
pub type NamedTensors = BTreeMap<String, Values>;

impl Values {
    /// Returns the length of each axis.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::I64(array) => array.shape(),
        }
    }

    /// Returns the numbers as reals.
    #[expect(clippy::cast_precision_loss, reason = "flags and small numbers")]
    pub fn to_f32(&self) -> Cow<'_, ArrayD<f32>> {
        match self {
            Self::F32(array) => Cow::Borrowed(array),
            Self::I64(array) => Cow::Owned(array.mapv(|value| value as f32)),
        }
    }
}

/// Reals may equal an array of reals; integers never do.
impl PartialEq<ArrayD<f32>> for Values {
    fn eq(&self, other: &ArrayD<f32>) -> bool {
        matches!(self, Self::F32(array) if array == other)
    }
}

impl<D: Dimension> From<Array<f32, D>> for Values {
    fn from(array: Array<f32, D>) -> Self {
        Self::F32(array.into_dyn())
    }
}

impl<D: Dimension> From<Array<i64, D>> for Values {
    fn from(array: Array<i64, D>) -> Self {
        Self::I64(array.into_dyn())
    }
}

impl Model {
    /// Makes an input of `tensors`, by the names of [`all_ports`](Self::all_ports), and checks that it fits the model.
    /// It borrows features and tokens whose axes are those of a call, or a permutation of them.
    ///
    /// Lengths, mask and states may be left out unless the ports require all of them. Weights that come with a call are
    /// ignored: see [`named_weights`](Self::named_weights).
    ///
    /// # Shapes
    ///
    /// As the ports say. With the standard inputs, all tensors may lack the batch axis: one sequence.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if a tensor is missing,
    /// unknown, or does not have its port's axes. It is of kind
    /// [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other.
    pub fn named_input<'t>(&self, tensors: &'t NamedTensors) -> Result<Input<'t>> {
        let input = read_input(self, tensors)?;
        input.check(self)?;
        Ok(input)
    }

    /// Returns the weights among `tensors` that the caller supplies: those of ONNX operators, under the names that the
    /// layers give them. There are none if the model takes none.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if one is missing or holds integers, or
    /// of kind [`ErrorKind::Weights`](crate::ErrorKind::Weights) if one has another shape.
    pub fn named_weights(&self, tensors: &NamedTensors) -> Result<Tensors> {
        let mut weights = Tensors::new();
        for InputPort { name, value, .. } in &self.all_ports().inputs {
            let &InputValue::Weights { layer, part } = value else { continue };
            let Some(Layer { kind: LayerKind::Recurrent(stack), prefix, .. }) = self.layers.get(layer) else {
                return Err(Error::new(ErrorKind::Model, format!("{name}: layer {layer} is no recurrent one")));
            };
            let array = match tensors.get(name) {
                Some(Values::F32(array)) => array,
                Some(Values::I64(array)) => return Err(not_real(name, array.shape())),
                None => return Err(shape(format!("{name}: expected weights under this name, got none"))),
            };
            let tensor = Tensor::new(array.shape(), array.iter().copied().collect());
            for (local, tensor) in from_onnx(stack, part, &tensor).map_err(|e| e.at(name))? {
                weights.insert(format!("{prefix}{local}"), tensor);
            }
        }
        Ok(weights)
    }

    /// Returns the results of a call of this model by name, in the order of [`all_ports`](Self::all_ports): reals, or
    /// integers if a port gives indices.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if an output lacks an axis
    /// for steps or rows although there are several. It is of kind
    /// [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other.
    pub fn named_output(&self, output: &Output) -> Result<Vec<(String, Values)>> {
        let results = Results::of(self, output)?;
        let ports = self.all_ports();
        let one = |port: &OutputPort| Ok((port.name.clone(), results.under(port).map_err(|e| e.at(&port.name))?));
        ports.outputs.iter().map(one).collect()
    }
}

/// The letter of an axis, for messages.
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

/// Changes the axes of `array` from `axes` to `wanted`. A new axis has length 1, and an
/// axis that is dropped must have it.
pub(crate) fn arrange<S: Data>(mut array: ArrayBase<S, IxDyn>, axes: &[Dim], wanted: &[Dim]) -> ArrayBase<S, IxDyn> {
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
