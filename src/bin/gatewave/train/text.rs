//! `gatewave train --data reviews.tsv`: labelled text → examples, with the tokenizer and the labels that the model will keep.

use clap::ValueEnum;
use gatewave::data::{Labelled, TextOptions, TextSpec, Unit};
use gatewave::formats::Metadata;
use gatewave::{Error, ErrorKind, Loss, Model, Objective, Result};

use super::{Args, examples::Examples};
use crate::note;
use crate::text::{ColumnArgs, End, Tokens};

/// How text becomes tokens.
#[derive(clap::Args)]
pub(super) struct TextArgs {
    #[command(flatten)]
    columns: ColumnArgs,
    /// Text: what a token stands for [default: words of labelled text, chars of a text as a whole]
    #[arg(long, value_enum)]
    tokenizer: Option<Tokens>,
    /// Text: the most tokens of the vocabulary, with padding, start and unknown [default: as many as the model has]
    #[arg(long, value_name = "N")]
    num_tokens: Option<usize>,
    /// Labelled text: the most tokens of a text, with the start token [default: no bound]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Labelled text: which part of a longer text is cut off [default: end]
    #[arg(long, value_enum, value_name = "start|end")]
    truncate: Option<End>,
    /// Labelled text: at which end a shorter text is padded [default: end]
    #[arg(long, value_enum, value_name = "start|end")]
    pad: Option<End>,
    /// Labelled text: how much rows of each label count; `balanced` lets all labels count alike, however many rows they have
    #[arg(long, value_enum, value_name = "balanced")]
    class_weights: Option<ClassWeights>,
}

/// How much rows of a label count, as flags name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClassWeights {
    /// All labels alike
    Balanced,
}

impl TextArgs {
    /// The flags of a vocabulary, and whether each was given.
    fn vocabulary(&self) -> [(&'static str, bool); 5] {
        [
            ("--tokenizer", self.tokenizer.is_some()),
            ("--num-tokens", self.num_tokens.is_some()),
            ("--max-length", self.max_length.is_some()),
            ("--truncate", self.truncate.is_some()),
            ("--pad", self.pad.is_some()),
        ]
    }

    /// The first flag of a vocabulary that was given.
    pub(super) fn of_vocabulary(&self) -> Option<&'static str> {
        self.vocabulary().into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// The first flag that was given and is not among `allowed`.
    pub(super) fn given(&self, allowed: &[&str]) -> Option<&'static str> {
        let class_weights = ("--class-weights", self.class_weights.is_some());
        let given = self.columns.given().into_iter().chain([class_weights]).chain(self.vocabulary());
        given.filter(|(flag, _)| !allowed.contains(flag)).find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// What a token stands for, where that is said.
    pub(super) fn unit(&self) -> Option<Unit> {
        self.tokenizer.map(Into::into)
    }

    /// The most tokens of the vocabulary, where that is said.
    pub(super) fn num_tokens(&self) -> Option<usize> {
        self.num_tokens
    }

    /// How files are read.
    pub(super) fn columns(&self) -> &ColumnArgs {
        &self.columns
    }

    fn options(&self) -> TextOptions {
        let mut options = TextOptions::default();
        options.unit = self.tokenizer.map_or(options.unit, Into::into);
        options.truncate = self.truncate.map_or(options.truncate, Into::into);
        options.pad = self.pad.map_or(options.pad, Into::into);
        (options.num_tokens, options.max_length) = (self.num_tokens, self.max_length);
        options
    }
}

/// The examples of labelled text. `metadata` is what the model's file says: a model that was trained on text goes on with its
/// own words and labels.
pub(super) fn examples(args: &Args, model: &Model, mut metadata: Metadata) -> Result<Examples> {
    let own = &args.text;
    let kept = TextSpec::of_metadata(&metadata).map_err(|e| e.at(args.path().display()))?;
    if let (Some(flag), Some(_)) = (own.of_vocabulary(), &kept) {
        let text = format!("{flag}: expected none, since the model keeps the tokenizer that it was trained with");
        return Err(wrong(text).at(args.path().display()));
    }
    let rows = own.columns.read(args.data())?;
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
    if own.class_weights.is_some() {
        objective = balanced(&objective, &spec, &training)?;
    }
    spec.check(model).map_err(at)?;
    let dataset = |rows: Labelled| own.columns.examples(&spec, model, &objective, rows);
    let trained = dataset(training)?;
    let validated = match validation {
        None => None,
        Some(rows) => {
            if let Some(label) = rows.only_label() {
                let text = "all rows to validate with have the label";
                let hint = "mix the rows of the file, so that the last ones have every label";
                note(format_args!("warning: {text} {label:?}; {hint}"));
            }
            Some(dataset(rows)?)
        }
    };
    let (tokenizer, labels) = (spec.tokenizer(), spec.classes().labels().len());
    note(format_args!("{labels} labels, a vocabulary of {} tokens by {}", tokenizer.num_tokens(), tokenizer.unit()));
    metadata.insert(TextSpec::KEY.to_owned(), spec.to_json());
    Ok(Examples { objective, training: trained, validation: validated, metadata, series: None })
}

/// The same loss where each label counts alike: `rows / (labels · rows of the label)`, as scikit-learn has it.
fn balanced(objective: &Objective, spec: &TextSpec, rows: &Labelled) -> Result<Objective> {
    let Loss::CrossEntropy(loss) = &objective.terms()[0].loss else {
        let text = "--class-weights: expected a model of an output for each label, got one of a single output; give its last \
                    layer 2";
        return Err(wrong(text.to_owned()));
    };
    let labels = spec.classes().labels().len();
    let mut counts = vec![0.0_f32; labels];
    for class in spec.classes().targets(rows)? {
        counts[usize::try_from(class).unwrap_or_default()] += 1.0;
    }
    let share = counts.iter().sum::<f32>() / labels as f32;
    let weights: Vec<f32> = counts.iter().map(|count| if *count > 0.0 { share / count } else { 0.0 }).collect();
    Ok(loss.clone().class_weights(weights).into())
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Training, text)
}
