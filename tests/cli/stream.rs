//! `--stream`: examples on disk train like those in memory.

use std::collections::BTreeMap;
use std::fs::{self, File};

use ndarray::{ArrayD, Dimension, IxDyn};
use ndarray_npy::NpzWriter;

use crate::support::fixtures::Array;
use crate::{Folder, gatewave, write_tensors};

type Tensors = BTreeMap<String, Array>;

/// Ids of rows of different lengths, each with a class.
fn tags(rows: usize) -> Tensors {
    let shape = IxDyn(&[rows, 9]);
    let number = |index: IxDyn, of: usize| i64::try_from((index[0] * 5 + index[1] * index[1] * 3) % of).unwrap();
    let lengths = (0..rows).map(|row| i64::try_from(1 + (row * 7) % 9).unwrap()).collect();
    Tensors::from([
        ("x".to_owned(), Array::I64(ArrayD::from_shape_fn(shape.clone(), |index| number(index, 7)))),
        ("y".to_owned(), Array::I64(ArrayD::from_shape_fn(shape, |index| number(index, 3)))),
        ("lengths".to_owned(), Array::I64(ArrayD::from_shape_vec(IxDyn(&[rows]), lengths).unwrap())),
    ])
}

const TAGGER: &str = r#"{"gatewave": 1, "batch_first": true, "layers": [
    {"type": "embedding", "num_embeddings": 7, "embedding_dim": 4, "weights": "embedding."},
    {"type": "gru", "input_size": 4, "hidden_size": 5, "weights": "gru."},
    {"type": "linear", "in_features": 5, "out_features": 3, "weights": "head."}]}"#;

/// Steps come before rows, so that a row of `x` is in many places of a file.
fn counts(rows: usize) -> Tensors {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let number = |index: IxDyn| index.slice().iter().fold(1, |sum, n| (sum * 31 + n * 7) % 19) as f32 / 19.0;
    Tensors::from([
        ("x".to_owned(), Array::F32(ArrayD::from_shape_fn(IxDyn(&[6, rows, 3]), number))),
        ("y".to_owned(), Array::F32(ArrayD::from_shape_fn(IxDyn(&[rows, 2]), number))),
    ])
}

const COUNTER: &str = r#"{"gatewave": 1, "batch_first": false, "layers": [
    {"type": "lstm", "input_size": 3, "hidden_size": 5, "weights": "lstm."},
    {"type": "select", "what": "last_step"},
    {"type": "linear", "in_features": 5, "out_features": 2, "weights": "head."}]}"#;

fn write(path: &str, tensors: &Tensors) {
    if path.ends_with(".safetensors") {
        return write_tensors(path, tensors);
    }
    let file = File::create(path).unwrap();
    let mut npz = if path.contains("compressed") { NpzWriter::new_compressed(file) } else { NpzWriter::new(file) };
    for (name, array) in tensors {
        match array {
            Array::F32(array) => npz.add_array(name.as_str(), array),
            Array::I32(array) => npz.add_array(name.as_str(), array),
            Array::I64(array) => npz.add_array(name.as_str(), array),
        }
        .unwrap();
    }
    npz.finish().unwrap();
}

/// The same with a weight for each row or step; some weights are 0.
fn weighted(mut tensors: Tensors, shape: &[usize]) -> Tensors {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let weight = |index: IxDyn| index.slice().iter().fold(0, |sum, n| (sum * 5 + n) % 4) as f32;
    tensors.insert("sample_weight".to_owned(), Array::F32(ArrayD::from_shape_fn(IxDyn(shape), weight)));
    tensors
}

/// Trains with and without `--stream`, and returns the models' bytes.
fn trained(folder: &Folder, model: &str, flags: &[&str]) -> [Vec<u8>; 2] {
    [&[][..], &["--stream"]].map(|more| {
        let output = folder.path("out.safetensors");
        let args = ["train", model, "--epochs", "2", "--batch-size", "4", "--output", &output, "--force"];
        gatewave([&args[..], flags, more].concat()).done();
        fs::read(&output).unwrap()
    })
}

/// The same rows with a mask in the place of lengths.
fn masked(mut tensors: Tensors) -> Tensors {
    let Some(Array::I64(lengths)) = tensors.remove("lengths") else { panic!("rows have lengths") };
    let rows = lengths.len();
    let lengths: Vec<usize> = lengths.iter().map(|length| usize::try_from(*length).unwrap()).collect();
    let live = |index: IxDyn| f32::from(u8::from(9 - index[1] <= lengths[index[0]]));
    tensors.insert("mask".to_owned(), Array::F32(ArrayD::from_shape_fn(IxDyn(&[rows, 9]), live)));
    tensors
}

#[test]
fn rows_with_a_mask_on_disk_have_lengths() {
    let folder = Folder::new("stream-mask");
    let (model, data) = (folder.path("tagger.json"), folder.path("masked.npz"));
    fs::write(&model, TAGGER).unwrap();
    write(&data, &masked(tags(23)));
    let [held, stored] = trained(&folder, &model, &["--data", &data, "--loss", "cross_entropy", "--buckets"]);
    assert!(held == stored);
    let told = gatewave(["data", &data]).done();
    let start = format!("{data}: 23 rows\n  mask ");
    assert!(told.starts_with(&start) && told.contains("\ny: 3 classes\n  0 "), "{told}");
    assert!(told.contains("\nsteps a row\n  shortest 1   ") && told.contains("   longest 9\n"), "{told}");
    let line: serde_json::Value = serde_json::from_str(&gatewave(["data", &data, "--json"]).done()).unwrap();
    assert_eq!(line["tensors"][1]["shape"], serde_json::json!([23, 9]));
    let error = gatewave(["data", &data, "--max-bytes", "9"]).refused();
    assert!(error.contains("masked.npz: expected at most 9 bytes, got "), "{error}");
    let error = gatewave(["data", &data, "--num-tokens", "9"]).refused();
    assert!(error.ends_with("--num-tokens: expected labelled text or a plain-text corpus, got tensors"), "{error}");
}

#[test]
fn rows_on_disk_train_to_the_bytes_of_those_in_memory() {
    let folder = Folder::new("stream");
    let path = |name: &str| folder.path(name);
    let [tagger, counter] = [("tagger.json", TAGGER), ("counter.json", COUNTER)].map(|(name, text)| {
        fs::write(path(name), text).unwrap();
        path(name)
    });
    let mut all = Vec::new();
    for ending in ["safetensors", "npz"] {
        let [tagged, validation, counted] =
            [("tags", tags(23)), ("validation", tags(6)), ("counts", counts(15))].map(|(name, tensors)| {
                let file = path(&format!("{name}.{ending}"));
                write(&file, &tensors);
                file
            });
        let [of_steps, of_rows] =
            [("steps", weighted(tags(23), &[23, 9])), ("rows", weighted(counts(15), &[15]))].map(|(name, tensors)| {
                let file = path(&format!("{name}.{ending}"));
                write(&file, &tensors);
                file
            });
        let of_steps = ["--data", &of_steps, "--loss", "cross_entropy"];
        let of_rows = ["--data", &of_rows, "--loss", "mse"];
        let tag = ["--data", &tagged, "--loss", "cross_entropy"];
        let count = ["--data", &counted, "--loss", "mse"];
        for (model, data, flags) in [
            (&tagger, &tag, &["--buckets"][..]),
            (&tagger, &tag, &["--validation-split", "0.3", "--early-stopping", "1"]),
            (&tagger, &tag, &["--validation", &validation, "--metric", "accuracy", "--no-shuffle"]),
            (&counter, &count, &["--validation-split", "0.2"]),
            (&tagger, &of_steps, &["--buckets"]),
            (&counter, &of_rows, &["--validation-split", "0.2"]),
        ] {
            let [whole, streamed] = trained(&folder, model, &[&data[..], flags].concat());
            assert!(whole == streamed, "{ending} {flags:?}");
            all.push(whole);
        }
        let trained = path("out.safetensors");
        let args = ["evaluate", &trained, "--data", &counted, "--loss", "mse", "--batch-size", "4", "--json"];
        let [whole, streamed] = [&[][..], &["--stream"]].map(|more| gatewave([&args[..], more].concat()).done());
        assert_eq!(whole, streamed);
        assert!(whole.contains("\"rows\":15"), "{whole}");
    }
    assert!(all[..6] == all[6..], "both formats hold the same");
    assert!(all[0] != all[1] && all[0] != all[4] && all[3] != all[5]);
}

#[test]
fn what_cannot_stay_on_disk_is_refused_with_its_place() {
    let folder = Folder::new("stream-refused");
    let path = |name: &str| folder.path(name);
    let model = path("model.json");
    fs::write(&model, TAGGER).unwrap();
    let refused = |data: &str, more: &[&str]| {
        let args = ["train", &model, "--data", data, "--stream", "--loss", "cross_entropy", "--batch-size", "4"];
        let error = gatewave(args.iter().chain(more)).refused();
        error.strip_prefix(&format!("{data}: ")).unwrap_or(&error).to_owned()
    };
    let compressed = path("compressed.npz");
    write(&compressed, &tags(9));
    assert!(refused(&compressed, &[]).ends_with("write the file with numpy.savez in place of numpy.savez_compressed"));
    let (whole, cut) = (path("whole.safetensors"), path("cut.safetensors"));
    write(&whole, &tags(9));
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refused(&cut, &[]).ends_with("is this a whole .safetensors file?"));
    assert!(refused(&whole, &["--validation", &cut]).starts_with(&format!("{cut}: expected ")));
    refused("nowhere.npz", &[]);
    let mut tensors = tags(9);
    tensors.insert("z".to_owned(), Array::I64(ArrayD::zeros(IxDyn(&[9]))));
    write(&whole, &tensors);
    assert!(refused(&whole, &[]).starts_with("z: unknown tensor; this model takes "));
    let mut tensors = tags(9);
    tensors.insert("y".to_owned(), Array::I64(ArrayD::from_elem(IxDyn(&[9, 9]), 3)));
    write(&whole, &tensors);
    let error = refused(&whole, &[]);
    assert!(error.contains("expected classes from 0 to 2") && error.contains("got 3"), "{error}");
    let mut tensors = weighted(tags(9), &[9]);
    if let Some(Array::F32(weights)) = tensors.get_mut("sample_weight") {
        weights[[5]] = -1.0;
    }
    write(&whole, &tensors);
    let error = refused(&whole, &[]);
    let said = "row 5 of the examples: targets: sample_weights: expected finite numbers from 0 on, got -1 at [0]";
    assert!(error.contains(said), "{error}");
    let series = path("series.csv");
    fs::write(&series, "a\n1\n2\n3\n4\n5\n6\n").unwrap();
    let error = refused(&series, &["--window", "4"]);
    assert_eq!(error, "--stream: expected --data of tensors, labelled text or a plain-text corpus, got a time series");
}
