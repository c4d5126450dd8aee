//! The contents of a text before anything is trained on it: characters
//! or words, vocabularies, and how many windows there would be.

use std::fmt;

use serde_json::json;

use super::windows::Cut;
use super::{Corpus, CorpusOptions};
use crate::data::summary::{Unknown, bar, percent, share, unknown};
use crate::data::tokenizer::Unit;
use crate::error::Result;

/// The most characters or words that are listed one by one.
const FREQUENT: usize = 20;

/// How often a character or word occurs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UnitCount {
    /// The character or word.
    pub unit: String,
    /// How often it occurs.
    pub count: u64,
    /// Its share of all occurrences.
    pub share: f64,
}

/// The contents of a whole text. `Display` prints it in 100 columns.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CorpusSummary {
    /// What is counted.
    pub unit: Unit,
    /// How many characters or words there are.
    pub units: u64,
    /// How many of them are different.
    pub distinct: usize,
    /// The most frequent ones, at most 20; equally frequent ones in the order in which they were first seen.
    pub frequent: Vec<UnitCount>,
    /// What vocabularies lack.
    pub unknown: Vec<Unknown>,
    /// The steps of a window, if given.
    pub window: Option<usize>,
    /// How many windows of that length there are, one behind the other.
    pub windows: Option<usize>,
}

impl CorpusSummary {
    /// Summarises `corpus`: counts the units of `options`, and the
    /// windows of `window` steps that each predict the next token.
    ///
    /// Goes over the text once. Beside the text itself, memory holds each character or word once.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if the text
    ///   has no word, the vocabulary has no room for one, or `window` is 0;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if the text can no longer be read.
    pub fn of(corpus: &Corpus, options: &CorpusOptions, window: Option<usize>) -> Result<Self> {
        let counted = corpus.counter(options.unit)?.counted().map_err(|e| e.at(corpus.source()))?;
        let units: u64 = counted.iter().map(|(_, count)| count).sum();
        let windows = |window| {
            let tokens = usize::try_from(units).unwrap_or(usize::MAX);
            Cut::or_none(tokens, window, None).map(|cut| cut.rows()).map_err(|e| e.at(corpus.source()))
        };
        let frequent = counted.iter().take(FREQUENT).map(|(unit, count)| UnitCount {
            unit: unit.clone(),
            count: *count,
            share: share(*count, units),
        });
        Ok(Self {
            unit: options.unit,
            units,
            distinct: counted.len(),
            frequent: frequent.collect(),
            unknown: unknown(&counted, options.num_tokens)?,
            window,
            windows: window.map(windows).transpose()?,
        })
    }

    /// Returns all of it as a JSON object, for programs.
    pub fn to_json(&self) -> String {
        let frequent =
            self.frequent.iter().map(|row| json!({"unit": row.unit, "count": row.count, "share": row.share}));
        let unknown = self.unknown.iter().map(|row| json!({"num_tokens": row.num_tokens, "unknown": row.share}));
        json!({
            "tokenizer": self.unit.to_string(),
            "units": self.units,
            "distinct": self.distinct,
            "frequent": frequent.collect::<Vec<_>>(),
            "vocabularies": unknown.collect::<Vec<_>>(),
            "window": self.window,
            "windows": self.windows,
        })
        .to_string()
    }
}

impl fmt::Display for CorpusSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.unit.plural();
        writeln!(f, "{} {what}, {} different", self.units, self.distinct)?;
        let most = self.frequent.first().map_or(1, |row| row.count);
        for UnitCount { unit, count, share } in &self.frequent {
            // In quotes, so that a space and the end of a line are visible.
            let unit: String = format!("{unit:?}").chars().take(24).collect();
            writeln!(f, "  {unit:24} {count:>9} {:>7}  {}", percent(*share), bar(*count, most))?;
        }
        if self.distinct > self.frequent.len() {
            writeln!(f, "  … and {} more", self.distinct - self.frequent.len())?;
        }
        writeln!(f, "\na vocabulary of so many tokens lacks")?;
        for row in &self.unknown {
            writeln!(f, "  {:>24} {:>9} of all {what}", row.num_tokens, percent(row.share))?;
        }
        match (self.window, self.windows) {
            (Some(window), Some(windows)) => writeln!(f, "\n{windows} windows of {window} steps"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::scratch::Scratch;
    use crate::data::{CorpusSpec, SourceLocation};
    use crate::model::{Embedding, Gru, Linear, Model};
    use crate::named::Examples;

    fn corpus(text: &str) -> Result<Corpus> {
        Corpus::new(text, SourceLocation::of_file(Path::new("text.txt")))
    }

    fn options(unit: Unit, num_tokens: Option<usize>) -> CorpusOptions {
        CorpusOptions { unit, num_tokens }
    }

    #[test]
    fn numbers_are_those_that_can_be_counted_by_hand() {
        let text = corpus("to be or not to be").unwrap();
        let chars = CorpusSummary::of(&text, &options(Unit::Characters, Some(5)), Some(4)).unwrap();
        assert_eq!((chars.units, chars.distinct, chars.windows), (18, 7, Some(4)));
        let told: Vec<_> = chars.frequent.iter().map(|row| (row.unit.as_str(), row.count)).collect();
        assert_eq!(told, [(" ", 5), ("o", 4), ("t", 3), ("b", 2), ("e", 2), ("r", 1), ("n", 1)]);
        assert_eq!(chars.frequent[2], UnitCount { unit: "t".to_owned(), count: 3, share: 3.0 / 18.0 });
        // Five tokens are a space, an o, and three that are no character.
        assert_eq!(chars.unknown, [Unknown { num_tokens: 5, share: 0.5 }]);
        let words = |window| CorpusSummary::of(&text, &options(Unit::Words, None), window).unwrap();
        assert_eq!((words(None).units, words(None).distinct, words(None).windows), (6, 4, None));
        assert_eq!(words(None).unknown, [Unknown { num_tokens: 7, share: 0.0 }]);
        // The last word is predicted and not read.
        assert_eq!([1, 2, 5, 6].map(|window| words(Some(window)).windows), [5, 2, 1, 0].map(Some));
    }

    #[test]
    fn windows_are_as_many_as_a_training_has() {
        let text = corpus(&"It's late, -- so late!\n".repeat(9)).unwrap();
        let model = Model::new().layer(Embedding::new(30, 4)).layer(Gru::new(4, 4)).layer(Linear::new(4, 30));
        for unit in [Unit::Characters, Unit::Words] {
            let spec = CorpusSpec::learn(&model, &text, &options(unit, None)).unwrap();
            for window in [1, 4, 7, 35] {
                let rows = spec.examples(&model, &text, window, None).unwrap().rows();
                let summary = CorpusSummary::of(&text, &options(unit, None), Some(window)).unwrap();
                assert_eq!(summary.windows, Some(rows), "{unit} {window}");
            }
        }
    }

    #[test]
    fn a_text_that_stays_in_its_file_is_told_of_alike() {
        let scratch = Scratch::new("summary");
        // Longer than a piece.
        let text: String =
            (0..20_000).map(|n| format!("{n} é–{}{}", n % 13, if n % 5 == 0 { "\n" } else { " " })).collect();
        let stored = Corpus::open(scratch.write("text.txt", format!("\u{feff}{text}")), 1 << 20).unwrap();
        for unit in [Unit::Characters, Unit::Words] {
            let [held, stored] = [&corpus(&text).unwrap(), &stored]
                .map(|text| CorpusSummary::of(text, &options(unit, None), Some(50)).unwrap());
            assert_eq!(held, stored);
        }
    }

    #[test]
    fn it_prints_in_100_columns_and_as_json() {
        let text = corpus(&format!("to be\n{}", ('a'..='z').collect::<String>())).unwrap();
        let summary = CorpusSummary::of(&text, &CorpusOptions::default(), Some(10)).unwrap();
        let text = summary.to_string();
        assert!(text.starts_with("32 characters, 28 different\n  \"t\"  "), "{text}");
        let bars = format!("\n  {:24} {:>9} {:>7}  {}\n", "\"\\n\"", 1, "3.1 %", "█".repeat(20));
        assert!(
            text.contains(&bars) && text.contains("\n  … and 8 more\n\na vocabulary of so many tokens lacks\n"),
            "{text}"
        );
        assert!(text.ends_with("   0.0 % of all characters\n\n3 windows of 10 steps\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!((&json["units"], &json["distinct"], &json["windows"]), (&json!(32), &json!(28), &json!(3)));
        assert_eq!(json["frequent"][0], json!({"unit": "t", "count": 2, "share": 0.0625}));
        assert_eq!(json["vocabularies"], json!([{"num_tokens": 31, "unknown": 0.0}]));
        let without = CorpusSummary::of(&corpus("a b").unwrap(), &options(Unit::Words, None), None).unwrap();
        assert!(!without.to_string().contains("windows"), "{without}");
        assert!(without.to_json().contains("\"windows\":null"), "{without}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |text: &str, options: &CorpusOptions, window| {
            CorpusSummary::of(&corpus(text).unwrap(), options, window).unwrap_err().to_string()
        };
        let error = refused("a", &options(Unit::Words, Some(3)), None);
        assert_eq!(error, "num_tokens: expected 4 or more, got 3");
        assert_eq!(refused("a", &options(Unit::Words, None), Some(0)), "text.txt: window: expected 1 or more, got 0");
        let error = refused("...?", &options(Unit::Words, None), None);
        assert_eq!(error, "text.txt: expected texts with words, got punctuation alone; try characters");
    }
}
