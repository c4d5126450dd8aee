//! A time series, and a plain-text corpus: `gatewave data`,
//! `train`, and `run --series` or `generate` with the trained model.

use std::collections::BTreeMap;
use std::fs;

use ndarray::ArrayD;
use serde_json::Value;

use crate::support::fixtures::Array;
use crate::{Folder, gatewave, write_tensors};

/// A sine of a period of 12 rows beside its cosine, and a column of dates.
fn sine(rows: usize) -> String {
    let row = |at: usize| {
        let turn = std::f64::consts::TAU * at as f64 / 12.0;
        format!("day {at},{:.5},{:.5}\n", 20.0 + 5.0 * turn.sin(), 1000.0 + 100.0 * turn.cos())
    };
    "date,a,b\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

/// A description: a GRU after `first`, with or without a selection, and `outputs` outputs.
fn description(folder: &Folder, name: &str, first: &str, features: usize, select: &str, outputs: usize) -> String {
    let path = folder.path(name);
    let text = format!(
        r#"{{"gatewave": 1, "batch_first": true, "layers": [{first}
        {{"type": "gru", "input_size": {features}, "hidden_size": 8, "weights": "gru."}},{select}
        {{"type": "linear", "in_features": 8, "out_features": {outputs}, "weights": "head."}}]}}"#
    );
    fs::write(&path, text).unwrap();
    path
}

fn of_rows(folder: &Folder, features: usize, outputs: usize) -> String {
    let select = r#"{"type": "select", "what": "final_hidden"},"#;
    description(folder, &format!("rows-{features}-{outputs}.json"), "", features, select, outputs)
}

fn of_text(folder: &Folder, tokens: usize) -> String {
    let first = format!(r#"{{"type": "embedding", "num_embeddings": {tokens}, "embedding_dim": 4, "weights": "e."}},"#);
    description(folder, &format!("text-{tokens}.json"), &first, 4, "", tokens)
}

fn write(folder: &Folder, name: &str, text: &str) -> String {
    let path = folder.path(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_series_is_trained_on_and_foreseen_in_its_own_units() {
    let folder = Folder::new("series");
    let (data, model) = (write(&folder, "s.csv", &sine(160)), of_rows(&folder, 2, 4));
    let told = gatewave(["data", &data, "--window", "12", "--horizon", "2"]).done();
    assert!(told.contains("160 rows, 2 columns of numbers") && told.contains("not numbers: \"date\""), "{told}");
    assert!(told.ends_with("147 windows of 12 steps, horizon 2, stride 1\n"), "{told}");
    let out = folder.path("out.safetensors");
    let own = ["--data", &data, "--window", "12", "--horizon", "2", "--target", "a,b", "--validation-split", "0.2"];
    let fit = ["--epochs", "40", "--batch-size", "8", "--learning-rate", "0.02", "--output", &out];
    let told = gatewave(["train", &model].into_iter().chain(own).chain(fit)).done();
    let line = told.lines().last().unwrap();
    let rest = line.strip_prefix("mean absolute error in own units: a ").unwrap_or_else(|| panic!("{told}"));
    let numbers: Vec<f64> = rest.split([' ', ',', ';']).filter_map(|word| word.parse().ok()).collect();
    let [a, last_a, b, last_b] = numbers[..] else { panic!("{line}") };
    assert!(a < last_a / 4.0 && b < last_b / 4.0 && last_b > 20.0, "{line}");
    let lines = gatewave(["run", &out, "--series", &data, "--json"]).done();
    let steps: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.iter().map(|step| step["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    let turn = std::f64::consts::TAU * 160.0 / 12.0;
    let a = steps[0]["forecast"]["a"].as_f64().unwrap();
    assert!((a - 20.0 - 5.0 * turn.sin()).abs() < 1.0, "{lines}");
    let table = gatewave(["run", &out, "--series", &data]).done();
    assert!(table.contains("step") && table.contains("+2"), "{table}");
    let told = gatewave(["evaluate", &out, "--data", &data]).done();
    assert!(told.contains("\nmae ") && told.contains("\nmean absolute error in own units: a "), "{told}");
    // Arrays are a series too.
    let column = |at: usize| {
        let numbers = sine(160).lines().skip(1).map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect();
        Array::F32(ArrayD::from_shape_vec(vec![160], numbers).unwrap())
    };
    let arrays = folder.path("s.safetensors");
    write_tensors(&arrays, &BTreeMap::from([("a".to_owned(), column(1)), ("b".to_owned(), column(2))]));
    assert_eq!(
        gatewave(["data", &arrays, "--window", "12", "--horizon", "2"]).done().lines().last(),
        Some("147 windows of 12 steps, horizon 2, stride 1")
    );
    assert_eq!(gatewave(["run", &out, "--series", &arrays]).done(), table);
    let told = gatewave(["evaluate", &out, "--data", &arrays]).done();
    assert!(told.contains("\nmean absolute error in own units: a "), "{told}");
    // A column may have the name of targets.
    let named = folder.path("y.safetensors");
    write_tensors(&named, &BTreeMap::from([("a".to_owned(), column(1)), ("y".to_owned(), column(2))]));
    let of_y = folder.path("of-y.safetensors");
    gatewave(["train", &of_rows(&folder, 2, 1), "--data", &named, "--window", "12", "--output", &of_y]).done();
    assert!(gatewave(["evaluate", &of_y, "--data", &named]).done().contains("own units: a "));
    // It goes on with its own scales and columns.
    let other = write(&folder, "other.csv", &sine(60));
    let on = ["train", &out, "--data", &other, "--window", "12"];
    gatewave(on.into_iter().chain(["--horizon", "2"])).done();
    let error = gatewave(on.into_iter().chain(["--horizon", "3"])).refused();
    assert_eq!(error, "--horizon: expected 2, which the model was trained with, got 3");
    let short = write(&folder, "short.csv", &sine(5));
    let error = gatewave(["run", &out, "--series", &short]).refused();
    assert!(error.ends_with("short.csv: expected 12 rows or more, the model's window, got 5"), "{error}");
}

/// The noise is a third of the sine and cannot be predicted. The last
/// value is off by the noise of two rows and by the sine's step.
#[test]
fn a_sine_in_noise_is_foreseen_better_than_by_its_last_value() {
    let folder = Folder::new("series-noise");
    // A linear congruential generator (Numerical Recipes), as numbers from -1 to 1.
    let drawn = std::iter::successors(Some(1_u32), |x| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    let noise: Vec<f64> = drawn.map(|x| f64::from(x) / f64::from(1_u32 << 31) - 1.0).take(240).collect();
    let row = |at: usize| 3.0 * (std::f64::consts::TAU * at as f64 / 12.0).sin() + noise[at];
    let rows: String = (0..240).map(|at| format!("{:.4}\n", row(at))).collect();
    let data = write(&folder, "s.csv", &format!("a\n{rows}"));
    let told = gatewave([
        "train",
        &of_rows(&folder, 1, 1),
        "--data",
        &data,
        "--window",
        "24",
        "--validation-split",
        "0.2",
        "--epochs",
        "30",
        "--batch-size",
        "16",
        "--learning-rate",
        "0.01",
        "--output",
        &folder.path("out.safetensors"),
    ])
    .done();
    let line = told.lines().last().unwrap();
    let rest = line.strip_prefix("mean absolute error in own units: a ").unwrap_or_else(|| panic!("{told}"));
    let numbers: Vec<f64> = rest.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [own, last] = numbers[..] else { panic!("{line}") };
    assert!(own < 0.7 * last, "{line}");
}

#[test]
fn what_is_wrong_with_a_series_is_told() {
    let folder = Folder::new("series-refused");
    let (data, model) = (write(&folder, "s.csv", &sine(40)), of_rows(&folder, 2, 1));
    let gaps = write(&folder, "gaps.csv", "a,b\n1,2\n3,\n4,5\n");
    let refused = |args: &[&str]| gatewave(["train", &model].into_iter().chain(args.iter().copied())).refused();
    for (args, said) in [
        (&["--data", &data, "--window", "50"][..], "window 50 and horizon 1: expected at least 51 rows, got 40"),
        (
            &["--data", &gaps, "--window", "2"],
            "gaps.csv: line 3: column \"b\": expected a finite number, got an empty cell",
        ),
        (&["--data", &data, "--window", "5", "--target", "c"], "expected a column \"c\", got \"date\", \"a\", \"b\""),
        (
            &["--data", &data, "--window", "5", "--columns", "date,a"],
            "line 2: column \"date\": expected a finite number",
        ),
        (
            &["--data", &data, "--window", "5", "--loss", "cross_entropy"],
            "--loss: expected one of mse, mae, huber of a time series",
        ),
        (
            &["--data", &data, "--window", "5", "--stateful"],
            "--stateful: expected --data of a plain-text corpus, got a time series",
        ),
        (
            &["--data", &data, "--window", "5", "--stream"],
            "--stream: expected --data of tensors, labelled text or a plain-text corpus, got a time series",
        ),
        (
            &["--data", &data, "--window", "5", "--max-length", "3"],
            "--max-length: expected --data of labelled text, got a time series",
        ),
        (
            &["--data", &model, "--window", "5"],
            "--window: expected --data of a time series (.csv, .npy, .npz, .safetensors) or a plain-text corpus (.txt), got ",
        ),
        (&["--data", &data, "--window", "39", "--validation-split", "0.01"], "expected at least 40 rows, got 39"),
    ] {
        let error = refused(args);
        assert!(error.contains(said), "{args:?}: {error}");
    }
    let error = gatewave(["run", crate::MODEL, "--series", &data]).refused();
    assert!(
        error.contains("expected a model with the columns and scales of a time series, got one without; "),
        "{error}"
    );
}

#[test]
fn a_text_is_trained_on_and_goes_on() {
    let folder = Folder::new("corpus");
    let (data, model) = (write(&folder, "t.txt", &"abcdef. ".repeat(80)), of_text(&folder, 20));
    let out = folder.path("out.safetensors");
    let fit =
        ["--validation-split", "0.2", "--batch-size", "4", "--learning-rate", "0.02", "--force", "--output", &out];
    let own = ["train", &model, "--data", &data, "--window", "10"];
    let ran = gatewave(own.into_iter().chain(fit).chain(["--epochs", "10"]));
    assert!(ran.err.contains("512 characters in a vocabulary of 11 tokens\n"), "{}", ran.err);
    assert!(ran.err.contains("val_perplexity"), "{}", ran.err);
    ran.done();
    let held = fs::read(&out).unwrap();
    gatewave(own.into_iter().chain(fit).chain(["--epochs", "10", "--stream"])).done();
    assert!(fs::read(&out).unwrap() == held, "a text that stays in its file trains the same");
    let text = gatewave(["generate", &out, "-p", "ab", "-n", "10", "-t", "0"]).done();
    assert_eq!(text, "abcdef. abcd\n");
    let evaluate = ["evaluate", &out, "--data", &data, "--window", "10"];
    let told = gatewave(evaluate).done();
    assert!(told.contains("63 rows") && told.contains("\nperplexity 1."), "{told}");
    assert_eq!(gatewave(evaluate.into_iter().chain(["--stream"])).done(), told);
    let error = gatewave(["evaluate", &out, "--data", &data]).refused();
    assert_eq!(error, "--window: expected the steps of a row of the text, got none");
    let streams = ["--stateful", "--epochs", "2", "--run", &folder.path("run")];
    let ran = gatewave(own.into_iter().chain(fit).chain(streams));
    assert!(ran.err.contains("best.safetensors: val_loss"), "{}", ran.err);
    ran.done();
}

#[test]
fn data_tells_what_a_text_holds() {
    let folder = Folder::new("corpus-data");
    let data = write(&folder, "t.txt", &"Red, green:\nblue! red\n".repeat(20));
    let told = gatewave(["data", &data]).done();
    assert!(told.starts_with(&format!("{data}: 440 characters, 14 different\n  \"e\"  ")), "{told}");
    assert!(told.contains("\n  \"\\n\"  ") && told.contains("   0.0 % of all characters\n"), "{told}");
    assert!(!told.contains("windows"), "{told}");
    assert!(told.lines().skip(1).all(|line| line.chars().count() <= 100), "{told}");
    let own = ["data", &data, "--tokenizer", "words", "--num-tokens", "4", "--window", "7"];
    let told = gatewave(own).done();
    assert!(told.starts_with(&format!("{data}: 80 words, 3 different\n  \"red\"  ")), "{told}");
    assert!(told.contains("  4    50.0 % of all words\n") && told.ends_with("\n11 windows of 7 steps\n"), "{told}");
    assert_eq!(gatewave(own.into_iter().chain(["--stream"])).done(), told);
    let line = gatewave(own.into_iter().chain(["--json"])).done();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["units"], &line["distinct"], &line["windows"]), (&80.into(), &3.into(), &11.into()));
    assert_eq!(line["frequent"][1], serde_json::json!({"unit": "green", "count": 20, "share": 0.25}));
    assert_eq!(line["vocabularies"], serde_json::json!([{"num_tokens": 4, "unknown": 0.5}]));
    // As many windows as a training has.
    let train = ["train", &of_text(&folder, 9), "--data", &data, "--window", "7", "--tokenizer", "words", "--fast"];
    let ran = gatewave(train);
    assert!(ran.err.contains(", 11 examples"), "{}", ran.err);
    ran.done();

    let refused = |args: &[&str]| gatewave(["data"].into_iter().chain(args.iter().copied())).refused();
    let [empty, marks] = [("empty.txt", ""), ("marks.txt", "?!\n")].map(|(name, text)| write(&folder, name, text));
    let series = write(&folder, "s.csv", &sine(9));
    for (args, said) in [
        (&[&empty[..]][..], "empty.txt: expected a text, got none; is this the right file?"),
        (&[&empty, "--stream"], "empty.txt: expected a text, got none; is this the right file?"),
        (&[&marks, "--tokenizer", "words"], "marks.txt: expected texts with words, got punctuation alone; "),
        (&[&data, "--window", "0"], "t.txt: window: expected 1 or more, got 0"),
        (&[&data, "--num-tokens", "3"], "num_tokens: expected 4 or more, got 3"),
        (&[&data, "--max-bytes", "9"], "t.txt: expected at most 9 bytes, got more; "),
        (&[&data, "--max-bytes", "9", "--stream"], "t.txt: line 1: expected a row of at most 9 bytes, got more; "),
        (&[&data, "--max-length", "9"], "t.txt: --max-length: expected labelled text, got a plain-text corpus"),
        (&[&data, "--window", "5", "--horizon", "2"], "--horizon: expected a time series, got a plain-text corpus"),
        (
            &[&series, "--window", "5", "--stream"],
            "s.csv: --stream: expected labelled text or a plain-text corpus, got a time series",
        ),
        (&[&folder.path("none.txt")], "none.txt: cannot be read: "),
    ] {
        let error = refused(args);
        assert!(error.contains(said), "{args:?}: {error}");
    }
}

#[test]
fn words_are_trained_on_and_go_on() {
    let folder = Folder::new("words");
    let (data, model) = (write(&folder, "t.txt", &"Red, green: blue!\n".repeat(60)), of_text(&folder, 9));
    let out = folder.path("out.safetensors");
    let own = ["train", &model, "--data", &data, "--window", "5", "--tokenizer", "words", "--output", &out];
    let ran = gatewave(own.into_iter().chain(["--batch-size", "4", "--learning-rate", "0.02", "--epochs", "15"]));
    assert!(ran.err.contains("180 words in a vocabulary of 6 tokens\n"), "{}", ran.err);
    ran.done();
    let text = gatewave(["generate", &out, "-p", "Blue, red", "-n", "3", "-t", "0"]).done();
    assert_eq!(text, "Blue, red green blue red\n");
    let ran = gatewave(["generate", &out, "-p", "Sky blue", "-n", "1", "-t", "0"]);
    assert!(ran.err.contains("warning: --prompt: the model's vocabulary lacks 1 of its words"), "{}", ran.err);
    ran.done();
    let again = ["train", &out, "--data", &data, "--window", "5"];
    let error = gatewave(again.into_iter().chain(["--tokenizer", "chars"])).refused();
    assert!(error.ends_with("--tokenizer: expected none, since the model has a vocabulary of its own"), "{error}");
    gatewave(again).done();
}

#[test]
fn what_is_wrong_with_a_text_is_told() {
    let folder = Folder::new("corpus-refused");
    let data = write(&folder, "t.txt", "to be or not to be");
    let model = of_text(&folder, 20);
    let refused = |args: &[&str]| {
        let own = ["train", &model, "--data", &data];
        gatewave(own.into_iter().chain(args.iter().copied())).refused()
    };
    for (args, said) in [
        (&[][..], "t.txt: expected --window N beside a text, the steps of a row, got none"),
        (&["--window", "0"], "t.txt: window: expected 1 or more, got 0"),
        (&["--window", "18"], "t.txt: window 18: expected a text of at least 19 tokens, got 18; try a smaller window"),
        (
            &["--window", "5", "--stateful"],
            "window 5 in each of 32 streams: expected a text of at least 161 tokens, got 18",
        ),
        (&["--window", "5", "--columns", "a"], "--columns: expected --data of a time series, got a plain-text corpus"),
        (&["--window", "5", "--num-tokens", "21"], "num_tokens: expected at most 20, which the model has, got 21"),
        (&["--window", "5", "--loss", "mse"], "--loss: expected cross_entropy of text and this model, got mse"),
    ] {
        let error = refused(args);
        assert!(error.contains(said), "{args:?}: {error}");
    }
    let of_rows = of_rows(&folder, 2, 1);
    let error = gatewave(["train", &of_rows, "--data", &data, "--window", "5"]).refused();
    assert!(error.contains("expected a model that takes tokens, got one that takes features"), "{error}");
}
