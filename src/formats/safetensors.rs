//! `.safetensors` files: bytes → named tensors and the description in their metadata, and back.
//!
//! The header is read here, not by the `safetensors` crate (which writes it): its errors name neither tensor nor sizes,
//! it refuses a file for a type that the model does not need, and it wants the whole file in memory. Here a tensor of a
//! file stays there until its elements are asked for, and is written without any other in memory. Knows no model.

mod write;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use half::{bf16, f16};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::weights::Scale;
use crate::weights::{Tensor, Tensors};
pub(super) use write::{KeyedTexts, write_each};
pub use write::{to_bytes, write};

/// The key of the metadata under which the description of the model stands.
pub const MODEL_KEY: &str = "gatewave.model";

/// The key under which a trainer's state stands beside the model.
pub const TRAINING_KEY: &str = "gatewave.training";

/// What each of our keys begins with; other keys are those of whoever wrote the file.
pub(super) const OURS: &str = "gatewave.";

/// What a file says beside its model, by key. Keys begin with `gatewave.`.
pub type Metadata = BTreeMap<String, String>;

const _: () = assert!(cfg!(target_endian = "little"), "elements are read in place, as the file has them");

/// What the name of a tensor of scales ends in, after the name of the tensor that they are of.
const SCALE: &str = "_scale";

/// The longest header, as the format has it.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Tensors, and what the metadata says of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The tensors: F32 as they are, F16 and BF16 widened, F64 rounded to the nearest, I8 times the scales of its rows.
    pub tensors: Tensors,
    /// The description of the model, if there is one.
    pub description: Option<String>,
    /// What stands beside it under keys of ours: the state of a training, the tokenizer and the labels of a model that reads
    /// text.
    pub metadata: Metadata,
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
        let Header { tensors: declared, metadata, data } = read_header(BufReader::new(&file), length)?;
        let stored = Arc::new(Stored { path: path.to_owned(), file: Mutex::new(file) });
        contents(declared, metadata, |elements| {
            let stored = Arc::clone(&stored);
            Ok(Tensor::stored_in_parts(elements.shape.clone(), move |range| {
                stored.elements(data, &elements, range).map_err(|e| e.at(stored.path.display()))
            }))
        })
    };
    open().map_err(|e| e.at(path.display()))
}

/// Reads a file that is in memory: a copy of it is kept, as by [`read_shared`].
///
/// # Errors
///
/// Kind `Weights`, where the file is cut off or its header contradicts itself.
pub fn read_bytes(bytes: &[u8]) -> Result<Contents> {
    read_shared(bytes.into())
}

/// Reads the header of a file that is in memory. The elements stay in `bytes`, and are read from there each time they are
/// asked for.
///
/// # Errors
///
/// As [`read_bytes`].
pub fn read_shared(bytes: Arc<[u8]>) -> Result<Contents> {
    let Header { tensors: declared, metadata, data } = read_header(&*bytes, bytes.len() as u64)?;
    contents(declared, metadata, |elements| {
        let bytes = Arc::clone(&bytes);
        Ok(Tensor::stored_in_parts(elements.shape.clone(), move |range| {
            elements.read(&mut io::Cursor::new(&*bytes), data, range)
        }))
    })
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

/// The texts of the metadata, by key.
type Texts = BTreeMap<String, String>;

struct Header {
    tensors: Declarations,
    metadata: Texts,
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
    let (tensors, metadata) = parse_header(&header)?;
    let data = 8 + header_length;
    let (wanted, got) = (tensors.last().map_or(0, |(_, last)| last.data_offsets[1]), length - data);
    if wanted != got {
        let hint = if got < wanted { "the file is cut off" } else { "there are bytes that belong to no tensor" };
        return wrong(format!("data: expected {wanted} bytes, got {got}; {hint}"));
    }
    Ok(Header { tensors, metadata, data })
}

/// The tensors that a header declares, and the texts of its metadata.
fn parse_header(header: &[u8]) -> Result<(Declarations, Texts)> {
    let wrong = |message: String| Error::new(ErrorKind::Weights, message);
    let mut entries: BTreeMap<String, Value> = serde_json::from_slice(header).map_err(|e| {
        wrong(format!("header: expected a JSON object, got {e}; is this a .safetensors file?")).because(e)
    })?;
    let metadata = match entries.remove("__metadata__") {
        Some(Value::Object(texts)) => texts,
        _ => Map::new(),
    };
    let metadata = metadata.into_iter().filter_map(|(key, text)| match text {
        Value::String(text) => Some((key, text)),
        _ => None,
    });
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
    Ok((tensors, metadata.collect()))
}

/// The tensors that are `declared`, those of a type that is read made by `make`, and what `metadata` tells: the description,
/// and other names of tensors.
fn contents(
    declared: Declarations,
    mut metadata: Texts,
    mut make: impl FnMut(Elements) -> Result<Tensor>,
) -> Result<Contents> {
    let mut tensors = Tensors::new();
    let scales = scales(&declared);
    for (name, declared) in declared {
        if name.strip_suffix(SCALE).is_some_and(|of| scales.contains_key(of)) {
            continue;
        }
        match Elements::of(&declared, scales.get(&name).copied()).map_err(|e| e.at(format!("tensor {name}")))? {
            Some(elements) => {
                let integers = matches!(elements.kind, ElementKind::I8 { .. });
                let tensor = make(elements).map_err(|e| e.at(format!("tensor {name}")))?;
                tensors.insert(name, tensor.with_integers(integers));
            }
            None if declared.dtype == "I8" => {
                let rows = declared.shape.first().copied().unwrap_or_default();
                let dtype = format!("I8 without {} of type F32, [{rows}]", scale_name(&name));
                tensors.insert_unread(name, dtype, declared.shape);
            }
            None => tensors.insert_unread(name, declared.dtype, declared.shape),
        }
    }
    let description = metadata.remove(MODEL_KEY);
    let ours = metadata.keys().filter(|key| key.starts_with(OURS)).cloned().collect::<Vec<_>>();
    let ours = ours.into_iter().filter_map(|key| metadata.remove_entry(&key)).collect();
    tensors.tie(&metadata);
    Ok(Contents { tensors, description, metadata: ours })
}

/// The name of the tensor that holds the scales of the rows of `name`.
fn scale_name(name: &str) -> String {
    format!("{name}{SCALE}")
}

/// Where the scales of each tensor of integers begin that has some: a float for each row.
fn scales(declared: &Declarations) -> HashMap<String, u64> {
    let by_name: HashMap<&str, &Declared> = declared.iter().map(|(name, declared)| (name.as_str(), declared)).collect();
    let integers = declared.iter().filter(|(_, declared)| declared.dtype == "I8");
    let scaled = integers.filter_map(|(name, integers)| {
        let scales = by_name.get(scale_name(name).as_str())?;
        let fit = scales.dtype == "F32" && scales.shape == integers.shape.get(..1)?;
        // Where their bytes contradict their shape, the tensor is an error by itself.
        let begin = Elements::of(scales, None).ok()??.begin;
        fit.then(|| (name.clone(), begin))
    });
    scaled.collect()
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
    /// Integers of rows whose scales begin at this byte of the data.
    I8 {
        scales: u64,
    },
}

impl ElementKind {
    fn bytes(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 { .. } => 1,
        }
    }
}

impl Elements {
    /// What `declared` declares; none where they are of a type that is not read, or integers that no `scales` belong to.
    fn of(declared: &Declared, scales: Option<u64>) -> Result<Option<Self>> {
        let [begin, end] = declared.data_offsets;
        let kind = match (declared.dtype.as_str(), scales) {
            ("F64", _) => ElementKind::F64,
            ("F32", _) => ElementKind::F32,
            ("F16", _) => ElementKind::F16,
            ("BF16", _) => ElementKind::Bf16,
            ("I8", Some(scales)) => ElementKind::I8 { scales },
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
        in_memory((end - begin) / kind.bytes())?;
        Ok(Some(Self { kind, shape: declared.shape.clone(), begin }))
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
            ElementKind::I8 { scales } => {
                let integers = read_in_place::<i8>(source, elems)?;
                let width = self.shape.iter().skip(1).product::<usize>().max(1);
                let rows = range.start / width..range.end.div_ceil(width);
                source.seek(SeekFrom::Start(data + scales + 4 * rows.start as u64)).map_err(cut_off)?;
                let scales = read_in_place::<f32>(source, rows.len())?;
                let scale = |elem: usize| Scale(scales[elem / width - rows.start]);
                range.zip(integers).map(|(elem, integer)| scale(elem).weight(integer)).collect()
            }
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
