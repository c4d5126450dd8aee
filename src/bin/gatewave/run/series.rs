//! `gatewave run --series`: a model's forecast behind the last row of a time series, in the columns' own units.

use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use gatewave::data::SeriesSpec;
use gatewave::{Error, ErrorKind};
use serde_json::{Map, Value, json};

use super::Args;
use crate::files::{data_parser, name, once};
use crate::tensors::read_series;
use crate::{Outcome, Verdict};

/// The series.
#[derive(clap::Args)]
pub(super) struct SeriesArgs {
    /// A time series for a model that was trained on one, to predict what follows its last row; or `-` for standard
    /// input
    #[arg(long, value_name = "FILE", value_parser = data_parser(), conflicts_with_all = ["input", "output", "text", "text_file"])]
    pub(super) series: Option<PathBuf>,
}

pub(super) fn run(args: &Args, path: &Path, out: &mut impl Write) -> Outcome {
    once(args.model.files())?;
    let device = args.device.device()?;
    let place = |e: Error| e.at(name(args.model.file()));
    let (model, tensors) = args.model.read()?;
    let Some(spec) = SeriesSpec::of_metadata(&args.model.metadata()?).map_err(place)? else {
        let text = "expected a model with the columns and scales of a time series, got one without; gatewave train makes \
                    such a model from a time series (--data FILE.csv --window N)";
        return Err(place(Error::new(ErrorKind::Model, text)).into());
    };
    spec.check(&model).map_err(place)?;
    let input = spec.input(&model, &read_series(path, None)?)?;
    let engine = args.model.engine(model.clone(), &tensors, device, args.precision)?;
    let forecasts = spec.forecasts(&model, &engine.run(&input)?)?;
    let names: Vec<&str> = spec.targets().map(|scale| scale.column.as_str()).collect();
    if args.text.json {
        for forecast in &forecasts {
            let values =
                names.iter().zip(&forecast.values).map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            writeln!(out, "{}", json!({"step": forecast.step, "forecast": values.collect::<Map<_, _>>()}))?;
        }
        return Ok(Verdict::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["step"].into_iter().chain(names.iter().copied()));
    for forecast in &forecasts {
        let values = forecast.values.iter().map(|value| format!("{value:.6}"));
        table.add_row([format!("+{}", forecast.step)].into_iter().chain(values));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    Ok(Verdict::Done)
}
