//! A text ⇄ tokens of a model that foresees the next one, as a training settled them.

use super::windows::Windows;
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

/// How a text is to become tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorpusOptions {
    /// What a token stands for.
    pub unit: Unit,
    /// The most tokens of the vocabulary, padding, start and unknown among them: the model's number where none is said, and of a
    /// [`CorpusSummary`](super::CorpusSummary) several usual ones.
    pub num_tokens: Option<usize>,
}

impl Default for CorpusOptions {
    /// Characters, as many as the model has tokens.
    fn default() -> Self {
        Self { unit: Unit::Characters, num_tokens: None }
    }
}

/// Which token each character or word of a text is, of a model that foresees the next one.
///
/// It is made from the text that a model is trained on, and kept in the model's file: [`to_json`](Self::to_json) and
/// [`of_model`](Self::of_model). Of a model whose description has a `vocabulary` it is that: a character for each token, in their
/// order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusSpec(pub(super) Vocabulary);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// That of a text: padding, start, unknown, and the most frequent characters or words.
    Learned(Tokenizer),
    /// That of the model's description.
    Described(Vec<char>),
}

impl CorpusSpec {
    /// The vocabulary of `training`, for `model`. A description that has one is not asked.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the model does not take tokens and give a number for each of them at each step; `Training`, where the
    /// vocabulary would be larger than the model's or has no room for a word, or there is no word in the text.
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

    /// Of this tokenizer.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where its texts begin with a start token: what goes on is no beginning.
    pub fn new(tokenizer: Tokenizer) -> Result<Self> {
        match tokenizer.start() {
            true => Err(wrong("start: expected texts without a start token, got one")),
            false => Ok(Self(Vocabulary::Learned(tokenizer))),
        }
    }

    /// What `metadata`, those of the model's file, say of a text, or else the vocabulary in the model's description; none where there is
    /// neither.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where what the metadata say is damaged.
    pub fn of_model(model: &Model, metadata: &Metadata) -> Result<Option<Self>> {
        let described = || model.vocabulary.clone().map(|all| Self(Vocabulary::Described(all)));
        Ok(Self::of_metadata(metadata)?.or_else(described))
    }

    /// What a token stands for.
    pub fn unit(&self) -> Unit {
        match &self.0 {
            Vocabulary::Learned(tokenizer) => tokenizer.unit(),
            Vocabulary::Described(_) => Unit::Characters,
        }
    }

    /// How many tokens there are, those that are no word among them.
    pub fn num_tokens(&self) -> usize {
        match &self.0 {
            Vocabulary::Learned(tokenizer) => tokenizer.num_tokens(),
            Vocabulary::Described(all) => all.len(),
        }
    }

    /// The tokenizer that was made from a text; none, where the vocabulary is that of the model's description.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match &self.0 {
            Vocabulary::Learned(tokenizer) => Some(tokenizer),
            Vocabulary::Described(_) => None,
        }
    }

    /// Whether it is one of `model`: it takes tokens and gives a number for each of them at each step, and all tokens are the model's.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where it is not.
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

    /// The loss that fits: a cross-entropy.
    pub fn objective(&self) -> Objective {
        CrossEntropy::default().into()
    }

    /// The tokens of a text. What a learned vocabulary lacks is [`UNKNOWN`](Tokenizer::UNKNOWN).
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where there is no character or word in the text, or the vocabulary of a description lacks one of its characters.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let mut tokens = Vec::new();
        self.go_on(text, |_, token| tokens.push(token)).map_err(|(_, error)| error)?;
        if tokens.is_empty() { Err(self.none()) } else { Ok(tokens) }
    }

    /// Calls `each` with the tokens of a text that goes on from another, and the bytes at which they begin. An error comes with the byte of
    /// a character that the vocabulary lacks.
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
        let unit = if self.unit() == Unit::Words { "word" } else { "character" };
        Error::new(ErrorKind::Shape, format!("expected at least one {unit}, got none"))
    }

    /// The text of tokens that go on from others: words each behind a space, `�` for what is unknown or no token of the
    /// vocabulary.
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
                    if tokenizer.unit() == Unit::Words {
                        text.push(' ');
                    }
                    text.push_str(unit.map_or("\u{fffd}", String::as_str));
                }
            }
        }
        text
    }

    /// The tokens of a whole text.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), with the line; kind `Io`, where the text can no longer be read.
    pub fn tokens(&self, corpus: &Corpus) -> Result<Vec<i64>> {
        let mut tokens = Vec::new();
        self.each_token(corpus, |_, token| tokens.push(token))?;
        Ok(tokens)
    }

    /// How many tokens a whole text has, and how many of them the vocabulary lacks.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    pub fn count(&self, corpus: &Corpus) -> Result<[usize; 2]> {
        let (mut all, mut unknown) = (0, 0);
        let is_unknown = |token| self.tokenizer().is_some() && token == Tokenizer::UNKNOWN;
        self.each_token(corpus, |_, token| (all, unknown) = (all + 1, unknown + usize::from(is_unknown(token))))?;
        Ok([all, unknown])
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

    /// Windows of a text as a [`Dataset`](crate::Dataset) takes them, under the names of `model`'s ports: of each step the token is
    /// taken, and the next one is foreseen.
    ///
    /// Without `streams` the windows stand one behind the other. With so many streams the text is cut into as many parts of equal length,
    /// and row `k · streams + b` is window k of part b: in batches of so many rows each row goes on where it ended in the batch before,
    /// as [`Trainer::carry`](crate::Trainer::carry) has it. What is left at the end of the text or of a part is left out.
    ///
    /// # Shapes
    ///
    /// Tokens and targets `[N, window]` (`[window, N]` where the model is time-major).
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check); kind `Training`, where a number is 0 or the text too short for a window of each stream; `Shape` as of
    /// [`tokens`](Self::tokens); `Limits`, where they are more than can be laid out.
    pub fn tensors(
        &self,
        model: &Model,
        corpus: &Corpus,
        window: usize,
        streams: Option<usize>,
    ) -> Result<NamedTensors> {
        let windows = Windows::new(self.ends(model)?, self, corpus, window, streams)?;
        let rows: Vec<usize> = (0..windows.rows()).collect();
        if rows.len().saturating_mul(window) > MOST_TOKENS {
            let text = format!("{} windows of {window}: expected at most {MOST_TOKENS} tokens in all", rows.len());
            return Err(Error::new(ErrorKind::Limits, text).hint("split the file").at(corpus.source()));
        }
        windows.tensors(&rows)
    }

    /// The same windows, cut out when a batch takes them. Of a text that [stays in its file](Corpus::open) each is read there.
    ///
    /// # Errors
    ///
    /// As [`tensors`](Self::tensors), without a bound of what is laid out.
    pub fn examples(
        &self,
        model: &Model,
        corpus: &Corpus,
        window: usize,
        streams: Option<usize>,
    ) -> Result<impl Examples + use<>> {
        Windows::new(self.ends(model)?, self, corpus, window, streams)
    }
}

/// How many tokens `model` has, and its ends.
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
