//! `--data`: a file → what is trained on and validated with, and what is made small on it.

use gatewave::formats::{self, Metadata, safetensors::TRAINING_KEY};
use gatewave::{Dataset, Model, Objective, Result};

use super::kind::Kind;
use super::{Args, corpus, series, text};
use crate::args::{examples_of, has_extension};

/// What is trained on.
pub(super) struct Examples {
    pub(super) objective: Objective,
    pub(super) training: Dataset,
    pub(super) validation: Option<Dataset>,
    /// What the model's file will say beside the model.
    pub(super) metadata: Metadata,
    /// What validates of a series, in its own units.
    pub(super) series: Option<series::Validation>,
}

impl Examples {
    /// What `args` name, for `model`.
    pub(super) fn read(args: &Args, kind: Kind, model: &Model) -> Result<Self> {
        let mut metadata = match has_extension(args.path(), "json") {
            true => Metadata::new(),
            false => formats::metadata(args.path())?,
        };
        // It is of another training.
        metadata.remove(TRAINING_KEY);
        match (kind, args.window.window) {
            (Kind::Labelled, _) => return text::examples(args, model, metadata),
            (Kind::Series, Some(window)) => return series::examples(args, model, window, metadata),
            (Kind::Corpus, Some(window)) => return corpus::examples(args, model, window, metadata),
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
        Ok(Self { objective, training, validation, metadata, series: None })
    }
}
