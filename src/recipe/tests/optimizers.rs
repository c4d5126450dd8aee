//! Eight updates by every optimizer, compared with those of PyTorch and Keras (`tests/golden/optimizers/`).

use serde_json::Value;

use super::super::*;
use super::golden;
use crate::model::Role;
use crate::rule::{Method, clip_factor, squares};

/// The tensors of a case: name, role, weights, moments.
struct Tensor {
    name: &'static str,
    role: Role,
    w: Vec<f32>,
    moments: Vec<Vec<f32>>,
}

pub(super) fn float(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

pub(super) fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(float).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "they are 32-bit floats")]
fn singles(value: &Value) -> Vec<f32> {
    floats(value).into_iter().map(|x| x as f32).collect()
}

pub(super) fn like(case: &Value) -> Convention {
    if case["like"] == "keras" { Convention::Keras } else { Convention::Torch }
}

fn settings_of(case: &Value) -> Optimizer {
    let (like, settings) = (like(case), case["settings"].as_object().unwrap());
    let mut decay = None;
    let mut optimizer: Optimizer = match case["optimizer"].as_str().unwrap() {
        "sgd" => Sgd::like(like).into(),
        "rmsprop" => RmsProp::like(like).into(),
        "adam" => Adam::like(like).into(),
        _ => AdamW::like(like).into(),
    };
    for (name, value) in settings {
        optimizer = match (optimizer, name.as_str()) {
            (Optimizer::Sgd(o), "learning_rate") => o.learning_rate(float(value)).into(),
            (Optimizer::Sgd(o), "momentum") => o.momentum(float(value)).into(),
            (Optimizer::Sgd(o), "dampening") => o.dampening(float(value)).into(),
            (Optimizer::Sgd(o), "nesterov") => o.nesterov(value.as_bool().unwrap()).into(),
            (Optimizer::RmsProp(o), "learning_rate") => o.learning_rate(float(value)).into(),
            (Optimizer::RmsProp(o), "alpha") => o.alpha(float(value)).into(),
            (Optimizer::RmsProp(o), "epsilon") => o.epsilon(float(value)).into(),
            (Optimizer::RmsProp(o), "momentum") => o.momentum(float(value)).into(),
            (Optimizer::RmsProp(o), "centered") => o.centered(value.as_bool().unwrap()).into(),
            (Optimizer::Adam(o), "learning_rate") => o.learning_rate(float(value)).into(),
            (Optimizer::Adam(o), "betas") => o.betas([float(&value[0]), float(&value[1])]).into(),
            (Optimizer::Adam(o), "epsilon") => o.epsilon(float(value)).into(),
            (Optimizer::Adam(o), "amsgrad") => o.amsgrad(value.as_bool().unwrap()).into(),
            (Optimizer::AdamW(o), "learning_rate") => o.learning_rate(float(value)).into(),
            (Optimizer::AdamW(o), "amsgrad") => o.amsgrad(value.as_bool().unwrap()).into(),
            (optimizer, "weight_decay") => {
                decay = Some(float(value));
                optimizer
            }
            (optimizer, name) => panic!("{}: {name}", optimizer.name()),
        };
    }
    let decay = decay.map_or(optimizer.weight_decay(), WeightDecay::new);
    let decay = if case["spared"][0] == "bias" { decay.except([Role::Bias]) } else { decay };
    match optimizer {
        Optimizer::Sgd(o) => o.weight_decay(decay).into(),
        Optimizer::RmsProp(o) => o.weight_decay(decay).into(),
        Optimizer::Adam(o) => o.weight_decay(decay).into(),
        Optimizer::AdamW(o) => o.weight_decay(decay).into(),
    }
}

fn clip_of(case: &Value) -> Clip {
    #[expect(clippy::cast_possible_truncation, reason = "they are 32-bit floats")]
    let clip =
        case["clip"].as_object().unwrap().iter().next().map(|(name, value)| (name.as_str(), float(value) as f32));
    match clip {
        None => Clip::None,
        Some(("global_norm", bound)) => Clip::GlobalNorm(bound),
        Some(("tensor_norm", bound)) => Clip::TensorNorm(bound),
        Some((_, bound)) => Clip::Value(bound),
    }
}

#[test]
fn updates_are_those_of_pytorch_and_keras() {
    let golden = golden("updates.json");
    let gradients = golden["gradients"].as_array().unwrap();
    let mut worst = 0.0_f64;
    let mut rules = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let place = format!("{} {} {} {}", case["like"], case["optimizer"], case["settings"], case["clip"]);
        let update =
            Update::by(settings_of(case)).clip(clip_of(case)).l2(L2::none().on(Role::Matrix, float(&case["l2"])));
        update.check().unwrap();
        let rule = update.rule();
        rules.push(rule);
        let rates = floats(&case["rates"]);
        assert!((rates[0] - update.optimizer.learning_rate()).abs() < 1e-12, "{place}");
        let mut tensors = [("kernel", Role::Matrix), ("bias", Role::Bias)].map(|(name, role)| {
            let w = singles(&golden["weights"][name]);
            let moments = rule.moments().iter().map(|_| vec![0.0; w.len()]).collect();
            Tensor { name, role, w, moments }
        });
        for (((t, rate), gradients), after) in (1..).zip(rates).zip(gradients).zip(case["after"].as_array().unwrap()) {
            let scalars = tensors.each_ref().map(|tensor| update.scalars(tensor.role, rate, t).unwrap());
            let gradients = tensors.each_ref().map(|tensor| singles(&gradients[tensor.name]));
            let norms: Vec<f64> =
                tensors.iter().zip(&scalars).zip(&gradients).map(|((x, s), g)| squares(s, &x.w, g)).collect();
            for (at, tensor) in tensors.iter_mut().enumerate() {
                let squares = if let Clip::TensorNorm(_) = update.clip { norms[at] } else { norms.iter().sum() };
                #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
                let factor = clip_factor(&scalars[at], squares as f32);
                let mut moments: Vec<&mut [f32]> = tensor.moments.iter_mut().map(Vec::as_mut_slice).collect();
                crate::rule::update(rule, &scalars[at], factor, &mut tensor.w, &gradients[at], &mut moments);
                for (got, want) in tensor.w.iter().zip(floats(&after[tensor.name])) {
                    let error = (f64::from(*got) - want).abs() / want.abs().max(1.0);
                    assert!(error < 3e-6, "{place}: update {t} of {}: expected {want}, got {got}", tensor.name);
                    worst = worst.max(error);
                }
            }
        }
    }
    // A smaller error would mean that the test compares nothing.
    assert!(worst > 1e-8, "{worst}");
    // Every rule was tested.
    for method in [
        Method::Gradient,
        Method::RmsProp { centered: false },
        Method::RmsProp { centered: true },
        Method::Adam { amsgrad: false },
        Method::Adam { amsgrad: true },
    ] {
        let momentum = rules.iter().any(|rule| rule.method == method && rule.momentum);
        let without = rules.iter().any(|rule| rule.method == method && !rule.momentum);
        assert!(without && (momentum || matches!(method, Method::Adam { .. })), "{method:?}");
    }
    assert!(rules.iter().any(|rule| rule.clips_value));
}

#[test]
fn the_first_step_of_rmsprop_tells_whose_it_is() {
    for (like, rate, want) in [(Convention::Torch, 0.1, 9.0), (Convention::Keras, 0.1, 9.683_772)] {
        let update = Update::by(RmsProp::like(like));
        let s = update.scalars(Role::Matrix, rate, 1).unwrap();
        // The loss is w²/2, as in Keras' documentation.
        let (mut w, mut v) = ([10.0], [0.0]);
        crate::rule::update(update.rule(), &s, 1.0, &mut w, &[10.0], &mut [&mut v]);
        assert!((f64::from(w[0]) - want).abs() < 1e-5, "{like}: {}", w[0]);
    }
}

#[test]
fn factors_of_clipping_are_those_of_the_frameworks() {
    for like in [Convention::Torch, Convention::Keras] {
        let factor = |clip: Clip, norm: f32| {
            let optimizer: Optimizer = Sgd::like(like).into();
            clip_factor(&Update::by(optimizer).clip(clip).scalars(Role::Bias, 0.1, 1).unwrap(), norm * norm)
        };
        assert_eq!(factor(Clip::None, f32::NAN), 1.0);
        assert_eq!(factor(Clip::Value(1.0), 50.0), 1.0);
        for clip in [Clip::GlobalNorm(2.0), Clip::TensorNorm(2.0)] {
            assert_eq!(factor(clip, 0.0), 1.0);
            assert_eq!(factor(clip, 1.5), 1.0);
            assert!((factor(clip, 8.0) - 0.25).abs() < 1e-6);
            assert!(factor(clip, f32::NAN).is_nan());
            // P adds 1e-6 to the norm.
            assert_eq!(factor(clip, 2.0) < 1.0, like == Convention::Torch);
        }
    }
}

#[test]
fn not_a_number_stays_one() {
    for clip in [Clip::None, Clip::Value(1.0), Clip::GlobalNorm(1.0)] {
        let update = Update::by(Sgd::like(Convention::Torch)).clip(clip);
        let s = update.scalars(Role::Bias, 0.1, 1).unwrap();
        let mut w = [1.0];
        let factor = clip_factor(&s, f32::NAN);
        crate::rule::update(update.rule(), &s, factor, &mut w, &[f32::NAN], &mut []);
        assert!(w[0].is_nan(), "{clip:?}");
    }
}

#[test]
fn weights_of_zero_without_gradient_stay_zero() {
    let all: [Optimizer; 8] = [
        Sgd::like(Convention::Torch).momentum(0.9).nesterov(true).weight_decay(0.1).into(),
        Sgd::like(Convention::Keras).momentum(0.9).nesterov(true).weight_decay(0.1).into(),
        RmsProp::like(Convention::Torch).centered(true).momentum(0.9).into(),
        RmsProp::like(Convention::Keras).centered(true).momentum(0.9).into(),
        Adam::like(Convention::Torch).amsgrad(true).weight_decay(0.1).into(),
        Adam::like(Convention::Keras).amsgrad(true).weight_decay(0.1).into(),
        AdamW::like(Convention::Torch).into(),
        AdamW::like(Convention::Keras).into(),
    ];
    for optimizer in all {
        let update = Update::by(optimizer).l2(L2::none().on(Role::Matrix, 0.1)).clip(Clip::Value(1.0));
        let mut w = [0.0; 3];
        let mut kept = vec![[0.0; 3]; update.rule().moments().len()];
        for t in 1..4 {
            let s = update.scalars(Role::Matrix, 0.1, t).unwrap();
            let mut moments: Vec<_> = kept.iter_mut().map(<[f32; 3]>::as_mut_slice).collect();
            crate::rule::update(update.rule(), &s, 1.0, &mut w, &[0.0; 3], &mut moments);
        }
        assert_eq!(w, [0.0; 3], "{optimizer:?}");
    }
}

#[test]
fn a_penalty_is_part_of_the_loss() {
    let penalty = L2::none().on(Role::Recurrent, 0.5);
    assert_eq!(penalty.loss(Role::Recurrent, &[1.0, -2.0]), 2.5);
    assert_eq!(penalty.loss(Role::Matrix, &[1.0, -2.0]), 0.0);
}
