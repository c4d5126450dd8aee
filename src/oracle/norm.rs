//! The layers that normalise, each with its backward pass. They take every step (or row) by itself.
//!
//! Ba, Kiros and Hinton, "Layer Normalization", 2016; Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019;
//! Ioffe and Szegedy, "Batch Normalization", 2015, at inference; He et al., "Delving Deep into Rectifiers", 2015.

use ndarray::{Array1, Array3, ArrayView1, Axis, Zip};

use super::params::NormParams;
use crate::model::{Norm, NormOf};

/// What one row has: x̂ and the slope that its features share.
struct Row {
    /// The normalised features, before weight and bias.
    normal: Array1<f64>,
    /// 1 / √(variance + ε), or what stands for it.
    factor: f64,
    /// Whether the factor does not depend on the row.
    fixed: bool,
}

/// Returns x̂ of a row by its own statistics.
#[expect(clippy::cast_precision_loss, reason = "the number of features")]
fn row(norm: Norm, x: ArrayView1<'_, f64>) -> Row {
    let (n, eps) = (norm.features as f64, f64::from(norm.eps.get()));
    let mean = if norm.of == NormOf::Layer { x.sum() / n } else { 0.0 };
    let centred = x.mapv(|x| x - mean);
    let squares = centred.mapv(|x| x * x).sum();
    let (factor, fixed) = match norm.of {
        NormOf::L2 => (1.0 / squares.sqrt().max(eps), squares.sqrt() < eps),
        _ => (1.0 / (squares / n + eps).sqrt(), false),
    };
    Row { normal: centred * factor, factor, fixed }
}

/// Returns 1 / √(variance + ε) of each feature of a batch norm.
fn deviations(norm: Norm, variance: &Array1<f64>) -> Array1<f64> {
    variance.mapv(|variance| 1.0 / (variance + f64::from(norm.eps.get())).sqrt())
}

/// Returns weight `c`, of which there may be one for all.
fn slope(weight: Option<&Array1<f64>>, c: usize) -> f64 {
    weight.map_or(1.0, |weight| if weight.len() == 1 { weight[0] } else { weight[c] })
}

/// Returns `y` of every row.
pub(super) fn normalized(norm: Norm, params: &NormParams, x: &Array3<f64>) -> Array3<f64> {
    let mut y = x.clone();
    let (weight, bias) = (params.weight.as_ref(), params.bias.as_ref());
    for mut y in y.lanes_mut(Axis(2)) {
        match (norm.of, &params.statistics) {
            (NormOf::PRelu, _) => {
                y.iter_mut().enumerate().for_each(|(c, x)| *x = x.max(0.0) + slope(weight, c) * x.min(0.0));
                continue;
            }
            (NormOf::Batch, Some([mean, variance])) => {
                Zip::from(&mut y).and(mean).and(&deviations(norm, variance)).for_each(|x, m, d| *x = (*x - m) * d);
            }
            _ => {
                let normal = row(norm, y.view()).normal;
                y.assign(&normal);
            }
        }
        for (c, y) in y.iter_mut().enumerate() {
            *y = *y * slope(weight, c) + bias.map_or(0.0, |bias| bias[c]);
        }
    }
    y
}

/// Returns `δx`, and adds `δweight` and `δbias`.
#[expect(clippy::cast_precision_loss, reason = "the number of features")]
pub(super) fn normalized_back(
    norm: Norm,
    params: &NormParams,
    (x, d_y): (&Array3<f64>, &Array3<f64>),
    d_params: &mut NormParams,
) -> Array3<f64> {
    let mut d_x = d_y.clone();
    let weight = params.weight.as_ref();
    let rows = x.lanes(Axis(2)).into_iter().zip(d_y.lanes(Axis(2))).zip(d_x.lanes_mut(Axis(2)));
    for ((x, d_y), mut d_x) in rows {
        // x̂, by which the weight's gradient is multiplied.
        let normal = match (norm.of, &params.statistics) {
            (NormOf::PRelu, _) => x.mapv(|x| x.min(0.0)),
            (NormOf::Batch, Some([mean, variance])) => (&x - mean) * deviations(norm, variance),
            _ => row(norm, x).normal,
        };
        let d_normal = Array1::from_shape_fn(d_y.len(), |c| d_y[c] * slope(weight, c));
        match (norm.of, &params.statistics) {
            (NormOf::PRelu, _) => {
                for (c, d) in d_x.iter_mut().enumerate() {
                    *d = if x[c] > 0.0 { d_y[c] } else { d_normal[c] };
                }
            }
            (NormOf::Batch, Some([_, variance])) => d_x.assign(&(&d_normal * &deviations(norm, variance))),
            _ => {
                let Row { factor, fixed, .. } = row(norm, x);
                let n = if norm.of == NormOf::L2 { 1.0 } else { norm.features as f64 };
                let plain = if norm.of == NormOf::Layer { d_normal.sum() / n } else { 0.0 };
                let along = if fixed { 0.0 } else { (&d_normal * &normal).sum() / n };
                d_x.assign(&((&d_normal - plain - &normal * along) * factor));
            }
        }
        if let Some(d_weight) = &mut d_params.weight {
            let own = &d_y * &normal;
            if d_weight.len() == 1 { *d_weight += own.sum() } else { *d_weight += &own }
        }
        if let Some(d_bias) = &mut d_params.bias {
            *d_bias += &d_y;
        }
    }
    d_x
}
