//! The sources of tensors' elements: the model's own file, its bytes, or files of external data.
//!
//! Reads ranges when they are asked for. The only place that knows which files a model may name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Bytes that can be read in ranges.
#[derive(Clone)]
pub(super) enum Source {
    Bytes(Arc<[u8]>),
    File(Arc<OpenFile>),
}

pub(super) struct OpenFile {
    path: PathBuf,
    file: Mutex<File>,
    length: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok(OpenFile { path: path.to_owned(), file: Mutex::new(file), length })
        };
        open().map(|file| Self::File(Arc::new(file))).map_err(unreadable).map_err(|e| e.at(path.display()))
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.length,
        }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let begin = usize::try_from(offset).unwrap_or(usize::MAX);
                let range = bytes.get(begin..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(range.ok_or_else(|| Error::new(ErrorKind::Weights, "the bytes are cut off"))?);
                Ok(())
            }
            Self::File(open) => {
                let mut file = open.file.lock().unwrap_or_else(PoisonError::into_inner);
                let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer));
                read.map_err(unreadable).map_err(|e| e.at(open.path.display()))
            }
        }
    }
}

/// The model's own bytes, and the files of external data opened so far.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) own: Source,
    /// The folder of the model. `None` for a model in memory, which may name no files.
    folder: Option<PathBuf>,
    opened: HashMap<String, Source>,
}

impl Sources {
    pub(super) fn new(own: Source, folder: Option<PathBuf>) -> Self {
        Self { own, folder, opened: HashMap::new() }
    }

    /// Returns the number of bytes of all files opened so far.
    pub(super) fn total_bytes(&self) -> u64 {
        self.opened.values().map(Source::length).fold(self.own.length(), u64::saturating_add)
    }

    /// Opens the file of external data `location`.
    ///
    /// It must be inside the model's folder, since a model may come from anyone.
    pub(super) fn external(&mut self, location: &str) -> Result<Source> {
        if let Some(source) = self.opened.get(location) {
            return Ok(source.clone());
        }
        let refused = |why: &str| Error::new(ErrorKind::Model, format!("external data {location:?}: {why}"));
        let Some(folder) = &self.folder else {
            return Err(refused("a model in memory has no folder; read it from its file"));
        };
        // Windows' separators are separators on every system.
        let relative = PathBuf::from(location.replace('\\', "/"));
        if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(refused("expected a file in the model's folder, got a path that leaves it"));
        }
        let mut path = folder.clone();
        for name in relative.components().filter(|part| *part != Component::CurDir) {
            // This is a drive on Windows, and a name elsewhere.
            if name.as_os_str().to_string_lossy().contains(':') {
                return Err(refused("expected a file in the model's folder, got a path that leaves it"));
            }
            path.push(name);
            let kind = fs::symlink_metadata(&path).map_err(unreadable).map_err(|e| e.at(path.display()))?.file_type();
            if kind.is_symlink() {
                return Err(refused("expected a file in the model's folder, got a link"));
            }
        }
        if !path.is_file() {
            return Err(refused("expected a file"));
        }
        let source = Source::open(&path)?;
        self.opened.insert(location.to_owned(), source.clone());
        Ok(source)
    }
}

fn unreadable(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{e}")).because(e)
}
