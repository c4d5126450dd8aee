//! `.npy` arrays and `.npz` archives: bytes → arrays. The library reads their headers.
//!
//! Knows no name of a tensor and no file of another format.

use std::io::{Cursor, Read, Seek};

use gatewave::inspect::numpy::{EXPANSION, array_name, open_archive, read_head};
pub(super) use gatewave::inspect::numpy::{Head, take};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use zip::CompressionMethod;
use zip::read::ZipFile;

use super::{Scalar, little_endian, scalars};

/// An error of an array, in words.
type Result<T> = std::result::Result<T, String>;

/// Reads the array of an `.npy` file of `length` bytes.
pub(super) fn read(mut file: impl Read, length: u64) -> Result<ArrayD<Scalar>> {
    let Head { dtype, big_endian, fortran, shape, offset, .. } = read_head(&mut file, length)?;
    let mut bytes = take(&mut file, length.saturating_sub(offset), "elements")?;
    little_endian(dtype, big_endian, &mut bytes);
    let scalars = scalars(dtype, &bytes).ok_or_else(|| format!("type {dtype:?} is not read"))?;
    ArrayD::from_shape_vec(IxDyn(&shape).set_f(fortran), scalars).map_err(|e| format!("shape {shape:?}: {e}"))
}

/// Reads the arrays of an `.npz` archive by name; each may have an error of its own.
pub(super) fn read_archive(bytes: &[u8]) -> Result<Vec<(String, Result<ArrayD<Scalar>>)>> {
    let mut zip = open_archive(Cursor::new(bytes), bytes.len() as u64)?;
    let count = zip.len();
    let one = |index| {
        let file = zip.by_index(index).map_err(|e| e.to_string())?;
        let name = array_name(&file);
        let (size, packed) = (file.size(), file.compressed_size());
        let most = match file.compression() {
            CompressionMethod::Stored => packed,
            _ => packed.saturating_mul(EXPANSION),
        };
        let array = if size > most {
            Err(format!("expected at most {most} bytes of {packed} in the archive, got {size}"))
        } else {
            read(file, size)
        };
        Ok((name, array))
    };
    (0..count).map(one).collect()
}

/// Reads the headers of the arrays of an archive of `length` bytes by name. The offsets
/// are places in the archive. An array of which no part can be read alone has an error.
pub(super) fn read_heads(file: impl Read + Seek, length: u64) -> Result<Vec<(String, Result<Head>)>> {
    let mut zip = open_archive(file, length)?;
    let count = zip.len();
    let one = |index| {
        let mut file = zip.by_index_raw(index).map_err(|e| e.to_string())?;
        let name = array_name(&file);
        Ok((name, stored_head(&mut file, length)))
    };
    (0..count).map(one).collect()
}

/// Reads the header of an array that is stored without compression in an archive of `length` bytes.
fn stored_head<R: Read>(file: &mut ZipFile<'_, R>, length: u64) -> Result<Head> {
    if file.encrypted() {
        return Err("expected an array as numpy.savez writes it, got an encrypted one".into());
    }
    if file.compression() != CompressionMethod::Stored {
        let got = file.compression();
        let hint = "write the file with numpy.savez in place of numpy.savez_compressed";
        return Err(format!("expected an array without compression, whose rows can be read alone, got {got}; {hint}"));
    }
    let (start, size) = (file.data_start(), file.size());
    let end = start.checked_add(size).filter(|end| *end <= length && size == file.compressed_size());
    if end.is_none() {
        return Err(format!("expected {size} bytes of the {length} in the archive, from byte {start}"));
    }
    let mut head = read_head(file, size)?;
    if head.fortran && head.shape.len() > 1 {
        let hint = "write np.ascontiguousarray(ARRAY)";
        return Err(format!(
            "expected an array in the order of C, whose rows can be read alone, got Fortran's; {hint}"
        ));
    }
    head.offset += start;
    Ok(head)
}
