//! What `scripts/first-hour.sh` runs in a crate of its own, in a debug build and in a release build: reads the files that
//! it is given, times a call, and gives up a call that takes too long.

use std::error::Error;
use std::time::{Duration, Instant};

use gatewave::{Device, Engine, Input, Lstm, Model, Weights};
use ndarray::Array3;

/// How often each call is timed.
const RUNS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for file in std::env::args().skip(1) {
        let engine = Engine::open(&file)?;
        println!("{file}: {} layers on {}", engine.model().layers.len(), engine.device());
    }
    let model = Model::new().layer(Lstm::new(40, 256).num_layers(2));
    let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;

    let input = Input::features(Array3::from_elem((8, 50, 40), 0.5));
    engine.run(&input)?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        engine.run(&input)?;
        times.push(begin.elapsed());
    }
    times.sort();
    println!("call {:.3} ms", times[RUNS / 2].as_secs_f64() * 1e3);

    let long = Input::features(Array3::from_elem((8, 1000, 40), 0.5));
    let begin = Instant::now();
    engine.run_async(&long).await?;
    let whole = begin.elapsed();
    // The shortest, since another process may take the core during some.
    let mut shortest = Duration::MAX;
    for _ in 0..RUNS {
        let begin = Instant::now();
        let result = tokio::time::timeout(Duration::from_millis(1), engine.run_async(&long)).await;
        shortest = shortest.min(begin.elapsed());
        if result.is_ok() {
            return Err("expected a timeout of 1 ms to end first, got the result of the call".into());
        }
    }
    println!("a timeout of 1 ms came after {shortest:.1?}; the whole call takes {whole:.1?}");
    if shortest > whole / 4 {
        return Err("expected the timeout long before the end of the call".into());
    }
    Ok(())
}
