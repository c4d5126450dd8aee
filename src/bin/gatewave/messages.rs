//! Messages on standard error: notes, complaints and progress; with `--quiet` only complaints.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use gatewave::{Model, Precision};
use indicatif::ProgressDrawTarget;
use log::Level;

/// Whether only complaints are wanted. Set once, before any work.
static QUIET: AtomicBool = AtomicBool::new(false);

/// What is logged if `RUST_LOG` is not set. The GPU stack warns about
/// optional features that a device lacks; they are logged on request only.
const LOGGED: &str = "error,gatewave=warn";

/// Opens the log, and remembers whether to be quiet.
pub(crate) fn init(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
    let mut logger = env_logger::Builder::new();
    logger.format(|line, record| match record.level() {
        Level::Warn => writeln!(line, "warning: {}", record.args()),
        level => writeln!(line, "{}: {}", level.as_str().to_lowercase(), record.args()),
    });
    match quiet {
        true => logger.filter_level(log::LevelFilter::Error),
        false => logger.parse_env(env_logger::Env::default().default_filter_or(LOGGED)),
    };
    logger.init();
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line that helps to follow what is done.
pub(crate) fn note(line: impl Display) {
    if !is_quiet() {
        complain(line);
    }
}

/// Prints text about results on standard output. If that is `taken` by results for
/// a program, with which the text must not mix, it goes to standard error.
pub(crate) fn tell(text: impl Display, taken: bool, out: &mut impl Write) -> io::Result<()> {
    let text = text.to_string();
    let text = text.trim_end();
    if taken {
        note(text);
        return Ok(());
    }
    writeln!(out, "{text}")
}

/// Prints a line about an error. A closed standard error is not worth stopping for.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Returns whether a person watches standard error, and wants to see more than complaints.
pub(crate) fn is_watched() -> bool {
    !is_quiet() && io::stderr().is_terminal()
}

/// Returns `1 layer` or `2 layers`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// Returns a line about a model that was written: where to, and how large it is.
pub(crate) fn written(place: impl Display, model: &Model, precision: Precision, bytes: u64) -> String {
    let (layers, parameters) = (counted(model.layers.len(), "layer"), model.parameters());
    format!("{place}: {layers}, {parameters} parameters, {}, {bytes} bytes", precision.name())
}

/// Returns where progress bars are drawn.
pub(crate) fn progress_target() -> ProgressDrawTarget {
    match is_quiet() {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    }
}
