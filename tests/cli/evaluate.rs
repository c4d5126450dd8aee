//! `gatewave evaluate`, and `gatewave gradients --by-step`.

use std::fs;

use serde_json::Value;

use crate::text::{description, train, tsv, write};
use crate::{Folder, gatewave};

#[test]
fn a_model_is_measured_on_text_by_its_own_words() {
    let folder = Folder::new("evaluate-text");
    let data = write(&folder, "reviews.tsv", tsv(0..96));
    let model = description(&folder, 20, 2);
    train(&folder, &model, &data, &[]);
    let trained = folder.path("out.safetensors");
    // Two rows with the wrong label.
    let other = write(&folder, "other.tsv", tsv(0..40) + "pos\tbad film\nneg\tgood cast\n");
    let out = gatewave(["evaluate", &trained, "--data", &other, "--json"]).done();
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["confusion"], serde_json::json!([[20, 1], [1, 20]]), "{out}");
    assert_eq!((&object["rows"], &object["labels"]), (&42.into(), &serde_json::json!(["neg", "pos"])));
    for metric in ["accuracy", "precision", "recall", "f1"] {
        assert!((object[metric].as_f64().unwrap() - 40.0 / 42.0).abs() < 1e-9, "{metric}: {out}");
    }
    let auc = object["auc"].as_f64().unwrap();
    assert!((0.9..1.0).contains(&auc), "{out}");
    let told = gatewave(["evaluate", &trained, "--data", &other, "--metric", "accuracy"]).done();
    assert!(told.contains("other.tsv: 42 rows\nloss ") && told.contains("\naccuracy   0.9524\n"), "{told}");
    assert!(told.contains("is \\ said") && !told.contains("precision"), "{told}");

    let refused = |args: &[&str]| gatewave([&["evaluate"], args].concat()).refused();
    let said = refused(&[crate::MODEL, "--data", &other]);
    assert!(said.contains("expected a model with a tokenizer and labels, got one without"), "{said}");
    let unknown = write(&folder, "unknown.tsv", "pos\ta\nmeh\tb\n");
    assert!(
        refused(&[&trained, "--data", &unknown]).contains("unknown.tsv: line 2: expected a label that was trained on")
    );
    assert!(
        refused(&[&trained, "--data", &other, "--metric", "mae"]).contains("mae: expected one loss, mse, mae or huber")
    );
    assert!(refused(&[&trained, "--data", &other, "--batch-size", "0"]).contains("--batch-size: expected 1 or more"));
}

#[test]
fn gradients_of_labelled_text_are_of_its_first_rows() {
    let folder = Folder::new("gradients-text");
    let (data, model) = (write(&folder, "reviews.tsv", tsv(0..96)), description(&folder, 20, 2));
    train(&folder, &model, &data, &[]);
    let (trained, table, picture) = (folder.path("out.safetensors"), folder.path("n.csv"), folder.path("n.svg"));
    let own = ["gradients", &trained, "--data", &data, "--force"];
    let told = |more: &[&str]| gatewave([&own[..], more].concat());
    let ran = told(&["--by-step", &table, "--by-step", &picture]);
    assert!(ran.err.contains("the first 32 of 96 rows\n"), "{ran:?}");
    assert!(ran.done().contains("\ngrad.gru.weight_hh_l0 "));
    let steps = || {
        let text = fs::read_to_string(&table).unwrap();
        assert!(text.starts_with("step,gru.l0\n0,"), "{text}");
        let norm = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap();
        text.lines().skip(1).map(norm).collect::<Vec<_>>()
    };
    // A start token, and the eight words of the longest row.
    assert_eq!(steps().len(), 9);
    assert!(fs::read_to_string(&picture).unwrap().contains("gru.l0"));
    // The first row has four words, and its answer depends on the state after each.
    let ran = told(&["--by-step", &table, "--rows", "1"]);
    assert!(ran.err.contains("the first 1 of 96 rows\n"), "{ran:?}");
    ran.done();
    assert!(steps().len() == 5 && steps().iter().all(|norm| *norm > 0.0), "{:?}", steps());
    // The loss is that of `evaluate`, and rows may stay in their file.
    let loss = |more: &[&str]| -> f64 {
        let out = told(&[&["--json"], more].concat()).done();
        serde_json::from_str::<Value>(out.lines().next().unwrap()).unwrap()["value"].as_f64().unwrap()
    };
    let measured = gatewave(["evaluate", &trained, "--data", &data, "--json"]).done();
    let measured = serde_json::from_str::<Value>(&measured).unwrap()["loss"].as_f64().unwrap();
    let all = loss(&["--rows", "1000"]);
    assert!((all - measured).abs() <= 1e-4 * measured, "{all} {measured}");
    assert_eq!(loss(&["--rows", "96", "--stream"]), all);
    assert_eq!(loss(&["--rows", "96", "--loss", "cross_entropy"]), all);

    let refused =
        |args: &[&str]| gatewave([&["gradients"], args, &["--by-step", &folder.path("x.csv")]].concat()).refused();
    for (args, said) in [
        (
            &[&model[..], "--data", &data][..],
            "model-20-2.json: expected a model with a tokenizer and labels, got a description alone; train it first",
        ),
        (&[crate::MODEL, "--data", &data], "expected a model with a tokenizer and labels, got one without; "),
        (&[&trained, "--data", &data, "--rows", "0"], "--rows: expected 1 or more, got 0"),
        (
            &[&trained, "--data", &data, "--loss", "mse"],
            "--loss: expected cross_entropy of text and this model, got mse",
        ),
        (&[&trained, "--data", "x.npz", "--rows", "2"], "--rows: expected --data of labelled text, got tensors"),
        (&[&trained, "--data", "x.npz", "--stream"], "--stream: expected --data of labelled text, got tensors"),
        (&[&trained, "--data", "x.npz"], "--loss: expected one of cross_entropy, "),
    ] {
        let error = refused(args);
        assert!(error.contains(said), "{args:?}: {error}");
    }
    assert!(!folder.names().contains(&"x.csv".to_owned()));
}

#[test]
fn gradients_through_time_are_a_table_and_a_picture() {
    let folder = Folder::new("by-step");
    let (model, data) = crate::runs::task(&folder);
    let (trained, table, picture) = (folder.path("m.safetensors"), folder.path("n.csv"), folder.path("n.svg"));
    gatewave(["train", &model, "--data", &data, "--loss", "cross_entropy", "--fast", "-o", &trained]).done();
    let all = ["gradients", &trained, "--data", &data, "--loss", "cross_entropy"];
    let both = [&all[..], &["--by-step", &table, "--by-step", &picture]].concat();
    gatewave(&both).done();
    let text = fs::read_to_string(&table).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("step,gru.l0,gru.l1", 13));
    let norms = |line: &str| line.split(',').skip(1).map(|x| x.parse::<f64>().unwrap()).collect::<Vec<_>>();
    // An answer at the last step depends least on the first one.
    assert!(lines[1..].iter().all(|line| norms(line).iter().all(|norm| *norm > 0.0)), "{text}");
    assert!(norms(lines[1])[1] < norms(lines[12])[1], "{text}");
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("gru.l1"), "{svg}");
    assert!(gatewave(&both).refused().contains("already exists; --force overwrites it"));
    let said = gatewave([&all[..], &["--by-step", &folder.path("n.png")]].concat()).refused();
    assert!(said.contains("--by-step: expected a name that ends in .csv or .svg"), "{said}");
}
