//! Gradients of executors against the oracle's: every case of the table, and random models.
//!
//! The CPU computes all of them, and the adapter that `GATEWAVE_ADAPTER` names computes some. Each case
//! compiles kernels of its own, which takes long on a software adapter. `GATEWAVE_RANDOM` is the number of
//! random models, and `GATEWAVE_SEED` the seed before the first. `scripts/gradients.sh` runs thousands.

#[path = "training/dropout.rs"]
mod dropout;
#[path = "gradients/models.rs"]
mod models;
#[path = "training/recurrent_dropout.rs"]
mod recurrent_dropout;
mod support;

use std::env;
use std::str::FromStr;
use std::sync::Arc;

use gatewave::conformance::{self, Case, Part};
use gatewave::inspect::plan::Limits;
use gatewave::layer::{Cell, Recurrent};
use gatewave::oracle::{self, TrueGradients, Truth};
use gatewave::train::{Batch, Convention, Gradients, Sgd, Update};
use gatewave::{Device, Embedding, Engine, EngineBuilder, Error, Input, Linear, Model, Strategy, Trainer, Weights};
use ndarray::{Array2, Array3};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use support::devices::cpu_and_adapter;

/// The CPU, and the adapter that is named. Only the adapter if
/// `GATEWAVE_CPU` is `0`, since the CPU has been tested already.
fn devices() -> Vec<Device> {
    let leaves_out =
        |device: &Device| *device == Device::Cpu && env::var("GATEWAVE_CPU").is_ok_and(|value| value == "0");
    let devices: Vec<_> = cpu_and_adapter().into_iter().filter(|device| !leaves_out(device)).collect();
    assert!(!devices.is_empty(), "GATEWAVE_CPU=0: expected an adapter in GATEWAVE_ADAPTER");
    devices
}

/// Returns the largest part of a tolerance that a gradient uses, and where.
fn worst(parts: &[Part]) -> (f64, String) {
    let worst = parts.iter().max_by(|a, b| a.comparison.used.total_cmp(&b.comparison.used));
    worst.map_or((f64::INFINITY, "nothing".to_owned()), |part| {
        (part.comparison.used, format!("{} {}", part.name, part.comparison))
    })
}

/// Compares gradients with the true ones.
fn compare(got: &Gradients, want: &TrueGradients) -> (f64, String) {
    worst(&conformance::compare_gradients(got, want).unwrap_or_else(|error| panic!("{error}")))
}

fn worst_of(case: &Case, weights: &Weights, options: &EngineBuilder) -> Result<(f64, String), Error> {
    let case = case.training(weights)?;
    let got = case.trainer(options.clone())?.gradients(&case.batch)?;
    Ok(worst(&case.compare(&got, &case.truth()?)?))
}

#[test]
fn gradients_of_every_case_of_the_table_are_true() {
    for device in devices() {
        let every = if device == Device::Cpu { 1 } else { 6 };
        let options = Engine::builder().device(device.clone());
        let mut wrong = Vec::new();
        for case in conformance::cases().into_iter().step_by(every) {
            match worst_of(&case, &case.weights(), &options) {
                Ok((used, _)) if used <= 1.0 => {}
                Ok((_, worst)) => wrong.push(format!("{}: {worst}", case.name)),
                Err(error) => wrong.push(format!("{}: {error}", case.name)),
            }
        }
        assert!(wrong.is_empty(), "{device:?}: {}:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// The most bytes that one layer keeps, in the models that keep most: both directions of LSTMs.
const ONE_LAYER: u64 = 2 * 4 * 64 * 4 * 17 * 70;

/// The bytes of a chunk: about a sixth of a layer's hoisted gates.
const CHUNK: u64 = 200 << 10;

/// Calls that go through time in several chunks, and backward from the last one. The same call
/// gives the same bits, whether all, some or no layers keep the values for their backward pass.
#[test]
fn gradients_of_long_calls_are_true_and_the_same_bits_each_time() {
    let lengths: Vec<i64> = (0..17).map(|b| 70 - 2 * b).collect();
    let features = Array3::from_shape_fn((17, 70, 24), |(b, t, n)| ((b * 7 + t * 3 + n) as f32).sin());
    let tokens = Array2::from_shape_fn((17, 70), |(b, t)| ((b * 5 + t * t) % 40) as i64);
    let wide = |cell| Recurrent::new(cell, 24, 52).num_layers(2);
    let calls = Cell::ALL.into_iter().flat_map(|cell| {
        let head = Model::new().layer(Embedding::new(40, 24)).layer(wide(cell)).layer(Linear::new(52, 40));
        [
            (Model::new().layer(wide(cell)), Input::features(features.clone())),
            (
                Model::new().layer(wide(cell).bidirectional()),
                Input::features(features.clone()).lengths(lengths.clone()),
            ),
            (head, Input::tokens(tokens.clone())),
        ]
    });
    for (model, input) in calls {
        let weights = Weights::random(&model, 3).expect("the model is right");
        let (objective, targets) = conformance::objective(&model, &input, 5).expect("targets fit");
        let want = oracle::gradients(&model, &weights, &input, &objective, &targets).expect("the truth");
        for device in devices() {
            let trainer = |keep_bytes: Option<u64>| {
                let update = Update::by(Sgd::like(Convention::Torch));
                let options = Engine::builder().chunk_bytes(CHUNK);
                let options = options.device(device.clone()).keep_bytes(keep_bytes);
                Trainer::new(&model, &weights, objective.clone(), update, options).expect("a trainer")
            };
            let (trainer, others) = (trainer(None), [ONE_LAYER, 0].map(|bytes| trainer(Some(bytes))));
            let batch = Batch::of_several(input.clone(), targets.clone());
            let got = trainer.gradients(&batch).expect("gradients");
            let (used, worst) = compare(&got, &want);
            assert!(used <= 1.0, "{device:?}: {}: {worst}", model.summary());
            for trainer in [&trainer, &others[0], &others[1]] {
                assert!(trainer.gradients(&batch).expect("gradients") == got, "{device:?}: {}", model.summary());
            }
        }
    }
}

#[test]
fn gradients_of_random_models_are_true() {
    random_models(10, |case| (case, Engine::builder()));
}

/// Chunks of four steps, and dispatches with few workgroups and loop iterations. So small models
/// are cut like large ones, and every dispatch begins at other rows in each of its bindings.
#[test]
fn gradients_of_random_models_in_many_pieces_are_true() {
    random_models(12, |case| {
        // Random numbers independent of the model's.
        let mut draw = models::Draw(ChaCha8Rng::seed_from_u64(!case.seed));
        let (time, wide) = (1 + draw.below(23), draw.chance(4));
        let batch = 1 + draw.below(if wide { 80 } else { 5 });
        let workgroups = u32::try_from(batch.max(8) + draw.below(8)).expect("few");
        // The lanes of a softmax exchange values in about three hundred iterations.
        let limits = Limits { workgroups, loop_iterations: 320, ..Limits::HOST };
        // Values that are not kept are computed twice.
        let keep_bytes = draw.chance(2).then_some(0);
        let strategy = [None, Some(Strategy::Step), Some(Strategy::Scan)][draw.below(3)];
        let options = Engine::builder().chunk_bytes(0).keep_bytes(keep_bytes).limits(limits).strategy(strategy);
        (Case { time, batch, ..case }, options)
    });
}

/// From here on, f32 has no fractions.
const WHOLE: f64 = (1 << 24) as f64;

/// Whether unbounded functions drive a case out of the range of f32:
/// its true results, the CPU's gradients of it, or a number in between.
fn is_lost(case: &Case, weights: &Weights) -> bool {
    let is_far = |truth: &Truth| {
        let states = truth.states.iter().flat_map(|states| states.h.iter().chain(states.c.iter().flatten()));
        let outputs = truth.output.iter().chain(truth.others.iter().flatten());
        states.chain(outputs).any(|x| x.is_nan() || x.abs() > WHOLE)
    };
    let on_cpu = Engine::builder().device(Device::Cpu);
    case.truth(weights).is_ok_and(|truth| is_far(&truth))
        || worst_of(case, weights, &on_cpu).is_ok_and(|(used, _)| used.is_infinite())
        || numbers_of(case, weights, on_cpu).is_ok_and(|numbers| numbers.iter().any(|x| f64::from(x.abs()) > WHOLE))
}

/// Returns the numbers that a trainer of a case computes before its gradients.
fn numbers_of(case: &Case, weights: &Weights, options: EngineBuilder) -> Result<Vec<f32>, Error> {
    let case = case.training(weights)?;
    let slots = case.trainer(options)?.trace_by(&case.batch, &mut Arc::clone)?;
    Ok(slots.into_iter().flat_map(|(_, numbers)| numbers).collect())
}

/// Returns the number in an environment variable.
fn asked<N: FromStr>(name: &str) -> Option<N> {
    env::var(name).ok().and_then(|n| n.parse().ok())
}

/// Compares random models, `on_adapter` of them on an adapter, each changed by `change`.
fn random_models(on_adapter: usize, change: impl Fn(Case) -> (Case, EngineBuilder)) {
    for device in devices() {
        let models = asked("GATEWAVE_RANDOM").unwrap_or(if device == Device::Cpu { 200 } else { on_adapter });
        let (mut seed, mut done, mut lost) = (asked("GATEWAVE_SEED").unwrap_or(0), 0, 0);
        let mut most = 0.0_f64;
        let mut wrong = Vec::new();
        while done < models {
            seed += 1;
            let Some((case, options)) = models::draw(seed).map(&change) else { continue };
            let options = options.device(device.clone());
            let weights = Weights::random(&case.model, seed).expect("the model is right");
            let say = |what: String| format!("seed {seed}: {what}\n{}", case.model.summary());
            match worst_of(&case, &weights, &options) {
                Ok((used, _)) if used <= 1.0 => most = most.max(used),
                Ok(_) if is_lost(&case, &weights) => lost += 1,
                Ok((_, worst)) => wrong.push(say(worst)),
                Err(error) if models::is_of_steps(&error) => continue,
                Err(error) => wrong.push(say(error.to_string())),
            }
            done += 1;
        }
        eprintln!(
            "{device:?}: {done} models up to seed {seed}, {lost} lost, at most {:.0} % of the tolerance",
            100.0 * most
        );
        assert!(wrong.is_empty(), "{device:?}: {} of {done}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(20 * lost <= models || models < 20, "{device:?}: {lost} of {models} models lost");
    }
}
