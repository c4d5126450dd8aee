//! `--history`: a row of comma-separated values for each epoch.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use gatewave::weights::Replacement;
use gatewave::{Epoch, Error, ErrorKind, Result};

/// Writes `epoch`, from 1, `loss`, `val_loss` where there is one, `learning_rate` and `seconds`.
pub(super) fn write(path: &Path, epochs: &[Epoch]) -> Result<()> {
    let text = text(epochs);
    Replacement::open(path)?.finish(|file| {
        let cannot =
            |e: std::io::Error| Error::new(ErrorKind::Io, format!("{}: cannot be written: {e}", path.display()));
        file.write_all(text.as_bytes()).map_err(cannot)
    })
}

fn text(epochs: &[Epoch]) -> String {
    let validated = epochs.iter().any(|epoch| epoch.validation_loss.is_some());
    let mut text = format!("epoch,loss,{}learning_rate,seconds\n", if validated { "val_loss," } else { "" });
    for epoch in epochs {
        let validation = epoch.validation_loss.map_or_else(String::new, |loss| format!("{loss},"));
        let seconds = epoch.time.as_secs_f64();
        let (number, loss, rate) = (epoch.number, epoch.loss, epoch.learning_rate);
        writeln!(text, "{number},{loss},{validation}{rate},{seconds:.3}").expect("a text takes all");
    }
    text
}
