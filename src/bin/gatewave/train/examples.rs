//! `--data`: a file → what is trained on and validated with, and what is made small on it.

use gatewave::formats::{self, Metadata, safetensors::TRAINING_KEY};
use gatewave::{Dataset, Model, Objective, Result};

use super::kind::Kind;
use super::{Args, corpus, series, text};
use crate::args::{has_extension, tensors_for};

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
        let path = args.data();
        let given = tensors_for(model, path)?;
        let objective = args.loss.of_tensors(model, &given).map_err(|e| e.at(path.display()))?;
        let data = Dataset::new(model, objective.clone(), given).map_err(|e| e.at(path.display()))?;
        let (training, validation) = match (&args.validation, args.validation_split) {
            (Some(path), _) => {
                let validation = Dataset::new(model, objective.clone(), tensors_for(model, path)?);
                (data, Some(validation.map_err(|e| e.at(path.display()))?))
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
