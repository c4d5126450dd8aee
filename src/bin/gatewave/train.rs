//! `gatewave train`: changes the weights of a model until its loss on the data of a file is small.
//!
//! Decides what may be overwritten, and what is saved when; epochs and batches are in the library.

mod corpus;
mod curve;
mod examples;
mod fit;
mod folder;
mod history;
mod kind;
mod options;
mod pixels;
mod series;
mod show;
mod text;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::Parser;
use gatewave::formats::{self, Metadata};
use gatewave::inspect::Replacement;
use gatewave::train::{Dataset, Epoch, Fit, FitEnd, FitEvent, Fitting};
use gatewave::{Engine, EngineBuilder, Error, ErrorKind, Precision, Result, Trainer};

use crate::args::{DeviceArgs, KeepArgs, begin, has_extension, measuring, note_device};
use crate::chosen::Chosen;
use crate::files::{data_parser, no_stream, once, spare, unused};
use crate::losses::LossArgs;
use crate::messages::{is_watched, note, tell, written};
use crate::signals;
use crate::{Cli, Command, Outcome, Verdict};
use corpus::CorpusArgs;
use examples::Examples;
use fit::FitArgs;
use folder::Folder;
use kind::{Kind, WindowArgs};
use options::UpdateArgs;
use series::SeriesArgs;
use show::Show;
use text::TextArgs;

/// How far the loss of a model, read from its file, may be from the loss measured in training.
const SAME: f64 = 1e-3;

/// Trains a model on labelled text, a time series, a plain-text corpus, or the tensors of a file
///
/// Labelled text is what `gatewave data` takes. Words become tokens, and labels in their order become
/// classes. The vocabulary holds the most frequent words of the training rows, as many as the model
/// has tokens. OUT keeps both, so that `gatewave run OUT --text TEXT` answers with a label.
///
/// With --window DATA is a time series or a plain-text corpus. A time series (.csv: column names, and a row for each
/// time; or arrays of [rows] or [rows, columns]) is cut into windows, and the model predicts what follows each. In a
/// corpus (.txt) it predicts each next character or word. OUT keeps columns and scales for
/// `gatewave run OUT --series FILE`, or the vocabulary for `gatewave generate OUT`. In both, --validation-split takes
/// the last part.
///
/// DATA of tensors holds what `run` takes, and the targets `y`, with a row for each example: integers
/// for `cross_entropy` (−100 does not count), else numbers of the output's shape. A model of several
/// outputs takes `y_OUTPUT`, by the names of its outputs. `sample_weight` (`sample_weight_OUTPUT`)
/// may be added. It multiplies the loss of each row or step. A last activation of softmax or sigmoid
/// is part of the loss. The same call gives the same weights on the same device.
///
/// Ctrl-C ends a training after its batch and saves it. A second Ctrl-C ends it at once. With --run the whole run is
/// kept, and `gatewave train --resume RUN` continues it. Further flags, such as --epochs, then replace earlier ones.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct Args {
    /// The model: a .safetensors, .onnx, .keras, .h5, .pt or .npz file, at whose weights
    /// training begins; or a description alone (.json), whose weights are drawn
    #[arg(value_name = "MODEL", required_unless_present = "resume")]
    path: Option<PathBuf>,
    /// The model's description, if MODEL holds tensors alone: .safetensors, .pt, .npz, .weights.h5
    #[arg(long = "model", value_name = "model.json")]
    description: Option<PathBuf>,
    /// Examples to train on: .safetensors or .npz; labelled text: .tsv, .csv, .jsonl, .ndjson, .conll or a folder;
    /// with --window a time series (.csv, .npy, .npz, .safetensors) or a plain-text corpus (.txt); or `-` for standard
    /// input, whose first line shows what it is
    #[arg(long, value_name = "DATA", value_parser = data_parser(), required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// Examples to validate with after each epoch, in a file like DATA
    #[arg(long, value_name = "DATA", value_parser = data_parser(), conflicts_with = "validation_split")]
    validation: Option<PathBuf>,
    /// Validate with this share of the examples, the last ones, and do not train on them
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    validation_split: Option<f64>,
    #[command(flatten)]
    loss: LossArgs,
    #[command(flatten)]
    update: UpdateArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    series: SeriesArgs,
    #[command(flatten)]
    corpus: CorpusArgs,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Where the trained model goes: a .safetensors file with its description
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: Option<PathBuf>,
    /// Where the loss of each epoch goes
    #[arg(long, value_name = "FILE.csv")]
    history: Option<PathBuf>,
    /// Keep the run in a folder: its arguments, a checkpoint to continue from, the best model, history and curve
    #[arg(long, value_name = "FOLDER", conflicts_with = "resume")]
    run: Option<PathBuf>,
    /// Continue the run in a folder, as if it had not ended
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Print each epoch on standard output as one JSON object on a line
    #[arg(long)]
    json: bool,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    match &args.resume {
        None => train(args, None, out),
        Some(folder) => {
            let place = folder.canonicalize().map_err(|e| io_error(folder, &e.to_string()))?;
            let before = env::current_dir().ok();
            let args = resumed(&place)?;
            // Messages name the folder as the user did, if that path is still valid.
            let place = if before == env::current_dir().ok() { folder } else { &place };
            train(&args, Some(place), out)
        }
    }
}

/// Returns the arguments of the run in `folder`, followed by those of this call.
fn resumed(folder: &Path) -> Result<Args> {
    let said = folder::arguments(folder)?;
    let now = without("--resume");
    env::set_current_dir(&said.directory).map_err(|e| {
        let text = format!("expected the folder where the run was begun, and where its relative paths begin, got {e}");
        Error::new(ErrorKind::Io, text).because(e).at(said.directory.display())
    })?;
    let program = [OsString::from("gatewave"), OsString::from("train")];
    let all = program.into_iter().chain(said.arguments.into_iter().map(OsString::from)).chain(now);
    match Cli::try_parse_from(all).unwrap_or_else(|e| e.exit()).command {
        Command::Train(args) => Ok(*args),
        _ => Err(Error::new(ErrorKind::Internal, "train: expected its own arguments")),
    }
}

/// Trains, in the folder `resumed` if there is one.
fn train(args: &Args, resumed: Option<&Path>, out: &mut impl Write) -> Outcome {
    // Errors in words and names are found before a model is read, and errors in the data before a device is opened.
    let update = args.update.update()?;
    let kind = Kind::of(args)?;
    let mut fit = args.fit.fit(kind.usual_metrics(args.loss.is_smoothed()), args.validates())?;
    fit.shuffle &= !args.corpus.stateful;
    if kind == Kind::Tensors {
        args.loss.said()?;
    }
    let proofs = args.writable()?;
    let device = args.device.device()?;
    let (model, weights) =
        begin(args.path(), args.description.as_deref(), &Chosen::default(), args.update.like(), args.fit.seed)?;
    let Examples { objective, training, validation, metadata, series } = Examples::read(args, kind, &model)?;
    let schedule = args.fit.schedule(training.rows(), args.update.like())?;
    let options = Engine::builder().device(device).keep_bytes(args.keep.keep_bytes).tile_rows(args.fit.tile_rows());
    let trainer = Trainer::new(model, &weights, objective, update, options.clone());
    let mut trainer = trainer.map_err(|e| e.at(args.path().display()))?;
    drop(weights);
    trainer.set_dropout_seed(Some(args.fit.seed));
    trainer.carry(args.corpus.stateful)?;
    if let Some(schedule) = schedule {
        trainer.set_schedule(schedule)?;
    }
    let (mut folder, mut fitting) = args.folder(resumed, &mut trainer, fit)?;
    note_device(trainer.device());
    // A log file needs no table that `gatewave summary` prints at any time.
    if is_watched() {
        note(trainer.model().summary().to_string().trim_end());
    }
    let validating = validation.as_ref().map_or_else(String::new, |data| format!(", validated with {}", data.rows()));
    note(format_args!("{} parameters, {} examples{validating}", trainer.model().parameters(), training.rows()));
    if args.output.is_none() && folder.is_none() {
        note("the trained weights are not kept: there is no --output and no --run");
    }
    if !fitting.epochs().is_empty() {
        note(format_args!("continues after epoch {}", fitting.epochs().len()));
    }
    signals::save_first();
    let window = args.window.window.filter(|_| kind == Kind::Corpus);
    let mut show = Show::new(args.json, fitting.settings().epochs, window);
    let end = loop {
        if signals::came() {
            fitting.settle(&mut trainer)?;
            break None;
        }
        match fitting.next(&mut trainer, &training, validation.as_ref())? {
            FitEvent::Batch(trained) => show.batch(&fitting, trained),
            FitEvent::Epoch => {
                let (epochs, number) = (fitting.epochs(), fitting.epochs().len() as u64);
                if let Some(epoch) = epochs.last() {
                    show.epoch(epoch, number, out)?;
                }
                if let Some(folder) = &mut folder {
                    folder.save_epoch(&trainer, &fitting, &metadata)?;
                }
                continue;
            }
            FitEvent::Ended(end) => break Some(end),
            _ => {}
        }
        if let Some(folder) = folder.as_mut().filter(|folder| folder.is_due()) {
            fitting.settle(&mut trainer)?;
            folder.save(&trainer, &fitting, &metadata)?;
        }
    };
    show.end(&fitting, end, out)?;
    if let Some(folder) = &mut folder {
        // After its last epoch all may be saved.
        if folder.is_behind() || matches!(end, None | Some(FitEnd::TimeLimit)) {
            folder.save(&trainer, &fitting, &metadata)?;
        }
        folder.draw(&fitting)?;
        let path = folder.path().display();
        match end {
            None | Some(FitEnd::TimeLimit) => {
                note(format_args!("kept in {path}; gatewave train --resume {path} goes on"))
            }
            Some(_) => note(format_args!("kept in {path}")),
        }
    }
    fitting.restore_best(&mut trainer)?;
    drop(proofs);
    args.write(&trainer, &fitting, &metadata, out)?;
    if let (Some(data), true) = (&validation, end.is_some()) {
        let read = (data, options, args.corpus.stateful);
        match (&folder, &args.output) {
            (Some(folder), _) => check(&folder::best(folder.path()), fitting.best(), &trainer, &fitting, read)?,
            // If the fit may stop early, it holds the best model. Else it holds the last
            // one, which nothing has measured if the time was over within an epoch.
            (None, Some(path)) => {
                let stops = fitting.settings().early_stopping.is_some();
                let last = fitting.epochs().last().filter(|_| fitting.position().batches == 0);
                check(path, if stops { fitting.best() } else { last }, &trainer, &fitting, read)?;
            }
            (None, None) => {}
        }
    }
    if let Some(line) = series.map(|series| series.line(&trainer)).transpose()? {
        tell(line, args.json, out)?;
    }
    Ok(if end.is_some() { Verdict::Done } else { Verdict::Interrupted })
}

/// Measures the model of `epoch` once more, from its file.
fn check(
    path: &Path,
    epoch: Option<&Epoch>,
    trainer: &Trainer,
    fitting: &Fitting,
    (data, options, carry): (&Dataset, EngineBuilder, bool),
) -> Result<()> {
    let Some((epoch, wanted)) = epoch.and_then(|epoch| Some((epoch, epoch.validation_loss?))) else {
        return Ok(());
    };
    let settings = fitting.settings();
    if settings.most_batches.is_some() {
        return Ok(());
    }
    let (model, weights) = formats::open(path)?;
    let mut reader = measuring(model, &weights, trainer.objective().clone(), options)?;
    reader.carry(carry)?;
    let measures = reader.measure(data, settings.batch_size, &settings.metrics)?;
    // A killed run may have left a better model, and this one may not have come as far again.
    if measures.loss > wanted + SAME * (1.0 + wanted.abs()) {
        let text = format!("expected a val_loss of {wanted}, as epoch {} had, got {}", epoch.number, measures.loss);
        return Err(Error::new(ErrorKind::Internal, text).at(path.display()));
    }
    let metrics: String = measures.metrics.iter().map(|(metric, value)| format!("  val_{metric} {value:.4}")).collect();
    note(format_args!("{}: val_loss {:.4}{metrics}, read from the file", path.display(), measures.loss));
    Ok(())
}

impl Args {
    /// Returns the model's file.
    fn path(&self) -> &Path {
        self.path.as_deref().expect("asked for by clap, or resumed")
    }

    /// Returns the file of the examples.
    fn data(&self) -> &Path {
        self.data.as_deref().expect("asked for by clap, or resumed")
    }

    /// Checks that all outputs can be written, and that none overwrites a file to be kept.
    fn writable(&self) -> Result<Vec<Replacement>> {
        let read = || {
            [self.path(), self.data()].into_iter().chain(self.description.as_deref()).chain(self.validation.as_deref())
        };
        once(read())?;
        if self.run.is_some() {
            read().try_for_each(|path| no_stream(path, "--run goes on with a training, and reads it again then"))?;
        }
        let mut proofs = Vec::new();
        for (flag, path) in [("--output", &self.output), ("--history", &self.history)] {
            let Some(path) = path else { continue };
            spare(flag, read(), std::slice::from_ref(path))?;
            unused(path, self.force)?;
            proofs.push(Replacement::open(path)?);
        }
        if let Some(folder) = &self.run {
            folder::check(folder, self.force)?;
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

    /// Returns the run's folder, if there is one, and the fit,
    /// which goes on from the checkpoint in the folder `resumed`.
    fn folder(&self, resumed: Option<&Path>, trainer: &mut Trainer, fit: Fit) -> Result<(Option<Folder>, Fitting)> {
        let Some(path) = resumed else {
            let begin = |path: &PathBuf| Folder::begin(path, said()?);
            return Ok((self.run.as_ref().map(begin).transpose()?, Fitting::new(fit)?));
        };
        let folder = Folder::open(path)?;
        // A run that ended before its first checkpoint begins again.
        let Some(last) = folder::checkpoint(path) else { return Ok((Some(folder), Fitting::new(fit)?)) };
        trainer.resume(&last)?;
        let mut fitting = Fitting::resume(&last, fit)?;
        if fitting.settings().early_stopping.is_some() && fitting.best().is_some() {
            fitting.set_best(folder.best()?.1);
        }
        Ok((Some(folder), fitting))
    }

    /// Writes what was asked for.
    fn write(&self, trainer: &Trainer, fitting: &Fitting, metadata: &Metadata, out: &mut impl Write) -> Outcome<()> {
        if let Some(path) = &self.history {
            history::write(path, fitting.epochs())?;
        }
        if let Some(path) = &self.output {
            let (model, tensors) = (trainer.model(), trainer.weights()?.to_tensors(trainer.model())?);
            formats::write_with(path, model, tensors, Precision::F32, metadata)?;
            let bytes = fs::metadata(path).map_err(|e| io_error(path, &e.to_string()))?.len();
            tell(written(path.display(), model, Precision::F32, bytes), self.json, out)?;
        }
        Ok(())
    }

    /// Returns whether there are examples to validate with.
    fn validates(&self) -> bool {
        self.validation.is_some() || self.validation_split.is_some()
    }
}

/// Returns the arguments of this call that a run keeps. Left out are the
/// folder of the run, and the flags for overwriting and for being quiet.
fn said() -> Result<Vec<String>> {
    let text = |arg: OsString| {
        arg.into_string().map_err(|arg| {
            Error::new(ErrorKind::Io, format!("--run: expected arguments in UTF-8, which it keeps, got {arg:?}"))
        })
    };
    without("--run")
        .into_iter()
        .filter(|arg| !["--force", "--quiet", "-q"].iter().any(|one| arg == one))
        .map(text)
        .collect()
}

/// Returns the arguments of this call after the subcommand's name, without `flag` and its value.
fn without(flag: &str) -> Vec<OsString> {
    let mut left = Vec::new();
    // Flags of all subcommands may come before the subcommand's name.
    let mut all = env::args_os().skip(1).skip_while(|arg| arg != "train").skip(1);
    while let Some(arg) = all.next() {
        if arg == flag {
            all.next();
        } else if !arg.to_string_lossy().strip_prefix(flag).is_some_and(|value| value.starts_with('=')) {
            left.push(arg);
        }
    }
    left
}

fn io_error(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Io, what).at(path.display())
}
