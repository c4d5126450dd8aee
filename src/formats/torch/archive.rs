//! The two containers of `torch.save`: a zip archive since PyTorch 1.6, and pickles one behind the other before.
//!
//! A record of an archive is stored without compression, so tensors are read in place. No name in an archive becomes
//! a path of the system. Knows pickles and records; knows no tensor.

use std::collections::HashMap;
use std::io::BufReader;

use zip::ZipArchive;

use super::globals::elem_bytes;
use super::pickle::{Unpickled, damaged, unpickle};
use super::value::Value;
use crate::error::{Error, Result};
use crate::formats::source::Source;

/// The longest pickle that is read. That of a checkpoint has about a hundred bytes for each tensor.
const LONGEST_PICKLE: u64 = 64 << 20;

/// The pickle of an archive, and that of the legacy format.
const PICKLE: &str = "data.pkl";
const LEGACY_PICKLE: &str = "the pickle of the data";

/// A file: what its pickle holds, and where its records are.
pub(super) struct Archive {
    /// What errors call the pickle.
    pub(super) place: &'static str,
    /// The bytes of the pickle, to which texts are places.
    pub(super) bytes: Vec<u8>,
    pub(super) unpickled: Unpickled,
    /// The records of storages, by their keys.
    pub(super) records: HashMap<String, Source>,
}

/// Opens a zip archive.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Weights` if it is damaged, or is no archive of `torch.save`.
pub(super) fn open(source: &Source) -> Result<Archive> {
    let whole = |e| damaged(format!("expected a whole zip archive, as torch.save writes one, got {e}")).because(e);
    let mut zip = ZipArchive::new(BufReader::new(source.reader())).map_err(whole)?;
    let names: Vec<String> = zip.file_names().map(str::to_owned).collect();
    let is_folder = |folder: &str| folder.is_empty() || folder.find('/') == Some(folder.len() - 1);
    let is_top = |name: &&String| name.strip_suffix("data.pkl").is_some_and(is_folder);
    let Some(name) = names.iter().find(is_top) else {
        return Err(damaged(no_pickle(&names)));
    };
    let folder = name.trim_end_matches("data.pkl");
    let is_script = names.iter().any(|name| *name == format!("{folder}constants.pkl"));
    let mut member = |name: &str| member(source, &mut zip, name);
    if names.contains(&format!("{folder}byteorder")) {
        let order = member(&format!("{folder}byteorder"))?;
        let order = order.bytes(0, order.length().min(16))?;
        if order != b"little" {
            let got = String::from_utf8_lossy(&order).into_owned();
            return Err(damaged(format!(
                "byteorder: expected little, got {got:?}; load the file with torch.load and save it again"
            )));
        }
    }
    let pickle = member(name)?;
    let bytes = all_of(&pickle).map_err(|e| e.at(PICKLE))?;
    let unpickled = unpickle(&bytes, 0, is_script).map_err(|e| e.at(PICKLE))?;
    let data = format!("{folder}data/");
    let mut records = HashMap::new();
    for name in &names {
        if let Some(key) = name.strip_prefix(&data) {
            records.insert(key.to_owned(), member(name)?);
        }
    }
    Ok(Archive { place: PICKLE, bytes, unpickled, records })
}

/// Says what an archive without `data.pkl` is.
fn no_pickle(names: &[String]) -> String {
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    let hint = match () {
        () if has(".npy") => "arrays of NumPy have a name that ends in .npz",
        () if has("config.json") => "a Keras model has a name that ends in .keras",
        () if has("model.json") => "a TorchScript file of before PyTorch 1.4: load it and save it again",
        () => "is this a file of torch.save?",
    };
    format!("expected data.pkl in the archive, got none; {hint}")
}

/// Returns the bytes of a member, in place.
fn member<R: std::io::Read + std::io::Seek>(source: &Source, zip: &mut ZipArchive<R>, name: &str) -> Result<Source> {
    let index = zip.index_for_name(name).ok_or_else(|| damaged(format!("{name}: expected it, got none")))?;
    let readable = |e| damaged(format!("{name}: expected a readable record, got {e}")).because(e);
    let file = zip.by_index_raw(index).map_err(readable)?;
    source.stored(&file).map_err(|e| e.at(name))?.ok_or_else(|| {
        let hint = "write the file with torch.save, which does not compress";
        damaged(format!("{name}: expected a record without compression, got another; {hint}"))
    })
}

fn all_of(pickle: &Source) -> Result<Vec<u8>> {
    match pickle.length() {
        length if length > LONGEST_PICKLE => {
            Err(damaged(format!("expected at most {LONGEST_PICKLE} bytes, got {length}")))
        }
        length => pickle.bytes(0, length),
    }
}

/// Opens a file of a PyTorch older than 1.6: pickles of a magic number, a version, the machine, the data and the keys of its
/// storages. The version is at `begin`. The elements of each storage follow, each with their number in 8 bytes before them.
///
/// # Errors
///
/// As [`open`].
pub(super) fn open_legacy(source: &Source, begin: usize) -> Result<Archive> {
    let bytes = source.bytes(0, source.length().min(LONGEST_PICKLE))?;
    let version = unpickle(&bytes, begin, false).map_err(|e| e.at("the format's version"))?;
    if version.root != Value::Int(1001) {
        return Err(damaged(
            "expected version 1001 of the legacy format, got another; load the file and save it again",
        ));
    }
    let machine = unpickle(&bytes, version.end, false).map_err(|e| e.at("the machine's numbers"))?;
    let text = |heap_text: &std::ops::Range<usize>| &bytes[heap_text.clone()];
    for &(key, value) in machine.heap.pairs(machine.root).unwrap_or_default() {
        if let Value::Text(at) = key
            && text(&machine.heap.texts[at]) == b"little_endian"
            && value != Value::Bool(true)
        {
            return Err(damaged(
                "expected little-endian numbers, got others; load the file with torch.load and save it again",
            ));
        }
    }
    let unpickled = unpickle(&bytes, machine.end, false).map_err(|e| e.at(LEGACY_PICKLE))?;
    let keys = unpickle(&bytes, unpickled.end, false).map_err(|e| e.at("the keys of the storages"))?;
    let sizes = unpickled.heap.storages.iter().filter_map(|storage| {
        let key = text(&unpickled.heap.texts[storage.key]);
        Some((key.to_vec(), elem_bytes(storage.dtype)?))
    });
    let sizes: HashMap<Vec<u8>, u64> = sizes.collect();
    let mut records = HashMap::new();
    let mut at = keys.end as u64;
    for &key in keys.heap.items(keys.root).unwrap_or_default() {
        let Value::Text(place) = key else { return Err(damaged("expected the keys of storages, got other data")) };
        let key = String::from_utf8_lossy(text(&keys.heap.texts[place])).into_owned();
        let cut_off = || damaged(format!("storage {key}: expected its elements, got the end; the file is cut off"));
        let count = source.part(at, 8).ok_or_else(cut_off)?.bytes(0, 8)?;
        let count = count.iter().rev().fold(0, |count: u64, &byte| count << 8 | u64::from(byte));
        let Some(size) = sizes.get(key.as_bytes()) else {
            return Err(damaged(format!("storage {key}: expected a type of its elements, got none")));
        };
        let length = count.checked_mul(*size).ok_or_else(cut_off)?;
        let record = at.checked_add(8).and_then(|begin| source.part(begin, length)).ok_or_else(cut_off)?;
        at += 8 + length;
        records.insert(key, record);
    }
    Ok(Archive { place: LEGACY_PICKLE, bytes, unpickled, records })
}

/// Says what a file is that begins with neither container.
pub(super) fn neither() -> Error {
    damaged(
        "expected a file of torch.save, got another by the first bytes; save it again: torch.save(model.state_dict(), \"model.pt\")",
    )
}
