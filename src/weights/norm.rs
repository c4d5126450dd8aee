//! The weights of a layer that normalises.

use ndarray::Array1;

use super::LayerWeights;
use super::tensor::Tensor;
use crate::model::{BIAS, LayerKind, MEAN, VARIANCE, WEIGHT};

/// The numbers of each feature of a layer that normalises, `[features]` each, as far as it has them. A PReLU's weight
/// may be one number.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NormWeights {
    /// What the result is multiplied with; a PReLU's slopes below zero.
    pub weight: Option<Array1<f32>>,
    /// What is added to it.
    pub bias: Option<Array1<f32>>,
    /// The mean that a batch norm keeps.
    pub mean: Option<Array1<f32>>,
    /// The variance that it keeps.
    pub variance: Option<Array1<f32>>,
}

impl NormWeights {
    /// Makes the weights of a layer with none of these numbers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weight.
    #[must_use]
    pub fn weight(mut self, weight: Array1<f32>) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets the bias.
    #[must_use]
    pub fn bias(mut self, bias: Array1<f32>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Sets the mean and the variance of a batch norm.
    #[must_use]
    pub fn statistics(mut self, mean: Array1<f32>, variance: Array1<f32>) -> Self {
        (self.mean, self.variance) = (Some(mean), Some(variance));
        self
    }

    /// Makes the weights of a layer of `kind`, all zero.
    pub(super) fn zeros(kind: &LayerKind) -> LayerWeights {
        Self::of(kind, &mut |_, len| Array1::zeros(len))
    }

    /// Makes the weights of a layer of `kind` of arrays by the names and lengths in its table.
    pub(crate) fn of(kind: &LayerKind, array: &mut dyn FnMut(&str, usize) -> Array1<f32>) -> LayerWeights {
        let Some(norm) = kind.norm().filter(|_| kind.tensors().next().is_some()) else { return LayerWeights::None };
        let weight = norm.weight.map(|len| array(WEIGHT, len));
        let bias = norm.bias.then(|| array(BIAS, norm.features));
        let mean = norm.has_statistics().then(|| array(MEAN, norm.features));
        let variance = norm.has_statistics().then(|| array(VARIANCE, norm.features));
        LayerWeights::Norm(Self { weight, bias, mean, variance })
    }

    /// Returns the arrays in the order of the layer's table, each with its name and its field.
    pub(super) fn each(&self) -> [(&'static str, &'static str, Option<&Array1<f32>>); 4] {
        [
            (WEIGHT, "weight", self.weight.as_ref()),
            (BIAS, "bias", self.bias.as_ref()),
            (MEAN, "mean", self.mean.as_ref()),
            (VARIANCE, "variance", self.variance.as_ref()),
        ]
    }

    /// Returns the arrays as tensors, in the order of the layer's table.
    pub(super) fn tensors(&self) -> Vec<Tensor> {
        let arrays = self.each().into_iter().filter_map(|(.., array)| array);
        arrays.map(|array| Tensor::new([array.len()], array.to_vec())).collect()
    }

    /// Returns the arrays to change, in the same order.
    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = &mut Array1<f32>> {
        [&mut self.weight, &mut self.bias, &mut self.mean, &mut self.variance].into_iter().flatten()
    }

    /// Returns the same with `f` applied to every number.
    pub(crate) fn map(&self, f: impl Fn(f32) -> f32 + Copy) -> Self {
        let mut mapped = self.clone();
        mapped.each_mut().for_each(|array| array.mapv_inplace(f));
        mapped
    }
}
