//! The cost of the host itself, without computing: planning, an almost empty call, loading.
//!
//! `cargo bench --bench host` measures, `cargo bench --bench host -- --test` runs each once. No GPU is used.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

#[path = "../tests/support/work_list.rs"]
mod work_list;

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gatewave::formats::safetensors;
use gatewave::inspect::layout::Layout;
use gatewave::inspect::plan::lower::lower;
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Limits, check};
use gatewave::{Device, Embedding, Engine, Input, Linear, Lstm, Model, Precision, Rnn, Weights};
use ndarray::Array3;

use work_list::work_list;

/// Times a plan from a model: its layout, `lower`, and `check`, which `lower` ends with, once more by itself.
fn planning(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    let tuning = Tuning::of(Target::Gpu);
    for (id, model, shape) in work_list() {
        let layout = Layout::of(&model, Precision::F32).expect("a model of the list");
        let plan = || lower(&model, &layout, shape, &Limits::WEBGPU, &tuning).expect("a shape that fits");
        group.bench_function(format!("lower {id}"), |b| b.iter(plan));
        let plan = plan();
        group.bench_function(format!("check {id}"), |b| b.iter(|| check::check(black_box(&plan), &Limits::WEBGPU)));
    }
}

/// Times a call that computes next to nothing: what remains is
/// checking it, laying out its input and cutting out its output.
fn calling(c: &mut Criterion) {
    let model = Model::new().layer(Rnn::new(8, 16));
    let engine = engine(&model, &Weights::random(&model, 0).expect("a model"));
    let input = Input::features(Array3::from_elem((1, 1, 8), 0.5));
    c.bench_function("call one step of 16 units", |b| b.iter(|| engine.run(&input).expect("an input of the model")));
}

/// Times going from weights to an engine: packed as they are, and with an embedding folded into the layer behind it.
fn packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("pack");
    let plain = Model::new().layer(Lstm::new(512, 512).num_layers(2));
    let folded = Model::new().layer(Embedding::new(20_000, 128)).layer(Lstm::new(128, 128));
    for (name, model) in [("two LSTM layers of 512", plain), ("20,000 vectors of 128 into an LSTM of 128", folded)] {
        let weights = Weights::random(&model, 0).expect("a model");
        group.bench_function(name, |b| b.iter(|| engine(&model, &weights)));
    }
}

/// Times going from a file of 8 MB to weights.
fn reading(c: &mut Criterion) {
    let model = Model::new().layer(Lstm::new(512, 512)).layer(Linear::new(512, 16));
    let weights = Weights::random(&model, 0).expect("a model");
    let tensors = weights.to_tensors(&model).expect("its weights");
    let path = std::env::temp_dir().join(format!("gatewave-host-{}.safetensors", std::process::id()));
    safetensors::write(&path, &tensors, None, Precision::F32).expect("a folder to write to");
    c.bench_function("read safetensors of 8 MB", |b| {
        b.iter(|| {
            let file = safetensors::read(&path).expect("it was written");
            Weights::from_tensors(&model, file.tensors).expect("the model's")
        });
    });
    fs::remove_file(&path).expect("it is there");
}

fn summing_up(c: &mut Criterion) {
    let model = Model::new().layer(Embedding::new(500, 16)).layer(Lstm::new(16, 32).num_layers(4).bidirectional());
    c.bench_function("summary", |b| b.iter(|| black_box(&model).summary().to_string()));
}

fn engine(model: &Model, weights: &Weights) -> Engine {
    Engine::new(model, weights, Device::Cpu).expect("a model with its weights")
}

criterion_group! {
    name = host;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = planning, calling, packing, reading, summing_up
}
criterion_main!(host);
