//! Writing a file that replaces another only when it is complete, so that a good file is never replaced by half a file.
//!
//! Knows paths and the system's files; knows nothing of what is written.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// A file to be written: proven writable when it is opened, and put in its place when the work is done.
///
/// Until [`finish`](Self::finish) an existing file is untouched, and a failure leaves nothing behind. The new file can
/// be read and written by those who could read and write the old one.
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
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
        // Two threads that write the same file each have their own temporary file.
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let cannot = |e: &dyn Display| unwritable(path, e);
        // A link is followed, so that its target is replaced and not the link.
        let path = if path.exists() { fs::canonicalize(path).map_err(|e| cannot(&e))? } else { path.to_owned() };
        if path.exists() {
            if !path.is_file() {
                return Err(cannot(&"not a regular file"));
            }
            OpenOptions::new().append(true).open(&path).map_err(|e| cannot(&e))?;
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| cannot(&"not a file name"))?;
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".{name}.{}.{number}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(|e| cannot(&e))?;
        let replacement = Self { path, temporary, file: Some(file) };
        // Set before the file has any contents to read.
        if let (Ok(before), Some(file)) = (fs::metadata(&replacement.path), &replacement.file) {
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
        let mut file = self.file.take().expect("taken once: finish consumes the replacement");
        write(&mut file)?;
        // The name must not reach the disk before the contents.
        file.sync_all().map_err(|e| unwritable(&self.path, &e))?;
        drop(file);
        fs::rename(&self.temporary, &self.path).map_err(|e| unwritable(&self.path, &e))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; before it, nobody is left to be told of a failure.
        let _ = fs::remove_file(&self.temporary);
    }
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
    fn a_folder_is_no_file_to_replace() {
        let folder = folder("refused");
        let refused = Replacement::open(&folder).err().expect("a folder");
        assert_eq!(refused.kind(), ErrorKind::Io);
        assert!(refused.to_string().ends_with(": cannot be written: not a regular file"), "{refused}");
        fs::remove_dir_all(folder).unwrap();
    }
}
