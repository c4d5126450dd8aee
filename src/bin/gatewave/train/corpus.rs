//! `gatewave train --data text.txt --window T`: a text → windows whose
//! next token is predicted, with the vocabulary that the model will keep.

use gatewave::data::{Corpus, CorpusOptions, CorpusSpec};
use gatewave::formats::Metadata;
use gatewave::train::Dataset;
use gatewave::{Error, ErrorKind, Model, Result};

use super::{Args, examples::Examples};
use crate::args::at_data;
use crate::messages::note;

/// How a text becomes rows.
#[derive(clap::Args)]
pub(super) struct CorpusArgs {
    /// Text: cut it into --batch-size streams, whose states go on from batch to batch, and take them in their order
    #[arg(long, requires = "window", conflicts_with = "buckets")]
    pub(super) stateful: bool,
}

impl CorpusArgs {
    /// Returns the first flag that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.stateful.then_some("--stateful")
    }
}

/// Reads the examples of a text. `metadata` are those of the model's file:
/// a model that was trained on text goes on with its own vocabulary.
pub(super) fn examples(args: &Args, model: &Model, window: usize, mut metadata: Metadata) -> Result<Examples> {
    let at = |e: Error| if e.kind() == ErrorKind::Model { e.at(args.path().display()) } else { e };
    let kept = CorpusSpec::of_model(model, &metadata).map_err(at)?;
    if let (Some(flag), Some(_)) = (args.text.of_vocabulary(), &kept) {
        let text = format!("{flag}: expected none, since the model has a vocabulary of its own");
        return Err(Error::new(ErrorKind::Training, text).at(args.path().display()));
    }
    let options = {
        let mut options = CorpusOptions::default();
        options.unit = args.text.unit().unwrap_or(options.unit);
        options.num_tokens = args.text.num_tokens();
        options
    };
    let unit = kept.as_ref().map_or(options.unit, CorpusSpec::unit);
    let read = |path| args.text.columns().corpus(path);
    let corpus = read(args.data())?;
    let (training, validation) = match (&args.validation, args.validation_split) {
        (Some(path), _) => (corpus, Some(read(path)?)),
        (None, Some(share)) => {
            let [training, validation] = corpus.split(share, unit)?;
            (training, Some(validation))
        }
        (None, None) => (corpus, None),
    };
    let spec = match kept {
        Some(spec) => spec,
        None => CorpusSpec::learn(model, &training, &options).map_err(at)?,
    };
    let objective = args.loss.of_text(spec.objective())?;
    let streams = args.corpus.stateful.then(|| args.fit.rows());
    let dataset = |corpus: &Corpus| -> Result<_> {
        let examples = spec.examples(model, corpus, window, streams).map_err(at)?;
        let counts = [examples.tokens(), examples.unknown()];
        let dataset = Dataset::of(model, objective.clone(), examples);
        Ok((dataset.map_err(|e| at_data(e, corpus.source().path()))?, counts))
    };
    let (trained, [tokens, unknown]) = dataset(&training)?;
    let validated = validation.as_ref().map(dataset).transpose().map_err(|e| e.at("validation"))?;
    let validated = validated.map(|(validated, _)| validated);
    let lacks = if unknown > 0 { format!(", which lacks {unknown} of them") } else { String::new() };
    note(format_args!("{tokens} {} in a vocabulary of {} tokens{lacks}", unit.plural(), spec.num_tokens()));
    if let Some(json) = spec.to_json() {
        metadata.insert(CorpusSpec::KEY.to_owned(), json);
    }
    Ok(Examples { objective, training: trained, validation: validated, metadata, series: None })
}
