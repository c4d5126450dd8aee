//! Files that are damaged, or that cannot be opened.

use std::path::Path;

use gatewave::formats::{open, open_with, read_with, safetensors};
use gatewave::{ErrorKind, Precision};
use serde_json::json;

use crate::support::fixtures;
use crate::{file, load, lstm_tensors, model_error, read_refusal, refusal, scratch, tensors, weights_error};

#[test]
fn a_file_too_short_for_a_length_is_refused() {
    let message = "expected at least 8 bytes (the header's length), got 3; is this a .safetensors file?";
    assert_eq!(read_refusal(&[1, 2, 3]), weights_error(message));
}

#[test]
fn a_file_that_is_something_else_is_refused_with_what_it_is() {
    for (begin, got) in [
        (&b"# My model\nIt reads text.\n"[..], "text; is it the right file?"),
        (b"{\"gatewave\": 1}", "JSON; a model's description has a name that ends in .json"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
            "a pointer of Git LFS; git lfs pull fetches the file",
        ),
        (b"\x08\x0a\x12\x07pytorch\x1a\x052.9.1:\x80\x01", "an ONNX graph; give it a name that ends in .onnx"),
        (b"\x89HDF\r\n\x1a\n\0\x08\x08\0\x04\0\x10\0", "an HDF5 file; a Keras model has a name that ends in .h5"),
        (
            b"PK\x03\x04\x14\0\0\0\x08\0archive/data.pkl",
            "a zip archive; a Keras model has a name that ends in .keras, NumPy's arrays one in .npz, a file of torch.save one \
             in .pt",
        ),
    ] {
        assert_eq!(read_refusal(begin), weights_error(&format!("expected a .safetensors file, got {got}")));
    }
}

/// A name of another format does not change the hint, whether the file is on disk or in memory.
#[test]
fn a_file_that_is_something_else_is_told_under_any_name() {
    use gatewave::formats::{Format, read_bytes};

    let page =
        "a web page; the server sent a page instead of the file; download it again from the link to the file itself";
    for (begin, got) in [
        (&b"<!DOCTYPE html>\n<html lang=\"en\">"[..], page),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; git lfs pull fetches the file"),
        (b"# My model\n", "text; is it the right file?"),
        (b"", "an empty file"),
        (b"\x93NUMPY\x01\x00v\x00", "an array of NumPy; give it a name that ends in .npy"),
    ] {
        for (extension, wanted, is_built) in [
            ("safetensors", "a .safetensors", true),
            ("onnx", "an .onnx", cfg!(feature = "onnx")),
            ("keras", "a Keras", cfg!(feature = "keras")),
            ("h5", "a Keras", cfg!(feature = "keras")),
            ("pt", "a PyTorch", cfg!(feature = "torch")),
            ("npz", "an .npz", cfg!(feature = "torch")),
        ] {
            if !is_built {
                continue;
            }
            let path = scratch(&format!("mistaken.{extension}"));
            std::fs::write(&path, begin).unwrap();
            let error = open(&path).unwrap_err();
            let text = format!("expected {wanted} file, got {got}");
            assert_eq!(error.to_string(), format!("{}: {text}", path.display()));
            assert_eq!(error.kind(), ErrorKind::Weights);
            let error = read_bytes(begin, Format::of(&path).unwrap(), None).unwrap_err();
            assert_eq!(error.to_string(), format!("{wanted} file in memory: {text}"));
        }
    }
    let folder = scratch("mistaken.keras").with_file_name("");
    let text = "expected a file, got a folder; in Keras, model.save(\"model.keras\") writes one";
    assert_eq!(open(&folder).unwrap_err().to_string(), format!("{}: {text}", folder.display()));
    // The reader's own error stays if the bytes are those of the format, or show nothing.
    let path = scratch("damaged.onnx");
    std::fs::write(&path, b"\x08\x0a\x12\x07pytorch\x1a\xff").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(!error.contains("expected an .onnx file, got"), "{error}");
}

#[test]
fn first_bytes_tell_the_format_of_a_model() {
    use gatewave::formats::Format;

    let bytes = safetensors::to_bytes(&tensors(&[("w", &[4])]), None, Precision::F32).unwrap();
    let of = |bytes: &[u8]| Format::of_bytes(bytes).map_err(|e| (e.kind(), e.to_string()));
    assert_eq!(of(&bytes), Ok(Format::Safetensors));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/roads");
    for (name, format) in [("model.onnx", Format::Onnx), ("model.keras", Format::Keras)] {
        assert_eq!(of(&std::fs::read(golden.join(name)).unwrap()), Ok(format));
    }
    let wanted = "expected a .safetensors, .onnx, .keras, .h5, .pt or .npz file by its first bytes, got ";
    assert_eq!(of(b"abc"), Err((ErrorKind::Io, format!("{wanted}text"))));
    assert_eq!(of(&[]), Err((ErrorKind::Io, format!("{wanted}an empty file"))));
}

#[test]
fn a_file_cut_off_in_its_header_is_refused() {
    let bytes = safetensors::to_bytes(&lstm_tensors(), None, Precision::F32).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let message = format!("header: expected {length} bytes, got 12; the file is cut off, or is no .safetensors file");
    assert_eq!(read_refusal(&bytes[..20]), weights_error(&message));
}

#[test]
fn a_file_cut_off_in_its_data_is_refused() {
    let bytes = safetensors::to_bytes(&tensors(&[("w", &[4])]), None, Precision::F32).unwrap();
    let message = "data: expected 16 bytes, got 13; the file is cut off";
    assert_eq!(read_refusal(&bytes[..bytes.len() - 3]), weights_error(message));
}

#[test]
fn no_prefix_of_a_file_is_read() {
    let bytes = safetensors::to_bytes(&lstm_tensors(), Some("{}"), Precision::F32).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(read_refusal(&bytes[..length]).0, ErrorKind::Weights, "{length} bytes");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let mut bytes = safetensors::to_bytes(&tensors(&[("w", &[4])]), None, Precision::F32).unwrap();
    bytes.push(0);
    let message = "data: expected 16 bytes, got 17; there are bytes that belong to no tensor";
    assert_eq!(read_refusal(&bytes), weights_error(message));
}

#[test]
fn a_header_that_lies_about_a_size_is_refused() {
    let header = json!({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}});
    let message = "tensor w: expected 16 bytes for F32 [2, 2], got 12 (data_offsets [0, 12])";
    assert_eq!(read_refusal(&file(&header, &[0; 12])), weights_error(message));
    let header =
        json!({"w": {"dtype": "F32", "shape": [4_294_967_296_u64, 4_294_967_296_u64], "data_offsets": [0, 0]}});
    let message =
        "tensor w: expected more than 2^64 bytes for F32 [4294967296, 4294967296], got 0 (data_offsets [0, 0])";
    assert_eq!(read_refusal(&file(&header, &[])), weights_error(message));
}

#[test]
fn a_header_whose_tensors_overlap_or_run_backwards_is_refused() {
    let header = json!({
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    });
    let message = "header: tensor b: expected data_offsets [8, …] (where the one before ends), got [4, 12]";
    assert_eq!(read_refusal(&file(&header, &[0; 12])), weights_error(message));
    let header = json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}});
    let message = "header: tensor b: expected data_offsets [8, …] (where the one before ends), got [8, 0]";
    assert_eq!(read_refusal(&file(&header, &[0; 8])), weights_error(message));
}

#[test]
fn a_header_that_is_not_json_is_refused() {
    let bytes = [&4u64.to_le_bytes()[..], b"oops"].concat();
    let message = "header: expected a JSON object, got expected value at line 1 column 1; is this a .safetensors file?";
    assert_eq!(read_refusal(&bytes), weights_error(message));
}

#[test]
fn a_header_without_a_shape_is_refused() {
    let header = json!({"w": {"dtype": "F32", "data_offsets": [0, 0]}});
    let message = "header: tensor w: expected dtype, shape and data_offsets, got missing field `shape`";
    assert_eq!(read_refusal(&file(&header, &[])), weights_error(message));
}

#[test]
fn an_integer_tensor_is_refused_only_where_the_model_needs_it() {
    let header = json!({
        "rnn.weight_hh_l0": {"dtype": "F32", "shape": [1, 1], "data_offsets": [8, 12]},
        "rnn.weight_ih_l0": {"dtype": "F32", "shape": [1, 1], "data_offsets": [12, 16]},
        "steps": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
    });
    let read = safetensors::read_bytes(&file(&header, &[0; 16])).unwrap().tensors;
    load(json!([{"type": "rnn", "weights": "rnn."}]), read).unwrap();

    let header = json!({"fc.weight": {"dtype": "I64", "shape": [1, 2], "data_offsets": [0, 16]}});
    let read = safetensors::read_bytes(&file(&header, &[0; 16])).unwrap().tensors;
    let message = "layer 0 linear: fc.weight: expected elements of type F32, F16, BF16, F64 or I8 with scales, got I64; \
                   save it as one of them";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), read), weights_error(message));
}

#[test]
fn a_format_that_is_not_read_is_refused_by_name() {
    let cases = [
        ("m.tflite", "m.tflite: expected a .safetensors, .onnx, .keras, .h5, .pt or .npz file, got .tflite"),
        ("m", "m: expected a .safetensors, .onnx, .keras, .h5, .pt or .npz file, got no extension"),
    ];
    for (path, message) in cases {
        let error = open(path).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, message.to_owned()));
    }
}

#[test]
fn a_description_beside_a_file_that_brings_its_own_is_refused() {
    for name in ["m.onnx", "m.keras", "m.KERAS"] {
        let error = read_with(name, "model.json").unwrap_err();
        let message = format!("model.json: expected no description beside {name}, which brings its own");
        assert_eq!((error.kind(), error.to_string()), model_error(&message));
    }
}

#[test]
fn a_file_that_is_not_there_is_an_io_error_with_its_path() {
    let path = scratch("nowhere.safetensors");
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    assert!(std::error::Error::source(&error).is_some());

    let fixture = fixtures::one("pt_o00_rnn_relu");
    let description = scratch("nowhere.json");
    let error = open_with(&fixture.weights, &description).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with(&format!("{}: ", description.display())), "{error}");
}

#[test]
fn a_file_without_a_description_says_how_to_give_one() {
    let fixture = fixtures::one("pt_o00_rnn_relu");
    let error = open(&fixture.weights).unwrap_err();
    let message = format!(
        "{}: expected a description of the model in the metadata (key gatewave.model), got none; \
         gatewave describe FILE -o model.json drafts one from the tensors: correct it, and give it beside the file \
         (--model model.json)",
        fixture.weights.display()
    );
    assert_eq!((error.kind(), error.to_string()), model_error(&message));
}
