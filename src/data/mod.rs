//! Labelled text → the input of a model: rows of a file, tokens, classes, padded tensors
//! with their lengths. And back: the output of a model → labels with probabilities.
//!
//! A [`Series`] of numbers becomes windows in time. A [`Corpus`]
//! becomes windows of a text whose next token is predicted.
//!
//! `read` knows files, `tokenizer` text, and `classes` labels. `spec` joins them to a
//! model's ports and outputs (`ends`), and `stored` keeps that in the model's file.
//! `summary` and `tensors` describe a file before anything is trained. Knows no device and no optimizer.
//!
//! # Example
//!
//! ```
//! use gatewave::data::{Labelled, TextOptions, TextSpec};
//! use gatewave::{Embedding, Gru, Linear, Model, Select};
//!
//! # fn main() -> gatewave::Result<()> {
//! let folder = std::env::temp_dir().join(format!("gatewave-data-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder).expect("a folder");
//! let path = folder.join("reviews.tsv");
//! std::fs::write(&path, "good\tA fine film.\nbad\tNo, not this.\ngood\tFine!\n").expect("it can be written");
//! let rows = Labelled::read(&path, &Default::default())?;
//!
//! let model = Model::new()
//!     .layer(Embedding::new(100, 8))
//!     .layer(Gru::new(8, 8))
//!     .layer(Select::FinalHidden)
//!     .layer(Linear::new(8, 1));
//! let spec = TextSpec::learn(&model, &rows, &TextOptions::default())?;
//! assert_eq!(spec.classes().labels(), ["bad", "good"]);
//! // A start token, then the words by how often they are there.
//! assert_eq!(spec.tokenizer().encode("Fine film?"), [1, 3, 5]);
//! let tensors = spec.tensors(&model, &rows)?;
//! assert_eq!(tensors["x"].shape(), [3, 4]);
//! # std::fs::remove_dir_all(&folder).expect("it was made above");
//! # Ok(())
//! # }
//! ```

mod bytes;
mod classes;
mod corpus;
mod ends;
mod heads;
mod labelled;
mod read;
#[cfg(test)]
mod scratch;
mod series;
mod side;
mod spec;
mod stored;
mod summary;
mod tensors;
mod tokenizer;

pub use classes::Classes;
pub use corpus::{Corpus, CorpusExamples, CorpusOptions, CorpusSpec, CorpusSummary, UnitCount, is_corpus};
pub use labelled::{Example, Labelled, SourceLocation};
pub use read::{ReadOptions, is_labelled_text, read_lines};
pub use series::{
    ColumnSummary, Forecast, Scale, Series, SeriesOptions, SeriesSpec, SeriesSummary, TargetError, is_series,
};
pub use side::Side;
pub use spec::{Answer, TextOptions, TextSpec};
pub use summary::{ClassCount, DataSummary, Kept, SummaryOptions, Unknown};
pub use tensors::{TensorSummary, TensorsSummary};
pub use tokenizer::{Tokenizer, Unit};
