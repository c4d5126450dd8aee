//! Writing a file that replaces another only when it is complete, so that a good file is never replaced by half a file.
//!
//! Knows paths and the system's files; knows nothing of what is written.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// How the names of temporary files begin. The name of the file that one replaces is not in it: both may be as long as
/// the system allows.
const PREFIX: &str = ".gatewave-";

/// The temporary files of this process, and the folders in which it has looked for those of others.
static KNOWN: Mutex<Known> = Mutex::new(Known { files: BTreeSet::new(), tidied: BTreeSet::new(), opened: 0 });

struct Known {
    files: BTreeSet<PathBuf>,
    tidied: BTreeSet<PathBuf>,
    opened: u64,
}

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file to be written: proven writable when it is opened, and put in its place when the work is done.
///
/// Until [`finish`](Self::finish) an existing file is untouched, and a failure leaves nothing behind. The new file can
/// be read and written by those who could read and write the old one. What a killed process left in the same folder is
/// removed.
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    /// Locked as long as it is open, which tells other processes that its writer lives.
    file: Option<File>,
}

impl Replacement {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if `path` is not a
    /// regular file or cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = |e: &dyn Display| unwritable(path, e);
        // A link is followed, so that its target is replaced and not the link.
        let path = if path.exists() { fs::canonicalize(path).map_err(|e| cannot(&e))? } else { path.to_owned() };
        if path.exists() {
            if !path.is_file() {
                return Err(cannot(&"not a regular file"));
            }
            OpenOptions::new().append(true).open(&path).map_err(|e| cannot(&e))?;
        }
        if path.file_name().is_none() {
            return Err(cannot(&"not a file name"));
        }
        let mut known = known();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if known.tidied.insert(folder.clone()) {
            tidy(&folder);
        }
        let (temporary, file) = temporary(&path, &mut known.opened).map_err(|e| cannot(&e))?;
        known.files.insert(temporary.clone());
        drop(known);
        let replacement = Self { path, temporary, file: Some(file) };
        // Set before the file has any contents to read.
        if let (Ok(before), Some(file)) = (fs::metadata(&replacement.path), &replacement.file) {
            // Only a superuser may give a file to another: whoever else may write it owns the new one.
            #[cfg(unix)]
            let _ = {
                use std::os::unix::fs::MetadataExt;
                std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()))
            };
            file.set_permissions(before.permissions()).map_err(|e| unwritable(&replacement.path, &e))?;
        }
        Ok(replacement)
    }

    /// Writes the file with `write` and puts it in its place.
    ///
    /// # Errors
    ///
    /// Returns any error of `write`, or one of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if the system refuses.
    pub fn finish(mut self, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        // Open, and so locked, until it has its name.
        let mut file = self.file.take().expect("taken once: finish consumes the replacement");
        write(&mut file)?;
        // The name must not reach the disk before the contents.
        file.sync_all().map_err(|e| unwritable(&self.path, &e))?;
        let mut known = known();
        fs::rename(&self.temporary, &self.path).map_err(|e| unwritable(&self.path, &e))?;
        known.files.remove(&self.temporary);
        Ok(())
    }

    /// Removes the temporary files of all replacements that are under way, before a signal ends the process. From then
    /// on no thread begins or finishes one.
    pub fn abandon_all() {
        let known = known();
        known.files.iter().for_each(remove);
        mem::forget(known);
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if known().files.remove(&self.temporary) {
            remove(&self.temporary);
        }
    }
}

fn remove(temporary: &PathBuf) {
    // Nobody is left to be told of a failure.
    let _ = fs::remove_file(temporary);
}

/// Creates and locks a file beside `path`. Numbers go on from `number`, so that
/// two threads that write the same file each have their own.
fn temporary(path: &Path, number: &mut u64) -> io::Result<(PathBuf, File)> {
    loop {
        let temporary = path.with_file_name(format!("{PREFIX}{}.{number}", std::process::id()));
        *number += 1;
        let file = match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            // Left by a dead process of this number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            opened => opened?,
        };
        // Between its creation and its lock another process may have taken it for a dead one's, and removed it.
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && temporary.exists() {
            return Ok((temporary, file));
        }
    }
}

/// Removes the temporary files that dead processes have left in `folder`. Whatever cannot be read is left alone.
fn tidy(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(is_temporary);
        let file = is_ours.then(|| OpenOptions::new().append(true).open(entry.path()));
        // A lock that is free has no writer.
        if let Some(Ok(file)) = file
            && file.try_lock().is_ok()
        {
            remove(&entry.path());
        }
    }
}

/// Returns whether `name` is one that [`temporary`] gives.
fn is_temporary(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

fn unwritable(path: &Path, e: &dyn Display) -> Error {
    Error::new(ErrorKind::Io, format!("cannot be written: {e}")).at(path.display())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An empty folder of the test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("gatewave-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn a_file_is_replaced_only_when_the_new_one_is_whole() {
        let folder = folder("replaced");
        let path = folder.join("model");
        fs::write(&path, b"before").unwrap();
        let write = |file: &mut File| file.write_all(b"after").map_err(|e| unwritable(Path::new("model"), &e));
        let failed = Replacement::open(&path).unwrap().finish(|file| {
            write(file)?;
            Err(Error::new(ErrorKind::Weights, "half way"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "half way");
        assert_eq!((fs::read(&path).unwrap().as_slice(), names(&folder).len()), (&b"before"[..], 1));
        let (first, second) = (Replacement::open(&path).unwrap(), Replacement::open(&path).unwrap());
        drop(first);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        second.finish(write).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), names(&folder)), (&b"after"[..], vec!["model".to_owned()]));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_new_file_has_the_mode_of_the_old_one() {
        use std::os::unix::fs::PermissionsExt;

        let folder = folder("modes");
        let path = folder.join("model");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        for wanted in [0o600, 0o664] {
            fs::write(&path, b"before").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
            let write = |file: &mut File| file.write_all(b"after").map_err(|e| unwritable(Path::new("model"), &e));
            Replacement::open(&path).unwrap().finish(write).unwrap();
            assert_eq!((mode(), fs::read(&path).unwrap().as_slice()), (wanted, &b"after"[..]));
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_dead_processes_left_is_removed_and_what_living_ones_write_stays() {
        let folder = folder("left");
        let (path, others) = (folder.join("model"), folder.join(".gatewave-7.x"));
        let dead = folder.join(format!(".gatewave-{}.0", u32::MAX));
        let living = folder.join(format!(".gatewave-{}.1", u32::MAX));
        for file in [&others, &dead, &living] {
            fs::write(file, b"half").unwrap();
        }
        let held = File::open(&living).unwrap();
        held.lock().unwrap();
        Replacement::open(&path).unwrap().finish(|_| Ok(())).unwrap();
        assert!(!dead.exists() && living.exists() && others.exists() && path.exists(), "{:?}", names(&folder));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_name_as_long_as_the_system_allows_can_be_replaced() {
        let folder = folder("long");
        let path = folder.join("n".repeat(255));
        Replacement::open(&path).unwrap().finish(|_| Ok(())).unwrap();
        assert!(path.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_is_no_file_to_replace() {
        let folder = folder("refused");
        let refused = Replacement::open(&folder).err().expect("a folder");
        assert_eq!(refused.kind(), ErrorKind::Io);
        assert!(refused.to_string().ends_with(": cannot be written: not a regular file"), "{refused}");
        fs::remove_dir_all(folder).unwrap();
    }
}
