//! The two ends of a text.

use std::fmt;

/// An end of a text: where it is padded, or cut off.
#[doc(alias = "padding_side")]
#[doc(alias = "truncation_side")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Its beginning.
    Start,
    /// Its end.
    End,
}

impl Side {
    /// The word for each end, as in files and on the command line.
    pub const WORDS: [(&'static str, Self); 2] = [("start", Self::Start), ("end", Self::End)];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, side)| side == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}
