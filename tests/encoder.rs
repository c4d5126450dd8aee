//! Encoders and decoders: sequences of different lengths in one graph. They are compared with the oracle,
//! written to a native file and read back, and read from descriptions with `encoder`. Also what is refused.

use gatewave::conformance::{Case, InitialStates, MaskKind, Tolerance, compare};
use gatewave::formats::{self, Format, description, safetensors};
use gatewave::interface::State;
use gatewave::layer::{Cell, Recurrent};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{
    Device, Embedding, Engine, ErrorKind, Input, Linear, Lstm, Model, NamedTensors, Precision, Values, Weights,
};
use ndarray::{Array2, Array3};

fn model(cell: Cell) -> Model {
    let mut g = Model::graph();
    let x = g.sequence("x", 5);
    let words = g.tokens("words", 19);
    let table = g.add("table", Embedding::new(19, 6).mask_token(0), words);
    let first = g.add("first", Recurrent::new(cell, 6, 17).num_layers(2), table);
    let second = g.add("second", Recurrent::new(cell, 17, 9), first);
    let low = g.add("low", Recurrent::new(cell, 5, 9), x);
    let high = g.add("high", Recurrent::new(cell, 9, 17).num_layers(2), low);
    for (from, to) in [(second, low), (first, high)] {
        g.begin(to, State::Hidden, from.hidden());
        if cell == Cell::Lstm {
            g.begin(to, State::Cell, from.cell());
        }
    }
    let head = g.add("head", Linear::new(17, 4), high);
    g.output("y", head);
    g.finish().expect("a model whose layers fit")
}

fn case(cell: Cell, mask: MaskKind) -> Case {
    let (name, states) = (format!("{cell} {mask:?}"), InitialStates::Given);
    Case { name, model: model(cell), time: 5, batch: 3, precision: Precision::F32, mask, states, seed: 7 }
}

#[test]
fn a_decoder_begins_where_its_encoder_ended() {
    for cell in Cell::ALL {
        for mask in [MaskKind::All, MaskKind::Lengths, MaskKind::Holes] {
            let case = case(cell, mask);
            let weights = case.weights();
            let engine = Engine::new(&case.model, &weights, Device::Cpu).unwrap();
            let got = engine.run(&case.input()).unwrap();
            let truth = gatewave::oracle::run(&case.model, &weights, &case.input()).unwrap();
            let compared = compare(got.output.view(), truth.output.view(), Tolerance { abs: 1e-5, rel: 1e-5 }).unwrap();
            assert!(compared.passed(), "{}: {compared}", case.name);
        }
    }
}

#[test]
fn the_layers_of_one_stack_begin_the_directions_of_another() {
    for (cell, turned) in Cell::ALL.into_iter().flat_map(|cell| [(cell, false), (cell, true)]) {
        let mut g = Model::graph();
        let x = g.sequence("x", 5);
        let layers = Recurrent::new(cell, 5, 9).num_layers(2);
        let directions = Recurrent::new(cell, 5, 9).bidirectional();
        let [from, to] = if turned { [directions, layers] } else { [layers, directions] };
        let (from, to) = (g.add("from", from, x), g.add("to", to, x));
        g.begin(to, State::Hidden, from.hidden());
        if cell == Cell::Lstm {
            g.begin(to, State::Cell, from.cell());
        }
        g.output("y", to);
        let model = g.finish().expect("a model whose layers fit");
        let case = Case { name: format!("{cell} {turned}"), model, ..case(cell, MaskKind::Lengths) };
        let engine = Engine::new(&case.model, &case.weights(), Device::Cpu).unwrap();
        let got = engine.run(&case.input()).unwrap();
        let truth = gatewave::oracle::run(&case.model, &case.weights(), &case.input()).unwrap();
        let compared = compare(got.output.view(), truth.output.view(), Tolerance { abs: 1e-5, rel: 1e-5 }).unwrap();
        assert!(compared.passed(), "{}: {compared}", case.name);
    }
}

#[test]
fn a_native_file_holds_the_encoder_too() {
    let model = model(Cell::Lstm);
    let weights = Weights::random(&model, 3).unwrap();
    let json = description::to_json(&model);
    let bytes = safetensors::to_bytes(&weights.to_tensors(&model).unwrap(), Some(&json), Precision::F32).unwrap();
    let contents = safetensors::read_bytes(&bytes).unwrap();
    assert_eq!(description::from_json(&json, &contents.tensors).unwrap(), model);
    assert_eq!(Weights::from_tensors(&model, contents.tensors).unwrap(), weights);
}

#[test]
fn inputs_that_fit_no_encoder_are_errors() {
    let case = case(Cell::Rnn, MaskKind::All);
    let engine = Engine::new(&case.model, &case.weights(), Device::Cpu).unwrap();
    let x = |batch| Input::features(Array3::zeros((batch, 4, 5)));
    let tokens = |batch| Array2::<i64>::ones((batch, 3));
    let refused = |input: Input| {
        let error = engine.run(&input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    assert_eq!(refused(x(2)), "words: expected an input of this name beside x, got none");
    assert_eq!(
        refused(x(2).with_tokens("words", tokens(3))),
        "words: expected [2, 3] of any number of steps, as x is [2, 4, 5], got [3, 3]"
    );
    let lengths = x(2).with_tokens("words", tokens(2)).lengths_of("words", [3, 4]);
    assert_eq!(refused(lengths), "words: lengths: expected 0 to 3 (T) for row 1, got 4");
    assert_eq!(
        refused(x(2).with_tokens("words", tokens(2)).lengths_of("facts", [3, 4])),
        "facts: expected an input of steps, to give lengths or a mask for"
    );
    let states = gatewave::States::hidden(Array3::zeros((1, 2, 9)));
    let states = x(2).with_tokens("words", tokens(2)).stack_states(2, states);
    assert_eq!(refused(states), "states of stack 2 (rnn): expected none, since a value of the model begins it");
}

/// A description from before there were graphs.
fn described(encoder: &str, states: &str) -> gatewave::Result<Model> {
    let json = format!(
        r#"{{"gatewave": 1, "batch_first": true,
            "layers": [{{"type": "lstm", "input_size": 4, "hidden_size": 8, "weights": "decoder."}}],
            "encoder": {{"batch_first": true, "layers": [{encoder}], "states": {states}}}}}"#
    );
    description::from_json(&json, &Tensors::new())
}

const ENCODER: &str = r#"{"type": "lstm", "input_size": 5, "hidden_size": 8, "weights": "encoder."}"#;

#[test]
fn descriptions_that_say_encoder_are_graphs() {
    let model = described(ENCODER, "[[0, 0]]").unwrap();
    let names: Vec<_> = model.all_ports().inputs.iter().map(|port| port.name.clone()).collect();
    let usual = ["x", "lengths", "mask"].map(str::to_owned);
    let of_encoder = ["x", "lengths", "mask", "h_0", "c_0"].map(|name| format!("encoder_{name}"));
    assert_eq!(names, [&usual[..], &of_encoder[..]].concat());
    let names: Vec<_> = model.all_ports().outputs.iter().map(|port| port.name.clone()).collect();
    assert_eq!(names, ["output", "h_n", "c_n"]);
    let weights = Weights::random(&model, 5).unwrap();
    let engine = Engine::new(&model, &weights, Device::Cpu).unwrap();
    let (x, source) = (Array3::from_elem((2, 4, 4), 0.5_f32), Array3::from_elem((2, 6, 5), -0.25_f32));
    let tensors: NamedTensors = [("x", x.clone().into()), ("encoder_x", Values::from(source.clone()))]
        .map(|(name, values): (&str, Values)| (name.to_owned(), values))
        .into();
    let got = engine.run_named(&tensors).unwrap();

    // The same, one model after the other.
    let alone = |weights: &Weights, layer: usize, inner: Recurrent, input: &Input| {
        let model = Model::new().layer(inner);
        let weights = Weights::new(vec![weights.layers[layer].clone()]);
        Engine::new(model, &weights, Device::Cpu).unwrap().run(input).unwrap()
    };
    let encoded = alone(&weights, 0, Lstm::new(5, 8), &Input::features(source));
    let decoded = alone(&weights, 1, Lstm::new(4, 8), &Input::features(x).states(encoded.states[0].clone()));
    assert_eq!(got[0].1, decoded.output);
    assert_eq!(got[1].1, decoded.states[0].h);
    assert_eq!(got[2].1, decoded.states[0].c.clone().expect("a cell state"));
    // And without a batch.
    let single: NamedTensors = [("x", Array2::<f32>::zeros((4, 4))), ("encoder_x", Array2::<f32>::zeros((6, 5)))]
        .map(|(name, values)| (name.to_owned(), values.into()))
        .into();
    assert_eq!(engine.run_named(&single).unwrap()[0].1.shape(), [4, 8]);
    // It is written as a graph, and read back as it was.
    let json = description::to_json(&model);
    assert!(!json.contains(r#""encoder":"#), "{json}");
    assert_eq!(description::from_json(&json, &Tensors::new()).unwrap(), model);
}

#[test]
fn layers_of_an_encoder_have_names_of_their_own() {
    let names = r#"{"weight_ih_l0": "e_in", "weight_hh_l0": "e_hidden", "bias_ih_l0": "e_b", "bias_hh_l0": "e_c"}"#;
    let description = |weights: &str| {
        format!(
            r#"{{"gatewave": 1, "layers": [{{"type": "gru", "weights": "decoder."}}],
                "encoder": {{"layers": [{{"type": "gru", "weights": {weights}}}], "states": [[0, 0]]}}}}"#
        )
    };
    let shapes = [[6, 3], [6, 2], [6, 1], [6, 1]];
    let parts = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];
    let tensors = |own: [&str; 4]| -> Tensors {
        let tensor = |of: f32, shape: [usize; 2]| {
            let elements = (0..shape[0] * shape[1]).map(|i| of + i as f32 / 16.0).collect();
            Tensor::new(if shape[1] == 1 { vec![shape[0]] } else { shape.to_vec() }, elements)
        };
        let decoder = parts.iter().zip(shapes).map(|(part, shape)| (format!("decoder.{part}"), tensor(0.5, shape)));
        let encoder = own.iter().zip(shapes).map(|(name, shape)| ((*name).to_owned(), tensor(-0.25, shape)));
        decoder.chain(encoder).collect()
    };
    let weights = |description: &str, tensors: &Tensors| {
        let bytes = safetensors::to_bytes(tensors, None, Precision::F32).expect("tensors of this file");
        let (model, tensors) = formats::read_bytes(bytes, Format::Safetensors, Some(description))?;
        Weights::from_tensors(&model, tensors)
    };
    let own = tensors(["e_in", "e_hidden", "e_b", "e_c"]);
    let usual = tensors(["e.weight_ih_l0", "e.weight_hh_l0", "e.bias_ih_l0", "e.bias_hh_l0"]);
    assert_eq!(weights(&description(names), &own).unwrap(), weights(&description(r#""e.""#), &usual).unwrap());
    let error = weights(&description(r#"{"bias_ih_l0": 1}"#), &own).unwrap_err();
    let wanted = "encoder: layer 0: weights: bias_ih_l0: expected the name of a tensor, got 1";
    assert!(error.to_string().ends_with(wanted), "{error}");
}

#[test]
fn states_that_begin_no_stack_are_refused() {
    let refused = |encoder: &str, states: &str| described(encoder, states).unwrap_err().to_string();
    let smaller = ENCODER.replace('8', "7");
    assert!(refused(&smaller, "[[0, 0]]").contains("h_0: expected [1, B, 8] (layers · directions, B, size), got"));
    let rnn = ENCODER.replace("lstm", "rnn");
    assert!(refused(&rnn, "[[0, 0]]").contains("c_0: expected"), "{}", refused(&rnn, "[[0, 0]]"));
    assert_eq!(refused(ENCODER, "[[0, 1]]"), "encoder: states 0: expected a stack of the decoder below 1, got 1");
    assert_eq!(refused(ENCODER, "[]"), "encoder: states: expected at least one stack that begins another, got none");
    assert_eq!(
        refused(ENCODER, "[[0, 0], [0, 0]]"),
        "encoder: states 1: expected a stack of its own, got stack 0 of the decoder again"
    );
}
