//! The contents of a file of labelled text before anything is trained
//! on it: classes, lengths, words, and what a bound would keep.

use std::fmt;

use serde_json::{Value, json};

use super::classes::counts;
use super::labelled::Labelled;
use super::tokenizer::{Counter, Tokenizer, Unit};
use crate::error::{Error, ErrorKind, Result};

/// The sizes of vocabularies that are reported by default.
const SIZES: [usize; 6] = [500, 1000, 2000, 5000, 10_000, 20_000];

/// The shares of the rows whose longest length is reported.
const QUANTILES: [f64; 7] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0];

/// The bars of the histogram.
const BARS: usize = 12;

/// The characters of the longest bar.
const BAR_WIDTH: usize = 40;

/// The most labels that are printed.
const LISTED: usize = 20;

/// What a summary reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryOptions {
    /// What a token represents. The tokens of tagged text are those of the file.
    pub unit: Unit,
    /// Whether a start token counts in the length of a text. Tagged text has none.
    pub start: bool,
    /// The size of the vocabulary to report, including padding, start and unknown; if not set, several usual ones.
    pub num_tokens: Option<usize>,
    /// The bound of the length to report; if not set, several quantiles.
    pub max_length: Option<usize>,
}

impl Default for SummaryOptions {
    /// Returns options for words after a start token.
    fn default() -> Self {
        Self { unit: Unit::Words, start: true, num_tokens: None, max_length: None }
    }
}

/// The rows of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassCount {
    /// The label.
    pub label: String,
    /// How many rows have it, or how many tokens of tagged text.
    pub rows: usize,
}

/// What a vocabulary lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Unknown {
    /// Its size in tokens, including padding, start and unknown.
    pub num_tokens: usize,
    /// The share of all words that it lacks.
    pub share: f64,
}

/// What is kept of texts that are cut to a length.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Kept {
    /// The length.
    pub max_length: usize,
    /// The share of the rows that stay whole.
    pub rows: f64,
    /// The share of the tokens that stay.
    pub tokens: f64,
    /// The share of padding if every row is laid out at that length.
    pub padding: f64,
}

/// The contents of a file of labelled text. `Display` prints it in 100 columns.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSummary {
    unit: Unit,
    start: bool,
    classes: Vec<ClassCount>,
    /// The tokens of each row, the shortest first.
    lengths: Vec<usize>,
    words: u64,
    distinct: usize,
    unknown: Vec<Unknown>,
    kept: Vec<Kept>,
}

impl DataSummary {
    /// Summarises `rows`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if the
    ///   texts have no word, or a bound is too small for one;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if a text can no longer be read.
    pub fn of(rows: &Labelled, options: &SummaryOptions) -> Result<Self> {
        // The tokens of tagged text are those of the file.
        let (unit, start) = if rows.is_tagged() { (Unit::Whitespace, false) } else { (options.unit, options.start) };
        let (mut counter, mut lengths) = (Counter::of(unit), Vec::with_capacity(rows.rows().len()));
        for text in rows.texts() {
            let text = text?;
            counter.add(&text);
            let mut words: usize = 0;
            unit.each(&text, |_, _| words += 1);
            // As in a tokenizer, a text without a word is one unknown token.
            lengths.push(words.max(1) + usize::from(start));
        }
        let counted = counter.counted().map_err(|e| e.at(rows.source()))?;
        let unknown = unknown(&counted, options.num_tokens)?;
        if options.max_length == Some(0) {
            return Err(too_small("max_length", 1, 0));
        }
        lengths.sort_unstable();
        let classes = counts(rows).into_iter().map(|(label, rows)| ClassCount { label: label.to_owned(), rows });
        let mut bounds = match options.max_length {
            Some(bound) => vec![bound],
            None => [0.5, 0.75, 0.9, 0.95, 0.99, 1.0].map(|part| quantile(&lengths, part)).into(),
        };
        bounds.dedup();
        Ok(Self {
            unit,
            start,
            classes: classes.collect(),
            words: counted.iter().map(|(_, count)| count).sum(),
            distinct: counted.len(),
            unknown,
            kept: bounds.into_iter().map(|bound| kept(&lengths, bound)).collect(),
            lengths,
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Returns the rows of each label, in the order of classes.
    pub fn classes(&self) -> &[ClassCount] {
        &self.classes
    }

    /// Returns the largest length among the shortest `share` of the rows: 0 gives the shortest
    /// row's, 0.5 the median, 1 the longest row's. Lengths are in tokens, including the start token.
    pub fn length(&self, share: f64) -> usize {
        quantile(&self.lengths, share)
    }

    /// Returns what vocabularies lack.
    pub fn unknown(&self) -> &[Unknown] {
        &self.unknown
    }

    /// Returns what bounds of the length keep.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Returns how many different words or characters there are.
    pub fn distinct(&self) -> usize {
        self.distinct
    }

    /// Returns all of it as a JSON object, for programs.
    pub fn to_json(&self) -> String {
        let quantiles = QUANTILES.map(|part| json!({"share": part, "length": self.length(part)}));
        let unknown = self.unknown.iter().map(|row| json!({"num_tokens": row.num_tokens, "unknown": row.share}));
        let kept = self.kept.iter().map(
            |row| json!({"max_length": row.max_length, "rows": row.rows, "tokens": row.tokens, "padding": row.padding}),
        );
        json!({
            "rows": self.rows(),
            "classes": classes_json(&self.classes),
            "tokenizer": self.unit.to_string(),
            "start": self.start,
            "units": self.words,
            "distinct": self.distinct,
            "quantiles": quantiles,
            "histogram": histogram_json(&self.lengths),
            "vocabularies": unknown.collect::<Vec<_>>(),
            "max_lengths": kept.collect::<Vec<_>>(),
        })
        .to_string()
    }
}

impl fmt::Display for DataSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        writeln!(f, "{rows} rows, {} labels", self.classes.len())?;
        write_classes(f, &self.classes)?;
        let what = self.unit.plural();
        let start = if self.start { ", with the start token" } else { "" };
        writeln!(f, "\n{what} a row{start}")?;
        write_lengths(f, &self.lengths)?;
        writeln!(f, "\n{} {what}, {} different; a vocabulary of so many tokens lacks", self.words, self.distinct)?;
        for row in &self.unknown {
            writeln!(f, "  {:>24} {:>9} of all {what}", row.num_tokens, percent(row.share))?;
        }
        writeln!(f, "\nrows cut to so many tokens: left whole, tokens kept, padding where all are as long")?;
        for row in &self.kept {
            let [whole, tokens, padding] = [row.rows, row.tokens, row.padding].map(percent);
            writeln!(f, "  {:>24} {whole:>9} {tokens:>9} {padding:>9}", row.max_length)?;
        }
        Ok(())
    }
}

/// Returns rows of these lengths, the shortest first, by length: the first
/// and the last length of each bar, and how many rows it has.
fn histogram(lengths: &[usize]) -> Vec<(usize, usize, usize)> {
    let (shortest, longest) = (quantile(lengths, 0.0), quantile(lengths, 1.0));
    let width = (longest - shortest + 1).div_ceil(BARS);
    let bars = (shortest..=longest).step_by(width);
    let mut rows = lengths.iter().copied().peekable();
    let count = |from: usize| {
        let last = (from + width - 1).min(longest);
        let mut count = 0;
        while rows.next_if(|length| *length <= last).is_some() {
            count += 1;
        }
        (from, last, count)
    };
    bars.map(count).collect()
}

/// Returns the histogram for programs; no bar if there are no lengths.
pub(super) fn histogram_json(lengths: &[usize]) -> Vec<Value> {
    let bars = if lengths.is_empty() { Vec::new() } else { histogram(lengths) };
    bars.into_iter().map(|(from, last, rows)| json!({"from": from, "to": last, "rows": rows})).collect()
}

/// Returns the classes for programs.
pub(super) fn classes_json(classes: &[ClassCount]) -> Vec<Value> {
    classes.iter().map(|class| json!({"label": class.label, "rows": class.rows})).collect()
}

/// Prints the first classes, each with its share of all that have a class: rows, or tokens of tagged text.
pub(super) fn write_classes(f: &mut fmt::Formatter<'_>, classes: &[ClassCount]) -> fmt::Result {
    let all = classes.iter().map(|class| class.rows).sum();
    let most = classes.iter().map(|class| class.rows).max().unwrap_or(1) as u64;
    for ClassCount { label, rows } in classes.iter().take(LISTED) {
        let label: String = label.chars().take(24).collect();
        writeln!(f, "  {label:24} {rows:>9} {:>7}  {}", percent(of(*rows, all)), bar(*rows as u64, most))?;
    }
    if classes.len() > LISTED {
        writeln!(f, "  … and {} more", classes.len() - LISTED)?;
    }
    Ok(())
}

/// Prints quantiles of lengths, the shortest first, and their histogram.
pub(super) fn write_lengths(f: &mut fmt::Formatter<'_>, lengths: &[usize]) -> fmt::Result {
    let names = ["shortest", "25 %", "median", "75 %", "90 %", "99 %", "longest"];
    let told = names.iter().zip(QUANTILES).map(|(name, part)| format!("{name} {}", quantile(lengths, part)));
    writeln!(f, "  {}", told.collect::<Vec<_>>().join("   "))?;
    let histogram = histogram(lengths);
    let most = histogram.iter().map(|(.., rows)| *rows).max().unwrap_or(1) as u64;
    for (from, last, count) in histogram {
        let range = if from == last { from.to_string() } else { format!("{from}–{last}") };
        let share = percent(of(count, lengths.len()));
        writeln!(f, "  {range:>24} {count:>9} {share:>7}  {}", bar(count as u64, most))?;
    }
    Ok(())
}

/// Returns what vocabularies of the most frequent `counted` units lack:
/// one of `num_tokens`, or the usual sizes up to that which lacks nothing.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
/// if `num_tokens` leave no room for a unit.
pub(super) fn unknown(counted: &[(String, u64)], num_tokens: Option<usize>) -> Result<Vec<Unknown>> {
    let all = counted.len() + Tokenizer::SPECIAL;
    let sizes = match num_tokens {
        Some(size @ 0..=Tokenizer::SPECIAL) => return Err(too_small("num_tokens", Tokenizer::SPECIAL + 1, size)),
        Some(size) => vec![size],
        None => SIZES.into_iter().filter(|size| *size < all).chain([all]).collect(),
    };
    let units: u64 = counted.iter().map(|(_, count)| count).sum();
    let unknown = |num_tokens: usize| {
        let known: u64 = counted.iter().take(num_tokens - Tokenizer::SPECIAL).map(|(_, count)| count).sum();
        Unknown { num_tokens, share: share(units - known, units) }
    };
    Ok(sizes.into_iter().map(unknown).collect())
}

fn too_small(what: &str, least: usize, got: usize) -> Error {
    Error::new(ErrorKind::Training, format!("{what}: expected {least} or more, got {got}"))
}

/// Returns what a bound keeps of rows of these lengths, the shortest first.
fn kept(lengths: &[usize], max_length: usize) -> Kept {
    let whole = lengths.partition_point(|length| *length <= max_length);
    let all: u64 = lengths.iter().map(|length| *length as u64).sum();
    let tokens: u64 = lengths.iter().map(|length| (*length).min(max_length) as u64).sum();
    let laid_out = (lengths.len() as u64).saturating_mul(max_length as u64);
    let padding = share(laid_out.saturating_sub(tokens), laid_out);
    Kept { max_length, rows: of(whole, lengths.len()), tokens: share(tokens, all), padding }
}

/// Returns the length that a share of the rows does not exceed. `lengths` is sorted, the shortest first, and not empty.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among rows, which are far fewer than 2^52"
)]
fn quantile(lengths: &[usize], share: f64) -> usize {
    let place = (share * lengths.len() as f64).ceil() as usize;
    lengths[place.clamp(1, lengths.len()) - 1]
}

#[expect(clippy::cast_precision_loss, reason = "counts of what fits memory")]
pub(super) fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

pub(super) fn of(part: usize, all: usize) -> f64 {
    share(part as u64, all as u64)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Draws a bar of `count`; `most` has the longest bar. Any count above 0 is visible.
pub(super) fn bar(count: u64, most: u64) -> String {
    let width = (count * BAR_WIDTH as u64).div_ceil(most.max(1));
    "█".repeat(usize::try_from(width).unwrap_or(BAR_WIDTH))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{Example, SourceLocation};

    /// Makes rows, of which row n has n words: one word of its own, and the rest `the`.
    fn rows(count: usize) -> Labelled {
        let file = SourceLocation::of_file(Path::new("rows.tsv"));
        let row = |n: usize| {
            let label = if n.is_multiple_of(4) { "b" } else { "a" };
            Example::new(format!("rare{n}{}", " the".repeat(n - 1)), label, file.line(n)).unwrap()
        };
        Labelled::new((1..=count).map(row).collect(), file.clone()).unwrap()
    }

    fn plain() -> SummaryOptions {
        SummaryOptions { start: false, ..SummaryOptions::default() }
    }

    #[test]
    fn numbers_are_those_that_can_be_counted_by_hand() {
        let summary = DataSummary::of(&rows(8), &plain()).unwrap();
        assert_eq!(summary.rows(), 8);
        let classes: Vec<_> = summary.classes().iter().map(|class| (class.label.as_str(), class.rows)).collect();
        assert_eq!(classes, [("a", 6), ("b", 2)]);
        assert_eq!([0.0, 0.25, 0.5, 0.9, 1.0].map(|part| summary.length(part)), [1, 2, 4, 8, 8]);
        // 28 times `the`, and 8 rare words.
        assert_eq!((summary.words, summary.distinct()), (36, 9));
        assert_eq!(summary.unknown(), [Unknown { num_tokens: 12, share: 0.0 }]);
        let one = DataSummary::of(&rows(8), &SummaryOptions { num_tokens: Some(4), max_length: Some(4), ..plain() });
        let one = one.unwrap();
        assert_eq!(one.unknown(), [Unknown { num_tokens: 4, share: 8.0 / 36.0 }]);
        let wanted = Kept { max_length: 4, rows: 0.5, tokens: 26.0 / 36.0, padding: 6.0 / 32.0 };
        assert_eq!(one.kept(), [wanted]);
        let started = DataSummary::of(&rows(8), &SummaryOptions::default()).unwrap();
        assert_eq!((started.length(0.0), started.length(1.0)), (2, 9));
    }

    #[test]
    fn every_row_is_in_one_bar() {
        for count in [1, 2, 12, 13, 25, 100] {
            let histogram = histogram(&DataSummary::of(&rows(count), &plain()).unwrap().lengths);
            assert!(histogram.len() <= BARS, "{histogram:?}");
            assert_eq!(histogram.iter().map(|(.., rows)| rows).sum::<usize>(), count);
            assert_eq!((histogram[0].0, histogram[histogram.len() - 1].1), (1, count));
            assert!(histogram.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{histogram:?}");
        }
    }

    #[test]
    fn it_prints_in_100_columns_and_as_json() {
        let summary = DataSummary::of(&rows(30), &SummaryOptions::default()).unwrap();
        let text = summary.to_string();
        assert!(text.starts_with("30 rows, 2 labels\n  a "), "{text}");
        assert!(text.contains("shortest 2   25 % 9   median 16"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!(json["classes"][1], json!({"label": "b", "rows": 7}));
        assert_eq!(json["quantiles"][6], json!({"share": 1.0, "length": 31}));
        assert_eq!(json["vocabularies"][0], json!({"num_tokens": 34, "unknown": 0.0}));
    }

    #[test]
    fn bounds_too_small_for_a_word_are_refused() {
        for (options, said) in [
            (SummaryOptions { num_tokens: Some(3), ..plain() }, "num_tokens: expected 4 or more, got 3"),
            (SummaryOptions { max_length: Some(0), ..plain() }, "max_length: expected 1 or more, got 0"),
        ] {
            assert_eq!(DataSummary::of(&rows(3), &options).unwrap_err().to_string(), said);
        }
    }
}
