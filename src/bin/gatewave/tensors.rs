//! Tensor files of the command line: `.safetensors`, `.npz` and `.npy`, read and written.
//!
//! Turns files into named arrays and back. Knows neither what the names mean nor which
//! model they are for. `npy` reads NumPy's formats, and `stored` parts of tensors that
//! stay in their file. Only `rows` knows a model, for the axis of the examples.

mod npy;
mod rows;
mod series;
mod stored;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Cursor, Seek, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use gatewave::formats::{Content, content};
use gatewave::inspect::Replacement;
use gatewave::inspect::numpy::size_of_array;
use gatewave::{Error, ErrorKind, NamedTensors, Result, Values};
use half::{bf16, f16};
use ndarray::ArrayD;
use ndarray_npy::{NpzWriter, WriteNpyExt};
use safetensors::tensor::{Dtype, TensorView};

use crate::Outcome;
use crate::files::{self, unwritable};
pub(crate) use rows::StoredTensors;
pub(crate) use series::{can_hold_series, read_bounded, read_series, read_series_with};
pub(crate) use stored::TensorFile;

/// The format of a file of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Named tensors
    Safetensors,
    /// Arrays of NumPy by name
    Npz,
    /// One array of NumPy
    Npy,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npz") => Ok(Self::Npz),
            Some("npy") => Ok(Self::Npy),
            _ => Err(io_error(path, "expected a name that ends in .safetensors, .npz or .npy")),
        }
    }

    /// Returns the format of bytes without a file name.
    fn of_bytes(bytes: &[u8]) -> Result<Self, String> {
        match Content::of(bytes) {
            Some(Content::Safetensors) => Ok(Self::Safetensors),
            Some(Content::Zip) => Ok(Self::Npz),
            Some(Content::Npy) => Ok(Self::Npy),
            other => {
                let got = content::told(other, bytes);
                Err(format!("expected a .safetensors, .npz or .npy file by its first bytes, got {got}"))
            }
        }
    }
}

fn io_error(path: &Path, what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("{}: {what}", files::name(path)))
}

/// Reads the arrays of the file at `path` by name: any floating type as f32, any integer type and booleans as i64.
/// The array of an `.npy` file, which has no name, is `unnamed`. The format of a stream is that of its first bytes.
///
/// # Errors
///
/// Returns an error of kind `Io` if the file cannot be read, is not what its name says, or holds an unsupported type.
pub(crate) fn read(path: &Path, unnamed: &str) -> Result<NamedTensors> {
    if let Some(bytes) = files::streamed(path)? {
        let format = Format::of_bytes(&bytes).map_err(|e| io_error(path, e))?;
        return read_bytes(path, format, &bytes, unnamed);
    }
    let format = Format::of(path)?;
    let bytes = fs::read(path).map_err(|e| io_error(path, &e))?;
    read_bytes(path, format, &bytes, unnamed)
}

fn read_bytes(path: &Path, format: Format, bytes: &[u8], unnamed: &str) -> Result<NamedTensors> {
    match format {
        Format::Safetensors => read_safetensors(path, bytes),
        Format::Npz => read_npz(path, bytes),
        Format::Npy => {
            let array = npy::read(bytes, bytes.len() as u64).map_err(|e| io_error(path, e))?;
            Ok(NamedTensors::from([(unnamed.to_owned(), values(&array))]))
        }
    }
}

fn read_safetensors(path: &Path, bytes: &[u8]) -> Result<NamedTensors> {
    if let Some(text) = content::mistaken(bytes, Content::Safetensors) {
        return Err(io_error(path, text));
    }
    let file = safetensors::SafeTensors::deserialize(bytes)
        .map_err(|e| io_error(path, format_args!("{e}; is this a whole .safetensors file?")))?;
    let mut tensors = NamedTensors::new();
    for (name, view) in file.iter() {
        let scalars = scalars(view.dtype(), view.data())
            .ok_or_else(|| io_error(path, format_args!("tensor {name}: type {:?} is not read", view.dtype())))?;
        let array = ArrayD::from_shape_vec(view.shape(), scalars)
            .map_err(|e| io_error(path, format_args!("tensor {name}: {e}")))?;
        tensors.insert(name.to_owned(), values(&array));
    }
    Ok(tensors)
}

fn read_npz(path: &Path, bytes: &[u8]) -> Result<NamedTensors> {
    let mut tensors = NamedTensors::new();
    for (name, array) in npy::read_archive(bytes).map_err(|e| io_error(path, e))? {
        let array = array.map_err(|e| io_error(path, e).at(format_args!("array {name}")))?;
        tensors.insert(name, values(&array));
    }
    Ok(tensors)
}

/// A number of a file, whatever its type there.
#[derive(Clone, Copy, Debug)]
enum Scalar {
    Real(f32),
    Whole(i64),
}

/// Returns the array, as integers if all numbers are whole by type.
fn values(array: &ArrayD<Scalar>) -> Values {
    // A file in Fortran's order has its axes reversed in memory.
    let array = array.as_standard_layout();
    if array.iter().all(|scalar| matches!(scalar, Scalar::Whole(_))) && !array.is_empty() {
        Values::I64(array.mapv(|scalar| match scalar {
            Scalar::Whole(value) => value,
            Scalar::Real(_) => 0,
        }))
    } else {
        Values::F32(array.mapv(Scalar::real))
    }
}

impl Scalar {
    #[allow(clippy::cast_precision_loss, reason = "tokens and flags are far below 2^24")]
    fn real(self) -> f32 {
        match self {
            Self::Real(value) => value,
            Self::Whole(value) => value as f32,
        }
    }
}

/// Returns the numbers of little-endian `bytes`; `None` if the type is not supported.
#[allow(clippy::cast_possible_truncation, reason = "f64 is read as the nearest f32")]
fn scalars(dtype: Dtype, bytes: &[u8]) -> Option<Vec<Scalar>> {
    fn each<const N: usize>(bytes: &[u8], scalar: impl Fn([u8; N]) -> Scalar) -> Vec<Scalar> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| scalar(*chunk)).collect()
    }
    use Scalar::{Real, Whole};
    Some(match dtype {
        Dtype::F64 => each(bytes, |b| Real(f64::from_le_bytes(b) as f32)),
        Dtype::F32 => each(bytes, |b| Real(f32::from_le_bytes(b))),
        Dtype::F16 => each(bytes, |b| Real(f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => each(bytes, |b| Real(bf16::from_le_bytes(b).to_f32())),
        Dtype::I64 => each(bytes, |b| Whole(i64::from_le_bytes(b))),
        Dtype::I32 => each(bytes, |b| Whole(i32::from_le_bytes(b).into())),
        Dtype::I16 => each(bytes, |b| Whole(i16::from_le_bytes(b).into())),
        Dtype::I8 => each(bytes, |b| Whole(i8::from_le_bytes(b).into())),
        // No valid token, length or flag comes near the clamp; any other is refused later by its value.
        Dtype::U64 => each(bytes, |b| Whole(i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX))),
        Dtype::U32 => each(bytes, |b| Whole(u32::from_le_bytes(b).into())),
        Dtype::U16 => each(bytes, |b| Whole(u16::from_le_bytes(b).into())),
        Dtype::U8 => each(bytes, |b| Whole(u8::from_le_bytes(b).into())),
        Dtype::BOOL => each(bytes, |[b]| Whole((b != 0).into())),
        _ => return None,
    })
}

/// Reverses the bytes of each number, if the most significant one comes first.
fn little_endian(dtype: Dtype, big_endian: bool, bytes: &mut [u8]) {
    if big_endian {
        bytes.chunks_exact_mut(dtype.bitsize() / 8).for_each(<[u8]>::reverse);
    }
}

/// A file that will be written, or a stream. The file is proven
/// writable when this is made, and replaced only when the work is done.
pub(crate) struct Destination {
    path: PathBuf,
    format: Format,
    sink: Sink,
}

/// Where bytes go.
enum Sink {
    File(Replacement),
    StandardOutput,
    /// A pipe or a device, which is opened once there is something to write.
    Stream,
}

impl Destination {
    /// Opens a temporary file beside `path`, in `format` or else the format
    /// of its name. A stream without either is a `.safetensors` file.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`] if nothing gives the
    /// format, or if `path` is a folder, a terminal, or cannot be written.
    pub(crate) fn open(path: &Path, format: Option<Format>) -> Result<Self> {
        let is_standard = files::is_standard_output(path);
        let format = match format {
            Some(format) => format,
            None if is_standard || files::is_stream(path) => Format::of(path).unwrap_or(Format::Safetensors),
            None => Format::of(path)?,
        };
        let sink = match is_standard {
            true => {
                files::no_terminal("tensors")?;
                Sink::StandardOutput
            }
            false if files::is_stream(path) => Sink::Stream,
            false => Sink::File(Replacement::open(path)?),
        };
        Ok(Self { path: path.to_owned(), format, sink })
    }

    /// Returns whether the file holds one array alone.
    pub(crate) fn takes_one(&self) -> bool {
        self.format == Format::Npy
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `arrays` and moves the file to its path; standard
    /// output is `out`. An `.npy` file takes the first array alone.
    ///
    /// # Errors
    ///
    /// Stops with an error of kind [`ErrorKind::Io`] if the system refuses.
    pub(crate) fn write(self, arrays: &[(String, Values)], out: &mut impl Write) -> Outcome<()> {
        let Self { path, format, sink } = self;
        let encoded = || {
            let mut bytes = Cursor::new(Vec::new());
            format.write(&mut bytes, arrays).map(|()| bytes.into_inner())
        };
        match sink {
            Sink::File(file) => file.finish(|file| format.write(file, arrays).map_err(|e| unwritable(&path, &e)))?,
            Sink::StandardOutput => out.write_all(&encoded()?)?,
            Sink::Stream => {
                let write = || OpenOptions::new().write(true).open(&path)?.write_all(&encoded()?);
                write().map_err(|e| unwritable(&path, &e))?;
            }
        }
        Ok(())
    }
}

impl Format {
    fn write(self, file: &mut (impl Write + Seek), arrays: &[(String, Values)]) -> io::Result<()> {
        match self {
            Self::Safetensors => write_safetensors(file, arrays),
            Self::Npz => write_npz(file, arrays),
            Self::Npy => write_npy(file, arrays),
        }
    }
}

fn write_safetensors(file: &mut impl Write, arrays: &[(String, Values)]) -> io::Result<()> {
    let bytes = |array: &Values| match array {
        Values::I64(array) => (Dtype::I64, array.iter().flat_map(|value| value.to_le_bytes()).collect()),
        reals => (Dtype::F32, reals.to_f32().iter().flat_map(|value| value.to_le_bytes()).collect()),
    };
    let bytes: Vec<(Dtype, Vec<u8>)> = arrays.iter().map(|(_, array)| bytes(array)).collect();
    let views = arrays
        .iter()
        .zip(&bytes)
        .map(|((name, array), (dtype, bytes))| Ok((name, TensorView::new(*dtype, array.shape().to_vec(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(io::Error::other)?;
    file.write_all(&safetensors::serialize(views, None).map_err(io::Error::other)?)
}

fn write_npz(file: &mut (impl Write + Seek), arrays: &[(String, Values)]) -> io::Result<()> {
    let mut writer = NpzWriter::new(BufWriter::new(file));
    for (name, array) in arrays {
        match array {
            Values::I64(array) => writer.add_array(name.as_str(), array),
            reals => writer.add_array(name.as_str(), &*reals.to_f32()),
        }
        .map_err(io::Error::other)?;
    }
    writer.finish().map_err(io::Error::other)?.flush()
}

fn write_npy(file: &mut impl Write, arrays: &[(String, Values)]) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    let (_, array) = arrays.first().expect("a run gives an output");
    match array {
        Values::I64(array) => array.write_npy(&mut writer),
        reals => reals.to_f32().write_npy(&mut writer),
    }
    .map_err(io::Error::other)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::File;

    use ndarray::array;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        env::temp_dir().join(format!("gatewave-{}-{name}", std::process::id()))
    }

    #[test]
    fn every_format_gives_back_what_was_written() {
        let array = array![[1.5_f32, -2.0, 3.25], [0.0, 5.0, -6.5]].into_dyn();
        for (file, name) in [("a.safetensors", "output"), ("a.npz", "output"), ("a.npy", "x")] {
            let path = scratch(file);
            let written = [("output".to_owned(), array.clone().into())];
            let destination = Destination::open(&path, None).unwrap();
            assert!(destination.write(&written, &mut io::sink()).is_ok(), "{file}");
            let read = read(&path, "x").unwrap();
            fs::remove_file(&path).unwrap();
            assert_eq!(read, NamedTensors::from([(name.to_owned(), Values::F32(array.clone()))]), "{file}");
        }
    }

    #[test]
    fn arrays_that_numpy_compressed_are_read() {
        let (array, path) = (ndarray::Array2::from_elem((3, 64), 1.5_f32), scratch("compressed.npz"));
        let mut writer = NpzWriter::new_compressed(File::create(&path).unwrap());
        writer.add_array("x", &array).unwrap();
        writer.finish().unwrap();
        let read = read(&path, "x").unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 4 * array.len() as u64);
        fs::remove_file(&path).unwrap();
        assert_eq!(read, NamedTensors::from([("x".to_owned(), Values::from(array))]));
    }

    #[test]
    fn numpy_types_and_orders_are_told_apart() {
        let npy = |descr: &str, fortran: &str, data: &[u8]| {
            let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': (2, 2), }}");
            while (10 + header.len() + 1) % 64 != 0 {
                header.push(' ');
            }
            header.push('\n');
            let length = u16::try_from(header.len()).unwrap().to_le_bytes();
            [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
        };
        let read = |bytes: &[u8]| npy::read(bytes, bytes.len() as u64).map(|array| values(&array));
        let whole = |rows: [[i64; 2]; 2]| Values::I64(ndarray::arr2(&rows).into_dyn());
        assert_eq!(read(&npy("|u1", "False", &[1, 2, 3, 4])).unwrap(), whole([[1, 2], [3, 4]]));
        assert_eq!(read(&npy("|u1", "True", &[1, 2, 3, 4])).unwrap(), whole([[1, 3], [2, 4]]));
        assert_eq!(read(&npy(">i2", "False", &[0, 1, 0, 2, 255, 255, 1, 0])).unwrap(), whole([[1, 2], [-1, 256]]));
        let halves = npy("<f2", "False", &[0, 0x3c, 0, 0x40, 0, 0xbc, 0, 0]);
        assert_eq!(read(&halves).unwrap(), Values::F32(array![[1.0, 2.0], [-1.0, 0.0]].into_dyn()));
        let error = read(&npy("<c8", "False", &[0; 32])).unwrap_err();
        assert_eq!(error, "expected floats, integers or booleans, got type '<c8'");
        assert!(read(&npy("<f4", "False", &[0; 15])).is_err(), "a short file is refused");
        assert!(read(&npy("<f4", "False", &[0; 17])).is_err(), "a long file is refused");
    }

    /// Makes an `.npy` file of version 2 with this header.
    fn headed(header: &str) -> Vec<u8> {
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x02\x00".as_slice(), &length, header.as_bytes()].concat()
    }

    #[test]
    fn headers_are_read_as_python_writes_them() {
        let read =
            |text: &str| npy::read(&*headed(text), headed(text).len() as u64).map(|array| array.shape().to_vec());
        let empty = Ok(vec![0, 3]);
        assert_eq!(read("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }   \n"), empty);
        assert_eq!(read("{\"shape\":(0L,3L),'fortran_order':True,'descr':'|b1'}"), empty);
        assert_eq!(read("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }"), Ok(vec![0]));
        for (text, said) in [
            ("{'descr': '<f4', 'fortran_order': False}", "got fewer keys"),
            ("{'descr': '<f4', 'descr': '<f4'}", "expected descr once"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "expected the name of a type"),
            ("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", "expected True or False"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "expected whole numbers"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "expected whole numbers"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} or else", "expected its end"),
            (&format!("{{'descr': '<f4', 'shape': ({})}}", "1,".repeat(65)), "expected at most 64 axes"),
            ("{'descr", "expected a text in quotes"),
            ("", "expected \"{\""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_header_is_read_in_one_pass_and_claims_nothing_that_is_not_there() {
        let read = |bytes: &[u8]| npy::read(bytes, bytes.len() as u64).map(drop).unwrap_err();
        // A parser that tries again at each bracket would not return.
        for (open, close) in [("(", ")"), ("[", "]"), ("{", "}")] {
            let deep = format!("{}{}", open.repeat(30_000), close.repeat(30_000));
            read(&headed(&deep));
            read(&headed(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {deep}}}")));
        }
        for shape in ["(0,18446744073709551615,8)", "(18446744073709551615,)", "(4294967296,4294967296,4)", "(3,)"] {
            let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
            let error = read(&headed(&header));
            assert!(error.starts_with("expected the bytes of ["), "{error}");
        }
        let long = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), b"{}"].concat();
        assert!(read(&long).contains("header: expected at most 65536 bytes, got 4294967295"));
        assert!(read(b"\x93NUMPY\x01\x00\xff").contains("cut off"));
    }

    #[test]
    fn a_destination_that_is_not_written_leaves_no_trace() {
        let path = scratch("kept.npy");
        fs::write(&path, b"before").unwrap();
        drop(Destination::open(&path, None).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        let hidden = format!(".gatewave-{}-kept", std::process::id());
        let left = fs::read_dir(env::temp_dir())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&hidden));
        assert_eq!(left.count(), 0);
        fs::remove_file(&path).unwrap();
    }
}
