//! Files of `torch.save` (`.pt`, `.pth`, `.ckpt`, `.bin`) → named tensors: those of a `state_dict`, of a checkpoint that
//! has one, or of the parameters of an archive of `torch.jit`.
//!
//! A pickle is a program, and this reader runs none: `pickle` is a machine of the few opcodes that make data, and
//! `globals` lists each name that it knows. Every other name is refused. `archive` finds the records in both formats,
//! and `weights` the `state_dict` in what the pickle holds. Tensors stay in the file until they are asked for.
//! Knows no model.

mod archive;
mod globals;
mod pickle;
mod value;
mod weights;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::archive::Archive;
use self::globals::elem_bytes;
use self::pickle::damaged;
use super::content::{BEGIN_BYTES, Content, torch_magic};
use super::elements::float_bytes;
use super::safetensors::{Contents, ListedTensor};
use super::source::Source;
use super::strided::Strided;
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of tensors for each byte of the file: views may share a storage, or repeat it.
const EXPANSION: u64 = 256;

/// Reads the tensors of a file by name. Their elements stay in the file, which is kept open.
///
/// F32 is read as it is, F16 and BF16 are widened, and F64 is rounded to the nearest. Tensors of other
/// types are among the tensors by name, type and shape.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`] if the file cannot be read. Returns an error of kind
/// [`ErrorKind::Weights`] if it is damaged, holds no tensors by name, or names a class or a function that
/// only Python could run.
pub fn read(path: impl AsRef<Path>) -> Result<Contents> {
    let path = path.as_ref();
    Source::open(path).and_then(|source| open(&source)).map_err(|e| e.at(path.display()))
}

/// Reads a file in memory, and keeps a copy of it. [`read_shared`] does so without a copy.
///
/// # Errors
///
/// As [`read`], except for kind [`ErrorKind::Io`].
pub fn read_bytes(bytes: &[u8]) -> Result<Contents> {
    read_shared(bytes.into())
}

/// Reads a file in memory. Its elements stay in `bytes`, and are read from there each time they are asked for.
///
/// # Errors
///
/// As [`read_bytes`].
pub fn read_shared(bytes: Arc<[u8]>) -> Result<Contents> {
    open(&Source::memory(bytes))
}

fn archive_of(source: &Source) -> Result<Archive> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    let head = source.head::<BEGIN_BYTES>().map_err(unreadable)?;
    match Content::of(&head) {
        Some(Content::Zip) => archive::open(source),
        Some(Content::Torch) => archive::open_legacy(source, torch_magic(&head).unwrap_or_default()),
        _ => Err(archive::neither()),
    }
}

fn open(source: &Source) -> Result<Contents> {
    let archive = archive_of(source)?;
    let mut contents = Contents::default();
    for (name, (view, record)) in views(&archive, source)? {
        let (dtype, shape) = (view.dtype.to_owned(), view.shape.clone());
        contents.listed.push(ListedTensor { name: name.clone(), dtype: dtype.clone(), shape: shape.clone() });
        match record {
            Some(record) => contents.tensors.insert(name, view.tensor(record)),
            None => contents.tensors.insert_unread(name, dtype, shape),
        }
    }
    Ok(contents)
}

/// Returns the tensors of the weights by name, each with its record if its type is read.
/// All of them are in their records, and are not much more than the file.
fn views(archive: &Archive, source: &Source) -> Result<BTreeMap<String, (Strided, Option<Source>)>> {
    let heap = &archive.unpickled.heap;
    let mut left = source.length().saturating_mul(EXPANSION);
    let mut views = BTreeMap::new();
    for (name, at) in weights::named(&archive.unpickled, &archive.bytes).map_err(|e| e.at(archive.place))? {
        let view = heap.views[at].clone();
        let wrong = |message: String| damaged(message).of_tensor(&name).at(format!("tensor {name}"));
        let strided = Strided {
            dtype: view.dtype,
            elem_bytes: elem_bytes(view.dtype).unwrap_or(0),
            big_endian: false,
            offset: view.offset,
            shape: view.shape,
            strides: view.strides,
        };
        let storage = view.storage.map(|at| &heap.storages[at]);
        let Some(storage) = storage.filter(|_| float_bytes(strided.dtype).is_some()) else {
            views.insert(name, (strided, None));
            continue;
        };
        let key = String::from_utf8_lossy(&archive.bytes[heap.texts[storage.key].clone()]).into_owned();
        let record = archive.records.get(&key);
        let record = record.ok_or_else(|| wrong(format!("expected storage {key} in the file, got none")))?;
        // The storage may be of another type than the tensor: of bytes alone.
        let claimed = storage.elems.checked_mul(elem_bytes(storage.dtype).unwrap_or(1));
        if claimed.is_none_or(|claimed| claimed > record.length()) {
            let (of, length) = (storage.dtype, record.length());
            let text =
                format!("storage {key}: expected the bytes of {} elements of type {of}, got {length}", storage.elems);
            return Err(wrong(text));
        }
        let extent = strided.extent().and_then(|extent| extent.checked_mul(strided.elem_bytes));
        if extent.is_none_or(|extent| extent > record.length()) {
            let text = format!(
                "expected elements in storage {key} of {} bytes, got {:?} from element {} in steps of {:?}",
                record.length(),
                strided.shape,
                strided.offset,
                strided.strides
            );
            return Err(wrong(text));
        }
        let size = strided.count().and_then(|count| count.checked_mul(strided.elem_bytes));
        let rest = size.and_then(|size| left.checked_sub(size));
        left = rest.ok_or_else(|| {
            wrong(format!("expected tensors of at most {EXPANSION} times the bytes of the file, got more"))
        })?;
        views.insert(name, (strided, Some(record.clone())));
    }
    Ok(views)
}
