//! Named tensors → the bytes of a `.safetensors` file, tensor by tensor, each in its own precision.
//!
//! Writes what `safetensors.rs` reads. Knows names, shapes and elements; knows no model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{MODEL_KEY, scale_name};
use crate::error::{Error, ErrorKind, Result};
use crate::precision::Precision;
use crate::weights::{Replacement, Scale, Tensor, Tensors, narrowed};

/// The texts of the metadata, by key.
pub(crate) type KeyedTexts<'a> = BTreeMap<&'a str, &'a str>;

/// The precision of each tensor of a file, by its name.
pub(crate) type PrecisionOf<'a> = dyn Fn(&str, &Tensor) -> Precision + 'a;

/// Returns the bytes of a file with `tensors` in `precision`, and `description`.
/// As 8-bit integers, only tensors of two axes are stored, with one scale for each
/// row; the others stay 32-bit floats. Tensors of unsupported types are left out.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`] if a tensor has another number of elements than
/// its shape, or one that is too large for `precision`. Returns any error of reading the tensors.
pub fn to_bytes(tensors: &Tensors, description: Option<&str>, precision: Precision) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, tensors, &texts(description), &alike(precision))?;
    Ok(bytes)
}

/// Writes a file with `tensors` in `precision`, as [`to_bytes`] does, and `description`. At most one
/// tensor is in memory at a time. An existing file is replaced only when the new one is complete.
///
/// # Errors
///
/// As [`to_bytes`]. Returns an error of kind [`ErrorKind::Io`] if the file cannot be written.
pub fn write(path: impl AsRef<Path>, tensors: &Tensors, description: Option<&str>, precision: Precision) -> Result<()> {
    write_each(path.as_ref(), tensors, &texts(description), &alike(precision))
}

/// Writes a file with a precision for each tensor, and any texts. Tensors
/// with at least one row and one column can be stored as integers.
pub(crate) fn write_each(
    path: &Path,
    tensors: &Tensors,
    texts: &KeyedTexts<'_>,
    precision: &PrecisionOf<'_>,
) -> Result<()> {
    Replacement::open(path)?.finish(|file| {
        let mut file = BufWriter::new(file);
        write_to(&mut file, tensors, texts, precision)
            .and_then(|()| file.flush().map_err(unwritable))
            .map_err(|e| e.at(path.display()))
    })
}

fn texts(description: Option<&str>) -> KeyedTexts<'_> {
    description.into_iter().map(|text| (MODEL_KEY, text)).collect()
}

/// Gives `precision` to all tensors that can have it.
fn alike(precision: Precision) -> impl Fn(&str, &Tensor) -> Precision {
    move |_, tensor| match (precision, tensor.shape()) {
        (Precision::I8, [_, width]) if *width > 0 => Precision::I8,
        (Precision::I8, _) => Precision::F32,
        _ => precision,
    }
}

fn write_to(to: &mut impl Write, tensors: &Tensors, texts: &KeyedTexts<'_>, precision: &PrecisionOf<'_>) -> Result<()> {
    let entries = entries(tensors, precision);
    let header = header(&entries, texts)?;
    to.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| to.write_all(&header)).map_err(unwritable)?;
    for entry in &entries {
        let rows = entry.tensor.shape().first().copied().unwrap_or(1);
        let mut part = |_, elements: &[f32]| to.write_all(&entry.stored(elements)?).map_err(unwritable);
        entry
            .tensor
            .read_rows(0..rows, &mut part)
            .map_err(|e| e.of_tensor(entry.of).at(format!("tensor {}", entry.of)))?;
    }
    Ok(())
}

/// A tensor of the file.
struct Entry<'a> {
    name: String,
    /// The name of the tensor, or of the tensor whose scales it holds.
    of: &'a str,
    tensor: &'a Tensor,
    content: Content,
}

/// The contents of a tensor of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Floats,
    Halves,
    /// The scales of the rows of a tensor that is stored as integers.
    Scales,
    Integers,
}

/// Returns the tensors of the file in the order of their names, with those of bytes last: so all of them are aligned.
fn entries<'a>(tensors: &'a Tensors, precision: &PrecisionOf<'_>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (of, tensor) in tensors.iter() {
        let mut add = |name, content| entries.push(Entry { name, of, tensor, content });
        match precision(of, tensor) {
            Precision::F32 => add(of.to_owned(), Content::Floats),
            Precision::F16 => add(of.to_owned(), Content::Halves),
            Precision::I8 => {
                add(scale_name(of), Content::Scales);
                add(of.to_owned(), Content::Integers);
            }
        }
    }
    entries.sort_by_key(|entry| entry.content == Content::Integers);
    entries
}

/// Returns the header, padded so that the data is aligned.
fn header(entries: &[Entry<'_>], texts: &KeyedTexts<'_>) -> Result<Vec<u8>> {
    let unfit = |e: ::safetensors::SafeTensorError| Error::new(ErrorKind::Weights, format!("{e}")).because(e);
    let mut end = 0;
    let declared = entries.iter().map(|entry| {
        let shape = entry.tensor.shape();
        let (dtype, elem_bytes, shape) = match entry.content {
            Content::Floats => (Dtype::F32, 4, shape),
            Content::Halves => (Dtype::F16, 2, shape),
            Content::Scales => (Dtype::F32, 4, &shape[..1]),
            Content::Integers => (Dtype::I8, 1, shape),
        };
        let begin = end;
        end = shape.iter().fold(elem_bytes, |bytes: usize, &n| bytes.saturating_mul(n)).saturating_add(begin);
        (entry.name.clone(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (begin, end) })
    });
    let tensors: Vec<(String, TensorInfo)> = declared.collect();
    // Only checks the declarations: the crate's own map of texts would have another order each time.
    Metadata::new(None, tensors.clone()).map_err(unfit)?;
    let mut header = serde_json::to_vec(&Declared { texts, tensors }).expect("plain data");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// The declarations in a header, in their order.
struct Declared<'a> {
    texts: &'a KeyedTexts<'a>,
    tensors: Vec<(String, TensorInfo)>,
}

impl Serialize for Declared<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.texts.is_empty() {
            map.serialize_entry("__metadata__", self.texts)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

impl Entry<'_> {
    /// Returns the bytes of `elements`, which are whole rows, as the file has them.
    fn stored<'a>(&self, elements: &'a [f32]) -> Result<Cow<'a, [u8]>> {
        let width: usize = self.tensor.shape().iter().skip(1).product();
        let rows = elements.chunks_exact(width.max(1));
        let mut bytes = Vec::new();
        match self.content {
            Content::Floats => return Ok(bytemuck::cast_slice(elements).into()),
            Content::Halves => {
                for &x in elements {
                    bytes.extend(narrowed(x)?.to_le_bytes());
                }
            }
            Content::Scales => {
                for row in rows {
                    bytes.extend(Scale::of(row)?.0.to_le_bytes());
                }
            }
            Content::Integers => {
                for row in rows {
                    let scale = Scale::of(row)?;
                    bytes.extend(row.iter().map(|&w| scale.integer(w).cast_unsigned()));
                }
            }
        }
        Ok(bytes.into())
    }
}

fn unwritable(e: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot be written: {e}")).because(e)
}
