//! Tensors that stay in their file: the header says where each is, and parts of one are read from there.
//!
//! The claims of a header are checked against the length of the file before
//! memory is allocated. Knows no model, and not what the names mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use gatewave::formats::{Content, content};
use gatewave::{Error, ErrorKind, Result, Values};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, Metadata};

use super::{Format, io_error, little_endian, npy, scalars, size_of_array, values};
use crate::files;

/// The longest header of a `.safetensors` file, by the format.
const LONGEST_HEADER: u64 = 100_000_000;

/// A file whose headers were read, and that is kept open for the elements of its tensors.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    file: Mutex<File>,
    /// The version of the file when it was opened.
    version: Version,
    pub(super) tensors: BTreeMap<String, Stored>,
}

/// A tensor in row-major order in a file.
#[derive(Debug)]
pub(super) struct Stored {
    dtype: Dtype,
    big_endian: bool,
    pub(super) shape: Vec<usize>,
    /// Where its elements begin in the file.
    offset: u64,
}

/// What changes when a file is written to.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    length: u64,
    /// None if the system does not report it.
    modified: Option<SystemTime>,
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }
}

impl TensorFile {
    /// Reads the headers of a `.safetensors` file, or of an `.npz` archive without compression.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Io` if the file cannot be read, is not what its name says, or holds
    /// an unsupported type. It is the same if no part of one of its tensors can be read alone.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        files::no_stream(path, "--stream takes rows of a file again and again")?;
        let format = Format::of(path)?;
        let open = || {
            let file = File::open(path)?;
            let version = Version::of(&file)?;
            Ok((file, version))
        };
        let (file, version) = open().map_err(|e: io::Error| io_error(path, &e))?;
        let tensors = match format {
            Format::Safetensors => of_safetensors(&file, version.length),
            Format::Npz => of_archive(&file, version.length),
            Format::Npy => {
                Err("expected a .safetensors or .npz file to take rows of, got an .npy file, which holds one \
                                array and no targets; write both with numpy.savez"
                    .to_owned())
            }
        };
        let tensors = tensors.map_err(|e| io_error(path, e))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), version, tensors })
    }

    /// Returns whether there is a tensor of this name.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Reads the rows `runs` of the tensor `name` along `axis`, one after the other.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Io` if the file cannot be read, or was written to since
    /// it was opened. It is of kind `Limits` if there is no memory for so many rows.
    pub(super) fn read(&self, name: &str, stored: &Stored, axis: usize, runs: &[Range<usize>]) -> Result<Values> {
        let mut shape = stored.shape.clone();
        shape[axis] = runs.iter().map(ExactSizeIterator::len).sum();
        let Some(size) = size_of_array(stored.dtype, &shape) else {
            let text = format!("tensor {name}: expected rows that fit into memory, got {shape:?}; try a smaller batch");
            return Err(Error::new(ErrorKind::Limits, text).at(self.path.display()));
        };
        let mut bytes = vec![0; size];
        if size > 0 {
            self.fill(&mut bytes, (name, stored, axis), runs)?;
        }
        little_endian(stored.dtype, stored.big_endian, &mut bytes);
        let wrong = |what: String| io_error(&self.path, format_args!("tensor {name}: {what}"));
        let scalars =
            scalars(stored.dtype, &bytes).ok_or_else(|| wrong(format!("type {:?} is not read", stored.dtype)))?;
        let array = ArrayD::from_shape_vec(IxDyn(&shape), scalars).map_err(|e| wrong(e.to_string()))?;
        Ok(values(&array))
    }

    /// Fills `bytes`, which are not empty, with those of the rows. Each run
    /// is a part of the file for each index along the axes before `axis`.
    fn fill(
        &self,
        mut bytes: &mut [u8],
        (name, stored, axis): (&str, &Stored, usize),
        runs: &[Range<usize>],
    ) -> Result<()> {
        // No length is 0, and their product is the size of a part of the file.
        let before: usize = stored.shape[..axis].iter().product();
        let row = stored.shape[axis + 1..].iter().product::<usize>() * (stored.dtype.bitsize() / 8);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for outer in 0..before {
            for run in runs {
                let (part, rest) = bytes.split_at_mut(run.len() * row);
                bytes = rest;
                let place = stored.offset + ((outer * stored.shape[axis] + run.start) * row) as u64;
                let read = file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(part));
                read.map_err(|e| self.unread(name, run, (part.len(), place), &e))?;
            }
        }
        let now = Version::of(&file).map_err(|e| io_error(&self.path, &e))?;
        match runs.first() {
            Some(run) if now != self.version => {
                let got = match (self.version.length, now.length) {
                    (was, is) if was != is => format!("{is} bytes where there were {was}"),
                    _ => "one that was written to since".to_owned(),
                };
                let text = format!("{}: expected the file as it was opened, got {got}; {HINT}", place_of(name, run));
                Err(io_error(&self.path, text))
            }
            _ => Ok(()),
        }
    }

    /// Returns why `length` bytes at `place` could not be read.
    fn unread(&self, name: &str, run: &Range<usize>, (length, place): (usize, u64), error: &io::Error) -> Error {
        let got = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the end of the file, which was longer when it was opened; {HINT}"),
            _ => error.to_string(),
        };
        io_error(&self.path, format!("{}: expected {length} bytes from byte {place}, got {got}", place_of(name, run)))
    }
}

/// The hint for a file that changes.
const HINT: &str = "leave the file as it is while rows are taken of it";

/// Names a tensor and its rows, in messages.
fn place_of(name: &str, run: &Range<usize>) -> String {
    match run.len() {
        1 => format!("tensor {name}, row {}", run.start),
        _ => format!("tensor {name}, rows {} to {}", run.start, run.end - 1),
    }
}

/// Returns the tensors of a `.safetensors` file of `length` bytes.
fn of_safetensors(mut file: &File, length: u64) -> Result<BTreeMap<String, Stored>, String> {
    const WHOLE: &str = "is this a whole .safetensors file?";
    let begin = npy::take(&mut file, length.min(content::BEGIN_BYTES as u64), "header")?;
    if let Some(text) = content::mistaken(&begin, Content::Safetensors) {
        return Err(text);
    }
    file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    let size = npy::take(&mut file, 8, "header").map_err(|e| format!("{e}; {WHOLE}"))?;
    let size = size.iter().rev().fold(0, |size: u64, &byte| size << 8 | u64::from(byte));
    let most = LONGEST_HEADER.min(length.saturating_sub(8));
    if size > most {
        return Err(format!("header: expected at most {most} bytes, got {size}; {WHOLE}"));
    }
    let header = npy::take(&mut file, size, "header")?;
    // Parsing it checks sizes against offsets, which leave no gap.
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| format!("header: {e}; {WHOLE}"))?;
    let data = 8 + size;
    let (wanted, got) = (header.data_len() as u64, length - data);
    if wanted != got {
        return Err(format!("expected {wanted} bytes of tensors behind the header, got {got}; {WHOLE}"));
    }
    let one = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (dtype, shape) = (info.dtype, info.shape.clone());
        if scalars(dtype, &[]).is_none() {
            return Err(format!("tensor {name}: type {dtype:?} is not read"));
        }
        if size_of_array(dtype, &shape).is_none() {
            return Err(format!("tensor {name}: expected a shape that fits into memory, got {shape:?}"));
        }
        Ok((name, Stored { dtype, big_endian: false, shape, offset: data + info.data_offsets.0 as u64 }))
    };
    header.tensors().into_iter().map(one).collect()
}

/// Returns the tensors of an `.npz` archive of `length` bytes.
fn of_archive(file: &File, length: u64) -> Result<BTreeMap<String, Stored>, String> {
    let one = |(name, head): (String, Result<npy::Head, String>)| {
        let npy::Head { dtype, big_endian, shape, offset, .. } = head.map_err(|e| format!("array {name}: {e}"))?;
        Ok((name, Stored { dtype, big_endian, shape, offset }))
    };
    npy::read_heads(BufReader::new(file), length)?.into_iter().map(one).collect()
}
