//! Files that are read and written, and what may replace them: `-` and pipes.
//!
//! Decides what may be overwritten. Streams are read once, into memory. Streams of
//! data are written to a temporary file, with an extension that fits the first bytes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, process};

use clap::builder::{OsStringValueParser, TypedValueParser};
use gatewave::formats::Content;
use gatewave::inspect::Replacement;
use gatewave::{Error, ErrorKind, Result};

/// Names of the standard input.
const STANDARD_INPUT: [&str; 4] = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// Names of the standard output.
const STANDARD_OUTPUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// The contents of streams: each can be read only once, and a model's is needed twice.
static READ: Mutex<Vec<(PathBuf, Arc<[u8]>)>> = Mutex::new(Vec::new());

/// The streams that were copied into a temporary file, and these files.
static COPIED: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());

/// How the names of temporary folders begin.
const FOLDER_PREFIX: &str = "gatewave-";

/// The file in a temporary folder that a living process has locked.
const LOCK: &str = "lock";

/// The folder of temporary files, if one was needed, and its lock.
static FOLDER: OnceLock<(PathBuf, File)> = OnceLock::new();

fn is_one_of(path: &Path, names: [&str; 4]) -> bool {
    names.iter().any(|name| path == Path::new(name))
}

/// Returns whether `path` is a pipe, a socket or a device.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Returns whether `path` is read as a stream: the standard input, a pipe or a device.
pub(crate) fn is_stream(path: &Path) -> bool {
    is_one_of(path, STANDARD_INPUT) || is_no_file(path)
}

/// Returns whether `path` is the standard output.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    is_one_of(path, STANDARD_OUTPUT)
}

/// Refuses a terminal as the standard output of `what`, which nobody can read.
pub(crate) fn no_terminal(what: &str) -> Result<()> {
    if io::stdout().is_terminal() { Err(terminal("standard output", what)) } else { Ok(()) }
}

fn terminal(stream: &str, what: &str) -> Error {
    Error::new(ErrorKind::Io, format!("{stream}: expected a pipe or a file for {what}, got a terminal"))
}

/// Returns the name that messages give to the file that is read from `path`.
pub(crate) fn name(path: &Path) -> String {
    let copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = copied.iter().find(|(_, file)| file == path).map(|(stream, _)| stream.clone());
    drop(copied);
    let path = stream.as_deref().unwrap_or(path);
    if is_one_of(path, STANDARD_INPUT) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Returns `text` with the names of streams instead of the temporary files that hold their copies.
pub(crate) fn renamed(text: &str) -> String {
    let copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let names = copied.iter().map(|(_, file)| (file.display().to_string(), name(file)));
    names.fold(text.to_owned(), |text, (file, name)| text.replace(&file, &name))
}

/// Returns the same name for all names of the standard input.
fn key(path: &Path) -> &Path {
    if is_one_of(path, STANDARD_INPUT) { Path::new("-") } else { path }
}

/// Reads all bytes of `path`, if it is a stream.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`] if it cannot be read, or is a terminal.
pub(crate) fn streamed(path: &Path) -> Result<Option<Arc<[u8]>>> {
    if !is_stream(path) {
        return Ok(None);
    }
    let (is_standard, key) = (is_one_of(path, STANDARD_INPUT), key(path));
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, bytes)) = read.iter().find(|(known, _)| known == key) {
        return Ok(Some(Arc::clone(bytes)));
    }
    if is_standard && io::stdin().is_terminal() {
        return Err(terminal("standard input", "input"));
    }
    let mut bytes = Vec::new();
    let all = match is_standard {
        true => io::stdin().lock().read_to_end(&mut bytes),
        false => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    all.map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e).at(name(path)))?;
    let bytes: Arc<[u8]> = bytes.into();
    read.push((key.to_owned(), Arc::clone(&bytes)));
    Ok(Some(bytes))
}

/// Reads the text of `path`, which may be a stream.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`] if it cannot be read, or is no UTF-8.
pub(crate) fn text(path: &Path) -> Result<String> {
    let Some(bytes) = streamed(path)? else {
        return fs::read_to_string(path).map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e));
    };
    let text = str::from_utf8(&bytes);
    let text = text.map_err(|e| Error::new(ErrorKind::Io, format!("expected text in UTF-8: {e}")))?;
    Ok(text.to_owned())
}

/// Refuses a stream that is given for two of the files that are read.
pub(crate) fn once<'a>(read: impl Iterator<Item = &'a Path>) -> Result<()> {
    let copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut seen: HashSet<_> = copied.iter().map(|(stream, _)| stream.as_path()).collect();
    for path in read.filter(|path| is_stream(path)) {
        if !seen.insert(key(path)) {
            return Err(given_twice(path));
        }
    }
    Ok(())
}

fn given_twice(path: &Path) -> Error {
    let text = format!("{}: expected it for one of the files that are read, got it for two", name(path));
    Error::new(ErrorKind::Io, text)
}

/// Refuses a stream if a file is needed, because of `why`.
pub(crate) fn no_stream(path: &Path, why: &str) -> Result<()> {
    let is_copy = COPIED.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(_, file)| file == path);
    match is_copy || is_stream(path) {
        true => Err(Error::new(ErrorKind::Io, format!("expected a file, got a stream; {why}")).at(name(path))),
        false => Ok(()),
    }
}

/// Parses the path of a file of data; a stream is replaced by the path of a copy.
pub(crate) fn data_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path: OsString| copied(PathBuf::from(path)))
}

/// Returns `path`, or for a stream a temporary file with all of it. The first bytes give its extension:
/// arrays and tensors; JSON objects, lines with a tab, lines with a comma; else a plain-text corpus.
fn copied(path: PathBuf) -> Result<PathBuf> {
    let Some(bytes) = streamed(&path)? else { return Ok(path) };
    let before = COPIED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if before.iter().any(|(stream, _)| stream == key(&path)) {
        return Err(given_twice(&path));
    }
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let ending = match Content::of(&bytes) {
        Some(Content::Safetensors) => "safetensors",
        Some(Content::Zip) => "npz",
        Some(Content::Npy) => "npy",
        Some(Content::Json) => "jsonl",
        _ if first.contains(&b'\t') => "tsv",
        _ if first.contains(&b',') => "csv",
        _ => "txt",
    };
    let file = temporary_folder()?.join(format!("stream-{}.{ending}", before.len()));
    fs::write(&file, &bytes).map_err(|e| unwritable(&file, &e))?;
    COPIED.lock().unwrap_or_else(PoisonError::into_inner).push((key(&path).to_owned(), file.clone()));
    Ok(file)
}

/// Returns a folder that nobody else reads, for files that [`clean`] removes. Removes those of dead processes.
pub(crate) fn temporary_folder() -> Result<&'static Path> {
    if let Some((folder, _)) = FOLDER.get() {
        return Ok(folder);
    }
    tidy(&env::temp_dir());
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // Another process with this number may have left one.
    for number in 0_u32.. {
        let folder = env::temp_dir().join(format!("{FOLDER_PREFIX}{}-{number}", process::id()));
        match builder.create(&folder).and_then(|()| locked(&folder)) {
            Ok(lock) => return Ok(&FOLDER.get_or_init(|| (folder, lock)).0),
            // The second: another process took it for a dead one's before it was locked.
            Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
            Err(e) => return Err(unwritable(&folder, &e)),
        }
    }
    Err(Error::new(ErrorKind::Io, "expected a free name for a temporary folder, got none"))
}

/// Creates the lock of a temporary folder, and holds it.
fn locked(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    let lock = File::create_new(&path)?;
    let is_taken = matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)) || !path.exists();
    if is_taken { Err(io::ErrorKind::NotFound.into()) } else { Ok(lock) }
}

/// Removes the temporary folders of dead processes from `all`: those whose lock is free.
fn tidy(all: &Path) {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.split_once('-'));
        let is_ours = numbers.is_some_and(|(process, number)| is_number(process) && is_number(number));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let lock = entry.path().join(LOCK);
        // A pipe of this name would be waited for.
        let file = fs::symlink_metadata(&lock).is_ok_and(|lock| lock.is_file()).then(|| File::open(&lock));
        // What cannot be removed is left to the system.
        let _ = match file {
            Some(Ok(file)) if file.try_lock().is_ok() => fs::remove_dir_all(entry.path()),
            Some(_) => Ok(()),
            // Only an empty one is removed, which its process had no time to lock.
            None => fs::remove_dir(entry.path()),
        };
    }
}

/// Removes all temporary files.
pub(crate) fn clean() {
    if let Some((folder, _)) = FOLDER.get() {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Fills `file` with `bytes`, and moves it to `path`.
pub(crate) fn fill(file: Replacement, path: &Path, bytes: &[u8]) -> Result<()> {
    file.finish(|file| file.write_all(bytes).map_err(|e| unwritable(path, &e)))
}

/// Makes the error of a file that cannot be written.
pub(crate) fn unwritable(path: &Path, e: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot be written: {e}")).at(path.display())
}

/// Refuses an output that is also an input: trained weights must not be overwritten.
pub(crate) fn spare<'a>(what: &str, read: impl Iterator<Item = &'a Path>, outputs: &[PathBuf]) -> Result<()> {
    let read: HashSet<_> = read.filter_map(|path| path.canonicalize().ok()).collect();
    match outputs.iter().find(|output| output.canonicalize().is_ok_and(|path| read.contains(&path))) {
        None => Ok(()),
        Some(output) => Err(Error::new(
            ErrorKind::Io,
            format!("{what}: expected a file of its own, got {}, which is read in this call", output.display()),
        )),
    }
}

/// Refuses an output that exists, unless `force` is set. Pipes and devices
/// keep nothing that could be lost, and a folder is never overwritten.
pub(crate) fn unused(path: &Path, force: bool) -> Result<()> {
    if path.is_file() && !is_standard_output(path) && !force {
        return Err(Error::new(ErrorKind::Io, "already exists; --force overwrites it").at(path.display()));
    }
    Ok(())
}
