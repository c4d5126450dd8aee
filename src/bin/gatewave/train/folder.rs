//! A run's folder: its arguments, its checkpoint, its best model, its history and its curve.
//!
//! `last.safetensors` says all that a run needs to go on, and history and curve are drawn from it: whatever moment a run ends at, the
//! files are whole, and those that are behind are written again.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatewave::formats::{self, Metadata};
use gatewave::weights::Replacement;
use gatewave::{Error, ErrorKind, Fitting, Model, Precision, Result, Trainer, Weights};
use serde::{Deserialize, Serialize};

use super::{curve, history};
use crate::args::fill;

/// How long a run goes without a checkpoint where its epochs are shorter: what a checkpoint takes would else be most of the run.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a run may go without a checkpoint, in an epoch that takes longer.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The version of `args.json`.
const VERSION: u64 = 1;

const ARGS: &str = "args.json";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";

/// What a run writes.
const FILES: [&str; 6] = [ARGS, LAST, BEST, "history.csv", "curve.svg", "curve.png"];

/// The arguments of a run, as it was begun with.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    version: u64,
    /// That of the program.
    gatewave: String,
    /// Where they were given: what relative paths begin at.
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

/// Whether a run may begin in `path`, before any work is done for it.
///
/// # Errors
///
/// Kind `Io`, where it holds another run and `force` does not say that this may go.
pub(super) fn check(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(io("expected a folder for the run, got a file").at(path.display()));
    }
    match FILES.iter().find(|name| path.join(name).exists()) {
        Some(name) if !force => {
            let text =
                format!("holds a run already ({name}); --resume goes on with it, --force begins anew in its place");
            Err(io(text).at(path.display()))
        }
        _ => Ok(()),
    }
}

/// The arguments of the run in `path`.
///
/// # Errors
///
/// Kind `Io`, where there is no run.
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

/// The file of the last checkpoint in `path`, if there is one.
pub(super) fn checkpoint(path: &Path) -> Option<PathBuf> {
    Some(path.join(LAST)).filter(|file| file.exists())
}

/// The file of the best model in `path`.
pub(super) fn best(path: &Path) -> PathBuf {
    path.join(BEST)
}

impl Folder {
    /// Begins a run in `path`: what it held of another one goes.
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
        // What a kill left half-written.
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

    /// Whether a checkpoint is due in the midst of an epoch.
    pub(super) fn is_due(&self) -> bool {
        self.saved.unwrap_or(self.begun).elapsed() >= EVERY
    }

    /// Whether an epoch ended since it was saved.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Saves where a settled fit stands.
    pub(super) fn save(&mut self, trainer: &Trainer, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        trainer.save_fitting(&self.path.join(LAST), fitting, metadata).map_err(|e| self.unsaved(e))?;
        (self.saved, self.is_behind) = (Some(Instant::now()), false);
        Ok(())
    }

    /// Saves behind an epoch: the best model before the checkpoint that says so, and what is drawn from that. Epochs of less than a
    /// second have a checkpoint now and then.
    pub(super) fn save_epoch(&mut self, trainer: &Trainer, fitting: &Fitting, metadata: &Metadata) -> Result<()> {
        if fitting.epochs().last().is_some_and(|epoch| epoch.better) {
            let tensors = trainer.weights()?.to_tensors(trainer.model())?;
            let written = formats::write_with(&best(&self.path), trainer.model(), tensors, Precision::F32, metadata);
            written.map_err(|e| self.unsaved(e))?;
        }
        self.is_behind = true;
        if self.saved.is_some_and(|saved| saved.elapsed() < PAUSE) {
            return Ok(());
        }
        self.save(trainer, fitting, metadata)?;
        self.draw(fitting)
    }

    /// A file that cannot be written, as where a disk is full: what the folder holds is from before, and whole.
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

    /// The best model, from its file.
    pub(super) fn best(&self) -> Result<(Model, Weights)> {
        formats::open(&best(&self.path), None)
    }
}

/// Locks the arguments of a run, so that no two train in one folder.
fn lock(args: &Path) -> Result<File> {
    let file = File::open(args).map_err(|e| io(e.to_string()).because(e).at(args.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let text = "expected a run that rests, got one that trains now; end it first, or give another folder";
            Err(io(text).at(args.display()))
        }
        // A file system without locks: whoever trains twice in one folder is not told.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

fn io(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Io, text.into())
}
