//! Each function against numbers that PyTorch and Keras computed in f64; and properties of every function.

use gatewave::layer::Constant;
use gatewave::oracle;
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Input, Linear, Model, Weights};
use ndarray::{Axis, arr1, array};

use crate::assert_near;

const X: [f32; 4] = [-2.5, -0.375, 0.25, 1.75];

const fn c(value: f32) -> Constant {
    Constant::new(value)
}

/// Each function with unusual constants, and its results for [`X`].
const WANTED: [(Activation, [f64; 4]); 28] = {
    use Activation as A;
    [
        (A::Linear, [-2.5, -0.375, 0.25, 1.75]),
        (A::Sigmoid, [0.0758581800212, 0.407333400046, 0.562176500886, 0.851952801968]),
        (A::Tanh, [-0.986614298151, -0.358357398351, 0.244918662404, 0.941375538497]),
        (A::Relu, [0.0, 0.0, 0.25, 1.75]),
        (A::Affine { alpha: c(0.5), beta: c(0.25) }, [-1.0, 0.0625, 0.375, 1.125]),
        (A::LeakyRelu { alpha: c(0.125) }, [-0.3125, -0.046875, 0.25, 1.75]),
        (A::ThresholdedRelu { alpha: c(0.25) }, [0.0, 0.0, 0.0, 1.75]),
        (
            A::ScaledTanh { alpha: c(1.5), beta: c(0.5) },
            [-1.27242545994, -0.277999799862, 0.186529502657, 1.0558584059],
        ),
        (A::HardSigmoid { alpha: c(0.25), beta: c(0.5) }, [0.0, 0.40625, 0.5625, 0.9375]),
        (A::Elu { alpha: c(0.5) }, [-0.458957500688, -0.156355360605, 0.25, 1.75]),
        (A::Selu { alpha: c(1.5), gamma: c(1.25) }, [-1.72109062758, -0.586332602267, 0.3125, 2.1875]),
        (A::Celu { alpha: c(0.5) }, [-0.4966310265, -0.263816723629, 0.25, 1.75]),
        (A::Softsign, [-0.714285714286, -0.272727272727, 0.2, 0.636363636364]),
        (A::Softplus, [0.0788897342925, 0.52312326414, 0.825939419879, 1.91022415044]),
        (A::Exponential, [0.0820849986239, 0.687289278791, 1.28402541669, 5.75460267601]),
        (A::Clamp { alpha: c(-1.0), beta: c(0.5) }, [-1.0, -0.375, 0.25, 0.5]),
        (A::Silu, [-0.189645450053, -0.152750025017, 0.140544125221, 1.49091740344]),
        (A::HardSilu { alpha: c(0.25), beta: c(0.5) }, [0.0, -0.15234375, 0.140625, 1.640625]),
        (A::Gelu, [-0.0155241633144, -0.132686337498, 0.149676581421, 1.67989647549]),
        (A::GeluTanh, [-0.01508426609, -0.132692233108, 0.149675350702, 1.67979538234]),
        (A::Mish, [-0.196816203907, -0.180040108842, 0.169572409664, 1.67493242413]),
        (A::LogSigmoid, [-2.57888973429, -0.89812326414, -0.575939419879, -0.160224150438]),
        (A::HardShrink { alpha: c(0.375) }, [-2.5, 0.0, 0.0, 1.75]),
        (A::SoftShrink { alpha: c(0.25) }, [-2.25, -0.125, 0.0, 1.5]),
        (A::TanhShrink, [-1.51338570185, -0.0166426016492, 0.00508133759629, 0.808624461503]),
        (A::SparsePlus, [0.0, 0.09765625, 0.390625, 1.75]),
        (A::Squareplus { alpha: c(4.0) }, [0.350781059358, 0.829926287256, 1.13278221854, 2.20376822659]),
        (A::Sqrt, [f64::NAN, f64::NAN, 0.5, 1.3228756555323]),
    ]
};

/// Returns `f` of each number, by a layer of its own.
fn values_of(f: Activation, x: &[f32]) -> Vec<f64> {
    let model = Model::new().layer(Linear::new(1, 1).no_bias()).layer(f);
    let weights = Weights::new(vec![LayerWeights::Linear { w: array![[1.0]], b: None }, LayerWeights::None]);
    let input = Input::features(arr1(x).insert_axis(Axis(1)));
    oracle::run(&model, &weights, &input).unwrap().output.iter().copied().collect()
}

#[test]
fn each_function_gives_what_pytorch_and_keras_give() {
    for (f, want) in WANTED {
        let (got, known) = (values_of(f, &X), want.iter().filter(|x| x.is_nan()).count());
        assert!(got[..known].iter().all(|y| y.is_nan()), "{f}: {got:?}");
        assert_near(arr1(&got[known..]).view(), &want[known..], &f.to_string());
    }
    let elementwise = Activation::ALL.into_iter().filter(|f| f.is_elementwise());
    assert!(elementwise.map(Activation::name).eq(WANTED.iter().map(|(f, _)| f.name())));
}

#[test]
fn tails_keep_their_digits() {
    let near = |got: f64, want: f64| (got - want).abs() <= 1e-12 * want.abs();
    let one = |f, x| values_of(f, &[x])[0];
    assert!(near(one(Activation::Gelu, -6.0), -5.919_525_870_226_188e-9));
    assert!(near(one(Activation::Softplus, -40.0), 4.248_354_255_291_588e-18));
    assert_eq!(one(Activation::Softplus, 800.0), 800.0);
    assert_eq!(one(Activation::LogSigmoid, -800.0), -800.0);
    assert_eq!(one(Activation::Mish, 800.0), 800.0);
}

#[test]
fn a_nan_stays_a_nan() {
    for f in Activation::ALL {
        assert!(values_of(f, &[f32::NAN])[0].is_nan(), "{f}");
    }
}

#[test]
fn bounds_in_the_wrong_order_are_the_greatest_value() {
    // ONNX's `Clip` since opset 13.
    let crossed = Activation::Clamp { alpha: c(1.0), beta: c(-1.0) };
    assert_eq!(values_of(crossed, &[-5.0, 0.0, 5.0]), [-1.0; 3]);
}
