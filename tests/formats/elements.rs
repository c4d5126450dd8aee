//! The elements of tensors: warnings, random weights, order.

use gatewave::layer::{Bias, Direction};
use gatewave::weights::{Tensor, Tensors, non_finite};
use gatewave::{Embedding, Gru, Linear, Lstm, Model, Rnn, Weights};
use serde_json::json;

use crate::support::logged;
use crate::{load, lstm_tensors, model_error, weights_error};

#[test]
fn tensors_with_nan_or_infinity_are_named() {
    let mut given = lstm_tensors();
    assert_eq!(non_finite(&given), [""; 0]);
    given.insert("a", Tensor::new([3], vec![f32::NAN, 1.0, f32::NEG_INFINITY]));
    given.insert("b", Tensor::new([1], vec![f32::INFINITY]));
    let warnings = ["a: 2 of 3 elements are NaN or infinite", "b: 1 of 1 elements is NaN or infinite"];
    assert_eq!(non_finite(&given), warnings);
}

#[test]
fn a_nan_is_warned_of_and_loaded() {
    logged::listen();
    let nan = Tensor::new([1, 2], vec![f32::NAN, 1.0]);
    load(json!([{"type": "linear", "weights": "warned."}]), Tensors::from_iter([("warned.weight", nan)])).unwrap();
    assert_eq!(logged::of("warned."), ["WARN warned.weight: 1 of 2 elements is NaN or infinite"]);
}

#[test]
fn random_weights_are_those_of_the_seed_and_within_pytorchs_bounds() {
    let model = Model::new()
        .layer(Embedding::new(200, 8))
        .layer(Lstm::new(8, 16).bidirectional().proj_size(4))
        .layer(Linear::new(8, 100));
    let weights = Weights::random(&model, 1).unwrap();
    assert_eq!(weights, Weights::random(&model, 1).unwrap());
    assert_ne!(weights, Weights::random(&model, 2).unwrap());
    for (name, tensor) in weights.to_tensors(&model).unwrap().iter() {
        let bound = match name.split('.').next() {
            Some("0") => 1.0,
            Some("1") => 0.25,
            _ => 1.0 / 8f32.sqrt(),
        };
        let largest = tensor.read().unwrap().iter().fold(0f32, |largest, x| largest.max(x.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{name}: largest {largest}, bound {bound}");
        let mean = tensor.read().unwrap().iter().sum::<f32>() / tensor.read().unwrap().len() as f32;
        assert!(mean.abs() < bound / 4.0, "{name}: mean {mean}, bound {bound}");
    }
}

#[test]
fn a_seed_gives_known_numbers() {
    let model = Model::new().named_layer("", Rnn::new(1, 1));
    let tensors = Weights::random(&model, 42).unwrap().to_tensors(&model).unwrap();
    assert_eq!(tensors.get("weight_ih_l0").unwrap().read().unwrap().as_ref(), [-0.551_838_64]);
}

#[test]
fn weights_of_another_model_are_refused() {
    let model = Model::new().named_layer("a.", Lstm::new(2, 3));
    let refusal = |other: &Model| {
        let error = Weights::random(other, 0).unwrap().to_tensors(&model).expect_err("this must be refused");
        (error.kind(), error.to_string())
    };
    let other = Model::new().named_layer("a.", Lstm::new(2, 3)).layer(Linear::new(3, 1));
    assert_eq!(refusal(&other), weights_error("expected weights of 1 layers, got 2"));
    let other = Model::new().named_layer("a.", Lstm::new(2, 3).bias(Bias::None));
    assert_eq!(refusal(&other), weights_error("layer 0 lstm: expected 4 tensors, got 2"));
    let other = Model::new().named_layer("a.", Gru::new(2, 3));
    let message = "layer 0 lstm: a.weight_ih_l0: expected [12, 2] (4 gates × 3), got [9, 2]; 9 = 3 × 3: is this a GRU?";
    assert_eq!(refusal(&other), weights_error(message));
}

#[test]
fn two_layers_of_one_name_cannot_be_saved_where_they_differ() {
    let apart = Model::new().named_layer("a.", Linear::new(2, 2)).named_layer("b.", Linear::new(2, 2));
    let weights = Weights::random(&apart, 0).unwrap();
    let same = Model::new().named_layer("a.", Linear::new(2, 2)).named_layer("a.", Linear::new(2, 2));
    let error = weights.to_tensors(&same).unwrap_err();
    let message = "layer 1 linear: a.weight: another layer has a tensor of that name; give each its own \"weights\"";
    assert_eq!((error.kind(), error.to_string()), model_error(message));
}

#[test]
fn directions_and_layers_keep_pytorchs_order() {
    let model = Model::new().named_layer("", Rnn::new(1, 1).num_layers(2).bidirectional().bias(Bias::None));
    let names = ["weight_ih_l0", "weight_ih_l0_reverse", "weight_ih_l1", "weight_ih_l1_reverse"];
    let mut given = Tensors::new();
    for (index, name) in names.into_iter().enumerate() {
        let inputs = if index < 2 { 1 } else { 2 };
        given.insert(name, Tensor::new([1, inputs], vec![index as f32; inputs]));
        given.insert(name.replace("ih", "hh"), Tensor::new([1, 1], vec![10.0 + index as f32]));
    }
    let weights = Weights::from_tensors(&model, given).unwrap();
    let gatewave::weights::LayerWeights::Recurrent(cells) = &weights.layers[0] else { panic!("a recurrent layer") };
    let firsts: Vec<(f32, f32)> = cells.iter().map(|cell| (cell.w_x[[0, 0]], cell.w_h[[0, 0]])).collect();
    assert_eq!(firsts, [(0.0, 10.0), (1.0, 11.0), (2.0, 12.0), (3.0, 13.0)]);
    assert_eq!(model.stacks().next().unwrap().direction, Direction::Both);
}
