//! Sums over the features of a link, as products with weights that are made here.

use ndarray::{ArrayD, IxDyn};

use super::{Links, MAX_DIAGONAL, What};
use crate::error::Result;
use crate::formats::onnx::constant::Constant;
use crate::formats::onnx::misfit;
use crate::model::Linear;
use crate::weights::dialect::WEIGHT;

impl Links {
    /// Returns the sum of the features of link `parent`, or their mean.
    pub(in crate::formats::onnx) fn reduced(&mut self, parent: usize, is_mean: bool) -> Result<usize> {
        let n = self.links[parent].features;
        #[expect(clippy::cast_precision_loss, reason = "a number of features")]
        let factor = if is_mean { 1.0 / n as f32 } else { 1.0 };
        let weight = Constant::filled(factor, vec![1, n], n.max(1))?;
        Ok(self.layer(parent, Linear::new(n, 1).no_bias().into(), 1, vec![(WEIGHT.to_owned(), weight)]))
    }

    /// Returns `link`, or the layer that gives the same if it is a mean, or what is less its mean.
    pub(in crate::formats::onnx) fn valued(&mut self, link: usize) -> Result<usize> {
        match self.links[link].what {
            What::Statistic(statistic) if statistic.is_value() => self.plain(link),
            _ => Ok(link),
        }
    }

    /// Returns the features of link `parent` without their mean.
    pub(super) fn centred(&mut self, parent: usize) -> Result<usize> {
        let n = self.links[parent].features;
        if n > MAX_DIAGONAL {
            return Err(misfit(format!("{n} features less their mean, which are more than {MAX_DIAGONAL}")));
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of features")]
        let share = 1.0 / n as f32;
        let weight = Constant::computed(Vec::new(), vec![n, n], n * n, move |_| {
            ArrayD::from_shape_fn(IxDyn(&[n, n]), |at| if at[0] == at[1] { 1.0 - share } else { -share })
        })?;
        Ok(self.layer(parent, Linear::new(n, n).no_bias().into(), n, vec![(WEIGHT.to_owned(), weight)]))
    }
}
