//! `.txt` → [`Corpus`].

use std::path::Path;

use super::text;
use crate::data::corpus::Corpus;
use crate::data::labelled::SourceLocation;
use crate::error::Result;

impl Corpus {
    /// Reads a whole text in UTF-8.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if the file
    /// cannot be read, is no regular file, is larger than `max_bytes`, no UTF-8 or empty.
    pub fn read(path: impl AsRef<Path>, max_bytes: u64) -> Result<Self> {
        let path = path.as_ref();
        Self::new(text(path, max_bytes)?, SourceLocation::of_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::scratch::Scratch;

    #[test]
    fn a_text_is_read_whole() {
        let scratch = Scratch::new("corpus");
        let path = scratch.write("text.txt", "\u{feff}To be,\nor not.\n");
        assert_eq!(Corpus::read(&path, 100).unwrap().text().unwrap(), "To be,\nor not.\n");
        let error = Corpus::read(&path, 10).unwrap_err().to_string();
        assert!(error.contains("text.txt: expected at most 10 bytes, got more; "), "{error}");
        let error = Corpus::read(scratch.write("latin.txt", b"caf\xe9"), 100).unwrap_err().to_string();
        assert!(error.contains("latin.txt: line 1: expected UTF-8, got the byte 0xe9; "), "{error}");
        assert!(Corpus::read(scratch.write("empty.txt", ""), 100).is_err());
    }
}
