//! `gatewave train --data reviews.tsv`: labelled text → examples,
//! with the tokenizer and the labels that the model will keep.

use std::mem;
use std::str::FromStr;

use gatewave::data::{Labelled, Side, TextOptions, TextSpec, Unit};
use gatewave::formats::Metadata;
use gatewave::train::{Dataset, Loss, Objective};
use gatewave::{Error, ErrorKind, Model, Result};

use super::Args;
use super::examples::{Examples, only_one};
use crate::messages::note;
use crate::text::{ColumnArgs, side, unit};

/// How text becomes tokens.
#[derive(clap::Args)]
pub(super) struct TextArgs {
    #[command(flatten)]
    columns: ColumnArgs,
    /// Text: what a token represents [default: words of labelled text, chars of a plain-text corpus]
    #[arg(long, value_name = "UNIT", value_parser = unit())]
    tokenizer: Option<Unit>,
    /// Text: the most tokens of the vocabulary, including padding,
    /// start and unknown [default: as many as the model has]
    #[arg(long, value_name = "N")]
    num_tokens: Option<usize>,
    /// Labelled text: the most tokens of a text, including the start token [default: no bound]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Labelled text: which part of a longer text is cut off [default: end]
    #[arg(long, value_name = "start|end", value_parser = side())]
    truncate: Option<Side>,
    /// Labelled text: the end at which a shorter text is padded [default: end]
    #[arg(long, value_name = "start|end", value_parser = side())]
    pad: Option<Side>,
    /// Labelled text: begin a text with its first word, without a start token
    #[arg(long)]
    no_start: bool,
    /// Labelled text, tensors: how much rows of each label (of tensors: of each class, from 0) count. `balanced`
    /// lets all labels count alike, however many rows they have; a label that is not named counts 1
    #[arg(long, value_name = "balanced|LABEL=W,...")]
    class_weights: Option<ClassWeights>,
}

/// How much rows of a label count, as flags name it.
#[derive(Clone, Debug, PartialEq)]
enum ClassWeights {
    /// All labels alike.
    Balanced,
    /// Labels with their weights.
    Said(Vec<(String, f32)>),
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let (mut all, mut label) = (Vec::<(String, f32)>::new(), String::new());
        for part in text.split(',') {
            let Some((end, weight)) = part.rsplit_once('=') else {
                // The comma is part of the label.
                label += &format!("{part},");
                continue;
            };
            let label = (mem::take(&mut label) + end).trim().to_owned();
            let Some(number) = weight.trim().parse().ok().filter(|number: &f32| number.is_finite() && *number > 0.0)
            else {
                let text = format!("expected a number above 0 for {label}, got {weight:?}");
                return Err(text + "; leave out the rows of a label that is not to count");
            };
            if all.iter().any(|(known, _)| *known == label) {
                return Err(format!("expected one weight of a label, got two of {label}"));
            }
            all.push((label, number));
        }
        match label.is_empty() {
            true => Ok(Self::Said(all)),
            false => Err(format!("expected balanced or LABEL=W,LABEL=W, got {text}")),
        }
    }
}

impl ClassWeights {
    /// Returns the weight of each class of `spec`, which is trained on `rows`.
    fn weights(&self, spec: &TextSpec, rows: &Labelled) -> Result<Vec<f32>> {
        match self {
            Self::Balanced => spec.classes().balanced(rows),
            Self::Said(all) => {
                let said = all.iter().map(|(label, weight)| (label.as_str(), *weight));
                spec.classes().weights(said).map_err(|e| e.at("--class-weights"))
            }
        }
    }
}

impl TextArgs {
    /// Returns the objective of tensors with class weights, if a flag asks for them.
    pub(super) fn of_classes(&self, objective: Objective, training: &Dataset) -> Result<Objective> {
        let Some(said) = &self.class_weights else { return Ok(objective) };
        let weights = match said {
            ClassWeights::Balanced => training.balanced_class_weights()?,
            ClassWeights::Said(_) => training.class_counts()?.map(|counts| vec![1.0; counts.len()]),
        };
        let Some(mut weights) = weights else {
            let got = objective.terms().iter().map(|term| term.loss.name()).collect::<Vec<_>>().join(", ");
            let text = format!("expected one loss, cross_entropy or binary_cross_entropy, got {got}");
            return Err(wrong(text).at("--class-weights"));
        };
        if let ClassWeights::Said(all) = said {
            let classes = weights.len();
            for (class, weight) in all {
                let place = class.parse::<usize>().ok().and_then(|class| weights.get_mut(class));
                let wrong = || wrong(format!("expected a class below {classes}, got {class:?}")).at("--class-weights");
                *place.ok_or_else(wrong)? = *weight;
            }
        }
        Ok(weighted(&objective, &weights))
    }

    /// Returns the flags of a vocabulary, and whether each was given.
    fn vocabulary(&self) -> [(&'static str, bool); 6] {
        [
            ("--tokenizer", self.tokenizer.is_some()),
            ("--num-tokens", self.num_tokens.is_some()),
            ("--max-length", self.max_length.is_some()),
            ("--truncate", self.truncate.is_some()),
            ("--pad", self.pad.is_some()),
            ("--no-start", self.no_start),
        ]
    }

    /// Returns the first flag of a vocabulary that was given.
    pub(super) fn of_vocabulary(&self) -> Option<&'static str> {
        self.vocabulary().into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// Returns the first flag that was given and is not among `allowed`.
    pub(super) fn given(&self, allowed: &[&str]) -> Option<&'static str> {
        let class_weights = ("--class-weights", self.class_weights.is_some());
        let given = self.columns.given().into_iter().chain([class_weights]).chain(self.vocabulary());
        given.filter(|(flag, _)| !allowed.contains(flag)).find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// Returns what a token represents, if a flag sets it.
    pub(super) fn unit(&self) -> Option<Unit> {
        self.tokenizer
    }

    /// Returns the most tokens of the vocabulary, if a flag sets it.
    pub(super) fn num_tokens(&self) -> Option<usize> {
        self.num_tokens
    }

    /// Returns how files are read.
    pub(super) fn columns(&self) -> &ColumnArgs {
        &self.columns
    }

    fn options(&self) -> TextOptions {
        let mut options = TextOptions::default();
        options.unit = self.tokenizer.unwrap_or(options.unit);
        options.truncate = self.truncate.unwrap_or(options.truncate);
        options.pad = self.pad.unwrap_or(options.pad);
        options.start = !self.no_start;
        (options.num_tokens, options.max_length) = (self.num_tokens, self.max_length);
        options
    }
}

/// Reads the examples of labelled text. `metadata` are those of the model's
/// file: a model that was trained on text goes on with its own words and labels.
pub(super) fn examples(args: &Args, model: &Model, mut metadata: Metadata) -> Result<Examples> {
    let own = &args.text;
    let kept = TextSpec::of_metadata(&metadata).map_err(|e| e.at(args.path().display()))?;
    if let (Some(flag), Some(_)) = (own.of_vocabulary(), &kept) {
        let text = format!("{flag}: expected none, since the model keeps the tokenizer that it was trained with");
        return Err(wrong(text).at(args.path().display()));
    }
    let rows = own.columns.read(args.data())?;
    let of_tokens = [("--tokenizer", own.tokenizer.is_some()), ("--no-start", own.no_start)];
    if let (Some((flag, _)), true) = (of_tokens.iter().find(|(_, is_given)| *is_given), rows.is_tagged()) {
        let text = format!("{flag}: expected none, since the tokens of tagged text are those of the file");
        return Err(wrong(text).at(rows.source()));
    }
    let (training, validation) = match (&args.validation, args.validation_split) {
        (Some(path), _) => (rows, Some(own.columns.read(path)?)),
        (None, Some(share)) => {
            let [training, validation] = rows.split(share)?;
            (training, Some(validation))
        }
        (None, None) => (rows, None),
    };
    let at = |e: Error| if e.kind() == ErrorKind::Model { e.at(args.path().display()) } else { e };
    let spec = match kept {
        Some(spec) => spec,
        None => TextSpec::learn(model, &training, &own.options()).map_err(at)?,
    };
    let mut objective = args.loss.of_text(spec.objective(model).map_err(at)?)?;
    if let Some(said) = &own.class_weights {
        objective = weighted(&objective, &said.weights(&spec, &training)?);
    }
    spec.check(model).map_err(at)?;
    let dataset = |rows: Labelled| own.columns.examples(&spec, model, &objective, rows);
    let trained = dataset(training)?;
    let validated = match validation {
        None => None,
        Some(rows) => {
            if let Some(label) = rows.only_label() {
                only_one(label);
            }
            Some(dataset(rows)?)
        }
    };
    let (tokenizer, labels) = (spec.tokenizer(), spec.classes().labels().len());
    note(format_args!("{labels} labels, a vocabulary of {} tokens by {}", tokenizer.num_tokens(), tokenizer.unit()));
    metadata.insert(TextSpec::KEY.to_owned(), spec.to_json());
    Ok(Examples { objective, training: trained, validation: validated, metadata, series: None })
}

/// Returns the same loss with class weights: rows count as the class of their label does.
fn weighted(objective: &Objective, weights: &[f32]) -> Objective {
    match (&objective.terms()[0].loss, weights) {
        (Loss::CrossEntropy(loss), _) => loss.clone().class_weights(weights).into(),
        (Loss::BinaryCrossEntropy(loss), &[no, yes]) => loss.clone().class_weights([no, yes]).into(),
        // No other loss is of classes.
        _ => objective.clone(),
    }
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Training, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_weights_are_said_of_labels() {
        let said = |text: &str| match text.parse() {
            Ok(ClassWeights::Said(all)) => all,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!("balanced".parse(), Ok(ClassWeights::Balanced));
        assert_eq!(said("neg=2,pos=0.5"), [("neg".to_owned(), 2.0), ("pos".to_owned(), 0.5)]);
        assert_eq!(said("a, b=2, c=d=1e-3"), [("a, b".to_owned(), 2.0), ("c=d".to_owned(), 1e-3)]);
        assert_eq!(said("balanced=3"), [("balanced".to_owned(), 3.0)]);
        for (text, error) in [
            ("neg", "expected balanced or LABEL=W,LABEL=W, got neg"),
            ("neg=2,", "expected balanced or LABEL=W,LABEL=W, got neg=2,"),
            ("", "expected balanced or LABEL=W,LABEL=W, got "),
            (
                "neg=0",
                "expected a number above 0 for neg, got \"0\"; leave out the rows of a label that is not to count",
            ),
            ("neg=1,neg=2", "expected one weight of a label, got two of neg"),
        ] {
            assert_eq!(text.parse::<ClassWeights>(), Err(error.to_owned()), "{text}");
        }
        assert!(["neg=-1", "neg=inf", "neg=NaN", "neg="].iter().all(|text| text.parse::<ClassWeights>().is_err()));
    }
}
