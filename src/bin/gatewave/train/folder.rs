//! A run's folder: its arguments, its checkpoint, its best model, its history and its curve.
//!
//! `last.safetensors` holds all that a run needs to go on; history and curve are made from it.
//! Whenever a run ends, the files are whole, and those that are out of date are written again.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatewave::formats::{self, Metadata};
use gatewave::inspect::Replacement;
use gatewave::train::Fitting;
use gatewave::{Error, ErrorKind, Model, Precision, Result, Trainer, Weights};
use serde::{Deserialize, Serialize};

use super::{curve, history};
use crate::files::fill;

/// How long a run goes without a checkpoint if its epochs are shorter. Otherwise most of the run would be checkpoints.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a run may go without a checkpoint in a longer epoch.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The version of `args.json`.
const VERSION: u64 = 1;

const ARGS: &str = "args.json";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";

/// The files that a run writes.
const FILES: [&str; 6] = [ARGS, LAST, BEST, "history.csv", "curve.svg", "curve.png"];

/// The arguments of a run, as it was begun.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    version: u64,
    /// The version of the program.
    gatewave: String,
    /// The directory where they were given, to which paths are relative.
    pub(super) directory: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// The folder of a run that trains now.
pub(super) struct Folder {
    path: PathBuf,
    /// Locked as long as the run trains.
    _lock: File,
    /// When it was saved last, if it was.
    saved: Option<Instant>,
    begun: Instant,
    /// Whether an epoch ended since.
    is_behind: bool,
}

/// Checks, before any work, that a run may begin in `path`.
///
/// # Errors
///
/// Returns an error of kind `Io` if it holds another run and `force` is not set.
pub(super) fn check(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(io("expected a folder for the run, got a file").at(path.display()));
    }
    match FILES.iter().find(|name| path.join(name).exists()) {
        Some(name) if !force => {
            let text =
                format!("holds a run already ({name}); --resume continues it, --force begins a new one in its place");
            Err(io(text).at(path.display()))
        }
        _ => Ok(()),
    }
}

/// Reads the arguments of the run in `path`.
///
/// # Errors
///
/// Returns an error of kind `Io` if there is no run.
pub(super) fn arguments(path: &Path) -> Result<Arguments> {
    let file = path.join(ARGS);
    let text = fs::read_to_string(&file).map_err(|e| {
        let text = format!("expected the folder of a run, which `train --run` makes, got {e}");
        io(text).because(e).at(file.display())
    })?;
    let arguments: Arguments = serde_json::from_str(&text)
        .map_err(|e| io(format!("{e}; is this a whole file of a run?")).at(file.display()))?;
    match arguments.version {
        VERSION => Ok(arguments),
        got => Err(io(format!("expected version {VERSION}, got {got}")).at(file.display())),
    }
}

/// Returns the file of the last checkpoint in `path`, if there is one.
pub(super) fn checkpoint(path: &Path) -> Option<PathBuf> {
    Some(path.join(LAST)).filter(|file| file.exists())
}

/// Returns the file of the best model in `path`.
pub(super) fn best(path: &Path) -> PathBuf {
    path.join(BEST)
}

impl Folder {
    /// Begins a run in `path`, and removes the files of another one.
    pub(super) fn begin(path: &Path, arguments: Vec<String>) -> Result<Self> {
        fs::create_dir_all(path).map_err(|e| io(e.to_string()).because(e).at(path.display()))?;
        let args = path.join(ARGS);
        let before = args.exists().then(|| lock(&args)).transpose()?;
        for name in FILES {
            match fs::remove_file(path.join(name)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io(e.to_string()).because(e).at(path.join(name).display()));
                }
                _ => {}
            }
        }
        drop(before);
        let directory = env::current_dir().map_err(|e| io(e.to_string()).because(e))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let said = Arguments { version: VERSION, gatewave: version, directory, arguments };
        let text = serde_json::to_string_pretty(&said).expect("plain data") + "\n";
        fill(Replacement::open(&args)?, &args, text.as_bytes())?;
        Self::open(path)
    }

    /// Goes on with the run in `path`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let lock = lock(&path.join(ARGS))?;
        // Files that a killed run left half-written.
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_left = |own: &str| name.strip_prefix('.').is_some_and(|rest| rest.starts_with(&format!("{own}.")));
            if FILES.iter().any(|own| is_left(own)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { path: path.to_owned(), _lock: lock, saved: None, begun: Instant::now(), is_behind: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether a checkpoint is due in the middle of an epoch.
    pub(super) fn is_due(&self) -> bool {
        self.saved.unwrap_or(self.begun).elapsed() >= EVERY
    }

    /// Returns whether an epoch ended since it was saved.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Saves a settled fit.
    pub(super) fn save(&mut self, trainer: &Trainer, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        trainer.save_fitting(self.path.join(LAST), fitting, metadata).map_err(|e| self.unsaved(e))?;
        (self.saved, self.is_behind) = (Some(Instant::now()), false);
        Ok(())
    }

    /// Saves after an epoch: the best model, then the checkpoint that refers to it,
    /// then what is drawn from that. Epochs of less than a second are not all saved.
    pub(super) fn save_epoch(&mut self, trainer: &Trainer, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        if fitting.epochs().last().is_some_and(|epoch| epoch.better) {
            let tensors = trainer.weights()?.to_tensors(trainer.model())?;
            let written = formats::write_with(best(&self.path), trainer.model(), tensors, Precision::F32, metadata);
            written.map_err(|e| self.unsaved(e))?;
        }
        self.is_behind = true;
        if self.saved.is_some_and(|saved| saved.elapsed() < PAUSE) {
            return Ok(());
        }
        self.save(trainer, fitting, metadata)?;
        self.draw(fitting)
    }

    /// Adds a hint to the error of a file that cannot be written, as
    /// on a full disk: the files in the folder are older, and whole.
    fn unsaved(&self, error: Error) -> Error {
        match (error.kind(), self.saved) {
            (ErrorKind::Io, Some(_)) => {
                let path = self.path.display();
                io(format!(
                    "{error}; the checkpoint of before is whole: gatewave train --resume {path} goes on where {path} can be written"
                ))
            }
            _ => error,
        }
    }

    /// Writes history and curve.
    pub(super) fn draw(&self, fitting: &Fitting) -> Result<()> {
        if fitting.epochs().is_empty() {
            return Ok(());
        }
        history::write(&self.path.join("history.csv"), fitting.epochs())?;
        curve::write(&self.path, fitting.epochs())
    }

    /// Reads the best model from its file.
    pub(super) fn best(&self) -> Result<(Model, Weights)> {
        formats::open(best(&self.path))
    }
}

/// Locks the arguments of a run, so that no two trainings share a folder.
fn lock(args: &Path) -> Result<File> {
    let file = File::open(args).map_err(|e| io(e.to_string()).because(e).at(args.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let text = "expected a run that rests, got one that trains now; end it first, or give another folder";
            Err(io(text).at(args.display()))
        }
        // On a file system without locks, two trainings in one folder are not noticed.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

fn io(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Io, text.into())
}
