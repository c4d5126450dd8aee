//! `.safetensors` files: bytes → named tensors and the description in their metadata, and back.
//!
//! The header is read here, not by the `safetensors` crate (which writes): its errors name neither tensor nor sizes,
//! it refuses a file for a type that the model does not need, and it wants the whole file in memory. Here each tensor
//! is read straight to where it stays. Knows no model.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use ::safetensors::{Dtype, View, serialize};
use half::{bf16, f16};
use serde::Deserialize;
use serde_json::Value;

use super::tensors::{Tensor, Tensors};
use crate::error::{Error, ErrorKind, Result};

/// The key of the metadata under which the description of the model stands.
pub const MODEL_KEY: &str = "gatewave.model";

const _: () = assert!(cfg!(target_endian = "little"), "elements are read in place, as the file has them");

/// Tensors, and the description that the metadata holds under [`MODEL_KEY`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The tensors: F32 as they are, F16 and BF16 widened, F64 rounded to the nearest.
    pub tensors: Tensors,
    /// The description of the model, if there is one.
    pub description: Option<String>,
}

/// Reads a file.
///
/// # Errors
///
/// Kind `Io` where the file cannot be read, `Weights` where it is cut off or its header contradicts itself.
pub fn read(path: &Path) -> Result<Contents> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    let open = || -> Result<Contents> {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        read_from(BufReader::new(file), length)
    };
    open().map_err(|e| e.at(path.display()))
}

/// Reads a file that is in memory.
///
/// # Errors
///
/// Kind `Weights`, where the file is cut off or its header contradicts itself.
pub fn read_bytes(bytes: &[u8]) -> Result<Contents> {
    read_from(bytes, bytes.len() as u64)
}

/// The bytes of a file that holds `tensors` (those that were read) in F32, and `description`.
///
/// # Errors
///
/// Kind `Weights`, where a tensor's elements are not as many as its shape says.
pub fn to_bytes(tensors: &Tensors, description: Option<&str>) -> Result<Vec<u8>> {
    let metadata = description.map(|text| HashMap::from([(MODEL_KEY.to_owned(), text.to_owned())]));
    serialize(tensors.iter(), metadata).map_err(|e| Error::new(ErrorKind::Weights, format!("{e}")).because(e))
}

/// Writes a file that holds `tensors` in F32, and `description`.
///
/// # Errors
///
/// As [`to_bytes`], and kind `Io` where the file cannot be written.
pub fn write(path: &Path, tensors: &Tensors, description: Option<&str>) -> Result<()> {
    to_bytes(tensors, description)
        .and_then(|bytes| fs::write(path, bytes).map_err(|e| Error::new(ErrorKind::Io, format!("{e}")).because(e)))
        .map_err(|e| e.at(path.display()))
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        Tensor::shape(self)
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        bytemuck::cast_slice(&self.read().expect("held")).to_vec().into()
    }

    fn data_len(&self) -> usize {
        4 * Tensor::shape(self).iter().product::<usize>()
    }
}

/// A tensor as the header declares it.
#[derive(Deserialize)]
struct Declared {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

struct Header {
    /// In the order of their data, which leaves no holes.
    tensors: Vec<(String, Declared)>,
    description: Option<String>,
}

fn read_from(mut source: impl Read, length: u64) -> Result<Contents> {
    let wrong = |message: String| Error::new(ErrorKind::Weights, message);
    if length < 8 {
        return Err(wrong(format!(
            "expected at least 8 bytes (the header's length), got {length}; is this a .safetensors file?"
        )));
    }
    let mut header_length = [0; 8];
    read_exact(&mut source, &mut header_length)?;
    let header_length = u64::from_le_bytes(header_length);
    if header_length > length - 8 {
        return Err(wrong(format!(
            "header: expected {header_length} bytes, got {}; the file is cut off, or is no .safetensors file",
            length - 8
        )));
    }
    let mut header = vec![0; in_memory(header_length)?];
    read_exact(&mut source, &mut header)?;
    let Header { tensors: declared, description } = parse_header(&header)?;
    let (wanted, got) = (declared.last().map_or(0, |(_, last)| last.data_offsets[1]), length - 8 - header_length);
    if wanted != got {
        let hint = if got < wanted { "the file is cut off" } else { "there are bytes that belong to no tensor" };
        return Err(wrong(format!("data: expected {wanted} bytes, got {got}; {hint}")));
    }
    let mut tensors = Tensors::new();
    for (name, declared) in declared {
        match read_elements(&mut source, &declared).map_err(|e| e.at(format!("tensor {name}")))? {
            Some(data) => tensors.insert(name, Tensor::new(declared.shape, data)),
            None => tensors.insert_unread(name, declared.dtype, declared.shape),
        }
    }
    Ok(Contents { tensors, description })
}

fn parse_header(header: &[u8]) -> Result<Header> {
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
    Ok(Header { tensors, description })
}

/// The elements of a tensor, from where its data begins; none where they are of a type that is not read.
fn read_elements(source: &mut impl Read, declared: &Declared) -> Result<Option<Vec<f32>>> {
    let [begin, end] = declared.data_offsets;
    let elem_bytes: u64 = match declared.dtype.as_str() {
        "F64" => 8,
        "F32" => 4,
        "F16" | "BF16" => 2,
        _ => {
            io::copy(&mut source.take(end - begin), &mut io::sink()).map_err(cut_off)?;
            return Ok(None);
        }
    };
    let bytes = declared.shape.iter().try_fold(elem_bytes, |bytes, &n| bytes.checked_mul(n as u64));
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
    let elems = in_memory((end - begin) / elem_bytes)?;
    Ok(Some(match declared.dtype.as_str() {
        "F32" => read_in_place(source, elems)?,
        "F16" => read_in_place::<f16>(source, elems)?.into_iter().map(f16::to_f32).collect(),
        "BF16" => read_in_place::<bf16>(source, elems)?.into_iter().map(bf16::to_f32).collect(),
        #[expect(clippy::cast_possible_truncation, reason = "F64 is rounded to the nearest f32, as documented")]
        _ => read_in_place::<f64>(source, elems)?.into_iter().map(|x| x as f32).collect(),
    }))
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
