//! Initial states that are weights of the model.

use gatewave::conformance::{compare, rounded_to_half};
use gatewave::formats::description;
use gatewave::interface::State;
use gatewave::layer::{Cell, Initial, Recurrent};
use gatewave::oracle;
use gatewave::weights::Tensors;
use gatewave::{Device, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, Precision, States, Weights};
use ndarray::{Array2, ArrayD, Axis, array};

use crate::{assert_close, random, tolerance};

/// A stack of each cell and a projected one. All but the first have learned states.
fn model() -> Model {
    let stacks = Cell::ALL.map(|cell| Recurrent::new(cell, 7, 7).num_layers(2).learned_states());
    let model = Model::new().layer(Lstm::new(5, 9).bidirectional()).layer(Linear::new(18, 7));
    stacks.into_iter().fold(model, Model::layer).layer(Lstm::new(7, 6).bidirectional().proj_size(3).learned_states())
}

#[track_caller]
fn assert_true(got: &ArrayD<f32>, truth: &ArrayD<f64>) {
    let compared = compare(got.view(), truth.view(), tolerance()).unwrap();
    assert!(compared.passed(), "{compared}");
}

/// Returns `input` with the states of `weights` for `batch` rows, as a caller would give them.
fn brought(input: Input<'static>, weights: &Weights, batch: usize) -> Input<'static> {
    let rows = |states: &Array2<f32>| {
        let rows = vec![states.view(); batch];
        ndarray::stack(Axis(1), &rows).expect("rows of one shape")
    };
    weights.initial.iter().fold(input, |input, (&stack, learned)| {
        let states = match &learned.c {
            Some(c) => States::with_cell(rows(&learned.h), rows(c)),
            None => States::hidden(rows(&learned.h)),
        };
        input.stack_states(stack, states)
    })
}

#[test]
fn a_call_without_states_begins_at_those_of_the_model() {
    let model = model();
    let weights = Weights::random(&model, 1).unwrap();
    assert_eq!(weights.initial.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let engine = Engine::new(&model, &weights, Device::Cpu).unwrap();
    let tensors = weights.to_tensors(&model).unwrap();
    let named = Engine::builder().device(Device::Cpu).load(&model, &tensors).unwrap();
    let input = || Input::features(random((3, 4, 5), 2)).lengths([4, 0, 2]);
    let expected = engine.run(&brought(input(), &weights, 3)).unwrap();
    let truth = oracle::run(&model, &weights, &input()).unwrap();
    for engine in [engine, named] {
        let got = engine.run(&input()).unwrap();
        assert_eq!(got, expected);
        for (got, truth) in got.states.iter().zip(&truth.states) {
            assert_true(&got.h, &truth.h);
        }
        let zeros = States::hidden(ArrayD::zeros(vec![2, 3, 7]));
        let from_zero = engine.run(&input().stack_states(1, zeros)).unwrap();
        assert_ne!(from_zero.states[1], expected.states[1], "states that a call brings are used");
        assert_eq!(from_zero.states[0], expected.states[0]);
    }
    assert_ne!(expected.states[1].h.index_axis(Axis(1), 1).sum(), 0.0, "a row without a step ends where it began");
}

#[test]
fn in_half_precision_they_are_rounded_as_other_weights_are() {
    let model = Model::new().layer(Gru::new(5, 6).learned_states());
    let weights = Weights::random(&model, 1).unwrap();
    let options = Engine::builder().device(Device::Cpu).precision(Precision::F16);
    let half = options.clone().build(&model, &weights).unwrap();
    let rounded = Engine::new(&model, &rounded_to_half(&weights), Device::Cpu).unwrap();
    let x = Input::features(random((2, 1, 5), 2));
    assert_close(half.run(&x).unwrap().output.view(), rounded.run(&x).unwrap().output.view());
    let mut large = weights;
    large.initial.get_mut(&0).unwrap().h[[0, 3]] = 1e5;
    let error = options.build(model, &large).unwrap_err();
    assert!(error.to_string().contains("expected at most 65504 in magnitude for 16-bit floats, got 100000"), "{error}");
}

#[test]
fn weights_and_descriptions_hold_them() {
    let model = model();
    let weights = Weights::random(&model, 1).unwrap();
    let tensors = weights.to_tensors(&model).unwrap();
    assert_eq!(tensors.shape("6.h_0"), Some(&[2, 3][..]));
    assert_eq!(tensors.shape("6.c_0"), Some(&[2, 6][..]));
    assert_eq!(Weights::from_tensors(&model, tensors.clone()).unwrap(), weights);
    let json = description::to_json(&model);
    assert_eq!(description::from_json(&json, &Tensors::new()).unwrap(), model);
    let left_out = json.replace("\"initial_states\":\"learned\",", "");
    assert_eq!(description::from_json(&left_out, &tensors).unwrap(), model, "the tensors tell it");
    let elements: usize = tensors.names().map(|name| tensors.shape(name).unwrap().iter().product::<usize>()).sum();
    assert_eq!(model.parameters(), elements);
    assert!(model.summary().to_string().contains("learned states"));
}

#[test]
fn a_stateful_stack_begins_its_first_call_at_them() {
    let stateful = Model::new().layer(Gru::new(5, 6).learned_states().stateful());
    let plain = Model::new().layer(Gru::new(5, 6).learned_states());
    let weights = Weights::random(&plain, 4).unwrap();
    let engine = |model| Engine::new(model, &weights, Device::Cpu).unwrap();
    let (kept, fresh) = (engine(stateful), engine(plain));
    let x = |seed| Input::features(random((2, 3, 5), seed));
    let first = fresh.run(&x(1)).unwrap();
    assert_eq!(kept.run(&x(1)).unwrap(), first);
    assert_eq!(kept.run(&x(2)).unwrap(), fresh.run(&x(2).states(first.states[0].clone())).unwrap());
    kept.reset_states();
    assert_eq!(kept.run(&x(1)).unwrap(), first);
}

#[test]
fn an_encoder_may_have_them_and_a_stack_that_it_begins_may_not() {
    let model = |encoder: Recurrent, decoder: Recurrent| {
        let mut g = Model::graph();
        let (x, source) = (g.sequence("x", 4), g.sequence("source", 5));
        let encoder = g.add("encoder", encoder, source);
        let decoder = g.add("decoder", decoder, x);
        g.begin(decoder, State::Hidden, encoder.hidden());
        g.finish()
    };
    let learned = model(Gru::new(5, 6).learned_states(), Gru::new(4, 6)).unwrap();
    let weights = Weights::random(&learned, 1).unwrap();
    let engine = Engine::new(&learned, &weights, Device::Cpu).unwrap();
    let x = || Input::features(random((2, 3, 4), 1)).with_features("source", random((2, 4, 5), 2));
    let got = engine.run(&x()).unwrap();
    assert_eq!(got, engine.run(&brought(x(), &weights, 2)).unwrap());
    let truth = oracle::run(&learned, &weights, &x()).unwrap();
    assert_true(&got.output, &truth.output);
    let refused = model(Gru::new(5, 6), Gru::new(4, 6).learned_states()).unwrap_err();
    let text = "layer 1 decoder (gru): h_0: expected a stack without initial states of its own, got one that has them";
    assert_eq!(refused.to_string(), text);
}

#[test]
fn states_of_another_shape_are_refused() {
    let model = Model::new().layer(Gru::new(5, 2).learned_states());
    let weights = Weights::random(&model, 1).unwrap();
    let refused = |change: fn(&mut Weights)| {
        let mut weights = weights.clone();
        change(&mut weights);
        let error = Engine::new(&model, &weights, Device::Cpu).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Weights);
        error.to_string()
    };
    let missing = refused(|weights| weights.initial.clear());
    assert_eq!(missing, "initial states of stack 0 (gru): h: expected [1, 2], got none");
    let wide = refused(|weights| weights.initial.get_mut(&0).unwrap().h = array![[1.0, 2.0, 3.0]]);
    assert_eq!(wide, "initial states of stack 0 (gru): h: expected [1, 2], got [1, 3]");
    let cells = refused(|weights| weights.initial.get_mut(&0).unwrap().c = Some(array![[1.0, 2.0]]));
    assert_eq!(cells, "initial states of stack 0 (gru): c: expected none, got [1, 2]");
    let beyond = refused(|weights| drop(weights.initial.insert(1, weights.initial[&0].clone())));
    assert_eq!(beyond, "initial states of stack 1: the model has 1 recurrent stack(s), counted from 0");
    let plain = Model::new().layer(Gru::new(5, 2));
    assert_eq!(plain.stacks().next().unwrap().initial, Initial::Zero);
    assert!(Engine::new(plain, &weights, Device::Cpu).is_err());
}
