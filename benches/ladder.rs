//! The gain of each rung of the ladder: pairs of calls that do the same work, one by the rung, one by what it replaced.
//!
//! `cargo bench --bench ladder` measures on the CPU, or with `GATEWAVE_ADAPTER=NAME`
//! on the adapter with NAME in its name. `-- --test` runs each call once.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use gatewave::layer::Direction;
use gatewave::{Device, Embedding, Engine, EngineBuilder, Gru, Input, Lstm, Model, Precision, Rnn, Strategy, Weights};
use ndarray::{Array2, Array3, s};

/// The most words of 256 units and 128 features that are folded. With one more, the product is computed in each call.
const FOLDED: usize = 1 << 14;

/// Returns the device of the environment. If that is the CPU, this thread computes on it with the others.
fn options() -> EngineBuilder {
    // Only the first of these calls builds the pool.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let name = std::env::var("GATEWAVE_ADAPTER").unwrap_or_else(|_| "cpu".to_owned());
    Engine::builder().device(name.parse().expect("any name is one"))
}

fn engine(model: Model, options: EngineBuilder) -> Engine {
    let weights = Weights::random(&model, 0).expect("a model");
    options.build(model, &weights).expect("a device, as GATEWAVE_ADAPTER names it")
}

/// Returns `[T, B, I]` of numbers without a pattern.
fn features(batch: usize, time: usize, size: usize) -> Array3<f32> {
    Array3::from_shape_fn((batch, time, size), |(b, t, i)| ((b * 31 + t * 7 + i) as f32 * 0.7).sin())
}

fn call(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, engine: &Engine, inputs: &[Input]) {
    group.bench_function(name, |b| b.iter(|| inputs.iter().for_each(|input| run(engine, input))));
}

fn run(engine: &Engine, input: &Input) {
    drop(engine.run(input).expect("an input of the model"));
}

/// Compares the input product of all timesteps at once with one in each
/// step: a wavefront computes those of all layers but the first in the step.
fn hoisted_product(c: &mut Criterion) {
    let mut group = c.benchmark_group("input product of 4 layers");
    for (name, units, batch) in [("batch 1", 128, 1), ("batch 16", 128, 16)] {
        let input = [Input::features(features(batch, 50, units))];
        for (how, strategy) in [("hoisted", Strategy::Step), ("in the step, by wavefronts", Strategy::Wavefront)] {
            let model = Model::new().layer(Lstm::new(units, units).num_layers(4));
            let engine = engine(model, options().strategy(strategy));
            call(&mut group, &format!("{name}, {how}"), &engine, &input);
        }
    }
}

/// Compares rows of a table that already went through the product with vectors that go through it in the call.
fn folded_embedding(c: &mut Criterion) {
    let mut group = c.benchmark_group("embedding");
    let tokens = Array2::from_shape_fn((16, 100), |(b, t)| ((b * 7919 + t * 104_729) % FOLDED) as i64);
    for (how, words) in [("folded", FOLDED), ("multiplied", FOLDED + 1)] {
        let model = Model::new().layer(Embedding::new(words, 128)).layer(Lstm::new(128, 256));
        call(&mut group, how, &engine(model, options()), &[Input::tokens(tokens.clone())]);
    }
}

/// Compares rows that share each weight with rows by themselves.
fn rows_together(c: &mut Criterion) {
    let mut group = c.benchmark_group("8 rows");
    let x = features(8, 50, 64);
    let alone: Vec<_> = (0..8).map(|b| Input::features(x.slice(s![b..=b, .., ..]).to_owned())).collect();
    let engine = engine(Model::new().layer(Lstm::new(64, 256)), options().strategy(Strategy::Step));
    call(&mut group, "one batch", &engine, &[Input::features(x)]);
    call(&mut group, "one after the other", &engine, &alone);
}

/// Compares both directions of a layer in each dispatch with an engine for each.
fn directions_together(c: &mut Criterion) {
    let mut group = c.benchmark_group("two directions");
    let input = Input::features(features(1, 50, 64));
    let of = |direction| {
        let mut stack = Lstm::new(64, 128);
        stack.direction = direction;
        engine(Model::new().layer(stack), options().strategy(Strategy::Step))
    };
    let [both, forward, reverse] = [Direction::Both, Direction::Forward, Direction::Reverse].map(of);
    group.bench_function("side by side", |b| b.iter(|| run(&both, &input)));
    group.bench_function("one after the other", |b| b.iter(|| [&forward, &reverse].map(|engine| run(engine, &input))));
}

/// Compares a layer's timesteps in a dispatch each, in one, and in one that workgroups share.
fn all_steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("100 steps");
    let sizes =
        [("RNN of 32", Model::new().layer(Rnn::new(32, 32))), ("GRU of 256", Model::new().layer(Gru::new(32, 256)))];
    for (name, model) in sizes {
        for strategy in [Strategy::Step, Strategy::Scan, Strategy::Persistent] {
            let engine = engine(model.clone(), options().strategy(strategy));
            call(&mut group, &format!("{name}, {strategy}"), &engine, &[Input::features(features(1, 100, 32))]);
        }
    }
}

/// Compares weights in 32, 16 and 8 bits, of a size that no cache near the lanes holds.
fn smaller_weights(c: &mut Criterion) {
    let mut group = c.benchmark_group("weights of 512 units");
    for precision in [Precision::F32, Precision::F16, Precision::I8] {
        let model = Model::new().layer(Lstm::new(64, 512));
        let engine = engine(model, options().strategy(Strategy::Step).precision(precision));
        call(&mut group, &format!("{precision:?}").to_lowercase(), &engine, &[Input::features(features(1, 50, 64))]);
    }
}

/// Runs these on a GPU alone: the host has no launches to save, and holds all weights in 32 bits.
fn on_a_gpu(c: &mut Criterion) {
    if options() != EngineBuilder::from(Device::Cpu) {
        all_steps(c);
        smaller_weights(c);
    }
}

criterion_group! {
    name = ladder;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = hoisted_product, folded_embedding, rows_together, directions_together, on_a_gpu
}
criterion_main!(ladder);
