//! Streams of models that are no chain: frame by frame, they give what whole calls give,
//! and draw the likeliest tokens of whole calls. `tests/cpu.rs` and `tests/gpu.rs` run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use gatewave::conformance::{Tolerance, compare};
use gatewave::interface::{InputKind, Pin, Value};
use gatewave::layer::{Cell, Recurrent};
use gatewave::stream::{FrameValue, Sampling, StreamId};
use gatewave::{Device, Engine, Input, Model, Output, Precision, Results, States, Streams, Weights};
use ndarray::{Array1, ArrayD, Axis};

use super::executor::engine;
use super::forward_graphs::drawn;
use super::noise::noise;

/// The number of concurrent streams: not a power of two.
const STREAMS: usize = 3;

/// The inputs of a stream: for each, features `[T, F]`, or `[F]` of a row, or tokens.
struct Given {
    id: StreamId,
    steps: usize,
    inputs: Vec<(String, InputKind, ArrayD<f32>, Vec<i64>)>,
    states: Vec<(usize, States)>,
    /// The results of each frame, by output.
    outputs: Vec<Vec<Vec<f32>>>,
}

/// The inputs of `model`.
fn inputs_of(model: &Model) -> Vec<(String, InputKind)> {
    let inputs = model.all_inputs().unwrap();
    inputs.into_iter().map(|input| (input.name, input.kind)).collect()
}

/// Returns the names of the outputs that frames give.
fn outputs_of(model: &Model) -> Vec<String> {
    let named = model.outputs.iter().filter(|output| !matches!(output.from, Value::Layer(_, Pin::Hidden | Pin::Cell)));
    let named: Vec<_> = named.map(|output| output.name.clone()).collect();
    if named.is_empty() { vec!["output".into()] } else { named }
}

/// Returns states of the stacks, except those that begin at a value of the model.
fn states_of(model: &Model, seed: usize) -> Vec<(usize, States)> {
    let layers = model.layers.iter().filter_map(|layer| match &layer.kind {
        gatewave::layer::LayerKind::Recurrent(stack) => Some((stack, layer.initial)),
        _ => None,
    });
    let free = |value: Option<Value>| match value {
        None => true,
        Some(Value::Input(input)) => matches!(model.inputs[input].kind, InputKind::State(_)),
        Some(_) => false,
    };
    let of = |(index, (stack, initial)): (usize, (&Recurrent, [Option<Value>; 2]))| {
        let h = noise(&[stack.num_layers, stack.state_size()], seed + 10 * index);
        let c =
            (stack.cell == Cell::Lstm).then(|| noise(&[stack.num_layers, stack.hidden_size], seed + 10 * index + 5));
        let states = match (initial.map(free), c) {
            ([true, _], None) => States::hidden(h),
            ([true, true], Some(c)) => States::with_cell(h, c),
            ([true, false], Some(_)) => States::hidden(h),
            ([false, true], Some(c)) => States::cell(c),
            ([false, _], _) => return None,
        };
        Some((index, states))
    };
    layers.enumerate().filter_map(of).collect()
}

impl Given {
    fn new(model: &Model, id: StreamId, steps: usize, seed: usize) -> Self {
        let inputs = inputs_of(model).into_iter().enumerate().map(|(index, (name, kind))| {
            let seed = seed + 3 * index;
            let mut features = match kind {
                InputKind::Sequence(size) => noise(&[steps, size], seed),
                InputKind::Row(size) => noise(&[size], seed),
                _ => noise(&[0], seed),
            };
            if name == "masked" {
                (0..steps)
                    .filter(|t| (t + seed).is_multiple_of(3))
                    .for_each(|t| features.index_axis_mut(Axis(0), t).fill(0.0));
            }
            let bound = if let InputKind::Tokens(bound) = kind { bound } else { 1 };
            let tokens = (0..steps).map(|t| i64::try_from((seed + t * t * 5 + t) % bound).unwrap()).collect();
            (name, kind, features, tokens)
        });
        let (inputs, outputs) = (inputs.collect(), vec![Vec::new(); outputs_of(model).len()]);
        Self { id, steps, inputs, states: Vec::new(), outputs }
    }

    /// The call of the first `steps` frames.
    fn input(&self, steps: usize) -> Input<'static> {
        let mut input: Option<Input<'static>> = None;
        for (name, kind, features, tokens) in &self.inputs {
            let first = |features: &ArrayD<f32>| features.slice_axis(Axis(0), (..steps).into()).to_owned();
            let tokens = || Array1::from_iter(tokens[..steps].iter().copied());
            input = match (kind, input) {
                (InputKind::State(_) | InputKind::Row(_), input) => input,
                (InputKind::Sequence(_), None) => Some(Input::features(first(features))),
                (InputKind::Sequence(_), Some(input)) => Some(input.with_features(name, first(features))),
                (_, None) => Some(Input::tokens(tokens())),
                (_, Some(input)) => Some(input.with_tokens(name, tokens())),
            };
        }
        let mut input = input.expect("a model has a sequence");
        for (name, kind, features, _) in &self.inputs {
            if let InputKind::Row(_) = kind {
                input = input.with_features(name, features.clone());
            }
        }
        for (stack, states) in &self.states {
            input = input.stack_states(*stack, states.clone());
        }
        input
    }

    fn begin(&self, streams: &mut Streams<&Engine>) {
        for (name, kind, features, _) in &self.inputs {
            if let InputKind::Row(_) = kind {
                streams.set_row(self.id, name, features.as_slice().unwrap()).unwrap();
            }
        }
        for (stack, states) in &self.states {
            streams.set_states(self.id, *stack, states).unwrap();
        }
    }

    /// Returns frame `t`, with its parts in some order.
    fn frame(&self, t: usize) -> Vec<(&str, FrameValue<'_>)> {
        let mut parts = Vec::new();
        for (name, kind, features, tokens) in &self.inputs {
            match kind {
                InputKind::Sequence(size) => {
                    let features = &features.as_slice().unwrap()[t * size..][..*size];
                    parts.push((name.as_str(), FrameValue::Features(features)));
                }
                InputKind::Tokens(_) => parts.push((name.as_str(), FrameValue::Token(tokens[t]))),
                _ => {}
            }
        }
        if t % 2 == 1 {
            parts.reverse();
        }
        parts
    }
}

/// Output `index` of a call.
fn of(output: &Output, index: usize) -> &ArrayD<f32> {
    index.checked_sub(1).map_or(&output.output, |other| &output.others[other])
}

/// Streams of each model, pushed in turns, give what one call over all their frames gives. If
/// an output has no time axis, each frame gives what a call over the frames up to it gives.
pub fn frames_give_what_whole_calls_give(device: &Device, models: impl IntoIterator<Item = (String, Model)>) {
    let mut compared = 0;
    for (name, model) in models {
        let weights = Weights::random(&model, 3).expect("the model is right");
        let engine = engine(device, Precision::F32, &model, &weights).expect("the engine opens");
        let truth = Engine::new(&model, &weights, Device::Cpu).expect("the engine opens");
        let mut streams = Streams::new(&engine, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut given: Vec<_> =
            (0..STREAMS).map(|n| Given::new(&model, streams.join(), [7, 4, 9][n], 100 * n + 1)).collect();
        given[1].states = states_of(&model, 40);
        given.iter().for_each(|given| given.begin(&mut streams));
        let names = outputs_of(&model);
        let mut next = [0; STREAMS];
        for push in 0.. {
            let mut frames = Vec::new();
            for n in 0..STREAMS {
                let count = ((push + 2 * n) % 3).min(given[n].steps - next[n]);
                frames.extend((next[n]..next[n] + count).map(|t| (n, t)));
                next[n] += count;
            }
            let pushed: Vec<_> = frames.iter().map(|&(n, t)| (given[n].id, given[n].frame(t))).collect();
            if push % 3 == 2 {
                streams.push_named(&pushed, Results::Deferred).unwrap();
                streams.receive().unwrap();
            } else {
                pushed_either_way(&mut streams, &pushed, push);
            }
            drop(pushed);
            for (index, name) in names.iter().enumerate() {
                let rows: Vec<_> = streams.output(name).unwrap().outer_iter().map(|row| row.to_vec()).collect();
                assert_eq!(rows.len(), frames.len());
                for (&(n, _), row) in frames.iter().zip(rows) {
                    given[n].outputs[index].push(row);
                }
            }
            if given.iter().zip(next).all(|(given, next)| given.steps == next) {
                break;
            }
        }
        for (n, given) in given.iter().enumerate() {
            let whole = truth.run(&given.input(given.steps)).unwrap();
            for (index, output) in names.iter().enumerate() {
                for (t, got) in given.outputs[index].iter().enumerate() {
                    let want = match of(&whole, index) {
                        steps if steps.ndim() == 2 => steps.index_axis(Axis(0), t).to_owned(),
                        _ => of(&truth.run(&given.input(t + 1)).unwrap(), index).clone(),
                    };
                    let place = format!("{name}: {output} of stream {n}, frame {t}");
                    if *device == Device::Cpu {
                        assert_eq!(got[..], *want.as_slice().unwrap(), "{place}");
                    }
                    let (got, want) = (Array1::from_vec(got.clone()).into_dyn(), want.mapv(f64::from));
                    let tolerance = Tolerance::executors(&model, given.steps);
                    let comparison = compare(got.view(), want.view(), tolerance).unwrap();
                    assert!(comparison.passed(), "{place}: {comparison}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 30, "only {compared} frames compared");
}

/// Pushes with a blocking call and asynchronously, in turns.
fn pushed_either_way(streams: &mut Streams<&Engine>, frames: &[(StreamId, Vec<(&str, FrameValue<'_>)>)], push: usize) {
    if push.is_multiple_of(2) {
        streams.push_named(frames, Results::Wanted).unwrap();
    } else {
        pollster::block_on(streams.push_named_async(frames, Results::Wanted)).unwrap();
    }
}

/// At temperature 0, streams draw the likeliest token of a call over all tokens so far.
pub fn draws_are_the_likeliest_of_whole_calls(device: &Device) {
    let mut seen = HashSet::new();
    for (output, model) in drawn() {
        let mut weights = Weights::random(&model, 3).expect("the model is right");
        for layer in &mut weights.layers {
            if let gatewave::weights::LayerWeights::Linear { w, .. } = layer {
                w.mapv_inplace(|w| w * 8.0);
            }
        }
        let engine = engine(device, Precision::F32, &model, &weights).expect("the engine opens");
        let mut streams = Streams::new(&engine, 1).unwrap();
        streams.draw_from(output).unwrap();
        let given: Vec<_> = (0..STREAMS)
            .map(|n| {
                let mut given = Given::new(&model, streams.join(), 20, 100 * n + 1);
                given.states = if n == 1 { states_of(&model, 40) } else { Vec::new() };
                given.begin(&mut streams);
                given
            })
            .collect();
        let prompts: [&[i64]; STREAMS] = [&[3, 1, 7], &[9], &[2, 2]];
        let mut texts: Vec<Vec<i64>> = prompts.map(<[i64]>::to_vec).into();
        let before = (0..STREAMS).flat_map(|n| prompts[n].split_last().unwrap().1.iter().map(move |&token| (n, token)));
        let before: Vec<_> = before.map(|(n, token)| (given[n].id, token)).collect();
        streams.push_tokens(&before, Results::Unwanted).unwrap();
        let greedy = Sampling::default().temperature(0.0);
        for (who, steps) in [(vec![0, 1, 2], 5), (vec![2], 1), (vec![0, 1], 4)] {
            let calls: Vec<_> = who.iter().map(|&n| (given[n].id, *texts[n].last().unwrap(), greedy)).collect();
            let drawn = streams.generate(&calls, steps).unwrap();
            who.iter().zip(drawn.outer_iter()).for_each(|(&n, drawn)| texts[n].extend(drawn));
        }
        let index = outputs_of(&model).iter().position(|name| name == output).unwrap();
        for (n, text) in texts.iter().enumerate() {
            for len in prompts[n].len()..text.len() {
                let mut so_far = Given::new(&model, given[n].id, len, 100 * n + 1);
                so_far.states.clone_from(&given[n].states);
                let place =
                    so_far.inputs.iter().position(|(_, kind, ..)| matches!(kind, InputKind::Tokens(_))).unwrap();
                so_far.inputs[place].3 = text[..len].to_vec();
                let whole = engine.run(&so_far.input(len)).unwrap();
                let last = match of(&whole, index) {
                    steps if steps.ndim() == 2 => steps.index_axis(Axis(0), len - 1).to_owned(),
                    newest => newest.clone(),
                };
                let best =
                    last.iter().enumerate().fold(0, |best, (token, &x)| if x > last[best] { token } else { best });
                assert_eq!(text[len], i64::try_from(best).unwrap(), "{output}: token {len} of stream {n}: {text:?}");
            }
        }
        seen.extend(texts.into_iter().flatten());
    }
    assert!(seen.len() > 12, "only {seen:?} were drawn");
}
