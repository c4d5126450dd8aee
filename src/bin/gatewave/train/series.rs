//! `gatewave train --data series.csv --window N`: a time series → windows, with the scales that the model will keep.

use std::ops::Range;

use gatewave::data::{Series, SeriesOptions, SeriesSpec};
use gatewave::formats::Metadata;
use gatewave::train::Dataset;
use gatewave::{Error, ErrorKind, Model, Result, Trainer};

use super::{Args, examples::Examples};
use crate::messages::note;
use crate::tensors::read_series;
use crate::text::own_units;

/// How a time series becomes windows.
#[derive(clap::Args)]
pub(super) struct SeriesArgs {
    /// Time series: how many steps after a window are predicted; for a model with
    /// an output at each step, how far ahead each predicts [default: 1]
    #[arg(long, value_name = "N", requires = "window", allow_negative_numbers = true)]
    horizon: Option<usize>,
    /// Time series: how many rows each window begins after the one before it [default: 1]
    #[arg(long, value_name = "N", requires = "window", allow_negative_numbers = true)]
    stride: Option<usize>,
    /// Time series: the columns to predict, separated by commas [default: the first one that the model reads]
    #[arg(long = "target", value_name = "COL", requires = "window", value_delimiter = ',')]
    targets: Vec<String>,
    /// Time series: the columns that the model reads, separated by commas [default: all columns of numbers]
    #[arg(long, value_name = "A,B", requires = "window", value_delimiter = ',')]
    columns: Vec<String>,
}

impl SeriesArgs {
    /// Returns the first flag that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--horizon", self.horizon.is_some()),
            ("--stride", self.stride.is_some()),
            ("--target", !self.targets.is_empty()),
            ("--columns", !self.columns.is_empty()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    fn options(&self, window: usize) -> SeriesOptions {
        let mut options = SeriesOptions::window(window);
        (options.horizon, options.stride) = (self.horizon.unwrap_or(1), self.stride.unwrap_or(1));
        options.columns = (!self.columns.is_empty()).then(|| self.columns.clone());
        options.targets = (!self.targets.is_empty()).then(|| self.targets.clone());
        options
    }

    /// Refuses flags that differ from the model that is trained further.
    fn agrees(&self, window: usize, kept: &SeriesSpec) -> Result<()> {
        let names = |of: Vec<&str>| of.join(",");
        let said = |names: &[String]| (!names.is_empty()).then(|| names.join(","));
        let number = |number: Option<usize>| number.map(|number| number.to_string());
        let columns = names(kept.inputs().map(|scale| scale.column.as_str()).collect());
        let targets = names(kept.targets().map(|scale| scale.column.as_str()).collect());
        for (flag, said, kept) in [
            ("--window", number(Some(window)), kept.window().to_string()),
            ("--horizon", number(self.horizon), kept.horizon().to_string()),
            ("--stride", number(self.stride), kept.stride().to_string()),
            ("--columns", said(&self.columns), columns),
            ("--target", said(&self.targets), targets),
        ] {
            if let Some(said) = said.filter(|said| *said != kept) {
                let text = format!("{flag}: expected {kept}, which the model was trained with, got {said}");
                return Err(Error::new(ErrorKind::Training, text));
            }
        }
        Ok(())
    }
}

/// The validation data, to report a model's errors in the columns' own units.
pub(super) struct Validation {
    spec: SeriesSpec,
    series: Series,
    targets: Range<usize>,
}

impl Validation {
    /// Returns a line with the errors of the model of `trainer`, and those of repeating the last values.
    pub(super) fn line(&self, trainer: &Trainer) -> Result<String> {
        let model = trainer.model();
        let errors = self.spec.errors(model, &self.series, self.targets.clone(), |input| trainer.run(input))?;
        Ok(own_units(&errors))
    }
}

/// Reads the examples of a time series. `metadata` are those of the model's file:
/// a model that was trained on a time series goes on with its columns and scales.
pub(super) fn examples(args: &Args, model: &Model, window: usize, mut metadata: Metadata) -> Result<Examples> {
    let at = |e: Error| if e.kind() == ErrorKind::Model { e.at(args.path().display()) } else { e };
    let max_bytes = args.text.columns().max_bytes;
    let series = read_series(args.data(), max_bytes)?;
    let first = args.validation_split.map_or(Ok(series.rows()), |share| series.rows_before(share))?;
    let spec = match SeriesSpec::of_metadata(&metadata).map_err(at)? {
        Some(kept) => {
            args.series.agrees(window, &kept)?;
            kept
        }
        None => SeriesSpec::learn(model, &series, first, &args.series.options(window)).map_err(at)?,
    };
    let objective = args.loss.of_series()?;
    let dataset = |series: &Series, targets: Range<usize>| {
        let examples = spec.examples(model, series, targets).map_err(at)?;
        Dataset::of(model, objective.clone(), examples).map_err(|e| e.at(series.source()))
    };
    let training = dataset(&series, 0..first)?;
    let named = |scales: Vec<&str>| scales.join(", ");
    let (columns, targets) = (
        named(spec.inputs().map(|scale| scale.column.as_str()).collect()),
        named(spec.targets().map(|scale| scale.column.as_str()).collect()),
    );
    let (window, horizon) = (spec.window(), spec.horizon());
    note(format_args!("{} rows: {columns} → {targets}, window {window}, horizon {horizon}", series.rows()));
    let validated = match &args.validation {
        Some(path) => {
            let series = read_series(path, max_bytes)?;
            let rows = series.rows();
            Some((series, 0..rows))
        }
        None => args.validation_split.map(|_| (series.clone(), first..series.rows())),
    };
    let validation = validated.as_ref().map(|(series, rows)| dataset(series, rows.clone()));
    let validation = validation.transpose().map_err(|e| e.at("validation"))?;
    metadata.insert(SeriesSpec::KEY.to_owned(), spec.to_json());
    let series = validated.map(|(series, targets)| Validation { spec, series, targets });
    Ok(Examples { objective, training, validation, metadata, series })
}
