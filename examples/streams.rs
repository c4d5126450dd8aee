//! A thousand microphones: frames as they come, many streams in one batch, and what a frame costs.
//!
//! `cargo run --release --example streams [DEVICE]` prints how soon the first result is there, and the time of a push for
//! 1 to 1000 streams of an LSTM of 128 units; on the CPU also what the weights' bytes alone take at the rate of a long
//! sequence, which has no push to pay for.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, Instant};

use gatewave::{Device, Engine, Input, Linear, Lstm, Model, Result, Results, Streams, Weights};
use ndarray::Array3;

const FEATURES: usize = 40;
const UNITS: usize = 128;

fn main() -> Result<()> {
    let device: Device = std::env::args().nth(1).as_deref().unwrap_or("cpu").parse()?;
    let model = Model::new().layer(Lstm::new(FEATURES, UNITS)).layer(Linear::new(UNITS, 1));
    let weights = Weights::random(&model, 0)?;
    let start = Instant::now();
    let engine = Engine::new(model, &weights, device)?;
    let open = start.elapsed();
    let mut streams = Streams::new(&engine, 1)?;
    let id = streams.join();
    streams.push(&[(id, frame(0))], Results::Wanted)?;
    println!("{}: open after {open:.1?}, the first result after {:.1?}", engine.device(), start.elapsed());
    if engine.device().is_cpu() {
        println!("one frame's weights at the rate of a long sequence: {:.1} µs", weights_us(&engine)?);
    }
    for count in [1, 10, 100, 1000] {
        let mut streams = Streams::new(&engine, count)?;
        let ids: Vec<_> = (0..count).map(|_| streams.join()).collect();
        let frames: Vec<_> = ids.iter().enumerate().map(|(n, &id)| (id, frame(n))).collect();
        let (least, median) = fastest(|| streams.push(&frames, Results::Wanted).map(|_| ()))?;
        println!(
            "{count:5} streams: {least:8.1} µs a push, median {median:8.1}, {:6.2} a frame",
            median / count as f64
        );
    }
    Ok(())
}

/// Microseconds for as many bytes of weights as a frame needs, at the rate at which a long sequence reads those of its
/// steps: 144 rows of gates, since one feature is padded to 16.
fn weights_us(engine: &Engine) -> Result<f64> {
    const STEPS: usize = 2000;
    let model = Model::new().layer(Lstm::new(1, UNITS));
    let long = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
    let input = Input::features(Array3::from_shape_fn((1, STEPS, 1), |(_, t, _)| (t as f32).sin()));
    let (least, _) = fastest(|| long.run(&input).map(|_| ()))?;
    let rows = FEATURES.next_multiple_of(16) + UNITS;
    let of_head = engine.model().parameters() - 4 * UNITS * (FEATURES + UNITS + 2);
    let per_weight = least / (STEPS * 4 * UNITS * (16 + UNITS)) as f64;
    Ok(per_weight * (4 * UNITS * rows + of_head) as f64)
}

fn frame(seed: usize) -> Vec<f32> {
    (0..FEATURES).map(|i| ((seed * FEATURES + i) as f32).sin()).collect()
}

/// The shortest and the median time of many turns, in microseconds.
fn fastest(mut turn: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 20 || start.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        turn()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}
