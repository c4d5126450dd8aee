//! `gatewave gradients`: the loss of a model on one batch, and its gradients.

mod by_step;

use std::io::Write;
use std::iter;
use std::path::PathBuf;

use gatewave::data::{Labelled, is_labelled_text};
use gatewave::train::{Batch, Convention, Objective};
use gatewave::weights::Tensors;
use gatewave::{Engine, Error, ErrorKind, Model, NamedTensors, Result, Values, Weights};
use serde::Serialize;

use crate::args::{DeviceArgs, KeepArgs, ModelArgs, begin, is_description, measuring, note_device, tensors_for};
use crate::files::{data_parser, is_standard_output, name, once, spare, unused};
use crate::losses::LossArgs;
use crate::messages::{note, tell};
use crate::tensors::{Destination, Format};
use crate::text::{ColumnArgs, kept_text};
use crate::{Outcome, Verdict};
use by_step::Chart;

/// The default number of rows of labelled text in the batch.
const ROWS: usize = 32;

/// Computes the loss of a model on one batch, and the gradients
///
/// The batch holds what `run` takes, and the targets `y`: integers for `cross_entropy`, else numbers of
/// the output's shape. A model of several outputs takes `y_OUTPUT`, by the names of its outputs.
/// `sample_weight` (`sample_weight_OUTPUT`) may be added. Prints the loss and the norm of each gradient.
/// OUT holds `loss`, and a `grad.NAME` for each tensor of the model. It also holds the gradients of the
/// floating-point inputs and initial states of the batch (`grad.x`, `grad.h_0`). Dropout drops nothing.
///
/// For a model that was trained on labelled text, BATCH may also be labelled text.
/// Its first --rows rows are used, with the vocabulary and the labels of the model.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The batch: a .safetensors, .npz or .npy file; or labelled text: .tsv, .csv, .jsonl, .ndjson, .conll or a
    /// folder; or `-` for standard input
    #[arg(long, value_name = "BATCH", value_parser = data_parser())]
    data: PathBuf,
    /// Labelled text: how many of its first rows are the batch [default: 32]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rows: Option<usize>,
    #[command(flatten)]
    columns: ColumnArgs,
    #[command(flatten)]
    loss: LossArgs,
    /// Write the norm of the loss's gradient by the hidden state after each step, to a .csv or a picture (.svg);
    /// may be repeated. Computed in 64-bit floats by the textbook's equations, on the CPU
    #[arg(long, value_name = "FILE")]
    by_step: Vec<PathBuf>,
    /// For a description alone (.json): the seed of its weights, which are drawn as PyTorch draws them
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Where the gradients go: .safetensors or .npz, or `-` for standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// The format of OUT [default: that of its name; safetensors for `-` and pipes]
    #[arg(long, value_enum, requires = "output")]
    format: Option<Format>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print JSON, one object on each line, instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a gradient.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    shape: &'a [usize],
    norm: f64,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    args.check()?;
    once(args.model.files())?;
    let destination = destination(args)?;
    let open = |path: &PathBuf| Chart::open(path, args.model.files().chain([args.data.as_path()]), args.force);
    let charts = args.by_step.iter().map(open).collect::<Result<Vec<_>>>()?;
    let device = args.device.device()?;
    let (model, drawn, mut stored) = args.read()?;
    let (objective, given) = args.batch(&model)?;
    let read = || Ok((Batch::named(&model, objective.clone(), &given)?, model.named_weights(&given)?));
    let (batch, brought) = read().map_err(|e: Error| e.at(args.data.display()))?;
    stored.extend([brought]);
    let weights = match drawn {
        Some(drawn) => drawn,
        None => Weights::from_tensors(&model, stored).map_err(|e| args.model.at(e))?,
    };
    if !charts.is_empty() {
        let of = (&objective, &batch);
        by_step::write(charts, &model, &weights, of).map_err(|e| e.at(args.data.display()))?;
    }
    let options = Engine::builder().device(device).keep_bytes(args.keep.keep_bytes);
    let mut trainer = measuring(model.clone(), &weights, objective, options).map_err(|e| args.model.at(e))?;
    trainer.set_dropout_seed(None);
    note_device(trainer.device());
    let gradients = trainer.gradients(&batch).map_err(|e| e.at(args.data.display()))?;
    let named = gradients.named(&model, &given)?;
    tell(lines(args.json, gradients.loss, &named[1..]), args.output.as_deref().is_some_and(is_standard_output), out)?;
    if let Some(destination) = destination {
        destination.write(&named, out)?;
    }
    Ok(Verdict::Done)
}

impl Args {
    /// Refuses flags that do not fit the kind of the data.
    fn check(&self) -> Result<()> {
        if is_labelled_text(&self.data) {
            return match self.rows {
                Some(0) => Err(Error::new(ErrorKind::Training, "--rows: expected 1 or more, got 0")),
                _ => Ok(()),
            };
        }
        let mut flags = self.columns.given().into_iter().chain([("--rows", self.rows.is_some())]);
        if let Some((flag, _)) = flags.find(|(_, is_given)| *is_given) {
            let text = format!("{flag}: expected --data of labelled text, got tensors");
            return Err(Error::new(ErrorKind::Training, text));
        }
        self.loss.said()
    }

    /// Returns the objective, and the tensors of the batch.
    fn batch(&self, model: &Model) -> Result<(Objective, NamedTensors)> {
        if is_labelled_text(&self.data) {
            return self.text(model);
        }
        let given = tensors_for(model, &self.data)?;
        let objective = self.loss.of_tensors(model, |name| given.contains_key(name));
        Ok((objective.map_err(|e| e.at(self.data.display()))?, given))
    }

    /// Returns the same for the first rows of labelled text.
    fn text(&self, model: &Model) -> Result<(Objective, NamedTensors)> {
        let spec = kept_text(self.model.file())?;
        let fitting = spec.objective(model).map_err(|e| e.at(name(self.model.file())))?;
        let objective = self.loss.of_text(fitting)?;
        let all = self.columns.read(&self.data)?;
        let rows: Vec<_> = all.rows().iter().take(self.rows.unwrap_or(ROWS)).cloned().collect();
        note(format_args!("the first {} of {} rows", rows.len(), all.rows().len()));
        let rows = Labelled::new(rows, all.source().clone())?;
        Ok((objective, spec.tensors(model, &rows)?))
    }

    /// Reads the model, with its weights if they are drawn, else with its tensors.
    fn read(&self) -> Result<(Model, Option<Weights>, Tensors)> {
        if is_description(self.model.file())? {
            let (model, weights) = begin(self.model.file(), None, self.model.chosen(), Convention::Torch, self.seed)?;
            return Ok((model, Some(weights), Tensors::new()));
        }
        let (model, tensors) = self.model.read()?;
        Ok((model, None, tensors))
    }
}

/// Opens the output before any work, so that none is wasted.
fn destination(args: &Args) -> Result<Option<Destination>> {
    let Some(path) = &args.output else { return Ok(None) };
    spare("--output", args.model.files().chain([args.data.as_path()]), std::slice::from_ref(path))?;
    unused(path, args.force)?;
    let destination = Destination::open(path, args.format)?;
    if destination.takes_one() {
        let text = "expected .safetensors or .npz, since an .npy file holds one tensor";
        return Err(Error::new(ErrorKind::Io, text).at(path.display()));
    }
    Ok(Some(destination))
}

/// Returns a line for the loss, and one for each gradient.
fn lines(json: bool, loss: f64, gradients: &[(String, Values)]) -> String {
    let norm = |values: &Values| values.to_f32().iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
    if json {
        let loss = serde_json::json!({ "name": "loss", "value": loss }).to_string();
        let line = |(name, values): &(String, Values)| {
            let line = Line { name, shape: values.shape(), norm: norm(values) };
            serde_json::to_string(&line).expect("plain data")
        };
        return iter::once(loss).chain(gradients.iter().map(line)).collect::<Vec<_>>().join("\n");
    }
    let shape = |values: &Values| format!("{:?}", values.shape());
    let names = gradients.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let shapes = gradients.iter().map(|(_, values)| shape(values).len()).max().unwrap_or(0);
    let loss = format!("{:<names$}  {:<shapes$}  {loss:.8}", "loss", "");
    let line =
        |(name, values): &(String, Values)| format!("{name:<names$}  {:<shapes$}  {:.6e}", shape(values), norm(values));
    iter::once(loss).chain(gradients.iter().map(line)).collect::<Vec<_>>().join("\n")
}
