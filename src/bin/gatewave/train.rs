//! `gatewave train`: the weights of a model, changed until it loses little on what is in a file.
//!
//! Decides what may be written over, and tells of each epoch; epochs and batches are the library's business.

mod history;
mod options;
mod text;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use gatewave::data::is_labelled_text;
use gatewave::formats::{self, Metadata, description, safetensors::TRAINING_KEY};
use gatewave::weights::{Replacement, Tensors};
use gatewave::{
    Accuracy, Dataset, EarlyStopping, Epoch, Error, ErrorKind, Fit, InputValue, Like, Model, NamedTensors, Objective,
    Options, Precision, Result, Trainer, Weights,
};

use crate::args::{DeviceArgs, KeepArgs, note_device, spare, unused};
use crate::losses::MaybeLossArgs;
use crate::tensors;
use crate::{Outcome, Verdict, note};
use options::UpdateArgs;
use text::TextArgs;

/// Trains a model on labelled text, or on the tensors of a file
///
/// DATA of labelled text is what `gatewave data` takes. Words become tokens, the most frequent of what is trained on as many as
/// the model has, and labels in their order classes; OUT keeps both, so that `gatewave run OUT --text TEXT` answers with a label.
///
/// DATA of tensors holds what `run` takes, and the targets `y`, with a row for each example: integers for `cross_entropy` (−100 does not
/// count), else numbers of the output's shape. A model of several outputs takes `y_OUTPUT`, by the names of its outputs. A last
/// activation of softmax or sigmoid is part of the loss. The same call gives the same weights on the same device.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model: a .safetensors, .onnx, .keras or .h5 file, at whose weights training begins; or a description alone (.json),
    /// whose weights are drawn
    #[arg(value_name = "MODEL")]
    path: PathBuf,
    /// The model's description, where MODEL is a .safetensors file that does not hold one
    #[arg(long = "model", value_name = "model.json")]
    description: Option<PathBuf>,
    /// Examples to train on: .safetensors or .npz; or labelled text: .tsv, .csv, .jsonl, .ndjson or a folder
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Examples to validate with after each epoch, in a file as DATA is
    #[arg(long, value_name = "DATA", conflicts_with = "validation_split")]
    validation: Option<PathBuf>,
    /// Validates with the last rows of the examples, this share of them, and does not train on these
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    validation_split: Option<f64>,
    #[command(flatten)]
    loss: MaybeLossArgs,
    #[command(flatten)]
    update: UpdateArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    text: TextArgs,
    /// On what the share of right answers is measured after each epoch [default: of labelled text validation, else none]
    #[arg(long, value_enum)]
    accuracy: Option<Measured>,
    /// Ends after N epochs in a row whose validation loss is not smaller than the best one; the weights are then those of the best
    /// epoch
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    early_stopping: Option<u64>,
    /// By how much more than nothing a validation loss must be smaller to be better
    #[arg(long, value_name = "X", allow_negative_numbers = true, requires = "early_stopping")]
    min_delta: Option<f64>,
    /// How often to go over all examples
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    epochs: u64,
    /// The rows of a batch; the last one of an epoch may have fewer
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true)]
    batch_size: usize,
    /// Take the rows in their order
    #[arg(long)]
    no_shuffle: bool,
    /// What weights, the order of the rows and dropout are drawn from
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    /// Where the trained model goes: a .safetensors file with its description
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: Option<PathBuf>,
    /// Where the loss of each epoch goes
    #[arg(long, value_name = "FILE.csv")]
    history: Option<PathBuf>,
    /// Write over files that are there already
    #[arg(long)]
    force: bool,
}

/// On what accuracy is measured, as flags name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measured {
    /// On nothing
    None,
    /// On what is validated with
    Validation,
    /// On what is trained on as well, which takes a pass forward
    All,
}

/// What is trained on.
struct Examples {
    objective: Objective,
    training: Dataset,
    validation: Option<Dataset>,
    /// What the model's file will say beside the model.
    metadata: Metadata,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    // What is wrong with words and names needs no model, and what is wrong with the data no device.
    let update = args.update.update()?;
    let fit = Fit::default().epochs(args.epochs).batch_size(args.batch_size).shuffle(!args.no_shuffle).seed(args.seed);
    let mut fit = fit.accuracy(args.measured());
    fit.early_stopping = args.stopping()?;
    fit.check()?;
    if !args.is_text() {
        args.loss.said()?;
        args.text.none_given()?;
    }
    let proofs = args.writable()?;
    let device = args.device.device()?;
    let (model, weights) = args.begin(args.update.like())?;
    let Examples { objective, training, validation, metadata } = args.examples(&model)?;
    let options = Options::default().device(device).keep_bytes(args.keep.keep_bytes);
    let trainer = Trainer::new(model, &weights, objective, update, options);
    let mut trainer = trainer.map_err(|e| e.at(args.path.display()))?;
    drop(weights);
    trainer.set_dropout_seed(Some(args.seed));
    note_device(trainer.device());
    let validating = validation.as_ref().map_or_else(String::new, |data| format!(", validated with {}", data.rows()));
    note(format_args!("{} parameters, {} examples{validating}", trainer.model().parameters(), training.rows()));
    if args.output.is_none() {
        note("the trained weights are not kept: there is no --output");
    }
    let epochs = trainer.fit(&training, validation.as_ref(), &fit, |epoch| note(line(epoch, args.epochs)))?;
    if let Some(best) = epochs.iter().rfind(|epoch| epoch.better) {
        let (number, last) = (best.number, epochs.len() as u64);
        let end = if last < args.epochs { format!("stopped after epoch {last}; ") } else { String::new() };
        note(format_args!("{end}the weights are those of epoch {number}, which validated best"));
    }
    drop(proofs);
    if let Some(path) = &args.history {
        history::write(path, &epochs)?;
    }
    if let Some(path) = &args.output {
        let (model, tensors) = (trainer.model(), trainer.weights()?.to_tensors(trainer.model())?);
        formats::write_with(path, model, tensors, Precision::F32, &metadata)?;
        let bytes = fs::metadata(path).map_err(|e| io_error(path, &e.to_string()))?.len();
        let (layers, parameters) = (trainer.model().layers.len(), trainer.model().parameters());
        writeln!(out, "{}: {layers} layers, {parameters} parameters, f32, {bytes} bytes", path.display())?;
    }
    Ok(Verdict::Done)
}

impl Args {
    /// Proves that what will be written can be, and is not to be kept.
    fn writable(&self) -> Result<Vec<Replacement>> {
        let read = || [&self.path, &self.data].into_iter().chain(&self.description).chain(&self.validation);
        let mut proofs = Vec::new();
        for (flag, path) in [("--output", &self.output), ("--history", &self.history)] {
            let Some(path) = path else { continue };
            spare(flag, read().map(PathBuf::as_path), std::slice::from_ref(path))?;
            unused(path, self.force)?;
            proofs.push(Replacement::open(path)?);
        }
        match (&self.output, &self.history) {
            (Some(output), _) if !has_extension(output, "safetensors") => {
                Err(io_error(output, "expected a name that ends in .safetensors"))
            }
            (Some(output), Some(history)) if output == history => {
                Err(io_error(history, "expected a file of its own for --history, got that of --output"))
            }
            _ => Ok(proofs),
        }
    }

    /// The model, and the weights that training begins at.
    fn begin(&self, like: Like) -> Result<(Model, Weights)> {
        let path = &self.path;
        if has_extension(path, "json") {
            if let Some(other) = &self.description {
                let text = format!("--model: expected none beside a description, got {}", other.display());
                return Err(Error::new(ErrorKind::Model, text).at(path.display()));
            }
            let begin = || {
                let json = fs::read_to_string(path);
                let json = json.map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e))?;
                let model = description::from_json(&json, &Tensors::new())?;
                owns_weights(&model)?;
                let weights = Weights::initial(&model, like, self.seed)?;
                Ok((model, weights))
            };
            return begin().map_err(|e: Error| e.at(path.display()));
        }
        let (model, tensors) = formats::read(path, self.description.as_deref())?;
        let weights = owns_weights(&model).and_then(|()| Weights::from_tensors(&model, tensors));
        Ok((model, weights.map_err(|e| e.at(path.display()))?))
    }

    /// When it ends early.
    fn stopping(&self) -> Result<Option<EarlyStopping>> {
        if self.early_stopping.is_some() && self.validation.is_none() && self.validation_split.is_none() {
            let text = "--early-stopping: expected --validation or --validation-split, got neither";
            return Err(Error::new(ErrorKind::Training, text));
        }
        Ok(self.early_stopping.map(|patience| EarlyStopping::after(patience).min_delta(self.min_delta.unwrap_or(0.0))))
    }

    /// Whether the examples are labelled text.
    fn is_text(&self) -> bool {
        is_labelled_text(&self.data)
    }

    fn measured(&self) -> Accuracy {
        match (self.accuracy, self.is_text()) {
            (Some(Measured::All), _) => Accuracy::All,
            (Some(Measured::Validation), _) | (None, true) => Accuracy::Validation,
            (Some(Measured::None), _) | (None, false) => Accuracy::None,
        }
    }

    /// What the examples are, and what is made small on them.
    fn examples(&self, model: &Model) -> Result<Examples> {
        let mut metadata = match has_extension(&self.path, "json") {
            true => Metadata::new(),
            false => formats::metadata(&self.path)?,
        };
        // It is of another training.
        metadata.remove(TRAINING_KEY);
        if self.is_text() {
            return text::examples(self, model, metadata);
        }
        let read = |path: &Path| -> Result<NamedTensors> {
            let sequence = model.all_ports().inputs.iter().find(|port| port.value == InputValue::Sequence).cloned();
            tensors::read(path, sequence.as_ref().map_or("x", |port| &port.name))
        };
        let given = read(&self.data)?;
        let objective = self.loss.of_tensors(model, &given).map_err(|e| e.at(self.data.display()))?;
        let data = Dataset::new(model, objective.clone(), given).map_err(|e| e.at(self.data.display()))?;
        let (training, validation) = match (&self.validation, self.validation_split) {
            (Some(path), _) => {
                let validation = Dataset::new(model, objective.clone(), read(path)?);
                (data, Some(validation.map_err(|e| e.at(path.display()))?))
            }
            (None, Some(share)) => {
                let [training, validation] = data.split(share)?;
                (training, Some(validation))
            }
            (None, None) => (data, None),
        };
        Ok(Examples { objective, training, validation, metadata })
    }
}

/// Refuses a model whose caller brings weights: they would not be kept.
fn owns_weights(model: &Model) -> Result<()> {
    if model.all_ports().takes_weights() {
        let text = "expected a model that holds its weights, got one that takes them with each call";
        return Err(Error::new(ErrorKind::Model, text));
    }
    Ok(())
}

/// What is told of an epoch.
fn line(epoch: &Epoch, of: u64) -> String {
    let value = |x: f64| if x.abs() > 1e-3 || x == 0.0 { format!("{x:.4}") } else { format!("{x:.4e}") };
    let more = [
        ("val_loss", epoch.validation_loss),
        ("accuracy", epoch.accuracy),
        ("val_accuracy", epoch.validation_accuracy),
    ];
    let told = more.map(|(name, x)| x.map_or_else(String::new, |x| format!("  {name} {}", value(x)))).concat();
    let width = of.to_string().len();
    let seconds = epoch.time.as_secs_f64();
    format!("epoch {:>width$}/{of}  loss {}{told}  {seconds:.2} s", epoch.number, value(epoch.loss))
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn io_error(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Io, what).at(path.display())
}
