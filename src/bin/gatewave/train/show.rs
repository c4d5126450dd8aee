//! The progress of a training: a line that moves on a terminal, a line for each epoch, JSON for programs.

use std::io::Write;
use std::time::{Duration, Instant};

use gatewave::train::{Epoch, FitEnd, Fitting, Trained};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::json;

use super::history::{self, Column};
use crate::Outcome;
use crate::messages::{is_watched, note, progress_target};

/// Reports on a fit.
pub(super) struct Show {
    /// Whether each epoch is a JSON object on standard output.
    json: bool,
    /// The number of epochs.
    of: u64,
    /// The tokens of a row, for a plain-text corpus.
    window: Option<usize>,
    /// Whether there is a terminal for a line that moves.
    moves: bool,
    bar: ProgressBar,
    /// When the timing of the current epoch began, and the batches that were done by then.
    since: Option<(Instant, usize)>,
}

impl Show {
    /// Makes a report on a fit of `of` epochs. For a plain-text corpus, rows have `window` tokens.
    pub(super) fn new(json: bool, of: u64, window: Option<usize>) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len}  {msg}").expect("a fixed template");
        // Hidden until there is something to show.
        let bar = ProgressBar::hidden().with_style(style);
        Self { json, of, window, moves: is_watched(), bar, since: None }
    }

    /// Reports a batch that was trained on.
    pub(super) fn batch(&mut self, fitting: &Fitting, trained: Trained) {
        if !self.moves {
            return;
        }
        let position = fitting.position();
        let (since, before) = *self.since.get_or_insert_with(|| (Instant::now(), position.batches));
        let (done, seconds) = (position.batches - before, since.elapsed().as_secs_f64());
        self.bar.set_prefix(format!("epoch {}/{}", position.epoch, self.of));
        self.bar.set_length(position.of as u64);
        self.bar.set_position(position.batches as u64);
        let mut message = format!("loss {}  norm {}", value(position.loss), value(trained.norm));
        if done > 0 && seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "counts of batches")]
            let [done, left, of] = [done, position.of - position.batches, position.of].map(|count| count as f64);
            #[expect(clippy::cast_precision_loss, reason = "counts of rows and epochs")]
            let (rows, epochs) = (fitting.settings().batch_size as f64, self.of.saturating_sub(position.epoch) as f64);
            let each = seconds / done;
            // A completed epoch shows how long the validation takes.
            let epoch = fitting.epochs().last().map_or(of * each, |epoch| epoch.time.as_secs_f64());
            let left = Duration::try_from_secs_f64(left * each + epochs * epoch).unwrap_or(Duration::MAX);
            message += &format!("  {}  {:#} left", speed(rows / each, self.window), HumanDuration(left));
        }
        self.bar.set_message(message);
        if self.bar.is_hidden() {
            self.bar.set_draw_target(progress_target());
        }
    }

    /// Reports the end of an epoch.
    pub(super) fn epoch(&mut self, epoch: &Epoch, number: u64, out: &mut impl Write) -> Outcome<()> {
        self.since = None;
        let line = line(epoch, number, self.of);
        self.bar.suspend(|| note(line));
        if self.json {
            writeln!(out, "{}", history::json(epoch))?;
            out.flush()?;
        }
        Ok(())
    }

    /// Reports the end of the fit: which epoch was the best, and what to change.
    pub(super) fn end(&self, fitting: &Fitting, end: Option<FitEnd>, out: &mut impl Write) -> Outcome<()> {
        self.bar.finish_and_clear();
        let (epochs, best) = (fitting.epochs(), fitting.best());
        let last = epochs.len() as u64;
        let why = match end {
            Some(FitEnd::Stopped) => format!("stopped after epoch {last}: no better one came"),
            Some(FitEnd::TimeLimit) => format!("stopped in epoch {}: the time is over", last + 1),
            None => format!("stopped in epoch {} by a signal", last + 1),
            Some(_) => String::new(),
        };
        if !why.is_empty() {
            note(&why);
        }
        if let Some(best) = best.filter(|best| best.validation_loss.is_some()) {
            let told = best.validation_loss.map_or_else(String::new, |loss| format!(", val_loss {}", value(loss)));
            let kept = if fitting.settings().early_stopping.is_some() { ", whose weights are kept" } else { "" };
            let advice = advice(epochs).map_or_else(String::new, |advice| format!("; {advice}"));
            note(format_args!("best: epoch {}{told}{kept}{advice}", best.number));
        }
        if self.json {
            let end = match end {
                Some(FitEnd::Stopped) => "early_stopping",
                Some(FitEnd::TimeLimit) => "time_limit",
                Some(_) => "epochs",
                None => "signal",
            };
            writeln!(out, "{}", json!({"end": end, "best_epoch": best.map(|best| best.number)}))?;
        }
        Ok(())
    }
}

/// Returns rows per second, or tokens per second for a plain-text corpus, whose windows may have any length.
fn speed(rows: f64, window: Option<usize>) -> String {
    match window {
        #[expect(clippy::cast_precision_loss, reason = "the steps of a window")]
        Some(window) => format!("{:.0} tokens/s", rows * window as f64),
        None => format!("{rows:.0} rows/s"),
    }
}

/// Advises how to make the best epoch better, from the course of the losses.
fn advice(epochs: &[Epoch]) -> Option<&'static str> {
    let best = epochs.iter().rposition(|epoch| epoch.better)?;
    let after = &epochs[best + 1..];
    if after.is_empty() {
        return (epochs.len() > 1).then_some("it was still getting better: try more epochs");
    }
    // Two epochs may be chance.
    let is_worse = |epoch: &Epoch| epoch.validation_loss > epochs[best].validation_loss;
    let falls = after.len() > 1 && after.last().is_some_and(|last| last.loss < epochs[best].loss && is_worse(last));
    falls.then_some("the training loss went on falling, so the model learns its rows by heart: try dropout, fewer units or more rows")
}

/// Describes an epoch in a line.
fn line(epoch: &Epoch, number: u64, of: u64) -> String {
    let told = |column: Column| Some(format!("  {} {}", column.name(), value(column.of(epoch)?)));
    let told: String = Column::all(std::slice::from_ref(epoch)).into_iter().filter_map(told).collect();
    let best = if epoch.better && epoch.validation_loss.is_some() { "  best" } else { "" };
    let width = of.to_string().len();
    format!("epoch {number:>width$}/{of}{told}  {:.2} s{best}", epoch.time.as_secs_f64())
}

fn value(x: f64) -> String {
    if x.abs() > 1e-3 || x == 0.0 { format!("{x:.4}") } else { format!("{x:.4e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_as_a_whole_is_told_in_tokens() {
        assert_eq!(speed(12.5, Some(64)), "800 tokens/s");
        assert_eq!(speed(1234.4, None), "1234 rows/s");
    }
}
