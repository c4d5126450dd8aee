//! The numbers of layers that normalise, packed and unpacked.

use super::panels::{Element, Panels, Stored};
use super::{Content, Packer};
use crate::error::Result;
use crate::layout::Role;
use crate::model::{Features, LayerKind, Model, Norm, NormOf};
use crate::weights::{Array, LayerWeights};

impl Packer<'_, '_> {
    /// Packs `[2][width]`: what each feature is multiplied with, and what is added; or mean and variance.
    pub(super) fn normalized<E: Element>(&mut self, role: Role, data: &mut [E]) -> Result<()> {
        let width = data.len() / 2;
        let (layer, norm) = of(self.model, role);
        let rows = match role {
            Role::Statistics { .. } => self.statistics(layer, norm)?,
            _ if norm.has_statistics() && !self.layout.trains => self.folded(layer, norm)?,
            _ => self.weight_and_bias(layer, norm)?,
        };
        for (to, from) in data.chunks_exact_mut(width).zip(rows) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = E::of(from)?;
            }
        }
        Ok(())
    }

    /// Reads mean and variance.
    fn statistics(&mut self, layer: usize, norm: Norm) -> Result<[Vec<f32>; 2]> {
        let mean = self.whole(layer, Array::Mean, 0..norm.features)?;
        Ok([mean, self.whole(layer, Array::Variance, 0..norm.features)?])
    }

    /// Reads weight and bias: one and zero where there is none. A PReLU adds nothing.
    fn weight_and_bias(&mut self, layer: usize, norm: Norm) -> Result<[Vec<f32>; 2]> {
        let weight = match norm.weight {
            Some(len) => self.whole(layer, Array::Weight, 0..len)?,
            None => vec![1.0; norm.features],
        };
        let bias = match norm.bias {
            true => self.whole(layer, Array::Bias, 0..norm.features)?,
            false if norm.of == NormOf::PRelu => Vec::new(),
            false => vec![0.0; norm.features],
        };
        Ok([weight, bias])
    }

    /// Folds mean and variance into weight and bias: `y = x · scale + shift`.
    fn folded(&mut self, layer: usize, norm: Norm) -> Result<[Vec<f32>; 2]> {
        let [mean, variance] = self.statistics(layer, norm)?;
        let [weight, bias] = self.weight_and_bias(layer, norm)?;
        let pairs = mean.iter().zip(variance).zip(weight.iter().zip(bias));
        let folded = pairs.map(|((&mean, variance), (&weight, bias))| {
            let scale = f64::from(weight) / (f64::from(variance) + f64::from(norm.eps.get())).sqrt();
            #[expect(clippy::cast_possible_truncation, reason = "rounded once, to the nearest")]
            let rounded = (scale as f32, (f64::from(bias) - f64::from(mean) * scale) as f32);
            rounded
        });
        let (scale, shift) = folded.unzip();
        Ok([scale, shift])
    }
}

/// The batch norms that are folded into a product: scale and shift of the one before it, and of the one after it.
pub(super) struct Around {
    before: Option<[Vec<f32>; 2]>,
    after: Option<[Vec<f32>; 2]>,
}

impl Packer<'_, '_> {
    /// Returns the batch norms that are folded into the matrices of a buffer of `role`, if there are any.
    pub(super) fn around(&mut self, role: Role) -> Result<Option<Around>> {
        let (layer, after) = match role {
            Role::Linear { layer } => (layer, self.layout.norm_after(self.model, layer)),
            Role::Input { layer, stacked: 0 } => (layer, None),
            _ => return Ok(None),
        };
        let before = self.layout.norm_before(self.model, layer);
        let mut folded = |norm: Option<usize>| {
            norm.map(|norm| self.folded(norm, norm_of(&self.model.layers[norm].kind))).transpose()
        };
        let around = Around { before: folded(before)?, after: folded(after)? };
        Ok((around.before.is_some() || around.after.is_some()).then_some(around))
    }

    /// Packs a matrix and its bias with the batch norms around it: `W (s x + t) + b`, times a scale, plus a shift.
    pub(super) fn matrix_between<S: Stored>(
        &mut self,
        content: &Content,
        source: Features,
        mut panels: Panels<'_, S>,
        around: &Around,
    ) -> Result<()> {
        let (width, rows) = (source.len(), content.rows.clone());
        let mut w = self.whole(content.layer, content.w, rows.clone())?;
        let mut bias = match content.bias {
            Some(bias) => self.whole(content.layer, bias, rows.clone())?,
            None => vec![0.0; rows.len()],
        };
        for (row, (w, bias)) in w.chunks_exact_mut(width).zip(&mut bias).enumerate() {
            let mut sum = f64::from(*bias);
            let (scale, shift) = around.after.as_ref().map_or((1.0, 0.0), |[scale, shift]| (scale[row], shift[row]));
            for (column, w) in w.iter_mut().enumerate() {
                if let Some([factor, summand]) = &around.before {
                    sum += f64::from(*w) * f64::from(summand[column]);
                    *w *= factor[column];
                }
                *w *= scale;
            }
            #[expect(clippy::cast_possible_truncation, reason = "rounded once, to the nearest")]
            let sum = (sum * f64::from(scale) + f64::from(shift)) as f32;
            *bias = sum;
        }
        panels.put(0..rows.len(), |row, column| S::put_row(column, source, &w[row * width..][..width]))?;
        panels.put(0..rows.len(), |row, column| S::put_after(column, 0, bias[row]))
    }
}

/// Returns the layer of a buffer, and what it computes.
fn of(model: &Model, role: Role) -> (usize, Norm) {
    let layer = role.layer().expect("such a buffer is of one layer");
    (layer, norm_of(&model.layers[layer].kind))
}

fn norm_of(kind: &LayerKind) -> Norm {
    kind.norm().expect("the layout is of this model")
}

/// Unpacks row `row` of a buffer of a layer that normalises.
pub(super) fn unpack(layer: &mut LayerWeights, role: Role, row: usize, data: &[f32]) {
    let LayerWeights::Norm(weights) = layer else { return };
    let array = match (role, row) {
        (Role::Statistics { .. }, 0) => &mut weights.mean,
        (Role::Statistics { .. }, _) => &mut weights.variance,
        (_, 0) => &mut weights.weight,
        _ => &mut weights.bias,
    };
    if let Some(array) = array {
        array.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2};

    use super::*;
    use crate::layout::Layout;
    use crate::model::{BatchNorm, LayerNorm, Linear, Lstm};
    use crate::pack::{PackedBuffer, pack};
    use crate::precision::Precision;
    use crate::weights::{NormWeights, Weights};

    fn floats(weights: &Weights, model: &Model, layout: &Layout) -> Vec<Vec<f32>> {
        let float = |buffer: PackedBuffer| match buffer {
            PackedBuffer::F32(data) => bytemuck::cast_slice(&data).to_vec(),
            PackedBuffer::F16(_) | PackedBuffer::I8 { .. } => panic!("32-bit floats"),
        };
        pack(weights, model, layout).unwrap().buffers.into_iter().map(float).collect()
    }

    #[test]
    fn norms_that_are_packed_for_training_come_back() {
        let model = Model::new()
            .layer(LayerNorm::new(3).bias(false))
            .layer(Lstm::new(3, 5))
            .layer(BatchNorm::new(5).frozen())
            .layer(BatchNorm::new(5).scale(false).bias(false).frozen())
            .layer(Linear::new(5, 2));
        let layout = Layout::for_training(&model).unwrap();
        let weights = Weights::random(&model, 3).unwrap();
        let buffers = floats(&weights, &model, &layout);
        assert!(crate::pack::unpack(&model, &layout, &buffers, true) == weights);
    }

    #[test]
    fn a_batch_norm_goes_into_the_product_before_it() {
        let model = Model::new().layer(Linear::new(2, 2)).layer(BatchNorm::new(2).eps(1.0));
        let norm = NormWeights::new().weight(arr1(&[2.0, 6.0])).bias(arr1(&[1.0, 0.0]));
        let norm = LayerWeights::Norm(norm.statistics(arr1(&[1.0, 2.0]), arr1(&[3.0, 8.0])));
        let linear = LayerWeights::Linear { w: arr2(&[[1.0, 2.0], [3.0, 4.0]]), b: Some(arr1(&[5.0, 6.0])) };
        let weights = Weights::new(vec![linear, norm]);
        let layout = Layout::of(&model, Precision::F32).unwrap();
        let buffers = floats(&weights, &model, &layout);
        // Scales of 2 / 2 and 6 / 3; shifts of 1 − 1 and 0 − 2 · 2.
        let row = |k: usize| buffers[0][k * 16..][..2].to_vec();
        assert_eq!((buffers.len(), row(0), row(1), row(16)), (1, vec![1.0, 6.0], vec![2.0, 8.0], vec![5.0, 8.0]));
        // Products of smaller numbers stay apart.
        assert_eq!(Layout::of(&model, Precision::F16).unwrap().buffers.len(), 2);
    }
}
