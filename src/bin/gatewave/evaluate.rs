//! `gatewave evaluate`: how good a model is on the examples of a file.

use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use gatewave::data::{CorpusSpec, Series, SeriesSpec, is_corpus, is_labelled_text, is_series};
use gatewave::train::{Dataset, Measures, Metric};
use gatewave::{Engine, Error, ErrorKind, Model, Result, Weights};
use serde_json::{Map, Value, json};

use crate::args::{DeviceArgs, ModelArgs, at_data, examples_of, measuring, note_device};
use crate::files::{data_parser, name, once};
use crate::losses::LossArgs;
use crate::tensors::{can_hold_series, read_series_with};
use crate::text::{ColumnArgs, kept_text, own_units};
use crate::{Outcome, Verdict};

/// The most classes for which the confusion has a table.
const CLASSES: usize = 20;

/// Measures how good a model is on examples
///
/// DATA is what `train --data` takes: labelled text, a time series or a plain-text corpus for a model
/// that was trained on such data, or tensors with the targets `y`. Prints the loss and the
/// metrics. For classes it also prints how many rows of each label were predicted as which.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Examples: .safetensors or .npz; labelled text: .tsv, .csv, .jsonl, .ndjson, .conll or a folder; a time series:
    /// .csv or arrays without targets; a plain-text corpus: .txt; or `-` for standard input
    #[arg(long, value_name = "DATA", value_parser = data_parser())]
    data: PathBuf,
    #[command(flatten)]
    loss: LossArgs,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Metrics besides the loss: accuracy, perplexity, precision, recall, f1, auc, mae; several are
    /// separated by commas [default: those of classes, mae for numbers, perplexity and accuracy for a text]
    #[arg(long = "metric", value_name = "NAME", value_delimiter = ',')]
    metrics: Vec<String>,
    /// A text (.txt): the steps of a row
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    window: Option<usize>,
    /// The rows of a batch
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let metrics = args.metrics.iter().map(|word| word.parse()).collect::<Result<Vec<Metric>>>()?;
    if args.batch_size == 0 {
        return Err(Error::new(ErrorKind::Training, "--batch-size: expected 1 or more, got 0").into());
    }
    once(args.model.files())?;
    let device = args.device.device()?;
    let (model, tensors) = args.model.read()?;
    let series = args.series()?;
    if args.columns.stream && series.is_some() {
        let text = "--stream: expected --data of tensors, labelled text or a plain-text corpus, got a time series";
        return Err(Error::new(ErrorKind::Training, text).into());
    }
    let (objective, data, labels) = match &series {
        Some((spec, series)) => {
            let objective = args.loss.of_series()?;
            let examples = spec.examples(&model, series, 0..series.rows())?;
            (objective.clone(), Dataset::of(&model, objective, examples)?, None)
        }
        None if is_corpus(&args.data) => args.corpus(&model)?,
        None if is_labelled_text(&args.data) => args.text(&model)?,
        None => args.tensors(&model)?,
    };
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| args.model.at(e))?;
    let usual: &[Metric] = if is_corpus(&args.data) {
        &[Metric::Perplexity, Metric::Accuracy]
    } else {
        usual(objective.terms().first().map_or("", |term| term.loss.name()), objective.terms().len())
    };
    let metrics = if metrics.is_empty() { usual.to_vec() } else { metrics };
    let trainer = measuring(model, &weights, objective, Engine::builder().device(device));
    let trainer = trainer.map_err(|e| args.model.at(e))?;
    note_device(trainer.device());
    let measures = trainer.measure(&data, args.batch_size, &metrics).map_err(|e| at_data(e, &args.data))?;
    if args.json {
        writeln!(out, "{}", object(data.rows(), &measures, labels.as_deref()))?;
        return Ok(Verdict::Done);
    }
    print(&args.data, data.rows(), &measures, labels.as_deref(), out)?;
    if let Some((spec, series)) = &series {
        let errors = spec.errors(trainer.model(), series, 0..series.rows(), |input| trainer.run(input))?;
        writeln!(out, "{}", own_units(&errors))?;
    }
    Ok(Verdict::Done)
}

/// The objective, the examples, and the label of each class if they have names.
type Examples = (gatewave::train::Objective, Dataset, Option<Vec<String>>);

impl Args {
    /// Reads the series, and what the model keeps of the one that it was trained on.
    /// Returns none if it was trained on other data, or if the file holds other data.
    fn series(&self) -> Result<Option<(SeriesSpec, Series)>> {
        // A series is read whole.
        if !can_hold_series(&self.data) || self.columns.stream && !is_series(&self.data) {
            return Ok(None);
        }
        let kept = SeriesSpec::of_metadata(&self.model.metadata()?);
        let Some(spec) = kept.map_err(|e| e.at(name(self.model.file())))? else { return Ok(None) };
        // Arrays may be examples that are cut already.
        let columns = spec.inputs().chain(spec.targets()).map(|scale| scale.column.as_str());
        let series = read_series_with(&self.data, self.columns.max_bytes, columns)?;
        Ok(series.map(|series| (spec, series)))
    }

    fn corpus(&self, model: &Model) -> Result<Examples> {
        let at = |e: Error| e.at(name(self.model.file()));
        let Some(spec) = CorpusSpec::of_model(model, &self.model.metadata()?).map_err(at)? else {
            let text = "expected a model with a vocabulary, got one without; gatewave train makes such a model from a text \
                        (--data FILE.txt --window N)";
            return Err(at(Error::new(ErrorKind::Model, text)));
        };
        let Some(window) = self.window else {
            let text = "--window: expected the steps of a row of the text, got none";
            return Err(Error::new(ErrorKind::Training, text));
        };
        let objective = self.loss.of_text(spec.objective())?;
        let corpus = self.columns.corpus(&self.data)?;
        let data = Dataset::of(model, objective.clone(), spec.examples(model, &corpus, window, None)?)?;
        Ok((objective, data, None))
    }

    fn text(&self, model: &Model) -> Result<Examples> {
        let at = |e: Error| e.at(name(self.model.file()));
        let spec = kept_text(self.model.file())?;
        let objective = self.loss.of_text(spec.objective(model).map_err(at)?)?;
        let rows = self.columns.read(&self.data)?;
        let data = self.columns.examples(&spec, model, &objective, rows)?;
        Ok((objective, data, Some(spec.classes().labels().to_vec())))
    }

    fn tensors(&self, model: &Model) -> Result<Examples> {
        self.loss.said()?;
        let objective = |is_there: &dyn Fn(&str) -> bool| self.loss.of_tensors(model, is_there);
        let (objective, data) = examples_of(model, &self.data, self.columns.stream, objective)?;
        Ok((objective, data, None))
    }
}

/// Returns the default metrics of a loss.
fn usual(loss: &str, losses: usize) -> &'static [Metric] {
    match (loss, losses) {
        ("cross_entropy" | "binary_cross_entropy", 1) => {
            &[Metric::Accuracy, Metric::Precision, Metric::Recall, Metric::F1, Metric::Auc]
        }
        ("mse" | "mae" | "huber", 1) => &[Metric::MeanAbsoluteError],
        _ => &[],
    }
}

/// Returns the label of each class, or its number.
fn names(labels: Option<&[String]>, classes: usize) -> Vec<String> {
    labels.map_or_else(|| (0..classes).map(|class| class.to_string()).collect(), <[String]>::to_vec)
}

fn object(rows: usize, measures: &Measures, labels: Option<&[String]>) -> Value {
    let mut object = Map::from_iter([("rows".to_owned(), rows.into()), ("loss".to_owned(), measures.loss.into())]);
    object.extend(measures.metrics.iter().map(|(metric, value)| (metric.to_string(), Value::from(*value))));
    if let Some(confusion) = &measures.confusion {
        let counts: Vec<Vec<u64>> = confusion.outer_iter().map(|row| row.to_vec()).collect();
        object.insert("labels".to_owned(), names(labels, counts.len()).into());
        object.insert("confusion".to_owned(), json!(counts));
    }
    object.into()
}

fn print(
    path: &Path,
    rows: usize,
    measures: &Measures,
    labels: Option<&[String]>,
    out: &mut impl Write,
) -> Outcome<()> {
    writeln!(out, "{}: {rows} rows", path.display())?;
    writeln!(out, "{:<10} {:.4}", "loss", measures.loss)?;
    for (metric, value) in &measures.metrics {
        writeln!(out, "{:<10} {value:.4}", metric.name())?;
    }
    let Some(confusion) = measures.confusion.as_ref().filter(|confusion| confusion.nrows() <= CLASSES) else {
        return Ok(());
    };
    let names = names(labels, confusion.nrows());
    let mut table = Table::new();
    let header = std::iter::once("is \\ said".to_owned()).chain(names.iter().cloned());
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for (name, row) in names.iter().zip(confusion.outer_iter()) {
        table.add_row(std::iter::once(name.clone()).chain(row.iter().map(u64::to_string)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    Ok(())
}
