//! Labelled text: `gatewave data`, `gatewave train` on it, and `gatewave run --text` with the trained model.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{Folder, MODEL, gatewave};

const WORDS: [&str; 8] = ["the", "film", "a", "story", "of", "its", "cast", "scene"];

/// Label and text of row `at`: irrelevant words, and one that decides the label.
fn row(at: usize) -> (&'static str, String) {
    let (label, word) = [("neg", "Bad!"), ("pos", "Good,")][at % 2];
    let words: Vec<_> = (0..2 + at % 5).map(|n| WORDS[(at * 7 + n * 3) % 8]).collect();
    (label, format!("{} {word} {}", words.join(" "), WORDS[at % 8]))
}

pub(super) fn tsv(rows: std::ops::Range<usize>) -> String {
    rows.map(row).fold(String::new(), |all, (label, text)| format!("{all}{label}\t{text}\n"))
}

/// Writes the description of a model with these numbers of tokens and outputs.
pub(super) fn description(folder: &Folder, tokens: usize, outputs: usize) -> String {
    let path = folder.path(&format!("model-{tokens}-{outputs}.json"));
    let text = format!(
        r#"{{"gatewave": 1, "batch_first": true, "layers": [
        {{"type": "embedding", "num_embeddings": {tokens}, "embedding_dim": 8, "weights": "embedding."}},
        {{"type": "gru", "input_size": 8, "hidden_size": 8, "weights": "gru."}},
        {{"type": "select", "what": "final_hidden"}},
        {{"type": "linear", "in_features": 8, "out_features": {outputs}, "weights": "head."}}]}}"#
    );
    fs::write(&path, text).unwrap();
    path
}

pub(super) fn write(folder: &Folder, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.path(name);
    fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

const FLAGS: [&str; 8] =
    ["--epochs", "8", "--batch-size", "8", "--learning-rate", "0.02", "--validation-split", "0.25"];

/// Trains on a file, and returns what was written.
pub(super) fn train(folder: &Folder, model: &str, data: &str, more: &[&str]) -> (Vec<u8>, String) {
    let output = folder.path("out.safetensors");
    let args = ["train", model, "--data", data, "--output", &output, "--force"];
    let ran = gatewave(args.iter().chain(&FLAGS).chain(more));
    let err = ran.err.clone();
    ran.done();
    (fs::read(&output).unwrap(), err)
}

/// Returns the label of each text and its probabilities.
fn answers(model: &str, texts: &[&str]) -> Vec<Value> {
    let texts = texts.iter().flat_map(|text| ["--text", text]);
    let out = gatewave(["run", model, "--json"].into_iter().chain(texts)).done();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes a model of `layers` between an embedding of 8 and a linear layer of one output for `features`.
fn with_layers(folder: &Folder, layers: &str, features: usize) -> String {
    let text = format!(
        r#"{{"gatewave": 1, "batch_first": true, "layers": [
        {{"type": "embedding", "num_embeddings": 20, "embedding_dim": 8, "weights": "embedding."}}, {layers},
        {{"type": "linear", "in_features": {features}, "out_features": 1, "weights": "head."}}]}}"#
    );
    write(folder, "layered.json", text)
}

/// Windows of four steps, two steps apart.
const WINDOWS: &str = r#"{"type": "conv1d", "in_features": 8, "out_features": 8, "kernel_size": 3, "weights": "conv."},
    {"type": "window_pool", "reduce": "max", "size": 2}"#;

#[test]
fn a_text_through_windows_is_answered_alike_alone_and_beside_a_longer_one() {
    let folder = Folder::new("text-windows");
    let data = write(&folder, "reviews.tsv", tsv(0..48));
    let stack = format!(
        r#"{WINDOWS}, {{"type": "gru", "input_size": 8, "hidden_size": 8, "weights": "gru."}},
        {{"type": "select", "what": "final_hidden"}}"#
    );
    let model = with_layers(&folder, &stack, 8);
    train(&folder, &model, &data, &[]);
    let kept = folder.path("out.safetensors");
    let all =
        ["Bad!", "the film a Good, story", "its cast a story of the film Bad! the scene of a story, and its cast"];
    let beside = answers(&kept, &all);
    for (text, beside) in all.iter().zip(beside) {
        let alone = &answers(&kept, &[text])[0];
        let of = |answer: &Value| answer["probabilities"]["pos"].as_f64().unwrap();
        assert!((of(alone) - of(&beside)).abs() < 1e-6, "{text}: {alone} and {beside}");
    }
    let args = |more: &[&'static str]| {
        let args = ["train", &model, "--data", &data, "--epochs", "1"].map(str::to_owned);
        gatewave(args.into_iter().chain(more.iter().map(|arg| (*arg).to_owned())))
    };
    let said = args(&["--pad", "start"]).refused();
    assert!(said.contains("layer 2 window_pool: expected steps from the first one of a text on"), "{said}");
}

#[test]
fn a_model_that_reads_padding_needs_texts_of_one_length() {
    let folder = Folder::new("text-fixed");
    let data = write(&folder, "reviews.tsv", tsv(0..48));
    let model = with_layers(&folder, &format!(r#"{WINDOWS}, {{"type": "flatten", "steps": 3}}"#), 24);
    let said = gatewave(["train", &model, "--data", &data, "--epochs", "1"]).refused();
    assert!(said.contains("layer 3 flatten: expected texts of one length") && said.contains("--max-length"), "{said}");
    train(&folder, &model, &data, &["--max-length", "8"]);
    let kept = folder.path("out.safetensors");
    let all = ["Bad!", "its cast a story of the film Bad! the scene of a story, and its cast"];
    assert_eq!(answers(&kept, &all)[0], answers(&kept, &all[..1])[0]);
}

#[test]
fn what_is_trained_on_text_answers_with_labels() {
    let folder = Folder::new("text-train");
    let data = write(&folder, "reviews.tsv", tsv(0..96));
    let history = folder.path("history.csv");
    for outputs in [1, 2] {
        let model = description(&folder, 20, outputs);
        let (bytes, err) = train(&folder, &model, &data, &["--history", &history]);
        assert!(err.contains("2 labels, a vocabulary of 13 tokens by words"), "{err}");
        assert!(err.contains("72 examples, validated with 24"), "{err}");
        let last = err.lines().find(|line| line.starts_with("epoch 8/8  loss ")).unwrap();
        assert!(last.contains("  val_loss ") && last.contains("  val_accuracy 1.0000  "), "{err}");
        let header = fs::read_to_string(&history).unwrap();
        assert!(header.starts_with("epoch,loss,val_loss,val_accuracy,learning_rate,seconds\n"), "{header}");
        assert_eq!(train(&folder, &model, &data, &[]).0, bytes, "the same again");

        let trained = folder.path("out.safetensors");
        let said = answers(&trained, &["A GOOD film", "the story is bad, bad"]);
        assert_eq!((&said[0]["label"], &said[1]["label"]), (&json!("pos"), &json!("neg")));
        let [neg, pos] = ["neg", "pos"].map(|label| said[0]["probabilities"][label].as_f64().unwrap());
        assert!(pos > 0.9 && (pos + neg - 1.0).abs() < 1e-6, "{}", said[0]);
        let table = gatewave(["run", &trained, "--text", "A GOOD film"]).done();
        assert!(table.contains("│ A GOOD film ┆ pos   ┆"), "{table}");
        let lines = write(&folder, "lines.txt", "A GOOD film\nthe story is bad, bad\n");
        let of_file = gatewave(["run", &trained, "--json", "--text-file", &lines]).done();
        let of_file: Vec<Value> = of_file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(of_file, said);

        // A converted model gives the same answers.
        let converted = folder.path("converted.safetensors");
        gatewave(["convert", &trained, &converted, "--force"]).done();
        assert_eq!(answers(&converted, &["A GOOD film", "the story is bad, bad"]), said);
    }
}

#[test]
#[cfg(feature = "csv")]
fn every_format_trains_the_same() {
    use std::fmt::Write as _;

    let folder = Folder::new("text-formats");
    let model = description(&folder, 20, 1);
    let (mut csv, mut lines) = ("id,stars,review\n".to_owned(), String::new());
    for at in 0..40 {
        let (label, text) = row(at);
        writeln!(csv, "{at},{label},\"{text}\"").unwrap();
        writeln!(lines, "{}", json!({"text": text, "label": label})).unwrap();
    }
    let [of_tsv, of_csv, of_lines] =
        [("a.tsv", tsv(0..40)), ("a.csv", csv), ("a.jsonl", lines)].map(|(name, text)| write(&folder, name, text));
    let (wanted, _) = train(&folder, &model, &of_tsv, &[]);
    let columns = ["--label-column", "stars", "--text-column", "review"];
    assert_eq!(train(&folder, &model, &of_csv, &columns).0, wanted);
    assert_eq!(train(&folder, &model, &of_lines, &[]).0, wanted);
    for at in 0..40 {
        let (label, text) = row(at);
        write(&folder, &format!("all/{label}/{at:02}.txt"), text);
    }
    // The labels of a folder alternate, as those of the file do.
    assert_eq!(train(&folder, &model, &folder.path("all"), &[]).0, wanted);
    // The same holds if texts stay in their files, and if batches have rows of similar lengths.
    let buckets = train(&folder, &model, &of_tsv, &["--buckets"]).0;
    for (data, more) in [(of_tsv, &[][..]), (of_csv, &columns), (of_lines, &[]), (folder.path("all"), &[])] {
        let with = |flags: &[&str]| train(&folder, &model, &data, &[more, flags].concat()).0;
        assert_eq!(with(&["--stream"]), wanted, "{data}");
        assert_eq!(with(&["--stream", "--buckets"]), buckets, "{data}");
        let evaluate = ["evaluate", &folder.path("out.safetensors"), "--data", &data, "--json"].map(str::to_owned);
        let told = |flags: &[&str]| {
            let more = more.iter().chain(flags).map(|flag| (*flag).to_owned());
            gatewave(evaluate.iter().cloned().chain(more)).done()
        };
        assert_eq!(told(&["--stream"]), told(&[]), "{data}");
    }
}

#[test]
fn the_vocabulary_is_that_of_the_training_part() {
    let folder = Folder::new("text-vocabulary");
    let data = tsv(0..30) + &"pos\tgood unseen\nneg\tbad unseen\n".repeat(5);
    let data = write(&folder, "reviews.tsv", data);
    let model = description(&folder, 50, 1);
    let vocabulary = |more: &[&str]| {
        let (bytes, _) = train(&folder, &model, &data, more);
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let text: Value = serde_json::from_str(header["__metadata__"]["gatewave.text"].as_str().unwrap()).unwrap();
        text
    };
    let text = vocabulary(&[]);
    assert_eq!((&text["labels"], &text["max_length"]), (&json!(["neg", "pos"]), &Value::Null));
    let units = text["tokenizer"]["units"].as_array().unwrap().clone();
    assert!(units.len() == 10 && !units.contains(&json!("unseen")), "{units:?}");
    let text = vocabulary(&["--num-tokens", "5", "--max-length", "4", "--truncate", "start", "--tokenizer", "chars"]);
    assert_eq!((&text["max_length"], &text["truncate"]), (&json!(4), &json!("start")));
    assert_eq!(text["tokenizer"]["units"].as_array().unwrap().len(), 2);
    assert_eq!(text["tokenizer"]["unit"], "chars");
    assert_eq!(text["tokenizer"]["start"], true);
    assert_eq!(vocabulary(&["--no-start"])["tokenizer"]["start"], false);
    let kept = folder.path("out.safetensors");
    let error = gatewave(["train", &kept, "--data", &data, "--no-start"]).refused();
    assert!(error.contains("--no-start: expected none, since the model keeps the tokenizer"), "{error}");
    let corpus = write(&folder, "text.txt", "a text as a whole");
    let error = gatewave(["train", &model, "--data", &corpus, "--window", "4", "--no-start"]).refused();
    assert!(error.contains("--no-start: expected --data of labelled text, got a plain-text corpus"), "{error}");
}

#[test]
fn texts_that_are_padded_at_their_start_answer_by_the_last_step() {
    let folder = Folder::new("text-pad");
    let data = write(&folder, "reviews.tsv", tsv(0..96));
    let model = description(&folder, 20, 2);
    fs::write(&model, fs::read_to_string(&model).unwrap().replace("final_hidden", "last_step")).unwrap();
    let refused = gatewave(["train", &model, "--data", &data, "--output", &folder.path("out.safetensors")]);
    let error = refused.refused();
    assert!(error.contains("got one at the last time index") && error.contains("--pad start"), "{error}");
    let at_start = |more: &[&str]| train(&folder, &model, &data, &[&["--pad", "start"], more].concat());
    let (whole, said) = at_start(&[]);
    assert!(
        said.lines().any(|line| line.starts_with("epoch 8/8") && line.contains("  val_accuracy 1.0000  ")),
        "{said}"
    );
    let (text, _) = at_start(&["--buckets"]);
    assert!(text != whole, "rows of like lengths stand together");
    let texts = ["A GOOD film", "the story is bad, bad, of its cast and of each of its scenes"];
    let trained = folder.path("out.safetensors");
    let together = answers(&trained, &texts);
    assert_eq!([0, 1].map(|at| together[at]["label"].clone()), [json!("pos"), json!("neg")]);
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(answers(&trained, &[text])[0], together[at]);
    }
    let kept =
        gatewave(["train", &trained, "--data", &data, "--output", &folder.path("next.safetensors"), "--pad", "end"]);
    let error = kept.refused();
    assert!(error.contains("--pad: expected none, since the model keeps the tokenizer"), "{error}");
}

#[test]
fn a_trained_model_goes_on_with_its_own_words() {
    let folder = Folder::new("text-further");
    let data = write(&folder, "reviews.tsv", tsv(0..40));
    train(&folder, &description(&folder, 20, 1), &data, &[]);
    let first = folder.path("first.safetensors");
    fs::rename(folder.path("out.safetensors"), &first).unwrap();
    let before = answers(&first, &["good"]);
    let other = write(&folder, "other.tsv", "pos\tgood words of others\nneg\tbad words\n");
    let args = ["train", &first, "--data", &other, "--output", &folder.path("next.safetensors")];
    let ran = gatewave(args.iter().chain(&["--epochs", "3"]));
    assert!(ran.err.contains("2 labels, a vocabulary of 13 tokens"), "{ran:?}");
    ran.done();
    let after = answers(&folder.path("next.safetensors"), &["good"]);
    assert!(after[0]["probabilities"] != before[0]["probabilities"] && after[0]["label"] == "pos", "{after:?}");
    let error = gatewave(["train", &first, "--data", &other, "--tokenizer", "chars"]).refused();
    assert!(error.contains("--tokenizer: expected none, since the model keeps the tokenizer"), "{error}");
    let third = write(&folder, "third.tsv", "pos\tgood\nmeh\twell\n");
    let error = gatewave(["train", &first, "--data", &third]).refused();
    assert!(
        error.contains("third.tsv: line 2: expected a label that was trained on (neg, pos), got \"meh\""),
        "{error}"
    );
}

#[test]
fn text_that_does_not_fit_is_refused_by_its_line() {
    let folder = Folder::new("text-refused");
    let data = write(&folder, "reviews.tsv", tsv(0..40));
    let model = description(&folder, 20, 1);
    let refused = |model: &str, more: &[&str]| gatewave(["train", model].iter().chain(more)).refused();
    let train = |more: &[&str]| refused(&model, &[&["--data", &data], more].concat());
    let three = write(&folder, "three.tsv", format!("{}meh\twell\n", tsv(0..4)));
    for (error, said) in [
        (train(&["--num-tokens", "21"]), "num_tokens: expected at most 20, which the model has, got 21"),
        (train(&["--num-tokens", "3"]), "num_tokens: expected 4 or more, got 3"),
        (train(&["--max-length", "0"]), "max_length: expected 1 or more, got 0"),
        (train(&["--loss", "mse"]), "--loss: expected binary_cross_entropy of text and this model, got mse"),
        (train(&["--label-column", "stars"]), "reviews.tsv: line 1: expected a column stars, got \"neg\", \"the"),
        (train(&["--max-bytes", "10"]), "reviews.tsv: expected at most 10 bytes, got more"),
        (train(&["--validation", &three]), "three.tsv: line 5: expected a label that was trained on (neg, pos)"),
        (train(&["--validation-split", "1.5"]), "expected a share between 0 and 1"),
        (refused(&model, &["--data", &three]), "three.tsv: line 5: expected 2 labels, which the model tells apart"),
        (refused(&description(&folder, 20, 3), &["--data", &data]), "reviews.tsv: expected 3 labels"),
        (refused(MODEL, &["--data", &data]), "expected one output for a text, got one for each of its steps"),
        (
            refused(&model, &["--data", "none.npz", "--loss", "mse", "--max-length", "9"]),
            "--max-length: expected --data of labelled text, got tensors",
        ),
        (refused(&model, &["--data", "none.npz"]), "--loss: expected one of cross_entropy, "),
        (refused(&model, &["--data", &data, "--output", &data]), "--output: expected a file of its own"),
    ] {
        assert!(error.contains(said), "{error}");
    }
    let sorted = write(&folder, "sorted.tsv", "neg\tbad\n".repeat(6) + &"pos\tgood\n".repeat(6));
    let ran = gatewave(["train", &model, "--data", &sorted, "--validation-split", "0.25"]);
    assert!(ran.err.contains("warning: all rows to validate with have the label \"pos\"; mix the rows"), "{ran:?}");
    ran.done();
    let error = refused(&model, &["--data", &sorted, "--validation-split", "0.5"]);
    assert!(error.contains("sorted.tsv: expected two labels or more, got \"neg\" alone"), "{error}");
    let ran = gatewave(["train", &model, "--data", &three, "--validation-split", "0.2"]);
    assert!(
        ran.err.contains("warning: ") && ran.err.contains("three.tsv: line 5: the label \"meh\" stands"),
        "{ran:?}"
    );
}

#[test]
fn a_training_stops_where_it_no_longer_gets_better() {
    let folder = Folder::new("text-early");
    let data = write(&folder, "reviews.tsv", tsv(0..96));
    let model = description(&folder, 20, 1);
    let stopping = ["--epochs", "200", "--early-stopping", "2", "--min-delta", "0.05"];
    let args = ["train", &model, "--data", &data, "--validation-split", "0.25", "--learning-rate", "0.02"];
    let ran = gatewave(args.iter().chain(&stopping));
    let told = ran.err.lines().filter(|line| line.starts_with("epoch ")).count();
    assert!((3..100).contains(&told), "{ran:?}");
    let said = format!("stopped after epoch {told}: no better one came\nbest: epoch {}, val_loss ", told - 2);
    assert!(ran.err.contains(&said), "{ran:?}");
    assert!(ran.err.contains(", whose weights are kept"), "{ran:?}");
    ran.done();
    let refused = |more: &[&str]| gatewave(["train", &model, "--data", &data].iter().chain(more)).refused();
    let error = refused(&["--early-stopping", "2"]);
    assert_eq!(error, "--early-stopping: expected --validation or --validation-split, got neither");
    let error = refused(&["--early-stopping", "0", "--validation-split", "0.25"]);
    assert_eq!(error, "early stopping: patience: expected 1 or more, got 0");
}

#[test]
fn a_model_without_a_tokenizer_answers_no_text() {
    let error = gatewave(["run", MODEL, "--text", "ROMEO"]).refused();
    assert!(
        error.contains("shakespeare.safetensors: expected a model with a tokenizer and labels, got one"),
        "{error}"
    );
    let folder = Folder::new("text-run");
    for (args, said) in [
        (&["--text", " "][..], "--text: expected a text, got an empty one"),
        (
            &["--text-file", &write(&folder, "gap.txt", "one\n\ntwo\n")],
            "gap.txt: line 2: expected a text, got an empty",
        ),
        (&["--text-file", &folder.path("none.txt")], "none.txt: cannot be read"),
    ] {
        let error = gatewave(["run", MODEL].iter().chain(args)).refused();
        assert!(error.contains(said), "{error}");
    }
    let both = gatewave(["run", MODEL, "--text", "a", "--input", "x.npz"]);
    assert!(both.status == 2 && both.err.contains("cannot be used with"), "{both:?}");
    let none = gatewave(["run", MODEL]);
    assert!(none.status == 2 && none.err.contains("--input"), "{none:?}");
}

#[test]
fn data_tells_what_is_there() {
    let folder = Folder::new("text-data");
    let data = write(&folder, "reviews.tsv", tsv(0..40) + "Pos\tgood\n");
    let ran = gatewave(["data", &data]);
    assert!(ran.err.contains("reviews.tsv: line 41: the label \"Pos\" stands in this row alone"), "{ran:?}");
    let out = ran.done();
    assert!(out.starts_with(&format!("{data}: 41 rows, 3 labels\n")), "{out}");
    for said in ["neg                             20  48.8 %", "shortest 2 ", "longest 9\n", "10 different"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert!(out.lines().skip(1).all(|line| line.chars().count() <= 100), "{out}");
    let line = gatewave(["data", &data, "--json", "--num-tokens", "5", "--max-length", "4"]).done();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["rows"], &line["distinct"]), (&json!(41), &json!(10)));
    assert_eq!(line["classes"][1], json!({"label": "neg", "rows": 20}));
    assert_eq!((line["vocabularies"].as_array().unwrap().len(), line["max_lengths"].as_array().unwrap().len()), (1, 1));
    assert!(line["vocabularies"][0]["unknown"].as_f64().unwrap() > 0.5, "{line}");
    let chars = gatewave(["data", &data, "--tokenizer", "chars"]).done();
    assert!(chars.contains("characters a row"), "{chars}");
    let error = gatewave(["data", &write(&folder, "empty.tsv", "")]).refused();
    assert!(error.contains("empty.tsv: expected rows of a label and a text, got none"), "{error}");
    assert!(gatewave(["data", &folder.path("none.csv")]).refused().contains("none.csv: "));
    let notes = write(&folder, "notes.md", "No data.\n");
    let wanted = "expected labelled text (a folder, .tsv, .csv, .jsonl, .ndjson or .conll), a plain-text corpus (.txt), or with \
                  --window a time series";
    assert_eq!(gatewave(["data", &notes]).refused(), format!("{notes}: {wanted}"));
}

/// Seven of eight rows have one label. A model learns this
/// frequency; a balanced one treats both labels as equally frequent.
#[test]
fn labels_of_few_rows_count_as_much_as_others_where_they_are_balanced() {
    let folder = Folder::new("text-balanced");
    let rows: String = (0..120).map(|at| if at % 8 == 0 { "rare\tword\n" } else { "usual\tword\n" }).collect();
    let data = write(&folder, "rows.tsv", rows);
    let balanced = ["--class-weights", "balanced"];
    for (outputs, more, rare) in [
        (2, &[][..], 0.125),
        (2, &balanced, 0.5),
        (1, &balanced, 0.5),
        // One row of eight counts 21, and each other row 1: 21 of 28.
        (2, &["--class-weights", "rare=21"], 0.75),
        (1, &["--class-weights", "usual=1,rare=21"], 0.75),
    ] {
        let model = description(&folder, 5, outputs);
        // A mean is over what counts in a batch, so all rows are one batch.
        train(&folder, &model, &data, &[&["--epochs", "300", "--batch-size", "96"], more].concat());
        let said = answers(&folder.path("out.safetensors"), &["word"]);
        let p = said[0]["probabilities"]["rare"].as_f64().unwrap();
        assert!((p - rare).abs() < 0.08, "{outputs} {more:?}: {p}");
    }
    let model = description(&folder, 5, 1);
    let args = ["train", &model, "--data", &data, "--class-weights"];
    let said = gatewave(args.iter().chain(&["rare=2,seldom=3"])).refused();
    assert_eq!(said, "--class-weights: expected a label that was trained on (rare, usual), got \"seldom\"");
    let ran = gatewave(args.iter().chain(&["rare"]));
    assert!(ran.status == 2 && ran.err.contains("expected balanced or LABEL=W,LABEL=W, got rare"), "{ran:?}");
}

/// An update by several batches equals that of one larger batch,
/// also in buckets; and a share of each target is smoothed.
#[test]
fn an_update_of_several_batches_is_one_of_a_larger_batch() {
    let folder = Folder::new("text-accumulate");
    let (data, model) = (write(&folder, "r.tsv", tsv(0..48)), description(&folder, 24, 2));
    let losses = |more: &[&str]| -> Vec<f64> {
        let args = ["train", &model, "--data", &data, "--json", "--epochs", "2", "--learning-rate", "0.05"];
        let lines = gatewave(args.iter().chain(more)).done();
        lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64()).collect()
    };
    let near =
        |a: &[f64], b: &[f64]| a.len() == 2 && b.len() == 2 && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5 * a);
    let whole = losses(&["--batch-size", "12"]);
    let parts = losses(&["--batch-size", "4", "--accumulate", "3"]);
    assert!(near(&whole, &parts), "{whole:?} {parts:?}");
    assert!(!near(&whole, &losses(&["--batch-size", "4"])), "smaller updates are others");
    let smoothed = losses(&["--batch-size", "12", "--label-smoothing", "0.3"]);
    assert!(smoothed[1] > whole[1] + 0.01, "{smoothed:?} {whole:?}");
    let [buckets, again] =
        [&["--batch-size", "12", "--buckets"][..], &["--batch-size", "4", "--buckets", "--accumulate", "3"]]
            .map(losses);
    assert!(near(&buckets, &again), "{buckets:?} {again:?}");
    let refused = |more: &[&str]| gatewave(["train", &model, "--data", &data].iter().chain(more)).refused();
    assert!(refused(&["--accumulate", "0"]).contains("--accumulate <N>"));
    let said = refused(&["--label-smoothing", "1.5"]);
    assert!(said.contains("smoothing: expected"), "{said}");
}
