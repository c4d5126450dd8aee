//! Texts ⇄ tensors of a model: tokens, classes, lengths and padding, as a training fixed them.

mod rows;

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, Ix2, Ix3};

use super::classes::Classes;
use super::heads::Heads;
use super::labelled::{Example, Labelled};
use super::side::Side;
use super::tokenizer::{Counter, Tokenizer, Unit};
use crate::call::{Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Axes, Model};
use crate::named::{Examples, NamedTensors};
use rows::{RowClasses, TextRows};

/// The most tokens that are laid out at once, including padding: 2 GiB of 64-bit integers.
const MOST_TOKENS: usize = 1 << 28;

/// How texts become tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextOptions {
    /// What a token represents. The tokens of [tagged text](crate::data::Example::tagged) are those of the file.
    pub unit: Unit,
    /// The most tokens of the vocabulary, including padding, start and unknown; if not set, the model's number.
    pub num_tokens: Option<usize>,
    /// Whether a text begins with a start token. Tagged text does not.
    pub start: bool,
    /// The most tokens of a text, including the start token; if not set, there is no limit.
    pub max_length: Option<usize>,
    /// Which end of a longer text is cut off; at its start the start token is cut off too.
    pub truncate: Side,
    /// The end at which a shorter text is padded.
    pub pad: Side,
}

impl Default for TextOptions {
    /// Returns options for words after a start token, as many as
    /// the model has tokens, and whole texts, padded at their end.
    fn default() -> Self {
        let (truncate, pad) = (Side::End, Side::End);
        Self { unit: Unit::Words, num_tokens: None, start: true, max_length: None, truncate, pad }
    }
}

/// How a model reads texts and answers in words: its tokenizer, the label of each class, and how long texts are cut.
///
/// The model answers for each text, or if it was trained on
/// [tagged text](crate::data::Example::tagged), for each token of a text.
///
/// It is made from the rows that a model is trained on, and kept in the
/// model's file: [`to_json`](Self::to_json) and [`read`](Self::read).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextSpec {
    tokenizer: Tokenizer,
    classes: Classes,
    max_length: Option<usize>,
    truncate: Side,
    pad: Side,
    tags: bool,
}

/// A model's answer for a text, or for one of its tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The most probable class; the first of equally probable ones.
    pub class: usize,
    /// The probability of each class.
    pub probabilities: Vec<f64>,
}

impl TextSpec {
    /// Learns the tokenizer and the labels of `training`, for `model`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the model does not take one sequence
    ///   of tokens and answer with one row of numbers for each, or for each token of tagged text;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if there are
    ///   more or fewer labels than the model tells apart (two by one number);
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training), too, if the
    ///   vocabulary would be larger than the model's, or an option is out of range.
    pub fn learn(model: &Model, training: &Labelled, options: &TextOptions) -> Result<Self> {
        let tags = training.is_tagged();
        let heads = Heads::of(model, options.pad, tags)?;
        heads.steps(1, options.max_length)?;
        let num_tokens = options.num_tokens.unwrap_or(heads.tokens);
        if num_tokens > heads.tokens {
            let text = format!("num_tokens: expected at most {}, which the model has, got {num_tokens}", heads.tokens);
            return Err(Error::new(ErrorKind::Training, text).hint("try fewer, or a model whose first layer has more"));
        }
        let classes = classes(training, heads.labels())?;
        let (unit, start) = if tags { (Unit::Whitespace, false) } else { (options.unit, options.start) };
        let mut counter = Counter::of(unit);
        for text in training.texts() {
            counter.add(&text?);
        }
        let tokenizer = Tokenizer::of_counts(counter, num_tokens, start);
        let tokenizer = tokenizer.map_err(|e| e.at(training.source()))?;
        let spec = Self::new(tokenizer, classes).padded(options.pad).cut(options.max_length, options.truncate)?;
        Ok(if tags { spec.tagging() } else { spec })
    }

    /// Makes a spec of whole texts, padded at their end.
    pub fn new(tokenizer: Tokenizer, classes: Classes) -> Self {
        Self { tokenizer, classes, max_length: None, truncate: Side::End, pad: Side::End, tags: false }
    }

    /// Makes it answer for each token of a text, and not for the text as a whole. It then
    /// fits models with an output for each step, if its texts have no start token.
    #[must_use]
    pub fn tagging(self) -> Self {
        Self { tags: true, ..self }
    }

    /// Returns whether it answers for each token of a text.
    pub fn is_tagging(&self) -> bool {
        self.tags
    }

    /// Sets the most tokens of a text, and the end at which a longer one is cut off.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if `max_length` is 0.
    pub fn cut(self, max_length: Option<usize>, truncate: Side) -> Result<Self> {
        if max_length == Some(0) {
            return Err(Error::new(ErrorKind::Training, "max_length: expected 1 or more, got 0"));
        }
        Ok(Self { max_length, truncate, ..self })
    }

    /// Sets the end at which a shorter text is padded.
    #[must_use]
    pub fn padded(self, pad: Side) -> Self {
        Self { pad, ..self }
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns the labels, each at the index of its class.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Returns the most tokens of a text.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Returns which end of a longer text is cut off.
    pub fn truncate(&self) -> Side {
        self.truncate
    }

    /// Returns the end at which a shorter text is padded.
    pub fn pad(&self) -> Side {
        self.pad
    }

    /// Checks that it fits `model`: the model knows all tokens, and each class has its output.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if it does not fit.
    pub fn check(&self, model: &Model) -> Result<()> {
        self.heads(model).map(drop)
    }

    fn heads(&self, model: &Model) -> Result<Heads> {
        let heads = Heads::of(model, self.pad, self.tags)?;
        heads.steps(1, self.max_length)?;
        if self.tags && self.tokenizer.start() {
            let text = "expected texts without a start token, since each token has an answer, got one";
            return Err(Error::new(ErrorKind::Model, text));
        }
        let (tokens, labels) = (self.tokenizer.num_tokens(), self.classes.labels().len());
        for (what, got, has, fits) in [
            ("tokens", tokens, heads.tokens, tokens <= heads.tokens),
            ("labels", labels, heads.labels(), labels == heads.labels()),
        ] {
            if !fits {
                let text =
                    format!("expected a tokenizer and labels of this model, got {got} {what} where it has {has}");
                return Err(Error::new(ErrorKind::Model, text));
            }
        }
        Ok(heads)
    }

    /// Returns the loss that fits the output of `model`: binary cross-entropy for one number, otherwise cross-entropy.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check).
    pub fn objective(&self, model: &Model) -> Result<Objective> {
        Ok(self.heads(model)?.objective())
    }

    /// Returns the tokens of a text, cut if it is too long.
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let mut tokens = self.tokenizer.encode(text);
        let kept = self.kept(tokens.len());
        tokens.truncate(kept.end);
        tokens.drain(..kept.start);
        tokens
    }

    /// Returns which of the tokens of a text are kept if it is too long.
    pub fn kept(&self, tokens: usize) -> Range<usize> {
        let most = self.max_length.map_or(tokens, |most| most.min(tokens));
        match self.truncate {
            Side::Start => tokens - most..tokens,
            Side::End => 0..most,
        }
    }

    /// Lays out labelled rows for a [`Dataset`](crate::train::Dataset), under the names of `model`'s ports.
    ///
    /// # Shapes
    ///
    /// Tokens `[B, T]` (`[T, B]` if the model is time-major), with T of the longest row.
    /// Classes `[B]`, or `[B, T]` for each token: whole numbers, or 0 and 1 if the model gives one number.
    /// Shorter rows are padded at their end, with lengths `[B]`, or at their start, with a mask `[B, T]`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training), with the line, if the label of a row is unknown;
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if all rows,
    ///   padded to the longest one, are more than can be laid out.
    pub fn tensors(&self, model: &Model, rows: &Labelled) -> Result<NamedTensors> {
        let heads = self.heads(model)?;
        let classes = self.row_classes(rows)?;
        let (tokens, steps) = self
            .encoded(&heads, rows.texts(), 1)
            .map_err(|e| if e.kind() == ErrorKind::Io { e } else { e.at(rows.source()) })?;
        let mut tensors = heads.tensors(&tokens, steps);
        tensors.extend([classes.of(&heads, 0..tokens.len(), steps)]);
        Ok(tensors)
    }

    /// Returns the classes of some rows, or of the tokens that are kept of each.
    fn row_classes(&self, rows: &Labelled) -> Result<RowClasses> {
        if rows.is_tagged() != self.tags {
            let kinds = ["a label for each text", "a tag for each token"];
            let [wanted, got] = [self.tags, rows.is_tagged()].map(|tags| kinds[usize::from(tags)]);
            let text = format!("expected {wanted}, as in the data that the model was trained on, got {got}");
            return Err(Error::new(ErrorKind::Training, text).at(rows.source()));
        }
        let all = self.classes.targets(rows)?;
        if !self.tags {
            return Ok(RowClasses::OfTexts(all));
        }
        let mut all = &all[..];
        let of_row = |row: &Example| {
            let (own, rest) = all.split_at(row.labels().count());
            all = rest;
            own[self.kept(own.len())].to_vec()
        };
        Ok(RowClasses::OfTokens(rows.rows().iter().map(of_row).collect()))
    }

    /// Makes examples of the same rows, laid out when a batch takes them. It is for texts that [stay
    /// in their files](crate::data::ReadOptions::stream). Goes over all texts once, for their lengths.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`tensors`](Self::tensors), without a limit of what is laid out.
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if a text can no longer be read.
    pub fn examples(&self, model: &Model, rows: Labelled) -> Result<impl Examples + use<>> {
        TextRows::new(self.clone(), self.heads(model)?, rows)
    }

    /// Makes the input of `model` for some texts.
    ///
    /// # Shapes
    ///
    /// Those of [`tensors`](Self::tensors), without classes.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if there is no text, or of kind
    /// [`ErrorKind::Limits`](crate::ErrorKind::Limits) as [`tensors`](Self::tensors) does.
    pub fn input<'a>(&self, model: &Model, texts: impl IntoIterator<Item = &'a str>) -> Result<Input<'static>> {
        let heads = self.heads(model)?;
        let (tokens, steps) = self.encoded(&heads, texts.into_iter().map(|text| Ok(Cow::Borrowed(text))), 1)?;
        Ok(model.named_input(&heads.tensors(&tokens, steps))?.into_owned())
    }

    /// Turns the output of `model` for some texts into probabilities of the labels.
    /// An output without softmax or sigmoid is taken as the number before it.
    ///
    /// # Shapes
    ///
    /// [`Output::output`] is `[B, F]`; there is an answer for each of the B rows.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape)
    /// if the output is not that of the model, or if it [answers for each token](Self::is_tagging).
    pub fn answers(&self, model: &Model, output: &Output) -> Result<Vec<Answer>> {
        let heads = self.heads(model)?;
        let given = output.output.view().into_dimensionality::<Ix2>();
        match given {
            Ok(given) if !self.tags && given.ncols() == heads.outputs => {
                Ok(given.outer_iter().map(|row| answer(&heads, row)).collect())
            }
            _ => {
                let text = format!("expected an output [B, {}], got {:?}", heads.outputs, output.output.shape());
                Err(Error::new(ErrorKind::Shape, text))
            }
        }
    }

    /// Turns the output of a model that [answers for each token](Self::is_tagging) into probabilities
    /// of the labels: for each of `texts` an answer for each token that is [kept](Self::kept) of it.
    ///
    /// # Shapes
    ///
    /// [`Output::output`] is `[B, T, F]` (`[T, B, F]` if the model is time-major), of the B texts.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the output is not that of the model for these texts.
    pub fn tag_answers<'a>(
        &self,
        model: &Model,
        texts: impl IntoIterator<Item = &'a str>,
        output: &Output,
    ) -> Result<Vec<Vec<Answer>>> {
        let heads = self.heads(model)?;
        let lengths: Vec<usize> = texts.into_iter().map(|text| self.encode(text).len()).collect();
        let wrong = || {
            let (rows, outputs) = (lengths.len(), heads.outputs);
            let text = format!(
                "expected an output of {rows} texts with {outputs} numbers for each token, got {:?}",
                output.output.shape()
            );
            Error::new(ErrorKind::Shape, text)
        };
        let mut given = output.output.view().into_dimensionality::<Ix3>().map_err(|_| wrong())?;
        if model.axes == Axes::TimeMajor {
            given.swap_axes(0, 1);
        }
        let (rows, steps, outputs) = given.dim();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if !self.tags || (rows, outputs) != (lengths.len(), heads.outputs) || steps < longest {
            return Err(wrong());
        }
        let of_row = |(row, length): (ArrayView2<'_, f32>, &usize)| {
            heads.place(*length, steps).map(|step| answer(&heads, row.row(step))).collect()
        };
        Ok(given.outer_iter().zip(&lengths).map(of_row).collect())
    }

    /// Returns the tokens of each text, and the length that they are padded to: that of the longest, or `least`
    /// if that is more, or what the model of `heads` takes. Checks that all can be laid out so.
    fn encoded<'a>(
        &self,
        heads: &Heads,
        texts: impl Iterator<Item = Result<Cow<'a, str>>>,
        least: usize,
    ) -> Result<(Vec<Vec<i64>>, usize)> {
        let rows = texts.map(|text| Ok(self.encode(&text?))).collect::<Result<Vec<Vec<i64>>>>()?;
        let Some(longest) = rows.iter().map(Vec::len).max().map(|longest| longest.max(least)) else {
            return Err(Error::new(ErrorKind::Shape, "expected at least one text, got none"));
        };
        let steps = heads.steps(longest, self.max_length)?;
        if rows.len().saturating_mul(steps) > MOST_TOKENS {
            let text = format!(
                "{} rows padded to {steps} tokens, the longest row: expected at most {MOST_TOKENS} tokens in all",
                rows.len()
            );
            return Err(Error::new(ErrorKind::Limits, text).hint("try a bound for the length of a text (--max-length)"));
        }
        Ok((rows, steps))
    }
}

/// Returns the answer that an output means.
fn answer(heads: &Heads, row: ArrayView1<'_, f32>) -> Answer {
    let probabilities = heads.probabilities(&row.to_vec());
    let best = |best: usize, class: usize| if probabilities[class] > probabilities[best] { class } else { best };
    Answer { class: (0..probabilities.len()).fold(0, best), probabilities }
}

/// Returns the classes of `training`, of which there must be `wanted`.
fn classes(training: &Labelled, wanted: usize) -> Result<Classes> {
    let mut seen: Vec<&str> = Vec::new();
    for (row, label) in training.rows().iter().flat_map(|row| row.labels().map(move |label| (row, label))) {
        if seen.contains(&label) {
            continue;
        }
        if seen.len() == wanted {
            let known = seen.join(", ");
            let text = format!("expected {wanted} labels, which the model tells apart, got {label:?} beside {known}");
            let hint =
                "give the model's last layer an output for each label, or see that the right column is the label";
            return Err(Error::new(ErrorKind::Training, text).hint(hint).at(&row.place));
        }
        seen.push(label);
    }
    let classes = Classes::of(training)?;
    let got = classes.labels().len();
    if got < wanted {
        let text = format!("expected {wanted} labels, which the model tells apart, got {got} ({})", classes.listed());
        let hint = format!("give the model's last layer {got} outputs, or add rows of the others");
        return Err(Error::new(ErrorKind::Training, text).hint(hint).at(training.source()));
    }
    Ok(classes)
}

#[cfg(test)]
mod tests;
