//! Schedules, compared with those of PyTorch and Keras (`tests/golden/optimizers/`).

use serde_json::Value;

use super::super::*;
use super::golden;
use super::optimizers::{float, floats, like};

fn schedule_of(case: &Value) -> Schedule {
    let args = &case["args"];
    let (number, count) = (|at: usize| float(&args[at]), |at: usize| args[at].as_u64().unwrap());
    let schedule = match case["name"].as_str().unwrap() {
        "step" => Schedule::step(count(0), number(1)),
        "multi_step" => {
            let milestones: Vec<u64> = args[0].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect();
            Schedule::multi_step(milestones, number(1))
        }
        "exponential" => Schedule::exponential(count(0), number(1)),
        "cosine" => Schedule::cosine(count(0), number(1)),
        "cosine_after_warm_up" => Schedule::cosine_after_warm_up(count(0), number(1), count(2), number(3)),
        "cosine_annealing" => Schedule::cosine_annealing(count(0), number(1)),
        "linear" => Schedule::linear(number(0), number(1), count(2)),
        name => panic!("{name}"),
    };
    if case["per"] == "update" { schedule.per_update() } else { schedule.per_epoch() }
}

fn near(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-12 * want.abs().max(1e-3)
}

#[test]
fn rates_are_those_of_pytorch_and_keras() {
    let golden = golden("schedules.json");
    let base = float(&golden["base"]);
    for case in golden["cases"].as_array().unwrap() {
        let schedule = schedule_of(case);
        schedule.check().unwrap();
        for (at, want) in (0..).zip(floats(&case["rates"])) {
            let (update, epoch) = if case["per"] == "update" { (at, 77) } else { (77, at) };
            let got = schedule.rate(base, update, epoch);
            assert!(near(got, want), "{} {}: {at}: expected {want}, got {got}", case["name"], case["args"]);
        }
    }
}

#[test]
fn plateaus_are_those_of_pytorch_and_keras_and_can_be_resumed() {
    let golden = golden("schedules.json");
    let base = float(&golden["base"]);
    for case in golden["plateaus"].as_array().unwrap() {
        let mut plateau = Plateau::like(like(case));
        for (name, value) in case["settings"].as_object().unwrap() {
            plateau = match name.as_str() {
                "patience" => plateau.patience(value.as_u64().unwrap()),
                "factor" => plateau.factor(float(value)),
                "cooldown" => plateau.cooldown(value.as_u64().unwrap()),
                "threshold" => plateau.threshold(float(value)),
                "least" => plateau.least(float(value)),
                "score" => plateau.measure(Measure::Score),
                name => panic!("{name}"),
            };
        }
        let fresh = Schedule::plateau(plateau);
        fresh.check().unwrap();
        let mut schedule = fresh.clone();
        for ((at, value), want) in (0..).zip(floats(&case["values"])).zip(floats(&case["rates"])) {
            schedule.observe(base, value);
            let got = schedule.rate(base, 0, at);
            assert!(near(got, want), "{} {}: {at}: expected {want}, got {got}", case["like"], case["settings"]);
            // A checkpoint after each epoch.
            schedule = fresh.clone().resumed(schedule.state().unwrap());
        }
    }
}

#[test]
fn a_schedule_begins_behind_its_warm_up() {
    let rates = |schedule: &Schedule, epoch: u64| [0, 1, 3, 4, 6, 8, 9].map(|at| schedule.rate(0.5, at, epoch));
    let plain = Schedule::cosine(4, 0.0);
    let [a, b] = [0.5, 1.0].map(|part: f64| 0.25 * (1.0 + (std::f64::consts::PI * part).cos()));
    let warmed = plain.clone().after_warm_up(4);
    warmed.check().unwrap();
    assert_eq!(rates(&warmed, 0), [0.0, 0.125, 0.375, 0.5, a, b, b]);
    let constant = Schedule::constant().after_warm_up(4);
    assert_eq!(rates(&constant, 7), [0.0, 0.125, 0.375, 0.5, 0.5, 0.5, 0.5]);
    // Epochs are counted from the first one.
    assert_eq!(rates(&Schedule::step(2, 0.1).after_warm_up(4), 2), [0.0, 0.125, 0.375, 0.05, 0.05, 0.05, 0.05]);
    let mut plateau = Schedule::plateau(Plateau::like(Convention::Torch).patience(0)).after_warm_up(4);
    [1.0, 1.0].iter().for_each(|loss| plateau.observe(0.5, *loss));
    assert!(near(plateau.rate(0.5, 9, 2), 0.05) && plateau.rate(0.5, 2, 2) == 0.25);
    let state = plateau.state().unwrap();
    assert_eq!(plateau.clone().resumed(PlateauState::default()).resumed(state), plateau);
    let text = |schedule: Schedule| schedule.check().unwrap_err().to_string();
    assert!(text(plain.after_warm_up(0)).starts_with("schedule warm_up: updates: expected "));
    assert!(text(Schedule::step(0, 0.1).after_warm_up(4)).starts_with("schedule step: steps: expected "));
}

#[test]
fn only_a_plateau_listens() {
    let mut schedule = Schedule::step(3, 0.1);
    schedule.observe(1.0, f64::NAN);
    assert_eq!((schedule.state(), schedule.rate(1.0, 0, 2)), (None, 1.0));
    assert_eq!(Schedule::constant().rate(0.3, 1000, 1000), 0.3);
    assert_eq!(schedule.resumed(PlateauState { rate: Some(0.5), ..PlateauState::default() }), Schedule::step(3, 0.1));
}
