//! The loop of most tutorials on recurrent networks, `s = tanh(W·x + U·s + b)`, and the
//! same numbers from an engine. It runs over 100 steps of 32 features with 64 units.
//!
//! `cargo run --release --example numpy_rnn [auto | cpu | part of an adapter's name]`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use gatewave::layer::Bias;
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{Device, Engine, Input, Model, Result, Rnn, Weights};
use ndarray::{Array1, Array2, ArrayView2, Axis};

const STEPS: usize = 100;
const FEATURES: usize = 32;
const UNITS: usize = 64;

fn main() -> Result<()> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("auto").parse()?;

    let x = formula(STEPS, FEATURES, 1.0);
    let w = formula(UNITS, FEATURES, 0.2);
    let u = formula(UNITS, UNITS, 0.1);
    let b = formula(1, UNITS, 0.1).remove_axis(Axis(0));
    let expected = plain_loop(x.view(), &w, &u, &b);

    let model = Model::new().layer(Rnn::new(FEATURES, UNITS).bias(Bias::One));
    let cell = CellWeights::new(w, u).b_x(b);
    let weights = Weights::new(vec![LayerWeights::Recurrent(vec![cell])]);
    let engine = Engine::new(model, &weights, device)?;
    // One sequence: no batch axis goes in, and none comes out.
    let result = engine.run(&Input::features(x))?;

    let difference = result.output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("device  {}", engine.device());
    println!("output  {:?}, the last state begins {:.6}", result.output.shape(), expected.row(STEPS - 1)[0]);
    println!("largest difference from the plain loop  {difference:.1e}");
    assert!(difference < 1e-5, "the engine and the loop differ by {difference}");
    Ok(())
}

/// Runs the loop in f32, one state after the other: `[T, H]`.
fn plain_loop(x: ArrayView2<'_, f32>, w: &Array2<f32>, u: &Array2<f32>, b: &Array1<f32>) -> Array2<f32> {
    let mut states = Array2::zeros((STEPS, UNITS));
    let mut state = Array1::zeros(UNITS);
    for (x, mut row) in x.rows().into_iter().zip(states.rows_mut()) {
        state = (w.dot(&x) + u.dot(&state) + b).mapv(f32::tanh);
        row.assign(&state);
    }
    states
}

/// Returns numbers between `-size` and `size` that look random and are the same everywhere.
fn formula(rows: usize, columns: usize, size: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let n = (row * 131 + column * 71) % 257;
        size * (n as f32 / 128.0 - 1.0)
    })
}
