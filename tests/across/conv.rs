//! Convolutions against numbers of PyTorch and Keras, rows against themselves alone, and what is refused.

use gatewave::conformance::{Tolerance, compare};
use gatewave::layer::{Conv1d, ConvPadding, LayerKind};
use gatewave::weights::LayerWeights;
use gatewave::{Device, Engine, ErrorKind, Gru, Input, Model, Streams, Weights, oracle};
use ndarray::{Array1, Array3, Axis, s};

/// The sizes of a kernel, and its numbers: halves of whole numbers, whose sums are exact in 32 bits.
fn weights(conv: &Conv1d) -> Weights {
    let number = |n: usize, by: usize, less: f32| ((n % by) as f32 - less) / 2.0;
    let shape = (conv.out_features, conv.in_features / conv.groups, conv.kernel_size);
    let w = Array3::from_shape_fn(shape, |(n, c, j)| number(5 * n + 3 * c + 2 * j, 5, 2.0));
    let b = Array1::from_shape_fn(conv.out_features, |n| n as f32 / 4.0);
    let mut all = Weights::random(&Model::new().layer(conv.clone()), 0).expect("weights");
    let LayerWeights::Conv { w: own_w, b: own_b } = &mut all.layers[0] else { panic!("a convolution") };
    (*own_w, *own_b) = (w, Some(b));
    all
}

#[test]
fn numbers_are_those_of_pytorch_and_keras() {
    let of = Conv1d::new;
    // `torch.nn.functional.conv1d` in float64; the last one is `keras.ops.conv`.
    let cases: [(Conv1d, &[f32]); 5] = [
        (of(4, 2, 3), &[3.75, 4.0, -2.25, -2.0, 2.25, 2.5, -3.75, -3.5]),
        (
            of(4, 4, 3).groups(2).stride(2).padding(ConvPadding::Explicit(2, 1)),
            &[-1.5, -1.25, 0.5, 0.75, 4.5, 4.75, -1.0, -0.75, 1.25, 1.5, -0.75, -0.5, -2.5, -2.25, 2.75, 3.0],
        ),
        (
            of(2, 4, 2).groups(2).dilation(3).padding(ConvPadding::Causal),
            &[
                0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75, 1.5, 1.75, -0.5, -0.25, 0.0, 0.25,
                1.5, 1.75, -1.5, -1.25, 0.0, 0.25,
            ],
        ),
        (
            of(2, 2, 4).padding(ConvPadding::Same),
            &[-1.25, -1.0, 3.25, 3.5, -2.0, -1.75, 3.25, 3.5, -1.25, -1.0, -2.5, -2.25],
        ),
        (of(2, 2, 3).stride(2).padding(ConvPadding::Same), &[4.5, 4.75, 1.25, 1.5, -2.5, -2.25]),
    ];
    for (conv, wanted) in cases {
        let (model, weights) = (Model::new().layer(conv.clone()), weights(&conv));
        let x = Array3::from_shape_fn((1, 6, conv.in_features), |(_, t, c)| ((3 * t + 5 * c) % 7) as f32 / 2.0 - 1.5);
        let input = Input::features(x);
        let engine = Engine::new(&model, &weights, Device::Cpu).expect("an engine");
        let got: Vec<f32> = engine.run(&input).expect("a result").output.into_iter().collect();
        assert_eq!(got, wanted, "{conv:?}");
        let truth = oracle::run(&model, &weights, &input).expect("the oracle").output;
        assert!(truth.iter().zip(wanted).all(|(a, &b)| *a == f64::from(b)), "{conv:?}: {truth}");
    }
}

#[test]
fn a_row_gives_what_it_gives_alone_and_has_its_own_steps() {
    let strided = Conv1d::new(3, 4, 3).stride(2).padding(ConvPadding::Explicit(1, 2));
    let same = Conv1d::new(4, 4, 4).padding(ConvPadding::Same);
    let model = Model::new().layer(Gru::new(2, 3)).layer(strided).layer(same).layer(Gru::new(4, 3));
    let weights = Weights::random(&model, 5).expect("weights");
    let engine = Engine::new(&model, &weights, Device::Cpu).expect("an engine");
    let x = Array3::from_shape_fn((3, 9, 2), |(b, t, n)| ((b + 3 * t + n) % 7) as f32 * 0.3 - 1.0);
    let padded = engine.run(&Input::features(&x).lengths([9, 4, 0])).expect("a result");
    for (row, length) in [(0, 9), (1, 4)] {
        let alone = engine.run(&Input::features(x.slice(s![row..=row, ..length, ..]))).expect("a result");
        let steps = alone.output.len_of(Axis(1));
        assert_eq!(steps, (length + 3 - 3) / 2 + 1);
        let own = padded.output.slice(s![row..=row, ..steps, ..]).to_owned().into_dyn();
        let compared = compare(own.view(), alone.output.mapv(f64::from).view(), Tolerance { abs: 1e-6, rel: 1e-6 })
            .expect("alike");
        assert!(compared.passed(), "row {row}: {compared}");
    }
    assert!(padded.output.slice(s![2, .., ..]).iter().all(|&y| y == 0.0), "a row without steps");
}

#[test]
fn a_long_sequence_is_convolved_chunk_by_chunk() {
    for conv in [
        Conv1d::new(18, 20, 5).dilation(7).padding(ConvPadding::Same),
        Conv1d::new(18, 18, 3).stride(3).groups(9).padding(ConvPadding::Causal),
        Conv1d::new(18, 20, 2).padding(ConvPadding::Explicit(40, 9)),
    ] {
        let model = Model::new().layer(Gru::new(2, 18)).layer(conv);
        let weights = Weights::random(&model, 5).expect("weights");
        let x = Array3::from_shape_fn((2, 301, 2), |(b, t, n)| ((b + 3 * t + n) % 17) as f32 * 0.2 - 1.0);
        let input = Input::features(&x).lengths([301, 150]);
        let truth = oracle::run(&model, &weights, &input).expect("the oracle").output;
        for bytes in [1, 4096, 1 << 30] {
            let engine = Engine::builder().device(Device::Cpu).chunk_bytes(bytes).build(&model, &weights);
            let got = engine.expect("an engine").run(&input).expect("a result").output;
            let compared = compare(got.view(), truth.view(), Tolerance { abs: 1e-6, rel: 1e-5 }).expect("alike");
            assert!(compared.passed(), "{bytes}: {compared}");
        }
    }
}

#[test]
fn what_a_convolution_cannot_be_is_refused() {
    let wrong = |conv: Conv1d| {
        let error = Weights::random(&Model::new().layer(conv), 0).map(drop).expect_err("it is refused");
        error.to_string()
    };
    assert_eq!(
        wrong(Conv1d::new(6, 9, 3).groups(2)),
        "layer 0 conv1d: groups: expected a divisor of out_features, got 2 groups of 9 features"
    );
    assert_eq!(wrong(Conv1d::new(6, 9, 3).stride(0)), "layer 0 conv1d: stride: expected at least 1, got 0");
    assert_eq!(
        wrong(Conv1d::new(6, 9, usize::MAX)),
        "layer 0 conv1d: kernel_size: expected at most 16777216, got 18446744073709551615"
    );
    assert_eq!(
        wrong(Conv1d::new(6, 9, 1 << 20).dilation(1 << 20)),
        "layer 0 conv1d: kernel_size · dilation: expected at most 16777216, got 1099510579201"
    );
    let refused = |conv: Conv1d, input: Input<'_>| {
        let model = Model::new().layer(conv);
        let engine =
            Engine::new(&model, &Weights::random(&model, 0).expect("weights"), Device::Cpu).expect("an engine");
        let error = engine.run(&input).expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    let x = || Input::features(Array3::<f32>::zeros((2, 5, 2)));
    assert_eq!(
        refused(Conv1d::new(2, 3, 4).dilation(2), x()),
        "layer 0 conv1d: expected at least 7 steps with the padding, which its kernel spans, got [5]"
    );
    assert_eq!(
        refused(Conv1d::new(2, 3, 3).stride(2).padding(ConvPadding::Same), x().lengths([5, 4])),
        "layer 0 conv1d, row 1 of 4 steps: expected padding of 1 before it, as before all 5 steps, got 0; with a \
         stride, the padding \"same\" before a row depends on its length; try another padding"
    );
}

#[test]
fn streams_refuse_a_convolution_by_its_name() {
    let model = super::behind_a_gru(2, Conv1d::new(3, 4, 3).padding(ConvPadding::Causal));
    let (engine, _) = super::engine(&model);
    let error = Streams::new(&engine, 2).map(drop).expect_err("no frame gives its part").to_string();
    let text = "expected what each frame gives, got a convolution over several steps; run whole sequences, \
                without a stream";
    assert_eq!(error, format!("layer 1 y (conv1d): {text}"));
    let one = super::behind_a_gru(2, LayerKind::from(Conv1d::new(3, 4, 1)));
    assert!(Streams::new(&super::engine(&one).0, 2).is_ok(), "one tap is a linear layer");
}
