//! Gradients of executors against the oracle's: every case of the table, and random models.
//!
//! `GATEWAVE_ADAPTER` names the adapter, where there is one; without it the CPU computes.

#[path = "gradients/aims.rs"]
mod aims;
#[path = "gradients/models.rs"]
mod models;
mod support;

use std::env;

use gatewave::conformance::{self, Case};
use gatewave::oracle::{self, TrueGradients};
use gatewave::{Batch, Device, Error, ErrorKind, Gradients, Like, Options, Sgd, Trainer, Update, Weights};
use ndarray::ArrayD;

/// What a gradient may be off by, for each unit of its largest element: sums of a few thousand products in f32.
const TOLERANCE: f64 = 5e-4;

/// The least that a gradient's largest element counts as: smaller ones are what is left of sums that cancel.
const LEAST: f64 = 1e-3;

fn device() -> Device {
    match env::var("GATEWAVE_ADAPTER") {
        Ok(name) if !name.is_empty() => Device::Named(name),
        _ => Device::Cpu,
    }
}

/// The worst of what is compared, and how far it is off.
type Worst = (String, f64);

fn worse(worst: &mut Worst, name: String, got: impl IntoIterator<Item = f32>, want: &ArrayD<f64>) {
    let most = want.iter().fold(LEAST, |most, x| most.max(x.abs()));
    let got: Vec<f32> = got.into_iter().collect();
    assert_eq!(got.len(), want.len(), "{name}");
    for (got, want) in got.into_iter().zip(want) {
        let off = (f64::from(got) - want).abs() / most;
        // A NaN is as far off as can be.
        if !(off <= worst.1) {
            *worst = (name.clone(), if off.is_nan() { f64::INFINITY } else { off });
        }
    }
}

/// The worst of all gradients.
fn compare(got: &Gradients, want: &TrueGradients) -> Worst {
    let mut worst = ("nothing".to_owned(), 0.0);
    let loss = (got.loss - want.loss).abs() / want.loss.abs().max(LEAST);
    worst = if loss > worst.1 || loss.is_nan() { ("the loss".to_owned(), loss) } else { worst };
    assert_eq!(got.weights.keys().collect::<Vec<_>>(), want.weights.keys().collect::<Vec<_>>());
    for (name, want) in &want.weights {
        worse(&mut worst, name.clone(), got.weights[name].iter().copied(), want);
    }
    for (name, want) in &want.inputs {
        worse(&mut worst, name.clone(), got.inputs[name].iter().copied(), want);
    }
    for (stack, want) in &want.states {
        let got = &got.states[stack];
        worse(&mut worst, format!("h_0.{stack}"), got.h.iter().copied(), &want.h);
        if let Some(want) = &want.c {
            worse(&mut worst, format!("c_0.{stack}"), got.c.as_ref().expect("cell states").iter().copied(), want);
        }
    }
    worst
}

fn worst_of(case: &Case, weights: &Weights, options: &Options) -> Result<Worst, Error> {
    let input = case.input();
    let (objective, targets) = aims::draw(&case.model, weights, &input, case.seed)?;
    let want = oracle::gradients(&case.model, weights, &input, &objective, &targets)?;
    let update = Update::by(Sgd::like(Like::Torch));
    let trainer = Trainer::new(case.model.clone(), weights, objective, update, options.clone())?;
    Ok(compare(&trainer.gradients(&Batch::of_several(input, targets))?, &want))
}

#[test]
fn gradients_of_every_case_of_the_table_are_true() {
    let options = Options::default().device(device());
    let mut wrong = Vec::new();
    let (mut count, mut largest) = (0, 0.0_f64);
    for case in conformance::cases() {
        match worst_of(&case, &case.weights(), &options) {
            Ok((_, off)) if off <= TOLERANCE => largest = largest.max(off),
            Ok((name, off)) => wrong.push(format!("{}: {name} is off by {off:.2e}", case.name)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{count} cases, {largest:.2e} off at most");
}

#[test]
fn gradients_of_random_models_are_true() {
    let models = env::var("GATEWAVE_RANDOM").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let options = Options::default().device(device());
    let (mut seed, mut done) = (0, 0);
    let mut wrong = Vec::new();
    while done < models {
        seed += 1;
        let Some(case) = models::draw(seed) else { continue };
        let weights = Weights::random(&case.model, seed).expect("the model is right");
        match worst_of(&case, &weights, &options) {
            Ok((_, off)) if off <= TOLERANCE => {}
            Ok((name, off)) => wrong.push(format!("seed {seed}: {name} is off by {off:.2e}\n{}", case.model.summary())),
            Err(error) if models::is_of_steps(&error) => continue,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Internal, "seed {seed}: {error}");
                wrong.push(format!("seed {seed}: {error}\n{}", case.model.summary()));
            }
        }
        done += 1;
    }
    assert!(wrong.is_empty(), "{} of {done}:\n{}", wrong.len(), wrong.join("\n"));
}
