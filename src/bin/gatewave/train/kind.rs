//! The kind of data that `--data` names, and the flags that fit it.

use gatewave::data::{is_corpus, is_labelled_text};
use gatewave::train::Metric;
use gatewave::{Error, ErrorKind, Result};

use super::Args;
use crate::tensors::can_hold_series;
pub(super) use crate::text::Kind;

/// Windows of a time series or of a plain-text corpus.
#[derive(clap::Args)]
pub(super) struct WindowArgs {
    /// The steps of a window: DATA is a time series (.csv, .npy, .npz,
    /// .safetensors), or a plain-text corpus whose next character or word is predicted (.txt)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) window: Option<usize>,
}

/// Kinds of examples.
impl Kind {
    /// Returns the kind of the data of `args`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Training` if a flag is for another kind.
    pub(super) fn of(args: &Args) -> Result<Self> {
        let data = args.data();
        let kind = match args.window.window {
            Some(_) if can_hold_series(data) => Self::Series,
            Some(_) if is_corpus(data) => Self::Corpus,
            Some(_) => {
                let text = format!(
                    "--window: expected --data of a time series (.csv, .npy, .npz, .safetensors) or a plain-text corpus \
                     (.txt), got {}",
                    data.display()
                );
                return Err(Error::new(ErrorKind::Training, text));
            }
            None if is_corpus(data) => {
                let text =
                    format!("{}: expected --window N beside a text, the steps of a row, got none", data.display());
                return Err(Error::new(ErrorKind::Training, text));
            }
            None if is_labelled_text(data) => Self::Labelled,
            None => Self::Tensors,
        };
        let text = match kind {
            Self::Tensors => args.text.given(&["--stream", "--class-weights"]),
            Self::Labelled => None,
            Self::Series => args.text.given(&["--max-bytes"]),
            Self::Corpus => args.text.given(&["--max-bytes", "--stream", "--tokenizer", "--num-tokens"]),
        };
        let others = [
            (Self::Labelled, text),
            (Self::Series, args.series.given().filter(|_| kind != Self::Series)),
            (Self::Corpus, args.corpus.given().filter(|_| kind != Self::Corpus)),
        ];
        match others.into_iter().find_map(|(of, flag)| Some((of, flag?))) {
            None => Ok(kind),
            Some((of, flag)) => {
                let of = match flag {
                    "--stream" => "tensors, labelled text or a plain-text corpus",
                    "--class-weights" => "labelled text or tensors",
                    _ => of.words(),
                };
                let text = format!("{flag}: expected --data of {of}, got {}", kind.words());
                Err(Error::new(ErrorKind::Training, text))
            }
        }
    }

    /// Returns the default metrics of the validation. A perplexity needs targets that are not smoothed.
    pub(super) fn usual_metrics(self, is_smoothed: bool) -> &'static [Metric] {
        match self {
            Self::Labelled => &[Metric::Accuracy],
            Self::Corpus if is_smoothed => &[Metric::Accuracy],
            Self::Corpus => &[Metric::Perplexity],
            Self::Tensors | Self::Series => &[],
        }
    }
}
