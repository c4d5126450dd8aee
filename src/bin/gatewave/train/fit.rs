//! The flags of a fit: words → `Fit` and `Schedule`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use gatewave::train::{Convention, EarlyStopping, Fit, Metric, Schedule};
use gatewave::{Error, ErrorKind, Result};

/// The batches that `--fast` takes of everything.
const FAST: usize = 2;

/// How a training goes over its examples.
#[derive(clap::Args)]
pub(super) struct FitArgs {
    /// Metrics of each epoch besides the loss, on the validation examples: accuracy,
    /// perplexity, precision, recall, f1, auc, mae; several are separated by commas, or
    /// `none` [default: accuracy of labelled text, perplexity of a plain-text corpus, else none]
    #[arg(long = "metric", value_name = "NAME", value_delimiter = ',')]
    metrics: Vec<String>,
    /// Measure the metrics on the training examples as well, which takes a forward pass over them
    #[arg(long)]
    measure_training: bool,
    /// End after N epochs in a row whose validation loss is not smaller
    /// than the best one; the weights are then those of the best epoch
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    early_stopping: Option<u64>,
    /// By how much a validation loss must be smaller to be better
    #[arg(long, value_name = "X", allow_negative_numbers = true, requires = "early_stopping")]
    min_delta: Option<f64>,
    /// How often to go over all examples
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    epochs: u64,
    /// The rows of a batch; the last one of an epoch may have fewer
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true)]
    batch_size: usize,
    /// Update the weights once for every N batches, by all of their gradients, with the memory of one batch
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, conflicts_with = "stateful")]
    accumulate: NonZeroUsize,
    /// Take the rows in their order
    #[arg(long)]
    no_shuffle: bool,
    /// Make batches of rows of similar lengths, as far as a shuffle of fifty batches allows. Each
    /// is cut to the length of its longest row, rounded up to a quarter of the longest of all
    #[arg(long, conflicts_with = "no_shuffle")]
    buckets: bool,
    /// The seed of the weights, the order of the rows and dropout
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(super) seed: u64,
    /// How the learning rate changes: `cosine` or `linear` down to zero at the last
    /// update; `step,N,F` times F after every N epochs; `exponential,F` times F
    /// after each epoch; `plateau,N,F` times F after N epochs that are not better
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<String>,
    /// Raise the learning rate in a line from zero over the first N updates. The schedule begins behind them
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    warm_up: Option<NonZeroU64>,
    /// End after this time: 90s, 15m or 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    time_limit: Option<Duration>,
    /// Take two updates, and as many rows of the validation examples, to check that everything runs
    #[arg(long)]
    fast: bool,
}

impl FitArgs {
    /// Returns the fit, with the metrics `usual` by default. `validates` says whether there are validation examples.
    pub(super) fn fit(&self, usual: &[Metric], validates: bool) -> Result<Fit> {
        let fit = Fit::default().epochs(self.epochs).batch_size(self.rows()).shuffle(!self.no_shuffle);
        let mut fit = fit.buckets(self.buckets).seed(self.seed).measure_training(self.measure_training);
        fit.metrics = match self.metrics.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => usual.to_vec(),
            ["none"] => Vec::new(),
            ref said => said.iter().map(|word| word.parse()).collect::<Result<_>>()?,
        };
        if self.early_stopping.is_some() && !validates {
            let text = "--early-stopping: expected --validation or --validation-split, got neither";
            return Err(wrong(text));
        }
        fit.early_stopping =
            self.early_stopping.map(|patience| EarlyStopping::after(patience).min_delta(self.min_delta.unwrap_or(0.0)));
        (fit.time_limit, fit.most_batches) = (self.time_limit, self.fast.then_some(FAST));
        fit.check()?;
        Ok(fit)
    }

    /// Returns the rows of an update.
    pub(super) fn rows(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate.get())
    }

    /// Returns the most rows that are computed at once.
    pub(super) fn tile_rows(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.batch_size).filter(|_| self.accumulate.get() > 1)
    }

    /// Returns how the learning rate changes in epochs of `rows` rows.
    pub(super) fn schedule(&self, rows: usize, like: Convention) -> Result<Option<Schedule>> {
        let batches = rows.div_ceil(self.rows().max(1)).min(if self.fast { FAST } else { usize::MAX });
        let updates = self.epochs.saturating_mul(batches as u64);
        let warm_up = self.warm_up.map_or(0, NonZeroU64::get);
        if warm_up >= updates.max(1) {
            let text = format!("--warm-up: expected fewer updates than all of the training ({updates}), got {warm_up}");
            return Err(wrong(text));
        }
        let schedule = self.after_warm_up(updates - warm_up, like)?;
        let warmed = match (schedule, self.warm_up) {
            (None, None) => return Ok(None),
            (schedule, None) => schedule,
            (schedule, Some(_)) => Some(schedule.unwrap_or_else(Schedule::constant).after_warm_up(warm_up)),
        };
        warmed.iter().try_for_each(Schedule::check).map_err(|e| e.at("--schedule"))?;
        Ok(warmed)
    }

    /// Returns the schedule that is said, of `updates` updates.
    fn after_warm_up(&self, updates: u64, like: Convention) -> Result<Option<Schedule>> {
        let of = |said: &String| Schedule::of_words(said, updates, like).map_err(|e| e.at("--schedule"));
        self.schedule.as_ref().map(of).transpose()
    }
}

/// Parses a time with its unit.
fn time(text: &str) -> std::result::Result<Duration, String> {
    let unknown = || format!("expected a time as 90s, 15m or 2h, got {text:?}");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(unknown()),
    };
    let count = text[..text.len() - 1].parse::<u64>().map_err(|_| unknown())?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(unknown)
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        fit: FitArgs,
        /// A flag that is in another group of the command.
        #[arg(long)]
        stateful: bool,
    }

    #[test]
    fn batches_that_are_accumulated_are_rows_of_one_update() {
        let of = |flags: &[&str]| {
            Flags::try_parse_from(["train"].iter().chain(flags)).map(|flags| (flags.fit, flags.stateful))
        };
        let (fit, _) = of(&["--batch-size", "4", "--accumulate", "3"]).unwrap();
        assert_eq!((fit.rows(), fit.tile_rows()), (12, NonZeroUsize::new(4)));
        let (fit, _) = of(&["--batch-size", "4"]).unwrap();
        assert_eq!((fit.rows(), fit.tile_rows()), (4, None));
        let (fit, _) = of(&["--batch-size", "0", "--accumulate", "3"]).unwrap();
        assert_eq!((fit.rows(), fit.tile_rows()), (0, None));
        assert!(of(&["--accumulate", "2", "--stateful"]).is_err() && of(&["--accumulate", "0"]).is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "s", "90", "-1s", "1.5h", "9999999999999999999h", "10 ms", "3é"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }
}
