//! Labelled rows whose tokens are made when a batch takes them.

use super::TextSpec;
use crate::data::heads::Heads;
use crate::data::labelled::Labelled;
use crate::error::{Error, ErrorKind, Result};
use crate::named::{Examples, NamedTensors, Values};

/// Rows of texts for a model.
#[derive(Debug)]
pub(super) struct TextRows {
    spec: TextSpec,
    heads: Heads,
    rows: Labelled,
    classes: RowClasses,
    /// How many tokens each row has.
    lengths: Vec<usize>,
    longest: usize,
}

/// The classes of rows.
#[derive(Debug)]
pub(super) enum RowClasses {
    /// One for each row.
    OfTexts(Vec<i64>),
    /// One for each token of each row.
    OfTokens(Vec<Vec<i64>>),
}

impl RowClasses {
    /// Lays out those of some rows, padded to `steps`, under the name that the model of `heads` has for them.
    pub(super) fn of(
        &self,
        heads: &Heads,
        rows: impl ExactSizeIterator<Item = usize>,
        steps: usize,
    ) -> (String, Values) {
        match self {
            Self::OfTexts(all) => heads.classes(rows.map(|row| all[row]).collect()),
            Self::OfTokens(all) => {
                let count = rows.len();
                heads.tags(rows.map(|row| all[row].as_slice()), count, steps)
            }
        }
    }
}

impl TextRows {
    pub(super) fn new(spec: TextSpec, heads: Heads, rows: Labelled) -> Result<Self> {
        let classes = spec.row_classes(&rows)?;
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
        let (tokens, steps) = self.spec.encoded(&self.heads, texts, self.longest)?;
        if let Some((row, _)) = rows.iter().zip(&tokens).find(|(row, tokens)| self.lengths[**row] != tokens.len()) {
            let text = "expected the text as it was at first, got another; was the file changed?";
            return Err(Error::new(ErrorKind::Io, text).at(&self.rows.rows()[*row].place));
        }
        let mut tensors = self.heads.tensors(&tokens, steps);
        tensors.extend([self.classes.of(&self.heads, rows.iter().copied(), steps)]);
        Ok(tensors)
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        Some(self.lengths.iter().map(|&length| self.heads.told(length)).collect())
    }
}
