//! A thousand microphones: frames as they come, many streams in one batch, and the cost of a frame.
//!
//! `cargo run --release --example streams [DEVICE]` prints two times: until the first result, and that of a push for 1
//! to 1000 streams of an LSTM of 128 units. On a GPU it also prints the time of consecutive pushes whose results are
//! not wanted, or are fetched later. On the CPU it prints how many times as long a push takes as its arithmetic alone.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, Instant};

use gatewave::{Activation, Device, Engine, Error, Input, Linear, Lstm, Model, Result, Results, Streams, Weights};
use ndarray::Array2;

const FEATURES: usize = 40;
const UNITS: usize = 128;
/// Consecutive pushes: the host lays out one while the device computes another.
const ROW: u32 = 20;
/// Pushes that are submitted before the results of the first are fetched.
const AHEAD: u32 = 2;

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
    for count in [1, 10, 100, 1000] {
        let mut streams = Streams::new(&engine, count)?;
        let ids: Vec<_> = (0..count).map(|_| streams.join()).collect();
        let frames: Vec<_> = ids.iter().enumerate().map(|(n, &id)| (id, frame(n))).collect();
        let (least, median) = fastest(|| {
            let start = Instant::now();
            streams.push(&frames, Results::Wanted)?;
            Ok(start.elapsed())
        })?;
        let frame = median / count as f64;
        print!("{count:5} streams: {least:8.1} µs a push, median {median:8.1}, {frame:6.2} a frame");
        if engine.device().is_cpu() {
            let [products, functions] = arithmetic_us(count)?;
            print!("; its products take {products:.1} µs, its functions {functions:.1}: ");
            print!(
                "{:.2} times both, {:.2} times the products alone",
                least / (products + functions),
                least / products
            );
        } else {
            let (_, median) = fastest(|| {
                let start = Instant::now();
                (1..ROW).try_for_each(|_| streams.push(&frames, Results::Unwanted).map(drop))?;
                // The last push waits for all that was still to be computed.
                streams.push(&frames, Results::Wanted)?;
                Ok(start.elapsed() / ROW)
            })?;
            print!("; {median:8.1} a push of {ROW} in a row, of which the last is read");
            let (_, median) = fastest(|| {
                let start = Instant::now();
                (0..AHEAD).try_for_each(|_| streams.push(&frames, Results::Deferred).map(drop))?;
                for _ in AHEAD..ROW {
                    streams.push(&frames, Results::Deferred)?;
                    streams.receive()?;
                }
                (0..AHEAD).try_for_each(|_| streams.receive().map(drop))?;
                Ok(start.elapsed() / ROW)
            })?;
            print!(", {median:8.1} where all are read, each {AHEAD} pushes later");
        }
        println!();
    }
    Ok(())
}

/// Returns the microseconds of the arithmetic of a push: products and functions of
/// the cell. It times layers that do as much of either, and subtracts the times of
/// layers that do next to nothing. Neither includes laying out inputs and outputs.
fn arithmetic_us(count: usize) -> Result<[f64; 2]> {
    let linear = |inputs, outputs, activation| {
        let model = Model::new().layer(Linear::new(inputs, outputs).activation(activation));
        let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
        let input = Input::features(Array2::from_shape_fn((count, inputs), |(b, i)| ((b + i) as f32).sin()));
        Ok::<_, Error>(fastest(|| engine.run_timed(&input).map(|(_, timings)| timings.compute))?.0)
    };
    let functions = |f, units| Ok::<_, Error>(linear(16, units, f)? - linear(16, units, Activation::Linear)?);
    // Features are padded to a multiple of 16, and so is the head's one unit.
    let products = linear(FEATURES.next_multiple_of(16) + UNITS, 4 * UNITS + 16, Activation::Linear)?
        - linear(16, 16, Activation::Linear)?;
    // Three gates, the new cell state and the output of the cell state.
    Ok([products, functions(Activation::Sigmoid, 3 * UNITS)? + functions(Activation::Tanh, 2 * UNITS)?])
}

fn frame(seed: usize) -> Vec<f32> {
    (0..FEATURES).map(|i| ((seed * FEATURES + i) as f32).sin()).collect()
}

/// Returns the shortest and the median time of many turns, each as the turn reports it, in microseconds.
fn fastest(mut turn: impl FnMut() -> Result<Duration>) -> Result<(f64, f64)> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 20 || start.elapsed() < Duration::from_millis(500) {
        times.push(turn()?.as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}
