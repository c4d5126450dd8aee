//! Tagged text: `gatewave data`, `gatewave train` on it, and a tag for each token by `gatewave run --text`.

use std::fs;

use serde_json::{Value, json};

use crate::text::write;
use crate::{Folder, gatewave};

const WORDS: [&str; 6] = ["to", "run", "a", "run", "long", "."];

/// Tokens and tags of sentence `at`: `run` is a verb behind `to`, and a noun elsewhere.
fn sentence(at: usize) -> Vec<(&'static str, &'static str)> {
    let mut before = "";
    let tokens = (0..2 + at % 6).map(|n| WORDS[(at * 7 + n * (1 + at % 5) + n * n) % 6]);
    let tagged = tokens.map(|token| {
        let tag = match (std::mem::replace(&mut before, token), token) {
            ("to", "run") => "VERB",
            (_, "run") => "NOUN",
            _ => "X",
        };
        (token, tag)
    });
    tagged.collect()
}

fn conll(rows: std::ops::Range<usize>) -> String {
    let lines = |at| sentence(at).into_iter().map(|(token, tag)| format!("{token}\t{tag}\n")).collect::<String>();
    rows.map(|at| lines(at) + "\n").collect()
}

fn tagger(folder: &Folder, outputs: usize) -> String {
    let text = format!(
        r#"{{"gatewave": 1, "batch_first": true, "layers": [
        {{"type": "embedding", "num_embeddings": 20, "embedding_dim": 8, "weights": "embedding."}},
        {{"type": "gru", "input_size": 8, "hidden_size": 8, "bidirectional": true, "weights": "gru."}},
        {{"type": "linear", "in_features": 16, "out_features": {outputs}, "weights": "head."}}]}}"#
    );
    write(folder, &format!("tagger-{outputs}.json"), text)
}

#[test]
fn what_is_trained_on_tagged_text_tags_each_token() {
    let folder = Folder::new("tags-train");
    let (model, data) = (tagger(&folder, 3), write(&folder, "train.conll", conll(0..90)));
    let held = write(&folder, "held.conll", conll(90..120));
    let out = folder.path("out.safetensors");
    let train = |more: &[&str]| {
        let args = ["train", &model, "--data", &data, "--validation", &held, "--output", &out, "--force"];
        let fit = ["--epochs", "12", "--batch-size", "8", "--learning-rate", "0.03"];
        let ran = gatewave(args.iter().chain(&fit).chain(more));
        let err = ran.err.clone();
        ran.done();
        (fs::read(&out).unwrap(), err)
    };
    let (bytes, err) = train(&[]);
    assert!(err.contains("3 labels, a vocabulary of 8 tokens by whitespace\n"), "{err}");
    assert!(err.contains("90 examples, validated with 30"), "{err}");
    let last = err.lines().find(|line| line.starts_with("epoch 12/12 ")).unwrap();
    assert!(last.contains("  val_accuracy 1.0000  "), "{err}");
    assert!(
        err.contains("out.safetensors: val_loss ") && err.contains("val_accuracy 1.0000, read from the file"),
        "{err}"
    );
    assert!(train(&["--stream"]).0 == bytes, "rows that stay in the file train the same");
    let (_, padded) = train(&["--pad", "start", "--buckets", "--class-weights", "balanced", "--max-length", "6"]);
    assert!(padded.contains("  val_accuracy 1.0000  "), "{padded}");

    train(&[]);
    let texts = ["--text", "to run a run", "--text", "run"];
    let said = gatewave(["run", &out, "--json"].iter().chain(&texts)).done();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&said[0]["tokens"], &said[0]["tags"]),
        (&json!(["to", "run", "a", "run"]), &json!(["X", "VERB", "X", "NOUN"]))
    );
    assert_eq!((&said[1]["text"], &said[1]["tags"]), (&json!("run"), &json!(["NOUN"])));
    assert!(said[0]["probabilities"].as_array().unwrap().iter().all(|p| p.as_f64().unwrap() > 0.6), "{}", said[0]);
    let table = gatewave(["run", &out].iter().chain(&texts)).done();
    assert!(table.contains("│ token ┆ tag  ┆ probability │") && table.contains("│ run   ┆ VERB ┆"), "{table}");

    let told = gatewave(["evaluate", &out, "--data", &held, "--json"]).done();
    let told: Value = serde_json::from_str(&told).unwrap();
    let counts = |tag: &str| (90..120).flat_map(sentence).filter(|(_, own)| *own == tag).count();
    let [noun, verb, other] = ["NOUN", "VERB", "X"].map(counts);
    assert_eq!((&told["accuracy"], &told["labels"]), (&json!(1.0), &json!(["NOUN", "VERB", "X"])));
    assert_eq!(told["confusion"], json!([[noun, 0, 0], [0, verb, 0], [0, 0, other]]));
    let streamed = gatewave(["evaluate", &out, "--data", &held, "--json", "--stream"]).done();
    assert_eq!(serde_json::from_str::<Value>(&streamed).unwrap(), told);
    let gradients = gatewave(["gradients", &out, "--data", &held, "--rows", "5"]);
    assert!(gradients.err.contains("the first 5 of 30 rows"), "{}", gradients.err);
    assert!(gradients.done().starts_with("loss "));
}

#[test]
fn tags_are_counted_before_anything_is_trained() {
    let folder = Folder::new("tags-data");
    let data = write(&folder, "train.conll", conll(0..30));
    let told = gatewave(["data", &data, "--json"]).done();
    let told: Value = serde_json::from_str(&told).unwrap();
    let count = |tag: &str| (0..30).flat_map(sentence).filter(|(_, own)| *own == tag).count();
    assert_eq!((&told["rows"], &told["tokenizer"], &told["start"]), (&json!(30), &json!("whitespace"), &json!(false)));
    assert_eq!(told["classes"][1], json!({"label": "VERB", "rows": count("VERB")}));
    assert_eq!(told["units"], json!((0..30).map(|at| sentence(at).len()).sum::<usize>()));
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = Folder::new("tags-refused");
    let (model, data) = (tagger(&folder, 3), write(&folder, "train.conll", conll(0..30)));
    let other = write(&folder, "other.conll", "to X\nrun ADV\n");
    for (args, said) in [
        (
            &["train", &model, "--data", &data, "--no-start"][..],
            "train.conll: --no-start: expected none, since the tokens",
        ),
        (
            &["data", &data, "--tokenizer", "words"],
            "train.conll: --tokenizer: expected none, since the tokens of tagged",
        ),
        (
            &["train", &model, "--data", &data, "--validation", &other],
            "other.conll: line 1: token 2: expected a label that was trained on (NOUN, VERB, X), got \"ADV\"; take the row",
        ),
        (&["train", &model, "--data", &data, "--text-column", "form"], "expected the number of a column, from 1, got"),
    ] {
        let err = gatewave(args).refused();
        assert!(err.contains(said), "{err}");
    }
}
