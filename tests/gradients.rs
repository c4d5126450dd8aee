//! The oracle's gradients: against PyTorch's, against finite differences in f64, and what is refused.

mod support;

#[path = "gradients/aims.rs"]
mod aims;
#[path = "gradients/models.rs"]
mod models;
#[path = "gradients/pytorch.rs"]
mod pytorch;
#[path = "gradients/refused.rs"]
mod refused;
#[path = "gradients/worked.rs"]
mod worked;

use std::env;
use std::path::{Path, PathBuf};

use gatewave::conformance::{self, Case};
use gatewave::oracle::{Along, Difference, differences};
use gatewave::{Error, Weights};

/// What a slope may be off by, for each unit of the gradient's length: central differences are exact to about 1e-8.
const TOLERANCE: f64 = 2e-5;

/// The worst of the slopes of a case.
fn worst(case: &Case, weights: &Weights, along: Along) -> Result<Difference, Error> {
    let input = case.input();
    let (objective, targets) = aims::draw(&case.model, weights, &input, case.seed)?;
    let all = differences(&case.model, weights, &input, (&objective, &targets), along, case.seed)?;
    Ok(all.into_iter().max_by(|a, b| a.error.total_cmp(&b.error)).expect("something was moved"))
}

#[test]
fn slopes_of_every_case_of_the_table_are_those_of_the_gradients() {
    // The table's largest stacks are there for the tiles of kernels; differences of them take minutes.
    let is_small = |case: &&Case| case.model.parameters() * case.time * case.batch < 1_000_000;
    let cases = conformance::cases();
    let mut count = 0;
    for case in cases.iter().filter(is_small) {
        let weights = if case.model.stacks().any(|stack| stack.initial != gatewave::Initial::Zero) {
            Weights::random(&case.model, case.seed).expect("the model is right")
        } else {
            case.weights()
        };
        let worst = worst(case, &weights, Along::All).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        assert!(worst.error < TOLERANCE, "{}: {worst:?}", case.name);
        count += 1;
    }
    assert!(count > 200, "only {count} of {} cases", cases.len());
}

#[test]
fn slopes_of_random_models_are_those_of_the_gradients() {
    let models = env::var("GATEWAVE_RANDOM").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let (mut seed, mut done) = (0, 0);
    while done < models {
        seed += 1;
        let Some(case) = models::draw(seed) else { continue };
        let weights = Weights::random(&case.model, seed).expect("the model is right");
        let say = |worst: &dyn std::fmt::Debug| format!("seed {seed}: {worst:?}\n{}", case.model.summary());
        match worst(&case, &weights, Along::Each) {
            // Functions without a bound can drive a model out of f64.
            Ok(worst) if !worst.slope.is_finite() || worst.slope.abs() > 1e12 => continue,
            Ok(worst) => assert!(worst.error < TOLERANCE, "{}", say(&worst)),
            // Slices of more steps than there are.
            Err(error) if error.to_string().contains("expected a step to be left") => continue,
            Err(error) if error.to_string().contains("as what it meets in a join has") => continue,
            Err(error) => panic!("{}", say(&error)),
        }
        done += 1;
    }
    assert!(seed < 20 * models, "{seed} seeds for {models} models");
}

#[test]
fn gradients_are_those_of_pytorch() {
    const COUNT: usize = 42;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/training");
    // Larger cases, where someone has them.
    let other = env::var_os("GATEWAVE_TRAINING_CASES").map(PathBuf::from);
    for folder in [Some(own), other].into_iter().flatten() {
        let count = pytorch::each(&folder);
        assert!(count >= COUNT, "{count} cases in {}", folder.display());
    }
}
