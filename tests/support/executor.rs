//! The tests of every executor: the conformance table, PyTorch's fixtures, a trained
//! model; and planted bugs that must be found. `tests/cpu.rs` and `tests/gpu.rs` run it.

use std::path::Path;

use gatewave::conformance::{self, Bug, Case, Tolerance, cases, compare, compare_outputs};
use gatewave::formats::open;
use gatewave::layer::{Cell, Conv1d, ConvPadding, LayerKind, Recurrent};
use gatewave::{Device, Engine, EngineBuilder, Input, Linear, Model, Precision, Result, Weights, oracle};

use super::noise::noise;
use super::{fixtures, pytorch};

/// Creates an engine whose GPU starts every run from NaNs.
pub fn engine(device: &Device, precision: Precision, model: &Model, weights: &Weights) -> Result<Engine> {
    engine_for(&Engine::builder(), device, precision, model, weights)
}

/// Creates such an engine with the target and the strategy of `options`.
pub fn engine_for(
    options: &EngineBuilder,
    device: &Device,
    precision: Precision,
    model: &Model,
    weights: &Weights,
) -> Result<Engine> {
    let options = options.clone().device(device.clone()).precision(precision);
    let engine = options.build(model, weights)?;
    engine.poison();
    Ok(engine)
}

/// One case in `step` of the table gives the true results, with plans made by each of `choices` in turn.
pub fn table(device: &Device, step: usize, choices: &[EngineBuilder]) {
    let cases: Vec<_> = cases().into_iter().step_by(step).collect();
    assert!(cases.len() * step > 200, "only {} cases", cases.len());
    let results: Vec<_> = cases
        .iter()
        .zip(choices.iter().cycle())
        .map(|(case, options)| {
            conformance::run(case, &mut |case, model, weights, input| {
                engine_for(options, device, case.precision, model, weights)?.run(&input)
            })
        })
        .collect();
    let failed: Vec<_> = results.iter().filter(|result| !result.passed()).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
    let used = results.iter().map(|result| result.used()).fold(0.0, f64::max);
    eprintln!("{device:?}: {} cases, at most {:.0} % of the tolerance used", cases.len(), 100.0 * used);
}

/// Cases in which every bug of the weights must show: several steps of enough units, none of them off.
pub fn telling_cases() -> Vec<Case> {
    let tells = |case: &Case, cell: Cell| {
        let mut stacks = case.model.stacks();
        case.model.layers.len() == 1 && case.time > 1 && stacks.all(|s| s.cell == cell && s.hidden_size > 15)
    };
    let cells = Cell::ALL.into_iter();
    let cases: Vec<_> = cells.filter_map(|cell| cases().into_iter().find(|case| tells(case, cell))).collect();
    assert_eq!(cases.len(), Cell::ALL.len());
    cases
}

/// A bug in the weights overshoots the tolerance tenfold.
pub fn planted_bugs(device: &Device) {
    let mut planted = [0; Bug::ALL.len()];
    for case in telling_cases() {
        for (count, bug) in planted.iter_mut().zip(Bug::ALL) {
            let is_stored_so = [(Bug::RoundedToHalf, Precision::F16), (Bug::RoundedToIntegers, Precision::I8)];
            if is_stored_so.contains(&(bug, case.precision)) {
                continue;
            }
            let Some(wrong) = bug.plant(&case.model, &case.weights()) else { continue };
            let result = conformance::run(&case, &mut |case, model, _, input| {
                engine(device, case.precision, model, &wrong)?.run(&input)
            });
            assert!(result.outcome.is_ok() && result.used() > 10.0, "{bug:?}: {result}");
            *count += 1;
        }
    }
    assert!(planted.iter().all(|&count| count >= 2), "{planted:?}");
}

/// Every fixture gives what PyTorch gave, within the manifest's tolerance.
pub fn fixtures_of_pytorch(device: &Device) {
    let (mut compared, mut packed, mut time_major, mut unbatched) = (0, 0, 0, 0);
    for fixture in fixtures::all() {
        let (model, weights) = pytorch::load(&fixture);
        let run = engine(device, Precision::F32, &model, &weights).and_then(|e| e.run(&pytorch::input_of(&fixture)));
        let got = run.unwrap_or_else(|error| panic!("{}: {error}", fixture.id));
        let tolerance = Tolerance { abs: fixture.atol, rel: fixture.rtol };
        for (name, comparison) in pytorch::compare_wanted(&fixture, &got, tolerance) {
            assert!(comparison.passed(), "{} {name}: {comparison}", fixture.id);
            compared += 1;
        }
        packed += usize::from(fixture.packed);
        time_major += usize::from(fixture.config["batch_first"] == false);
        unbatched += usize::from(fixture.config["unbatched"] == true);
    }
    assert_eq!((compared, packed, time_major, unbatched), (136, 29, 22, 1));
}

/// The trained model gives the logits and states that PyTorch gave in f64.
pub fn shakespeare(device: &Device) {
    const TOLERANCE: Tolerance = Tolerance { abs: 1e-4, rel: 0.0 };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/shakespeare");
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (passages, expected) = (file("passages.safetensors"), file("expected.safetensors"));
    let ids = fixtures::read_i64(&passages, "ids");
    let (model, weights) = open(folder.join("shakespeare.safetensors")).expect("the model is read");
    let got = engine(device, Precision::F32, &model, &weights).and_then(|engine| engine.run(&Input::tokens(ids)));
    let got = got.expect("the model runs");
    let cell = got.states[0].c.as_ref().expect("an lstm has a cell state");
    for (name, got) in [("output", &got.output), ("h_n", &got.states[0].h), ("c_n", cell)] {
        let want = fixtures::read_f64(&expected, name);
        let comparison = compare(got.view(), want.view(), TOLERANCE).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(comparison.passed(), "{name}: {comparison}");
    }
}

/// Infinite and huge features end in the limits of sigmoid and tanh, as in PyTorch: units of padding, whose weights are
/// 0, must not make them NaN. No weight is 0.
pub fn infinities(device: &Device) {
    let fronts = [None, Some(Linear::new(5, 1).into()), Some(Conv1d::new(5, 1, 2).padding(ConvPadding::Causal).into())];
    for (cell, units, front) in Cell::ALL
        .iter()
        .flat_map(|&cell| [3, 40].map(|units| (cell, units)))
        .flat_map(|(cell, units)| fronts.clone().map(|front: Option<LayerKind>| (cell, units, front)))
    {
        let (inputs, is_direct) = if front.is_some() { (1, false) } else { (5, true) };
        let model = front.into_iter().fold(Model::new(), Model::layer).layer(Recurrent::new(cell, inputs, units));
        let weights = Weights::random(&model, 5).expect("weights");
        let mut x = noise(&[3, 4, 5], 4);
        x[[0, 1, 2]] = f32::INFINITY;
        x[[1, 0, 4]] = f32::NEG_INFINITY;
        x[[2, 2, 0]] = if is_direct { f32::MAX } else { 1e30 };
        let input = Input::features(x);
        let truth = oracle::run(&model, &weights, &input).expect("the oracle");
        assert!(truth.output.iter().all(|y| y.is_finite()));
        let got = engine(device, Precision::F32, &model, &weights).and_then(|engine| engine.run(&input));
        let parts = compare_outputs(&got.expect("it runs"), &truth, Tolerance::executor(&model, 4)).expect("alike");
        let wrong = parts.iter().find(|part| !part.comparison.passed());
        assert!(wrong.is_none(), "{model:?}: {:?}", wrong.map(|part| part.comparison.to_string()));
    }
}
