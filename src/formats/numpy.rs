//! `.npz` archives of NumPy as files of weights: each array is a tensor of its name.
//!
//! `head` reads the headers. An array that is stored without compression stays in the file until it is asked for; a
//! compressed one is unpacked into memory, up to a bound. Knows no model.

pub(crate) mod head;

use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use ::safetensors::tensor::Dtype;
use zip::ZipArchive;

use self::head::{EXPANSION, Head, array_name, open_archive, read_any_head, take};
use super::elements::number_bytes;
use super::safetensors::{Contents, ListedTensor};
use super::source::Source;
use super::strided::Strided;
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of unpacked arrays for each byte of the file.
const ALL_EXPANSION: u64 = 256;

/// Reads the arrays of an archive by name. Those that are not compressed stay in the file, which is kept open.
///
/// Floats of 16 bits are widened; those of 64 bits, integers and booleans are rounded to the nearest F32. Arrays
/// of other types are among the tensors by name, type and shape.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`] if the file cannot be read. Returns an error
/// of kind [`ErrorKind::Weights`] if it is damaged.
pub fn read(path: impl AsRef<Path>) -> Result<Contents> {
    let path = path.as_ref();
    Source::open(path).and_then(|source| open(&source)).map_err(|e| e.at(path.display()))
}

/// Reads an archive in memory. Arrays that are not compressed stay in `bytes`.
///
/// # Errors
///
/// As [`read`], except for kind [`ErrorKind::Io`].
pub fn read_shared(bytes: Arc<[u8]>) -> Result<Contents> {
    open(&Source::memory(bytes))
}

/// An array of an archive.
struct Array {
    listed: ListedTensor,
    /// Its elements, if its type is one of numbers.
    numbers: Option<(Strided, Source)>,
}

fn open(source: &Source) -> Result<Contents> {
    let mut contents = Contents::default();
    for Array { listed, numbers } in arrays(source)? {
        contents.listed.push(listed.clone());
        match numbers {
            Some((view, record)) => contents.tensors.insert(listed.name, view.tensor(record)),
            None => contents.tensors.insert_unread(listed.name, listed.dtype, listed.shape),
        }
    }
    contents.listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(contents)
}

fn arrays(source: &Source) -> Result<Vec<Array>> {
    let mut zip = open_archive(BufReader::new(source.reader()), source.length()).map_err(damaged)?;
    let mut left = source.length().saturating_mul(ALL_EXPANSION).saturating_add(1 << 20);
    (0..zip.len()).map(|index| array(source, &mut zip, index, &mut left)).collect()
}

/// Reads the array at `index`. `left` is how many bytes may still be unpacked.
fn array<R: Read + Seek>(source: &Source, zip: &mut ZipArchive<R>, index: usize, left: &mut u64) -> Result<Array> {
    let unreadable = |e| damaged(format!("expected a readable archive, got {e}")).because(e);
    let file = zip.by_index(index).map_err(unreadable)?;
    let name = array_name(&file);
    let at_array = |e: Error| e.of_tensor(&name).at(format!("array {name}"));
    let (size, packed) = (file.size(), file.compressed_size());
    let record = match source.stored(&file).map_err(at_array)? {
        Some(stored) => stored,
        None => {
            let most = packed.saturating_mul(EXPANSION).min(*left);
            if size > most {
                let text = format!("expected at most {most} bytes of {packed} in the archive, got {size}");
                return Err(at_array(damaged(text)));
            }
            *left -= size;
            take(file, size, "elements").map(Source::memory).map_err(|text| at_array(damaged(text)))?
        }
    };
    let (descr, shape, head) =
        read_any_head(BufReader::new(record.reader()), record.length()).map_err(|text| at_array(damaged(text)))?;
    let Some(Head { dtype, big_endian, fortran, offset, .. }) = head else {
        return Ok(Array { listed: ListedTensor { name, dtype: descr, shape }, numbers: None });
    };
    let dtype = type_name(dtype);
    let elements = record.part(offset, record.length().saturating_sub(offset));
    let elements = elements.ok_or_else(|| at_array(damaged("expected elements, got none")))?;
    let view = Strided {
        dtype,
        elem_bytes: number_bytes(dtype).unwrap_or(1),
        big_endian,
        offset: 0,
        strides: strides(&shape, fortran),
        shape: shape.clone(),
    };
    Ok(Array { listed: ListedTensor { name, dtype: dtype.to_owned(), shape }, numbers: Some((view, elements)) })
}

/// Returns the steps along the axes of an array in the order of C, or of Fortran.
fn strides(shape: &[usize], fortran: bool) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    let mut step = 1_u64;
    let mut along = |axis: usize| {
        strides[axis] = step;
        step = step.saturating_mul(shape[axis] as u64);
    };
    match fortran {
        true => (0..shape.len()).for_each(&mut along),
        false => (0..shape.len()).rev().for_each(&mut along),
    }
    strides
}

/// Returns the name of a type that arrays of numbers have.
fn type_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "F64",
        Dtype::F16 => "F16",
        Dtype::I64 => "I64",
        Dtype::I32 => "I32",
        Dtype::I16 => "I16",
        Dtype::I8 => "I8",
        Dtype::U64 => "U64",
        Dtype::U32 => "U32",
        Dtype::U16 => "U16",
        Dtype::U8 => "U8",
        Dtype::BOOL => "BOOL",
        // The only other one.
        _ => "F32",
    }
}

fn damaged(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Weights, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_those_of_the_order() {
        assert_eq!(strides(&[2, 3, 4], false), [12, 4, 1]);
        assert_eq!(strides(&[2, 3, 4], true), [1, 2, 6]);
        assert_eq!(strides(&[], true), [0_u64; 0]);
    }
}
