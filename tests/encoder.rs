//! Encoders and decoders: against the oracle, through a native file and back, and what is refused.

use gatewave::conformance::{Case, InitialStates, MaskKind, Tolerance, compare};
use gatewave::formats::{description, safetensors};
use gatewave::{
    Cell, Device, Embedding, Engine, ErrorKind, Input, Linear, Model, Precision, Recurrent, Storage, Weights,
};
use ndarray::Array3;

fn model(cell: Cell) -> Model {
    let encoder = Model::new()
        .named_layer("table.", Embedding::new(19, 6).mask_token(0))
        .named_layer("first.", Recurrent::new(cell, 6, 17).num_layers(2))
        .named_layer("second.", Recurrent::new(cell, 17, 9));
    Model::new()
        .named_layer("low.", Recurrent::new(cell, 5, 9))
        .named_layer("high.", Recurrent::new(cell, 9, 17).num_layers(2))
        .named_layer("head.", Linear::new(17, 4))
        .encoded_by(encoder, [(0, 1), (1, 0)])
}

fn case(cell: Cell, mask: MaskKind) -> Case {
    let (name, states) = (format!("{cell} {mask:?}"), InitialStates::Given);
    Case { name, model: model(cell), time: 5, batch: 3, storage: Storage::F32, mask, states, seed: 7 }
}

#[test]
fn a_decoder_begins_where_its_encoder_ended() {
    for cell in Cell::ALL {
        for mask in [MaskKind::All, MaskKind::Lengths, MaskKind::Holes] {
            let case = case(cell, mask);
            let weights = case.weights();
            let engine = Engine::new(case.model.clone(), &weights, Device::Cpu).unwrap();
            let got = engine.run(&case.input()).unwrap();
            let truth = gatewave::oracle::run(&case.model, &weights, &case.input()).unwrap();
            let compared = compare(got.output.view(), truth.output.view(), Tolerance { abs: 1e-5, rel: 1e-5 }).unwrap();
            assert!(compared.passed(), "{}: {compared}", case.name);
        }
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
    let engine = Engine::new(case.model.clone(), &case.weights(), Device::Cpu).unwrap();
    let x = |batch| Input::features(Array3::zeros((batch, 4, 5)));
    let tokens = |batch| Input::tokens(ndarray::Array2::ones((batch, 3)));
    let refused = |input: Input| {
        let error = engine.run(&input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    assert!(refused(x(2)).starts_with("encoder: expected an input of its own"));
    assert!(refused(x(2).encoder(tokens(3))).contains("expected 2 rows"));
    let states = gatewave::States::hidden(Array3::zeros((1, 2, 9)));
    assert!(refused(x(2).encoder(tokens(2)).states(states)).starts_with("states of stack 0: expected none"));
}

#[test]
fn states_of_another_shape_begin_no_stack() {
    let refused = |model: Model| model.check().unwrap_err().to_string();
    let decoder = || Model::new().named_layer("d.", Recurrent::new(Cell::Lstm, 5, 9));
    let encoder = |cell, hidden| Model::new().named_layer("e.", Recurrent::new(cell, 5, hidden));
    assert!(
        refused(decoder().encoded_by(encoder(Cell::Lstm, 8), [(0, 0)]))
            .starts_with("encoder: states 0: expected states")
    );
    assert!(refused(decoder().encoded_by(encoder(Cell::Rnn, 9), [(0, 0)])).contains("expected states"));
    assert!(refused(decoder().encoded_by(encoder(Cell::Lstm, 9), [(0, 1)])).contains("decoder below 1, got 1"));
    assert!(refused(decoder().encoded_by(decoder(), [(0, 0)])).contains("expected a prefix"));
}
