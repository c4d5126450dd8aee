//! `gatewave train --run` and `--resume`: the contents of a run's folder, whenever the run ends.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Folder, command, gatewave};

/// Writes a task of numbers to a file, and a description of a model for it.
pub(super) fn task(folder: &Folder) -> (String, String) {
    let (model, data) = (folder.path("model.json"), folder.path("data.safetensors"));
    let text = r#"{"gatewave": 1, "batch_first": true, "layers": [
        {"type": "gru", "input_size": 3, "hidden_size": 8, "weights": "gru.", "num_layers": 2, "dropout": 0.2},
        {"type": "select", "what": "last_step"},
        {"type": "linear", "in_features": 8, "out_features": 2, "weights": "head."}]}"#;
    fs::write(&model, text).unwrap();
    let x: Vec<u8> = (0..200 * 12 * 3).flat_map(|n| ((n as f32 * 0.37).sin()).to_le_bytes()).collect();
    let y: Vec<u8> = (0..200_i64).flat_map(|n| i64::from((n * n * 7 + n * 3) % 11 > 5).to_le_bytes()).collect();
    let view = |dtype, shape, data| safetensors::tensor::TensorView::new(dtype, shape, data).unwrap();
    let tensors = [
        ("x", view(safetensors::Dtype::F32, vec![200, 12, 3], &x)),
        ("y", view(safetensors::Dtype::I64, vec![200], &y)),
    ];
    fs::write(&data, safetensors::serialize(tensors, None).unwrap()).unwrap();
    (model, data)
}

const FLAGS: [&str; 14] = [
    "--loss",
    "cross_entropy",
    "--epochs",
    "12",
    "--batch-size",
    "8",
    "--validation-split",
    "0.2",
    "--metric",
    "accuracy",
    "--learning-rate",
    "0.01",
    "--early-stopping",
    "20",
];

fn start(model: &str, data: &str, run: &str) -> Vec<String> {
    let args = ["train", model, "--data", data, "--run", run].map(str::to_owned);
    args.into_iter().chain(FLAGS.map(str::to_owned)).collect()
}

/// The history without its column of seconds.
fn history(run: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(run).join("history.csv")).unwrap();
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

/// Returns the results of a run: its best model, and its last weights and moments.
fn left(run: &str) -> (Vec<u8>, Vec<u8>) {
    let last = fs::read(Path::new(run).join("last.safetensors")).unwrap();
    // The header's metadata contain times, so only the rest is compared.
    let header = usize::try_from(u64::from_le_bytes(last[..8].try_into().unwrap())).unwrap();
    (fs::read(Path::new(run).join("best.safetensors")).unwrap(), last[8 + header..].to_vec())
}

fn spawn(args: &[String]) -> Child {
    command().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_run_keeps_all_that_it_did_in_its_folder() {
    let folder = Folder::new("run");
    let ((model, data), run) = (task(&folder), folder.path("run"));
    let ran = gatewave(start(&model, &data, &run).iter().map(String::as_str).chain(["--json"]));
    let err = ran.err.clone();
    let out = ran.done();
    let mut names: Vec<_> = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let wanted = ["args.json", "best.safetensors", "curve.png", "curve.svg", "history.csv", "last.safetensors"];
    assert_eq!(names, wanted);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 13);
    let best = lines[..12].iter().rfind(|line| line["better"] == true).unwrap()["epoch"].clone();
    assert_eq!((&lines[12]["end"], &lines[12]["best_epoch"]), (&"epochs".into(), &best), "{out}");
    assert_eq!(history(&run)[0], "epoch,loss,val_loss,val_accuracy,learning_rate");
    for (row, line) in history(&run)[1..].iter().zip(&lines) {
        let [epoch, loss, val_loss, accuracy] = ["epoch", "loss", "val_loss", "val_accuracy"].map(|key| &line[key]);
        assert_eq!(row, &format!("{epoch},{loss},{val_loss},{accuracy},0.01"));
    }
    assert!(err.contains(&format!("best: epoch {best}, val_loss ")), "{err}");
    assert!(err.contains("best.safetensors: val_loss ") && err.contains("read from the file"), "{err}");
    let svg = fs::read_to_string(Path::new(&run).join("curve.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("val_accuracy") && svg.contains(&format!("best: epoch {best}")));
    assert!(fs::read(Path::new(&run).join("curve.png")).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    // Both are models.
    for name in ["best.safetensors", "last.safetensors"] {
        let path = Path::new(&run).join(name).to_str().unwrap().to_owned();
        assert!(gatewave(["summary", &path]).done().contains("gru"));
    }
    let before = left(&run);
    let refused = gatewave(start(&model, &data, &run)).refused();
    assert!(
        refused.contains("holds a run already (args.json); --resume continues it, --force begins a new one"),
        "{refused}"
    );
    assert!(left(&run) == before, "a refusal changed the run");
    let again = gatewave(start(&model, &data, &run).iter().map(String::as_str).chain(["--force"]));
    assert!(again.status == 0 && left(&run) == before, "the same again");
}

/// A killed run leaves whole files, and continues to the same bytes as one that was never killed.
#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    let folder = Folder::new("killed");
    let ((model, data), whole, cut) = (task(&folder), folder.path("whole"), folder.path("cut"));
    let begun = Instant::now();
    gatewave(start(&model, &data, &whole)).done();
    let takes = begun.elapsed();
    let resume = ["train", "--resume", &cut].map(str::to_owned);
    for kill in 0..6_u32 {
        let is_begun = Path::new(&cut).join("args.json").exists();
        let mut child = spawn(&if is_begun { resume.to_vec() } else { start(&model, &data, &cut) });
        std::thread::sleep(takes.mul_f64(0.1 + 0.17 * f64::from(kill * 3 % 5)));
        child.kill().unwrap();
        child.wait().unwrap();
        for name in ["best.safetensors", "last.safetensors"] {
            let path = Path::new(&cut).join(name);
            if path.exists() {
                gatewave(["summary", path.to_str().unwrap()]).done();
            }
        }
    }
    if !Path::new(&cut).join("args.json").exists() {
        gatewave(start(&model, &data, &cut)).done();
    }
    gatewave(&resume).done();
    assert_eq!(history(&cut), history(&whole));
    assert!(left(&cut) == left(&whole), "other bytes");
    let names: Vec<_> = fs::read_dir(&cut).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    // A run that ended is prolonged.
    let longer = folder.path("longer");
    let more = ["--epochs", "15"];
    gatewave(resume.iter().map(String::as_str).chain(more)).done();
    gatewave(start(&model, &data, &longer).iter().map(String::as_str).chain(more)).done();
    assert_eq!(history(&cut), history(&longer));
    assert!(left(&cut) == left(&longer), "other bytes");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_behind_its_batch_and_saves_it() {
    use std::process::Command;

    let folder = Folder::new("interrupted");
    let ((model, data), whole, cut) = (task(&folder), folder.path("whole"), folder.path("cut"));
    // So long that it never ends by itself.
    let long = ["--epochs", "100000"].map(str::to_owned);
    for signal in ["-INT", "-TERM"] {
        let args: Vec<String> = match Path::new(&cut).exists() {
            true => ["train", "--resume", &cut].map(str::to_owned).into_iter().chain(long.clone()).collect(),
            false => start(&model, &data, &cut).into_iter().chain(long.clone()).collect(),
        };
        let saved = || fs::metadata(Path::new(&cut).join("last.safetensors")).and_then(|last| last.modified()).ok();
        let before = saved();
        let child = spawn(&args);
        let begun = Instant::now();
        // Until it has saved an epoch of its own.
        while saved() == before && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let kill = format!("kill {signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert!(err.contains("by a signal") && err.contains("kept in "), "{err}");
    }
    let epochs = history(&cut).len();
    let more = ["--epochs", &(epochs + 1).to_string(), "--early-stopping", "100000"].map(str::to_owned);
    gatewave(["train", "--resume", &cut].map(str::to_owned).iter().chain(&more)).done();
    gatewave(start(&model, &data, &whole).iter().chain(&more)).done();
    assert_eq!(history(&cut), history(&whole));
    assert!(left(&cut) == left(&whole), "other bytes");
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = Folder::new("no-run");
    let ((model, data), run) = (task(&folder), folder.path("run"));
    let refused = |args: &[&str]| gatewave(args).refused();
    assert!(refused(&["train", "--resume", &run]).contains("No such file"));
    fs::create_dir(&run).unwrap();
    let said = refused(&["train", "--resume", &run]);
    assert!(said.contains("expected the folder of a run, which `train --run` makes"), "{said}");
    assert!(
        refused(&["train", &model, "--data", &data, "--loss", "cross_entropy", "--run", &data])
            .contains("expected a folder")
    );
    fs::write(Path::new(&run).join("args.json"), "{").unwrap();
    assert!(refused(&["train", "--resume", &run]).contains("is this a whole file of a run?"));
    fs::remove_dir_all(&run).unwrap();
    gatewave(start(&model, &data, &run).iter().map(String::as_str).chain(["--fast"])).done();
    let said = refused(&["train", "--resume", &run, "--batch-size", "9"]);
    assert!(said.contains("batch_size: expected 8, as the fit was begun with, got 9"), "{said}");
    let said = refused(&["train", "--resume", &run, "--learning-rate", "0.5"]);
    assert!(said.contains("learning_rate: expected 0.5, got 0.01; the checkpoint is of another update"), "{said}");
    for (flag, value, wanted) in [
        ("--schedule", "cosine,3", "--schedule: expected cosine, linear"),
        ("--schedule", "step,2,x", "--schedule: expected cosine, linear"),
        ("--metric", "rmse", "metric: expected one of accuracy, perplexity"),
        ("--metric", "mae", "mae: expected one loss, mse, mae or huber, got cross_entropy"),
    ] {
        let said =
            gatewave(start(&model, &data, &folder.path("other")).iter().map(String::as_str).chain([flag, value]))
                .refused();
        assert!(said.contains(wanted), "{said}");
        assert!(!Path::new(&folder.path("other")).join("last.safetensors").exists());
    }
}
