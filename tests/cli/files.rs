//! Files that cannot be read or written, and what remains of them.

use std::collections::BTreeMap;
use std::fs;

use ndarray::ArrayD;

use crate::support::fixtures::Array;
use crate::{Folder, MODEL, gatewave, write_tensors};

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
    // Neither the model nor the input exists: the output is checked first.
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
    gatewave(["run", MODEL, "--input", "nowhere.npy", "--output", &output, "--force"]).refused();
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

/// A file that the user may not write is refused, even if the folder
/// would allow replacing it. (The superuser may write every file.)
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
    let ran = gatewave(["run", MODEL, "--input", &input, "--output", &output, "--force"]);
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

/// Returns the message about an input file with these bytes, after its name.
fn refused_input(name: &str, bytes: &[u8]) -> String {
    let folder = Folder::new(name);
    let input = folder.path(name);
    fs::write(&input, bytes).unwrap();
    let error = gatewave(["run", MODEL, "--input", &input]).refused();
    error.strip_prefix(&format!("{input}: ")).unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// Returns a `.safetensors` file with this header and this number of bytes of data.
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
