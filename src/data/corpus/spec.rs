//! A text ⇄ tokens of a model that predicts the next one, as a training fixed them.

use super::windows::CorpusExamples;
use super::{Corpus, Part};
use crate::data::ends::{Ends, foresees};
use crate::data::tokenizer::{Tokenizer, Unit};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::Metadata;
use crate::loss::{CrossEntropy, Objective};
use crate::model::{Flow, Model};
use crate::named::{Examples, NamedTensors};

/// The most tokens that are laid out at once: 2 GiB of 64-bit integers.
const MOST_TOKENS: usize = 1 << 28;

/// How a text becomes tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorpusOptions {
    /// What a token represents.
    pub unit: Unit,
    /// The most tokens of the vocabulary, including padding, start and unknown. If not set, it is
    /// the model's number; a [`CorpusSummary`](super::CorpusSummary) then tries several usual ones.
    pub num_tokens: Option<usize>,
}

impl Default for CorpusOptions {
    /// Returns options for characters, as many as the model has tokens.
    fn default() -> Self {
        Self { unit: Unit::Characters, num_tokens: None }
    }
}

/// The token of each character or word of a text, for a model that predicts the next one.
///
/// It is made from the text that a model is trained on, and kept in the model's file:
/// [`to_json`](Self::to_json) and [`of_model`](Self::of_model). If the model's description
/// has a `vocabulary`, it is that: a character for each token, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorpusSpec(pub(super) Vocabulary);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// Learned from a text: padding, start, unknown, and the most frequent characters or words.
    Learned(Tokenizer),
    /// Given by the model's description.
    Described(Vec<char>),
}

impl CorpusSpec {
    /// Learns the vocabulary of `training`, for `model`. The vocabulary of the model's description is ignored.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the model does
    ///   not take tokens and give a number for each of them at each step;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if the vocabulary would be
    ///   larger than the model's or has no room for a word, or the text has no word.
    pub fn learn(model: &Model, training: &Corpus, options: &CorpusOptions) -> Result<Self> {
        let (tokens, _) = heads(model)?;
        let num_tokens = options.num_tokens.unwrap_or(tokens);
        if num_tokens > tokens {
            let text = format!("num_tokens: expected at most {tokens}, which the model has, got {num_tokens}");
            return Err(wrong(text).hint("try fewer, or a model whose first and last layers have more"));
        }
        let tokenizer = Tokenizer::of_counts(training.counter(options.unit)?, num_tokens, false);
        Ok(Self(Vocabulary::Learned(tokenizer.map_err(|e| e.at(training.source()))?)))
    }

    /// Makes a spec of this tokenizer.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if its texts begin with a start token: a continuation is no beginning.
    pub fn new(tokenizer: Tokenizer) -> Result<Self> {
        match tokenizer.start() {
            true => Err(wrong("start: expected texts without a start token, got one")),
            false => Ok(Self(Vocabulary::Learned(tokenizer))),
        }
    }

    /// Reads the spec from `metadata`, those of the model's file, or else from the
    /// vocabulary in the model's description. Returns none if there is neither.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the entry in the metadata is damaged.
    pub fn of_model(model: &Model, metadata: &Metadata) -> Result<Option<Self>> {
        let described = || model.vocabulary.clone().map(|all| Self(Vocabulary::Described(all)));
        Ok(Self::of_metadata(metadata)?.or_else(described))
    }

    /// Returns what a token represents.
    pub fn unit(&self) -> Unit {
        match &self.0 {
            Vocabulary::Learned(tokenizer) => tokenizer.unit(),
            Vocabulary::Described(_) => Unit::Characters,
        }
    }

    /// Returns the number of tokens, including those that are no word.
    pub fn num_tokens(&self) -> usize {
        match &self.0 {
            Vocabulary::Learned(tokenizer) => tokenizer.num_tokens(),
            Vocabulary::Described(all) => all.len(),
        }
    }

    /// Returns the tokenizer that was made from a text; none if the vocabulary is that of the model's description.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match &self.0 {
            Vocabulary::Learned(tokenizer) => Some(tokenizer),
            Vocabulary::Described(_) => None,
        }
    }

    /// Checks that it fits `model`: the model takes tokens and gives
    /// a number for each of them at each step, and knows all tokens.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if it does not fit.
    pub fn check(&self, model: &Model) -> Result<()> {
        self.ends(model).map(drop)
    }

    fn ends(&self, model: &Model) -> Result<Ends> {
        let ((tokens, ends), own) = (heads(model)?, self.num_tokens());
        if own > tokens {
            let text = format!("expected a vocabulary of this model, got {own} tokens where it has {tokens}");
            return Err(Error::new(ErrorKind::Model, text));
        }
        Ok(ends)
    }

    /// Returns the loss that fits: a cross-entropy.
    pub fn objective(&self) -> Objective {
        CrossEntropy::default().into()
    }

    /// Returns the tokens of a text. Characters or words outside a
    /// learned vocabulary are [`UNKNOWN`](Tokenizer::UNKNOWN).
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the text has
    /// no character or word, or the vocabulary of a description lacks one of its characters.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let mut tokens = Vec::new();
        self.go_on(text, |_, token| tokens.push(token)).map_err(|(_, error)| error)?;
        if tokens.is_empty() { Err(self.none()) } else { Ok(tokens) }
    }

    /// Calls `each` with the tokens of a text that continues another, and the bytes at which
    /// they begin. An error comes with the byte of a character outside the vocabulary.
    pub(super) fn go_on(&self, text: &str, mut each: impl FnMut(usize, i64)) -> Result<(), (usize, Error)> {
        let all = match &self.0 {
            Vocabulary::Learned(tokenizer) => {
                tokenizer.go_on(text, each);
                return Ok(());
            }
            Vocabulary::Described(all) => all,
        };
        for (at, character) in text.char_indices() {
            let Some((_, token)) = all.iter().zip(0..).find(|(known, _)| **known == character) else {
                let known: String = all.iter().collect();
                let text = format!("character {character:?} is not in the model's vocabulary {known:?}");
                return Err((at, Error::new(ErrorKind::Shape, text)));
            };
            each(at, token);
        }
        Ok(())
    }

    fn none(&self) -> Error {
        Error::new(ErrorKind::Shape, format!("expected at least one {}, got none", self.unit().singular()))
    }

    /// Returns the text of tokens that continue others. Each word follows a
    /// space; `�` replaces unknown tokens and those outside the vocabulary.
    pub fn continued(&self, tokens: &[i64]) -> String {
        let mut text = String::new();
        for token in tokens {
            let place = usize::try_from(*token).ok();
            match &self.0 {
                Vocabulary::Described(all) => {
                    text.push(place.and_then(|place| all.get(place)).copied().unwrap_or('\u{fffd}'));
                }
                Vocabulary::Learned(tokenizer) => {
                    let unit = place.and_then(|place| tokenizer.units().get(place.checked_sub(Tokenizer::SPECIAL)?));
                    if tokenizer.unit().is_spaced() {
                        text.push(' ');
                    }
                    text.push_str(unit.map_or("\u{fffd}", String::as_str));
                }
            }
        }
        text
    }

    /// Returns the tokens of a whole text.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`encode`](Self::encode), with the line, or one of
    /// kind [`ErrorKind::Io`](crate::ErrorKind::Io) if the text can no longer be read.
    pub fn tokens(&self, corpus: &Corpus) -> Result<Vec<i64>> {
        let mut tokens = Vec::new();
        self.each_token(corpus, |_, token| tokens.push(token))?;
        Ok(tokens)
    }

    /// Returns whether a token stands for what is outside the vocabulary.
    pub(super) fn is_unknown(&self, token: i64) -> bool {
        self.tokenizer().is_some() && token == Tokenizer::UNKNOWN
    }

    /// Calls `each` with the tokens of a whole text, and the bytes at which they begin.
    pub(super) fn each_token(&self, corpus: &Corpus, mut each: impl FnMut(u64, i64)) -> Result<()> {
        let mut is_empty = true;
        corpus.each(|Part { text, begin, line }| {
            let each = |at: usize, token| {
                is_empty = false;
                each(begin + at as u64, token);
            };
            let at_line = |at: usize| corpus.source().line(line + text[..at].matches('\n').count());
            self.go_on(text, each).map_err(|(at, error)| error.at(at_line(at)))?;
            Ok(true)
        })?;
        if is_empty { Err(self.none().at(corpus.source())) } else { Ok(()) }
    }

    /// Lays out windows of a text for a [`Dataset`](crate::train::Dataset), under the names
    /// of `model`'s ports: at each step the model reads a token and predicts the next one.
    ///
    /// Without `streams` the windows follow each other. With streams the text is cut into that many
    /// parts of equal length. Row `k · streams + b` is window k of part b. In batches of `streams` rows
    /// each row goes on where it ended in the batch before, as [`Trainer::carry`](crate::Trainer::carry)
    /// needs it. The rest at the end of the text or of a part is left out.
    ///
    /// # Shapes
    ///
    /// Tokens and targets `[N, window]` (`[window, N]` if the model is time-major).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if a number
    ///   is 0, or the text is too short for a window of each stream;
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) as [`tokens`](Self::tokens) does;
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if there are more windows than can be laid out.
    pub fn tensors(
        &self,
        model: &Model,
        corpus: &Corpus,
        window: usize,
        streams: Option<usize>,
    ) -> Result<NamedTensors> {
        let windows = CorpusExamples::new(self.ends(model)?, self, corpus, window, streams)?;
        let rows: Vec<usize> = (0..windows.rows()).collect();
        if rows.len().saturating_mul(window) > MOST_TOKENS {
            let text = format!("{} windows of {window}: expected at most {MOST_TOKENS} tokens in all", rows.len());
            return Err(Error::new(ErrorKind::Limits, text).hint("split the file").at(corpus.source()));
        }
        windows.tensors(&rows)
    }

    /// Makes examples of the same windows, which are cut when a batch takes
    /// them. If the text [stays in its file](Corpus::open), each is read there.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`tensors`](Self::tensors), without a limit of what is laid out.
    pub fn examples(
        &self,
        model: &Model,
        corpus: &Corpus,
        window: usize,
        streams: Option<usize>,
    ) -> Result<CorpusExamples> {
        CorpusExamples::new(self.ends(model)?, self, corpus, window, streams)
    }
}

/// Returns the number of tokens of `model`, and its ends.
fn heads(model: &Model) -> Result<(usize, Ends)> {
    let wrong = |text: String| Error::new(ErrorKind::Model, text);
    let ends = Ends::of(model)?;
    let Flow::Tokens(tokens) = ends.takes else {
        let text = "expected a model that takes tokens, got one that takes features".to_owned();
        return Err(wrong(text).hint("a text needs an embedding or one_hot layer first"));
    };
    let Flow::Steps(given) = ends.gives else {
        let text = "expected an output for each step of a text, got one for all of them".to_owned();
        return Err(wrong(text).hint("leave out the select layer"));
    };
    if given.len() != tokens {
        let text = format!(
            "expected a model that gives {tokens} numbers for each step, one for each token, got {}",
            given.len()
        );
        return Err(wrong(text).hint("give its last layer as many outputs"));
    }
    foresees(model)?;
    Ok((tokens, ends))
}

pub(super) fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}

#[cfg(test)]
mod tests;
