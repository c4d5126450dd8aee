//! The weights that a training begins with: PyTorch's or Keras', from a seed, with the same bits on every machine.
//!
//! The distribution of each parameter is in the table of its layer (`model/layer/`); here it is drawn.

use super::clip::rounded;
use super::draw::Draws;
use super::orthogonal::orthonormalise;
use super::settings::Convention;
use crate::error::{Result, SMALLER_MODEL, zeros};
use crate::model::{Init, Law, Model, Param};
use crate::platform::affordable;
use crate::platform::parallel::*;
use crate::weights::{Tensor, Tensors, Weights};

/// Elements that are drawn before they are rounded.
const CHUNK: usize = 1 << 14;

impl Weights {
    /// Draws the weights that a training begins with from `seed`, by the distributions
    /// of PyTorch or of Keras. The same seed gives the same bits on every machine.
    ///
    /// | | PyTorch | Keras |
    /// | --- | --- | --- |
    /// | a recurrent layer's input matrix | U(±1/√H), as all of the layer | Glorot uniform of all gates as one matrix |
    /// | its recurrent matrix | U(±1/√H) | orthogonal, of all gates as one matrix |
    /// | its biases | U(±1/√H) | zero; one for an LSTM's forget gate, unless the gate is 1 − i |
    /// | a projection | U(±1/√H) | Glorot uniform: Keras has none |
    /// | peepholes | U(±1/√H): PyTorch has none | U(±√(3/H)), as `tf.keras.experimental.PeepholeLSTMCell` |
    /// | learned initial states | zero: PyTorch has none | zero: Keras has none |
    /// | linear | U(±1/√in), the bias too | Glorot uniform, the bias zero |
    /// | convolution | U(±1/√(in / groups · taps)), the bias too | Glorot uniform, the bias zero |
    /// | embedding | N(0, 1) | U(±0.05) |
    /// | weights and biases of a normalisation | one and zero | one and zero |
    /// | the slopes of a PReLU | 0.25 | zero |
    ///
    /// A layer with two biases has Keras' in the first, and zero in the second. The row of an
    /// embedding's `padding_idx` is zero. Layers that share tensors take those of the first.
    ///
    /// ```
    /// use gatewave::train::Convention;
    /// use gatewave::{Linear, Lstm, Model, Weights};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Lstm::new(8, 32)).layer(Linear::new(32, 1));
    /// let weights = Weights::initial(&model, Convention::Keras, 42)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Weights::random`].
    pub fn initial(model: &Model, like: Convention, seed: u64) -> Result<Self> {
        model.check()?;
        affordable("weights", (model.parameters() as u64).saturating_mul(4), SMALLER_MODEL)?;
        let mut tensors = Tensors::new();
        let tables = model.layers.iter().flat_map(|layer| layer.kind.tensors().map(|param| (&layer.prefix, param)));
        for (index, (prefix, Param { name, shape, init, .. })) in (0_u32..).zip(tables) {
            let name = prefix.clone() + &name;
            if tensors.get(&name).is_none() {
                let data = drawn(&name, &shape, init, like, Draws::new(seed, index))?;
                tensors.insert(name, Tensor::new(shape, data));
            }
        }
        Self::from_tensors(model, tensors)
    }
}

/// Draws the elements of a tensor of `shape`, whose rows are its slowest axis.
fn drawn(name: &str, shape: &[usize], init: Init, like: Convention, draws: Draws) -> Result<Vec<f32>> {
    let what = format!("weights {name}");
    let mut data = zeros::<f32>(&what, shape, SMALLER_MODEL)?;
    let width = shape[1..].iter().product::<usize>();
    let law = match like {
        Convention::Torch => init.torch,
        Convention::Keras => init.keras,
    };
    match law {
        Law::Zero => {}
        Law::OneAt { first, count } => data[first..][..count].fill(1.0),
        Law::Value(value) => data.fill(value),
        Law::Uniform(bound) => fill(&mut data, bound, |first, to| draws.uniform(first, to)),
        Law::Normal => fill(&mut data, 1.0, |first, to| draws.normal(first, to)),
        Law::Orthogonal => {
            let (count, len) = (shape[0].min(width), shape[0].max(width));
            let mut vectors = zeros::<f64>(&what, &[count, len], SMALLER_MODEL)?;
            draws.normal(0, &mut vectors);
            orthonormalise(&mut vectors, len);
            for (at, x) in data.iter_mut().enumerate() {
                let (row, column) = (at / width, at % width);
                let (vector, element) = if shape[0] < width { (row, column) } else { (column, row) };
                *x = rounded(vectors[vector * len + element]);
            }
        }
    }
    if let Some(row) = init.zero_row {
        data.iter_mut().skip(row.saturating_mul(width)).take(width).for_each(|x| *x = 0.0);
    }
    Ok(data)
}

/// Fills `data` with the numbers of `draw`, times `by`. `draw`
/// gets the first pair, and fills the slice that it is given.
fn fill(data: &mut [f32], by: f64, draw: impl Fn(u64, &mut [f64]) + Sync) {
    data.par_chunks_mut(CHUNK).zip(0_u32..u32::MAX).for_each(|(data, chunk)| {
        let mut numbers = vec![0.0; data.len()];
        draw(u64::from(chunk) * (CHUNK as u64 / 2), &mut numbers);
        data.iter_mut().zip(numbers).for_each(|(to, x)| *to = rounded(by * x));
    });
}
