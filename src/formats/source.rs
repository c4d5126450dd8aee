//! Bytes that are read in place: a file or memory, or a part of either.
//!
//! A member of an archive is read inside the archive, and a tensor only when it is asked
//! for. Every read is checked against the length before memory is allocated. Knows no format.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "keras")]
use hdf5_reader::{Storage, StorageBuffer};
use zip::CompressionMethod;
use zip::read::ZipFile;

use crate::error::{Error, ErrorKind, Result};

/// A run of bytes.
#[derive(Clone)]
pub(super) struct Source {
    origin: Origin,
    start: u64,
    length: u64,
}

#[derive(Clone)]
enum Origin {
    /// The lock keeps seeking and reading together.
    File(Arc<Mutex<File>>),
    Memory(Arc<[u8]>),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        Ok(Self { origin: Origin::File(Arc::new(Mutex::new(file))), start: 0, length })
    }

    pub(super) fn memory(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self { origin: Origin::Memory(bytes), start: 0, length }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the `length` bytes from `start` on, if all of them are there.
    pub(super) fn part(&self, start: u64, length: u64) -> Option<Self> {
        let fits = start.checked_add(length).is_some_and(|end| end <= self.length);
        fits.then(|| Self { origin: self.origin.clone(), start: self.start + start, length })
    }

    /// Returns the bytes of a member of the zip archive that this source is, in place; `None` if they are not stored as
    /// they are.
    pub(super) fn stored<R: Read>(&self, member: &ZipFile<'_, R>) -> Result<Option<Self>> {
        let size = member.size();
        let is_plain = member.compression() == CompressionMethod::Stored && !member.encrypted();
        if !is_plain || size != member.compressed_size() {
            return Ok(None);
        }
        let cut_off =
            || Error::new(ErrorKind::Weights, format!("expected {size} bytes, got fewer; the file is cut off"));
        self.part(member.data_start(), size).ok_or_else(cut_off).map(Some)
    }

    /// Returns the first bytes, up to `N`; the rest is zero.
    pub(super) fn head<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut head = [0; N];
        let there = usize::try_from(self.length).map_or(N, |length| length.min(N));
        self.read_at(0, &mut head[..there])?;
        Ok(head)
    }

    /// Reads `length` bytes from `offset` on.
    #[cfg(feature = "torch")]
    pub(super) fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let cut_off =
            |e: io::Error| Error::new(ErrorKind::Io, format!("the file could not be read to its end: {e}")).because(e);
        let part = self.part(offset, length).ok_or_else(|| cut_off(io::ErrorKind::UnexpectedEof.into()))?;
        let length = usize::try_from(part.length).map_err(|e| cut_off(io::Error::other(e)))?;
        let mut buffer = vec![0; length];
        part.read_at(0, &mut buffer).map_err(cut_off)?;
        Ok(buffer)
    }

    /// Fills `buffer` from `offset` on. It is an error if the bytes end before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let part = self.part(offset, buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        match &self.origin {
            Origin::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(part.start))?;
                file.read_exact(buffer)
            }
            Origin::Memory(bytes) => {
                let start = usize::try_from(part.start).map_err(io::Error::other)?;
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
                Ok(())
            }
        }
    }

    /// Returns a reader that reads the bytes sequentially.
    pub(super) fn reader(&self) -> Reader {
        Reader { source: self.clone(), at: 0 }
    }
}

#[cfg(feature = "keras")]
impl Storage for Source {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        let Some(part) = self.part(offset, len as u64) else {
            let available = self.length.saturating_sub(offset);
            return Err(hdf5_reader::error::Error::UnexpectedEof { offset, needed: len as u64, available });
        };
        if let (Origin::Memory(bytes), Ok(start)) = (&self.origin, usize::try_from(part.start)) {
            return StorageBuffer::from_shared(bytes.clone(), start, len);
        }
        let mut buffer = vec![0; len];
        self.read_at(offset, &mut buffer)?;
        Ok(StorageBuffer::from_vec(buffer))
    }
}

/// A position in a [`Source`].
pub(super) struct Reader {
    source: Source,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.length.saturating_sub(self.at);
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.source.read_at(self.at, &mut buffer[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the beginning"))?;
        Ok(self.at)
    }
}
