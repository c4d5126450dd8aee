//! The command line as its users see it: results, messages, exit statuses, and what goes to which stream.
//!
//! Runs the built binary, on the CPU unless a test says otherwise. Knows
//! nothing of the library, except for the tutorials' steps in Rust.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/compare.rs"]
mod compare;
#[path = "cli/console.rs"]
mod console;
#[path = "cli/convert.rs"]
mod convert;
#[path = "cli/describe.rs"]
mod describe;
#[path = "cli/evaluate.rs"]
mod evaluate;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/force.rs"]
mod force;
#[cfg(any(feature = "keras", feature = "onnx"))]
#[path = "cli/formats.rs"]
mod formats;
#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/graph.rs"]
mod graph;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/named.rs"]
mod named;
#[path = "cli/parts.rs"]
mod parts;
#[path = "cli/pipes.rs"]
mod pipes;
#[path = "cli/programs.rs"]
mod programs;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/runs.rs"]
mod runs;
#[path = "cli/series.rs"]
mod series;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/stream.rs"]
mod stream;
#[path = "cli/tags.rs"]
mod tags;
#[path = "cli/text.rs"]
mod text;
#[path = "cli/torch.rs"]
mod torch;
#[path = "cli/training.rs"]
mod training;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::ArrayD;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use support::fixtures::Array;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/shakespeare/shakespeare.safetensors");

/// The results of running the binary.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

/// Runs it on the CPU.
fn gatewave<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    ran(command().args(args))
}

/// Runs it on the adapter that the environment names.
#[cfg(feature = "gpu")]
fn gatewave_on_adapter<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    ran(command().env("GATEWAVE_ADAPTER", support::devices::adapter_name()).args(args))
}

fn ran(command: &mut Command) -> Ran {
    told(&command.output().expect("the binary starts"))
}

fn told(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let status = output.status.code().expect("it exits by itself");
    Ran { status, out: text(&output.stdout), err: text(&output.stderr) }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewave"));
    command.env_remove("RUST_LOG").env("GATEWAVE_ADAPTER", "cpu");
    // Mesa's Vulkan drivers print a complaint if it is missing.
    command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

impl Ran {
    /// Returns what it printed; it must have succeeded.
    fn done(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// Returns its error message; it must have refused without a result and without a panic.
    fn refused(self) -> String {
        assert_eq!((self.status, self.out.as_str()), (2, ""), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        let errors: Vec<_> = self.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors.len(), 1, "{self:?}");
        errors[0].to_owned()
    }
}

/// A folder for one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write_tensors(path: &str, tensors: &BTreeMap<String, Array>) {
    let encoded: Vec<_> = tensors
        .iter()
        .map(|(name, array)| {
            let (dtype, shape, bytes): (_, _, Vec<u8>) = match array {
                Array::F32(a) => (Dtype::F32, a.shape(), a.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Array::I32(a) => (Dtype::I32, a.shape(), a.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Array::I64(a) => (Dtype::I64, a.shape(), a.iter().flat_map(|v| v.to_le_bytes()).collect()),
            };
            (name, dtype, shape.to_vec(), bytes)
        })
        .collect();
    let views = encoded
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Reads the tensors of a `.safetensors` file, F32, F64 or I64, in f64.
fn read_tensors(path: impl AsRef<Path>) -> BTreeMap<String, ArrayD<f64>> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let decode = |view: TensorView<'_>| {
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            Dtype::F64 => view.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            #[expect(clippy::cast_precision_loss, reason = "tags and tokens are small")]
            Dtype::I64 => view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
            other => panic!("{other:?}"),
        };
        ArrayD::from_shape_vec(view.shape(), values).unwrap()
    };
    file.tensors().into_iter().map(|(name, view)| (name, decode(view))).collect()
}

fn assert_close(name: &str, got: &ArrayD<f64>, want: &ArrayD<f64>, atol: f64, rtol: f64) {
    assert_eq!(got.shape(), want.shape(), "{name}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let apart = (got - want).abs();
        assert!(apart <= atol + rtol * want.abs(), "{name}: element {index}: got {got}, want {want}");
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_with_those_that_are() {
    let error = gatewave(["generate", MODEL, "--prompt", "A", "--device", "no such device"]).refused();
    if cfg!(feature = "gpu") {
        let start = "device `no such device`: no adapter has this in its name; there is ";
        let there = error.strip_prefix(start).and_then(|rest| rest.strip_suffix("; `cpu` always works"));
        assert!(there.is_some_and(|there| !there.is_empty()), "{error}");
    } else {
        assert!(error.ends_with("this gatewave was built without the feature `gpu`"), "{error}");
    }
}

/// If there is a GPU, it is used; if there is none, nothing else is.
#[test]
fn any_gpu_is_a_gpu_or_is_refused_with_the_adapters() {
    let generate = ["generate", MODEL, "--prompt", "A", "--length", "1"];
    let asked = [
        gatewave(generate.iter().chain(&["--device", "gpu"])),
        ran(command().env("GATEWAVE_ADAPTER", "GPU").args(generate)),
    ];
    for ran in asked {
        if ran.status == 0 {
            assert!(ran.err.contains("(asked for: the best GPU") && !ran.err.contains("device: CPU"), "{ran:?}");
            continue;
        }
        assert_eq!(ran.status, 2, "{ran:?}");
        let error = ran.err.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
        assert!(error.starts_with("device gpu: expected a GPU, got none: "), "{ran:?}");
        let end = "; `cpu` always works, and a software adapter runs by its name";
        assert!(error.contains("; there is ") && error.ends_with(end), "{ran:?}");
        #[cfg(feature = "gpu")]
        for adapter in gatewave::device::adapters() {
            assert!(error.contains(&adapter.name), "{ran:?}");
        }
    }
}

#[test]
fn summary_counts_the_parameters() {
    let out = gatewave(["summary", MODEL]).done();
    // 65·64 + 4·256·(64+256+2) + 4·256·(256+256+2) + 65·(256+1)
    let digits: String = out.chars().filter(|c| !matches!(c, ',' | '_' | ' ')).collect();
    assert!(digits.contains("876929"), "{out}");
    for layer in ["embedding", "lstm", "head"] {
        assert!(out.contains(layer), "{out}");
    }
}

#[test]
fn plan_ends_with_dispatches_and_bytes() {
    let footer = |args: &[&str]| {
        let out = gatewave(args).done();
        let lines: Vec<String> =
            out.lines().rev().take(5).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(lines[4].starts_with("dispatches "), "{out}");
        for (line, name) in lines.iter().rev().skip(1).zip(["weights", "input", "output", "scratch"]) {
            assert!(line.starts_with(name) && line.ends_with(" bytes"), "{out}");
        }
        lines[4]["dispatches ".len()..].parse::<u64>().unwrap()
    };
    assert!(footer(&["plan", MODEL, "--batch", "4", "--steps", "30"]) >= 2 * 30);
    let stack = ["plan", "--cell", "lstm", "--input-size", "8", "--hidden-size", "16", "--batch", "2", "--steps", "5"];
    assert!(footer(&stack) >= 5);
    let drawing = ["plan", MODEL, "--batch", "1", "--steps", "3", "--draw"];
    assert!(footer(&drawing) > 3 * 2);
    let out = gatewave(drawing).done();
    assert_eq!(out.lines().filter(|line| line.contains(" sample ")).count(), 3, "a draw a step: {out}");
    let error = gatewave([&stack[..], &["--draw"]].concat()).refused();
    assert_eq!(error, "layer 0: expected an embedding or one_hot, to take the tokens that are drawn");
    let error = gatewave([&stack[..], &["--wgsl", "99"]].concat()).refused();
    assert!(error.starts_with("--wgsl: expected a dispatch from 0 to ") && error.ends_with(", got 99"), "{error}");
    let ran = gatewave(["plan", "--cell", "lstm", "--input-size", "8", "--hidden-size", "16"]);
    assert!(ran.err.contains("a call of 100 steps in a batch of 1 (--steps, --batch)"), "{ran:?}");
    let said = ["plan", "--cell", "lstm", "--input-size", "8", "--hidden-size", "16", "--batch", "1", "--steps", "100"];
    assert_eq!(ran.done(), gatewave(said).done());
    let error = gatewave(["plan", "--batch", "1", "--steps", "1"]).refused();
    assert_eq!(error, "plan: expected MODEL or --cell with its sizes, got neither");
}

#[test]
fn adapters_lists_the_cpu_and_what_auto_would_take() {
    let out = gatewave(["adapters"]).done();
    assert!(out.contains("auto: "), "{out}");
    for line in gatewave(["adapters", "--json"]).done().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn verify_passes_on_the_cpu_and_ends_with_the_counts() {
    let ran = gatewave(["verify", "--device", "cpu"]);
    let out = ran.done();
    let last: Vec<_> = out.lines().last().unwrap().split(' ').collect();
    let [passed, "passed,", "0", "failed"] = last[..] else { panic!("{out}") };
    assert!(passed.parse::<usize>().unwrap() > 50, "{out}");
}

#[test]
fn verify_of_a_model_ends_with_the_counts() {
    let out = gatewave(["verify", MODEL]).done();
    assert!(out.lines().last().unwrap().ends_with(" passed, 0 failed"), "{out}");
}

#[test]
fn a_number_out_of_range_is_a_value_and_is_refused_as_one() {
    for (args, what) in [
        (&["generate", MODEL, "--prompt", "A", "--temperature", "-1"][..], "expected a number, 0 or more"),
        (&["plan", MODEL, "--batch", "-2", "--steps", "3"], "invalid value '-2' for '--batch <B>'"),
        (&["bench", "--runs", "-1"], "invalid value '-1' for '--runs <N>'"),
        (
            &["summary", MODEL, "--steps", "-1"],
            "invalid value '-1' for '--steps <T>': expected a whole number, 1 or more",
        ),
        (
            &["summary", MODEL, "--batch", "0"],
            "invalid value '0' for '--batch <N>': expected a whole number, 1 or more",
        ),
    ] {
        let ran = gatewave(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
        assert!(ran.err.contains(what), "{ran:?}");
    }
}

#[test]
fn unusable_arguments_exit_with_two() {
    for args in [&["bench", "--runs", "0"][..], &["generate", MODEL], &["run"], &["bench", "--hidden-size", "3"], &[]] {
        let ran = gatewave(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
    }
}
