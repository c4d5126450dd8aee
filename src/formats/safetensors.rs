//! `.safetensors` files: bytes → named tensors and the description in their metadata, and back.
//!
//! The header is read here and not by the `safetensors` crate, which only writes it. The
//! crate's errors name neither tensor nor sizes. It refuses a file for a type that the model
//! does not need, and it wants the whole file in memory. Here, a tensor stays in its file until
//! its elements are asked for, and is written without any other in memory. Knows no model.

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

use super::content::{self, BEGIN_BYTES, Content, MOST_HEADER_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::weights::Scale;
use crate::weights::{Tensor, Tensors};
pub(super) use write::{KeyedTexts, write_each};
pub use write::{to_bytes, write};

/// The key of the model's description in the metadata.
pub const MODEL_KEY: &str = "gatewave.model";

/// The key of a trainer's state in the metadata.
pub const TRAINING_KEY: &str = "gatewave.training";

/// The beginning of each of our keys. Other keys belong to other writers of the file.
pub(super) const OURS: &str = "gatewave.";

/// The metadata besides the model, by key. Keys begin with `gatewave.`.
pub type Metadata = BTreeMap<String, String>;

const _: () = assert!(cfg!(target_endian = "little"), "elements are read in place, as the file has them");

/// The end of the name of a tensor of scales, after the name of the tensor that is scaled.
const SCALE: &str = "_scale";

/// The contents of a file: tensors and metadata.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Contents {
    /// The tensors: F32 as they are, F16 and BF16 widened, F64 rounded
    /// to the nearest, I8 multiplied by the scales of its rows.
    pub tensors: Tensors,
    /// The description of the model, if there is one.
    pub description: Option<String>,
    /// Other metadata under our keys: the state of a training, or
    /// the tokenizer and the labels of a model that reads text.
    pub metadata: Metadata,
    /// All tensors by name, including those of unsupported types.
    pub listed: Vec<ListedTensor>,
}

/// Reads the header of a file. The elements stay in the file, which is
/// kept open, and are read from there each time they are asked for.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`] if the file cannot be read. Returns an error
/// of kind [`ErrorKind::Weights`] if it is cut off or its header contradicts itself. Reading
/// a tensor is an error of kind [`ErrorKind::Io`] if the file has become shorter since.
pub fn read(path: impl AsRef<Path>) -> Result<Contents> {
    read_at(path.as_ref())
}

fn read_at(path: &Path) -> Result<Contents> {
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

/// A tensor in the list of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedTensor {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements, as the format writes it: `F32`.
    pub dtype: String,
    /// The length of each axis.
    pub shape: Vec<usize>,
}

impl ListedTensor {
    fn of((name, declared): &(String, Declared)) -> Self {
        Self { name: name.clone(), dtype: declared.dtype.clone(), shape: declared.shape.clone() }
    }
}

/// Reads a file in memory, and keeps a copy of it. [`read_shared`] does so without a copy.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`] if the file is cut off or its header contradicts itself.
pub fn read_bytes(bytes: &[u8]) -> Result<Contents> {
    read_shared(bytes.into())
}

/// Reads the header of a file in memory. The elements stay in
/// `bytes`, and are read from there each time they are asked for.
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

/// Tensors by name, in the order of their data, which has no gaps.
type Declarations = Vec<(String, Declared)>;

/// The texts of the metadata, by key.
type Texts = BTreeMap<String, String>;

struct Header {
    tensors: Declarations,
    metadata: Texts,
    /// The offset of the data in the file.
    data: u64,
}

/// Reads the header from the beginning of a file of `length` bytes, and checks it against that length.
fn read_header(mut source: impl Read, length: u64) -> Result<Header> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Weights, message));
    let mut begin = Vec::with_capacity(BEGIN_BYTES);
    source.by_ref().take(BEGIN_BYTES as u64).read_to_end(&mut begin).map_err(cut_off)?;
    if let Some(text) = content::mistaken(&begin, Content::Safetensors) {
        return wrong(text);
    }
    let mut source = begin.as_slice().chain(source);
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

/// Returns the tensors that a header declares, and the texts of its metadata.
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

/// Returns the contents of a file. `make` makes the tensors of supported types
/// among `declared`. `metadata` holds the description, and other names of tensors.
fn contents(
    declared: Declarations,
    mut metadata: Texts,
    mut make: impl FnMut(Elements) -> Result<Tensor>,
) -> Result<Contents> {
    let mut tensors = Tensors::new();
    let scales = scales(&declared);
    let mut listed: Vec<_> = declared.iter().map(ListedTensor::of).collect();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    for (name, declared) in declared {
        if name.strip_suffix(SCALE).is_some_and(|of| scales.contains_key(of)) {
            continue;
        }
        match Elements::of(&declared, scales.get(&name).copied())
            .map_err(|e| e.of_tensor(&name).at(format!("tensor {name}")))?
        {
            Some(elements) => {
                let integers = matches!(elements.kind, ElementKind::I8 { .. });
                let tensor = make(elements).map_err(|e| e.of_tensor(&name).at(format!("tensor {name}")))?;
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
    Ok(Contents { tensors, description, metadata: ours, listed })
}

/// Returns the name of the tensor with the scales of the rows of `name`.
fn scale_name(name: &str) -> String {
    format!("{name}{SCALE}")
}

/// Returns the offset of the scales of each tensor of integers that has some: one float for each row.
fn scales(declared: &Declarations) -> HashMap<String, u64> {
    let by_name: HashMap<&str, &Declared> = declared.iter().map(|(name, declared)| (name.as_str(), declared)).collect();
    let integers = declared.iter().filter(|(_, declared)| declared.dtype == "I8");
    let scaled = integers.filter_map(|(name, integers)| {
        let scales = by_name.get(scale_name(name).as_str())?;
        let fit = scales.dtype == "F32" && scales.shape == integers.shape.get(..1)?;
        // If their bytes contradict their shape, reading that tensor is an error of its own.
        let begin = Elements::of(scales, None).ok()??.begin;
        fit.then(|| (name.clone(), begin))
    });
    scaled.collect()
}

/// An open file.
struct Stored {
    path: PathBuf,
    file: Mutex<File>,
}

impl Stored {
    /// Reads the elements in `range` of the tensor `elements`.
    fn elements(&self, data: u64, elements: &Elements, range: Range<usize>) -> Result<Vec<f32>> {
        // A panic elsewhere changes only the position, which every read sets.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        elements.read(&mut *file, data, range)
    }
}

/// The elements of a tensor in a file: their type and place.
struct Elements {
    kind: ElementKind,
    shape: Vec<usize>,
    /// Their first byte, counted from the beginning of the data.
    begin: u64,
}

/// The supported types of elements.
#[derive(Clone, Copy)]
enum ElementKind {
    F64,
    F32,
    F16,
    Bf16,
    /// Integers whose rows have scales, which begin at this byte of the data.
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
    /// Returns the elements that `declared` declares; `None` if their
    /// type is not supported, or if they are integers without `scales`.
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

    /// Reads the elements in `range`, from a file whose data begins at `data`.
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
