//! `gatewave train`: the weights of a model, changed until it loses little on what is in a file.
//!
//! Decides what may be written over, and tells of each epoch; epochs and batches are the library's business.

mod history;
mod options;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use gatewave::formats::{self, description};
use gatewave::weights::{Replacement, Tensors};
use gatewave::{
    Dataset, Epoch, Error, ErrorKind, Fit, InputValue, Like, Model, NamedTensors, Objective, Options, Result, Trainer,
    Weights,
};

use crate::args::{DeviceArgs, KeepArgs, note_device, spare, unused};
use crate::losses::LossArgs;
use crate::tensors;
use crate::{Outcome, Verdict, note};
use options::UpdateArgs;

/// Trains a model on the tensors of a file
///
/// DATA holds what `run` takes, and the targets `y`, with a row for each example: integers for `cross_entropy` (−100 does not
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
    /// Examples to train on: .safetensors or .npz
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Examples to validate with after each epoch: .safetensors or .npz
    #[arg(long, value_name = "DATA", conflicts_with = "validation_split")]
    validation: Option<PathBuf>,
    /// Validates with the last rows of the examples, this share of them, and does not train on these
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    validation_split: Option<f64>,
    #[command(flatten)]
    loss: LossArgs,
    #[command(flatten)]
    update: UpdateArgs,
    #[command(flatten)]
    keep: KeepArgs,
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

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    // What is wrong with words and names needs no model, and what is wrong with the data no device.
    let update = args.update.update()?;
    let fit = Fit::default().epochs(args.epochs).batch_size(args.batch_size).shuffle(!args.no_shuffle).seed(args.seed);
    fit.check()?;
    let proofs = args.writable()?;
    let device = args.device.device()?;
    let (model, weights) = args.begin(args.update.like())?;
    let (objective, training, validation) = args.examples(&model)?;
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
    drop(proofs);
    if let Some(path) = &args.history {
        history::write(path, &epochs)?;
    }
    if let Some(path) = &args.output {
        formats::save(path, trainer.model(), &trainer.weights()?)?;
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

    /// What is made small, the examples to train on, and those to validate with.
    fn examples(&self, model: &Model) -> Result<(Objective, Dataset, Option<Dataset>)> {
        let read = |path: &Path| -> Result<NamedTensors> {
            let sequence = model.all_ports().inputs.iter().find(|port| port.value == InputValue::Sequence).cloned();
            tensors::read(path, sequence.as_ref().map_or("x", |port| &port.name))
        };
        let given = read(&self.data)?;
        let objective = self.loss.objective(model, &given).map_err(|e| e.at(self.data.display()))?;
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
        Ok((objective, training, validation))
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
    let validation = epoch.validation_loss.map_or_else(String::new, |loss| format!("  val_loss {}", value(loss)));
    let width = of.to_string().len();
    let seconds = epoch.time.as_secs_f64();
    format!("epoch {:>width$}/{of}  loss {}{validation}  {seconds:.2} s", epoch.number, value(epoch.loss))
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn io_error(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Io, what).at(path.display())
}
