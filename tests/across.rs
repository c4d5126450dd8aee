//! Layers between steps and rows: files of Keras and PyTorch against their own numbers, models made in Rust, and what
//! is refused. `tests/golden/across/make.py` wrote the files and their numbers.

#![cfg(all(feature = "keras", feature = "onnx"))]

#[path = "across/conv.rs"]
mod conv;
mod support;

use std::path::{Path, PathBuf};

use gatewave::conformance::{self, Case, Tolerance, TrainingCase, compare};
use gatewave::formats::{keras, onnx};
use gatewave::layer::{
    Conv1d, ConvPadding, Flatten, GlobalPool, LayerKind, Permute, PoolPadding, Reduce, Repeat, Reshape, SliceSteps,
    WindowPool,
};
use gatewave::oracle::{Along, differences, gradients};
use gatewave::train::{Loss, Objective, Targets};
use gatewave::{Device, Engine, ErrorKind, Gru, Input, Lstm, Model, Streams, Weights, oracle};
use ndarray::{Array2, Array3, Axis, array, s};
use support::devices::cpu_and_adapter;
use support::executor::engine as engine_of;
use support::fixtures::{named, read_io};

/// The number of model files.
const COUNT: usize = 50;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/across");
    let files = support::files::files(&folder, &["keras", "onnx"]);
    assert_eq!(files.len(), COUNT, "model files in tests/golden/across");
    files
}

fn run(path: &Path) -> Result<(), String> {
    let (inputs, wanted) = read_io(&path.with_extension("io.safetensors"));
    let inputs = named(&inputs);
    let is_keras = path.extension().is_some_and(|extension| extension == "keras");
    let (model, tensors) = if is_keras { keras::read(path) } else { onnx::read(path) }.map_err(|e| e.to_string())?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.to_string())?;
    let input = model.named_input(&inputs).map_err(|e| e.to_string())?;
    let truth = oracle::run(&model, &weights, &input).map_err(|e| e.to_string())?;
    let engine = Engine::new(&model, &weights, Device::Cpu).map_err(|e| e.to_string())?;
    let got = engine.run_named(&inputs).map_err(|e| e.to_string())?;
    let tolerance = Tolerance { abs: 2e-5, rel: 2e-5 };
    let (name, wanted) = wanted.iter().next().ok_or("an output")?;
    let (_, values) = got.iter().find(|(other, _)| other == name).ok_or("no such output")?;
    let compared = compare(values.to_f32().view(), wanted.view(), tolerance).map_err(|e| e.to_string())?;
    #[expect(clippy::cast_possible_truncation, reason = "far nearer than the tolerance")]
    let truth = truth.output.mapv(|x| x as f32);
    let of_oracle = compare(truth.view(), wanted.view(), tolerance).map_err(|e| format!("the oracle: {e}"))?;
    match (compared.passed(), of_oracle.passed()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{compared}")),
        _ => Err(format!("the oracle: {of_oracle}")),
    }
}

#[test]
fn every_file_gives_what_its_framework_gives() {
    let wrong: Vec<_> =
        files().iter().filter_map(|path| run(path).err().map(|e| format!("{}: {e}", path.display()))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the cases of the table that have such a layer.
fn table() -> Vec<Case> {
    let names = ["global_pool", "window_pool", "pad_steps", "repeat", "flatten", "reshape", "permute", "conv1d"];
    let is_every = |kind: &LayerKind| matches!(kind, LayerKind::SliceSteps(slice) if slice.step > 1);
    let is_one = |kind: &LayerKind| names.contains(&kind.name()) || is_every(kind);
    let has = |case: &Case| case.model.layers.iter().any(|layer| is_one(&layer.kind));
    let cases: Vec<_> = conformance::cases().into_iter().filter(has).collect();
    assert!(cases.len() >= 42, "only {} cases", cases.len());
    cases
}

#[test]
fn every_case_of_the_table_is_true_on_each_device() {
    for (device, case) in
        cpu_and_adapter().into_iter().flat_map(|device| table().into_iter().map(move |c| (device.clone(), c)))
    {
        let result = conformance::run(&case, &mut |case, model, weights, input| {
            engine_of(&device, case.precision, model, weights)?.run(&input)
        });
        assert!(result.passed(), "{device:?}: {result}");
    }
}

#[test]
fn slopes_of_every_case_are_those_of_the_gradients() {
    for case in table() {
        let TrainingCase { model, weights, objective, batch, seed } = case.training(&case.weights()).expect("a case");
        for along in [Along::All, Along::Each] {
            let all = differences(&model, &weights, &batch.input, (&objective, &batch.targets), along, seed);
            let all = all.unwrap_or_else(|e| panic!("{}: {e}", case.name));
            let wrong = all.iter().find(|one| !one.corner && one.error >= 2e-5);
            assert!(wrong.is_none(), "{}: {wrong:?}", case.name);
        }
    }
}

#[test]
fn gradients_of_every_case_are_true_on_each_device() {
    for (device, case) in
        cpu_and_adapter().into_iter().flat_map(|device| table().into_iter().map(move |c| (device.clone(), c)))
    {
        let of = case.training(&case.weights()).expect("a case");
        let got = of.trainer(Engine::builder().device(device.clone())).and_then(|trainer| trainer.gradients(&of.batch));
        let got = got.unwrap_or_else(|e| panic!("{device:?}: {}: {e}", case.name));
        let parts = of.compare(&got, &of.truth().expect("the oracle")).expect("the same parts");
        let wrong = parts.iter().find(|part| !part.comparison.passed());
        assert!(
            wrong.is_none(),
            "{device:?}: {}: {:?}",
            case.name,
            wrong.map(|part| (&part.name, part.comparison.to_string()))
        );
    }
}

/// Returns a model of one sequence of `features`, and one layer behind a GRU of 3 units.
fn behind_a_gru(features: usize, layer: impl Into<LayerKind>) -> Model {
    let mut g = Model::graph();
    let x = g.sequence("x", features);
    let gru = g.add("gru", Gru::new(features, 3), x);
    let y = g.add("y", layer, gru);
    g.output("y", y);
    g.finish().expect("a model")
}

fn engine(model: &Model) -> (Engine, Weights) {
    let weights = Weights::random(model, 5).expect("weights");
    (Engine::new(model, &weights, Device::Cpu).expect("an engine"), weights)
}

#[test]
fn a_row_pools_what_it_pools_alone() {
    for reduce in [Reduce::Max, Reduce::Mean, Reduce::Min, Reduce::Sum] {
        let model = behind_a_gru(2, GlobalPool::new(reduce));
        let (engine, _) = engine(&model);
        let x = Array3::from_shape_fn((3, 5, 2), |(b, t, n)| (b + 2 * t + n) as f32 * 0.3 - 1.0);
        let padded = engine.run(&Input::features(&x).lengths([5, 2, 0])).expect("a result").output;
        let alone = engine.run(&Input::features(x.slice(s![1..2, ..2, ..]))).expect("a result").output;
        let (padded, alone) =
            (padded.into_dimensionality::<ndarray::Ix2>(), alone.into_dimensionality::<ndarray::Ix2>());
        let (padded, alone) = (padded.expect("rows"), alone.expect("rows"));
        assert_eq!(padded.row(1), alone.row(0), "{reduce:?}");
        assert_eq!(padded.row(2), array![0.0_f32, 0.0, 0.0], "{reduce:?}: a row without steps");
    }
}

#[test]
fn a_long_sequence_is_pooled_chunk_by_chunk() {
    let model = behind_a_gru(2, GlobalPool::new(Reduce::Mean));
    let weights = Weights::random(&model, 5).expect("weights");
    let x = Array3::from_shape_fn((2, 301, 2), |(b, t, n)| ((b + 3 * t + n) % 17) as f32 * 0.2 - 1.0);
    let input = Input::features(&x).lengths([301, 150]);
    let run = |bytes: u64| {
        let engine =
            Engine::builder().device(Device::Cpu).chunk_bytes(bytes).build(&model, &weights).expect("an engine");
        engine.run(&input).expect("a result").output
    };
    let truth = oracle::run(&model, &weights, &input).expect("the oracle").output;
    for bytes in [1, 4096, 1 << 30] {
        let compared = compare(run(bytes).view(), truth.view(), Tolerance { abs: 1e-6, rel: 1e-5 }).expect("alike");
        assert!(compared.passed(), "{bytes}: {compared}");
    }
}

/// Each window binds only the steps that it takes, so a device may be too narrow for the whole sequence.
#[test]
fn a_long_sequence_is_pooled_window_by_window() {
    let pool = WindowPool::new(Reduce::Max, 5).stride(2).padding(PoolPadding::Around { before: 3, after: 1 });
    for layer in
        [LayerKind::from(pool), WindowPool::new(Reduce::Mean, 4).stride(1).into(), SliceSteps::from(2).every(3).into()]
    {
        let model = behind_a_gru(2, layer);
        let weights = Weights::random(&model, 5).expect("weights");
        let x = Array3::from_shape_fn((2, 301, 2), |(b, t, n)| ((b + 3 * t + n) % 17) as f32 * 0.2 - 1.0);
        let input = Input::features(&x).lengths([301, 150]);
        let truth = oracle::run(&model, &weights, &input).expect("the oracle").output;
        for bytes in [1, 1 << 30] {
            let engine = Engine::builder().device(Device::Cpu).chunk_bytes(bytes).build(&model, &weights);
            let output = engine.expect("an engine").run(&input).expect("a result").output;
            let compared = compare(output.view(), truth.view(), Tolerance { abs: 1e-6, rel: 1e-5 }).expect("alike");
            assert!(compared.passed(), "{bytes}: {compared}");
        }
    }
}

/// Returns `x` with the steps `rows` of each row live, told by a mask.
fn masked<'a>(x: &'a Array3<f32>, rows: &[std::ops::Range<usize>]) -> Input<'a> {
    let (batch, time, _) = x.dim();
    Input::features(x).mask(Array2::from_shape_fn((batch, time), |(b, t)| rows[b].contains(&t)))
}

/// What PyTorch users expect of lengths: a row of a batch gives what it gives alone.
#[test]
fn a_row_gives_what_it_gives_alone_through_windows() {
    let around = |before, after| PoolPadding::Around { before, after };
    let pool = WindowPool::new;
    let layers: [(LayerKind, bool); 10] = [
        (pool(Reduce::Max, 2).into(), false),
        (pool(Reduce::Max, 3).stride(1).padding(PoolPadding::Same).into(), true),
        (pool(Reduce::Mean, 4).stride(2).padding(PoolPadding::Same).into(), false),
        (pool(Reduce::Mean, 3).stride(2).padding(around(1, 1)).ceil().into(), false),
        (pool(Reduce::Mean, 3).stride(1).padding(around(1, 1)).counts_padding().into(), true),
        (pool(Reduce::Min, 2).stride(1).dilation(2).into(), true),
        (pool(Reduce::Sum, 2).into(), false),
        (Conv1d::new(3, 3, 3).into(), true),
        (Conv1d::new(3, 3, 2).stride(2).padding(ConvPadding::Same).into(), false),
        (SliceSteps::from(0).every(2).into(), false),
    ];
    let x = Array3::from_shape_fn((4, 9, 2), |(b, t, n)| ((b + 3 * t + n) % 7) as f32 * 0.3 - 1.0);
    let at_end = [0..9, 0..4, 0..5, 0..0];
    let at_start = [0..9, 4..9, 3..8, 0..0];
    for (layer, slides) in layers {
        let mut g = Model::graph();
        let of = g.sequence("x", 2);
        let gru = g.add("gru", Gru::new(2, 3), of);
        let windows = g.add("windows", layer.clone(), gru);
        let upper = g.add("upper", Gru::new(3, 2), windows);
        g.output("y", upper.final_hidden());
        let model = g.finish().expect("a model");
        let (engine, weights) = engine(&model);
        let alone = |rows: &std::ops::Range<usize>, b: usize| {
            let own = x.slice(s![b..=b, rows.clone(), ..]);
            engine.run(&Input::features(own)).expect("a result").output.index_axis_move(Axis(0), 0)
        };
        for rows in [&at_end].into_iter().chain(slides.then_some(&at_start)) {
            let input = masked(&x, rows);
            let got = engine.run(&input).expect("a result").output;
            let truth = oracle::run(&model, &weights, &input).expect("the oracle").output;
            for (b, row) in rows.iter().enumerate() {
                let of_row = got.index_axis(Axis(0), b);
                let wanted = if row.is_empty() { of_row.mapv(|_| 0.0) } else { alone(row, b) };
                let near = |a: &f32, b: f64| (f64::from(*a) - b).abs() < 1e-6;
                assert!(of_row.iter().zip(&wanted).all(|(a, b)| near(a, f64::from(*b))), "{layer:?}, row {b}");
                let of_truth = truth.index_axis(Axis(0), b);
                assert!(of_row.iter().zip(&of_truth).all(|(a, b)| near(a, *b)), "{layer:?}, row {b} of the oracle");
            }
        }
    }
}

/// PyTorch's numbers: the first of equal ones takes the gradient, and a step between the windows takes none.
#[test]
fn a_pool_gives_and_passes_back_what_pytorch_does() {
    let around = |before, after| PoolPadding::Around { before, after };
    let x = [1.0_f32, 3.0, 3.0, 2.0, 5.0, 5.0, 0.0, 4.0];
    let cases: [(WindowPool, &[f32], &[f32]); 4] = [
        (WindowPool::new(Reduce::Max, 2).stride(3), &[3.0, 5.0, 4.0], &[0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0]),
        (
            WindowPool::new(Reduce::Max, 3).stride(2).padding(around(1, 1)),
            &[3.0, 3.0, 5.0, 5.0],
            &[0.0, 3.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0],
        ),
        (
            WindowPool::new(Reduce::Mean, 3).padding(around(1, 1)).ceil(),
            &[2.0, 10.0 / 3.0, 3.0],
            &[0.5, 0.5, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 1.0],
        ),
        (
            WindowPool::new(Reduce::Mean, 3).padding(around(1, 1)).counts_padding(),
            &[4.0 / 3.0, 10.0 / 3.0, 3.0],
            &[1.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 1.0],
        ),
    ];
    for (pool, wanted, slopes) in cases {
        let mut g = Model::graph();
        let of = g.sequence("x", 1);
        let y = g.add("y", pool, of);
        g.output("y", y);
        let model = g.finish().expect("a model");
        let (engine, weights) = engine(&model);
        let input = Array3::from_shape_vec((1, 8, 1), x.to_vec()).expect("a sequence");
        let output = engine.run(&Input::features(&input)).expect("a result").output;
        assert_eq!(output.as_slice(), Some(wanted), "{pool:?}");
        // A mean of squares whose slope at window n is n + 1.
        let count = wanted.len();
        let target = Array3::from_shape_fn((1, count, 1), |(_, n, _)| wanted[n] - 0.5 * (count * (n + 1)) as f32);
        let (input, targets) = (Input::features(&input), [Targets::values(target)]);
        let got = gradients(&model, &weights, &input, &Objective::new(Loss::MeanSquared), &targets).expect("gradients");
        let near = |(a, b): (&f64, &f32)| (a - f64::from(*b)).abs() < 1e-5;
        assert!(got.inputs["x"].iter().zip(slopes).all(near), "{pool:?}: {}", got.inputs["x"]);
    }
}

#[test]
fn numbers_keep_their_order_in_another_shape() {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let shaped = g.add("shaped", Reshape::new(2, 6), x);
    let turned = g.add("turned", Permute::new(4, 3), x);
    let flat = g.add("flat", Flatten::new(4), x);
    let steps = g.add("steps", Repeat::new(2), flat);
    let gru = g.add("gru", Gru::new(12, 2), steps);
    for (name, value) in [("shaped", shaped), ("turned", turned), ("flat", flat), ("gru", gru)] {
        g.output(name, value);
    }
    let model = g.finish().expect("a model");
    let (engine, _) = engine(&model);
    let x = Array3::from_shape_fn((1, 4, 3), |(_, t, n)| (3 * t + n) as f32);
    let got = engine.run(&Input::features(x.clone())).expect("a result");
    let row = Array2::from_shape_fn((1, 12), |(_, n)| n as f32).into_dyn();
    assert_eq!(got.output, Array3::from_shape_fn((1, 2, 6), |(_, t, n)| (6 * t + n) as f32).into_dyn());
    assert_eq!(got.others[0], x.permuted_axes([0, 2, 1]).into_dyn());
    assert_eq!(got.others[1], row);
}

#[test]
fn a_call_of_other_sizes_is_refused_by_the_layer() {
    let refused = |model: &Model, input: Input<'_>| {
        let error = engine(model).0.run(&input).expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    let x = || Input::features(Array3::<f32>::zeros((1, 5, 2)));
    let flat = behind_a_gru(2, Flatten::new(6));
    assert_eq!(refused(&flat, x()), "layer 1 y (flatten): expected 6 steps, got 5");
    let shaped = behind_a_gru(2, Reshape::new(4, 6));
    assert_eq!(refused(&shaped, x()), "layer 1 y (reshape): expected 8 steps, got 5");
    let pooled = behind_a_gru(2, WindowPool::new(Reduce::Max, 6));
    assert_eq!(
        refused(&pooled, x()),
        "layer 1 y (window_pool): expected at least 6 steps with the padding, which its window spans, got [5]"
    );
    let mut g = Model::graph();
    let row = g.row("row", 6);
    let steps = g.add("steps", Reshape::new(3, 2), row);
    let y = g.add("y", Lstm::new(2, 3), steps);
    g.output("y", y);
    let rows = g.finish().expect("a model of rows alone");
    assert_eq!(refused(&rows, x()), "row: expected [B, 6] or [6] for one row, got [1, 5, 2]");
    assert!(engine(&rows).0.run(&Input::features(array![0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0])).is_ok());
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let wrong = |layer: LayerKind| {
        let mut g = Model::graph();
        let x = g.sequence("x", 4);
        let gru = g.add("gru", Gru::new(4, 3), x);
        let y = g.add("y", layer, gru);
        g.output("y", y);
        g.finish().expect_err("it does not fit").to_string()
    };
    assert_eq!(
        wrong(Repeat::new(3).into()),
        "layer 1 y (repeat): expected features without a time axis, got a sequence of 3 features"
    );
    assert_eq!(
        wrong(Reshape::new(2, 4).into()),
        "layer 1 y (reshape): expected numbers that fill [2, 4] (steps, features), got a sequence of 3 features"
    );
    assert_eq!(
        wrong(Permute::new(2, 4).into()),
        "layer 1 y (permute): expected a sequence of 4 features, got a sequence of 3 features"
    );
    assert_eq!(wrong(Flatten::new(0).into()), "layer 1 y (flatten): steps: expected at least 1, got 0");
    assert_eq!(wrong(SliceSteps::from(0).every(0).into()), "layer 1 y (slice_steps): step: expected at least 1, got 0");
    let pool = WindowPool::new(Reduce::Mean, 2);
    assert_eq!(wrong(pool.stride(0).into()), "layer 1 y (window_pool): stride: expected at least 1, got 0");
    assert_eq!(
        wrong(pool.padding(PoolPadding::Around { before: 0, after: 2 }).into()),
        "layer 1 y (window_pool): after: expected fewer steps than a window spans, 2, got 2"
    );
    assert_eq!(
        wrong(WindowPool::new(Reduce::Mean, 1 << 20).dilation(1 << 20).into()),
        "layer 1 y (window_pool): size: expected a window over at most 16777216 steps, got one over 1099510579201"
    );
}

#[test]
fn streams_refuse_what_is_made_of_all_steps() {
    let all = "what is made of all steps at once";
    for (layer, word, got) in [
        (LayerKind::from(GlobalPool::new(Reduce::Max)), "global_pool", all),
        (Flatten::new(5).into(), "flatten", all),
        (WindowPool::new(Reduce::Max, 2).into(), "window_pool", "what windows of 2 steps come to"),
        (SliceSteps::from(0).every(2).into(), "slice_steps", "steps that are sliced or joined"),
    ] {
        let model = behind_a_gru(2, layer);
        let (engine, _) = engine(&model);
        let error = Streams::new(&engine, 2).map(drop).expect_err("no frame gives its part").to_string();
        let end = "run whole sequences, without a stream";
        assert_eq!(error, format!("layer 1 y ({word}): expected what each frame gives, got {got}; {end}"));
    }
}
