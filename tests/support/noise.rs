//! Numbers for inputs, the same on every machine.

use ndarray::ArrayD;

/// Numbers between −1 and 1 without a pattern.
#[allow(clippy::cast_precision_loss, reason = "small indices")]
pub fn noise(shape: &[usize], seed: usize) -> ArrayD<f32> {
    let mut index = 1000 * seed;
    ArrayD::from_shape_simple_fn(shape, || {
        index += 1;
        (index as f32 * 12.9898).sin()
    })
}
