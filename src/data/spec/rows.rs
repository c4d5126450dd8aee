//! Labelled rows whose tokens are made when a batch takes them.

use ndarray::Array1;

use super::TextSpec;
use crate::data::heads::Heads;
use crate::data::labelled::Labelled;
use crate::error::{Error, ErrorKind, Result};
use crate::named::{Examples, NamedTensors};

/// Rows of texts for a model.
#[derive(Debug)]
pub(super) struct TextRows {
    spec: TextSpec,
    heads: Heads,
    rows: Labelled,
    classes: Vec<i64>,
    /// How many tokens each row has.
    lengths: Vec<usize>,
    longest: usize,
}

impl TextRows {
    pub(super) fn new(spec: TextSpec, heads: Heads, rows: Labelled) -> Result<Self> {
        let classes = spec.classes.targets(&rows)?;
        let lengths = rows.texts().map(|text| Ok(spec.encode(&text?).len())).collect::<Result<Vec<_>>>()?;
        let longest = lengths.iter().copied().max().unwrap_or(1);
        Ok(Self { spec, heads, rows, classes, lengths, longest })
    }
}

impl Examples for TextRows {
    fn rows(&self) -> usize {
        self.lengths.len()
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let texts = rows.iter().map(|row| self.rows.rows()[*row].text());
        let (tokens, steps) = self.spec.encoded(texts, self.longest)?;
        if let Some((row, _)) = rows.iter().zip(&tokens).find(|(row, tokens)| self.lengths[**row] != tokens.len()) {
            let text = "expected the text as it was at first, got another; was the file changed?";
            return Err(Error::new(ErrorKind::Io, text).at(&self.rows.rows()[*row].place));
        }
        let mut tensors = self.heads.tensors(&tokens, steps);
        let classes: Array1<i64> = rows.iter().map(|row| self.classes[*row]).collect();
        tensors.insert(self.heads.targets().to_owned(), classes.into());
        Ok(tensors)
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        Some(self.lengths.clone())
    }
}
