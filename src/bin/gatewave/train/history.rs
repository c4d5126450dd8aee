//! `--history`: a row of comma-separated values for each epoch.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use gatewave::weights::Replacement;
use gatewave::{Epoch, Error, ErrorKind, Result};

/// Writes `epoch`, from 1, `loss`, `val_loss`, `accuracy` and `val_accuracy` where they are there, `learning_rate` and `seconds`.
pub(super) fn write(path: &Path, epochs: &[Epoch]) -> Result<()> {
    let text = text(epochs);
    Replacement::open(path)?.finish(|file| {
        let cannot =
            |e: std::io::Error| Error::new(ErrorKind::Io, format!("{}: cannot be written: {e}", path.display()));
        file.write_all(text.as_bytes()).map_err(cannot)
    })
}

fn text(epochs: &[Epoch]) -> String {
    let columns = ["val_loss", "accuracy", "val_accuracy"];
    let of = |epoch: &Epoch| [epoch.validation_loss, epoch.accuracy, epoch.validation_accuracy];
    let there = columns.iter().enumerate().filter(|(place, _)| epochs.iter().any(|epoch| of(epoch)[*place].is_some()));
    let there: Vec<_> = there.collect();
    let names: String = there.iter().map(|(_, name)| format!("{name},")).collect();
    let mut text = format!("epoch,loss,{names}learning_rate,seconds\n");
    for epoch in epochs {
        let value = |place: usize| of(epoch)[place].map_or_else(|| ",".to_owned(), |value| format!("{value},"));
        let values: String = there.iter().map(|(place, _)| value(*place)).collect();
        let seconds = epoch.time.as_secs_f64();
        let (number, loss, rate) = (epoch.number, epoch.loss, epoch.learning_rate);
        writeln!(text, "{number},{loss},{values}{rate},{seconds:.3}").expect("a text takes all");
    }
    text
}
