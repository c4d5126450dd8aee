//! Models that are no chain: Rust and a description build equal models,
//! descriptions report errors, and named tensors have the model's own names.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

#[path = "graph/refused.rs"]
mod refused;

use gatewave::formats::description::{from_json, to_json};
use gatewave::interface::{
    Axes, Dim, InputKind, InputValue, ModelInput, ModelOutput, OutputValue, Pin, Ports, State, Value,
};
use gatewave::layer::{Dropout, Join, Layer, LayerKind};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{
    Device, Embedding, Engine, ErrorKind, Gru, Linear, Lstm, Model, NamedTensors, Output, Rnn, Select, States, Values,
    Weights,
};
use ndarray::{ArrayD, array};
use serde_json::{Value as Json, json};
use support::forward_graphs::eight_nodes;
use support::logged;

/// Two inputs, a residual sum, a concatenation, two outputs.
fn eight_layers() -> Model {
    let mut g = Model::graph();
    let upper = eight_nodes(&mut g);
    g.output("last", upper.cell());
    g.finish().unwrap()
}

fn eight_layers_json() -> Json {
    json!({"gatewave": 1, "batch_first": true,
        "inputs": [
            {"name": "words", "type": "tokens", "size": 20},
            {"name": "facts", "type": "row", "size": 3}],
        "layers": [
            {"type": "embedding", "name": "embedding", "num_embeddings": 20, "embedding_dim": 8, "weights": "embedding."},
            {"type": "lstm", "name": "lower", "input_size": 8, "hidden_size": 8, "weights": "lower."},
            {"type": "add", "name": "sum", "from": ["embedding", "lower"], "weights": "sum."},
            {"type": "lstm", "name": "upper", "input_size": 8, "hidden_size": 6, "weights": "upper."},
            {"type": "linear", "name": "hidden", "from": "facts", "in_features": 3, "out_features": 4, "activation": "relu",
             "weights": "hidden."},
            {"type": "concat", "name": "joined", "from": ["upper.final_hidden", "hidden"], "weights": "joined."},
            {"type": "linear", "name": "tags", "from": "upper", "in_features": 6, "out_features": 5, "activation": "softmax",
             "weights": "tags."},
            {"type": "linear", "name": "score", "from": "joined", "in_features": 10, "out_features": 1,
             "activation": "sigmoid", "weights": "score."}],
        "outputs": [
            {"name": "score", "from": "score"}, {"name": "tags", "from": "tags"}, {"name": "last", "from": "upper.cell"}]})
}

fn read(json: &Json) -> gatewave::Result<Model> {
    from_json(&json.to_string(), &Tensors::new())
}

fn refusal(json: &Json) -> String {
    let error = read(json).expect_err("this must be refused");
    assert_eq!(error.kind(), ErrorKind::Model);
    error.to_string()
}

/// The description after `change`.
fn changed(change: impl Fn(&mut Json)) -> Json {
    let mut json = eight_layers_json();
    change(&mut json);
    json
}

fn layer(kind: impl Into<LayerKind>, prefix: &str, from: &[Value]) -> Layer {
    Layer::new(kind, prefix).taking(from)
}

fn assert_round_trip(model: &Model) {
    model.check().unwrap();
    let json = to_json(model);
    assert_eq!(from_json(&json, &Tensors::new()).unwrap(), *model, "{json}");
}

#[test]
fn rust_and_json_give_equal_models() {
    let model = eight_layers();
    assert_eq!(read(&eight_layers_json()).unwrap(), model);
    assert!(!model.is_chain());
    assert_round_trip(&model);
}

#[test]
fn the_order_of_keys_is_that_of_a_reader() {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let start = g.state("start", State::Hidden);
    let rnn = g.add("rnn", Rnn::new(3, 3), x);
    g.begin(rnn, State::Hidden, start);
    let other = g.add("other", Rnn::new(3, 3), x);
    g.begin(other, State::Hidden, start);
    g.output("y", g.clone().add("rnn", Join::Add, [rnn, other]));
    let sum = g.add("sum", Join::Add, [rnn, other]);
    assert_eq!(sum.y(), Value::Layer(2, Pin::Output));
    let json = to_json(&g.finish().unwrap());
    let rnn =
        r#""nonlinearity":"tanh","input_size":3,"hidden_size":3,"num_layers":1,"bidirectional":false,"bias":true,"#;
    let expected = [
        r#"{"gatewave":1,"batch_first":true,"inputs":[{"name":"x","type":"sequence","size":3},"#,
        r#"{"name":"start","type":"hidden","stack":"rnn"}],"layers":[{"type":"rnn","name":"rnn","#,
        rnn,
        r#""weights":"rnn."},{"type":"rnn","name":"other","from":"x","#,
        rnn,
        r#""h_0":"start","weights":"other."},{"type":"add","name":"sum","from":["rnn","other"],"weights":"sum."}],"#,
        r#""outputs":[{"name":"y","from":"sum"}]}"#,
    ];
    assert_eq!(json, expected.concat());
}

#[test]
fn a_chain_writes_no_key_of_a_graph() {
    let model = Model::new()
        .layer(Embedding::new(9, 4))
        .layer(Lstm::new(4, 5))
        .layer(Dropout::new(0.5))
        .layer(Select::FinalHidden)
        .layer(Linear::new(5, 1));
    let json = to_json(&model);
    for key in ["name", "from", "inputs", "outputs", "h_0", "c_0"] {
        assert!(!json.contains(&format!("\"{key}\"")), "{json}");
    }
    assert_round_trip(&model);
}

#[test]
fn layers_without_a_name_go_by_their_numbers() {
    let y = |layer| Value::Layer(layer, Pin::Output);
    let mut model = Model::new().axes(Axes::TimeMajor);
    model.layers = vec![
        layer(Gru::new(4, 4), "a.", &[Value::Input(0)]),
        layer(Join::Add, "", &[Value::Input(0), y(0)]),
        layer(Gru::new(4, 4), "b.", &[y(1)]),
        layer(Join::Concat, "", &[y(0), y(2)]),
        layer(Select::FinalHidden, "", &[Value::Layer(0, Pin::FinalHidden)]),
        layer(Join::Multiply, "", &[y(3), y(3)]),
    ];
    model.layers[2].initial[0] = Some(Value::Layer(0, Pin::Hidden));
    model.outputs = vec![
        ModelOutput::new("y", y(5)),
        ModelOutput::new("state", Value::Layer(2, Pin::Hidden)),
        ModelOutput::new("last", Value::Layer(2, Pin::LastOutput)),
    ];
    assert_round_trip(&model);
    // A name that looks like another layer's result does not hide that result.
    model.layers[0].name = Some("a".into());
    model.layers[1].name = Some("a.hidden".into());
    model.layers[3].name = Some("x".into());
    assert_round_trip(&model);
    model.layers[1].name = Some("#2".into());
    let error = model.check().unwrap_err().to_string();
    assert_eq!(error, "layers: expected a name that does not begin with #, got \"#2\" of layer 1");
}

#[test]
fn an_input_of_states_begins_every_stack_that_names_it() {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let row = g.row("row", 4);
    let (h, c) = (g.state("h", State::Hidden), g.state("c", State::Cell));
    let first = g.add("first", Lstm::new(3, 4), x);
    let second = g.add("second", Lstm::new(3, 4), x);
    let third = g.add("third", Lstm::new(3, 4), x);
    let fourth = g.add("fourth", Lstm::new(3, 4), x);
    g.begin(fourth, State::Hidden, row);
    g.begin(fourth, State::Cell, c);
    for stack in [first, third] {
        g.begin(stack, State::Hidden, h);
        g.begin(stack, State::Cell, c);
    }
    g.begin(second, State::Hidden, row);
    g.begin(second, State::Cell, first.cell());
    g.add("all", Join::Maximum, vec![first, second, third, fourth]);
    let model = g.finish().unwrap();
    assert_round_trip(&model);
    let ports: Vec<_> = model.all_ports().inputs.iter().map(|port| (port.name.clone(), port.value)).collect();
    let state = |stack, state| InputValue::State { stack, state, first: 0 };
    let expected = [
        ("x", InputValue::Sequence),
        ("row", InputValue::Input(1)),
        ("h", state(0, State::Hidden)),
        ("h", state(2, State::Hidden)),
        ("c", state(0, State::Cell)),
        ("c", state(2, State::Cell)),
        ("c", state(3, State::Cell)),
        ("lengths", InputValue::Lengths(0)),
        ("x_lengths", InputValue::Lengths(0)),
        ("mask", InputValue::Mask(0)),
        ("x_mask", InputValue::Mask(0)),
    ];
    assert_eq!(ports, expected.map(|(name, value)| (name.to_owned(), value)));
    // The outputs are not given: they are the usual ones.
    let outputs: Vec<_> = model.all_ports().outputs.iter().map(|port| port.name.clone()).collect();
    assert_eq!(outputs, ["output", "h_n", "c_n", "h_n.1", "c_n.1", "h_n.2", "c_n.2", "h_n.3", "c_n.3"]);
    // The usual ports are valid ports.
    let usual = Ports::usual(&model);
    model.ports(usual).check().unwrap();
}

#[test]
fn sizes_may_be_left_out_in_a_graph() {
    let zeros = |shape: &[usize]| Tensor::new(shape, vec![0.0; shape.iter().product()]);
    let tensors: Tensors = [
        ("lstm.weight_ih_l0", zeros(&[16, 6])),
        ("lstm.weight_hh_l0", zeros(&[16, 4])),
        ("lstm.bias_ih_l0", zeros(&[16])),
        ("lstm.bias_hh_l0", zeros(&[16])),
        ("head.weight", zeros(&[2, 7])),
        ("head.bias", zeros(&[2])),
    ]
    .into_iter()
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .collect();
    let json = json!({"gatewave": 1,
        "inputs": [
            {"name": "facts", "type": "row", "size": 3},
            {"name": "sound", "type": "sequence"},
            {"name": "letters", "type": "tokens"}],
        "layers": [
            {"type": "one_hot", "name": "one_hot", "from": "letters"},
            {"type": "masking", "name": "masking", "from": "sound"},
            {"type": "lstm", "name": "a", "from": "one_hot", "weights": "lstm."},
            {"type": "lstm", "name": "b", "from": "masking", "weights": "lstm."},
            {"type": "average", "name": "both", "from": ["a.last_output", "b.last_output"]},
            {"type": "concat", "from": ["both", "facts"]},
            {"type": "linear", "weights": "head."}]});
    let model = from_json(&json.to_string(), &tensors).unwrap();
    let sizes: Vec<_> = model.inputs.iter().map(|input| input.kind).collect();
    assert_eq!(sizes, [InputKind::Row(3), InputKind::Sequence(6), InputKind::Tokens(6)]);
    // The two stacks share their tensors.
    assert_eq!(model.parameters(), 16 * 6 + 16 * 4 + 32 + 16);
    assert_round_trip(&model);
    let mut untold = json;
    untold["layers"][0] = json!({"type": "add", "name": "one_hot", "from": ["letters", "letters"]});
    let error = from_json(&untold.to_string(), &tensors).unwrap_err().to_string();
    assert_eq!(error, "inputs: letters: size: left out, and no layer that takes it tells it");
}

#[test]
fn a_selection_takes_the_result_of_the_stack_that_it_names() {
    for (what, pin) in [("final_hidden", Pin::FinalHidden), ("last_output", Pin::LastOutput)] {
        let model = read(&json!({"gatewave": 1, "layers": [
            {"type": "rnn", "name": "a", "input_size": 2, "hidden_size": 2},
            {"type": "rnn", "name": "b", "input_size": 2, "hidden_size": 2, "weights": "b."},
            {"type": "select", "what": what, "from": "a"}]}))
        .unwrap();
        assert_eq!(model.layers[2].from, [Value::Layer(0, pin)]);
        assert_round_trip(&model);
    }
}

#[test]
fn a_model_goes_by_its_own_names() {
    let model = eight_layers();
    let ports = model.all_ports();
    let outputs: Vec<_> = ports.outputs.iter().map(|port| (port.name.as_str(), port.value.clone())).collect();
    let states = OutputValue::States { state: State::Cell, stacks: vec![1] };
    assert_eq!(outputs, [("score", OutputValue::Output), ("tags", OutputValue::Another(1)), ("last", states)]);
    assert_eq!(ports.outputs[0].axes, [Dim::Batch, Dim::Features]);
    assert_eq!(ports.outputs[1].axes, [Dim::Batch, Dim::Time, Dim::Features]);

    let words: Values = array![[1_i64, 2, 3], [4, 0, 0]].into();
    let facts: Values = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]].into();
    let lengths: Values = array![3_i64, 1].into();
    let tensors = |names: &[(&str, &Values)]| -> NamedTensors {
        names.iter().map(|&(name, values)| (name.to_owned(), values.clone())).collect()
    };
    for name in ["lengths", "words_lengths"] {
        model.named_input(&tensors(&[("words", &words), ("facts", &facts), (name, &lengths)])).unwrap();
    }
    let refused = |names: &[(&str, &Values)]| model.named_input(&tensors(names)).unwrap_err().to_string();
    assert_eq!(
        refused(&[("words", &words)]),
        "facts: expected 3 features without a time axis under this name, got words"
    );
    assert_eq!(
        refused(&[("words", &words), ("facts", &facts), ("lengths", &lengths), ("words_lengths", &lengths)]),
        "lengths and words_lengths: expected one of them, got both"
    );
    assert_eq!(
        refused(&[("words", &words), ("facts", &facts), ("x", &words)]),
        "x: unknown tensor; this model takes words, facts, lengths, words_lengths, mask, words_mask"
    );

    let ramp =
        |shape: &[usize]| ArrayD::from_shape_vec(shape, (0_u8..).map(f32::from).take(shape.iter().product()).collect());
    let stack = |h: &[usize]| States { h: ramp(h).unwrap(), c: Some(ramp(h).unwrap() + 100.0) };
    let mut output = Output::new(ramp(&[2, 1]).unwrap(), vec![stack(&[1, 2, 8]), stack(&[1, 2, 6])]);
    output.others = vec![ramp(&[2, 3, 5]).unwrap()];
    let named = model.named_output(&output).unwrap();
    let expected = [
        ("score", output.output.clone()),
        ("tags", output.others[0].clone()),
        ("last", output.states[1].c.clone().unwrap()),
    ];
    assert_eq!(named, expected.map(|(name, array)| (name.to_owned(), array.into())));
    // One sequence without a batch.
    let mut single = Output::new(ramp(&[1]).unwrap(), vec![stack(&[1, 8]), stack(&[1, 6])]);
    single.others = vec![ramp(&[3, 5]).unwrap()];
    let shapes: Vec<_> = model.named_output(&single).unwrap().iter().map(|(_, array)| array.shape().to_vec()).collect();
    assert_eq!(shapes, [vec![1], vec![3, 5], vec![1, 6]]);
}

#[test]
fn the_summary_tells_what_each_layer_takes() {
    let expected = "\
Model: \"functional\"
┏━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ Layer (type)          ┃ Output Shape                            ┃ Param # ┃ Connected to                 ┃
┡━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ words (InputLayer)    │ (None, None)                            │       0 │ -                            │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ facts (InputLayer)    │ (None, 3)                               │       0 │ -                            │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ embedding (Embedding) │ (None, None, 8)                         │     160 │ words[0][0]                  │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ lower (LSTM)          │ (None, None, 8)                         │     576 │ embedding[0][0]              │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ sum (Add)             │ (None, None, 8)                         │       0 │ embedding[0][0], lower[0][0] │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ upper (LSTM)          │ [(None, None, 6), (None, 6), (None, 6)] │     384 │ sum[0][0]                    │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ hidden (Dense)        │ (None, 4)                               │      16 │ facts[0][0]                  │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ joined (Concatenate)  │ (None, 10)                              │       0 │ upper[0][1], hidden[0][0]    │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ tags (Dense)          │ (None, None, 5)                         │      35 │ upper[0][0]                  │
├───────────────────────┼─────────────────────────────────────────┼─────────┼──────────────────────────────┤
│ score (Dense)         │ (None, 1)                               │      11 │ joined[0][0]                 │
└───────────────────────┴─────────────────────────────────────────┴─────────┴──────────────────────────────┘
 Total params: 1,182 (4.62 KB)
 Trainable params: 1,182 (4.62 KB)
 Non-trainable params: 0 (0.00 B)";
    assert_eq!(eight_layers().summary().to_string(), expected);
}

#[test]
fn what_layers_share_is_counted_once() {
    let y = |layer| Value::Layer(layer, Pin::Output);
    let mut model = Model::new();
    model.inputs = ["a", "b"].map(|name| ModelInput::new(name, InputKind::Sequence(4))).into();
    model.layers = vec![
        layer(Rnn::new(4, 4), "rnn.", &[Value::Input(0)]),
        layer(Rnn::new(4, 4), "rnn.", &[Value::Input(1)]),
        layer(Join::Subtract, "", &[y(0), y(1)]),
    ];
    assert_round_trip(&model);
    assert_eq!(model.parameters(), 40);
    let table = model.summary().to_string();
    assert!(table.contains("│ rnn[0][0], rnn[1][0] │"), "{table}");
    assert!(table.contains("│ a[0][0], b[0][0] "), "{table}");
    assert!(table.contains(" Total params: 40 "), "{table}");
}

#[test]
fn a_layer_that_no_output_needs_is_warned_of_where_an_engine_is_made_and_at_no_call() {
    logged::listen();
    let warnings = || logged::of("idle");
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let used = g.add("used", Rnn::new(3, 2), x);
    g.add("idle", Linear::new(2, 4), used);
    g.output("y", used);
    let model = g.finish().unwrap();
    model.check().unwrap();
    let weights = Weights::random(&model, 0).unwrap();
    assert!(warnings().is_empty());
    let engine = Engine::new(model, &weights, Device::Cpu).unwrap();
    let mut tensors = NamedTensors::new();
    tensors.insert("x".into(), Values::F32(ArrayD::zeros(vec![1, 4, 3])));
    for _ in 0..2 {
        engine.run_named(&tensors).unwrap();
    }
    assert_eq!(warnings(), ["WARN layer 1 idle (linear): no output needs it"]);
}

/// The `what` of a selection says which result of a stack it takes, in any place.
#[test]
fn a_selection_names_the_stack_that_it_takes() {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let first = g.add("first", Gru::new(3, 4), x);
    let second = g.add("second", Gru::new(4, 4), first);
    let last = g.add("last", Select::LastOutput, first);
    let end = g.add("end", Select::FinalHidden, first);
    g.add("all", Join::Add, vec![second.final_hidden(), last.y(), end.y()]);
    let model = g.finish().unwrap();
    let json = to_json(&model);
    assert!(json.contains(r#""name":"end","from":"first","what":"final_hidden""#), "{json}");
    assert_round_trip(&model);
}

/// The consumers and sources of all layers are found together: a chain of n joins takes n times the work of one.
#[test]
fn many_thousand_joins_are_read_and_planned_at_once() {
    const JOINS: usize = 20_000;
    let mut layers = vec![json!({"type": "gru", "input_size": 3, "hidden_size": 3, "weights": "gru."})];
    layers.extend((0..JOINS).map(|n| {
        let before = if n == 0 { "#0".to_owned() } else { format!("sum {}", n - 1) };
        json!({"type": "average", "name": format!("sum {n}"), "from": [before, "x"]})
    }));
    let json = json!({
        "gatewave": 1,
        "batch_first": true,
        "inputs": [{"name": "x", "type": "sequence", "size": 3}],
        "layers": layers,
        "outputs": [{"name": "y", "from": format!("sum {}", JOINS - 1)}]
    });
    let start = std::time::Instant::now();
    let model = from_json(&json.to_string(), &Tensors::new()).unwrap();
    assert_eq!(model.layers.len(), 1 + JOINS);
    let engine = Engine::new(&model, &Weights::random(&model, 1).unwrap(), Device::Cpu).unwrap();
    // The average of a value and x, again and again, is x.
    let x = ndarray::Array3::from_shape_fn((2, 5, 3), |(b, t, n)| (b + 2 * t) as f32 - 0.5 * n as f32);
    let got = engine.run(&gatewave::Input::features(x.clone())).unwrap().output;
    assert!(got.iter().zip(&x).all(|(got, x)| (got - x).abs() < 1e-5));
    // This takes a second if each layer is visited once, and many times that if each looks at all others.
    assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
}
