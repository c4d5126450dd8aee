//! `.keras` archives: a zip → the description's text, Keras' version, and the file of weights.
//!
//! Three members are looked up by name, and no file is unpacked: no path in the archive is ever
//! used as a path of the system. Keras stores members uncompressed, so the weights are read in
//! place. A compressed member is unpacked into memory, up to a bound. Knows no JSON and no HDF5.

use std::io::{BufReader, Read};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::error::{Error, ErrorKind, Result};
use crate::formats::source::{Reader, Source};

/// The largest factor by which a compressed member may grow.
/// Deflate could reach 1032, but weights hardly shrink at all.
const EXPANSION: u64 = 256;

/// The longest description that is read.
const LONGEST_TEXT: u64 = 16 << 20;

/// The contents of an archive.
pub(super) struct Archive {
    /// The model's description.
    pub(super) config: String,
    /// The Keras version that wrote it, as JSON.
    pub(super) metadata: String,
    /// The HDF5 file of its weights.
    pub(super) weights: Source,
}

pub(super) fn open(source: &Source) -> Result<Archive> {
    let mut zip = ZipArchive::new(BufReader::new(source.reader()))
        .map_err(|e| damaged(format!("expected a zip archive, got {e}; is this a .keras file?")).because(e))?;
    let config = text(source, &mut zip, "config.json")?;
    let metadata = text(source, &mut zip, "metadata.json")?;
    if zip.index_for_name("model.weights.h5").is_none() && zip.index_for_name("model.weights.json").is_some() {
        return Err(damaged(
            "weights: expected one model.weights.h5, got shards; save the model without sharding".into(),
        ));
    }
    let weights = member(source, &mut zip, "model.weights.h5", u64::MAX)?;
    Ok(Archive { config, metadata, weights })
}

fn text(source: &Source, zip: &mut ZipArchive<BufReader<Reader>>, name: &str) -> Result<String> {
    let mut text = String::new();
    let read = member(source, zip, name, LONGEST_TEXT)?.reader().read_to_string(&mut text);
    read.map_err(|e| damaged(format!("{name}: expected text, got {e}")).because(e))?;
    Ok(text)
}

/// Returns the bytes of a member: a part of the archive if it is stored uncompressed.
fn member(source: &Source, zip: &mut ZipArchive<BufReader<Reader>>, name: &str, longest: u64) -> Result<Source> {
    let missing = |e: ZipError| match e {
        ZipError::FileNotFound => damaged(format!("{name}: expected it in the archive, got none")),
        e => damaged(format!("{name}: expected a readable member, got {e}")).because(e),
    };
    let file = zip.by_name(name).map_err(missing)?;
    let (size, packed) = (file.size(), file.compressed_size());
    if size > longest {
        return Err(damaged(format!("{name}: expected at most {longest} bytes, got {size}")));
    }
    if let Some(stored) = source.stored(&file).map_err(|e| e.at(name))? {
        return Ok(stored);
    }
    match file.compression() {
        CompressionMethod::Deflated => unpack(file, size, packed).map_err(|e| e.at(name)),
        other => {
            Err(damaged(format!("{name}: expected it stored or deflated, got {other} ({packed} for {size} bytes)")))
        }
    }
}

fn unpack(file: impl Read, size: u64, packed: u64) -> Result<Source> {
    let most = packed.saturating_mul(EXPANSION).saturating_add(1 << 16);
    if size > most {
        return Err(damaged(format!("expected at most {most} bytes of {packed} compressed ones, got {size}")));
    }
    // The header may be wrong, so memory grows only with the bytes that arrive.
    let mut bytes = Vec::new();
    let read = file.take(size + 1).read_to_end(&mut bytes);
    read.map_err(|e| damaged(format!("expected compressed bytes, got {e}")).because(e))?;
    if bytes.len() as u64 != size {
        return Err(damaged(format!("expected {size} bytes, got another number; the archive is damaged")));
    }
    Ok(Source::memory(bytes))
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Weights, message)
}
