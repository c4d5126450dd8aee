//! Tensors by the names and axes of ports: they make the same call, and give the same results, as arrays do.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use gatewave::interface::{Axes, Dim, InputPort, InputValue, OutputPort, OutputValue, Ports, State, WeightPart};
use gatewave::layer::Join;
use gatewave::{
    Device, Embedding, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, NamedTensors, Output, Rnn, Select, States,
    Values, Weights,
};
use ndarray::{ArrayD, Axis, array, concatenate, s};
use support::noise::noise;

use Dim::{Batch, Directions, Features, Layers, One, Time};

fn input(name: &str, value: InputValue, axes: &[Dim]) -> InputPort {
    InputPort::new(name, value, axes)
}

fn output(name: &str, value: OutputValue, axes: &[Dim]) -> OutputPort {
    OutputPort::new(name, value, axes)
}

fn state(stack: usize, state: State, first: usize) -> InputValue {
    InputValue::State { stack, state, first }
}

fn states(state: State, stacks: &[usize]) -> OutputValue {
    OutputValue::States { state, stacks: stacks.into() }
}

fn with(model: Model, inputs: Vec<InputPort>, outputs: Vec<OutputPort>) -> Model {
    model.ports(Ports::new(inputs, outputs))
}

fn named(tensors: Vec<(&str, Values)>) -> NamedTensors {
    tensors.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
}

fn engine(model: &Model) -> Engine {
    Engine::new(model, &Weights::random(model, 3).unwrap(), Device::Cpu).unwrap()
}

/// `array` with its axes in the order of `axes`.
fn permuted(array: ArrayD<f32>, axes: &[usize]) -> ArrayD<f32> {
    array.permuted_axes(axes).as_standard_layout().into_owned()
}

/// Returns the error for `tensors`.
fn refusal(model: &Model, tensors: Vec<(&str, Values)>) -> String {
    let error = model.named_input(&named(tensors)).expect_err("this must be refused");
    assert_eq!(error.kind(), ErrorKind::Shape);
    error.to_string()
}

#[test]
fn the_standard_names_are_pytorchs() {
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        let model = Model::new().axes(axes).layer(Lstm::new(3, 4).bidirectional()).layer(Gru::new(8, 5));
        let engine = engine(&model);
        let (x, h, c, h1) = (noise(&[2, 2, 3], 1), noise(&[2, 2, 4], 2), noise(&[2, 2, 4], 3), noise(&[1, 2, 5], 4));
        let call = Input::features(x.clone())
            .lengths([1, 2])
            .states(States::with_cell(h.clone(), c.clone()))
            .stack_states(1, States::hidden(h1.clone()));
        let Output { output, states, .. } = engine.run(&call).unwrap();
        let tensors = named(vec![
            ("x", x.into()),
            ("lengths", array![1_i64, 2].into()),
            ("h_0", h.into()),
            ("c_0", c.into()),
            ("h_0.1", h1.into()),
        ]);
        let wanted = [
            ("output", output),
            ("h_n", states[0].h.clone()),
            ("c_n", states[0].c.clone().unwrap()),
            ("h_n.1", states[1].h.clone()),
        ];
        assert_eq!(engine.run_named(&tensors).unwrap(), wanted.map(|(name, array)| (name.to_owned(), array.into())));
    }
}

#[test]
fn one_sequence_without_a_batch_goes_by_the_standard_names() {
    let model = Model::new().layer(Lstm::new(3, 4));
    let shapes = |inputs: Vec<(&str, Values)>| -> Vec<Vec<usize>> {
        engine(&model).run_named(&named(inputs)).unwrap().iter().map(|(_, array)| array.shape().to_vec()).collect()
    };
    let single = shapes(vec![("x", noise(&[5, 3], 1).into()), ("mask", array![1_i64, 1, 0, 1, 0].into())]);
    assert_eq!(single, [vec![5, 4], vec![1, 4], vec![1, 4]]);

    // Keras: the usual inputs, and another name for the output.
    let mut ports = Ports::usual(&model);
    ports.outputs.push(output("y", OutputValue::Output, &[Batch, Time, Features]));
    let model = with(model.clone(), ports.inputs, ports.outputs);
    let results = engine(&model).run_named(&named(vec![("x", noise(&[5, 3], 1).into())])).unwrap();
    assert_eq!((results[0].0.as_str(), results[3].0.as_str()), ("output", "y"));
    assert_eq!(results[0].1, results[3].1);
    assert_eq!(results[3].1.shape(), [5, 4]);
}

#[test]
fn axes_are_permuted_split_and_joined_as_the_ports_say() {
    let plain = Model::new().layer(Lstm::new(3, 4).bidirectional());
    let model = with(
        plain.clone(),
        vec![
            input("X", InputValue::Sequence, &[Features, One, Time, Batch]),
            input("live", InputValue::Mask(0), &[Time, Batch]),
            input("h", state(0, State::Hidden, 0), &[Batch, Layers, Features]),
            input("c", state(0, State::Cell, 0), &[One, Layers, Features, Batch]),
        ],
        vec![
            output("Y", OutputValue::Output, &[Time, Directions, Batch, Features]),
            output("flat", OutputValue::Output, &[Time, One, Batch, Features, One]),
            output("reverse", OutputValue::Direction(1), &[Features, Batch, Time]),
            output("Y_h", states(State::Hidden, &[0]), &[Batch, Layers, Features]),
        ],
    );
    let (x, h, c) = (noise(&[2, 5, 3], 1), noise(&[2, 2, 4], 2), noise(&[2, 2, 4], 3));
    let mask = array![[true, false, true, true, false], [true, true, true, true, true]];
    let call = Input::features(x.clone()).mask(mask.clone()).states(States::with_cell(h.clone(), c.clone()));
    let Output { output: y, states, .. } = engine(&plain).run(&call).unwrap();
    let tensors = named(vec![
        ("X", permuted(x, &[2, 1, 0]).insert_axis(Axis(1)).into()),
        ("live", mask.t().mapv(i64::from).into()),
        ("h", permuted(h, &[1, 0, 2]).into()),
        ("c", permuted(c, &[0, 2, 1]).insert_axis(Axis(0)).into()),
    ]);
    let got = engine(&model).run_named(&tensors).unwrap();
    let names: Vec<_> = got.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Y", "flat", "reverse", "Y_h"]);
    let halves = y.clone().into_shape_with_order(vec![2, 5, 2, 4]).unwrap();
    assert_eq!(got[0].1, permuted(halves.clone(), &[1, 2, 0, 3]));
    assert_eq!(got[1].1, permuted(y, &[1, 0, 2]).insert_axis(Axis(1)).insert_axis(Axis(4)));
    assert_eq!(got[2].1, permuted(halves.slice(s![.., .., 1, ..]).to_owned().into_dyn(), &[2, 0, 1]));
    assert_eq!(got[3].1, permuted(states[0].h.clone(), &[1, 0, 2]));
}

#[test]
fn stacks_take_their_rows_out_of_one_tensor_and_give_theirs_into_one() {
    let plain = Model::new().axes(Axes::TimeMajor).layer(Lstm::new(3, 4)).layer(Lstm::new(4, 4).num_layers(2));
    let axes = [Layers, Batch, Features];
    let model = with(
        plain.clone(),
        vec![
            input("x", InputValue::Sequence, &[Time, Batch, Features]),
            // Those of the second stack come first.
            input("h0", state(0, State::Hidden, 2), &axes),
            input("h0", state(1, State::Hidden, 0), &axes),
            input("c0", state(0, State::Cell, 2), &axes),
            input("c0", state(1, State::Cell, 0), &axes),
        ],
        vec![output("hn", states(State::Hidden, &[1, 0]), &axes), output("cn", states(State::Cell, &[0, 1]), &axes)],
    );
    let (x, h, c) = (noise(&[5, 2, 3], 1), noise(&[3, 2, 4], 2), noise(&[3, 2, 4], 3));
    let rows = |array: &ArrayD<f32>, from: usize, to: usize| array.slice_axis(Axis(0), (from..to).into()).to_owned();
    let call = Input::features(x.clone())
        .states(States::with_cell(rows(&h, 2, 3), rows(&c, 2, 3)))
        .stack_states(1, States::with_cell(rows(&h, 0, 2), rows(&c, 0, 2)));
    let wanted = engine(&plain).run(&call).unwrap().states;
    let got = engine(&model).run_named(&named(vec![("x", x.into()), ("h0", h.into()), ("c0", c.into())])).unwrap();
    assert_eq!(got[0].1, concatenate![Axis(0), wanted[1].h, wanted[0].h]);
    assert_eq!(got[1].1, concatenate![Axis(0), wanted[0].c.clone().unwrap(), wanted[1].c.clone().unwrap()]);
}

#[test]
fn axes_of_length_one_may_be_left_out() {
    let plain = Model::new().layer(Rnn::new(1, 4)).layer(Select::LastStep);
    let model = with(
        plain.clone(),
        vec![
            input("x", InputValue::Sequence, &[Time, Batch]),
            input("h", state(0, State::Hidden, 0), &[Batch, Features]),
        ],
        vec![
            output("y", OutputValue::Output, &[Features]),
            output("h", states(State::Hidden, &[0]), &[Features, Batch]),
        ],
    );
    let (x, h) = (noise(&[5, 1], 1), noise(&[1, 4], 2));
    let tensors = named(vec![("x", x.clone().into()), ("h", h.clone().into())]);
    let got = engine(&model).run_named(&tensors).unwrap();
    let call = Input::features(x.clone().into_shape_with_order((1, 5, 1)).unwrap());
    let wanted = engine(&plain).run(&call.states(States::hidden(h.insert_axis(Axis(0))))).unwrap();
    assert_eq!(got[0].1, wanted.output.index_axis_move(Axis(0), 0));
    assert_eq!(got[1].1, permuted(wanted.states[0].h.clone().index_axis_move(Axis(0), 0), &[1, 0]));

    let error = engine(&model).run_named(&named(vec![("x", noise(&[5, 3], 1).into())])).unwrap_err();
    assert_eq!(error.to_string(), "y: has no axis B, and so takes calls where it is 1, got 3");
}

#[test]
fn a_state_that_no_port_names_is_zero() {
    let plain = Model::new().layer(Lstm::new(3, 4));
    let x = noise(&[2, 5, 3], 1);
    let (h, zero) = (noise(&[1, 2, 4], 2), ArrayD::zeros(vec![1, 2, 4]));
    for (which, own, states) in [
        (State::Hidden, h.clone(), States::with_cell(h.clone(), zero.clone())),
        (State::Cell, h.clone(), States::with_cell(zero.clone(), h.clone())),
    ] {
        let model = with(
            plain.clone(),
            vec![
                input("x", InputValue::Sequence, &[Batch, Time, Features]),
                input("s", state(0, which, 0), &[Layers, Batch, Features]),
            ],
            vec![output("y", OutputValue::Output, &[Batch, Time, Features])],
        );
        let got = engine(&model).run_named(&named(vec![("x", x.clone().into()), ("s", own.into())])).unwrap();
        let wanted = engine(&plain).run(&Input::features(x.clone()).states(states)).unwrap();
        assert_eq!(got[0].1, wanted.output);
    }
}

#[test]
fn tokens_may_come_as_whole_reals() {
    let plain = Model::new().layer(Embedding::new(7, 3)).layer(Gru::new(3, 4));
    let model = with(
        plain.clone(),
        vec![input("ids", InputValue::Sequence, &[Time, Batch])],
        vec![output("y", OutputValue::Output, &[Batch, Time, Features])],
    );
    let wanted = engine(&plain).run(&Input::tokens(array![[1_i64, 6, 0]])).unwrap().output;
    for ids in [Values::from(array![[1_i64], [6], [0]]), array![[1_f32], [6.0], [0.0]].into()] {
        assert_eq!(engine(&model).run_named(&named(vec![("ids", ids)])).unwrap()[0].1, wanted);
    }
    for (broken, shown) in [(0.5, "0.5"), (f32::NAN, "NaN"), (f32::INFINITY, "inf"), (1e10, "10000000000")] {
        let message = refusal(&model, vec![("ids", array![[1.0, broken]].into())]);
        assert_eq!(message, format!("ids: expected integer tokens, got {shown}"));
    }
    let standard = engine(&plain).run_named(&named(vec![("ids", array![[1_f32, 6.0, 0.0]].into())])).unwrap();
    assert_eq!(standard[0].1, wanted);
    let message = refusal(&plain, vec![("ids", array![[0.25]].into())]);
    assert_eq!(message, "ids: expected integer tokens, got 0.25");
}

#[test]
fn weights_that_the_caller_brings_complete_the_models_own() {
    let plain = Model::new().named_layer("a.", Gru::new(3, 4).bidirectional()).named_layer("fc.", Linear::new(8, 2));
    let weights = |part| InputValue::Weights { layer: 0, part };
    let model = with(
        plain.clone(),
        vec![
            input("x", InputValue::Sequence, &[Batch, Time, Features]),
            input("W", weights(WeightPart::Input), &[]),
            input("R", weights(WeightPart::Recurrent), &[]),
            input("B", weights(WeightPart::Bias), &[]),
        ],
        vec![output("y", OutputValue::Output, &[Batch, Time, Features])],
    );
    let own = Weights::random(&plain, 5).unwrap().to_tensors(&plain).unwrap();
    // ONNX' order of a GRU is update, reset, new.
    let onnx = |name: &str, rows: usize| {
        let ways = ["", "_reverse"].map(|way| {
            let tensor = own.get(&format!("a.{name}_l0{way}")).unwrap();
            let whole = ArrayD::from_shape_vec(tensor.shape(), tensor.read().unwrap().into_owned()).unwrap();
            let gates = [1, 0, 2].map(|gate| whole.slice_axis(Axis(0), (gate * rows..(gate + 1) * rows).into()));
            concatenate(Axis(0), &gates).unwrap().insert_axis(Axis(0))
        });
        concatenate(Axis(0), &ways.each_ref().map(|way| way.view())).unwrap()
    };
    let bias = concatenate(Axis(1), &[onnx("bias_ih", 4).view(), onnx("bias_hh", 4).view()]).unwrap();
    let x = noise(&[2, 5, 3], 1);
    let tensors = named(vec![
        ("x", x.clone().into()),
        ("W", onnx("weight_ih", 4).into()),
        ("R", onnx("weight_hh", 4).into()),
        ("B", bias.into()),
    ]);
    let mut all = own.clone();
    all.extend([model.named_weights(&tensors).unwrap()]);
    assert_eq!(all, own);
    let engine = Engine::builder().device(Device::Cpu).load(model, &all).unwrap();
    let plain = Engine::builder().device(Device::Cpu).load(plain, &own).unwrap();
    assert_eq!(engine.run_named(&tensors).unwrap()[0].1, plain.run(&Input::features(x)).unwrap().output);
    assert!(plain.model().named_weights(&tensors).unwrap().names().next().is_none());
}

#[test]
fn every_mismatch_names_the_tensor_the_axes_and_what_came() {
    let model = with(
        Model::new().axes(Axes::TimeMajor).layer(Lstm::new(3, 4).bidirectional()),
        vec![
            input("X", InputValue::Sequence, &[Time, Batch, Features]),
            input("lens", InputValue::Lengths(0), &[Batch, One]),
            input("live", InputValue::Mask(0), &[Batch, Time]),
            input("h0", state(0, State::Hidden, 0), &[Layers, Batch, Features]),
            input("c0", state(0, State::Cell, 0), &[Layers, Batch, Features]),
        ],
        Vec::new(),
    );
    let x = || ("X", Values::from(noise(&[5, 2, 3], 1)));
    let beside = |name, values: Values| refusal(&model, vec![x(), (name, values)]);
    let wanted = "expected [T, B, 3] (T, B, I)";
    assert_eq!(refusal(&model, vec![("X", noise(&[5, 3], 1).into())]), format!("X: {wanted}, got [5, 3]"));
    assert_eq!(refusal(&model, vec![("X", noise(&[5, 2, 4], 1).into())]), format!("X: {wanted}, got [5, 2, 4]"));
    let whole = array![[[1_i64, 2, 3]]].into();
    assert_eq!(refusal(&model, vec![("X", whole)]), "X: expected floats, got integers [1, 1, 3]");
    assert_eq!(beside("lens", array![1_i64, 2].into()), "lens: expected [2, 1] (B, 1), got [2]");
    assert_eq!(beside("lens", noise(&[2, 1], 1).into()), "lens: expected [B] integers, got floats [2, 1]");
    assert_eq!(beside("live", noise(&[5, 2], 1).into()), "live: expected [2, 5] (B, T), got [5, 2]");
    assert_eq!(beside("h0", noise(&[2, 3, 4], 1).into()), "h0: expected [2, 2, 4] (L·D, B, S), got [2, 3, 4]");
    assert_eq!(beside("c0", noise(&[1, 2, 4], 1).into()), "c0: expected [2, 2, 4] (L·D, B, H), got [1, 2, 4]");
    assert_eq!(beside("h0", noise(&[2, 2, 4], 1).into()), "h0: expected c0 beside it, got none");
    assert_eq!(beside("c0", noise(&[2, 2, 4], 1).into()), "c0: expected h0 beside it, got none");
    assert_eq!(beside("h", noise(&[1], 1).into()), "h: unknown tensor; this model takes X, lens, live, h0, c0");
    assert_eq!(refusal(&model, Vec::new()), "X: expected the input under this name, got nothing");
    assert_eq!(beside("lens", array![[1_i64], [6]].into()), "lens: expected 0 to 5 (T) for row 1, got 6");
}

#[test]
fn the_standard_names_are_refused_in_the_same_words() {
    let model = Model::new().layer(Lstm::new(3, 4)).layer(Gru::new(4, 5));
    let x = || ("x", Values::from(noise(&[2, 5, 3], 1)));
    let ids = || ("ids", Values::from(array![[1_i64]]));
    let tokens = Model::new().layer(Embedding::new(5, 3)).layer(Lstm::new(3, 4));
    assert_eq!(refusal(&tokens, vec![x(), ids()]), "x and ids: expected one of them, got both");
    let none = || vec![("y", noise(&[1], 1).into())];
    assert_eq!(refusal(&tokens, none()), "x: expected the input under this name (or ids), got y");
    assert_eq!(refusal(&model, none()), "x: expected the input under this name, got y");
    let features = refusal(&model, vec![x(), ids()]);
    assert_eq!(features, "ids: unknown tensor; this model takes x, lengths, mask, h_0, c_0, h_0.1");
    let unknown = refusal(&model, vec![x(), ("hx", noise(&[1], 1).into())]);
    assert_eq!(unknown, "hx: unknown tensor; this model takes x, lengths, mask, h_0, c_0, h_0.1");
    let cell = refusal(&model, vec![x(), ("c_0", noise(&[1, 2, 4], 1).into())]);
    assert_eq!(cell, "c_0: expected h_0 beside it, got none");
    let lengths = refusal(&model, vec![x(), ("lengths", array![[1_i64, 2]].into())]);
    assert_eq!(lengths, "lengths: expected [B] integers, got [1, 2]");
    let state = refusal(&model, vec![x(), ("h_0.1", noise(&[1, 2, 4], 1).into())]);
    assert!(state.starts_with("states of stack 1 (gru): h: expected [1, 2, 5] "), "{state}");
}

/// Two sequences that are combined only at their ends. The second stack begins at a row and at the call's states.
fn two_sequences() -> Model {
    let mut g = Model::graph();
    let (x, other, row) = (g.sequence("x", 3), g.sequence("other", 2), g.row("row", 5));
    let cell = g.state("cell", State::Cell);
    let first = g.add("first", Gru::new(3, 4), x);
    let second = g.add("second", Lstm::new(2, 5), other);
    g.begin(second, State::Hidden, row);
    g.begin(second, State::Cell, cell);
    g.add("ends", Join::Concat, [first.final_hidden(), second.final_hidden()]);
    g.finish().unwrap()
}

#[test]
fn lengths_without_a_name_are_of_all_inputs_that_have_none_of_their_own() {
    // A model with axes of its own gives the results of one with the usual axes.
    let usual = two_sequences();
    let mut own = usual.clone();
    own.ports.inputs = Ports::usual(&usual).inputs;
    for port in own.ports.inputs.iter_mut().filter(|port| port.value == InputValue::Input(1)) {
        port.axes = vec![Time, Batch, Features];
    }
    for (model, order) in [(&usual, [0, 1, 2]), (&own, [1, 0, 2])] {
        let engine = engine(model);
        let run = |time: usize, more: &[(&str, Values)]| {
            let mut tensors = named(vec![
                ("x", noise(&[2, 5, 3], 1).into()),
                ("other", permuted(noise(&[2, time, 2], 2), &order).into()),
                ("row", noise(&[2, 5], 3).into()),
                ("cell", noise(&[1, 2, 5], 4).into()),
            ]);
            tensors.extend(more.iter().map(|(name, values)| ((*name).to_owned(), values.clone())));
            engine.run_named(&tensors).map(|outputs| outputs[0].1.clone())
        };
        let lengths = |lengths: [i64; 2]| Values::from(array![lengths[0], lengths[1]]);
        let live = Values::from(array![[1_i64, 1, 1, 1, 1], [1, 1, 0, 0, 0]]);
        let each = run(5, &[("x_lengths", lengths([5, 2])), ("other_lengths", lengths([5, 2]))]).unwrap();
        assert_eq!(run(5, &[("lengths", lengths([5, 2]))]).unwrap(), each);
        assert_eq!(run(5, &[("mask", live.clone())]).unwrap(), each);
        assert_eq!(run(5, &[("mask", live), ("x_lengths", lengths([5, 2]))]).unwrap(), each);
        assert_ne!(run(5, &[("x_lengths", lengths([5, 2]))]).unwrap(), each);
        let apart = run(7, &[("x_lengths", lengths([5, 2])), ("other_lengths", lengths([7, 3]))]).unwrap();
        assert_eq!(run(7, &[("lengths", lengths([5, 2])), ("other_lengths", lengths([7, 3]))]).unwrap(), apart);
        let error = run(7, &[("lengths", lengths([5, 2]))]).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (
                ErrorKind::Shape,
                "lengths: expected inputs of equal T, since it is told of all, got x of 5 steps and other of 7; \
                 x_lengths and other_lengths (Input::lengths_of) are told of one"
            )
        );
        let all = [("lengths", lengths([5, 2])), ("x_lengths", lengths([5, 2])), ("other_lengths", lengths([5, 2]))];
        let text = "x: expected lengths or a mask, got two of them; a mask says it all";
        assert_eq!(run(5, &all).unwrap_err().to_string(), text);
    }
}

#[test]
fn a_state_that_a_value_begins_has_no_name() {
    let model = two_sequences();
    let tensors = |cell: Values| {
        vec![
            ("x", noise(&[2, 5, 3], 1).into()),
            ("other", noise(&[2, 4, 2], 2).into()),
            ("row", noise(&[2, 5], 3).into()),
            ("cell", cell),
        ]
    };
    let cell = noise(&[1, 2, 5], 4);
    let got = engine(&model).run_named(&named(tensors(cell.clone().into()))).unwrap();
    let call = Input::features(noise(&[2, 5, 3], 1)).with_features("other", noise(&[2, 4, 2], 2));
    let call = call.with_features("row", noise(&[2, 5], 3)).stack_states(1, States::cell(cell));
    let want = engine(&model).run(&call).unwrap();
    assert_eq!(got[0].1, Values::F32(want.output));
    assert_eq!(got.iter().find(|(name, _)| name == "c_n.1").unwrap().1, Values::F32(want.states[1].c.clone().unwrap()));
    let error = refusal(&model, tensors(noise(&[1, 2, 4], 4).into()));
    assert_eq!(error, "states of stack 1 (lstm): c: expected [1, 2, 5] (layers · directions, B, size), got [1, 2, 4]");
}
