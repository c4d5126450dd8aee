//! Defaults, and settings that are refused.

use super::super::*;
use crate::error::ErrorKind;
use crate::model::Role;
use crate::rule::{Method, Rule};

fn refused(optimizer: impl Into<Optimizer>) -> String {
    let error = Update::by(optimizer).check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Training);
    error.to_string()
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let (torch, keras) = (Convention::Torch, Convention::Keras);
    let number = "expected a finite number, 0 or more, got";
    assert_eq!(refused(Sgd::like(torch).learning_rate(f64::NAN)), format!("sgd: learning_rate: {number} NaN"));
    assert_eq!(refused(Adam::like(keras).learning_rate(-0.5)), format!("adam: learning_rate: {number} -0.5"));
    assert!(refused(AdamW::like(keras).learning_rate(1e39)).contains(number));
    assert_eq!(refused(AdamW::like(torch).weight_decay(-1.0)), format!("adamw: weight_decay: {number} -1"));
    assert_eq!(
        refused(Adam::like(torch).betas([0.9, 1.0])),
        "adam: betas[1]: expected at least 0 and less than 1, got 1"
    );
    assert!(refused(Adam::like(torch).betas([-0.1, 0.9])).starts_with("adam: betas[0]: expected"));
    assert!(refused(RmsProp::like(torch).alpha(1.5)).starts_with("rmsprop: alpha: expected"));
    assert_eq!(
        refused(RmsProp::like(torch).epsilon(0.0)),
        "rmsprop: epsilon: expected a finite number, more than 0, got 0"
    );
    assert_eq!(refused(RmsProp::like(torch).momentum(-1.0)), "rmsprop: momentum: expected from 0 to 1, got -1");
    assert_eq!(
        refused(Sgd::like(torch).nesterov(true)),
        "sgd: nesterov: expected a momentum of more than 0, got 0; set momentum, or leave out nesterov"
    );
    assert_eq!(
        refused(Sgd::like(torch).momentum(0.9).dampening(0.5).nesterov(true)),
        "sgd: nesterov: expected a dampening of 0, got 0.5"
    );
    assert_eq!(
        refused(Sgd::like(keras).momentum(0.9).dampening(0.5)),
        "sgd: dampening: expected 0, got 0.5; Keras has none"
    );
}

#[test]
fn bounds_penalties_rates_and_schedules_are_checked() {
    let update = Update::by(Sgd::like(Convention::Torch));
    let text = |update: Update| update.check().unwrap_err().to_string();
    assert_eq!(text(update.clip(Clip::GlobalNorm(0.0))), "clip_norm: expected a finite number, more than 0, got 0");
    assert!(text(update.clip(Clip::Value(f32::NAN))).starts_with("clip_value: expected"));
    assert!(text(update.l2(L2::none().on(Role::Bias, -1.0))).starts_with("l2: expected"));
    assert!(update.scalars(Role::Bias, f64::INFINITY, 1).is_err());
    assert!(update.scalars(Role::Bias, 0.1, 0).unwrap_err().to_string().contains("updates count from 1"));

    let text = |schedule: Schedule| schedule.check().unwrap_err().to_string();
    assert_eq!(text(Schedule::step(0, 0.1)), "schedule step: steps: expected 1 or more, got 0");
    assert!(text(Schedule::exponential(1, 0.0)).starts_with("schedule exponential: factor"));
    assert!(text(Schedule::multi_step([1], f64::NAN)).starts_with("schedule multi_step: factor"));
    assert!(text(Schedule::cosine(0, 0.1)).starts_with("schedule cosine: steps"));
    assert!(text(Schedule::cosine_after_warm_up(1, -1.0, 1, 0.1)).starts_with("schedule cosine: target"));
    assert!(text(Schedule::cosine_annealing(0, 0.1)).starts_with("schedule cosine_annealing: steps"));
    assert!(text(Schedule::linear(-1.0, 1.0, 5)).starts_with("schedule linear: from"));
    let plateau = Plateau::like(Convention::Keras);
    assert!(text(Schedule::plateau(plateau.factor(1.0))).starts_with("schedule plateau: factor"));
    assert!(text(Schedule::plateau(plateau).per_update()).starts_with("schedule plateau: expected epochs"));
    // Unchecked settings do not panic.
    for schedule in [Schedule::step(0, 0.1), Schedule::cosine(0, 0.0), Schedule::linear(0.0, 1.0, 0)] {
        let _ = schedule.rate(1.0, 3, 3);
    }
}

#[test]
fn roles_decay_or_are_spared() {
    let decay = WeightDecay::new(0.1).except([Role::Bias, Role::Table]);
    for (place, role) in Role::ALL.into_iter().enumerate() {
        assert_eq!(role as usize, place);
        let want = if [Role::Bias, Role::Table].contains(&role) { 0.0 } else { 0.1 };
        assert_eq!(decay.of(role), want);
    }
}

#[test]
fn only_torchs_other_optimizers_couple_their_decay() {
    let coupled = |optimizer: Optimizer| {
        let s = Update::by(optimizer).scalars(Role::Matrix, 0.5, 3).unwrap();
        assert!((s.coupled > 0.0) != (s.decoupled > 0.0));
        s.coupled > 0.0
    };
    for like in [Convention::Torch, Convention::Keras] {
        let torch = like == Convention::Torch;
        assert_eq!(coupled(Sgd::like(like).weight_decay(0.1).into()), torch);
        assert_eq!(coupled(RmsProp::like(like).weight_decay(0.1).into()), torch);
        assert_eq!(coupled(Adam::like(like).weight_decay(0.1).into()), torch);
        assert!(!coupled(AdamW::like(like).into()));
    }
}

#[test]
fn the_correction_of_adam_is_exact_far_on() {
    let update = Update::by(Adam::like(Convention::Torch));
    for t in [1, 2, 1000, 1_000_000, u64::MAX] {
        let s = update.scalars(Role::Matrix, 1.0, t).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "as exact as it need be")]
        let want = [0.9_f64, 0.999].map(|beta| 1.0 - beta.powf(t as f64));
        assert!((f64::from(s.direct) * want[0] - 1.0).abs() < 1e-6, "{t}");
        assert!((f64::from(s.root) * want[1].sqrt() - 1.0).abs() < 1e-6, "{t}");
    }
}

#[test]
fn moments_are_named_once_each() {
    for method in [Method::Gradient, Method::RmsProp { centered: true }, Method::Adam { amsgrad: true }] {
        let rule = Rule { method, momentum: true, clips_value: false };
        let names: Vec<_> = rule.moments().iter().map(|moment| moment.name()).collect();
        assert!((1..=3).contains(&names.len()));
        assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)));
    }
}
