//! Text as the description of a model whose tensors are some of these.
#![no_main]

use gatewave::formats::description;
use gatewave::weights::{Tensor, Tensors};
use libfuzzer_sys::fuzz_target;

const SHAPES: [(&str, &[usize]); 18] = [
    ("embedding.weight", &[5, 3]),
    ("lstm.weight_ih_l0", &[16, 6]),
    ("lstm.weight_hh_l0", &[16, 4]),
    ("lstm.weight_ch_l0", &[3, 4]),
    ("lstm.bias_ih_l0", &[16]),
    ("lstm.bias_hh_l0", &[16]),
    ("lstm.weight_ih_l1", &[16, 4]),
    ("lstm.weight_hh_l1", &[16, 4]),
    ("lstm.bias_ih_l1", &[16]),
    ("lstm.bias_hh_l1", &[16]),
    ("gru.weight_ih_l0", &[6, 3]),
    ("gru.weight_hh_l0", &[6, 2]),
    ("gru.weight_ih_l0_reverse", &[6, 3]),
    ("gru.weight_hh_l0_reverse", &[6, 2]),
    ("fc.weight", &[2, 4]),
    ("fc.bias", &[2]),
    ("odd.weight", &[0, 7]),
    ("scalar.weight", &[]),
];

fuzz_target!(|text: &str| {
    let tensor = |shape: &[usize]| Tensor::new(shape, vec![0.5; shape.iter().product()]);
    let tensors: Tensors = SHAPES.iter().map(|&(name, shape)| (name, tensor(shape))).collect();
    if let Ok(model) = description::from_json(text, &tensors) {
        gatewave_fuzz::explore(&model, tensors);
    }
});
