//! The command line as its users meet it: results, messages, exit statuses, and what goes to which stream.
//!
//! Runs the built binary, on the CPU unless a test says otherwise; knows nothing of the library.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ndarray::ArrayD;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use support::fixtures::{self, Array, Fixture};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/shakespeare/shakespeare.safetensors");

/// What a call of the binary left.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

/// Runs it on the CPU.
fn gatewave<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    run(command().args(args))
}

/// Runs it on the adapter that the environment names.
#[cfg(feature = "gpu")]
fn gatewave_on_adapter<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    run(command().env("GATEWAVE_ADAPTER", support::executor::adapter_name()).args(args))
}

fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the binary starts");
    Ran {
        status: output.status.code().expect("it exits by itself"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewave"));
    command.env_remove("RUST_LOG").env("GATEWAVE_ADAPTER", "cpu");
    // Mesa's Vulkan drivers complain on standard error where it is missing.
    command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

impl Ran {
    /// What it printed, where it did what was asked.
    fn done(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// What it complained of, where it refused; a refusal prints no result and is no panic.
    fn refused(self) -> String {
        assert_eq!((self.status, self.out.as_str()), (2, ""), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        let errors: Vec<_> = self.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors.len(), 1, "{self:?}");
        errors[0].to_owned()
    }
}

/// A folder of its own for a test, removed with it.
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

/// The tensors of a `.safetensors` file, F32 or F64, in f64.
fn read_tensors(path: impl AsRef<Path>) -> BTreeMap<String, ArrayD<f64>> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let decode = |view: TensorView<'_>| {
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            Dtype::F64 => view.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
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

/// Runs a golden case from its files and compares every tensor that comes out.
fn run_fixture(fixture: &Fixture, device: &str) {
    let folder = Folder::new(&format!("{device}-{}", fixture.id));
    let (description, input, output) =
        (folder.path("model.json"), folder.path("in.safetensors"), folder.path("out.safetensors"));
    fs::write(&description, &fixture.description_json).unwrap();
    write_tensors(&input, &fixture.inputs);
    let weights = fixture.weights.to_str().unwrap();
    let files = ["run", weights, "--model", &description, "--input", &input, "--output", &output];
    let ran = run(command().args(files).args(["--device", device]));
    assert!(ran.err.starts_with("device: "), "{ran:?}");
    assert_eq!(ran.err.starts_with("device: CPU"), device == "cpu", "{ran:?}");
    assert_eq!(ran.done(), "", "with --output nothing is printed");
    let got = read_tensors(&output);
    for (name, want) in &fixture.wanted {
        let name = if name == "logits" { "output" } else { name };
        assert_close(&format!("{} {name}", fixture.id), &got[name], want, fixture.atol, fixture.rtol);
    }
    assert_eq!(got.len(), fixture.wanted.len(), "{:?}", got.keys());
    assert_eq!(folder.names(), ["in.safetensors", "model.json", "out.safetensors"], "no temporary file is left");
}

#[test]
fn run_gives_what_pytorch_gives_for_every_fixture() {
    fixtures::all().iter().for_each(|fixture| run_fixture(fixture, "cpu"));
}

/// Every cell, packed and not, projected, both directions, time-major, without a batch, tokens, half precision.
#[test]
#[cfg(feature = "gpu")]
fn run_on_an_adapter_gives_what_pytorch_gives() {
    let device = support::executor::adapter_name();
    for id in [
        "pt_o00_rnn_relu",
        "pt_o04_rnn_tanh",
        "pt_o07_gru",
        "pt_o09_lstm",
        "pt_os_lstm_unbatched",
        "pt_os_lstm_proj_bi2",
        "pt_os_gru_bf16w",
        "pt_om_char_lstm",
        "pt_om_clf_bilstm_packed",
        "pt_om_clf_rnn_sigmoid",
    ] {
        run_fixture(&fixtures::one(id), &device);
    }
}

#[test]
fn run_gives_shakespeares_logits_and_states() {
    let folder = Folder::new("shakespeare");
    let models = Path::new(MODEL).parent().unwrap();
    let (input, output) = (models.join("passages.safetensors"), folder.path("out.safetensors"));
    gatewave(["run", MODEL, "--input", input.to_str().unwrap(), "--output", &output]).done();
    let got = read_tensors(&output);
    let want = read_tensors(models.join("expected.safetensors"));
    assert_eq!(want.len(), 3);
    for (name, want) in &want {
        assert_close(name, &got[name], want, 1e-4, 0.0);
    }
}

#[test]
fn run_without_output_prints_a_line_for_each_tensor() {
    let input = Path::new(MODEL).with_file_name("passages.safetensors");
    let out = gatewave(["run", MODEL, "--input", input.to_str().unwrap()]).done();
    let starts = ["output [4, 300, 65]: ", "h_n [2, 4, 256]: ", "c_n [2, 4, 256]: "];
    assert_eq!(out.lines().count(), starts.len(), "{out}");
    for (line, start) in out.lines().zip(starts) {
        assert!(line.starts_with(start) && line.ends_with(" …"), "{line}");
    }
}

/// The input of [`run_shakespeare`]: tokens of one row, changed by `change`.
fn run_shakespeare(test: &str, change: impl FnOnce(&mut BTreeMap<String, Array>)) -> Ran {
    let folder = Folder::new(test);
    let input = folder.path("in.safetensors");
    let ids = ArrayD::from_shape_vec(vec![2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
    let mut tensors = BTreeMap::from([("ids".to_owned(), Array::I64(ids))]);
    change(&mut tensors);
    write_tensors(&input, &tensors);
    gatewave(["run", MODEL, "--input", &input])
}

fn vector(values: Vec<i64>) -> Array {
    Array::I64(ArrayD::from_shape_vec(vec![values.len()], values).unwrap())
}

#[test]
fn a_token_out_of_the_vocabulary_is_refused_with_its_place() {
    let ids = ArrayD::from_shape_vec(vec![2, 3], vec![1, 2, 3, 4, 65, 6]).unwrap();
    let error = run_shakespeare("token", |tensors| drop(tensors.insert("ids".into(), Array::I64(ids)))).refused();
    assert!(error.contains("expected tokens from 0 to 64, got 65 at [1, 1]"), "{error}");
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let refused = |test, lengths| {
        run_shakespeare(test, |tensors| drop(tensors.insert("lengths".into(), vector(lengths)))).refused()
    };
    let error = refused("long", vec![3, 4]);
    assert!(error.contains("lengths: expected 0 to 3 (T) for row 1, got 4"), "{error}");
    let error = refused("few", vec![3]);
    assert!(error.contains("lengths: expected 2, one for each row of the batch, got 1"), "{error}");
    run_shakespeare("fit", |tensors| drop(tensors.insert("lengths".into(), vector(vec![3, 1])))).done();
}

#[test]
fn an_unknown_tensor_is_refused_with_the_names_that_are_known() {
    let error = run_shakespeare("unknown", |tensors| drop(tensors.insert("hx".into(), vector(vec![1])))).refused();
    assert!(error.ends_with("hx: unknown tensor; this model takes x, ids, lengths, mask, h_0, c_0"), "{error}");
}

#[test]
fn a_missing_file_is_refused_by_its_name() {
    let error = gatewave(["summary", "nowhere.safetensors"]).refused();
    assert!(error.starts_with("nowhere.safetensors: No such file"), "{error}");
    let error = gatewave(["run", MODEL, "--input", "nowhere.npz"]).refused();
    assert!(error.starts_with("nowhere.npz: No such file"), "{error}");
    let error = gatewave(["run", MODEL, "--input", "tokens.csv"]).refused();
    assert_eq!(error, "tokens.csv: expected a name that ends in .safetensors, .npz or .npy");
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_any_work() {
    let folder = Folder::new("unwritable");
    let output = folder.path("missing/out.npz");
    // Neither the model nor the input exists: the output is looked at first.
    let error = gatewave(["run", "nowhere.safetensors", "--input", "nowhere.npy", "--output", &output]).refused();
    assert!(error.starts_with(&format!("{output}: cannot be written: ")), "{error}");
    let ran = gatewave(["run", MODEL, "--input", "a.npy", "--input", "b.npy", "--output", "c.npy"]);
    assert_eq!(ran.refused(), "--output: expected one for each --input (2), got 1");
}

#[test]
fn a_run_that_fails_keeps_the_file_that_was_there() {
    let folder = Folder::new("kept");
    let output = folder.path("out.npz");
    fs::write(&output, "before").unwrap();
    gatewave(["run", MODEL, "--input", "nowhere.npy", "--output", &output]).refused();
    assert_eq!(fs::read_to_string(&output).unwrap(), "before");
    assert_eq!(folder.names(), ["out.npz"]);
}

#[test]
fn an_output_given_twice_is_refused() {
    let inputs = ["run", MODEL, "--input", "a.npy", "--input", "b.npy"];
    let error = gatewave(inputs.into_iter().chain(["--output", "c.npy", "--output", "c.npy"])).refused();
    assert_eq!(error, "--output: c.npy is given twice");
}

#[test]
fn an_output_that_is_an_input_is_refused_and_kept() {
    let folder = Folder::new("over");
    let input = folder.path("in.npy");
    fs::write(&input, "before").unwrap();
    let again = folder.path("./in.npy");
    let error = gatewave(["run", MODEL, "--input", &input, "--output", &again]).refused();
    assert_eq!(error, format!("--output: expected a file of its own, got {again}, which is read in this call"));
    assert_eq!(fs::read_to_string(&input).unwrap(), "before");
}

#[test]
fn a_folder_as_an_output_is_refused() {
    let folder = Folder::new("folder");
    let output = folder.path("out.npz");
    fs::create_dir(&output).unwrap();
    let error = gatewave(["run", MODEL, "--input", "nowhere.npy", "--output", &output]).refused();
    assert_eq!(error, format!("{output}: cannot be written: not a regular file"));
}

/// What the system refuses to whoever runs this is refused, though the folder would let the file be replaced. (It
/// refuses the superuser nothing.)
#[test]
fn an_output_that_may_not_be_written_is_refused_and_kept() {
    let folder = Folder::new("read-only");
    let (input, output) = (folder.path("in.safetensors"), folder.path("out.npz"));
    let ids = ArrayD::from_shape_vec(vec![1, 2], vec![1, 2]).unwrap();
    write_tensors(&input, &BTreeMap::from([("ids".to_owned(), Array::I64(ids))]));
    fs::write(&output, "before").unwrap();
    let mut permissions = fs::metadata(&output).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&output, permissions).unwrap();
    let ran = gatewave(["run", MODEL, "--input", &input, "--output", &output]);
    match fs::OpenOptions::new().append(true).open(&output) {
        Ok(_) => {
            assert_eq!(ran.done(), "");
            assert!(fs::read(&output).unwrap().starts_with(b"PK"), "an archive took its place");
        }
        Err(why) => {
            assert_eq!(ran.refused(), format!("{output}: cannot be written: {why}"));
            assert_eq!(fs::read_to_string(&output).unwrap(), "before");
        }
    }
    assert_eq!(folder.names(), ["in.safetensors", "out.npz"]);
}

/// The message about an input file of these bytes, after its name.
fn refused_input(name: &str, bytes: &[u8]) -> String {
    let folder = Folder::new(name);
    let input = folder.path(name);
    fs::write(&input, bytes).unwrap();
    let error = gatewave(["run", MODEL, "--input", &input]).refused();
    error.strip_prefix(&format!("{input}: ")).unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// A `.safetensors` file of this header and so many bytes of data.
fn safetensors_of(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn an_input_that_is_cut_off_or_contradicts_itself_is_refused() {
    let whole = safetensors_of(r#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#, 24);
    let hint = "; is this a whole .safetensors file?";
    for (name, length, what) in [
        ("header.safetensors", 20, "invalid header length"),
        ("nothing.safetensors", 0, "header too small"),
        ("data.safetensors", whole.len() - 1, "incomplete metadata, file not fully covered"),
    ] {
        assert_eq!(refused_input(name, &whole[..length]), format!("{what}{hint}"));
    }
    let lying = safetensors_of(r#"{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,24]}}"#, 24);
    let error = refused_input("lying.safetensors", &lying);
    assert_eq!(error, format!("invalid shape, data type, or offset for tensor{hint}"));
    let huge = safetensors_of(r#"{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,24]}}"#, 24);
    let error = refused_input("huge.safetensors", &huge);
    assert_eq!(error, format!("overflow computing buffer size from shape and/or element type{hint}"));
    let text = refused_input("text.npy", b"1.0, 2.0");
    assert!(!text.is_empty(), "{text}");
}

#[test]
fn an_array_of_a_type_that_is_not_read_is_refused_with_its_type() {
    let header = "{'descr': '<c8', 'fortran_order': False, 'shape': (1, 2), }\n";
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let file = [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &[0; 16]].concat();
    let error = refused_input("complex.npy", &file);
    assert_eq!(error, "expected floats, integers or booleans, got type '<c8'");
    let eighths = safetensors_of(r#"{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}"#, 2);
    assert_eq!(refused_input("f8.safetensors", &eighths), "tensor x: type F8_E4M3 is not read");
}

#[test]
fn a_nan_among_the_weights_is_warned_of_by_its_name_and_carried_on() {
    let folder = Folder::new("nan");
    let reals = |shape: &[usize], values: &[f32]| Array::F32(ArrayD::from_shape_vec(shape, values.to_vec()).unwrap());
    let (weights, description, input) =
        (folder.path("w.safetensors"), folder.path("m.json"), folder.path("x.safetensors"));
    let w = reals(&[2, 3], &[1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
    write_tensors(
        &weights,
        &BTreeMap::from([("fc.weight".to_owned(), w), ("fc.bias".to_owned(), reals(&[2], &[0.5; 2]))]),
    );
    fs::write(&description, r#"{"gatewave": 1, "layers": [{"type": "linear", "weights": "fc."}]}"#).unwrap();
    write_tensors(&input, &BTreeMap::from([("x".to_owned(), reals(&[1, 1, 3], &[1.0; 3]))]));
    let ran = gatewave(["run", &weights, "--model", &description, "--input", &input]);
    let warnings: Vec<_> = ran.err.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings, ["warning: fc.weight: 1 of 6 elements is NaN or infinite"], "{ran:?}");
    assert_eq!(ran.done(), "output [1, 1, 2]: 6.500000 NaN\n");
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

#[test]
fn generate_always_taking_the_likeliest_writes_the_known_text() {
    let want = fs::read_to_string(Path::new(MODEL).with_file_name("greedy.txt")).unwrap();
    let ran = gatewave(["generate", MODEL, "--prompt", "ROMEO:\n", "--length", "200", "--temperature", "0"]);
    assert!(ran.err.starts_with("device: "), "{ran:?}");
    assert_eq!(ran.done(), want);
}

#[test]
#[cfg(feature = "gpu")]
fn generate_on_an_adapter_writes_the_cpus_text() {
    let greedy = ["generate", MODEL, "--prompt", "ROMEO:\n", "--length", "40", "--temperature", "0"];
    let (cpu, adapter) = (gatewave(greedy), gatewave_on_adapter(greedy));
    assert!(!adapter.err.starts_with("device: CPU"), "{adapter:?}");
    assert_eq!(adapter.done(), cpu.done());
}

#[test]
fn generate_with_a_seed_writes_the_same_text_again_and_another_with_another() {
    let text = |seed| gatewave(["generate", MODEL, "--prompt", "The ", "--length", "60", "--seed", seed]).done();
    assert_eq!(text("1"), text("1"));
    assert_ne!(text("1"), text("2"));
    assert_eq!(text("3").chars().count(), 64);
}

#[test]
fn a_prompt_outside_the_vocabulary_is_refused_with_the_character() {
    let error = gatewave(["generate", MODEL, "--prompt", "Süd"]).refused();
    assert!(error.starts_with("--prompt: character 'ü' is not in the model's vocabulary \"\\n !$&'"), "{error}");
    let error = gatewave(["generate", MODEL, "--prompt", ""]).refused();
    assert_eq!(error, "--prompt: expected at least one character, got none");
}

#[test]
fn summary_counts_the_parameters() {
    let out = gatewave(["summary", MODEL]).done();
    // 65·64 + 4·256·(64+256+2) + 4·256·(256+256+2) + 65·(256+1)
    let digits: String = out.chars().filter(|c| !matches!(c, ',' | '_' | ' ')).collect();
    assert!(digits.contains("876929"), "{out}");
    for layer in ["embedding", "lstm", "linear"] {
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
fn bench_prints_one_object_for_each_shape() {
    let out = gatewave(["bench", "--only", "numpy-100x32x64,vad-lstm", "--runs", "2", "--json"]).done();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["numpy-100x32x64", "vad-lstm"]);
    for line in &lines {
        let expected = ["device", "dtype", "id", "mode", "ms_max", "ms_median", "ms_min", "peer", "runs"];
        let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(line["peer"], concat!("gatewave ", env!("CARGO_PKG_VERSION"), " cpu"));
        assert_eq!((&line["dtype"], &line["mode"], &line["runs"]), (&"f32".into(), &"forward".into(), &2.into()));
        let times = ["ms_min", "ms_median", "ms_max"].map(|key| line[key].as_f64().unwrap());
        assert!(0.0 < times[0] && times[0] <= times[1] && times[1] <= times[2], "{times:?}");
    }
}

#[test]
fn bench_takes_one_shape_by_flags_and_prints_a_table() {
    let flags = ["--cell", "gru", "--input-size", "8", "--hidden-size", "20", "--steps", "6", "--bidirectional"];
    let out = gatewave(["bench", "--runs", "1"].into_iter().chain(flags)).done();
    assert!(out.contains("gru-T6-B1-I8-H20-L1-D2") && out.contains("median ms"), "{out}");
}

#[test]
fn bench_refuses_an_unknown_id_with_those_there_are() {
    let error = gatewave(["bench", "--only", "vad"]).refused();
    assert!(
        error.starts_with("--only: no shape vad in bench/shapes.json; it has numpy-100x32x64, imdb-rnn, "),
        "{error}"
    );
}

#[test]
fn unusable_arguments_exit_with_two() {
    for args in [&["bench", "--runs", "0"][..], &["generate", MODEL], &["run"], &["bench", "--hidden-size", "3"], &[]] {
        let ran = gatewave(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = command()
        .args(["generate", MODEL, "--prompt", "ROMEO:", "--length", "2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !err.contains("panicked"), "{err}");
}
