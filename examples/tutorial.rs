//! The steps of docs/tutorials.md in Rust, in the page's order. A test compares the page with them.
//!
//! `cargo run --release --example tutorial`, at the root of the project
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use gatewave::data::{Labelled, Side, TextOptions, TextSpec};
use gatewave::layer::Bias;
use gatewave::train::Convention;
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{Device, Embedding, Engine, Input, Linear, Model, Result, Rnn, Select, Values, Weights};
use ndarray::{Array1, Array2, Array3};

/// The steps, in the page's order.
pub(crate) const STEPS: [fn() -> Result<()>; 6] = [the_loop, the_layer, shapes, directions, pieces, padding];

fn main() -> Result<()> {
    STEPS.iter().try_for_each(|step| step())
}

/// The loop of the NumPy tutorials.
fn the_loop() -> Result<()> {
    let wave = |rows, columns| Array2::from_shape_fn((rows, columns), |(i, j)| ((3 * i + j) as f32).sin() / 8.0);
    let (inputs, w, u, b) = (wave(100, 32), wave(64, 32), wave(64, 64), Array1::from_elem(64, 0.1_f32));
    let mut outputs = Array2::<f32>::zeros((100, 64));
    let mut state = Array1::<f32>::zeros(64);
    for (input, mut output) in inputs.rows().into_iter().zip(outputs.rows_mut()) {
        state = (w.dot(&input) + u.dot(&state) + &b).mapv(f32::tanh);
        output.assign(&state);
    }
    println!("{:?}, the last output begins {:.4} {:.4} {:.4}", outputs.shape(), state[0], state[1], state[2]);
    Ok(())
}

/// The same numbers, from a layer.
fn the_layer() -> Result<()> {
    let wave = |rows, columns| Array2::from_shape_fn((rows, columns), |(i, j)| ((3 * i + j) as f32).sin() / 8.0);
    let (inputs, w, u, b) = (wave(100, 32), wave(64, 32), wave(64, 64), Array1::from_elem(64, 0.1_f32));
    let cell = CellWeights::new(w, u).b_x(b);
    let weights = Weights::new(vec![LayerWeights::Recurrent(vec![cell])]);
    let model = Model::new().layer(Rnn::new(32, 64).bias(Bias::One));
    let outputs = Engine::new(model, &weights, Device::Cpu)?.run(&Input::features(inputs))?.output;
    let [a, b, c] = [0, 1, 2].map(|unit| outputs[[99, unit]]);
    println!("{:?}, the last output begins {a:.4} {b:.4} {c:.4}", outputs.shape());
    Ok(())
}

/// The inputs and outputs of PyTorch's `nn.RNN`.
fn shapes() -> Result<()> {
    let model = Model::new().layer(Rnn::new(10, 20).num_layers(2));
    println!("{} parameters", model.parameters());
    let weights = Weights::initial(&model, Convention::Torch, 0)?;
    let engine = Engine::new(model, &weights, Device::Cpu)?;
    let result = engine.run(&Input::features(Array3::ones((5, 3, 10))))?;
    println!("output {:?}, h_n {:?}", result.output.shape(), result.states[0].h.shape());
    Ok(())
}

/// Both directions, and one sequence without a batch.
fn directions() -> Result<()> {
    let model = Model::new().layer(Rnn::new(10, 20).bidirectional());
    let weights = Weights::initial(&model, Convention::Torch, 0)?;
    let engine = Engine::new(model, &weights, Device::Cpu)?;
    let batch = engine.run(&Input::features(Array3::ones((5, 3, 10))))?;
    println!("output {:?}, h_n {:?}", batch.output.shape(), batch.states[0].h.shape());
    let alone = engine.run(&Input::features(Array2::ones((3, 10))))?;
    println!("output {:?}, h_n {:?}", alone.output.shape(), alone.states[0].h.shape());
    Ok(())
}

/// A sequence in two pieces.
fn pieces() -> Result<()> {
    let model = Model::new().layer(Rnn::new(10, 20));
    let weights = Weights::initial(&model, Convention::Torch, 0)?;
    let engine = Engine::new(model, &weights, Device::Cpu)?;
    let steps = |count: usize| Input::features(Array3::<f32>::ones((5, count, 10)));
    let whole = engine.run(&steps(3))?;
    let begun = engine.run(&steps(2))?;
    let ended = engine.run(&steps(1).states(begun.states[0].clone()))?;
    let difference = (&whole.states[0].h - &ended.states[0].h).mapv(f32::abs).sum();
    println!("output {:?}, then {:?}, difference {difference:.4}", begun.output.shape(), ended.output.shape());
    Ok(())
}

/// Two reviews of twelve tokens, cut and padded at their end, then at their start.
fn padding() -> Result<()> {
    let reviews = Labelled::read("examples/reviews.tsv", &Default::default())?;
    let layers = Model::new().layer(Embedding::new(500, 16)).layer(Rnn::new(16, 8));
    let model = layers.layer(Select::FinalHidden).layer(Linear::new(8, 1));
    for side in [Side::End, Side::Start] {
        let mut options = TextOptions::default();
        (options.max_length, options.truncate, options.pad) = (Some(12), side, side);
        let tensors = TextSpec::learn(&model, &reviews, &options)?.tensors(&model, &reviews)?;
        if let Values::I64(tokens) = &tensors["x"] {
            tokens.outer_iter().take(2).for_each(|row| println!("{side:?}  {row}"));
        }
    }
    Ok(())
}
