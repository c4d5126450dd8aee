//! A classifier of sentences of different lengths: embedding, bidirectional LSTM, the final hidden states of both
//! directions, one number between 0 and 1. The weights are random, so the probabilities mean nothing; the shapes do.
//!
//! `cargo run --release --example classify [auto | cpu | part of an adapter's name]`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use gatewave::{Activation, Device, Embedding, Engine, Input, Linear, Lstm, Model, Result, Select, Weights};
use ndarray::Array2;

const SENTENCES: [&str; 3] =
    ["a film that I would gladly see again", "dull", "the first half is slow but then it soars"];

fn main() -> Result<()> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("auto").parse()?;

    // A vocabulary of the words that occur; 0 pads the rows.
    let mut words: Vec<&str> = SENTENCES.iter().flat_map(|sentence| sentence.split(' ')).collect();
    words.sort_unstable();
    words.dedup();
    let token = |word: &str| words.iter().position(|known| *known == word).map_or(0, |index| index as i64 + 1);

    let model = Model::new()
        .layer(Embedding::new(words.len() + 1, 16))
        .layer(Lstm::new(16, 32).bidirectional())
        .layer(Select::FinalHidden)
        .layer(Linear::new(64, 1).activation(Activation::Sigmoid));
    println!("{}", model.summary());
    let weights = Weights::random(&model, 7)?;
    let engine = Engine::new(model, &weights, device)?;
    println!("device  {}", engine.device());

    let rows: Vec<Vec<i64>> = SENTENCES.iter().map(|sentence| sentence.split(' ').map(token).collect()).collect();
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let padded = Array2::from_shape_fn((rows.len(), longest), |(row, t)| rows[row].get(t).copied().unwrap_or(0));
    let lengths: Vec<i64> = rows.iter().map(|row| row.len() as i64).collect();
    let batch = engine.run(&Input::tokens(padded).lengths(lengths))?;

    for ((sentence, row), odds) in SENTENCES.iter().zip(rows).zip(&batch.output) {
        // Each row of the batch gives what it gives alone, without any padding.
        let alone = engine.run(&Input::tokens(ndarray::Array1::from(row)))?;
        println!("{odds:.6}  alone {:.6}  {sentence}", alone.output[0]);
        assert!((odds - alone.output[0]).abs() < 1e-5, "padding changed a row");
    }
    Ok(())
}
