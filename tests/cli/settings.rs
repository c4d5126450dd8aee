//! Settings of a training on tensors: class weights, bounds of gradients, and losses.

use std::collections::BTreeMap;
use std::fs;

use ndarray::{ArrayD, IxDyn};

use crate::support::fixtures::Array;
use crate::{Folder, gatewave, write_tensors};

/// Twelve rows of features with a class each; the rows are sorted by class.
fn write(folder: &Folder, outputs: usize) -> [String; 2] {
    let (model, data) =
        (folder.path(&format!("model-{outputs}.json")), folder.path(&format!("data-{outputs}.safetensors")));
    let text = format!(
        r#"{{"gatewave": 1, "batch_first": true, "layers": [
        {{"type": "gru", "input_size": 2, "hidden_size": 4, "weights": "gru."}},
        {{"type": "select", "what": "last_step"}},
        {{"type": "linear", "in_features": 4, "out_features": {outputs}, "weights": "head."}}]}}"#
    );
    fs::write(&model, text).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let x =
        ArrayD::from_shape_fn(IxDyn(&[12, 5, 2]), |at| ((at[0] * 7 + at[1] * 3 + at[2] * 5) % 11) as f32 / 5.0 - 1.0);
    let y = match outputs {
        1 => Array::F32(ArrayD::from_shape_fn(IxDyn(&[12, 1]), |at| f32::from(u8::from(at[0] > 7)))),
        _ => Array::I64(ArrayD::from_shape_fn(IxDyn(&[12]), |at| i64::from(at[0] > 7))),
    };
    let tensors = BTreeMap::from([("x".to_owned(), Array::F32(x)), ("y".to_owned(), y)]);
    write_tensors(&data, &tensors);
    [model, data]
}

#[test]
fn settings_change_what_they_are_of() {
    let folder = Folder::new("settings");
    let output = folder.path("out.safetensors");
    let [model, data] = write(&folder, 2);
    let [single, numbers] = write(&folder, 1);
    let train = |model: &str, data: &str, more: &[&str]| {
        let args =
            ["train", model, "--data", data, "--epochs", "3", "--batch-size", "4", "--output", &output, "--force"];
        gatewave(args.iter().chain(more)).done();
        fs::read(&output).unwrap()
    };
    let of_classes = |more: &[&str]| train(&model, &data, &[&["--loss", "cross_entropy"], more].concat());
    let plain = of_classes(&[]);
    assert!(of_classes(&["--class-weights", "0=1,1=1"]) == plain);
    let weighted = of_classes(&["--class-weights", "0=0.75,1=1.5"]);
    assert!(weighted != plain && of_classes(&["--class-weights", "balanced"]) == weighted, "8 and 4 of 12 rows");
    assert!(of_classes(&["--class-weights", "balanced", "--stream"]) == weighted);
    assert!(
        of_classes(&["--clip-tensor-norm", "1e9"]) == plain && of_classes(&["--clip-tensor-norm", "1e-3"]) != plain
    );
    let bound = ["--clip-tensor-norm", "1e-3", "--optimizer", "sgd"];
    assert!(of_classes(&bound) != of_classes(&["--clip-norm", "1e-3", "--optimizer", "sgd"]));
    let history = folder.path("history.csv");
    let warm = ["--warm-up", "6", "--learning-rate", "0.6", "--optimizer", "sgd", "--history", &history];
    of_classes(&warm);
    let text = fs::read_to_string(&history).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|name| name == "learning_rate").unwrap();
    let rates: Vec<f64> =
        text.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().parse().unwrap()).collect();
    // Those of updates 2, 5 and 8.
    assert!(rates.iter().zip([0.2, 0.5, 0.6]).all(|(got, wanted)| (got - wanted).abs() < 1e-6), "{text}");
    let yes = |more: &[&str]| train(&single, &numbers, &[&["--loss", "binary_cross_entropy"], more].concat());
    assert!(yes(&["--class-weights", "balanced"]) == yes(&["--class-weights", "1=1.5,0=0.75"]));
    let huber = |more: &[&str]| train(&single, &numbers, &[&["--loss", "huber"], more].concat());
    assert!(huber(&["--huber-delta", "1"]) == huber(&[]) && huber(&["--huber-delta", "0.1"]) != huber(&[]));
}

#[test]
fn settings_that_do_not_fit_are_refused_and_one_class_is_warned_of() {
    let folder = Folder::new("settings-refused");
    let [model, data] = write(&folder, 2);
    let [single, numbers] = write(&folder, 1);
    let train = |more: &[&str]| match more.contains(&"cross_entropy") {
        true => gatewave(["train", &model, "--data", &data].iter().chain(more)),
        false => gatewave(["train", &single, "--data", &numbers].iter().chain(more)),
    };
    for (flags, said) in [
        (
            &["--loss", "cross_entropy", "--class-weights", "2=1"][..],
            "--class-weights: expected a class below 2, got \"2\"",
        ),
        (
            &["--loss", "mse", "--class-weights", "balanced"],
            "--class-weights: expected one loss, cross_entropy or binary_cross_entropy, got mse",
        ),
        (
            &["--loss", "cross_entropy", "--warm-up", "1"],
            "--warm-up: expected fewer updates than all of the training (1), got 1",
        ),
        (&["--loss", "mse", "--huber-delta", "1"], "--huber-delta: expected a loss of huber, got mse"),
        (
            &["--loss", "mse", "--label-smoothing", "0.1"],
            "expected a loss of cross_entropy or binary_cross_entropy, got mse",
        ),
    ] {
        let targets = train(flags);
        assert!(targets.err.contains(said), "{}", targets.err);
        targets.refused();
    }
    let ran = train(&["--loss", "cross_entropy", "--validation-split", "0.25"]);
    let said =
        "warning: all rows to validate with have the label 1; mix the rows of the file, so that the last ones have";
    assert!(ran.err.contains(said), "{}", ran.err);
    ran.done();
    let ran = train(&["--loss", "cross_entropy", "--validation-split", "0.5"]);
    assert!(!ran.err.contains("warning: all rows"), "{}", ran.err);
    ran.done();
}
