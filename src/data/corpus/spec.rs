//! A text ⇄ tokens of a model that foresees the next one, as a training settled them.

use ndarray::{Array2, ArrayD};

use super::Corpus;
use crate::data::ends::{Ends, foresees};
use crate::data::tokenizer::{Tokenizer, Unit};
use crate::error::{Error, ErrorKind, Result, zeros};
use crate::formats::Metadata;
use crate::loss::{CrossEntropy, Objective};
use crate::model::{Dim, Flow, Model};
use crate::named::NamedTensors;

/// The most tokens that are laid out at once: 2 GiB of 64-bit integers.
const MOST_TOKENS: usize = 1 << 28;

/// How a text is to become tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorpusOptions {
    /// What a token stands for.
    pub unit: Unit,
    /// The most tokens of the vocabulary, padding, start and unknown among them: the model's number where none is said.
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
        let tokenizer = Tokenizer::learn([training.text()], options.unit, num_tokens, false);
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
        let mut is_empty = true;
        self.unit().each(text, |_| is_empty = false);
        if is_empty {
            let unit = if self.unit() == Unit::Words { "word" } else { "character" };
            return Err(Error::new(ErrorKind::Shape, format!("expected at least one {unit}, got none")));
        }
        match &self.0 {
            Vocabulary::Learned(tokenizer) => Ok(tokenizer.encode(text)),
            Vocabulary::Described(all) => {
                let token = |character| {
                    all.iter().zip(0..).find(|(known, _)| **known == character).map(|(_, token)| token).ok_or_else(
                        || {
                            let known: String = all.iter().collect();
                            let text = format!("character {character:?} is not in the model's vocabulary {known:?}");
                            Error::new(ErrorKind::Shape, text)
                        },
                    )
                };
                text.chars().map(token).collect()
            }
        }
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
    /// As [`encode`](Self::encode), with the line.
    pub fn tokens(&self, corpus: &Corpus) -> Result<Vec<i64>> {
        self.encode(corpus.text()).map_err(|e| match &self.0 {
            Vocabulary::Learned(_) => e.at(corpus.source()),
            Vocabulary::Described(all) => {
                let unknown = corpus.text().char_indices().find(|(_, character)| !all.contains(character));
                let line = unknown.map(|(at, _)| corpus.source().line(corpus.line(at)));
                e.at(line.unwrap_or_else(|| corpus.source().clone()))
            }
        })
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
        let ends = self.ends(model)?;
        let tokens = self.tokens(corpus)?;
        let begins = begins(tokens.len(), window, streams).map_err(|e| e.at(corpus.source()))?;
        let cut = |ahead: usize| -> Result<ArrayD<i64>> {
            let mut rows: Vec<i64> = zeros("windows", &[begins.len(), window], "try a shorter text")?;
            for (to, begin) in rows.chunks_exact_mut(window).zip(&begins) {
                to.copy_from_slice(&tokens[begin + ahead..begin + ahead + window]);
            }
            let rows = Array2::from_shape_vec((begins.len(), window), rows);
            rows.map(Array2::into_dyn).map_err(|e| Error::internal(format_args!("windows: {e}")))
        };
        let axes = [Dim::Batch, Dim::Time];
        let ((x, taken), (y, target)) = (ends.taken(cut(0)?, &axes), ends.target(cut(1)?, &axes));
        Ok(NamedTensors::from([(x, taken.into()), (y, target.into())]))
    }
}

/// Where each window begins in a text of so many tokens.
fn begins(tokens: usize, window: usize, streams: Option<usize>) -> Result<Vec<usize>> {
    if let Some((what, _)) = [("window", window), ("streams", streams.unwrap_or(1))].iter().find(|(_, n)| *n == 0) {
        return Err(wrong(format!("{what}: expected 1 or more, got 0")));
    }
    if tokens > MOST_TOKENS {
        let text = format!("expected a text of at most {MOST_TOKENS} tokens, got {tokens}");
        return Err(Error::new(ErrorKind::Limits, text).hint("split the file"));
    }
    // The last token is foreseen and not taken.
    let parts = streams.unwrap_or(1);
    let part = tokens.saturating_sub(1) / parts;
    let windows = part / window;
    if windows == 0 {
        let needed = parts.saturating_mul(window).saturating_add(1);
        let each = streams.map_or_else(String::new, |streams| format!(" in each of {streams} streams"));
        let text = format!("window {window}{each}: expected a text of at least {needed} tokens, got {tokens}");
        let hint = if streams.is_some() { "try a smaller window or batch size" } else { "try a smaller window" };
        return Err(wrong(text).hint(format_args!("{hint}, or a longer text")));
    }
    Ok((0..windows).flat_map(|k| (0..parts).map(move |b| b * part + k * window)).collect())
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

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}

#[cfg(test)]
mod tests;
