//! The oracle's gradients, against PyTorch's and against finite differences in f64; and what is refused.

mod support;

#[path = "gradients/models.rs"]
mod models;
#[path = "gradients/options.rs"]
mod options;
#[path = "gradients/pytorch.rs"]
mod pytorch;
#[path = "gradients/refused.rs"]
mod refused;
#[path = "gradients/worked.rs"]
mod worked;

use std::env;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use gatewave::conformance::{self, Case, TrainingCase};
use gatewave::oracle::{Along, Difference, differences};
use gatewave::{Error, Weights};

/// The allowed error of a slope, for each unit of the gradient's length: central differences are exact to about 1e-8.
const TOLERANCE: f64 = 2e-5;

/// The slopes of a case.
fn slopes(case: &Case, weights: &Weights, along: Along) -> Result<Vec<Difference>, Error> {
    let TrainingCase { model, weights, objective, batch, seed } = case.training(weights)?;
    differences(&model, &weights, &batch.input, (&objective, &batch.targets), along, seed)
}

#[test]
fn slopes_of_every_case_of_the_table_are_those_of_the_gradients() {
    // The table's largest stacks are there for the tiles of kernels. Their differences would take minutes.
    let is_small = |case: &&Case| case.model.parameters() * case.time * case.batch < 1_000_000;
    let cases = conformance::cases();
    let mut count = 0;
    for case in cases.iter().filter(is_small) {
        let all = slopes(case, &case.weights(), Along::All).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let worst = &all[0];
        assert!(worst.error < TOLERANCE, "{}: {worst:?}", case.name);
        count += 1;
    }
    assert!(count > 200, "only {count} of {} cases", cases.len());
}

#[test]
fn slopes_of_random_models_are_those_of_the_gradients() {
    let models = env::var("GATEWAVE_RANDOM").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let (mut seed, mut done, mut lost, mut compared, mut corners) = (0, 0, 0, 0, 0);
    while done < models {
        seed += 1;
        let Some(case) = models::draw(seed) else { continue };
        let weights = Weights::random(&case.model, seed).expect("the model is right");
        let say = |what: &dyn Debug| format!("seed {seed}: {what:?}\n{}", case.model.summary());
        let all = match slopes(&case, &weights, Along::Each) {
            Ok(all) => all,
            Err(error) if models::is_of_steps(&error) => continue,
            Err(error) => panic!("{}", say(&error)),
        };
        // Unbounded functions can drive a model out of f64.
        if all.iter().any(|one| !(one.slope.abs() < 1e12 && one.gradient.is_finite())) {
            lost += 1;
            continue;
        }
        for one in all {
            // A state of zero may put a function exactly on its corner.
            assert!(one.corner || one.error < TOLERANCE, "{}", say(&one));
            (compared, corners) = (compared + 1, corners + usize::from(one.corner));
        }
        done += 1;
    }
    eprintln!("{done} models of {seed} seeds, {compared} slopes, {corners} at corners; {lost} models lost");
    assert!(
        20 * corners < compared && 20 * lost < models && seed < 20 * models,
        "{corners} corners of {compared}, {lost} lost"
    );
}

#[test]
fn gradients_are_those_of_pytorch() {
    const COUNT: usize = 42;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/training");
    // Larger cases, if there are any.
    let other = env::var_os("GATEWAVE_TRAINING_CASES").map(PathBuf::from);
    for folder in [Some(own), other].into_iter().flatten() {
        let count = pytorch::each(&folder);
        assert!(count >= COUNT, "{count} cases in {}", folder.display());
    }
}
