//! Engines with weights in 8-bit integers give the results of 32-bit floats of the same values, bit by bit.

use gatewave::conformance::rounded;
use gatewave::weights::LayerWeights;
use gatewave::{
    Activation, Device, Embedding, Engine, EngineBuilder, ErrorKind, Gru, Input, Linear, Lstm, Model, OneHot,
    Precision, Select, Weights,
};
use ndarray::array;

use crate::random;

fn options(precision: Precision) -> EngineBuilder {
    Engine::builder().device(Device::Cpu).precision(precision)
}

#[test]
fn integers_give_what_floats_of_the_same_values_give_also_where_a_table_stands_for_a_product() {
    let rest = |model: Model| {
        model
            .layer(Lstm::new(9, 21).num_layers(2).bidirectional().proj_size(7).peepholes())
            .layer(Linear::new(14, 5).activation(Activation::Tanh))
            .layer(Gru::new(5, 33).learned_states())
    };
    let (features, tokens) =
        (Input::features(random((2, 6, 9), 3)), Input::tokens(array![[4_i64, 8, 7, 0], [8, 0, 3, 8]]));
    for (model, input) in [
        (rest(Model::new()), &features),
        (rest(Model::new().layer(Embedding::new(9, 9))), &tokens),
        (rest(Model::new().layer(OneHot::new(9))), &tokens),
    ] {
        let weights = Weights::random(&model, 1).unwrap();
        let engine = |weights: &Weights, precision| options(precision).build(&model, weights);
        let got = engine(&weights, Precision::I8).unwrap().run(input).unwrap();
        let same = engine(&rounded(&weights, Precision::I8).unwrap(), Precision::F32).unwrap().run(input).unwrap();
        assert_eq!(got, same);
        let exact = engine(&weights, Precision::F32).unwrap().run(input).unwrap();
        let worst = (&got.output - &exact.output).iter().fold(0.0_f32, |worst, d| worst.max(d.abs()));
        assert!(worst > 1e-4 && worst < 0.05, "weights rounded to 8 bits: {worst}");
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_by_name() {
    let model = Model::new().layer(Gru::new(3, 4)).layer(Select::LastStep).layer(Linear::new(4, 2));
    let mut weights = Weights::random(&model, 1).unwrap();
    let LayerWeights::Recurrent(cells) = &mut weights.layers[0] else { panic!("a gru") };
    cells[0].w_h[[7, 2]] = f32::NEG_INFINITY;
    let error = options(Precision::I8).build(model, &weights).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Weights);
    let message = "weights 0.w_h.0: expected finite numbers for 8-bit integers, got -inf; use 32-bit floats";
    assert_eq!(error.to_string(), message);
}
