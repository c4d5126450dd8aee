//! `-` and pipes instead of files.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use crate::support::fixtures;
use crate::{Folder, MODEL, Ran, command, gatewave, ran, told};

/// A file beside the model.
fn beside(name: &str) -> String {
    Path::new(MODEL).with_file_name(name).to_str().unwrap().to_owned()
}

/// Runs it with the bytes of a file piped to its standard input.
pub(crate) fn piped(path: &str, args: &[&str]) -> Ran {
    told(&fed(command().args(args), path))
}

/// Returns the output of `command`, with the bytes of a file piped to its standard input.
fn fed(command: &mut Command, path: &str) -> Output {
    let bytes = fs::read(path).expect("a file of the project");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that refuses its arguments may not read the pipe.
    let writer = thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().expect("it exits");
    writer.join().expect("a write does not panic");
    output
}

/// The bytes that a call gave.
fn bytes(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_model_from_a_pipe_is_the_model_of_the_file() {
    let generate = |model| ["generate", model, "--prompt", "ROMEO:", "--length", "20", "--seed", "3"];
    let wanted = gatewave(generate(MODEL)).done();
    // Its vocabulary is in the same stream.
    assert_eq!(piped(MODEL, &generate("-")).done(), wanted);
    #[cfg(unix)]
    assert_eq!(piped(MODEL, &generate("/dev/stdin")).done(), wanted);
    let from_a_file = ran(command().args(generate("-")).stdin(File::open(MODEL).unwrap()));
    assert_eq!(from_a_file.done(), wanted);
    let roads = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/roads").join(name).to_str().unwrap().to_owned()
    };
    for (name, is_read) in [("model.onnx", cfg!(feature = "onnx")), ("model.keras", cfg!(feature = "keras"))] {
        if !is_read {
            continue;
        }
        let model = roads(name);
        assert_eq!(piped(&model, &["summary", "-"]).done(), gatewave(["summary", &model]).done(), "{name}");
    }
    let (weights, description) = (roads("weights.safetensors"), roads("model.json"));
    let wanted = gatewave(["summary", &weights, "--model", &description]).done();
    assert_eq!(piped(&description, &["summary", &weights, "--model", "-"]).done(), wanted);
    assert_eq!(piped(&weights, &["summary", "-", "--model", &description]).done(), wanted);
}

#[test]
fn a_file_of_any_kind_is_described_from_a_pipe() {
    let roads = |name: &str| format!("{}/tests/golden/roads/{name}", env!("CARGO_MANIFEST_DIR"));
    let weights = fixtures::one("pt_om_clf_bilstm_packed").weights;
    let mut files = vec![MODEL.to_owned(), weights.to_str().unwrap().to_owned()];
    files.extend(cfg!(feature = "onnx").then(|| roads("model.onnx")));
    files.extend(cfg!(feature = "keras").then(|| roads("model.keras")));
    for file in &files {
        assert_eq!(piped(file, &["describe", "-"]).done(), gatewave(["describe", file]).done(), "{file}");
    }
    // An archive of arrays is none of Keras.
    let folder = Folder::new("pipes-describe");
    let archive = folder.path("weights.npz");
    let mut npz = ndarray_npy::NpzWriter::new(File::create(&archive).unwrap());
    npz.add_array("head.weight", &ndarray::Array2::<f32>::zeros((3, 4))).unwrap();
    npz.add_array("head.bias", &ndarray::Array1::<f32>::zeros(3)).unwrap();
    npz.finish().unwrap();
    assert_eq!(piped(&archive, &["describe", "-"]).done(), gatewave(["describe", &archive]).done());

    // A description that goes to standard output is alone there.
    let both = gatewave(["describe", &files[1]]);
    let json = &both.out[both.out.find("{\n").expect("a description")..];
    let alone = gatewave(["describe", &files[1], "-o", "-"]);
    assert_eq!(alone.out, json);
    assert!(alone.err.contains("│ tensor"), "{alone:?}");
}

#[test]
fn a_description_alone_comes_from_a_pipe_too() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/embedding.json");
    assert_eq!(piped(model, &["summary", "-"]).done(), gatewave(["summary", model]).done());
}

#[test]
fn tensors_come_from_a_pipe_and_go_into_one_in_any_format() {
    let folder = Folder::new("pipes");
    let input = beside("passages.safetensors");
    for format in ["safetensors", "npz", "npy"] {
        let file = folder.path(&format!("out.{format}"));
        gatewave(["run", MODEL, "--input", &input, "--output", &file]).done();
        let run = ["run", MODEL, "--input", "-", "--output", "-", "--format", format];
        let got = bytes(fed(command().args(run), &input));
        assert!(got == fs::read(&file).unwrap(), "{format}: {} bytes", got.len());
    }
    // Without an option, it is a .safetensors file. The output of one goes into the next.
    let got = bytes(command().args(["run", MODEL, "-i", &input, "-o", "-"]).output().unwrap());
    assert!(got == fs::read(folder.path("out.safetensors")).unwrap());
    let again = piped(&folder.path("out.npz"), &["run", MODEL, "--input", "-"]).refused();
    assert!(again.starts_with("standard input: output: expected an input, got the name of an output"), "{again}");
}

#[test]
fn a_converted_model_goes_into_a_pipe() {
    let folder = Folder::new("pipes-convert");
    let file = folder.path("half.safetensors");
    gatewave(["convert", MODEL, &file, "--precision", "f16"]).done();
    let got = bytes(fed(command().args(["convert", "-", "-", "--precision", "f16"]), MODEL));
    assert!(got == fs::read(&file).unwrap(), "{} bytes", got.len());
}

#[test]
fn data_comes_from_a_pipe_and_its_first_line_shows_what_it_is() {
    let data = |name: &str| format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    for (name, flags) in [("reviews.tsv", &[][..]), ("sunspots.csv", &["--window", "22", "--columns", "sunspots"])] {
        let file = data(name);
        let counted = |ran: Ran| ran.done().split_once(": ").map(|(_, told)| told.to_owned()).unwrap();
        let wanted = counted(gatewave(["data", &file].iter().chain(flags)));
        assert_eq!(counted(piped(&file, &[&["data", "-"], flags].concat())), wanted, "{name}");
    }
    let gradients = |data| ["gradients", "examples/models/long.json", "--data", data, "--loss", "cross_entropy"];
    let root = env!("CARGO_MANIFEST_DIR");
    let wanted = ran(command().current_dir(root).args(gradients("examples/long.safetensors"))).done();
    let folder = Folder::new("pipes-data");
    let mut piped = command();
    piped.current_dir(root).env("TMPDIR", folder.path("")).args(gradients("-"));
    assert_eq!(told(&fed(&mut piped, &data("long.safetensors"))).done(), wanted);
    assert_eq!(folder.names(), [""; 0], "no temporary file is left");
}

#[test]
fn a_fault_in_piped_data_is_told_of_the_stream() {
    let folder = Folder::new("pipes-fault");
    let file = folder.path("reviews.tsv");
    fs::write(&file, "1\tgood\n0 no tab\n").unwrap();
    let wanted = gatewave(["data", &file]).refused().replace(&file, "standard input");
    assert!(wanted.starts_with("standard input"), "{wanted}");
    assert_eq!(piped(&file, &["data", "-"]).refused(), wanted);
    let file = folder.path("lines.txt");
    fs::write(&file, "one\n\ntwo\n").unwrap();
    let wanted = gatewave(["run", MODEL, "--text-file", &file]).refused().replace(&file, "standard input");
    assert!(wanted.starts_with("standard input: line 2: "), "{wanted}");
    assert_eq!(piped(&file, &["run", MODEL, "--text-file", "-"]).refused(), wanted);
}

#[test]
fn a_stream_is_read_once_and_says_what_it_is() {
    let twice = piped(MODEL, &["run", "-", "--input", "-"]).refused();
    assert_eq!(twice, "standard input: expected it for one of the files that are read, got it for two");
    let text = beside("README.md");
    let model = piped(&text, &["summary", "-"]).refused();
    let wanted = "expected a .safetensors, .onnx, .keras, .h5, .pt or .npz file by its first bytes, got text";
    assert_eq!(model, format!("standard input: {wanted}"));
    let input = piped(&text, &["run", MODEL, "--input", "-"]).refused();
    let wanted = "expected a .safetensors, .npz or .npy file by its first bytes, got text";
    assert_eq!(input, format!("standard input: {wanted}"));
    let kept = ["train", "examples/models/long.json", "--data", "-", "--loss", "cross_entropy", "--run", "never"];
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/long.safetensors");
    let kept = told(&fed(command().current_dir(env!("CARGO_MANIFEST_DIR")).args(kept), data)).refused();
    let wanted =
        "standard input: expected a file, got a stream; --run goes on with a training, and reads it again then";
    assert_eq!(kept, wanted);
}

#[test]
fn an_input_of_another_kind_than_its_name_says_is_told() {
    let folder = Folder::new("pipes-kinds");
    let path = folder.path("in.safetensors");
    fs::write(&path, "x,y\n1,2\n").unwrap();
    let error = gatewave(["run", MODEL, "--input", &path]).refused();
    assert_eq!(error, format!("{path}: expected a .safetensors file, got text; is it the right file?"));
    fs::write(&path, b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'").unwrap();
    let error = gatewave(["run", MODEL, "--input", &path]).refused();
    let hint = "an array of NumPy; give it a name that ends in .npy";
    assert_eq!(error, format!("{path}: expected a .safetensors file, got {hint}"));
    let error = gatewave(["summary", &path]).refused();
    assert_eq!(error, format!("{path}: expected a .safetensors file, got {hint}"));
}

/// A run that waits for its input has opened its output already.
#[cfg(unix)]
#[test]
fn a_run_that_is_ended_leaves_nothing_behind_and_blocks_nothing() {
    use std::os::unix::process::ExitStatusExt;
    use std::time::{Duration, Instant};

    let folder = Folder::new("ended");
    let output = folder.path("y.safetensors");
    let names = || -> Vec<_> {
        let entries = fs::read_dir(Path::new(&output).parent().unwrap()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let kill = |signal: i32, child: &Child| {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
        assert!(sent.unwrap().success());
    };
    let (hangup, interrupt, killed, term) = (1, 2, 9, 15);
    for signal in [interrupt, term, hangup, killed] {
        // As `nohup` does it.
        let ignores = if signal == hangup { "trap '' HUP; " } else { "" };
        let run = format!("{ignores}exec {} run {MODEL} --input - --output {output}", env!("CARGO_BIN_EXE_gatewave"));
        let mut child = Command::new("sh").args(["-c", &run]).stdin(Stdio::piped()).spawn().unwrap();
        // Held until it has ended: waiting for it would close it.
        let _input = child.stdin.take();
        let begun = Instant::now();
        while names().is_empty() && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        kill(signal, &child);
        if signal == hangup {
            thread::sleep(Duration::from_millis(100));
            assert_eq!(child.try_wait().unwrap(), None, "a signal that is ignored");
            kill(term, &child);
        }
        let wanted = if signal == hangup { term } else { signal };
        assert_eq!(child.wait().unwrap().signal(), Some(wanted));
        assert_eq!(names().len(), usize::from(signal == killed), "after signal {signal}: {:?}", names());
    }
    let passages = beside("passages.safetensors");
    gatewave(["run", MODEL, "--input", &passages, "--output", &output, "--device", "cpu"]).done();
    assert_eq!(names(), ["y.safetensors"]);
}
