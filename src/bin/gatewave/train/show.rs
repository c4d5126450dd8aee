//! What a training tells while it goes: a line that moves on a terminal, a line for each epoch, JSON for programs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use gatewave::{Epoch, FitEnd, Fitting, Trained};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::history::{self, Column};
use crate::{Outcome, note};

/// Tells of a fit.
pub(super) struct Show {
    /// Whether each epoch is a JSON object on standard output.
    json: bool,
    /// All epochs.
    of: u64,
    /// The tokens of a row, of a text as a whole.
    window: Option<usize>,
    /// Whether there is a terminal for a line that moves.
    moves: bool,
    bar: ProgressBar,
    /// When the epoch began that the bar shows, and the batches that were done by then.
    since: Option<(Instant, usize)>,
}

impl Show {
    /// Of a fit of so many epochs, whose rows are so many tokens each where it is of a text as a whole.
    pub(super) fn new(json: bool, of: u64, window: Option<usize>) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len}  {msg}").expect("a fixed template");
        // Hidden until it has something to tell.
        let bar = ProgressBar::hidden().with_style(style);
        Self { json, of, window, moves: io::stderr().is_terminal(), bar, since: None }
    }

    /// A batch was trained on.
    pub(super) fn batch(&mut self, fitting: &Fitting, trained: Trained) {
        if !self.moves {
            return;
        }
        let standing = fitting.standing();
        let (since, before) = *self.since.get_or_insert_with(|| (Instant::now(), standing.batches));
        let (done, seconds) = (standing.batches - before, since.elapsed().as_secs_f64());
        self.bar.set_prefix(format!("epoch {}/{}", standing.epoch, self.of));
        self.bar.set_length(standing.of as u64);
        self.bar.set_position(standing.batches as u64);
        let mut message = format!("loss {}  norm {}", value(standing.loss), value(trained.norm));
        if done > 0 && seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "counts of batches")]
            let [done, left, of] = [done, standing.of - standing.batches, standing.of].map(|count| count as f64);
            #[expect(clippy::cast_precision_loss, reason = "counts of rows and epochs")]
            let (rows, epochs) = (fitting.settings().batch_size as f64, self.of.saturating_sub(standing.epoch) as f64);
            let each = seconds / done;
            // Of an epoch that is over it is known how long its validation took.
            let epoch = fitting.epochs().last().map_or(of * each, |epoch| epoch.time.as_secs_f64());
            let left = Duration::try_from_secs_f64(left * each + epochs * epoch).unwrap_or(Duration::MAX);
            message += &format!("  {}  {:#} left", speed(rows / each, self.window), HumanDuration(left));
        }
        self.bar.set_message(message);
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// An epoch ended.
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

    /// All is over: which epoch was the best, and what to change.
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

/// So many rows a second; of a text as a whole, whose windows may have any length, the tokens of them.
fn speed(rows: f64, window: Option<usize>) -> String {
    match window {
        #[expect(clippy::cast_precision_loss, reason = "the steps of a window")]
        Some(window) => format!("{:.0} tokens/s", rows * window as f64),
        None => format!("{rows:.0} rows/s"),
    }
}

/// What would make the best epoch better, by how losses went.
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

/// What is told of an epoch.
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
