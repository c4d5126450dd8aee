//! `gatewave generate`: a text is continued.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

#[cfg(feature = "gpu")]
use crate::gatewave_on_adapter;
use crate::support::fixtures::Array;
use crate::support::noise::noise;
use crate::{Folder, MODEL, command, gatewave, write_tensors};

#[test]
fn generate_always_taking_the_likeliest_writes_the_known_text() {
    let want = fs::read_to_string(Path::new(MODEL).with_file_name("greedy.txt")).unwrap();
    let ran = gatewave(["generate", MODEL, "--prompt", "ROMEO:\n", "--length", "200", "--temperature", "0"]);
    assert!(ran.err.starts_with("device: "), "{ran:?}");
    // A shell's prompt begins on its own line.
    assert_eq!(ran.done(), want + "\n");
}

#[test]
#[cfg(feature = "gpu")]
fn generate_on_an_adapter_writes_the_cpus_text() {
    let drawn = ["generate", MODEL, "--prompt", "KING ", "--length", "70", "--seed", "5", "--top-k", "30"];
    assert_eq!(gatewave_on_adapter(drawn).done(), gatewave(drawn).done());
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
    let third = text("3");
    assert_eq!(third.strip_suffix('\n').unwrap_or(&third).chars().count(), 64);
}

#[test]
fn generate_from_the_likeliest_alone_is_generate_at_temperature_zero() {
    let text = |option: [&str; 2]| {
        let common = ["generate", MODEL, "--prompt", "The ", "--length", "40"];
        gatewave(common.into_iter().chain(option)).done()
    };
    assert_eq!(text(["--top-k", "1"]), text(["--temperature", "0"]));
    assert_ne!(text(["--top-k", "65"]), text(["--top-k", "2"]));
    assert_eq!(text(["--top-k", "65"]), text(["--top-k", "1000000"]));
}

#[test]
fn generate_with_a_shorter_length_writes_the_beginning_of_the_longer_text() {
    let text = |length| gatewave(["generate", MODEL, "--prompt", "O", "--length", length, "--seed", "9"]).done();
    let long = text("70");
    for (length, n) in [("0", 0), ("1", 1), ("32", 32), ("33", 33)] {
        let wanted = &long[..=n];
        let newline = if wanted.ends_with('\n') { "" } else { "\n" };
        assert_eq!(text(length), format!("{wanted}{newline}"), "{length}");
    }
}

#[test]
fn a_prompt_outside_the_vocabulary_is_refused_with_the_character() {
    let error = gatewave(["generate", MODEL, "--prompt", "Süd"]).refused();
    assert!(error.starts_with("--prompt: character 'ü' is not in the model's vocabulary \"\\n !$&'"), "{error}");
    let error = gatewave(["generate", MODEL, "--prompt", ""]).refused();
    assert_eq!(error, "--prompt: expected at least one character, got none");
}

#[test]
fn a_reader_that_leaves_ends_it_as_other_programs_and_without_a_word() {
    let mut child = command()
        .args(["generate", MODEL, "--prompt", "ROMEO:", "--length", "2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(141) && !err.contains("error") && !err.contains("panicked"), "{err}");
}

/// A model of a text and of a row that is combined with each character and begins the states.
#[test]
fn a_graph_writes_on_with_what_goes_beside_the_text() {
    let folder = Folder::new("generate_graph");
    let (model, weights, input) =
        (folder.path("model.json"), folder.path("weights.safetensors"), folder.path("in.safetensors"));
    let description = json!({"gatewave": 1, "batch_first": true, "vocabulary": "abcdefghi",
        "inputs": [{"name": "text", "type": "tokens", "size": 9}, {"name": "mood", "type": "row", "size": 4}],
        "layers": [
            {"type": "embedding", "name": "vectors", "from": "text", "weights": "v."},
            {"type": "gru", "name": "stack", "h_0": "mood", "weights": "g."},
            {"type": "add", "name": "sum", "from": ["stack", "mood"]},
            {"type": "linear", "name": "value", "from": "sum", "weights": "value."},
            {"type": "linear", "name": "next", "from": "sum", "weights": "next."}],
        "outputs": [{"name": "value", "from": "value"}, {"name": "next", "from": "next"}]});
    fs::write(&model, description.to_string()).unwrap();
    let tensor = |name: &str, shape: &[usize]| (name.to_owned(), Array::F32(noise(shape, 5).mapv(|x| 3.0 * x)));
    write_tensors(
        &weights,
        &BTreeMap::from([
            tensor("v.weight", &[9, 4]),
            tensor("g.weight_ih_l0", &[12, 4]),
            tensor("g.weight_hh_l0", &[12, 4]),
            tensor("g.bias_ih_l0", &[12]),
            tensor("g.bias_hh_l0", &[12]),
            tensor("value.weight", &[1, 4]),
            tensor("value.bias", &[1]),
            tensor("next.weight", &[9, 4]),
            tensor("next.bias", &[9]),
        ]),
    );
    let common = ["generate", &weights, "--model", &model, "--prompt", "abc", "--length", "40"];
    let error = gatewave(common.into_iter().chain(["--output", "next"])).refused();
    assert_eq!(error, "mood: expected it in a file of what goes with the text (--input), got none");
    let texts = [1, 2].map(|mood| {
        write_tensors(&input, &BTreeMap::from([("mood".to_owned(), Array::F32(noise(&[1, 4], mood)))]));
        let args = ["--output", "next", "--input", &input];
        let text = gatewave(common.into_iter().chain(args)).done();
        assert_eq!(gatewave(common.into_iter().chain(args)).done(), text);
        assert!(
            text.starts_with("abc") && text.len() == 44 && text.trim_end().chars().all(|c| ('a'..='i').contains(&c)),
            "{text}"
        );
        text
    });
    assert_ne!(texts[0], texts[1], "another mood");
    let error = gatewave(common.into_iter().chain(["--input", &input])).refused();
    let text = "model.json: the output: expected 9 features, one for each character, got a sequence of 1 features";
    assert!(error.ends_with(text), "{error}");
    let error = gatewave(common.into_iter().chain(["--input", &input, "--output", "mood"])).refused();
    assert!(error.starts_with("--output: mood: expected an output that each frame gives (value, next)"), "{error}");
}

/// A reverse layer is named when a text is to be continued, and an unused layer when a plan is made.
#[test]
fn layers_that_do_not_serve_are_named() {
    let folder = Folder::new("generate_layers");
    let (model, weights) = (folder.path("model.json"), folder.path("weights.safetensors"));
    let description = json!({"gatewave": 1, "batch_first": true, "vocabulary": "abcde",
        "inputs": [{"name": "text", "type": "tokens", "size": 5}],
        "layers": [
            {"type": "one_hot", "name": "vectors", "from": "text"},
            {"type": "gru", "name": "stack", "weights": "g."},
            {"type": "linear", "name": "next", "weights": "next."},
            {"type": "activation", "name": "spare", "activation": "tanh", "from": "next"}],
        "outputs": [{"name": "next", "from": "next"}]});
    fs::write(&model, description.to_string()).unwrap();
    let tensor = |name: &str, shape: &[usize]| (name.to_owned(), Array::F32(noise(shape, 5)));
    let mut tensors = BTreeMap::from([tensor("next.weight", &[5, 8]), tensor("next.bias", &[5])]);
    for way in ["", "_reverse"] {
        tensors.extend([
            tensor(&format!("g.weight_ih_l0{way}"), &[12, 5]),
            tensor(&format!("g.weight_hh_l0{way}"), &[12, 4]),
            tensor(&format!("g.bias_ih_l0{way}"), &[12]),
            tensor(&format!("g.bias_hh_l0{way}"), &[12]),
        ]);
    }
    write_tensors(&weights, &tensors);
    let error = gatewave(["generate", &weights, "--model", &model, "--prompt", "abc"]).refused();
    let text = "layer 1 stack: expected a forward stack, got a bidirectional one; a model that reads a text from its end cannot \
                continue it";
    assert!(error.ends_with(text), "{error}");
    let planned = gatewave(["plan", &weights, "--model", &model, "--batch", "2", "--steps", "3"]);
    assert_eq!(planned.status, 0, "{planned:?}");
    assert!(planned.err.contains("layer 3 spare (activation): no output needs it"), "{planned:?}");
}
