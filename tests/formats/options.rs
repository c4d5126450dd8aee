//! Every option of a model, through its description and back.

use gatewave::formats::description;
use gatewave::interface::{Dim, InputPort, InputValue, OutputPort, OutputValue, Ports, Required, State, WeightPart};
use gatewave::layer::{Bias, Cell, Constant, Direction, Dropout, Functions, Masking, Merge, Padding, Recurrent, Reset};
use gatewave::weights::Tensors;
use gatewave::{Activation, Embedding, Gru, Linear, Lstm, Model, Rnn, Select};
use serde_json::{Value, json};

use crate::{described, load, tensors};

/// Sets the functions of `stack`, forward and in reverse.
fn of_each(mut stack: Recurrent, functions: [Functions; 2]) -> Recurrent {
    stack.functions = functions;
    stack
}

/// A model for each option, and for combinations of options.
pub(crate) fn models() -> Vec<Model> {
    let elementwise = Activation::ALL.into_iter().filter(|function| function.is_elementwise());
    let scaled = Activation::ScaledTanh { alpha: 1.2.into(), beta: 0.7.into() };
    let clamp = Activation::Clamp { alpha: f32::NEG_INFINITY.into(), beta: 3.5.into() };
    let own = Functions { f: Activation::ALL[8], g: scaled, h: clamp };
    let both = |cell: Recurrent| of_each(cell.clone().bidirectional(), [own, cell.cell.functions()]);
    let rnn = Rnn::new(2, 3).nonlinearity(clamp).bidirectional();
    let gru = Functions { h: Activation::Linear, ..own };
    let mut stacks = vec![
        Lstm::new(2, 3).functions(own).clip(0.1).coupled().peepholes(),
        both(Lstm::new(2, 3)),
        of_each(rnn.clone(), [rnn.functions[0], Cell::Rnn.functions()]),
        Gru::new(2, 3).cell(Cell::Gru(Reset::Before)).functions(gru).stateful(),
        of_each(Gru::new(2, 3).bidirectional(), [gru, Cell::Gru(Reset::After).functions()]),
        Lstm::new(2, 3).direction(Direction::Reverse).num_layers(2).peepholes().proj_size(2),
        Gru::new(2, 3).direction(Direction::Backwards).padding(Padding::Held).bias(Bias::One).learned_states(),
        Lstm::new(2, 3).num_layers(2).bidirectional().proj_size(2).learned_states(),
        Gru::new(2, 3).num_layers(2).dropout(0.25).input_dropout(0.125).recurrent_dropout(0.5),
    ];
    stacks.extend(elementwise.map(|function| Rnn::new(2, 3).nonlinearity(function)));
    stacks.extend(
        [Merge::Sum, Merge::Average, Merge::Product]
            .map(|merge| Rnn::new(2, 3).num_layers(2).bidirectional().merge(merge)),
    );
    let mut models: Vec<_> = stacks.into_iter().map(|stack| Model::new().named_layer("rnn.", stack)).collect();
    models.extend([
        Model::new()
            .layer(Embedding::new(5, 2).mask_token(0))
            .layer(Dropout::new(0.3).features())
            .layer(Lstm::new(2, 3))
            .layer(Select::LastOutput)
            .layer(Dropout::new(0.25))
            .layer(Linear::new(3, 2).activation(Activation::Elu { alpha: 0.3.into() }))
            .layer(Activation::HardSigmoid { alpha: (1.0 / 6.0).into(), beta: 0.5.into() }),
        Model::new().layer(Masking::new(2, -1.5)).layer(Gru::new(2, 3)),
        with_ports(),
    ]);
    models
}

/// Every kind of port: the first stack's weights come with each call.
pub(crate) fn with_ports() -> Model {
    let port = |name: &str, value, axes: &[Dim]| InputPort::new(name, value, axes);
    let out = |name: &str, value, axes: &[Dim]| OutputPort::new(name, value, axes);
    let state = |stack, state, first| InputValue::State { stack, state, first };
    let states = |state, stacks: &[usize]| OutputValue::States { state, stacks: stacks.into() };
    let axes = [Dim::Batch, Dim::Layers, Dim::Features];
    let steps = [Dim::Time, Dim::Directions, Dim::One, Dim::Batch, Dim::Features];
    let weights = |part| InputValue::Weights { layer: 0, part };
    let ports = Ports::new(
        [
            port("X", InputValue::Sequence, &[Dim::Batch, Dim::One, Dim::Time, Dim::Features]),
            port("lens", InputValue::Lengths(0), &[Dim::Batch]),
            port("mask", InputValue::Mask(0), &[Dim::Time, Dim::Batch]),
            port("h", state(0, State::Hidden, 0), &axes),
            port("h", state(1, State::Hidden, 2), &axes),
            port("c", state(0, State::Cell, 0), &axes),
            port("W", weights(WeightPart::Input), &[]),
            port("R", weights(WeightPart::Recurrent), &[]),
            port("B", weights(WeightPart::Bias), &[]),
            port("P", weights(WeightPart::Peepholes), &[]),
        ],
        [
            out("Y", OutputValue::Output, &steps),
            out("backwards", OutputValue::Direction(1), &[Dim::Time, Dim::Batch, Dim::Features]),
            out("Y_h", states(State::Hidden, &[0, 1]), &axes),
            out("Y_c", states(State::Cell, &[1, 0]), &axes),
        ],
    )
    .required(Required::All);
    let model = Model::new()
        .named_layer("a.", Lstm::new(3, 4).bidirectional().peepholes())
        .named_layer("b.", Lstm::new(8, 4).bidirectional());
    model.ports(ports)
}

#[test]
fn options_are_written_in_the_documented_words() {
    let stack = Lstm::new(2, 3)
        .functions(Functions {
            f: Activation::HardSigmoid { alpha: 0.3.into(), beta: 0.45.into() },
            g: Activation::Tanh,
            h: Activation::Clamp { alpha: Constant::new(-1.0), beta: Constant::new(f32::INFINITY) },
        })
        .clip(0.1)
        .coupled()
        .peepholes()
        .bidirectional()
        .merge(Merge::Average)
        .padding(Padding::Held)
        .stateful();
    let json = description::to_json(&Model::new().named_layer("l.", stack));
    assert_eq!(
        json,
        r#"{"gatewave":1,"batch_first":true,"layers":[{"type":"lstm","proj_size":0,"input_size":2,"hidden_size":3,"num_layers":1,"bidirectional":true,"bias":true,"activations":[{"name":"hard_sigmoid","alpha":0.3,"beta":0.45},"tanh",{"name":"clamp","alpha":-1.0,"beta":"inf"}],"clip":0.1,"input_forget":true,"peepholes":true,"merge_mode":"ave","padding":"held","stateful":true,"weights":"l."}]}"#
    );
}

#[test]
fn a_constant_is_written_so_that_the_same_one_is_read() {
    let values =
        [0.1, 1.0 / 3.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, -0.0, 16_777_216.0, 8_388_609.5, 5e-42];
    for value in values {
        let model = Model::new().layer(Linear::new(1, 1).activation(Activation::Elu { alpha: value.into() }));
        let json = description::to_json(&model);
        assert_eq!(description::from_json(&json, &Tensors::new()).unwrap(), model, "{json}");
    }
}

#[test]
fn a_reverse_stack_and_its_peepholes_are_told_by_their_tensors() {
    let shapes: [(&str, &[usize]); 5] = [
        ("r.weight_ih_l0_reverse", &[12, 2]),
        ("r.weight_hh_l0_reverse", &[12, 3]),
        ("r.weight_ch_l0_reverse", &[3, 3]),
        ("r.weight_ih_l1_reverse", &[12, 3]),
        ("r.weight_hh_l1_reverse", &[12, 3]),
    ];
    let mut given = tensors(&shapes);
    given.insert("r.weight_ch_l1_reverse", crate::tensor(&[3, 3]));
    let (model, _) = load(json!([{"type": "lstm", "direction": "reverse", "weights": "r."}]), given).unwrap();
    let stack = Lstm::new(2, 3).num_layers(2).direction(Direction::Reverse).bias(Bias::None).peepholes();
    assert_eq!(model.stacks().collect::<Vec<_>>(), [&stack]);
}

#[test]
fn what_pytorch_says_of_dropout_is_kept() {
    let layers = json!([
        {"type": "gru", "input_size": 2, "hidden_size": 3, "num_layers": 2, "dropout": 0.2, "weights": "a."},
        {"type": "dropout", "weights": ""},
    ]);
    let model = description::from_json(&described(layers), &Tensors::new()).unwrap();
    let layers: Vec<_> = model.layers.into_iter().map(|layer| layer.kind).collect();
    assert_eq!(layers, [Gru::new(2, 3).num_layers(2).dropout(0.2).into(), Dropout::new(0.5).into()]);
}

#[test]
fn ports_are_read_under_the_key_that_they_had_before() {
    let mut json: Value = serde_json::from_str(&description::to_json(&with_ports())).unwrap();
    let ports = json.as_object_mut().unwrap().remove("ports").expect("ports");
    json["interface"] = ports.clone();
    assert_eq!(description::from_json(&json.to_string(), &Tensors::new()).unwrap(), with_ports());
    json["ports"] = ports;
    let error = description::from_json(&json.to_string(), &Tensors::new()).unwrap_err();
    assert_eq!(error.to_string(), "interface: expected nothing beside ports, which replaces it");
}

#[test]
fn a_list_of_ports_that_is_left_out_is_the_usual_one() {
    let own = Ports::new(Vec::new(), with_ports().ports.outputs);
    let model = with_ports().ports(own.clone());
    let json = description::to_json(&model);
    assert!(!json.contains("\"lens\""), "{json}");
    assert_eq!(description::from_json(&json, &Tensors::new()).unwrap(), model);
    let (all, usual) = (model.all_ports(), Ports::usual(&model));
    assert_eq!((&all.inputs, &all.outputs), (&usual.inputs, &own.outputs));
    assert!(usual.inputs.iter().any(|port| port.name == "x"));
}

#[test]
fn a_masking_layer_has_the_features_of_the_next() {
    let layers = json!([{"type": "masking"}, {"type": "rnn", "input_size": 7, "hidden_size": 3}]);
    let model = description::from_json(&described(layers), &Tensors::new()).unwrap();
    assert_eq!(model.layers[0].kind, Masking::new(7, 0.0).into());
}

#[test]
fn tensors_of_a_layer_whose_weights_the_caller_brings_do_not_speak_for_it() {
    let mut json: Value = serde_json::from_str(&description::to_json(&with_ports())).unwrap();
    // Only `b.` has its tensors here. `a.` has one of them, which does not show whether there are biases.
    json["layers"][1].as_object_mut().unwrap().remove("hidden_size");
    let given = Tensors::from_iter([
        ("a.weight_ih_l0", crate::tensor(&[16, 3])),
        ("a.weight_hh_l0", crate::tensor(&[16, 4])),
        ("b.weight_ih_l0", crate::tensor(&[16, 8])),
        ("b.weight_hh_l0", crate::tensor(&[16, 4])),
        ("b.bias_ih_l0", crate::tensor(&[16])),
        ("b.bias_hh_l0", crate::tensor(&[16])),
        ("b.weight_ih_l0_reverse", crate::tensor(&[16, 8])),
    ]);
    assert_eq!(description::from_json(&json.to_string(), &given).unwrap(), with_ports());
}

/// The documentation of descriptions.
const DOCUMENTED: &str = include_str!("../../docs/model-format.md");

#[test]
fn the_documentations_examples_are_read_and_written_back() {
    let examples: Vec<_> =
        DOCUMENTED.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let model = description::from_json(example, &Tensors::new()).unwrap_or_else(|e| panic!("{e}\n{example}"));
        assert_eq!(description::from_json(&description::to_json(&model), &Tensors::new()).unwrap(), model);
    }
}

#[test]
fn every_function_is_documented_with_its_constants() {
    let (_, functions) = DOCUMENTED.split_once("### Functions").unwrap();
    let rows: Vec<_> = functions.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    for function in Activation::ALL {
        let row = rows.iter().find_map(|row| row.strip_prefix(&format!("{}` |", function.name())));
        let row = row.unwrap_or_else(|| panic!("{function} is not in docs/model-format.md"));
        let constants: Vec<_> = function.constants().iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(row.rsplit('|').nth(1).unwrap().trim(), constants.join(", "), "{function}");
    }
}

#[test]
fn every_key_of_a_stack_is_documented() {
    for layer in [json!({"type": "lstm", "?": 0}), json!({"type": "rnn", "?": 0}), json!({"type": "gru", "?": 0})] {
        let error = description::from_json(&described(json!([layer])), &Tensors::new()).unwrap_err().to_string();
        let (_, known) = error.split_once("the known ones are ").unwrap();
        for key in known.split(", ") {
            assert!(DOCUMENTED.contains(&format!("`{key}`")), "{key} is not in docs/model-format.md");
        }
    }
}
