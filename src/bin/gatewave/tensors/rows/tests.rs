//! Rows read from a file are those of the same file in memory; and errors of files and of their tensors.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gatewave::interface::Axes;
use gatewave::train::{CrossEntropy, Loss};
use gatewave::{Embedding, Gru, Linear, Lstm, Select};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::tensors::read;

/// A folder of its own for a test, removed after it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatewave-rows-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Returns the error of a file of these bytes, after its name.
    fn refused(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.write(name, bytes);
        let error = TensorFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        behind(&error, &path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn behind(error: &Error, path: &Path) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix(&format!("{}: ", path.display()));
    rest.unwrap_or_else(|| panic!("{text}: names no file")).to_owned()
}

/// A tensor as in a file.
struct Made {
    name: String,
    kind: usize,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Types of both formats; the last ones are NumPy's alone.
const KINDS: [(Dtype, &str); 8] = [
    (Dtype::F32, "<f4"),
    (Dtype::F64, "<f8"),
    (Dtype::F16, "<f2"),
    (Dtype::I32, "<i4"),
    (Dtype::BOOL, "|b1"),
    (Dtype::I64, "<i8"),
    (Dtype::F32, ">f4"),
    (Dtype::I16, ">i2"),
];
const SHARED: usize = 6;

/// Returns a number in the bytes of a kind.
fn encode(kind: usize, number: i8) -> Vec<u8> {
    match KINDS[kind].1 {
        "<f4" => (f32::from(number) / 4.0).to_le_bytes().to_vec(),
        "<f8" => (f64::from(number) / 3.0).to_le_bytes().to_vec(),
        "<f2" => f16::from_f32(f32::from(number) / 2.0).to_le_bytes().to_vec(),
        "<i4" => i32::from(number).to_le_bytes().to_vec(),
        "|b1" => vec![u8::from(number > 0)],
        "<i8" => i64::from(number).to_le_bytes().to_vec(),
        ">f4" => (f32::from(number) / 4.0).to_be_bytes().to_vec(),
        ">i2" => i16::from(number).to_be_bytes().to_vec(),
        other => panic!("{other}"),
    }
}

fn made(name: &str, kind: usize, shape: &[usize], mut number: impl FnMut() -> i8) -> Made {
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|_| encode(kind, number())).collect();
    Made { name: name.to_owned(), kind, shape: shape.to_vec(), bytes }
}

fn safetensors_of(all: &[Made]) -> Vec<u8> {
    let views = all.iter().map(|Made { name, kind, shape, bytes }| {
        (name.as_str(), TensorView::new(KINDS[*kind].0, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// Makes a `.safetensors` file with this header.
fn headed(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn npy_of(descr: &str, fortran: bool, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let shape: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}

fn archive_of(members: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn npz_of(all: &[Made]) -> Vec<u8> {
    let member = |made: &Made| npy_of(KINDS[made.kind].1, false, &made.shape, &made.bytes);
    let members: Vec<_> = all.iter().map(|made| (made.name.as_str(), member(made))).collect();
    archive_of(&members, CompressionMethod::Stored)
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound
}

#[test]
fn rows_along_any_axis_are_those_of_the_whole_file() {
    let scratch = Scratch::new("whole");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut compared = 0;
    for case in 0..60 {
        let (name, kinds) = if case % 2 == 0 { ("a.safetensors", SHARED) } else { ("a.npz", KINDS.len()) };
        let mut all = Vec::new();
        for tensor in 0..1 + below(&mut rng, 4) {
            // Some axes have length 0.
            let shape: Vec<_> = (0..1 + below(&mut rng, 4)).map(|_| (below(&mut rng, 24) + 2) / 4).collect();
            let kind = below(&mut rng, kinds);
            let number = || i8::from_le_bytes([rng.next_u32().to_le_bytes()[0]]);
            all.push(made(&format!("t{tensor}"), kind, &shape, number));
        }
        let path = scratch.write(name, if case % 2 == 0 { safetensors_of(&all) } else { npz_of(&all) });
        let (whole, file) = (read(&path, "").unwrap(), TensorFile::open(&path).unwrap());
        assert!(whole.keys().eq(file.tensors.keys()) && whole.len() == all.len());
        for (name, stored) in &file.tensors {
            for axis in 0..stored.shape.len() {
                // Some twice, some side by side, in any order.
                let length = stored.shape[axis];
                let count = if length == 0 { 0 } else { below(&mut rng, 9) };
                let rows: Vec<_> = (0..count).map(|_| below(&mut rng, length)).collect();
                let wanted = match select(&whole[name], Axis(axis), &rows) {
                    // Without any number there is no type.
                    Values::I64(none) if none.is_empty() => Values::F32(none.mapv(|_| 0.0)),
                    wanted => wanted,
                };
                assert_eq!(
                    file.read(name, stored, axis, &runs(&rows)).unwrap(),
                    wanted,
                    "{case}: {name} {axis} {rows:?}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn rows_that_stand_side_by_side_are_read_together() {
    assert_eq!(runs(&[4, 5, 6, 2, 3, 3, 0]), [4..7, 2..4, 3..4, 0..1]);
    assert!(runs(&[]).is_empty());
}

/// Makes a model that tags steps, and its loss.
fn tagger() -> (Model, Objective) {
    let model = Model::new().layer(Embedding::new(7, 4)).layer(Lstm::new(4, 5)).layer(Linear::new(5, 3));
    (model, CrossEntropy::default().into())
}

/// Makes a model with a number for each row, which takes steps first.
fn counter() -> (Model, Objective) {
    let mut model = Model::new().layer(Gru::new(3, 4)).layer(Select::LastStep).layer(Linear::new(4, 1));
    model.axes = Axes::TimeMajor;
    (model, Loss::MeanSquared.into())
}

/// Yields ten numbers, over and over.
fn digits() -> impl FnMut() -> i8 {
    let mut last = 0;
    move || {
        last = (last + 7) % 10;
        last
    }
}

#[test]
fn examples_are_those_of_the_tensors_in_memory() {
    let scratch = Scratch::new("examples");
    let mut number = digits();
    let lengths = [3, 1, 4, 4, 2].into_iter().cycle();
    let tags = [
        made("x", 3, &[5, 4], || number() % 7),
        made("y", 5, &[5, 4], || number() % 3),
        made("lengths", 5, &[5], {
            let mut lengths = lengths;
            move || lengths.next().unwrap()
        }),
    ];
    let counts = [made("x", 0, &[4, 5, 3], &mut number), made("y", 1, &[5, 1], &mut number)];
    for ((model, objective), all) in [(tagger(), &tags[..]), (counter(), &counts)] {
        for (name, bytes) in [("a.safetensors", safetensors_of(all)), ("a.npz", npz_of(all))] {
            let path = scratch.write(name, bytes);
            let whole = read(&path, "").unwrap();
            let stored = StoredTensors::of(TensorFile::open(&path).unwrap(), &model, &objective).unwrap();
            assert_eq!(stored.rows(), 5);
            let wanted = (all.len() == 3).then(|| vec![3, 1, 4, 4, 2]);
            assert_eq!(stored.lengths(), wanted);
            assert_eq!(stored.kept.len(), all.len() - 2, "the lengths are kept");
            for rows in [&[2, 3, 4, 0][..], &[1], &[4, 4, 1]] {
                let wanted = whole.iter().map(|(name, values)| {
                    let axis = usize::from(name == "x" && model.axes == Axes::TimeMajor);
                    (name.clone(), select(values, Axis(axis), rows))
                });
                assert_eq!(stored.tensors(rows).unwrap(), wanted.collect(), "{name} {rows:?}");
            }
            assert_eq!(Dataset::of(&model, objective.clone(), stored).unwrap().rows(), 5);
        }
    }
}

/// Returns the error of these tensors as examples of a model.
fn unfit(scratch: &Scratch, (model, objective): (Model, Objective), all: &[Made]) -> String {
    let file = TensorFile::open(&scratch.write("unfit.npz", npz_of(all))).unwrap();
    let data = StoredTensors::of(file, &model, &objective).and_then(|stored| Dataset::of(&model, objective, stored));
    data.unwrap_err().to_string()
}

#[test]
fn tensors_that_do_not_fit_the_model_are_refused_by_name() {
    let scratch = Scratch::new("unfit");
    let x = |rows| made("x", 3, &[rows, 4], || 1);
    let y = |rows| made("y", 3, &[rows, 4], || 2);
    assert_eq!(
        unfit(&scratch, tagger(), &[x(5), y(6)]),
        "x and y: expected as many rows of both, got 5 of [5, 4] and 6 of [6, 4]"
    );
    let error = unfit(&scratch, tagger(), &[x(5), y(5), made("z", 0, &[2, 3], || 1)]);
    assert!(error.starts_with("z: unknown tensor; this model takes x"), "{error}");
    let error = unfit(&scratch, tagger(), &[x(5)]);
    assert!(error.contains("expected the targets of cross_entropy under this name, got x"), "{error}");
    let error = unfit(&scratch, tagger(), &[y(5)]);
    assert!(error.starts_with("x: expected the input under this name"), "{error}");
    let error = unfit(&scratch, tagger(), &[made("z", 0, &[2], || 1)]);
    assert!(error.contains("expected the targets of cross_entropy under this name, got z"), "{error}");
    let error = unfit(&scratch, counter(), &[made("x", 0, &[5], || 1), made("y", 0, &[5, 1], || 1)]);
    assert_eq!(error, "x: expected rows along axis 1, got [5]");
    let error = unfit(&scratch, tagger(), &[x(0), y(0)]);
    assert_eq!(error, "expected examples to train on, got none");
}

#[test]
fn headers_that_claim_what_is_not_there_are_refused() {
    let scratch = Scratch::new("headers");
    let whole = safetensors_of(&[made("x", 0, &[3, 2], || 1)]);
    for length in [0, 7, 8, 40, whole.len() - 1] {
        let error = scratch.refused("a.safetensors", &whole[..length]);
        assert!(error.contains("expected ") && error.contains("; is this a whole .safetensors file?"), "{error}");
    }
    let error = scratch.refused("a.safetensors", [&whole[..], &[0]].concat());
    assert!(error.contains("expected 24 bytes of tensors behind the header, got 25"), "{error}");
    let error = scratch.refused("a.safetensors", [&u64::MAX.to_le_bytes()[..], b"{}"].concat());
    assert!(error.starts_with("header: expected at most 2 bytes, got 18446744073709551615"), "{error}");
    let one = |dtype: &str, shape: &str, end: usize| {
        let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        scratch.refused("a.safetensors", headed(&header, &[0; 8]))
    };
    assert!(one("F32", "[4]", 16).contains("expected 16 bytes of tensors behind the header, got 8"));
    assert!(one("F32", "[4]", 8).starts_with("header: "), "sizes against offsets");
    assert!(one("F32", "[4294967296,4294967296,4]", 8).starts_with("header: "), "more than can be counted");
    assert_eq!(one("F8_E4M3", "[8]", 8), "tensor x: type F8_E4M3 is not read");
    let header = r#"{"x":{"dtype":"F32","shape":[0,9223372036854775807,8],"data_offsets":[0,0]}}"#;
    let error = scratch.refused("a.safetensors", headed(header, &[]));
    assert!(error.starts_with("tensor x: expected a shape that fits into memory, got [0, "), "{error}");

    let whole = npz_of(&[made("x", 0, &[3, 2], || 1)]);
    for length in [0, 60, whole.len() - 1] {
        let error = scratch.refused("a.npz", &whole[..length]);
        assert!(error.starts_with("expected a whole archive, as numpy.savez writes one, got "), "{error}");
    }
    let claims = [("x", npy_of("<f4", false, &[3, 2], &[0; 20]))];
    let error = scratch.refused("a.npz", archive_of(&claims, CompressionMethod::Stored));
    assert_eq!(error, "array x: expected the bytes of [3, 2] of type '<f4', got 20");
}

#[test]
fn a_member_that_the_archive_cannot_hold_is_refused() {
    let scratch = Scratch::new("member");
    let mut bytes = npz_of(&[made("x", 0, &[3, 2], || 1)]);
    // Both sizes of the member in the directory of the archive, after its mark.
    let directory = bytes.windows(4).position(|mark| mark == b"PK\x01\x02").unwrap();
    bytes[directory + 20..directory + 28].fill(0x7f);
    let error = scratch.refused("a.npz", &bytes);
    assert!(error.starts_with("array x: expected 2139062143 bytes of the "), "{error}");
}

#[test]
fn arrays_of_which_no_row_can_be_read_alone_are_refused_with_advice() {
    let scratch = Scratch::new("advice");
    let x = |fortran, shape: &[usize]| [("x", npy_of("|u1", fortran, shape, &[1; 6]))];
    let error = scratch.refused("a.npz", archive_of(&x(true, &[3, 2]), CompressionMethod::Stored));
    assert!(error.starts_with("array x: ") && error.ends_with("; write np.ascontiguousarray(ARRAY)"), "{error}");
    let line = scratch.write("a.npz", archive_of(&x(true, &[6]), CompressionMethod::Stored));
    assert!(TensorFile::open(&line).unwrap().holds("x"), "one axis has one order");
    let error = scratch.refused("a.npz", archive_of(&x(false, &[3, 2]), CompressionMethod::Deflated));
    assert!(error.starts_with("array x: expected an array without compression"), "{error}");
    assert!(error.ends_with("write the file with numpy.savez in place of numpy.savez_compressed"), "{error}");
    let error = scratch.refused("a.npy", npy_of("<f4", false, &[1], &[0; 4]));
    assert!(error.contains("got an .npy file, which holds one array and no targets"), "{error}");
    assert!(scratch.refused("a.txt", "").starts_with("expected a name that ends in .safetensors, .npz or .npy"));
    assert!(TensorFile::open(&scratch.0.join("none.npz")).is_err());
}

#[test]
fn a_file_that_changes_is_an_error_with_its_row() {
    let scratch = Scratch::new("changes");
    let (model, objective) = counter();
    let all = [made("x", 0, &[4, 5, 3], digits()), made("y", 0, &[5, 1], digits())];
    let bytes = safetensors_of(&all);
    let path = scratch.write("a.safetensors", &bytes);
    let open = || StoredTensors::of(TensorFile::open(&path).unwrap(), &model, &objective).unwrap();
    let said = |stored: &StoredTensors, rows: &[usize]| {
        let error = stored.tensors(rows).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        behind(&error, &path)
    };
    let stored = open();
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 30).unwrap();
    let error = said(&stored, &[4]);
    assert!(error.starts_with("tensor x, row 4: expected 12 bytes from byte "), "{error}");
    assert!(error.contains("got the end of the file, which was longer when it was opened; leave "), "{error}");
    assert!(said(&stored, &[3, 4]).starts_with("tensor x, rows 3 to 4: "));

    fs::write(&path, &bytes).unwrap();
    let stored = open();
    let file = File::options().append(true).open(&path).unwrap();
    (&file).write_all(&[0]).unwrap();
    let wanted = format!("got {} bytes where there were {}", bytes.len() + 1, bytes.len());
    let error = said(&stored, &[1]);
    assert!(
        error.starts_with("tensor x, row 1: expected the file as it was opened") && error.contains(&wanted),
        "{error}"
    );

    fs::write(&path, &bytes).unwrap();
    let stored = open();
    assert!(stored.tensors(&[0]).is_ok());
    file.set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap();
    assert!(said(&stored, &[0]).contains("got one that was written to since"));
    // A file that replaced it is another file.
    let stored = open();
    fs::rename(scratch.write("b.safetensors", "other"), &path).unwrap();
    assert!(stored.tensors(&[0]).is_ok());
}
