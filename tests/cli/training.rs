//! `gatewave gradients` and `gatewave train`: the results of PyTorch's
//! and Keras' formulas, what is reported, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use serde_json::Value;

#[cfg(feature = "gpu")]
use crate::support;
use crate::support::fixtures::Array;
use crate::{Folder, MODEL, gatewave, read_tensors, write_tensors};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/training");

/// The golden cases of a kind.
fn cases(kind: &str) -> Vec<Value> {
    let text = fs::read(Path::new(CASES).join("manifest.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
    cases.into_iter().filter(|case| case["kind"] == kind).collect()
}

fn file(case: &Value, what: &str) -> String {
    format!("{CASES}/{}.{what}.safetensors", case["id"].as_str().unwrap())
}

/// Compares with the wanted values. Each may be off by its tolerance times `scale` of its largest element.
fn compare(case: &Value, got: &BTreeMap<String, ArrayD<f64>>, scale: impl Fn(&str, f64) -> f64) {
    for (name, want) in read_tensors(file(case, "want")) {
        let place = format!("{} {name}", case["id"]);
        let got = got.get(&name).unwrap_or_else(|| panic!("{place}: there are {:?}", got.keys()));
        assert_eq!(got.shape(), want.shape(), "{place}");
        let most = want.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
        let allowed = case["tolerance"][&name].as_f64().unwrap() * scale(&name, most);
        let off = got.iter().zip(&want).map(|(got, want)| (got - want).abs());
        let off = off.fold(0.0, |worst: f64, off| if off > worst || off.is_nan() { off } else { worst });
        assert!(off <= allowed, "{place}: off by {off:e}, allowed {allowed:e}");
    }
}

#[test]
fn gradients_gives_what_pytorch_gives() {
    let folder = Folder::new("gradients");
    let cases = cases("train.gradients");
    assert!(cases.len() >= 42);
    for case in &cases {
        let (output, loss) = (folder.path("out.safetensors"), case["loss"].as_str().unwrap());
        let (model, batch) = (file(case, "model"), file(case, "batch"));
        let args = ["gradients", &model, "--data", &batch, "--loss", loss, "--output", &output, "--force"];
        let said = gatewave(args).done();
        let got = read_tensors(&output);
        assert_eq!(said.lines().count(), got.len(), "{said}");
        compare(case, &got, |_, most| most);
    }
}

#[test]
fn trainings_end_where_those_of_the_frameworks_do() {
    let cases = cases("train.run");
    assert_eq!(cases.len(), 7);
    cases.iter().for_each(|case| train_case(case, "cpu"));
}

#[test]
#[cfg(feature = "gpu")]
fn trainings_on_an_adapter_end_there_too() {
    let device = support::devices::adapter_name();
    for case in cases("train.run").iter().take(3) {
        train_case(case, &device);
    }
}

/// Trains a golden case from its files, and compares losses and weights.
fn train_case(case: &Value, device: &str) {
    let folder = Folder::new(&format!("train-{device}-{}", case["id"].as_str().unwrap()));
    let (output, history) = (folder.path("out.safetensors"), folder.path("history.csv"));
    let mut args: Vec<String> =
        ["train", &file(case, "model"), "--data", &file(case, "batch"), "--no-shuffle"].map(str::to_owned).into();
    args.extend(["--device", device, "--loss", case["loss"].as_str().unwrap()].map(str::to_owned));
    for (key, value) in case["run"].as_object().unwrap() {
        args.push(format!("--{}", key.replace('_', "-")));
        match value {
            Value::Bool(true) => {}
            Value::String(text) => args.push(text.clone()),
            Value::Array(all) => args.push(all.iter().map(Value::to_string).collect::<Vec<_>>().join(",")),
            other => args.push(other.to_string()),
        }
    }
    args.extend(["--output", &output, "--history", &history, "--force"].map(str::to_owned));
    gatewave(&args).done();
    let weights = read_tensors(&output).into_iter().map(|(name, array)| (format!("weight.{name}"), array));
    let mut got: BTreeMap<_, _> = weights.collect();
    let losses = column(&history, "loss");
    got.insert("loss".to_owned(), ArrayD::from_shape_vec(IxDyn(&[losses.len()]), losses).unwrap());
    compare(case, &got, |name, most| if name == "loss" { most } else { 1.0 });
}

/// A column of a history.
fn column(path: &str, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let place = lines.next().unwrap().split(',').position(|column| column == name);
    let place = place.unwrap_or_else(|| panic!("no {name}: {text}"));
    lines.map(|line| line.split(',').nth(place).unwrap().parse().unwrap()).collect()
}

/// A description alone, and ten examples for it.
fn small(folder: &Folder) -> [String; 2] {
    let (description, data) = (folder.path("model.json"), folder.path("data.safetensors"));
    let text = r#"{"gatewave": 1, "batch_first": true, "layers": [
        {"type": "gru", "input_size": 3, "hidden_size": 5, "weights": "gru."},
        {"type": "select", "what": "last_step"},
        {"type": "linear", "in_features": 5, "out_features": 2, "activation": "softmax", "weights": "head."}]}"#;
    fs::write(&description, text).unwrap();
    write_tensors(&data, &examples(10));
    [description, data]
}

/// Sequences whose first feature decides the class.
fn examples(rows: usize) -> BTreeMap<String, Array> {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let x = |(at, row): (usize, usize)| if row.is_multiple_of(2) { at as f32 / 10.0 } else { -0.3 };
    let x = (0..rows).flat_map(|row| (0..12).map(move |at| (at, row))).map(x).collect();
    let y = (0..rows).map(|row| i64::from(row.is_multiple_of(2))).collect();
    BTreeMap::from([
        ("x".to_owned(), Array::F32(ArrayD::from_shape_vec(IxDyn(&[rows, 4, 3]), x).unwrap())),
        ("y".to_owned(), Array::I64(ArrayD::from_shape_vec(IxDyn(&[rows]), y).unwrap())),
    ])
}

#[test]
fn a_description_is_trained_from_its_seed_and_the_same_again() {
    let folder = Folder::new("train-again");
    let [description, data] = small(&folder);
    let flags = ["--loss", "cross_entropy", "--learning-rate", "0.02", "--epochs", "30", "--batch-size", "4"];
    let train = |name: &str, more: &[&str]| {
        let (output, history) = (folder.path(name), folder.path("history.csv"));
        let files = ["train", &description, "--data", &data, "--output", &output, "--history", &history, "--force"];
        let ran = gatewave(files.iter().chain(&flags).chain(more));
        let told = ran.err.lines().filter(|line| line.starts_with("epoch ")).count();
        assert!(told == 30 && ran.err.contains("epoch  1/30  loss "), "{ran:?}");
        let out = ran.done();
        assert!(out.starts_with(&format!("{output}: 3 layers, ")), "{out}");
        (fs::read(&output).unwrap(), column(&history, "loss"))
    };
    let (first, losses) = train("a.safetensors", &[]);
    assert!(losses.len() == 30 && losses[29] < 0.7 * losses[0], "{losses:?}");
    assert!(column(&folder.path("history.csv"), "epoch").into_iter().eq((1..=30_u8).map(f64::from)));
    assert!(column(&folder.path("history.csv"), "learning_rate").iter().all(|&rate| rate == 0.02));
    assert_eq!(train("b.safetensors", &[]), (first.clone(), losses));
    assert_ne!(train("c.safetensors", &["--seed", "1"]).0, first, "another seed");
    assert_ne!(train("d.safetensors", &["--like", "keras"]).0, first, "other weights and formulas");
    assert_ne!(train("e.safetensors", &["--no-shuffle"]).0, first, "another order");
    // A trained model is like any other, and can be trained further.
    let trained = folder.path("a.safetensors");
    gatewave(["summary", &trained]).done();
    let further = gatewave(["train", &trained, "--data", &data, "--loss", "cross_entropy"]);
    assert!(further.err.contains("there is no --output"), "{further:?}");
    assert_eq!(further.done(), "");
}

#[test]
fn the_last_rows_validate() {
    let folder = Folder::new("train-validation");
    let [description, data] = small(&folder);
    let (first, last) = (folder.path("first.safetensors"), folder.path("last.safetensors"));
    let part = |rows: std::ops::Range<usize>| {
        let cut = |array: Array| match array {
            Array::F32(a) => Array::F32(a.slice_axis(ndarray::Axis(0), rows.clone().into()).to_owned()),
            Array::I32(a) => Array::I32(a.slice_axis(ndarray::Axis(0), rows.clone().into()).to_owned()),
            Array::I64(a) => Array::I64(a.slice_axis(ndarray::Axis(0), rows.clone().into()).to_owned()),
        };
        examples(10).into_iter().map(|(name, array)| (name, cut(array))).collect::<BTreeMap<_, _>>()
    };
    write_tensors(&first, &part(0..7));
    write_tensors(&last, &part(7..10));
    let train = |name: &str, data: &[&str]| {
        let (output, history) = (folder.path(name), folder.path("history.csv"));
        let files = ["train", &description, "--output", &output, "--history", &history, "--force"];
        let flags = ["--loss", "cross_entropy", "--epochs", "3", "--batch-size", "2", "--data"];
        gatewave(files.iter().chain(&flags).chain(data)).done();
        (fs::read(&output).unwrap(), column(&history, "loss"), column(&history, "val_loss"))
    };
    let split = train("a.safetensors", &[&data, "--validation-split", "0.3"]);
    assert_eq!(split, train("b.safetensors", &[&first, "--validation", &last]));
}

#[test]
fn what_does_not_go_together_is_refused_before_any_work() {
    let folder = Folder::new("train-refused");
    let train = |more: &[&str]| {
        let files = ["train", "nowhere.safetensors", "--data", "nowhere.npz", "--loss", "mse"];
        gatewave(files.iter().chain(more)).refused()
    };
    for (flags, error) in [
        (&["--alpha", "0.9"][..], "--alpha: expected --optimizer rmsprop, got adam"),
        (&["--optimizer", "sgd", "--betas", "0.9,0.99"], "--betas: expected --optimizer adam or adamw, got sgd"),
        (&["--momentum", "0.9"], "--momentum: expected --optimizer sgd or rmsprop, got adam"),
        (&["--learning-rate", "-1"], "adam: learning_rate: expected a finite number, 0 or more, got -1"),
        (&["--clip-norm", "0"], "clip_norm: expected a finite number, more than 0, got 0"),
        (&["--epochs", "0"], "epochs: expected 1 or more, got 0"),
        (&["--batch-size", "0"], "batch_size: expected 1 or more, got 0"),
        (&["--output", "out.npz"], "out.npz: expected a name that ends in .safetensors"),
    ] {
        assert_eq!(train(flags), error);
    }
    for (flags, said) in [
        (&["--loss", "nll"][..], "expected one of cross_entropy, binary_cross_entropy, mse, mae, huber, got nll"),
        (&["--loss", "mse", "--betas", "0.9"], "expected A,B, two shares"),
        (&["--loss", "mse", "--clip-norm", "1", "--clip-value", "1"], "cannot be used with"),
        (&["--loss", "mse", "--validation", "a.npz", "--validation-split", "0.1"], "cannot be used with"),
    ] {
        let ran = gatewave(["train", "nowhere.safetensors", "--data", "nowhere.npz"].iter().chain(flags));
        assert!(ran.status == 2 && ran.err.contains(said), "{ran:?}");
    }
    let there = folder.path("there.safetensors");
    fs::write(&there, "before").unwrap();
    let error = train(&["--output", &there]);
    assert_eq!(error, format!("{there}: already exists; --force overwrites it"));
    let ran = gatewave(["gradients", MODEL, "--data", "nowhere.npz", "--loss", "mse", "--output", &there]);
    assert_eq!(ran.refused(), format!("{there}: already exists; --force overwrites it"));
    assert_eq!(fs::read_to_string(&there).unwrap(), "before");
}

#[test]
fn examples_that_do_not_fit_are_refused_by_their_place() {
    let folder = Folder::new("train-misfits");
    let [description, data] = small(&folder);
    let train = |change: &dyn Fn(&mut BTreeMap<String, Array>), loss: &str, more: &[&str]| {
        let mut tensors = examples(10);
        change(&mut tensors);
        write_tensors(&data, &tensors);
        let args = ["train", &description, "--data", &data, "--loss", loss];
        let error = gatewave(args.iter().chain(more)).refused();
        error.strip_prefix(&format!("{data}: ")).unwrap_or(&error).to_owned()
    };
    let classes = |values: Vec<i64>| Array::I64(ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).unwrap());
    let put = |values: Vec<i64>| {
        move |tensors: &mut BTreeMap<String, Array>| drop(tensors.insert("y".into(), classes(values.clone())))
    };
    let mut wrong = vec![0; 10];
    wrong[7] = 2;
    let error = train(&put(wrong), "cross_entropy", &[]);
    assert!(error.contains("expected classes from 0 to 1") && error.contains("got 2 at [7]"), "{error}");
    let error = train(&put(vec![-100; 10]), "cross_entropy", &[]);
    assert!(error.contains("targets: expected a class that counts"), "{error}");
    let error = train(&put(vec![0; 9]), "cross_entropy", &[]);
    assert!(error.contains("targets: expected classes [10] (B), got [9]"), "{error}");
    let error = train(&|tensors| drop(tensors.remove("y")), "cross_entropy", &[]);
    assert_eq!(error, "y or y_output: expected the targets of cross_entropy under this name, got x");
    let error = train(&|tensors| drop(tensors.insert("z".into(), classes(vec![0; 10]))), "cross_entropy", &[]);
    assert!(error.starts_with("z: unknown tensor; this model takes "), "{error}");
    let error = train(&|_| (), "binary_cross_entropy", &[]);
    assert!(
        error.contains("expected a loss that fits the last layer, got binary_cross_entropy after softmax"),
        "{error}"
    );
    let error = train(&|_| (), "cross_entropy", &["--validation-split", "1"]);
    assert!(error.starts_with("validation_split: expected a share between 0 and 1 that leaves rows"), "{error}");
}

#[test]
fn what_counts_twice_loses_twice() {
    let folder = Folder::new("train-weights");
    let [description, data] = small(&folder);
    let loss = |weights: Option<Vec<f32>>| {
        let mut tensors = examples(10);
        if let Some(weights) = weights {
            let weights = Array::F32(ArrayD::from_shape_vec(IxDyn(&[weights.len()]), weights).unwrap());
            tensors.insert("sample_weight".to_owned(), weights);
        }
        write_tensors(&data, &tensors);
        let args = ["gradients", &description, "--data", &data, "--loss", "cross_entropy", "--json"];
        let lines = gatewave(args).done();
        let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        line["value"].as_f64().unwrap()
    };
    let whole = loss(None);
    let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-5 * want, "{got} for {want}");
    near(loss(Some(vec![2.0; 10])), 2.0 * whole);
    let half = |first: f32| (0..10).map(|row| if row < 4 { first } else { 1.0 - first }).collect::<Vec<f32>>();
    near(loss(Some(half(0.0))) + loss(Some(half(1.0))), whole);
    // A weight that is not a number, and weights for too few rows.
    for (weights, said) in [
        (vec![-1.0; 10], "targets: sample_weights: expected finite numbers from 0 on, got -1 at [0]"),
        (vec![1.0; 9], "targets: sample_weights: expected [10] (B), got [9]"),
    ] {
        let mut tensors = examples(10);
        let weights = Array::F32(ArrayD::from_shape_vec(IxDyn(&[weights.len()]), weights).unwrap());
        tensors.insert("sample_weight".to_owned(), weights);
        write_tensors(&data, &tensors);
        let error = gatewave(["train", &description, "--data", &data, "--loss", "cross_entropy"]).refused();
        assert_eq!(error, format!("{data}: {said}"));
    }
}

#[test]
fn a_training_that_leaves_the_floats_stops_and_writes_nothing() {
    let folder = Folder::new("train-nan");
    let [description, data] = small(&folder);
    let output = folder.path("out.safetensors");
    fs::write(&output, "before").unwrap();
    // The loss of an unbounded output grows with each step that is too long.
    let text = fs::read_to_string(&description).unwrap().replace("softmax", "linear");
    fs::write(&description, text).unwrap();
    let mut tensors = examples(10);
    tensors.insert("y".to_owned(), Array::F32(ArrayD::ones(IxDyn(&[10, 2]))));
    write_tensors(&data, &tensors);
    let args = ["train", &description, "--data", &data, "--loss", "mse", "--output", &output, "--force"];
    let more = ["--optimizer", "sgd", "--learning-rate", "1000", "--epochs", "100", "--batch-size", "2"];
    let ran = gatewave(args.iter().chain(&more));
    let error = ran.refused();
    assert!(error.starts_with("epoch ") && error.contains(": expected "), "{error}");
    assert!(error.contains("try a smaller learning rate"), "{error}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "before");
    assert_eq!(folder.names(), ["data.safetensors", "model.json", "out.safetensors"]);
}

#[test]
fn gradients_prints_the_loss_and_a_norm_for_each_tensor() {
    let case = &cases("train.gradients")[1];
    let (model, batch, loss) = (file(case, "model"), file(case, "batch"), case["loss"].as_str().unwrap());
    let args = ["gradients", &model, "--data", &batch, "--loss", loss];
    let out = gatewave(args).done();
    let widths: Vec<_> = out.lines().skip(1).map(|line| line.find('[').unwrap()).collect();
    assert!(out.starts_with("loss ") && widths.iter().all(|width| *width == widths[0]), "{out}");
    assert!(out.contains("\ngrad.h_0 ") && out.contains("\ngrad.x "), "{out}");
    let lines = gatewave(args.into_iter().chain(["--json"])).done();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let want = read_tensors(file(case, "want"));
    assert_eq!(lines.len(), want.len());
    for line in &lines[1..] {
        let want = &want[line["name"].as_str().unwrap()];
        let norm = want.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((line["norm"].as_f64().unwrap() - norm).abs() <= 1e-4 * norm.max(1e-3), "{line}");
        assert_eq!(line["shape"], serde_json::json!(want.shape()));
    }
}

#[test]
fn plan_and_bench_show_the_way_back() {
    let args = ["plan", MODEL, "--batch", "4", "--steps", "30", "--train", "--loss", "cross_entropy"];
    let out = gatewave(args).done();
    let kept = out.lines().find_map(|line| line.strip_prefix("kept")?.trim().strip_suffix(" bytes")).unwrap();
    // At least the states of two layers of 256 units, hidden and cell.
    assert!(kept.parse::<u64>().unwrap() >= 2 * 2 * 4 * 30 * 4 * 256, "{out}");
    assert!(out.contains("step_back") && out.contains("outer") && out.contains("loss"), "{out}");
    let without = gatewave(&args[..7]);
    assert!(without.status == 2 && without.err.contains("--loss"), "{without:?}");

    let args = ["bench", "--only", "numpy-100x32x64", "--runs", "2", "--train"];
    let line: Value = serde_json::from_str(&gatewave(args.into_iter().chain(["--json"])).done()).unwrap();
    assert_eq!((&line["mode"], &line["id"], &line["runs"]), (&"train".into(), &"numpy-100x32x64".into(), &2.into()));
    assert!(line["ms_median"].as_f64().unwrap() > 0.0 && line["kernels"].to_string().contains("outer"), "{line}");
    assert!(gatewave(args).done().contains("median"));
    let out = gatewave(args.into_iter().chain(["--kernels"])).done();
    assert!(out.contains("outer") && out.contains("% of copy"), "{out}");
}

#[test]
fn each_output_of_a_graph_has_a_loss_and_targets_of_its_own() {
    let folder = Folder::new("train-outputs");
    let [description, data] = ["model.json", "data.safetensors"].map(|name| folder.path(name));
    let text = r#"{"gatewave": 1, "batch_first": false,
        "inputs": [{"name": "words", "type": "tokens", "size": 20}, {"name": "facts", "type": "row", "size": 3}],
        "layers": [
            {"type": "embedding", "name": "embedding", "from": "words", "num_embeddings": 20, "embedding_dim": 4, "weights": "e."},
            {"type": "lstm", "name": "lstm", "from": "embedding", "input_size": 4, "hidden_size": 6, "weights": "lstm."},
            {"type": "linear", "name": "tags", "from": "lstm", "in_features": 6, "out_features": 5, "weights": "tags."},
            {"type": "concat", "name": "joined", "from": ["lstm.final_hidden", "facts"]},
            {"type": "linear", "name": "head", "from": "joined", "in_features": 9, "out_features": 1, "activation": "sigmoid",
             "weights": "head."}],
        "outputs": [{"name": "score", "from": "head"}, {"name": "tags", "from": "tags"}]}"#;
    fs::write(&description, text).unwrap();
    let whole = |shape: &[usize], below: i64| {
        let count = i64::try_from(shape.iter().product::<usize>()).unwrap();
        Array::I64(ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(|n| n * 7 % below).collect()).unwrap())
    };
    // Seven steps of ten rows, one of which is shorter.
    write_tensors(
        &data,
        &BTreeMap::from([
            ("words".to_owned(), whole(&[7, 10], 20)),
            ("facts".to_owned(), Array::F32(ArrayD::from_elem(IxDyn(&[10, 3]), 0.5))),
            (
                "lengths".to_owned(),
                Array::I64(ArrayD::from_shape_fn(IxDyn(&[10]), |at| if at[0] == 3 { 4 } else { 7 })),
            ),
            ("y_score".to_owned(), whole(&[10], 2)),
            ("y_tags".to_owned(), whole(&[7, 10], 5)),
        ]),
    );
    let train = |losses: &[&str]| {
        let flags = losses.iter().flat_map(|loss| ["--loss", *loss]);
        gatewave(["train", &description, "--data", &data, "--batch-size", "4"].into_iter().chain(flags))
    };
    let both = ["score=binary_cross_entropy", "tags=cross_entropy"];
    assert_eq!(train(&both).done(), "");
    let refused = |losses: &[&str]| train(losses).refused().replace(&format!("{data}: "), "");
    assert_eq!(refused(&["other=mse"]), "--loss: expected an output of the model (score, tags), got other");
    assert_eq!(refused(&["tags=mse", "tags=mse"]), "--loss: expected one loss of an output, got two of tags");
    let error = refused(&["cross_entropy"]);
    assert!(
        error.starts_with("loss 0: expected a loss that fits the last layer, got cross_entropy after sigmoid"),
        "{error}"
    );
}
