//! `.safetensors` files: bytes → named tensors and the description in their metadata, and back.
//!
//! The header is read here, not by the `safetensors` crate (which writes it): its errors name neither tensor nor sizes,
//! it refuses a file for a type that the model does not need, and it wants the whole file in memory. Here a tensor of a
//! file stays there until its elements are asked for, and is written without any other in memory. Knows no model.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use half::{bf16, f16};
use serde::Deserialize;
use serde_json::Value;

use super::replace::Replacement;
use super::tensors::{Tensor, Tensors};
use super::{Precision, narrowed};
use crate::error::{Error, ErrorKind, Result};

/// The key of the metadata under which the description of the model stands.
pub const MODEL_KEY: &str = "gatewave.model";

const _: () = assert!(cfg!(target_endian = "little"), "elements are read in place, as the file has them");

/// The longest header, as the format has it.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Tensors, and the description that the metadata holds under [`MODEL_KEY`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The tensors: F32 as they are, F16 and BF16 widened, F64 rounded to the nearest.
    pub tensors: Tensors,
    /// The description of the model, if there is one.
    pub description: Option<String>,
}

/// Reads the header of a file. The elements stay in the file, which is kept open, and are read from there each time
/// they are asked for.
///
/// # Errors
///
/// Kind `Io` where the file cannot be read, `Weights` where it is cut off or its header contradicts itself. Reading a
/// tensor of a file that has become shorter since is an error of kind `Io`.
pub fn read(path: &Path) -> Result<Contents> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    let open = || -> Result<Contents> {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let Header { tensors: declared, description, data } = read_header(BufReader::new(&file), length)?;
        let stored = Arc::new(Stored { path: path.to_owned(), file: Mutex::new(file) });
        let tensors = contents(declared, |elements| {
            let stored = Arc::clone(&stored);
            Ok(Tensor::stored_in_parts(elements.shape.clone(), move |range| {
                stored.elements(data, &elements, range).map_err(|e| e.at(stored.path.display()))
            }))
        })?;
        Ok(Contents { tensors, description })
    };
    open().map_err(|e| e.at(path.display()))
}

/// Reads a file that is in memory.
///
/// # Errors
///
/// Kind `Weights`, where the file is cut off or its header contradicts itself.
pub fn read_bytes(bytes: &[u8]) -> Result<Contents> {
    let Header { tensors: declared, description, data } = read_header(bytes, bytes.len() as u64)?;
    let tensors = contents(declared, |elements| {
        let mut source = io::Cursor::new(bytes);
        let held = elements.read(&mut source, data, 0..elements.len)?;
        Ok(Tensor::new(elements.shape, held))
    })?;
    Ok(Contents { tensors, description })
}

/// The bytes of a file that holds `tensors` (those that were read) in `precision`, and `description`.
///
/// # Errors
///
/// Kind `Weights`, where a tensor's elements are not as many as its shape says, or one is too large for `precision`;
/// and what reading the tensors gives.
pub fn to_bytes(tensors: &Tensors, description: Option<&str>, precision: Precision) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, tensors, description, precision)?;
    Ok(bytes)
}

/// Writes a file that holds `tensors` in `precision`, and `description`: tensor by tensor, so that no more than one is
/// in memory. A file that was there is replaced when the new one is whole, and not before.
///
/// # Errors
///
/// As [`to_bytes`], and kind `Io` where the file cannot be written.
pub fn write(path: &Path, tensors: &Tensors, description: Option<&str>, precision: Precision) -> Result<()> {
    Replacement::open(path)?.finish(|file| {
        let mut file = BufWriter::new(file);
        write_to(&mut file, tensors, description, precision)
            .and_then(|()| file.flush().map_err(unwritable))
            .map_err(|e| e.at(path.display()))
    })
}

fn write_to(to: &mut impl Write, tensors: &Tensors, description: Option<&str>, precision: Precision) -> Result<()> {
    let header = header(tensors, description, precision)?;
    to.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| to.write_all(&header)).map_err(unwritable)?;
    for (name, tensor) in tensors.iter() {
        let rows = tensor.shape().first().copied().unwrap_or(1);
        let mut part = |_, elements: &[f32]| to.write_all(&stored(elements, precision)?).map_err(unwritable);
        tensor.read_rows(0..rows, &mut part).map_err(|e| e.at(format!("tensor {name}")))?;
    }
    Ok(())
}

/// The header: the tensors in the order of their names, padded so that the data is aligned.
fn header(tensors: &Tensors, description: Option<&str>, precision: Precision) -> Result<Vec<u8>> {
    let unfit = |e: ::safetensors::SafeTensorError| Error::new(ErrorKind::Weights, format!("{e}")).because(e);
    let (dtype, elem_bytes) = match precision {
        Precision::F32 => (Dtype::F32, 4),
        Precision::F16 => (Dtype::F16, 2),
    };
    let mut end = 0;
    let declared = tensors.iter().map(|(name, tensor)| {
        let begin = end;
        end = tensor.shape().iter().fold(elem_bytes, |bytes: usize, &n| bytes.saturating_mul(n)).saturating_add(begin);
        (name.to_owned(), TensorInfo { dtype, shape: tensor.shape().to_vec(), data_offsets: (begin, end) })
    });
    let metadata = description.map(|text| HashMap::from([(MODEL_KEY.to_owned(), text.to_owned())]));
    let metadata = Metadata::new(metadata, declared.collect()).map_err(unfit)?;
    let mut header = serde_json::to_vec(&metadata).expect("plain data");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// The bytes of `elements` as a file has them.
fn stored(elements: &[f32], precision: Precision) -> Result<Cow<'_, [u8]>> {
    if precision == Precision::F32 {
        return Ok(bytemuck::cast_slice(elements).into());
    }
    let mut bytes = Vec::with_capacity(2 * elements.len());
    for &x in elements {
        bytes.extend(narrowed(x)?.to_le_bytes());
    }
    Ok(bytes.into())
}

/// A tensor as the header declares it.
#[derive(Deserialize)]
struct Declared {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Tensors by name, in the order of their data, which leaves no holes.
type Declarations = Vec<(String, Declared)>;

struct Header {
    tensors: Declarations,
    description: Option<String>,
    /// Where the data begins in the file.
    data: u64,
}

/// Reads the header from the beginning of a file of `length` bytes, and checks it against that length.
fn read_header(mut source: impl Read, length: u64) -> Result<Header> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Weights, message));
    if length < 8 {
        return wrong(format!(
            "expected at least 8 bytes (the header's length), got {length}; is this a .safetensors file?"
        ));
    }
    let mut header_length = [0; 8];
    read_exact(&mut source, &mut header_length)?;
    let header_length = u64::from_le_bytes(header_length);
    if header_length > length - 8 {
        return wrong(format!(
            "header: expected {header_length} bytes, got {}; the file is cut off, or is no .safetensors file",
            length - 8
        ));
    }
    if header_length > MOST_HEADER_BYTES {
        return wrong(format!("header: expected at most {MOST_HEADER_BYTES} bytes, got {header_length}"));
    }
    let mut header = vec![0; in_memory(header_length)?];
    read_exact(&mut source, &mut header)?;
    let (tensors, description) = parse_header(&header)?;
    let data = 8 + header_length;
    let (wanted, got) = (tensors.last().map_or(0, |(_, last)| last.data_offsets[1]), length - data);
    if wanted != got {
        let hint = if got < wanted { "the file is cut off" } else { "there are bytes that belong to no tensor" };
        return wrong(format!("data: expected {wanted} bytes, got {got}; {hint}"));
    }
    Ok(Header { tensors, description, data })
}

/// The tensors that a header declares, and the description.
fn parse_header(header: &[u8]) -> Result<(Declarations, Option<String>)> {
    let wrong = |message: String| Error::new(ErrorKind::Weights, message);
    let mut entries: BTreeMap<String, Value> = serde_json::from_slice(header).map_err(|e| {
        wrong(format!("header: expected a JSON object, got {e}; is this a .safetensors file?")).because(e)
    })?;
    let description =
        entries.remove("__metadata__").and_then(|m| m.get(MODEL_KEY).and_then(Value::as_str).map(str::to_owned));
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let declared: Declared = serde_json::from_value(entry)
            .map_err(|e| wrong(format!("header: tensor {name}: expected dtype, shape and data_offsets, got {e}")))?;
        tensors.push((name, declared));
    }
    tensors.sort_by_key(|(_, declared)| declared.data_offsets);
    let mut end = 0;
    for (name, declared) in &tensors {
        let [begin, stop] = declared.data_offsets;
        if begin != end || stop < begin {
            return Err(wrong(format!(
                "header: tensor {name}: expected data_offsets [{end}, …] (where the one before ends), got [{begin}, {stop}]"
            )));
        }
        end = stop;
    }
    Ok((tensors, description))
}

/// The tensors that are `declared`, those of a type that is read made by `make`.
fn contents(declared: Vec<(String, Declared)>, mut make: impl FnMut(Elements) -> Result<Tensor>) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for (name, declared) in declared {
        match Elements::of(&declared).map_err(|e| e.at(format!("tensor {name}")))? {
            Some(elements) => {
                let tensor = make(elements).map_err(|e| e.at(format!("tensor {name}")))?;
                tensors.insert(name, tensor);
            }
            None => tensors.insert_unread(name, declared.dtype, declared.shape),
        }
    }
    Ok(tensors)
}

/// A file that is open.
struct Stored {
    path: PathBuf,
    file: Mutex<File>,
}

impl Stored {
    /// Elements `range` of the tensor `elements`.
    fn elements(&self, data: u64, elements: &Elements, range: Range<usize>) -> Result<Vec<f32>> {
        // A panic elsewhere leaves no more than a position, which every read sets.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        elements.read(&mut *file, data, range)
    }
}

/// The elements of a tensor of a file: what they are and where.
struct Elements {
    kind: ElementKind,
    shape: Vec<usize>,
    /// How many.
    len: usize,
    /// Their first byte, counted from where the data begins.
    begin: u64,
}

/// The types of elements that are read.
#[derive(Clone, Copy)]
enum ElementKind {
    F64,
    F32,
    F16,
    Bf16,
}

impl ElementKind {
    fn bytes(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

impl Elements {
    /// What `declared` declares; none where they are of a type that is not read.
    fn of(declared: &Declared) -> Result<Option<Self>> {
        let [begin, end] = declared.data_offsets;
        let kind = match declared.dtype.as_str() {
            "F64" => ElementKind::F64,
            "F32" => ElementKind::F32,
            "F16" => ElementKind::F16,
            "BF16" => ElementKind::Bf16,
            _ => return Ok(None),
        };
        let bytes = declared.shape.iter().try_fold(kind.bytes(), |bytes, &n| bytes.checked_mul(n as u64));
        if bytes != Some(end - begin) {
            let wanted = bytes.map_or("more than 2^64".into(), |bytes| bytes.to_string());
            return Err(Error::new(
                ErrorKind::Weights,
                format!(
                    "expected {wanted} bytes for {} {:?}, got {} (data_offsets [{begin}, {end}])",
                    declared.dtype,
                    declared.shape,
                    end - begin
                ),
            ));
        }
        let len = in_memory((end - begin) / kind.bytes())?;
        Ok(Some(Self { kind, shape: declared.shape.clone(), len, begin }))
    }

    /// Elements `range`, from a file whose data begins at `data`.
    fn read(&self, source: &mut (impl Read + Seek), data: u64, range: Range<usize>) -> Result<Vec<f32>> {
        let at = data + self.begin + range.start as u64 * self.kind.bytes();
        source.seek(SeekFrom::Start(at)).map_err(cut_off)?;
        let elems = range.len();
        Ok(match self.kind {
            ElementKind::F32 => read_in_place(source, elems)?,
            ElementKind::F16 => read_in_place::<f16>(source, elems)?.into_iter().map(f16::to_f32).collect(),
            ElementKind::Bf16 => read_in_place::<bf16>(source, elems)?.into_iter().map(bf16::to_f32).collect(),
            #[expect(clippy::cast_possible_truncation, reason = "F64 is rounded to the nearest f32, as documented")]
            ElementKind::F64 => read_in_place::<f64>(source, elems)?.into_iter().map(|x| x as f32).collect(),
        })
    }
}

fn read_in_place<T: bytemuck::Pod>(source: &mut impl Read, elems: usize) -> Result<Vec<T>> {
    let mut data = vec![T::zeroed(); elems];
    read_exact(source, bytemuck::cast_slice_mut(&mut data))?;
    Ok(data)
}

fn in_memory(length: u64) -> Result<usize> {
    usize::try_from(length)
        .map_err(|e| Error::new(ErrorKind::Weights, format!("expected what fits memory, got {length}")).because(e))
}

fn read_exact(source: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    source.read_exact(buffer).map_err(cut_off)
}

fn cut_off(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the file could not be read to its end: {e}")).because(e)
}

fn unwritable(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot be written: {e}")).because(e)
}
