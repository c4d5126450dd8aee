//! Windows of a text, each with the token behind every one of its tokens.

use std::ops::Range;

use ndarray::{Array2, ArrayD};

use super::spec::{CorpusSpec, wrong};
use super::{Corpus, Stored};
use crate::data::ends::Ends;
use crate::error::{Error, ErrorKind, Result, zeros};
use crate::model::Dim;
use crate::named::{Examples, NamedTensors};

/// Where windows begin: one behind the other in each of `parts` parts of equal length.
///
/// Row `k · parts + b` is window k of part b.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    parts: usize,
    /// The tokens of a part.
    part: usize,
    window: usize,
    /// The windows of a part.
    windows: usize,
}

impl Cut {
    /// Cuts a text of `tokens` tokens.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if a number is 0 or the text is too short.
    pub(super) fn of(tokens: usize, window: usize, streams: Option<usize>) -> Result<Self> {
        let cut = Self::or_none(tokens, window, streams)?;
        if cut.windows == 0 {
            let needed = cut.parts.saturating_mul(window).saturating_add(1);
            let each = streams.map_or_else(String::new, |streams| format!(" in each of {streams} streams"));
            let text = format!("window {window}{each}: expected a text of at least {needed} tokens, got {tokens}");
            let hint = if streams.is_some() { "try a smaller window or batch size" } else { "try a smaller window" };
            return Err(wrong(text).hint(format_args!("{hint}, or a longer text")));
        }
        Ok(cut)
    }

    /// Does the same, but has no windows if the text is too short.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a number is 0.
    pub(super) fn or_none(tokens: usize, window: usize, streams: Option<usize>) -> Result<Self> {
        if let Some((what, _)) = [("window", window), ("streams", streams.unwrap_or(1))].iter().find(|(_, n)| *n == 0) {
            return Err(wrong(format!("{what}: expected 1 or more, got 0")));
        }
        // The last token is predicted and not read.
        let parts = streams.unwrap_or(1);
        let part = tokens.saturating_sub(1) / parts;
        Ok(Self { parts, part, window, windows: part / window })
    }

    pub(super) fn rows(&self) -> usize {
        self.parts * self.windows
    }

    /// Returns the token at which a row begins.
    pub(super) fn begin(&self, row: usize) -> usize {
        row % self.parts * self.part + row / self.parts * self.window
    }

    /// Returns the row that begins at a token.
    fn row_at(&self, token: usize) -> Option<usize> {
        let (part, within) = (token / self.part, token % self.part);
        let begins = part < self.parts && within.is_multiple_of(self.window) && within / self.window < self.windows;
        begins.then_some(within / self.window * self.parts + part)
    }
}

/// Windows of a text for a model. [`CorpusSpec::examples`] makes them.
#[derive(Debug)]
pub struct CorpusExamples {
    ends: Ends,
    cut: Cut,
    text: Text,
    tokens: usize,
    unknown: usize,
}

/// Where the tokens of a row come from.
#[derive(Debug)]
enum Text {
    /// All tokens, in memory.
    Held(Vec<i64>),
    /// The bytes of each row, with the token behind it, in the file of the text.
    Stored { spec: CorpusSpec, corpus: Corpus, stored: Stored, rows: Vec<Range<u64>> },
}

impl CorpusExamples {
    /// Returns how many tokens the whole text has.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns how many of them are outside the vocabulary.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    pub(super) fn new(
        ends: Ends,
        spec: &CorpusSpec,
        corpus: &Corpus,
        window: usize,
        streams: Option<usize>,
    ) -> Result<Self> {
        let cut = |tokens| Cut::of(tokens, window, streams).map_err(|e| e.at(corpus.source()));
        let Some(stored) = corpus.stored() else {
            let held = spec.tokens(corpus)?;
            let (tokens, unknown) = (held.len(), held.iter().filter(|token| spec.is_unknown(**token)).count());
            return Ok(Self { ends, cut: cut(tokens)?, text: Text::Held(held), tokens, unknown });
        };
        let (mut tokens, mut unknown) = (0, 0);
        spec.each_token(corpus, |_, token| {
            (tokens, unknown) = (tokens + 1, unknown + usize::from(spec.is_unknown(token)));
        })?;
        let cut = cut(tokens)?;
        let mut rows: Vec<Range<u64>> = vec![stored.bytes.clone(); cut.rows()];
        let mut token = 0;
        spec.each_token(corpus, |at, _| {
            if let Some(row) = cut.row_at(token) {
                rows[row].start = at;
            }
            // The token behind a row is its last target; the one after that is past its end.
            if let Some(row) = token.checked_sub(window + 1).and_then(|begin| cut.row_at(begin)) {
                rows[row].end = at;
            }
            token += 1;
        })?;
        let (stored, spec, corpus) = (stored.clone(), spec.clone(), corpus.clone());
        Ok(Self { ends, cut, text: Text::Stored { spec, corpus, stored, rows }, tokens, unknown })
    }

    /// Fills in the tokens of a row: those that are read, and those that are predicted.
    fn fill(&self, row: usize, x: &mut [i64], y: &mut [i64]) -> Result<()> {
        let window = self.cut.window;
        let mut copy = |tokens: &[i64]| {
            x.copy_from_slice(&tokens[..window]);
            y.copy_from_slice(&tokens[1..=window]);
        };
        match &self.text {
            Text::Held(tokens) => copy(&tokens[self.cut.begin(row)..][..=window]),
            Text::Stored { spec, corpus, stored, rows } => {
                let mut tokens = Vec::with_capacity(window + 1);
                let text = corpus.stretch(stored, &rows[row])?;
                spec.go_on(&text, |_, token| tokens.push(token)).map_err(|(_, e)| e.at(corpus.source()))?;
                if tokens.len() <= window {
                    let Range { start, end } = rows[row];
                    let (wanted, got) = (window + 1, tokens.len());
                    let text = format!("bytes {start} to {end}: expected {wanted} tokens, got {got}");
                    let error = Error::new(ErrorKind::Io, text).hint("was the file changed after it was first read?");
                    return Err(error.at(corpus.source()));
                }
                copy(&tokens);
            }
        }
        Ok(())
    }
}

impl Examples for CorpusExamples {
    fn rows(&self) -> usize {
        self.cut.rows()
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let window = self.cut.window;
        let room = || zeros::<i64>("windows", &[rows.len(), window], "try a smaller batch");
        let (mut x, mut y) = (room()?, room()?);
        for ((row, x), y) in rows.iter().zip(x.chunks_exact_mut(window)).zip(y.chunks_exact_mut(window)) {
            self.fill(*row, x, y)?;
        }
        let array = |numbers: Vec<i64>| -> Result<ArrayD<i64>> {
            let array = Array2::from_shape_vec((rows.len(), window), numbers);
            array.map(Array2::into_dyn).map_err(|e| Error::internal(format_args!("windows: {e}")))
        };
        let axes = [Dim::Batch, Dim::Time];
        let ((x, taken), (y, target)) = (self.ends.taken(array(x)?, &axes), self.ends.target(array(y)?, &axes));
        Ok(NamedTensors::from([(x, taken.into()), (y, target.into())]))
    }
}
