//! `--data`: a file → training and validation examples, and their objective.

use std::fmt::Debug;

use gatewave::formats::Metadata;
use gatewave::formats::safetensors::TRAINING_KEY;
use gatewave::train::{Dataset, Objective};
use gatewave::{Model, Result};

use super::kind::Kind;
use super::{Args, corpus, series, text};
use crate::args::{at_data, examples_of, is_description, metadata};
use crate::messages::note;

/// Warns that examples to validate with tell nothing of other labels.
pub(super) fn only_one(label: impl Debug) {
    let hint = "mix the rows of the file, so that the last ones have every label";
    note(format_args!("warning: all rows to validate with have the label {label:?}; {hint}"));
}

/// The examples of a training.
pub(super) struct Examples {
    pub(super) objective: Objective,
    pub(super) training: Dataset,
    pub(super) validation: Option<Dataset>,
    /// The metadata that the model's file will have.
    pub(super) metadata: Metadata,
    /// The validation data of a series, in its own units.
    pub(super) series: Option<series::Validation>,
}

impl Examples {
    /// Reads the examples that `args` name, for `model`.
    pub(super) fn read(args: &Args, kind: Kind, model: &Model) -> Result<Self> {
        let mut kept = match is_description(args.path())? {
            true => Metadata::new(),
            false => metadata(args.path())?,
        };
        // It is of another training.
        kept.remove(TRAINING_KEY);
        match (kind, args.window.window) {
            (Kind::Labelled, _) => return text::examples(args, model, kept),
            (Kind::Series, Some(window)) => return series::examples(args, model, window, kept),
            (Kind::Corpus, Some(window)) => return corpus::examples(args, model, window, kept),
            _ => {}
        }
        let stream = args.text.columns().stream;
        let (objective, data) =
            examples_of(model, args.data(), stream, |is_there| args.loss.of_tensors(model, is_there))?;
        let (training, validation) = match (&args.validation, args.validation_split) {
            (Some(path), _) => {
                let (_, validation) = examples_of(model, path, stream, |_| Ok(objective.clone()))?;
                (data, Some(validation))
            }
            (None, Some(share)) => {
                let [training, validation] = data.split(share)?;
                (training, Some(validation))
            }
            (None, None) => (data, None),
        };
        let objective = args.text.of_classes(objective, &training).map_err(|e| at_data(e, args.data()))?;
        let only = validation.as_ref().map_or(Ok(None), Dataset::only_class);
        if let Some(class) = only.map_err(|e| at_data(e, args.data()).at("validation"))? {
            only_one(class);
        }
        Ok(Self { objective, training, validation, metadata: kept, series: None })
    }
}
